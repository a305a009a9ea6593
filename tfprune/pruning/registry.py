"""The pruning criteria by name, of weights and of filters. Add one: a function and a line here."""

from tfprune.registry import Registry

# A criterion is a function of tfprune.pruning.criteria.ScoringInputs that returns a float64 score
# per weight; the lowest scores are pruned first.
CRITERIA = Registry("criterion")
CRITERIA.add("magnitude", "tfprune.pruning.criteria:magnitude", "|w|")
CRITERIA.add("gradient", "tfprune.pruning.criteria:gradient", "|w dL/dw| on one random batch")
CRITERIA.add("snip", "tfprune.pruning.criteria:snip", "|w g|, g averaged over training batches")
CRITERIA.add("synflow", "tfprune.pruning.criteria:synflow", "|w dR/dw| of the absolute network")
CRITERIA.add("random", "tfprune.pruning.criteria:random", "uniform in [0, 1)")

# A criterion of filters is a function of ScoringInputs that returns a float64 score per filter.
FILTER_CRITERIA = Registry("criterion")
_MODULE = "tfprune.pruning.filter_criteria"
FILTER_CRITERIA.add("filter_l1", f"{_MODULE}:filter_l1", "L1 norm of the kernel")
FILTER_CRITERIA.add("filter_l2", f"{_MODULE}:filter_l2", "L2 norm of the kernel")
FILTER_CRITERIA.add(
    "filter_activation",
    f"{_MODULE}:filter_activation",
    "moving average of |activation|, after the shortcut",
)
FILTER_CRITERIA.add("filter_gamma", f"{_MODULE}:filter_gamma", "|batch-norm scale|")
FILTER_CRITERIA.add(
    "filter_ebn", f"{_MODULE}:filter_ebn", "E[max(0, N(shift, scale^2))] of the batch norm"
)
FILTER_CRITERIA.add(
    "filter_ebn_signed", f"{_MODULE}:filter_ebn_signed", "the same with the scale's sign"
)
FILTER_CRITERIA.add("filter_random", f"{_MODULE}:filter_random", "uniform in [0, 1)")

# Which filters go first, by their scores (PruneS, PruneR and PruneL of GST).
TARGETS = ("smallest", "random", "largest")

SCOPES = ("global", "layer")
