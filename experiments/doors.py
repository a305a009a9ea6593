"""The experiments by name. Add one: a module and a line here.

What each makes of the papers stands in `tfprune/papers/items.csv`.
"""

from tfprune.registry import Registry

# An experiment is a module's `main(argv) -> exit code`.
EXPERIMENTS = Registry("experiment")
EXPERIMENTS.add(
    "sparse_double_descent",
    "experiments.sparse_double_descent:main",
    "accuracy against sparsity under label noise",
)
EXPERIMENTS.add(
    "redense",
    "experiments.redense:main",
    "pruned weights returned at zero and trained on",
)
EXPERIMENTS.add(
    "learning_distance",
    "experiments.learning_distance:main",
    "distance from initialization against sparsity",
)
EXPERIMENTS.add(
    "random_reinit",
    "experiments.random_reinit:main",
    "lottery tickets against random reinitialization",
)
EXPERIMENTS.add(
    "pruning_effect",
    "experiments.pruning_effect:main",
    "test error of pruned, longer-trained and dense networks",
)
EXPERIMENTS.add(
    "width_scaling",
    "experiments.width_scaling:main",
    "narrower dense networks against pruned ones",
)
EXPERIMENTS.add(
    "example_effects",
    "experiments.example_effects:main",
    "which examples pruning helps and hurts",
)
EXPERIMENTS.add(
    "example_galleries",
    "experiments.example_galleries:main",
    "pictures of the examples pruning affects",
)
EXPERIMENTS.add(
    "leave_out",
    "experiments.leave_out:main",
    "dense training without the affected examples",
)
EXPERIMENTS.add(
    "utility_dynamics",
    "experiments.utility_dynamics:main",
    "utility of weights through training",
)
EXPERIMENTS.add(
    "utility_size",
    "experiments.utility_size:main",
    "utility of weights against the size of the network",
)
EXPERIMENTS.add(
    "utility_pruned",
    "experiments.utility_pruned:main",
    "utility after pruning and retraining, and of small networks",
)
EXPERIMENTS.add(
    "accuracy_surface",
    "experiments.accuracy_surface:main",
    "the plane through pretrained, pruned and retrained networks",
)
EXPERIMENTS.add(
    "generalization_stability",
    "experiments.generalization_stability:main",
    "accuracy against the stability of pruning filters",
)
EXPERIMENTS.add(
    "pruning_as_noise",
    "experiments.pruning_as_noise:main",
    "noise on filters instead of pruning them",
)
EXPERIMENTS.add(
    "flatness",
    "experiments.flatness:main",
    "how flat the minima of pruned networks are",
)
