"""Masks on what belongs to filters beside their kernels: batch-norm scale and shift, biases."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras, tf
from tfprune.pruning.copies import copy_of
from tfprune.pruning.kernels import leaf_layers
from tfprune.pruning.wrapper import HoldsMask, inner

# The constraint of a layer, and the variable it is on.
_CONSTRAINED = {
    "gamma_constraint": "gamma",
    "beta_constraint": "beta",
    "bias_constraint": "bias",
}


@keras.utils.register_keras_serializable(package="tfprune")
class ChannelMask(HoldsMask, keras.layers.Layer, keras.constraints.Constraint):
    """A mask as the constraint of a variable: 1 where a channel is kept and 0 where it is dead.

    As for kernels: every `tf_keras` optimizer applies a variable's constraint as the last part of
    its step, in any training loop. A layer itself, so that Keras counts the mask among the weights
    of the layer whose constraint it is: it is saved, loaded, copied and restored with them.

    Args:
      shape: the variable's.
      of: the variable's name, `LAYER/VARIABLE`, unique in a model.
      first: the constraint that the variable had already; it is applied before.
      **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, shape: Any, of: str, first: Any = None, **kwargs: Any):
        super().__init__(trainable=False, **kwargs)
        self.shape = tuple(shape)
        self.of = of
        self.first = keras.constraints.get(first)
        # A constraint is asked for after its variable was made, too late to make one of its own.
        self.mask = self.add_weight(
            f"{of}_mask", self.shape, initializer="ones", trainable=False,
            aggregation=tf.VariableAggregation.MEAN,
        )  # fmt: skip
        self.built = True

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        projected = weight if self.first is None else self.first(weight)
        return projected * tf.cast(self.mask, projected.dtype)

    def get_config(self) -> dict[str, Any]:
        first = keras.constraints.serialize(self.first)
        config = {key: v for key, v in super().get_config().items() if key != "trainable"}
        return {**config, "shape": self.shape, "of": self.of, "first": first}


def with_channel_masks(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A new layer like a built one, with masks of ones among its constraints; not built."""
    copy = plain_copy(layer)
    for attribute, name in _CONSTRAINED.items():
        variable = getattr(layer, name, None)
        if hasattr(copy, attribute) and isinstance(variable, tf.Variable):
            mask = ChannelMask(
                variable.shape, f"{layer.name}/{name}", getattr(copy, attribute),
                dtype=getattr(variable, "true_dtype", variable.dtype).name,
            )  # fmt: skip
            setattr(copy, attribute, mask)
    return copy


def plain_copy(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """As `copy_of`, with the constraints that the layer had without masks."""
    firsts = {
        attribute: keras.constraints.serialize(mask.first)
        for attribute, mask in _channel_masks(layer).items()
    }
    return copy_of(layer, **{**firsts, **changes})


def own_variables(layer: keras.layers.Layer) -> list[tf.Variable]:
    """The variables of a layer in order, without masks of its channels."""
    masks = {id(channel.mask) for channel in _channel_masks(layer).values()}
    return [variable for variable in layer.weights if id(variable) not in masks]


def has_masks(model: keras.Model) -> bool:
    """Whether masks are on more than kernels."""
    return any(_channel_masks(inner(layer)) for _, layer in leaf_layers(model))


def _channel_masks(layer: keras.layers.Layer) -> dict[str, ChannelMask]:
    """Name of a constraint -> the mask that it is."""
    found = {attribute: getattr(layer, attribute, None) for attribute in _CONSTRAINED}
    return {name: mask for name, mask in found.items() if isinstance(mask, ChannelMask)}
