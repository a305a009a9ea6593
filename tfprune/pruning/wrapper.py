"""The wrapper around one layer that keeps the pruned weights of its kernel at exactly zero."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# Before tfmot, which touches Keras: the backend sees to it that it is tf_keras.
from tfprune.backend import keras, tf

# isort: split
from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import (
    PruneLowMagnitude,
)
from tensorflow_model_optimization.sparsity.keras import ConstantSparsity

from tfprune.errors import InputError

# The weight that tfmot's registry prunes in a layer, and the layer's constraint on it.
_CONSTRAINT_OF = {
    "kernel": "kernel_constraint",
    "pointwise_kernel": "pointwise_constraint",
    "embeddings": "embeddings_constraint",
}


def can_mask(layer: keras.layers.Layer) -> bool:
    """Whether `MaskedLayer` can wrap the layer: it has exactly one kernel that tfmot prunes."""
    return _constraint_attribute(layer) is not None


def _constraint_attribute(layer: keras.layers.Layer) -> str | None:
    if PruneRegistry.supports(layer):
        weights = PruneRegistry._LAYERS_WEIGHTS_MAP.get(type(layer), [])
    else:  # A user's own prunable layer in tfmot's sense.
        weights = ["kernel"] if hasattr(layer, "get_prunable_weights") else []
    attribute = _CONSTRAINT_OF.get(weights[0]) if len(weights) == 1 else None
    return attribute if attribute is not None and hasattr(layer, attribute) else None


class MaskConstraint(keras.constraints.Constraint):
    """Projects a kernel onto its mask, after the constraint that the layer had already.

    Every `tf_keras` optimizer applies a variable's constraint as the last part of its step, so
    pruned weights are zero again before anybody can read them, whatever the momentum says.
    """

    def __init__(self, first: Callable[[tf.Tensor], tf.Tensor] | None = None):
        self.first = first
        self.mask: tf.Variable | None = None

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        projected = weight if self.first is None else self.first(weight)
        if self.mask is None:
            return projected
        return projected * tf.cast(self.mask, projected.dtype)


@keras.utils.register_keras_serializable(package="tfprune")
class MaskedLayer(PruneLowMagnitude):
    """A layer whose pruned weights are exactly zero after every optimizer step.

    A `PruneLowMagnitude` of tensorflow-model-optimization: it has its variables (`mask`,
    `threshold`, `pruning_step`), supports the layers of its registry, is undone by its
    `strip_pruning` and loads inside or outside its `prune_scope`. It differs in three ways:
    the mask is given by `set_mask` instead of a schedule (`threshold` and `pruning_step` are
    never used); `call` is the wrapped layer alone; and the mask is enforced by the kernel's
    constraint, hence in any training loop that uses a `tf_keras` optimizer.

    Gradients with respect to pruned weights are not masked.

    The wrapper's name is `masked_layer_` followed by the layer's.

    Args:
      layer: a layer that is not built yet, with exactly one kernel that tfmot prunes.
      **kwargs: of `keras.layers.Layer`; name and dtype policy are the layer's.

    Raises:
      InputError: if the layer is built already, or is of a type that cannot be masked.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        if not can_mask(layer):
            raise InputError(
                f"layer {layer.name!r} ({type(layer).__name__}) has no kernel that can be pruned: "
                "leave it out of the prunable layers"
            )
        if layer.built:
            raise InputError(
                f"layer {layer.name!r} is built already, too late to constrain its kernel: "
                "wrap the whole model with tfprune.prune_model, which makes its own layers"
            )
        kwargs.update(dtype=layer.dtype_policy)
        super().__init__(layer, pruning_schedule=ConstantSparsity(0.0, 0), **kwargs)
        self.supports_masking = layer.supports_masking
        self._layer_takes_training = "training" in inspect.signature(layer.call).parameters

    def build(self, input_shape: Any) -> None:
        """Builds the layer with the mask among its kernel's constraints."""
        attribute = _constraint_attribute(self.layer)
        assert attribute is not None  # As __init__ saw to.
        own_constraint = getattr(self.layer, attribute)
        constraint = MaskConstraint(own_constraint)
        setattr(self.layer, attribute, constraint)
        super().build(input_shape)
        # The variable keeps the mask's constraint; the layer's config must only know its own.
        setattr(self.layer, attribute, own_constraint)
        if len(self.pruning_vars) != 1 or self.kernel.constraint is not constraint:
            raise InputError(
                f"layer {self.layer.name!r} ({type(self.layer).__name__}) does not apply its "
                f"{attribute} to its one prunable weight: leave it out of the prunable layers"
            )
        constraint.mask = self.mask

    def call(self, inputs: tf.Tensor, training: Any = None, **kwargs: Any) -> tf.Tensor:
        """The wrapped layer's output."""
        if self._layer_takes_training:
            kwargs["training"] = training
        return self.layer(inputs, **kwargs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The wrapped layer's Keras mask (of time steps; nothing to do with pruning)."""
        return self.layer.compute_mask(inputs, mask)

    @property
    def kernel(self) -> tf.Variable:
        """The wrapped layer's prunable weight."""
        ((kernel, _, _),) = self.pruning_vars
        return kernel

    @property
    def mask(self) -> tf.Variable:
        """1 where a weight is left and 0 where it is pruned; the kernel's shape and dtype."""
        ((_, mask, _),) = self.pruning_vars
        return mask

    def set_mask(self, mask: np.ndarray) -> None:
        """Sets the mask and zeroes the weights it prunes.

        Args:
          mask: zeros and ones, of the kernel's shape.

        Raises:
          ValueError: if the shape is another.
        """
        if mask.shape != tuple(self.kernel.shape):
            raise ValueError(
                f"layer {self.layer.name!r} has a kernel of shape {tuple(self.kernel.shape)}, "
                f"its mask {mask.shape}"
            )
        self.mask.assign(mask.astype(self.mask.dtype.as_numpy_dtype))
        self.apply_mask()

    def apply_mask(self) -> None:
        """Zeroes the pruned weights, for when the kernel was assigned from elsewhere."""
        self.kernel.assign(self.kernel * tf.cast(self.mask, self.kernel.dtype))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("pruning_schedule", "block_size", "block_pooling_type"):
            del config[key]
        return {**config, "layer": _without_build_config(config["layer"])}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> MaskedLayer:
        config = {**config, "layer": _without_build_config(config["layer"])}
        layer = keras.layers.deserialize(config.pop("layer"), custom_objects=custom_objects)
        return cls(layer, **config)


def _without_build_config(layer_config: Mapping[str, Any]) -> dict[str, Any]:
    """Keras would build a layer that says its shape while it loads, too early for the wrapper."""
    return {key: value for key, value in layer_config.items() if key != "build_config"}
