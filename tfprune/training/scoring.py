"""What a network loses: the masks of a level, by scores on its training batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras
from tfprune.catalog import CRITERIA, FILTER_CRITERIA
from tfprune.errors import arguments_from
from tfprune.pruning import selection
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.filter_selection import filter_kernels, kept_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import dense_masks
from tfprune.pruning.settings import PruningConfig
from tfprune.pruning.weights import Arrays
from tfprune.seeds import Stream, generator
from tfprune.training.epoch_model import EpochModel
from tfprune.training.epoch_program import Feeding
from tfprune.training.schedules import fixed
from tfprune.training.trainer import Data, Trainer


def prune(
    trainer: Trainer,
    data: Data,
    seed: int,
    level: int,
    weights: Arrays,
    masks: Masks,
    pruning: PruningConfig,
    sparsity: float | None = None,
) -> Masks:
    """The masks of a level, from the trained weights of the network it prunes.

    A criterion of filters ranks and removes whole filters, and fractions are of filters.

    Args:
      trainer: of the network, which is left at the weights; where filters are pruned, under the
        masks of the level.
      data: what gradients are taken on.
      seed: the trial's seed.
      level: the level to be trained under the masks.
      weights: the trained weights.
      masks: the masks they were trained under.
      pruning: the criterion, its scope and the fraction to remove.
      sparsity: prune to it in one shot; None removes the fraction.
    """
    trainer.load(weights, masks)
    program = trainer.attach(data, Feeding(seed, level, fixed(0.0)))
    inputs = ScoringInputs(
        model=trainer.model,
        masks=masks,
        batches=program.scoring_batches(pruning.criterion_batches),
        num_batches=pruning.criterion_batches,
        rng=generator(seed, Stream.MASK, level),
    )
    if not pruning.prunes_filters:
        return _selected(CRITERIA[pruning.criterion](inputs), masks, pruning, sparsity)
    scores = FILTER_CRITERIA[pruning.criterion](inputs)
    kept = _selected(scores, Masks(kept_filters(masks)), pruning, sparsity)
    return trainer.set_masks(filter_kernels(masks, kept))


def check_filters(model: keras.Model, criterion: str) -> None:
    """Raises InputError if a network's filters cannot be scored so: without batch norm."""
    blank = (np.zeros((1, *model.input_shape[1:]), np.float32), np.zeros(1, np.int64))
    rng = generator(0, Stream.MASK)
    FILTER_CRITERIA[criterion](ScoringInputs(model, dense_masks(model), batches=[blank], rng=rng))


def running_batches(model: EpochModel, count: int) -> list[tuple[Any, Any]]:
    """Random training batches of the training that is going on, see `EpochProgram`."""
    if model.program is None:
        raise ValueError("nothing is trained")
    return model.program.scoring_batches(count)


def example_batch(trainer: Trainer, data: Data, seed: int) -> Any:
    """The images of one random training batch, normalized, not augmented."""
    program = trainer.attach(data, Feeding(seed, 0, fixed(0.0)))
    return program.scoring_batches(1)[0][0]


def _selected(
    scores: Mapping[str, np.ndarray], masks: Masks, pruning: PruningConfig, sparsity: float | None
) -> Masks:
    with arguments_from(fraction="prune_fraction", sparsity="sparsities"):
        if sparsity is not None:
            return selection.prune_to_sparsity(scores, masks, sparsity, pruning.scope)
        return selection.prune(scores, masks, pruning.prune_fraction, pruning.scope)
