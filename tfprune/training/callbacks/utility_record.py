"""Measuring weight utility while a network trains (PM 2.1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from etils import epath

from tfprune.files import csv_text, write_text_atomic
from tfprune.measures.ablation import BATCH_SIZE, Ablations, Utility, UtilityMeter
from tfprune.measures.evaluation import Examples, check_examples
from tfprune.training.callbacks.arguments import check_whole_number
from tfprune.training.callbacks.going_on import Continuing
from tfprune.training.callbacks.record import rows_until

Row = dict[str, Any]

# What is logged, as `utility_mean/0.1` for the amount 0.1.
LOGGED = ("utility_mean", "utility_imbalance", "utility_min", "ablated_accuracy_mean")


class UtilityRecord(Continuing):
    """Measures utility before the first epoch, after every k-th, and after the last.

    Every measurement ablates the same subsets, and all share one compiled program. The model is
    left as found, and training goes on as if nothing was measured. A training that is resumed
    measures what is still missing; rows of epochs that are trained once more are replaced.

    Args:
      examples: what utility is the mean over; PM takes the training split.
      ablations: which subsets are zeroed; `Ablations()` if None, 500 of each of six ratios.
      every_epochs: k.
      path: a CSV file, written as a whole after each measurement; None keeps the rows in memory.
      rows: of epochs measured before an interruption.
      on_measured: called with the number of epochs trained and the `Utility`, for its histograms.
      from_logits: see `UtilityMeter`.
      jit: see `UtilityMeter`.
      batch_size: the most examples in a batch of a measurement.

    Attributes:
      rows: one per epoch and amount: `epoch`, the number of epochs trained, and `Utility.rows()`.

    Raises:
      InputError: the examples are no `Examples`.
      SettingError: `every_epochs` is below 1.

    Example:
      >>> record = UtilityRecord(Examples(images, labels), every_epochs=10)  # doctest: +SKIP
      >>> model.fit(images, labels, epochs=200, callbacks=[record])  # doctest: +SKIP
      >>> pandas.DataFrame(record.rows)  # doctest: +SKIP
    """

    def __init__(
        self,
        examples: Examples,
        ablations: Ablations | None = None,
        every_epochs: int = 1,
        *,
        path: epath.PathLike | None = None,
        rows: Iterable[Row] = (),
        on_measured: Callable[[int, Utility], None] | None = None,
        from_logits: bool | None = None,
        jit: bool | None = None,
        batch_size: int = BATCH_SIZE,
    ):
        super().__init__()
        check_whole_number("every_epochs", every_epochs, 1)
        check_examples(examples)
        self.every_epochs = every_epochs
        self.path = None if path is None else epath.Path(path)
        self.rows: list[Row] = list(rows)
        self._on_measured = on_measured
        self._make_meter = lambda model: UtilityMeter(
            model, examples, ablations, from_logits=from_logits, jit=jit, batch_size=batch_size
        )
        self._meter: UtilityMeter | None = None

    def forget(self) -> None:
        self.rows = []

    def on_train_begin(self, logs: Row | None = None) -> None:
        super().on_train_begin(logs)
        # Fails before training where it cannot measure; kept, and with it its program, for the
        # next `fit` of the same model.
        if self._meter is None or self._meter.evaluator.model is not self.model:
            self._meter = self._make_meter(self.model)

    def start(self, trained: int, went_on: bool) -> None:
        if trained == 0:
            self._measure(0)
        elif not self.rows and self.path is not None:
            self.rows = rows_until(self.path, trained)

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        trained = self.trained
        if trained % self.every_epochs and epoch + 1 != self.params["epochs"]:
            return
        rows = self._measure(trained)
        if logs is not None:
            logs.update({f"{n}/{row['ablation_amount']:g}": row[n] for row in rows for n in LOGGED})

    def _measure(self, trained: int) -> list[Row]:
        if self._meter is None:
            raise ValueError("on_train_begin was not called")
        found = self._meter.measure()
        rows = [{"epoch": trained, **row} for row in found.rows()]
        self.rows = [row for row in self.rows if row["epoch"] < trained] + rows
        if self.path is not None:
            write_text_atomic(self.path, csv_text(self.rows))
        if self._on_measured is not None:
            self._on_measured(trained, found)
        return rows
