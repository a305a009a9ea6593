"""A network's variables as named NumPy arrays, whether it is wrapped or plain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tfprune.backend import keras, tf
from tfprune.pruning.channel_masks import channel_mask
from tfprune.pruning.masks import Masks
from tfprune.pruning.wrapper import MaskedLayer

Arrays = dict[str, np.ndarray]


def named_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Every variable of the network by `layer/variable`; masks and their steps are left out.

    A wrapped and a plain network have the same names, as have two networks built alike.
    """
    named: dict[str, tf.Variable] = {}
    for path, layer in _leaves(model):
        for variable in layer.weights:
            name = f"{path}/{variable.name.split('/')[-1].split(':')[0]}"
            while name in named:
                name += "_"
            named[name] = variable
    return named


def _leaves(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    for layer in model.layers:
        if isinstance(layer, MaskedLayer):
            layer = layer.layer
        if isinstance(layer, keras.Model):
            yield from _leaves(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def read_weights(model: keras.Model) -> Arrays:
    """A copy of every variable of the network."""
    return {name: variable.numpy().copy() for name, variable in named_variables(model).items()}


def write_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns every variable of the network.

    Raises:
      ValueError: the names are not those of the network.
    """
    variables = named_variables(model)
    if set(variables) != set(weights):
        odd = sorted(set(variables) ^ set(weights))
        raise ValueError(f"these weights belong to another network: {', '.join(odd)} differ")
    for name, variable in variables.items():
        variable.assign(weights[name])


def under_masks(weights: Mapping[str, np.ndarray], masks: Masks) -> Arrays:
    """The weights with every pruned one at zero."""
    masked = dict(weights)
    for name in weights:
        layer, _, variable = name.rpartition("/")
        if variable == "kernel" and layer.rpartition("/")[2] in masks:
            masked[name] = weights[name] * masks[layer.rpartition("/")[2]]
    return masked


def mask_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Every mask, by the name of the variable it is on: of all prunable kernels, and those of
    filters (see `tfprune.pruning.channel_masks`)."""
    masks = {name: channel_mask(variable) for name, variable in named_variables(model).items()}
    return {name: mask for name, mask in masks.items() if mask is not None}


def kernel_names(model: keras.Model) -> tuple[str, ...]:
    """The names of all convolution and dense kernels."""
    return tuple(name for name in named_variables(model) if _is_kernel(name))


def kernel_and_bias_names(model: keras.Model) -> tuple[str, ...]:
    """The names of all trainable parameters of convolution and dense layers: what the distance
    from initialization is measured over (SDD section 5)."""
    variables = named_variables(model)
    trainable = {id(variable) for variable in model.trainable_variables}
    layers = {_layer(name) for name in variables if _is_kernel(name)}
    return tuple(
        name
        for name, variable in variables.items()
        if id(variable) in trainable
        and (_is_kernel(name) or (_layer(name) in layers and _kind(name) == "bias"))
    )


def _layer(name: str) -> str:
    return name.rpartition("/")[0]


def _kind(name: str) -> str:
    """`kernel` of `layer/kernel`, and of a second one of that name."""
    return name.rpartition("/")[2].rstrip("_")


def _is_kernel(name: str) -> bool:
    return _kind(name).endswith("kernel")
