"""What redense shows: training through the lifting of masks, paths and minima beyond it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from tfprune import store
from tfprune.measures import statistics
from tfprune.papers.drawings.surface import Contours
from tfprune.papers.sdd import networks
from tfprune.papers.sdd.networks import Networks, Study, on_each, sparsity_text
from tfprune.report import readings, style, tables
from tfprune.report.accuracy import EPOCHS, LAST, SPARSITY, from_zero
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Mark, Panel, Scale, line_handle
from tfprune.report.summary import concatenated
from tfprune.report.tables import Table, mean_std

_SCRATCH = "dense, from scratch"
_SPLITS = ("train", "test")
_MEASURED = {"sharpness": "sharpness (nats)", "barrier_height": "barrier (nats)"}
# Barriers below this many nats are rounding.
_NO_BARRIER = 1e-6


def load(results: pd.DataFrame, folder: epath.Path) -> Study:
    """Sparse and re-dense networks; columns of measurements are NaN where nothing was measured."""
    columns = results.columns.union([*_MEASURED, "monotonic"], sort=False)
    return networks.study(results.reindex(columns=columns), folder, networks.REDENSE)


# ---------------------------------------------------------------- accuracy
def _lifting(panel: Panel) -> None:
    panel.axes.axvline(panel.rows["lifted"].iloc[0], color="#777777", linestyle=":", linewidth=1.3)


_LIFTED = Mark(_lifting, lambda: line_handle("masks lifted", "#777777", dash=":"))


@on_each
def escape_reading(network: Networks) -> str:
    """What lifting the masks does to train and test accuracy."""
    test, train = _pruned(network.differences(LAST)), network.differences("train_accuracy")
    if test.empty:
        return ""
    level: Any = test["mean"].abs().idxmax()
    moved = " and ".join(
        f"{what} accuracy from {100 * gap.loc[level, 'trunk']:.1f}% to "
        f"{100 * gap.loc[level, 'branch']:.1f}%"
        for what, gap in (("train", train), ("last test", test))
    )
    at = sparsity_text(test["sparsity"][level])
    said = f"Re-dense training takes {moved} at {at} sparsity"
    if (test["n"] < 2).all():
        falls = f"falls at {(test['mean'] < 0).sum()} of {len(test)} sparsities, for the one seed"
        return f"{said}; last test accuracy {falls}."
    count = Counter(test["verdict"])
    return (
        f"{said}; of {len(test)} sparsities, it ends with lower test accuracy than the sparse "
        f"network at {count['lower']}, higher at {count['higher']} and matching at "
        f"{count['matches']}."
    )


def _pruned(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the dense networks, where there are others."""
    pruned = rows[rows["sparsity"] > 0]
    return pruned if len(pruned) else rows


# ---------------------------------------------------------------- paths
def _path_ticks(panel: Panel) -> None:
    panel.axes.set_xticks([0, 0.5, 1], ["0\nsparse", "0.5", "1\nre-dense"])


def path_reading(found: Study) -> str:
    """Whether train loss only falls on the straight path, and its barrier, in one sentence."""
    rows = pd.concat([network.rows for network in found.networks])
    rows = _pruned(rows[rows["barrier_height"].notna()])
    if rows.empty:
        return ""
    paths, falling = len(rows), int(rows["monotonic"].sum())
    count = "all" if falling == paths > 1 else f"{falling} of"
    share = rows.groupby("sparsity")["monotonic"].mean()
    others = {"on none at": share == 0, "not on all at": (share > 0) & (share < 1)}
    said = [f"{how} {networks.listed(there)}" for how, there in others.items() if there.any()]
    but = f", but {' and '.join(said)} sparsity" if 0 < falling < paths else ""
    heights: Any = rows.groupby("sparsity")["barrier_height"].mean()
    barrier = "no barrier rises above the straight line between its ends"
    if heights.max() >= _NO_BARRIER:
        barrier = (
            "the mean barrier above the straight line between the ends is highest, "
            f"{_nats([heights.max()])} nats, at {sparsity_text(heights.idxmax())} sparsity"
        )
    return (
        "From the sparse to the re-dense solution, train loss decreases monotonically on "
        f"{count} {paths} path{'s' * (paths > 1)} (sparsities and seeds){but}; {barrier}."
    )


def _nats(values: Iterable[float]) -> str:
    """Mean ± std of values in a sentence."""
    known = statistics.difference(list(values))
    return tables.measured(known.mean, known.std)


# ---------------------------------------------------------------- minima
_LINE = networks.of_files("line", store.LINE_COLUMNS)
_MEANS = "\nmean ± std over directions and seeds"


