"""Tables that take long to measure: what is there of them survives an interruption."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from tfprune.files import (
    csv_text,
    read_sealed,
    whole_or_set_aside,
    write_sealed,
    write_text_atomic,
)

_SECONDS_BETWEEN_WRITES = 5.0


class PartialTable:
    """Rows of a CSV file, kept beside it until all are there.

    Args:
      path: the table; what is there of it is in `PATH.part`, as text so that no digit is lost. One
        that is not whole, or of another table, is set aside.

    Attributes:
      rows: those measured so far; text where they come from an interrupted run.
    """

    def __init__(self, path: epath.PathLike):
        self._path = epath.Path(path)
        self._part = self._path.parent / f"{self._path.name}.part"
        self._written = time.monotonic()
        self.rows: list[Mapping[str, Any]] = []
        if self._part.exists():
            with whole_or_set_aside(self._part):
                kept = read_sealed(self._part)
                self.rows = list(csv.DictReader(io.StringIO(kept["table"])))

    def add(self, *rows: Mapping[str, Any]) -> None:
        """Adds rows that were measured together; kept within seconds."""
        self.rows += rows
        if time.monotonic() - self._written >= _SECONDS_BETWEEN_WRITES:
            self.keep()

    def keep(self) -> None:
        """Writes what is there so far beside the table."""
        write_sealed(self._part, {"table": csv_text(self.rows)}, ())
        self._written = time.monotonic()

    def finish(self) -> None:
        """Writes the whole table."""
        write_text_atomic(self._path, csv_text(self.rows))
        self._part.unlink(missing_ok=True)
