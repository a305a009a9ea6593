"""How does the utility of weights depend on the size of a network?

The utility of random subsets, by ratio and by number of weights, of a network and of smaller ones,
pruned at random at initialization (--sizes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.settings import SizeConfig, UtilityConfig
from tfprune.studies.utility import check_examples

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies.small import train_sizes
    from tfprune.studies.utility import measure

    sizes, options = command.options
    smaller = train_sizes(study, sizes.sizes)
    stages = {t: [*t.finished()[:1], *smaller.get(t, [])] for t in study.trials}
    measure(study, options, ("ratio", "number"), stages)


EXPERIMENT = Experiment(
    "utility_size", str(__doc__), (SizeConfig, UtilityConfig), check=check_examples, further=further
)
