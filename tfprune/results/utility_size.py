"""The report of utility_size: PM figures 3, 4 and 14, utility of networks of several sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from tfprune import store
from tfprune.report import style, tables, trials
from tfprune.results import figures
from tfprune.results import utility_curves as utility
from tfprune.results.utility_curves import (
    ACCURACY,
    AMOUNT,
    IMBALANCE,
    MAXIMUM,
    MEAN,
    MINIMUM,
    Curve,
    Quantity,
)

EXPERIMENT = "utility_size"
FULL = "1×"
# The ratio of figure 4's histogram.
_HISTOGRAM_RATIO = 0.05
_WAYS = (
    (utility.RATIO, "by ratio", "Ablation ratio"),
    (utility.NUMBER, "by number", "Ablated weights, as a ratio of\nthe 1× network's"),
)


@dataclass(frozen=True)
class Size:
    """A network of one size, over its seeds.

    Attributes:
      trial: the trial.
      name: "0.5×", of the weights that the full network has.
      subsets: column of results.csv -> rows of `utility.read_subsets`.
      missing: seeds that another size has and this has not, by column.
    """

    trial: str
    name: str
    subsets: dict[str, pd.DataFrame] = field(repr=False, compare=False)
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False)

    def measured(self, column: str) -> pd.DataFrame:
        """A row per seed and amount, as `utility.by_amount`."""
        return utility.by_amount(self.subsets[column])

    def at(self, column: str, amount: float) -> pd.DataFrame:
        """The subsets of one amount."""
        rows = self.subsets[column]
        return rows[rows[AMOUNT] == amount]


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the files its rows name.

    Returns:
      The figures there are data for, utility by ratio and by number first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    found = sizes(results, output_dir)
    names = _names(results)
    drawn: list[figures.Drawing] = [
        (
            "utility",
            "Utility of networks of several sizes, ablated by ratio and by number",
            size_reading(found),
            "PM figure 3",
            by_ratio_and_number(found, names),
        ),
        (
            "extremes",
            "The largest and the smallest utility of networks of several sizes",
            extremes_reading(found),
            "PM figure 4",
            extremes(found, names),
        ),
        (
            "histograms",
            "How the utilities of subsets are distributed, ratio by ratio",
            distribution_reading(found),
            "PM figure 14",
            ratio_histograms(found, names),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """Utility of every size by ratio and by number, compared with that of the full network.

    Raises:
      InputError: a file is damaged.
    """
    found = sizes(results, output_dir)
    labels = trials.label_columns(utility.of_experiment(results, EXPERIMENT))
    made = []
    for column, what in ((utility.RATIO, "ratio"), (utility.NUMBER, "number")):
        rows = [
            ({"size": size.name}, size.measured(column), _full(found, size, column))
            for size in _with(found, column)
        ]
        if rows:
            unit = "the network's" if what == "ratio" else "the 1× network's"
            title = (
                f"Utility of networks of several sizes, ablated by {what} (as a ratio of {unit} "
                "weights), mean ± std over seeds"
            )
            made.append(utility.amounts_table(f"{EXPERIMENT}_by_{what}", title, labels, rows, FULL))
    return made


def sizes(results: pd.DataFrame, output_dir: epath.PathLike) -> list[Size]:
    """The networks that were measured, by trial and from the largest to the smallest.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    found = []
    for trial in trials.names(mine):
        own = mine[mine["trial"] == trial]
        dense = utility.stages(own, utility.TRUNK, 0)
        pruned = utility.stages(own, utility.SIZE)
        groups = [dense, *(rows for _, rows in pruned.groupby("level"))]
        kept = [rows.sort_values("seed") for rows in groups if len(rows)]
        kept.sort(key=lambda rows: -float(rows["weights_remaining"].mean()))
        found += [_size(trial, rows, own, output_dir) for rows in kept]
    return [size for size in found if any(len(rows) for rows in size.subsets.values())]


def _size(
    trial: str, rows: pd.DataFrame, everything: pd.DataFrame, output_dir: epath.PathLike
) -> Size:
    subsets = {column: utility.read_subsets(output_dir, rows, column) for column, *_ in _WAYS}
    expected = set(everything["seed"])
    missing = {
        column: tuple(sorted(expected - set(table["seed"]))) for column, table in subsets.items()
    }
    return Size(trial, f"{float(rows['weights_remaining'].mean()):.3g}×", subsets, missing)


def _names(results: pd.DataFrame) -> dict[str, str]:
    return trials.names(utility.of_experiment(results, EXPERIMENT))


