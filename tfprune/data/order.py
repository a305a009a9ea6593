"""The order in which an epoch shows the training examples."""

from __future__ import annotations

import numpy as np

from tfprune.seeds import Stream, generator


def epoch_order(num_examples: int, seed: int, level: int, epoch: int) -> np.ndarray:
    """A permutation of all training examples, drawn from (seed, level, epoch) alone.

    Args:
      num_examples: N, the number of training examples.
      seed: the trial's seed.
      level: pruning iteration.
      epoch: epoch within the level.

    Returns:
      int32 [N]: every position in [0, N) once.
    """
    order = generator(seed, Stream.DATA_ORDER, level, epoch).permutation(num_examples)
    return order.astype(np.int32)
