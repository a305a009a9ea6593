"""Pruning filters while a network trains, with the instability of every event (GST 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from etils import epath

from tfprune.backend import tf
from tfprune.catalog import FILTER_CRITERIA
from tfprune.errors import InputError, nearest, unknown_name
from tfprune.files import csv_text, write_text_atomic
from tfprune.measures.stability import instability
from tfprune.models.task import task_of
from tfprune.pruning import model as pruned
from tfprune.pruning.channel_flow import filter_axes
from tfprune.pruning.channel_masks import has_masks
from tfprune.pruning.criteria import Batch, ScoringInputs, check_batches
from tfprune.pruning.dead_filters import set_filter_masks
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.filter_selection import filter_kernels, kept_filters, remove_filters
from tfprune.pruning.masks import BoolArray, Masks
from tfprune.pruning.selection import check_scores
from tfprune.pruning.settings import TARGETS
from tfprune.seeds import Stream, generator, name_key
from tfprune.training.callbacks.arguments import check_labelled, check_whole_number
from tfprune.training.callbacks.going_on import Continuing
from tfprune.training.callbacks.record import rows_until

Row = dict[str, Any]
Kept = dict[str, BoolArray]
Test = tuple[Any, Any] | Callable[[], float]

EVENT_COLUMNS = (
    "epoch",
    "layers",
    "filters_removed",
    "filters_kept",
    "accuracy_before",
    "accuracy_after",
    "instability",
    "stability",
)
_BATCH = 1024


class FilterEvents(Continuing):
    """What `FilterPruning` and `FilterNoise` share: whose turn it is, which filters, the record.

    After an epoch that is due, all layers that are due lose filters in one event. Which ones
    depends on the weights, and for random targets on (seed, epoch, layer) alone. Training may be
    interrupted anywhere: a layer loses as many filters as it is behind its schedule, so an event
    that is done is not done again, and one that was missed, say by `fit(initial_epoch=...)`, comes
    before the next epoch. An event that removes nothing is none.

    Args:
      schedules: one for each layer.
      criterion: a name in `FILTER_CRITERIA`.
      target: `smallest`, `largest` or `random` scores.
      test: the (images, labels) whose accuracy is measured just before and just after, images as
        the model takes them, one class each as its loss takes it; or a function that measures the
        accuracy of the model as it is, in [0, 1], for a model of another kind.
      batches: training batches, for `filter_activation`; see `ScoringInputs`.
      num_batches: how many of them it looks at; None for all.
      seed: of random targets and scores.
      on_event: called with each event's row.
      path: a CSV file of the events, written as a whole after each.
      rows: of events before an interruption.

    Attributes:
      events: a row for each event: `epoch`, the number of epochs trained; `layers`, their names
        joined by spaces; `filters_removed` in the event and `filters_kept`, over all layers that
        have a schedule; `accuracy_before`, `accuracy_after`; `instability`, (before - after) /
        before; `stability`, 1 - instability. Without any accuracy to lose instability is 0.

    Raises:
      SettingError: unknown criterion or target.
      InputError: two schedules for a layer, or not as many test labels as images; in `fit`, a
        layer that the model has not, or a model that is no classifier.

    Warns:
      UserWarning: in `fit`, if it ends before the last event.
    """

    def __init__(
        self,
        schedules: Iterable[FilterSchedule],
        criterion: str,
        target: str,
        *,
        test: Test,
        batches: Iterable[Batch] | Callable[[], Iterable[Batch]] = (),
        num_batches: int | None = None,
        seed: int = 0,
        on_event: Callable[[Row], None] | None = None,
        path: epath.PathLike | None = None,
        rows: Iterable[Row] = (),
    ):
        super().__init__()
        given = list(schedules)
        self.schedules = {schedule.layer: schedule for schedule in given}
        if len(self.schedules) < len(given):
            raise InputError("two schedules for one layer: give each layer one schedule")
        if target not in TARGETS:
            raise unknown_name("target", target, TARGETS)
        if not callable(test):
            check_labelled("test", test)
        check_batches(batches)
        check_whole_number("seed", seed, 0)
        self.criterion = FILTER_CRITERIA[criterion]
        self.target = target
        self.test = test
        self.batches = batches
        self.num_batches = num_batches
        self.seed = seed
        self.on_event = on_event
        self.path = None if path is None else epath.Path(path)
        self.events: list[Row] = list(rows)

    @property
    def mean_instability(self) -> float:
        """The mean over events, without one before training; 0 if there was none."""
        found = [row["instability"] for row in self.events if row["epoch"] > 0]
        return float(np.mean(found)) if found else 0.0

    @property
    def mean_stability(self) -> float:
        """1 - `mean_instability` (GST 2)."""
        return 1.0 - self.mean_instability

    def on_train_begin(self, logs: Row | None = None) -> None:
        super().on_train_begin(logs)
        if not callable(self.test):
            self._test_classes(self.test[1])
        kept = self._kept()
        for layer in self.schedules:
            if layer not in kept:
                raise InputError(
                    f"no filters of layer {layer!r} can be pruned: {nearest(layer, kept)}"
                )
        due = Masks({layer: kept[layer] for layer in self.schedules})
        check_scores(self._score(due, 0, num_batches=1), due)  # Fails now, not at the first event.

    def forget(self) -> None:
        self.events = []

    def start(self, trained: int, went_on: bool) -> None:
        if trained and not self.events and self.path is not None:
            self.events = rows_until(self.path, trained)
        self.events = [row for row in self.events if row["epoch"] <= trained]
        self._catch_up(trained)

    def last_act(self) -> tuple[str, int] | None:
        last = {name: schedule.epochs[-1] + 1 for name, schedule in self.schedules.items()}
        if not last:
            return None
        layer = max(last, key=last.__getitem__)
        return f"the last event of layer {layer!r}", last[layer]

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        row = self._catch_up(self.trained)
        if row is not None and logs is not None:
            logs["instability"] = row["instability"]

    def _kept(self) -> Kept:
        """The filters of every layer that may be pruned; True where they were not yet."""
        raise NotImplementedError

    def _disturb(self, before: Kept, after: Kept) -> None:
        """Does to the model what an event does, given the filters of the layers that are due."""
        raise NotImplementedError

    def _catch_up(self, trained: int) -> Row | None:
        """Prunes what is due after this many epochs; the event's row, if there is one."""
        kept = self._kept()
        counts = {name: self._due(name, flags, trained) for name, flags in kept.items()}
        due = {name: kept[name] for name, count in counts.items() if count > 0}
        if not due:
            return None
        before = self._accuracy()
        left = self._selected(due, counts, trained)
        self._disturb(due, left)
        after = self._accuracy()
        kept_now = {**kept, **left}
        row = {
            "epoch": trained,
            "layers": " ".join(due),
            "filters_removed": sum(counts[name] for name in due),
            "filters_kept": sum(int(kept_now[name].sum()) for name in self.schedules),
            **_stability(before, after),
        }
        self._record(row)
        return row

    def _due(self, layer: str, kept: BoolArray, trained: int) -> int:
        """How many more filters the schedule removes than were removed."""
        if layer not in self.schedules:
            return 0
        allowed = self.schedules[layer].kept_after(trained - 1, len(kept))
        return int(np.count_nonzero(kept)) - allowed

    def _score(
        self, layers: Iterable[str], trained: int, num_batches: int | None
    ) -> dict[str, np.ndarray]:
        shapes = {name: k.shape for name, k in pruned.kernels(self.model, layers).items()}
        inputs = ScoringInputs(
            model=self.model,
            masks=Masks.dense({name: tuple(shape) for name, shape in shapes.items()}),
            batches=self.batches,
            num_batches=num_batches,
            rng=generator(self.seed, Stream.MASK, epoch=trained),
        )
        return self.criterion(inputs)

    def _selected(self, due: Kept, counts: Mapping[str, int], trained: int) -> Kept:
        scores = self._score(due, trained, self.num_batches)
        return {
            name: remove_filters(
                scores[name],
                flags,
                counts[name],
                self.target,
                generator(self.seed, Stream.MASK, name_key(name), trained),
                name,
            )
            for name, flags in due.items()
        }

    def _accuracy(self) -> float:
        if callable(self.test):
            return float(self.test())
        images, labels = self.test
        outputs = self.model.predict(images, batch_size=_BATCH, verbose=0)
        classes = self._test_classes(labels)
        return float(np.mean(task_of(self.model).predicted(tf.constant(outputs)) == classes))

    def _test_classes(self, labels: Any) -> np.ndarray:
        return task_of(self.model).class_labels(
            labels, "the test accuracy of events, which are measured on test=(images, labels)"
        )

    def _record(self, row: Row) -> None:
        self.events = [event for event in self.events if event["epoch"] < row["epoch"]] + [row]
        if self.path is not None:
            write_text_atomic(self.path, csv_text(self.events, EVENT_COLUMNS))
        if self.on_event is not None:
            self.on_event(row)


