"""What is left of a study, and what it will take: operations, time and disk."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from etils import epath

from tfprune import layout
from tfprune.config import RunConfig, from_values
from tfprune.engine.costs import (
    CPU,
    GPU,
    REPORT_BYTES,
    Speed,
    TrainingCost,
    cost_of,
    kept_bytes,
    stage_bytes,
)
from tfprune.engine.plan import Plan, Planned, PlannedMeasurement
from tfprune.engine.sharing import devices_of, processes_of
from tfprune.errors import TfpruneError
from tfprune.files import damage_of_sealed, read_sealed
from tfprune.store import read_about
from tfprune.studies.trial import trial_name

# Finished stages of a folder's trial whose seconds are looked at.
_LOOKED_AT = 5


@dataclass(frozen=True)
class Row:
    """Trainings of one trial's name and one branch, over all seeds.

    Attributes:
      trial: the folder's name.
      branch: empty for the trunk.
      stages: how many.
      there: how many of them are done.
      epochs: those that the others train.
      operations: of these epochs, evaluation included.
      seconds: of these epochs; None where nothing is known.
    """

    trial: str
    branch: str
    stages: int
    there: int
    epochs: int
    operations: float
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """What is left of a study.

    Attributes:
      rows: the trainings.
      measurements: of each kind, how many are left.
      training, evaluation, measuring: operations that are left.
      seconds: until all is done, on so many processes; None where nothing is known.
      processes: that train at the same time.
      basis: what the time follows from.
      bytes: that will be written.
    """

    rows: tuple[Row, ...]
    measurements: dict[str, int]
    training: float
    evaluation: float
    measuring: float
    seconds: float | None
    processes: int
    basis: str
    bytes: float

    @property
    def left(self) -> int:
        """Trainings that are not done."""
        return sum(row.stages - row.there for row in self.rows)


def forecast(plan: Plan, configs: Sequence[RunConfig], speed: Speed | None) -> Forecast:
    """What is left of a plan, by what its output folder holds.

    Args:
      plan: of the study, whatever folder it was made in.
      configs: the study's runs, which name the output folder.
      speed: of the device, where the folder has no measured seconds; None if it is not known.

    Raises:
      InputError: data that no table knows, or a file of the folder, cannot be read.
    """
    folder = epath.Path(configs[0].output_dir)
    costs = _Costs(_measured(folder), speed)
    left = [one for one in plan.trainings if not _is_done(folder / one.stage / layout.RESULT)]
    measured = [one for one in plan.measurements if not _is_done(folder / one.file)]
    seconds = _seconds_by_seed(left, measured, costs)
    processes = processes_of(configs)
    at_once = _at_once(configs[0], processes)
    kinds: dict[str, int] = defaultdict(int)
    for one in measured:
        kinds[one.measurement.name] += 1
    return Forecast(
        rows=tuple(_rows(plan.trainings, {one.stage for one in left}, costs)),
        measurements=dict(kinds),
        training=sum(one.epochs * costs.of(one.config).training for one in left),
        evaluation=sum(one.epochs * costs.of(one.config).evaluation for one in left),
        measuring=sum(costs.measuring(one) for one in measured),
        seconds=max(sum(seconds.values()) / at_once, *seconds.values(), 0.0)
        if costs.is_known
        else None,
        processes=processes,
        basis=costs.basis,
        bytes=sum(_bytes(one, costs) for one in left) + REPORT_BYTES * bool(left or measured),
    )


def _is_done(path: epath.Path) -> bool:
    """Whether a stage or a measurement has this result, and its files are whole."""
    return path.exists() and not damage_of_sealed(path)


def device_of(config: RunConfig) -> Speed | None:
    """The speed of this machine's device that a run would take; None for a TPU."""
    if config.strategy == "tpu":
        return None
    gpus, _ = devices_of(config)
    return GPU if gpus else CPU


