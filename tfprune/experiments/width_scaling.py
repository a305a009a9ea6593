"""Is it the size that matters? Narrower dense networks against pruned ones.

Networks each 80% as wide as the one before, trained as usual, or trained as long as one-shot
pruning trains.
"""

from __future__ import annotations

from tfprune.experiments.command import Experiment
from tfprune.studies.families import families_of_methods
from tfprune.studies.settings import FamilyConfig

EXPERIMENT = Experiment("width_scaling", str(__doc__), (FamilyConfig,), expand=families_of_methods)
