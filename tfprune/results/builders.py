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

# A function (results) -> list[tfprune.report.tables.Table] of the experiment's rows.
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
