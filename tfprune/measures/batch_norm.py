"""Batch-norm statistics of a whole split: batch normalization layers that record their inputs."""

from __future__ import annotations

import types
from typing import Any, NamedTuple

from tfprune.backend import keras, tf


class Moments(NamedTuple):
    """Mean and spread per channel of the values seen so far.

    Attributes:
      count: float64 scalar, values per channel.
      mean: float64 [channels].
      squares: float64 [channels], the sum of the squared deviations from the mean.
    """

    count: tf.Tensor
    mean: tf.Tensor
    squares: tf.Tensor

    @classmethod
    def none(cls, channels: int) -> Moments:
        """Of no values at all."""
        zeros = tf.zeros([channels], tf.float64)
        return cls(tf.zeros([], tf.float64), zeros, zeros)

    def merge(self, other: Moments) -> Moments:
        """Of both sets of values together (Chan, Golub and LeVeque 1979); `other` is not empty."""
        count = self.count + other.count
        delta = other.mean - self.mean
        between = delta * delta * (self.count * other.count / count)
        # Not a chain of additions: inside a loop, TensorFlow's graph optimizer gives three or more
        # addends of a large program a temporary variable, and the next call fails with "already
        # exists" (tensorflow#23780).
        squares = tf.reduce_sum(tf.stack([self.squares, other.squares, between]), axis=0)
        return Moments(count, self.mean + delta * (other.count / count), squares)


class _Recorder:
    """What a layer has seen since recording began; a class of its own, so Keras leaves it alone."""

    def __init__(self) -> None:
        self.on = False
        self.moments: list[Moments] = []


class _Recording:
    """Mixed into a batch normalization class: inference, or inference by the batch's statistics.

    It never normalizes as in training, so that `training=False` can be said to the whole network
    and dropout stays off. While it records, the moving statistics are those of the batch.
    """

    recorder: _Recorder

    def call(self, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        layer: Any = self
        if self.recorder.on:
            moments = _batch_moments(inputs, layer.axis)
            variable = layer.moving_mean
            layer.moving_mean.assign(tf.cast(moments.mean, variable.dtype))
            layer.moving_variance.assign(tf.cast(moments.squares / moments.count, variable.dtype))
            self.recorder.moments.append(moments)
        return super().call(inputs, training=False)  # type: ignore[misc]


def _batch_moments(inputs: tf.Tensor, channel_axes: list[int]) -> Moments:
    axes = [axis for axis in range(inputs.shape.rank) if axis not in channel_axes]
    exact = tf.cast(inputs, tf.float64 if inputs.dtype == tf.float64 else tf.float32)
    mean, variance = tf.nn.moments(exact, axes)
    count = tf.cast(tf.size(inputs) / tf.size(mean), tf.float64)
    return Moments(count, tf.cast(mean, tf.float64), tf.cast(variance, tf.float64) * count)


def recording_layer(kind: type, config: dict[str, Any]) -> keras.layers.Layer:
    """A batch normalization layer of this class and config that can record its inputs."""
    recording: Any = types.new_class(f"Recording{kind.__name__}", (_Recording, kind))
    layer = recording.from_config(config)
    layer.recorder = _Recorder()
    return layer


def recording_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model that `recording_layer` made, in an order that does not change."""
    return [module for module in model.submodules if isinstance(module, _Recording)]


def are_untouched(layers: list[keras.layers.Layer]) -> bool:
    """Whether the moving statistics are those that layers are made with: means 0, variances 1."""
    return all(
        not layer.moving_mean.numpy().any() and (layer.moving_variance.numpy() == 1).all()
        for layer in layers
    )


def no_moments(layers: list[keras.layers.Layer]) -> list[Moments]:
    """Where the recording of a split starts."""
    return [Moments.none(layer.moving_mean.shape[0]) for layer in layers]


def record(
    model: keras.Model,
    layers: list[keras.layers.Layer],
    inputs: tf.Tensor,
    before: list[Moments],
) -> list[Moments]:
    """Runs a batch through the network, every layer normalizing by the batch's own statistics.

    Args:
      model: with `layers` in it.
      layers: what `recording_layers` found.
      inputs: float [batch, ...], normalized.
      before: the moments of the batches before.

    Returns:
      The moments of all batches, this one included.
    """
    for layer in layers:
        layer.recorder.on, layer.recorder.moments = True, []
    try:
        model(inputs, training=False)
        return [
            _merge_all(moments, layer.recorder.moments)
            for layer, moments in zip(layers, before, strict=True)
        ]
    finally:
        for layer in layers:
            layer.recorder.on, layer.recorder.moments = False, []


def _merge_all(moments: Moments, more: list[Moments]) -> Moments:
    for other in more:  # One for each use of the layer.
        moments = moments.merge(other)
    return moments


def assign_statistics(layers: list[keras.layers.Layer], moments: list[Moments]) -> None:
    """Sets the moving statistics to the mean and the (biased) variance of what was recorded."""
    for layer, seen in zip(layers, moments, strict=True):
        layer.moving_mean.assign(tf.cast(seen.mean, layer.moving_mean.dtype))
        variance = seen.squares / seen.count
        layer.moving_variance.assign(tf.cast(variance, layer.moving_variance.dtype))
