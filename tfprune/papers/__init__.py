"""The papers: what the report shows of each experiment. Add one: a line here."""

from tfprune.registry import Registry

# What a report shows of an experiment: a `tfprune.report.experiment.Experiment`. One that is not
# here gets accuracy against sparsity.
REPORTS = Registry("experiment")
for _place in (
    "peg.pruning:PRUNING_EFFECT",
    "peg.pruning:WIDTH_SCALING",
    "peg.effects:EXAMPLE_EFFECTS",
    "peg.galleries:EXAMPLE_GALLERIES",
    "peg.leave_out:LEAVE_OUT",
    "gst.generalization_stability:GENERALIZATION_STABILITY",
    "gst.pruning_as_noise:PRUNING_AS_NOISE",
    "gst.flatness:FLATNESS",
):
    REPORTS.add(_place.partition(":")[2].lower(), f"tfprune.papers.{_place}", _place[:3].upper())
