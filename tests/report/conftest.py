"""An output folder as a study leaves it, with made-up but plausible numbers: a dip and a rise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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


def _falls(position: float, middle: float, width: float) -> float:
    return 1 / (1 + np.exp((position - middle) / width))


def _metrics(level: int, seed: int, settings: dict[str, Any]) -> list[dict[str, float]]:
    """A stage's epochs: memorization grows with the epochs and dies with sparsity."""
    random = np.random.default_rng([seed, level, int(100 * settings["noise_fraction"])])
    position = -level * np.log(0.8) - _SHIFT[settings["criterion"]]
    noise = settings["noise_fraction"]
    memory = 0.1 + 0.9 * _falls(position, 3.4, 0.22)
    general = 0.1 + 0.88 * _falls(position, 5.6, 0.25)
    dip = 0.25 * noise * np.exp(-(((position - 2.6) / 0.6) ** 2))
    rows = []
    for epoch in range(1, EPOCHS + 1):
        learned, memorized = 1 - np.exp(-epoch / 1.5), 1 / (1 + np.exp(-(epoch - 9) / 1.5))
        permuted = 0.1 + (memory - 0.1) * memorized
        unpermuted = general * learned + (1 - general) * (permuted - 0.1)
        harm = (0.6 * (permuted - 0.1) * noise + dip * memorized) + random.normal(0, 0.004)
        rows.append(
            {
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
        )
    return rows


def _write_table(file: Path, rows: Any, columns: Sequence[str] | None = None) -> None:
    table = pd.DataFrame(rows, columns=columns)
    files.write_text_atomic(file, table.to_csv(index=False, lineterminator="\n"))


def _write_metrics(stage: Path, rows: list[dict[str, float]]) -> None:
    _write_table(stage / layout.METRICS, rows, layout.METRIC_COLUMNS)


def _result(level: int, rows: list[dict[str, float]]) -> dict[str, Any]:
    tests, last = [row["test_accuracy"] for row in rows], rows[-1]
    examples = [f"{kind}_accuracy" for kind in ("unpermuted", "permuted", "restored")]
    return {
        "level": level,
        "sparsity": 1 - 0.8**level,
        "weights_remaining": 0.8**level,
        "train_epochs": EPOCHS,
        "train_accuracy": last["train_accuracy"],
        "test_accuracy_last": tests[-1],
        "test_accuracy_best": max(tests),
        "best_epoch": 1 + int(np.argmax(tests)),
        **{name: last[name] for name in examples},
        "wall_seconds": 0.2,
    }


Maker = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> Maker:
    """`filling` of the test's own folder."""
    return filling(tmp_path)


@pytest.fixture(scope="session")
def filling_of() -> Callable[[Path], Maker]:
    """`filling`, for fixtures that several tests read."""
    return filling


def filling(root: Path) -> Maker:
    """A function (trials, levels, seeds, skip, columns, experiment) -> `root`, filled.

    `trials` are changes to SETTINGS, one trial each; `skip` are (trial number, seed, level) that
    are not there yet; `columns` are the settings that results.csv carries.
    """

    def make(
        trials: Sequence[dict[str, Any]] = ({},),
        levels: int = 23,
        seeds: Sequence[int] = (0, 1, 2),
        skip: Sequence[tuple[int, int, int]] = (),
        columns: Sequence[str] = tuple(SETTINGS),
        experiment: str = "sparse_double_descent",
    ) -> Path:
        for number, changes in enumerate(trials):
            settings = SETTINGS | changes
            trial = f"digits-lenet-{number:08x}"
            for seed in seeds:
                folder, rows = f"{layout.TRIALS}/{trial}/{layout.seed_folder(seed)}", []
                _write_config(root / folder, experiment, settings, seeds)
                for level in (n for n in range(levels) if (number, seed, n) not in skip):
                    metrics = _metrics(level, seed, settings)
                    stage = f"{folder}/{layout.level_folder(level)}"
                    _write_metrics(root / stage, metrics)
                    key = {"experiment": experiment, "trial": trial, "seed": seed, "stage": stage}
                    chosen = {name: settings[name] for name in columns}
                    rows.append(key | _result(level, metrics) | chosen)
                store.merge_rows(root, rows, columns)
        return root

    return make


@pytest.fixture
def make_branches(make_folder: Maker) -> Maker:
    """A function (experiment, branch, branch_levels, **options) -> a folder with branches.

    `options` are those of `make_folder`. A re-dense branch memorizes what its sparse network did
    not; a reinitialized one is better by 4 points at levels 8 to 12, and the same elsewhere.
    """

    def make(
        experiment: str,
        branch: str = "redense",
        branch_levels: Sequence[int] = (0, 4, 11, 14, 16, 20),
        surfaces: bool = False,
        **options: Any,
    ) -> Path:
        folder = make_folder(experiment=experiment, **options)
        trunk = store.read_results(folder)
        rows: list[dict[str, Any]] = []
        for row in trunk.to_dict("records"):
            row = {name: value for name, value in row.items() if value == value}
            distance = 30 * 0.93 ** row["level"] + 0.2 * row["seed"]
            found = {**row, "distance_from_init": distance, **_line(folder, row, 0.3)}
            rows.append(found if row["level"] == 0 else {**found, "line": "", "sharpness": None})
            if row["level"] in branch_levels:
                made = _redense if branch.startswith("redense") else _reinit
                rows.append(made(folder, found, branch, surfaces))
        store.merge_rows(folder, rows, {name for row in rows for name in row})
        return folder

    return make


def _redense(folder: Path, sparse: dict[str, Any], branch: str, surfaces: bool) -> dict[str, Any]:
    stage = sparse["stage"].replace("level_", f"{branch}_level_")
    metrics = store.read_metrics(folder, sparse["stage"]).to_dict("records")
    end, rows = metrics[-1], []
    for epoch in range(EPOCHS + 1, 2 * EPOCHS + 1):
        done = 1 - np.exp(-(epoch - EPOCHS) / 3)
        moved = {
            "train_accuracy": end["train_accuracy"] + done * (0.98 - end["train_accuracy"]),
            "test_accuracy": end["test_accuracy"] + done * (0.72 - end["test_accuracy"]),
            "permuted_accuracy": end["permuted_accuracy"] + done * (1 - end["permuted_accuracy"]),
            "restored_accuracy": (1 - done) * end["restored_accuracy"],
        }
        rows.append({**end, **moved, "epoch": epoch})
    _write_metrics(folder / stage, rows)
    row = {**sparse, **_result(sparse["level"], rows), "branch": branch, "stage": stage}
    row |= {"sparsity": 0.0, "weights_remaining": 1.0, "sparse_sparsity": sparse["sparsity"]}
    row["distance_from_init"] = 22 * 0.97 ** sparse["level"] + 0.2 * sparse["seed"]
    row |= _line(folder, row, 0.2 + 0.1 * sparse["level"])
    row |= _interpolation(folder, row, 0.02 if sparse["level"] == 4 else 0.0)
    return row | (_surface(folder, row) if surfaces else {})


def _reinit(folder: Path, ticket: dict[str, Any], branch: str, surfaces: bool) -> dict[str, Any]:
    gain = 0.04 if 8 <= ticket["level"] <= 12 else 0.0
    jitter = 0.01 * (ticket["seed"] - 1)
    row = {**ticket, "branch": branch, "stage": ticket["stage"].replace("level_", "reinit_level_")}
    for name in ("test_accuracy_last", "test_accuracy_best"):
        row[name] = ticket[name] + gain + jitter
    return row


def _measured(
    folder: Path, row: dict[str, Any], name: str, loss: np.ndarray, **places: np.ndarray
) -> dict[str, Any]:
    """Writes a table of losses and accuracies; the column that names its file."""
    file, accuracy = f"{row['stage']}/{name}-0123abcd.csv", np.exp(-loss / 2)
    train = {"train_loss": loss, "train_accuracy": accuracy}
    test = {"test_loss": 1.4 * loss + 0.2, "test_accuracy": 0.8 * accuracy}
    _write_table(folder / file, places | train | test)
    return {name: file}


def _interpolation(folder: Path, row: dict[str, Any], barrier: float) -> dict[str, Any]:
    alpha = np.linspace(0, 1, 101)
    start = 0.1 + 0.05 * row["level"]
    loss = start * (1 - alpha) ** 2 + 0.02 + barrier * np.sin(np.pi * alpha)
    found = {"barrier_height": barrier, "monotonic": int((np.diff(loss) <= 0).all())}
    return found | _measured(folder, row, "interpolation", loss, alpha=alpha)


def _line(folder: Path, row: dict[str, Any], curvature: float) -> dict[str, Any]:
    direction, distance = np.repeat([0, 1], 21), np.tile(np.linspace(-1, 1, 21), 2)
    curvature *= 1 + 0.02 * row["seed"]
    loss = 0.02 + curvature * distance**2 * (1 + 0.2 * direction)
    file = _measured(folder, row, "line", loss, direction=direction, distance=distance)
    return file | {"sharpness": 1.1 * curvature}


def _surface(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    x, y = (side.ravel() for side in np.meshgrid(*[np.linspace(-1, 1, 11)] * 2, indexing="ij"))
    loss = 0.02 + (0.2 + 0.1 * row["level"]) * (x**2 + 0.6 * y**2 + 0.3 * x * y)
    return _measured(folder, row, "surface", loss, x=x, y=y)


def _write_config(
    folder: Path, experiment: str, settings: dict[str, Any], seeds: Sequence[int]
) -> None:
    config = {
        "data": {name: settings[name] for name in ("dataset", "label_noise", "noise_fraction")},
        "pruning": {"criterion": settings["criterion"], "levels": 22},
        "seeds": list(seeds),
        "experiment": experiment,
    }
    about = {
        "config": config,
        "argv": ["--noise_fraction=0.4"],
        "versions": {"tfprune": "0.1.0", "tensorflow": "2.21.0"},
        "device": "CPU, 2 cores",
        "host": "a-host",
        "started": "2026-11-26T17:05:12+00:00",
    }
    files.write_json(folder / layout.CONFIG, about)
