"""Do two results match or differ, how two quantities go together, and how sure a mean is."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tfprune.errors import SettingError

RESAMPLES = 9999
_CONFIDENCE = 0.95
# Kendall's tau looks at every pair of points: this many resamples take a fraction of a second.
KENDALL_RESAMPLES = 1999
_PAIRS_AT_ONCE = 1_000_000
# Accuracies of some tenths of a point apart, in float32.
_BOUND_ROUNDING = 1e-4
# Percent: what float32 does to a mean of accuracies. One image of 50,000 in five seeds is 4e-4.
_EQUAL_PERCENTS = 1e-5


@dataclass(frozen=True)
class Difference:
    """A difference of two results over seeds, and PEG section 2's rule.

    "Any real-valued results of two experiments differ if and only if the mean difference between
    three independent runs of respective experiments is at least one standard deviation away from
    zero, otherwise we say that the results match."

    Attributes:
      n: how many seeds.
      mean: their mean difference, in the unit of the results.
      std: one standard deviation of the differences; NaN where the rule says nothing.
    """

    n: int
    mean: float
    std: float

    @property
    def differs(self) -> bool:
        """Whether the mean is at least one standard deviation away from zero.

        False where the rule says nothing, and for results that are equal in every seed.
        """
        # A mean that lies exactly on the bound must not fall to the rounding of float32 results: of
        # few test examples many do.
        return self.mean != 0 and abs(self.mean) >= self.std * (1 - _BOUND_ROUNDING) - 1e-12

    @property
    def verdict(self) -> str:
        """`higher`, `lower` or `matches`; "" where the rule says nothing."""
        if math.isnan(self.mean) or math.isnan(self.std):
            return ""
        return ("higher" if self.mean > 0 else "lower") if self.differs else "matches"


@dataclass(frozen=True)
class PairedDifference(Difference):
    """A difference whose seeds were paired.

    Attributes:
      unpaired: seeds that only one of the two results has, increasing: name them beside n.
    """

    unpaired: tuple[int, ...] = ()


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where it is not defined."""

    low: float
    high: float


@dataclass(frozen=True)
class Correlation:
    """How two quantities go together: n points, coefficients and two-sided p-values.

    NaN where they are not defined: fewer than three points, or a constant.
    """

    n: int
    pearson: float
    pearson_p: float
    kendall: float
    kendall_p: float


@dataclass(frozen=True)
class TTest:
    """Whether two sets of runs have one mean.

    Attributes:
      n_first: runs of the first.
      n_second: runs of the second.
      difference: mean of the first minus mean of the second; NaN where one is empty.
      t: the statistic.
      p: two-sided.
    """

    n_first: int
    n_second: int
    difference: float
    t: float
    p: float


def difference(seed_wise: ArrayLike) -> Difference:
    """The mean and std of differences `[seeds]`, those that are NaN left out.

    The std is that of a sample (ddof 1; the paper does not say), so it takes two seeds.
    """
    values = np.asarray(seed_wise, np.float64)
    values = values[~np.isnan(values)]
    mean = float(values.mean()) if values.size else math.nan
    std = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return Difference(int(values.size), mean, std)


def match_or_differ(
    a_by_seed: Mapping[int, float], b_by_seed: Mapping[int, float]
) -> PairedDifference:
    """Whether result a matches result b or differs from it, seed by seed (PEG section 2).

    Args:
      a_by_seed: seed -> the result; a pandas Series indexed by seed will do. NaN is no result.
      b_by_seed: likewise. Seeds are paired by number; what has no pair is left out and named.

    Returns:
      a − b over the seeds that both have. `verdict` is `higher` if a is, `lower`, `matches`, or ""
      for fewer than two pairs. Read it with `n`: the paper's is 3.
    """
    a, b = _results(a_by_seed), _results(b_by_seed)
    paired = sorted(a.keys() & b.keys())
    found = difference([a[seed] - b[seed] for seed in paired])
    return PairedDifference(found.n, found.mean, found.std, tuple(sorted(a.keys() ^ b.keys())))


