"""Re-dense training: do highly sparse solutions sit in flat basins?

Accuracy through sparse and re-dense training, linear interpolation from sparse to re-dense
solutions, and the sharpness of re-dense minima by the sparsity they came from. Masks are lifted at
some levels of the trunk, pruned weights start again at 0, and the whole network trains on at the
last learning rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.branches import check_redense
from tfprune.studies.landscapes import check_in_memory
from tfprune.studies.settings import BranchConfig, LandscapeConfig

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.studies.procedure import Study


def check(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses what can be neither trained further nor measured."""
    check_redense(loop, options)
    check_in_memory(loop, options)


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import branches, landscapes

    branch, landscape = command.options
    ends = branches.train_redense(study, branch)
    study.measure(landscapes.interpolation(landscape), ends)
    minima = {trial: [trial.stage(0), *stages] for trial, stages in ends.items()}
    study.measure(landscapes.line(landscape), minima)
    if landscape.surface_points:
        study.measure(landscapes.surface(landscape), minima)


EXPERIMENT = Experiment(
    "redense", str(__doc__), (BranchConfig, LandscapeConfig), check=check, further=further
)
