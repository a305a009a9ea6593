"""What batch norms make of their inputs before scale and shift: how normal it is (GST B)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tfprune.backend import keras, tf
from tfprune.pruning.channel_flow import is_batch_norm
from tfprune.pruning.weights import read_weights, write_weights


def normalized_values(model: keras.Model, images: tf.Tensor) -> dict[str, NDArray[np.float64]]:
    """The outputs of a network's batch norms before scale and shift, on one batch.

    E[BN] takes them to be standard normal (GST B). As in training, every channel is normalized by
    the batch's own mean and variance, here and in the layers before.

    Args:
      model: a built functional model, wrapped or plain; it is left as it was.
      images: float [batch, height, width, channels], as the model takes them.

    Returns:
      Layer name -> float64 [values], of all channels and positions together, in the order of the
      layers; empty for a network without batch norm. Layers of nested models are left out.
    """
    layers = [layer for layer in model.layers if is_batch_norm(layer)]
    if not layers:
        return {}
    before = read_weights(model)
    inputs = keras.Model(model.inputs, [layer.input for layer in layers])
    found = tf.nest.flatten(inputs(images, training=True))  # Moves the moving statistics.
    write_weights(model, before)
    return {
        layer.name: _normalized(values.numpy().astype(np.float64), layer.epsilon)
        for layer, values in zip(layers, found, strict=True)
    }


def _normalized(values: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    axes = tuple(range(values.ndim - 1))
    mean, variance = values.mean(axis=axes), values.var(axis=axes)
    return ((values - mean) / np.sqrt(variance + epsilon)).ravel()
