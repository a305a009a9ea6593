"""Made-up results folders of the experiments of PM, as the studies leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfprune import files, store

RATIOS = (0.01, 0.05, 0.075, 0.1, 0.15, 0.25)
WEIGHTS = 1000
SETTINGS = {
    "dataset": "cifar10",
    "model": "resnet20",
    "label_noise": "none",
    "noise_fraction": 0.0,
    "criterion": "magnitude",
    "retrain": "lr_rewind",
}

Row = dict[str, Any]


def row(experiment: str, level: int, seed: int, branch: str = "", **changes: Any) -> Row:
    """One row of results.csv; `trial` defaults to `a-trial`."""
    trial = changes.get("trial", "a-trial")
    name = f"{branch}_level_{level:02d}" if branch else f"level_{level:02d}"
    return {
        "experiment": experiment,
        "trial": trial,
        "seed": seed,
        "branch": branch,
        "level": level,
        "stage": f"trials/{trial}/seed_{seed}/{name}",
        "sparsity": 0.0,
        "weights_remaining": 1.0,
        "train_epochs": 200,
        "train_loss": 0.01,
        "train_accuracy": 0.99,
        "test_accuracy_last": 0.9,
        "test_accuracy_best": 0.91,
        **SETTINGS,
        **changes,
    }


def measured(folder: Path, one: Row, name: str, table: Mapping[str, Any] | pd.DataFrame) -> Row:
    """The row with a measurement's table beside its stage."""
    file = f"{one['stage']}/{name}-0123abcd.csv"
    files.write_text_atomic(folder / file, pd.DataFrame(table).to_csv(index=False))
    return {**one, name: file}


def write(folder: Path, rows: Iterable[Row]) -> Path:
    """Writes rows into results.csv of a folder; returns the folder."""
    rows = list(rows)
    store.merge_rows(folder, rows, dict.fromkeys(name for r in rows for name in r))
    return folder


