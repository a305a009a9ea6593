"""Numbers read off curves over sparsity: efficacy, telling sparsities, crossings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

# Train accuracy that may be lost before a level counts as hurt (SDD 4 names no number).
DEFAULT_TOLERANCE = 0.01
# How far below its peak an accuracy lies when it clearly suffers (SDD 3.2 names no number).
UNDERFITTING_MARGIN = 0.05
# Half a point of test accuracy is noise: a smaller drop is no dip, a smaller gain no sweet spot.
SMALLEST_CHANGE = 0.005

# SDD 3.2's four ranges of sparsity, in their order.
RANGES = ("trivial", "critical", "high", "extreme")

ROLES = ("dense", "overfitting", "sweet_spot_last", "sweet_spot_best", "underfitting")


def pruning_efficacy(
    sparsity: npt.ArrayLike, train_accuracy: npt.ArrayLike, tolerance: float = DEFAULT_TOLERANCE
) -> float:
    """The largest sparsity reached without hurting training performance (SDD section 4).

    Scans the levels upward from dense and stops at the first whose train accuracy is below
    that of the dense network minus `tolerance`: a later level that recovers does not count.

    Args:
      sparsity: `[levels]`, in [0, 1], the dense network first.
      train_accuracy: `[levels]`, in [0, 1].
      tolerance: accuracy that may be lost, in [0, 1].

    Returns:
      A sparsity in [0, 1]; NaN if the first level is not dense or has no train accuracy.

    Raises:
      ValueError: the shapes differ or there is no level.
    """
    last = efficacy_index(sparsity, train_accuracy, tolerance)
    return float(np.asarray(sparsity, float)[last]) if last >= 0 else float("nan")


def efficacy_index(sparsity: npt.ArrayLike, train_accuracy: npt.ArrayLike, tolerance: float) -> int:
    """The position of `pruning_efficacy` in its arguments; -1 for NaN."""
    zeros, accuracy = np.asarray(sparsity, float), np.asarray(train_accuracy, float)
    if zeros.shape != accuracy.shape or zeros.ndim != 1 or not zeros.size:
        raise ValueError(f"need two vectors of one length, got {zeros.shape}, {accuracy.shape}")
    if zeros[0] != 0 or np.isnan(accuracy[0]):
        return -1
    # Rounding in `dense - tolerance` must not cost a level that lies exactly on the bound.
    kept = accuracy >= accuracy[0] - tolerance - 1e-12
    return int(kept.size if kept.all() else np.argmin(kept)) - 1


def efficacy_by_seed(results: pd.DataFrame, tolerance: float = DEFAULT_TOLERANCE) -> pd.DataFrame:
    """Pruning efficacy of every seed of every trial, over the levels that are there.

    Returns:
      Columns experiment, trial, seed, efficacy (a sparsity), and at_end: no level was hurt, so
      the efficacy is at least this.
    """
    rows = []
    trunk = results[results["branch"] == ""].sort_values("level")
    for (experiment, trial, seed), levels in trunk.groupby(["experiment", "trial", "seed"]):
        last = efficacy_index(levels["sparsity"], levels["train_accuracy"], tolerance)
        value = levels["sparsity"].iloc[last] if last >= 0 else np.nan
        at_end = last == len(levels) - 1
        rows.append((experiment, trial, seed, value, at_end))
    return pd.DataFrame(rows, columns=["experiment", "trial", "seed", "efficacy", "at_end"])


def five_sparsities(
    level: Sequence[int] | npt.ArrayLike,
    test_accuracy_last: npt.ArrayLike,
    test_accuracy_best: npt.ArrayLike,
    margin: float = UNDERFITTING_MARGIN,
) -> dict[str, int]:
    """The levels that SDD section 3.2 samples to show the phenomenon in detail.

    - dense: level 0.
    - overfitting: where last test accuracy degrades the most, by the smaller of its drop from
      dense and its later rise, if that is more than `SMALLEST_CHANGE`. Only a level whose best
      test accuracy is at least the dense network's last counts: a network that is poor at every
      epoch does not overfit.
    - sweet_spot_last: past overfitting, where last test accuracy peaks.
    - sweet_spot_best: past overfitting, where best test accuracy peaks; if that is
      sweet_spot_last, the next highest best test accuracy, unless it clearly suffers.
    - underfitting: the first level past both sweet spots where last and best test accuracy are
      both more than `margin` below their peaks; if none is, the last level past them, if it is
      more than a fifth of `margin` below both.

    Without a dip there is no overfitting, and "past overfitting" means past dense; a sweet spot
    must then beat the dense network by more than `SMALLEST_CHANGE`. Without a sweet_spot_last
    there is neither sweet_spot_best nor underfitting. A role that no level plays is left out, and
    so is every role where level 0 is missing.

    Args:
      level: `[levels]`, whole numbers, increasing.
      test_accuracy_last: `[levels]`, in [0, 1], mean over seeds.
      test_accuracy_best: `[levels]`, likewise.
      margin: accuracy, in [0, 1].

    Returns:
      {role: level}, in the order of `ROLES`.
    """
    levels = np.asarray(level, int)
    last, best = np.asarray(test_accuracy_last, float), np.asarray(test_accuracy_best, float)
    there = ~(np.isnan(last) | np.isnan(best))
    levels, last, best = levels[there], last[there], best[there]
    if not levels.size or levels[0] != 0:
        return {}
    found = {"dense": 0}
    dip = _dip(last, best)
    if dip > 0:
        found["overfitting"] = dip
    found |= _sweet_spots(last, best, dip, margin)
    sweet = [found[role] for role in found if role.startswith("sweet_spot")]
    suffers = _suffers(last, dip, margin) & _suffers(best, dip, margin)
    a_little = _suffers(last, dip, margin / 5) & _suffers(best, dip, margin / 5)
    if sweet and suffers[max(sweet) + 1 :].any():
        found["underfitting"] = max(sweet) + 1 + int(np.argmax(suffers[max(sweet) + 1 :]))
    elif sweet and max(sweet) + 1 < last.size and a_little[-1]:
        found["underfitting"] = last.size - 1
    return {role: int(levels[found[role]]) for role in ROLES if role in found}


def _dip(last: np.ndarray, best: np.ndarray) -> int:
    """The position of the deepest drop below dense that is made good later; 0 if there is none."""
    later_peak = np.append(np.maximum.accumulate(last[::-1])[::-1][1:], -np.inf)
    depth = np.minimum(last[0] - last, later_peak - last)
    depth[best < last[0]] = -np.inf
    depth[0] = SMALLEST_CHANGE
    return int(np.argmax(depth))


def _suffers(accuracy: np.ndarray, dip: int, margin: float) -> np.ndarray:
    return accuracy < accuracy[dip + 1 :].max(initial=-np.inf) - margin


def _sweet_spots(last: np.ndarray, best: np.ndarray, dip: int, margin: float) -> dict[str, int]:
    past = np.arange(dip + 1, last.size)
    if not past.size:
        return {}
    by_last, by_best = int(past[np.argmax(last[past])]), int(past[np.argmax(best[past])])
    if not dip and last[by_last] <= last[0] + SMALLEST_CHANGE:
        return {}
    found = {"sweet_spot_last": by_last}
    if by_best == by_last:
        others = past[(past != by_last) & ~_suffers(best, dip, margin)[past]]
        by_best = int(others[np.argmax(best[others])]) if others.size else -1
    if by_best > 0 and (dip or best[by_best] > best[0] + SMALLEST_CHANGE):
        found["sweet_spot_best"] = by_best
    return found


def sparsity_ranges(
    level: Sequence[int] | npt.ArrayLike,
    train_accuracy: npt.ArrayLike,
    test_accuracy_last: npt.ArrayLike,
    test_accuracy_best: npt.ArrayLike,
    is_boosted: Sequence[bool] | npt.ArrayLike,
    tolerance: float = DEFAULT_TOLERANCE,
    margin: float = UNDERFITTING_MARGIN,
) -> dict[str, tuple[int, int]]:
    """SDD section 3.2's four ranges of sparsity, of one pruning technique.

    - trivial: the network "can still reach full training accuracy": up to its pruning efficacy.
    - critical: past them, where training accuracy drops and test accuracy is not boosted yet.
    - high: past trivial, the unbroken run of levels with boosted last test accuracy around the
      one where it is highest.
    - extreme: all beyond. Where no level is boosted, extreme begins at the first level past trivial
      at which last and best test accuracy are both more than `margin` below the dense network's.

    The paper draws its boundaries by training and test accuracy and names no number.

    Args:
      level: `[levels]`, whole numbers, increasing, the dense network first.
      train_accuracy: `[levels]`, in [0, 1], mean over seeds.
      test_accuracy_last: `[levels]`, likewise.
      test_accuracy_best: `[levels]`, likewise.
      is_boosted: `[levels]`, whether last test accuracy is higher than the dense network's.
      tolerance: training accuracy that may be lost in [0, 1] and still be full.
      margin: test accuracy in [0, 1].

    Returns:
      {range: (its first level, its last)}, in the order of `RANGES`; empty ranges are left out,
      and all are where level 0 is missing.
    """
    levels, train = np.asarray(level, int), np.asarray(train_accuracy, float)
    last, best = np.asarray(test_accuracy_last, float), np.asarray(test_accuracy_best, float)
    there = ~(np.isnan(train) | np.isnan(last) | np.isnan(best))
    levels, train, last, best = levels[there], train[there], last[there], best[there]
    if not levels.size or levels[0] != 0:
        return {}
    kept = train >= train[0] - tolerance - 1e-12
    past = kept.size if kept.all() else int(np.argmin(kept))
    boosted = np.asarray(is_boosted, bool)[there] & (np.arange(levels.size) >= past)
    if boosted.any():
        peak = int(np.argmax(np.where(boosted, last, -np.inf)))
        before, after = np.flatnonzero(~boosted[:peak]), np.flatnonzero(~boosted[peak:])
        first = int(before[-1]) + 1 if before.size else 0
        end = peak + int(after[0]) if after.size else levels.size
    else:
        poor = (last < last[0] - margin) & (best < best[0] - margin)
        poor &= np.arange(levels.size) >= past
        first = end = int(np.argmax(poor)) if poor.any() else levels.size
    bounds = zip(RANGES, itertools.pairwise((0, past, first, end, levels.size)), strict=True)
    return {name: (int(levels[a]), int(levels[b - 1])) for name, (a, b) in bounds if b > a}


def crossings(position: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> list[float]:
    """Where two curves cross, straight between their points (the vertical lines of SDD figure 7).

    Curves that touch and part again on the same sides do not cross. Where they coincide on the
    way from one side to the other, the crossing is the middle of that stretch. Points where one
    curve is NaN are left out.

    Args:
      position: `[points]`, increasing.
      first: `[points]`.
      second: `[points]`.

    Returns:
      Positions, increasing.

    Raises:
      ValueError: the shapes differ.
    """
    x, gap = np.asarray(position, float), np.asarray(first, float) - np.asarray(second, float)
    if x.shape != gap.shape or x.ndim != 1:
        raise ValueError(f"need three vectors of one length, got {x.shape}, {gap.shape}")
    x, gap = x[~np.isnan(gap)], gap[~np.isnan(gap)]
    sides = np.flatnonzero(gap)
    found = []
    for left, right in itertools.pairwise(sides):
        if gap[left] * gap[right] > 0:
            continue
        if right == left + 1:
            share = gap[left] / (gap[left] - gap[right])
            found.append(float(x[left] + share * (x[right] - x[left])))
        else:
            found.append(float((x[left + 1] + x[right - 1]) / 2))
    return found
