"""Initial weights that depend on (seed, level) and the architecture, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfprune.backend import keras
from tfprune.catalog import INITIALIZATIONS
from tfprune.errors import InputError, unknown_name
from tfprune.models.blocks import is_batch_norm, is_gate
from tfprune.models.kernel_table import DENSE, kernels_of
from tfprune.models.settings import BATCH_NORM_GAMMA
from tfprune.seeds import Stream, generator

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Part:
    """A kernel or bias that is to be drawn.

    Attributes:
      fan_in: how many inputs an output of its kernel sums over: 784 for LeNet's first layer, 9 for
        a 3x3 depthwise kernel.
      fan_out: how many outputs an input of its kernel is added to: 9 times the filters of a 3x3
        convolution.
      dense: whether its layer is a dense one.
      bias: whether it is the bias.
    """

    fan_in: int
    fan_out: int
    dense: bool
    bias: bool = False


def kaiming_normal(part: Part) -> Draw:
    """He et al. 2015: kernels N(0, 2 / fan_in), biases 0 (SDD A.1)."""
    return _constant(0.0) if part.bias else _normal(2 / part.fan_in)


def open_lth(part: Part) -> Draw:
    """OpenLTH's `kaiming_normal`: it leaves biases as PyTorch draws them (PEG).

    The code that GST's ResNet-20 and ResNet-56 come from does the same.
    """
    return pytorch(part) if part.bias else kaiming_normal(part)


def pytorch(part: Part) -> Draw:
    """PyTorch's layers as they are made: U(-b, b) with b = 1 / sqrt(fan_in) (GST's ResNet-18)."""
    return _uniform(1 / math.sqrt(part.fan_in))


def kaiming_fan_out(part: Part) -> Draw:
    """torchvision's VGG with a new dense layer, GST's: convolutions N(0, 2 / fan_out), biases 0.

    Dense layers are as PyTorch makes them.
    """
    if part.dense:
        return pytorch(part)
    return _constant(0.0) if part.bias else _normal(2 / part.fan_out)


def _normal(variance: float) -> Draw:
    return lambda rng, shape: math.sqrt(variance) * rng.standard_normal(shape)


def _uniform(bound: float) -> Draw:
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def _constant(value: float) -> Draw:
    return lambda rng, shape: np.full(shape, value)


def initial_weights(
    model: Any,
    seed: int,
    level: int = 0,
    batch_norm_gamma: str = "ones",
    initialization: str = "kaiming_normal",
) -> list[np.ndarray]:
    """Draws the initial value of every weight of a model (SDD A.1, PEG table 1, GST's code).

    | variable | value |
    | --- | --- |
    | kernels of dense layers and of all convolutions but recurrent ones | by `initialization` |
    | their biases | by `initialization` |
    | batch norm: γ, β, moving mean, moving variance | 1 or U[0, 1), 0, 0, 1 |
    | layer and group norm: γ, β | 1, 0 |
    | gates on identity shortcuts | 1 |
    | any other variable that is not trainable (a `Normalization` layer's) | its present value |

    Frozen layers are drawn as well.

    The n-th kernel of the model has a random stream of its own, and so have the n-th bias and the
    n-th batch-norm γ. So layers added at the end change no earlier layer, biases, batch norm and
    the choice of γ change no kernel, and a wrapped model gets the weights of the plain one. Draws
    are in float64 and then rounded, so float32 and float64 runs start from the same numbers.

    Args:
      model: a built Keras model; layers may be nested models, or wrapped for pruning.
      seed: the trial's seed.
      level: pruning iteration that starts from the draw; 0 for the dense network.
      batch_norm_gamma: `ones` or `uniform`, OpenLTH's default.
      initialization: a name in `tfprune.catalog.INITIALIZATIONS`.

    Returns:
      One array for each of `weight_variables(model)`, with its shape and dtype. For a plain model
      these are `model.weights`, so `model.set_weights` accepts the list.

    Raises:
      InputError: a trainable variable is of a kind not named above.
      SettingError: no such `batch_norm_gamma` or `initialization`.
    """
    if batch_norm_gamma not in BATCH_NORM_GAMMA:
        raise unknown_name("batch_norm_gamma", batch_norm_gamma, BATCH_NORM_GAMMA)
    distribution = INITIALIZATIONS[initialization]
    parts, constants, gammas = _rules(model)
    kernels, gamma_stream, biases = generator(seed, Stream.INIT, level).spawn(3)

    def draw(variable: Any) -> np.ndarray:
        shape, key = tuple(variable.shape), id(variable)
        if key in parts:
            stream = (biases if parts[key].bias else kernels).spawn(1)[0]
            return distribution(parts[key])(stream, shape)
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


def initialize(
    model: Any,
    seed: int,
    level: int = 0,
    batch_norm_gamma: str = "ones",
    initialization: str = "kaiming_normal",
) -> None:
    """Assigns `initial_weights` to a model; on an error nothing is assigned.

    Masks of a wrapped model keep their values but are not applied: set them again afterwards, so
    that pruned weights are 0.
    """
    values = initial_weights(model, seed, level, batch_norm_gamma, initialization)
    for variable, value in zip(weight_variables(model), values, strict=True):
        variable.assign(value)


def weight_variables(model: Any) -> list[Any]:
    """The variables of `model.weights`, in order, without those that a wrapper added.

    So a model wrapped for pruning has the same list as the plain model: no mask, threshold, step.
    """
    added: set[int] = set()
    for layer in _layers(model):
        if isinstance(layer, keras.constraints.Constraint):  # A mask of channels.
            added.update(id(variable) for variable in layer.weights)
        elif isinstance(layer, keras.layers.Wrapper):
            inside = {id(variable) for variable in layer.layer.weights}
            own = (v for v in layer.weights if id(v) not in inside and not v.trainable)
            added.update(id(variable) for variable in own)
    return [variable for variable in model.weights if id(variable) not in added]


def _layers(model: Any) -> Iterator[Any]:
    """Every layer at any depth, in no particular order."""
    return (module for module in model.submodules if isinstance(module, keras.layers.Layer))


def _rules(model: Any) -> tuple[dict[int, Part], dict[int, float], set[int]]:
    """What becomes of each variable, by its id: kernels and biases, constants' value, γ's."""
    parts: dict[int, Part] = {}
    constants: dict[int, float] = {}
    gammas: set[int] = set()
    for layer in _layers(model):
        kernels = _kernels(layer)
        parts.update((id(kernel), part) for kernel, part in kernels)
        if kernels:
            parts[id(getattr(layer, "bias", None))] = replace(kernels[-1][1], bias=True)
        constants.update((id(getattr(layer, n)), v) for n, v in _norm_constants(layer).items())
        if is_batch_norm(layer):
            gammas.add(id(layer.gamma))
    # A layer without bias or scale has None in its place.
    parts.pop(id(None), None)
    constants.pop(id(None), None)
    gammas.discard(id(None))
    return parts, constants, gammas


def _kernels(layer: Any) -> list[tuple[Any, Part]]:
    """The kernels of a layer."""
    if is_gate(layer):
        return []
    kernels = [kernel for kernel in kernels_of(layer) if kernel.owner is layer]
    # Recurrent kernels and tables of embeddings are not initialized as the papers' kernels are.
    if any(kernel.axes.attribute in ("recurrent_kernel", "embeddings") for kernel in kernels):
        return []
    return [
        (kernel.variable, Part(kernel.fan_in, kernel.fan_out, kernel.axes.kind == DENSE))
        for kernel in kernels
    ]


def _norm_constants(layer: Any) -> dict[str, float]:
    if is_batch_norm(layer):
        return {"beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
    if isinstance(layer, (keras.layers.LayerNormalization, keras.layers.GroupNormalization)):
        return {"gamma": 1.0, "beta": 0.0}
    if is_gate(layer):
        return {"depthwise_kernel": 1.0}
    return {}
