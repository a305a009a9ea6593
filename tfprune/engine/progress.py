"""Showing how far a study is: a live table of its trials on a terminal, a line per stage elsewhere.

Stages are told of by `begin`, `epochs`, `end` and `abandon`, by whatever process trains them. Which
trial a stage is of travels with its name: `StudyProgress.shown` wraps the executor for that.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfprune import layout
from tfprune.engine.work import Loops, Outcome, Progress, Train, Work, describe
from tfprune.studies.procedure import Advance, Branch
from tfprune.studies.trial import DENSE, Row, Stage, Trial, trial_name

if TYPE_CHECKING:
    from tfprune.engine.executors import Executor
    from tfprune.studies.iterative import PruneRetrain

# A stage tells its test accuracy this often; a small network's epochs take less.
_TELL_SECONDS = 0.2
_FRAMES_PER_SECOND = 4
_STOPPED, _BLOCKED, _WAITING, _DONE = "stopped", "waits for another process", "waiting", "done"
_HASH = re.compile(r"-[0-9a-f]{8}$")
_KEPT_PARTS = 2  # Of a trial's name, whatever all trials share: criterion and retraining.


class StudyProgress:
    """Counts stages and epochs, and shows them: a table on a terminal, else a line per stage.

    The table has a row for each trial: its stages, the one that is being trained with its epochs,
    and the test accuracy of its last epoch. Messages are written above it.

    The time that remains follows from the epochs that are left and the seconds per epoch of
    finished stages of the same network and data, or of all while there is none. A stage that trains
    another number of epochs than was expected counts as what was expected once it is done.

    Args:
      console: where to write; standard error by default.
      lines: write lines on a terminal too, as where other programs write there.

    Use as a context manager around the study. Any thread may call it.
    """

    def __init__(self, console: Console | None = None, lines: bool = False):
        self._own_file = None if console else _own_terminal()
        self._console = console or Console(file=self._own_file, stderr=True)
        self._is_live = self._console.is_interactive and not lines
        self._lock = threading.RLock()
        self._work = _Bookkeeping()
        self._live = Live(
            get_renderable=self._table,
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

    def shown(self, executor: Executor) -> Executor:
        """The executor, whose trainings tell of their trials."""
        return _Shown(executor, self)

    def plan(self, trials: Iterable[Trial]) -> None:
        """These trials' trunks are to be trained, where they are not there."""
        for trial in trials:
            self.plan_stages(trial, trial.stages(), trial.config.training.train_epochs)

    def plan_stages(self, trial: Trial, stages: Sequence[Stage], epochs: int) -> None:
        """These stages of a trial are to be trained, with so many epochs each."""
        done = {stage.relative for stage in stages if (stage.folder / layout.RESULT).exists()}
        with self._lock:
            self._work.plan(trial, [stage.relative for stage in stages], epochs, done)

    def came_of(self, work: Train, outcome: Outcome) -> None:
        """A piece of work has ended."""
        with self._lock:
            self._work.came_of(work, outcome)

    def expect(self, stages: int, epochs: int) -> None:
        """There are this many more stages to train, with so many epochs in all."""
        with self._lock:
            self._work.stages += stages
            self._work.epochs += epochs

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
        """The process with this key begins to train a stage, maybe amid another that waits."""
        with self._lock:
            self._work.begin(key, name, epochs)

    def epochs(self, key: Hashable, count: int) -> None:
        """It has trained so many more epochs of it."""
        with self._lock:
            self._work.advance(key, count)

    def end(self, key: Hashable) -> None:
        """It has finished the stage."""
        with self._lock:
            name = self._work.end(key)
            line = f"{name}: done, {self._work.counted}, ETA {clock(self._work.seconds_left())}"
        if name and not self._is_live:
            self.message(line)

    def abandon(self, key: Hashable) -> None:
        """It has given the stage up; it is to be trained again."""
        with self._lock:
            self._work.abandon(key)

    def message(self, text: str) -> None:
        """Writes one line above the table."""
        if isinstance(text, _Accuracy):
            with self._lock:
                self._work.accuracies[text.trial] = text.value
            return
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _table(self) -> Group:
        """What the terminal shows now."""
        with self._lock:
            return self._work.draw(max(self._console.height - 6, 3))


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
    parts = {
        trial: (slug if count[slug] == 1 else trial).split("-") for trial, slug in slugs.items()
    }
    spare = min((len(slug.split("-")) for slug in slugs.values()), default=0) - _KEPT_PARTS
    first = next(iter(parts.values()), [])
    shared = 0
    while shared < spare and all(words[shared] == first[shared] for words in parts.values()):
        shared += 1
    return {trial: "-".join(words[shared:]) for trial, words in parts.items()}


