"""Averages of the weights that an optimizer keeps (`use_ema`), held under the masks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfprune.backend import keras, tf

MaskOf = Callable[[tf.Variable], tf.Variable | None]


def mask_written_averages(mask_of: MaskOf) -> None:
    """From now on, weights that an optimizer overwrites with their averages are masked again.

    The averages are taken before constraints are applied, and `fit` ends by writing them over the
    weights without applying any. Nobody but Keras sees that moment in a plain `fit`, so it is
    Keras's method that masks.

    Args:
      mask_of: the mask that a variable is kept under; None if it has none.
    """
    optimizers = keras.optimizers.Optimizer
    finalize = optimizers.finalize_variable_values

    @functools.wraps(finalize)
    def finalize_masked(self: Any, var_list: Iterable[tf.Variable]) -> None:
        variables = list(var_list)
        finalize(self, variables)
        for variable in variables:
            if self.use_ema and (mask := mask_of(variable)) is not None:
                variable.assign(variable * tf.cast(mask, variable.dtype))

    optimizers.finalize_variable_values = finalize_masked


def mask_averages(optimizer: Any, variables: Iterable[tf.Variable], mask_of: MaskOf) -> None:
    """Zeroes the averages of pruned weights, so that none comes back when a mask is lifted.

    Args:
      optimizer: of any kind, or None.
      variables: of the model.
      mask_of: as for `mask_written_averages`.
    """
    for variable, average in _averages(optimizer, variables):
        if (mask := mask_of(variable)) is not None:
            average.assign(average * tf.cast(mask, average.dtype))


def _averages(
    optimizer: Any, variables: Iterable[tf.Variable]
) -> Iterator[tuple[tf.Variable, tf.Variable]]:
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    averages = getattr(optimizer, "_model_variables_moving_average", None)
    if not averages:
        return
    for variable in variables:
        index = optimizer._index_dict.get(optimizer._var_key(variable))
        if index is not None:
            yield variable, averages[index]
