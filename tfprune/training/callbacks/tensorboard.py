"""TensorBoard scalars of every epoch, one event per epoch however many metrics there are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from tfprune.backend import keras
from tfprune.results.tensorboard import scalar_tag

_NOT_METRICS = ("epoch", "wall_seconds")


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes every scalar of the logs after every epoch.

    Keras's own TensorBoard callback writes metrics one at a time, which costs more than an epoch
    of a small network.

    Args:
      folder: the run's folder.
      scalars: further scalars that are the same in every epoch, such as the sparsity.
    """

    def __init__(self, folder: epath.PathLike, scalars: Mapping[str, float] | None = None):
        super().__init__()
        self.folder = epath.Path(folder)
        self.scalars = scalars or {}
        self._writer: EventFileWriter | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._writer = EventFileWriter(str(self.folder), flush_secs=10)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._writer is None:
            raise ValueError("on_train_begin was not called")
        rate = keras.backend.get_value(self.model.optimizer.learning_rate)
        metrics: dict[str, Any] = {**(logs or {}), **self.scalars, "learning_rate": rate}
        values = [
            Summary.Value(tag=scalar_tag(name), simple_value=value)
            for name, value in metrics.items()
            if name not in _NOT_METRICS and np.isscalar(value) and not np.isnan(value)
        ]
        event = Event(wall_time=time.time(), step=epoch + 1, summary=Summary(value=values))
        self._writer.add_event(event)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is still in memory, for a training that ends by an exception too."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
