"""A finished stage's network, for a user's own script."""

from __future__ import annotations

from etils import epath

from tfprune.backend import keras
from tfprune.config import from_values
from tfprune.errors import InputError
from tfprune.files import load_arrays, read_json
from tfprune.models.build import build_model
from tfprune.models.prunable import prunable_kernels
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import prune_model, set_masks
from tfprune.pruning.weights import write_weights
from tfprune.results import layout


def load_stage(folder: epath.PathLike, weights: str = "end") -> keras.Model:
    """The network of a stage with its masks, as `prune_model` gives: not compiled.

    Args:
      folder: `OUTPUT_DIR/trials/TRIAL/seed_S/STAGE`; the column `stage` of results.csv is it,
        relative to the output folder.
      weights: `end`, after training, or `start`, before it.

    Raises:
      InputError: the folder is not that of a stage, or its training is not that far.
    """
    folder = epath.Path(folder)
    file = folder / f"{weights}.npz"
    if not file.exists():
        raise InputError(
            f"{file} does not exist: give the folder of a trained stage, and start or end"
        )
    about = read_json(folder.parent / layout.CONFIG)
    config = from_values(about["config"])
    network = build_model(config.model, tuple(about["input_shape"]), about["num_classes"])
    names = prunable_kernels(network, config.model.prunable, config.model.model)
    model = prune_model(network, names)
    write_weights(model, load_arrays(file))
    set_masks(model, Masks.load(folder / layout.MASKS))
    return model
