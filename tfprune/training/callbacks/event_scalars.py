"""TensorBoard scalars of every epoch, one event per epoch however many metrics there are."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from etils import epath
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from tfprune.backend import keras
from tfprune.event_folders import run_folder, scalar_tag
from tfprune.files import explained
from tfprune.training.callbacks.going_on import Continuing

_FLUSH_SECONDS = 10.0
_NOT_METRICS = ("epoch", "wall_seconds")


class TensorBoardScalars(Continuing):
    """Writes every scalar of the logs after every epoch.

    Keras's own TensorBoard callback writes metrics one at a time, which costs more than an epoch
    of a small network.

    Args:
      folder: the run's folder. That of a study's stage, `.../tensorboard/TRIAL/seed_S/STAGE`, is
        replaced by `tfprune.event_folders.run_folder` of it, which has no hash.
      scalars: further scalars that are the same in every epoch, such as the sparsity.
    """

    def __init__(self, folder: epath.PathLike, scalars: Mapping[str, float] | None = None):
        super().__init__()
        self.folder = epath.Path(folder)
        self.scalars = scalars or {}
        self._file: IO[bytes] | None = None
        self._flushed_at = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        folder = run_folder(self.folder)
        with explained(folder / name):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / f"{name}.{uuid.uuid4().hex[:8]}").open("wb")
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        rate = keras.backend.get_value(self.model.optimizer.learning_rate)
        metrics: dict[str, Any] = {**(logs or {}), **self.scalars, "learning_rate": rate}
        values = [
            Summary.Value(tag=scalar_tag(name), simple_value=value)
            for name, value in metrics.items()
            if name not in _NOT_METRICS and np.isscalar(value) and not np.isnan(value)
        ]
        event = Event(wall_time=time.time(), step=self.trained, summary=Summary(value=values))
        self._write(event)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is still in memory, for a training that ends by an exception too."""
        if self._file is not None:
            file, self._file = self._file, None
            with explained(self.folder):
                file.close()

    def _write(self, event: Event) -> None:
        # Not tensorboard's own writer: its thread prints a traceback where the disk is full.
        if self._file is None:
            raise ValueError("on_train_begin was not called")
        with explained(self.folder):
            RecordWriter(self._file).write(event.SerializeToString())
            if time.monotonic() - self._flushed_at >= _FLUSH_SECONDS:
                self._file.flush()
                self._flushed_at = time.monotonic()
