"""Showing how far a study is: a live table of its trials on a terminal, a line per stage elsewhere.

What is shown follows from the `StageEvent`s that the study and its processes tell.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from tfprune.engine.counting import STANDINGS, StudyCount, TrialKey
from tfprune.engine.events import Happened, StageEvent
from tfprune.studies.trial import Stage

_FRAMES_PER_SECOND = 4
_OTHER_LINES = 6  # Of a terminal: what is not a trial's row, and some sentences.
_HASH = re.compile(r"-[0-9a-f]{8}$")
_KEPT_PARTS = 2  # Of a trial's name, whatever all trials share: criterion and retraining.


class StudyProgress:
    """Counts stages and epochs, and shows them: a table on a terminal, else a line per stage.

    The table has a row for each trial: its stages, the one that is being trained with its epochs,
    and the test accuracy of its last epoch. Sentences are written above it.

    The time that remains follows from the epochs that are left and the seconds per epoch of
    finished stages of the same network and data, or of all while there is none. A stage that trains
    another number of epochs than was expected counts as what was expected once it is done.

    Args:
      console: where to write; standard error by default.
      lines: write lines on a terminal too, as where other programs write there.
      spelled: how sentences spell the settings that they name in backquotes.

    Use as a context manager around the study. Any thread may tell.
    """

    def __init__(
        self,
        console: Console | None = None,
        lines: bool = False,
        spelled: Callable[[str], str] = str,
    ):
        self._own_file = None if console else _own_terminal()
        self._console = console or Console(file=self._own_file, stderr=True)
        self._is_live = self._console.is_interactive and not lines
        self._spelled = spelled
        self._lock = threading.RLock()
        self._work = StudyCount()
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            transient=True,
            refresh_per_second=_FRAMES_PER_SECOND,
        )

    def __enter__(self) -> StudyProgress:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._is_live:
            self._live.stop()
        if self._own_file:
            self._own_file.close()
            self._own_file = None
            self._console = Console(stderr=True)  # For what is told later.

    def tell(self, event: StageEvent | str) -> None:
        """Takes what happened to a stage into account; writes a sentence, above the table."""
        with self._lock:
            line = self._spelled(event) if isinstance(event, str) else self._line_of(event)
        if line:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _line_of(self, event: StageEvent) -> str:
        work, is_news = self._work, self._work.take(event)
        name = readable(name for name, _ in work.trials)[event.trial.name]
        about = f"{name} seed {event.trial.seed} {_short(event.stage)}"
        if event.what is Happened.MEASURED:
            return f"{about}: {event.measurement}"
        if event.what is Happened.FINISHED and is_news and not self._is_live:
            return f"{about}: done, {work.counted}, ETA {clock(work.seconds_left())}"
        return ""

    def _draw(self) -> Group:
        """What the terminal shows now."""
        with self._lock:
            return _drawn(self._work, max(self._console.height - _OTHER_LINES, 3))


def clock(seconds: float | None) -> str:
    """H:MM:SS, or dashes for what is not known.

    Example:
      >>> clock(3723.4), clock(None)
      ('1:02:03', '-:--:--')
    """
    if seconds is None:
        return "-:--:--"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def readable(trials: Iterable[str]) -> dict[str, str]:
    """Names for a table, by trial: no hash where it tells nothing apart, no part all begin with.

    Example:
      >>> trials = ["mnist-lenet-magnitude-scratch-0123abcd", "mnist-lenet-random-scratch-01234567"]
      >>> list(readable(trials).values())
      ['magnitude-scratch', 'random-scratch']
    """
    slugs = {trial: _HASH.sub("", trial) for trial in trials}
    count = Counter(slugs.values())
    parts = {t: (slug if count[slug] == 1 else t).split("-") for t, slug in slugs.items()}
    spare = min((len(slug.split("-")) for slug in slugs.values()), default=0) - _KEPT_PARTS
    same = takewhile(lambda words: len(set(words)) == 1, zip(*parts.values(), strict=False))
    shared = max(min(spare, len(list(same))), 0)
    return {trial: "-".join(words[shared:]) for trial, words in parts.items()}


def _short(stage: Stage) -> str:
    return f"{stage.branch or 'level'} {stage.level}"


class _Cell(ProgressColumn):
    """A field of a row of the table; where the terminal is narrow those that shrink are cut."""

    def __init__(self, name: str, header: str, justify: Any = "right", shrinks: bool = False):
        word = max(map(len, header.split()))  # A header does not break inside one.
        super().__init__(Column(header, justify=justify, no_wrap=not shrinks, min_width=word))
        self._name = name

    def render(self, task: Task) -> Text:
        text, style = task.fields[self._name], task.fields["style"]
        return Text(text, style, no_wrap=True, overflow="ellipsis")


class _Table(Progress):
    """A row per task, below the headers of its columns."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        table = super().make_tasks_table(tasks)
        table.show_header, table.padding = True, (0, 2, 0, 0)
        return table


