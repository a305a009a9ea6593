"""Sparse double descent: accuracy against sparsity under label noise.

Reproduces SDD figures 1, 2, 3, 8, 9, 10 and 12: train, last and best test accuracy against
sparsity; training dynamics and memorization at the dense, overfitting, sweet-spot and
underfitting sparsities; and pruning efficacy (section 4). The presets criteria, noise_types and
retraining are the poster's sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tfprune.experiments import cli
from tfprune.experiments.command import Experiment
from tfprune.settings import Section, between, setting


@dataclass(frozen=True)
class EfficacyConfig(Section):
    """How pruning efficacy is read off."""

    efficacy_tolerance: float = setting(
        0.01,
        "training accuracy that a sparsity may lose and still count for pruning efficacy",
        check=between(0, 1),
    )


EXPERIMENT = Experiment(
    "sparse_double_descent", str(__doc__), (EfficacyConfig,), ("efficacy_tolerance",)
)


def main(argv: Sequence[str]) -> int:
    """Runs the study and writes its tables, figures and report; returns the exit code."""
    return cli.run(EXPERIMENT, argv)
