"""Stateless random draws: every number is keyed by (seed, stream, level, epoch).

Every integer of a key that is neither a seed nor the number of a level, an epoch, a direction or a
subset stands here, beside the streams.
"""

from __future__ import annotations

import enum
import zlib

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


_DRAWS_APART = 1_000_000


@enum.unique
class LevelDraw(enum.IntEnum):
    """Draws that no level of a trunk has: integers in the place of the level's.

    Those of trainings beside the trunk are followed by one for each of these trainings, a million
    at most: see `at`. As the streams' they are part of every result: never renumber them.
    """

    REINIT = 1_000_000
    EL2N = 2_000_000
    LEAVE_OUT = 3_000_000
    SMALL = 4_000_000
    SIZE = 5_000_000
    PLANE_EXAMPLES = 6_000_000
    ABLATION_EXAMPLES = MAX_SEED - 1
    ABLATED_SUBSETS = MAX_SEED

    def at(self, index: int) -> int:
        """The integer of one of several draws.

        Args:
          index: which of them, 0 <= index < 1,000,000.

        Raises:
          ValueError: there are no so many.
        """
        if not 0 <= index < _DRAWS_APART or self + index > MAX_SEED:
            raise ValueError(f"{self.name} has no draw {index}: at least 0, below {_DRAWS_APART}")
        return int(self) + index


@enum.unique
class EpochDraw(enum.IntEnum):
    """Draws that no epoch has: integers in the place of the epoch's. Never renumber them.

    `landscape.random_directions` counts directions there, in the same stream as those of curvature:
    the directions 71 to 73 of level 0 share their bits, not their use.
    """

    CURVATURE_EXAMPLES = 71
    CURVATURE_START = 72
    CURVATURE_PROBES = 73
    # An order of the examples in no epoch: of batches to score weights on, and to estimate the
    # statistics of batch norms. Their streams tell them apart.
    NO_EPOCH = MAX_SEED


def name_key(name: str) -> int:
    """An integer in [0, 2**32) for a layer's name, the same in every process.

    It stands in the place of a level.
    """
    return zlib.crc32(name.encode())


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
    key = (seed, int(stream), int(level), int(epoch))
    if not all(0 <= part <= MAX_SEED for part in key):
        raise ValueError(f"(seed, stream, level, epoch) = {key} must each lie in [0, 2**32)")
    return np.random.default_rng(key)
