"""Filters pruned, or disturbed, while a network trains, beside training without (GST 2, 3.3)."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from etils import epath

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.files import csv_text, read_text
from tfprune.settings import as_columns, hash8, join
from tfprune.studies.procedure import Advance, Branch, Measurement, Study, train_one_after_another
from tfprune.studies.settings import FilterConfig, NoiseConfig
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.pruning.filter_schedule import FilterSchedule
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.callbacks.filter_pruning import FilterEvents
    from tfprune.training.trainer import Beside


class Pruning(NamedTuple):
    """One way to prune, as `prunings` names it.

    Attributes:
      target: which scores go.
      period: epochs between events; 0 prunes everything before training.
      fractions: of the layers' filters, one for all or one per layer, if not those of the
        schedules; empty for those.
    """

    target: str
    period: int
    fractions: tuple[float, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Pruning:
        """Reads `smallest:40`, `smallest:1:0.06`, `largest:40:0.3/0.9` or `scratch:smallest`."""
        first, second, *rest = text.split(":")
        fractions = tuple(float(part) for part in rest[0].split("/")) if rest else ()
        if first == "scratch":
            return cls(second, 0, fractions)
        return cls(first, int(second), fractions)

    @property
    def branch(self) -> str:
        of = "_f" + "-".join(f"{part:g}" for part in self.fractions) if self.fractions else ""
        if not self.period:
            return f"scratch_{self.target}{of}"
        return f"filters_{self.target}_p{self.period}{of}"


class Noise(NamedTuple):
    """One kind of noise, as `noises` names it."""

    kind: str
    batches: int
    cumulative: bool

    @classmethod
    def parse(cls, text: str) -> Noise:
        """Reads `zeroing:50` or `gaussian:50:cumulative`."""
        kind, batches, *rest = text.split(":")
        return cls(kind, int(batches), bool(rest))

    @property
    def branch(self) -> str:
        return f"{self.kind}_{self.batches}" + ("_cumulative" if self.cumulative else "")


def train_pruned(study: Study, options: FilterConfig) -> dict[Trial, list[Stage]]:
    """Trains every network once for each of `prunings`.

    Returns:
      The finished stages of each trial, the trunk's dense one first.
    """
    return _train_all(study, _pruned_makers(options))


def train_noisy(
    study: Study, options: FilterConfig, noise: NoiseConfig
) -> dict[Trial, list[Stage]]:
    """Trains every network once for each of `noises`, and as `train_pruned`."""
    kinds = [Noise.parse(text) for text in noise.noises]
    noisy_makers = [partial(noisy, noise=kind, options=options, settings=noise) for kind in kinds]
    return _train_all(study, [*_pruned_makers(options), *noisy_makers])


def check_layers(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses layers that the network has not, or another number than the schedules are for."""
    settings: FilterConfig = options[0]
    layers = len(prunable_layers(loop, settings.prune_layers))
    settings.per_layer(layers)
    for text in settings.prunings:
        if len(Pruning.parse(text).fractions) not in (0, 1, layers):
            raise SettingError("prunings", text, f"one fraction for all layers, or {layers}")


# From a trial's settings to what is trained.
Maker = Callable[[RunConfig], Branch]


def _pruned_makers(options: FilterConfig) -> list[Maker]:
    kinds = [Pruning.parse(text) for text in options.prunings]
    return [partial(pruned, pruning=kind, options=options) for kind in kinds]


def _train_all(study: Study, makers: Sequence[Maker]) -> dict[Trial, list[Stage]]:
    made = [{trial: make(trial.config) for trial in study.trials} for make in makers]
    plans = [{t: (branch, [_stage(t, branch)]) for t, branch in those.items()} for those in made]
    found = train_one_after_another(study, study.trials, plans)
    return {trial: [*trial.finished()[:1], *stages] for trial, stages in found.items()}


def _stage(trial: Trial, branch: Branch) -> Stage:
    """Beside the dense training, whose trial it belongs to."""
    stage = trial.dense_stage(branch.name, 0)
    return dataclasses.replace(stage, name=f"{branch.name}{branch.variant}", level=0)


def pruned(config: RunConfig, pruning: Pruning, options: FilterConfig) -> Branch:
    """Training while filters are pruned, or from the outset without them (GST 2)."""
    return Branch(
        pruning.branch,
        config.training.train_epochs,
        partial(_train_pruned, pruning=pruning, options=options),
        f"-{hash8(_used(config, options))}",
    )


