"""Masks on what belongs to filters beside their kernels: batch-norm scale and shift, biases."""

from __future__ import annotations

from collections.abc import Iterator

from tfprune.backend import keras, tf
from tfprune.pruning.wrapper import MaskConstraint, MaskedLayer

# The constraint of a layer, and the variable it is on.
_CONSTRAINED = {
    "gamma_constraint": "gamma",
    "beta_constraint": "beta",
    "bias_constraint": "bias",
}


def expect_masks(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Puts a mask among the constraints of a layer that is not built yet; returns the layer.

    As for kernels: every `tf_keras` optimizer applies a variable's constraint as the last part of
    its step, in any training loop.
    """
    for constraint in _CONSTRAINED:
        if hasattr(layer, constraint):
            setattr(layer, constraint, MaskConstraint(getattr(layer, constraint)))
    return layer


def create_masks(model: keras.Model) -> keras.Model:
    """Makes the masks that a built model's layers expect, all ones; returns the model.

    The layers' configs only know the constraints that they had before.
    """
    for layer in _leaves(model):
        for attribute, name in _CONSTRAINED.items():
            constraint = getattr(layer, attribute, None)
            if not isinstance(constraint, MaskConstraint):
                continue
            variable = getattr(layer, name)
            if variable is not None:
                ones = tf.ones(variable.shape, variable.dtype)
                constraint.mask = tf.Variable(ones, trainable=False, name=f"{name}_mask")
            setattr(layer, attribute, constraint.first)
    return model


def channel_mask(variable: tf.Variable) -> tf.Variable | None:
    """The mask that a variable is kept under; None if it has none."""
    constraint = variable.constraint
    return constraint.mask if isinstance(constraint, MaskConstraint) else None


def has_masks(model: keras.Model) -> bool:
    """Whether masks are on more than kernels."""
    return any(
        variable is not None and channel_mask(variable) is not None
        for layer in _leaves(model)
        for variable in (getattr(layer, name, None) for name in _CONSTRAINED.values())
        if isinstance(variable, tf.Variable)
    )


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        inner = layer.layer if isinstance(layer, MaskedLayer) else layer
        if isinstance(inner, keras.Model):
            yield from _leaves(inner)
        else:
            yield inner