def subsets(
    utility: Mapping[float, Sequence[float]],
    accuracy: Mapping[float, Sequence[float]] | None = None,
    position: Mapping[float, Sequence[float]] | None = None,
    by: str = "ratio",
) -> pd.DataFrame:
    """A table of one row per subset, from {amount: values}; accuracies are 0.5 by default."""
    rows = [
        {
            "ablation_by": by,
            "ablation_amount": amount,
            "ablated_weights": round(amount * WEIGHTS),
            "subset": index,
            "position": position[amount][index] if position else "",
            "utility": value,
            "ablated_accuracy": accuracy[amount][index] if accuracy else 0.5,
            "accuracy": 0.99,
        }
        for amount, values in utility.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def dynamics(columns: Mapping[float, Mapping[str, Sequence[float]]], epochs: Sequence[int]) -> Any:
    """A table of one row per epoch and amount, from {amount: {column: values by epoch}}."""
    rows = [
        {
            "epoch": epoch,
            "ablation_amount": amount,
            "ablated_weights": round(amount * WEIGHTS),
            "utility_mean": 1.0,
            "utility_imbalance": 1.0,
            "utility_min": 1.0,
            "utility_max": 2.0,
            "ablated_accuracy_mean": 0.5,
            "ablated_accuracy_min": 0.25,
            "ablated_accuracy_max": 0.75,
            "ablation_by": "ratio",
            "eligible_weights": WEIGHTS,
            "subsets": 500,
            "accuracy": 0.99,
            **{name: values[index] for name, values in given.items()},
        }
        for index, epoch in enumerate(epochs)
        for amount, given in columns.items()
    ]
    return pd.DataFrame(rows)


def plane(
    accuracy: np.ndarray, x: Sequence[float], y: Sequence[float], missing: Sequence[Any] = ()
) -> pd.DataFrame:
    """A table of one row per cell of accuracy `[Y, X]`, without those of (row, column)."""
    rows = [
        {
            "row": j,
            "column": i,
            "x": x[i],
            "y": y[j],
            "train_loss": 1.0,
            "train_accuracy": accuracy[j][i],
            "test_loss": 2.0,
            "test_accuracy": 0.9 * accuracy[j][i],
        }
        for j in range(len(y))
        for i in range(len(x))
        if (j, i) not in missing
    ]
    return pd.DataFrame(rows)


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
def realistic_subsets(scale: float, key: Sequence[int], count: int = 200, **by: Any) -> Any:
    """Utilities that grow and spread with the ratio, skewed as the paper's histograms are."""
    random = np.random.default_rng([*key])
    found = {r: scale * 14 * r**1.4 * random.lognormal(0, 0.45, count) for r in RATIOS}
    accuracy = {r: 0.1 + 0.89 * np.exp(-values / 1.3) for r, values in found.items()}
    return subsets(found, accuracy, **by)


def realistic_ranks(key: Sequence[int], count: int = 80) -> pd.DataFrame:
    """Windows of magnitude ranks: only the largest weights matter."""
    random = np.random.default_rng([*key])
    position = {r: np.linspace(0, 1 - r, count) for r in RATIOS}
    found = {r: 60 * r * (p + r) ** 9 + random.uniform(0, 0.01, count) for r, p in position.items()}
    accuracy = {r: 0.1 + 0.89 * np.exp(-values / 2) for r, values in found.items()}
    return subsets(found, accuracy, position)


def realistic_dynamics(seed: int, epochs: int, scale: float = 1.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    at = np.unique([*range(0, epochs + 1, max(epochs // 40, 1)), epochs])
    rise = 0.02 + 0.98 * (1 - np.exp(-at / (0.3 * epochs)))
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


def realistic_utility_dynamics(folder: Path, seeds: Sequence[int] = (0, 1, 2)) -> Path:
    rows = []
    for model, epochs, scale in (("vanilla_cnn", 200, 1.0), ("resnet20", 200, 0.6)):
        for seed in seeds:
            one = row("utility_dynamics", 0, seed, trial=f"{model}-1", model=model)
            one = measured(folder, one, "utility_dynamics", realistic_dynamics(seed, epochs, scale))
            one = measured(folder, one, "utility_ratio", realistic_subsets(scale, [seed, 1]))
            rows.append(measured(folder, one, "utility_magnitude", realistic_ranks([seed, 2])))
    return write(folder, rows)


def realistic_utility_size(folder: Path, seeds: Sequence[int] = (0, 1, 2)) -> Path:
    rows = []
    for seed in seeds:
        for level, remaining in enumerate((1.0, 0.5, 0.25)):
            one = row(
                "utility_size",
                level,
                seed,
                "size" if level else "",
                weights_remaining=remaining,
                sparsity=1 - remaining,
            )
            near, far = 1 + 0.1 * level, remaining**-1.3
            one = measured(folder, one, "utility_ratio", realistic_subsets(near, [seed, level]))
            by_number = realistic_subsets(far, [seed, level, 9], by="number")
            rows.append(measured(folder, one, "utility_number", by_number))
    return write(folder, rows)


def realistic_utility_pruned(folder: Path, seeds: Sequence[int] = (0, 1, 2)) -> Path:
    rows = [row("utility_pruned", 0, seed) for seed in seeds]
    for seed in seeds:
        for level, sparsity in enumerate((0.25, 0.5, 0.75), start=1):
            size = {"sparsity": sparsity, "weights_remaining": 1 - sparsity}
            pruned = row(
                "utility_pruned",
                level,
                seed,
                **size,
                test_accuracy_last=0.925 - 0.01 * level + 0.001 * seed,
                train_loss=0.004 * level**2 + 0.001 * seed,
            )
            key = [seed, level]
            pruned = measured(
                folder, pruned, "utility_ratio", realistic_subsets(1 + 0.1 * level, key)
            )
            rows.append(
                measured(folder, pruned, "utility_pretrained", realistic_subsets(1, [*key, 1]))
            )
            small = row(
                "utility_pruned",
                level,
                seed,
                "small",
                **size,
                train_epochs=400,
                test_accuracy_last=0.915 - 0.012 * level + 0.001 * seed,
                train_loss=0.012 * level**2 + 0.001 * seed,
            )
            small_subsets = realistic_subsets(1.3 + 0.3 * level, [*key, 2])
            rows.append(measured(folder, small, "utility_ratio", small_subsets))
    return write(folder, rows)


def realistic_accuracy_surface(
    folder: Path, seeds: Sequence[int] = (0, 1), cycles: int = 5
) -> Path:
    rows = []
    for structure in ("weights", "channels"):
        criterion = "filter_gamma" if structure == "channels" else "magnitude"
        for retrain in ("finetune", "lr_rewind"):
            trial = f"{structure}-{retrain}"
            about = {"trial": trial, "retrain": retrain, "criterion": criterion}
            about["structure"] = structure
            for seed in seeds:
                rows.append(row("accuracy_surface", 0, seed, **about))
                for level in range(1, cycles + 1):
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
                    one = row("accuracy_surface", level, seed, **size, **about, **placed(a, (b, c)))
                    one["test_accuracy_last"] = 0.92 - 0.01 * level + 0.001 * seed
                    x, y = np.linspace(-0.2 * b, 1.2 * b, 15), np.linspace(-0.2 * c, 1.2 * c, 15)
                    table = plane(_basin(x, y, (b, c), structure, retrain), x, y)
                    one = measured(folder, one, "plane", table)
                    columns = ["cycle", "network", "x", "y", "distance"]
                    track = pd.DataFrame(path, columns=columns)
                    rows.append(measured(folder, one, "trajectory", track))
                if retrain == "lr_rewind":
                    small = {
                        **size,
                        "train_epochs": 1200,
                        "test_accuracy_last": 0.88 + 0.002 * seed,
                    }
                    rows.append(row("accuracy_surface", cycles, seed, "small", **about, **small))
    return write(folder, rows)


def _basin(
    x: np.ndarray, y: np.ndarray, end: tuple[float, float], structure: str, retrain: str
) -> np.ndarray:
    """High along the line from W* to Wr, and for channels only near its ends."""
    grid_x, grid_y = np.meshgrid(x, y)
    length = np.hypot(*end)
    along = (grid_x * end[0] + grid_y * end[1]) / length**2
    across = (grid_x * end[1] - grid_y * end[0]) / length
    wall = 0.8 * np.exp(-(((along - 0.5) / 0.2) ** 2)) if structure == "channels" else 0.05
    beyond = np.clip(np.abs(along - 0.5) - 0.55, 0, None)
    height = np.exp(-((across / (0.25 * length)) ** 2) - (3 * beyond) ** 2) * (1 - wall)
    return 0.1 + 0.89 * height
