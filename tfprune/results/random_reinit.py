"""The report of random_reinit: lottery tickets against random reinitialization (SDD poster)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.report import style, tables
from tfprune.results import branches, figures

EXPERIMENT = "random_reinit"
_WHERE = "SDD poster, Random Initialization Might Win"
_NAMES = {branches.TRUNK: "lottery ticket", branches.REINIT: "random reinitialization"}
_COLUMNS = (
    ("test_accuracy_last", "last epoch", style.BLUE, "o"),
    ("test_accuracy_best", "best epoch", style.GREEN, "s"),
)


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv.

    Returns:
      The figures there are data for, accuracy against sparsity first.

    Raises:
      InputError: there is no results.csv, it is damaged, or a folder cannot be written.
    """
    results = _mine(store.read_results(output_dir))
    if results.empty:
        return []
    pairs = branches.pairs(results, branches.REINIT)
    drawn: list[figures.Drawing] = [
        (
            "accuracy",
            "Lottery ticket and random reinitialization against sparsity",
            reinit_reading(pairs),
            _WHERE,
            figures.accuracy_against_sparsity(results, _NAMES),
        ),
        (
            "difference",
            "What random reinitialization gains over the lottery ticket",
            best_reading(pairs),
            _WHERE,
            gains(results, pairs),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Accuracy of both at every level, and their seed-wise differences."""
    results = _mine(results)
    title = "Random reinitialization minus lottery ticket at every sparsity"
    return [
        tables.accuracy_table(results, f"{EXPERIMENT}_accuracy"),
        branches.difference_table(results, branches.REINIT, f"{EXPERIMENT}_difference", title),
    ]


def _mine(results: pd.DataFrame) -> pd.DataFrame:
    mine = results[results["experiment"] == EXPERIMENT]
    return branches.of_kinds(mine, (branches.TRUNK, branches.REINIT))


def gains(results: pd.DataFrame, pairs: list[branches.Pair]) -> Figure | None:
    """Test accuracy of random reinitialization minus the lottery ticket's, by sparsity.

    A panel per trial; mean ± std of the seed-wise differences. Filled markers are differences,
    open ones match (PEG section 2's rule). None where no level has both.
    """
    pairs = [pair for pair in pairs if len(pair.differences("test_accuracy_last"))]
    if not pairs:
        return None
    columns = figures.panel_columns(results, len(pairs)) if len(pairs) > 1 else 1
    rows = math.ceil(len(pairs) / columns)
    with style.house_style():
        figure = style.new_figure(7.2 if columns == 1 else 4.4 * columns, 3.6 * rows + 0.6)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
        for axes, pair in zip(panels, pairs, strict=False):
            _draw_gains(axes, pair)
            axes.set_title(style.wrapped(pair.name, 60 if columns == 1 else 44))
        several = results["seed"].nunique() > 1
        figures.legend_below(figure, _gain_handles(several))
    return figure


def _draw_gains(axes: Axes, pair: branches.Pair) -> None:
    for column, _, color, marker in _COLUMNS:
        gaps = pair.differences(column)
        x = style.sparsity_position(1 - gaps["sparsity"])
        mean, std = 100 * gaps["mean"].to_numpy(float), 100 * gaps["std"].to_numpy(float)
        axes.plot(x, mean, color=color)
        axes.fill_between(
            x, mean - np.nan_to_num(std), mean + np.nan_to_num(std), color=color, alpha=0.18, lw=0
        )
        differs = gaps["verdict"].isin(["higher", "lower"]).to_numpy()
        for chosen, face in ((differs, color), (~differs, "white")):
            axes.plot(
                x[chosen],
                mean[chosen],
                linestyle="",
                marker=marker,
                markersize=5.5,
                markerfacecolor=face,
                markeredgecolor=color,
            )
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    style.sparsity_axis(axes, pair.rows["weights_remaining"])
    axes.set_ylabel("Test accuracy, reinitialized\nminus ticket (points)")


def _gain_handles(several_seeds: bool) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, marker=marker, label=label)
        for _, label, color, marker in _COLUMNS
    ]
    if several_seeds:
        handles += [
            Line2D([], [], linestyle="", marker="o", color=style.BLACK, label="differs"),
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markerfacecolor="white",
                markeredgecolor=style.BLACK,
                label="matches (mean within one std of 0)",
            ),
            figures.std_handle(style.BLACK),
        ]
    return handles


def reinit_reading(pairs: list[branches.Pair]) -> str:
    """At which sparsities reinitialization ends better, and by how much, in one sentence."""
    return _reading(pairs, "test_accuracy_last", "Last")


def best_reading(pairs: list[branches.Pair]) -> str:
    """The same of best test accuracy, in one sentence."""
    return _reading(pairs, "test_accuracy_best", "Best")


def _reading(pairs: list[branches.Pair], column: str, what: str) -> str:
    gaps = [(pair, _pruned(pair.differences(column))) for pair in pairs]
    gaps = [(pair, table) for pair, table in gaps if len(table)]
    if not gaps:
        return "No reinitialized network is there yet to compare a lottery ticket with."
    pair, table = max(gaps, key=lambda item: item[1]["mean"].max())
    start = f"With {pair.name}, {what.lower()}" if len(gaps) > 1 else what
    if (table["n"] < 2).all():
        return f"{start} {_one_seed(table)}."
    higher, lower = (table[table["verdict"] == verdict] for verdict in ("higher", "lower"))
    most = ""
    if len(higher):
        top = higher.nlargest(1, "mean").iloc[0]
        by = tables.plus_minus([top["mean"]], [top["std"]])[0]
        most = (
            f" ({branches.listed(list(higher['sparsity']))}; most by {by} points at "
            f"{branches.sparsity_text(top['sparsity'])})"
        )
    worse = f" ({branches.listed(list(lower['sparsity']))})" if len(lower) else ""
    return (
        f"{start} test accuracy of random reinitialization is higher than the lottery ticket's at "
        f"{len(higher)} of {len(table)} sparsities{most}, lower at {len(lower)}{worse}, and "
        f"matches at {len(table) - len(higher) - len(lower)}."
    )


def _pruned(gaps: pd.DataFrame) -> pd.DataFrame:
    """Without the dense network, which has no mask: reinitialized, it is another seed."""
    return gaps[gaps["sparsity"] > 0]


def _one_seed(table: pd.DataFrame) -> str:
    top = table.nlargest(1, "mean").iloc[0]
    gain = tables.points([top["mean"]], [float("nan")])[0]
    return (
        "test accuracy of random reinitialization is above the lottery ticket's at "
        f"{int((table['mean'] > 0).sum())} of {len(table)} sparsities ({gain} points at most, "
        f"at {branches.sparsity_text(top['sparsity'])}), but one seed cannot tell a difference "
        "from the spread"
    )
