"""What pruning does to the loss before any retraining (SDD equation 1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data.augmentation import normalize
from tfprune.measures.evaluation import Examples
from tfprune.models.task import task_of
from tfprune.precision import products
from tfprune.pruning.model import kernels


@products("ieee")
def linear_loss_change(
    model: keras.Model,
    examples: Examples,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    batch_size: int = 128,
) -> dict[str, float]:
    """ΔL ≈ gᵀ(w ⊙ (m₊ − m)) of a pruning event, to first order (SDD equation 1).

    g is the gradient of the mean loss of all examples, the compiled one or cross-entropy, at the
    weights before the event, with dropout off and batch norm at its moving statistics. ΔL itself
    is the loss under the new masks minus the loss under the old: the column `loss_change` of
    results.csv.

    Args:
      model: wrapped or plain, at the weights before the event; left as it is.
      examples: what the loss is over; in SDD the training split.
      before: bool masks before the event, of the kernels' shapes, by layer.
      after: masks after it; what they keep must be kept by `before` too.
      batch_size: how many examples' gradient is taken at a time.

    Returns:
      {layer: its part, in nats}; the change is their sum.

    Raises:
      ValueError: the masks are of other layers, or a weight returns.
      InputError: nothing says what the model's outputs mean, or the labels do not fit them.
    """
    if before.keys() != after.keys():
        raise ValueError(f"masks of {sorted(before)} before and of {sorted(after)} after")
    removed = {name: np.asarray(mask) & ~np.asarray(after[name]) for name, mask in before.items()}
    if any((np.asarray(mask) & ~np.asarray(before[name])).any() for name, mask in after.items()):
        raise ValueError("a weight that was pruned before is there after")
    variables = kernels(model, before)
    task = task_of(model)
    targets = task.labels(examples.labels)
    gradients = {name: np.zeros(mask.shape) for name, mask in removed.items()}
    for start in range(0, len(examples.labels), batch_size):
        images = tf.constant(examples.images[start : start + batch_size])
        if examples.mean is not None and examples.std is not None:
            images = normalize(images, examples.mean, examples.std)
        labels = tf.constant(targets[start : start + batch_size])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(variables.values()))
            losses = task.example_losses(labels, model(images, training=False))
            loss = tf.reduce_sum(losses)
        found = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for name, value in found.items():
            gradients[name] += value.numpy().astype(np.float64) / len(examples.labels)
    return {
        name: -float(np.sum(gradients[name] * variables[name].numpy() * mask))
        for name, mask in removed.items()
    }