class _Costs:
    """Operations, seconds and trials by run, each looked up once.

    Args:
      measured: seconds of an epoch by `_kind` of a run.
      speed: of the device, where nothing is measured.
    """

    def __init__(self, measured: dict[tuple[object, ...], float], speed: Speed | None):
        self._measured = measured
        self._speed = speed
        self.of = cache(cost_of)
        self.trial_of = cache(trial_name)
        self._used: set[str] = set()

    @property
    def is_known(self) -> bool:
        return self._speed is not None or bool(self._measured)

    @property
    def basis(self) -> str:
        """What the seconds that were asked for follow from."""
        return "; ".join(sorted(self._used)) or "nothing is left to train"

    def epoch(self, config: RunConfig) -> float:
        """Seconds of an epoch with the evaluation after it."""
        kind = _kind(config)
        if kind in self._measured:
            self._used.add("seconds per epoch of stages in the output folder")
            return self._measured[kind]
        if self._speed is None:
            return 0.0
        self._used.add(f"{self._speed.device}, without start and compilation")
        return self._speed.epoch(self.of(config), config)

    def measuring(self, one: PlannedMeasurement) -> float:
        """Operations of a measurement."""
        cost, passes = self.of(one.config), one.measurement.passes
        examples = passes.train * cost.train + passes.test * cost.test + passes.examples
        return examples * cost.network.forward

    def measuring_seconds(self, one: PlannedMeasurement) -> float:
        """Seconds of a measurement: as an epoch's for its operations."""
        cost = self.of(one.config)
        of_epoch = cost.training + cost.evaluation
        return self.epoch(one.config) * self.measuring(one) / of_epoch if of_epoch else 0.0


def _rows(trainings: Iterable[Planned], left: set[str], costs: _Costs) -> Iterable[Row]:
    groups: dict[tuple[str, str], list[Planned]] = defaultdict(list)
    for one in trainings:
        groups[costs.trial_of(one.config), one.branch].append(one)
    for (trial, branch), those in groups.items():
        to_train = [one for one in those if one.stage in left]
        yield Row(
            trial,
            branch,
            len(those),
            len(those) - len(to_train),
            sum(one.epochs for one in to_train),
            sum(one.epochs * _operations(costs.of(one.config)) for one in to_train),
            sum(one.epochs * costs.epoch(one.config) for one in to_train)
            if costs.is_known
            else None,
        )


def _operations(cost: TrainingCost) -> float:
    return cost.training + cost.evaluation


def _seconds_by_seed(
    left: Iterable[Planned], measured: Iterable[PlannedMeasurement], costs: _Costs
) -> dict[tuple[str, str], float]:
    """Of each trial and seed, whose stages wait for each other."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for one in left:
        key = costs.trial_of(one.config), _seed(one.stage)
        seconds[key] += one.epochs * costs.epoch(one.config)
    for other in measured:
        key = costs.trial_of(other.config), _seed(other.stage)
        seconds[key] += costs.measuring_seconds(other)
    return seconds or {("", ""): 0.0}


def _seed(stage: str) -> str:
    return stage.split("/")[-2]


def _at_once(config: RunConfig, processes: int) -> float:
    """How much faster so many processes are than one, at least, by the numbers of one.

    A GPU is one process's; the numbers of CPUs are those of two cores.
    """
    gpus, cores = devices_of(config)
    return max(min(processes, gpus or cores // 2), 1)


def _bytes(one: Planned, costs: _Costs) -> float:
    cost = costs.of(one.config)
    dense = one.stage.endswith(f"/{layout.level_folder(0)}")
    return stage_bytes(cost, one.epochs) + dense * kept_bytes(cost, one.config)


def _kind(config: RunConfig) -> tuple[object, ...]:
    """Trainings of one kind take as long for an epoch."""
    data, training = config.data, config.training
    return (
        data.dataset,
        data.train_subset,
        data.validation_examples,
        data.augment,
        config.model.model,
        config.model.width,
        training.batch_size,
        training.optimizer,
        training.dtype,
        config.jit,
    )


def _measured(folder: epath.Path) -> dict[tuple[object, ...], float]:
    """Seconds of an epoch, by kind: the median of stages in an output folder.

    Trainings that were trained together share their time.
    """
    found: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for path in folder.glob(f"{layout.TRIALS}/*/*/{layout.CONFIG}"):
        try:
            about = read_about(path)
            kind = _kind(from_values(about["config"]))
            for result in list(path.parent.glob(f"*/{layout.RESULT}"))[:_LOOKED_AT]:
                row = read_sealed(result)
                stack = int(about.get("stack", 1))
                found[kind].append(float(row["wall_seconds"]) / int(row["train_epochs"]) / stack)
        except (TfpruneError, OSError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # It is a run's matter to mend it.
    return {kind: statistics.median(seconds) for kind, seconds in found.items()}
