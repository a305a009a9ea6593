"""Whole models: wrap their prunable layers, read and set their masks, strip them again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError, unknown_name
from tfprune.pruning.channel_masks import create_masks, expect_masks
from tfprune.pruning.masks import Masks
from tfprune.pruning.wrapper import MaskedLayer, can_mask

Prunable = str | Sequence[str] | Callable[[keras.layers.Layer], bool]


def prune_model(
    model: keras.Model, prunable: Prunable = "default", filters: bool = False
) -> keras.Model:
    """A copy of a model whose prunable layers are wrapped, so that masks can be set.

    The copy has its own layers and weights, computes the same function, and is not compiled;
    the model that is given stays as it is. All masks are dense at first.

    Args:
      model: a built functional or sequential `tf_keras` model; layers may be shared and models
        nested. An instance of a subclass of `keras.Sequential` comes back as a `Sequential`.
      prunable: which layers' kernels are pruned. `default`, every convolution and dense kernel;
        a name that `tfprune.models.prunable.prunable_kernels` knows; a list of layer names; or a
        function of a layer.
      filters: whether whole filters are to be pruned: scale and shift of batch norms and biases
        get masks too, which `tfprune.pruning.dead_filters.set_filter_masks` sets.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model, is pruned
        already, or a chosen layer cannot be pruned.

    Example:
      >>> model = keras.Sequential([keras.layers.Dense(3, input_shape=(2,), name="output")])
      >>> pruned = prune_model(model)
      >>> set_masks(pruned, Masks({"output": [[1, 0, 1], [1, 1, 0]]}))
      >>> sparsity(pruned)
      0.3333333333333333
    """
    _check_model(model)
    if masked_layers(model):
        raise InputError(f"model {model.name!r} is wrapped already: use set_masks to prune it")
    chosen = _chosen_names(model, prunable)

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        copy = _from_config(layer)
        copy = expect_masks(copy) if filters else copy
        return MaskedLayer(copy) if layer.name in chosen else copy

    wrapped = copy_model(model, copy_layer)
    return create_masks(wrapped) if filters else wrapped


def strip(model: keras.Model) -> keras.Model:
    """The plain model inside a wrapped one: same function, layer names and sparse weights.

    It has its own weights and nothing of tfprune or tfmot in it; it is not compiled, and its
    pruned weights would move if it was trained.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.
    """
    _check_model(model)
    return copy_model(model, lambda layer: _from_config(_inner(layer)))


def masked_layers(model: keras.Model) -> dict[str, MaskedLayer]:
    """The wrapped layers by the name of the layer inside, nested models included.

    The order is that of the model's layers, the order of its `Masks`.

    Raises:
      InputError: if two wrapped layers have the same name.
    """
    wrapped = [layer for layer in _leaves(model) if isinstance(layer, MaskedLayer)]
    _check_unique(wrapper.layer.name for wrapper in wrapped)
    return {wrapper.layer.name: wrapper for wrapper in wrapped}


def get_masks(model: keras.Model) -> Masks:
    """The masks of a wrapped model, with the number of weights in its other kernels.

    Raises:
      InputError: if no layer is wrapped.
    """
    masks = {name: layer.mask.numpy() for name, layer in _wrapped(model).items()}
    return Masks(masks, never_pruned_weights(model))


def dense_masks(model: keras.Model) -> Masks:
    """The masks of a wrapped model of which nothing is pruned.

    Raises:
      InputError: if no layer is wrapped.
    """
    shapes = {name: tuple(layer.kernel.shape) for name, layer in _wrapped(model).items()}
    return Masks.dense(shapes, never_pruned_weights(model))


def never_pruned_weights(model: keras.Model) -> int:
    """Number of weights in a wrapped model's convolution and dense kernels that have no mask."""
    return sum(
        math.prod(layer.kernel.shape)
        for layer in _leaves(model)
        if not isinstance(layer, MaskedLayer) and _counts(layer)
    )


def set_masks(model: keras.Model, masks: Masks) -> None:
    """Sets all masks of a wrapped model and zeroes the weights they prune.

    Nothing is compiled anew; optimizers keep their slots.

    Raises:
      InputError: if no layer is wrapped, or the masks are of other layers or shapes.
    """
    layers = _wrapped(model)
    shapes = {name: tuple(layer.kernel.shape) for name, layer in layers.items()}
    if masks.shapes != shapes:
        raise InputError(f"masks of {masks.shapes} do not fit the model's kernels {shapes}")
    for name, mask in masks.items():
        layers[name].set_mask(mask)


def apply_masks(model: keras.Model) -> None:
    """Zeroes the pruned weights, for when weights were assigned from elsewhere.

    Raises:
      InputError: if no layer is wrapped.
    """
    for layer in _wrapped(model).values():
        layer.apply_mask()


