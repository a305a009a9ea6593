"""The dense training's weights on the way: kept, or trained for once more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from etils import epath

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.errors import InputError
from tfprune.files import load_arrays, save_arrays, whole_or_set_aside
from tfprune.pruning.settings import RewindPoint
from tfprune.pruning.weights import Arrays, read_weights
from tfprune.studies.plans import plan_of
from tfprune.studies.trial import Trial
from tfprune.training.epoch_program import steps_per_epoch
from tfprune.training.trainer import Data, Trainer


class Snapshots:
    """The weights of a trial's dense training after an epoch or a step.

    Those that were not kept on the way are trained for anew, and kept then. So level 0 is the same
    whatever is asked of it later, and trials that differ in that share it.

    Args:
      trial: its dense training.
      trainer: built for the trial's settings.
      data: the trial's data.
      note: tells the user one sentence.
    """

    def __init__(
        self, trial: Trial, trainer: Trainer, data: Data, note: Callable[[str], None]
    ) -> None:
        self._trial = trial
        self._trainer = trainer
        self._data = data
        self._note = note
        self._stage = trial.stage(0)
        self._last = trial.config.training.train_epochs
        self._steps = steps_per_epoch(len(data.labels), trial.config.training.batch_size)

    def at_rewind_point(self) -> Arrays:
        """The weights at `rewind_to`."""
        step = RewindPoint.parse(self._trial.config.pruning.rewind_to).step(self._steps)
        if step == 0:
            return self._stage.start()
        path = self._trial.rewind_file()
        # All processes of one training must train to the point, or none.
        if self._trainer.distribution.from_chief(path.exists()):
            with whole_or_set_aside(path):
                return load_arrays(path, in_place=True)
        weights = self._train_to(step)
        if self._trainer.distribution.is_chief:
            save_arrays(path, weights)
        return weights

    def at(self, epochs: Iterable[int]) -> Iterator[tuple[int, Arrays]]:
        """The weights after these numbers of epochs, in order, each with its number.

        Raises:
          InputError: some are not kept, and several processes would have to train for them.
        """
        epochs = sorted(epochs)
        missing = {epoch for epoch in epochs if not self._is_kept(epoch)}
        if missing:
            self._train_for(missing)
        for epoch in epochs:
            yield epoch, load_arrays(self._file(epoch))

    def keep(self, epoch: int, epochs: Collection[int]) -> None:
        """Keeps the weights that the network has now, if this epoch is one of those."""
        if epoch in epochs and self._trainer.distribution.is_chief:
            save_arrays(self._file(epoch), read_weights(self._trainer.model))

    def _train_for(self, epochs: Collection[int]) -> None:
        where = self._stage.relative
        if self._trainer.distribution.worker.num_workers > 1:
            raise InputError(
                f"{where} has not kept its weights on the way: run once more with "
                "`strategy=auto`, or train with `snapshot_every` in the first place"
            )
        self._note(f"{where}: trained again for its weights on the way")
        self._train_to(max(epochs) * self._steps, partial(self.keep, epochs=epochs))

    def _train_to(
        self, step: int, after_epoch: Callable[[int], None] = lambda epoch: None
    ) -> Arrays:
        """Repeats the dense training up to a step."""
        plan = plan_of(self._trial, "level 0", self._stage.start(), self._trainer.dense_masks)
        return self._trainer.train_to(self._data, plan, step, after_epoch)

    def _is_kept(self, epoch: int) -> bool:
        path = self._file(epoch)
        if epoch in (0, self._last) or not path.exists():
            return path.exists()
        with whole_or_set_aside(path):
            load_arrays(path, in_place=True)
            return True
        return False

    def _file(self, epoch: int) -> epath.Path:
        if epoch in (0, self._last):
            return self._stage.folder / (layout.END if epoch else layout.START)
        return self._stage.folder / layout.snapshot(epoch)


def snapshot_epochs(config: RunConfig) -> list[int]:
    """The epochs of the dense training whose weights are kept: 0, every so many, and the last."""
    last, every = config.training.train_epochs, config.snapshot_every
    return sorted({0, *(range(every, last, every) if every else ()), last})
