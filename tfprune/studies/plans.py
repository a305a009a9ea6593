"""What the training loop is told to train, for any training of a trial."""

from __future__ import annotations

from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays
from tfprune.studies.trial import Trial
from tfprune.training.schedules import Schedule, training_schedule
from tfprune.training.trainer import TrainingPlan


def plan_of(
    trial: Trial,
    what: str,
    weights: Arrays,
    masks: Masks,
    initial: Arrays | None = None,
    *,
    level: int = 0,
    schedule: Schedule | None = None,
    epochs: int | None = None,
    start_step: int = 0,
) -> TrainingPlan:
    """A training as a trial's settings have it.

    Args:
      trial: whose.
      what: is trained, in words.
      weights: at the start, by name.
      masks: that they are trained under.
      initial: the weights that distances are measured from; None for those at the start.
      level: keys every draw, with the trial's seed: a level, or a draw of its own.
      schedule: the learning rates; None for the dense training's.
      epochs: the epoch to end after, counted over the whole schedule; None for `train_epochs`.
      start_step: counted over the whole schedule too.
    """
    config = trial.config
    return TrainingPlan(
        seed=trial.seed,
        level=level,
        weights=weights,
        masks=masks,
        initial=weights if initial is None else initial,
        schedule=schedule or training_schedule(config.training),
        epochs=config.training.train_epochs if epochs is None else epochs,
        start_step=start_step,
        augment=config.data.augment,
        where=f"{trial.name}, seed {trial.seed}, {what}",
    )
