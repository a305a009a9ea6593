"""The unstructured pruning criteria by name. Add one: a function and a line here."""

from tfprune.registry import Registry

# A criterion is a function of tfprune.pruning.criteria.ScoringInputs that returns a float64 score
# per weight; the lowest scores are pruned first.
CRITERIA = Registry("criterion")
CRITERIA.add("magnitude", "tfprune.pruning.criteria:magnitude", "|w|")
CRITERIA.add("gradient", "tfprune.pruning.criteria:gradient", "|w dL/dw| on one random batch")
CRITERIA.add("snip", "tfprune.pruning.criteria:snip", "|w g|, g averaged over training batches")
CRITERIA.add("synflow", "tfprune.pruning.criteria:synflow", "|w dR/dw| of the absolute network")
CRITERIA.add("random", "tfprune.pruning.criteria:random", "uniform in [0, 1)")

SCOPES = ("global", "layer")