def _with(found: Iterable[Size], column: str) -> list[Size]:
    return [size for size in found if len(size.subsets[column])]


def _full(found: Sequence[Size], size: Size, column: str) -> pd.DataFrame | None:
    """The full network's measurements, for the others of its trial."""
    if size.name == FULL:
        return None
    full = [s for s in _with(found, column) if s.trial == size.trial and s.name == FULL]
    return full[0].measured(column) if full else None


# ---------------------------------------------------------------- figures
def _styles(found: Sequence[Size]) -> dict[str, tuple[str, str]]:
    """size -> (colour, marker), the same in all panels."""
    names = sorted({size.name for size in found}, key=lambda name: -float(name[:-1]))
    return {
        name: (style.CYCLE[n % len(style.CYCLE)], style.MARKERS[n % len(style.MARKERS)])
        for n, name in enumerate(names)
    }


def _curves(found: Sequence[Size], trial: str, column: str) -> list[Curve]:
    styles = _styles(found)
    return [
        Curve(size.name, *styles[size.name], utility.over_seeds(size.measured(column)))
        for size in _with(found, column)
        if size.trial == trial
    ]


def by_ratio_and_number(found: Sequence[Size], names: dict[str, str]) -> Figure | None:
    """Imbalance, mean and ablated accuracy against ratio above, number below (PM figure 3).

    Two rows per trial, a curve per size, mean ± std over seeds; both rows of a column share their
    y axis.
    """
    lines = [
        (trial, way, label, curves)
        for trial in names
        for column, way, label in _WAYS
        if (curves := _curves(found, trial, column))
    ]
    if not lines:
        return None
    with style.house_style():
        figure = style.new_figure(11.5, 3.1 * len(lines) + 0.6)
        grid = figure.subplots(len(lines), 3, squeeze=False)
        for line, (trial, way, label, curves) in zip(grid, lines, strict=True):
            for axes, quantity in zip(line, (IMBALANCE, MEAN, ACCURACY), strict=True):
                utility.draw(axes, curves, quantity)
                axes.set_xlabel(label)
                axes.set_xlim(left=0)
            line[0].set_title(style.wrapped(f"{names[trial]}: {way}", 44))
        for trial in names:
            own = [line for line, (t, *_) in zip(grid, lines, strict=True) if t == trial]
            for column in zip(*own, strict=True):
                style.same_limits(column)
        figures.legend_below(figure, utility.handles(c for *_, curves in lines for c in curves))
    return figure


def extremes(found: Sequence[Size], names: dict[str, str]) -> Figure | None:
    """Maximum and minimum utility against ratio, and a histogram (PM figure 4).

    A row per trial, a colour per size.
    """
    lines = {t: c for t in names if (c := _curves(found, t, utility.RATIO))}
    if not lines:
        return None
    with style.house_style():
        figure = style.new_figure(11.5, 3.1 * len(lines) + 0.6)
        grid = figure.subplots(len(lines), 3, squeeze=False)
        for (left, middle, right), (trial, curves) in zip(grid, lines.items(), strict=True):
            for axes, quantity in ((left, MAXIMUM), (middle, MINIMUM)):
                utility.draw(axes, curves, quantity)
                axes.set_xlabel("Ablation ratio")
                axes.set_xlim(left=0)
            ratio = _nearest(curves[0].table.index.to_numpy(float), _HISTOGRAM_RATIO)
            utility.histograms(right, _parts(found, trial, ratio))
            right.set_title(f"ratio {ratio:g}")
            left.set_title(style.wrapped(names[trial], 44))
        figures.legend_below(figure, utility.handles(c for cs in lines.values() for c in cs))
    return figure


def ratio_histograms(found: Sequence[Size], names: dict[str, str]) -> Figure | None:
    """The utilities of all subsets, a panel per ratio, a colour per size (PM figure 14)."""
    panels = [
        (trial, float(ratio))
        for trial in names
        if (mine := [s for s in _with(found, utility.RATIO) if s.trial == trial])
        for ratio in sorted(pd.concat([s.subsets[utility.RATIO] for s in mine])[AMOUNT].unique())
    ]
    if not panels:
        return None
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    several = len({trial for trial, _ in panels}) > 1
    with style.house_style():
        figure = style.new_figure(max(3.6 * columns, 6), 2.5 * lines + 0.6)
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, (trial, ratio) in zip(grid, panels, strict=False):
            utility.histograms(axes, _parts(found, trial, ratio))
            name = f"{names[trial]}, " if several else ""
            axes.set_title(style.wrapped(f"{name}ratio {ratio:g}", 34))
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        shown = [c for trial in names for c in _curves(found, trial, utility.RATIO)]
        handles = utility.handles(shown)
        figures.legend_below(figure, [h for h in handles if h.get_label() in _styles(found)])
    return figure


