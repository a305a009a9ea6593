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
