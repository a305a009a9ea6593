"""The Keras model that trains a whole epoch in one call of its train function.

`fit` and its callbacks stay what they are: one "batch" of `fit` is one epoch, and what it logs is
every metric of the epoch. What an epoch does is an `EpochProgram`: `tfprune.training.resident`
for data that live on the device, `tfprune.training.streamed` for data that do not fit,
`tfprune.training.distributed` for both on several devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfprune.backend import keras, tf
from tfprune.training.epoch_program import EpochProgram


class EpochModel(keras.Model):
    """A functional model whose `fit` runs an `EpochProgram`.

    Make one with `EpochModel.of(model)`; the two share their layers and weights.
    """

    program: EpochProgram[Any, Any] | None = None
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
