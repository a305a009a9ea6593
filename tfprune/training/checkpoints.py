"""Epoch checkpoints: everything that the next epoch depends on, the last two that were saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from tfprune.backend import keras
from tfprune.errors import DamagedFile
from tfprune.files import load_arrays, save_arrays, set_aside
from tfprune.pruning.weights import named_variables, read_weights, write_weights
from tfprune.results import layout

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


class Checkpoints:
    """The checkpoints of one training, written in turn to two files.

    So the one before is whole whatever happens to the last.

    Args:
      folder: where they are.
      note: told of a damaged one.
    """

    def __init__(self, folder: epath.PathLike, note: Callable[[str], None] = lambda text: None):
        self._paths = [epath.Path(folder) / name for name in layout.CHECKPOINTS]
        self._note = note
        self._next = 0

    def save(self, model: keras.Model, epoch: int, rows: list[Row]) -> None:
        """Writes weights, optimizer slots, finished epochs and their metrics.

        All other state is a function of the epoch's index, so resuming from here ends where an
        uninterrupted training ends.
        """
        save(self._paths[self._next], model, epoch, rows)
        self._next = 1 - self._next

    def restore(self, model: keras.Model) -> Resumed | None:
        """Puts the newest whole checkpoint into the model and its optimizer.

        Damaged ones are set aside and told of.

        Args:
          model: compiled, with the slots of its optimizer built.

        Returns:
          Where it was saved; None if there is no whole one.
        """
        whole = []
        for index, path in enumerate(self._paths):
            if path.exists():
                try:
                    whole.append((_read(path, model), index))
                except DamagedFile as error:
                    aside = set_aside(path)
                    self._note(f"{path} is damaged ({error.what}), now {aside.name}: not used")
        if not whole:
            return None
        arrays, index = max(whole, key=lambda found: int(found[0]["epoch"]))
        self._next = 1 - index
        return _write(arrays, model)


def save(path: epath.Path, model: keras.Model, epoch: int, rows: list[Row]) -> None:
    """Writes one checkpoint."""
    arrays = {f"model/{name}": value for name, value in read_weights(model).items()}
    for index, variable in enumerate(model.optimizer.variables):
        arrays[f"optimizer/{index}"] = variable.numpy()
    arrays["epoch"] = np.int64(epoch)
    arrays["rows"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    save_arrays(path, arrays)


def _read(path: epath.Path, model: keras.Model) -> dict[str, np.ndarray]:
    """A checkpoint's arrays, if they are all that this model and its optimizer need."""
    arrays = load_arrays(path)
    variables = {f"model/{name}": v for name, v in named_variables(model).items()}
    variables |= {f"optimizer/{i}": v for i, v in enumerate(model.optimizer.variables)}
    if set(arrays) != {*variables, "epoch", "rows"} or any(
        arrays[name].shape != tuple(variable.shape) for name, variable in variables.items()
    ):
        raise DamagedFile(path, "it is of another network or optimizer")
    return arrays


def _write(arrays: dict[str, np.ndarray], model: keras.Model) -> Resumed:
    weights = {
        name.removeprefix("model/"): value
        for name, value in arrays.items()
        if name.startswith("model/")
    }
    write_weights(model, weights)
    for index, variable in enumerate(model.optimizer.variables):
        variable.assign(arrays[f"optimizer/{index}"])
    return Resumed(int(arrays["epoch"]), json.loads(arrays["rows"].tobytes()))
