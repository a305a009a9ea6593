"""Made-up results folders of the experiments of PEG, as the studies leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfprune import store

COLUMNS = (
    "method",
    "width",
    "weights",
    "dataset",
    "label_noise",
    "noise_fraction",
    "model",
    "criterion",
    "retrain",
)
EPOCHS = 60
# Of LeNet-300-100 on MNIST.
WEIGHTS = 266_200
_CRITERIA = {"synflow", "snip", "random"}


def row(
    method: str,
    level: int,
    seed: int,
    test_error: float,
    val_error: float | None = None,
    noise: float = 0.0,
    width: float = 1.0,
    **changes: Any,
) -> dict[str, Any]:
    """One row of results.csv; errors in percent, a level removes 20%.

    `val_error` defaults to the test error; pass NaN for no validation split.
    """
    dense = method in ("extended_dense", "width", "width_matched")
    remaining = 1.0 if dense else 0.8**level
    model, dataset = changes.get("model", "lenet_300_100"), changes.get("dataset", "mnist")
    trial = f"{dataset}-{model}-{method}-{noise:g}-{width:.6f}"
    return {
        "experiment": "pruning_effect",
        "trial": trial,
        "seed": seed,
        "branch": "",
        "level": level,
        "stage": f"trials/{trial}/seed_{seed}/level_{level:02d}",
        "sparsity": 1 - remaining,
        "weights_remaining": remaining,
        "train_epochs": EPOCHS,
        "test_accuracy_last": 1 - test_error / 100,
        "test_accuracy_best": 1 - test_error / 100,
        "val_accuracy": 1 - (test_error if val_error is None else val_error) / 100,
        "method": method,
        "width": width,
        "weights": round(WEIGHTS * remaining * width**1.5),
        "dataset": dataset,
        "label_noise": "uniform_other" if noise else "none",
        "noise_fraction": noise,
        "model": model,
        "criterion": method if method in _CRITERIA else "magnitude",
        "retrain": method if method in ("weight_rewind", "extended_dense") else "lr_rewind",
        **changes,
    }


def family(
    method: str,
    errors: Mapping[int, Sequence[float]],
    noise: float = 0.0,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Rows of one family from {seed: test errors in % by member}; where one is None, no row.

    A member of `width` or `width_matched` is a trial of 0.8**member of the width.
    """
    made = []
    for seed, by_member in errors.items():
        for member, error in enumerate(by_member):
            if error is None:
                continue
            if method in ("width", "width_matched"):
                level = int(method == "width_matched")
                made.append(row(method, level, seed, error, None, noise, 0.8**member, **changes))
            else:
                made.append(row(method, member, seed, error, None, noise, **changes))
    return made


def write(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows into results.csv of a folder; returns the folder."""
    rows = list(rows)
    store.merge_rows(folder, rows, [*COLUMNS, *(name for row in rows for name in row)])
    return folder


METHODS = ("lr_rewind", "weight_rewind", "synflow", "snip", "random", "extended_dense")
# Where the optimum lies, how much of the noise it saves, and where the network collapses.
_SHAPES = {
    "lr_rewind": (11, 0.30, 21),
    "weight_rewind": (12, 0.62, 22),
    "synflow": (10, 0.26, 20),
    "snip": (11, 0.28, 20),
    "random": (7, 0.24, 14),
    "extended_dense": (20, 0.12, 90),
    "one_shot": (10, 0.25, 18),
    "width": (12, 0.18, 24),
    "width_matched": (12, 0.20, 24),
}


def realistic(
    methods: Iterable[str] = METHODS,
    noises: Iterable[float] = (0.0, 0.05, 0.1, 0.15),
    seeds: Iterable[int] = (0, 1, 2),
    levels: int = 24,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Rows with plausible curves: noise harms, sparsity first helps and then ruins."""
    made = []
    for method in methods:
        best, saved, end = _SHAPES[method]
        for noise in noises:
            for seed in seeds:
                random = np.random.default_rng([seed, int(100 * noise), len(method)])
                dense = 1.8 + 77 * noise + np.random.default_rng(seed).normal(0, 0.15)
                for member in range(levels):
                    gain = saved * (dense - 1.0) * np.exp(-(((member - best) / 6) ** 2))
                    ruin = 88 / (1 + np.exp(-(member - end) / 0.8)) - 88 / (1 + np.exp(end / 0.8))
                    jitter = random.normal(0, 0.1) if member else 0.0
                    error = float(np.clip(dense - gain + ruin + jitter, 0.5, 90))
                    fall = 1 / (1 + np.exp(-(member - best) / 2))
                    losses = {
                        "noisy_loss": 0.4 + (3.8 - 6 * noise) * fall + 0.1 * seed
                        if noise
                        else None,
                        "original_loss": 0.02 + 2 * noise * fall + 0.01 * seed if noise else None,
                    }
                    made += _made(method, member, seed, error, noise, losses | changes)
    return made


def _made(
    method: str, member: int, seed: int, error: float, noise: float, more: dict[str, Any]
) -> list[dict[str, Any]]:
    if method == "width":
        return [row(method, 0, seed, error, None, noise, 0.8**member, **more)]
    if method == "width_matched":
        dense = row(method, 0, seed, error + 0.2, None, noise, 0.8**member, **more)
        return [dense, row(method, 1, seed, error, None, noise, 0.8**member, **more)]
    return [row(method, member, seed, error, None, noise, **more)]