def noisy(config: RunConfig, noise: Noise, options: FilterConfig, settings: NoiseConfig) -> Branch:
    """Training with noise on the filters that would be pruned (GST 3.3)."""
    return Branch(
        noise.branch,
        config.training.train_epochs,
        partial(_train_noisy, noise=noise, options=options, settings=settings),
        f"-{hash8({**_used(config, options), **settings.identity()})}",
    )


def _used(config: RunConfig, options: FilterConfig) -> dict[str, Any]:
    pruning = config.pruning
    return {
        **options.identity(),
        "criterion": pruning.criterion,
        "criterion_batches": pruning.criterion_batches,
    }


def _option_columns(config: RunConfig, options: FilterConfig) -> Row:
    """The settings that name a stage, as columns of its row."""
    return as_columns(_used(config, options))


def _train_pruned(
    loop: PruneRetrain, stage: Stage, advance: Advance, pruning: Pruning, options: FilterConfig
) -> None:
    from tfprune.training.callbacks.filter_pruning import FilterPruning
    from tfprune.training.trainer import Beside

    schedules = _schedules(loop, options, pruning.period, pruning.fractions)
    given = _given(loop, stage)
    events = FilterPruning(
        schedules,
        loop.config.pruning.criterion,
        pruning.target,
        cut_shortcuts=loop.config.model.cut_shortcuts,
        **given,
    )
    about = {"target": pruning.target, "period": pruning.period or None}
    beside = Beside((given["test"], events), state=(_EventState(events),))
    about |= _option_columns(loop.config, options)
    _train(loop, stage, advance, beside, events, schedules, about)


def _train_noisy(
    loop: PruneRetrain,
    stage: Stage,
    advance: Advance,
    noise: Noise,
    options: FilterConfig,
    settings: NoiseConfig,
) -> None:
    from tfprune.training.callbacks.filter_noise import FilterNoise
    from tfprune.training.epoch_program import steps_per_epoch
    from tfprune.training.noise import noise_state
    from tfprune.training.trainer import Beside

    schedules = _schedules(loop, options, settings.noise_period)
    state = noise_state(loop.trainer, (schedule.layer for schedule in schedules))
    given = _given(loop, stage)
    # The published code evaluates on batches of as many examples as it trains on.
    test_batches = steps_per_epoch(len(loop.data.test_labels), loop.config.training.batch_size)
    events = FilterNoise(
        schedules,
        noise.kind,
        noise.batches,
        noise.cumulative,
        loop.config.pruning.criterion,
        settings.noise_target,
        evaluation_batches=test_batches,
        state=state,
        **given,
    )
    about = {
        "noise": noise.kind,
        "noise_batches": noise.batches,
        "cumulative": int(noise.cumulative),
        "target": settings.noise_target,
        "period": settings.noise_period,
        **_option_columns(loop.config, options),
    }
    beside = Beside((given["test"], events), state, (_EventState(events),))
    _train(loop, stage, advance, beside, events, schedules, about)


def _given(loop: PruneRetrain, stage: Stage) -> dict[str, Any]:
    """What the callbacks of both get: how to measure, what to score on, where events are kept."""
    from tfprune.training.callbacks.event_accuracy import EventAccuracy
    from tfprune.training.scoring import running_batches

    count = loop.config.pruning.criterion_batches
    return {
        "test": EventAccuracy(),
        "batches": lambda: running_batches(loop.trainer.model, count),
        "seed": stage.seed,
        "path": stage.folder / layout.EVENTS if loop.writes else None,
    }


