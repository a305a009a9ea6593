"""Logging the accuracy on the label-noise subsets in a user's own `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.models.task import task_of
from tfprune.precision import products
from tfprune.training import metrics
from tfprune.training.callbacks.arguments import check_whole_number


class SubsetAccuracy(keras.callbacks.Callback):
    """Logs memorization after every epoch (SDD 3.1).

    Adds `train_loss`, `train_accuracy`, `unpermuted_accuracy`, `permuted_accuracy`,
    `restored_accuracy`, `noisy_loss` and `original_loss` to the logs; losses are the one that the
    model was compiled with. An `EpochModel` computes them in its own program and does not need
    this callback.

    Args:
      images: what the model takes, [examples, ...].
      labels: [examples, ...], the labels trained on: one class each, as the model's loss takes it.
      original_labels: the labels before the noise, likewise.
      selected: bool [examples], the examples that the noise selected.
      batch_size: examples per inference step.

    Raises:
      InputError: they are not equally many; in `fit`, if the model is no classifier with one label
        for each example, or the labels do not fit it.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        original_labels: np.ndarray,
        selected: np.ndarray,
        batch_size: int = 1024,
    ):
        super().__init__()
        check_whole_number("batch_size", batch_size, 1)
        given = {"labels": labels, "original_labels": original_labels, "selected": selected}
        for name, values in given.items():
            if len(values) != len(images):
                raise InputError(f"{len(images)} images, and {len(values)} {name}: give one each")
        self.images = images
        self.labels = labels
        self.original_labels = original_labels
        self.selected = tf.constant(selected, tf.bool)
        self.batch_size = batch_size

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        task = task_of(self.model)
        self._targets = task.labels(self.labels)
        self._classes, self._original = (
            tf.constant(task.class_labels(labels, "SubsetAccuracy"))
            for labels in (self.labels, self.original_labels)
        )

        def measure(images: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
            outputs = self.model(images, training=False)
            losses = tf.cast(task.example_losses(labels, outputs), tf.float32)
            return metrics.PerExample(losses, task.predicted(outputs))

        self._measure = tf.function(measure, autograph=False, reduce_retracing=True)

    @products("ieee")
    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        size = self.batch_size
        parts = [
            self._measure(
                tf.constant(self.images[start : start + size]),
                tf.constant(self._targets[start : start + size]),
            )
            for start in range(0, len(self.images), size)
        ]
        values = metrics.PerExample(*(tf.concat(part, axis=0) for part in zip(*parts, strict=True)))
        scalars = {
            **metrics.split_metrics("train", values, self._classes),
            **metrics.subset_metrics(values, self._classes, self._original, self.selected),
        }
        logs.update({name: float(value) for name, value in scalars.items()})
