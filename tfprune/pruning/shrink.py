"""Physical shrinking: a structurally pruned network without its dead channels, and its cost."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.models.kernel_table import CONVOLUTION, EMBEDDING, Kernel, kernels_of
from tfprune.pruning.channel_flow import (
    by_channel,
    channel_graph,
    inner,
    nodes,
    pads_channels,
    parts,
)
from tfprune.pruning.channel_masks import has_masks
from tfprune.pruning.channels import BoolArray, Channels, Reader
from tfprune.pruning.copies import copy_of
from tfprune.pruning.kernels import counted_kernels, kernel_name, names_of_layers
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import strip, unknown_kernels

Weights = list[NDArray[Any]]


def shrink(model: keras.Model) -> keras.Model:
    """A plain copy of a model without the channels that do not matter to its output.

    In inference it computes the same function up to rounding (1e-5 of a float32 network's
    activations; bit for bit if nothing could be removed), with the same inputs, outputs and layer
    names. A channel goes if every layer that reads it

    - gets nothing from it: its filter and bias are zero, and so are scale and shift of the batch
      norm that follows; or
    - gets a constant from it, as of a zero filter with a shift, that the reader's bias can take:
      a dense layer's, or a convolution's that sees no zero padding (which would make the constant
      smaller at the border: such a channel stays); or
    - has only zero weights for it, or weights of filters that go themselves.

    Channels that are added up are one: of a residual stage's, one goes if it is dead in every
    block and in the shortcut, else it stays in all of them. One channel of every layer stays.
    What a layer of unknown kind reads or makes stays: convolutions (transposed and separable, not
    grouped), `DepthwiseConv2D`, `Dense`, `BatchNormalization`, elementwise activations and merges,
    pooling, zero padding, cropping, dropout, `Flatten` and `Concatenate` are known, with channels
    on the last axis.

    Args:
      model: a built functional or sequential model, wrapped or plain; it stays as it is. Models
        inside it are shrunk too, between their own inputs and outputs.

    Returns:
      A model that is not compiled, with nothing of tfprune or tfmot in it. It may be trained, but
      pruned weights that are still in it would move.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.
    """
    if has_masks(model):
        model = strip(model)
    graph = channel_graph(model)
    unneeded, removed = graph.removable()
    pairs: dict[int, tuple[Any, Any, Weights]] = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in pairs:
            pairs[id(layer)] = (layer, *smaller(inner(layer)))
        return pairs[id(layer)][1]

    def smaller(layer: keras.layers.Layer) -> tuple[keras.layers.Layer, Weights]:
        if isinstance(layer, keras.Model):
            nested = shrink(layer)
            return nested, nested.get_weights()
        if layer.name not in graph.layers:
            return copy_of(layer), layer.get_weights()
        channels_in, channels_out = graph.layers[layer.name]
        if layer.name in graph.readers:
            return _smaller_reader(layer, graph.readers[layer.name], unneeded, removed)
        return _smaller_carrier(layer, channels_in, channels_out, removed)

    shrunk = keras.models.clone_model(model, clone_function=copy)
    if not shrunk.built:  # A Sequential that was built by its first call.
        shrunk.build(model.input_shape)
    for _, new, weights in pairs.values():
        new.set_weights(weights)
    return shrunk


def _smaller_reader(
    layer: Any, reader: Reader, unneeded: BoolArray, removed: BoolArray
) -> tuple[Any, Weights]:
    """A convolution or dense layer without the removed channels: not built, and its weights."""
    keep_in, keep_out = ~removed[reader.inputs.ids], ~removed[reader.outputs.ids]
    unread, unneeded_out = unneeded[reader.inputs.ids], unneeded[reader.outputs.ids]
    weights = [np.array(weight) for weight in layer.get_weights()]
    count = len(kernels_of(layer))
    kernels, bias = weights[:count], weights[count:]
    # What stays though nobody needs it is neither read nor computed: its constant is in the bias.
    _clear(layer, kernels, unread, unneeded_out)
    config = layer.get_config()
    config["units" if "units" in config else "filters"] = int(keep_out.sum())
    constant = np.where(reader.foldable & unread, reader.inputs.constant, 0.0)
    folded = np.where(unneeded_out, 0.0, constant @ reader.weights)
    if folded.any():
        config["use_bias"] = True
        bias = [folded + (bias[0] if bias else 0.0)]
    kept = _taken(layer, kernels, keep_in, keep_out)
    return type(layer).from_config(config), [*kept, *(values[keep_out] for values in bias)]


def _clear(layer: Any, kernels: Weights, inputs: BoolArray, outputs: BoolArray) -> None:
    """Zeroes, in place, what kernels of a reader have for these channels."""
    *depthwise, last = kernels
    for kernel in depthwise:  # [*window, in, multiplier]
        kernel[..., inputs, :] = 0
    window = by_channel(layer, last)
    window[..., _mixed_inputs(inputs, depthwise), :] = 0
    window[..., outputs] = 0


def _taken(layer: Any, kernels: Weights, inputs: BoolArray, outputs: BoolArray) -> Weights:
    """What kernels of a reader have for these channels alone."""
    *depthwise, last = kernels
    window = by_channel(layer, last)[..., _mixed_inputs(inputs, depthwise), :][..., outputs]
    return [*(kernel[..., inputs, :] for kernel in depthwise), by_channel(layer, window)]


def _mixed_inputs(inputs: BoolArray, depthwise: Weights) -> BoolArray:
    """Which inputs of a reader's last kernel are made of these channels."""
    return np.repeat(inputs, depthwise[0].shape[-1]) if depthwise else inputs


