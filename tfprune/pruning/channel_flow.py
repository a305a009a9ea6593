"""Follows the channels of a network from layer to layer: what each kind of layer does to them.

Convolutions and dense layers read channels and make new ones; all other known layers pass
channels on. Add a kind of layer: a rule and a line in `_rules`.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.models.kernel_table import Kernel, kernels_of
from tfprune.pruning.channels import BoolArray, ChannelGraph, Channels, Reader
from tfprune.pruning.kernels import kernel_name, layers_by_name
from tfprune.pruning.wrapper import inner


def channel_graph(model: keras.Model) -> ChannelGraph:
    """Follows the channels of a model from layer to layer.

    The model's inputs and outputs, and everything that a layer of unknown kind touches, cannot be
    removed; neither can what a layer with weights touches that is used more than once. Layers
    inside a nested model are not looked at.

    Args:
      model: a built functional or sequential model, wrapped or plain.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.
    """
    graph = ChannelGraph()
    tensors: dict[int, Channels] = {}
    all_nodes = list(nodes(model))
    uses = Counter(id(node.layer) for node in all_nodes)
    for node in all_nodes:
        inputs = [tensors[id(tensor)] for tensor in node.keras_inputs]
        outputs = tf.nest.flatten(node.outputs)
        found = _pass_on(graph, node, inputs, shared=uses[id(node.layer)] > 1)
        if found is not None:
            tensors[id(outputs[0])] = found
            graph.layers[inner(node.layer).name] = (inputs[0], found)
        else:
            tensors.update((id(tensor), _unknown(graph, tensor)) for tensor in outputs)
            for channels in (*inputs, *(tensors[id(tensor)] for tensor in outputs)):
                graph.pin(channels)
        for tensor in outputs:
            graph.add_tensor(tensors[id(tensor)])
    for tensor in model.outputs:
        graph.pin(tensors[id(tensor)])
    return graph


def nodes(model: keras.Model) -> Iterator[Any]:
    """The calls of layers that make up a model, each after those it takes its inputs from.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.
    """
    if not getattr(model, "_is_graph_network", False):
        raise InputError(
            f"{getattr(model, 'name', model)!r} is not a built functional or sequential tf_keras "
            "model: build it with the functional API, or give the Sequential an Input"
        )
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def parts(model: keras.Model) -> list[keras.Model]:
    """The model and all models inside it, each as a graph of layers."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return [model, *(deeper for layer in nested for deeper in parts(layer))]


