"""Sparse double descent: accuracy against sparsity under label noise.

Train, last and best test accuracy against sparsity; training dynamics and memorization at the
dense, overfitting, sweet-spot and underfitting sparsities; and pruning efficacy. The presets
criteria, noise_types and retraining are the poster's sweeps.
"""

from __future__ import annotations

from tfprune.experiments.command import Experiment
from tfprune.studies.settings import EfficacyConfig

EXPERIMENT = Experiment(
    "sparse_double_descent", str(__doc__), (EfficacyConfig,), ("efficacy_tolerance",)
)
