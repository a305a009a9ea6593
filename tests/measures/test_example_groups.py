"""Groups, loss changes, overlaps and leave-out sets of hand-made examples."""

import math

import numpy as np
import pytest

from tfprune.errors import InputError, SettingError
from tfprune.measures import example_groups as groups_of

NAN = math.nan


@pytest.mark.parametrize(("examples", "groups"), [(100, 20), (48_000, 20), (47, 20), (5, 5)])
def test_groups_are_of_equal_size_and_in_the_order_of_the_scores(examples, groups):
    scores = np.random.default_rng(0).normal(size=examples)
    group = groups_of.percentile_groups(scores, groups)
    sizes = np.bincount(group, minlength=groups)
    assert len(sizes) == groups
    assert sizes.max() - sizes.min() <= (examples % groups > 0)
    assert (np.diff(group[np.argsort(scores)]) >= 0).all()


def test_tied_scores_are_ranked_by_index_and_missing_ones_are_in_no_group():
    group = groups_of.percentile_groups([1, NAN, 1, 0, 1, NAN, 1, 2], 3)
    assert group.tolist() == [0, -1, 1, 0, 1, -1, 2, 2]  # Ranks: 3 | 0 2 4 6 | 7.


def test_more_groups_than_scores_are_refused():
    with pytest.raises(SettingError, match="groups=4: 1 to 3"):
        groups_of.percentile_groups([1, 2, 3, NAN], 4)


def test_the_loss_of_a_group_changes_by_hand_computed_means():
    before = [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]]
    after = [[0.0, 1.0, 5.0, 8.0], [1.0, 2.0, 1.0, 2.0]]
    found = groups_of.group_loss_change(before, after, [0, 0, 1, 1])
    assert found.by_seed.tolist() == [[-1.0, 3.0], [0.5, 0.5]]
    assert found.mean.tolist() == [-0.25, 1.75]
    np.testing.assert_allclose(found.std, [1.5 / math.sqrt(2), 2.5 / math.sqrt(2)])
    assert found.examples.tolist() == [[2, 2], [2, 2]]


def test_seeds_may_have_groups_of_their_own_and_examples_may_be_missing():
    before = [[0.0, 0.0, NAN, 0.0], [0.0, NAN, 0.0, 0.0]]
    after = [[1.0, 2.0, NAN, 4.0], [1.0, NAN, 5.0, 7.0]]
    found = groups_of.group_loss_change(before, after, [[0, 1, -1, 1], [1, -1, 0, 2]])
    np.testing.assert_array_equal(found.by_seed, [[1, 3, NAN], [5, 1, 7]])
    assert found.examples.tolist() == [[1, 2, 0], [1, 1, 1]]
    np.testing.assert_array_equal(found.mean, [3, 2, NAN])


def test_one_model_each_has_no_spread():
    found = groups_of.group_loss_change([1.0, 2.0], [3.0, 1.0], [1, 0])
    assert found.mean.tolist() == [-1.0, 2.0]
    assert np.isnan(found.std).all()


def test_losses_of_other_examples_are_refused():
    with pytest.raises(InputError, match="same seeds and examples"):
        groups_of.group_loss_change([1.0, 2.0], [1.0], [0, 0])
    with pytest.raises(InputError, match="same seeds and examples"):
        groups_of.group_loss_change([1.0, 2.0], [1.0, 2.0], [0])
    with pytest.raises(InputError, match="same examples"):
        groups_of.per_example_loss_change([1.0, 2.0], [1.0, 2.0, 3.0])


def test_an_examples_change_is_between_means_over_seeds_that_saw_it():
    before = [[1.0, 2.0, NAN], [3.0, NAN, NAN]]
    after = [[1.0, 5.0, 1.0], [1.0, 7.0, 1.0], [4.0, NAN, 1.0]]
    np.testing.assert_array_equal(
        groups_of.per_example_loss_change(before, after), [2.0 - 2.0, 6.0 - 2.0, NAN]
    )
    assert groups_of.per_example_loss_change([1.0, 2.0], [0.5, 4.0]).tolist() == [-0.5, 2.0]


def test_cross_entropy_of_each_example_has_its_closed_form():
    # ln(1 + e^-1), ln 3, and a logit so large that exp would overflow.
    logits = np.array([[1.0, 0.0, -np.inf], [0.0, 0.0, 0.0], [0.0, 2000.0, 0.0]])
    found = groups_of.example_losses(logits, [0, 1, 0])
    np.testing.assert_allclose(found, [math.log(1 + math.exp(-1)), math.log(3), 2000.0])
    halves = groups_of.example_losses([[0.5, 0.5], [1.0, 0.0]], [1, 1], from_logits=False)
    np.testing.assert_allclose(halves, [math.log(2), np.inf])


