"""An output folder as a study leaves it, with made-up but plausible numbers: a dip and a rise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import results

from tfprune import files, layout, store

EPOCHS = 20
SETTINGS = {
    "dataset": "digits",
    "model": "lenet_300_100",
    "label_noise": "symmetric",
    "noise_fraction": 0.4,
    "criterion": "magnitude",
}
# How soon each criterion hurts, as a shift of the sparsity axis (SDD observation 3).
_SHIFT = {"magnitude": 0.0, "gradient": -0.3, "random": -1.2}
_EXAMPLES = ("unpermuted_accuracy", "permuted_accuracy", "restored_accuracy")


def _falls(position: float, middle: float, width: float) -> float:
    return 1 / (1 + np.exp((position - middle) / width))


def _metrics(level: int, seed: int, settings: dict[str, Any]) -> pd.DataFrame:
    """A row an epoch of a stage: memorization grows with the epochs and dies with sparsity."""
    random = np.random.default_rng([seed, level, int(100 * settings["noise_fraction"])])
    position = -level * np.log(0.8) - _SHIFT[settings["criterion"]]
    noise = settings["noise_fraction"]
    memory = 0.1 + 0.9 * _falls(position, 3.4, 0.22)
    general = 0.1 + 0.88 * _falls(position, 5.6, 0.25)
    dip = 0.25 * noise * np.exp(-(((position - 2.6) / 0.6) ** 2))
    epoch = np.arange(1, EPOCHS + 1)
    learned, memorized = 1 - np.exp(-epoch / 1.5), 1 / (1 + np.exp(-(epoch - 9) / 1.5))
    permuted = 0.1 + (memory - 0.1) * memorized
    unpermuted = general * learned + (1 - general) * (permuted - 0.1)
    harm = 0.6 * (permuted - 0.1) * noise + dip * memorized + random.normal(0, 0.004, EPOCHS)
    columns = {
        "epoch": epoch,
        "learning_rate": 0.1,
        "train_loss": 1.0 / epoch,
        "train_accuracy": noise * permuted + (1 - noise) * unpermuted,
        "test_accuracy": 0.97 * general * learned - harm,
        "unpermuted_accuracy": unpermuted,
        "permuted_accuracy": permuted,
        "restored_accuracy": general * learned * (1 - (permuted - 0.1)),
        "wall_seconds": 0.01,
    }
    # Without noise no example is permuted.
    return pd.DataFrame(columns if noise else columns | dict.fromkeys(_EXAMPLES))


def _result(metrics: pd.DataFrame) -> dict[str, Any]:
    """What results.csv has of a stage's epochs."""
    tests, last = metrics["test_accuracy"], metrics.iloc[-1]
    return {
        "train_epochs": EPOCHS,
        "train_accuracy": last["train_accuracy"],
        "test_accuracy_last": last["test_accuracy"],
        "test_accuracy_best": tests.max(),
        "best_epoch": 1 + tests.argmax(),
        **{name: last[name] for name in _EXAMPLES},
        "wall_seconds": 0.2,
    }


def make(
    root: Path,
    trials: Sequence[dict[str, Any]] = ({},),
    levels: int = 23,
    seeds: Sequence[int] = (0, 1, 2),
    skip: Sequence[tuple[int, int, int]] = (),
    columns: Sequence[str] = tuple(SETTINGS),
    experiment: str = "sparse_double_descent",
) -> Path:
    """Fills `root` with a study, and returns it.

    `trials` are changes to SETTINGS, one trial each; `skip` are (trial number, seed, level) that
    are not there yet; `columns` are the settings that results.csv carries.
    """
    for number, changes in enumerate(trials):
        trial, settings, rows = f"digits-lenet-{number:08x}", SETTINGS | changes, []
        chosen = {name: settings[name] for name in columns}
        for seed in seeds:
            for level in (n for n in range(levels) if (number, seed, n) not in skip):
                one = results.row(experiment, trial, seed, level, remaining=0.8**level)
                metrics = _metrics(level, seed, settings)
                results.write_metrics(root, one["stage"], metrics)
                rows.append(one | _result(metrics) | chosen)
            folder = root / layout.TRIALS / trial / layout.seed_folder(seed)
            _write_config(folder, experiment, settings, seeds)
        store.merge_rows(root, rows, columns)
    return root


