"""One epoch over data that stay on disk: a compiled step per batch, fed by tf.data."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data.streaming import StreamedData
from tfprune.seeds import EpochDraw
from tfprune.training import metrics, step
from tfprune.training.epoch_model import (
    EVALUATION_BATCH,
    Feeding,
    steps_per_epoch,
)


class StreamedProgram:
    """Trains and evaluates one epoch per call, a batch at a time.

    Args:
      model: a compiled model (its optimizer is used) that maps normalized images to logits.
      batch_size: examples per step.
      jit: whether to compile with XLA.
    """

    def __init__(self, model: keras.Model, batch_size: int, jit: bool):
        self._model = model
        self._batch_size = batch_size
        model.optimizer.build(model.trainable_variables)
        self._step = tf.function(self._train_batch, jit_compile=jit, autograph=False)
        self._inference = tf.function(self._per_example, jit_compile=jit, autograph=False)
        self._data: StreamedData | None = None
        self._feeding: Feeding | None = None

    def attach(self, data: StreamedData, feeding: Feeding | None) -> None:
        """See `EpochProgram`."""
        self._data, self._feeding = data, feeding

    def run(self, epoch: int) -> dict[str, Any]:
        """See `EpochProgram`."""
        return {**step.running(self._train(epoch)), **self.evaluate()}

    def run_steps(self, epoch: int) -> None:
        """See `EpochProgram`."""
        self._train(epoch)

    def evaluate(self) -> dict[str, Any]:
        """See `EpochProgram`."""
        data = self._attached_data()
        train = self._split("train", len(data.labels))
        test = self._split("test", len(data.test_labels))
        values = {
            **metrics.split_metrics("train", train, data.labels),
            **metrics.split_metrics("test", test, data.test_labels),
            **metrics.subset_metrics(train, data.labels, data.original_labels, data.selected),
        }
        if len(data.val_labels):
            val = self._split("val", len(data.val_labels))
            values |= metrics.split_metrics("val", val, data.val_labels)
        return values

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """See `EpochProgram`."""
        batches = self._epoch(EpochDraw.NO_EPOCH).take(count)
        return [(images, labels) for images, labels, _ in batches]

    def _train(self, epoch: int) -> np.ndarray:
        """The epoch's steps; returns their example-weighted means of `step.RUNNING`."""
        data, feeding = self._attached_data(), self._attached_feeding()
        steps = steps_per_epoch(len(data.labels), self._batch_size)
        first, last = feeding.steps_of(epoch, steps)
        rates = feeding.schedule(epoch, steps)
        total, count = np.zeros(len(step.RUNNING)), 0
        for rate, (images, labels, _) in zip(
            rates[first:last], self._epoch(epoch).skip(first), strict=False
        ):
            total += self._step(images, labels, tf.constant(rate)).numpy() * float(len(labels))
            count += len(labels)
        return np.float32(total / max(count, 1))

    def _epoch(self, epoch: int) -> tf.data.Dataset:
        feeding = self._attached_feeding()
        return self._attached_data().train_epoch(
            feeding.seed, feeding.level, epoch, self._batch_size
        )

    def _train_batch(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        inputs = tf.cast(images, self._model.compute_dtype)
        return step.train_on_batch(self._model, inputs, labels, rate)

    def _per_example(self, images: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
        inputs = tf.cast(images, self._model.compute_dtype)
        return metrics.per_example(self._model(inputs, training=False), labels)

    def _split(self, split: str, examples: int) -> metrics.PerExample:
        """Losses and predictions of a split, in the order of its labels."""
        losses, predictions = np.zeros(examples, np.float32), np.zeros(examples, np.int32)
        for images, labels, rows in self._attached_data().evaluation(split, EVALUATION_BATCH):
            if split == "test":
                step.before_test_batch(self._model, len(rows) / examples)
            values = self._inference(images, labels)
            losses[rows], predictions[rows] = values.losses, values.predictions
        return metrics.PerExample(tf.constant(losses), tf.constant(predictions))

    def _attached_data(self) -> StreamedData:
        if self._data is None:
            raise ValueError("attach data first")
        return self._data

    def _attached_feeding(self) -> Feeding:
        if self._feeding is None:
            raise ValueError("attach feeding first")
        return self._feeding
