"""What a study is made of: trainings that branch from a trunk, and measurements of stages.

A study declares them and hands them to `Study`, which the engine implements; it may carry them out
in other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from etils import epath

from tfprune.config import RunConfig
from tfprune.files import damage_of_sealed, read_sealed
from tfprune.settings import as_columns, hash8
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain

# See `tfprune.training.trainer.TrainingOutputs.advance`.
Advance = Callable[[Row], None]


@dataclass(frozen=True)
class Branch:
    """A training that starts from a level of a trunk, or is that level.

    Attributes:
      name: names its folders and its rows in results.csv; empty for the trunk.
      epochs: how many epochs it trains.
      train: trains and finishes one stage of it. To be carried out by other processes it must be
        a function of a module, or `functools.partial` of one.
      variant: goes into the folder's name only: what tells apart trainings that one table must
        not mix.
      is_chain: whether each of its stages is trained from the one before, as a trunk's are.
    """

    name: str
    epochs: int
    train: Callable[[PruneRetrain, Stage, Advance], None]
    variant: str = ""
    is_chain: bool = False


@dataclass(frozen=True)
class Passes:
    """How many examples a measurement sends through the network forward, about.

    Attributes:
      train: all training examples so many times.
      test: all test examples so many times.
      examples: single ones besides.
    """

    train: float = 0.0
    test: float = 0.0
    examples: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """Something measured on the network at the end of a stage, kept beside it.

    Attributes:
      name: names its files.
      options: every value that can change a number; part of the file's name, and columns of the
        rows, so their names are those of settings.
      measure: measures, and writes the table to the path it is given; returns columns of the
        stage's row in results.csv. As for `Branch.train`, a function of a module.
      suffix: of the table: csv, or npz for arrays.
      passes: what it costs.
    """

    name: str
    options: Mapping[str, Any]
    measure: Callable[[PruneRetrain, Stage, epath.Path], Row]
    suffix: str = "csv"
    passes: Passes = Passes()

    @property
    def columns(self) -> Row:
        """Its options as columns of results.csv: what tells rows apart that differ in them."""
        return as_columns(self.options)

    def table(self, stage: Stage) -> epath.Path:
        """What was measured."""
        return self.file(stage, self.suffix)

    def file(self, stage: Stage, suffix: str) -> epath.Path:
        """The measurement's file beside the stage."""
        return stage.folder / self.file_name(suffix)

    def file_name(self, suffix: str) -> str:
        """The name of that file."""
        return f"{self.name}-{hash8(dict(self.options))}.{suffix}"

    def is_done(self, stage: Stage) -> bool:
        return not self.damage(stage) and self.file(stage, "json").exists()

    def damage(self, stage: Stage) -> str:
        """What is wrong with its files; nothing if they are whole or not there."""
        path = self.file(stage, "json")
        return damage_of_sealed(path) if path.exists() else ""

    def result(self, stage: Stage) -> Row:
        """The columns it adds to the stage's row."""
        return read_sealed(self.file(stage, "json"))


# What is trained of each trial, and at which of its stages.
Trainings = Mapping[Trial, tuple[Branch, Sequence[Stage]]]


def trunk(config: RunConfig) -> Branch:
    """The training of a trial's own levels."""
    return Branch("", config.training.train_epochs, _train_level, is_chain=True)


def _train_level(loop: PruneRetrain, stage: Stage, advance: Advance) -> None:
    loop.run(stage, advance)


def train_one_after_another(
    study: Study, trials: Iterable[Trial], plans: Iterable[Trainings]
) -> dict[Trial, list[Stage]]:
    """Trains what each plan misses; returns the finished stages of each of these trials."""
    found: dict[Trial, list[Stage]] = {trial: [] for trial in trials}
    for plan in plans:
        for trial, stages in study.train(plan).items():
            found[trial] += stages
    return found


class Study(Protocol):
    """What a study asks of the engine: see `tfprune.engine.study.StudyEngine`.

    Attributes:
      all_trials: of all shards.
      trials: those of this shard.
    """

    all_trials: list[Trial]
    trials: list[Trial]

    def train(self, plan: Trainings) -> dict[Trial, list[Stage]]:
        """Trains what is missing of some stages, in order; returns the finished ones."""

    def train_branches(
        self, branch_of: Callable[[RunConfig], Branch], levels: Mapping[str, Sequence[int]]
    ) -> dict[Trial, list[Stage]]:
        """Trains a branch from these levels, by trial name; returns the finished stages."""

    def measure(self, measurement: Measurement, stages: Mapping[Trial, Sequence[Stage]]) -> None:
        """Measures finished stages, and adds the columns to their rows."""

    def note(self, text: str) -> None:
        """Tells the user one sentence."""

    def note_kept(self, rows: int) -> None:
        """Tells the user of rows of other settings that these take the place of."""

    def is_finished(self, name: str) -> bool:
        """Whether the trunks of all seeds of a trial are trained, or stopped here."""