def _smaller_carrier(
    layer: Any, channels_in: Channels, channels_out: Channels, removed: BoolArray
) -> tuple[Any, Weights]:
    """A layer that passes channels on, without the removed ones: not built, and its weights."""
    keep_in, keep_out = ~removed[channels_in.ids], ~removed[channels_out.ids]
    config = layer.get_config()
    weights = [np.asarray(weight) for weight in layer.get_weights()]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        weights = [weights[0][..., keep_in, :], *(bias[keep_out] for bias in weights[1:])]
    elif pads_channels(layer):
        before, after = layer.padding[1]
        kept = (int(keep_out[:before].sum()), int(keep_out[len(keep_out) - after :].sum()))
        config["padding"] = (layer.padding[0], kept)
    else:
        weights = [weight[keep_in] for weight in weights]
    return type(layer).from_config(config), weights


def live_weights(model: keras.Model) -> Masks:
    """Which weights of a pruned network still matter once its dead channels are gone.

    A weight is live if it is not zero and `shrink` leaves both the channel it reads and the one
    it makes. Pruned filters kill more weights than their own: those that read their channels, and
    those of filters that nobody reads any more. So

    - `live_weights(model).remaining` weights of `shrink(model)` are not zero,
    - `.sparsity` is the share that is really dead, of *all* kernels, never-pruned ones included.

    `shrink` may keep some zeros beside them, as of a filter whose channel a shortcut carries on.

    Args:
      model: a built functional or sequential model, wrapped or plain, nested models included.

    Returns:
      Masks of every kernel but those of embeddings by name, True where a weight is live.

    Raises:
      InputError: if the model is not a built functional or sequential `tf_keras` model.
    """
    live = {name: k.variable.numpy() != 0 for name, k in counted_kernels(model).items()}
    global_names = names_of_layers(model)
    for part in parts(model):
        graph = channel_graph(part)
        unneeded, removed = graph.removable()
        layers = {layer.name: layer for layer in map(inner, part.layers)}
        for name, reader in graph.readers.items():
            layer, own = layers[name], global_names[id(layers[name])]
            kernels = [live[kernel_name(own, layer, k.name)] for k in kernels_of(layer)]
            _clear(layer, kernels, unneeded[reader.inputs.ids], unneeded[reader.outputs.ids])
        for name, (channels_in, _) in graph.layers.items():
            if isinstance(layers.get(name), keras.layers.DepthwiseConv2D):
                kernel = live.get(global_names[id(layers[name])])
                if kernel is not None:  # A gate's is none.
                    kernel[..., removed[channels_in.ids], :] = False
    return Masks(live)


