"""Batch norms' outputs before scale and shift are standardized by the batch."""

from __future__ import annotations

import numpy as np

from tfprune.backend import keras, tf
from tfprune.measures.normalized import normalized_values
from tfprune.pruning.model import prune_model
from tfprune.pruning.weights import read_weights

layers = keras.layers


def test_every_channel_is_standardized_whatever_its_scale_shift_and_moving_statistics():
    model = keras.Sequential(
        [
            layers.Dense(3, use_bias=False, input_shape=(2,), name="first"),
            layers.BatchNormalization(epsilon=0.0, name="norm1"),
            layers.Dense(2, use_bias=False, name="second"),
            layers.BatchNormalization(epsilon=0.0, name="norm2"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(1.0, 2.0, np.shape(w)) ** 2 for w in model.get_weights()])
    images = rng.normal(3.0, 5.0, (50, 2)).astype(np.float32)
    wrapped = prune_model(model, filters=True)
    before = read_weights(wrapped)
    found = normalized_values(wrapped, tf.constant(images))
    assert list(found) == ["norm1", "norm2"]
    kernel, gamma, beta, *_ = model.get_weights()
    first = images.astype(np.float64) @ kernel
    first = (first - first.mean(0)) / first.std(0)
    second = (first * gamma + beta) @ model.get_layer("second").get_weights()[0]
    second = (second - second.mean(0)) / second.std(0)
    np.testing.assert_allclose(found["norm1"].reshape(50, 3), first, atol=1e-4)
    np.testing.assert_allclose(found["norm2"].reshape(50, 2), second, atol=1e-3)
    after = read_weights(wrapped)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_network_without_batch_norm_has_none():
    model = keras.Sequential([layers.Dense(3, input_shape=(2,))])
    assert normalized_values(model, tf.zeros([1, 2])) == {}
