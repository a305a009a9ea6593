"""Which kernels of a model are prunable, by the names of their masks."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.catalog import MODELS
from tfprune.errors import SettingError, unknown_name
from tfprune.models.kernel_table import CONVOLUTION, DEPTHWISE, Kernel
from tfprune.models.settings import PRUNABLE_KERNELS
from tfprune.pruning.kernels import counted_kernels

_SETS = (*PRUNABLE_KERNELS, "hidden")


def prunable_kernels(
    model: Any, which: str = "default", model_name: str | None = None
) -> list[str]:
    """The kernels that are prunable, in the order of the model's layers, by their masks' names.

    Never biases nor batch norm (SDD A.1). Transposed and recurrent convolutions count, and the
    pointwise kernels of separable ones; recurrent layers and attention count as dense ones.
    Depthwise kernels and embeddings, which are tables, are in no set: name them to prune them.
    Depthwise ones are few, and so small in a network that is not trained that magnitude over all
    layers would empty them first. The 1x1 convolutions on a ResNet's shortcuts count like any
    convolution: resnet18, 20, 32, 50 and 56 prune them as OpenLTH does, unless
    `shortcut="zero_pad"` leaves none.

    Args:
      model: a Keras model, nested models included; built or not. A wrapped layer counts as the
        layer inside, by that layer's name.
      which: `conv`: every convolution. `conv_dense`: also every dense kernel. `hidden`: as
        `conv_dense`, without the last dense layer. `default`: what the registry says of
        `model_name`.
      model_name: a name in `tfprune.catalog.MODELS`; None for a model that is not there. The
        default of these, and of those of which the registry says nothing, is `conv_dense`.

    Raises:
      SettingError: no such set or model, or the model has no such kernel.
    """
    if which not in _SETS:
        raise unknown_name("which", which, _SETS)
    resolved = _default(model_name) if which == "default" else which
    kernels = counted_kernels(model)
    found = [name for name, kernel in kernels.items() if _is_in(kernel, resolved)]
    if resolved == "hidden":
        dense = [n for n in found if isinstance(kernels[n].owner, keras.layers.Dense)]
        found = [name for name in found if name not in dense[-1:]]
    if not found:
        raise SettingError("which", which, f"model {model.name!r} has no such kernel")
    return found


def _default(model_name: str | None) -> str:
    if model_name is None:
        return "conv_dense"
    return str(MODELS.entry(model_name).get("prunable", "conv_dense"))


def _is_in(kernel: Kernel, which: str) -> bool:
    kind = kernel.axes.kind
    return kind == CONVOLUTION if which == "conv" else kind != DEPTHWISE
