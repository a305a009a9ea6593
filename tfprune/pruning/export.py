"""Wrapped models on disk, masks included, and stripped ones for TensorFlow Lite."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfprune.backend import keras, tf
from tfprune.errors import DamagedFile, InputError, reason, unknown_name
from tfprune.files import replacing
from tfprune.pruning.channel_masks import ChannelMask
from tfprune.pruning.copies import refuse_unknown
from tfprune.pruning.model import masked_layers, name_outputs, strip, with_dtype
from tfprune.pruning.wrapper import MaskedLayer

_QUANTIZED = ("float16", "int8")


def save_model(model: keras.Model, path: epath.PathLike) -> None:
    """Saves a wrapped model with its masks, and its optimizer if it is compiled.

    As `model.save(path)`; but a file that was there is replaced only by a whole one.

    Args:
      model: a wrapped model.
      path: `NAME.keras` for a Keras archive, `NAME.h5` for an HDF5 file, else a folder for a
        SavedModel.

    Raises:
      InputError: an HDF5 file cannot hold the model: two variables of it, or of its optimizer,
        have one name, as of equal layers in two models inside it.
    """
    path = epath.Path(path)
    file_format = {".keras": "keras", ".h5": "h5", ".hdf5": "h5"}.get(path.suffix)
    if file_format is None:
        model.save(str(path), save_format="tf")
        return
    try:
        with replacing(path, path.suffix) as part:
            model.save(str(part), save_format=file_format)
    except ValueError as error:
        if "name already exists" not in str(error):
            raise
        raise InputError(
            f"{path.suffix} cannot hold this model, in which two variables have one name: save it "
            f"as {path.with_suffix('.keras').name}"
        ) from error


def load_model(
    path: epath.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,  # noqa: A002  As Keras calls it.
    safe_mode: bool = True,
) -> keras.Model:
    """Loads what `save_model` or `model.save` wrote, in any format and in any process.

    Pruned weights and filters stay zero when it trains on, and it can be pruned further. The state
    of the optimizer is in a Keras archive and in an HDF5 file; Keras leaves it out of a SavedModel,
    which trains on with a new optimizer.

    Args:
      path: a Keras archive (`.keras`), an HDF5 file (`.h5`) or the folder of a SavedModel.
      custom_objects: your own layers, losses and so on by name, as Keras takes them.
      compile: whether to compile it as it was, which needs them.
      safe_mode: whether to refuse an archive with `Lambda` layers, whose code would be run.

    Raises:
      InputError: a SavedModel has layers of your own, and their classes are not known; or there is
        no such file.
      DamagedFile: the file is not whole.
    """
    from tfprune import optimizers  # noqa: F401  Keras knows SGD and Adam from here on.

    path = epath.Path(path)
    if not path.exists():
        raise InputError(f"there is no model at {path}")

    ours = {"MaskedLayer": MaskedLayer, "ChannelMask": ChannelMask}
    try:
        model = keras.models.load_model(
            str(path),
            custom_objects={**ours, **(custom_objects or {})},
            compile=compile,
            safe_mode=safe_mode,
        )
    except (OSError, zipfile.BadZipFile) as error:
        raise DamagedFile(path, reason(error), "take another copy, or save it again") from error
    refuse_unknown(model._flatten_layers())
    name_outputs(model)
    return model


def to_tflite(model: keras.Model, quantize: str | None = None) -> bytes:
    """The stripped model as a TensorFlow Lite flatbuffer.

    Zeros take as much room in it as other numbers; they are what a compressed file saves.

    Args:
      model: a wrapped or plain functional or sequential model; one of mixed precision is
        converted in float32, the precision of its weights.
      quantize: `float16`, weights of half the size; `int8`, weights of a quarter (those of layers
        with more than 1024), computed with in float32. None leaves them float32. Pruned weights
        stay exactly 0.

    Raises:
      SettingError: unknown `quantize`.
    """
    if quantize not in (None, *_QUANTIZED):
        raise unknown_name("quantize", str(quantize), _QUANTIZED)
    plain = strip(model) if masked_layers(model) else model
    if any(layer.compute_dtype != layer.variable_dtype for layer in plain.layers):
        plain = with_dtype(plain, "float32")
    converter = tf.lite.TFLiteConverter.from_keras_model(plain)
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()
