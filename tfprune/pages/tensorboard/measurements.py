"""What was measured beside a stage, in its run: utility by epoch, its distribution, planes (PM)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from etils import epath

from tfprune import store
from tfprune.event_folders import event_folder
from tfprune.pages.tensorboard import event_files
from tfprune.papers.pm import planes, utility

# Of weight utility (PM 2.1.2): what is a curve by epoch, for each ablation ratio, and the tables
# of subsets whose utilities are histograms.
_UTILITY_CURVES = {**utility.NAMES, utility.ACCURACY: "accuracy"}
_UTILITY_SUBSETS = (utility.RATIO, utility.NUMBER, utility.PRETRAINED)
_MEASURED = (utility.DYNAMICS, *_UTILITY_SUBSETS, "plane")


def publish(output_dir: epath.PathLike, results: pd.DataFrame) -> bool:
    """What was measured beside stages, in their runs; whether there are curves of utility."""
    columns = [name for name in _MEASURED if name in results]
    named = results[results[columns].fillna("").ne("").any(axis=1) & results[store.STAGE].ne("")]
    has_curves = False
    for stage, rows in named.groupby(store.STAGE, sort=False):
        folder, level = event_folder(output_dir, str(stage)), int(rows["level"].min())
        curves = utility_curves(output_dir, rows)
        has_curves |= bool(curves)
        event_files.write_curves(folder, curves)
        event_files.write_histograms(folder, _utility_samples(output_dir, rows), level)
        event_files.write_images(folder, _planes(output_dir, rows), level)
    return has_curves


def _last_named(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The row of a stage whose measurement is shown: experiments may have other options."""
    if column not in rows:
        return rows.iloc[:0]
    return rows[rows[column].fillna("").ne("")].iloc[-1:]


def utility_charts() -> dict[str, list[str]]:
    """A chart for each quantity of the tags utility/QUANTITY_RATIO, with a curve per ratio."""
    curves = _UTILITY_CURVES.items()
    return {event_files.spoken(column): [f"^utility/{name}_"] for column, name in curves}


def utility_curves(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[int, dict[str, float]]:
    """epoch -> {utility/QUANTITY_RATIO: value}, of the rows of one stage."""
    one = _last_named(rows, utility.DYNAMICS)
    columns = utility.DYNAMICS_COLUMNS
    table = store.read_measurements(output_dir, one, utility.DYNAMICS, columns)
    found: dict[int, dict[str, float]] = {}
    for row in table.to_dict("records"):
        scalars = found.setdefault(int(row["epoch"]), {})
        for column, name in _UTILITY_CURVES.items():
            scalars[f"utility/{name}_{row[utility.AMOUNT]:g}"] = float(row[column])
    return found


def _utility_samples(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """MEASUREMENT/RATIO -> the utilities of all subsets, nats."""
    found = {}
    for column in _UTILITY_SUBSETS:
        one = _last_named(rows, column)
        table = store.read_measurements(output_dir, one, column, utility.SUBSET_COLUMNS)
        for amount, subsets in table.groupby(utility.AMOUNT):
            found[f"{column}/{amount:g}"] = subsets["utility"].to_numpy(float)
    return found


def _planes(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[str, bytes]:
    """The picture of a stage's plane, if it was measured."""
    found = planes.surfaces(output_dir, _last_named(rows, "plane"))
    return {"accuracy_surface/plane": planes.png(found)} if len(found) else {}