def first_lowest(percents: ArrayLike) -> int:
    """The position of the lowest of some mean errors, the first of equal ones.

    As many wrong images are often spread differently over seeds: means that are equal then differ
    in what float32 rounds.

    Args:
      percents: `[points]`, at least one, in percent.
    """
    values = np.asarray(percents, np.float64)
    return int(np.argmax(values <= values.min() + _EQUAL_PERCENTS))


def match_published(values: ArrayLike, mean: float, std: float) -> Difference:
    """Whether our seeds match a published mean ± std, whose seeds are not known.

    The rule of `match_or_differ` for runs that cannot be paired: the difference of two independent
    runs has the variance of both together, so that one standard deviation is √(s² + std²), s being
    ours (ddof 1). Of a single seed s is unknown; it is then taken to be the published one. The
    published numbers are taken as printed, rounding and all.

    Args:
      values: our results `[seeds]`, in the published unit; NaN is no result.
      mean: as published.
      std: as published; NaN where none was.

    Returns:
      Ours − published, n our seeds. No verdict without a seed of ours or without a published std.

    Raises:
      SettingError: std is negative.
    """
    if std < 0:
        raise SettingError("std", std, "at least 0, or NaN where none was published")
    ours = difference(values)
    spread = std if math.isnan(ours.std) else ours.std
    return Difference(ours.n, ours.mean - mean, math.hypot(spread, std))


def t_test(first: ArrayLike, second: ArrayLike) -> TTest:
    """Student's t test of two sets of independent runs, variances pooled (GST table F1).

    Args:
      first: `[runs]`; NaN is no run.
      second: `[runs]`, of any length.

    Returns:
      The test. t and p are NaN for fewer than two runs of either, and where neither varies.
    """
    a, b = (np.asarray(values, np.float64) for values in (first, second))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    gap = float(a.mean() - b.mean()) if a.size and b.size else math.nan
    if min(a.size, b.size) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return TTest(int(a.size), int(b.size), gap, math.nan, math.nan)
    # Of the moments: SciPy's test of the values warns of a set that does not vary.
    found = scipy.stats.ttest_ind_from_stats(
        a.mean(), a.std(ddof=1), a.size, b.mean(), b.std(ddof=1), b.size
    )
    return TTest(int(a.size), int(b.size), gap, float(found.statistic), float(found.pvalue))


def correlation(first: ArrayLike, second: ArrayLike) -> Correlation:
    """Pearson's r and Kendall's tau-b of two vectors, pairs with a NaN left out.

    Raises:
      ValueError: the shapes differ.
    """
    x, y = _pairs(first, second)
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(int(x.size), math.nan, math.nan, math.nan, math.nan)
    pearson, kendall = scipy.stats.pearsonr(x, y), scipy.stats.kendalltau(x, y)
    return Correlation(
        int(x.size),
        float(pearson.statistic),
        float(pearson.pvalue),
        float(kendall.statistic),
        float(kendall.pvalue),
    )


def mean_interval(values: ArrayLike, rng: np.random.Generator) -> Interval:
    """The bootstrapped 95% confidence interval of a mean (GST section 3), by percentiles.

    Args:
      values: `[runs]`; NaN is no run.
      rng: where the resamples are drawn.

    Returns:
      The interval; NaN for fewer than two runs.
    """
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    if x.size < 2:
        return Interval(math.nan, math.nan)
    return _percentiles((x,), np.mean, rng, RESAMPLES)


