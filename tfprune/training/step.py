"""One optimizer step on one batch: what resident and streamed epochs are made of."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras, tf

# What an epoch's steps say of their batches: augmented, in training mode, weights on the move.
RUNNING = ("loss", "running_train_accuracy")


def train_on_batch(
    model: keras.Model, inputs: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor
) -> tf.Tensor:
    """Updates the model by the gradient of the mean cross-entropy of a batch.

    Args:
      model: compiled; maps inputs to logits. Losses that its layers add are added.
      inputs: float [batch, ...], normalized.
      labels: int32 [batch].
      learning_rate: scalar.

    Where the model has a `noise` (see `tfprune.training.callbacks.filter_noise.NoiseState`), it is
    applied around the step.

    Returns:
      The loss before the update and the accuracy of the same logits, float32 [2]: see `RUNNING`.
    """
    optimizer = model.optimizer
    noise = getattr(model, "noise", None)
    if noise is not None:
        noise.before_batch()
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)
        losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        loss = tf.add_n([tf.reduce_mean(losses), *model.losses])
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.learning_rate.assign(tf.cast(learning_rate, optimizer.learning_rate.dtype))
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    if noise is not None:
        noise.after_batch()
    return tf.stack([tf.cast(loss, tf.float32), tf.reduce_mean(correct(logits, labels))])


def correct(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Whether each example is predicted right, float32 [batch]."""
    predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(predictions == tf.cast(labels, tf.int32), tf.float32)


def running(means: Any) -> dict[str, Any]:
    """An epoch's example-weighted means of what `train_on_batch` returns, by name."""
    return dict(zip(RUNNING, (means[0], means[1]), strict=True))


def before_test_batch(model: keras.Model, share: float) -> None:
    """What noise there is on a model's weights goes on in evaluations of test examples.

    Args:
      model: as for `train_on_batch`.
      share: of the test examples, those that are evaluated next, in [0, 1].
    """
    noise = getattr(model, "noise", None)
    if noise is not None:
        noise.during_evaluation(share)
