"""Counting stages and epochs from what is told of them: how far a study is, how long it lasts."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from tfprune.engine.events import Happened, StageEvent
from tfprune.studies.trial import DENSE, Stage, trial_name

_STOPPED, _BLOCKED, _WAITING, _DONE = "stopped", "elsewhere", "waiting", "done"
# How a trial may stand that is not being trained, the most telling first; `elsewhere` is in another
# process, which this one waits for.
STANDINGS = (_STOPPED, _BLOCKED, _WAITING, _DONE)

# Finished stages of a kind whose seconds count for those to come.
_REMEMBERED = 15

TrialKey = tuple[str, int]  # The trial's name and seed.


@dataclass
class StageCount:
    """How a stage stands.

    Attributes:
      kind: stages of one kind have epochs of the same length.
      epochs: how many are expected of it.
      is_asked: whether the study has, or had, it to train.
      is_done: whether it is there.
      trained: the epochs of a training that is under way.
      before: those of them that were trained before it began.
      process: the one that trains it.
      began_at: when, by the monotonic clock.
    """

    kind: str
    epochs: int = 0
    is_asked: bool = False
    is_done: bool = False
    trained: int = 0
    before: int = 0
    process: tuple[str, int, int] | None = None
    began_at: float = 0.0

    @property
    def left(self) -> int:
        """The epochs that are still to be trained."""
        return 0 if self.is_done else max(self.epochs - self.trained, 0)


@dataclass
class TrialCount:
    """A trial's stages in the order of training, its last test accuracy, and what stops it."""

    stages: dict[str, StageCount] = field(default_factory=dict)
    accuracy: float | None = None
    state: str = ""

    @property
    def left(self) -> dict[str, StageCount]:
        """Its stages that are to be trained."""
        stages = {} if self.state == _STOPPED else self.stages
        return {name: stage for name, stage in stages.items() if not stage.is_done}

    @property
    def standing(self) -> str:
        """One of `STANDINGS`."""
        return self.state or (_WAITING if self.left else _DONE)


class StudyCount:
    """What was told, and what follows from it. Not for several threads.

    Attributes:
      began_at: when it was made, by the monotonic clock.
      trials: in the order in which they were told of.
      stages: by folder; trials may share one.
      running: the stages that are being trained, by folder, with their trials. The last begun comes
        last: one may be trained amid another that needs its weights.
      at_once: how many trainings there were at the same time, at most.
    """

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.trials: dict[TrialKey, TrialCount] = {}
        self.stages: dict[str, StageCount] = {}
        self.running: dict[str, tuple[TrialKey, Stage]] = {}
        self.at_once = 0
        # Seconds per epoch of the last finished stages of a kind.
        self._rates: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def take(self, event: StageEvent) -> bool:
        """Takes an event into account; False if another process has taken the stage over."""
        key, name, what = (event.trial.name, event.trial.seed), event.stage.relative, event.what
        trial = self.trials.setdefault(key, TrialCount())
        stage = self.stages.setdefault(name, StageCount(trial_name(event.trial.config, DENSE)))
        if what is Happened.BLOCKED:
            trial.state = _BLOCKED
        elif what in (Happened.PLANNED, Happened.FOUND):
            trial.stages[name], trial.state = stage, ""
            stage.is_done = what is Happened.FOUND
            if what is Happened.PLANNED:
                stage.is_asked, stage.epochs = True, event.epochs
        elif what is Happened.BEGAN:
            stage.is_asked, stage.is_done, trial.state = True, False, ""
            stage.epochs, stage.trained, stage.before = event.epochs, 0, 0
            stage.process, stage.began_at = event.process, time.monotonic()
            self.running.pop(name, None)
            self.running[name] = key, event.stage
            self.at_once = max(self.at_once, len({self.stages[n].process for n in self.running}))
        elif what is not Happened.MEASURED:
            if event.process != stage.process:
                return False
            self._go_on(event, trial, stage)
        return True

    def _go_on(self, event: StageEvent, trial: TrialCount, stage: StageCount) -> None:
        """Takes into account how far a running training is, or how it ended."""
        stage.trained, stage.before = event.epochs, event.epochs_before
        if event.test_accuracy is not None:
            trial.accuracy = event.test_accuracy
        if event.what is Happened.TRAINED:
            return
        if event.what is Happened.FINISHED:
            stage.is_done = True
            epochs = event.epochs - event.epochs_before
            if epochs:
                self._rates[stage.kind].append((time.monotonic() - stage.began_at) / epochs)
        elif event.what is Happened.STOPPED:
            trial.state = _STOPPED
        stage.process, stage.trained, stage.before = None, 0, 0
        del self.running[event.stage.relative]

    @property
    def asked(self) -> list[StageCount]:
        """The stages that the study had to train, and has."""
        return [stage for stage in self.stages.values() if stage.is_asked]

    @property
    def counted(self) -> str:
        """How many of them it has, in words."""
        return f"{sum(stage.is_done for stage in self.asked)}/{len(self.asked)} stages"

    def seconds_left(self) -> float | None:
        """Seconds until all that is expected is trained; None while no epoch was."""
        left = {name: self.stages[name] for name in self.running}
        longest = 0.0  # A trial's own stages wait for each other.
        for trial in self.trials.values():
            left |= trial.left
            longest = max(longest, self._seconds_of(trial.left.values()))
        if not any(stage.left for stage in left.values()):
            return 0.0
        if self._rate("") is None:
            return None
        return max(longest, self._seconds_of(left.values()) / max(self.at_once, 1))

    def _seconds_of(self, stages: Iterable[StageCount]) -> float:
        return sum(stage.left * (self._rate(stage.kind) or 0.0) for stage in stages)

    def _rate(self, kind: str) -> float | None:
        """Seconds per epoch: of finished stages of a kind, else of all, else of running ones.

        It is their median, the lower of two: one stage that was starved of its processor, or that
        compiled its network first, does not count for all.
        """
        own = self._rates.get(kind)
        rates = own or [rate for those in self._rates.values() for rate in those]
        if not rates:
            running, now = [self.stages[name] for name in self.running], time.monotonic()
            rates = [
                (now - stage.began_at) / (stage.trained - stage.before)
                for stage in running
                if stage.trained > stage.before
            ]
        return statistics.median_low(rates) if rates else None
