"""The examples that pruning worsens, improves and leaves alone, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.examples import check_galleries
from tfprune.studies.families import families_of_methods
from tfprune.studies.settings import FamilyConfig, ScoresConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import examples

    study.measure(examples.losses(), {trial: trial.finished() for trial in study.trials})
    examples.measure_galleries(study, command.options[1])


EXPERIMENT = Experiment(
    "example_galleries",
    str(__doc__),
    (FamilyConfig, ScoresConfig),
    expand=families_of_methods,
    check=check_galleries,
    further=further,
)
