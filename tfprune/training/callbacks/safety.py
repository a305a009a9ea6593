"""Stopping a training whose loss is no longer a number, and saving one that may be interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from etils import epath

from tfprune.backend import keras
from tfprune.errors import Stopped, TrainingDiverged
from tfprune.training.callbacks.record import EpochRecord
from tfprune.training.checkpoints import Checkpoints


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
                    f"{rate:g}); try a smaller `learning_rate`"
                )


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves everything the next epoch depends on, at most once per time interval.

    When a signal has asked the process to end, it saves at once and ends the training, except
    after the last epoch, which leaves nothing to resume.

    Args:
      checkpoints: where to save: a folder, or its `Checkpoints`.
      record: holds the metrics of the finished epochs.
      seconds: least time between two saves; 0 saves after every epoch.
      stop_requested: the signal that asked the process to end, if any.

    Raises:
      Stopped: in `fit`, after an epoch that a signal came in.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | epath.PathLike,
        record: EpochRecord,
        seconds: float = 60.0,
        stop_requested: Callable[[], int | None] = lambda: None,
    ):
        super().__init__()
        given = isinstance(checkpoints, Checkpoints)
        self.checkpoints = checkpoints if given else Checkpoints(checkpoints)
        self.record = record
        self.seconds = seconds
        self.stop_requested = stop_requested
        self._saved_at = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._saved_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        signum = self.stop_requested()
        ending = signum is not None and epoch + 1 < self.params["epochs"]
        if not ending and time.monotonic() - self._saved_at < self.seconds:
            return
        self.checkpoints.save(self.model, epoch + 1, self.record.rows)
        self._saved_at = time.monotonic()
        if ending and signum is not None:
            raise Stopped(signum)
