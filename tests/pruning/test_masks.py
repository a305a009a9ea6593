"""Masks: counts, order, nesting, immutability and the file."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.pruning.masks import Masks

SIX = Masks({"b": [[1, 0], [1, 1]], "a": [[0], [1]]})


def test_counts_of_a_hand_made_network():
    assert (SIX.total, SIX.remaining) == (6, 4)
    assert SIX.sparsity == 2 / 6
    assert SIX.weights_remaining == 4 / 6


def test_kernels_that_are_never_pruned_count():  # SDD 3.2: d is the number of all weights.
    masks = Masks(dict(SIX), never_pruned=2)
    assert (masks.prunable, masks.total, masks.pruned, masks.remaining) == (6, 8, 2, 6)
    assert (masks.sparsity, masks.weights_remaining) == (2 / 8, 6 / 8)
    assert masks != SIX
    assert masks.replaced({"b": np.zeros((2, 2)), "a": [[0], [1]]}).remaining == 3


def test_flat_joins_the_layers_in_order_and_each_in_c_order():
    assert SIX.flat().tolist() == [True, False, True, True, False, True]


@pytest.mark.parametrize("wrong", [0.5, 2.0, -1.0, np.nan])
def test_anything_but_zero_and_one_is_refused_with_the_layer_named(wrong):
    with pytest.raises(ValueError, match="'hidden'"):
        Masks({"hidden": np.array([1.0, wrong])})


def test_masks_are_copied_and_cannot_be_written():
    array = np.ones(3, dtype=bool)
    masks = Masks({"a": array})
    array[0] = False
    assert masks.remaining == 3
    with pytest.raises(ValueError, match="read-only"):
        masks["a"][0] = False


def test_equality_is_of_values_and_of_the_order_of_layers():
    assert Masks(dict(SIX)) == SIX
    assert Masks({"a": SIX["a"], "b": SIX["b"]}) != SIX
    assert Masks({"b": SIX["b"], "a": [[1], [1]]}) != SIX


def test_dense_masks_have_no_sparsity():
    dense = Masks.dense({"x": (2, 3), "y": (4,)})
    assert dense.shapes == {"x": (2, 3), "y": (4,)}
    assert (dense.total, dense.sparsity) == (10, 0.0)


def test_a_file_gives_back_the_same_masks_in_the_same_order(tmp_path):
    masks = Masks({"file": [0, 1], "block/conv": [[1]], "a": [1, 1, 0]})  # Awkward names.
    masks.save(tmp_path / "masks.npz")
    assert Masks.load(tmp_path / "masks.npz") == masks
    with np.load(tmp_path / "masks.npz") as plain:
        assert plain["a"].tolist() == [True, True, False]


def test_a_file_says_how_many_weights_are_never_pruned(tmp_path):
    masks = Masks(dict(SIX), never_pruned=5)
    masks.save(tmp_path / "masks.npz")
    assert Masks.load(tmp_path / "masks.npz") == masks


def test_a_file_is_replaced_whole_and_equal_masks_give_equal_bytes(tmp_path):
    path = tmp_path / "masks.npz"
    Masks({"a": [1]}).save(path)
    SIX.save(path)
    SIX.save(tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.npz", "masks.npz"]
