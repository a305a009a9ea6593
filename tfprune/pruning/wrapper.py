"""The wrapper around one layer that keeps the pruned weights of its kernel at exactly zero."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Before tfmot, which touches Keras: the backend sees to it that it is tf_keras.
from tfprune.backend import keras, tf, without_keras_3

with without_keras_3():
    from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import (
        PruneLowMagnitude,
    )
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity

from tfprune.errors import InputError, unknown_name
from tfprune.models.kernel_table import Kernel, kernels_of
from tfprune.pruning.averaging import mask_written_averages
from tfprune.pruning.copies import unknown_classes

# What Keras gives to every layer whose `call` takes any keyword.
_GIVEN_TO_ALL = {"training", "mask"}


class MaskedKernel(NamedTuple):
    """A kernel and its mask, of the kernel's shape and dtype: 1 where a weight is left, else 0."""

    variable: tf.Variable
    mask: tf.Variable

    def set_mask(self, mask: np.ndarray) -> None:
        """Sets the mask and zeroes the weights it prunes.

        Args:
          mask: zeros and ones, of the kernel's shape.

        Raises:
          ValueError: if the shape is another.
        """
        if mask.shape != tuple(self.variable.shape):
            raise ValueError(
                f"{self.variable.name!r} is a kernel of shape {tuple(self.variable.shape)}, "
                f"its mask {mask.shape}"
            )
        self.mask.assign(mask.astype(self.mask.dtype.as_numpy_dtype))
        self.apply_mask()

    def apply_mask(self) -> None:
        """Zeroes the pruned weights, for when the kernel was assigned from elsewhere."""
        self.variable.assign(self.variable * tf.cast(self.mask, self.variable.dtype))


