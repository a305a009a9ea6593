"""A whole study: every stage of every trial that is not done yet, then its rows of results.csv.

Nothing here imports TensorFlow until there is something to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tfprune.config import RunConfig, settings_of
from tfprune.errors import TrainingDiverged
from tfprune.files import check_writable
from tfprune.results.store import merge_rows
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.trainer import Trainer


# The settings that tell apart the trials a folder usually holds.
DESCRIBING = ("dataset", "label_noise", "noise_fraction", "model", "criterion", "retrain")


class Progress(Protocol):
    """Shows how far a study is."""

    def stage(self, stage: Stage, epochs: int) -> AbstractContextManager[Callable[[Row], None]]: ...

    def message(self, text: str) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What came of a study.

    Attributes:
      trained: how many stages were trained.
      reused: how many were done before.
      failures: why trials stopped, one sentence each.
    """

    trained: int
    reused: int
    failures: tuple[str, ...]


def trials(configs: Sequence[RunConfig]) -> list[Trial]:
    """Every configuration with every one of its seeds."""
    return [Trial(config, seed) for config in configs for seed in config.seeds]


def run(
    configs: Sequence[RunConfig],
    argv: Sequence[str],
    progress: Progress,
    own_columns: Mapping[str, Any],
    varying: Sequence[str] = DESCRIBING,
) -> Outcome:
    """Trains what is missing and writes results.csv after every trial.

    Args:
      configs: one per trial name; they share the output folder.
      argv: the command, for config.json.
      progress: shows how far the study is.
      own_columns: the experiment's own columns of results.csv, the same for every row.
      varying: settings written as columns of results.csv.

    Raises:
      InputError: nothing can be trained as asked; nothing was written.
    """
    workshop = _Workshop(argv)
    trained, failures = 0, []
    todo = trials(configs)
    for trial in todo:
        check_writable(trial.output_dir)
    reused = sum(stage.is_done for trial in todo for stage in trial.stages())
    for trial in todo:
        if not all(stage.is_done for stage in trial.stages()):
            workshop.loop(trial).check()
    for trial in todo:
        try:
            for stage in trial.stages():
                if not stage.is_done:
                    with progress.stage(stage, trial.config.training.train_epochs) as advance:
                        workshop.loop(trial).run(stage, advance)
                    trained += 1
        except TrainingDiverged as error:
            failures.append(str(error))
            progress.message(f"stopped: {error}")
        rows = list(result_rows(trial, own_columns, varying))
        merge_rows(trial.output_dir, rows, (*own_columns, *varying))
    return Outcome(trained, reused, tuple(failures))


def result_rows(
    trial: Trial, own_columns: Mapping[str, Any], varying: Sequence[str] = DESCRIBING
) -> Iterator[Row]:
    """The rows of results.csv for a trial's finished stages."""
    values = _flat(trial.config)
    for stage in trial.stages():
        if stage.is_done:
            yield {
                "experiment": trial.config.experiment,
                "trial": trial.name,
                "seed": trial.seed,
                "branch": stage.branch,
                "level": stage.level,
                **stage.result(),
                "stage": stage.relative,
                **own_columns,
                **{name: values[name] for name in varying},
            }


def _flat(config: RunConfig) -> dict[str, Any]:
    sections = (config.data, config.model, config.training, config.pruning)
    return {name: getattr(part, name) for part in sections for name in settings_of(type(part))}


class _Workshop:
    """Keeps the loaded data and compiled networks that trials share."""

    def __init__(self, argv: Sequence[str]):
        self._argv = list(argv)
        self._sources: dict[Any, Any] = {}
        self._trainers: dict[Any, Trainer] = {}
        self._loop: tuple[Trial, PruneRetrain] | None = None

    def loop(self, trial: Trial) -> PruneRetrain:
        """The trial's loop; the last one asked for is kept."""
        if self._loop is None or self._loop[0] != trial:
            self._loop = (trial, self._build(trial))
        return self._loop[1]

    def _build(self, trial: Trial) -> PruneRetrain:
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
