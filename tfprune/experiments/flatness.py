"""Does unstable pruning lead to flatter minima?

The spectrum and the trace of the Hessian, the covariance of gradients and how far the weights can
be perturbed, at the end of the runs of generalization_stability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.flatness import check_flatness
from tfprune.studies.settings import FilterConfig, FlatnessConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import filter_trainings
    from tfprune.studies.flatness import flatness

    options, measured = command.options
    stages = filter_trainings.train_pruned(study, options)
    study.measure(filter_trainings.outcome(), stages)
    study.measure(flatness(measured), stages)


EXPERIMENT = Experiment(
    "flatness", str(__doc__), (FilterConfig, FlatnessConfig), check=check_flatness, further=further
)
