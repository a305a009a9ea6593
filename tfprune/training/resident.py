"""Epochs over data that live on the device: all steps are one compiled program."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.data.order import epoch_order
from tfprune.data.prepare import PreparedData
from tfprune.seeds import EpochDraw
from tfprune.training import metrics, step
from tfprune.training.epoch_program import EpochProgram, Held, steps_per_epoch


class ResidentData(NamedTuple):
    """A trial's data as tensors on the device; images are uint8 until they are gathered.

    `mean` and `std` have the shape of an image, not of its channels: on a CPU, arithmetic whose
    innermost dimension is three channels is ten times as slow as over whole images.
    """

    images: tf.Tensor
    labels: tf.Tensor
    original_labels: tf.Tensor
    selected: tf.Tensor
    val_images: tf.Tensor
    val_labels: tf.Tensor
    test_images: tf.Tensor
    test_labels: tf.Tensor
    mean: tf.Tensor
    std: tf.Tensor

    @classmethod
    def of(cls, data: PreparedData) -> ResidentData:
        values = {field: getattr(data, field) for field in cls._fields}
        for field in ("mean", "std"):
            values[field] = np.broadcast_to(values[field], data.input_shape)
        return cls(**{field: tf.constant(value) for field, value in values.items()})


class EpochFeed(NamedTuple):
    """What differs from epoch to epoch: all randomness, drawn on the host; arrays or tensors.

    Attributes:
      order: int32 [examples], the order in which examples are shown.
      learning_rates: float32 [steps].
      steps: int32 [2], the first step to take and the one to stop before.
      draws: flips, dy and dx of every example (see `augmentation.Draws`), or nothing.
    """

    order: Any
    learning_rates: Any
    steps: Any
    draws: tuple[Any, ...]


class ArrayProgram(EpochProgram[PreparedData, Held]):
    """An epoch over data in memory: its order and its augmentation are drawn on the host."""

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, np.ndarray]]:
        """See base class."""
        data, feeding, size = self._data, self._fed, self._batch_size
        order = epoch_order(len(data.labels), feeding.seed, feeding.level, EpochDraw.NO_EPOCH)
        starts = range(0, min(count * size, len(order)), size)
        chosen = [order[start : start + size] for start in starts]
        return [(self._inputs(rows), data.labels[rows]) for rows in chosen]

    def _inputs(self, rows: np.ndarray, draws: tuple[np.ndarray, ...] = ()) -> tf.Tensor:
        """The training images at these rows as a model takes them; outside programs."""
        data, images = self._data, tf.constant(self._data.images[rows])
        if draws:
            images = augmentation.apply(images, *(draw[rows] for draw in draws))
        return augmentation.normalize(images, data.mean, data.std, self._model.compute_dtype)

    def _feed(self, epoch: int) -> EpochFeed:
        """All that differs from epoch to epoch, as arrays."""
        feeding, examples = self._fed, len(self._data.labels)
        first, last, rates = self._due(epoch, examples)
        draws = augmentation.draw(feeding.augment, examples, feeding.seed, feeding.level, epoch)
        order = epoch_order(examples, feeding.seed, feeding.level, epoch)
        return EpochFeed(order, rates, np.array([first, last], np.int32), draws or ())


class ResidentProgram(ArrayProgram[ResidentData]):
    """Trains and evaluates one epoch per call, compiled once for all trials of one shape.

    Args:
      model: as for `EpochProgram`.
      batch_size: examples per step.
      jit: whether to compile with XLA.
      matmul: as for `EpochProgram`.
    """

    def __init__(self, model: keras.Model, batch_size: int, jit: bool, matmul: str = "tf32"):
        super().__init__(model, batch_size, matmul)
        compiled = partial(tf.function, jit_compile=jit, autograph=False)
        self.steps = compiled(self._take_steps)
        self.evaluation = compiled(self._evaluate)

    def _hold(self, data: PreparedData) -> ResidentData:
        return ResidentData.of(data)

    def _train(self, epoch: int) -> tf.Tensor:
        return self.steps(*self.inputs(epoch))

    def _measure(self) -> dict[str, tf.Tensor]:
        return self.evaluation(self._held)

    def inputs(self, epoch: int) -> tuple[ResidentData, EpochFeed, bool]:
        """What `steps` takes to train an epoch."""
        held, feed = self._held, self._feed(epoch)
        steps = steps_per_epoch(len(feed.order), self._batch_size)
        is_whole = tuple(feed.steps) == (0, steps)
        return held, tf.nest.map_structure(tf.constant, feed), is_whole

    def _take_steps(self, data: ResidentData, feed: EpochFeed, is_whole: bool) -> tf.Tensor:
        """The steps of `feed.steps`; returns their example-weighted means of `step.RUNNING`.

        A whole epoch is a program of its own: where XLA knows how many steps a loop takes, a GPU
        need not ask the host before each.
        """
        num_examples = feed.order.shape[0]
        full_steps, remainder = divmod(num_examples, self._batch_size)
        first, last = feed.steps[0], feed.steps[1]
        begin, end = first, tf.minimum(last, full_steps)
        loop = (tf.constant(0), full_steps) if is_whole else (begin, end)

        def train(index: tf.Tensor, size: int) -> tf.Tensor:
            positions = tf.slice(feed.order, [index * self._batch_size], [size])
            means = self._step(data, feed.draws, positions, feed.learning_rates[index])
            return means * tf.cast(size, tf.float32)

        total, shown = tf.zeros([len(step.RUNNING)], tf.float32), tf.constant(0)
        if full_steps:
            _, total = tf.while_loop(
                lambda index, total: index < loop[1],
                lambda index, total: (index + 1, total + train(index, self._batch_size)),
                (loop[0], total),
                parallel_iterations=1,
            )
            shown += tf.maximum(end - begin, 0) * self._batch_size
        if remainder:
            # A short batch is its own shape: padding it would change batch-norm statistics.
            is_due = tf.logical_and(first <= full_steps, last > full_steps)
            with tf.control_dependencies([total]):
                if is_whole:
                    total += train(tf.constant(full_steps), remainder)
                else:
                    total += tf.cond(
                        is_due,
                        lambda: train(tf.constant(full_steps), remainder),
                        lambda: tf.zeros_like(total),
                    )
            shown += tf.where(is_due, remainder, 0)
        return total / tf.cast(tf.maximum(shown, 1), tf.float32)

    def _step(
        self,
        data: ResidentData,
        draws: tuple[tf.Tensor, ...],
        positions: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        model = self._model
        images = tf.gather(data.images, positions)
        if draws:
            images = augmentation.apply(images, *(tf.gather(draw, positions) for draw in draws))
        inputs = augmentation.normalize(images, data.mean, data.std, model.compute_dtype)
        labels = tf.gather(data.labels, positions)
        return step.train_on_batch(model, inputs, labels, learning_rate)

    def _evaluate(self, data: ResidentData) -> dict[str, tf.Tensor]:
        return metrics.of_splits(data, partial(self._infer, data))

    def _infer(self, data: ResidentData, split: str) -> metrics.PerExample:
        """Losses and predictions of a split."""
        model, prefix = self._model, metrics.SPLITS[split]
        images, labels = (getattr(data, f"{prefix}{field}") for field in ("images", "labels"))

        def infer(start: tf.Tensor, size: int) -> metrics.PerExample:
            if split == "test":
                step.before_test_batch(model, size / images.shape[0])
            pixels = tf.slice(images, [start, 0, 0, 0], [size, *images.shape[1:]])
            inputs = augmentation.normalize(pixels, data.mean, data.std, model.compute_dtype)
            own = tf.slice(labels, [start], [size])
            return metrics.per_example(model(inputs, training=False), own)

        return metrics.in_chunks(images.shape[0], infer)
