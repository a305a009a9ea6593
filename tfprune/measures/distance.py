"""Distance between two sets of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Distance(NamedTuple):
    """An L2 distance.

    Attributes:
      per_array: the distance of each array.
      total: the distance of all together, the root of the sum of the squares.
    """

    per_array: dict[str, float]
    total: float


def distance(weights: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> Distance:
    """The L2 distance between weights of equal names and shapes (SDD section 5), in float64.

    Args:
      weights: arrays by name.
      reference: arrays of the same names and shapes.

    Raises:
      ValueError: the names differ.
    """
    if set(weights) != set(reference):
        raise ValueError(f"different weights: {sorted(set(weights) ^ set(reference))}")
    squares = {name: _squared(value, reference[name]) for name, value in weights.items()}
    return Distance(
        {name: math.sqrt(square) for name, square in squares.items()},
        math.sqrt(math.fsum(squares.values())),
    )


def _squared(first: np.ndarray, second: np.ndarray) -> float:
    # Not `difference @ difference`: waking BLAS threads between two epochs costs more than the sum.
    difference = first.astype(np.float64) - second.astype(np.float64)
    return float(np.sum(np.square(difference)))