def _around_minima(found: Study) -> pd.DataFrame:
    """Losses by distance, of re-dense networks and of the dense one; and sharpness by sparsity."""
    made = []
    for network in found.networks:
        lines = network.sampled(_LINE).drop(columns="level", errors="ignore")
        if len(lines):
            scratch = _LINE(network, network.dense).assign(**{"from": _SCRATCH})
            sharpness = network.rows[["seed", "level", "weights_remaining", "sharpness"]]
            ours = concatenated([scratch, lines, sharpness]).assign(name=network.name)
            dense = tuple(network.dense["sharpness"].dropna())
            made.append(ours.assign(scratch=[dense] * len(ours)))
    rows = concatenated(made)
    return rows.assign(title=rows["name"] + _MEANS) if made else rows


def _from_colors(names: Sequence[str]) -> dict[str, str]:
    return {_SCRATCH: style.BLACK} | style.sequence([name for name in names if name != _SCRATCH])


def _draw_scratch(panel: Panel) -> None:
    """The sharpness of the dense network from scratch, and what the panel is of."""
    known = statistics.difference(list(panel.rows["scratch"].iloc[0]))
    if known.n:
        panel.axes.axhline(known.mean, color=style.BLACK, linestyle="--")
        std = np.nan_to_num(known.std)
        panel.axes.axhspan(known.mean - std, known.mean + std, color=style.BLACK, alpha=0.12, lw=0)
    panel.axes.set_title("Rise of the train loss at distance 1\nmean ± std over seeds")


@on_each
def sharpness_reading(network: Networks) -> str:
    """Whether re-dense minima are sharper the sparser the network was."""
    rows = network.rows.dropna(subset="sharpness")
    if rows.empty:
        return ""
    table = rows.groupby("level")[["sparsity", "sharpness"]].mean()
    trend = statistics.correlation(table["sparsity"], table["sharpness"])
    ends = [
        f"{_nats(rows.loc[rows['level'] == level, 'sharpness'])} nats from "
        f"{network.sparsity(level)}"
        for level in dict.fromkeys((table.index[0], table.index[-1]))
    ]
    said = readings.trend(trend.kendall, trend.kendall_p)
    rank = f"Kendall's τ = {trend.kendall:.2f}, {readings.p_value(trend.kendall_p)}, n = {trend.n}"
    if math.isnan(trend.kendall_p):
        rank = f"{trend.n} sparsit{'ies are' if trend.n > 1 else 'y is'} too few to tell"
    dense = network.dense["sharpness"].dropna()
    scratch = f"; that of the dense network from scratch is {_nats(dense)}" if len(dense) else ""
    return (
        f"Sharpness of re-dense minima {said} the sparsity before the masks were lifted ({rank}), "
        f"{', '.join(ends)}{scratch}."
    )


def _first_surface(network: Networks, rows: pd.DataFrame) -> pd.DataFrame:
    """The first seed's that has one: directions of other seeds are others."""
    found = networks.of_files("surface", store.SURFACE_COLUMNS)(network, rows)
    return found[found["seed"] == found["seed"].min()]


def _surfaces(found: Study) -> pd.DataFrame:
    """Of each network, the dense one's and those of the samples."""
    made = []
    for network in found.networks:
        about: dict[str, Any] = {"name": network.name, "place": -1, "from": ""}
        made.append(_first_surface(network, network.dense).assign(**about))
        made.append(network.sampled(_first_surface))
    rows = concatenated(made)
    if not made:
        return rows
    names = np.where(rows["from"] == "", _SCRATCH, "re-dense from " + rows["from"])
    seeds = rows["seed"].astype(int).astype(str)
    return rows.sort_values("place", kind="stable").assign(heading=names + "\nseed " + seeds)


def surface_reading(found: Study) -> str:
    """How far train loss rises from the minimum to the edge of every surface, by network.

    Raises:
      InputError: a file is damaged.
    """
    surfaces = _surfaces(found)

    @on_each
    def rises(network: Networks) -> str:
        own = surfaces[surfaces["name"] == network.name]
        said = [
            f"{_nats([edge_rise(surface)]) or '?'} nats around {' ('.join(str(name).splitlines())})"
            for name, surface in own.groupby("heading", sort=False)
        ]
        told = (
            "From the minimum (the cross) to the edge of its panel, train loss rises on average by "
            f"{', '.join(said)}; one surface each, so without a spread."
        )
        return told if said else ""

    return rises(found)


def edge_rise(surface: pd.DataFrame) -> float:
    """Mean train loss along the edge of a surface, minus that at its centre, nats.

    Args:
      surface: a table of `store.SURFACE_COLUMNS`, on a grid around 0.
    """
    x, y = surface["x"].abs(), surface["y"].abs()
    edge = np.isclose(x, x.max()) | np.isclose(y, y.max())
    loss = surface["train_loss"].to_numpy(float)
    return float(loss[edge].mean() - loss[(x + y).to_numpy().argmin()])


