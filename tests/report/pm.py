"""Made-up results folders of the experiments of PM, as the studies leave them."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import results
from results import Row, measured, write

RATIOS = (0.01, 0.05, 0.075, 0.1, 0.15, 0.25)
WEIGHTS = 1000
EPOCHS, CYCLES = 200, 5
# Where the networks so far lie.
TRAJECTORY = ["cycle", "network", "x", "y", "distance"]
SETTINGS = {
    "dataset": "cifar10",
    "model": "resnet20",
    "label_noise": "none",
    "noise_fraction": 0.0,
    "criterion": "magnitude",
    "retrain": "lr_rewind",
}

ByAmount = Mapping[float, Sequence[float] | np.ndarray]


def row(experiment: str, level: int, seed: int, branch: str = "", **changes: Any) -> Row:
    """One row of results.csv; `trial` defaults to `a-trial`."""
    return {
        **results.row(experiment, changes.get("trial", "a-trial"), seed, level, branch),
        "train_epochs": EPOCHS,
        "train_loss": 0.01,
        "train_accuracy": 0.99,
        "test_accuracy_last": 0.9,
        "test_accuracy_best": 0.91,
        **SETTINGS,
        **changes,
    }


def subsets(
    utility: ByAmount,
    accuracy: ByAmount | None = None,
    position: ByAmount | None = None,
    by: str = "ratio",
) -> pd.DataFrame:
    """A table of one row per subset, from {amount: values}; accuracies are 0.5 by default."""
    return pd.concat(
        pd.DataFrame(
            {
                "ablation_by": by,
                "ablation_amount": amount,
                "ablated_weights": round(amount * WEIGHTS),
                "subset": range(len(values)),
                "position": position[amount] if position else "",
                "utility": values,
                "ablated_accuracy": accuracy[amount] if accuracy else 0.5,
                "accuracy": 0.99,
            }
        )
        for amount, values in utility.items()
    )


def dynamics(
    columns: Mapping[float, Mapping[str, Sequence[float]]], epochs: Sequence[int]
) -> pd.DataFrame:
    """A table of one row per amount and epoch, from {amount: {column: values by epoch}}."""
    usual = {"utility_mean": 1.0, "utility_imbalance": 1.0, "utility_min": 1.0, "utility_max": 2.0}
    usual |= {"ablated_accuracy_mean": 0.5, "ablated_accuracy_min": 0.25}
    usual |= {"ablated_accuracy_max": 0.75, "accuracy": 0.99}
    usual |= {"ablation_by": "ratio", "eligible_weights": WEIGHTS, "subsets": 500}
    return pd.concat(
        pd.DataFrame({"epoch": epochs, "ablation_amount": amount, **usual, **given})
        for amount, given in columns.items()
    )


def plane(
    accuracy: np.ndarray, x: Sequence[float], y: Sequence[float], missing: Sequence[Any] = ()
) -> pd.DataFrame:
    """A table of one row per cell of accuracy `[Y, X]`, without those of (row, column)."""
    places = list(np.ndindex(accuracy.shape))
    table = pd.DataFrame(places, columns=["row", "column"])
    table["x"], table["y"] = np.tile(x, len(y)), np.repeat(y, len(x))
    table["train_accuracy"] = np.ravel(accuracy)
    table["test_accuracy"] = 0.9 * table["train_accuracy"]
    return table.assign(train_loss=1.0, test_loss=2.0)[[place not in missing for place in places]]


def placed(pruned: float, retrained: tuple[float, float]) -> dict[str, float]:
    """The columns that a plane adds to its row."""
    x, y = retrained
    return {
        "pruned_x": pruned,
        "retrained_x": x,
        "retrained_y": y,
        "distance_pretrained_pruned": pruned,
        "distance_pretrained_retrained": float(np.hypot(x, y)),
        "distance_pruned_retrained": float(np.hypot(x - pruned, y)),
    }


# ---------------------------------------------------------------- plausible folders
def realistic_subsets(scale: float, key: Sequence[int], by: str = "ratio") -> pd.DataFrame:
    """Utilities that grow and spread with the ratio, skewed as the paper's histograms are."""
    random = np.random.default_rng(key)
    found = {r: scale * 14 * r**1.4 * random.lognormal(0, 0.45, 200) for r in RATIOS}
    accuracy = {r: 0.1 + 0.89 * np.exp(-values / 1.3) for r, values in found.items()}
    return subsets(found, accuracy, by=by)


def realistic_ranks(key: Sequence[int]) -> pd.DataFrame:
    """Windows of magnitude ranks: only the largest weights matter."""
    random = np.random.default_rng(key)
    position = {r: np.linspace(0, 1 - r, 80) for r in RATIOS}
    found = {r: 60 * r * (p + r) ** 9 + random.uniform(0, 0.01, 80) for r, p in position.items()}
    accuracy = {r: 0.1 + 0.89 * np.exp(-values / 2) for r, values in found.items()}
    return subsets(found, accuracy, position)


def realistic_dynamics(seed: int, scale: float) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    at = np.arange(0, EPOCHS + 1, 5)
    rise = 0.02 + 0.98 * (1 - np.exp(-at / (0.3 * EPOCHS)))
    columns = {}
    for r in RATIOS:
        noisy = scale * 14 * r**1.4 * rise * random.lognormal(0, 0.08, at.size)
        columns[r] = {
            "utility_mean": noisy,
            "utility_imbalance": 0.5 * noisy,
            "utility_min": 0.2 * noisy * random.lognormal(0, 0.15, at.size),
            "utility_max": 3 * noisy,
            "ablated_accuracy_mean": 0.1 + (0.4 + 0.49 * rise) * np.exp(-noisy / 1.3),
        }
    return dynamics(columns, at.tolist())


