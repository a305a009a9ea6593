"""Selection: exact counts, ties, scopes and the number of levels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from synthetic import is_nested

from tfprune.errors import InputError, LayerCollapse, SettingError
from tfprune.pruning.masks import Masks
from tfprune.pruning.selection import (
    check_levels,
    check_sparsities,
    exact_ceil,
    prune,
    prune_to_count,
    prune_to_sparsity,
    remaining_counts,
)

DENSE = Masks.dense({"hidden": (2, 2), "output": (2, 1)})
SCORES = {"hidden": np.array([[0.1, 0.4], [0.2, 0.6]]), "output": np.array([[0.5], [0.3]])}


@pytest.mark.parametrize(
    ("fraction", "count", "expected"),
    [
        (0.2, 5, 1),
        (0.2, 6, 2),
        (0.07, 100, 7),
        (0.0, 9, 0),
        (1.0, 9, 9),
        (0.1 + 0.2, 10, 3),
        (2 / 3, 6, 4),
    ],
)
def test_ceil_is_of_the_decimal_fraction(fraction, count, expected):
    assert exact_ceil(fraction, count) == expected


def test_global_scope_removes_the_lowest_scores_of_all_layers():
    left = prune(SCORES, DENSE, 0.5, "global")
    assert left == Masks({"hidden": [[0, 1], [0, 1]], "output": [[1], [0]]})


def test_layer_scope_removes_the_same_fraction_of_every_layer():
    left = prune(SCORES, DENSE, 0.3, "layer")  # ceil(1.2) = 2 of four, ceil(0.6) = 1 of two.
    assert left == Masks({"hidden": [[0, 1], [0, 1]], "output": [[1], [0]]})
    left = prune(SCORES, DENSE, 0.25, "layer")
    assert left == Masks({"hidden": [[0, 1], [1, 1]], "output": [[1], [0]]})


def test_ties_go_to_the_lower_flat_index_across_layers():
    equal = {"hidden": np.full((2, 2), 7.0), "output": np.array([[7.0], [1.0]])}
    left = prune(equal, DENSE, 4 / 6, "global")
    assert left == Masks({"hidden": [[0, 0], [0, 1]], "output": [[1], [0]]})


def test_pruned_weights_neither_count_nor_come_back_whatever_their_score():
    masks = Masks({"hidden": [[0, 1], [1, 1]], "output": [[1], [0]]})
    scores = {"hidden": np.array([[9.0, 1.0], [2.0, 3.0]]), "output": np.array([[4.0], [np.nan]])}
    left = prune(scores, masks, 0.5, "global")  # Two of the four that remain.
    assert left == Masks({"hidden": [[0, 0], [0, 1]], "output": [[1], [0]]})


def test_ten_levels_nest_and_count_as_predicted():
    rng = np.random.default_rng(0)
    shapes = {"a": (37, 11), "b": (11, 5)}
    for scope in ("global", "layer"):
        masks = Masks.dense(shapes)
        predicted = remaining_counts({"a": 407, "b": 55}, 0.2, 10, scope)
        for level in range(1, 11):
            scores = {
                name: rng.integers(0, 9, shape).astype(float) for name, shape in shapes.items()
            }
            smaller = prune(scores, masks, 0.2, scope)
            assert is_nested(smaller, masks)
            assert smaller.remaining == predicted[level]
            masks = smaller


LENET = {"dense1": 784 * 300, "dense2": 300 * 100}


def test_lenet_remains_as_in_openlth():
    """A level takes 20% of all weights left, the 1,000 of the output layer counted (SDD 3.2)."""
    counts = remaining_counts(LENET, 0.2, 24, "global", never_pruned=1000)
    assert counts[:6] == [266_200, 212_960, 170_368, 136_294, 109_035, 87_228]
    assert counts[24] - 1000 == 255  # The 99.53% of SDD figures 8 to 10.


def test_levels_of_lenet_remove_what_is_predicted_from_the_hidden_layers_alone():
    rng = np.random.default_rng(0)
    masks = Masks.dense({"dense1": (784, 300), "dense2": (300, 100)}, never_pruned=1000)
    scores = {name: rng.random(shape) for name, shape in masks.shapes.items()}
    counts = [masks.remaining]
    for _ in range(5):
        masks = prune(scores, masks, 0.2, "global")
        counts.append(masks.remaining)
    assert counts == [266_200, 212_960, 170_368, 136_294, 109_035, 87_228]
    assert masks.never_pruned == 1000


def test_a_level_cannot_take_what_is_never_pruned():
    masks = Masks(dict(DENSE), never_pruned=30)  # 6 of 36 can go.
    assert prune(SCORES, masks, 6 / 36, "global").remaining == 30
    with pytest.raises(SettingError, match=r"^fraction=0\.2: .*at most 0\.1667: 6 prunable"):
        prune(SCORES, masks, 0.2, "global")
    with pytest.raises(ValueError, match="30 weights are never pruned"):
        prune_to_count(SCORES, masks, 29)


def test_the_last_level_of_lenet_is_named():
    check_levels(LENET, 0.2, 25, "global", never_pruned=1000)
    with pytest.raises(SettingError, match=r"levels=28: at most 25: .* 1004 .* 1000 of them"):
        check_levels(LENET, 0.2, 28, "global", never_pruned=1000)
    check_levels(LENET, 0.2, 28, "layer", never_pruned=1000)  # Each layer loses 20% of its own.


def test_one_shot_sparsity_is_of_all_weights():
    masks = Masks(dict(DENSE), never_pruned=4)
    assert prune_to_sparsity(SCORES, masks, 0.4, "global").remaining == 6  # 10 - 4.
    check_sparsities({"hidden": 4, "output": 2}, (0.1, 0.5), "global", never_pruned=4)
    for sparsity in (0.6, 0.9):  # 0.6 would leave the four that are never pruned.
        with pytest.raises(SettingError, match=r"at most 0\.5: 6 of the 10 weights"):
            check_sparsities({"hidden": 4, "output": 2}, (sparsity,), "global", never_pruned=4)
    with pytest.raises(SettingError, match=r"at most 0\.5"):
        prune_to_sparsity(SCORES, masks, 0.9, "global")


def test_selection_agrees_with_a_stable_sort():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 40, 1000).astype(float)
    alive = rng.random(1000) < 0.7
    left = prune({"a": scores}, Masks({"a": alive}), 0.35, "global")["a"]
    order = [i for i in np.argsort(scores, kind="stable") if alive[i]]
    removed = order[: exact_ceil(0.35, int(alive.sum()))]
    assert np.flatnonzero(alive & ~left).tolist() == sorted(removed)


def test_one_shot_prunes_to_the_sparsity_exactly():
    assert prune_to_sparsity(SCORES, DENSE, 0.4, "global").remaining == 3  # 6 - ceil(2.4).
    started = Masks({"hidden": [[1, 1], [1, 0]], "output": [[1], [1]]})
    left = prune_to_sparsity(SCORES, started, 0.5, "global")
    assert left == Masks({"hidden": [[0, 1], [0, 0]], "output": [[1], [1]]})
    left = prune_to_sparsity(SCORES, DENSE, 0.5, "layer")
    assert left == Masks({"hidden": [[0, 1], [0, 1]], "output": [[1], [0]]})


def test_one_shot_refuses_to_give_weights_back():
    with pytest.raises(SettingError, match=r"^sparsity=0\.1"):
        prune_to_sparsity(SCORES, prune(SCORES, DENSE, 0.5, "global"), 0.1, "global")


def test_nan_scores_are_refused_with_the_layer_named():
    scores = {**SCORES, "output": np.array([[np.nan], [1.0]])}
    with pytest.raises(InputError, match="'output'"):
        prune(scores, DENSE, 0.2, "global")


def test_infinite_scores_are_the_highest():
    scores = {**SCORES, "hidden": np.array([[np.inf, 0.4], [0.2, np.inf]])}
    assert prune(scores, DENSE, 4 / 6, "global")["hidden"].tolist() == [
        [True, False],
        [False, True],
    ]


def test_a_fraction_of_one_leaves_nothing_and_of_zero_everything():
    assert prune(SCORES, DENSE, 1.0, "global").remaining == 0
    assert prune(SCORES, DENSE, 0.0, "layer") == DENSE


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fractions_outside_zero_and_one_are_refused(fraction):
    with pytest.raises(SettingError, match=r"^fraction="):
        prune(SCORES, DENSE, fraction, "global")


def test_unknown_scope_and_wrong_shapes_are_refused():
    with pytest.raises(SettingError, match="did you mean global"):
        prune(SCORES, DENSE, 0.2, "globl")
    with pytest.raises(ValueError, match="do not fit"):
        prune({"hidden": SCORES["hidden"]}, DENSE, 0.2, "global")


def test_the_largest_possible_number_of_levels_is_named():
    # 5 -> 4 -> 3 -> 2 -> 1 -> 0: four levels leave a weight.
    check_levels({"a": 3, "b": 2}, 0.2, 4, "global")
    with pytest.raises(SettingError, match="levels=7: at most 4"):
        check_levels({"a": 3, "b": 2}, 0.2, 7, "global")
    check_levels({"a": 3, "b": 2}, 0.2, 1, "layer")
    with pytest.raises(SettingError, match=r"at most 1: .* layer 'b'"):
        check_levels({"a": 3, "b": 2}, 0.2, 2, "layer")
    check_levels({"a": 3}, 0.0, 1000, "global")


@pytest.mark.parametrize(
    "pruned",
    [
        lambda scores, masks: prune(scores, masks, 0.5, "global"),
        lambda scores, masks: prune_to_sparsity(scores, masks, 0.5, "global"),
        lambda scores, masks: prune_to_count(scores, masks, 3),
    ],
)
def test_a_pruning_says_which_layers_it_empties(pruned):
    masks = Masks.dense({"first": (3,), "second": (3,)})
    scores = {"first": np.zeros(3), "second": np.ones(3)}
    with pytest.warns(LayerCollapse, match="no weight of first: no signal passes"):
        left = pruned(scores, masks)
    assert left.emptied == ["first"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pruned({name: np.arange(3.0) for name in masks}, masks).emptied == []