def inner(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer itself, or the one inside its wrapper."""
    return layer.layer if isinstance(layer, PruneLowMagnitude) else layer


class HoldsMask:
    """What a constraint is that keeps a variable under `mask`; None until there is one."""

    mask: tf.Variable | None


class MaskConstraint(HoldsMask, keras.constraints.Constraint):
    """Projects a kernel onto its mask, after the constraint that the layer had already.

    Every `tf_keras` optimizer applies a variable's constraint as the last part of its step, so
    pruned weights are zero again before anybody can read them, whatever the momentum says.
    """

    def __init__(self, first: Callable[[tf.Tensor], tf.Tensor] | None = None):
        self.first = first
        self.mask = None

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        projected = weight if self.first is None else self.first(weight)
        if self.mask is None:
            return projected
        return projected * tf.cast(self.mask, projected.dtype)


def mask_of(variable: tf.Variable) -> tf.Variable | None:
    """The mask that a variable is kept under, of a kernel or a channel; None if it has none."""
    constraint = variable.constraint
    return constraint.mask if isinstance(constraint, HoldsMask) else None


mask_written_averages(mask_of)


@keras.utils.register_keras_serializable(package="tfprune")
class MaskedLayer(PruneLowMagnitude):
    """A layer whose pruned weights are exactly zero after every optimizer step.

    A `PruneLowMagnitude` of tensorflow-model-optimization: it has its variables (`mask` and
    `threshold` for each kernel, `pruning_step`), is undone by its `strip_pruning` and loads
    inside or outside its `prune_scope`. It differs in four ways: the kernels are those of
    `tfprune.models.kernel_table`, which knows more layers; masks are set from outside instead of
    by a schedule (`threshold` and `pruning_step` are never used); `call` is the wrapped layer
    alone; and a mask is enforced by its kernel's constraint, hence in any training loop that uses
    a `tf_keras` optimizer.

    Gradients with respect to pruned weights are not masked.

    The wrapper's name is `masked_layer_` followed by the layer's.

    Args:
      layer: a layer that is not built yet, with a kernel in the table.
      kernels: names of the kernels that get masks, of a layer with several; None for all.
      **kwargs: of `keras.layers.Layer`; name and dtype policy are the layer's.

    Attributes:
      masked_kernels: name of the kernel in the layer -> `MaskedKernel`; empty until it is built.

    Raises:
      InputError: if the layer is built already, or has no such kernel; in `build`, if it does not
        apply its constraint to it.
    """

    def __init__(
        self, layer: keras.layers.Layer, kernels: Iterable[str] | None = None, **kwargs: Any
    ):
        known = [kernel.name for kernel in kernels_of(layer)]
        if not known:
            raise InputError(
                f"layer {layer.name!r} ({type(layer).__name__}) has no kernel that can be pruned: "
                "leave it out of the layers to prune"
            )
        chosen = known if kernels is None else list(kernels)
        for name in chosen:
            if name not in known:
                raise unknown_name("kernels", name, known)
        if layer.built:
            raise InputError(
                f"layer {layer.name!r} is built already, too late to constrain its kernel: "
                "wrap the whole model with tfprune.prune_model, which makes its own layers"
            )
        kwargs.update(dtype=layer.dtype_policy)
        # For tfmot, which asks it after the layer is built. A layer of one's own may have it.
        if not hasattr(layer, "get_prunable_weights"):
            layer.get_prunable_weights = lambda: [kernel.variable for kernel in self._chosen()]
        super().__init__(layer, pruning_schedule=ConstantSparsity(0.0, 0), **kwargs)
        self._kernel_names = None if chosen == known else tuple(chosen)
        self.supports_masking = layer.supports_masking
        takes = inspect.signature(layer.call).parameters
        any_keyword = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
        self._not_taken = () if any_keyword else tuple(_GIVEN_TO_ALL - set(takes))

    def around(self, layer: keras.layers.Layer) -> MaskedLayer:
        """A wrapper like this one around another layer, that has the same kernels."""
        return MaskedLayer(layer, self._kernel_names)

    def _chosen(self) -> list[Kernel]:
        every = kernels_of(self.layer)
        return [k for k in every if self._kernel_names is None or k.name in self._kernel_names]

    def build(self, input_shape: Any) -> None:
        """Builds the layer with a mask among the constraints of each kernel."""
        chosen = self._chosen()
        own = [getattr(kernel.owner, kernel.constraint) for kernel in chosen]
        masked = [MaskConstraint(constraint) for constraint in own]
        for kernel, constraint in zip(chosen, masked, strict=True):
            setattr(kernel.owner, kernel.constraint, constraint)
        _build_attention(self.layer)
        super().build(input_shape)
        # The variable keeps the mask's constraint; the layer's config must only know its own.
        for kernel, constraint in zip(chosen, own, strict=True):
            setattr(kernel.owner, kernel.constraint, constraint)
        if len(self.pruning_vars) != len(chosen) or any(
            weight is not kernel.variable or weight.constraint is not constraint
            for (weight, _, _), kernel, constraint in zip(
                self.pruning_vars, chosen, masked, strict=True
            )
        ):
            raise InputError(
                f"layer {self.layer.name!r} ({type(self.layer).__name__}) does not apply its "
                f"{', '.join(kernel.constraint for kernel in chosen)} to its prunable weights: "
                "leave it out of the layers to prune"
            )
        for constraint, (_, mask, _) in zip(masked, self.pruning_vars, strict=True):
            constraint.mask = mask

    def add_weight(self, name: str, **kwargs: Any) -> tf.Variable:
        """Adds a variable; of a second kernel's mask and threshold the name is another."""
        taken = {weight.name.split("/")[-1].split(":")[0] for weight in self._non_trainable_weights}
        while name in taken:
            name += "_"
        return super().add_weight(name=name, **kwargs)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The wrapped layer's output."""
        taken = {name: value for name, value in kwargs.items() if name not in self._not_taken}
        return self.layer(inputs, *args, **taken)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The wrapped layer's Keras mask (of time steps; nothing to do with pruning)."""
        return self.layer.compute_mask(inputs, mask)

    def reset_states(self, *args: Any) -> None:
        """The wrapped layer's, if it is a stateful recurrent one."""
        self.layer.reset_states(*args)

    @property
    def masked_kernels(self) -> dict[str, MaskedKernel]:
        return {
            kernel.name: MaskedKernel(weight, mask)
            for kernel, (weight, mask, _) in zip(self._chosen(), self.pruning_vars, strict=False)
        }

    @property
    def kernel(self) -> tf.Variable:
        """The wrapped layer's kernel, if it has one only."""
        ((kernel, _, _),) = self.pruning_vars
        return kernel

    @property
    def mask(self) -> tf.Variable:
        """The mask of the kernel, if there is one only."""
        ((_, mask, _),) = self.pruning_vars
        return mask

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for key in ("pruning_schedule", "block_size", "block_pooling_type"):
            del config[key]
        if self._kernel_names is not None:
            config["kernels"] = list(self._kernel_names)
        return {**config, "layer": _without_build_config(config["layer"])}

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> MaskedLayer:
        config = {**config, "layer": _without_build_config(config["layer"])}
        layer = keras.layers.deserialize(config.pop("layer"), custom_objects=custom_objects)
        if not isinstance(layer, keras.layers.Layer):  # Keras made no more of it than its name.
            raise InputError(unknown_classes({config["name"]: str(layer)}))
        return cls(layer, **config)


def _build_attention(layer: keras.layers.Layer) -> None:
    """Builds the projections of a `MultiHeadAttention`, which Keras does in its first call."""
    if not isinstance(layer, keras.layers.MultiHeadAttention):
        return
    heads = (layer._num_heads, layer._value_dim)
    shapes = {
        layer._query_dense: layer._query_shape,
        layer._key_dense: layer._key_shape,
        layer._value_dense: layer._value_shape,
        layer._output_dense: tf.TensorShape([*layer._query_shape[:-1], *heads]),
    }
    for projection, shape in shapes.items():
        with tf.name_scope(f"{layer.name}/{projection.name}/"):
            projection.build(shape)


def _without_build_config(layer_config: Mapping[str, Any]) -> dict[str, Any]:
    """Keras would build a layer that says its shape while it loads, too early for the wrapper."""
    return {key: value for key, value in layer_config.items() if key != "build_config"}
