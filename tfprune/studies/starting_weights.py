"""The weights that a level may start from: see `tfprune.catalog.Retraining`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def rewound(inputs: RetrainingInputs) -> Arrays:
    """Weight rewinding."""
    return inputs.rewound()


def initial(inputs: RetrainingInputs) -> Arrays:
    """Training from scratch."""
    return inputs.initial
