"""Unstructured pruning criteria: a score for every prunable weight, the lowest pruned first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.models.task import batch_loss_of
from tfprune.precision import products
from tfprune.pruning.copies import copy_of
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import copy_model, kernels
from tfprune.pruning.wrapper import inner

Batch = tuple[Any, Any]
Scores = dict[str, NDArray[np.float64]]

# Layers that are one function of each number.
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.ThresholdedReLU,
    keras.layers.Softmax,
)


@dataclass(frozen=True)
class ScoringInputs:
    """What a criterion may look at. Criteria leave all of it as they found it.

    Attributes:
      model: the network that is scored, wrapped or plain. Where a criterion needs its loss, that is
        the one it was compiled with, or else cross-entropy (`tfprune.models.task.task_of`).
      masks: its masks: which layers are scored, and in which order.
      batches: training batches (normalized images, labels as the model's loss takes them), in an
        order that is the same every time: a sequence, a finite `tf.data.Dataset`, or a function
        that returns an iterable of them. A model of several inputs or outputs takes what `fit`
        takes. Only `gradient` and `snip` need them.
      num_batches: how many of them `snip` averages over; None for all.
      rng: source of the draws of `random`.
    """

    model: keras.Model
    masks: Masks
    batches: Iterable[Batch] | Callable[[], Iterable[Batch]] = ()
    num_batches: int | None = None
    rng: np.random.Generator | None = None

    def first_batches(self, count: int | None) -> Iterator[Batch]:
        """The first `count` batches, or all; fewer if there are fewer."""
        check_batches(self.batches)
        batches = self.batches() if callable(self.batches) else self.batches
        return map(_pair, islice(iter(batches), count))


def check_batches(batches: Any) -> None:
    """Refuses batches that cannot be read again, or never end.

    Raises:
      InputError: they are a generator, which is empty after the first time, an endless
        `tf.data.Dataset`, or no batches at all.
    """
    if callable(batches):
        return
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise InputError(
            f"batches must be (images, labels) pairs, not a {type(batches).__name__}: give a list, "
            "a tf.data.Dataset or a function that returns them"
        )
    if iter(batches) is batches:
        raise InputError(
            f"batches are read more than once, and a {type(batches).__name__} is empty after the "
            "first time: give a list, a tf.data.Dataset or a function that returns it"
        )
    if isinstance(batches, tf.data.Dataset):
        endless = int(batches.cardinality()) == tf.data.INFINITE_CARDINALITY
        if endless:
            raise InputError("batches never end: give a finite dataset, such as batches.take(100)")


def _pair(batch: Any) -> Batch:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        is_pair = isinstance(batch, tuple | list)
        found = f"has {len(batch)} parts" if is_pair else f"is a {type(batch).__name__}"
        raise InputError(f"batches must be (images, labels) pairs, and one {found}")
    return batch[0], batch[1]


def magnitude(inputs: ScoringInputs) -> Scores:
    """|w| (SDD 3.2)."""
    return {name: np.abs(w) for name, w in _weights(inputs).items()}


@products("ieee")
def gradient(inputs: ScoringInputs) -> Scores:
    """|w ∂L/∂w|, L the mean loss of the first batch, cross-entropy in the paper (SDD 3.2).

    Dropout is off and batch norm uses its moving statistics, so that scoring changes nothing.

    Raises:
      InputError: if there is no batch, or its labels do not fit the model.
    """
    return _saliency(inputs, num_batches=1)


@products("ieee")
def snip(inputs: ScoringInputs) -> Scores:
    """|w ḡ|, ḡ the gradient of the mean loss over `num_batches` batches (PEG C: cross-entropy).

    Every example weighs the same, whatever the sizes of the batches. Dropout and batch norm are
    as in `gradient`.

    Raises:
      InputError: if there is no batch, or its labels do not fit the model.
    """
    return _saliency(inputs, inputs.num_batches)


@products("ieee")
def synflow(inputs: ScoringInputs) -> Scores:
    """|w ∂R/∂w|, R the sum of logits of the absolute network on an all-ones input (PEG C, J.2).

    The absolute network is a float64 copy of the model with every weight replaced by its absolute
    value. Its activations are linear, as in the product of weights that defines R (Tanaka et al.
    2020): ReLUs are, since no signal is negative, and what would saturate (ReLU6, tanh, a gate's
    or the last layer's sigmoid, softmax) is left out. Batch norm is the fixed affine map of
    inference, so that no batch statistics mix in; its moving variance stays (it is part of the
    function, and its epsilon bounds the factor γ / √(σ² + ε)), and its moving mean enters as
    -|μ|, so that like every other weight it adds to the signal and can never shut off a channel.
    Signals grow by a factor of order √fan_in a layer, which float64 holds for hundreds of layers.

    A layer's scores sum to R, in every layer that all paths go through, when there are no biases.

    Raises:
      InputError: if an input dimension is unknown, R overflows all the same, or no signal passes
        a layer, whose weights would go by ties: one before or after it is pruned away, or it is
        inside of what is not linear, as the queries of attention are.
    """
    network = _absolute_network(inputs.model)
    ones = [_all_ones(tensor) for tensor in network.inputs]
    variables = kernels(network, inputs.masks)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(variables.values()))
        outputs = network(ones if len(ones) > 1 else ones[0], training=False)
        total = tf.add_n([tf.reduce_sum(output) for output in tf.nest.flatten(outputs)])
    if not np.isfinite(total.numpy()):
        raise InputError(f"synflow's sum of logits is {total.numpy()}: use another `criterion`")
    gradients = tape.gradient(total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    scores = {name: np.abs(variables[name].numpy() * g.numpy()) for name, g in gradients.items()}
    _check_signal(scores, inputs.masks)
    return scores


def random(inputs: ScoringInputs) -> Scores:
    """U(0, 1) for every weight, layers in order, each in C order (PEG C, J.2).

    Raises:
      ValueError: if there is no generator.
    """
    if inputs.rng is None:
        raise ValueError("the random criterion needs ScoringInputs.rng")
    return {name: inputs.rng.random(mask.shape) for name, mask in inputs.masks.items()}


def _weights(inputs: ScoringInputs) -> Scores:
    variables = kernels(inputs.model, inputs.masks)
    return {name: variable.numpy().astype(np.float64) for name, variable in variables.items()}


def _saliency(inputs: ScoringInputs, num_batches: int | None) -> Scores:
    gradients = _mean_gradients(inputs, num_batches)
    return {name: np.abs(w * gradients[name]) for name, w in _weights(inputs).items()}


def _mean_gradients(inputs: ScoringInputs, num_batches: int | None) -> Scores:
    """The mean over examples of ∂(loss)/∂w for the prunable kernels."""
    variables = kernels(inputs.model, inputs.masks)
    loss = batch_loss_of(inputs.model)
    sums: Scores = {name: np.zeros(mask.shape) for name, mask in inputs.masks.items()}
    examples = 0
    for images, labels in inputs.first_batches(num_batches):
        found = _batch_gradients(inputs.model, variables, loss, images, labels)
        size = len(tf.nest.flatten(labels)[0])
        for name, gradient_ in found.items():
            sums[name] += size * gradient_.numpy().astype(np.float64)
        examples += size
    if examples == 0:
        raise InputError("this criterion needs training batches, and there are none")
    return {name: total / examples for name, total in sums.items()}


def _batch_gradients(
    model: keras.Model,
    variables: dict[str, tf.Variable],
    loss: Callable[[Any, Any], tf.Tensor],
    images: Any,
    labels: Any,
) -> dict[str, tf.Tensor]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(variables.values()))
        value = loss(labels, model(images, training=False))
    return tape.gradient(value, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _absolute_network(model: keras.Model) -> keras.Model:
    network = copy_model(model, _linear_in_float64)
    network.set_weights([np.abs(weight) for weight in network.get_weights()])
    for module in network.submodules:
        if isinstance(module, keras.layers.BatchNormalization):
            module.moving_mean.assign(-module.moving_mean)
    return network


def _linear_in_float64(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy whose activation takes every signal that is not negative as it is."""
    layer = inner(layer)
    if isinstance(layer, _ACTIVATIONS) and not _is_linear(layer):
        return keras.layers.Activation("linear", name=layer.name, dtype="float64")
    changes = {"dtype": "float64"}
    activation = getattr(layer, "activation", None)
    is_last = "activation" in layer.get_config() and not isinstance(layer, keras.layers.RNN)
    if is_last and callable(activation) and not _is_linear(activation):
        changes["activation"] = "linear"
    return copy_of(layer, **changes)


def _is_linear(function: Callable[[tf.Tensor], tf.Tensor]) -> bool:
    signals = tf.constant([[0.0, 1e-3, 1.0, 10.0, 1e6]])
    return bool(np.array_equal(function(signals), signals))


def _check_signal(scores: Scores, masks: Masks) -> None:
    silent = [name for name, mask in masks.items() if mask.any() and not scores[name][mask].any()]
    if silent:
        named = ", ".join(silent[:3]) + (f" and {len(silent) - 3} more" if silent[3:] else "")
        raise InputError(
            f"synflow's signal does not pass {named}, whose weights would go by ties: use another "
            "`criterion`"
        )


def _all_ones(tensor: Any) -> tf.Tensor:
    shape = tensor.shape[1:]
    if not shape.is_fully_defined():
        raise InputError(f"synflow needs a model whose input shape is known, not {tensor.shape}")
    return tf.ones([1, *shape], tensor.dtype)
