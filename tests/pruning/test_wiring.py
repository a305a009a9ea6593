"""Shortcuts are found by `Add` layers, and a network that adds otherwise is refused."""

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.catalog import FILTER_CRITERIA
from tfprune.errors import InputError
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.dead_filters import gate_shortcuts
from tfprune.pruning.filter_schedule import block_convolutions
from tfprune.pruning.model import dense_masks, prune_model
from tfprune.pruning.wiring import Wiring

IMAGES = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)


def residual(add):
    """A block with an identity shortcut; every convolution is followed by a batch norm."""
    inputs = x = keras.Input((6, 6, 2))
    for name in ("stem", "conv"):
        shortcut = x
        x = keras.layers.Conv2D(2, 3, padding="same", name=name)(x)
        x = keras.layers.BatchNormalization()(x)
    x = add(x, shortcut)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))


def scores(model):
    wrapped = prune_model(model, ["stem", "conv"], filters=True)
    batches = [(IMAGES, np.zeros(4, np.int32))]
    inputs = ScoringInputs(wrapped, dense_masks(wrapped), batches=batches)
    return FILTER_CRITERIA["filter_activation"](inputs)


# What it finds by shortcuts, and how much there is of it in the block.
USERS = {
    "cut_shortcuts": (lambda model: len(gate_shortcuts(model).layers) - len(model.layers), 1),
    "blocks": (lambda model: block_convolutions(model) == ["conv"], True),
    "filter_activation": (lambda model: len(scores(model)), 2),
}


@pytest.mark.parametrize(("find", "found"), USERS.values(), ids=USERS)
def test_a_sum_by_an_operator_is_refused_where_shortcuts_are_looked_for(find, found):
    assert find(residual(lambda a, b: keras.layers.Add()([a, b]))) == found
    for add in (lambda a, b: a + b, tf.add):
        with pytest.raises(InputError, match=r"keras.layers.Add\(\)"):
            find(residual(add))


@pytest.mark.parametrize(
    "add", [lambda a, b: keras.layers.Add()([a, b]), lambda a, b: a + b, tf.add]
)
def test_the_shortcut_beside_filters_is_found_by_any_sum(add):
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, padding="same", name="first")(inputs)
    x = keras.layers.Conv2D(3, 3, padding="same", name="second")(x)
    sums = add(x, keras.layers.Conv2D(3, 1, name="shortcut")(inputs))
    assert Wiring(keras.Model(inputs, sums)).shortcut_layers("second") == ["shortcut"]


def test_a_layer_of_several_outputs_is_no_sum():
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 1, name="conv")(inputs)
    first, second = keras.layers.Lambda(lambda x: tf.split(x, 2, axis=-1))(x)
    wiring = Wiring(keras.Model(inputs, keras.layers.Add()([first, second])))
    assert wiring.shortcut_layers("conv") == []
    assert len(wiring.adds) == 1


def test_a_constant_that_is_added_is_no_shortcut():
    assert Wiring(residual(lambda a, b: keras.layers.Add()([a, b]) + 1.0)).adds