# Dense losses of five examples, then those at two sparsities.
BEFORE = [1.0, 1.0, 1.0, 1.0, 1.0]
AT_TWO = [[5.0, 0.5, 1.0, 1.1, 3.0], [10.0, 0.1, 1.2, 1.1, 0.0]]


def test_the_geometric_average_is_as_in_k_1():
    worsened = groups_of.average_loss_change(AT_TWO, BEFORE, "most_worsened")
    expected = [math.sqrt(4 * 9), 1e-5, math.sqrt(1e-5 * 0.2), 0.1, math.sqrt(2 * 1e-5)]
    np.testing.assert_allclose(worsened, expected)
    improved = groups_of.average_loss_change(AT_TWO, BEFORE, "most_improved")
    np.testing.assert_allclose(improved, [1e-5, math.sqrt(0.45), 1e-5, 1e-5, math.sqrt(1e-5)])
    either = groups_of.average_loss_change(AT_TWO, BEFORE, "least_affected")
    np.testing.assert_allclose(either, [6, math.sqrt(0.45), 0, 0.1, math.sqrt(2)], atol=1e-15)


@pytest.mark.parametrize(
    ("kind", "ranked"),
    [
        ("most_worsened", [0, 3, 4, 2, 1]),
        ("most_improved", [1, 4, 0, 2, 3]),
        ("least_affected", [2, 3, 1, 4, 0]),
    ],
)
def test_affected_examples_are_ranked_by_that_average(kind, ranked):
    assert groups_of.affected_examples(AT_TWO, BEFORE, kind, 5).tolist() == ranked
    assert groups_of.affected_examples(AT_TWO, BEFORE, kind, 2).tolist() == ranked[:2]


def test_seeds_are_averaged_before_the_sparsities():
    # Increases 3 and −1 of two seeds make 1; the geometric mean of the seeds would be √(3e-5).
    found = groups_of.average_loss_change([[[4.0], [0.0]]], [[1.0], [1.0]], "most_worsened")
    assert found.tolist() == [1.0]


def test_an_example_without_a_loss_is_never_affected():
    found = groups_of.affected_examples([[NAN, 2.0, 3.0]], [1.0, 1.0, 1.0], "most_worsened", 2)
    assert found.tolist() == [2, 1]
    with pytest.raises(SettingError, match="count=3: 1 to 2"):
        groups_of.affected_examples([[NAN, 2.0, 3.0]], [1.0, 1.0, 1.0], "most_worsened", 3)


def test_no_sparsities_and_unknown_kinds_are_refused():
    with pytest.raises(InputError, match="no sparsity to find the most_improved"):
        groups_of.affected_examples([], BEFORE, "most_improved")
    with pytest.raises(SettingError, match="did you mean most_worsened"):
        groups_of.affected_examples(AT_TWO, BEFORE, "worsened")


def test_the_top_fraction_is_the_highest_values_ties_by_index():
    values = [3.0, NAN, 9.0, 3.0, 3.0, -1.0]
    assert groups_of.top_fraction(values, 0.4).tolist() == [2, 0]
    assert groups_of.top_fraction(values, 1.0).tolist() == [2, 0, 3, 4, 5]
    assert groups_of.top_fraction(np.arange(100), 0.1).tolist() == list(range(99, 89, -1))
    with pytest.raises(SettingError, match="fraction=10"):
        groups_of.top_fraction(values, 10)


def test_jaccard_of_known_sets():
    assert groups_of.jaccard([1, 2, 3], [4, 3, 2]) == 0.5
    assert groups_of.jaccard([1, 2], [2, 1]) == 1.0
    assert groups_of.jaccard([1], [2]) == 0.0
    assert groups_of.jaccard([True, True, False, True], [1, 2]) == 0.25  # {0, 1, 3}, {1, 2}.
    with pytest.raises(InputError, match="two empty sets"):
        groups_of.jaccard([], [])


def test_the_baseline_of_two_pairs_among_four_is_counted_out():
    # A pair among 4 meets another in 0, 1 or 2 with chances 1/6, 4/6, 1/6: 4/6 · 1/3 + 1/6.
    assert groups_of.jaccard_baseline(0.5, 4) == pytest.approx(7 / 18)


def test_the_baseline_is_what_a_simulation_gives_and_the_papers_0_05():
    rng = np.random.default_rng(0)
    drawn = rng.random((2, 4000, 200)).argpartition(20, axis=2)[:, :, :20]
    simulated = np.array([groups_of.jaccard(a, b) for a, b in zip(*drawn, strict=True)])
    error = simulated.std() / math.sqrt(len(simulated))
    assert abs(simulated.mean() - groups_of.jaccard_baseline(0.1, 200)) < 4 * error
    assert groups_of.jaccard_baseline(0.1) == 0.1 / 1.9
    assert groups_of.jaccard_baseline(0.1, 48_000) == pytest.approx(0.1 / 1.9, rel=1e-4)
    assert round(groups_of.jaccard_baseline(0.1, 48_000), 2) == 0.05
    assert groups_of.jaccard_baseline(1.0, 50) == 1.0


