"""Filter selection: PruneS, PruneL and PruneR on hand-made scores, ties, scopes and counts."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import is_nested

from tfprune.errors import InputError, SettingError
from tfprune.pruning.filter_selection import (
    filter_kernels,
    kept_filters,
    prune_filters,
    remove_filters,
)
from tfprune.pruning.masks import Masks

DENSE = Masks.dense({"conv": (3, 3, 2, 4), "output": (4, 3)})
SCORES = {"conv": np.array([0.4, 0.1, 0.9, 0.1]), "output": np.array([0.2, 0.1, 0.5])}


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


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        # ceil(0.5 * 7) = 4 of 0.4 0.1 0.9 0.1 | 0.2 0.1 0.5.
        ("smallest", {"conv": [0, 2], "output": [2]}),
        ("largest", {"conv": [1, 3], "output": [1]}),
    ],
)
def test_global_scope_ranks_the_filters_of_all_layers(target, kept):
    assert _kept(prune_filters(SCORES, DENSE, 0.5, "global", target)) == kept


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        # ceil(0.25 * 4) = 1 and ceil(0.25 * 3) = 1; of the two 0.1 the first.
        ("smallest", {"conv": [0, 2, 3], "output": [0, 2]}),
        ("largest", {"conv": [0, 1, 3], "output": [0, 1]}),
    ],
)
def test_layer_scope_removes_the_fraction_of_every_layer(target, kept):
    assert _kept(prune_filters(SCORES, DENSE, 0.25, "layer", target)) == kept


def test_fractions_are_of_the_filters_that_remain_and_those_never_come_back():
    once = prune_filters(SCORES, DENSE, 2 / 7, "global")
    assert _kept(once) == {"conv": [0, 2], "output": [0, 1, 2]}  # Ties by the flat index.
    scores = {"conv": np.array([1.0, 9.0, 2.0, np.nan]), "output": np.array([3.0, 4.0, 5.0])}
    twice = prune_filters(scores, once, 0.4, "global")  # ceil(0.4 * 5) = 2.
    assert _kept(twice) == {"conv": [], "output": [0, 1, 2]}
    assert is_nested(twice, once)


def test_random_filters_depend_on_the_generator_and_not_on_the_scores():
    other = {name: -score for name, score in SCORES.items()}
    kept = [
        _kept(prune_filters(scores, DENSE, 0.5, "global", "random", np.random.default_rng(seed)))
        for scores, seed in ((SCORES, 1), (other, 1), (SCORES, 2))
    ]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    assert sum(map(len, kept[0].values())) == 3


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
    with pytest.raises(InputError, match="'conv'"):
        prune_filters({**SCORES, "conv": np.full(4, np.nan)}, DENSE, 0.5, "layer")


def test_what_cannot_be_removed_is_refused():
    keep = np.array([True, False, True])
    with pytest.raises(ValueError, match="cannot remove 3 of 2 filters"):
        remove_filters(np.zeros(3), keep, 3)
    with pytest.raises(SettingError, match="target=bigest: did you mean largest"):
        remove_filters(np.zeros(3), keep, 1, "bigest")
    with pytest.raises(ValueError, match="need a generator"):
        prune_filters(SCORES, DENSE, 0.5, "global", "random")
    with pytest.raises(SettingError, match=r"^fraction=1\.5"):
        prune_filters(SCORES, DENSE, 1.5, "global")
    with pytest.raises(SettingError, match="did you mean global"):
        prune_filters(SCORES, DENSE, 0.5, "globl")
    with pytest.raises(ValueError, match="do not fit"):
        prune_filters({"conv": np.zeros(3)}, DENSE, 0.5, "global")
