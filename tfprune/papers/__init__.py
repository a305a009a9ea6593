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
):
    REPORTS.add(_place.partition(":")[2].lower(), f"tfprune.papers.{_place}", _place[:3].upper())
