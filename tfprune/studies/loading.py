"""A finished stage's network, for a user's own script."""

from __future__ import annotations

from etils import epath

from tfprune import layout
from tfprune.backend import keras
from tfprune.config import from_values
from tfprune.errors import InputError
from tfprune.files import load_arrays, read_json
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import write_weights
from tfprune.training.network import build_network, set_masks


def load_stage(folder: epath.PathLike, weights: str = "end") -> keras.Model:
    """The network of a stage with its masks, as `prune_model` gives: not compiled.

    It is the network that was trained: in its `dtype`, with its gates where shortcuts are cut,
    and with the masks of batch norms where filters are pruned.

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
    model = build_network(config, tuple(about["input_shape"]), about["num_classes"])
    values = load_arrays(file)
    write_weights(model, values)
    masks = Masks.load(folder / layout.MASKS)
    # Filters that go during a training are in the masks at its end, and were there at its start.
    there = {name: mask | (values[f"{name}/kernel"] != 0) for name, mask in masks.items()}
    set_masks(model, config, Masks(there))
    return model
