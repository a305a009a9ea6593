"""Killing filters: the variables to zero so that a pruned filter's channel is dead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfprune.backend import keras, tf
from tfprune.errors import InputError, nearest
from tfprune.models.blocks import GATE_SUFFIX
from tfprune.pruning.channel_flow import (
    filter_axes,
    inner,
    is_batch_norm,
    kernel_of_filters,
    mixes,
    name_of_filters,
    parts,
)
from tfprune.pruning.channel_masks import has_masks
from tfprune.pruning.channels import BoolArray
from tfprune.pruning.filter_selection import along, kept_filters
from tfprune.pruning.kernels import names_of_layers
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, masked_kernels, set_kernel_masks
from tfprune.pruning.weights import mask_variables, named_variables
from tfprune.pruning.wiring import Wiring


def zero_filters(model: keras.Model, keep: Mapping[str, ArrayLike]) -> list[str]:
    """Zeroes pruned filters with all that belongs to them, in place (GST A).

    `filter_masks` says what that is. They move again when the model is trained: multiply the
    variables by `filter_masks` after each step to keep them at zero.

    Args:
      model: a built functional or sequential model, wrapped or plain.
      keep: layer name -> bool [filters], True where a filter is kept.

    Returns:
      The names of the variables that pruned filters have a part in, as in
      `tfprune.pruning.weights.named_variables`.

    Raises:
      InputError: as `filter_masks`.
    """
    variables = named_variables(model)
    masks = filter_masks(model, keep)
    for name, mask in masks.items():
        variables[name].assign(np.where(mask, variables[name].numpy(), 0))
    return list(masks)


def set_filter_masks(model: keras.Model, masks: Masks, cut_shortcuts: bool = False) -> Masks:
    """Sets a wrapped model's masks; filters without a weight are dead and stay dead in training.

    What belongs to such a filter is what `filter_masks` says. It is zeroed, and where it can be
    trained it is kept at zero by its mask.

    Args:
      model: from `tfprune.prune_model(..., filters=True)`.
      masks: of the kernels.
      cut_shortcuts: whether the shortcut into a dead channel is cut too (GST): the filters of a
        projection, and gates, see `gate_shortcuts`.

    Returns:
      The masks of the kernels as they are now: with `cut_shortcuts` they may be sparser.

    Raises:
      InputError: the model is not such a one, or the masks are of another.
    """
    if not has_masks(model):
        raise InputError("filters cannot be masked: wrap it with prune_model(..., filters=True)")
    kept = kept_filters(masks, filter_axes(model))
    dead = filter_masks(model, kept, shortcuts=cut_shortcuts)
    set_kernel_masks(model, masks)
    variables = named_variables(model)
    kernels = {id(kernel.variable): kernel for kernel in masked_kernels(model).values()}
    for name, mask in dead.items():
        if (kernel := kernels.get(id(variables[name]))) is not None:
            kernel.set_mask(kernel.mask.numpy().astype(bool) & mask)
    _set_channels(model, dead)
    return get_masks(model)


def follow_kernels(model: keras.Model, masks: Masks) -> None:
    """Makes what belongs to filters dead where a filter has no weight left, and alive where it has.

    What was a cut shortcut of a filter stays cut as long as the filter is dead. A filter that comes
    back has no weights but 0; its batch norm starts as a new one does, with a scale of 1, a shift
    of 0 and the mean of its channel, 0.

    Args:
      model: from `tfprune.prune_model(..., filters=True)`.
      masks: of its kernels, which have been set.
    """
    keep = kept_filters(masks, filter_axes(model))
    own = filter_masks(model, keep, shortcuts=False)
    with_shortcuts = filter_masks(model, keep)
    variables, now = named_variables(model), mask_variables(model)
    kernels = {id(kernel.variable) for kernel in masked_kernels(model).values()}
    dead = dict(own)
    for name, mask in with_shortcuts.items():
        if id(variables[name]) not in kernels:
            was = now[name].numpy() if name in now else variables[name].numpy() != 0
            dead[name] = own.get(name, True) & (mask | was.astype(bool))
    for name, variable in variables.items():
        if is_gate_variable(name):
            variable.assign(dead.get(name, np.ones(variable.shape)))
        elif name in now and name.endswith("/gamma") and _moving_mean(name) in variables:
            back = dead.get(name, True) & (now[name].numpy() == 0)
            variable.assign(np.where(back, 1, variable.numpy()))
            mean = variables[_moving_mean(name)]
            mean.assign(np.where(back, 0, mean.numpy()))
    _set_channels(model, dead)


def _moving_mean(gamma: str) -> str:
    return f"{gamma.removesuffix('gamma')}moving_mean"


def is_gate_variable(name: str) -> bool:
    """Whether a variable of `named_variables` is a gate's: it says what is pruned, as masks do."""
    return f"{GATE_SUFFIX}/" in name


