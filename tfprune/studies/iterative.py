"""The prune-retrain loop of one trial: iteratively or in one shot, by one way to retrain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tfprune import layout
from tfprune.backend import keras
from tfprune.config import RunConfig
from tfprune.data.prepare import PreparedData
from tfprune.errors import SettingError, arguments_from
from tfprune.files import save_arrays, whole_or_set_aside
from tfprune.measures.evaluation import splits_of
from tfprune.measures.loss_change import linear_loss_change, summed_gradients
from tfprune.measures.stability import instability
from tfprune.pruning.filter_selection import kept_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks
from tfprune.pruning.selection import check_levels, check_sparsities
from tfprune.pruning.settings import RewindPoint
from tfprune.pruning.shrink import live_weights
from tfprune.pruning.weights import Arrays, read_weights
from tfprune.registry import load
from tfprune.studies.plans import plan_of
from tfprune.studies.procedure import Advance
from tfprune.studies.snapshots import Snapshots, snapshot_epochs
from tfprune.studies.starting_weights import RetrainingInputs, checked
from tfprune.studies.trial import Row, Stage, Trial, result_of
from tfprune.training.epoch_program import steps_per_epoch
from tfprune.training.evaluating import evaluate
from tfprune.training.schedules import Schedule, retraining_schedule, training_schedule
from tfprune.training.scoring import check_filters, prune
from tfprune.training.trainer import Beside, Data, Trainer, TrainingOutputs, TrainingPlan


class PruneRetrain:
    """Trains the missing stages of one trial, each a function of the files of those before it.

    Args:
      trial: what is trained.
      trainer: built for the trial's settings.
      data: the trial's data.
      stop_requested: the signal that asked this process to end, if any.
      note: tells the user one sentence.

    Attributes:
      plan: `plans.plan_of` of the trial.
      snapshots: the dense training's weights on the way.
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
        self._retraining = trial.config.pruning.retraining
        self.plan = partial(plan_of, trial)
        self.snapshots = Snapshots(trial, trainer, data, note)

    @property
    def config(self) -> RunConfig:
        return self.trial.config

    def check(self) -> None:
        """Refuses, before anything is written, what only the data and the model can tell.

        Raises:
          SettingError: a rewind point past the end, or more to prune than there are weights.
          InputError: the network has no filters that the criterion can score.
        """
        pruning = self.config.pruning
        steps = self.config.training.train_epochs * self.steps_per_epoch
        points = {
            "rewind_to": RewindPoint.parse(pruning.rewind_to),
            "retrain": pruning.retrains_from,
        }
        for name, point in points.items():
            if point.step(self.steps_per_epoch) >= steps:
                raise SettingError(
                    name,
                    getattr(pruning, name),
                    f"a point before the end of training ({steps} steps)",
                )
        if pruning.last_level:
            self.schedule(1)(0, self.steps_per_epoch)
        if pruning.prunes_filters:
            check_filters(self.trainer.model, pruning.criterion)
        if self._retraining.prunes:
            self._check_levels()
        self.trainer.check_data(self.data)

    def _check_levels(self) -> None:
        pruning = self.config.pruning
        dense = self.trainer.dense_masks
        if pruning.prunes_filters:
            sizes, never_pruned = {name: mask.shape[-1] for name, mask in dense.items()}, 0
        else:
            sizes, never_pruned = {name: m.size for name, m in dense.items()}, dense.never_pruned
        if pruning.sparsities:
            check_sparsities(sizes, pruning.sparsities, pruning.scope, never_pruned)
        else:
            fraction, levels = pruning.prune_fraction, pruning.levels
            with arguments_from(fraction="prune_fraction"):
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
            on_epoch_end=lambda epoch, logs: self.snapshots.keep(epoch + 1, epochs[1:-1])
        )
        plan = self.level_plan(0, initial, masks)
        self.train(stage, plan, advance, beside=Beside((keep,)))

    def _pruned(self, stage: Stage, advance: Advance) -> None:
        before = self._pruned_from(stage)
        trained, trained_masks = before.end(), before.masks()
        masks = self._masks(stage, trained, trained_masks)
        initial = self.initial_weights(stage.level)
        plan = self.level_plan(stage.level, self._start(trained, initial), masks, initial)
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
        model = self.trainer.model
        gradients = self.trainer.once("loss gradients", lambda: summed_gradients(model, before))
        change = linear_loss_change(model, train, before, after, size, gradients)
        return sum(change.values())

    def initial_weights(self, level: int) -> Arrays:
        """The initialization that a level descends from, before its mask is applied."""
        if level > 0 and self._retraining.new_initialization:
            return self.trainer.initial_weights(self.trial.seed, level)
        return self.trial.stage(0).start()

    def _pruned_from(self, stage: Stage) -> Stage:
        """The stage whose weights are scored: the level before, or dense for one shot."""
        return self.trial.stage(0 if self.config.pruning.sparsities else stage.level - 1)

    def _masks(self, stage: Stage, trained: Arrays, masks: Masks) -> Masks:
        """The stage's masks, from its file if they were drawn before."""
        path = stage.folder / layout.MASKS
        if path.exists():
            with whole_or_set_aside(path):
                return Masks.load(path, in_place=True)
        if not self._retraining.prunes:
            return masks
        pruning = self.config.pruning
        sparsity = pruning.sparsities[stage.level - 1] if pruning.sparsities else None
        key = (self.trial.seed, stage.level)
        new = prune(self.trainer, self.data, *key, trained, masks, pruning, sparsity)
        if self.writes:
            new.save(path)
        return new

    def _start(self, trained: Arrays, initial: Arrays) -> Arrays:
        """The weights that a level starts from, before its mask is applied."""
        weights: Callable[[RetrainingInputs], Arrays] | None = load(self._retraining.weights)
        if weights is None:
            return trained
        # Copies, since a function of one's own may write into what it is given.
        copies = [{name: w.copy() for name, w in each.items()} for each in (trained, initial)]
        inputs = RetrainingInputs(copies[0], copies[1], self.snapshots.at_rewind_point)
        return checked(self.config.pruning.retrain, weights(inputs), trained)

    def level_plan(
        self, level: int, weights: Arrays, masks: Masks, initial: Arrays | None = None
    ) -> TrainingPlan:
        """What is trained at a level, from these weights under these masks: see `plan`."""
        return self.plan(
            f"level {level}",
            weights,
            masks,
            initial,
            level=level,
            schedule=self.schedule(level),
            start_step=self.start_step(level),
        )

    def start_step(self, level: int) -> int:
        """The step of the schedule that a level's training starts at."""
        return self.config.pruning.retrains_from.step(self.steps_per_epoch) if level else 0

    def schedule(self, level: int) -> Schedule:
        """The learning rates of a level's training."""
        training = self.config.training
        if level == 0:
            return training_schedule(training)
        return retraining_schedule(training, self.config.pruning)

    def last_rate(self, level: int) -> float:
        """The learning rate of the last step of a level's training."""
        last = self.config.training.train_epochs - 1
        return float(self.schedule(level)(last, self.steps_per_epoch)[-1])

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

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return steps_per_epoch(len(self.data.labels), self.config.training.batch_size)

    @property
    def writes(self) -> bool:
        """Whether this process writes the files: of several that share a training, one does."""
        return self.trainer.distribution.is_chief
