"""Branches: further trainings from the levels of a trunk, as stages of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.measures.descent import five_sparsities
from tfprune.seeds import LevelDraw
from tfprune.studies.procedure import Advance, Branch, Study
from tfprune.studies.settings import BranchConfig
from tfprune.studies.trial import Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.trainer import TrainingPlan

# How many levels `auto` takes where the curve has no dip to choose by.
_EVENLY_SPACED = 5


def redense(config: RunConfig, options: BranchConfig) -> Branch:
    """Re-dense training (SDD 3.3): masks lifted, the whole network trained on.

    Recovered weights start at exactly 0; the learning rate is the last one of the sparse training
    throughout; epochs, and with them all draws, are counted on from the sparse training's. Slots
    of the optimizer start fresh, as between levels. From level 0 it is a control: a dense network
    trained for longer. A learning rate or a number of epochs of its own is part of its name.
    """
    epochs = options.redense_epochs or config.training.train_epochs
    name = "redense"
    if options.redense_lr:
        name += f"_lr{options.redense_lr!r}"
    if options.redense_epochs:
        name += f"_ep{options.redense_epochs}"

    return Branch(name, epochs, partial(_train_redense, rate=options.redense_lr, epochs=epochs))


def _train_redense(
    loop: PruneRetrain, stage: Stage, advance: Advance, rate: float, epochs: int
) -> None:
    plan, sparse_sparsity = _redense_plan(loop, stage, rate, epochs)
    loop.train(stage, plan, advance, sparse_sparsity=sparse_sparsity)


def check_redense(loop: PruneRetrain, options: tuple[BranchConfig, ...]) -> None:
    """Refuses re-dense training at the last rate of a schedule that ends near 0.

    Raises:
      SettingError: the learning rate decays by a cosine, and re-dense training has none of its own.
    """
    if loop.config.training.lr_decay == "cosine" and not options[0].redense_lr:
        raise SettingError(
            "redense_lr", 0.0, "a rate above 0 with `lr_decay=cosine`, which ends near 0"
        )


def train_redense(study: Study, options: BranchConfig) -> dict[Trial, list[Stage]]:
    """Trains the re-dense branches of all trials; returns the finished stages of each."""
    chosen = levels(options, study)
    if any(0 in those for those in chosen.values()):
        study.note("re-dense training from level 0 is a control: a dense network trained on")
    return study.train_branches(partial(redense, options=options), chosen)


def reinit(config: RunConfig) -> Branch:
    """Random reinitialization (SDD, poster): a level's mask with fresh weights.

    It takes as many steps as the ticket that it is compared with, by the training's schedule from
    the ticket's first step on, as in the authors' code: rewound to step 1,000, both take the steps
    after that.
    """
    return Branch("reinit", config.training.train_epochs, _train_reinit)


def _train_reinit(loop: PruneRetrain, stage: Stage, advance: Advance) -> None:
    loop.train(stage, _reinit_plan(loop, stage), advance)


def _redense_plan(
    loop: PruneRetrain, stage: Stage, rate: float, epochs: int
) -> tuple[TrainingPlan, float]:
    from tfprune.pruning.weights import under_masks
    from tfprune.training.schedules import fixed

    sparse = loop.trial.stage(stage.level)
    masks = sparse.masks()
    trained_epochs = loop.config.training.train_epochs
    plan = loop.plan(
        f"re-dense from level {stage.level}",
        sparse.end(),
        loop.trainer.dense_masks,
        # Where the sparse training started, so that both distances have one origin.
        under_masks(loop.initial_weights(stage.level), masks),
        level=stage.level,
        schedule=fixed(rate or loop.last_rate(stage.level)),
        epochs=trained_epochs + epochs,
        start_step=trained_epochs * loop.steps_per_epoch,
    )
    return plan, masks.sparsity


def _reinit_plan(loop: PruneRetrain, stage: Stage) -> TrainingPlan:
    # A draw of its own: level 0's initialization is the trunk's.
    weights = loop.trainer.initial_weights(stage.seed, LevelDraw.REINIT.at(stage.level))
    masks = loop.trial.stage(stage.level).masks()
    # Its steps are the ticket's; but where that is fine-tuned at the last rate, fresh weights still
    # need the first.
    start = loop.start_step(stage.level)
    what = f"reinitialized level {stage.level}"
    return loop.plan(what, weights, masks, level=stage.level, start_step=start)


def levels(options: BranchConfig, study: Study) -> dict[str, list[int]]:
    """The levels to branch from, by trial name, the same for all seeds of a trial.

    Where they follow from the trunks of all seeds, a study that trains a shard of them chooses
    none before the others are there.

    Args:
      options: what was asked for.
      study: its trunks are trained.
    """
    by_name: dict[str, list[Trial]] = {}
    for trial in study.all_trials:
        by_name.setdefault(trial.name, []).append(trial)
    chosen: dict[str, list[int]] = {}
    for name, seeds in by_name.items():
        if options.branch_levels == "auto" and not study.is_finished(name):
            study.note(
                f"{name}: the levels to branch from follow from all seeds, and other shards are "
                "not done; run the same command again when they are, or give `branch_levels`"
            )
            chosen[name] = []
        else:
            chosen[name] = _levels_of(options, seeds)
    return chosen


def _levels_of(options: BranchConfig, seeds: Sequence[Trial]) -> list[int]:
    everything = list(range(seeds[0].config.pruning.last_level + 1))
    if options.branch_levels == "all":
        return everything
    if options.listed_levels is not None:
        return list(options.listed_levels)
    return _chosen(seeds, everything)


def _chosen(seeds: Sequence[Trial], everything: Sequence[int]) -> list[int]:
    """SDD's five sparsities; evenly spaced where fewer than three can be told."""
    finished = [trial for trial in seeds if trial.is_finished()]
    if not finished:
        return []
    last, best = (
        np.array([[stage.result()[column] for stage in trial.stages()] for trial in finished])
        for column in ("test_accuracy_last", "test_accuracy_best")
    )
    roles: Mapping[str, int] = five_sparsities(np.array(everything), last, best)
    if len(roles) >= 3:
        return sorted(set(roles.values()))
    count = min(_EVENLY_SPACED, len(everything))
    return sorted({int(n) for n in np.linspace(0, everything[-1], count).round()})
