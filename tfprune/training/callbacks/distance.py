"""Logging how far training has moved from where it started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, tf
from tfprune.measures.distance import distance
from tfprune.pruning.weights import kernel_names, mask_variables, named_variables

DISTANCE = "distance_from_init"


def layer_column(kernel: str) -> str:
    """What the distance of one kernel is logged as: `distance_from_init/LAYER`."""
    return f"{DISTANCE}/{kernel.removesuffix('/kernel')}"


class DistanceFromInit(keras.callbacks.Callback):
    """Logs `distance_from_init` after every epoch, in total and per layer (SDD section 5).

    `distance_from_init` is the L2 distance over all convolution and dense kernels between the
    weights and the initial ones, both under the current mask: a pruned weight is nowhere, so it
    has not moved. `distance_from_init/LAYER` is that of one layer's kernel.

    Args:
      initial: the initial weights by name (`read_weights`); None takes the weights at the
        start of `fit`.
    """

    def __init__(self, initial: Mapping[str, np.ndarray] | None = None):
        super().__init__()
        self._given = initial
        self._kernels: list[_Kernel] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._kernels = _kernels(self.model, self._given)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        found = distance(
            {kernel.name: kernel.variable.numpy() for kernel in self._kernels},
            {kernel.name: kernel.masked_initial() for kernel in self._kernels},
        )
        logs[DISTANCE] = found.total
        logs.update({layer_column(name): value for name, value in found.per_layer.items()})


class _Kernel(NamedTuple):
    """A kernel, found once: walking a model costs more than an epoch of a small one."""

    name: str
    variable: tf.Variable
    mask: tf.Variable | None
    initial: np.ndarray

    def masked_initial(self) -> np.ndarray:
        return self.initial if self.mask is None else self.initial * self.mask.numpy()


def _kernels(model: keras.Model, initial: Mapping[str, np.ndarray] | None) -> list[_Kernel]:
    variables = named_variables(model)
    masks = mask_variables(model)
    return [
        _Kernel(
            name,
            variables[name],
            masks.get(name),
            variables[name].numpy().copy() if initial is None else initial[name],
        )
        for name in kernel_names(model)
    ]
