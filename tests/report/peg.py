"""Made-up results folders of the experiments of PEG, as the studies leave them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import results
from results import Row

EPOCHS = 60
# Of LeNet-300-100 on MNIST.
WEIGHTS = 266_200


def row(
    method: str,
    level: int,
    seed: int,
    test_error: float,
    val_error: float | None = None,
    noise: float = 0.0,
    width: float = 1.0,
    **changes: Any,
) -> Row:
    """One row of results.csv; errors in percent, a level removes 20%.

    `val_error` defaults to the test error; pass NaN for no validation split.
    """
    dense = method in ("extended_dense", "width", "width_matched")
    remaining = 1.0 if dense else 0.8**level
    model, dataset = changes.get("model", "lenet_300_100"), changes.get("dataset", "mnist")
    trial = f"{dataset}-{model}-{method}-{noise:g}-{width:.6f}"
    return {
        **results.row("pruning_effect", trial, seed, level, remaining=remaining),
        "train_epochs": EPOCHS,
        "test_accuracy_last": 1 - test_error / 100,
        "test_accuracy_best": 1 - test_error / 100,
        "val_accuracy": 1 - (test_error if val_error is None else val_error) / 100,
        "method": method,
        "dense_trial": f"{dataset}-{model}-dense-{noise:g}",
        "width": width,
        "weights": round(WEIGHTS * remaining * width**1.5),
        "dataset": dataset,
        "label_noise": "uniform_other" if noise else "none",
        "noise_fraction": noise,
        "model": model,
        "criterion": method if method in ("synflow", "snip", "random") else "magnitude",
        "retrain": method if method in ("weight_rewind", "extended_dense") else "lr_rewind",
        **changes,
    }


def member_row(method: str, member: int, seed: int, error: float, **changes: Any) -> Row:
    """The row of a member of a family; of `width` or `width_matched` a trial of 0.8**member."""
    if method not in ("width", "width_matched"):
        return row(method, member, seed, error, **changes)
    return row(method, int(method == "width_matched"), seed, error, width=0.8**member, **changes)


def family(
    method: str, errors: Mapping[int, Sequence[float | None]], noise: float = 0.0, **changes: Any
) -> list[Row]:
    """Rows of one family from {seed: test errors in % by member}; where one is None, no row."""
    return [
        member_row(method, member, seed, error, noise=noise, **changes)
        for seed, by_member in errors.items()
        for member, error in enumerate(by_member)
        if error is not None
    ]


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
    noises: Sequence[float] = (0.0, 0.05, 0.1, 0.15),
    seeds: Sequence[int] = (0, 1, 2),
    levels: int = 24,
    **changes: Any,
) -> list[Row]:
    """Rows with plausible curves: noise harms, sparsity first helps and then ruins."""
    made = []
    for method, noise, seed in itertools.product(methods, noises, seeds):
        best, saved, end = _SHAPES[method]
        random = np.random.default_rng([seed, int(100 * noise), len(method)])
        dense = 1.8 + 77 * noise + np.random.default_rng(seed).normal(0, 0.15)
        for member in range(levels):
            gain = saved * (dense - 1.0) * np.exp(-(((member - best) / 6) ** 2))
            ruin = 88 / (1 + np.exp(-(member - end) / 0.8)) - 88 / (1 + np.exp(end / 0.8))
            jitter = random.normal(0, 0.1) if member else 0.0
            error = float(np.clip(dense - gain + ruin + jitter, 0.5, 90))
            fall = 1 / (1 + np.exp(-(member - best) / 2))
            noisy = 0.4 + (3.8 - 6 * noise) * fall + 0.1 * seed
            original = 0.02 + 2 * noise * fall + 0.01 * seed
            losses = {"noisy_loss": noisy, "original_loss": original}
            more = {name: loss if noise else None for name, loss in losses.items()} | changes
            if method == "width_matched":  # Before it was trained for as long again.
                width = 0.8**member
                made.append(row(method, 0, seed, error + 0.2, None, noise, width, **more))
            made.append(member_row(method, member, seed, error, noise=noise, **more))
    return made
