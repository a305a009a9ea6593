"""Dense networks trained on a part of the examples that pruning points to (PEG D, E, K.2)."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfprune.config import LeaveOutConfig, RunConfig, hash8
from tfprune.seeds import Stream, generator
from tfprune.studies.examples import losses_by_seed, read_losses
from tfprune.studies.trial import Stage, Trial
from tfprune.studies.work import Advance, Branch

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.studies.study import Study

# Keeps the draws of each set apart from those of all levels.
_DRAW = 3_000_000

_EVENLY_SPACED = 5


def train_leave_out(study: Study, options: LeaveOutConfig) -> None:
    """Trains dense networks on every set asked for, at every level asked for."""
    levels: dict[str, list[int]] = {}
    for trial in study.all_trials:
        if trial.name in levels:
            continue
        levels[trial.name] = _levels(options, trial)
        if not study.is_finished(trial.name):
            levels[trial.name] = []
            study.note(
                f"{trial.name}: what to leave out follows from all seeds, and other shards are "
                "not done; run the same command again when they are"
            )
    for name in options.leave_out_sets:
        # The dense network differs from itself in no loss: only its predictions choose a set.
        own = {t: [n for n in ns if n or name == "dense_subset"] for t, ns in levels.items()}
        study.train_branches(partial(leave_out, name=name, options=options), own)


def _levels(options: LeaveOutConfig, trial: Trial) -> list[int]:
    """The levels of a trial that choose sets, increasing, the same for all its seeds."""
    everything = list(range(trial.config.pruning.last_level + 1))
    if options.leave_out_levels != "auto":
        return list(options.listed_levels or everything)
    seeds = [Trial(trial.config, seed) for seed in trial.config.seeds]
    rows = [[s.result() for s in other.stages()] for other in seeds if other.is_finished()]
    if not rows:
        return []
    name = "test_accuracy_last" if rows[0][0].get("val_accuracy") is None else "val_accuracy"
    best = int(np.argmax(np.mean([[row[name] for row in seed] for seed in rows], axis=0)))
    spaced = np.linspace(0, everything[-1], min(_EVENLY_SPACED, len(everything))).round()
    return sorted({best, *(int(level) for level in spaced)})


def leave_out(config: RunConfig, name: str, options: LeaveOutConfig) -> Branch:
    """Dense training from scratch, from the trial's initialization, on a part of the examples.

    The losses of a level choose the set, their mean over the seeds of the run; but each seed's own
    predictions choose its `dense_subset`.

    Args:
      config: the trial's run.
      name: of the set.
      options: how large the sets are, and whether their training takes the same gradient steps.
    """
    used = {"seeds": list(config.seeds), **options.identity()}
    variant = "" if name == "dense_subset" else f"-{hash8(used)}"
    return Branch(
        name,
        config.training.train_epochs,
        partial(_train, name=name, options=options),
        variant,
    )


def _train(
    loop: PruneRetrain, stage: Stage, advance: Advance, name: str, options: LeaveOutConfig
) -> None:
    from tfprune.data.prepare import keep
    from tfprune.measures.example_groups import dense_subset_epochs
    from tfprune.training.schedules import epoch_drops
    from tfprune.training.trainer import TrainingPlan

    rows = rows_of(loop.trial, stage.level, name, options)
    training = loop.config.training
    if name == "dense_subset" or options.match_steps:
        matched = dense_subset_epochs(
            training.train_epochs,
            len(loop.data.labels),
            len(rows),
            training.batch_size,
            training.lr_drop_epochs,
        )
        training = dataclasses.replace(
            training, train_epochs=matched.train_epochs, lr_drop_epochs=matched.lr_drop_epochs
        )
    initial = loop.initial_weights(0)
    plan = TrainingPlan(
        seed=stage.seed,
        level=0,
        weights=initial,
        masks=loop.trainer.dense_masks,
        initial=initial,
        schedule=epoch_drops(training),
        epochs=training.train_epochs,
        augment=loop.config.data.augment,
        where=f"{loop.trial.name}, seed {stage.seed}, {name} of level {stage.level}",
    )
    loop.train(stage, plan, advance, keep(loop.data, rows), subset_examples=len(rows))


def rows_of(trial: Trial, level: int, name: str, options: LeaveOutConfig) -> np.ndarray:
    """The training examples of a trial that a set keeps, int64, increasing rows.

    Args:
      trial: its losses and those of the run's other seeds are measured at level 0 and this level.
      level: the level that chooses.
      name: of the set.
      options: how large it is.
    """
    from tfprune.measures import example_groups

    found = read_losses(trial.stage(level))
    if name == "dense_subset":
        return np.flatnonzero(found["predictions"] == found["labels"])
    trials = [Trial(trial.config, seed) for seed in trial.config.seeds]
    seeds = [other for other in trials if other.is_finished()]
    before, after = losses_by_seed(seeds, 0), losses_by_seed(seeds, level)
    change = example_groups.per_example_loss_change(before, after)[found["indices"]]
    rng = generator(trial.seed, Stream.MEASURE, _DRAW + level)
    if name in ("tie", "rnd"):
        fraction = options.improved_fraction
        return getattr(example_groups.leave_out_top_improved(change, rng, fraction), name)
    worsened = example_groups.worsened_subsamples(
        change, rng, options.subsample_fraction, options.worsened_fraction
    )
    return worsened.top_worsened if name == "worsened_subsample" else worsened.rand