def flops(model: keras.Model) -> int:
    """Floating-point operations of one example's forward pass, two for each multiply-add.

    Counted are the products with the kernels of `tfprune.models.kernel_table`:

    | layer | operations |
    | --- | --- |
    | convolution | 2 × window × (channels in / groups) × filters × output positions |
    | depthwise convolution | 2 × window × channels in × multiplier × output positions |
    | separable convolution | the two factors' |
    | transposed convolution | 2 × window × channels in × filters × input positions |
    | dense | 2 × units in × units × output positions (1 for a vector) |
    | `EinsumDense`, locally connected | 2 × the inputs of an output × outputs |
    | recurrent | those of both kernels, in every step |
    | `MultiHeadAttention` | its four kernels', and queries × keys and weights × values |
    | `TimeDistributed` | those of the layer or model inside, in every step |

    Zero weights and the zeros of padding count like all others; biases, normalization, activations,
    pooling and embeddings do not count. A layer used twice counts twice.

    Args:
      model: a built functional or sequential model, wrapped or plain.

    Raises:
      InputError: if the height, width or length of a layer's output is not fixed, or the model is
        not a built functional or sequential one.

    Warns:
      UserWarning: of layers with kernels that are not known, which are not counted.
    """
    return sum(_flops_of_call(node) for node in nodes(model))


def _flops_of_call(node: Any) -> int:
    inputs = [tensor.shape for tensor in node.keras_inputs]
    output = tf.nest.flatten(node.outputs)[0].shape
    return 2 * _multiply_adds(inner(node.layer), inputs, output) if inputs else 0


def _multiply_adds(layer: Any, inputs: list[Any], output: Any) -> int:
    """Of one call of a layer, given the shapes of its inputs and of its (first) output."""
    kinds = keras.layers
    if isinstance(layer, keras.Model):
        return flops(layer) // 2
    if isinstance(layer, kinds.TimeDistributed):
        steps = _known(layer, inputs[0][1:2])
        without = [shape[:1].concatenate(shape[2:]) for shape in (inputs[0], output)]
        return steps * _multiply_adds(layer.layer, without[:1], without[1])
    if isinstance(layer, kinds.Bidirectional):
        ways = (layer.forward_layer, layer.backward_layer)
        return sum(_multiply_adds(way, inputs, output) for way in ways)
    if isinstance(layer, kinds.MultiHeadAttention):
        return _multiply_adds_of_attention(layer, inputs)
    if unknown_kernels(layer):
        warnings.warn(
            f"flops does not count layer {layer.name!r} ({type(layer).__name__}), whose kernels "
            "tfprune does not know",
            stacklevel=2,
        )
    return sum(
        math.prod(kernel.variable.shape) * _uses(layer, kernel, inputs[0], output)
        for kernel in kernels_of(layer)
        if kernel.axes.kind != EMBEDDING
    )


def _uses(layer: Any, kernel: Kernel, inputs: Any, output: Any) -> int:
    """How many times each weight of a kernel is multiplied by an input, or its share of one."""
    kinds = keras.layers
    if isinstance(layer, kinds.RNN):
        steps = inputs[0 if getattr(layer, "time_major", False) else 1 :][:1]
        window = len(kernel.variable.shape) - 2 if kernel.axes.kind == CONVOLUTION else 0
        places = _places(layer, output)[-window:] if window else []
        return _known(layer, [*steps, *places])
    if isinstance(layer, kinds.EinsumDense):  # An axis of the kernel may be one of the batch, too.
        outputs = math.prod(kernel.variable.shape) // kernel.fan_in
        return _known(layer, output[1:]) // outputs
    if isinstance(layer, (kinds.LocallyConnected1D, kinds.LocallyConnected2D)):
        return 1  # A kernel for each position.
    transposed = (kinds.Conv1DTranspose, kinds.Conv2DTranspose, kinds.Conv3DTranspose)
    return _known(layer, _places(layer, inputs if isinstance(layer, transposed) else output))


def _places(layer: Any, shape: Any) -> list[int | None]:
    """The axes of a shape that are neither the batch nor the channels."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return list(shape[2:] if first else shape[1:-1])


def _known(layer: Any, sizes: Iterable[int | None]) -> int:
    found = list(sizes)
    if None in found:
        raise InputError(
            f"the output of layer {layer.name!r} has no fixed size: "
            "build the model for inputs of one size to count its operations"
        )
    return math.prod(size for size in found if size is not None)


def _multiply_adds_of_attention(layer: Any, inputs: list[Any]) -> int:
    query, value = inputs[0], inputs[min(1, len(inputs) - 1)]
    queries, values = (_known(layer, shape[1:-1]) for shape in (query, value))
    uses = {"query": queries, "key": values, "value": values, "output": queries}
    projections = sum(
        math.prod(kernel.variable.shape) * uses[kernel.name.partition("/")[0]]
        for kernel in kernels_of(layer)
    )
    attended = _known(layer, (value[axis] for axis in layer._attention_axes))
    return projections + queries * attended * layer._num_heads * (layer._key_dim + layer._value_dim)
