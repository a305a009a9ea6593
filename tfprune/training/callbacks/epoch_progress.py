"""Telling a progress display that an epoch is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfprune.backend import keras


class EpochProgress(keras.callbacks.Callback):
    """Calls a function after every epoch.

    Args:
      advance: called with the epoch's logs.
    """

    def __init__(self, advance: Callable[[dict[str, Any]], None]):
        super().__init__()
        self._advance = advance

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._advance(logs or {})