def _drawn(work: StudyCount, rows: int) -> Group:
    """The table, of at most so many rows, and a line for the whole study."""
    training = dict(work.running.values())
    ranks = {
        key: -1 if key in training else STANDINGS.index(trial.standing)
        for key, trial in work.trials.items()
    }
    shown = set(sorted(ranks, key=ranks.__getitem__)[:rows])
    parts: list[RenderableType] = []
    if shown:
        parts.append(_table(work, training, [key for key in work.trials if key in shown]))
    hidden = Counter(trial.standing for key, trial in work.trials.items() if key not in shown)
    if hidden:
        told = ", ".join(f"{count} {state}" for state, count in hidden.items())
        parts.append(Text(f"and {hidden.total()} more: {told}", style="dim"))
    return Group(*parts, _whole(work))


def _table(work: StudyCount, training: dict[TrialKey, Stage], shown: list[TrialKey]) -> Progress:
    table = _Table(
        _Cell("name", "trial", "left", shrinks=True),
        _Cell("seed", "seed"),
        _Cell("stages", "stages"),
        _Cell("now", "now", "left", shrinks=True),
        _Cell("epochs", "epochs"),
        _Cell("accuracy", "test accuracy", shrinks=True),
        auto_refresh=False,
    )
    names = readable(dict.fromkeys(name for name, _ in work.trials))
    for key in shown:
        trial, stage = work.trials[key], training.get(key)
        count = work.stages[stage.relative] if stage else None
        done = sum(each.is_done for each in trial.stages.values())
        table.add_task(
            "",
            name=names[key[0]],
            seed=str(key[1]),
            stages=f"{done}/{len(trial.stages)}",
            now=_short(stage) if stage else trial.standing,
            epochs=f"{count.trained}/{count.epochs}" if count else "",
            accuracy="" if trial.accuracy is None else f"{trial.accuracy:.4f}",
            style="" if stage else "dim",
        )
    return table


def _whole(work: StudyCount) -> Progress:
    """The line of the study."""
    line = Progress(
        TextColumn("study  {task.description} "),
        BarColumn(bar_width=20),
        TextColumn(" {task.fields[elapsed]}  ETA {task.fields[eta]}"),
        auto_refresh=False,
    )
    epochs = sum(stage.epochs for stage in work.asked)
    line.add_task(
        work.counted if work.at_once else "preparing",
        completed=epochs - sum(stage.left for stage in work.asked),
        total=epochs if work.at_once else None,  # A bar that moves.
        elapsed=clock(time.monotonic() - work.began_at),
        eta=clock(work.seconds_left()),
    )
    return line


def _own_terminal() -> Any:
    """A file for the table on the terminal of standard error; None if that is none.

    It stays the terminal while what TensorFlow's C++ writes to standard error is silenced.
    """
    try:
        if not os.isatty(sys.stderr.fileno()):
            return None
        encoding = sys.stderr.encoding
        return open(os.dup(sys.stderr.fileno()), "w", encoding=encoding, errors="replace")
    except (OSError, ValueError, AttributeError):
        return None
