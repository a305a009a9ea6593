"""Match or differ on made-up seeds; correlations and intervals against closed forms and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from tfprune.errors import SettingError
from tfprune.measures import statistics


@pytest.mark.parametrize(
    ("seed_wise", "verdict"),
    [
        ([0.02, 0.03, 0.04], "higher"),  # Mean 0.03, std 0.01.
        ([-0.02, -0.03, -0.04], "lower"),
        ([0.0, 0.1, 0.2], "higher"),  # Exactly one standard deviation away from zero.
        ([-0.01, 0.1, 0.2], "matches"),  # Mean 0.097, std 0.105; with ddof 0 it would differ.
        ([-0.1, 0.0, 0.1], "matches"),
        ([0.0, 0.0], "matches"),
        ([0.5], ""),
        ([], ""),
    ],
)
def test_results_differ_where_the_mean_is_a_standard_deviation_from_zero(seed_wise, verdict):
    found = statistics.difference([*seed_wise, np.nan])
    assert found.verdict == verdict
    assert found.differs == (verdict in ("higher", "lower"))
    assert found.n == len(seed_wise)


def test_a_mean_on_the_bound_does_not_fall_to_the_rounding_of_float32():
    """0, 1 and 2 of 360 images more than dense: mean and std are both one image."""

    def error(right):
        return 100 * (1 - float(np.float32(right / 360)))

    for right in range(320, 358):
        dense = {seed: error(right) for seed in range(3)}
        pruned = {seed: error(right + seed) for seed in range(3)}
        assert statistics.match_or_differ(pruned, dense).verdict == "lower"


def test_the_first_of_equal_means_is_the_lowest_however_float32_rounds_them():
    """15 wrong of 3 x 200 images, twice, the later lower by 2e-6 points; then one of 50,000."""
    wrong = np.array([[9, 4, 4, 7], [9, 4, 5, 7], [9, 7, 6, 7]])
    percents = 100 * (1 - np.float32(1 - wrong / 200).astype(float)).mean(axis=0)
    assert percents[2] < percents[1]
    assert statistics.first_lowest(percents) == 1
    assert statistics.first_lowest([3, 2, 2 - 100 / 50_000 / 5]) == 2


def test_pairing_by_seed_sees_a_difference_that_the_spread_over_seeds_hides():
    # Seeds are far apart, but a is 1 below b in each of them, give or take 0.1.
    a = {0: 10.0, 1: 20.0, 2: 30.0}
    b = {2: 31.1, 0: 11.0, 1: 20.9}
    found = statistics.match_or_differ(a, b)
    assert (found.n, found.verdict, found.unpaired) == (3, "lower", ())
    assert (found.mean, found.std) == (pytest.approx(-1.0), pytest.approx(0.1))
    assert statistics.match_or_differ(b, a).verdict == "higher"


def test_the_same_numbers_paired_otherwise_match():
    found = statistics.match_or_differ({0: 10.0, 1: 20.0, 2: 30.0}, {0: 31.1, 1: 11.0, 2: 20.9})
    assert found.verdict == "matches"  # Mean −1 as before, std 17.4.


def test_seeds_without_a_pair_are_left_out_and_named():
    found = statistics.match_or_differ({0: 1.0, 1: 2.0, 5: 9.0}, {1: 1.0, 0: 0.5, 7: 3.0})
    assert (found.n, found.unpaired, found.mean) == (2, (5, 7), 0.75)
    assert statistics.match_or_differ({0: 1.0, 1: np.nan}, {0: 0.0, 1: 0.0}).unpaired == (1,)


def test_one_pair_has_a_mean_and_no_verdict():
    found = statistics.match_or_differ({3: 1.0}, {3: 0.5})
    assert (found.n, found.mean, found.verdict, found.differs) == (1, 0.5, "", False)
    assert math.isnan(found.std)
    assert statistics.match_or_differ({0: 1.0}, {1: 1.0}).n == 0


@pytest.mark.parametrize(
    ("values", "mean", "std", "verdict", "spread"),
    [
        ([13.0, 14.0, 15.0], 12.0, math.sqrt(3), "higher", 2.0),  # √(1 + 3): exactly the bound.
        ([13.0, 14.0, 15.0], 12.1, math.sqrt(3), "matches", 2.0),
        ([10.0], 10.5, 0.3, "lower", 0.3 * math.sqrt(2)),  # The published spread stands for ours.
        ([10.0], 10.4, 0.3, "matches", 0.3 * math.sqrt(2)),
        ([10.0, 11.0], 3.0, math.nan, "", math.nan),
        ([], 3.0, 0.1, "", 0.1 * math.sqrt(2)),
    ],
)
def test_published_numbers_are_compared_with_the_spread_of_both(values, mean, std, verdict, spread):
    found = statistics.match_published(values, mean, std)
    assert found.verdict == verdict
    assert found.std == pytest.approx(spread, nan_ok=True)
    assert found.n == len(values)


def test_independent_pairs_have_the_std_that_the_published_rule_takes():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0, 0.3, 200_000), rng.normal(0, 0.4, 200_000)
    paired = statistics.match_or_differ(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert statistics.match_published(ours, theirs.mean(), theirs.std()).std == pytest.approx(
        paired.std, rel=0.01
    )


def test_a_negative_published_std_is_refused():
    with pytest.raises(SettingError, match="std=-1"):
        statistics.match_published([1.0], 1.0, -1.0)


def test_correlation_is_that_of_scipy_without_the_pairs_that_lack_a_value():
    random = np.random.default_rng(0)
    x = random.normal(size=12)
    y = x + random.normal(size=12)
    found = statistics.correlation([*x, np.nan, 1], [*y, 1, np.nan])
    assert found.n == 12
    assert (found.pearson, found.pearson_p) == pytest.approx(tuple(stats.pearsonr(x, y)))
    assert (found.kendall, found.kendall_p) == pytest.approx(tuple(stats.kendalltau(x, y)))
    assert found.pearson == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_kendalls_p_of_five_points_in_order_is_one_in_sixty():
    found = statistics.correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])
    assert (found.kendall, found.kendall_p) == pytest.approx((1.0, 2 / math.factorial(5)))


def test_two_points_and_constants_have_no_correlation_and_no_interval():
    rng = np.random.default_rng(0)
    assert math.isnan(statistics.correlation([1, 2], [1, 2]).pearson)
    assert math.isnan(statistics.correlation([1, 2, 3], [5, 5, 5]).kendall)
    assert math.isnan(statistics.pearson_interval([1, 2, 3], [5, 5, 5], rng).low)
    assert math.isnan(statistics.mean_interval([1.0], rng).high)


def test_the_interval_of_a_mean_is_1_96_standard_errors_wide_either_way():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = statistics.mean_interval([*values, np.nan], np.random.default_rng(2))
    error = 1.96 * values.std() / math.sqrt(400)
    assert found == pytest.approx((values.mean() - error, values.mean() + error), abs=0.02)


def test_the_interval_of_r_is_near_fishers():
    rng = np.random.default_rng(3)
    x = rng.normal(size=300)
    y = 0.6 * x + 0.8 * rng.normal(size=300)
    r = float(np.corrcoef(x, y)[0, 1])
    fisher = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / math.sqrt(297))
    assert statistics.pearson_interval(x, y, rng) == pytest.approx(tuple(fisher), abs=0.03)


def test_kendalls_interval_is_that_of_tau_over_the_same_resamples():
    rng = np.random.default_rng(4)
    x = rng.normal(size=15)
    y = x + rng.normal(size=15)
    taus = stats.bootstrap(
        (x, y),
        lambda a, b: stats.kendalltau(a, b).statistic,
        n_resamples=statistics.KENDALL_RESAMPLES,
        paired=True,
        vectorized=False,
        method="percentile",
        random_state=np.random.default_rng(5),
    )
    found = statistics.kendall_interval(x, y, np.random.default_rng(5))
    assert found == pytest.approx(tuple(taus.confidence_interval))


def test_resamples_of_a_single_point_do_not_spoil_the_interval_of_few_runs():
    # A ninth of the resamples of three pairs repeat one of them, and have no correlation.
    rng = np.random.default_rng(6)
    assert statistics.pearson_interval([1, 2, 3], [2, 4, 6], rng) == pytest.approx((1.0, 1.0))
    assert statistics.kendall_interval([1, 2, 3], [2, 4, 6], rng) == pytest.approx((1.0, 1.0))


def test_the_same_generator_gives_the_same_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    first, second = (statistics.mean_interval(values, np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_a_t_test_pools_the_variances_of_independent_runs():
    # Means 2 and 6, sums of squares 2 and 20 over 2 + 3 degrees of freedom.
    found = statistics.t_test([1, 2, 3, np.nan], [3, 5, 7, 9])
    t = -4 / math.sqrt(22 / 5 * (1 / 3 + 1 / 4))
    assert (found.n_first, found.n_second, found.difference) == (3, 4, -4)
    assert (found.t, found.p) == (pytest.approx(t), pytest.approx(2 * stats.t.sf(-t, 5)))
    assert found.p == pytest.approx(stats.ttest_ind([1, 2, 3], [3, 5, 7, 9]).pvalue)


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0])])
def test_single_runs_and_constants_have_no_t(first, second):
    found = statistics.t_test(first, second)
    assert math.isnan(found.t)
    assert math.isnan(found.p)
    assert found.difference == np.mean(first) - np.mean(second)
    assert math.isnan(statistics.t_test([], [1.0]).difference)


def test_a_band_is_the_interval_of_the_mean_at_every_point():
    values = np.random.default_rng(3).normal([0.0, 5.0, -2.0], size=(12, 3))
    low, high = statistics.mean_band(values, np.random.default_rng(0))
    for point in range(3):
        one = statistics.mean_interval(values[:, point], np.random.default_rng(1))
        assert (low[point], high[point]) == (
            pytest.approx(one.low, abs=0.03), pytest.approx(one.high, abs=0.03)
        )  # fmt: skip


def test_a_band_leaves_out_runs_without_the_point():
    values = [[1.0, 1.0, 1.0], [3.0, 3.0, np.nan], [2.0, np.nan, np.nan]]
    low, high = statistics.mean_band(values, np.random.default_rng(0))
    np.testing.assert_array_equal([low[1], high[1]], [1, 3])
    assert np.isnan([low[2], high[2]]).all()
    with pytest.raises(SettingError, match="confidence=1"):
        statistics.mean_band(values, np.random.default_rng(0), confidence=1)
