"""Showing how far a study is: a live table of its trials on a terminal, a line per stage elsewhere.

What is shown follows from the `StageEvent`s that the study and its processes tell.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from tfprune.engine.counting import STANDINGS, StudyCount, TrialKey
from tfprune.engine.events import Happened, StageEvent
from tfprune.engine.streams import Stream
from tfprune.studies.trial import Stage

_FRAMES_PER_SECOND = 4
_OTHER_LINES = 6  # Of a terminal: what is not a trial's row, and some sentences.
_OTHER_COLUMNS = 42  # Of its width: what is beside a trial's name.
_SHORTEST_NAME = 10  # What a line of a name's column holds at least.
_GAP = 2  # Between columns.
_SPARE = ("stages", "accuracy", "epochs")  # Columns that a narrow terminal does without.
# Where there is no table, a line says how far a study is if nothing else was said for so long.
_HEARTBEAT_SECONDS = 180.0


class StudyProgress:
    """Counts stages and epochs, and shows them: a table on a terminal, else a line per stage.

    Elsewhere a long training has lines too: every few minutes how far it is.

    The table has a row for each trial: its stages, the one that is being trained with its epochs,
    and the test accuracy of its last epoch. Sentences are written above it.

    The time that remains follows from the epochs that are left and the median seconds per epoch of
    the last finished stages of the same network and data, or of all while there is none. A stage
    that trains another number of epochs than was expected counts as what was expected once it is
    done.

    Args:
      console: where to write; standard error by default.
      lines: write lines on a terminal too, as where other programs write there.
      spelled: how sentences spell the settings that they name in backquotes.
      names: of the trials, by that of their folders; see `tfprune.engine.naming`.

    Use as a context manager around the study. Any thread may tell.
    """

    def __init__(
        self,
        console: Console | None = None,
        lines: bool = False,
        spelled: Callable[[str], str] = str,
        names: Mapping[str, str] | None = None,
    ):
        self._own_file = None if console else _own_terminal()
        self._console = console or Console(file=self._own_file, stderr=True)
        self._is_live = self._console.is_interactive and not lines
        self._spelled = spelled
        self._names = dict(names or {})
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._said_at = time.monotonic()
        self._measured = ""
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
        else:
            self._beating.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._ended.set()
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
            self._print(line)

    def _print(self, line: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _line_of(self, event: StageEvent) -> str:
        is_news = self._work.take(event)
        about = self._about((event.trial.name, event.trial.seed), event.stage)
        self._measured = ""
        if event.what is Happened.MEASURED:
            self._measured = f"{about}: {event.measurement}"
            return self._measured
        if event.what is Happened.FINISHED and is_news and not self._is_live:
            accuracy = _accuracy(event.test_accuracy)
            return f"{about}: done{accuracy}, {self._all()}"
        return ""

    def _about(self, key: TrialKey, stage: Stage) -> str:
        name, seed = key
        return f"{self._names.get(name, name)}, seed {seed}, {_short(stage)}"

    def _all(self) -> str:
        return f"{self._work.counted}, ETA {clock(self._work.seconds_left())}"

    def _beat(self) -> None:
        """Says how far the study is whenever nothing else has been said for a while."""
        while not self._ended.wait(max(self._said_at + _HEARTBEAT_SECONDS - time.monotonic(), 0.1)):
            if time.monotonic() - self._said_at >= _HEARTBEAT_SECONDS:
                with self._lock:
                    line = self._heartbeat()
                self._print(line)

    def _heartbeat(self) -> str:
        """What is being trained, the last begun; what is being measured; that it goes on."""
        work = self._work
        if not work.running:
            return f"{self._measured} goes on" if self._measured else "preparing"
        folder, (key, stage) = list(work.running.items())[-1]
        count, trial = work.stages[folder], work.trials[key]
        accuracy = _accuracy(trial.accuracy if count.trained else None)
        others = f", {len(work.running) - 1} more in training" if len(work.running) > 1 else ""
        about = f"{self._about(key, stage)}: epoch {count.trained}/{count.epochs}{accuracy}"
        return f"{about}{others}, {self._all()}"

    def _draw(self) -> Group:
        """What the terminal shows now."""
        with self._lock:
            rows = _rows_of(self._console, self._names.values())
            return _drawn(self._work, self._names, rows, self._console.width)


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


def _rows_of(console: Console, names: Iterable[str]) -> int:
    """How many trials a terminal has room for, whose names may take several lines on it."""
    width = max(console.width - _OTHER_COLUMNS, _SHORTEST_NAME)
    lines = max((-(-len(name) // width) for name in names), default=1)
    return max((console.height - _OTHER_LINES) // lines, 3)


def _accuracy(value: float | None) -> str:
    return "" if value is None else f", test accuracy {value:.4f}"


def _short(stage: Stage) -> str:
    return f"{stage.branch or 'level'} {stage.level}"


class _Cell(ProgressColumn):
    """A field of a row of the table, under its header.

    Args:
      name: of the field.
      header: breaks between its words alone.
      justify: as rich takes it.
      least: how narrow it may get, where its field is cut or takes more lines; 0 for what is always
        there as a whole.
      wraps: whether it takes more lines.
    """

    def __init__(
        self, name: str, header: str, justify: Any = "right", least: int = 0, wraps: bool = False
    ):
        width = max(least, *map(len, header.split()))
        super().__init__(Column(header, justify=justify, no_wrap=not least, min_width=width))
        self.name = name
        self.width = width
        self.is_whole = not least
        self._wraps = wraps

    def render(self, task: Task) -> Text:
        text, style = task.fields[self.name], task.fields["style"]
        if self._wraps:
            return Text(text, style, overflow="fold")
        return Text(text, style, no_wrap=True, overflow="ellipsis")


def _cells(rows: Sequence[Mapping[str, Any]], width: int) -> list[_Cell]:
    """The columns that a terminal of this width has room for."""
    cells = [
        _Cell("name", "trial", "left", least=_SHORTEST_NAME, wraps=True),
        _Cell("seed", "seed"),
        _Cell("stages", "stages"),
        _Cell("now", "now", "left", least=9),
        _Cell("epochs", "epochs"),
        _Cell("accuracy", "test accuracy", least=8),
    ]
    needed = {
        cell.name: max(cell.width, *(len(row[cell.name]) * cell.is_whole for row in rows))
        for cell in cells
    }
    for spare in _SPARE:
        if sum(needed.values()) + _GAP * len(needed) > width:
            del needed[spare]
    return [cell for cell in cells if cell.name in needed]


class _Table(Progress):
    """A row per task, below the headers of its columns."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        table = super().make_tasks_table(tasks)
        table.show_header, table.padding = True, (0, _GAP, 0, 0)
        return table


