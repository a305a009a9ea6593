"""Where does retraining lead: back to the pretrained solution, or to another one?

Accuracy and loss on the plane through the pretrained, the pruned and the retrained network, over
cycles that prune single weights or whole channels, and a network pruned at random at
initialization, trained for as long, beside the last cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfprune.experiments.command import Command, Experiment
from tfprune.studies.settings import SurfaceConfig
from tfprune.studies.surfaces import check_surface, structured

if TYPE_CHECKING:
    from tfprune.studies.procedure import Study


def further(command: Command, study: Study) -> None:
    """What follows the training of the trunks."""
    from tfprune.studies.small import train_small
    from tfprune.studies.surfaces import has_twin, measure_planes

    (options,) = command.options
    last = {t: [t.config.pruning.last_level] for t in study.trials if has_twin(t.config)}
    train_small(study, last)
    measure_planes(study, options)


EXPERIMENT = Experiment(
    "accuracy_surface",
    str(__doc__),
    (SurfaceConfig,),
    expand=lambda configs, options: structured(configs, options[0]),
    check=check_surface,
    further=further,
)
