"""What each experiment's report is made of, by experiment. Add one: a function and a line here.

An experiment that is not here gets a figure of accuracy against sparsity and the accuracy table.
"""

from tfprune.registry import Registry

# A builder is a function (output_dir) -> list[tfprune.results.figures.FigureInfo] that works from
# the files alone; the first figure is the headline.
REPORTS = Registry("experiment")
REPORTS.add("sparse_double_descent", "tfprune.results.sparse_double_descent:build", "its figures")
REPORTS.add("redense", "tfprune.results.redense:build", "its figures")
REPORTS.add("learning_distance", "tfprune.results.learning_distance:build", "its figures")
REPORTS.add("random_reinit", "tfprune.results.random_reinit:build", "its figures")
REPORTS.add("utility_dynamics", "tfprune.results.utility_dynamics:build", "its figures")
REPORTS.add("utility_size", "tfprune.results.utility_size:build", "its figures")
REPORTS.add("utility_pruned", "tfprune.results.utility_pruned:build", "its figures")
REPORTS.add("accuracy_surface", "tfprune.results.accuracy_surface:build", "its figures")

# A function (results) -> list[tfprune.report.tables.Table] of the experiment's rows; with
# `reads_files` a function (results, output_dir), whose tables are made of files the rows name;
TABLES = Registry("experiment")
TABLES.add(
    "sparse_double_descent",
    "tfprune.results.sparse_double_descent:build_tables",
    "accuracy at every level, pruning efficacy",
)
TABLES.add(
    "redense",
    "tfprune.results.redense:build_tables",
    "accuracy, what re-dense training changes, sharpness and barriers",
)
TABLES.add(
    "learning_distance",
    "tfprune.results.learning_distance:build_tables",
    "distance and accuracy at every level, their correlation, crossings",
)
TABLES.add(
    "random_reinit",
    "tfprune.results.random_reinit:build_tables",
    "accuracy at every level, reinitialization minus ticket",
)
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
