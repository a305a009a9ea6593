"""Random reinitialization: may random weights beat the winning ticket under the same mask?

At every sparsity, the lottery ticket (weights rewound) against the same mask with fresh random
weights, both trained for the same steps of the schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.settings import BranchConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import branches

    (branch,) = command.options
    study.train_branches(branches.reinit, branches.levels(branch, study))


EXPERIMENT = Experiment("random_reinit", str(__doc__), (BranchConfig,), further=further)
