"""The examples that pruning worsens, improves and leaves alone, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfprune.experiments import cli
from tfprune.experiments.command import Command, Experiment
from tfprune.studies.examples import check_galleries
from tfprune.studies.families import families_of_methods
from tfprune.studies.settings import FamilyConfig, ScoresConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study

EXPERIMENT = Experiment(
    "example_galleries",
    str(__doc__),
    (FamilyConfig, ScoresConfig),
    expand=families_of_methods,
    check=check_galleries,
)


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import examples

    study.measure(examples.losses(), {trial: trial.finished() for trial in study.trials})
    examples.measure_galleries(study, command.options[1])


def main(argv: Sequence[str]) -> int:
    """Runs the study and writes its tables, figures and report; returns the exit code."""
    return cli.run(EXPERIMENT, argv, further)
