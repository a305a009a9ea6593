"""Wrapped models on disk, masks included, and stripped ones for TensorFlow Lite."""

from __future__ import annotations

from etils import epath

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.model import masked_layers, strip, with_dtype
from tfprune.pruning.wrapper import MaskedLayer


def save_model(model: keras.Model, path: epath.PathLike) -> None:
    """Saves a wrapped model with its masks, and its optimizer if it is compiled.

    The same as `model.save(path)`.

    Args:
      model: a wrapped model.
      path: `NAME.keras` for a Keras archive, else a folder for a SavedModel.
    """
    path = epath.Path(path)
    model.save(str(path), save_format="keras" if path.suffix == ".keras" else "tf")


def load_model(path: epath.PathLike) -> keras.Model:
    """Loads what `save_model` or `model.save` wrote; pruned weights stay zero when it trains on.

    The same as `keras.models.load_model(path)` once `tfprune.pruning.wrapper` is imported.
    """
    scope = {"MaskedLayer": MaskedLayer}
    return keras.models.load_model(str(epath.Path(path)), custom_objects=scope)


def save_checkpoint(model: keras.Model, path: epath.PathLike) -> str:
    """Writes the weights and masks, and the optimizer if there is one, as a `tf.train.Checkpoint`.

    Returns:
      The path that `restore_checkpoint` takes.
    """
    return tf.train.Checkpoint(model=model).write(str(epath.Path(path)))


def restore_checkpoint(model: keras.Model, path: epath.PathLike) -> None:
    """Reads weights and masks, and the optimizer if there is one, into a model of the same shape.

    Args:
      model: a model like the one that was saved; variables that do not exist yet, as the slots of
        a fresh optimizer, are restored when they are made.
      path: what `save_checkpoint` returned.

    Raises:
      InputError: if there is no checkpoint, or it is of a model of other variables or shapes.
    """
    try:
        status = tf.train.Checkpoint(model=model).read(str(epath.Path(path)))
        status.assert_existing_objects_matched().expect_partial()
    except tf.errors.NotFoundError as error:
        raise InputError(f"there is no checkpoint at {path}") from error
    except (ValueError, AssertionError) as error:
        raise InputError(
            f"{path} is not a checkpoint of this model: its variables or shapes are others"
        ) from error


def to_tflite(model: keras.Model) -> bytes:
    """The stripped model as a TensorFlow Lite flatbuffer.

    Args:
      model: a wrapped or plain functional or sequential model; one of mixed precision is
        converted in float32, the precision of its weights.
    """
    plain = strip(model) if masked_layers(model) else model
    if any(layer.compute_dtype != layer.variable_dtype for layer in plain.layers):
        plain = with_dtype(plain, "float32")
    return tf.lite.TFLiteConverter.from_keras_model(plain).convert()
