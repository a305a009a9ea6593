"""Is pruning a kind of noise?

Filters that would be pruned are set to zero for some batches and come back, at zero or as they
were, or get Gaussian noise, beside networks that are pruned and not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.filter_trainings import check_layers
from tfprune.studies.settings import FilterConfig, NoiseConfig

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies import filter_trainings

    options, noise = command.options
    study.measure(filter_trainings.outcome(), filter_trainings.train_noisy(study, options, noise))


EXPERIMENT = Experiment(
    "pruning_as_noise",
    str(__doc__),
    (FilterConfig, NoiseConfig),
    check=check_layers,
    further=further,
)