def _set_channels(model: keras.Model, dead: Mapping[str, BoolArray]) -> None:
    """Sets the masks of all but kernels, and zeroes what is dead."""
    variables = named_variables(model)
    kernels = {id(kernel.variable) for kernel in masked_kernels(model).values()}
    for name, mask in mask_variables(model).items():
        if id(variables[name]) not in kernels:
            alive = dead.get(name, np.ones(mask.shape, bool))
            mask.assign(alive.astype(mask.dtype.as_numpy_dtype))
    for name, alive in dead.items():
        variables[name].assign(np.where(alive, variables[name].numpy(), 0))


def filter_masks(
    model: keras.Model, keep: Mapping[str, ArrayLike], shortcuts: bool = True
) -> dict[str, BoolArray]:
    """What has to be zero for pruned filters' channels to be dead.

    For each pruned filter: its kernel and bias; scale and shift of the batch norm that follows
    (shift and moving mean of one without scale); and, if the filter's output is added to a
    shortcut, what makes the shortcut's channel: the filter and batch norm of a projection, or the
    gate that `gate_shortcuts` put on an identity. Then the block's channel is zero, as in GST's
    published code, which cuts shortcuts into pruned filters.

    An identity shortcut without a gate has no variables to zero: the block's channel carries its
    input on, and is dead only if it is dead in every block before.

    Args:
      model: a built functional or sequential model, wrapped or plain. A block and its shortcut
        must be in the same model if models are nested.
      keep: layer name -> bool [filters] of convolutions, or [units] of dense layers; True where a
        filter is kept. The name is that of the mask, `x/pointwise_kernel` of a separable one.
      shortcuts: whether shortcuts into a pruned channel are cut. Without it the channel carries
        the shortcut on, as in network slimming, whose code selects channels inside blocks.

    Returns:
      Variable name (as in `tfprune.pruning.weights.named_variables`) -> bool mask that broadcasts
      with the variable, False where it has to be zero; only variables with such a place.

    Raises:
      InputError: if the model has no such convolution or dense layer, a mask has another shape or
        other values than 0 and 1, or the model is not a functional or sequential `tf_keras` model.
    """
    pruned = {name: ~_checked(name, mask) for name, mask in keep.items()}
    names = {id(variable): name for name, variable in named_variables(model).items()}
    masks: dict[str, BoolArray] = {}
    known: list[str] = []
    global_names = names_of_layers(model)
    for part in parts(model):
        layers = {layer.name: layer for layer in map(inner, part.layers)}
        with_filters = {
            n: name_of_filters(global_names[id(x)], x) for n, x in layers.items() if mixes(x)
        }
        known += with_filters.values()
        here = {n: pruned[name] for n, name in with_filters.items() if name in pruned}
        for name, drop in here.items():
            _check_length(layers[name], drop)
        for name, drop in _with_followers(part, here, shortcuts).items():
            for variable, mask in _variable_masks(layers[name], ~drop):
                masks[names[id(variable)]] = mask
    for name in pruned:
        if name not in known:
            raise InputError(
                f"the model has no convolution or dense layer {name!r}: {nearest(name, known)}"
            )
    return masks


