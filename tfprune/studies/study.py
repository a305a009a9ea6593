"""A whole study: every stage of every trial that is not done yet, then its rows of results.csv.

Nothing here imports TensorFlow until there is something to train.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from etils import epath

from tfprune.config import RunConfig, hash8, join, settings_of
from tfprune.errors import InputError, TrainingDiverged
from tfprune.files import check_writable, read_json, write_json
from tfprune.results.store import KEY_COLUMNS, merge_rows, read_results
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.trainer import Trainer


# The settings that tell apart the trials a folder usually holds.
DESCRIBING = ("dataset", "label_noise", "noise_fraction", "model", "criterion", "retrain")


class Progress(Protocol):
    """Shows how far a study is."""

    def expect(self, stages: int, epochs: int) -> None:
        """There is this much more to train."""

    def stage(self, name: str, epochs: int) -> AbstractContextManager[Callable[[Row], None]]:
        """Around one training; yields what to call after every epoch."""

    def message(self, text: str) -> None:
        """Tells one sentence."""


@dataclass(frozen=True)
class Branch:
    """A further training that starts from a level of a trunk.

    Attributes:
      name: names its folders and its rows in results.csv.
      epochs: how many epochs it trains.
      train: trains and finishes one stage of it.
    """

    name: str
    epochs: int
    train: Callable[[PruneRetrain, Stage, Callable[[Row], None]], None]


@dataclass(frozen=True)
class Measurement:
    """Something measured on the network at the end of a stage, kept beside it.

    Attributes:
      name: names its files.
      options: every value that can change a number; part of the file's name.
      measure: measures, and writes the table to the path it is given; returns columns of the
        stage's row in results.csv.
    """

    name: str
    options: Mapping[str, Any]
    measure: Callable[[PruneRetrain, Stage, epath.Path], Row]

    def file(self, stage: Stage, suffix: str) -> epath.Path:
        """The measurement's file beside the stage."""
        return stage.folder / f"{self.name}-{hash8(dict(self.options))}.{suffix}"

    def is_done(self, stage: Stage) -> bool:
        return self.file(stage, "json").exists()

    def result(self, stage: Stage) -> Row:
        """The columns it adds to the stage's row."""
        return read_json(self.file(stage, "json"))


