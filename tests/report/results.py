"""Rows of results.csv, and the tables beside a stage, as every study leaves them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tfprune import files, layout, store

Row = dict[str, Any]


def row(
    experiment: str, trial: str, seed: int, level: int, branch: str = "", remaining: float = 1.0
) -> Row:
    """What each row has; `remaining` of the weights."""
    name = layout.level_folder(level)
    return {
        "experiment": experiment,
        "trial": trial,
        "seed": seed,
        "branch": branch,
        "level": level,
        "stage": f"trials/{trial}/seed_{seed}/{f'{branch}_{name}' if branch else name}",
        "sparsity": 1 - remaining,
        "weights_remaining": remaining,
    }


def write(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows into results.csv of a folder; returns the folder."""
    rows = list(rows)
    store.merge_rows(folder, rows, dict.fromkeys(name for row in rows for name in row))
    return folder


def write_table(file: Path, table: Any) -> None:
    files.write_text_atomic(file, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def write_metrics(folder: Path, stage: str, metrics: Any) -> None:
    """A stage's metrics.csv of the columns or rows that are given, from epoch 1."""
    table = pd.DataFrame(metrics).reindex(columns=list(layout.METRIC_COLUMNS))
    table["epoch"] = table["epoch"].fillna(table.index.to_series() + 1)
    write_table(folder / stage / layout.METRICS, table)


def measured(folder: Path, one: Row, **tables: Mapping[str, Any] | pd.DataFrame | None) -> Row:
    """The row with measurements' tables beside its stage, named in their columns."""
    for name, table in tables.items():
        if table is not None:
            one = {**one, name: f"{one['stage']}/{name}-0123abcd.csv"}
            write_table(folder / one[name], table)
    return one
