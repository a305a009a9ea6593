"""Which training examples pruning affects: groups, loss changes, overlaps, and sets to leave out.

Losses are per example, `[N]` for one model or `[seeds, N]` for a set of seeds. Seeds may have held
out different examples: put each seed's losses at their positions in the dataset with
`at_positions`, and an example that a seed did not train on is NaN there and left out of its means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tfprune.errors import InputError, SettingError, unknown_name

KINDS = ("most_worsened", "most_improved", "least_affected")
# "We set negative training loss increase due to pruning to a small number" (PEG footnotes 8, 9).
FLOOR = 1e-5

# PEG B.3: each model is trained for K percent of its training.
TRAIN_PERCENT = 10.0


class GroupLossChange(NamedTuple):
    """Mean loss after − mean loss before, of G groups over S seeds.

    Attributes:
      mean: float64 [G], nats, over seeds; NaN for a group without examples.
      std: float64 [G], over seeds (ddof 1); NaN for one seed.
      by_seed: float64 [S, G].
      examples: int64 [S, G], how many examples each mean is over.
    """

    mean: np.ndarray
    std: np.ndarray
    by_seed: np.ndarray
    examples: np.ndarray


class MatchedTraining(NamedTuple):
    """A training on fewer examples that takes as many gradient steps.

    Attributes:
      train_epochs: whole epochs over the fewer examples.
      lr_drop_epochs: where the learning rate drops, after as many steps as before.
      warmup_epochs: of as many steps as before.
    """

    train_epochs: int
    lr_drop_epochs: tuple[int, ...]
    warmup_epochs: int


class LeaveOut(NamedTuple):
    """Examples to train on, int64 positions, increasing, equally many (PEG D).

    Attributes:
      tie: all but the top-improved examples.
      rnd: all but as many random ones.
    """

    tie: np.ndarray
    rnd: np.ndarray


class Subsamples(NamedTuple):
    """Examples to train on, int64 positions, increasing, equally many (PEG K.2).

    Attributes:
      top_worsened: a random part and the top-worsened examples.
      rand: the same random part and as many other random examples.
    """

    top_worsened: np.ndarray
    rand: np.ndarray


def example_losses(outputs: ArrayLike, labels: ArrayLike, from_logits: bool = True) -> np.ndarray:
    """The cross-entropy of each example, float64 [N], nats.

    Args:
      outputs: [N, C], logits, or probabilities that sum to 1.
      labels: integers in [0, C), [N].
      from_logits: which of the two they are.

    Raises:
      InputError: the shapes do not go together, or a label is no class.
    """
    values, classes = checked_outputs(outputs, labels)
    own = values[np.arange(len(classes)), classes]
    if from_logits:
        return scipy.special.logsumexp(values, axis=1) - own
    with np.errstate(divide="ignore"):  # A probability of 0 is an infinite loss.
        return -np.log(own)


def majority_prediction(predictions: np.ndarray) -> np.ndarray:
    """The class that most seeds predict, int64 [N]; the lowest of those tied (PEG figure 16).

    Args:
      predictions: integers [seeds, N]; -1 is no vote.
    """
    classes = np.arange(predictions.max() + 1)
    return np.argmax((predictions[:, :, None] == classes).sum(axis=0), axis=1)


def at_positions(values: ArrayLike, indices: ArrayLike, examples: int) -> np.ndarray:
    """Values of some examples at their positions in the dataset, NaN elsewhere, float64 [N].

    Args:
      values: [K].
      indices: distinct integers in [0, N), [K], as `PreparedData.indices`.
      examples: N, of the whole training split.

    Raises:
      InputError: there are not K indices, or one is outside or repeats.
    """
    some, where = np.asarray(values, np.float64), np.asarray(indices)
    if some.shape != where.shape or some.ndim != 1:
        raise InputError(f"need an index for every value, not {where.shape} for {some.shape}")
    if where.size and (where.min() < 0 or where.max() >= examples):
        raise InputError(f"indices go from 0 to {examples - 1}, not {where.min()} to {where.max()}")
    if len(np.unique(where)) < where.size:
        raise InputError("an index repeats: give every example once")
    everywhere = np.full(examples, np.nan)
    everywhere[where] = some
    return everywhere


def percentile_groups(scores: ArrayLike, groups: int = 20) -> np.ndarray:
    """Groups of equal size by rank, 0 the lowest scores (PEG 3: M = 20 by EL2N percentile).

    Args:
      scores: [N]; the lower index first where they are tied; NaN is in no group.
      groups: M; sizes differ by at most one.

    Returns:
      int64 [N], 0 to M − 1, −1 for NaN.

    Raises:
      SettingError: M is not from 1 to the number of scores.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise InputError(f"need one score per example, not an array of shape {values.shape}")
    there = np.flatnonzero(~np.isnan(values))
    if not 1 <= groups <= there.size:
        raise SettingError("groups", groups, f"1 to {there.size}, the examples that have a score")
    order = there[np.argsort(values[there], kind="stable")]
    group = np.full(values.shape, -1, np.int64)
    group[order] = np.arange(order.size) * groups // order.size
    return group


