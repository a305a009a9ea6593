"""The Keras model that trains a whole epoch in one call of its train function.

`fit` and its callbacks stay what they are: one "batch" of `fit` is one epoch, and what it logs is
every metric of the epoch. What an epoch does is an `EpochProgram`: `tfprune.training.resident`
for data that live on the device, `tfprune.training.streamed` for data that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tfprune.backend import keras, tf
from tfprune.training.schedules import Schedule

EVALUATION_BATCH = 1024


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


class EpochProgram(Protocol):
    """What an epoch does with the data and the feeding that were attached last."""

    def attach(self, data: Any, feeding: Feeding | None) -> None:
        """Says what comes next is trained and measured on; without feeding, only measured."""

    def run(self, epoch: int) -> dict[str, Any]:
        """Trains the epoch with this index (from 0); returns all metrics as float32 scalars."""

    def run_steps(self, epoch: int) -> None:
        """Trains the steps of an epoch without measuring."""

    def evaluate(self) -> dict[str, Any]:
        """Every split's metrics for the weights as they are."""

    def scoring_batches(self, count: int) -> list[tuple[Any, Any]]:
        """Random training batches (normalized images, labels) for criteria, not augmented."""


class EpochModel(keras.Model):
    """A functional model whose `fit` runs an `EpochProgram`.

    Make one with `EpochModel.of(model)`; the two share their layers and weights.
    """

    program: EpochProgram | None = None
    # A `NoiseState`: programs that are traced while it is set apply it before each batch.
    noise: Any = None

    @classmethod
    def of(cls, model: keras.Model) -> EpochModel:
        """The same network as an EpochModel."""
        return cls(model.inputs, model.outputs, name=model.name)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """None of Keras's: the program measures. To look for them, `fit` would walk all layers."""
        return []

    def make_train_function(self, force: bool = False) -> Callable[[Any], dict[str, tf.Tensor]]:
        """See base class; the iterator yields epoch indices."""

        def train_epoch(iterator: Any) -> dict[str, tf.Tensor]:
            if self.program is None:
                raise ValueError("set EpochModel.program before fit")
            return self.program.run(int(next(iterator)))

        self.train_function = train_epoch
        return train_epoch

    def fit_epochs(
        self, first_epoch: int, last_epoch: int, callbacks: Sequence[keras.callbacks.Callback]
    ) -> keras.callbacks.History:
        """Trains the epochs with indices in [first_epoch, last_epoch)."""
        return self.fit(
            _epoch_indices(first_epoch, last_epoch),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=1,
            callbacks=list(callbacks),
            verbose=0,
        )


def _epoch_indices(first_epoch: int, last_epoch: int) -> tf.data.Dataset:
    """What `fit` iterates over: int64 scalars."""
    options = tf.data.Options()
    # Its thread sleeps 10, 20, 40, ... ms, and the end of `fit` waits until it wakes: up to as
    # long again as the training took.
    options.autotune.enabled = False
    return tf.data.Dataset.range(first_epoch, last_epoch).with_options(options)
