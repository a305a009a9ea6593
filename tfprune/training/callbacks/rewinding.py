"""Rewinding and iterative pruning inside a user's own `fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from etils import epath

from tfprune.catalog import CRITERIA
from tfprune.errors import InputError, SettingError, arguments_from
from tfprune.files import load_arrays, save_arrays
from tfprune.pruning import model as pruned
from tfprune.pruning.criteria import Batch, ScoringInputs, check_batches
from tfprune.pruning.dead_filters import is_gate_variable
from tfprune.pruning.masks import Masks
from tfprune.pruning.selection import check_scores, check_settings, prune, remaining_counts
from tfprune.pruning.settings import RewindPoint
from tfprune.pruning.weights import Arrays, read_weights, write_weights
from tfprune.seeds import Stream, generator
from tfprune.training import optimizers
from tfprune.training.callbacks.arguments import check_whole_number
from tfprune.training.callbacks.going_on import Continuing


class RewindWeights(Continuing):
    """Remembers all weights at a moment of training, to go back to them later.

    Batch-norm statistics are remembered too. `rewind` puts the weights back, pruned ones staying
    zero, and starts the optimizer afresh. The weights belong to the model that is trained: with
    another one they are forgotten. In a training that was interrupted and goes on past the moment,
    they are read from `path`.

    Args:
      rewind_to: `0ep` (the start of `fit`), `10ep` (after 10 epochs) or `1000it` (after 1000
        batches).
      path: a file (`.npz`) that the weights are written to when the moment comes; None keeps them
        in memory only.

    Raises:
      InputError: in `fit`, if it goes on past the moment and the weights are not there, or the
        optimizer cannot be started afresh.

    Warns:
      UserWarning: in `fit`, if it ends before the moment.

    Example:
      >>> point = RewindWeights("1ep")
      >>> # model.fit(..., callbacks=[point]); set_masks(model, masks); point.rewind()
    """

    def __init__(self, rewind_to: str = "0ep", path: epath.PathLike | None = None):
        super().__init__()
        self.rewind_to = RewindPoint.parse(rewind_to)
        self.path = None if path is None else epath.Path(path)
        self.weights: Arrays | None = None
        self._batches = 0
        self._batches_before_epoch = 0
        self._at_first_batch = False

    def forget(self) -> None:
        self.weights = None
        self._batches = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        optimizers.check_startable(self.model.optimizer, self.model.variables)
        if self.rewind_to.count == 0 and self.trained == 0:
            # Callbacks may change weights before the first epoch; this is before all of them.
            self.weights = self._read_model()

    def start(self, trained: int, went_on: bool) -> None:
        self._at_first_batch = trained == self.rewind_to.count == 0
        if went_on or trained == 0:
            return
        steps = self.params.get("steps")
        self._batches = trained * (steps or 0)
        if self.trained == 0:  # What on_train_begin saw was not the start.
            self.weights = None
        reached = trained if self.rewind_to.unit == "ep" else self._batches
        unknown = self.rewind_to.unit == "it" and not steps
        if self.weights is None and (unknown or reached > self.rewind_to.count):
            self._read()
        elif self.weights is None and reached == self.rewind_to.count:
            self._remember()

    def last_act(self) -> tuple[str, int] | None:
        count, steps = self.rewind_to.count, self.params.get("steps")
        if self.rewind_to.unit == "it":
            if not steps:
                return None
            count = math.ceil(count / steps)
        return f"the rewind point {self.rewind_to}", count

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._batches_before_epoch = self._batches

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._at_first_batch:
            self._at_first_batch = False
            if batch == 0:
                self._write()
            else:  # BackupAndRestore goes on inside of the first epoch.
                self._read()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches = self._batches_before_epoch + batch + 1
        if self.rewind_to.unit == "it" and self.weights is None:
            if self._batches == self.rewind_to.count:
                self._remember()
            elif self._batches > self.rewind_to.count:
                self._read()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        at_point = self.rewind_to.unit == "ep" and self.trained == self.rewind_to.count
        if at_point and self.weights is None:
            self._remember()

    def rewind(self) -> None:
        """Puts the remembered weights back.

        Raises:
          RuntimeError: training has not reached the rewind point.
        """
        if self.weights is None:
            raise RuntimeError(f"training has not reached the rewind point {self.rewind_to}")
        write_weights(self.model, {**read_weights(self.model), **self.weights})
        pruned.apply_masks(self.model)
        optimizers.reset_slots(self.model.optimizer, self.model.variables)

    def _read_model(self) -> Arrays:
        weights = read_weights(self.model)
        return {n: value for n, value in weights.items() if not is_gate_variable(n)}

    def _remember(self) -> None:
        self.weights = self._read_model()
        self._write()

    def _write(self) -> None:
        if self.path is not None and self.weights is not None:
            save_arrays(self.path, self.weights)

    def _read(self) -> None:
        if self.path is None or not self.path.exists():
            where = "" if self.path is None else f" and are not in {self.path}"
            raise InputError(
                f"training goes on past the rewind point {self.rewind_to}, whose weights were not "
                f"seen{where}: give RewindWeights(path=...) a file from the first fit on"
            )
        found = load_arrays(self.path)
        own = self._read_model()
        # By their order: Keras numbers the names of layers anew for every model of a process.
        if [w.shape for w in found.values()] != [w.shape for w in own.values()]:
            raise InputError(f"{self.path} holds the weights of another model: give another file")
        self.weights = dict(zip(own, found.values(), strict=True))


class IterativePruning(Continuing):
    """Prunes at the end of every `level_epochs` epochs, and rewinds.

    The model must come from `tfprune.prune_model`. Its learning-rate schedule is the user's.

    Epochs count over all fits of a model. After an interruption, `fit(initial_epoch=...)` or
    Keras's `BackupAndRestore` say how many there were; the masks must be those that as many epochs
    leave of a dense network, and a pruning that the interruption came before is done first.

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

    Attributes:
      level: how many times the model was pruned.

    Raises:
      InputError: in `fit`, if nothing can be pruned, or the masks are not those that the epochs
        before would have left.

    Warns:
      UserWarning: in `fit`, if it ends before the last pruning.
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
        with arguments_from(fraction="prune_fraction"):
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
        self._left: Masks | None = None

    def forget(self) -> None:
        self.level = 0
        self._left = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if not pruned.masked_layers(self.model):
            raise InputError("nothing can be pruned: wrap the model with tfprune.prune_model first")
        if self.rewind is not None:
            if self.rewind.model is not self.model:
                raise InputError("rewind must be among the callbacks of fit, before the pruning")
            _check_point(self.rewind.rewind_to, self.level_epochs, self.params.get("steps"))
        masks = pruned.get_masks(self.model)
        check_scores(self._score(masks, num_batches=1), masks)  # Fails now, not in an hour.

    def start(self, trained: int, went_on: bool) -> None:
        masks = pruned.get_masks(self.model)
        if went_on:
            if masks != self._left:
                raise InputError(
                    "the model's masks are not those that IterativePruning left in the last fit: "
                    "to train anew, make new callbacks"
                )
        elif trained == 0:
            self.level = 0
        else:
            self._go_on(trained, masks)

    def last_act(self) -> tuple[str, int]:
        return f"the last of {self.levels} prunings", self.levels * self.level_epochs

    def _go_on(self, trained: int, masks: Masks) -> None:
        """Finds the level that the model is at after an interruption."""
        sizes = {name: mask.size for name, mask in masks.items()}
        counts = remaining_counts(
            sizes, self.prune_fraction, self.levels, self.scope, masks.never_pruned
        )
        level = min(self.levels, trained // self.level_epochs, len(counts) - 1)
        missed = level > 0 and trained == level * self.level_epochs
        if masks.remaining == counts[level]:
            self.level = level
        elif missed and masks.remaining == counts[level - 1]:
            self.level = level - 1
            self._prune()
        else:
            raise InputError(
                f"IterativePruning(level_epochs={self.level_epochs}, levels={self.levels}) leaves "
                f"{counts[level]} weights of a dense network after {trained} epochs, and this "
                f"model has {masks.remaining}: go on with the model as it was then, or start from "
                "epoch 0"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if logs is not None:
            logs["sparsity"] = pruned.get_masks(self.model).sparsity
        if self.level < self.levels and self.trained % self.level_epochs == 0:
            self._prune()
        self._left = pruned.get_masks(self.model)

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
        self.level += 1
        masks = pruned.get_masks(self.model)
        with arguments_from(fraction="prune_fraction"):
            masks = prune(self._score(masks), masks, self.prune_fraction, self.scope)
        pruned.set_masks(self.model, masks)
        if self.rewind is not None:
            self.rewind.rewind()


def _check_point(rewind_to: RewindPoint, level_epochs: int, steps: int | None = None) -> None:
    """Refuses a point that training has not reached when it is first pruned."""
    allowed = level_epochs if rewind_to.unit == "ep" else level_epochs * (steps or math.inf)
    if rewind_to.count > allowed:
        raise SettingError("rewind_to", rewind_to, f"at most the first pruning, {level_epochs}ep")
