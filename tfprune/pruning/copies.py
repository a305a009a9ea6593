"""New layers like given ones."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras


def copy_of(layer: keras.layers.Layer, **changes: Any) -> keras.layers.Layer:
    """A layer of the same config, but for these changes, that is not built."""
    parts = {type(part) for part in layer._flatten_layers()}
    own = {kind.__name__: kind for kind in parts if not of_keras(kind)}
    with keras.utils.custom_object_scope(own):
        return type(layer).from_config({**layer.get_config(), **changes})


def of_keras(kind: type) -> bool:
    """Whether a class is one of Keras's."""
    return kind.__module__.partition(".")[0] == keras.__name__
