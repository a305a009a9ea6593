"""What pruning does to the loss before any retraining (SDD equation 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data.augmentation import normalize
from tfprune.measures.evaluation import Examples, check_examples
from tfprune.models.task import task_of
from tfprune.precision import products
from tfprune.pruning.model import kernels

SummedGradients = Callable[..., Mapping[str, tf.Tensor]]


def summed_gradients(model: keras.Model, layers: Iterable[str]) -> SummedGradients:
    """The compiled gradients of the summed loss of a batch, for any weights and masks of a model.

    Whoever asks for several changes of one network's loss compiles once.

    Args:
      model: wrapped or plain; its compiled loss, or cross-entropy.
      layers: names of layers with kernels.

    Returns:
      A function of images, labels as the model's task gives them, and the mean and std by which
      images are normalized or None, to {layer: the gradient by its kernel}.
    """
    task, variables = task_of(model), kernels(model, layers)

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(images: Any, labels: Any, mean: Any, std: Any) -> Mapping[str, tf.Tensor]:
        if mean is not None and std is not None:
            images = normalize(images, mean, std)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(variables.values()))
            loss = tf.reduce_sum(task.example_losses(labels, model(images, training=False)))
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(loss, variables, unconnected_gradients=zero)

    return gradients


@products("ieee")
def linear_loss_change(
    model: keras.Model,
    examples: Examples,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    batch_size: int = 128,
    gradients_of: SummedGradients | None = None,
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
      gradients_of: the `summed_gradients` of the model, to share one program among calls.

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
    check_examples(examples)
    variables = kernels(model, before)
    gradients_of = gradients_of or summed_gradients(model, before)
    targets = task_of(model).labels(examples.labels)
    gradients = {name: np.zeros(mask.shape) for name, mask in removed.items()}
    for start in range(0, len(examples.labels), batch_size):
        batch = slice(start, start + batch_size)
        images, labels = tf.constant(examples.images[batch]), tf.constant(targets[batch])
        for name, value in gradients_of(images, labels, examples.mean, examples.std).items():
            gradients[name] += value.numpy().astype(np.float64) / len(examples.labels)
    return {
        name: -float(np.sum(gradients[name] * variables[name].numpy() * mask))
        for name, mask in removed.items()
    }