def _drawn(work: StudyCount, names: Mapping[str, str], rows: int, width: int) -> Group:
    """The table, of at most so many rows and columns, and a line for the whole study."""
    training = dict(work.running.values())
    ranks = {
        key: -1 if key in training else STANDINGS.index(trial.standing)
        for key, trial in work.trials.items()
    }
    shown = set(sorted(ranks, key=ranks.__getitem__)[:rows])
    parts: list[RenderableType] = []
    if shown:
        keys = [key for key in work.trials if key in shown]
        parts.append(_table([_row(work, key, names, training.get(key)) for key in keys], width))
    hidden = Counter(trial.standing for key, trial in work.trials.items() if key not in shown)
    if hidden:
        told = ", ".join(f"{count} {state}" for state, count in hidden.items())
        parts.append(Text(f"and {hidden.total()} more: {told}", style="dim"))
    return Group(*parts, _whole(work))


def _table(rows: Sequence[Mapping[str, Any]], width: int) -> Progress:
    table = _Table(*_cells(rows, width), auto_refresh=False)
    for row in rows:
        table.add_task("", **row)
    return table


def _row(
    work: StudyCount, key: TrialKey, names: Mapping[str, str], stage: Stage | None
) -> dict[str, Any]:
    """A trial's fields; `stage` is the one that is being trained."""
    trial = work.trials[key]
    count = work.stages[stage.relative] if stage else None
    done = sum(each.is_done for each in trial.stages.values())
    return {
        "name": names.get(key[0], key[0]),
        "seed": str(key[1]),
        "stages": f"{done}/{len(trial.stages)}",
        "now": _short(stage) if stage else trial.standing,
        "epochs": f"{count.trained}/{count.epochs}" if count else "",
        "accuracy": "" if trial.accuracy is None else f"{trial.accuracy:.4f}",
        "style": "" if stage else "dim",
    }


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
        number = os.dup(sys.stderr.fileno())
        return Stream(open(number, "w", encoding=encoding, errors="replace"))
    except (OSError, ValueError, AttributeError):
        return None
