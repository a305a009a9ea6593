"""What do the examples that pruning affects most do to dense training?

Dense networks trained without the examples that pruning improves most, with or without those it
worsens most, and on those alone that a sparse network classifies right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.families import families_of_methods
from tfprune.studies.leave_out import check_sets
from tfprune.studies.settings import FamilyConfig, LeaveOutConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import examples, leave_out

    study.measure(examples.losses(), {trial: trial.finished() for trial in study.trials})
    leave_out.train_leave_out(study, command.options[1])


EXPERIMENT = Experiment(
    "leave_out",
    str(__doc__),
    (FamilyConfig, LeaveOutConfig),
    expand=families_of_methods,
    check=check_sets,
    further=further,
)
