"""What utility_size shows: utility of networks of several sizes, by ratio and by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, pairwise

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes

from tfprune import store
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import AMOUNT, BY_RATIO, MAXIMUM, MEAN, MINIMUM, NETWORK
from tfprune.report import readings, style, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Axis, Figure, Legend, Panel, Scale, line_handle
from tfprune.report.pointer import Trace
from tfprune.report.summary import concatenated
from tfprune.report.tables import Table, measured

FULL = "1×"
# What amounts are of -> the column of results.csv, the axis, what a table says.
# fmt: off
_WAYS = {
    "ratio": (utility.RATIO, BY_RATIO.label, "the network's"),
    "number": (
        utility.NUMBER, "Ablated weights, as a ratio of\nthe 1× network's", "the 1× network's"
    ),
}
# fmt: on
_ABOUT = (*NETWORK, "called", "size")
# The ratio of the histogram beside the extremes.
_HISTOGRAM_RATIO = 0.05
_BINS = 32


@dataclass(frozen=True, eq=False)
class Found:
    """Networks of several sizes, trial by trial, from the largest to the smallest.

    Attributes:
      results: the rows of results.csv.
      subsets: a row per ablated subset of weights; `size` "0.5×", of the weights that the full
        network has, a category that orders them; `way`, a key of `_WAYS`.
      by_amount: as `utility.by_amount` of them.
    """

    results: pd.DataFrame
    subsets: pd.DataFrame
    by_amount: pd.DataFrame

    @property
    def shown_ratio(self) -> float:
        """The one nearest to that of the paper's histogram."""
        ratios = _by("ratio", self.subsets)[AMOUNT]
        return float(min(ratios, key=lambda ratio: abs(ratio - _HISTOGRAM_RATIO)))


def load(results: pd.DataFrame, folder: epath.Path) -> Found:
    """The networks that were measured.

    Raises:
      InputError: a file is damaged.
    """
    dense = utility.stages(results[results["level"] == 0])
    rows = pd.concat([dense, utility.stages(results, "size")], ignore_index=True)
    rows["size"] = [f"{share:.3g}×" for share in rows["weights_remaining"]]
    ordered = sorted(set(rows["size"]), key=lambda size: -float(size[:-1]))
    rows["size"] = pd.Categorical(rows["size"], ordered)
    rows["called"] = rows["trial"].map(dense.set_index("trial")["called"].to_dict())
    rows = trials.in_order(rows.sort_values(["size", "seed"]), results)
    read = partial(store.read_measurements, folder, rows, about=_ABOUT)
    subsets = concatenated(
        [read(of[0], utility.SUBSET_COLUMNS).assign(way=way) for way, of in _WAYS.items()]
    )
    return Found(results, subsets, utility.by_amount(subsets, (*_ABOUT, "way")))


