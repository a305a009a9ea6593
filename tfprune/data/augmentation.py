"""Random flips and shifts of training images: drawn on the host, applied on the device.

SDD A.1: CIFAR images are flipped left-right at random, shifted by up to four pixels in any
direction and normalized per channel. What a shift uncovers is black.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfprune.backend import tf
from tfprune.data.settings import AUGMENTATIONS
from tfprune.errors import unknown_name
from tfprune.seeds import Stream, generator

MAX_SHIFT_PIXELS = 4


class Draws(NamedTuple):
    """What happens to each training example in one epoch.

    Attributes:
      flips: bool [N], mirrored left-right.
      dy: int32 [N], pixels down (negative: up).
      dx: int32 [N], pixels to the right (negative: left).
    """

    flips: np.ndarray
    dy: np.ndarray
    dx: np.ndarray


def draw(kind: str, num_examples: int, seed: int, level: int, epoch: int) -> Draws | None:
    """Draws one epoch's flips and shifts, keyed by example and so equal on every device.

    Args:
      kind: a name in `tfprune.data.settings.AUGMENTATIONS`. `crop_flip` draws the flips; its
        crops depend on each image's size and are drawn where images are decoded.
      num_examples: N, the number of training examples.
      seed: the trial's seed.
      level: pruning iteration.
      epoch: epoch within the level.

    Returns:
      The draws, or None for `none`. Flips have probability 1/2, shifts are uniform over the
      integers from -4 to 4.

    Raises:
      SettingError: unknown kind.
    """
    if kind not in AUGMENTATIONS:
        raise unknown_name("kind", kind, AUGMENTATIONS)
    if kind == "none":
        return None
    rng = generator(seed, Stream.AUGMENTATION, level, epoch)
    flips = rng.integers(0, 2, num_examples).astype(bool)
    shifts = rng.integers(-MAX_SHIFT_PIXELS, MAX_SHIFT_PIXELS + 1, (2, num_examples), np.int32)
    if "flip" not in kind:
        flips[:] = False
    if "shift" not in kind:
        shifts[:] = 0
    return Draws(flips=flips, dy=shifts[0], dx=shifts[1])


def apply(images: tf.Tensor, flips: tf.Tensor, dy: tf.Tensor, dx: tf.Tensor) -> tf.Tensor:
    """Flips each image, then shifts it: out[y, x] = flipped[y - dy, x - dx], 0 outside.

    Two gathers, one of rows and one of columns: of the forms tried (one-hot products, one flat
    gather) the fastest under XLA on a CPU.

    Args:
      images: [B, H, W, C] of any dtype, H and W known when the program is built.
      flips: bool [B].
      dy: int32 [B], pixels down.
      dx: int32 [B], pixels to the right.

    Returns:
      [B, H, W, C], the dtype of `images`.
    """
    height, width = images.shape[1], images.shape[2]
    rows = tf.range(height)[None, :] - dy[:, None]
    columns = tf.range(width)[None, :] - dx[:, None]
    inside_rows = (rows >= 0) & (rows < height)
    inside_columns = (columns >= 0) & (columns < width)
    columns = tf.where(flips[:, None], width - 1 - columns, columns)
    moved = tf.gather(images, tf.clip_by_value(rows, 0, height - 1), axis=1, batch_dims=1)
    moved = tf.gather(moved, tf.clip_by_value(columns, 0, width - 1), axis=2, batch_dims=1)
    inside = inside_rows[:, :, None, None] & inside_columns[:, None, :, None]
    return tf.where(inside, moved, tf.zeros_like(moved))


def normalize(
    images: tf.Tensor, mean: np.ndarray, std: np.ndarray, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """(pixels / 255 - mean) / std per channel.

    Args:
      images: uint8 or float pixels in [0, 255], [..., C].
      mean: float32 [C], of pixels scaled to [0, 1].
      std: float32 [C], of pixels scaled to [0, 1].
      dtype: a floating-point dtype. bfloat16 is computed in float32 and rounded once.

    Returns:
      [..., C] of `dtype`.
    """
    dtype = tf.as_dtype(dtype)
    exact = dtype if dtype.size >= 4 else tf.float32
    scaled = tf.cast(images, exact) / tf.constant(255, exact)
    centred = scaled - tf.cast(mean, exact)
    return tf.cast(centred / tf.cast(std, exact), dtype)