def group_loss_change(
    loss_before: ArrayLike, loss_after: ArrayLike, groups: ArrayLike
) -> GroupLossChange:
    """How much the mean loss of each group changed, seed by seed (PEG 3).

    Negative means that the later model, the sparse one, has the better loss. Examples that are NaN
    before or after are left out.

    Args:
      loss_before: [N] or [S, N], of the dense models.
      loss_after: the same shape, of the sparse models of the same seeds.
      groups: integers from `percentile_groups`, [N], or [S, N] if each seed has its own; −1 is in
        no group.

    Raises:
      InputError: the shapes do not go together.
    """
    before, after = _by_seed(loss_before), _by_seed(loss_after)
    group = np.atleast_2d(np.asarray(groups))
    if before.shape != after.shape or group.shape not in (before.shape, (1, before.shape[1])):
        raise InputError(
            "need losses of the same seeds and examples, and their groups, not "
            f"{before.shape}, {after.shape} and {group.shape}"
        )
    change = after - before
    number = int(group.max(initial=-1)) + 1
    group = np.where(np.isnan(change), -1, np.broadcast_to(group, change.shape))
    sums, counts = (
        np.array([_totals(g, v, number) for g, v in zip(group, parts, strict=True)])
        for parts in (change, np.ones_like(change))
    )
    with np.errstate(invalid="ignore"):  # 0 / 0: an empty group.
        by_seed = sums / counts
    std = by_seed.std(axis=0, ddof=1) if len(by_seed) > 1 else np.full(number, np.nan)
    return GroupLossChange(by_seed.mean(axis=0), std, by_seed, counts.astype(np.int64))


def per_example_loss_change(loss_before: ArrayLike, loss_after: ArrayLike) -> np.ndarray:
    """Each example's mean loss after − mean loss before, float64 [N], nats (PEG 1, D, I).

    Args:
      loss_before: [N] of one model, or [seeds, N].
      loss_after: likewise, of as many seeds or not. NaN is left out of the means, and an example
        that no seed has is NaN.

    Raises:
      InputError: they are of different examples.
    """
    before, after = _mean_over_seeds(loss_before), _mean_over_seeds(loss_after)
    if before.shape != after.shape:
        raise InputError(f"need losses of the same examples, not {before.shape}, {after.shape}")
    return after - before


def average_loss_change(
    losses_by_sparsity: Sequence[ArrayLike], loss_before: ArrayLike, kind: str
) -> np.ndarray:
    """The geometric average over sparsities of what pruning does to each loss (PEG K.1).

    Losses are averaged over seeds first. Then, with d = loss − loss_before at one sparsity, the
    average is over max(d, 1e-5) for `most_worsened`, max(−d, 1e-5) for `most_improved`, and |d|
    for `least_affected`. The paper's footnotes raise negative values to 1e-5; here what lies
    between 0 and 1e-5 is raised with them, else an example that did not change at one sparsity
    would rank below one that changed the other way.

    Args:
      losses_by_sparsity: [N] or [seeds, N] of the sparse models, one for each sparsity.
      loss_before: [N] or [seeds, N] of the dense models.
      kind: one of `KINDS`.

    Returns:
      float64 [N], nats, never negative; NaN for an example without a loss.

    Raises:
      SettingError: there is no such kind.
      InputError: there are no sparsities, or the examples differ.
    """
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    if not len(losses_by_sparsity):
        raise InputError(
            f"no sparsity to find the {kind} examples at: give the losses of at least one"
        )
    changes = np.stack(
        [per_example_loss_change(loss_before, losses) for losses in losses_by_sparsity]
    )
    if kind == "least_affected":
        sizes = np.abs(changes)
    else:
        sizes = np.maximum(changes if kind == "most_worsened" else -changes, FLOOR)
    with np.errstate(divide="ignore"):  # An average with a 0 in it is 0.
        return np.exp(np.log(sizes).mean(axis=0))