def realistic_utility_dynamics(folder: Path) -> Path:
    rows = [
        measured(
            folder,
            row("utility_dynamics", 0, seed, trial=f"{model}-1", model=model),
            utility_dynamics=realistic_dynamics(seed, scale),
            utility_ratio=realistic_subsets(scale, [seed, 1]),
            utility_magnitude=realistic_ranks([seed, 2]),
        )
        for model, scale in (("vanilla_cnn", 1.0), ("resnet20", 0.6))
        for seed in (0, 1, 2)
    ]
    return write(folder, rows)


def realistic_utility_size(folder: Path) -> Path:
    rows = []
    for seed in (0, 1, 2):
        for level, remaining in enumerate((1.0, 0.5, 0.25)):
            size = {"weights_remaining": remaining, "sparsity": 1 - remaining}
            one = row("utility_size", level, seed, "size" if level else "", **size)
            by_ratio = realistic_subsets(1 + 0.1 * level, [seed, level])
            by_number = realistic_subsets(remaining**-1.3, [seed, level, 9], "number")
            rows.append(measured(folder, one, utility_ratio=by_ratio, utility_number=by_number))
    return write(folder, rows)


def realistic_utility_pruned(folder: Path) -> Path:
    rows = [row("utility_pruned", 0, seed) for seed in (0, 1, 2)]
    for seed in (0, 1, 2):
        for level, sparsity in enumerate((0.25, 0.5, 0.75), start=1):
            for branch, accuracy, loss in (("", 0.925 - 0.01 * level, 0.004),
                                           ("small", 0.915 - 0.012 * level, 0.012)):  # fmt: skip
                one = row(
                    "utility_pruned", level, seed, branch, sparsity=sparsity,
                    weights_remaining=1 - sparsity, train_epochs=400 if branch else EPOCHS,
                    test_accuracy_last=accuracy + 0.001 * seed,
                    train_loss=loss * level**2 + 0.001 * seed,
                )  # fmt: skip
                if branch:
                    utility = realistic_subsets(1.3 + 0.3 * level, [seed, level, 2])
                    rows.append(measured(folder, one, utility_ratio=utility))
                else:
                    utility = realistic_subsets(1 + 0.1 * level, [seed, level])
                    before = realistic_subsets(1, [seed, level, 1])
                    tables = {"utility_ratio": utility, "utility_pretrained": before}
                    rows.append(measured(folder, one, **tables))
    return write(folder, rows)


def realistic_accuracy_surface(folder: Path) -> Path:
    rows = []
    for structure, retrain in product(("weights", "channels"), ("finetune", "lr_rewind")):
        about = {"trial": f"{structure}-{retrain}", "retrain": retrain, "structure": structure}
        about["criterion"] = "filter_gamma" if structure == "channels" else "magnitude"
        for seed in (0, 1):
            rows.append(row("accuracy_surface", 0, seed, **about))
            for level in range(1, CYCLES + 1):
                a = 14 * level**0.6
                b, c = a * 1.01, (0.2 if retrain == "finetune" else 0.8) * a
                path = [(0, "pretrained", 0.0, 0.0, 0.0)]
                for before in range(1, level):
                    # Seen from this plane they lie on the way.
                    share = (before / level) ** 0.5
                    path += [(before, "pruned", a * share, 0.1 * c, 1.0)]
                    path += [(before, "retrained", b * share, c * share, 1.0)]
                path += [(level, "pruned", a, 0.0, 0.0), (level, "retrained", b, c, 0.0)]
                size = {"sparsity": 1 - 0.7**level, "weights_remaining": 0.7**level}
                if structure == "channels":
                    size |= {"filters_remaining": 0.8**level, "live_weights_remaining": 0.6**level}
                one = row("accuracy_surface", level, seed, **size, **about, **placed(a, (b, c)),
                          test_accuracy_last=0.92 - 0.01 * level + 0.001 * seed)  # fmt: skip
                x, y = np.linspace(-0.2 * b, 1.2 * b, 15), np.linspace(-0.2 * c, 1.2 * c, 15)
                cells = plane(_basin(x, y, (b, c), structure), x, y)
                track = pd.DataFrame(path, columns=TRAJECTORY)
                rows.append(measured(folder, one, plane=cells, trajectory=track))
            if retrain == "lr_rewind":
                last = {"train_epochs": 6 * EPOCHS, "test_accuracy_last": 0.88 + 0.002 * seed}
                rows.append(row("accuracy_surface", CYCLES, seed, "small", **about, **size, **last))
    return write(folder, rows)


def _basin(x: np.ndarray, y: np.ndarray, end: tuple[float, float], structure: str) -> np.ndarray:
    """High along the line from W* to Wr, and for channels only near its ends."""
    grid_x, grid_y = np.meshgrid(x, y)
    length = np.hypot(*end)
    along = (grid_x * end[0] + grid_y * end[1]) / length**2
    across = (grid_x * end[1] - grid_y * end[0]) / length
    wall = 0.8 * np.exp(-(((along - 0.5) / 0.2) ** 2)) if structure == "channels" else 0.05
    beyond = np.clip(np.abs(along - 0.5) - 0.55, 0, None)
    height = np.exp(-((across / (0.25 * length)) ** 2) - (3 * beyond) ** 2) * (1 - wall)
    return 0.1 + 0.89 * height
