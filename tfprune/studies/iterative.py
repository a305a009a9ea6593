"""The prune-retrain loop of one trial: five ways to retrain, iteratively or in one shot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from etils import epath

from tfprune import layout
from tfprune.backend import keras
from tfprune.config import RunConfig
from tfprune.data.prepare import PreparedData
from tfprune.errors import InputError, SettingError
from tfprune.files import load_arrays, save_arrays, whole_or_set_aside
from tfprune.measures.evaluation import splits_of
from tfprune.measures.loss_change import linear_loss_change
from tfprune.measures.stability import instability
from tfprune.pruning.filter_selection import kept_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks
from tfprune.pruning.selection import check_levels, check_sparsities
from tfprune.pruning.settings import RewindPoint
from tfprune.pruning.shrink import live_weights
from tfprune.pruning.weights import Arrays, read_weights
from tfprune.studies.trial import Row, Stage, Trial, result_of
from tfprune.training import schedules
from tfprune.training.epoch_program import steps_per_epoch
from tfprune.training.evaluating import evaluate
from tfprune.training.scoring import check_filters, prune
from tfprune.training.trainer import Beside, Data, Trainer, TrainingOutputs, TrainingPlan

Advance = Callable[[Row], None]


class PruneRetrain:
    """Trains the missing stages of one trial, each a function of the files of those before it.

    Args:
      trial: what is trained.
      trainer: built for the trial's settings.
      data: the trial's data.
      stop_requested: the signal that asked this process to end, if any.
      note: tells the user one sentence.
    """

    def __init__(
        self,
        trial: Trial,
        trainer: Trainer,
        data: Data,
        stop_requested: Callable[[], int | None] = lambda: None,
        note: Callable[[str], None] = lambda text: None,
    ):
        self.trial = trial
        self.trainer = trainer
        self.data = data
        self._stop_requested = stop_requested
        self._note = note

    @property
    def config(self) -> RunConfig:
        return self.trial.config

    def check(self) -> None:
        """Refuses, before anything is written, what only the data and the model can tell.

        Raises:
          SettingError: a rewind point past the end, or more to prune than there are weights.
          InputError: the network has no filters that the criterion can score.
        """
        steps = self.config.training.train_epochs * self.steps_per_epoch
        if self._rewind_step >= steps:
            raise SettingError(
                "rewind_to",
                self.config.pruning.rewind_to,
                f"a point before the end of training ({steps} steps)",
            )
        pruning = self.config.pruning
        if pruning.prunes_filters:
            check_filters(self.trainer.model, pruning.criterion)
        if pruning.retrain == "extended_dense":
            return
        dense = self.trainer.dense_masks
        if pruning.prunes_filters:
            sizes, never_pruned = {name: mask.shape[-1] for name, mask in dense.items()}, 0
        else:
            sizes, never_pruned = {name: m.size for name, m in dense.items()}, dense.never_pruned
        if pruning.sparsities:
            check_sparsities(sizes, pruning.sparsities, pruning.scope, never_pruned)
        else:
            fraction, levels = pruning.prune_fraction, pruning.levels
            check_levels(sizes, fraction, levels, pruning.scope, never_pruned)

    def run(self, stage: Stage, advance: Advance) -> None:
        """Trains one stage of the trunk; the stages before it must be done."""
        if stage.level == 0:
            self._dense(stage, advance)
        else:
            self._pruned(stage, advance)

    def _dense(self, stage: Stage, advance: Advance) -> None:
        initial = self.trainer.initial_weights(self.trial.seed)
        masks = self.trainer.dense_masks
        epochs = snapshot_epochs(self.config)
        keep = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self._keep_snapshot(epoch + 1, epochs[1:-1])
        )
        plan = self.plan(stage, initial, masks, initial)
        self.train(stage, plan, advance, beside=Beside((keep,)))

    def _pruned(self, stage: Stage, advance: Advance) -> None:
        before = self._pruned_from(stage)
        trained = load_arrays(before.folder / layout.END)
        trained_masks = Masks.load(before.folder / layout.MASKS)
        masks = self._masks(stage, trained, trained_masks)
        initial = self.initial_weights(stage.level)
        plan = self.plan(stage, self._start(trained, initial), masks, initial)
        result, after = before.result(), evaluate(self.trainer, self.data, trained, masks)
        self.train(
            stage,
            plan,
            advance,
            instability=instability(result["test_accuracy_last"], after["test_accuracy"]),
            loss_change=after["train_loss"] - result["train_loss"],
            loss_change_linear=self._linear_loss_change(trained, trained_masks, masks),
        )

    def _linear_loss_change(self, trained: Arrays, before: Masks, after: Masks) -> float | None:
        """SDD's equation 1 to first order; None for streamed sets, which are too large for it.

        Nor where filters are pruned: more goes with them than kernels.
        """
        if not isinstance(self.data, PreparedData) or self.config.pruning.prunes_filters:
            return None
        self.trainer.load(trained, before)
        train, size = splits_of(self.data)["train"], self.config.training.batch_size
        change = linear_loss_change(self.trainer.model, train, before, after, size)
        return sum(change.values())

    def initial_weights(self, level: int) -> Arrays:
        """The initialization that a level descends from, before its mask is applied."""
        if level > 0 and self.config.pruning.retrain == "scratch":
            return self.trainer.initial_weights(self.trial.seed, level)
        return load_arrays(self.trial.stage(0).folder / layout.START)

    def _pruned_from(self, stage: Stage) -> Stage:
        """The stage whose weights are scored: the level before, or dense for one shot."""
        return self.trial.stage(0 if self.config.pruning.sparsities else stage.level - 1)

    def _masks(self, stage: Stage, trained: Arrays, masks: Masks) -> Masks:
        """The stage's masks, from its file if they were drawn before."""
        path = stage.folder / layout.MASKS
        if path.exists():
            with whole_or_set_aside(path):
                return Masks.load(path)
        pruning = self.config.pruning
        if pruning.retrain == "extended_dense":
            return masks
        sparsity = pruning.sparsities[stage.level - 1] if pruning.sparsities else None
        key = (self.trial.seed, stage.level)
        new = prune(self.trainer, self.data, *key, trained, masks, pruning, sparsity)
        if self.writes:
            new.save(path)
        return new

    def _start(self, trained: Arrays, initial: Arrays) -> Arrays:
        """The weights that a level starts from, before its mask is applied."""
        retrain = self.config.pruning.retrain
        if retrain == "weight_rewind":
            return self._rewind_weights()
        return initial if retrain == "scratch" else trained

    def _rewind_weights(self) -> Arrays:
        """The dense training's weights at the rewind point, trained again once and kept.

        Training to the point anew, rather than on the way, leaves level 0 the same whatever the
        rewind point is, so trials with different ones share it.
        """
        start = self.trial.stage(0).folder / layout.START
        if self._rewind_step == 0:
            return load_arrays(start)
        path = self.trial.rewind_file()
        # All processes of one training must train to the point, or none.
        if self.trainer.distribution.from_chief(path.exists()):
            with whole_or_set_aside(path):
                return load_arrays(path)
        initial = load_arrays(start)
        plan = self.plan(self.trial.stage(0), initial, self.trainer.dense_masks, initial)
        weights = self.trainer.train_to(self.data, plan, self._rewind_step)
        if self.writes:
            save_arrays(path, weights)
        return weights

    def weights_at(self, epochs: Iterable[int]) -> Iterator[tuple[int, Arrays]]:
        """The dense training's weights after these numbers of epochs, in order.

        Those that `--snapshot_every` has not kept are trained again once and kept.

        Raises:
          InputError: some are not kept, and several processes would have to train for them.
        """
        epochs = sorted(epochs)
        missing = {epoch for epoch in epochs if not self._is_kept(epoch)}
        if missing:
            self._train_for(missing)
        for epoch in epochs:
            yield epoch, load_arrays(self._snapshot(epoch))

    def _train_for(self, epochs: Collection[int]) -> None:
        """Repeats the dense training, and keeps its weights after these epochs."""
        stage = self.trial.stage(0)
        if self.trainer.distribution.worker.num_workers > 1:
            raise InputError(
                f"{stage.relative} has not kept its weights on the way: run once more with "
                "--strategy=auto, or train with --snapshot_every in the first place"
            )
        self._note(f"{stage.relative}: trained again for its weights on the way")
        initial = load_arrays(stage.folder / layout.START)
        plan = self.plan(stage, initial, self.trainer.dense_masks, initial)
        keep = partial(self._keep_snapshot, epochs=epochs)
        self.trainer.train_to(self.data, plan, max(epochs) * self.steps_per_epoch, keep)

    def _is_kept(self, epoch: int) -> bool:
        path = self._snapshot(epoch)
        if epoch in (0, self.config.training.train_epochs) or not path.exists():
            return path.exists()
        with whole_or_set_aside(path):
            load_arrays(path)
            return True
        return False

    def _snapshot(self, epoch: int) -> epath.Path:
        """The file of the dense training's weights after so many epochs."""
        folder = self.trial.stage(0).folder
        if epoch in (0, self.config.training.train_epochs):
            return folder / (layout.END if epoch else layout.START)
        return folder / layout.snapshot(epoch)

    def _keep_snapshot(self, epoch: int, epochs: Collection[int]) -> None:
        if epoch in epochs and self.writes:
            save_arrays(self._snapshot(epoch), read_weights(self.trainer.model))

    def plan(self, stage: Stage, weights: Arrays, masks: Masks, initial: Arrays) -> TrainingPlan:
        """What the loop trains at a level, from these weights under these masks."""
        training = self.config.training
        plan = TrainingPlan(
            seed=self.trial.seed,
            level=stage.level,
            weights=weights,
            masks=masks,
            initial=initial,
            schedule=self.schedule(stage.level),
            epochs=training.train_epochs,
            augment=self.config.data.augment,
            where=f"{self.trial.name}, seed {self.trial.seed}, level {stage.level}",
        )
        if stage.level == 0 or self.config.pruning.retrain in ("finetune", "scratch"):
            return plan
        return replace(plan, start_step=self._rewind_step)

    def schedule(self, level: int) -> schedules.Schedule:
        """The learning rates of a level's training, from its rewind point on."""
        if level > 0 and self.config.pruning.retrain == "finetune":
            return schedules.fixed(self.last_rate(level))
        return schedules.training_schedule(self.config.training)

    def train(
        self,
        stage: Stage,
        plan: TrainingPlan,
        advance: Advance,
        data: Data | None = None,
        beside: Beside = Beside(),  # noqa: B008 - immutable.
        found: Callable[[list[Row]], Row] = lambda rows: {},
        **values: Any,
    ) -> None:
        """Trains a plan and finishes its stage.

        Args:
          stage: of the trunk or of a branch.
          plan: what to train.
          advance: called after every epoch.
          data: what to train on, if not the trial's own.
          beside: what else happens during the training; it may prune.
          found: from the metrics of all epochs to further results of the stage.
          **values: further results of the stage.
        """
        self.trainer.load(plan.weights, plan.masks)
        if self.writes:
            save_arrays(stage.folder / layout.START, read_weights(self.trainer.model))
            plan.masks.save(stage.folder / layout.MASKS)
        outputs = TrainingOutputs(
            stage.folder,
            stage.tensorboard,
            self.config.checkpoint_seconds,
            advance,
            self._stop_requested,
            self._note,
        )
        rows = self.trainer.train(data or self.data, plan, outputs, beside)
        if not self.writes:
            return
        save_arrays(stage.folder / layout.END, read_weights(self.trainer.model))
        masks = get_masks(self.trainer.model)
        if masks != plan.masks:
            masks.save(stage.folder / layout.MASKS)
        stage.finish(
            result_of(
                rows,
                sparsity=masks.sparsity,
                weights_remaining=masks.weights_remaining,
                weights=masks.remaining,
                **(self._filters_left(masks) if self.config.pruning.prunes_filters else {}),
                **values,
                **found(rows),
            )
        )

    def _filters_left(self, masks: Masks) -> Row:
        """Of a network whose filters are pruned: the share of them that is left, and of weights.

        A pruned filter's channel is dead, and with it the weights that read it, which no mask
        counts: `live_weights` are those of the network that `tfprune.pruning.shrink` leaves.
        """
        live = live_weights(self.trainer.model)
        return {
            "filters_remaining": Masks(kept_filters(masks)).weights_remaining,
            "live_weights": live.remaining,
            "live_weights_remaining": live.weights_remaining,
        }

    def last_rate(self, level: int) -> float:
        """The learning rate at the end of a level's training."""
        pruning, training = self.config.pruning, self.config.training
        own = pruning.finetune_lr if level > 0 and pruning.retrain == "finetune" else 0.0
        return own or schedules.last_rate(training)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return steps_per_epoch(len(self.data.labels), self.config.training.batch_size)

    @property
    def writes(self) -> bool:
        """Whether this process writes the files: of several that share a training, one does."""
        return self.trainer.distribution.is_chief

    @property
    def _rewind_step(self) -> int:
        return RewindPoint.parse(self.config.pruning.rewind_to).step(self.steps_per_epoch)


def snapshot_epochs(config: RunConfig) -> list[int]:
    """The epochs of the dense training whose weights are kept: 0, every so many, and the last."""
    last, every = config.training.train_epochs, config.snapshot_every
    return sorted({0, *(range(every, last, every) if every else ()), last})
