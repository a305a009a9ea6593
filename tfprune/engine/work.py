"""The pieces of a study that any process can carry out: stages of one trial to train or measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from etils import epath

from tfprune import layout
from tfprune.claims import claim
from tfprune.config import flat_settings
from tfprune.engine.events import Happened, StageEvent, Tell, told
from tfprune.errors import CannotWrite, DamagedFile, InputError, TrainingDiverged
from tfprune.files import finite, load_arrays, write_sealed
from tfprune.settings import as_columns
from tfprune.store import merge_rows
from tfprune.studies.procedure import Advance, Branch, Measurement, trunk
from tfprune.studies.trial import Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain


class Loops(Protocol):
    """Where work gets what it needs of a process: see `tfprune.engine.workshop`."""

    tell: Tell

    def loop(self, trial: Trial) -> PruneRetrain:
        """The trial's loop."""

    def train(self, trial: Trial, branch: Branch, stage: Stage, advance: Advance) -> None:
        """Trains a stage; a signal ends it after an epoch."""

    def describe(self, trial: Trial, stage: Stage) -> None:
        """Writes the config.json beside a stage."""

    def check_stop(self) -> None:
        """Raises Stopped if a signal asked the process to end."""


# Columns only of trials that have them otherwise: a paper's numbers are of the whole network and of
# all data.
_FULL_SIZE = {"width": 1.0, "train_subset": ""}


@dataclass(frozen=True)
class Columns:
    """What a row of results.csv says besides what its stage measured.

    Attributes:
      own: an experiment's own columns, the same for every row.
      settings: the settings written as columns.
      by_trial: further columns, by the trial's name.
    """

    own: Mapping[str, Any]
    settings: tuple[str, ...]
    by_trial: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, trial: Trial) -> dict[str, Any]:
        """The columns of a trial's rows."""
        settings = flat_settings(trial.config)
        part = [name for name, full in _FULL_SIZE.items() if settings[name] != full]
        chosen = as_columns({name: settings[name] for name in (*self.settings, *part)})
        return {**self.own, **chosen, **self.by_trial.get(trial.name, {})}


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work.

    Attributes:
      trained: stages that were trained.
      blocked: the stage that another process is training, if that is why the work ended early.
      failure: why the trial stopped, if it did.
      note: a sentence for the user.
    """

    trained: int = 0
    blocked: str = ""
    failure: str = ""
    note: str = ""


@dataclass(frozen=True)
class Check:
    """Refuses what cannot be trained, before anything is written."""

    trial: Trial
    also: Callable[[PruneRetrain], None] | None = None

    def carry_out(self, loops: Loops) -> Outcome:
        """Raises InputError for settings that the data or the model do not allow."""
        loop = loops.loop(self.trial)
        loop.check()
        if self.also is not None:
            self.also(loop)
        return Outcome()


@dataclass(frozen=True)
class Describe:
    """Writes the config.json that finished stages have lost: without it nobody can load them.

    Attributes:
      trial: whose.
      stage: a finished one of the folder.
    """

    trial: Trial
    stage: Stage

    def carry_out(self, loops: Loops) -> Outcome:
        """Writes it with the settings, which the folder's name holds, and the versions of now."""
        with claim(self.stage.claim_file) as mine:
            if mine:  # Else the other process does it.
                loops.describe(self.trial, self.stage)
        path = self.stage.folder.parent / layout.CONFIG
        return Outcome(note=f"{path} was lost and is written again, with the versions of now")


@dataclass(frozen=True)
class Train:
    """Trains what is missing of some stages of one trial, in order, a row for each.

    Attributes:
      trial: whose stages.
      stages: each depends on those before it.
      branch: what is trained.
      columns: of the rows.
    """

    trial: Trial
    stages: tuple[Stage, ...]
    branch: Branch
    columns: Columns

    def carry_out(self, loops: Loops) -> Outcome:
        """Trains until all is done, the trial stops, or another process has claimed a stage."""
        trained = 0
        try:
            for place, stage in enumerate(self.stages):
                loops.check_stop()
                if not self._train_missing(stage, loops):
                    continue
                trained += 1
                if trained == 1 and place:
                    # Without the row of the dense level that trials share nobody knows, while the
                    # study goes on, for how long the others have trained.
                    write_rows(self.trial, self.stages[:place], self.columns)
        except TrainingDiverged as error:
            return Outcome(trained, failure=str(error))
        except _Busy as busy:
            loops.tell(StageEvent(Happened.BLOCKED, self.trial, stage))
            return Outcome(trained, blocked=str(busy))
        return Outcome(trained)

    def _train_missing(self, stage: Stage, loops: Loops) -> bool:
        if not stage.is_done:
            with claim(stage.claim_file) as mine:
                if not mine:
                    raise _Busy(stage.relative)
                if not stage.is_done:  # Nor was it finished before this claim.
                    self.train_claimed(stage, loops)
                    return True
        loops.tell(StageEvent(Happened.FOUND, self.trial, stage))
        return False

    def train_claimed(self, stage: Stage, loops: Loops) -> None:
        """Trains a stage that this process has claimed, and writes its row."""
        with told(loops.tell, self.trial, stage, self.branch.epochs) as advance:
            try:
                loops.train(self.trial, self.branch, stage, advance)
            except DamagedFile as error:
                again = {before: trunk(self.trial.config) for before in self.trial.stages()}
                again.pop(stage, None)
                _mend(error, self.trial, again, self.columns, loops)
                loops.train(self.trial, self.branch, stage, advance)
        write_rows(self.trial, [stage], self.columns)


