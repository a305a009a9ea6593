"""A finished stage's network and its data, for a user's own script."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from etils import epath

from tfprune import layout
from tfprune.backend import keras
from tfprune.claims import check_cloud
from tfprune.config import RunConfig, from_values
from tfprune.data import augmentation
from tfprune.data.prepare import PreparedData, keep, prepare
from tfprune.data.sources import load_source
from tfprune.data.streaming import StreamedData
from tfprune.errors import DamagedFile, InputError, SettingError, reason
from tfprune.files import check_sealed, load_arrays, read_sealed
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import write_weights
from tfprune.settings import expanded, one_of
from tfprune.store import read_about
from tfprune.training.network import build_network, set_masks
from tfprune.training.optimizers import build_optimizer

_BATCH = 256  # Images that are decoded at once.


class Split(NamedTuple):
    """Examples as a network takes them; `model.evaluate(*split)` and `model.fit(*split)` work.

    Attributes:
      images: [N, H, W, channels], normalized as in training; float64 for a stage of that `dtype`,
        else float32.
      labels: int32 [N], in [0, C).
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class StageData:
    """What a stage was trained and tested on. A split is made when it is first asked for.

    Sets that are streamed in training are read as a whole: [N, crop, crop, 3] floats must fit in
    memory. They show central crops.

    Attributes:
      prepared: the trial's data as they are, with pixels, positions in the source and `selected`.
      dtype: of the images.
    """

    prepared: PreparedData | StreamedData
    dtype: str = "float32"

    @cached_property
    def train(self) -> Split:
        """The training examples, not augmented, with the labels trained on, noise and all.

        Of a stage that was trained on a part of them that pruning chose, that part (PEG D, E, K.2).
        """
        return self._split("train")

    @cached_property
    def val(self) -> Split:
        """The validation examples, without noise; N is 0 without a validation split."""
        return self._split("val")

    @cached_property
    def test(self) -> Split:
        """The test examples."""
        return self._split("test")

    @property
    def original_labels(self) -> np.ndarray:
        """The labels of `train` before label noise, int32 [N]."""
        return self.prepared.original_labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names."""
        return self.prepared.class_names

    def _split(self, name: str) -> Split:
        data = self.prepared
        if isinstance(data, StreamedData):
            batches = [(i.numpy(), y.numpy()) for i, y, _ in data.evaluation(name, _BATCH)]
            empty = (np.zeros((0, *data.input_shape), self.dtype), np.zeros(0, np.int32))
            images, labels = (np.concatenate(part) for part in zip(empty, *batches, strict=True))
            return Split(images.astype(self.dtype), labels.astype(np.int32))
        prefix = "" if name == "train" else f"{name}_"
        pixels, labels = getattr(data, f"{prefix}images"), getattr(data, f"{prefix}labels")
        return Split(
            augmentation.normalize(pixels, data.mean, data.std, self.dtype).numpy(), labels
        )


def load_stage(folder: epath.PathLike, weights: str = "end") -> keras.Model:
    """The network of a stage with its masks, as `prune_model` gives, compiled as it was trained.

    It is the network that was trained: in its `dtype`, with its gates where shortcuts are cut,
    and with the masks of batch norms where filters are pruned. It maps normalized images
    [N, H, W, channels] to logits [N, C]; its loss is cross-entropy, its metric accuracy, and its
    optimizer the run's, at the initial learning rate and before its first step.

    Example:
      >>> network = load_stage("runs/mine/trials/TRIAL/seed_0/level_07")  # doctest: +SKIP
      >>> network.evaluate(*load_data(FOLDER).test)  # doctest: +SKIP

    Args:
      folder: `OUTPUT_DIR/trials/TRIAL/seed_S/STAGE`; the column `stage` of results.csv is it,
        relative to the output folder.
      weights: `end`, after training, or `start`, before it.

    Raises:
      InputError: the folder is not that of a stage, its training is not that far, or its trial's
        config.json is lost.
      DamagedFile: a file is not whole, or not the one that the stage was finished with.
    """
    one_of(("end", "start"))("weights", weights)
    folder = _reached(folder)
    file = folder / f"{weights}.npz"
    if not file.exists():
        raise InputError(f"{file} does not exist: give the folder of a trained stage")
    config, input_shape, num_classes = _described(folder.parent / layout.CONFIG)
    if (folder / layout.RESULT).exists():
        check_sealed(folder / layout.RESULT, (file.name, layout.MASKS), _TRAINED_AGAIN)
    values, masks = load_arrays(file), Masks.load(folder / layout.MASKS)
    try:
        model = build_network(config, input_shape, num_classes)
        write_weights(model, values)
        # Filters that go in a training are in the masks at its end, and were there at its start.
        there = {name: mask | (values[f"{name}/kernel"] != 0) for name, mask in masks.items()}
        set_masks(model, config, Masks(there))
    except (KeyError, ValueError) as error:
        what = f"it, its masks and {layout.CONFIG} are not of one network: {reason(error)}"
        raise DamagedFile(file, what, _TRAINED_AGAIN) from error
    model.compile(
        build_optimizer(config.training),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def load_data(folder: epath.PathLike) -> StageData:
    """The data of a stage: the same examples and labels, normalized with the same numbers.

    They are read from where the run read them, and split and noised again, which its seed makes
    the same draws; nothing of the output folder but config.json and result.json is needed, and of
    a stage that was trained on a part of the training examples, which.

    Args:
      folder: as `load_stage` takes it.

    Returns:
      `train`, `val` and `test`, each (images, labels).

    Raises:
      InputError: the folder is not that of a finished stage, or its trial's config.json is lost.
      DamagedFile: a file is not whole.
      SettingError: the data cannot be had any more.
    """
    folder = _reached(folder)
    if not (folder / layout.RESULT).exists():
        raise InputError(f"{folder / layout.RESULT} does not exist: give the folder of a stage")
    config, _, _ = _described(folder.parent / layout.CONFIG)
    seed = _seed(folder.parent)
    prepared = prepare(load_source(config.data), config.data, seed)
    if "subset_examples" in read_sealed(folder / layout.RESULT):
        kept = folder / layout.KEPT
        if not kept.exists():
            raise InputError(f"{kept} does not exist: {_TRAINED_AGAIN}")
        check_sealed(folder / layout.RESULT, (layout.KEPT,), _TRAINED_AGAIN)
        prepared = keep(prepared, load_arrays(kept)["rows"])
    dtype = "float64" if config.training.dtype == "float64" else "float32"
    return StageData(prepared, dtype)


def _reached(folder: epath.PathLike) -> epath.Path:
    """The folder as a path that can be read.

    Raises:
      InputError: it is on a storage that is not read here, or credentials for it are missing.
    """
    path = epath.Path(expanded("folder", os.fspath(folder)))
    check_cloud(path)
    return path


def _seed(folder: epath.Path) -> int:
    name = re.fullmatch(f"{layout.seed_folder(0)[:-1]}([0-9]+)", folder.name)
    if name is None:
        example = layout.seed_folder(0)
        raise InputError(
            f"{folder} is not called {example} or alike, after the seed that tells the draws of "
            "its data: give the folder the name that it had"
        )
    return int(name[1])


# The file is made of the command alone, so a run that trains nothing makes it anew.
_AGAIN = "run the command of its experiment again, which writes it anew and trains nothing"
_TRAINED_AGAIN = "run the command of its experiment again, which trains the stage anew"

# Settings that name a function, which may be one's own, and where it is added.
_NAMED = {
    "label_noise": "LABEL_NOISE",
    "model": "MODELS",
    "criterion": "CRITERIA",
    "retrain": "RETRAINING",
}


def _described(path: epath.Path) -> tuple[RunConfig, tuple[int, ...], int]:
    """The settings, the shape of an image and the number of classes that config.json has."""
    if not path.exists():
        raise InputError(f"{path} does not exist: {_AGAIN}")
    try:
        about = read_about(path)
    except DamagedFile as error:
        raise DamagedFile(path, error.what, f"delete it and {_AGAIN}") from error
    try:
        shape = tuple(map(int, about["input_shape"]))
        return from_values(about["config"]), shape, int(about["num_classes"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SettingError) and error.name in _NAMED:
            raise InputError(
                f"{path} has {error.name}={error.value}, which is not registered in this process: "
                f"import the file that adds it to tfprune.{_NAMED[error.name]} first"
            ) from error
        what = f"it does not say what was trained: {type(error).__name__}: {error}"
        raise DamagedFile(path, what, f"delete it and {_AGAIN}") from error
