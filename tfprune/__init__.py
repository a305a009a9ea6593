"""What does pruning do to generalization? Four studies, reproduced with TensorFlow and Keras.

Importing this package imports nothing else: what you ask it for is loaded when you ask. It only
sets `TF_USE_LEGACY_KERAS`, so that `tf.keras` is from now on Keras 2 (`tf_keras`), whose layers
tensorflow-model-optimization wraps.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from tfprune._version import __version__ as __version__

if TYPE_CHECKING:  # For editors and type checkers; as below, which a test holds.
    from tfprune.catalog import CRITERIA as CRITERIA
    from tfprune.catalog import DATASETS as DATASETS
    from tfprune.catalog import FILTER_CRITERIA as FILTER_CRITERIA
    from tfprune.catalog import LABEL_NOISE as LABEL_NOISE
    from tfprune.catalog import MEASURES as MEASURES
    from tfprune.catalog import MODELS as MODELS
    from tfprune.catalog import RETRAINING as RETRAINING
    from tfprune.catalog import Retraining as Retraining
    from tfprune.config import RunConfig as RunConfig
    from tfprune.data.sources import Source as Source
    from tfprune.data.sources import channel_statistics as channel_statistics
    from tfprune.measures.ablation import Ablations as Ablations
    from tfprune.measures.evaluation import Examples as Examples
    from tfprune.measures.plane import Plane as Plane
    from tfprune.measures.plane import grid_axes as grid_axes
    from tfprune.optimizers import SGD as SGD
    from tfprune.optimizers import Adam as Adam
    from tfprune.pruning.criteria import ScoringInputs as ScoringInputs
    from tfprune.pruning.dead_filters import gate_shortcuts as gate_shortcuts
    from tfprune.pruning.export import load_model as load_model
    from tfprune.pruning.export import save_model as save_model
    from tfprune.pruning.export import to_tflite as to_tflite
    from tfprune.pruning.filter_schedule import FilterSchedule as FilterSchedule
    from tfprune.pruning.masks import Masks as Masks
    from tfprune.pruning.model import get_masks as get_masks
    from tfprune.pruning.model import kernels as kernels
    from tfprune.pruning.model import masked_layers as masked_layers
    from tfprune.pruning.model import prune_model as prune_model
    from tfprune.pruning.model import set_masks as set_masks
    from tfprune.pruning.model import sparsity as sparsity
    from tfprune.pruning.model import strip as strip
    from tfprune.pruning.plain_weights import load_weights as load_weights
    from tfprune.pruning.plain_weights import masks_of as masks_of
    from tfprune.pruning.selection import prune as prune
    from tfprune.pruning.selection import prune_to_sparsity as prune_to_sparsity
    from tfprune.pruning.shrink import shrink as shrink
    from tfprune.pruning.weights import read_weights as read_weights
    from tfprune.pruning.wrapper import MaskedLayer as MaskedLayer
    from tfprune.studies.loading import load_data as load_data
    from tfprune.studies.loading import load_stage as load_stage
    from tfprune.training.callbacks.distance_from_init import DistanceFromInit as DistanceFromInit
    from tfprune.training.callbacks.epoch_progress import EpochProgress as EpochProgress
    from tfprune.training.callbacks.event_scalars import TensorBoardScalars as TensorBoardScalars
    from tfprune.training.callbacks.filter_noise import FilterNoise as FilterNoise
    from tfprune.training.callbacks.filter_pruning import FilterPruning as FilterPruning
    from tfprune.training.callbacks.record import EpochRecord as EpochRecord
    from tfprune.training.callbacks.redense import ReDense as ReDense
    from tfprune.training.callbacks.rewinding import IterativePruning as IterativePruning
    from tfprune.training.callbacks.rewinding import RewindWeights as RewindWeights
    from tfprune.training.callbacks.safety import EpochCheckpoint as EpochCheckpoint
    from tfprune.training.callbacks.safety import StopOnNonFinite as StopOnNonFinite
    from tfprune.training.callbacks.subsets import SubsetAccuracy as SubsetAccuracy
    from tfprune.training.callbacks.utility_record import UtilityRecord as UtilityRecord

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
