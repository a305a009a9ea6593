"""Is the utility of a pruned and retrained network that of the pretrained or of a small one?

The utility of random subsets of the pretrained network (over the weights that pruning leaves), of
the pruned and retrained one, and of one pruned at random at initialization to as many weights and
trained for as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.settings import UtilityConfig
from tfprune.studies.utility import check_pruned

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies.small import train_small
    from tfprune.studies.utility import measure

    (options,) = command.options
    levels = {t: list(range(1, t.config.pruning.last_level + 1)) for t in study.trials}
    small = train_small(study, levels)
    pruned = {t: [s for s in t.finished() if s.level > 0] for t in study.trials}
    measure(study, options, ("ratio", "pretrained"), pruned)
    measure(study, options, ("ratio",), small)


EXPERIMENT = Experiment(
    "utility_pruned", str(__doc__), (UtilityConfig,), check=check_pruned, further=further
)
