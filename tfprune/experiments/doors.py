"""The experiments by name. Add one: a module and a line here.

What each makes of the papers stands in `tfprune/papers/items.csv`.
"""

from tfprune.registry import Registry

# An experiment is a module's `main(argv) -> exit code`.
EXPERIMENTS = Registry("experiment")
EXPERIMENTS.add(
    "sparse_double_descent",
    "tfprune.experiments.sparse_double_descent:main",
    "accuracy against sparsity under label noise",
)
EXPERIMENTS.add(
    "redense",
    "tfprune.experiments.redense:main",
    "pruned weights returned at zero and trained on",
)
EXPERIMENTS.add(
    "learning_distance",
    "tfprune.experiments.learning_distance:main",
    "distance from initialization against sparsity",
)
EXPERIMENTS.add(
    "random_reinit",
    "tfprune.experiments.random_reinit:main",
    "lottery tickets against random reinitialization",
)
EXPERIMENTS.add(
    "pruning_effect",
    "tfprune.experiments.pruning_effect:main",
    "test error of pruned, longer-trained and dense networks",
)
EXPERIMENTS.add(
    "width_scaling",
    "tfprune.experiments.width_scaling:main",
    "narrower dense networks against pruned ones",
)
EXPERIMENTS.add(
    "example_effects",
    "tfprune.experiments.example_effects:main",
    "which examples pruning helps and hurts",
)
EXPERIMENTS.add(
    "example_galleries",
    "tfprune.experiments.example_galleries:main",
    "pictures of the examples pruning affects",
)
EXPERIMENTS.add(
    "leave_out",
    "tfprune.experiments.leave_out:main",
    "dense training without the affected examples",
)
EXPERIMENTS.add(
    "utility_dynamics",
    "tfprune.experiments.utility_dynamics:main",
    "utility of weights through training",
)
EXPERIMENTS.add(
    "utility_size",
    "tfprune.experiments.utility_size:main",
    "utility of weights against the size of the network",
)
EXPERIMENTS.add(
    "utility_pruned",
    "tfprune.experiments.utility_pruned:main",
    "utility after pruning and retraining, and of small networks",
)
EXPERIMENTS.add(
    "accuracy_surface",
    "tfprune.experiments.accuracy_surface:main",
    "the plane through pretrained, pruned and retrained networks",
)
EXPERIMENTS.add(
    "generalization_stability",
    "tfprune.experiments.generalization_stability:main",
    "accuracy against the stability of pruning filters",
)
EXPERIMENTS.add(
    "pruning_as_noise",
    "tfprune.experiments.pruning_as_noise:main",
    "noise on filters instead of pruning them",
)
EXPERIMENTS.add(
    "flatness",
    "tfprune.experiments.flatness:main",
    "how flat the minima of pruned networks are",
)
