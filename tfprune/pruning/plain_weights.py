"""Between wrapped models and plain ones: masks from zeros, weights of a plain model's file."""

from __future__ import annotations

from etils import epath

from tfprune.backend import keras
from tfprune.errors import InputError, reason
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import (
    Layers,
    apply_masks,
    get_masks,
    masked_layers,
    prunable_weights,
    prune_model,
    strip,
)
from tfprune.pruning.weights import read_weights, write_weights


def masks_of(model: keras.Model, layers: Layers = "default") -> Masks:
    """The masks that a sparse model's zeros are: True where a weight is not exactly 0.

    Args:
      model: a plain sparse model, such as `strip` or another tool left, or a wrapped one.
      layers: of a plain model, as for `prune_model`.

    Raises:
      InputError: as `prune_model`.

    Example:
      >>> from tfprune.pruning.model import set_masks, sparsity
      >>> layer = keras.layers.Dense(2, kernel_initializer="identity", input_shape=(2,), name="d")
      >>> sparse = keras.Sequential([layer])
      >>> model = prune_model(sparse)
      >>> set_masks(model, masks_of(sparse))  # It trains on, and its zeros stay.
      >>> sparsity(model)
      0.5
    """
    wrapped = model if masked_layers(model) else prune_model(model, layers)
    return get_masks(wrapped).replaced({n: w != 0 for n, w in prunable_weights(wrapped).items()})


def load_weights(model: keras.Model, path: epath.PathLike) -> None:
    """Loads the weights that the plain model saved into the wrapped one, under its masks.

    What a wrapped model saved, its own `load_weights` reads.

    Args:
      model: from `prune_model`.
      path: what `save_weights` of the plain model wrote, in any of Keras's formats.

    Raises:
      InputError: the file is not there, or is not of the plain model.
    """
    plain = strip(model)
    try:
        status = plain.load_weights(str(epath.Path(path)))
        if status is not None:  # Of a checkpoint, which Keras reads in part without a word.
            status.assert_existing_objects_matched()
    except Exception as error:
        raise InputError(
            f"{path} does not hold the weights of the plain model of {model.name!r} "
            f"({reason(error)}): what a wrapped model saved, model.load_weights reads"
        ) from error
    write_weights(model, read_weights(plain))
    apply_masks(model)
