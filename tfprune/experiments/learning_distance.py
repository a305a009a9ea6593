"""Learning distance: does staying near the initialization explain robustness to label noise?

The L2 distance from initialization and the test accuracy of sparse (dashed) and re-dense (solid)
networks against sparsity, where the two cross, and the correlation of distance and accuracy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.branches import check_redense
from tfprune.studies.settings import BranchConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import branches

    (branch,) = command.options
    branches.train_redense(study, branch)


EXPERIMENT = Experiment(
    "learning_distance", str(__doc__), (BranchConfig,), check=check_redense, further=further
)
