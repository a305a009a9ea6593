"""Filter pruning criteria: a score for every filter of the prunable layers."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.precision import products
from tfprune.pruning.channel_flow import (
    filter_axes,
    inner,
    is_batch_norm,
    mixes,
    name_of_filters,
    parts,
)
from tfprune.pruning.copies import copy_of
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.dead_filters import batch_norm_of
from tfprune.pruning.filter_selection import by_filter
from tfprune.pruning.kernels import names_of_layers
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import copy_model, kernels
from tfprune.pruning.wiring import Wiring

FilterScores = dict[str, NDArray[np.float64]]

# Of the moving average over batches (GST's published code).
_DECAY = 0.9


def filter_l1(inputs: ScoringInputs) -> FilterScores:
    """sum |w| of a filter's kernel, without its bias (GST 2).

    Returns:
      Layer name -> float64 [filters], for every layer of the masks, as all filter criteria do. A
      filter is an output channel, or a dense layer's unit.
    """
    return {name: np.abs(w).sum(axis=0) for name, w in _filters(inputs).items()}


def filter_l2(inputs: ScoringInputs) -> FilterScores:
    """The square root of sum w^2 of a filter's kernel, without its bias (GST 2)."""
    return {name: np.sqrt(np.sum(w**2, axis=0)) for name, w in _filters(inputs).items()}


@products("ieee")
def filter_activation(inputs: ScoringInputs) -> FilterScores:
    """The moving average of a channel's activity over training batches (GST 2).

    r <- 0.9 r + 0.1 sum |a| over the examples and positions of a batch, from r = 0. A sum, so a
    short batch counts less. a is what comes before the ReLU: the output of the batch norm, or of
    the layer itself where there is none; where it is added to a shortcut, the sum. A layer with
    an activation of its own is seen after that.

    Batch norm normalizes by the batch, as in training, and dropout is off. The published code
    takes every tenth training batch as it comes, while the weights move; this takes the weights
    as they are for `num_batches` (None: all) of `batches`.

    Raises:
      InputError: if there is no batch, or the model is not functional or sequential.
    """
    watched = _WatchedModel(inputs.model, _activation_layers(inputs.model, inputs.masks))
    scores: FilterScores = {name: np.zeros(count) for name, count in _counts(inputs).items()}
    batches = 0
    for images, _ in inputs.first_batches(inputs.num_batches):
        activity = watched.activity(images)
        for name, score in scores.items():
            scores[name] = _DECAY * score + (1 - _DECAY) * activity[name]
        batches += 1
    if batches == 0:
        raise InputError("filter_activation needs training batches, and there are none")
    return scores


def filter_gamma(inputs: ScoringInputs) -> FilterScores:
    """|gamma|, the scale of the filter's batch norm.

    Raises:
      InputError: if a layer has no batch norm after it, or one without a scale.
    """
    scores: FilterScores = {}
    for name, layer in _batch_norms(inputs, "filter_gamma").items():
        if layer.gamma is None:
            raise InputError(
                f"the batch norm after layer {name!r} has no scale for filter_gamma: build it "
                "with scale=True, or choose `criterion=filter_ebn`"
            )
        scores[name] = np.abs(_float64(layer.gamma))
    return scores


def filter_ebn(inputs: ScoringInputs) -> FilterScores:
    """E[BN] = E[max(0, N(beta, gamma^2))] of the filter's batch norm (GST B).

    How much a channel passes on after its ReLU, if its normalized values are normal:
    beta (1 - Phi(alpha)) + |gamma| phi(alpha) with alpha = -beta / |gamma|, and max(0, beta) for
    gamma = 0.

    Raises:
      InputError: if a layer has no batch norm after it.
    """
    found = _affine(inputs, "filter_ebn")
    return {name: _rectified_mean(beta, np.abs(gamma)) for name, (gamma, beta) in found.items()}


def filter_ebn_signed(inputs: ScoringInputs) -> FilterScores:
    """`filter_ebn` with gamma instead of |gamma|, as GST's published code scores its ResNets.

    For gamma < 0 that is -E[max(0, -N(beta, gamma^2))], which is negative: such filters are the
    smallest, however much they pass on.

    Raises:
      InputError: if a layer has no batch norm after it.
    """
    found = _affine(inputs, "filter_ebn_signed")
    return {name: _rectified_mean(beta, gamma) for name, (gamma, beta) in found.items()}


def filter_random(inputs: ScoringInputs) -> FilterScores:
    """U(0, 1) for every filter, layers in order.

    Raises:
      ValueError: if there is no generator.
    """
    if inputs.rng is None:
        raise ValueError("filter_random needs ScoringInputs.rng")
    return {name: inputs.rng.random(count) for name, count in _counts(inputs).items()}


def _filters(inputs: ScoringInputs) -> FilterScores:
    """Every kernel as float64 [weights of a filter, filters]."""
    axes = _axes(inputs)
    found = kernels(inputs.model, inputs.masks)
    return {name: by_filter(_float64(kernel), axes[name]) for name, kernel in found.items()}


def _counts(inputs: ScoringInputs) -> dict[str, int]:
    """How many filters each layer has."""
    return {name: inputs.masks[name].shape[axis] for name, axis in _axes(inputs).items()}