@dataclasses.dataclass(frozen=True)
class _EventState:
    """The events of a training as a part of its checkpoints, which are whole or not there."""

    events: FilterEvents

    def read(self) -> dict[str, np.ndarray]:
        """The events as JSON; nothing if there are none."""
        text = json.dumps(self.events.events) if self.events.events else ""
        return {"events": np.frombuffer(text.encode(), np.uint8)}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Puts the events back."""
        self.events.events = json.loads(values["events"].tobytes() or b"[]")


def _train(
    loop: PruneRetrain,
    stage: Stage,
    advance: Advance,
    beside: Beside,
    events: FilterEvents,
    schedules: Sequence[FilterSchedule],
    about: Row,
) -> None:
    """The dense training, from its own initialization and in its own order, with events."""
    what = f"level {stage.level}, {stage.branch}"
    plan = loop.plan(what, loop.initial_weights(0), loop.trainer.dense_masks)
    last = schedules[-1]
    about |= {
        "total_fraction": last.fraction,
        "iterative_rate": last.iterative_rate,
        "layer_fractions": join(schedule.fraction for schedule in schedules),
    }

    def found(rows: list[Row]) -> Row:
        epochs = [event["epoch"] for event in events.events if event["epoch"] > 0]
        return {
            **about,
            "instability": events.mean_instability,
            "stability": events.mean_stability,
            "pruned_epochs": len(epochs),
            "last_pruning_epoch": max(epochs, default=None),
            "events": f"{stage.relative}/{layout.EVENTS}" if events.events else None,
        }

    loop.train(stage, plan, advance, beside=beside, found=found)


def _schedules(
    loop: PruneRetrain, options: FilterConfig, period: int, fractions: tuple[float, ...] = ()
) -> list[FilterSchedule]:
    """A schedule for each layer; without a period, all before training."""
    from tfprune.pruning.filter_schedule import FilterSchedule

    layers = prunable_layers(loop, options.prune_layers)
    spans = options.per_layer(len(layers))
    own = fractions * len(layers) if len(fractions) == 1 else fractions
    schedules = []
    for place, (layer, (part, start, end)) in enumerate(zip(layers, spans, strict=True)):
        part = own[place] if own else part
        if period:
            schedules.append(FilterSchedule(layer, start, end, period, part))
        else:
            schedules.append(FilterSchedule.scratch(layer, part))
    return schedules


def prunable_layers(loop: PruneRetrain, chosen: str) -> list[str]:
    """The layers that lose filters: `all` of the blocks, the `lastN` of them, or names.

    Raises:
      SettingError: there are no such layers, or they are not among `prunable`.
    """
    import re

    from tfprune.pruning.filter_schedule import block_convolutions
    from tfprune.pruning.model import masked_layers

    masked = masked_layers(loop.trainer.model)
    every = [name for name in block_convolutions(loop.trainer.model) if name in masked]
    last = re.fullmatch(r"last(\d+)", chosen)
    names = chosen.split(",")
    if last and 0 < int(last[1]) <= len(every):
        names = every[-int(last[1]) :]
    elif chosen == "all":
        names = every
    unknown = [name for name in names if name not in every]
    if unknown or not names:
        raise SettingError(
            "prune_layers", chosen, f"all, last1 to last{len(every)}, or some of {', '.join(every)}"
        )
    return names


def read_events(stage: Stage) -> list[Row]:
    """The events of a finished stage, as `FilterEvents` keeps them."""
    path = stage.folder / layout.EVENTS
    if not path.exists():
        return []
    whole = ("epoch", "filters_removed", "filters_kept")
    return [
        {
            name: int(value) if name in whole else value if name == "layers" else float(value)
            for name, value in row.items()
        }
        for row in csv.DictReader(io.StringIO(read_text(path)))
    ]


def outcome() -> Measurement:
    """What a training with or without pruning ended in: accuracy once stable, filters, FLOPs.

    GST takes the best test accuracy at or after the last pruning epoch, and the generalization
    gap of that epoch. The table has the filters that each layer has left.
    """
    return Measurement("architecture", {}, _measure_outcome)


def _measure_outcome(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
    from tfprune.files import write_text_atomic
    from tfprune.pruning.filter_selection import kept_filters
    from tfprune.pruning.model import strip
    from tfprune.pruning.shrink import flops, shrink

    masks = stage.masks()
    loop.trainer.load(stage.end(), masks)
    model = strip(loop.trainer.model)
    small = shrink(model)
    rows = [
        {"layer": name, "filters": len(kept), "kept": int(kept.sum())}
        for name, kept in kept_filters(masks).items()
    ]
    write_text_atomic(table, csv_text(rows))
    return {
        **_stable(stage),
        "flops": flops(model),
        "flops_shrunk": flops(small),
        "parameters": model.count_params(),
        "parameters_shrunk": small.count_params(),
    }


# Train accuracy -> the gap to test accuracy, at the best epoch: of the network as it is, and as
# the published code has it, over the epoch's own batches with their augmentation.
_GAPS = {
    "train_accuracy": "generalization_gap",
    "running_train_accuracy": "running_generalization_gap",
}


def _stable(stage: Stage) -> Mapping[str, Any]:
    from tfprune.store import read_metrics

    metrics = read_metrics(str(stage.output_dir), stage.relative)
    first = max((event["epoch"] for event in read_events(stage)), default=0)
    later = metrics[metrics["epoch"] >= first]
    best = later.loc[later["test_accuracy"].idxmax()]
    test = float(best["test_accuracy"])
    return {
        "stable_accuracy_best": test,
        **{f"{train}_at_best": float(best[train]) for train in _GAPS},
        **{gap: float(best[train]) - test for train, gap in _GAPS.items()},
    }
