"""Every file name of an output folder, in one place (design: flags to figures)."""

from __future__ import annotations

RESULTS = "results.csv"
REPORT = "report.html"
FIGURES = "figures"
# A figure is always there as the first, which the page shows; the others are for papers.
FIGURE_FORMATS = ("png", "pdf", "svg")
TABLES = "tables"
TRIALS = "trials"
TENSORBOARD = "tensorboard"  # A run for each stage, by epoch.
OVERVIEW = "tensorboard_overview"  # A run for each trial and seed, by level.
CLAIMS = ".claims"

CONFIG = "config.json"
METRICS = "metrics.csv"
MASKS = "masks.npz"
EVENTS = "events.csv"
START = "start.npz"
END = "end.npz"
KEPT = "kept_examples.npz"  # Of a stage that was trained on a part of the training examples.
RESULT = "result.json"
# Written in turn, so that the one before is whole when the last is not.
CHECKPOINTS = ("checkpoint-0.npz", "checkpoint-1.npz")


def seed_folder(seed: int) -> str:
    return f"seed_{seed}"


def claim_file(name: str) -> str:
    return f"{CLAIMS}/{name}.lock"


def level_folder(level: int) -> str:
    return f"level_{level:02d}"


def snapshot(epoch: int) -> str:
    """The weights of a dense training after so many epochs."""
    return f"epoch_{epoch:05d}.npz"


# Beside the metrics of a training that goes on from a checkpoint: the epochs before it.
EPOCHS_BEFORE = "epochs_before"

# The columns of results.csv that are always there, in order; an experiment's own come after them.
RESULT_COLUMNS = (
    "experiment",
    "trial",
    "seed",
    "branch",
    "level",
    "sparsity",
    "weights_remaining",
    "train_epochs",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy_last",
    "test_accuracy_best",
    "best_epoch",
    "unpermuted_accuracy",
    "permuted_accuracy",
    "restored_accuracy",
    "noisy_loss",
    "original_loss",
    "distance_from_init",
    "instability",
    "wall_seconds",
)

# The columns of a stage's metrics.csv: a row per finished epoch, counted from 1.
METRIC_COLUMNS = (
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
    # Over the epoch's own batches, augmented and in training mode, as many codes print it.
    "running_train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "unpermuted_accuracy",
    "permuted_accuracy",
    "restored_accuracy",
    "noisy_loss",
    "original_loss",
    "distance_from_init",
    "wall_seconds",
)
