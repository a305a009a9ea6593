"""Numbers read off curves over sparsity: efficacy, telling sparsities, crossings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tfprune.measures.statistics import difference, first_lowest

# Train accuracy that may be lost before a level counts as hurt (SDD 4 names no number).
DEFAULT_TOLERANCE = 0.01
# How far below its peak an accuracy lies when it clearly suffers (SDD 3.2 names no number).
UNDERFITTING_MARGIN = 0.05
# A drop of less than half a point is no dip, and a gain no sweet spot, even where seeds agree on
# it: of the many levels that are looked at, some differ by chance.
SMALLEST_CHANGE = 0.005

# SDD 3.2's four ranges of sparsity, in their order.
RANGES = ("trivial", "critical", "high", "extreme")

ROLES = ("dense", "overfitting", "sweet_spot_last", "sweet_spot_best", "underfitting")


def efficacy_index(sparsity: npt.ArrayLike, train_accuracy: npt.ArrayLike, tolerance: float) -> int:
    """The level of the largest sparsity reached without hurting training (SDD section 4).

    Scans the levels upward from dense and stops at the first whose train accuracy is below
    that of the dense network minus `tolerance`: a later level that recovers does not count.

    Args:
      sparsity: `[levels]`, in [0, 1], the dense network first.
      train_accuracy: `[levels]`, in [0, 1].
      tolerance: accuracy that may be lost, in [0, 1].

    Returns:
      Its position in the arguments; -1 if the first is not dense or has no train accuracy.

    Raises:
      ValueError: the shapes differ or there is no level.
    """
    zeros, accuracy = np.asarray(sparsity, float), np.asarray(train_accuracy, float)
    if zeros.shape != accuracy.shape or zeros.ndim != 1 or not zeros.size:
        raise ValueError(f"need two vectors of one length, got {zeros.shape}, {accuracy.shape}")
    if zeros[0] != 0 or np.isnan(accuracy[0]):
        return -1
    return _unhurt(accuracy, tolerance) - 1


def _unhurt(accuracy: np.ndarray, tolerance: float) -> int:
    """How many levels, from the first on, lose no more than this against it."""
    # Rounding in `first - tolerance` must not cost a level that lies exactly on the bound.
    kept = accuracy >= accuracy[0] - tolerance - 1e-12
    return kept.size if kept.all() else int(np.argmin(kept))


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

    Accuracies are higher or lower here where they differ over seeds by the rule of PEG section 2
    (`statistics.difference`), so that no role is read off noise; of one seed only dense is told.

    - dense: level 0.
    - overfitting: where mean last test accuracy degrades the most, by the smaller of its drop from
      dense and its later rise, among levels that are lower than dense and than the later peak, both
      by more than `SMALLEST_CHANGE`. Only a level whose best test accuracy is at least the dense
      network's last counts: a network that is poor at every epoch does not overfit.
    - sweet_spot_last: past overfitting, where last test accuracy peaks.
    - sweet_spot_best: past overfitting, where best test accuracy peaks; if that is
      sweet_spot_last, the next highest best test accuracy, unless it clearly suffers.
    - underfitting: the first level past both sweet spots where last and best test accuracy are
      both lower than their peaks, by more than `margin`; if none is, the last level past them, if
      it is lower than both by more than a fifth of `margin`.

    Without a dip there is no overfitting, and "past overfitting" means past dense. A sweet spot is
    higher than the overfitting level, or without one than dense, by more than `SMALLEST_CHANGE`.
    Without a sweet_spot_last there is neither sweet_spot_best nor underfitting. A role that no
    level plays is left out, and so is every role where level 0 is missing.

    Args:
      level: `[levels]`, whole numbers, increasing.
      test_accuracy_last: `[seeds, levels]`, in [0, 1]; NaN where a seed has no such level.
      test_accuracy_best: `[seeds, levels]`, likewise.
      margin: accuracy, in [0, 1].

    Returns:
      {role: level}, in the order of `ROLES`.
    """
    levels = np.asarray(level, int)
    last, best = np.asarray(test_accuracy_last, float), np.asarray(test_accuracy_best, float)
    there = (~(np.isnan(last) | np.isnan(best))).any(axis=0) if last.size else np.zeros(0, bool)
    levels = levels[there]
    if not levels.size or levels[0] != 0:
        return {}
    last, best = last[:, there], best[:, there]
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
    elif sweet and max(sweet) + 1 < levels.size and a_little[-1]:
        found["underfitting"] = levels.size - 1
    return {role: int(levels[found[role]]) for role in ROLES if role in found}


def _gain(accuracy: np.ndarray, first: int, second: int) -> float:
    """Mean over seeds of the second level minus the first, 0 where the two match or none tells."""
    gap = difference(accuracy[:, second] - accuracy[:, first])
    return gap.mean if gap.verdict in ("higher", "lower") else 0.0


