"""What works with which parts of Keras: parameters of tests, and the page made of them.

`python tests/compatibility.py` writes docs/compatibility.md; tests/test_compatibility.py checks
that the page is up to date. A table of other parts: a list of rows and a line in `tables`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "compatibility.md"
HEADING = """# What works with what

Made by `python tests/compatibility.py` from the parameters of the tests that show it, and checked
by a test. What is not in a table is refused in one line, or left out with a warning that says how
much of the network it is.
"""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A kind of layer.

    Attributes:
      kernels: what its masks are called behind the layer's name; one that is alone has the
        layer's name.
      shape: of one example that it takes.
      make: makes it, given `keras.layers`.
      fan_in, outputs: how many inputs one output of each kernel sums over, and how many there are.
      flops: operations of one example's forward pass, two for each product with a kernel.
      default: the kernels that `prune_model` prunes unasked; None for all of them.
      filters: whether its filters are pruned and shrunk.
    """

    kernels: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[[Any], Any]
    fan_in: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    flops: int = 0
    default: tuple[str, ...] | None = None
    filters: str = "-"

    @property
    def drawn(self) -> bool:
        """Whether `initialize` draws its kernels."""
        return not {"recurrent_kernel", "embeddings"} & {k.split("/")[-1] for k in self.kernels}


_ONE = ("kernel",)
_RECURRENT = ("kernel", "recurrent_kernel")
_HEADS = ("query/kernel", "key/kernel", "value/kernel", "output/kernel")
_BOTH = tuple(f"{way}/{kernel}" for way in ("forward", "backward") for kernel in _RECURRENT)

# Numbers by hand: a 3x3 window over 2 channels sums 18 inputs, and so on.
LAYERS = {
    "Dense": Layer(_ONE, (5,), lambda k: k.Dense(4), (5,), (4,), filters="yes", flops=2 * 5 * 4),
    "EinsumDense": Layer(
        _ONE,
        (3, 5),
        lambda k: k.EinsumDense("abc,cd->abd", (3, 4)),
        (5,),
        (4,),
        flops=2 * 3 * 5 * 4,
    ),
    "Conv1D": Layer(
        _ONE, (8, 2), lambda k: k.Conv1D(4, 3), (6,), (4,), filters="yes", flops=2 * 6 * 6 * 4
    ),
    "Conv2D": Layer(
        _ONE, (6, 6, 2), lambda k: k.Conv2D(4, 3), (18,), (4,), filters="yes", flops=2 * 16 * 18 * 4
    ),
    "Conv3D": Layer(
        _ONE,
        (4, 4, 4, 2),
        lambda k: k.Conv3D(3, 2),
        (16,),
        (3,),
        filters="yes",
        flops=2 * 27 * 16 * 3,
    ),
    "Conv1DTranspose": Layer(
        _ONE,
        (8, 2),
        lambda k: k.Conv1DTranspose(5, 3),
        (6,),
        (5,),
        filters="yes",
        flops=2 * 8 * 6 * 5,
    ),
    "Conv2DTranspose": Layer(
        _ONE,
        (6, 6, 2),
        lambda k: k.Conv2DTranspose(5, 3),
        (18,),
        (5,),
        filters="yes",
        flops=2 * 36 * 18 * 5,
    ),
    "Conv3DTranspose": Layer(
        _ONE,
        (4, 4, 4, 2),
        lambda k: k.Conv3DTranspose(3, 2),
        (16,),
        (3,),
        filters="yes",
        flops=2 * 64 * 16 * 3,
    ),
    "DepthwiseConv1D": Layer(
        ("depthwise_kernel",),
        (8, 2),
        lambda k: k.DepthwiseConv1D(3),
        (3,),
        (2,),
        default=(),
        flops=2 * 6 * 3 * 2,
    ),
    "DepthwiseConv2D": Layer(
        ("depthwise_kernel",),
        (6, 6, 2),
        lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
        (9,),
        (4,),
        filters="carried",
        default=(),
        flops=2 * 16 * 9 * 4,
    ),
    "SeparableConv1D": Layer(
        ("depthwise_kernel", "pointwise_kernel"),
        (8, 2),
        lambda k: k.SeparableConv1D(4, 3),
        (3, 2),
        (2, 4),
        default=("pointwise_kernel",),
        filters="yes",
        flops=2 * 6 * (3 * 2 + 2 * 4),
    ),
    "SeparableConv2D": Layer(
        ("depthwise_kernel", "pointwise_kernel"),
        (6, 6, 2),
        lambda k: k.SeparableConv2D(4, 3),
        (9, 2),
        (2, 4),
        default=("pointwise_kernel",),
        filters="yes",
        flops=2 * 16 * (9 * 2 + 2 * 4),
    ),
    "LocallyConnected1D": Layer(
        _ONE, (6, 2), lambda k: k.LocallyConnected1D(3, 3), (6,), (12,), flops=2 * 4 * 6 * 3
    ),
    "LocallyConnected2D": Layer(
        _ONE, (4, 4, 2), lambda k: k.LocallyConnected2D(3, 3), (18,), (12,), flops=2 * 4 * 18 * 3
    ),
    "SimpleRNN": Layer(
        _RECURRENT, (4, 3), lambda k: k.SimpleRNN(5), (3, 5), (5, 5), flops=2 * 4 * (3 + 5) * 5
    ),
    "GRU": Layer(
        _RECURRENT, (4, 3), lambda k: k.GRU(5), (3, 5), (15, 15), flops=2 * 4 * (3 + 5) * 15
    ),
    "LSTM": Layer(
        _RECURRENT, (4, 3), lambda k: k.LSTM(5), (3, 5), (20, 20), flops=2 * 4 * (3 + 5) * 20
    ),
    "ConvLSTM2D": Layer(
        _RECURRENT,
        (3, 4, 4, 2),
        lambda k: k.ConvLSTM2D(2, 2),
        (8, 8),
        (8, 8),
        flops=2 * 3 * 9 * (8 + 8) * 8,
    ),
    "RNN of stacked cells": Layer(
        tuple(f"cell{n}/{kernel}" for n in (0, 1) for kernel in _RECURRENT),
        (4, 3),
        lambda k: k.RNN([k.LSTMCell(5), k.GRUCell(2)]),
        (3, 5, 5, 2),
        (20, 20, 6, 6),
        flops=2 * 4 * ((3 + 5) * 20 + (5 + 2) * 6),
    ),
    "Bidirectional": Layer(
        _BOTH,
        (4, 3),
        lambda k: k.Bidirectional(k.LSTM(5)),
        (3, 5) * 2,
        (20,) * 4,
        flops=2 * 2 * 4 * (3 + 5) * 20,
    ),
    "TimeDistributed": Layer(
        _ONE, (4, 3), lambda k: k.TimeDistributed(k.Dense(5)), (3,), (5,), flops=2 * 4 * 3 * 5
    ),
    "MultiHeadAttention": Layer(
        _HEADS,
        (4, 6),
        lambda k: k.MultiHeadAttention(2, 3),
        (6, 6, 6, 6),
        (6, 6, 6, 6),
        flops=2 * (4 * 4 * 6 * 6 + 4 * 4 * 2 * (3 + 3)),
    ),
    "Embedding": Layer(
        ("embeddings",), (4,), lambda k: k.Embedding(9, 3), (9,), (3,), default=(), flops=0
    ),
}

