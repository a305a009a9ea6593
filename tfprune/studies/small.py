"""Networks that are pruned at random at initialization: smaller ones to compare with (PM 2.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from tfprune.config import RunConfig
from tfprune.errors import DamagedFile, SettingError
from tfprune.seeds import LevelDraw, Stream, generator
from tfprune.studies.procedure import Advance, Branch, Study, train_one_after_another
from tfprune.studies.trial import Stage, Trial

if TYPE_CHECKING:
    from tfprune.pruning.masks import Masks
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.schedules import Schedule


def check_twins(config: RunConfig) -> None:
    """Refuses settings whose small networks cannot be trained.

    Raises:
      SettingError: nothing is pruned, or retraining begins within an epoch.
    """
    if not config.pruning.last_level:
        raise SettingError("levels", 0, "at least 1: a small network is as large as a pruned one")
    point = config.pruning.retrains_from
    if point.unit == "it" and point.count:
        raise SettingError("rewind_to", str(point), "a number of epochs, as 10ep, in this study")


def train_small(study: Study, levels: Mapping[Trial, Sequence[int]]) -> dict[Trial, list[Stage]]:
    """Trains a small network beside each of these finished levels.

    Returns:
      The finished stages of each trial.
    """
    # Level by level: a branch trains for one number of epochs.
    plans = (
        {
            trial: (small(trial.config, level), [trial.branch_stage("small", level)])
            for trial, those in levels.items()
            if level in those and trial.stage(level).is_done and _has_weights(study, trial, level)
        }
        for level in sorted({level for those in levels.values() for level in those})
    )
    return train_one_after_another(study, levels, plans)


def _has_weights(study: Study, trial: Trial, level: int) -> bool:
    """Whether a level has left more weights than every small network has; a note where not."""
    stage = trial.stage(level)
    with suppress(DamagedFile):  # Who trains the small network mends it.
        masks = stage.masks()
        if weights_left(stage, masks) <= masks.never_pruned:
            study.note(
                f"{trial.name}, seed {trial.seed}: no small network, for of level {level}'s "
                f"weights {weights_left(stage, masks)} are not dead"
            )
            return False
    return True


def weights_left(stage: Stage, masks: Masks) -> int:
    """How many convolution and dense weights a pruned network has, and so its small twin.

    A network whose channels were pruned is what is left once they are gone (PM 3): the weights
    that read them and those that nothing reads any more are no weights of it, though no mask
    counts them. `tfprune.pruning.shrink.live_weights` does.

    Args:
      stage: of the pruned network, finished.
      masks: its masks.
    """
    return int(stage.result().get("live_weights", masks.remaining))


def train_sizes(study: Study, sizes: Sequence[float]) -> dict[Trial, list[Stage]]:
    """Trains networks of these sizes; returns the finished stages of each trial."""
    plans = (
        {
            trial: (size(trial.config, fraction), [size_stage(trial, fraction, index)])
            for trial in study.trials
            if trial.stage(0).is_done
        }
        for index, fraction in enumerate(sizes, start=1)
    )
    return train_one_after_another(study, study.trials, plans)


def small(config: RunConfig, level: int) -> Branch:
    """A network pruned at random at initialization to as many weights as a level has left.

    Single weights go, whatever was pruned from the twin: PM sets small networks "by randomly
    pruning the large network at initial", "with the same number of weights" (3), `weights_left`.
    It starts from the trial's own initialization, re-scaled (`tfprune.pruning.at_init`), and is
    trained for as many epochs and by the same repeated schedule as the pruned and retrained one:
    the dense training's, then each retraining's (PM 2.2.2, 3).

    Args:
      config: the trial's run.
      level: of the twin, at least 1.
    """
    epochs = sum(epochs for _, epochs in _passes(config, level))
    return Branch("small", epochs, partial(_train_small, epochs=epochs))


def _train_small(loop: PruneRetrain, stage: Stage, advance: Advance, epochs: int) -> None:
    from tfprune.training.schedules import one_after_another

    twin = loop.trial.stage(stage.level)
    passes = _passes(loop.config, stage.level)
    schedule = one_after_another(
        [(loop.schedule(level), *span) for level, span in enumerate(passes)]
    )
    remaining = weights_left(twin, twin.masks())
    _train(loop, stage, advance, remaining, schedule, epochs, LevelDraw.SMALL.at(stage.level))


def _passes(config: RunConfig, level: int) -> list[tuple[int, int]]:
    """The first epoch, and how many, of the dense training and of each retraining up to a level."""
    epochs = config.training.train_epochs
    first = config.pruning.retrains_from.count
    retrainings = 1 if config.pruning.sparsities else level
    return [(0, epochs), *[(first, epochs - first)] * retrainings]


def size(config: RunConfig, fraction: float) -> Branch:
    """A network pruned at random at initialization to a fraction of its weights (PM 2.2.1).

    As `small`, but trained for as long as the dense network, whose trial it belongs to: it depends
    on no pruning setting.
    """
    return Branch("size", config.training.train_epochs, partial(_train_size, fraction=fraction))


def size_stage(trial: Trial, fraction: float, index: int) -> Stage:
    """The stage of `size`; its level is its place in the list, its folder is named by its size."""
    stage = trial.dense_stage("size", index)
    return dataclasses.replace(stage, name=f"size_{fraction!r}")


def _train_size(loop: PruneRetrain, stage: Stage, advance: Advance, fraction: float) -> None:
    from tfprune.pruning.selection import exact_ceil

    remaining = exact_ceil(fraction, loop.trainer.dense_masks.total)
    # The size, not its place in a list, keys the draws.
    draw = LevelDraw.SIZE.at(round(fraction * 100_000))
    epochs = loop.config.training.train_epochs
    _train(loop, stage, advance, remaining, loop.schedule(0), epochs, draw)


def _train(
    loop: PruneRetrain,
    stage: Stage,
    advance: Advance,
    remaining: int,
    schedule: Schedule,
    epochs: int,
    draw: int,
) -> None:
    from tfprune.pruning.at_init import random_masks, rescaled

    masks = random_masks(
        loop.trainer.dense_masks, remaining, generator(stage.seed, Stream.MASK, draw)
    )
    initial = rescaled(loop.initial_weights(0), masks)
    what = f"{stage.branch} network {stage.level}"
    plan = loop.plan(what, initial, masks, level=draw, schedule=schedule, epochs=epochs)
    loop.train(stage, plan, advance)