# ------------------------------------------------------------------ what is counted
TrialKey = tuple[str, int]  # The trial's name and seed.


@dataclass
class _Running:
    """A stage that is being trained.

    Attributes:
      name: what it is.
      epochs: how many epochs it is expected to have.
      trained: how many were told of.
      began_at: when, by the monotonic clock.
    """

    name: str
    epochs: int
    trained: int = 0
    began_at: float = field(default_factory=lambda: time.monotonic())

    @property
    def trial(self) -> TrialKey | None:
        return self.name.trial if isinstance(self.name, _Named) else None

    @property
    def stage(self) -> str:
        return self.name.stage if isinstance(self.name, _Named) else ""

    @property
    def counted(self) -> int:
        """The epochs that count as done."""
        return min(self.trained, self.epochs)


@dataclass
class _TrialRow:
    """A row of the table.

    Attributes:
      kind: trials of one kind have epochs of the same length.
      epochs: of every stage, by its folder, in the order of training.
      state: how it stands while no stage is being trained; empty says what its stages say.
    """

    kind: str
    epochs: dict[str, int] = field(default_factory=dict)
    state: str = ""


class _Bookkeeping:
    """What was told, and what follows from it. Not for several threads."""

    def __init__(self) -> None:
        self.stages = self.epochs = 0  # Expected.
        self.accuracies: dict[TrialKey, float] = {}
        self._began_at = time.monotonic()
        self._count = 0
        self._finished: set[str] = set()  # Stages: trials may share one.
        self._rows: dict[TrialKey, _TrialRow] = {}
        self._planned: dict[str, int] = {}  # Epochs, by stage.
        self._unplanned_trained = 0
        # A stage whose weights turn out damaged is trained amid the one that needs them.
        self._running: dict[Hashable, list[_Running]] = {}
        self._at_once = 1  # Trainings; the most there were.
        self._seconds: dict[str, tuple[float, int]] = {}  # By kind: seconds, epochs.

    @property
    def counted(self) -> str:
        return f"{self._count}/{self.stages} stages"

    def plan(self, trial: Trial, stages: Sequence[str], epochs: int, done: set[str]) -> None:
        key = trial.name, trial.seed
        row = self._rows.setdefault(key, _TrialRow(trial_name(trial.config, DENSE)))
        row.epochs |= dict.fromkeys(stages, epochs)
        row.state = ""
        self._finished |= done
        self._planned |= {stage: epochs for stage in stages if stage not in done}

    def came_of(self, work: Train, outcome: Outcome) -> None:
        row = self._rows[work.trial.name, work.trial.seed]
        if outcome.failure:
            row.state = _STOPPED
        elif outcome.blocked:
            row.state = _BLOCKED
        else:  # Other processes, or other trials, may have trained some of them.
            self._finished |= {stage.relative for stage in work.stages}

    def begin(self, key: Hashable, name: str, epochs: int) -> None:
        running = _Running(name, epochs)
        for other in self._training(running.stage):
            self.abandon(other)  # Of a process that died: only one has a stage's claim.
        if self._running.get(key):
            self.stages += 1
            self.epochs += epochs
        self._running.setdefault(key, []).append(running)
        self._at_once = max(self._at_once, len(self._running))
        row = self._row(running)
        if row is not None and running.stage in row.epochs:
            # They are trained in order. It is itself done only if it was found damaged since.
            before = list(row.epochs)[: list(row.epochs).index(running.stage)]
            self._finished |= {*before}
            self._finished.discard(running.stage)
            self._planned[running.stage] = epochs
            row.state = ""

    def advance(self, key: Hashable, count: int) -> None:
        if self._running.get(key):  # Else another process has taken the stage over.
            self._running[key][-1].trained += count

    def end(self, key: Hashable) -> str:
        """What was finished; nothing if another process has taken it over."""
        running = self._forget(key)
        if running is None:
            return ""
        self._count += 1
        self._finished.add(running.stage)
        row = self._row(running)
        if running.stage not in self._planned:
            self._unplanned_trained += running.epochs
        if running.trained:
            kind = row.kind if row else ""
            seconds, epochs = self._seconds.get(kind, (0.0, 0))
            took = time.monotonic() - running.began_at
            self._seconds[kind] = seconds + took, epochs + running.trained
        return str(running.name)

    def abandon(self, key: Hashable) -> None:
        self._forget(key)

    def _forget(self, key: Hashable) -> _Running | None:
        there = self._running.get(key)
        if not there:
            return None
        running = there.pop()
        if not there:
            del self._running[key]
        return running

    def _training(self, stage: str) -> list[Hashable]:
        """The keys of the processes that train a stage."""
        return [k for k, all_of in self._running.items() if stage and all_of[-1].stage == stage]

    def _left(self, row: _TrialRow) -> dict[str, int]:
        """The epochs of a trial's stages that are not finished, by stage."""
        if row.state == _STOPPED:
            return {}
        return {s: n for s, n in row.epochs.items() if s not in self._finished}

    def _standing(self, row: _TrialRow) -> str:
        return row.state or (_WAITING if self._left(row) else _DONE)

    def _row(self, running: _Running) -> _TrialRow | None:
        return self._rows.get(running.trial) if running.trial else None

    # -------------------------------------------------------------- the time that remains
    def seconds_left(self) -> float | None:
        """Seconds until all that is expected is trained; None while no epoch was."""
        running = [r for all_of in self._running.values() for r in all_of]
        amid = {r.stage: r.counted for r in running}
        stages: dict[str, tuple[str, int]] = {}
        longest = 0.0
        for row in self._rows.values():
            left = {s: n - amid.get(s, 0) for s, n in self._left(row).items()}
            stages |= {stage: (row.kind, epochs) for stage, epochs in left.items()}
            longest = max(longest, sum(left.values()) * (self._rate(row.kind) or 0.0))
        # What is expected of stages that no trial has named yet.
        unnamed = self.epochs - sum(self._planned.values()) - self._unplanned_trained
        unnamed -= sum(r.counted for r in running if r.stage not in self._planned)
        if unnamed <= 0 and not any(epochs for _, epochs in stages.values()):
            return 0.0
        if self._rate("") is None:
            return None
        work = sum(epochs * (self._rate(kind) or 0.0) for kind, epochs in stages.values())
        work += max(unnamed, 0) * (self._rate("") or 0.0)
        return max(longest, work / self._at_once)  # A trial's own stages wait for each other.

    def _rate(self, kind: str) -> float | None:
        """Seconds per epoch: of finished stages of a kind, else of all, else of running ones."""
        now = time.monotonic()
        running = [r for all_of in self._running.values() for r in all_of]
        for found in (
            [self._seconds[kind]] if kind in self._seconds else [],
            list(self._seconds.values()),
            [(now - r.began_at, r.trained) for r in running if r.trained],
        ):
            if found:
                return sum(seconds for seconds, _ in found) / sum(epochs for _, epochs in found)
        return None

    # -------------------------------------------------------------- the table
    def draw(self, rows: int) -> Group:
        """The table, of at most so many rows, and a line for the whole study."""
        names = readable(dict.fromkeys(trial for trial, _ in self._rows))
        now = {r.trial: r for all_of in self._running.values() for r in all_of}
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("trial", overflow="ellipsis", no_wrap=True)
        table.add_column("seed", justify="right", no_wrap=True)
        table.add_column("stages", justify="right", no_wrap=True)
        table.add_column("now", no_wrap=True)
        table.add_column("test accuracy", justify="right", no_wrap=True)
        shown = self._most_telling(rows, now)
        for key in shown:
            row, (trial, seed) = self._rows[key], key
            accuracy = self.accuracies.get(key)
            table.add_row(
                names[trial],
                str(seed),
                f"{sum(s in self._finished for s in row.epochs)}/{len(row.epochs)}",
                _doing(now[key]) if key in now else self._standing(row),
                "" if accuracy is None else f"{accuracy:.4f}",
                style="" if key in now else "dim",
            )
        parts: list[Any] = [table] if shown else []
        if len(shown) < len(self._rows):
            hidden = Counter(self._standing(r) for k, r in self._rows.items() if k not in shown)
            told = ", ".join(f"{count} {state}" for state, count in hidden.items())
            parts.append(Text(f"and {len(self._rows) - len(shown)} more: {told}", style="dim"))
        return Group(*parts, self._whole())

    def _most_telling(self, count: int, now: Mapping[Any, _Running]) -> list[TrialKey]:
        """The rows to show, in their order: those that train first, finished ones last."""
        order = (_STOPPED, _BLOCKED, _WAITING, _DONE)
        ranked = sorted(
            self._rows, key=lambda k: -1 if k in now else order.index(self._standing(self._rows[k]))
        )
        chosen = set(ranked[:count])
        return [key for key in self._rows if key in chosen]

    def _whole(self) -> Table:
        """The line of the study."""
        left = self.seconds_left()
        elapsed = time.monotonic() - self._began_at
        line = Table.grid(padding=(0, 2, 0, 0))
        if not self.stages:
            line.add_row("study", "preparing", clock(elapsed))
            return line
        bar = ProgressBar(total=max(self.epochs, 1), completed=self._trained(), width=20)
        line.add_row("study", self.counted, bar, clock(elapsed), f"ETA {clock(left)}")
        return line

    def _trained(self) -> int:
        amid = [r.counted for all_of in self._running.values() for r in all_of]
        left = {s: n for row in self._rows.values() for s, n in self._left(row).items()}
        named = sum(self._planned.values()) - sum(left.values())
        return min(self.epochs, named + self._unplanned_trained + sum(amid))