def affected_examples(
    losses_by_sparsity: Sequence[ArrayLike], loss_before: ArrayLike, kind: str, count: int = 20
) -> np.ndarray:
    """The most worsened, most improved or least affected examples (PEG K.1, figure 16).

    Args:
      losses_by_sparsity: as `average_loss_change`.
      loss_before: likewise.
      kind: one of `KINDS`.
      count: how many; the paper shows 20.

    Returns:
      int64 [count] positions, the most worsened (most improved, least affected) first; the lower
      position first where they are tied.

    Raises:
      SettingError: there is no such kind, or there are not as many examples.
      InputError: there are no sparsities, or the examples differ.
    """
    average = average_loss_change(losses_by_sparsity, loss_before, kind)
    ranked = _ranked(-average if kind == "least_affected" else average)
    if not 1 <= count <= ranked.size:
        raise SettingError("count", count, f"1 to {ranked.size} examples")
    return ranked[:count]


def top_fraction(values: ArrayLike, fraction: float) -> np.ndarray:
    """The round(fraction × N) examples of the highest values, highest first, int64 positions.

    The lower position comes first where values are tied. NaN is never chosen, and not part of N.
    The most affected examples (PEG I) are `top_fraction(np.abs(change), 0.1)`, the top-improved
    ones (D) `top_fraction(-change, 0.2)`.

    Args:
      values: [N], finite or NaN.
      fraction: in [0, 1].

    Raises:
      SettingError: the fraction is outside [0, 1].
    """
    _check_fraction("fraction", fraction)
    ranked = _ranked(np.asarray(values, np.float64))
    return ranked[: round(fraction * ranked.size)]


def jaccard(first: ArrayLike, second: ArrayLike) -> float:
    """|A ∩ B| / |A ∪ B| of two sets of examples, in [0, 1] (PEG I, table 3).

    Args:
      first: positions, in any order, or bool [N].
      second: likewise.

    Raises:
      InputError: both are empty.
    """
    a, b = _positions(first), _positions(second)
    common = np.intersect1d(a, b).size
    union = a.size + b.size - common
    if not union:
        raise InputError("two empty sets have no Jaccard similarity: choose a larger fraction")
    return common / union


def jaccard_baseline(fraction: float, examples: int | None = None) -> float:
    """The expected Jaccard similarity of two independent random sets (PEG table 3: 0.05).

    Two sets of k among N examples share x of them, which is hypergeometric, and x / (2k − x) is
    averaged over x exactly. Without N the limit of many examples, fraction / (2 − fraction): of
    two sets of 10%, 0.0526.

    Args:
      fraction: of the examples in each set, in (0, 1]; k = round(fraction × N).
      examples: N.

    Raises:
      SettingError: the fraction is outside (0, 1], or so small that the sets are empty.
    """
    if not 0 < fraction <= 1:
        raise SettingError("fraction", fraction, "a number above 0, at most 1")
    if examples is None:
        return fraction / (2 - fraction)
    size = round(fraction * examples)
    if not size:
        raise SettingError("fraction", fraction, f"at least one of {examples} examples")
    shared = np.arange(max(0, 2 * size - examples), size + 1)
    probability = scipy.stats.hypergeom.pmf(shared, examples, size, size)
    return float(np.sum(probability * shared / (2 * size - shared)))


def partial_epochs(train_epochs: int, train_percent: float = TRAIN_PERCENT) -> int:
    """The nearest whole number of epochs to K percent of the training, at least 1 (PEG B.3).

    Raises:
      SettingError: the percentage is not above 0, or above 100.
    """
    if not 0 < train_percent <= 100:
        raise SettingError("train_percent", train_percent, "a number above 0, at most 100")
    return max(1, round(train_epochs * train_percent / 100))


def dense_subset_epochs(
    train_epochs: int,
    examples: int,
    subset_examples: int,
    batch_size: int,
    lr_drop_epochs: Sequence[int] = (),
    warmup_epochs: int = 0,
) -> MatchedTraining:
    """Epochs on a subset that take as many gradient steps as those on all examples (PEG E).

    An epoch takes ceil(examples / batch_size) steps, the short last batch included. The number of
    epochs is the nearest whole one, so that the steps are at most half a short epoch off, and
    the learning rate rises and drops after the same number of steps, to the nearest epoch too.

    Args:
      train_epochs: of the training on all examples.
      examples: how many those are.
      subset_examples: how many are left.
      batch_size: examples in a step.
      lr_drop_epochs: of the training on all examples, increasing.
      warmup_epochs: of the training on all examples.

    Raises:
      InputError: the subset is empty or larger than the whole.
      SettingError: the epochs or the batch size are below 1.
    """
    if not 1 <= subset_examples <= examples:
        raise InputError(
            f"a subset of {subset_examples} of {examples} examples cannot be trained on: "
            "choose a sparsity whose model gets some right"
        )
    for name, value in (("train_epochs", train_epochs), ("batch_size", batch_size)):
        if value < 1:
            raise SettingError(name, value, "at least 1")
    long, short = (math.ceil(count / batch_size) for count in (examples, subset_examples))

    def matched(epochs: int) -> int:
        return (2 * epochs * long + short) // (2 * short)

    drops = tuple(matched(drop) for drop in lr_drop_epochs)
    return MatchedTraining(matched(train_epochs), drops, matched(warmup_epochs))


