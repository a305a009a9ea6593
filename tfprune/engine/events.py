"""What a study tells of its stages, from whatever process trains them to whoever shows it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from tfprune import layout
from tfprune.errors import TrainingDiverged
from tfprune.studies.procedure import Advance
from tfprune.studies.trial import Row, Stage, Trial

# A stage tells of its epochs this often; more would cost a small network's epochs time.
_TELL_SECONDS = 0.2


class Happened(Enum):
    """What may happen to a stage."""

    PLANNED = "it is to be trained"
    FOUND = "it is there: trained before, or by another process"
    BEGAN = "its training began"
    TRAINED = "more epochs of it are trained"
    FINISHED = "it is trained"
    GIVEN_UP = "its training ended early; it is to be trained again"
    STOPPED = "its training diverged, and with it the trial ends"
    BLOCKED = "another process works on it"
    MEASURED = "something is measured on it"


@dataclass(frozen=True)
class StageEvent:
    """Something that happened to a stage.

    Attributes:
      what: what it is.
      trial: for which trial and seed; trials share the dense stages.
      stage: which stage.
      epochs: those that are expected of it, where it is planned or begins; else those that are
        trained.
      test_accuracy: of its last epoch, in [0, 1], where it has one.
      measurement: the name of what is measured.
      epochs_before: those that were trained before it began, by a training that was interrupted.
      process: the machine, the process and its thread that tell it.
    """

    what: Happened
    trial: Trial
    stage: Stage
    epochs: int = 0
    test_accuracy: float | None = None
    measurement: str = ""
    epochs_before: int = 0
    process: tuple[str, int, int] = field(
        default_factory=lambda: (os.uname().nodename, os.getpid(), threading.get_ident())
    )


# Takes what happened to a stage, or one sentence for the user.
Tell = Callable[[StageEvent | str], None]


@contextmanager
def told(tell: Tell, trial: Trial, stage: Stage, epochs: int) -> Iterator[Advance]:
    """Around the training of a stage: tells that it begins, how far it is, and how it ends.

    Args:
      tell: takes the events.
      trial: for which the stage is trained.
      stage: which.
      epochs: how many it is expected to train.

    Yields:
      What to call after every epoch with its metrics.
    """
    trained, before, accuracy, told_at = 0, 0, None, time.monotonic()

    def now(what: Happened) -> StageEvent:
        return StageEvent(what, trial, stage, trained, accuracy, epochs_before=before)

    def advance(logs: Row) -> None:
        nonlocal trained, before, accuracy, told_at
        resumed = int(logs.get(layout.EPOCHS_BEFORE, 0))
        trained, before = (resumed, resumed) if resumed else (trained + 1, before)
        if logs.get("test_accuracy") is not None:
            accuracy = float(logs["test_accuracy"])
        if resumed or time.monotonic() - told_at > _TELL_SECONDS:
            told_at = time.monotonic()
            tell(now(Happened.TRAINED))

    tell(StageEvent(Happened.BEGAN, trial, stage, epochs))
    try:
        yield advance
    except TrainingDiverged:
        tell(now(Happened.STOPPED))
        raise
    except BaseException:
        tell(now(Happened.GIVEN_UP))
        raise
    tell(now(Happened.FINISHED))