@dataclass(frozen=True)
class Measure:
    """Measures finished stages of one trial.

    Attributes:
      trial: whose stages.
      stages: which.
      measurement: what is measured.
      columns: of the rows.
      branches: further trainings whose stages may be read, and so found damaged, with their stages.
    """

    trial: Trial
    stages: tuple[Stage, ...]
    measurement: Measurement
    columns: Columns
    branches: tuple[tuple[Branch, tuple[Stage, ...]], ...] = ()

    def carry_out(self, loops: Loops) -> Outcome:
        """Measures until all is done or another process has claimed a stage's measurement."""
        for stage in self.stages:
            loops.check_stop()
            if self.measurement.is_done(stage):
                continue
            with claim(stage.claim_file) as mine:
                if not mine:
                    return Outcome(blocked=f"{stage.relative} ({self.measurement.name})")
                if self.measurement.is_done(stage):  # Since it was looked at.
                    continue
                name = self.measurement.name
                loops.tell(StageEvent(Happened.MEASURED, self.trial, stage, measurement=name))
                try:
                    self._measure_or_mend(stage, loops)
                except _Busy as busy:
                    return Outcome(blocked=str(busy))
                except (DamagedFile, CannotWrite):
                    raise
                except InputError as error:  # What was trained is kept and reported.
                    return Outcome(note=f"not measured: {error.marked()}")
        return Outcome()

    def _measure_or_mend(self, stage: Stage, loops: Loops) -> None:
        try:
            self._measure(stage, loops)
        except DamagedFile as error:
            again = {before: trunk(self.trial.config) for before in self.trial.stages()}
            again |= {before: branch for branch, those in self.branches for before in those}
            _mend(error, self.trial, again, self.columns, loops, claimed=stage)
            self._measure(stage, loops)

    def _measure(self, stage: Stage, loops: Loops) -> None:
        measurement = self.measurement
        table = measurement.table(stage)
        columns = measurement.measure(loops.loop(self.trial), stage, table)
        about = {measurement.name: f"{stage.relative}/{table.name}", **finite(columns)}
        write_sealed(measurement.file(stage, "json"), about, [table])


def _mend(
    error: DamagedFile,
    trial: Trial,
    trained: Mapping[Stage, Branch],
    columns: Columns,
    loops: Loops,
    claimed: Stage | None = None,
) -> None:
    """Trains again the finished stage whose weights or masks turned out damaged.

    Args:
      error: names the file.
      trial: whose stages.
      trained: what trained the stages that the file may be of.
      columns: of the rows.
      loops: of this process.
      claimed: a stage that this process has claimed already.

    Raises:
      DamagedFile: the file is none of these.
      _Busy: another process works on its stage.
    """
    path = epath.Path(error.path)
    stage = next((stage for stage in trained if stage.folder == path.parent), None)
    if stage is None or path.name not in (layout.START, layout.END, layout.MASKS):
        raise error
    with nullcontext(True) if stage == claimed else claim(stage.claim_file) as mine:
        if not mine:
            raise _Busy(stage.relative)
        with suppress(DamagedFile):
            load_arrays(path)
            return  # Another process has trained it again.
        loops.tell(f"{path} is damaged ({error.what}): its stage is trained again")
        stage.set_aside()
        Train(trial, (stage,), trained[stage], columns).train_claimed(stage, loops)


class _Busy(Exception):
    """Another process works on this stage."""


Work = Check | Describe | Train | Measure


def write_rows(
    trial: Trial,
    stages: Iterable[Stage],
    columns: Columns,
    measurements: Sequence[Measurement] = (),
) -> None:
    """Puts the rows of a trial's finished stages into results.csv."""
    common = columns.of(trial)
    rows = [
        {
            "experiment": trial.config.experiment,
            "trial": trial.name,
            "seed": trial.seed,
            "branch": stage.branch,
            "level": stage.level,
            **stage.result(),
            "stage": stage.relative,
            **common,
            **{k: v for m in measurements for k, v in {**m.columns, **m.result(stage)}.items()},
        }
        for stage in stages
        if stage.is_done
    ]
    extra = dict.fromkeys(name for row in rows for name in row)
    merge_rows(trial.output_dir, rows, (*common, *extra))


def set_aside_damaged(stages: Iterable[Stage]) -> Iterator[str]:
    """Sets aside the results of stages that are not whole; a sentence about each."""
    for stage in stages:
        if not stage.damage():
            continue
        with claim(stage.claim_file) as mine:
            damage = stage.damage() if mine else ""  # Else the other process sees to it.
            if damage:
                stage.set_aside()
                yield f"{stage.relative} is damaged ({damage}): it is trained again"
