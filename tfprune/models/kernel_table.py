"""The one table of kernels: which weights of a layer can be pruned, and what their axes count.

A kind of layer that is not here has no kernel for tfprune: add one by a line in `_table`, and it
is pruned, counted, initialized, normalized and saved like all others.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Iterator

from tfprune.backend import keras, tf

CONVOLUTION, DENSE = "convolution", "dense"
DEPTHWISE, EMBEDDING = "depthwise", "embedding"  # Pruned only when they are named.


@dataclasses.dataclass(frozen=True)
class Axes:
    """What the axes of a kernel count.

    Attributes:
      attribute: what the kernel is called in its layer.
      kind: `CONVOLUTION`, `DENSE`, `DEPTHWISE` or `EMBEDDING`.
      outputs: the axes that count the outputs, from the end; one output is one filter, or unit.
      inputs: the axes that count the channels read, from the end. Axes that are no outputs, those
        of the window too, are what one output sums over.
    """

    attribute: str
    kind: str
    outputs: tuple[int, ...]
    inputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of a layer, built or not.

    Attributes:
      name: of the kernel in the layer: `kernel`, `recurrent_kernel`, `query/kernel`.
      owner: the layer whose attribute it is; a part of the layer, as the cell of an `LSTM`.
      axes: what its axes count.
    """

    name: str
    owner: keras.layers.Layer
    axes: Axes

    @property
    def variable(self) -> tf.Variable:
        return getattr(self.owner, self.axes.attribute)

    @property
    def constraint(self) -> str:
        """The attribute of the owner that holds the kernel's constraint until it is built."""
        return f"{self.axes.attribute.removesuffix('_kernel')}_constraint"

    @property
    def summed_axes(self) -> tuple[int, ...]:
        """The axes that one output sums over, counted from the front."""
        rank = len(self.variable.shape)
        return tuple(axis for axis in range(rank) if axis - rank not in self.axes.outputs)

    @property
    def fan_in(self) -> int:
        """The number of inputs that one output sums over."""
        return math.prod(self.variable.shape[axis] for axis in self.summed_axes)

    @property
    def fan_out(self) -> int:
        """The number of outputs that one input is added to."""
        groups = getattr(self.owner, "groups", 1) if self.axes.attribute == "kernel" else 1
        inputs = math.prod(self.variable.shape[axis] for axis in self.axes.inputs)
        return math.prod(self.variable.shape) // inputs // groups


def kernels_of(layer: keras.layers.Layer) -> tuple[Kernel, ...]:
    """The kernels of a layer, in order; none if tfprune knows no kernel of its kind.

    A subclass has those of the class that it comes from. A layer of one's own with a
    `get_prunable_weights`, in the sense of tensorflow-model-optimization, has one, its `kernel`.
    """
    return tuple(
        Kernel(f"{prefix}{axes.attribute}", owner, axes)
        for prefix, owner in _owners(layer)
        for axes in _axes(owner)
        if hasattr(owner, Kernel(axes.attribute, owner, axes).constraint)
    )


def _owners(
    layer: keras.layers.Layer, prefix: str = ""
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The parts of a layer that may own kernels, and what their kernels' names begin with."""
    kinds = keras.layers
    if isinstance(layer, kinds.TimeDistributed):
        yield from _owners(layer.layer, prefix)
    elif isinstance(layer, kinds.Bidirectional):
        yield from _owners(layer.forward_layer, f"{prefix}forward/")
        yield from _owners(layer.backward_layer, f"{prefix}backward/")
    elif isinstance(layer, kinds.MultiHeadAttention):
        for name in ("query", "key", "value", "output"):
            part = getattr(layer, f"_{name}_dense", None)
            if part is not None:  # There is none before its inputs' shapes are known.
                yield f"{prefix}{name}/", part
    elif isinstance(layer, kinds.RNN):
        yield from _owners(layer.cell, prefix)
    elif isinstance(layer, kinds.StackedRNNCells):
        for index, cell in enumerate(layer.cells):
            yield from _owners(cell, f"{prefix}cell{index}/")
    elif not isinstance(layer, keras.Model):
        yield prefix, layer


def _axes(owner: keras.layers.Layer) -> tuple[Axes, ...]:
    if isinstance(owner, keras.layers.EinsumDense):
        return _einsum_axes(owner)
    if getattr(owner, "implementation", 1) != 1 and "LocallyConnected" in type(owner).__name__:
        return ()  # These keep their weights in other shapes.
    for kind in type(owner).__mro__:
        if kind in _table():
            return _table()[kind]
    return (_PLAIN,) if hasattr(owner, "get_prunable_weights") else ()


_PLAIN = Axes("kernel", DENSE, outputs=(-1,), inputs=(-2,))


@functools.cache
def _table() -> dict[type, tuple[Axes, ...]]:
    kinds = keras.layers
    convolution = Axes("kernel", CONVOLUTION, outputs=(-1,), inputs=(-2,))  # [*window, in, out]
    transposed = Axes("kernel", CONVOLUTION, outputs=(-2,), inputs=(-1,))  # [*window, out, in]
    # [*window, in, multiplier]: a filter of its own for each.
    depthwise = Axes("depthwise_kernel", DEPTHWISE, outputs=(-2, -1), inputs=(-2,))
    pointwise = Axes("pointwise_kernel", CONVOLUTION, outputs=(-1,), inputs=(-2,))
    local = Axes("kernel", CONVOLUTION, outputs=(-3, -1), inputs=(-2,))  # [positions, window, out]
    recurrent = Axes("recurrent_kernel", DENSE, outputs=(-1,), inputs=(-2,))
    recurrent_convolution = Axes("recurrent_kernel", CONVOLUTION, outputs=(-1,), inputs=(-2,))
    return {
        kinds.Dense: (_PLAIN,),
        **dict.fromkeys((kinds.Conv1D, kinds.Conv2D, kinds.Conv3D), (convolution,)),
        **dict.fromkeys(
            (kinds.Conv1DTranspose, kinds.Conv2DTranspose, kinds.Conv3DTranspose), (transposed,)
        ),
        **dict.fromkeys((kinds.DepthwiseConv1D, kinds.DepthwiseConv2D), (depthwise,)),
        **dict.fromkeys((kinds.SeparableConv1D, kinds.SeparableConv2D), (depthwise, pointwise)),
        **dict.fromkeys((kinds.LocallyConnected1D, kinds.LocallyConnected2D), (local,)),
        # [in, gates * units] and [units, gates * units]
        **dict.fromkeys((kinds.LSTMCell, kinds.GRUCell, kinds.SimpleRNNCell), (_PLAIN, recurrent)),
        _conv_lstm_cell(): (convolution, recurrent_convolution),
        kinds.Embedding: (Axes("embeddings", EMBEDDING, outputs=(-1,), inputs=(-2,)),),
    }


def _conv_lstm_cell() -> type:
    """Keras does not export it."""
    return sys.modules[keras.layers.ConvLSTM2D.__base__.__module__].ConvLSTMCell


def _einsum_axes(layer: keras.layers.Layer) -> tuple[Axes, ...]:
    """What the output has too counts outputs: `bc` in "ab,bc->ac" has the outputs c."""
    kernel, output = layer.equation.replace(" ", "").split(",")[1].split("->")
    outputs = tuple(index - len(kernel) for index, letter in enumerate(kernel) if letter in output)
    inputs = tuple(axis for axis in range(-len(kernel), 0) if axis not in outputs)
    return (Axes("kernel", DENSE, outputs=outputs, inputs=inputs),)
