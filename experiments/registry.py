"""The experiments by name. Add one: a module and a line here."""

from tfprune.registry import Registry

# An experiment is a module's `main(argv) -> exit code`.
EXPERIMENTS = Registry("experiment")
EXPERIMENTS.add(
    "sparse_double_descent",
    "experiments.sparse_double_descent:main",
    "accuracy against sparsity under label noise (SDD figures 1, 2, 3, 8, 9, 10, 12)",
)
EXPERIMENTS.add(
    "redense",
    "experiments.redense:main",
    "pruned weights returned at zero and trained on (SDD figures 4, 5, 6, 11, 13, 14)",
)
EXPERIMENTS.add(
    "learning_distance",
    "experiments.learning_distance:main",
    "distance from initialization against sparsity (SDD figure 7)",
)
EXPERIMENTS.add(
    "random_reinit",
    "experiments.random_reinit:main",
    "lottery tickets against random reinitialization (SDD poster)",
)
EXPERIMENTS.add(
    "pruning_effect",
    "experiments.pruning_effect:main",
    "test error of pruned, longer-trained and dense networks (PEG figures 1a, 3, 4, 6, 8, 14, 15)",
)
EXPERIMENTS.add(
    "width_scaling",
    "experiments.width_scaling:main",
    "narrower dense networks against pruned ones (PEG figures 7, 11, 12)",
)
EXPERIMENTS.add(
    "example_effects",
    "experiments.example_effects:main",
    "which examples pruning helps and hurts (PEG figures 1b, 2, 5, 13, 18, 19, 20)",
)
EXPERIMENTS.add(
    "example_galleries",
    "experiments.example_galleries:main",
    "pictures of the examples pruning affects (PEG figure 16)",
)
EXPERIMENTS.add(
    "leave_out",
    "experiments.leave_out:main",
    "dense training without the affected examples (PEG figures 9, 10, 17)",
)
EXPERIMENTS.add(
    "utility_dynamics",
    "experiments.utility_dynamics:main",
    "utility of weights through training (PM figures 1, 2, 7 to 13)",
)
EXPERIMENTS.add(
    "utility_size",
    "experiments.utility_size:main",
    "utility of weights against the size of the network (PM figures 3, 4, 14)",
)
EXPERIMENTS.add(
    "utility_pruned",
    "experiments.utility_pruned:main",
    "utility after pruning and retraining, and of small networks (PM figures 5, 15, table 2)",
)
EXPERIMENTS.add(
    "accuracy_surface",
    "experiments.accuracy_surface:main",
    "the plane through pretrained, pruned and retrained networks (PM figures 6, 16, table 1)",
)
EXPERIMENTS.add(
    "generalization_stability",
    "experiments.generalization_stability:main",
    "accuracy against the stability of pruning filters (GST figures 2, 3, 4, B2, C3)",
)
EXPERIMENTS.add(
    "pruning_as_noise",
    "experiments.pruning_as_noise:main",
    "noise on filters instead of pruning them (GST figures 5, D2)",
)
EXPERIMENTS.add(
    "flatness",
    "experiments.flatness:main",
    "how flat the minima of pruned networks are (GST figures 6, E1 to E6)",
)
