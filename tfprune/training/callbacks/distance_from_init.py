"""Logging how far training has moved from where it started."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.measures.distance import distance
from tfprune.pruning.weights import kernel_and_bias_names, mask_variables, named_variables
from tfprune.training.callbacks.going_on import Continuing

DISTANCE = "distance_from_init"


def layer_column(layer: str) -> str:
    """What the distance of one layer is logged as: `distance_from_init/LAYER`."""
    return f"{DISTANCE}/{layer}"


class DistanceFromInit(Continuing):
    """Logs `distance_from_init` after every epoch, in total and per layer (SDD section 5).

    `distance_from_init` is the L2 distance over all trainable parameters of convolution and dense
    layers, their kernels and biases, between the weights and the initial ones, both under the
    current mask: a pruned weight is nowhere, so it has not moved. `distance_from_init/LAYER` is
    that of one layer's kernel and bias. Batch-norm parameters are left out.

    Args:
      initial: the initial weights by name (`read_weights`); None takes the weights at the start
        of the model's first `fit`.

    Raises:
      InputError: in `fit`, if it goes on where another process was, and `initial` was not given.
    """

    def __init__(self, initial: Mapping[str, np.ndarray] | None = None):
        super().__init__()
        self._given = initial
        self._weights: list[_Weight] = []

    def forget(self) -> None:
        self._weights = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if not self._weights:
            self._weights = _weights(self.model, self._given)

    def start(self, trained: int, went_on: bool) -> None:
        if trained and self._given is None and self.trained == 0:
            raise InputError(
                f"training goes on after {trained} epochs, and the weights before were not seen: "
                "give them, DistanceFromInit(initial)"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if logs is None:
            return
        found = distance(
            {weight.name: weight.variable.numpy() for weight in self._weights},
            {weight.name: weight.masked_initial() for weight in self._weights},
        )
        logs[DISTANCE] = found.total
        layers: dict[str, float] = {}
        for weight in self._weights:
            before = layers.get(weight.layer, 0.0)
            layers[weight.layer] = math.hypot(before, found.per_array[weight.name])
        logs.update({layer_column(name): value for name, value in layers.items()})


class _Weight(NamedTuple):
    """A kernel or bias, found once: walking a model costs more than an epoch of a small one."""

    name: str
    layer: str
    variable: tf.Variable
    mask: tf.Variable | None
    initial: np.ndarray

    def masked_initial(self) -> np.ndarray:
        return self.initial if self.mask is None else self.initial * self.mask.numpy()


def _weights(model: keras.Model, initial: Mapping[str, np.ndarray] | None) -> list[_Weight]:
    variables = named_variables(model)
    masks = mask_variables(model)
    return [
        _Weight(
            name,
            name.rpartition("/")[0],
            variables[name],
            masks.get(name),
            variables[name].numpy().copy() if initial is None else initial[name],
        )
        for name in kernel_and_bias_names(model)
    ]
