"""Epoch checkpoints: everything that the next epoch depends on, in one file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from tfprune.backend import keras
from tfprune.files import load_arrays, save_arrays
from tfprune.pruning.weights import read_weights, write_weights

Row = dict[str, Any]


@dataclass(frozen=True)
class Resumed:
    """Where an interrupted training goes on.

    Attributes:
      epoch: the index of the next epoch to train.
      rows: the metrics of the epochs before it.
    """

    epoch: int
    rows: list[Row]


def save(path: epath.Path, model: keras.Model, epoch: int, rows: list[Row]) -> None:
    """Writes weights, optimizer slots, finished epochs and their metrics.

    All other state is a function of the epoch's index, so resuming from here ends where an
    uninterrupted training ends.
    """
    arrays = {f"model/{name}": value for name, value in read_weights(model).items()}
    for index, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer/{index}"] = variable.numpy()
    arrays["epoch"] = np.int64(epoch)
    arrays["rows"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    save_arrays(path, arrays)


def restore(path: epath.Path, model: keras.Model) -> Resumed:
    """Puts a checkpoint into the model and its optimizer, whose slots must be built.

    Raises:
      ValueError: the checkpoint is of another network or optimizer.
    """
    arrays = load_arrays(path)
    slots = sum(name.startswith("optimizer/") for name in arrays)
    if slots != len(model.optimizer.variables):
        raise ValueError(
            f"{path} has {slots} optimizer variables, the optimizer "
            f"{len(model.optimizer.variables)}: build it before restoring"
        )
    weights = {
        name.removeprefix("model/"): value
        for name, value in arrays.items()
        if name.startswith("model/")
    }
    write_weights(model, weights)
    for index, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays[f"optimizer/{index}"])
    return Resumed(int(arrays["epoch"]), json.loads(arrays["rows"].tobytes()))
