"""How much of its accuracy a pruning event costs a network."""

from __future__ import annotations


def instability(before: float, after: float) -> float:
    """The fraction of the test accuracy that a pruning event takes away (GST figure 1).

    `(before - after) / before`, of the accuracies immediately before and after; stability is
    1 minus it, the fraction that remains. A network that classifies nothing right loses nothing.

    Args:
      before: accuracy, in [0, 1].
      after: likewise; where pruning helps, instability is negative.

    Example:
      >>> instability(0.8, 0.6)
      0.25000000000000006
    """
    return (before - after) / before if before else 0.0