def test_a_subset_gets_the_epochs_that_match_its_gradient_steps():
    # 48,000 / 128 = 375 steps an epoch; 40,800 / 128 = 318.75, so 319: 160 × 375 / 319 = 188.09.
    found = groups_of.dense_subset_epochs(160, 48_000, 40_800, 128, (80, 120), warmup_epochs=5)
    assert found == (188, (94, 141), 6)
    assert abs(188 * 319 - 160 * 375) <= 319 / 2


def test_half_the_examples_take_twice_the_epochs_and_all_take_as_many():
    assert groups_of.dense_subset_epochs(60, 1024, 512, 128) == (120, (), 0)
    # 130 of 300 examples still take 2 steps of 128, against 3: not 300 / 130 times the epochs.
    assert groups_of.dense_subset_epochs(60, 300, 130, 128).train_epochs == 90
    assert groups_of.dense_subset_epochs(60, 1000, 1000, 128, (30,)) == (60, (30,), 0)


def test_a_subset_that_cannot_be_trained_on_is_refused():
    for subset in (0, 11):
        with pytest.raises(InputError, match=f"a subset of {subset} of 10"):
            groups_of.dense_subset_epochs(60, 10, subset, 5)
    with pytest.raises(SettingError, match="batch_size=0"):
        groups_of.dense_subset_epochs(60, 10, 5, 0)


def test_tie_leaves_out_the_improved_and_rnd_as_many_at_random():
    change = np.array([0.1, -5.0, NAN, 0.3, -0.2, 0.0, -4.0, 1.0, 2.0, 3.0, 4.0])
    found = groups_of.leave_out_top_improved(change, np.random.default_rng(0))
    assert found.tie.tolist() == [0, 3, 4, 5, 7, 8, 9, 10]
    assert len(set(found.rnd)) == 8
    assert set(found.rnd) < set(range(11)) - {2}
    assert (np.diff(found.rnd) > 0).all()
    seen = np.zeros(11)
    for seed in range(300):
        drawn = groups_of.leave_out_top_improved(change, np.random.default_rng(seed))
        seen[drawn.rnd] += 1
    assert seen[2] == 0
    # Every example is kept with chance 0.8, the top-improved too: 240 ± 7 of 300.
    assert ((seen > 210) & (seen < 270)).tolist() == [i != 2 for i in range(11)]


def test_subsamples_share_all_but_the_worsened_examples():
    change = np.random.default_rng(1).permutation(1000).astype(float)
    worsened = set(np.flatnonzero(change >= 990))
    found = groups_of.worsened_subsamples(change, np.random.default_rng(2))
    top, rand = set(found.top_worsened), set(found.rand)
    assert len(top) == len(rand) == len(found.top_worsened) == 400
    assert worsened < top
    assert not worsened & rand
    assert len(top & rand) == 390
    assert (np.diff(found.top_worsened) > 0).all()
    assert (np.diff(found.rand) > 0).all()


def test_subsamples_that_cannot_be_drawn_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(SettingError, match="worsened_fraction"):
        groups_of.worsened_subsamples(np.arange(10.0), rng, 0.1, 0.2)
    with pytest.raises(SettingError, match="leave the top-worsened out"):
        groups_of.worsened_subsamples(np.arange(10.0), rng, 0.95, 0.2)
    with pytest.raises(SettingError, match="fraction=1"):
        groups_of.leave_out_top_improved(np.arange(10.0), rng, 1.0)


def test_seeds_that_held_out_different_examples_line_up_by_position():
    found = groups_of.at_positions([5.0, 6.0], [3, 0], 4)
    np.testing.assert_array_equal(found, [6.0, NAN, NAN, 5.0])
    with pytest.raises(InputError, match="indices go from 0 to 3"):
        groups_of.at_positions([5.0], [4], 4)
    with pytest.raises(InputError, match="an index repeats"):
        groups_of.at_positions([5.0, 6.0], [1, 1], 4)
    with pytest.raises(InputError, match="an index for every value"):
        groups_of.at_positions([5.0], [1, 2], 4)


def test_the_majority_of_seeds_decides_and_ties_go_to_the_lower_class():
    votes = np.array([[3, 1, 7, -1], [3, 0, 2, 1], [5, 1, 4, -1]])
    assert groups_of.majority_prediction(votes).tolist() == [3, 1, 2, 1]
