"""Re-dense training inside a user's own `fit` (SDD 3.3)."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.pruning import model as pruned
from tfprune.training import optimizers
from tfprune.training.callbacks.arguments import check_whole_number


class ReDense(keras.callbacks.Callback):
    """Lifts all masks at the start of an epoch, and lets the whole network train on.

    Recovered weights start at exactly 0 and the optimizer's slots fresh, so that no momentum from
    before moves them. Nothing else changes; a learning-rate schedule goes on by its steps. The
    model must come from `tfprune.prune_model`.

    Args:
      at_epoch: the epoch's index, counted from 0, at whose start masks are lifted.
      learning_rate: from then on, for an optimizer without a schedule; None keeps the one that
        training has reached.

    Raises:
      ValueError: in `fit`, if it ends before the epoch, or the optimizer has a schedule that
        would override `learning_rate`.
    """

    def __init__(self, at_epoch: int, learning_rate: float | None = None):
        super().__init__()
        check_whole_number("at_epoch", at_epoch, 0)
        self.at_epoch = at_epoch
        self.learning_rate = learning_rate

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.at_epoch >= self.params["epochs"]:
            raise ValueError(
                f"ReDense(at_epoch={self.at_epoch}): fit ends after {self.params['epochs']} epochs"
            )
        schedule = getattr(self.model.optimizer, "_learning_rate", None)
        if self.learning_rate is not None and isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        ):
            raise ValueError("ReDense(learning_rate=...) needs an optimizer without a schedule")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch != self.at_epoch:
            return
        pruned.apply_masks(self.model)
        pruned.set_masks(self.model, pruned.dense_masks(self.model))
        optimizers.reset_slots(self.model.optimizer, keep_steps=True)
        if self.learning_rate is not None:
            self.model.optimizer.learning_rate.assign(self.learning_rate)
