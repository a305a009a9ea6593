"""Dense networks trained on a part of the examples that pruning points to (PEG D, E, K.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.files import save_arrays
from tfprune.seeds import LevelDraw, Stream, generator
from tfprune.settings import hash8, join
from tfprune.studies.examples import losses_by_seed, measured_seeds, read_losses
from tfprune.studies.forgetting import keep_other_rows
from tfprune.studies.procedure import Advance, Branch, Study
from tfprune.studies.settings import LEAVE_OUT_SETS, LeaveOutConfig, at_noise
from tfprune.studies.trial import Stage, Trial

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain

_EVENLY_SPACED = 5


def train_leave_out(study: Study, options: LeaveOutConfig) -> None:
    """Trains dense networks on the sets asked for at each noise, at every level asked for."""
    levels: dict[str, list[int]] = {}
    for trial in study.all_trials:
        if trial.name not in levels:
            ready = measured_seeds(study, trial.name)
            levels[trial.name] = _levels(options, trial) if ready else []
            if ready:
                study.note_kept(_keep_other_options(trial.config, options))
    for name in LEAVE_OUT_SETS:
        plan = {}
        for trial in study.trials:
            if name not in at_noise(options.leave_out_sets, trial.config.data.noise_fraction):
                continue
            branch = leave_out(trial.config, name, options)
            chosen = [n for n in levels[trial.name] if _is_a_set(study, trial, n, name)]
            stages = [trial.branch_stage(branch.name, n, branch.variant) for n in chosen]
            plan[trial] = (branch, stages)
        if plan:
            study.train(plan)


def check_sets(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses, before anything is trained, fractions that leave a set without an example.

    Args:
      loop: of the trial; how many training examples there are.
      options: they end with a LeaveOutConfig.

    Raises:
      SettingError: a set asked for would be empty.
    """
    chosen: LeaveOutConfig = options[-1]
    asked = set(at_noise(chosen.leave_out_sets, loop.config.data.noise_fraction))
    there = len(loop.data.labels)
    part, worsened = (
        round(fraction * there)
        for fraction in (chosen.subsample_fraction, chosen.worsened_fraction)
    )
    for setting, sets, fits in (
        ("improved_fraction", {"tie", "rnd"}, round(chosen.improved_fraction * there) < there),
        (
            "subsample_fraction",
            {"worsened_subsample", "random_subsample"},
            1 <= part <= there - worsened,
        ),
    ):
        if asked & sets and not fits:
            raise SettingError(
                setting,
                getattr(chosen, setting),
                f"a fraction by which every set has at least one of the {there} training examples",
            )


def _is_a_set(study: Study, trial: Trial, level: int, name: str) -> bool:
    """Whether a level of a trial chooses examples to train on."""
    if name != "dense_subset":
        return level > 0  # The dense network differs from itself in no loss.
    if trial.is_finished() and not len(_predicted_right(trial, level)):
        study.note(
            f"{trial.name}, seed {trial.seed}: no dense subset, level {level} is never right"
        )
        return False
    return True


def _predicted_right(trial: Trial, level: int) -> np.ndarray:
    found = read_losses(trial.stage(level))
    return np.flatnonzero(found["predictions"] == found["labels"])


def _keep_other_options(config: RunConfig, options: LeaveOutConfig) -> int:
    """Puts aside a trial's rows of sets that other options or other seeds chose."""

    def is_current(key: Mapping[str, Any], stage: str) -> bool:
        if key["branch"] not in LEAVE_OUT_SETS:
            return True
        variant = leave_out(config, key["branch"], options).variant
        trial = Trial(config, int(key["seed"]))
        there = trial.branch_stage(key["branch"], int(key["level"]), variant)
        return stage == there.relative

    return keep_other_rows(config, is_current)


def _levels(options: LeaveOutConfig, trial: Trial) -> list[int]:
    """The levels of a trial that choose sets, increasing, the same for all its seeds."""
    from tfprune.measures.statistics import first_lowest

    everything = list(range(trial.config.pruning.last_level + 1))
    if options.leave_out_levels != "auto":
        return list(options.listed_levels or everything)
    seeds = [Trial(trial.config, seed) for seed in trial.config.seeds]
    rows = [[s.result() for s in other.stages()] for other in seeds if other.is_finished()]
    if not rows:
        return []
    name = "test_accuracy_last" if rows[0][0].get("val_accuracy") is None else "val_accuracy"
    accuracies = np.array([[row[name] for row in seed] for seed in rows])
    best = first_lowest(-100 * accuracies.mean(axis=0))
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
    from tfprune.training.schedules import training_schedule

    rows = rows_of(loop.trial, stage.level, name, options)
    training = loop.config.training
    if name == "dense_subset" or options.match_steps:
        matched = dense_subset_epochs(
            training.train_epochs,
            len(loop.data.labels),
            len(rows),
            training.batch_size,
            training.lr_drop_epochs,
            training.warmup_epochs,
        )
        training = dataclasses.replace(
            training,
            train_epochs=matched.train_epochs,
            lr_drop_epochs=matched.lr_drop_epochs,
            warmup_epochs=matched.warmup_epochs,
        )
    plan = loop.plan(
        f"{name} of level {stage.level}",
        loop.initial_weights(0),
        loop.trainer.dense_masks,
        schedule=training_schedule(training),
        epochs=training.train_epochs,
    )
    if loop.writes:
        save_arrays(stage.folder / layout.KEPT, {"rows": rows})
    used = {**options.identity(), "leave_out_seeds": join(loop.config.seeds)}
    loop.train(stage, plan, advance, keep(loop.data, rows), subset_examples=len(rows), **used)


def rows_of(trial: Trial, level: int, name: str, options: LeaveOutConfig) -> np.ndarray:
    """The training examples of a trial that a set keeps, int64, increasing rows.

    Args:
      trial: its losses and those of the run's other seeds are measured at level 0 and this level.
      level: the level that chooses.
      name: of the set.
      options: how large it is.
    """
    from tfprune.measures import example_groups

    if name == "dense_subset":
        return _predicted_right(trial, level)
    found = read_losses(trial.stage(level))
    trials = [Trial(trial.config, seed) for seed in trial.config.seeds]
    seeds = [other for other in trials if other.is_finished()]
    before, after = losses_by_seed(seeds, 0), losses_by_seed(seeds, level)
    change = example_groups.per_example_loss_change(before, after)[found["indices"]]
    rng = generator(trial.seed, Stream.MEASURE, LevelDraw.LEAVE_OUT.at(level))
    if name in ("tie", "rnd"):
        fraction = options.improved_fraction
        return getattr(example_groups.leave_out_top_improved(change, rng, fraction), name)
    worsened = example_groups.worsened_subsamples(
        change, rng, options.subsample_fraction, options.worsened_fraction
    )
    return worsened.top_worsened if name == "worsened_subsample" else worsened.rand
