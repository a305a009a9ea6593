"""The architectures of `tf_keras.applications`: copied, pruned, trained, stripped and shrunk.

The smallest of each: the others of its family are made of the same layers by the same code.
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

# The side of the images: 32, or the least that they take.
SIDES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "RegNetX002": 32,
    "RegNetY002": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "ResNetRS50": 32,
    "VGG16": 32,
    "Xception": 71,
}


def built(name):
    build, side = getattr(keras.applications, name), SIDES[name]
    return build(input_shape=(side, side, 3), weights=None, classes=10, classifier_activation=None)


def assert_close(one, other):
    """To 1e-5 of the largest number that the networks put out."""
    scale = max(1.0, float(np.abs(other).max()))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
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
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, run_eagerly=True)
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
    # NASNet's convolutions are all read by separable ones or crops, whose channels stay.
    assert small.count_params() < stripped.count_params() or name == "NASNetMobile"
    assert_close(small(images), stripped(images))


def _kernel_weights(model):
    """Independent of the table: every weight matrix of Keras's own names."""
    return sum(
        math.prod(variable.shape)
        for variable in model.weights
        if variable.name.split("/")[-1].split(":")[0].endswith("kernel")
    )
