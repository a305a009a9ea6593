"""Mean and standard deviation per channel that images are normalized with, by name.

Pixels are scaled to [0, 1] first. Papers that train on the same images do not normalize them with
the same numbers: each function here is what some published code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfprune.data.registry import NORMALIZATIONS
from tfprune.errors import SettingError

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
      normalization: a name in `tfprune.data.registry.NORMALIZATIONS`.

    Returns:
      Mean and standard deviation, float32 [channels] each.

    Raises:
      SettingError: no such name, or it has no numbers for this dataset.
    """
    return NORMALIZATIONS[normalization](source)


def dataset(source: Source | StreamedSource) -> Statistics:
    """The training images' own; ImageNet's for sets that are streamed."""
    return source.mean, source.std


def imagenet(source: Source | StreamedSource) -> Statistics:
    """ImageNet's, whatever the images: OpenLTH's code for CIFAR-10 too, and its fork for SDD."""
    if len(source.mean) != len(IMAGENET[0]):
        raise SettingError(
            "normalization", "imagenet", f"dataset, for {source.name} without three channels"
        )
    return _arrays(IMAGENET)


def pytorch_cifar(source: Source | StreamedSource) -> Statistics:
    """Those of kuangliu/pytorch-cifar, which GST's code has too.

    CIFAR-10's standard deviations there are means over images of each image's own.
    """
    name = source.name.partition(":")[0]
    if name not in PYTORCH_CIFAR:
        raise SettingError(
            "normalization",
            "pytorch_cifar",
            f"dataset, for {source.name}: it is for {' and '.join(PYTORCH_CIFAR)}",
        )
    return _arrays(PYTORCH_CIFAR[name])


def _arrays(values: tuple[tuple[float, ...], tuple[float, ...]]) -> Statistics:
    mean, std = values
    return np.array(mean, np.float32), np.array(std, np.float32)
