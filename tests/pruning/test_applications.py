"""The architectures of `tf_keras.applications`: copied, pruned, trained, stripped and shrunk.

Each has all of its layers and an eighth of its channels, which cost a sixty-fourth.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.pruning.channel_flow import filter_axes
from tfprune.pruning.criteria import ScoringInputs, magnitude
from tfprune.pruning.dead_filters import zero_filters
from tfprune.pruning.kernels import kernels_by_name
from tfprune.pruning.model import get_masks, prunable_weights, prune_model, set_masks, strip
from tfprune.pruning.selection import prune
from tfprune.pruning.shrink import shrink

# What `make test` runs: without and with batch norm.
SMALL = ("VGG16", "MobileNet")
NAMES = [name for name in dir(keras.applications) if name[0].isupper()]
ALL = [
    name if name in SMALL else pytest.param(name, marks=pytest.mark.architectures) for name in NAMES
]
# The least side of an image that they take is 32, or:
SIDES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
# Widths are divided by 8, or where halves of halves would not fit together then, by:
DIVISORS = {"NASNetLarge": 7, "NASNetMobile": 1}
CLASSES, COLOURS = 10, 3
_WIDTHS = ("filters", "units", "projection_dim")


def built(name):
    """The architecture, narrow; kernels are of one size, else global pruning empties a few."""
    side = SIDES.get(name, 32)
    wide = getattr(keras.applications, name)(
        input_shape=(side, side, COLOURS), weights=None, classes=CLASSES, classifier_activation=None
    )

    def narrow(width):
        kept = width in (CLASSES, COLOURS)
        return width if kept else math.ceil(width / DIVISORS.get(name, 8))

    def narrower(layer):
        if isinstance(layer, keras.Sequential):
            *sides, channels = layer.input_shape[1:]
            first = keras.Input((*sides, narrow(channels)))
            return keras.Sequential([first, *map(narrower, layer.layers)], name=layer.name)
        config = layer.get_config()
        if config.get("groups", 1) == config.get("filters"):  # Depthwise.
            config["groups"] = narrow(config["groups"])
        config.update({key: narrow(config[key]) for key in _WIDTHS if key in config})
        if isinstance(layer, keras.layers.BatchNormalization):
            config["epsilon"] = 0.1  # Two images vary too little to divide by that 100 times over.
        if isinstance(layer, keras.layers.Reshape):
            *sides, channels = layer.target_shape
            config["target_shape"] = (*sides, narrow(channels))
        return type(layer).from_config(config)

    model = keras.models.clone_model(wide, clone_function=narrower)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if not variable.name.endswith("gamma:0"):
            variable.assign(rng.normal(0, 0.05, variable.shape))
    return model


def assert_close(one, other):
    """To 1e-5 of the largest number that the networks put out."""
    scale = float(np.abs(other).max())
    assert 0 < scale < np.inf
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)


def test_every_architecture_is_among_them():
    assert len(NAMES) >= 71
    assert {*SMALL, *SIDES, *DIVISORS} <= {*NAMES}


@pytest.mark.parametrize("name", ALL)
def test_an_architecture_is_copied_pruned_trained_stripped_and_shrunk(name):
    plain = built(name)
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(2, *plain.input_shape[1:])), tf.float32)
    model = prune_model(plain)
    np.testing.assert_array_equal(model(images), plain(images))

    dense = get_masks(model)
    assert dense.total == _kernel_weights(plain)
    masks = prune(magnitude(ScoringInputs(model, dense)), dense, 0.5, "global")
    assert masks.pruned == math.ceil(dense.total / 2)
    set_masks(model, masks)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Traced, a step of the deeper ones takes a minute.
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss, run_eagerly=True)
    before = prunable_weights(model)
    model.train_on_batch(images, np.array([1, 2]))
    after = prunable_weights(model)
    assert all(not after[name][~mask].any() for name, mask in masks.items())
    assert any((after[name] != before[name]).any() for name in masks)

    stripped = strip(model)
    np.testing.assert_array_equal(stripped(images), model(images))
    kernels = kernels_by_name(stripped)
    counts = {n: kernels[n].variable.shape[axis] for n, axis in filter_axes(stripped).items()}
    last = list(counts)[-1]  # The logits.
    keep = {n: rng.permutation(count) >= 0.3 * count for n, count in counts.items() if n != last}
    zero_filters(stripped, keep)
    small = shrink(stripped)
    assert small.count_params() < stripped.count_params()
    assert_close(small(images), stripped(images))


def _kernel_weights(model):
    """Independent of the table: every weight matrix of Keras's own names."""
    return sum(
        math.prod(variable.shape)
        for variable in model.weights
        if variable.name.split("/")[-1].split(":")[0].endswith("kernel")
    )
