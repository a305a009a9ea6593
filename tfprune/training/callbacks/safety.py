"""Stopping a training whose loss is no longer a number, and saving one that may be interrupted."""

from __future__ import annotations

import math
import time
from typing import Any

from etils import epath

from tfprune.backend import keras
from tfprune.errors import TrainingDiverged
from tfprune.training import checkpoints
from tfprune.training.callbacks.record import EpochRecord


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises TrainingDiverged after the first epoch whose loss is NaN or infinite.

    Args:
      where: what is trained ("seed 0, level 3"), for the message.
    """

    def __init__(self, where: str = "training"):
        super().__init__()
        self.where = where

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name in ("loss", "train_loss"):
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                rate = float(keras.backend.get_value(self.model.optimizer.learning_rate))
                raise TrainingDiverged(
                    f"{self.where}: {name} is {value} after epoch {epoch + 1} (learning rate "
                    f"{rate:g}); try a smaller --learning_rate"
                )


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves everything the next epoch depends on, at most once per time interval.

    Args:
      path: the file, replaced as a whole at every save.
      record: holds the metrics of the finished epochs.
      seconds: least time between two saves; 0 saves after every epoch.
    """

    def __init__(self, path: epath.PathLike, record: EpochRecord, seconds: float = 60.0):
        super().__init__()
        self.path = epath.Path(path)
        self.record = record
        self.seconds = seconds
        self._saved_at = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._saved_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() - self._saved_at < self.seconds:
            return
        checkpoints.save(self.path, self.model, epoch + 1, self.record.rows)
        self._saved_at = time.monotonic()
