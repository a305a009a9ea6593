"""Selection: which weights a pruning step removes, given their scores, and how many are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.pruning.masks import BoolArray, Masks
from tfprune.pruning.registry import SCOPES

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
    """Removes `ceil(fraction * remaining)` of the remaining weights, the lowest scores first.

    Equal scores go in the order of the flat index. Scores of pruned weights are not looked at.

    Args:
      scores: layer name -> a score per weight, of the mask's shape.
      masks: what is left now.
      fraction: in [0, 1].
      scope: `global`, weights compete across layers; `layer`, each layer loses its own fraction.

    Returns:
      Masks nested in `masks`.

    Raises:
      SettingError: if the fraction or the scope is not allowed.
      InputError: if a remaining weight's score is NaN; the message names the layer.
      ValueError: if the scores are of other layers or shapes than the masks.
    """
    _check_fraction("prune_fraction", fraction)
    if _check_scope(scope) == "layer":
        return _per_layer(
            scores, masks, lambda mask: exact_ceil(fraction, int(np.count_nonzero(mask)))
        )
    return _remove_lowest(scores, masks, exact_ceil(fraction, masks.remaining))


def prune_to_sparsity(
    scores: Mapping[str, np.ndarray], masks: Masks, sparsity: float, scope: str
) -> Masks:
    """Removes the lowest scores until `ceil(sparsity * total)` weights are pruned, in one shot.

    As `prune`, but the sparsity is of all prunable weights, in each layer for scope `layer`.

    Raises:
      SettingError: if the sparsity or the scope is not allowed, or `masks` is sparser already.
      InputError, ValueError: as `prune`.
    """
    _check_fraction("sparsities", sparsity)

    def to_remove(mask: BoolArray) -> int:
        pruned = mask.size - int(np.count_nonzero(mask))
        missing = exact_ceil(sparsity, mask.size) - pruned
        if missing < 0:
            raise SettingError("sparsities", sparsity, "at least the sparsity that is pruned from")
        return missing

    if _check_scope(scope) == "layer":
        return _per_layer(scores, masks, to_remove)
    return _remove_lowest(scores, masks, to_remove(masks.flat()))


def prune_to_count(scores: Mapping[str, np.ndarray], masks: Masks, remaining: int) -> Masks:
    """Removes the lowest scores, over all layers, until exactly so many weights are left.

    Raises:
      ValueError: fewer are left already.
      InputError: as `prune`.
    """
    if remaining > masks.remaining:
        raise ValueError(f"{masks.remaining} weights are left, fewer than {remaining}")
    return _remove_lowest(scores, masks, masks.remaining - remaining)


def remaining_counts(
    totals: Mapping[str, int], fraction: float, levels: int, scope: str
) -> list[int]:
    """How many weights are left at levels 0, 1, ..., `levels`, when every level prunes.

    Args:
      totals: layer name -> number of prunable weights.
      fraction: what a level removes, in [0, 1].
      levels: number of prunings.
      scope: `global` or `layer`.

    Example:
      >>> remaining_counts({"hidden": 6, "output": 4}, 0.2, 3, "global")
      [10, 8, 6, 4]
      >>> remaining_counts({"hidden": 6, "output": 4}, 0.2, 3, "layer")
      [10, 7, 5, 3]
    """
    groups = list(_competing(totals, scope).values())
    counts = [sum(groups)]
    for _ in range(levels):
        groups = [count - exact_ceil(fraction, count) for count in groups]
        counts.append(sum(groups))
    return counts


def check_levels(totals: Mapping[str, int], fraction: float, levels: int, scope: str) -> None:
    """Refuses more levels than there are weights.

    Args:
      totals: layer name -> number of prunable weights.
      fraction: what a level removes, in [0, 1].
      levels: number of prunings that are asked for.
      scope: `global` or `layer`.

    Raises:
      SettingError: if a level would leave no weight, in any layer for scope `layer`; the message
        says the largest number of levels.
    """
    _check_fraction("prune_fraction", fraction)
    groups = _competing(totals, scope)
    possible = {name: _possible_levels(total, fraction, levels) for name, total in groups.items()}
    first = min(possible, key=lambda name: possible[name])
    if possible[first] < levels:
        where = "" if scope == "global" else f" of layer {first!r}"
        raise SettingError(
            "levels",
            levels,
            f"at most {possible[first]}: removing {fraction:g} of the {groups[first]} prunable "
            f"weights{where} once more leaves none",
        )


def _competing(totals: Mapping[str, int], scope: str) -> dict[str, int]:
    """The sizes of the groups of weights that compete with each other."""
    return dict(totals) if _check_scope(scope) == "layer" else {"all": sum(totals.values())}


def _possible_levels(total: int, fraction: float, levels: int) -> int:
    """How many levels, up to `levels`, leave at least one of `total` weights."""
    counts = remaining_counts({"all": total}, fraction, levels, "global")
    return max(sum(count > 0 for count in counts) - 1, 0)


def _per_layer(
    scores: Mapping[str, np.ndarray], masks: Masks, to_remove: Callable[[BoolArray], int]
) -> Masks:
    _check_scores(scores, masks)
    pruned: dict[str, BoolArray] = {}
    for name, mask in masks.items():
        layer = Masks({name: mask})
        pruned.update(_remove_lowest({name: scores[name]}, layer, to_remove(mask)))
    return Masks(pruned)


def _remove_lowest(scores: Mapping[str, np.ndarray], masks: Masks, count: int) -> Masks:
    """Removes exactly `count` of the remaining weights, ties by flat index, in linear time."""
    _check_scores(scores, masks)
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
    return Masks(
        {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}
    )


def _check_scores(scores: Mapping[str, np.ndarray], masks: Masks) -> None:
    shapes = {name: np.shape(score) for name, score in scores.items()}
    if shapes != masks.shapes:
        raise ValueError(f"scores of {shapes} do not fit masks of {masks.shapes}")
    for name, mask in masks.items():
        if np.isnan(scores[name]).any() and np.isnan(scores[name][mask]).any():
            raise InputError(
                f"layer {name!r} has scores that are NaN, so its weights cannot be ranked: "
                "check that its weights and the loss are finite"
            )


def _check_fraction(setting: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingError(setting, value, "a number in [0, 1]")


def _check_scope(scope: str) -> str:
    if scope not in SCOPES:
        raise unknown_name("scope", scope, SCOPES)
    return scope