def batch_norm_of(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The batch norm that alone takes a layer's output, by the name of the layer.

    Args:
      model: a built functional or sequential model, wrapped or plain, nested models included.

    Returns:
      Name of a convolution or dense layer, as in `filter_axes` -> its batch-norm layer, in order;
      layers without one are left out.
    """
    global_names = names_of_layers(model)
    found: dict[str, keras.layers.Layer] = {}
    for part in parts(model):
        layers = {layer.name: layer for layer in map(inner, part.layers)}
        for name, layer in Wiring(part).batch_norms().items():
            found[name_of_filters(global_names[id(layers[name])], layers[name])] = layer
    return found


def gate_shortcuts(model: keras.Model) -> keras.Model:
    """A copy of a model with a gate on every identity shortcut, to cut it channel by channel.

    A gate is a stock `DepthwiseConv2D` of one frozen weight for each channel, 1 at first, named
    `ADD_gate` after the `Add` layer it leads to: the same function. `zero_filters` closes it for
    pruned filters, as GST's published code does for identity shortcuts. Without it a block's
    pruned channel still carries the block's input (see `filter_masks`).

    `tfprune.models.initialize.initialize` opens all gates. An identity is an input of an `Add` of
    images that comes, without a weight on the way, from where the block's convolutions start too;
    zero-padded shortcuts count.

    Args:
      model: a built functional model, wrapped or plain. Blocks inside nested models get no gates.

    Returns:
      A model that is not compiled; the model itself if it has no identity shortcut.

    Raises:
      InputError: if the model is not functional.
    """
    if isinstance(model, keras.Sequential) or not getattr(model, "_is_graph_network", False):
        raise InputError(f"model {model.name!r} is not a functional model: it has no shortcuts")
    identities = Wiring(model).identity_shortcuts()
    if not identities:
        return model
    config = model.get_config()
    for index, layer in reversed(list(enumerate(config["layers"]))):
        if layer["name"] in identities:
            position = identities[layer["name"]]
            inbound = layer["inbound_nodes"][0]
            gate = _gate(model.get_layer(layer["name"]), inbound[position])
            inbound[position] = [gate["name"], 0, 0, {}]
            config["layers"].insert(index, gate)
    scope = {type(layer).__name__: type(layer) for layer in model.layers}
    gated = type(model).from_config(config, custom_objects=scope)
    for layer in model.layers:
        gated.get_layer(layer.name).set_weights(layer.get_weights())
    return gated


def _gate(add: keras.layers.Layer, source: list[Any]) -> dict[str, Any]:
    """The config of a gate between an `Add` layer and what it gets from a shortcut."""
    layer = keras.layers.DepthwiseConv2D(
        1,
        use_bias=False,
        depthwise_initializer="ones",
        trainable=False,
        dtype=add.dtype_policy,
        name=f"{add.name}{GATE_SUFFIX}",
    )
    serialized = keras.layers.serialize(layer)
    return {**serialized, "name": layer.name, "inbound_nodes": [[[*source[:3], {}]]]}


def _checked(name: str, mask: ArrayLike) -> BoolArray:
    array = np.asarray(mask)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise InputError(f"the filters to keep of layer {name!r} must be a vector of 0 and 1")
    return array.astype(bool)


def _check_length(layer: Any, mask: BoolArray) -> None:
    kernel = kernel_of_filters(layer)
    filters = kernel.variable.shape[kernel.axes.outputs[0]]
    if len(mask) != filters:
        raise InputError(f"layer {layer.name!r} has {filters} filters, its mask {len(mask)}")


def _with_followers(
    model: keras.Model, pruned: Mapping[str, BoolArray], shortcuts: bool
) -> dict[str, BoolArray]:
    """The pruned channels of the layers, of their batch norms and of the shortcuts beside them."""
    if not pruned:
        return {}
    wiring = Wiring(model)
    batch_norms = wiring.batch_norms()
    spread: dict[str, BoolArray] = {}
    for name, drop in pruned.items():
        beside = [name, *([batch_norms[name].name] if name in batch_norms else [])]
        for layer in (*beside, *(wiring.shortcut_layers(name) if shortcuts else ())):
            spread[layer] = spread.get(layer, False) | drop
    return {name: drop for name, drop in spread.items() if drop.any()}


def _variable_masks(layer: Any, keep: BoolArray) -> list[tuple[tf.Variable, BoolArray]]:
    """The variables of a layer that a channel's zero needs, each with its mask."""
    if is_batch_norm(layer):
        shift = [layer.beta] if layer.gamma is not None else [layer.beta, layer.moving_mean]
        masks = [(variable, keep) for variable in (layer.gamma, *shift)]
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = layer.depthwise_kernel
        masks = [(kernel, keep.reshape(kernel.shape[-2:])), (layer.bias, keep)]
    else:
        kernel = kernel_of_filters(layer)
        masks = [(kernel.variable, along(keep, kernel.axes.outputs[0])), (layer.bias, keep)]
    return [(variable, mask) for variable, mask in masks if variable is not None]
