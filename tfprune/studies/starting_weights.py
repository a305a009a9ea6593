"""The weights that a level may start from: see `tfprune.catalog.Retraining`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfprune.errors import SettingError

if TYPE_CHECKING:
    from tfprune.pruning.weights import Arrays


@dataclass(frozen=True)
class RetrainingInputs:
    """What there is of a trial before a level is trained, by name as `read_weights` gives it.

    Attributes:
      trained: the final weights of the network that was pruned.
      initial: the initialization that the level descends from, the dense training's unless each
        level has one of its own.
      rewound: the dense training's weights at `rewind_to`; the first call may train for them.
    """

    trained: Arrays
    initial: Arrays
    rewound: Callable[[], Arrays]


def checked(retrain: str, weights: Any, like: Arrays) -> Arrays:
    """The weights that a way to retrain chose, which may be a function of one's own.

    Args:
      retrain: its name.
      weights: what its function returned.
      like: weights of the network.

    Raises:
      SettingError: these are no finite weights of the network.
    """
    if not isinstance(weights, Mapping):
        raise SettingError(
            "retrain",
            retrain,
            f"weights by name from its function, as `inputs.trained`, not {type(weights).__name__}",
        )
    if odd := sorted(set(weights) ^ set(like)):
        what = f"{', '.join(odd[:3])} differ{'s' if len(odd) == 1 else ''}"
        raise SettingError(
            "retrain",
            retrain,
            f"weights by the names of `inputs.trained` from its function: {what}",
        )
    for name, value in weights.items():
        if np.shape(value) != like[name].shape:
            shapes = f"{like[name].shape}, not {np.shape(value)}"
            raise SettingError("retrain", retrain, f"{name} of shape {shapes} from its function")
        if not np.isfinite(value).all():
            raise SettingError("retrain", retrain, f"{name} of finite numbers from its function")
    return dict(weights)


def rewound(inputs: RetrainingInputs) -> Arrays:
    """Weight rewinding."""
    return inputs.rewound()


def initial(inputs: RetrainingInputs) -> Arrays:
    """Training from scratch."""
    return inputs.initial
