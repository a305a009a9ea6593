"""Initial weights that depend on (seed, level) and the architecture, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfprune.backend import keras
from tfprune.config import BATCH_NORM_GAMMA
from tfprune.errors import InputError, unknown_name
from tfprune.models.blocks import is_gate
from tfprune.pruning.kernel_table import kernels_of
from tfprune.seeds import Stream, generator


def initial_weights(
    model: Any, seed: int, level: int = 0, batch_norm_gamma: str = "ones"
) -> list[np.ndarray]:
    """Draws the initial value of every weight of a model (SDD A.1, PEG table 1).

    | variable | value |
    | --- | --- |
    | kernels of dense layers and of all convolutions but recurrent ones | N(0, 2 / fan_in) |
    | their biases | 0 |
    | batch norm: γ, β, moving mean, moving variance | 1 or U[0, 1), 0, 0, 1 |
    | layer and group norm: γ, β | 1, 0 |
    | gates on identity shortcuts | 1 |
    | any other variable that is not trainable (a `Normalization` layer's) | its present value |

    fan_in is the number of inputs that one output sums over: 784 for LeNet's first layer, 9 for
    a 3x3 depthwise kernel. Frozen layers are drawn as well.

    The n-th kernel of the model has a random stream of its own, and so has the n-th batch-norm γ.
    So layers added at the end change no earlier layer, batch norm and the choice of γ change no
    kernel, and a wrapped model gets the weights of the plain one. Draws are in float64 and then
    rounded, so float32 and float64 runs start from the same numbers.

    Args:
      model: a built Keras model; layers may be nested models, or wrapped for pruning.
      seed: the trial's seed.
      level: pruning iteration that starts from the draw; 0 for the dense network.
      batch_norm_gamma: `ones` or `uniform`, OpenLTH's default.

    Returns:
      One array for each of `weight_variables(model)`, with its shape and dtype. For a plain model
      these are `model.weights`, so `model.set_weights` accepts the list.

    Raises:
      InputError: a trainable variable is of a kind not named above.
      SettingError: no such `batch_norm_gamma`.
    """
    if batch_norm_gamma not in BATCH_NORM_GAMMA:
        raise unknown_name("batch_norm_gamma", batch_norm_gamma, BATCH_NORM_GAMMA)
    fan_ins, constants, gammas = _rules(model)
    kernel_stream, gamma_stream = generator(seed, Stream.INIT, level).spawn(2)

    def draw(variable: Any) -> np.ndarray:
        shape, key = tuple(variable.shape), id(variable)
        if key in fan_ins:
            deviation = math.sqrt(2.0 / fan_ins[key])
            return deviation * kernel_stream.spawn(1)[0].standard_normal(shape)
        if key in gammas:
            own_stream = gamma_stream.spawn(1)[0]
            return own_stream.random(shape) if batch_norm_gamma == "uniform" else np.ones(shape)
        if key in constants:
            return np.full(shape, constants[key])
        if variable.trainable:
            raise InputError(
                f"no rule initializes {variable.name!r}: tfprune knows convolution, dense and "
                "normalization layers; replace the layer, or set the model's weights yourself"
            )
        return variable.numpy()

    variables = weight_variables(model)
    return [draw(v).astype(v.dtype.as_numpy_dtype) for v in variables]


def initialize(model: Any, seed: int, level: int = 0, batch_norm_gamma: str = "ones") -> None:
    """Assigns `initial_weights` to a model; on an error nothing is assigned.

    Masks of a wrapped model keep their values but are not applied: set them again afterwards, so
    that pruned weights are 0.
    """
    values = initial_weights(model, seed, level, batch_norm_gamma)
    for variable, value in zip(weight_variables(model), values, strict=True):
        variable.assign(value)


def weight_variables(model: Any) -> list[Any]:
    """The variables of `model.weights`, in order, without those that a wrapper added.

    So a model wrapped for pruning has the same list as the plain model: no mask, threshold, step.
    """
    added: set[int] = set()
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Wrapper):
            inside = {id(variable) for variable in layer.layer.weights}
            own = (v for v in layer.weights if id(v) not in inside and not v.trainable)
            added.update(id(variable) for variable in own)
    return [variable for variable in model.weights if id(variable) not in added]


def _layers(model: Any) -> Iterator[Any]:
    """Every layer at any depth, in no particular order."""
    return (module for module in model.submodules if isinstance(module, keras.layers.Layer))


def _rules(model: Any) -> tuple[dict[int, int], dict[int, float], set[int]]:
    """What becomes of each variable, by its id: kernels' fan-in, constants' value, γ's."""
    fan_ins: dict[int, int] = {}
    constants: dict[int, float] = {}
    gammas: set[int] = set()
    for layer in _layers(model):
        kernels = _kernel_fan_ins(layer)
        fan_ins.update((id(kernel), fan_in) for kernel, fan_in in kernels)
        named = _norm_constants(layer) or ({"bias": 0.0} if kernels else {})
        constants.update((id(getattr(layer, n, None)), value) for n, value in named.items())
        if isinstance(layer, _batch_norms()):
            gammas.add(id(layer.gamma))
    # A layer without bias or scale has None in its place.
    constants.pop(id(None), None)
    gammas.discard(id(None))
    return fan_ins, constants, gammas


def _kernel_fan_ins(layer: Any) -> list[tuple[Any, int]]:
    """The kernels of a layer, each with the number of inputs that one output sums over."""
    if is_gate(layer):
        return []
    kernels = [kernel for kernel in kernels_of(layer) if kernel.owner is layer]
    # Recurrent kernels and tables of embeddings are not initialized as the papers' kernels are.
    if any(kernel.axes.attribute in ("recurrent_kernel", "embeddings") for kernel in kernels):
        return []
    return [(kernel.variable, kernel.fan_in) for kernel in kernels]


def _norm_constants(layer: Any) -> dict[str, float]:
    if isinstance(layer, _batch_norms()):
        return {"beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    if isinstance(layer, (keras.layers.LayerNormalization, keras.layers.GroupNormalization)):
        return {"gamma": 1.0, "beta": 0.0}
    if is_gate(layer):
        return {"depthwise_kernel": 1.0}
    return {}


def _batch_norms() -> tuple[Any, ...]:
    return (
        keras.layers.BatchNormalization,
        keras.layers.experimental.SyncBatchNormalization,
    )
