"""Which kernels of a model are prunable, by the names of their layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfprune.backend import keras
from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.models.registry import MODELS, PRUNABLE_KERNELS

_SETS = (*PRUNABLE_KERNELS, "hidden")


def prunable_kernels(
    model: Any, which: str = "default", model_name: str | None = None
) -> list[str]:
    """The layers whose kernel is prunable, in the order of the model's layers.

    Never biases nor batch norm (SDD A.1). Transposed convolutions count; depthwise and separable
    ones, whose kernels are already factors of a convolution's, are left alone. The 1x1
    convolutions on a ResNet's shortcuts count like any convolution: resnet18, 20, 32, 50 and 56
    prune them as OpenLTH does, unless `shortcut="zero_pad"` leaves none.

    Args:
      model: a Keras model, nested models included; built or not. A wrapped layer counts as the
        layer inside, by that layer's name.
      which: `conv`: every convolution. `conv_dense`: also every dense kernel. `hidden`: as
        `conv_dense`, without the last dense layer. `default`: what the registry says of
        `model_name`.
      model_name: a name in `tfprune.models.registry.MODELS`; None for a model of your own, whose
        default is `conv_dense`.

    Raises:
      SettingError: no such set or model, or the model has no such kernel.
      InputError: two of the layers, in different nested models, share a name.
    """
    if which not in _SETS:
        raise unknown_name("prunable", which, _SETS)
    resolved = _default(model_name) if which == "default" else which
    # Depthwise and separable layers are not subclasses of these, transposed ones are.
    convolutions = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    kinds = convolutions if resolved == "conv" else (*convolutions, keras.layers.Dense)
    found = [layer for layer in _layers(model) if isinstance(layer, kinds)]
    if resolved == "hidden":
        found = _without_last_dense(found)
    names = [layer.name for layer in found]
    if not names:
        raise SettingError("prunable", which, f"model {model.name!r} has no such kernel")
    _check_distinct(names)
    return names


def _default(model_name: str | None) -> str:
    return "conv_dense" if model_name is None else MODELS.entry(model_name)["prunable"]


def _without_last_dense(layers: list[Any]) -> list[Any]:
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    return [layer for layer in layers if not dense or layer is not dense[-1]]


def _layers(model: Any) -> Iterator[Any]:
    """The layers that are not models, each once, nested models unfolded in place."""
    seen: set[int] = set()
    for layer in model.layers:
        inner = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer
        for leaf in _layers(inner) if isinstance(inner, keras.Model) else (inner,):
            if id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf


def _check_distinct(names: list[str]) -> None:
    shared = sorted({name for name in names if names.count(name) > 1})
    if shared:
        raise InputError(
            f"layers named {', '.join(shared)} are in more than one nested model: "
            "give every convolution and dense layer a name of its own"
        )
