"""Recording every epoch's metrics as rows of a CSV file."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfprune.backend import keras
from tfprune.files import csv_text, read_text, write_text_atomic
from tfprune.layout import METRIC_COLUMNS
from tfprune.training.callbacks.going_on import Continuing

Row = dict[str, Any]


class EpochRecord(Continuing):
    """Keeps a row of metrics per epoch, and writes them as CSV when training ends.

    Args:
      path: the CSV file; None keeps the rows in memory only. What it holds of the epochs before
        those of a training that goes on is kept.
      columns: which of the logged metrics are written, `epoch` counted from 1; None writes all.
      rows: rows of epochs that were trained before an interruption.
      seconds: least time between two writes while training goes on.
    """

    def __init__(
        self,
        path: epath.PathLike | None = None,
        columns: Sequence[str] | None = METRIC_COLUMNS,
        rows: Iterable[Row] = (),
        seconds: float = 10.0,
    ):
        super().__init__()
        self.path = None if path is None else epath.Path(path)
        self.columns = columns
        self.rows: list[Row] = list(rows)
        self.seconds = seconds
        self._started_at = self._written_at = time.monotonic()

    def forget(self) -> None:
        self.rows = []

    def start(self, trained: int, went_on: bool) -> None:
        self.rows = [row for row in self.rows if row["epoch"] <= trained]
        if trained and not self.rows and self.path is not None:
            self.rows = rows_until(self.path, trained)

    def on_train_begin(self, logs: Row | None = None) -> None:
        super().on_train_begin(logs)
        self._started_at = self._written_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Row | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._started_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        now = time.monotonic()
        rate = keras.backend.get_value(self.model.optimizer.learning_rate)
        values = {
            **{name: value for name, value in (logs or {}).items() if np.isscalar(value)},
            "epoch": self.trained,
            "learning_rate": rate,
            "wall_seconds": round(now - self._started_at, 6),
        }
        # What a column does not name is kept as well: the last row holds the end of training.
        names = dict.fromkeys((*(self.columns or ()), *values))
        self.rows.append({name: exact_number(values.get(name)) for name in names})
        if self.path is not None and now - self._written_at >= self.seconds:
            self.write()

    def on_train_end(self, logs: Row | None = None) -> None:
        if self.path is not None:
            self.write()

    def write(self) -> None:
        """Writes the file as a whole; values that do not apply are empty."""
        if self.path is None:
            raise ValueError("this record has no path")
        self._written_at = time.monotonic()
        write_text_atomic(self.path, csv_text(self.rows, self.columns or ()))


def rows_until(path: epath.PathLike, epoch: int) -> list[Row]:
    """The rows that a callback wrote of the epochs up to this one; none without a file."""
    path = epath.Path(path)
    if not path.exists():
        return []
    rows = csv.DictReader(io.StringIO(read_text(path)))
    read = [{name: _number(text) for name, text in row.items()} for row in rows]
    return [row for row in read if isinstance(row.get("epoch"), int) and row["epoch"] <= epoch]


def _number(text: str) -> Any:
    if not text:
        return None
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def exact_number(value: Any) -> Any:
    """A number whose shortest text reads back as the same bits; None for what does not apply."""
    if value is None or isinstance(value, int):
        return value
    if np.isnan(value):
        return None
    single = np.float32(value)
    return float(str(single)) if float(single) == float(value) else value