def prunable_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Layer name -> value of its prunable kernel (a copy), in the order of the masks.

    Raises:
      InputError: if no layer is wrapped.
    """
    return {name: np.array(layer.kernel.numpy()) for name, layer in _wrapped(model).items()}


def sparsity(model: keras.Model) -> float:
    """The fraction of a wrapped model's convolution and dense kernel weights that is pruned.

    In [0, 1]; kernels that are not wrapped, and so never pruned, count (SDD 3.2).

    Raises:
      InputError: if no layer is wrapped.
    """
    return get_masks(model).sparsity


def kernels(model: keras.Model, names: Iterable[str]) -> dict[str, tf.Variable]:
    """The kernel variables of these layers of a wrapped or a plain model, by name, in order.

    Raises:
      InputError: if the model has no such layer, or the layer has no kernel.
    """
    layers = {_inner(layer).name: _inner(layer) for layer in _leaves(model)}
    wrapped = masked_layers(model)
    found: dict[str, tf.Variable] = {}
    for name in names:
        kernel = getattr(wrapped.get(name) or layers.get(name), "kernel", None)
        if kernel is None:
            raise InputError(f"model {model.name!r} has no layer {name!r} with a kernel")
        found[name] = kernel
    return found


def copy_model(
    model: keras.Model, copy_layer: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """A copy of a model with each layer replaced by `copy_layer(layer)`, weights included.

    A layer that is used twice is copied once, in nested models too.

    Args:
      model: a built functional or sequential model.
      copy_layer: returns a new layer, not built, with weights of the same number and shapes (a
        `MaskedLayer` counts as the layer inside).
    """
    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in copies:
            new = clone(layer) if isinstance(layer, keras.Model) else copy_layer(layer)
            copies[id(layer)] = (layer, new)
        return copies[id(layer)][1]

    def clone(part: keras.Model) -> keras.Model:
        new = keras.models.clone_model(part, clone_function=copy)
        if not new.built:  # A Sequential that was built by its first call.
            new.build(part.input_shape)
        return new

    new_model = clone(model)
    for old, new in copies.values():
        if not isinstance(old, keras.Model):
            new.set_weights(old.get_weights())
    return new_model


def with_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """A plain copy of a wrapped or plain model that computes and stores in this dtype."""

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        inner = _inner(layer)
        return type(inner).from_config({**inner.get_config(), "dtype": dtype})

    return copy_model(model, copy_layer)


def _from_config(layer: keras.layers.Layer) -> keras.layers.Layer:
    return type(layer).from_config(layer.get_config())


def _counts(layer: keras.layers.Layer) -> bool:
    """Whether a layer's kernel counts in the sparsity of its network: convolutions and dense."""
    kinds = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Dense)
    return isinstance(layer, kinds)


def _inner(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.layer if isinstance(layer, MaskedLayer) else layer


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer of a model and of the models inside it, once, in order."""
    seen: set[int] = set()

    def walk(part: keras.Model) -> Iterator[keras.layers.Layer]:
        for layer in part.layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if isinstance(layer, keras.Model):
                yield from walk(layer)
            else:
                yield layer

    yield from walk(model)


def _wrapped(model: keras.Model) -> dict[str, MaskedLayer]:
    layers = masked_layers(model)
    if not layers:
        raise InputError(f"model {model.name!r} has no wrapped layer: call prune_model first")
    return layers


def _chosen_names(model: keras.Model, prunable: Prunable) -> set[str]:
    """The names of the layers to wrap, each of which can be."""
    leaves = list(_leaves(model))
    by_name = {layer.name: layer for layer in leaves}
    if callable(prunable):
        names = [layer.name for layer in leaves if can_mask(layer) and prunable(layer)]
    elif isinstance(prunable, str):
        names = _kernels_named(model, prunable)
    else:
        names = list(prunable)
    for name in names:
        if name not in by_name and not isinstance(prunable, str):
            raise unknown_name("prunable", name, by_name)
        if name not in by_name or not can_mask(by_name[name]):
            kind = type(by_name[name]).__name__ if name in by_name else "inside another layer"
            raise InputError(
                f"layer {name!r} ({kind}) has no kernel that can be pruned: "
                "list the names of the layers to prune without it"
            )
    if not names:
        raise InputError(f"model {model.name!r} has no prunable layer among {', '.join(by_name)}")
    _check_unique(layer.name for layer in leaves if layer.name in names)
    return set(names)


def _kernels_named(model: keras.Model, which: str) -> list[str]:
    from tfprune.models.prunable import prunable_kernels  # Only when needed.

    return prunable_kernels(model, which="conv_dense" if which == "default" else which)


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"two layers are named {name!r}: give them different names")
        seen.add(name)


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        if any(kind.__module__.split(".")[0] == "keras" for kind in type(model).__mro__):
            raise InputError(
                "a Keras 3 model cannot be pruned: build it with tf_keras, or with tf.keras after "
                "`import tfprune`; `import keras` is Keras 3"
            )
        raise InputError(f"a tf_keras model is needed, not {type(model).__name__}")
    if not isinstance(model, keras.Sequential) and not model._is_graph_network:
        raise InputError(
            f"model {model.name!r} is a subclassed model, whose layers cannot be replaced: "
            "build it with the functional API"
        )
    if not model.built:
        raise InputError(
            f"model {model.name!r} has no weights yet: give it an Input or call it on a batch"
        )
