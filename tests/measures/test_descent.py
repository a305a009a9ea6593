"""Pruning efficacy and the five sparsities, on curves made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfprune.measures import descent as analysis

SPARSITY = [0.0, 0.2, 0.36, 0.488, 0.5904]
# Dense 80%, a dip to 70% at level 3, a peak of 95% (last) at 6 and of 96% (best) at 5.
LAST = [0.80, 0.80, 0.75, 0.70, 0.85, 0.93, 0.95, 0.92, 0.60, 0.10]
BEST = [0.90, 0.90, 0.90, 0.89, 0.92, 0.96, 0.955, 0.93, 0.62, 0.10]


@pytest.mark.parametrize(
    ("tolerance", "level"), [(0.0, 1), (0.01, 2), (0.04, 2), (0.05, 4), (1, 4)]
)
def test_efficacy_is_the_last_sparsity_before_train_accuracy_falls(tolerance, level):
    train = [1.0, 1.0, 0.99, 0.95, 0.97]
    assert analysis.efficacy_index(SPARSITY, train, tolerance) == level


def test_efficacy_does_not_count_a_level_that_recovers():
    assert analysis.efficacy_index(SPARSITY, [0.9, 0.9, 0.5, 0.9, 0.9], 0.01) == 1


def test_a_level_exactly_on_the_bound_is_kept():
    assert 0.2 - 0.02 > 0.18  # In binary, by one rounding error.
    assert analysis.efficacy_index([0, 0.2], [0.2, 0.18], 0.02) == 1


def test_efficacy_needs_the_dense_network():
    assert analysis.efficacy_index([0.2, 0.36], [1, 1], 0.01) == -1
    assert analysis.efficacy_index([0, 0.2], [np.nan, 1], 0.01) == -1
    with pytest.raises(ValueError, match="one length"):
        analysis.efficacy_index([0, 0.2], [1], 0.01)


def test_efficacy_is_measured_per_seed_and_says_where_no_level_was_hurt():
    rows = [
        ("e", "t", "", seed, level, SPARSITY[level], accuracy)
        for seed, curve in enumerate([[1, 1, 0.5], [1, 0.5, 1], [1, 1, 1]])
        for level, accuracy in enumerate(curve)
    ]
    columns = ["experiment", "trial", "branch", "seed", "level", "sparsity", "train_accuracy"]
    found = analysis.efficacy_by_seed(pd.DataFrame(rows, columns=columns))
    assert found["efficacy"].tolist() == [0.2, 0.0, 0.36]
    assert found["at_end"].tolist() == [False, False, True]


# As LAST and BEST; training accuracy is full up to level 2.
TRAIN = [1.0, 1.0, 0.995, 0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.1]
BOOSTED = [last > 0.81 for last in LAST]


def ranges_of(train=TRAIN, last=LAST, best=BEST, boosted=BOOSTED, **options):
    return analysis.sparsity_ranges(range(len(train)), train, last, best, boosted, **options)


def test_the_four_ranges_of_a_curve_with_a_dip_and_a_rise():
    assert ranges_of() == {
        "trivial": (0, 2),
        "critical": (3, 3),
        "high": (4, 7),
        "extreme": (8, 9),
    }
    assert ranges_of(tolerance=0.0)["critical"] == (2, 3)


def test_a_level_that_is_boosted_by_chance_beside_the_peak_is_not_high():
    broken = [*BOOSTED[:5], False, *BOOSTED[6:]]
    assert ranges_of(boosted=broken) == {
        "trivial": (0, 2),
        "critical": (3, 5),
        "high": (6, 7),
        "extreme": (8, 9),
    }


def test_levels_that_are_boosted_at_full_training_accuracy_are_trivial():
    full = [1.0] * 6 + TRAIN[6:]
    assert ranges_of(train=full) == {"trivial": (0, 5), "high": (6, 7), "extreme": (8, 9)}


def test_without_a_boost_extreme_begins_where_last_and_best_both_suffer():
    never = [False] * 10
    assert ranges_of(boosted=never) == {
        "trivial": (0, 2),
        "critical": (3, 7),
        "extreme": (8, 9),
    }
    assert ranges_of(train=[1.0] * 10, boosted=never) == {"trivial": (0, 9)}


def test_there_are_no_ranges_without_the_dense_network():
    assert analysis.sparsity_ranges([1, 2], [1, 1], [1, 1], [1, 1], [False, False]) == {}


def roles(level, last, best, spread=0.002, **changes):
    """The five sparsities of two seeds whose accuracies lie `spread` to either side."""
    shifts = np.array([[-spread], [spread]]) * np.cos(np.pi * np.arange(len(last)))
    return analysis.five_sparsities(level, last + shifts, best + shifts, **changes)


def test_five_sparsities_of_a_curve_with_a_dip_and_a_rise():
    assert roles(range(10), LAST, BEST) == {
        "dense": 0,
        "overfitting": 3,
        "sweet_spot_last": 6,
        "sweet_spot_best": 5,
        "underfitting": 8,
    }


def test_no_role_is_read_off_noise():
    """A drop of 4 points counts where it is at least one std of its differences over seeds."""
    last, best = np.array([0.80, 0.76, 0.80, 0.90]), np.array([0.9, 0.9, 0.9, 0.95])

    def overfitting(drops):
        seeds = np.tile(last, (len(drops), 1))
        seeds[:, 1] = 0.80 - np.array(drops)
        return analysis.five_sparsities(range(4), seeds, np.tile(best, (len(drops), 1)))

    # Drops of 4 points: their std is 3.6 points, then 4.4.
    assert overfitting([0.004, 0.04, 0.076])["overfitting"] == 1
    assert "overfitting" not in overfitting([-0.004, 0.04, 0.084])
    assert overfitting([-0.004, 0.04, 0.084])["sweet_spot_last"] == 3
    # Seeds so far apart that not even the peak is told.
    noise = np.array([[-0.2], [0.0], [0.2]]) * [1, -1, 1, -1]
    assert analysis.five_sparsities(range(4), last + noise, best + noise) == {"dense": 0}


def test_one_seed_tells_the_dense_network_alone():
    assert analysis.five_sparsities(range(10), [LAST], [BEST]) == {"dense": 0}


def test_seeds_are_compared_with_themselves():
    """Two seeds 20 points apart that agree on every change."""
    apart = np.array([[-0.1], [0.1]])
    assert analysis.five_sparsities(range(10), LAST + apart, BEST + apart) == roles(
        range(10), LAST, BEST
    )


def test_sweet_spots_that_coincide_part_by_the_next_highest_best():
    best = [*BEST[:5], 0.93, 0.96, 0.94, *BEST[8:]]
    found = roles(range(10), LAST, best)
    assert (found["sweet_spot_last"], found["sweet_spot_best"]) == (6, 7)


def test_of_levels_with_equal_means_the_least_pruned_is_the_sweet_spot():
    """As many right images, spread differently over three seeds, in the float32 of results.csv."""
    seeds = np.tile(LAST, (3, 1))
    seeds[:, 5] = np.array([283, 283, 286]) / 300
    seeds[:, 6] = np.array([280, 281, 291]) / 300
    seeds = seeds.astype(np.float32).astype(float)
    assert seeds[:, 6].mean() > seeds[:, 5].mean()
    assert analysis.five_sparsities(range(10), seeds, seeds)["sweet_spot_last"] == 5


def test_levels_are_named_by_their_number_not_their_place():
    levels = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert roles(levels, LAST, BEST)["overfitting"] == 6


def test_collapse_at_extreme_sparsity_is_not_overfitting():
    # It bounces by 5 points, more than the dip, but no epoch there is any good.
    last = [0.80, 0.78, 0.90, 0.95, 0.10, 0.15, 0.12]
    best = [0.90, 0.90, 0.92, 0.96, 0.12, 0.15, 0.13]
    assert roles(range(7), last, best)["overfitting"] == 1


def test_a_rise_without_a_dip_has_no_overfitting():
    found = roles(range(4), [0.7, 0.8, 0.9, 0.85], [0.8, 0.85, 0.92, 0.90])
    assert "overfitting" not in found
    assert found["sweet_spot_last"] == 2


def test_a_curve_that_only_falls_has_the_dense_network_alone():
    assert roles(range(3), [0.9, 0.8, 0.7], [0.95, 0.9, 0.8]) == {"dense": 0}


def test_changes_of_half_a_point_are_neither_dip_nor_sweet_spot():
    found = roles(range(3), [0.900, 0.896, 0.904], [0.95, 0.95, 0.95], spread=0.0)
    assert found == {"dense": 0}


def test_without_a_clear_fall_underfitting_is_the_last_level_if_it_lies_a_little_below():
    below, level = [*LAST[:7], 0.93], [*LAST[:7], 0.945]
    assert roles(range(8), below, BEST[:8])["underfitting"] == 7
    assert "underfitting" not in roles(range(8), level, BEST[:8])


def test_nothing_is_told_without_level_0():
    assert roles(range(1, 10), LAST[1:], BEST[1:]) == {}
    assert analysis.five_sparsities([0, 1], [[np.nan, 0.5]] * 2, [[np.nan, 0.5]] * 2) == {}
    assert analysis.five_sparsities([], [], []) == {}


def crossings(position, first, second):
    """Of two seeds that agree."""
    return analysis.crossings(position, [np.subtract(first, second)] * 2)


def test_two_made_up_curves_cross_where_algebra_says():
    # 0 - 1 = -1 at 2 becomes 3 - 1 = 2 at 5: a third of the way, at 3; and back on the way to 9.
    found = crossings([2, 5, 9], [0, 3, 0], [1, 1, 1])
    assert found == pytest.approx([3, 5 + 4 * 2 / 3])


def test_curves_that_touch_do_not_cross_and_those_that_coincide_cross_in_the_middle():
    assert crossings([0, 1, 2], [1, 0, 1], [0, 0, 0]) == []
    assert crossings([0, 1, 2], [1, 0, -1], [0, 0, 0]) == [1]
    assert crossings([0, 1, 2, 3], [1, 0, 0, -1], [0, 0, 0, 0]) == [1.5]
    assert crossings([0, 1, 2], [1, np.nan, -1], [0, 0, 0]) == [1]
    assert crossings([0], [1], [0]) == crossings([], [], []) == []


def test_curves_that_match_over_seeds_coincide_and_do_not_cross_back_and_forth():
    # At 1 and 2 the seeds disagree about which curve is higher.
    gaps = [[1.0, -0.3, 0.5, -1.0], [1.2, 0.2, -0.4, -1.4]]
    assert analysis.crossings([0, 1, 2, 3], gaps) == [1.5]
    assert analysis.crossings([0, 1, 2, 3], gaps[:1]) == []  # One seed cannot tell.
