"""Stateless random draws: every number is keyed by (seed, stream, level, epoch)."""

from __future__ import annotations

import enum

import numpy as np

MAX_SEED = 2**32 - 1


class Stream(enum.IntEnum):
    """What a draw is for. The integers are part of every result: never renumber them."""

    INIT = 1
    DATA_ORDER = 2
    AUGMENTATION = 3
    LABEL_NOISE = 4
    SPLIT = 5
    MASK = 6
    MEASURE = 7


def generator(seed: int, stream: Stream, level: int = 0, epoch: int = 0) -> np.random.Generator:
    """A NumPy generator whose draws depend on these four integers and nothing else.

    Args:
      seed: the trial's seed, 0 <= seed < 2**32.
      stream: what the draw is for.
      level: pruning iteration, 0 for what all levels share.
      epoch: epoch within the level, 0 for what all epochs share.

    Raises:
      ValueError: if one of the integers is outside [0, 2**32).
    """
    key = (seed, int(stream), level, epoch)
    if not all(0 <= part <= MAX_SEED for part in key):
        raise ValueError(f"(seed, stream, level, epoch) = {key} must each lie in [0, 2**32)")
    return np.random.default_rng(key)
