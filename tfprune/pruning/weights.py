"""A network's variables as named NumPy arrays, whether it is wrapped or plain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.models.kernel_table import EMBEDDING, kernels_of
from tfprune.pruning.channel_masks import own_variables
from tfprune.pruning.kernels import leaf_layers
from tfprune.pruning.masks import BoolArray, Masks
from tfprune.pruning.wrapper import inner, mask_of

Arrays = dict[str, np.ndarray]

# What a kernel may be called whose layer has no other.
_ONLY_KERNELS = ("kernel", "depthwise_kernel", "embeddings")


def named_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Every variable of the network by `layer/variable`; masks and their steps are left out.

    A wrapped and a plain network have the same names, as have two networks built alike. Kernels
    are called as in `tfprune.models.kernel_table`.
    """
    named: dict[str, tf.Variable] = {}
    for path, wrapped in leaf_layers(model):
        layer = inner(wrapped)
        kernels = _kernel_names(layer)
        for variable in own_variables(layer):
            own_name = variable.name.split("/")[-1].split(":")[0]
            name = f"{path}/{kernels.get(id(variable), own_name)}"
            while name in named:
                name += "_"
            named[name] = variable
    return named


def _kernel_names(layer: keras.layers.Layer) -> dict[int, str]:
    return {id(kernel.variable): kernel.name for kernel in kernels_of(layer) if layer.built}


def read_weights(model: keras.Model) -> Arrays:
    """A copy of every variable of the network."""
    return {name: variable.numpy().copy() for name, variable in named_variables(model).items()}


def write_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns every variable of the network.

    Raises:
      InputError: the names or the shapes are not those of the network.
    """
    variables = named_variables(model)
    check_fits(weights, variables)
    for name, variable in variables.items():
        variable.assign(weights[name])


def unlike(weights: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """The names that only one of two networks has, or that have other shapes: "a, b"."""
    odd = set(weights) ^ set(others)
    odd |= {n for n in set(weights) - odd if np.shape(weights[n]) != np.shape(others[n])}
    return ", ".join(sorted(odd))


def check_fits(weights: Mapping[str, np.ndarray], variables: Mapping[str, tf.Variable]) -> None:
    """Refuses the weights of a network that is not built alike."""
    odd = unlike(weights, variables)
    if odd:
        raise InputError(
            f"these weights belong to another network, {odd} differ: "
            "give what read_weights reads from a model built alike"
        )


def under_masks(weights: Mapping[str, np.ndarray], masks: Masks) -> Arrays:
    """The weights with every pruned one at zero.

    Raises:
      InputError: a mask belongs to no kernel of the network.
    """
    masked = dict(weights)
    for name, mask in masks_by_variable(weights, masks).items():
        masked[name] = weights[name] * mask
    return masked


def masks_by_variable(weights: Mapping[str, np.ndarray], masks: Masks) -> dict[str, BoolArray]:
    """The masks by the names of the variables that they are on.

    Args:
      weights: by name as `read_weights` gives.
      masks: of a network built alike.

    Raises:
      InputError: a mask belongs to no kernel of the network.
    """
    found: dict[str, BoolArray] = {}
    for name, mask in masks.items():
        own = {name, *(f"{name}/{kernel}" for kernel in _ONLY_KERNELS)}
        # A layer in a nested model: its mask goes by the layer's name, its variable by its path.
        variables = own & set(weights) or {
            full for full in weights if any(full.endswith(f"/{end}") for end in own)
        }
        fitting = [full for full in sorted(variables) if np.shape(weights[full]) == mask.shape]
        if not fitting:
            raise InputError(
                f"the mask of layer {name!r}, of shape {mask.shape}, belongs to no kernel of "
                "this network: give the masks of a model built alike"
            )
        found.update(dict.fromkeys(fitting, mask))
    return found


def mask_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Every mask, by the name of the variable it is on: of all prunable kernels, and those of
    filters (see `tfprune.pruning.channel_masks`)."""
    masks = {name: mask_of(variable) for name, variable in named_variables(model).items()}
    return {name: mask for name, mask in masks.items() if mask is not None}


def kernel_and_bias_names(model: keras.Model) -> tuple[str, ...]:
    """The names of all trainable parameters of convolution and dense layers: what the distance
    from initialization is measured over (SDD section 5)."""
    variables = named_variables(model)
    kernels = _kernel_ids(model)
    trainable = {id(variable) for variable in model.trainable_variables}
    layers = {_layer(name) for name, variable in variables.items() if id(variable) in kernels}
    return tuple(
        name
        for name, variable in variables.items()
        if id(variable) in trainable
        and (id(variable) in kernels or (_layer(name) in layers and _kind(name) == "bias"))
    )


def summed_axes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """For each kernel by its variable's name, the axes that run inside one filter or unit."""
    axes = {
        id(kernel.variable): kernel.summed_axes
        for _, layer in leaf_layers(model)
        for kernel in kernels_of(inner(layer))
    }
    return {n: axes[id(v)] for n, v in named_variables(model).items() if id(v) in axes}


def _kernel_ids(model: keras.Model) -> set[int]:
    return {
        id(kernel.variable)
        for _, layer in leaf_layers(model)
        for kernel in kernels_of(inner(layer))
        if kernel.axes.kind != EMBEDDING
    }


def _layer(name: str) -> str:
    return name.rpartition("/")[0]


def _kind(name: str) -> str:
    """`kernel` of `layer/kernel`, and of a second one of that name."""
    return name.rpartition("/")[2].rstrip("_")