# ---------------------------------------------------------------- tables
def landscape_table(found: Study) -> Table:
    """Sharpness, barrier and monotonic paths of re-dense networks, by sparsity before lifting."""
    branches = found.rows[found.rows["branch"] != networks.TRUNK]
    numbers = branches.groupby(["trial", "branch", "level"], sort=False).agg(
        sparsity=("sparsity", "mean"),
        n=("seed", "nunique"),
        **{f"{c}_{what}": (c, what) for c in _MEASURED for what in ("mean", "std")},
        monotonic_paths=("monotonic", "sum"),
        paths=("monotonic", "count"),
    )

    def paths(row: dict[str, Any]) -> str:
        return f"{row['monotonic_paths']:.0f} of {row['paths']}" if row["paths"] else ""

    shown = networks.branch_cell(found) | tables.LEVEL
    shown |= {heading: mean_std(column, tables.measured) for column, heading in _MEASURED.items()}
    shown |= {"monotonic paths": paths, "seeds": "n"}
    title = (
        "Re-dense solutions by the sparsity before the masks were lifted: sharpness of the train "
        "loss, and its path from the sparse solution"
    )
    return tables.of_trials(
        "landscape", title, numbers.reset_index(), found.rows, shown, ["branch"]
    )


def _of_splits(column: str, values: Sequence[str]) -> dict[str, str]:
    return {f"{split}_{column}": value for split, value in zip(_SPLITS, values, strict=True)}


# fmt: off
_LOSSES = _of_splits("loss", ("-", "--"))
_ACCURACIES = _of_splits("accuracy", ("-", "--"))
_GRID: dict[str, Any] = {"row": "name", "column": "place", "heading": "heading", "name_rows": True,
                         "above": "name"}
_FILTER_NORMS = "direction (filter norms)"

REDENSE = Experiment(
    "redense",
    load,
    figures=(
        Figure(
            "accuracy", "Accuracy through sparse and re-dense training",
            lambda found: found.sampled(Networks.metrics),
            (Lines(EPOCHS, networks.percents("Accuracy (%)", *_ACCURACIES),
                   dash=Scale(QUANTITY, _ACCURACIES, _of_splits("accuracy", _SPLITS)),
                   marks=(_LIFTED,)),
             networks.of_examples(EPOCHS, "epoch", "Train accuracy (%)", _LIFTED)),
            escape_reading, size=(7, 2.5, 4.8), **_GRID),
        Figure(
            "interpolation", "Straight from the sparse to the re-dense solution",
            lambda found: found.sampled(
                networks.of_files("interpolation", store.INTERPOLATION_COLUMNS)),
            Lines(Axis("alpha", "α", finish=_path_ticks),
                  (Axis("train_loss", "Loss (nats)", finish=from_zero), Axis("test_loss"),
                   *networks.percents("Accuracy (%)", *_ACCURACIES, right=True)),
                  color=Scale(QUANTITY,
                              dict.fromkeys(_LOSSES, style.BLUE)
                              | dict.fromkeys(_ACCURACIES, style.VERMILLION),
                              _of_splits("loss", ("loss, train", "loss, test"))
                              | _of_splits("accuracy", ("accuracy, train", "accuracy, test"))),
                  dash=Scale(QUANTITY, _LOSSES | _ACCURACIES)),
            path_reading, size=(6, 2.6, 2.7), **_GRID),
        Figure(
            "sharpness", "Loss around re-dense minima", _around_minima,
            (Lines(Axis("distance", "Distance along a filter-normalized direction (filter norms)"),
                   Axis("train_loss", "Train loss (nats)", finish=from_zero),
                   color=Scale("from", _from_colors), dash=Scale("from", {_SCRATCH: "--"})),
             Lines(dataclasses.replace(
                       SPARSITY, label="Sparsity before the masks were lifted (%)"),
                   Axis("sharpness", "Sharpness (nats)", finish=from_zero), "level",
                   style.ORANGE, "o", marks=(Mark(_draw_scratch),))),
            sharpness_reading, panel="name", heading="title", beside=True, legend="panel",
            legend_title="Re-dense from", size=(5.5, 5.5, 3.7), letters=60),
        Figure(
            "surface", "Loss surfaces around re-dense minima", _surfaces,
            Contours(Axis("x", f"First {_FILTER_NORMS}"), Axis("y", f"Second {_FILTER_NORMS}"),
                     "train_loss", "Train loss (nats)"),
            surface_reading, bar="Train loss (nats)", size=(5, 2.7, 3.1), **_GRID),
    ),
    tables=(
        partial(networks.accuracy_table,
                note="; re-dense networks at the sparsity before their masks were lifted"),
        networks.difference_table(
            "change", "What re-dense training changes at every sparsity, re-dense minus sparse"),
        landscape_table,
    ),
)
