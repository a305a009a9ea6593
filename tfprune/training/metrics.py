"""A split's loss and accuracy, and those of its label-noise subsets, from per-example values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tfprune.backend import keras, map_in_turn, tf

EVALUATION_BATCH = 1024

# What the names of a split's fields begin with; the order in which splits are evaluated.
SPLITS = {"train": "", "test": "test_", "val": "val_"}


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


def in_chunks(
    examples: int,
    infer: Callable[[tf.Tensor, int], PerExample],
    size: int | None = None,
    places: tuple[int, ...] = (),
) -> PerExample:
    """Inference over examples in chunks, and one of the rest.

    Args:
      examples: how many.
      infer: (int32 index of the first example, their number) -> what they yield. Called inside a
        loop of the program that this is part of.
      size: examples in a chunk; None for `EVALUATION_BATCH`.
      places: the number of networks that each yield something, as a further axis, the last; none
        for one network.
    """
    size = EVALUATION_BATCH if size is None else size
    full, rest = divmod(examples, size)
    parts = []
    if full:
        whole = map_in_turn(
            lambda start: infer(start, size),
            tf.range(full) * size,
            PerExample(
                tf.TensorSpec([size, *places], tf.float32),
                tf.TensorSpec([size, *places], tf.int32),
            ),
        )
        parts.append(PerExample(*(tf.reshape(value, [-1, *places]) for value in whole)))
    if rest:
        parts.append(infer(tf.constant(full * size), rest))
    return PerExample(*(tf.concat(values, 0) for values in zip(*parts, strict=True)))


def of_splits(data: Any, infer: Callable[[str], PerExample]) -> dict[str, tf.Tensor]:
    """The metrics of every split that has examples, by name.

    Of several networks, where examples are the last axis and networks the first, one each.

    Args:
      data: the labels of every split, `original_labels` and `selected`, arrays or tensors.
      infer: the name of a split -> what its examples yield, in the order of its labels.
    """
    labels = {name: getattr(data, f"{prefix}labels") for name, prefix in SPLITS.items()}
    found = {name: infer(name) for name, own in labels.items() if own.shape[-1]}
    values = subset_metrics(found["train"], data.labels, data.original_labels, data.selected)
    for name, examples in found.items():
        values |= split_metrics(name, examples, labels[name])
    return values


def split_metrics(name: str, values: PerExample, labels: tf.Tensor) -> dict[str, tf.Tensor]:
    """`NAME_loss` and `NAME_accuracy`, means over all examples of the split."""
    return {
        f"{name}_loss": tf.reduce_mean(values.losses, -1),
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
    return tf.reduce_mean(correct, -1) if subset is None else _mean(correct, subset)


def _mean(values: tf.Tensor, subset: tf.Tensor) -> tf.Tensor:
    count = tf.reduce_sum(tf.cast(subset, tf.float32), -1)
    total = tf.reduce_sum(tf.where(subset, values, tf.zeros_like(values)), -1)
    return tf.where(count > 0, total / tf.maximum(count, 1.0), float("nan"))
