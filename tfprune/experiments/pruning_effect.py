"""What does pruning do to generalization, with and without label noise?

Test error of pruned networks against their size, of dense ones against their training time, and the
training loss on noisy and on original examples. --methods says which algorithms are compared.
"""

from __future__ import annotations

from tfprune.experiments.command import Experiment
from tfprune.studies.families import families_of_methods
from tfprune.studies.settings import FamilyConfig

EXPERIMENT = Experiment("pruning_effect", str(__doc__), (FamilyConfig,), expand=families_of_methods)
