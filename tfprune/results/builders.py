"""What each experiment's report is made of, by experiment. Add one: a function and a line here.

An experiment that is not here gets a figure of accuracy against sparsity and the accuracy table.
"""

from tfprune.registry import Registry

# A builder is a function (output_dir) -> list[tfprune.results.figures.FigureInfo] that works from
# the files alone; the first figure is the headline.
REPORTS = Registry("experiment")
REPORTS.add("utility_dynamics", "tfprune.results.utility_dynamics:build", "its figures")
REPORTS.add("utility_size", "tfprune.results.utility_size:build", "its figures")
REPORTS.add("utility_pruned", "tfprune.results.utility_pruned:build", "its figures")
REPORTS.add("accuracy_surface", "tfprune.results.accuracy_surface:build", "its figures")
REPORTS.add(
    "generalization_stability", "tfprune.results.generalization_stability:build", "its figures"
)
REPORTS.add("pruning_as_noise", "tfprune.results.pruning_as_noise:build", "its figures")
REPORTS.add("flatness", "tfprune.results.flatness:build", "its figures")

# A function (results) -> list[tfprune.report.tables.Table] of the experiment's rows; with
# `reads_files` a function (results, output_dir), whose tables are made of files the rows name; with
# `every_variant` it is given the rows of all settings that were run, not of the last ones alone.
TABLES = Registry("experiment")
TABLES.add(
    "utility_dynamics",
    "tfprune.results.utility_dynamics:build_tables",
    "whether utility rises through training",
    reads_files=True,
)
TABLES.add(
    "utility_size",
    "tfprune.results.utility_size:build_tables",
    "utility of every size, by ratio and by number",
    reads_files=True,
)
TABLES.add(
    "utility_pruned",
    "tfprune.results.utility_pruned:build_tables",
    "likeness to the pretrained network, utility, accuracy",
    reads_files=True,
)
TABLES.add(
    "accuracy_surface",
    "tfprune.results.accuracy_surface:build_tables",
    "small networks beside, distances by cycle, accuracy",
    reads_files=True,
)
TABLES.add(
    "generalization_stability",
    "tfprune.results.generalization_stability:build_tables",
    "every configuration, correlations, t tests and sizes",
    every_variant=True,
)
TABLES.add(
    "pruning_as_noise",
    "tfprune.results.pruning_as_noise:build_tables",
    "accuracy and stability of pruning and of each noise, t tests",
    every_variant=True,
)
TABLES.add(
    "flatness",
    "tfprune.results.flatness:build_tables",
    "flatness of every configuration, its correlations with stability and accuracy",
    every_variant=True,
)
