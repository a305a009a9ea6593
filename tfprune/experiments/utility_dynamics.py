"""How does the utility of weights change while a network trains?

The mean, the standard deviation (utility imbalance) and the minimum of the utility of random
subsets of the weights through training, and the accuracy of the network without them, at random
and by magnitude. --snapshot_every says how often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.settings import UtilityConfig
from tfprune.studies.utility import check_examples

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies.utility import measure_dynamics

    (options,) = command.options
    measure_dynamics(study, options)


EXPERIMENT = Experiment(
    "utility_dynamics", str(__doc__), (UtilityConfig,), check=check_examples, further=further
)
