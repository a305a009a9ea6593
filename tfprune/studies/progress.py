"""Showing how far a study is: a live bar on a terminal, a line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tfprune.studies.trial import Row


class StudyProgress:
    """Counts stages; the time that remains follows from epochs, so that it is right early.

    Args:
      console: where to write; standard error by default.

    Use as a context manager around the study.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._stages = self._done = 0
        self._epochs = self._trained = 0
        self._started_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[stages]} stages"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, stages="0/0")

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()

    def expect(self, stages: int, epochs: int) -> None:
        """There are this many more stages to train, with so many epochs in all."""
        self._stages += stages
        self._epochs += epochs
        self._bar.update(self._task, total=self._epochs, stages=f"{self._done}/{self._stages}")

    @contextmanager
    def stage(self, name: str, epochs: int) -> Iterator[Callable[[Row], None]]:
        """Around the training of one stage; yields what to call after every epoch."""
        before = self._trained
        self._bar.update(self._task, description=name)

        def advance(logs: Row) -> None:
            self._trained += 1
            self._bar.update(self._task, completed=self._trained)

        yield advance
        # Epochs that a checkpoint saved, or that a rewinding skips, count as done.
        self._trained = before + epochs
        self._done += 1
        self._bar.update(self._task, completed=self._trained, stages=f"{self._done}/{self._stages}")
        if not self._console.is_terminal:
            self.message(f"{name}: done, {self._done}/{self._stages} stages, ETA {self._eta()}")

    def message(self, text: str) -> None:
        """Writes one line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _eta(self) -> str:
        elapsed = time.monotonic() - self._started_at
        seconds = round(elapsed * (self._epochs - self._trained) / max(self._trained, 1))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