def _doing(running: _Running) -> str:
    """`level 3, 12/100 epochs`."""
    what = re.sub(r"^seed \d+ ", "", running.name)
    return f"{what}, {running.trained}/{running.epochs} epochs"


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


# ------------------------------------------------------------------ what a training tells
# Workers send the name of a stage and sentences as they are given, so these carry more than text.
class _Named(str):
    """A stage in a few words, with its trial and folder."""

    trial: TrialKey
    stage: str


class _Accuracy(str):
    """The test accuracy of a trial's last epoch, as a sentence."""

    trial: TrialKey
    value: float


class _TellingProgress:
    """Names stages with their trial.

    Args:
      progress: is told.
      trial: whose stage is trained.
      stage: the stage.
    """

    def __init__(self, progress: Progress, trial: Trial, stage: Stage):
        self._progress = progress
        self._stage = stage
        self._trial = (trial.name, trial.seed)

    def expect(self, stages: int, epochs: int) -> None:
        self._progress.expect(stages, epochs)

    def message(self, text: str) -> None:
        self._progress.message(text)

    def stage(self, name: str, epochs: int) -> AbstractContextManager[Advance]:
        named = _Named(name)
        named.trial = self._trial
        # Another stage's, where damaged weights are trained again.
        named.stage = self._stage.relative if name == describe(self._stage) else ""
        return self._progress.stage(named, epochs)

    def accuracy(self, value: float) -> None:
        told = _Accuracy(f"{describe(self._stage)}: test accuracy {value:.4f}")
        told.trial, told.value = self._trial, value
        self.message(told)