def _by(way: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Those ablated this way."""
    return rows[rows["way"] == way]


# ---------------------------------------------------------------- figures
_SMALLER = (style.GREEN, style.PURPLE, style.ORANGE, style.SKY)


def _size_colors(sizes: Sequence[str]) -> dict[str, str]:
    """Black for the full network, as for pretrained ones; for others none that a kind has."""
    smaller = [size for size in sizes if size != FULL]
    return {FULL: style.BLACK} | dict(zip(smaller, cycle(_SMALLER), strict=False))


SIZES = Scale("size", _size_colors)
_MARKERS = Scale("size", style.markers)
_QUANTITIES = (utility.IMBALANCE, MEAN, utility.ACCURACY)


@dataclass(frozen=True)
class Histogram:
    """How the utilities of subsets are distributed, one colour above the other; bins are shared.

    Of several seeds, the mean of their histograms. The title says the ratio.
    """

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        colors = SIZES.of(known["size"])
        for name, color in colors.items():
            legend.add(0, line_handle(name, color))
        rows = rows.dropna(subset=["utility"])
        if rows.empty:
            return
        low, high = rows["utility"].min(), rows["utility"].max()
        edges = np.linspace(min(low, 0.0), max(high, 1e-9), _BINS + 1)
        for size, own in rows.groupby("size", observed=True):
            counts = np.histogram(own["utility"], edges)[0] / own["seed"].nunique()
            axes.stairs(counts, edges, fill=True, color=colors[size], alpha=0.2)
            axes.stairs(counts, edges, color=colors[size], linewidth=1.3)
            ranges = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
            legend.traces.append(
                Trace(axes, str(size), (edges[1:] + edges[:-1]) / 2, counts, ranges,
                      [f"{count:.4g}" for count in counts], ("Utility (nats)", "Subsets"))
            )  # fmt: skip
        axes.set_xlabel("Utility (nats)")
        axes.set_ylabel("Subsets")
        axes.set_title(f"ratio {rows[AMOUNT].iloc[0]:g}")


def _way_axis(panel: Panel) -> None:
    utility.from_left(panel)
    panel.axes.set_xlabel(_WAYS[panel.rows["way"].iloc[0]][1])


def _both_ways(found: Found) -> pd.DataFrame:
    """Ratio above number, trial by trial."""
    rows = trials.in_order(found.by_amount, found.results)
    return rows.assign(heading=rows["called"] + ": by " + rows["way"])


def _extremes(found: Found) -> pd.DataFrame:
    """Rows by ratio, and the subsets of one ratio."""
    subsets = _by("ratio", found.subsets)
    there = subsets[subsets[AMOUNT] == found.shown_ratio] if len(subsets) else subsets
    return pd.concat([_by("ratio", found.by_amount), there], ignore_index=True)


def _ratios(found: Found) -> pd.DataFrame:
    rows = _by("ratio", found.subsets).sort_values(AMOUNT, kind="stable")
    whose = rows["called"] if rows["called"].nunique() > 1 else ""
    panel = [f"{called}, {amount:g}" for called, amount in rows[["called", AMOUNT]].to_numpy()]
    return trials.in_order(rows.assign(panel=panel, whose=whose), found.results)


# ---------------------------------------------------------------- readings
_ONE_SIZE = "There are no two sizes yet to compare."


def size_reading(found: Found) -> str:
    """How far apart the sizes are by ratio and by number, in one sentence."""
    said = []
    for way in _WAYS:
        of_trial = _by(way, found.by_amount).groupby("called", sort=False)
        factors = [spread_factor(own) for _, own in of_trial]
        texts = [f"{factor:.3g}" for factor in factors if not math.isnan(factor)]
        said += [f"{', '.join(texts)} by {way}"] * bool(texts)
    if not said:
        return _ONE_SIZE
    return (
        "Mean utility of the sizes, largest over smallest, averaged over amounts geometrically, "
        f"differs by a factor of {' and '.join(said)}; PM finds it similar by ratio only."
    )


def _by_size(measured: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Means over seeds: a row per amount that all have, a column per size."""
    groups = measured.groupby([AMOUNT, "size"], observed=True)[quantity]
    return groups.mean().unstack().dropna()


def spread_factor(measured: pd.DataFrame) -> float:
    """The largest mean utility divided by the smallest, geometric mean over amounts.

    Args:
      measured: rows of `utility.by_amount` of one trial, and their `size`; amounts at which one
        size is not above 0 are left out.

    Returns:
      At least 1; NaN where no amount has two sizes.
    """
    table = _by_size(measured, MEAN)
    table = table[(table > 0).all(axis=1)]
    if table.empty or table.shape[1] < 2:
        return math.nan
    return float(np.exp(np.log(table.max(axis=1) / table.min(axis=1)).mean()))


def distribution_reading(found: Found) -> str:
    """Where the utilities of most subsets of one ratio lie, size by size, in one sentence."""
    ratio, rows = found.shown_ratio, _by("ratio", found.subsets)
    here, said = rows[rows[AMOUNT] == ratio], []
    for (trial, size), own in here.groupby(["trial", "size"], sort=False, observed=True):
        low, high = map(measured, own["utility"].quantile([0.25, 0.75]))
        whose = f" ({trial})" * (rows["trial"].nunique() > 1)
        said.append(f"{low} and {high} nats in the {size} network{whose}")
    return (
        f"At ratio {ratio:g}, the middle half of the subsets' utilities, of all seeds, lies "
        f"between {'; '.join(said)}."
    )


def extremes_reading(found: Found) -> str:
    """At how many ratios the smallest network has the largest maximum, in one sentence."""
    of_trial = _by("ratio", found.by_amount).groupby("called", sort=False)
    tables = (_by_size(own, MAXIMUM) for _, own in of_trial)
    said = [
        f"the {table.columns[-1]} network has the largest maximum utility of all sizes at "
        f"{(table.idxmax(axis=1) == table.columns[-1]).sum()} of {len(table)} ratios"
        for table in tables
        if table.shape[1] > 1
    ]
    if not said:
        return _ONE_SIZE
    return f"{readings.start('; '.join(said))}; PM finds it largest in the smaller network."


# ---------------------------------------------------------------- tables
def _amounts(way: str, found: Found) -> Table:
    """Utility of every size, compared with that of the full network."""
    title = (
        f"Utility of networks of several sizes, ablated by {way} (as a ratio of {_WAYS[way][2]} "
        "weights), mean ± std over seeds"
    )
    rows, keys = _by(way, found.by_amount), ["trial", AMOUNT, "seed"]
    full = rows[rows["size"] == FULL].set_index(keys)[MEAN]
    gap = (rows[MEAN] - rows.join(full.rename("full"), on=keys)["full"]).where(rows["size"] != FULL)
    rows = rows.assign(**{f"mean_minus_{FULL}": gap})
    return utility.amounts_table(f"by_{way}", title, rows, ("size",), found.results, FULL)


# fmt: off
UTILITY_SIZE = Experiment(
    "utility_size",
    load,
    figures=(
        Figure(
            "utility", "Utility of networks of several sizes, ablated by ratio and by number",
            _both_ways,
            utility.panels(Axis(AMOUNT, finish=_way_axis), _QUANTITIES, SIZES, _MARKERS),
            size_reading, panel="heading", beside=True, same_y="called", size=(11.5, 3.8, 3.1)),
        Figure(
            "extremes", "The largest and the smallest utility of networks of several sizes",
            _extremes,
            (*utility.panels(BY_RATIO, (MAXIMUM, MINIMUM), SIZES, _MARKERS), Histogram()),
            extremes_reading, panel="called", beside=True, size=(11.5, 3.8, 3.1)),
        Figure(
            "histograms", "How the utilities of subsets are distributed, ratio by ratio",
            _ratios, Histogram(), distribution_reading, panel="panel", heading="whose",
            size=(6, 3.6, 2.5), letters=34),
    ),
    tables=tuple(partial(_amounts, way) for way in _WAYS),
)
# fmt: on
