"""The experiments by name. Add one: a module and a line here.

What each makes of the papers stands in `tfprune/papers/items.csv`.
"""

from tfprune.registry import Registry

# Each is a `tfprune.experiments.command.Experiment`.
EXPERIMENTS = Registry("experiment")
for _name, _summary in {
    "sparse_double_descent": "accuracy against sparsity under label noise",
    "redense": "pruned weights returned at zero and trained on",
    "learning_distance": "distance from initialization against sparsity",
    "random_reinit": "lottery tickets against random reinitialization",
    "pruning_effect": "test error of pruned, longer-trained and dense networks",
    "width_scaling": "narrower dense networks against pruned ones",
    "example_effects": "which examples pruning helps and hurts",
    "example_galleries": "pictures of the examples pruning affects",
    "leave_out": "dense training without the affected examples",
    "utility_dynamics": "utility of weights through training",
    "utility_size": "utility of weights against the size of the network",
    "utility_pruned": "utility after pruning and retraining, and of small networks",
    "accuracy_surface": "the plane through pretrained, pruned and retrained networks",
    "generalization_stability": "accuracy against the stability of pruning filters",
    "pruning_as_noise": "noise on filters instead of pruning them",
    "flatness": "how flat the minima of pruned networks are",
}.items():
    EXPERIMENTS.add(_name, f"tfprune.experiments.{_name}:EXPERIMENT", _summary)