def _mean(accuracy: np.ndarray) -> np.ndarray:
    """Mean over seeds, `[levels]`: every level has one."""
    return np.nanmean(accuracy, axis=0)


def _highest(accuracy: np.ndarray) -> int:
    """Where a mean over seeds is highest; of equal ones, the least pruned."""
    return first_lowest(-100 * accuracy)


def _dip(last: np.ndarray, best: np.ndarray) -> int:
    """The position of the deepest drop below dense that is made good later; 0 if there is none."""
    mean = _mean(last)
    depth = np.zeros(mean.size)
    for position in range(1, mean.size - 1):
        peak = position + 1 + _highest(mean[position + 1 :])
        depth[position] = min(_gain(last, position, 0), _gain(last, position, peak))
    depth[_mean(best) < mean[0]] = 0
    deepest = int(np.argmax(depth))
    return deepest if depth[deepest] > SMALLEST_CHANGE else 0


def _suffers(accuracy: np.ndarray, dip: int, margin: float) -> np.ndarray:
    """Which levels are lower than the peak past a dip, by more than a margin, `[levels]`."""
    count = accuracy.shape[1]
    if dip + 1 >= count:
        return np.zeros(count, bool)
    peak = dip + 1 + _highest(_mean(accuracy)[dip + 1 :])
    return np.array([_gain(accuracy, position, peak) > margin for position in range(count)])


def _sweet_spots(last: np.ndarray, best: np.ndarray, dip: int, margin: float) -> dict[str, int]:
    past = np.arange(dip + 1, last.shape[1])
    if not past.size:
        return {}
    by_last, by_best = (int(past[_highest(_mean(curve)[past])]) for curve in (last, best))
    if _gain(last, dip, by_last) <= SMALLEST_CHANGE:
        return {}
    found = {"sweet_spot_last": by_last}
    if by_best == by_last:
        others = past[(past != by_last) & ~_suffers(best, dip, margin)[past]]
        by_best = int(others[_highest(_mean(best)[others])]) if others.size else -1
    if by_best > 0 and _gain(best, dip, by_best) > SMALLEST_CHANGE:
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
    past = _unhurt(train, tolerance)
    boosted = np.asarray(is_boosted, bool)[there] & (np.arange(levels.size) >= past)
    if boosted.any():
        peak = _highest(np.where(boosted, last, -np.inf))
        before, after = np.flatnonzero(~boosted[:peak]), np.flatnonzero(~boosted[peak:])
        first = int(before[-1]) + 1 if before.size else 0
        end = peak + int(after[0]) if after.size else levels.size
    else:
        poor = (last < last[0] - margin) & (best < best[0] - margin)
        poor &= np.arange(levels.size) >= past
        first = end = int(np.argmax(poor)) if poor.any() else levels.size
    bounds = zip(RANGES, itertools.pairwise((0, past, first, end, levels.size)), strict=True)
    return {name: (int(levels[a]), int(levels[b - 1])) for name, (a, b) in bounds if b > a}


def crossings(position: npt.ArrayLike, gap_by_seed: npt.ArrayLike) -> list[float]:
    """Where two curves cross, straight between their points (the vertical lines of SDD figure 7).

    A point counts as one where the curves coincide if they match there over seeds, by the rule of
    PEG section 2. Curves that touch and part again on the same sides do not cross. Where they
    coincide on the way from one side to the other, the crossing is the middle of that stretch.
    Points of one seed, or of none, are left out: it cannot be told.

    Args:
      position: `[points]`, increasing.
      gap_by_seed: `[seeds, points]`, the first curve minus the second; NaN where a seed lacks one.

    Returns:
      Positions, increasing.

    Raises:
      ValueError: the shapes differ.
    """
    x, gaps = np.asarray(position, float), np.asarray(gap_by_seed, float)
    if x.ndim != 1 or gaps.ndim != 2 or gaps.shape[1] != x.size:
        raise ValueError(f"need [points] and [seeds, points], got {x.shape}, {gaps.shape}")
    found = [difference(column) for column in gaps.T]
    told = np.array([gap.verdict != "" for gap in found], bool)
    gap = np.array([gap.mean if gap.differs else 0.0 for gap in found])[told]
    x = x[told]
    sides = np.flatnonzero(gap)
    places = []
    for left, right in itertools.pairwise(sides):
        if gap[left] * gap[right] > 0:
            continue
        if right == left + 1:
            share = gap[left] / (gap[left] - gap[right])
            places.append(float(x[left] + share * (x[right] - x[left])))
        else:
            places.append(float((x[left + 1] + x[right - 1]) / 2))
    return places
