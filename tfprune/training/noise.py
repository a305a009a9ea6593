"""The noise that a trainer's programs apply to filters."""

from __future__ import annotations

from collections.abc import Iterable

from tfprune.backend import tf
from tfprune.training.callbacks.filter_noise import NoiseState
from tfprune.training.trainer import Trainer


def noise_state(trainer: Trainer, layers: Iterable[str]) -> NoiseState:
    """The noise on these layers' filters, forgotten what was before; compiled in once.

    Raises:
      ValueError: several devices share a training's batches.
    """
    if trainer.distribution.strategy is not None:
        raise ValueError("noise needs a strategy of one device")
    names = tuple(layers)
    with tf.device(trainer.device):
        state = trainer.once(("noise", *names), lambda: NoiseState(trainer.model, names))
    state.reset()
    return state