def leave_out_top_improved(
    change: ArrayLike, rng: np.random.Generator, fraction: float = 0.2
) -> LeaveOut:
    """The examples without the top-improved ones, and without as many random ones (PEG D).

    Args:
      change: [N], from `per_example_loss_change`; NaN is in neither set.
      rng: where the random examples are drawn, from all, the top-improved included.
      fraction: of the examples to leave out; the paper's K is 20%.

    Raises:
      SettingError: the fraction is outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise SettingError("fraction", fraction, "a number from 0, below 1")
    values = np.asarray(change, np.float64)
    everything = np.flatnonzero(~np.isnan(values))
    improved = top_fraction(-values, fraction)
    random = rng.choice(everything, improved.size, replace=False)
    return LeaveOut(np.setdiff1d(everything, improved), np.setdiff1d(everything, random))


def worsened_subsamples(
    change: ArrayLike,
    rng: np.random.Generator,
    fraction: float = 0.4,
    worsened_fraction: float = 0.01,
) -> Subsamples:
    """Subsamples with and without the top-worsened examples (PEG K.2).

    Both have the same random part, drawn from what is not top-worsened, so that one subsample has
    all the top-worsened examples and the other none.

    Args:
      change: [N], from `per_example_loss_change`; NaN is in neither subsample.
      rng: where the random examples are drawn.
      fraction: size of a subsample as a fraction of the examples; the paper's is 40%.
      worsened_fraction: size of the top-worsened set, likewise; the paper's is 1%.

    Raises:
      SettingError: the fractions do not leave enough examples to draw.
    """
    for name, value in (("fraction", fraction), ("worsened_fraction", worsened_fraction)):
        _check_fraction(name, value)
    if worsened_fraction > fraction:
        raise SettingError("worsened_fraction", worsened_fraction, f"at most fraction={fraction}")
    values = np.asarray(change, np.float64)
    worsened = top_fraction(values, worsened_fraction)
    everything = np.flatnonzero(~np.isnan(values))
    others = np.setdiff1d(everything, worsened)
    size = round(fraction * everything.size)
    if size > others.size:
        raise SettingError("fraction", fraction, "small enough to leave the top-worsened out")
    drawn = rng.permutation(others)[:size]
    common = drawn[: size - worsened.size]
    return Subsamples(np.sort(np.concatenate([common, worsened])), np.sort(drawn))


def checked_outputs(outputs: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Outputs as float64 [N, C] and labels as int64 [N].

    Raises:
      InputError: the shapes do not go together, or a label is no class.
    """
    values, classes = np.asarray(outputs, np.float64), np.asarray(labels)
    if values.ndim != 2 or classes.shape != values.shape[:1]:
        raise InputError(
            f"need outputs [examples, classes] and a label each, not {values.shape}, "
            f"{classes.shape}"
        )
    if not np.issubdtype(classes.dtype, np.integer):
        raise InputError(f"labels are class numbers, not {classes.dtype}: give integers")
    if classes.size and not (classes.min() >= 0 and classes.max() < values.shape[1]):
        raise InputError(
            f"labels go from 0 to {values.shape[1] - 1}, not {classes.min()} to {classes.max()}"
        )
    return values, classes.astype(np.int64)


def _by_seed(losses: ArrayLike) -> np.ndarray:
    values = np.atleast_2d(np.asarray(losses, np.float64))
    if values.ndim != 2:
        raise InputError(f"need losses [examples] or [seeds, examples], not {values.shape}")
    return values


def _mean_over_seeds(losses: ArrayLike) -> np.ndarray:
    """The mean of each example over the seeds where it is not NaN; NaN for none."""
    values = _by_seed(losses).T
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):  # 0 / 0
        return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)


def _totals(groups: np.ndarray, values: np.ndarray, number: int) -> np.ndarray:
    there = groups >= 0
    return np.bincount(groups[there], values[there], minlength=number)


def _ranked(values: np.ndarray) -> np.ndarray:
    """Positions from the highest value to the lowest, the lower first in ties; NaN left out."""
    there = np.flatnonzero(~np.isnan(values))
    return there[np.argsort(-values[there], kind="stable")]


def _positions(examples: ArrayLike) -> np.ndarray:
    members = np.asarray(examples)
    return np.flatnonzero(members) if members.dtype == bool else np.unique(members)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingError(name, value, "a number in [0, 1]")
