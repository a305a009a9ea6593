"""One epoch over data that live on the device, with its evaluation, as one compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.data.order import epoch_order
from tfprune.data.prepare import PreparedData
from tfprune.seeds import EpochDraw
from tfprune.training import metrics, step
from tfprune.training.epoch_model import (
    EVALUATION_BATCH,
    Feeding,
    steps_per_epoch,
)


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


class _Draws(NamedTuple):
    """An epoch's `augmentation.Draws` as tensors."""

    flips: tf.Tensor
    dy: tf.Tensor
    dx: tf.Tensor

    @classmethod
    def of(cls, draws: augmentation.Draws) -> _Draws:
        return cls(*(tf.constant(getattr(draws, field)) for field in cls._fields))


class EpochFeed(NamedTuple):
    """What differs from epoch to epoch: all randomness, drawn on the host.

    Attributes:
      order: int32 [examples], the order in which examples are shown.
      learning_rates: float32 [steps].
      steps: int32 [2], the first step to take and the one to stop before.
      augmentation: per-example draws, or None.
    """

    order: tf.Tensor
    learning_rates: tf.Tensor
    steps: tf.Tensor
    augmentation: _Draws | None


class ResidentProgram:
    """Trains and evaluates one epoch per call, compiled once for all trials of one shape.

    Args:
      model: a compiled model (its optimizer is used) that maps normalized images to logits.
      batch_size: examples per step.
      jit: whether to compile with XLA.
    """

    def __init__(self, model: keras.Model, batch_size: int, jit: bool):
        self._model = model
        self._batch_size = batch_size
        model.optimizer.build(model.trainable_variables)
        self._epoch = tf.function(self._train_and_evaluate, jit_compile=jit, autograph=False)
        self._partial_epoch = tf.function(self._train, jit_compile=jit, autograph=False)
        self._evaluation = tf.function(self._evaluate, jit_compile=jit, autograph=False)
        self._host: PreparedData | None = None
        self._data: ResidentData | None = None
        self._feeding: Feeding | None = None

    def attach(self, data: PreparedData, feeding: Feeding | None) -> None:
        """See `EpochProgram`. The data attached last stay on the device."""
        if data is not self._host:
            self._host, self._data = data, ResidentData.of(data)
        self._feeding = feeding

    def run(self, epoch: int) -> dict[str, tf.Tensor]:
        """See `EpochProgram`."""
        return self._epoch(self._data, self._feed(epoch))

    def run_steps(self, epoch: int) -> None:
        """See `EpochProgram`."""
        self._partial_epoch(self._data, self._feed(epoch))

    def evaluate(self) -> dict[str, tf.Tensor]:
        """See `EpochProgram`."""
        return self._evaluation(self._data)

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, np.ndarray]]:
        """See `EpochProgram`."""
        data, feeding = self._attached()
        order = epoch_order(len(data.labels), feeding.seed, feeding.level, EpochDraw.NO_EPOCH)
        starts = range(0, min(count * self._batch_size, len(order)), self._batch_size)
        chosen = [order[start : start + self._batch_size] for start in starts]
        return [(self._inputs(data, positions), data.labels[positions]) for positions in chosen]

    def _inputs(self, data: PreparedData, positions: np.ndarray) -> tf.Tensor:
        images = tf.constant(data.images[positions])
        return augmentation.normalize(images, data.mean, data.std, self._model.compute_dtype)

    def _attached(self) -> tuple[PreparedData, Feeding]:
        if self._host is None or self._feeding is None:
            raise ValueError("attach data and feeding first")
        return self._host, self._feeding

    def _feed(self, epoch: int) -> EpochFeed:
        """All that differs from epoch to epoch."""
        data, feeding = self._attached()
        num_examples = len(data.labels)
        steps = steps_per_epoch(num_examples, self._batch_size)
        draws = augmentation.draw(feeding.augment, num_examples, feeding.seed, feeding.level, epoch)
        order = epoch_order(num_examples, feeding.seed, feeding.level, epoch)
        return EpochFeed(
            order=tf.constant(order, tf.int32),
            learning_rates=tf.constant(feeding.schedule(epoch, steps)),
            steps=tf.constant(feeding.steps_of(epoch, steps), tf.int32),
            augmentation=None if draws is None else _Draws.of(draws),
        )

    def _train_and_evaluate(self, data: ResidentData, feed: EpochFeed) -> dict[str, tf.Tensor]:
        means = self._train(data, feed)
        with tf.control_dependencies([means]):
            return {**step.running(means), **self._evaluate(data)}

    def _train(self, data: ResidentData, feed: EpochFeed) -> tf.Tensor:
        """The steps of `feed.steps`; returns their example-weighted means of `step.RUNNING`."""
        num_examples = feed.order.shape[0]
        full_steps, remainder = divmod(num_examples, self._batch_size)
        first, last = feed.steps[0], feed.steps[1]
        zero, none = tf.zeros([], tf.float32), tf.zeros([len(step.RUNNING)], tf.float32)

        def train(index: tf.Tensor, size: int) -> tf.Tensor:
            positions = tf.slice(feed.order, [index * self._batch_size], [size])
            means = self._step(data, feed.augmentation, positions, feed.learning_rates[index])
            return means * tf.cast(size, tf.float32)

        total, count = none, zero
        if full_steps:
            _, total = tf.while_loop(
                lambda index, total: index < tf.minimum(last, full_steps),
                lambda index, total: (index + 1, total + train(index, self._batch_size)),
                (first, total),
                parallel_iterations=1,
            )
            taken = tf.maximum(tf.minimum(last, full_steps) - first, 0)
            count += tf.cast(taken * self._batch_size, tf.float32)
        if remainder:
            # A short batch is its own shape: padding it would change batch-norm statistics.
            with tf.control_dependencies([total]):
                short = tf.logical_and(first <= full_steps, last > full_steps)
                total += tf.cond(
                    short, lambda: train(tf.constant(full_steps), remainder), lambda: none
                )
                count += tf.where(short, float(remainder), 0.0)
        return total / tf.maximum(count, 1.0)

    def _step(
        self,
        data: ResidentData,
        draws: _Draws | None,
        positions: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        model = self._model
        images = tf.gather(data.images, positions)
        if draws is not None:
            images = augmentation.apply(images, *(tf.gather(draw, positions) for draw in draws))
        inputs = augmentation.normalize(images, data.mean, data.std, model.compute_dtype)
        labels = tf.gather(data.labels, positions)
        return step.train_on_batch(model, inputs, labels, learning_rate)

    def _evaluate(self, data: ResidentData) -> dict[str, tf.Tensor]:
        train = self._per_example(data.images, data.labels, data)
        test = self._per_example(data.test_images, data.test_labels, data, step.before_test_batch)
        values = {
            **metrics.split_metrics("train", train, data.labels),
            **metrics.split_metrics("test", test, data.test_labels),
            **metrics.subset_metrics(train, data.labels, data.original_labels, data.selected),
        }
        if data.val_images.shape[0]:
            val = self._per_example(data.val_images, data.val_labels, data)
            values |= metrics.split_metrics("val", val, data.val_labels)
        return values

    def _per_example(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        data: ResidentData,
        before_batch: Callable[[keras.Model, float], None] = lambda model, share: None,
    ) -> metrics.PerExample:
        """Inference over a split in batches of one static size, and one of the rest."""

        def batch(start: tf.Tensor, size: int) -> metrics.PerExample:
            before_batch(self._model, size / images.shape[0])
            pixels = tf.slice(images, [start, 0, 0, 0], [size, *images.shape[1:]])
            inputs = augmentation.normalize(pixels, data.mean, data.std, self._model.compute_dtype)
            logits = self._model(inputs, training=False)
            return metrics.per_example(logits, tf.slice(labels, [start], [size]))

        full, remainder = divmod(images.shape[0], EVALUATION_BATCH)
        parts = []
        if full:
            whole = tf.map_fn(
                lambda start: batch(start, EVALUATION_BATCH),
                tf.range(full) * EVALUATION_BATCH,
                fn_output_signature=metrics.PerExample(
                    tf.TensorSpec([EVALUATION_BATCH], tf.float32),
                    tf.TensorSpec([EVALUATION_BATCH], tf.int32),
                ),
                parallel_iterations=1,
            )
            parts.append(metrics.PerExample(*(tf.reshape(value, [-1]) for value in whole)))
        if remainder:
            parts.append(batch(tf.constant(full * EVALUATION_BATCH), remainder))
        return metrics.PerExample(*(tf.concat(values, 0) for values in zip(*parts, strict=True)))
