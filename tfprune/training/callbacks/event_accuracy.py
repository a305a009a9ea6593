"""The test accuracy just before and just after something happens to a network between epochs."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.training.callbacks.record import exact_number


class EventAccuracy(keras.callbacks.Callback):
    """Measures what `FilterEvents` asks for, for an `EpochModel`.

    Just before an event at the end of an epoch, the accuracy is that of the epoch, which is
    measured already. Just after it everything is measured again, and the epoch's metrics are
    those of the network as it goes on, as in GST's published code.

    It comes before the `FilterEvents` it is given to. Every process of a training has one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logs: dict[str, Any] | None = None
        self._is_measured = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._logs, self._is_measured = None, False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._logs, self._is_measured = logs, logs is not None and "test_accuracy" in logs

    def __call__(self) -> float:
        """The test accuracy of the model as it is, in [0, 1]."""
        if self._is_measured and self._logs is not None:
            self._is_measured = False
            return exact_number(self._logs["test_accuracy"])
        metrics = {name: float(value) for name, value in self.model.program.evaluate().items()}
        if self._logs is not None:
            self._logs.update(metrics)
        return exact_number(metrics["test_accuracy"])
