"""A trainer's network, measured at weights that it once had."""

from __future__ import annotations

import numpy as np

from tfprune.backend import tf
from tfprune.data.streaming import StreamedData
from tfprune.measures.el2n import model_outputs
from tfprune.measures.evaluation import Evaluator
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays
from tfprune.training.metrics import EVALUATION_BATCH
from tfprune.training.trainer import Data, Trainer


def evaluator(trainer: Trainer) -> Evaluator:
    """Evaluates the network at other weights; compiled once for all measurements."""
    return trainer.once("evaluator", lambda: Evaluator(trainer.model, jit=trainer.jit))


def evaluate(trainer: Trainer, data: Data, weights: Arrays, masks: Masks) -> dict[str, float]:
    """Every split's metrics for these weights under these masks, which the network then has."""
    trainer.load(weights, masks)
    found = trainer.attach(data, None).evaluate()
    return {name: float(value) for name, value in found.items()}


def train_logits(trainer: Trainer, data: Data, weights: Arrays, masks: Masks) -> np.ndarray:
    """The logits of every training example, not augmented, for these weights and masks.

    Returns:
      float [examples, classes], in the order of the data.
    """
    trainer.load(weights, masks)
    model = trainer.model
    if not isinstance(data, StreamedData):
        return model_outputs(model, data.images, mean=data.mean, std=data.std)
    logits = np.zeros((len(data.labels), data.num_classes), np.float32)
    for images, _, rows in data.evaluation("train", EVALUATION_BATCH):
        logits[rows] = model(tf.cast(images, model.compute_dtype), training=False).numpy()
    return logits
