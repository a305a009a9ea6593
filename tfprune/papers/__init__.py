"""The papers: what the report shows of each experiment. Add one: a line here."""

from tfprune.registry import Registry

# What a report shows of an experiment: a `tfprune.report.experiment.Experiment`. One that is not
# here gets accuracy against sparsity.
REPORTS = Registry("experiment")
for _place in (
    "sdd.sparse_double_descent:SPARSE_DOUBLE_DESCENT",
    "sdd.redense:REDENSE",
    "sdd.learning_distance:LEARNING_DISTANCE",
    "sdd.random_reinit:RANDOM_REINIT",
    "peg.pruning:PRUNING_EFFECT",
    "peg.pruning:WIDTH_SCALING",
    "peg.effects:EXAMPLE_EFFECTS",
    "peg.galleries:EXAMPLE_GALLERIES",
    "peg.leave_out:LEAVE_OUT",
    "pm.dynamics:UTILITY_DYNAMICS",
    "pm.size:UTILITY_SIZE",
    "pm.pruned:UTILITY_PRUNED",
    "pm.planes:ACCURACY_SURFACE",
    "gst.generalization_stability:GENERALIZATION_STABILITY",
    "gst.pruning_as_noise:PRUNING_AS_NOISE",
    "gst.flatness:FLATNESS",
):
    _paper = _place.partition(".")[0].upper()
    REPORTS.add(_place.partition(":")[2].lower(), f"tfprune.papers.{_place}", _paper)
