"""Re-dense training inside a user's own `fit` (SDD 3.3)."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.errors import InputError
from tfprune.pruning import model as pruned
from tfprune.training import optimizers
from tfprune.training.callbacks.arguments import check_whole_number
from tfprune.training.callbacks.going_on import Continuing


class ReDense(Continuing):
    """Lifts all masks at the start of an epoch, and lets the whole network train on.

    Recovered weights start at exactly 0 and the optimizer's slots fresh, so that no momentum from
    before moves them. A whole filter that comes back before a ReLU puts out 0 and has no gradient
    there: it stays at 0. Nothing else changes; a learning-rate schedule goes on by its steps. The
    model must come from `tfprune.prune_model`.

    Args:
      at_epoch: the epoch's index, counted from 0 over all fits of the model, at whose start masks
        are lifted.
      learning_rate: from then on, for an optimizer without a schedule; None keeps the one that
        training has reached.

    Raises:
      InputError: in `fit`, if it goes on after the epoch with masks that are not lifted; if the
        optimizer has a schedule that would override `learning_rate`, or cannot be started afresh.

    Warns:
      UserWarning: in `fit`, if it ends before the epoch.
    """

    def __init__(self, at_epoch: int, learning_rate: float | None = None):
        super().__init__()
        check_whole_number("at_epoch", at_epoch, 0)
        self.at_epoch = at_epoch
        self.learning_rate = learning_rate

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        optimizers.check_startable(self.model.optimizer, self.model.variables)
        schedule = getattr(self.model.optimizer, "_learning_rate", None)
        if self.learning_rate is not None and isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        ):
            raise InputError("ReDense(learning_rate=...) needs an optimizer without a schedule")

    def start(self, trained: int, went_on: bool) -> None:
        if trained > self.at_epoch and not went_on and pruned.sparsity(self.model):
            raise InputError(
                f"ReDense(at_epoch={self.at_epoch}): fit goes on after {trained} epochs, and the "
                "masks were not lifted: go on with the model as it was then"
            )

    def last_act(self) -> tuple[str, int]:
        return f"lifting masks at_epoch={self.at_epoch}", self.at_epoch + 1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        if self.trained != self.at_epoch:
            return
        pruned.apply_masks(self.model)
        pruned.set_masks(self.model, pruned.dense_masks(self.model))
        optimizers.reset_slots(self.model.optimizer, self.model.variables, keep_steps=True)
        if self.learning_rate is not None:
            self.model.optimizer.learning_rate.assign(self.learning_rate)
