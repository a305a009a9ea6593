"""Does less stable pruning generalize better?

Filters are pruned while a network trains, and the test accuracy it ends with is compared with how
much each pruning event costs (instability), over targets, periods and seeds. What --prunings lists
decides the figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.filter_trainings import check_layers
from tfprune.studies.settings import FilterConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import batch_norm_outputs, filter_trainings

    (options,) = command.options
    study.measure(
        batch_norm_outputs.normalized(), {trial: trial.finished()[:1] for trial in study.trials}
    )
    study.measure(filter_trainings.outcome(), filter_trainings.train_pruned(study, options))


EXPERIMENT = Experiment(
    "generalization_stability", str(__doc__), (FilterConfig,), check=check_layers, further=further
)
