"""Ending a worker process's training where the chief's ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfprune.backend import keras
from tfprune.errors import Stopped


class StopWithChief(keras.callbacks.Callback):
    """What `EpochCheckpoint` does in the chief, without a checkpoint.

    Args:
      stop_requested: the signal that asked the chief to end, if any; every process is told the
        same, once per epoch.

    Raises:
      Stopped: in `fit`, after an epoch that a signal came in, unless it is the last.
    """

    def __init__(self, stop_requested: Callable[[], int | None]):
        super().__init__()
        self.stop_requested = stop_requested

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        signum = self.stop_requested()
        if signum is not None and epoch + 1 < self.params["epochs"]:
            raise Stopped(signum)
