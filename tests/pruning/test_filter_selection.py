"""Filter selection: PruneS, PruneL and PruneR on hand-made scores, ties and counts."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.errors import InputError, SettingError
from tfprune.pruning.filter_selection import filter_kernels, kept_filters, remove_filters
from tfprune.pruning.masks import Masks


def _kept(masks):
    return {name: np.flatnonzero(flags).tolist() for name, flags in kept_filters(masks).items()}


def test_a_filter_is_kept_while_any_of_its_weights_is():
    masks = Masks({"conv": np.zeros((1, 1, 2, 3)), "output": [[0, 1, 0], [0, 1, 1]]})
    assert _kept(masks) == {"conv": [], "output": [1, 2]}


def test_pruned_filters_lose_all_weights_and_the_others_none():
    masks = Masks({"conv": np.ones((1, 1, 2, 3)), "output": [[1, 1, 0], [0, 1, 1]]})
    left = filter_kernels(masks, {"output": [True, False, True]})
    assert left == Masks({"conv": np.ones((1, 1, 2, 3)), "output": [[1, 0, 0], [0, 0, 1]]})
    with pytest.raises(ValueError, match="2 filters of layer 'output' do not fit"):
        filter_kernels(masks, {"output": [True, False]})


@pytest.mark.parametrize(("target", "kept"), [("smallest", [0, 2, 3]), ("largest", [0, 1, 3])])
def test_the_lowest_or_the_highest_scores_go_of_equal_ones_the_first(target, kept):
    found = remove_filters(np.array([0.4, 0.1, 0.9, 0.1]), np.ones(4, bool), 1, target)
    assert np.flatnonzero(found).tolist() == kept


def test_random_filters_depend_on_the_generator_and_not_on_the_scores():
    scores, keep = np.arange(20.0), np.ones(20, bool)
    kept = [
        remove_filters(values, keep, 10, "random", np.random.default_rng(seed)).tolist()
        for values, seed in ((scores, 1), (-scores, 1), (scores, 2))
    ]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    assert sum(kept[0]) == 10


def test_random_removes_every_filter_equally_often():
    rng, keep = np.random.default_rng(0), np.array([True, True, False, True, True])
    removed = np.zeros(5)
    for _ in range(2000):
        removed += keep & ~remove_filters(np.zeros(5), keep, 1, "random", rng)
    assert removed.sum() == 2000
    assert removed[2] == 0
    # Binomial(2000, 1/4) has mean 500 and standard deviation 19.4.
    assert np.abs(removed[keep] - 500).max() < 5 * 19.4


def test_ties_go_to_the_first_filter_for_the_largest_too():
    keep = np.ones(4, bool)
    assert remove_filters(np.full(4, 3.0), keep, 2, "largest").tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert remove_filters(np.zeros(4), keep, 2, "smallest").tolist() == [False, False, True, True]
    assert keep.all()


def test_scores_that_are_nan_are_refused_only_for_filters_that_are_left():
    score = np.array([np.nan, 1.0, 2.0])
    keep = np.array([False, True, True])
    assert remove_filters(score, keep, 1).tolist() == [False, False, True]
    with pytest.raises(InputError, match="'conv9' has scores that are NaN"):
        remove_filters(score, np.ones(3, bool), 1, "smallest", None, "conv9")


def test_what_cannot_be_removed_is_refused():
    keep = np.array([True, False, True])
    with pytest.raises(ValueError, match="cannot remove 3 of 2 filters"):
        remove_filters(np.zeros(3), keep, 3)
    with pytest.raises(SettingError, match="target=bigest: did you mean largest"):
        remove_filters(np.zeros(3), keep, 1, "bigest")
    with pytest.raises(ValueError, match="need a generator"):
        remove_filters(np.zeros(3), keep, 1, "random")
