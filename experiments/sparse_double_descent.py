"""Sparse double descent: accuracy against sparsity under label noise.

Reproduces SDD figures 1, 2, 3, 8, 9, 10 and 12: train, last and best test accuracy against
sparsity; training dynamics and memorization at the dense, overfitting, sweet-spot and
underfitting sparsities; and pruning efficacy (section 4).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from experiments import cli
from tfprune.config import Section, between, setting


@dataclass(frozen=True)
class Options(Section):
    """What only this experiment has."""

    efficacy_tolerance: float = setting(
        0.01,
        "training accuracy that a sparsity may lose and still count for pruning efficacy",
        check=between(0, 1),
        identity=False,
    )


EXPERIMENT = cli.Experiment("sparse_double_descent", str(__doc__), Options)


def main(argv: Sequence[str]) -> int:
    """Runs the study and writes its tables, figures and report; returns the exit code."""
    command = cli.parse(EXPERIMENT, argv)
    if command is None:
        return 0
    from experiments.runner import run_and_report  # Slow to import: not for help and errors.

    own_columns = {"efficacy_tolerance": command.options.efficacy_tolerance}
    return run_and_report(command, [command.config], own_columns)


if __name__ == "__main__":
    sys.exit(cli.exit_code(lambda: main(sys.argv[1:])))
