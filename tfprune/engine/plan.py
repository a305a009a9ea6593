"""How many trainings a study is, from the code that plans them, and none is trained.

A planned stage says that it is done, and has a made-up result: what follows from results, such as
the five levels that SDD samples, is then planned as it would be after training.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.engine.study import StudyEngine
from tfprune.files import save_arrays, write_sealed
from tfprune.pruning.masks import Masks
from tfprune.store import merge_rows
from tfprune.studies.procedure import Branch, Measurement, trunk
from tfprune.studies.trial import Row, Stage, Trial

# A level's last and best test accuracy, by how far it is on the way from dense to the last level:
# a fall, two sweet spots, the end of everything.
_WAY = (0.0, 0.4, 0.6, 0.8, 1.0)
_LAST = (0.70, 0.60, 0.80, 0.78, 0.20)
_BEST = (0.80, 0.79, 0.81, 0.85, 0.20)


@dataclasses.dataclass(frozen=True)
class Planned:
    """One training of a plan.

    Attributes:
      config: the run that it belongs to.
      stage: its folder, relative to the output folder.
      branch: empty for the trunk.
      epochs: how many it trains.
    """

    config: RunConfig
    stage: str
    branch: str
    epochs: int


@dataclasses.dataclass(frozen=True)
class PlannedMeasurement:
    """One measurement of a plan.

    Attributes:
      config: the run that it belongs to.
      stage: what is measured, as in `Planned`.
      measurement: what of it.
    """

    config: RunConfig
    stage: str
    measurement: Measurement

    @property
    def file(self) -> str:
        """What says that it is done, relative to the output folder."""
        return f"{self.stage}/{self.measurement.file_name('json')}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that a study is, trunks first, nothing twice."""

    trainings: list[Planned]
    measurements: list[PlannedMeasurement]


class PlannedStage(Stage):
    """A stage that is taken as done; all of them share one folder."""

    @property
    def folder(self) -> epath.Path:
        return self.output_dir

    @property
    def is_done(self) -> bool:
        return True

    def damage(self) -> str:
        """Nothing is wrong with it."""
        return ""

    def result(self) -> Row:
        """What a curve with a fall and a rise has at the stage's level, of 30."""
        way = min(self.level / 30, 1.0)
        last, best = (float(np.interp(way, _WAY, curve)) for curve in (_LAST, _BEST))
        return {
            "train_loss": 0.1,
            "train_accuracy": 1.0,
            "test_accuracy_last": last,
            "test_accuracy_best": best,
        }


@dataclasses.dataclass(frozen=True)
class PlannedTrial(Trial):
    """A trial whose stages are taken as done."""

    def stage(self, level: int) -> Stage:
        found = super().stage(level)
        fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        return PlannedStage(**fields)


class PlannedStudy(StudyEngine):
    """A study that writes down what it would train, each stage once."""

    def __init__(self, configs: Sequence[RunConfig]):
        super().__init__(configs, (), lambda event: None)
        self.all_trials = [PlannedTrial(trial.config, trial.seed) for trial in self.all_trials]
        self.trials = [PlannedTrial(trial.config, trial.seed) for trial in self.trials]
        self.planned: dict[str, Planned] = {}
        self.measured: dict[str, PlannedMeasurement] = {}

    def train_trunks(self) -> None:
        """Plans the levels of every trial."""
        self.train({trial: (trunk(trial.config), trial.stages()) for trial in self.trials})

    def train(
        self, plan: Mapping[Trial, tuple[Branch, Sequence[Stage]]]
    ) -> dict[Trial, list[Stage]]:
        """Plans these stages."""
        for trial, (branch, stages) in plan.items():
            for stage in stages:
                one = Planned(trial.config, stage.relative, branch.name, branch.epochs)
                self.planned.setdefault(stage.relative, one)
        return {trial: list(stages) for trial, (_, stages) in plan.items()}

    def measure(self, measurement: Measurement, stages: Mapping[Trial, Sequence[Stage]]) -> None:
        """Plans these measurements."""
        for trial, those in stages.items():
            for stage in those:
                one = PlannedMeasurement(trial.config, stage.relative, measurement)
                self.measured.setdefault(one.file, one)


def plan(
    configs_in: Callable[[str], tuple[Sequence[RunConfig], Callable[[StudyEngine], None]]],
) -> Plan:
    """Every training and every measurement of a study.

    Args:
      configs_in: from an output folder to the study's runs, and what follows their trunks.
    """
    with tempfile.TemporaryDirectory() as folder:
        configs, further = configs_in(folder)
        _leave_what_is_read(epath.Path(folder))
        study = PlannedStudy(configs)
        study.train_trunks()
        further(study)
    return Plan(list(study.planned.values()), list(study.measured.values()))


def _leave_what_is_read(folder: epath.Path) -> None:
    """Files of finished stages that the planning of others reads."""
    from tfprune.studies.examples import losses

    merge_rows(folder, [{"experiment": "planned", "trial": "planned", "seed": 0, "level": 0}])
    Masks.dense({"layer": (2,)}).save(folder / layout.MASKS)
    measured: dict[str, Any] = dict.fromkeys(("indices", "predictions", "labels"), np.zeros(1, int))
    stage = PlannedStage(folder, "trial", 0, "stage", 0)
    save_arrays(losses().table(stage), measured)
    write_sealed(losses().file(stage, "json"), {}, [losses().table(stage)])
