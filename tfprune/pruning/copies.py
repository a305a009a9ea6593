"""New layers like given ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tfprune.backend import keras
from tfprune.errors import InputError


def copy_of(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """A layer of the same config, but for these changes, that is not built.

    Raises:
      InputError: its config does not make one like it, or its class is not known.
    """
    refuse_unknown([layer])
    parts = {type(part) for part in layer._flatten_layers()}
    own = {kind.__name__: kind for kind in parts if not of_keras(kind)}
    try:
        with keras.utils.custom_object_scope(own):
            return type(layer).from_config({**layer.get_config(), **changes})
    except (TypeError, NotImplementedError) as error:
        name = type(layer).__name__
        raise InputError(
            f"layer {layer.name!r} ({name}) cannot be copied: its get_config must return all "
            f"arguments of {name}.__init__"
        ) from error


def refuse_unknown(layers: Iterable[keras.layers.Layer]) -> None:
    """Refuses what Keras makes of a layer in a SavedModel whose class it does not know.

    That computes what the layer did, but a copy of it does not, and its masks are not found.

    Raises:
      InputError: there is such a layer.
    """
    unknown = {layer.name: _saved_class(layer) for layer in layers if _is_revived(layer)}
    if unknown:
        raise InputError(unknown_classes(unknown))


def unknown_classes(layers: Mapping[str, str]) -> str:
    """What is said of layers in a file: their names, each with that of its class."""
    named = ", ".join(f"{name!r} ({kind})" for name, kind in layers.items())
    kinds = ", ".join(f'"{kind}": {kind}' for kind in sorted({*layers.values()}))
    return (
        f"the file has layers of classes that are not known: {named}: load it by "
        f"tfprune.load_model(path, custom_objects={{{kinds}}})"
    )


def _is_revived(layer: keras.layers.Layer) -> bool:
    return any(kind.__name__ == "RevivedLayer" for kind in type(layer).__mro__)


def _saved_class(layer: keras.layers.Layer) -> str:
    """The name of the class that a revived layer had, of that inside a wrapper."""
    wrapped = layer.get_config().get("layer", {}).get("class_name")
    return (wrapped or type(layer).__name__).rpartition(">")[2]


def of_keras(kind: type) -> bool:
    """Whether a class is one of Keras's."""
    return kind.__module__.partition(".")[0] == keras.__name__
