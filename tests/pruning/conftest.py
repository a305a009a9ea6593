"""Small networks that the pruning tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfprune.backend import keras


def _hand_made() -> keras.Model:
    """Two inputs, two ReLU units and one logit: a kernel of four weights and one of two."""
    images = keras.Input((2,))
    hidden = keras.layers.Dense(2, activation="relu", use_bias=False, name="hidden")(images)
    logits = keras.layers.Dense(1, use_bias=False, name="output")(hidden)
    model = keras.Model(images, logits)
    model.set_weights([np.array([[1.0, -2.0], [-0.5, 1.0]]), np.array([[3.0], [-1.0]])])
    return model


@pytest.fixture
def hand_made() -> keras.Model:
    return _hand_made()


def _mlp(seed: int = 0) -> keras.Model:
    init = [keras.initializers.HeNormal(seed=seed + i) for i in range(3)]
    images = keras.Input((6,))
    x = keras.layers.Dense(8, "relu", kernel_initializer=init[0], name="fc1")(images)
    x = keras.layers.Dense(7, "relu", kernel_initializer=init[1], name="fc2")(x)
    return keras.Model(images, keras.layers.Dense(3, kernel_initializer=init[2], name="output")(x))


def _conv_net(seed: int = 0) -> keras.Model:
    layers, init = keras.layers, keras.initializers.HeNormal
    images = keras.Input((6, 6, 2))
    x = layers.Conv2D(
        4, 3, padding="same", use_bias=False, kernel_initializer=init(seed), name="conv1"
    )(images)
    x = layers.BatchNormalization(name="bn1")(x)
    shortcut = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(
        4, 3, padding="same", use_bias=False, kernel_initializer=init(seed + 1), name="conv2"
    )(shortcut)
    x = layers.BatchNormalization(name="bn2")(x)
    x = layers.Add(name="add")([x, shortcut])
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Flatten(name="flatten")(layers.MaxPool2D(name="pool")(x))
    return keras.Model(
        images, layers.Dense(3, kernel_initializer=init(seed + 2), use_bias=False, name="output")(x)
    )


@pytest.fixture(scope="session")
def mlp() -> Callable[..., keras.Model]:
    return _mlp


@pytest.fixture(scope="session")
def conv_net() -> Callable[..., keras.Model]:
    return _conv_net


@pytest.fixture
def examples() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def draw(shape: tuple[int, ...], count: int = 20, seed: int = 0):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(count, *shape)).astype(np.float32), rng.integers(0, 3, count)

    return draw
