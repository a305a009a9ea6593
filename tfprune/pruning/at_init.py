"""Random pruning at initialization: smaller networks of the same architecture (PM 2.2.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tfprune.errors import InputError
from tfprune.pruning.masks import Masks
from tfprune.pruning.selection import prune_to_count
from tfprune.pruning.weights import Arrays, masks_by_variable


def random_masks(dense: Masks, remaining: int, rng: np.random.Generator) -> Masks:
    """Masks under which exactly so many weights are left, chosen uniformly over all layers.

    Args:
      dense: gives layers and shapes.
      remaining: how many weights are left, those that are never pruned included.
      rng: source of the draws, layers in order.

    Raises:
      InputError: there are fewer weights, or none that can be pruned is to be left.
    """
    if not dense.never_pruned < remaining <= dense.total:
        never = f", {dense.never_pruned} of them never pruned," if dense.never_pruned else ""
        raise InputError(f"{remaining} of {dense.total} weights{never} cannot be left")
    scores = {name: rng.random(mask.shape) for name, mask in dense.items()}
    return prune_to_count(scores, dense, remaining)


def rescaled(weights: Mapping[str, np.ndarray], masks: Masks) -> Arrays:
    """Initial weights under masks, with the variance that He initialization asks for (PM 2.2.1).

    The weights that are left in a layer are multiplied by sqrt(size / remaining): of N(0, 2 /
    fan_in) they become N(0, 2 / (density * fan_in)), and density * fan_in is the number of inputs
    that a unit has left on average. PM says that the variance is re-scaled "according to the
    original initialization method"; that it is per layer is our reading.

    Args:
      weights: by name, as `read_weights` gives.
      masks: by layer; a layer without a weight left stays at zero.

    Returns:
      A copy with every pruned weight at zero.
    """
    scaled = dict(weights)
    for name, mask in masks_by_variable(weights, masks).items():
        left = int(np.count_nonzero(mask))
        factor = math.sqrt(mask.size / left) if left else 0.0
        scaled[name] = weights[name] * mask * factor
    return scaled
