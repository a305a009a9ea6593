"""Selection: which weights a pruning step removes, given their scores, and how many are left."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tfprune.errors import InputError, LayerCollapse, SettingError, unknown_name
from tfprune.pruning.masks import BoolArray, Masks
from tfprune.pruning.settings import SCOPES

# How far a float may be from the fraction that was meant, 0.2 or 2/3.
_FRACTION_ERROR = Fraction(1, 10**12)


def exact_ceil(fraction: float, count: int) -> int:
    """`ceil(fraction * count)` of the fraction that was meant, free of float error.

    Example:
      >>> math.ceil(0.07 * 100), exact_ceil(0.07, 100)
      (8, 7)
    """
    return math.ceil((Fraction(fraction) - _FRACTION_ERROR) * count) if fraction > 0 else 0


def prune(scores: Mapping[str, np.ndarray], masks: Masks, fraction: float, scope: str) -> Masks:
    """Removes `ceil(fraction * remaining)` of the prunable weights, the lowest scores first.

    Remaining are all convolution and dense kernel weights that are left, those that are never
    pruned included (SDD 3.2, OpenLTH). Equal scores go in the order of the flat index. Scores of
    pruned weights are not looked at.

    Args:
      scores: layer name -> a score per weight, of the mask's shape.
      masks: what is left now.
      fraction: in [0, 1].
      scope: `global`, weights compete across layers; `layer`, each prunable layer loses this
        fraction of its own.

    Returns:
      Masks nested in `masks`. Where a layer loses its last weight, a `LayerCollapse` warning says
      so, and so does their `emptied`.

    Raises:
      SettingError: if the fraction or the scope is not allowed, or fewer prunable weights are left.
      InputError: if a remaining weight's score is NaN or no real number, or the scores are of
        other layers or shapes than the masks; the message names the layer.
    """
    _check_fraction("fraction", fraction)
    if _check_scope(scope) == "layer":
        left = _per_layer(
            scores, masks, lambda mask: exact_ceil(fraction, int(np.count_nonzero(mask)))
        )
        return _reported(left, masks)
    count = exact_ceil(fraction, masks.remaining)
    prunable = masks.remaining - masks.never_pruned
    if count > prunable:
        raise SettingError(
            "fraction",
            fraction,
            f"at most {prunable / masks.remaining:.4g}: {prunable} prunable weights are left, and "
            f"{masks.never_pruned} that are never pruned",
        )
    return _reported(_remove_lowest(scores, masks, count), masks)


def prune_to_sparsity(
    scores: Mapping[str, np.ndarray], masks: Masks, sparsity: float, scope: str
) -> Masks:
    """Removes the lowest scores until `ceil(sparsity * total)` weights are pruned, in one shot.

    As `prune`, but the sparsity is of all weights there are; for scope `layer`, of those of each
    prunable layer.

    Raises:
      SettingError: if the sparsity or the scope is not allowed, there are fewer prunable weights,
        or `masks` is sparser already.
      InputError: as `prune`.
    """
    _check_fraction("sparsity", sparsity)

    def to_remove(part: Masks) -> int:
        missing = exact_ceil(sparsity, part.total) - part.pruned
        if missing < 0:
            raise SettingError("sparsity", sparsity, "at least the sparsity that is pruned from")
        return missing

    if _check_scope(scope) == "layer":
        left = _per_layer(scores, masks, lambda mask: to_remove(Masks({"layer": mask})))
        return _reported(left, masks)
    sizes = {name: mask.size for name, mask in masks.items()}
    _check_reachable(sizes, sparsity, masks.never_pruned)
    return _reported(_remove_lowest(scores, masks, to_remove(masks)), masks)


def prune_to_count(scores: Mapping[str, np.ndarray], masks: Masks, remaining: int) -> Masks:
    """Removes the lowest scores, over all layers, until exactly so many weights are left.

    As everywhere, weights that are never pruned count.

    Raises:
      ValueError: fewer are left already, or more are never pruned.
      InputError: as `prune`.
    """
    if remaining > masks.remaining:
        raise ValueError(f"{masks.remaining} weights are left, fewer than {remaining}")
    if remaining < masks.never_pruned:
        raise ValueError(f"{masks.never_pruned} weights are never pruned, more than {remaining}")
    return _reported(_remove_lowest(scores, masks, masks.remaining - remaining), masks)


def remaining_counts(
    sizes: Mapping[str, int], fraction: float, levels: int, scope: str, never_pruned: int = 0
) -> list[int]:
    """How many weights are left at levels 0, 1, ..., `levels`, when every level prunes.

    Args:
      sizes: layer name -> number of prunable weights.
      fraction: what a level removes, in [0, 1].
      levels: number of prunings; the list ends at the last one that there are weights for.
      scope: `global` or `layer`.
      never_pruned: number of weights in the other convolution and dense kernels.

    Example:
      >>> remaining_counts({"first": 6, "second": 2}, 0.2, 3, "global", never_pruned=2)
      [10, 8, 6, 4]
      >>> remaining_counts({"first": 6, "second": 2}, 0.2, 2, "layer", never_pruned=2)
      [10, 7]
    """
    by_layer = _check_scope(scope) == "layer"
    # In a group with weights that are never pruned they count, but cannot be removed.
    groups = list(sizes.values()) if by_layer else [sum(sizes.values())]
    kept = 0 if by_layer else never_pruned
    counts = [sum(groups) + never_pruned]
    for _ in range(levels):
        groups = [count - exact_ceil(fraction, count + kept) for count in groups]
        if min(groups, default=0) <= 0:
            break
        counts.append(sum(groups) + never_pruned)
    return counts


def check_levels(
    sizes: Mapping[str, int], fraction: float, levels: int, scope: str, never_pruned: int = 0
) -> None:
    """Refuses more levels than there are weights for.

    Args:
      sizes, fraction, scope, never_pruned: as `remaining_counts`.
      levels: number of prunings that are asked for.

    Raises:
      SettingError: if a level would leave no prunable weight, in any layer for scope `layer`; the
        message says the largest number of levels.
    """
    _check_fraction("fraction", fraction)
    counts = remaining_counts(sizes, fraction, levels, scope, never_pruned)
    possible = len(counts) - 1
    if possible == levels:
        return
    if scope == "layer":
        name = min(sizes, key=lambda name: sizes[name])
        what = f"{fraction:g} of the {sizes[name]} prunable weights of layer {name!r} once more"
    else:
        also = f", {never_pruned} of them never pruned," if never_pruned else ""
        what = f"{fraction:g} of the {counts[-1]} weights left{also}"
    raise SettingError("levels", levels, f"at most {possible}: removing {what} leaves none")


def check_sparsities(
    sizes: Mapping[str, int], sparsities: Sequence[float], scope: str, never_pruned: int = 0
) -> None:
    """Refuses sparsities that the prunable weights are too few for.

    Args:
      sizes, scope, never_pruned: as `remaining_counts`.
      sparsities: fractions of all weights, in [0, 1].

    Raises:
      SettingError: if one would leave no prunable weight; the message says the largest possible.
    """
    for sparsity in sparsities:
        if _check_scope(scope) == "layer":
            for name, size in sizes.items():
                _check_reachable({name: size}, sparsity, 0)
        else:
            _check_reachable(sizes, sparsity, never_pruned)


def _check_reachable(sizes: Mapping[str, int], sparsity: float, never_pruned: int) -> None:
    prunable = sum(sizes.values())
    total = prunable + never_pruned
    if exact_ceil(sparsity, total) >= prunable:
        # Rounded down, so that it is allowed.
        largest = math.floor(10**4 * (prunable - 1) / total) / 10**4
        raise SettingError(
            "sparsities",
            sparsity,
            f"at most {largest:g}: {prunable} of the {total} weights can be pruned",
        )


def _per_layer(
    scores: Mapping[str, np.ndarray], masks: Masks, to_remove: Callable[[BoolArray], int]
) -> Masks:
    check_scores(scores, masks)
    pruned: dict[str, BoolArray] = {}
    for name, mask in masks.items():
        layer = Masks({name: mask})
        pruned.update(_remove_lowest({name: scores[name]}, layer, to_remove(mask)))
    return masks.replaced(pruned)


def _reported(pruned: Masks, before: Masks) -> Masks:
    """Says which layers a pruning has emptied."""
    emptied = [name for name in pruned.emptied if before[name].any()]
    if emptied:
        warnings.warn(
            f"pruning leaves no weight of {', '.join(emptied)}: no signal passes there any more",
            LayerCollapse,
            stacklevel=3,
        )
    return pruned


def _remove_lowest(scores: Mapping[str, np.ndarray], masks: Masks, count: int) -> Masks:
    """Removes exactly `count` of the remaining weights, ties by flat index, in linear time."""
    check_scores(scores, masks)
    if count == 0:
        return masks
    kept = masks.flat()
    candidates = np.concatenate([scores[name][mask] for name, mask in masks.items()])
    threshold = np.partition(candidates, count - 1)[count - 1]
    survives = candidates > threshold
    ties = np.flatnonzero(candidates == threshold)
    survives[ties[count - int(np.count_nonzero(candidates < threshold)) :]] = True
    kept[kept.copy()] = survives
    return _unflatten(kept, masks)


def _unflatten(flat: BoolArray, like: Masks) -> Masks:
    ends = np.cumsum([mask.size for mask in like.values()])
    parts = np.split(flat, ends[:-1])
    return like.replaced(
        {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}
    )


def check_scores(scores: Any, masks: Masks) -> None:
    """Refuses what `prune` cannot rank, which a criterion of one's own may return.

    Raises:
      InputError: the scores are of other layers or shapes than the masks, or that of a remaining
        weight is NaN or no real number.
    """
    if not isinstance(scores, Mapping):
        raise InputError(
            "scores must be arrays by the names of the masks, as a criterion returns them, not "
            f"{type(scores).__name__}"
        )
    shapes = {name: np.shape(score) for name, score in scores.items()}
    if shapes != masks.shapes:
        raise InputError(f"scores of {shapes} do not fit masks of {masks.shapes}")
    for name, mask in masks.items():
        if not np.isrealobj(scores[name]):
            raise InputError(f"layer {name!r} has scores that are no real numbers")
        if np.isnan(scores[name]).any() and np.isnan(scores[name][mask]).any():
            raise InputError(
                f"layer {name!r} has scores that are NaN, so its weights cannot be ranked: "
                "check that its weights and the loss are finite"
            )


def check_settings(fraction: float, scope: str) -> None:
    """Refuses what `prune` would.

    Raises:
      SettingError: the fraction or the scope is not allowed.
    """
    _check_fraction("fraction", fraction)
    _check_scope(scope)


def _check_fraction(setting: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingError(setting, value, "a number in [0, 1]")


def _check_scope(scope: str) -> str:
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    return scope
