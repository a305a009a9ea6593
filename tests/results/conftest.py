"""An output folder as a study leaves it, with made-up but plausible numbers: a dip and a rise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfprune import files
from tfprune.results import layout, store

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


def _write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    lines = [",".join(layout.METRIC_COLUMNS)]
    lines += [",".join(str(row.get(c, "")) for c in layout.METRIC_COLUMNS) for row in rows]
    files.write_text_atomic(path, "\n".join(lines) + "\n")


def _result(level: int, rows: list[dict[str, float]]) -> dict[str, Any]:
    tests = [row["test_accuracy"] for row in rows]
    last = rows[-1]
    return {
        "level": level,
        "sparsity": 1 - 0.8**level,
        "weights_remaining": 0.8**level,
        "train_epochs": EPOCHS,
        "train_accuracy": last["train_accuracy"],
        "test_accuracy_last": tests[-1],
        "test_accuracy_best": max(tests),
        "best_epoch": 1 + int(np.argmax(tests)),
        **{
            name: last[name]
            for name in ("unpermuted_accuracy", "permuted_accuracy", "restored_accuracy")
        },
        "wall_seconds": 0.2,
    }


Maker = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> Maker:
    """A function (trials, levels, seeds, skip, columns, experiment) -> a filled output folder.

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
                _make_seed(tmp_path, experiment, trial, seed, settings, seeds)
                rows = []
                for level in (n for n in range(levels) if (number, seed, n) not in skip):
                    stage = "/".join(
                        (layout.TRIALS, trial, layout.seed_folder(seed), layout.level_folder(level))
                    )
                    metrics = _metrics(level, seed, settings)
                    _write_metrics(tmp_path / stage / layout.METRICS, metrics)
                    key = {"experiment": experiment, "trial": trial, "seed": seed, "stage": stage}
                    chosen = {name: settings[name] for name in columns}
                    rows.append({**key, **_result(level, metrics), **chosen})
                store.merge_rows(tmp_path, rows, columns)
        return tmp_path

    return make


def _make_seed(
    folder: Path,
    experiment: str,
    trial: str,
    seed: int,
    settings: dict[str, Any],
    seeds: Sequence[int],
) -> None:
    data = {name: settings[name] for name in ("dataset", "label_noise", "noise_fraction")}
    config = {
        "data": data,
        "pruning": {"criterion": settings["criterion"], "levels": 22},
        "seeds": list(seeds),
    }
    files.write_json(
        folder / layout.TRIALS / trial / layout.seed_folder(seed) / layout.CONFIG,
        {
            "config": {**config, "experiment": experiment},
            "argv": ["run.py", experiment, "--noise_fraction=0.4"],
            "versions": {"tfprune": "0.1.0", "tensorflow": "2.21.0"},
            "device": "CPU, 2 cores",
        },
    )