# Why, in the words of the page.
LEFT_OUT = {
    "SpectralNormalization": "it rewrites its kernel in training",
    "TimeDistributed of a model": "its layers are inside a layer: apply the model step by step",
    "a layer of your own made of layers": "its layers are inside a layer: make it a function",
    "a subclass that ignores its constraint": "nothing would hold its zeros",
}


def layer_table() -> str:
    lines = [
        "## Layers",
        "",
        "Exact zeros after every step, in `.keras`, `.h5` and SavedModel, stripped and copied; "
        "subclasses are like their class. *Default*: what `prune_model(model)` prunes unasked. "
        "*Filters*: `FilterPruning` and `FilterNoise` take them, by the name of the last mask, and "
        "`shrink` removes their dead filters (*carried*: those of the layer before). *Drawn*: the "
        "studies' initialization, `initialize`, draws its kernels; it refuses a model with others, "
        "by name. `flops` counts the products with all kernels of the table, but those of "
        "embeddings, which are looked up.",
        "",
        "| layer | masks of a layer `x` | default | filters | drawn |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, layer in LAYERS.items():
        alone = len(layer.kernels) == 1
        masks = "`x`" if alone else ", ".join(f"`x/{kernel}`" for kernel in layer.kernels)
        default = "yes" if layer.default is None else ", ".join(f"`{k}`" for k in layer.default)
        drawn = "yes" if layer.drawn else "refused"
        lines.append(
            f"| {name} | {masks} | {default or 'when named'} | {layer.filters} | {drawn} |"
        )
    lines += ["", "| left out, with a warning | why |", "| --- | --- |"]
    lines += [f"| {name} | {why} |" for name, why in LEFT_OUT.items()]
    return "\n".join(lines)


def page() -> str:
    tables = (layer_table,)
    return "\n".join([HEADING, *(f"{table()}\n" for table in tables)])


if __name__ == "__main__":
    PAGE.write_text(page())
