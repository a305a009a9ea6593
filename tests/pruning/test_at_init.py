"""Networks pruned at random at initialization: exact sizes, and the variance of He et al."""

import numpy as np
import pytest

from tfprune.errors import InputError
from tfprune.pruning.at_init import random_masks, rescaled
from tfprune.pruning.masks import Masks

DENSE = Masks.dense({"wide": (300, 200), "narrow": (200, 10)})


def test_exactly_as_many_weights_are_left_as_asked_for():
    for remaining in (1, 777, 15_500, DENSE.total):
        masks = random_masks(DENSE, remaining, np.random.default_rng(0))
        assert masks.remaining == remaining
        assert masks.shapes == DENSE.shapes


def test_weights_are_left_uniformly_over_all_layers():
    masks = random_masks(DENSE, DENSE.total // 4, np.random.default_rng(1))
    for name, mask in masks.items():
        deviation = np.sqrt(0.25 * 0.75 / mask.size)
        assert abs(mask.mean() - 0.25) < 5 * deviation, name


@pytest.mark.parametrize("remaining", [0, 62_001])
def test_no_weights_or_more_than_there_are_cannot_be_left(remaining):
    with pytest.raises(InputError, match=f"{remaining} of 62000"):
        random_masks(DENSE, remaining, np.random.default_rng(0))


def test_rescaled_weights_have_the_variance_of_he_for_the_inputs_that_are_left():
    rng = np.random.default_rng(2)
    weights = {
        "wide/kernel": rng.normal(0, np.sqrt(2 / 300), (300, 200)),
        "narrow/kernel": rng.normal(0, np.sqrt(2 / 200), (200, 10)),
        "narrow/bias": np.full(10, 0.5),
    }
    masks = random_masks(DENSE, DENSE.total // 4, rng)
    small = rescaled(weights, masks)
    for name, fan_in in (("wide", 300), ("narrow", 200)):
        left = small[f"{name}/kernel"][masks[name]]
        inputs = fan_in * masks[name].mean()  # That a unit has left on average.
        tolerance = 5 * np.sqrt(2 / left.size)  # Five deviations of a sample variance.
        assert abs(left.var() * inputs / 2 - 1) < tolerance, name
        assert not small[f"{name}/kernel"][~masks[name]].any()
    np.testing.assert_array_equal(small["narrow/bias"], weights["narrow/bias"])
    # The same factor for all that is left: nothing else is drawn anew.
    ratio = small["wide/kernel"][masks["wide"]] / weights["wide/kernel"][masks["wide"]]
    np.testing.assert_allclose(ratio, np.sqrt(masks["wide"].size / masks["wide"].sum()))


def test_a_layer_without_a_weight_left_is_zero():
    masks = Masks({"wide": np.zeros((300, 200)), "narrow": np.ones((200, 10))})
    weights = {"wide/kernel": (300, 200), "narrow/kernel": (200, 10)}
    small = rescaled({name: np.ones(shape, np.float32) for name, shape in weights.items()}, masks)
    assert small["wide/kernel"].dtype == np.float32
    assert not small["wide/kernel"].any()
