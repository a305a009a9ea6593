"""Filter selection: which filters a pruning event removes, given their scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfprune.errors import InputError, unknown_name
from tfprune.pruning.masks import BoolArray, Masks
from tfprune.pruning.settings import TARGETS


def kept_filters(masks: Masks, axes: Mapping[str, int] | None = None) -> dict[str, BoolArray]:
    """Layer name -> bool [filters]: whether any weight of the filter is left.

    Args:
      masks: what is left now.
      axes: layer name -> the axis of its kernel, from the end, that counts its filters, as
        `tfprune.pruning.channel_flow.filter_axes` gives; other layers are left out. None: the last
        axis, in all layers.

    Example:
      >>> kept_filters(Masks({"hidden": [[1, 0, 0], [0, 1, 0]]}))["hidden"]
      array([ True,  True, False])
    """
    return {
        name: np.any(by_filter(mask, axes[name] if axes else -1), axis=0).astype(bool)
        for name, mask in masks.items()
        if axes is None or name in axes
    }


def by_filter(kernel: np.ndarray, axis: int) -> np.ndarray:
    """An array of a kernel's shape as [weights of a filter, filters]."""
    return np.moveaxis(kernel, axis, -1).reshape(-1, kernel.shape[axis])


def filter_kernels(
    masks: Masks, keep: Mapping[str, ArrayLike], axes: Mapping[str, int] | None = None
) -> Masks:
    """The masks without any weight of pruned filters.

    Args:
      masks: what is left now.
      keep: layer name -> bool [filters], True where a filter is kept; layers that are not named
        stay as they are.
      axes: as for `kept_filters`.

    Raises:
      ValueError: if `keep` has a layer that `masks` has not, or of another number of filters.
    """
    kept = {name: np.asarray(flags, dtype=bool) for name, flags in keep.items()}
    left = dict(masks)
    for name, flags in kept.items():
        axis = -1 if axes is None else axes.get(name)
        if name not in masks or axis is None or flags.shape != (masks[name].shape[axis],):
            raise ValueError(f"{len(flags)} filters of layer {name!r} do not fit {masks.shapes}")
        left[name] = masks[name] & along(flags, axis)
    return masks.replaced(left)


def along(flags: NDArray[Any], axis: int) -> NDArray[Any]:
    """A vector in a shape that broadcasts with a kernel along this axis, counted from the end."""
    return flags.reshape(-1, *[1] * (-axis - 1))


def remove_filters(
    score: np.ndarray,
    keep: BoolArray,
    count: int,
    target: str = "smallest",
    rng: np.random.Generator | None = None,
    layer: str = "",
) -> BoolArray:
    """Removes `count` of one layer's remaining filters.

    Args:
      score: [filters]; equal scores go from the first filter on.
      keep: bool [filters], True where a filter is left now.
      count: how many to remove.
      target: `smallest`, `largest` or `random` (whatever the scores).
      rng: source of the draws of `random`.
      layer: what errors call the layer.

    Returns:
      bool [filters], what is left then.

    Raises:
      SettingError: if the target is unknown.
      InputError: if a remaining filter's score is NaN.
      ValueError: if there are fewer filters than `count`, or `random` has no generator.
    """
    if not 0 <= count <= np.count_nonzero(keep):
        raise ValueError(f"cannot remove {count} of {np.count_nonzero(keep)} filters")
    candidates = np.flatnonzero(keep)
    ranked = _lowest_first(score, target, rng)[candidates]
    if np.isnan(ranked).any():
        raise InputError(
            f"layer {layer!r} has scores that are NaN, so its filters cannot be ranked: "
            "check that its weights and the loss are finite"
        )
    left = keep.copy()
    left[candidates[np.argsort(ranked, kind="stable")[:count]]] = False
    return left


def _lowest_first(
    score: np.ndarray, target: str, rng: np.random.Generator | None
) -> NDArray[np.float64]:
    """Scores of which the lowest are those that the target prunes first."""
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    if target == "random":
        if rng is None:
            raise ValueError("random filters need a generator")
        return rng.random(np.shape(score))
    exact = np.asarray(score, dtype=np.float64)
    return exact if target == "smallest" else -exact