def mixes(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution or dense: its filters make new channels."""
    kinds = keras.layers
    convolutions = (kinds.Conv1D, kinds.Conv2D, kinds.Conv3D)
    plain = type(layer) in (*convolutions, kinds.Dense)
    return plain or is_transposed(layer) or is_separable(layer)


def is_transposed(layer: keras.layers.Layer) -> bool:
    kinds = keras.layers
    transposed = (kinds.Conv1DTranspose, kinds.Conv2DTranspose, kinds.Conv3DTranspose)
    return type(layer) in transposed


def is_separable(layer: keras.layers.Layer) -> bool:
    return type(layer) in (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


def kernel_of_filters(layer: keras.layers.Layer) -> Kernel:
    """The kernel whose outputs are a layer's filters: of a separable convolution, the pointwise."""
    return kernels_of(layer)[-1]


def name_of_filters(layer_name: str, layer: keras.layers.Layer) -> str:
    """What the filters of a layer go by: the name of their kernel's mask."""
    return kernel_name(layer_name, layer, kernel_of_filters(layer).name)


def filter_axes(model: keras.Model) -> dict[str, int]:
    """For each layer with filters by name, the axis of its kernel that counts them, from the end.

    Those are convolutions and dense layers: `tfprune.models.kernel_table` says which axis. The
    name is that of the kernel's mask: `x`, or `x/pointwise_kernel` of a separable convolution.

    Args:
      model: any built model, wrapped or plain, nested models included.
    """
    return {
        name_of_filters(name, inner(layer)): kernel_of_filters(inner(layer)).axes.outputs[0]
        for name, layer in layers_by_name(model).items()
        if mixes(inner(layer))
    }


def by_channel(layer: keras.layers.Layer, kernel: NDArray[Any]) -> NDArray[Any]:
    """An array of such a layer's kernel's shape as [*window, channels in, filters], or back.

    Of a separable convolution, its pointwise kernel's.
    """
    axes = kernel_of_filters(layer).axes
    return np.moveaxis(kernel, (*axes.inputs, *axes.outputs), (-2, -1))


def is_batch_norm(layer: keras.layers.Layer) -> bool:
    """Whether a layer is Keras's batch norm itself: a subclass may do anything to channels."""
    kinds = keras.layers
    return type(layer) in (kinds.BatchNormalization, kinds.experimental.SyncBatchNormalization)


def keeps_channels(layer: keras.layers.Layer) -> bool:
    """Whether the n-th channel of a layer's output is made of the n-th of its input alone."""
    if type(layer) is keras.layers.DepthwiseConv2D:
        return layer.depth_multiplier == 1
    changed = mixes(layer) or pads_channels(layer)
    changed |= type(layer) in (keras.layers.Flatten, keras.layers.Concatenate)
    return type(layer) in _rules() and not changed


def width(tensor: Any) -> int:
    """Length of the last axis; 0 if it is not known, or is the batch."""
    shape = tensor.shape
    return shape[-1] if shape.rank is not None and shape.rank > 1 and shape[-1] else 0


def _unknown(graph: ChannelGraph, tensor: Any) -> Channels:
    return graph.new(np.full(width(tensor), np.nan))


def _pass_on(
    graph: ChannelGraph, node: Any, inputs: list[Channels], shared: bool
) -> Channels | None:
    """The channels that a layer's call makes of others, or None if that is not known."""
    layer = inner(node.layer)
    rule = _rules().get(type(layer))
    changed_by_removal = bool(layer.weights) or pads_channels(layer)
    if (
        rule is None
        or (shared and changed_by_removal)
        or any(len(channels) == 0 for channels in inputs)
        or len(node.call_args) != 1
        or node.call_kwargs.get("training")
        or (getattr(layer, "data_format", None) == "channels_first" and not pads_channels(layer))
    ):
        return None
    found = rule(graph, layer, inputs, node.outputs)
    return found if found is not None and len(found) == width(node.outputs) else None


Rule = Callable[[ChannelGraph, Any, list[Channels], Any], Channels | None]


@functools.cache
def _rules() -> dict[type, Rule]:
    """What each kind of layer does to channels. A subclass may do anything: it has no rule."""
    kinds = keras.layers
    return {
        **dict.fromkeys((kinds.Conv1D, kinds.Conv2D, kinds.Conv3D, kinds.Dense), _mix),
        **dict.fromkeys(
            (kinds.Conv1DTranspose, kinds.Conv2DTranspose, kinds.Conv3DTranspose), _mix
        ),
        **dict.fromkeys((kinds.SeparableConv1D, kinds.SeparableConv2D), _mix),
        kinds.DepthwiseConv2D: _depthwise,
        **dict.fromkeys(
            (kinds.BatchNormalization, kinds.experimental.SyncBatchNormalization), _normalize
        ),
        **dict.fromkeys(
            (
                kinds.Activation,
                kinds.ReLU,
                kinds.LeakyReLU,
                kinds.ELU,
                kinds.ThresholdedReLU,
                kinds.Add,
                kinds.Subtract,
                kinds.Multiply,
                kinds.Average,
                kinds.Maximum,
                kinds.Minimum,
            ),
            _elementwise,
        ),
        **dict.fromkeys(
            (
                kinds.Dropout,
                kinds.SpatialDropout1D,
                kinds.SpatialDropout2D,
                kinds.SpatialDropout3D,
                kinds.AlphaDropout,
                kinds.GaussianDropout,
                kinds.GaussianNoise,
                kinds.ActivityRegularization,
                kinds.MaxPooling1D,
                kinds.MaxPooling2D,
                kinds.MaxPooling3D,
                kinds.AveragePooling1D,
                kinds.AveragePooling2D,
                kinds.AveragePooling3D,
                kinds.GlobalMaxPooling1D,
                kinds.GlobalMaxPooling2D,
                kinds.GlobalMaxPooling3D,
                kinds.GlobalAveragePooling1D,
                kinds.GlobalAveragePooling2D,
                kinds.GlobalAveragePooling3D,
                kinds.Cropping1D,
                kinds.Cropping2D,
                kinds.Cropping3D,
            ),
            _same,
        ),
        **dict.fromkeys((kinds.ZeroPadding1D, kinds.ZeroPadding2D, kinds.ZeroPadding3D), _pad),
        kinds.Flatten: _flatten,
        kinds.Concatenate: _concatenate,
    }


def _same(graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any) -> Channels | None:
    """Cropping and pooling leave a constant as it is: Keras's pools leave padding out."""
    return inputs[0]


def _mix(graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any) -> Channels | None:
    if getattr(layer, "groups", 1) != 1:
        return None
    (read,) = inputs
    weights, reads = _summed_over_window(layer)
    foldable = (read.constant == 0) | (~np.isnan(read.constant) & _mixes_no_padding(layer))
    constant = np.nan_to_num(read.constant) @ weights + _bias(layer)
    constant[~foldable @ reads] = np.nan
    made = _activated(graph, layer, graph.new(constant))
    graph.readers[layer.name] = Reader(read, made, weights, reads, foldable)
    return made


def _summed_over_window(layer: Any) -> tuple[NDArray[np.float64], BoolArray]:
    """The weights and reads of a `Reader`."""
    values = kernel_of_filters(layer).variable.numpy().astype(np.float64)
    kernel = by_channel(layer, values)
    window = kernel.reshape(-1, *kernel.shape[-2:])
    if not is_separable(layer):
        return window.sum(axis=0), (window != 0).any(axis=0)
    # Each channel is read by filters of its own [*window, in, multiplier], which are then mixed.
    own = layer.depthwise_kernel.numpy().astype(np.float64)
    own = own.reshape(-1, *own.shape[-2:])
    mixed = window.reshape(*own.shape[-2:], -1)
    weights = np.einsum("cm,cmf->cf", own.sum(axis=0), mixed)
    return weights, ((own != 0).any(axis=0)[..., None] & (mixed != 0)).any(axis=1)


def _depthwise(
    graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any
) -> Channels | None:
    (read,) = inputs
    kernel = layer.depthwise_kernel.numpy().astype(np.float64)  # [height, width, in, multiplier]
    multiplier = kernel.shape[-1]
    window = kernel.reshape(-1, len(read) * multiplier)
    constant = np.repeat(read.constant, multiplier)
    foldable = (constant == 0) | (~np.isnan(constant) & _mixes_no_padding(layer))
    foldable |= ~window.any(axis=0)
    constant = np.nan_to_num(constant) * window.sum(axis=0) + _bias(layer)
    made = Channels(np.repeat(read.ids, multiplier), np.where(foldable, constant, np.nan))
    return _activated(graph, layer, made)


def _mixes_no_padding(layer: Any) -> bool:
    """Whether no output of a layer sees zeros of its own, of padding or between its inputs."""
    window = getattr(layer, "kernel_size", ())
    if is_transposed(layer):
        return all(side == 1 for side in (*window, *layer.strides))
    return all(side == 1 for side in window) or layer.padding == "valid"


def _bias(layer: Any) -> Any:
    return 0.0 if layer.bias is None else layer.bias.numpy().astype(np.float64)


def _activated(graph: ChannelGraph, layer: Any, channels: Channels) -> Channels:
    """What a layer's own activation makes of its channels."""
    if _is_elementwise(layer.activation):
        constant = _apply(keras.layers.Activation(layer.activation), [channels.constant])
        return Channels(channels.ids, constant)
    graph.pin(channels)
    return Channels(channels.ids, np.full(len(channels), np.nan))


def _normalize(
    graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any
) -> Channels | None:
    if list(layer.axis) != [output.shape.rank - 1]:
        return None
    (read,) = inputs
    values = [layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance]
    gamma, beta, mean, variance = (
        0.0 if v is None else v.numpy().astype(np.float64) for v in values
    )
    scale = (1.0 if layer.gamma is None else gamma) / np.sqrt(variance + layer.epsilon)
    constant = np.where(scale == 0, mean, read.constant)  # Any value: it is multiplied by zero.
    return Channels(read.ids, scale * (constant - mean) + beta)


def _elementwise(
    graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any
) -> Channels | None:
    first, *others = inputs
    if any(len(other) != len(first) for other in others):
        return None
    if getattr(layer, "_reshape_required", False):  # Inputs of different rank.
        return None
    if type(layer) is keras.layers.Activation and not _is_elementwise(layer.activation):
        return None
    for other in others:
        graph.tie(first, other)
    return Channels(first.ids, _apply(layer, [channels.constant for channels in inputs]))


def _apply(layer: Any, constants: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What an elementwise layer makes of constants, in float64; NaN where one is not known."""
    in_float64 = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    known = [tf.constant(np.nan_to_num(values)[None], tf.float64) for values in constants]
    made = in_float64(known if len(known) > 1 else known[0]).numpy()[0]
    return np.where(np.isnan(constants).any(axis=0), np.nan, made)


def _is_elementwise(activation: Any) -> bool:
    """Whether an activation function is known to take each number on its own."""
    names = ["elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "mish"]
    names += ["relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"]
    known = [getattr(of, name, None) for of in (keras.activations, tf.nn) for name in names]
    return any(activation is function for function in known)


def pads_channels(layer: Any) -> bool:
    """Whether a layer pads the last axis, as the shortcut of `tfprune.models.blocks` does."""
    return type(layer) is keras.layers.ZeroPadding2D and layer.data_format == "channels_first"


def _pad(graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any) -> Channels | None:
    (read,) = inputs
    spatial = layer.padding[:1] if pads_channels(layer) else layer.padding
    changed = bool(np.any(spatial)) & (read.constant != 0)
    kept = Channels(read.ids, np.where(changed, np.nan, read.constant))
    if not pads_channels(layer):
        return kept
    before, after = (graph.new(np.zeros(count)) for count in layer.padding[1])
    return _joined([before, kept, after])


def _flatten(
    graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any
) -> Channels | None:
    """Position after position, the channels of each."""
    (read,) = inputs
    positions = width(output) // len(read)
    return _joined([read] * positions) if positions else None


def _concatenate(
    graph: ChannelGraph, layer: Any, inputs: list[Channels], output: Any
) -> Channels | None:
    return _joined(inputs) if layer.axis in (-1, output.shape.rank - 1) else None


def _joined(parts: list[Channels]) -> Channels:
    return Channels(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.constant for part in parts]),
    )
