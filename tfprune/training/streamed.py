"""One epoch over data that stay on disk: a compiled step per batch, fed by tf.data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data.streaming import StreamedData
from tfprune.seeds import EpochDraw
from tfprune.training import metrics, step
from tfprune.training.epoch_program import EpochProgram


class StreamedProgram(EpochProgram[StreamedData, StreamedData]):
    """Trains and evaluates one epoch per call, a batch at a time.

    Args:
      model: as for `EpochProgram`.
      batch_size: examples per step.
      jit: whether to compile with XLA.
    """

    def __init__(self, model: keras.Model, batch_size: int, jit: bool = False):
        super().__init__(model, batch_size)
        compiled = partial(tf.function, jit_compile=jit, autograph=False)
        self._step = compiled(self._train_batch)
        self._inference = compiled(self._infer_batch)

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """See base class."""
        batches = self._batches(EpochDraw.NO_EPOCH).take(count)
        return [(images, labels) for images, labels, _ in batches]

    def _hold(self, data: StreamedData) -> StreamedData:
        return data  # They stay on disk.

    def _train(self, epoch: int) -> np.ndarray:
        total, count = np.zeros(len(step.RUNNING)), 0
        for rate, images, labels in self._shown(epoch):
            total += self._step(images, labels, tf.constant(rate)).numpy() * float(len(labels))
            count += len(labels)
        return np.float32(total / max(count, 1))

    def _measure(self) -> dict[str, Any]:
        return metrics.of_splits(self._data, self._infer)

    def _shown(self, epoch: int) -> Iterator[tuple[np.float32, tf.Tensor, tf.Tensor]]:
        """Learning rate, normalized images and labels of every step to take."""
        first, last, rates = self._due(epoch, len(self._data.labels))
        batches = self._batches(epoch).skip(first)
        for rate, (images, labels, _) in zip(rates[first:last], batches, strict=False):
            yield rate, images, labels

    def _batches(self, epoch: int) -> tf.data.Dataset:
        feeding = self._fed
        return self._data.train_epoch(feeding.seed, feeding.level, epoch, self._batch_size)

    def _infer(self, split: str) -> metrics.PerExample:
        """Losses and predictions of a split, in the order of its labels."""
        examples = len(getattr(self._data, f"{metrics.SPLITS[split]}labels"))
        losses, predictions = np.zeros(examples, np.float32), np.zeros(examples, np.int32)
        for images, labels, rows in self._data.evaluation(split, self._evaluation_batch):
            if split == "test":
                step.before_test_batch(self._model, len(rows) / examples)
            values = self._inference(images, labels)
            losses[rows], predictions[rows] = values.losses, values.predictions
        return metrics.PerExample(tf.constant(losses), tf.constant(predictions))

    @property
    def _evaluation_batch(self) -> int:
        return metrics.EVALUATION_BATCH

    def _train_batch(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> Any:
        inputs = tf.cast(images, self._model.compute_dtype)
        return step.train_on_batch(self._model, inputs, labels, rate)

    def _infer_batch(self, images: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
        inputs = tf.cast(images, self._model.compute_dtype)
        return metrics.per_example(self._model(inputs, training=False), labels)
