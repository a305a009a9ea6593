"""What does pruning do to generalization? Four studies, reproduced with TensorFlow and Keras.

Importing this package imports nothing else: what you ask it for is loaded when you ask. It only
sets `TF_USE_LEGACY_KERAS`, so that `tf.keras` is from now on Keras 2 (`tf_keras`), whose layers
tensorflow-model-optimization wraps.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from tfprune._version import __version__ as __version__

# TensorFlow reads it when `tf.keras` is touched for the first time.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

_EXPORTS = {
    "Ablations": "tfprune.measures.ablation",
    "Adam": "tfprune.optimizers",
    "CRITERIA": "tfprune.catalog",
    "DATASETS": "tfprune.catalog",
    "DistanceFromInit": "tfprune.training.callbacks.distance_from_init",
    "EpochCheckpoint": "tfprune.training.callbacks.safety",
    "EpochProgress": "tfprune.training.callbacks.epoch_progress",
    "EpochRecord": "tfprune.training.callbacks.record",
    "Examples": "tfprune.measures.evaluation",
    "FILTER_CRITERIA": "tfprune.catalog",
    "FilterNoise": "tfprune.training.callbacks.filter_noise",
    "FilterPruning": "tfprune.training.callbacks.filter_pruning",
    "FilterSchedule": "tfprune.pruning.filter_schedule",
    "IterativePruning": "tfprune.training.callbacks.rewinding",
    "LABEL_NOISE": "tfprune.catalog",
    "MEASURES": "tfprune.catalog",
    "MODELS": "tfprune.catalog",
    "MaskedLayer": "tfprune.pruning.wrapper",
    "Masks": "tfprune.pruning.masks",
    "Plane": "tfprune.measures.plane",
    "RETRAINING": "tfprune.catalog",
    "ReDense": "tfprune.training.callbacks.redense",
    "Retraining": "tfprune.catalog",
    "RewindWeights": "tfprune.training.callbacks.rewinding",
    "RunConfig": "tfprune.config",
    "SGD": "tfprune.optimizers",
    "ScoringInputs": "tfprune.pruning.criteria",
    "Source": "tfprune.data.sources",
    "StopOnNonFinite": "tfprune.training.callbacks.safety",
    "SubsetAccuracy": "tfprune.training.callbacks.subsets",
    "TensorBoardScalars": "tfprune.training.callbacks.event_scalars",
    "UtilityRecord": "tfprune.training.callbacks.utility_record",
    "channel_statistics": "tfprune.data.sources",
    "gate_shortcuts": "tfprune.pruning.dead_filters",
    "get_masks": "tfprune.pruning.model",
    "grid_axes": "tfprune.measures.plane",
    "kernels": "tfprune.pruning.model",
    "load_data": "tfprune.studies.loading",
    "load_model": "tfprune.pruning.export",
    "load_stage": "tfprune.studies.loading",
    "load_weights": "tfprune.pruning.plain_weights",
    "masked_layers": "tfprune.pruning.model",
    "masks_of": "tfprune.pruning.plain_weights",
    "prune": "tfprune.pruning.selection",
    "prune_model": "tfprune.pruning.model",
    "prune_to_sparsity": "tfprune.pruning.selection",
    "read_weights": "tfprune.pruning.weights",
    "save_model": "tfprune.pruning.export",
    "set_masks": "tfprune.pruning.model",
    "shrink": "tfprune.pruning.shrink",
    "sparsity": "tfprune.pruning.model",
    "strip": "tfprune.pruning.model",
    "to_tflite": "tfprune.pruning.export",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'tfprune' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
