"""Rewinding and iterative pruning inside a user's own `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tfprune.backend import keras
from tfprune.config import RewindPoint
from tfprune.errors import InputError, SettingError
from tfprune.pruning import model as pruned
from tfprune.pruning.criteria import Batch, ScoringInputs, check_batches
from tfprune.pruning.masks import Masks
from tfprune.pruning.registry import CRITERIA
from tfprune.pruning.selection import check_settings, prune
from tfprune.pruning.weights import Arrays, read_weights, write_weights
from tfprune.seeds import Stream, generator
from tfprune.training import optimizers
from tfprune.training.callbacks.arguments import check_whole_number


class RewindWeights(keras.callbacks.Callback):
    """Remembers all weights at a moment of training, to go back to them later.

    Batch-norm statistics are remembered too. `rewind` puts the weights back, pruned ones staying
    zero, and zeroes the optimizer's slots.

    Args:
      rewind_to: `0ep` (the start of `fit`), `10ep` (after 10 epochs) or `1000it` (after 1000
        batches).

    Example:
      >>> point = RewindWeights("1ep")
      >>> # model.fit(..., callbacks=[point]); set_masks(model, masks); point.rewind()
    """

    def __init__(self, rewind_to: str = "0ep"):
        super().__init__()
        self.rewind_to = RewindPoint.parse(rewind_to)
        self.weights: Arrays | None = None
        self._batches = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._batches = 0
        if self.rewind_to.count == 0:
            self._remember()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches += 1
        if self.rewind_to.unit == "it" and self._batches == self.rewind_to.count:
            self._remember()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.rewind_to.unit == "ep" and epoch + 1 == self.rewind_to.count:
            self._remember()

    def _remember(self) -> None:
        if self.weights is None:
            self.weights = read_weights(self.model)

    def rewind(self) -> None:
        """Puts the remembered weights back.

        Raises:
          RuntimeError: training has not reached the rewind point.
        """
        if self.weights is None:
            raise RuntimeError(f"training has not reached the rewind point {self.rewind_to}")
        masks = pruned.get_masks(self.model)
        write_weights(self.model, self.weights)
        pruned.set_masks(self.model, masks)
        optimizers.reset_slots(self.model.optimizer)


class IterativePruning(keras.callbacks.Callback):
    """Prunes at the end of every `level_epochs` epochs of one `fit`, and rewinds.

    The model must come from `tfprune.prune_model`. Its learning-rate schedule is the user's.

    Args:
      level_epochs: epochs between prunings; the last level trains as long as `fit` goes on.
      levels: how many times to prune.
      prune_fraction: fraction of the remaining weights removed each time, in [0, 1].
      criterion: a registered criterion.
      scope: `global` or `layer`.
      rewind: where to put the weights back to after pruning; None keeps them (fine-tuning).
      batches: (images, labels) batches for the criteria that need gradients, as
        `tfprune.ScoringInputs` takes them: all are read at every pruning.
      seed: of the random criterion.
    """

    def __init__(
        self,
        level_epochs: int,
        levels: int,
        prune_fraction: float = 0.2,
        criterion: str = "magnitude",
        scope: str = "global",
        rewind: RewindWeights | None = None,
        batches: Iterable[Batch] | Callable[[], Iterable[Batch]] = (),
        seed: int = 0,
    ):
        super().__init__()
        check_whole_number("level_epochs", level_epochs, 1)
        check_whole_number("levels", levels, 0)
        check_whole_number("seed", seed, 0)
        check_settings(prune_fraction, scope)
        check_batches(batches)
        if rewind is not None:
            _check_point(rewind.rewind_to, level_epochs)
        self.level_epochs = level_epochs
        self.levels = levels
        self.prune_fraction = prune_fraction
        self.criterion: Callable[[ScoringInputs], dict[str, np.ndarray]] = CRITERIA[criterion]
        self.scope = scope
        self.rewind = rewind
        self.batches = batches
        self.seed = seed
        self.level = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.level = 0
        if not pruned.masked_layers(self.model):
            raise ValueError("nothing can be pruned: wrap the model with tfprune.prune_model first")
        if self.rewind is not None:
            if self.rewind.model is not self.model:
                raise InputError("rewind must be among the callbacks of fit, before the pruning")
            _check_point(self.rewind.rewind_to, self.level_epochs, self.params.get("steps"))
        self._score(pruned.get_masks(self.model), num_batches=1)  # Fails now, not in an hour.

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["sparsity"] = pruned.get_masks(self.model).sparsity
        if self.level < self.levels and (epoch + 1) % self.level_epochs == 0:
            self.level += 1
            self._prune()

    def _score(self, masks: Masks, num_batches: int | None = None) -> dict[str, np.ndarray]:
        inputs = ScoringInputs(
            model=self.model,
            masks=masks,
            batches=self.batches,
            num_batches=num_batches,
            rng=generator(self.seed, Stream.MASK, self.level),
        )
        return self.criterion(inputs)

    def _prune(self) -> None:
        masks = pruned.get_masks(self.model)
        masks = prune(self._score(masks), masks, self.prune_fraction, self.scope)
        pruned.set_masks(self.model, masks)
        if self.rewind is not None:
            self.rewind.rewind()


def _check_point(rewind_to: RewindPoint, level_epochs: int, steps: int | None = None) -> None:
    """Refuses a point that training has not reached when it is first pruned."""
    allowed = level_epochs if rewind_to.unit == "ep" else level_epochs * (steps or math.inf)
    if rewind_to.count > allowed:
        raise SettingError("rewind_to", rewind_to, f"at most the first pruning, {level_epochs}ep")
