"""Showing how far a study is: live bars on a terminal, a line per stage elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tfprune.studies.trial import Row


@dataclass
class _Running:
    """A stage that is being trained.

    Attributes:
      name: what it is.
      epochs: how many epochs it has in all.
      trained: how many of them were told of.
      bar: its line of the display.
    """

    name: str
    epochs: int
    trained: int
    bar: TaskID


class StudyProgress:
    """Counts stages; the time that remains follows from epochs, so that it is right early.

    One bar is the study's; each process that trains has one below it, for its stage.

    Args:
      console: where to write; standard error by default.

    Use as a context manager around the study.
    """

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._stages = self._done = 0
        self._epochs = self._trained = 0
        self._started_at = time.monotonic()
        self._running: dict[Hashable, _Running] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._study = self._bars.add_task("study", total=None, counted="0/0 stages")

    def __enter__(self) -> StudyProgress:
        self._bars.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bars.stop()

    def expect(self, stages: int, epochs: int) -> None:
        """There are this many more stages to train, with so many epochs in all."""
        self._stages += stages
        self._epochs += epochs
        self._show()

    @contextmanager
    def stage(self, name: str, epochs: int) -> Iterator[Callable[[Row], None]]:
        """Around the training of one stage here; yields what to call after every epoch."""
        self.begin(None, name, epochs)
        try:
            yield lambda logs: self.epochs(None, 1)
        except BaseException:
            self.abandon(None)
            raise
        self.end(None)

    def begin(self, key: Hashable, name: str, epochs: int) -> None:
        """The process with this key begins to train a stage."""
        self.abandon(key)  # Of a process that died.
        bar = self._bars.add_task(f"  {name}", total=epochs, counted=f"{epochs} epochs")
        self._running[key] = _Running(name, epochs, 0, bar)

    def epochs(self, key: Hashable, count: int) -> None:
        """It has trained so many more epochs of it."""
        running = self._running[key]
        running.trained += count
        self._trained += count
        self._bars.update(running.bar, completed=running.trained)
        self._show()

    def end(self, key: Hashable) -> None:
        """It has finished the stage."""
        running = self._running[key]
        # Epochs that a checkpoint saved, or that a rewinding skips, count as done.
        self._trained += running.epochs - running.trained
        self._done += 1
        self._forget(key)
        if not self._console.is_terminal:
            counted = f"{self._done}/{self._stages} stages"
            self.message(f"{running.name}: done, {counted}, ETA {self._eta()}")

    def abandon(self, key: Hashable) -> None:
        """It has given the stage up; it is to be trained again."""
        if key in self._running:
            self._trained -= self._running[key].trained
            self._forget(key)

    def message(self, text: str) -> None:
        """Writes one line above the bars."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _forget(self, key: Hashable) -> None:
        self._bars.remove_task(self._running.pop(key).bar)
        self._show()

    def _show(self) -> None:
        counted = f"{self._done}/{self._stages} stages"
        self._bars.update(self._study, total=self._epochs, completed=self._trained, counted=counted)

    def _eta(self) -> str:
        elapsed = time.monotonic() - self._started_at
        seconds = round(elapsed * (self._epochs - self._trained) / max(self._trained, 1))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
