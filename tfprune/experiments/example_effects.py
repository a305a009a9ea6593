"""Which examples does pruning help, and which does it hurt?

The change of the training loss by groups of examples of equal difficulty (EL2N), and how far two
algorithms affect the same examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.families import families_of_methods
from tfprune.studies.settings import FamilyConfig, ScoresConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import examples

    study.measure(examples.losses(), {trial: trial.finished() for trial in study.trials})
    full_width = [
        trial
        for trial in study.trials
        if trial.stage(0).trial == command.columns_of[trial.name]["dense_trial"]
    ]
    examples.train_el2n(study, command.options[1], full_width)


EXPERIMENT = Experiment(
    "example_effects",
    str(__doc__),
    (FamilyConfig, ScoresConfig),
    expand=families_of_methods,
    further=further,
)
