"""What an epoch does: the base of the programs that train and evaluate one epoch at a time."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from tfprune.backend import keras
from tfprune.training import step
from tfprune.training.schedules import Schedule

Data = TypeVar("Data")
Held = TypeVar("Held")


@dataclass(frozen=True)
class Feeding:
    """What one training shows a network, besides the data: a pure function of the epoch's index.

    Attributes:
      seed: the trial's seed.
      level: the level trained; with the seed and the epoch it keys every draw.
      schedule: the learning rates.
      augment: how training images are changed.
      start_step: steps before this one (counted over the whole schedule) are not taken, as after
        a rewinding to the middle of an epoch.
      stop_step: steps from this one on are not taken; None for the whole schedule.
    """

    seed: int
    level: int
    schedule: Schedule
    augment: str = "none"
    start_step: int = 0
    stop_step: int | None = None

    def steps_of(self, epoch: int, steps_per_epoch: int) -> tuple[int, int]:
        """The first step to take in this epoch and the one to stop before."""
        before = epoch * steps_per_epoch
        stop = before + steps_per_epoch if self.stop_step is None else self.stop_step
        first, last = (
            min(max(step - before, 0), steps_per_epoch) for step in (self.start_step, stop)
        )
        return first, last


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Steps that show every example once, the short last batch included."""
    return -(-num_examples // batch_size)


class EpochProgram(abc.ABC, Generic[Data, Held]):
    """What an epoch does with the data and the feeding that were attached last.

    A subclass says where `Data` are kept for it (`_hold`, which gives what it has `Held`), how
    steps are fed and who takes them (`_train`), who infers (`_measure`), and which batches a
    criterion gets.

    Args:
      model: a compiled model (its optimizer is used) that maps normalized images to logits.
      batch_size: examples per step, over all devices.
    """

    def __init__(self, model: keras.Model, batch_size: int):
        self._model = model
        self._batch_size = batch_size
        self._attached: tuple[Data, Held] | None = None
        self._feeding: Feeding | None = None
        model.optimizer.build(model.trainable_variables)

    def attach(self, data: Data, feeding: Feeding | None) -> None:
        """Says what comes next is trained and measured on; without feeding, only measured.

        The data attached last stay where the program keeps them.
        """
        if self._attached is None or data is not self._data:
            self._attached = data, self._hold(data)
        self._feeding = feeding

    def run(self, epoch: int) -> dict[str, Any]:
        """Trains the epoch with this index (from 0); returns all metrics as float32 scalars."""
        return {**step.running(self._train(epoch)), **self._measure()}

    def run_steps(self, epoch: int) -> None:
        """Trains the steps of an epoch without measuring."""
        self._train(epoch)

    def evaluate(self) -> dict[str, Any]:
        """Every split's metrics for the weights as they are."""
        return self._measure()

    @abc.abstractmethod
    def scoring_batches(self, count: int) -> list[tuple[Any, Any]]:
        """Random training batches (normalized images, labels) for criteria, not augmented."""

    @property
    def _data(self) -> Data:
        return self._both[0]

    @property
    def _held(self) -> Held:
        return self._both[1]

    @property
    def _both(self) -> tuple[Data, Held]:
        if self._attached is None:
            raise ValueError("attach data first")
        return self._attached

    @property
    def _fed(self) -> Feeding:
        if self._feeding is None:
            raise ValueError("attach feeding first")
        return self._feeding

    def _due(self, epoch: int, num_examples: int) -> tuple[int, int, np.ndarray]:
        """The first step to take, the one to stop before, and the rate of each of the epoch's."""
        steps = steps_per_epoch(num_examples, self._batch_size)
        return *self._fed.steps_of(epoch, steps), self._fed.schedule(epoch, steps)

    @abc.abstractmethod
    def _hold(self, data: Data) -> Held:
        """Takes data to where the epoch needs them."""

    @abc.abstractmethod
    def _train(self, epoch: int) -> Any:
        """Takes the epoch's steps; returns their example-weighted means of `step.RUNNING`."""

    @abc.abstractmethod
    def _measure(self) -> dict[str, Any]:
        """Every split's metrics, of the weights that `_train` left."""
