"""The Keras model that trains a whole epoch in one call of its train function.

`fit` and its callbacks stay what they are: one "batch" of `fit` is one epoch, and what it logs is
every metric of the epoch. What an epoch does is an `EpochProgram`: `tfprune.training.resident`
for data that live on the device, `tfprune.training.streamed` for data that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tfprune.backend import keras, tf


class EpochProgram(Protocol):
    """Trains the epoch with this index (from 0) and returns its metrics as float32 scalars."""

    def run(self, epoch: int) -> dict[str, tf.Tensor]: ...


class EpochModel(keras.Model):
    """A functional model whose `fit` runs an `EpochProgram`.

    Make one with `EpochModel.of(model)`; the two share their layers and weights.
    """

    program: EpochProgram | None = None

    @classmethod
    def of(cls, model: keras.Model) -> EpochModel:
        """The same network as an EpochModel."""
        return cls(model.inputs, model.outputs, name=model.name)

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
            tf.data.Dataset.range(first_epoch, last_epoch),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            steps_per_epoch=1,
            callbacks=list(callbacks),
            verbose=0,
        )