class Study:
    """Trains what is missing of some trials, their branches and measurements.

    Args:
      configs: one per trial name; they share the output folder.
      argv: the command, for config.json.
      progress: shows how far the study is.
      own_columns: the experiment's own columns of results.csv, the same for every row.
      varying: settings written as columns of results.csv.
      before_training: called once, before anything that needs TensorFlow.
    """

    def __init__(
        self,
        configs: Sequence[RunConfig],
        argv: Sequence[str],
        progress: Progress,
        own_columns: Mapping[str, Any] | None = None,
        varying: Sequence[str] = DESCRIBING,
        before_training: Callable[[], None] = lambda: None,
    ):
        self.trials = [Trial(config, seed) for config in configs for seed in config.seeds]
        self.trained = 0
        self.reused = 0
        self.failures: list[str] = []
        self._stopped: set[tuple[str, int]] = set()
        self._progress = progress
        self._own_columns = dict(own_columns or {})
        self._varying = tuple(dict.fromkeys((*DESCRIBING, *varying)))
        self._workshop = _Workshop(argv, before_training)

    def train_trunks(self) -> None:
        """Trains every missing level of every trial, a row of results.csv for each.

        Raises:
          InputError: something cannot be trained as asked; nothing was written.
        """
        for trial in self.trials:
            check_writable(trial.output_dir)
        self._check()
        missing = self._missing([stage for trial in self.trials for stage in trial.stages()])
        epochs = {trial.name: trial.config.training.train_epochs for trial in self.trials}
        self._progress.expect(len(missing), len(missing) * max(epochs.values()))
        for trial in self.trials:
            with self._stopping(trial):
                for stage in trial.stages():
                    self._train(trial, stage, epochs[trial.name], _train_level)
            self.write(trial, trial.stages())

    def train_branches(
        self, branch_of: Callable[[RunConfig], Branch], levels: Mapping[str, Sequence[int]]
    ) -> dict[Trial, list[Stage]]:
        """Trains a branch from these levels of every trial that was not stopped.

        Args:
          branch_of: the branch of a trial's settings.
          levels: by trial name.

        Returns:
          The finished stages of each trial.
        """
        plan = {
            trial: [trial.branch_stage(branch_of(trial.config).name, n) for n in levels[trial.name]]
            for trial in self.trials
            if not self._is_stopped(trial)
        }
        missing = self._missing([stage for stages in plan.values() for stage in stages])
        longest = max((branch_of(trial.config).epochs for trial in plan), default=0)
        self._progress.expect(len(missing), len(missing) * longest)
        for trial, stages in plan.items():
            branch = branch_of(trial.config)
            with self._stopping(trial):
                for stage in stages:
                    self._train(trial, stage, branch.epochs, branch.train)
            self.write(trial, stages)
        return {trial: [s for s in stages if s.is_done] for trial, stages in plan.items()}

    def measure(self, measurement: Measurement, stages: Mapping[Trial, Sequence[Stage]]) -> None:
        """Measures finished stages, and adds the columns to their rows."""
        for trial, those in stages.items():
            for stage in those:
                if not measurement.is_done(stage):
                    self._progress.message(f"{describe(stage)}: {measurement.name}")
                    table = measurement.file(stage, "csv")
                    try:
                        columns = measurement.measure(self._workshop.loop(trial), stage, table)
                    except InputError as error:  # What was trained is kept and reported.
                        self.note(f"not measured: {error}")
                        return
                    relative = f"{stage.relative}/{table.name}"
                    write_json(
                        measurement.file(stage, "json"),
                        {measurement.name: relative, **finite(columns)},
                    )
            self._forget_other_options(trial, measurement, those)
            self.write(trial, those, [measurement])

    def _forget_other_options(
        self, trial: Trial, measurement: Measurement, stages: Sequence[Stage]
    ) -> None:
        """Empties what the trial's rows say of the measurement with other options than these.

        One table and figure must not mix them; the files stay, and a run with those options puts
        them back.
        """
        if not stages:
            return
        file, columns = measurement.file(stages[0], "csv").name, measurement.result(stages[0])
        results = read_results(trial.output_dir)
        if measurement.name not in results:
            return
        there = results[measurement.name].fillna("").astype(str)
        other = (there != "") & ~there.str.endswith(file)
        mine = (results["experiment"] == trial.config.experiment) & (results["trial"] == trial.name)
        keys = results.loc[other & mine, list(KEY_COLUMNS)].to_dict("records")
        merge_rows(
            trial.output_dir, [{**key, **dict.fromkeys(columns)} for key in keys], tuple(columns)
        )

    def note(self, text: str) -> None:
        """Tells the user one sentence."""
        self._progress.message(text)

    def write(
        self, trial: Trial, stages: Iterable[Stage], measurements: Sequence[Measurement] = ()
    ) -> None:
        """Puts the rows of a trial's finished stages into results.csv."""
        values = {**_flat(trial.config), **self._own_columns}
        shown = (*self._own_columns, *self._varying)
        rows = [
            {
                "experiment": trial.config.experiment,
                "trial": trial.name,
                "seed": trial.seed,
                "branch": stage.branch,
                "level": stage.level,
                **stage.result(),
                "stage": stage.relative,
                **{name: values[name] for name in shown},
                **{k: v for m in measurements for k, v in m.result(stage).items()},
            }
            for stage in stages
            if stage.is_done
        ]
        extra = dict.fromkeys(name for row in rows for name in row)
        merge_rows(trial.output_dir, rows, (*shown, *extra))

    def _check(self) -> None:
        """Refuses what cannot be trained, once per configuration, before anything is written."""
        first = {trial.name: trial for trial in reversed(self.trials)}
        for trial in first.values():
            if not all(stage.is_done for stage in trial.stages()):
                self._workshop.loop(trial).check()

    def _missing(self, stages: Sequence[Stage]) -> set[str]:
        different = {stage.relative: stage for stage in stages}
        missing = {name for name, stage in different.items() if not stage.is_done}
        self.reused += len(different) - len(missing)
        return missing

    def _train(
        self,
        trial: Trial,
        stage: Stage,
        epochs: int,
        train: Callable[[PruneRetrain, Stage, Callable[[Row], None]], None],
    ) -> None:
        if stage.is_done:
            return
        with self._progress.stage(describe(stage), epochs) as advance:
            train(self._workshop.loop(trial), stage, advance)
        self.trained += 1

    @contextmanager
    def _stopping(self, trial: Trial) -> Iterator[None]:
        """A trial that diverges is named and ends here; the others go on."""
        try:
            yield
        except TrainingDiverged as error:
            self._stopped.add((trial.name, trial.seed))
            self.failures.append(str(error))
            self._progress.message(f"stopped: {error}")

    def _is_stopped(self, trial: Trial) -> bool:
        return (trial.name, trial.seed) in self._stopped


def finite(row: Row) -> Row:
    """The row with None for numbers that are not finite, which JSON does not know."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def describe(stage: Stage) -> str:
    """A stage in a few words."""
    return f"seed {stage.seed} {stage.branch or 'level'} {stage.level}"


def _flat(config: RunConfig) -> dict[str, Any]:
    sections = (config.data, config.model, config.training, config.pruning)
    values = {n: getattr(part, n) for part in sections for n in settings_of(type(part))}
    return {n: join(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _train_level(loop: PruneRetrain, stage: Stage, advance: Callable[[Row], None]) -> None:
    loop.run(stage, advance)


class _Workshop:
    """Keeps the loaded data and compiled networks that trials share."""

    def __init__(self, argv: Sequence[str], before_training: Callable[[], None]):
        self._argv = list(argv)
        self._before_training = before_training
        self._sources: dict[Any, Any] = {}
        self._trainers: dict[Any, Trainer] = {}
        self._loop: tuple[Trial, PruneRetrain] | None = None

    def loop(self, trial: Trial) -> PruneRetrain:
        """The trial's loop; the last one asked for is kept."""
        if self._loop is None or self._loop[0] != trial:
            self._loop = (trial, self._build(trial))
        return self._loop[1]

    def _build(self, trial: Trial) -> PruneRetrain:
        if not self._sources:
            self._before_training()
        from tfprune.data.prepare import prepare
        from tfprune.data.sources import load_source
        from tfprune.studies.iterative import PruneRetrain, about_run
        from tfprune.training import runtime
        from tfprune.training.trainer import Trainer

        config = trial.config
        if not self._trainers:
            runtime.configure(config)
        key = (config.data.dataset, config.data.data_dir)
        if key not in self._sources:
            self._sources[key] = load_source(config.data)
        data = prepare(self._sources[key], config.data, trial.seed)
        program = (config.model, config.training, config.jit, data.input_shape, data.num_classes)
        if program not in self._trainers:
            self._trainers[program] = Trainer(config, data.input_shape, data.num_classes)
        return PruneRetrain(trial, self._trainers[program], data, about_run(config, self._argv))
