"""The experiments by name. Add one: a module and a line here."""

from tfprune.registry import Registry

# An experiment is a module's `main(argv) -> exit code`.
EXPERIMENTS = Registry("experiment")
EXPERIMENTS.add(
    "sparse_double_descent",
    "experiments.sparse_double_descent:main",
    "accuracy against sparsity under label noise (SDD figures 1, 2, 3, 8, 9, 10, 12)",
)
