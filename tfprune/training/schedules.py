"""Learning-rate schedules as arrays: the rate of every step of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfprune.config import TrainingConfig

# A schedule gives the float32 learning rates, one per step, of the epoch with this index.
Schedule = Callable[[int, int], np.ndarray]


def epoch_drops(config: TrainingConfig) -> Schedule:
    """`learning_rate * lr_drop_factor ** (number of drop epochs already passed)`.

    A drop epoch of 80 means that epochs 0 to 79 train before the drop, as in Table A.1 of SDD.
    """

    def schedule(epoch: int, steps: int) -> np.ndarray:
        return np.full(steps, rate_at(config, epoch), np.float32)

    return schedule


def fixed(rate: float) -> Schedule:
    """The same learning rate for every step."""
    return lambda epoch, steps: np.full(steps, rate, np.float32)


def rate_at(config: TrainingConfig, epoch: int) -> float:
    """The learning rate of the epoch with this index, counted from 0."""
    drops = sum(epoch >= drop for drop in config.lr_drop_epochs)
    return config.learning_rate * config.lr_drop_factor**drops


def last_rate(config: TrainingConfig) -> float:
    """The learning rate of the last epoch: what fine-tuning and re-dense training keep."""
    return rate_at(config, config.train_epochs - 1)


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
