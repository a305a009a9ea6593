"""Learning-rate schedules as arrays: the rate of every step of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfprune.errors import SettingError
from tfprune.pruning.settings import PruningConfig
from tfprune.registry import load
from tfprune.training.settings import TrainingConfig

# A schedule gives the float32 learning rates, one per step, of the epoch with this index.
Schedule = Callable[[int, int], np.ndarray]


def training_schedule(config: TrainingConfig) -> Schedule:
    """The learning rates of a whole training: warm-up, then drops or half a cosine.

    Step t, counted from 0 over all epochs, is trained at

        learning_rate * min(1, t / w) * decay(t)

    with w the steps of `warmup_epochs` (no such factor without a warm-up), as OpenLTH has it: the
    first step has rate 0. With `drops` the decay is `lr_drop_factor ** (drop epochs passed)`: a
    drop epoch of 80 means that epochs 0 to 79 train before the drop, as in Table A.1 of SDD. With
    `cosine` it is (1 + cos(π max(0, t - w) / (T - w))) / 2, T being the steps of all epochs.
    """

    def schedule(epoch: int, steps: int) -> np.ndarray:
        step = epoch * steps + np.arange(steps)
        warmup = config.warmup_epochs * steps
        rates = np.full(steps, config.learning_rate)
        if config.lr_decay == "cosine":
            progress = np.maximum(step - warmup, 0) / (config.train_epochs * steps - warmup)
            rates *= (1 + np.cos(np.pi * progress)) / 2
        else:
            rates[:] = _dropped(config, epoch)
        if warmup:
            rates *= np.minimum(step / warmup, 1)
        return rates.astype(np.float32)

    return schedule


def fixed(rate: float) -> Schedule:
    """The same learning rate for every step."""
    return lambda epoch, steps: np.full(steps, rate, np.float32)


def retraining_schedule(training: TrainingConfig, pruning: PruningConfig) -> Schedule:
    """The learning rates of a training after a pruning, as `retrain` has them.

    Raises:
      SettingError: with these settings it has none.
    """
    own: Callable[[TrainingConfig, PruningConfig], Schedule] | None
    own = load(pruning.retraining.schedule)
    if own is None:
        return training_schedule(training)
    rates = own(training, pruning)
    return lambda epoch, steps: _checked(pruning.retrain, rates, epoch, steps)


def _checked(retrain: str, rates: Any, epoch: int, steps: int) -> np.ndarray:
    """An epoch's rates of a way to retrain, which may be one's own."""
    if not callable(rates):
        found = type(rates).__name__
    else:
        values = np.asarray(rates(epoch, steps))
        if np.issubdtype(values.dtype, np.number) and values.shape == (steps,):
            if ((values >= 0) & (values < np.inf)).all():
                return values.astype(np.float32)
            found = f"{values.min():g} to {values.max():g} in epoch {epoch}"
        else:
            found = f"{values.dtype} of shape {values.shape} in epoch {epoch}"
    raise SettingError(
        "retrain",
        retrain,
        "a `schedule` that returns a function (epoch, steps) -> the learning rates of the epoch's "
        f"steps, float32 [steps], not below 0; found {found}",
    )


def finetuning(training: TrainingConfig, pruning: PruningConfig) -> Schedule:
    """The same rate for every step: `finetune_lr`, or the training's after all drops.

    Raises:
      SettingError: there is none of its own, and the training's decay ends near 0.
    """
    if not pruning.finetune_lr and training.lr_decay == "cosine":
        raise SettingError(
            "finetune_lr", 0.0, "a rate above 0 with `lr_decay=cosine`, which ends near 0"
        )
    return fixed(pruning.finetune_lr or _dropped(training, training.train_epochs - 1))


def _dropped(config: TrainingConfig, epoch: int) -> float:
    drops = sum(epoch >= drop for drop in config.lr_drop_epochs)
    return config.learning_rate * config.lr_drop_factor**drops


def one_after_another(passes: Sequence[tuple[Schedule, int, int]]) -> Schedule:
    """Several trainings' learning rates as those of one.

    Args:
      passes: (schedule, its first epoch, how many epochs) of each. The last one goes on after its
        end.
    """

    def schedule(epoch: int, steps: int) -> np.ndarray:
        for rates, first, epochs in passes[:-1]:
            if epoch < epochs:
                return rates(first + epoch, steps)
            epoch -= epochs
        rates, first, _ = passes[-1]
        return rates(first + epoch, steps)

    return schedule
