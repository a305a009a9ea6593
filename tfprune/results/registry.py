"""What each experiment's report is made of, by experiment. Add one: a function and a line here.

An experiment that is not here gets a figure of accuracy against sparsity and the accuracy table.
"""

from tfprune.registry import Registry

# A builder is a function (output_dir) -> list[tfprune.results.figures.FigureInfo] that works from
# the files alone; the first figure is the headline.
REPORTS = Registry("experiment")
REPORTS.add(
    "sparse_double_descent",
    "tfprune.results.sparse_double_descent:build",
    "SDD figures 1, 2, 3, 8, 9, 10, 12",
)
REPORTS.add("redense", "tfprune.results.redense:build", "SDD figures 4, 11, 13; 5, 14; 6")
REPORTS.add("learning_distance", "tfprune.results.learning_distance:build", "SDD figure 7")
REPORTS.add(
    "random_reinit", "tfprune.results.random_reinit:build", "SDD poster: tickets and reinit"
)
REPORTS.add(
    "pruning_effect",
    "tfprune.results.pruning_effect:build",
    "PEG figures 1a, 3, 4, 6, 8, 14, 15",
)
REPORTS.add("width_scaling", "tfprune.results.width_scaling:build", "PEG figures 7, 11, 12")
REPORTS.add(
    "example_effects",
    "tfprune.results.example_effects:build",
    "PEG figures 1b, 2, 5, 13, 18, 19, 20",
)
REPORTS.add("example_galleries", "tfprune.results.example_galleries:build", "PEG figure 16")
REPORTS.add("leave_out", "tfprune.results.leave_out:build", "PEG figures 9, 10, 17")
REPORTS.add(
    "utility_dynamics", "tfprune.results.utility_dynamics:build", "PM figures 1, 2 and 7 to 13"
)
REPORTS.add("utility_size", "tfprune.results.utility_size:build", "PM figures 3, 4, 14")
REPORTS.add("utility_pruned", "tfprune.results.utility_pruned:build", "PM figures 5, 15")
REPORTS.add("accuracy_surface", "tfprune.results.accuracy_surface:build", "PM figures 6, 16")
REPORTS.add(
    "generalization_stability",
    "tfprune.results.generalization_stability:build",
    "GST figures 2, 3, 4, B1, B2, C1 to C3",
)
REPORTS.add("pruning_as_noise", "tfprune.results.pruning_as_noise:build", "GST figures 5, D2")
REPORTS.add("flatness", "tfprune.results.flatness:build", "GST figures 6, E1 to E6")

# A function (results) -> list[tfprune.results.tables.Table] of the experiment's rows; with
# `reads_files` a function (results, output_dir), whose tables are made of files the rows name; with
# `every_variant` it is given the rows of all settings that were run, not of the last ones alone.
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
    "pruning_effect",
    "tfprune.results.pruning_effect:build_tables",
    "PEG tables 2, 5, 6, 9, 10, 11, ours beside the paper's",
)
TABLES.add(
    "width_scaling",
    "tfprune.results.width_scaling:build_tables",
    "PEG table 7, ours beside the paper's",
)
TABLES.add(
    "example_effects",
    "tfprune.results.example_effects:build_tables",
    "loss changes of easy and hard examples, PEG table 3",
    reads_files=True,
)
TABLES.add(
    "example_galleries",
    "tfprune.results.example_galleries:build_tables",
    "PEG table 4",
    reads_files=True,
)
TABLES.add(
    "leave_out",
    "tfprune.results.leave_out:build_tables",
    "what leaving examples out changes at every level, PEG table 8",
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
    "PM table 2, likeness to the pretrained network, utility, accuracy",
    reads_files=True,
)
TABLES.add(
    "accuracy_surface",
    "tfprune.results.accuracy_surface:build_tables",
    "PM table 1, distances by cycle, accuracy",
    reads_files=True,
)
TABLES.add(
    "generalization_stability",
    "tfprune.results.generalization_stability:build_tables",
    "GST tables C1 and F1, correlations and sizes, ours beside the paper's",
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