class _TellingLoops:
    """A process's loops, whose trainings tell their trial and test accuracy."""

    def __init__(self, loops: Loops, progress: _TellingProgress):
        self.progress: Progress = progress
        self._accuracy = progress.accuracy
        self._loops = loops

    def loop(self, trial: Trial) -> PruneRetrain:
        return self._loops.loop(trial)

    def check_stop(self) -> None:
        self._loops.check_stop()

    def train(self, trial: Trial, branch: Branch, stage: Stage, advance: Advance) -> None:
        last: float | None = None
        told_at = time.monotonic()

        def advance_and_tell(logs: Row) -> None:
            nonlocal last, told_at
            advance(logs)
            last = logs.get("test_accuracy", last)
            if last is not None and time.monotonic() - told_at > _TELL_SECONDS:
                told_at = time.monotonic()
                self._accuracy(float(last))

        self._loops.train(trial, branch, stage, advance_and_tell)
        if last is not None:
            self._accuracy(float(last))


@dataclass(frozen=True)
class _ShownTrain(Train):
    """The same training, which tells more."""

    def train_claimed(self, stage: Stage, loops: Loops) -> None:
        telling = _TellingProgress(loops.progress, self.trial, stage)
        super().train_claimed(stage, _TellingLoops(loops, telling))


class _Shown(AbstractContextManager["_Shown"]):
    """An executor whose trainings are shown.

    Args:
      executor: carries out the work.
      progress: shows it.
    """

    def __init__(self, executor: Executor, progress: StudyProgress):
        self._executor = executor
        self._progress = progress

    def __exit__(self, *exception: Any) -> None:
        """Whoever made the executor ends it."""

    def submit(self, work: Work) -> Future[Outcome]:
        if not isinstance(work, Train):
            return self._executor.submit(work)
        train = work
        self._progress.plan_stages(train.trial, train.stages, train.branch.epochs)
        shown = _ShownTrain(train.trial, train.stages, train.branch, train.columns)
        future = self._executor.submit(shown)
        future.add_done_callback(lambda done: self._take(train, done))
        return future

    def _take(self, work: Train, future: Future[Outcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._progress.came_of(work, future.result())
