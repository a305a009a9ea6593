"""Epoch checkpoints: everything that the next epoch depends on, the last two that were saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from etils import epath

from tfprune import layout
from tfprune.backend import keras, tf
from tfprune.errors import DamagedFile
from tfprune.files import load_arrays, save_arrays, set_aside
from tfprune.pruning.weights import mask_variables, named_variables
from tfprune.training.optimizers import state_variables

Row = dict[str, Any]


class State(Protocol):
    """State of a training that is neither weights nor masks nor slots."""

    def read(self) -> dict[str, np.ndarray]:
        """All of it, by name; what may have any length is empty before a training."""

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets it to what `read` returned."""


@dataclass(frozen=True)
class States:
    """Several states as one; no two parts have a name in common."""

    parts: tuple[State, ...]

    def read(self) -> dict[str, np.ndarray]:
        """All parts' values."""
        return {name: value for part in self.parts for name, value in part.read().items()}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Gives each part its own."""
        for part in self.parts:
            part.write({name: values[name] for name in part.read()})


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
      state: what the training depends on besides weights, masks and slots.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        note: Callable[[str], None] = lambda text: None,
        state: State = States(()),
    ):
        self._paths = [epath.Path(folder) / name for name in layout.CHECKPOINTS]
        self._note = note
        self._state = state
        self._next = 0

    def save(self, model: keras.Model, epoch: int, rows: list[Row]) -> None:
        """Writes weights, masks, optimizer slots, finished epochs and their metrics.

        All other state is a function of the epoch's index, so resuming from here ends where an
        uninterrupted training ends.
        """
        arrays = {name: v.numpy() for name, v in training_state(model, model.optimizer).items()}
        for name, value in arrays.items():
            if name.startswith("mask/"):
                arrays[name] = value.astype(bool)
        arrays |= {f"state/{name}": value for name, value in self._state.read().items()}
        arrays["epoch"] = np.int64(epoch)
        arrays["rows"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
        save_arrays(self._paths[self._next], arrays)
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
                    whole.append((_read(path, model, self._state), index))
                except DamagedFile as error:
                    aside = set_aside(path)
                    self._note(f"{path} is damaged ({error.what}), now {aside.name}: not used")
        if not whole:
            return None
        arrays, index = max(whole, key=lambda found: int(found[0]["epoch"]))
        self._next = 1 - index
        return _write(arrays, model, self._state)


def training_state(model: keras.Model, optimizer: Any) -> dict[str, tf.Variable]:
    """Every variable that training reads or writes, by name."""
    weights = {f"model/{name}": value for name, value in named_variables(model).items()}
    masks = {f"mask/{name}": mask for name, mask in mask_variables(model).items()}
    slots = {f"optimizer/{i}": slot for i, slot in enumerate(state_variables(optimizer))}
    return {**weights, **masks, **slots}


def _read(path: epath.Path, model: keras.Model, state: State) -> dict[str, np.ndarray]:
    """A checkpoint's arrays, if they are all that this model and its optimizer need."""
    arrays = load_arrays(path, in_place=True)
    variables = dict(training_state(model, model.optimizer))
    variables |= {f"state/{name}": value for name, value in state.read().items()}
    if set(arrays) != {*variables, "epoch", "rows"} or any(
        arrays[name].shape != tuple(variable.shape) and tuple(variable.shape) != (0,)
        for name, variable in variables.items()
    ):
        raise DamagedFile(path, "it is of another network or optimizer")
    return arrays


def _write(arrays: dict[str, np.ndarray], model: keras.Model, state: State) -> Resumed:
    for name, variable in training_state(model, model.optimizer).items():
        variable.assign(arrays[name].astype(variable.dtype.as_numpy_dtype))
    own = {name: value for name, value in arrays.items() if name.startswith("state/")}
    state.write({name.removeprefix("state/"): value for name, value in own.items()})
    return Resumed(int(arrays["epoch"]), json.loads(arrays["rows"].tobytes()))