def make_branches(
    root: Path,
    experiment: str,
    branch: str = "redense",
    branch_levels: Sequence[int] = (0, 4, 11, 14, 16, 20),
    surfaces: bool = False,
    **options: Any,
) -> Path:
    """A study as `make` makes it from the `options`, with a branch from some levels.

    A re-dense branch memorizes what its sparse network did not; a reinitialized one is better by
    4 points at levels 8 to 12, and the same elsewhere.
    """
    make(root, experiment=experiment, **options)
    rows = []
    for row in store.read_results(root).to_dict("records"):
        row = {name: value for name, value in row.items() if value == value}
        distance = 30 * 0.93 ** row["level"] + 0.2 * row["seed"]
        found = _line(root, row | {"distance_from_init": distance}, 0.3)
        rows.append(found if row["level"] == 0 else {**found, "line": "", "sharpness": None})
        if row["level"] in branch_levels:
            made = _redense if branch.startswith("redense") else _reinit
            rows.append(made(root, found, branch, surfaces))
    return results.write(root, rows)


def _redense(folder: Path, sparse: dict[str, Any], branch: str, surfaces: bool) -> dict[str, Any]:
    stage = sparse["stage"].replace("level_", f"{branch}_level_")
    sparse_end = store.read_metrics(folder, sparse["stage"]).iloc[-1]
    done = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 3)
    metrics = pd.DataFrame({**sparse_end, "epoch": np.arange(EPOCHS + 1, 2 * EPOCHS + 1)})
    for name, end in (("train", 0.98), ("test", 0.72), ("permuted", 1.0), ("restored", 0.0)):
        metrics[f"{name}_accuracy"] += done * (end - metrics[f"{name}_accuracy"])
    results.write_metrics(folder, stage, metrics)
    row = {**sparse, **_result(metrics), "branch": branch, "stage": stage}
    row |= {"sparsity": 0.0, "weights_remaining": 1.0, "sparse_sparsity": sparse["sparsity"]}
    row["distance_from_init"] = 22 * 0.97 ** sparse["level"] + 0.2 * sparse["seed"]
    row = _line(folder, row, 0.2 + 0.1 * sparse["level"])
    row = _interpolation(folder, row, 0.02 if sparse["level"] == 4 else 0.0)
    return _surface(folder, row) if surfaces else row


def _reinit(folder: Path, ticket: dict[str, Any], branch: str, surfaces: bool) -> dict[str, Any]:
    gain = 0.04 if 8 <= ticket["level"] <= 12 else 0.0
    jitter = 0.01 * (ticket["seed"] - 1)
    row = {**ticket, "branch": branch, "stage": ticket["stage"].replace("level_", "reinit_level_")}
    for name in ("test_accuracy_last", "test_accuracy_best"):
        row[name] = ticket[name] + gain + jitter
    return row


def _landscape(loss: np.ndarray, **places: np.ndarray) -> dict[str, np.ndarray]:
    """A table of losses and accuracies."""
    accuracy = np.exp(-loss / 2)
    train = {"train_loss": loss, "train_accuracy": accuracy}
    return places | train | {"test_loss": 1.4 * loss + 0.2, "test_accuracy": 0.8 * accuracy}


def _interpolation(folder: Path, row: dict[str, Any], barrier: float) -> dict[str, Any]:
    alpha = np.linspace(0, 1, 101)
    start = 0.1 + 0.05 * row["level"]
    loss = start * (1 - alpha) ** 2 + 0.02 + barrier * np.sin(np.pi * alpha)
    row |= {"barrier_height": barrier, "monotonic": int((np.diff(loss) <= 0).all())}
    return results.measured(folder, row, interpolation=_landscape(loss, alpha=alpha))


def _line(folder: Path, row: dict[str, Any], curvature: float) -> dict[str, Any]:
    direction, distance = np.repeat([0, 1], 21), np.tile(np.linspace(-1, 1, 21), 2)
    curvature *= 1 + 0.02 * row["seed"]
    loss = 0.02 + curvature * distance**2 * (1 + 0.2 * direction)
    line = _landscape(loss, direction=direction, distance=distance)
    return results.measured(folder, row | {"sharpness": 1.1 * curvature}, line=line)


def _surface(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    x, y = (side.ravel() for side in np.meshgrid(*[np.linspace(-1, 1, 11)] * 2, indexing="ij"))
    loss = 0.02 + (0.2 + 0.1 * row["level"]) * (x**2 + 0.6 * y**2 + 0.3 * x * y)
    return results.measured(folder, row, surface=_landscape(loss, x=x, y=y))


def _write_config(
    folder: Path, experiment: str, settings: dict[str, Any], seeds: Sequence[int]
) -> None:
    data = {name: settings[name] for name in ("dataset", "label_noise", "noise_fraction")}
    pruning = {"criterion": settings["criterion"], "levels": 22}
    config = {"data": data, "pruning": pruning, "seeds": list(seeds), "experiment": experiment}
    about = {
        "config": config,
        "argv": ["--noise_fraction=0.4"],
        "versions": {"tfprune": "0.1.0", "tensorflow": "2.21.0"},
        "device": "CPU, 2 cores",
        "host": "a-host",
        "started": "2026-11-26T17:05:12+00:00",
    }
    files.write_json(folder / layout.CONFIG, about)
