"""A split's loss and accuracy, and those of its label-noise subsets, from per-example values."""

from __future__ import annotations

from typing import NamedTuple

from tfprune.backend import keras, tf


class PerExample(NamedTuple):
    """What an evaluation of a split yields.

    Attributes:
      losses: float32 [examples], cross-entropy in nats against the labels trained on.
      predictions: int32 [examples], the class with the largest logit.
    """

    losses: tf.Tensor
    predictions: tf.Tensor


def per_example(logits: tf.Tensor, labels: tf.Tensor) -> PerExample:
    """Losses and predictions of one batch.

    Args:
      logits: float [batch, classes].
      labels: int32 [batch].
    """
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return PerExample(tf.cast(losses, tf.float32), tf.argmax(logits, axis=-1, output_type=tf.int32))


def split_metrics(name: str, values: PerExample, labels: tf.Tensor) -> dict[str, tf.Tensor]:
    """`NAME_loss` and `NAME_accuracy`, means over all examples of the split."""
    return {
        f"{name}_loss": tf.reduce_mean(values.losses),
        f"{name}_accuracy": _accuracy(values.predictions, labels),
    }


def subset_metrics(
    values: PerExample, labels: tf.Tensor, original_labels: tf.Tensor, selected: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Memorization (SDD 3.1) and the noisy-original partition of the loss (PEG 4).

    Args:
      values: of the training split.
      labels: int32 [examples], the labels trained on.
      original_labels: int32 [examples], the labels before the noise.
      selected: bool [examples], the examples that the noise selected.

    Returns:
      Accuracy on unpermuted, permuted (against observed labels) and restored examples (the same
      against original labels), and the mean loss of noisy and original examples; NaN for a
      subset without examples.
    """
    predictions = values.predictions
    return {
        "unpermuted_accuracy": _accuracy(predictions, labels, ~selected),
        "permuted_accuracy": _accuracy(predictions, labels, selected),
        "restored_accuracy": _accuracy(predictions, original_labels, selected),
        "noisy_loss": _mean(values.losses, selected),
        "original_loss": _mean(values.losses, ~selected),
    }


def _accuracy(
    predictions: tf.Tensor, labels: tf.Tensor, subset: tf.Tensor | None = None
) -> tf.Tensor:
    correct = tf.cast(predictions == labels, tf.float32)
    return tf.reduce_mean(correct) if subset is None else _mean(correct, subset)


def _mean(values: tf.Tensor, subset: tf.Tensor) -> tf.Tensor:
    count = tf.reduce_sum(tf.cast(subset, tf.float32))
    total = tf.reduce_sum(tf.where(subset, values, tf.zeros_like(values)))
    return tf.where(count > 0, total / tf.maximum(count, 1.0), float("nan"))