class FilterPruning(FilterEvents):
    """Prunes filters of a network in training, and records how much accuracy each event costs.

    A pruned filter's kernel and bias and its batch norm's scale and shift are zero from then on,
    in any `fit`. With `cut_shortcuts` so is the shortcut into its channel, whose identities need a
    gate (`tfprune.pruning.dead_filters.gate_shortcuts`). The optimizer keeps its slots. What `fit`
    itself logs of an epoch, validation included, is from just before the event.

    What stands neither under arguments nor under attributes here is as in `FilterEvents`.

    Args:
      schedules: one for each layer that is pruned. With `FilterSchedule.scratch` the pruned
        network is trained from the outset.
      cut_shortcuts: whether the shortcut into a pruned channel is cut (GST's published code).

    Raises:
      SettingError: unknown criterion or target.
      InputError: two schedules for a layer; in `fit`, a layer that the model does not prune, or a
        model that does not come from `prune_model(..., filters=True)`.

    Example:
      >>> model = tfprune.prune_model(network, filters=True)  # doctest: +SKIP
      >>> schedule = FilterSchedule("conv2", start=3, end=150, period=40, fraction=0.3)
      >>> pruning = FilterPruning([schedule], test=(images, labels))  # doctest: +SKIP
      >>> model.fit(..., callbacks=[pruning])  # doctest: +SKIP
      >>> pruning.mean_stability  # doctest: +SKIP
    """

    def __init__(
        self,
        schedules: Iterable[FilterSchedule],
        criterion: str = "filter_l2",
        target: str = "smallest",
        *,
        test: Test,
        cut_shortcuts: bool = True,
        **settings: Any,
    ):
        super().__init__(schedules, criterion, target, test=test, **settings)
        self.cut_shortcuts = cut_shortcuts

    def on_train_begin(self, logs: Row | None = None) -> None:
        if not has_masks(self.model):
            raise InputError(
                "filters cannot be pruned: wrap the model with "
                "tfprune.prune_model(..., filters=True)"
            )
        super().on_train_begin(logs)

    def _kept(self) -> Kept:
        return kept_filters(pruned.get_masks(self.model), filter_axes(self.model))

    def _disturb(self, before: Kept, after: Kept) -> None:
        masks = filter_kernels(pruned.get_masks(self.model), after, filter_axes(self.model))
        set_filter_masks(self.model, masks, self.cut_shortcuts)


def _stability(before: float, after: float) -> Row:
    lost = instability(before, after)
    return {
        "accuracy_before": before,
        "accuracy_after": after,
        "instability": lost,
        "stability": 1.0 - lost,
    }