def mean_band(
    values: ArrayLike,
    rng: np.random.Generator,
    confidence: float = _CONFIDENCE,
    resamples: int = RESAMPLES,
) -> tuple[np.ndarray, np.ndarray]:
    """Such an interval of the mean of every column of curves, whole runs resampled.

    Args:
      values: `[runs, points]`; NaN where a run has no such point.
      rng: where the resamples are drawn.
      confidence: level, in (0, 1).
      resamples: how many, with replacement; memory grows with resamples × points.

    Returns:
      Low and high ends, `[points]` each; NaN where fewer than two runs have the point.

    Raises:
      SettingError: the level is outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise SettingError("confidence", confidence, "a number between 0 and 1, as 0.95")
    x = np.asarray(values, np.float64)
    there = ~np.isnan(x)
    runs = len(x)
    counts = rng.multinomial(runs, np.full(runs, 1 / runs), size=resamples).astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 / 0: no run of this resample has the point.
        means = (counts @ np.where(there, x, 0)) / (counts @ there)
    low, high = np.full((2, x.shape[1]), math.nan)
    known = there.sum(axis=0) > 1
    tail = (1 - confidence) / 2
    if known.any():
        low[known], high[known] = np.nanquantile(means[:, known], (tail, 1 - tail), axis=0)
    return low, high


def pearson_interval(first: ArrayLike, second: ArrayLike, rng: np.random.Generator) -> Interval:
    """The bootstrapped 95% confidence interval of Pearson's r, pairs resampled, by percentiles.

    Resamples in which a vector is constant have no r and are left out. Otherwise as
    `mean_interval`, and NaN where `correlation` is.

    Raises:
      ValueError: the shapes differ.
    """
    return _correlation_interval(first, second, _pearson, rng, RESAMPLES)


def kendall_interval(first: ArrayLike, second: ArrayLike, rng: np.random.Generator) -> Interval:
    """As `pearson_interval`, of Kendall's tau-b."""
    return _correlation_interval(first, second, _kendall, rng, KENDALL_RESAMPLES)


def _results(by_seed: Mapping[int, float]) -> dict[int, float]:
    return {seed: float(value) for seed, value in by_seed.items() if not math.isnan(value)}


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"need two vectors of one length, got {x.shape}, {y.shape}")
    there = ~(np.isnan(x) | np.isnan(y))
    return x[there], y[there]


def _pearson(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    x = x - x.mean(axis=axis, keepdims=True)
    y = y - y.mean(axis=axis, keepdims=True)
    norms = np.sqrt((x * x).sum(axis=axis) * (y * y).sum(axis=axis))
    with np.errstate(invalid="ignore"):  # 0 / 0: a constant has no correlation.
        return (x * y).sum(axis=axis) / norms


def _kendall(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Tau-b from all pairs, over the last axis: SciPy's takes one resample at a time."""
    a = np.sign(x[..., :, None] - x[..., None, :]).astype(np.int8)
    b = np.sign(y[..., :, None] - y[..., None, :]).astype(np.int8)
    pairs = (-2, -1)
    untied = np.sqrt(1.0 * np.count_nonzero(a, axis=pairs) * np.count_nonzero(b, axis=pairs))
    with np.errstate(invalid="ignore"):  # 0 / 0: a constant has no correlation.
        return (a * b).sum(axis=pairs) / untied


def _correlation_interval(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Callable[..., np.ndarray],
    rng: np.random.Generator,
    resamples: int,
) -> Interval:
    x, y = _pairs(first, second)
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Interval(math.nan, math.nan)
    return _percentiles((x, y), statistic, rng, resamples)


def _percentiles(
    samples: tuple[np.ndarray, ...],
    statistic: Callable[..., np.ndarray],
    rng: np.random.Generator,
    resamples: int,
) -> Interval:
    with warnings.catch_warnings():
        # Of SciPy's own interval, which is NaN as soon as a single resample is: not taken here.
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        found = scipy.stats.bootstrap(
            samples,
            statistic,
            n_resamples=resamples,
            paired=len(samples) > 1,
            vectorized=True,
            # Pairs of points of as many resamples take some ten megabytes.
            batch=max(_PAIRS_AT_ONCE // samples[0].size ** 2, 1),
            method="percentile",
            random_state=rng,  # SciPy before 1.15 does not know it as `rng`.
        )
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.nanquantile(found.bootstrap_distribution, (tail, 1 - tail))
    return Interval(float(low), float(high))
