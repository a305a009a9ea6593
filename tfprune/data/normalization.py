"""Mean and standard deviation per channel that images are normalized with, by name.

Pixels are scaled to [0, 1] first. Papers that train on the same images do not normalize them with
the same numbers: each function here is what some published code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfprune.catalog import NORMALIZATIONS

if TYPE_CHECKING:
    from tfprune.data.sources import Source
    from tfprune.data.streaming import StreamedSource

# float32 [channels] of each.
Statistics = tuple[np.ndarray, np.ndarray]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PYTORCH_CIFAR = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def statistics(source: Source | StreamedSource, normalization: str) -> Statistics:
    """What a source's images are normalized with.

    Args:
      source: the whole dataset.
      normalization: a name in `tfprune.catalog.NORMALIZATIONS`.

    Returns:
      Mean and standard deviation, float32 [channels] each.

    Raises:
      SettingError: no such name.
    """
    return NORMALIZATIONS[normalization](source)


def statistics_of_counts(counts: np.ndarray) -> Statistics:
    """Mean and standard deviation of pixels scaled to [0, 1], from how many there are of each.

    Args:
      counts: int64 [channels, 256].

    Returns:
      float32 [channels] twice. A channel that never varies gets standard deviation 1.
    """
    values = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ values / total
    variance = (counts * (values - mean[:, None]) ** 2).sum(1) / total
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return mean.astype(np.float32), std.astype(np.float32)


def dataset(source: Source | StreamedSource) -> Statistics:
    """The training images' own, of a sample for sets that are streamed; ImageNet's for ImageNet."""
    return source.mean, source.std


def open_lth(source: Source | StreamedSource) -> Statistics:
    """As OpenLTH, PEG's library, and its fork for SDD: ImageNet's for all images in colour.

    For others, as MNIST, the training images' own.
    """
    return _arrays(IMAGENET) if len(source.mean) == len(IMAGENET[0]) else dataset(source)


def pytorch_cifar(source: Source | StreamedSource) -> Statistics:
    """As kuangliu/pytorch-cifar, whose numbers GST's code has, for CIFAR-10 and CIFAR-100.

    CIFAR-10's standard deviations there are means over images of each image's own. For other
    sets, the training images' own.
    """
    name = source.name.partition(":")[0]
    return _arrays(PYTORCH_CIFAR[name]) if name in PYTORCH_CIFAR else dataset(source)


def _arrays(values: tuple[tuple[float, ...], tuple[float, ...]]) -> Statistics:
    mean, std = values
    return np.array(mean, np.float32), np.array(std, np.float32)