def _axes(inputs: ScoringInputs) -> dict[str, int]:
    """The axis of every kernel that counts its filters."""
    kernels(inputs.model, inputs.masks)  # Names the layer that is not there.
    axes = filter_axes(inputs.model)
    for name in inputs.masks:
        if name not in axes:
            raise InputError(f"layer {name!r} has no filters: it is no convolution or dense layer")
    return {name: axes[name] for name in inputs.masks}


def _float64(variable: tf.Variable) -> NDArray[np.float64]:
    return variable.numpy().astype(np.float64)


def _batch_norms(inputs: ScoringInputs, criterion: str) -> dict[str, Any]:
    """The batch norm of every layer of the masks."""
    found = batch_norm_of(inputs.model)
    for name in inputs.masks:
        if name not in found:
            raise InputError(
                f"layer {name!r} has no batch norm after it for {criterion} to look at: prune "
                "layers that have one (`prunable=conv`, `model=vgg11`), or choose "
                "`criterion=filter_l2`"
            )
    return {name: found[name] for name in inputs.masks}


def _affine(
    inputs: ScoringInputs, criterion: str
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(gamma, beta) of the batch norm of every layer; 1 and 0 where it has none."""
    found: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for name, layer in _batch_norms(inputs, criterion).items():
        filters = layer.moving_mean.shape[0]
        gamma = np.ones(filters) if layer.gamma is None else _float64(layer.gamma)
        beta = np.zeros(filters) if layer.beta is None else _float64(layer.beta)
        found[name] = gamma, beta
    return found


def _rectified_mean(beta: NDArray[np.float64], gamma: NDArray[np.float64]) -> NDArray[np.float64]:
    """E[max(0, N(beta, gamma^2))] for gamma >= 0, and the same formula below zero."""
    flat = gamma == 0
    alpha = -beta / np.where(flat, 1.0, gamma)
    density = np.exp(-(alpha**2) / 2) / math.sqrt(2 * math.pi)
    return np.where(flat, np.maximum(beta, 0), beta * ndtr(-alpha) + gamma * density)


class _BatchStatistics:
    """Mixed into a batch normalization class: it normalizes as in training, always."""

    def call(self, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        return super().call(inputs, training=True)  # type: ignore[misc]


class _Watched:
    """Mixed into any layer class: it keeps what its calls returned."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = super().__call__(*args, **kwargs)  # type: ignore[misc]
        self.__dict__.setdefault("seen", []).append(output)  # Past Keras, which tracks attributes.
        return output


class _WatchedModel:
    """A copy of a model, batch norm by batch statistics, that tells what some layers put out.

    Args:
      model: the model to look into; it is left alone.
      layers: a name for each layer to look at.
    """

    def __init__(self, model: keras.Model, layers: Mapping[str, keras.layers.Layer]):
        copies: dict[int, Any] = {}
        watched = {id(layer) for layer in layers.values()}

        def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
            layer = inner(layer)
            mixins: list[type] = [_Watched] if id(layer) in watched else []
            mixins += [_BatchStatistics] if is_batch_norm(layer) else []
            copies[id(layer)] = _with_mixins(layer, mixins)
            return copies[id(layer)]

        self._model = copy_model(model, copy_layer)
        self._layers = {name: copies[id(layer)] for name, layer in layers.items()}

    def activity(self, images: Any) -> FilterScores:
        """The sum of |output| over examples and positions, for each layer, float64 [channels]."""
        for layer in self._layers.values():
            layer.__dict__["seen"] = []
        self._model(images, training=False)
        return {name: _activity(layer.__dict__["seen"]) for name, layer in self._layers.items()}


def _with_mixins(layer: keras.layers.Layer, mixins: list[type]) -> keras.layers.Layer:
    if not mixins:
        return copy_of(layer)
    kind: Any = types.new_class(type(layer).__name__, (*mixins, type(layer)))
    return kind.from_config(layer.get_config())


def _activity(outputs: list[tf.Tensor]) -> NDArray[np.float64]:
    """Summed over all uses of a layer."""
    exact = [tf.abs(tf.cast(output, tf.float64)) for output in outputs]
    sums = [tf.reduce_sum(values, list(range(values.shape.rank - 1))) for values in exact]
    return np.sum([values.numpy() for values in sums], axis=0)


def _activation_layers(model: keras.Model, masks: Masks) -> dict[str, keras.layers.Layer]:
    """For each layer of the masks, the layer whose output is its activation before the ReLU."""
    kernels(model, masks)  # Names the layer that is not there.
    found: dict[str, keras.layers.Layer] = {}
    global_names = names_of_layers(model)
    for part in parts(model):
        wiring = Wiring(part)
        wiring.refuse_operators()
        batch_norms = wiring.batch_norms()
        for node in wiring.nodes:
            layer = inner(node.layer)
            if not mixes(layer):
                continue
            name = name_of_filters(global_names[id(layer)], layer)
            if name in masks and name not in found:
                _, add = wiring.to_add(node)
                activation = batch_norms.get(layer.name, layer) if add is None else add.layer
                found[name] = activation
    return {name: found[name] for name in masks}
