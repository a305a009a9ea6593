"""Logging the accuracy on the label-noise subsets in a user's own `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.training import metrics


class SubsetAccuracy(keras.callbacks.Callback):
    """Logs memorization after every epoch (SDD 3.1).

    Adds `train_loss`, `train_accuracy`, `unpermuted_accuracy`, `permuted_accuracy`,
    `restored_accuracy`, `noisy_loss` and `original_loss` to the logs. An `EpochModel` computes
    them in its own program and does not need this callback.

    Args:
      images: what the model takes, [examples, ...].
      labels: int [examples], the labels trained on.
      original_labels: int [examples], the labels before the noise.
      selected: bool [examples], the examples that the noise selected.
      batch_size: examples per inference step.
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
        self.images = images
        self.labels = tf.constant(labels, tf.int32)
        self.original_labels = tf.constant(original_labels, tf.int32)
        self.selected = tf.constant(selected, tf.bool)
        self.batch_size = batch_size

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        logits = self.model.predict(self.images, batch_size=self.batch_size, verbose=0)
        values = metrics.per_example(tf.constant(logits), self.labels)
        scalars = {
            **metrics.split_metrics("train", values, self.labels),
            **metrics.subset_metrics(values, self.labels, self.original_labels, self.selected),
        }
        logs.update({name: float(value) for name, value in scalars.items()})