def _parts(found: Sequence[Size], trial: str, ratio: float) -> dict[str, tuple[str, pd.DataFrame]]:
    styles = _styles(found)
    return {
        size.name: (styles[size.name][0], size.at(utility.RATIO, ratio))
        for size in _with(found, utility.RATIO)
        if size.trial == trial
    }


def _nearest(amounts: Iterable[float], wanted: float) -> float:
    return float(min(amounts, key=lambda amount: abs(amount - wanted)))


# ---------------------------------------------------------------- readings
def size_reading(found: Sequence[Size]) -> str:
    """How far apart the sizes are by ratio and by number, in one sentence."""
    said = [
        f"{text} by {what}"
        for column, what in ((utility.RATIO, "ratio"), (utility.NUMBER, "number"))
        if (text := _factors(found, column, MEAN))
    ]
    if not said:
        return "There are no two sizes yet to compare."
    return (
        "Mean utility of the sizes, largest over smallest, averaged over amounts geometrically, "
        f"differs by a factor of {' and '.join(said)}; PM finds it similar by ratio only."
    )


def _factors(found: Sequence[Size], column: str, quantity: Quantity) -> str:
    texts = []
    trials_of = list(dict.fromkeys(size.trial for size in found))
    for trial in trials_of:
        here = [size.measured(column) for size in _with(found, column) if size.trial == trial]
        factor = spread_factor(here, quantity)
        if not math.isnan(factor):
            texts.append(f"{factor:.3g}")
    return ", ".join(texts)


def spread_factor(measured: Sequence[pd.DataFrame], quantity: Quantity) -> float:
    """The largest mean over seeds divided by the smallest, geometric mean over amounts.

    Args:
      measured: rows of `utility.by_amount`, of two networks or more.
      quantity: which; amounts at which one of them is not above 0 are left out.

    Returns:
      At least 1; NaN where no amount has two networks.
    """
    columns = [rows.groupby(AMOUNT)[quantity.column].mean() for rows in measured]
    if len(columns) < 2:
        return math.nan
    table = pd.concat(columns, axis=1).dropna()
    table = table[(table > 0).all(axis=1)]
    if table.empty:
        return math.nan
    ratios = table.max(axis=1) / table.min(axis=1)
    return float(math.prod(ratios) ** (1 / len(ratios)))


def distribution_reading(found: Sequence[Size]) -> str:
    """Where the utilities of most subsets of one ratio lie, size by size, in one sentence."""
    there = _with(found, utility.RATIO)
    if not there:
        return "No utility by ratio is there yet."
    ratio = _nearest(there[0].subsets[utility.RATIO][AMOUNT], _HISTOGRAM_RATIO)
    several = len({size.trial for size in there}) > 1
    said = []
    for size in there:
        utilities = size.at(utility.RATIO, ratio)["utility"]
        if utilities.empty:
            continue
        low, high = tables.measured(utilities.quantile([0.25, 0.75]), [math.nan] * 2)
        said.append(
            f"{low} and {high} nats in the {size.name} network" + f" ({size.trial})" * several
        )
    return (
        f"At ratio {ratio:g}, the middle half of the subsets' utilities, of all seeds, lies "
        f"between {'; '.join(said)}."
    )


def extremes_reading(found: Sequence[Size]) -> str:
    """At how many ratios the smallest network has the largest maximum, in one sentence."""
    counted = []
    for trial in dict.fromkeys(size.trial for size in found):
        mine = [size for size in _with(found, utility.RATIO) if size.trial == trial]
        if len(mine) < 2:
            continue
        columns = [s.measured(utility.RATIO).groupby(AMOUNT)[MAXIMUM.column].mean() for s in mine]
        table = pd.concat(columns, axis=1, keys=range(len(mine))).dropna()
        least = len(mine) - 1
        up = int((table.idxmax(axis=1) == least).sum())
        counted.append(
            f"the {mine[least].name} network has the largest maximum utility of all sizes at "
            f"{up} of {len(table)} ratios"
        )
    if not counted:
        return "There are no two sizes yet to compare."
    text = "; ".join(counted)
    return f"{text[0].upper()}{text[1:]}; PM finds it largest in the smaller network."
