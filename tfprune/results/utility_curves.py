"""Utility as the experiments of PM leave it beside stages: read, summed up, drawn, compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures import statistics
from tfprune.papers.published import published
from tfprune.report import style, tables, trials
from tfprune.results import figures

PAPER = "PM"
TRUNK, SMALL, SIZE = "", "small", "size"
# Columns of results.csv that name a table, and what is measured in it.
DYNAMICS = "utility_dynamics"
RATIO, NUMBER = "utility_ratio", "utility_number"
MAGNITUDE, PRETRAINED = "utility_magnitude", "utility_pretrained"
AMOUNT = "ablation_amount"
SUBSET_COLUMNS = (AMOUNT, "ablated_weights", "subset", "utility", "ablated_accuracy", "accuracy")
# What tells networks apart, and the seeds of one.
NETWORK = ("trial", "branch", "level")
# Read back, or computed from a number of weights, an amount is off by no more than this.
_AMOUNT_DECIMALS = 6
_BINS = 32
# As fine as a printed sparsity is: 0.25 of a number of weights is seldom whole.
_SAME_SPARSITY = 0.005
_AS_IN_THE_PAPER = (("noise_fraction", 0.0), ("width", 1.0))


@dataclass(frozen=True)
class Quantity:
    """What a curve shows.

    Attributes:
      column: of the tables of utility.
      name: in sentences.
      label: of an axis.
      scale: multiplies the values for the axis.
    """

    column: str
    name: str
    label: str
    scale: float = 1.0


IMBALANCE = Quantity("utility_imbalance", "imbalance", "Utility imbalance (nats)")
MEAN = Quantity("utility_mean", "mean", "Mean utility (nats)")
MINIMUM = Quantity("utility_min", "minimum", "Minimum utility (nats)")
MAXIMUM = Quantity("utility_max", "maximum", "Maximum utility (nats)")
ACCURACY = Quantity("ablated_accuracy_mean", "accuracy", "Train accuracy, ablated (%)", 100.0)
DYNAMICS_COLUMNS = (
    "epoch",
    AMOUNT,
    *(quantity.column for quantity in (IMBALANCE, MEAN, MINIMUM, MAXIMUM, ACCURACY)),
    "ablated_accuracy_min",
    "ablated_accuracy_max",
    "accuracy",
)


def of_experiment(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """An experiment's rows of results.csv."""
    return results[results["experiment"] == experiment]


def stages(results: pd.DataFrame, branch: str, level: int | None = None) -> pd.DataFrame:
    """The rows of a branch, of one level or of all."""
    here = results["branch"] == branch
    return results[here if level is None else here & (results["level"] == level)]


def read(
    output_dir: epath.PathLike, rows: pd.DataFrame, column: str, needed: Iterable[str]
) -> pd.DataFrame:
    """The tables that a column of results.csv names, joined.

    Args:
      output_dir: the output folder.
      rows: rows of results.csv.
      column: of paths relative to the output folder.
      needed: columns of the tables that must be there, all numbers.

    Returns:
      The tables' columns, after those of `NETWORK` and `seed`. Empty where no row has a file.

    Raises:
      InputError: a file is damaged, or lacks a column.
    """
    needed = tuple(needed)
    found = []
    named = rows[rows[column].fillna("").ne("")] if column in rows else rows.iloc[:0]
    for index in range(len(named)):
        one = named.iloc[index : index + 1]
        for table in store.read_measurements(output_dir, one, column, needed):
            about = {name: one[name].iloc[0] for name in (*NETWORK, "seed")}
            found.append(table.assign(**about))
    if not found:
        return pd.DataFrame(columns=[*NETWORK, "seed", *needed])
    joined = pd.concat(found, ignore_index=True)
    if AMOUNT in joined:
        joined[AMOUNT] = joined[AMOUNT].round(_AMOUNT_DECIMALS)
    own = [*NETWORK, "seed"]
    return joined[[*own, *(name for name in joined if name not in own)]]


def read_subsets(output_dir: epath.PathLike, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """As `read`, a row per ablated subset of weights.

    Raises:
      InputError: a file is damaged, or lacks a column.
    """
    return read(output_dir, rows, column, SUBSET_COLUMNS)


def by_amount(subsets: pd.DataFrame) -> pd.DataFrame:
    """PM definitions 2 and 3 of every network, seed and amount.

    Args:
      subsets: as `read_subsets` gives.

    Returns:
      `NETWORK`, seed, ablation_amount; utility_mean, utility_imbalance (the standard deviation
      over the subsets, ddof 0), utility_min and utility_max, nats; ablated_accuracy_mean,
      ablated_accuracy_min and ablated_accuracy_max; accuracy of the whole network.
    """
    groups = subsets.groupby([*NETWORK, "seed", AMOUNT])
    table = pd.DataFrame(
        {
            MEAN.column: groups["utility"].mean(),
            IMBALANCE.column: groups["utility"].std(ddof=0),
            MINIMUM.column: groups["utility"].min(),
            MAXIMUM.column: groups["utility"].max(),
            ACCURACY.column: groups["ablated_accuracy"].mean(),
            "ablated_accuracy_min": groups["ablated_accuracy"].min(),
            "ablated_accuracy_max": groups["ablated_accuracy"].max(),
            "accuracy": groups["accuracy"].mean(),
        }
    )
    return table.reset_index()


def over_seeds(measured: pd.DataFrame, index: str = AMOUNT) -> pd.DataFrame:
    """Mean and std over the seeds of one network.

    Args:
      measured: a row per seed and place.
      index: the column that says the place: an amount, a position or an epoch.

    Returns:
      A table indexed by it, increasing, with COLUMN_mean and COLUMN_std (ddof 1, NaN for one
      seed) of every column of numbers, and n, the seeds.
    """
    numbers = measured.drop(columns=[*NETWORK, "seed"], errors="ignore").select_dtypes("number")
    groups = numbers.groupby(index)
    table = groups.mean().add_suffix("_mean").join(groups.std(ddof=1).add_suffix("_std"))
    return table.join(measured.groupby(index)["seed"].nunique().rename("n"))


def by_seed(measured: pd.DataFrame, amount: float, column: str) -> dict[int, float]:
    """seed -> the value of a column at an amount, of one network's rows of `by_amount`."""
    here = measured[measured[AMOUNT] == amount]
    return {int(s): float(v) for s, v in zip(here["seed"], here[column], strict=True)}


# ---------------------------------------------------------------- figures
@dataclass(frozen=True)
class Curve:
    """A network, over its seeds.

    Attributes:
      label: in the legend.
      color: of line and shading.
      marker: as matplotlib's.
      table: as `over_seeds` gives.
    """

    label: str
    color: str
    marker: str
    table: pd.DataFrame = field(repr=False, compare=False)


def draw(axes: Axes, curves: Iterable[Curve], quantity: Quantity) -> None:
    """A quantity against what the curves' tables are indexed by, mean ± std over seeds."""
    for curve in curves:
        figures.band(
            axes,
            curve.table.index.to_numpy(float),
            curve.table,
            quantity.column,
            curve.color,
            "-",
            curve.marker,
            quantity.scale,
        )
    quantity_axis(axes, quantity)


def quantity_axis(axes: Axes, quantity: Quantity) -> None:
    """Labels the y axis; call it after plotting."""
    axes.set_ylabel(quantity.label)
    if quantity.scale == 1:
        axes.set_ylim(bottom=0)
    else:
        axes.set_ylim(-3, 103)


def handles(curves: Iterable[Curve]) -> list[Line2D | Patch]:
    """Legend entries of the curves, and of the shading where there is any."""
    curves = list(curves)
    found: list[Line2D | Patch] = [
        Line2D([], [], color=curve.color, marker=curve.marker, label=curve.label)
        for curve in {curve.label: curve for curve in curves}.values()
    ]
    several = any(curve.table["n"].max() > 1 for curve in curves)
    return found + ([figures.std_handle(style.BLACK)] if several else [])


def histograms(axes: Axes, subsets: Mapping[str, tuple[str, pd.DataFrame]]) -> None:
    """How the utilities of subsets are distributed, one above the other (PM figures 4, 14).

    Bins are shared. Of several seeds, the mean of their histograms.

    Args:
      axes: where to.
      subsets: label -> (colour, rows of `read_subsets` of one network and one amount).
    """
    there = {label: part for label, part in subsets.items() if len(part[1])}
    if not there:
        return
    values = np.concatenate([rows["utility"].to_numpy(float) for _, rows in there.values()])
    edges = np.linspace(min(values.min(), 0.0), max(values.max(), 1e-9), _BINS + 1)
    for color, rows in there.values():
        counts = np.histogram(rows["utility"].to_numpy(float), edges)[0] / rows["seed"].nunique()
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.2)
        axes.stairs(counts, edges, color=color, linewidth=1.3)
    axes.set_xlabel("Utility (nats)")
    axes.set_ylabel("Subsets")


# ---------------------------------------------------------------- tables
def amounts_table(
    name: str,
    title: str,
    labels: pd.DataFrame,
    rows: Sequence[tuple[Mapping[str, str], pd.DataFrame, pd.DataFrame | None]],
    reference: str = "",
    quantities: Sequence[Quantity] = (IMBALANCE, MEAN, MINIMUM, MAXIMUM),
) -> tables.Table:
    """Utility of networks at every amount, mean ± std over seeds.

    Args:
      name: of the table's files.
      title: one line; the rule of the verdicts is added where there is a reference.
      labels: of the trials, as `trials.label_columns` gives.
      rows: (heading -> text that says which network it is, its rows of `by_amount`, those of the
        network it is compared with or None).
      reference: what that one is called.
      quantities: the columns.
    """
    numbers, shown = [], []
    for what, measured, other in rows:
        table = over_seeds(measured)
        settings, texts = settings_of(labels, measured["trial"].iloc[0])
        named = texts | dict(what)
        for amount, at in table.iterrows():
            number: dict[str, Any] = {**settings, **what, AMOUNT: amount, "n": int(at["n"])}
            cells = {**named, "ablated": f"{amount:g}"}
            for quantity in (*quantities, ACCURACY):
                mean, std = at[f"{quantity.column}_mean"], at[f"{quantity.column}_std"]
                number |= {f"{quantity.column}_mean": mean, f"{quantity.column}_std": std}
                if quantity is ACCURACY:
                    cells["accuracy (%)"] = tables.plus_minus([mean], [std])[0]
                else:
                    cells[f"{quantity.name} (nats)"] = tables.measured([mean], [std])[0]
            if reference:
                gap = _gap(measured, other, float(str(amount)))
                number |= {f"mean_minus_{reference}_{k}": v for k, v in _as_row(gap).items()}
                cells[f"mean vs {reference}"] = gap_text(gap)
            cells["seeds"] = str(int(at["n"]))
            numbers.append(number)
            shown.append(cells)
    if reference:
        title += "; higher or lower where the mean difference is at least one std from 0"
    text = pd.DataFrame(shown, dtype="object").fillna("")
    own = [c for c in text if c in {*map(str, labels.columns), *(k for w, *_ in rows for k in w)}]
    return tables.Table(name, title, pd.DataFrame(numbers), text, tuple(map(str, own)))


def settings_of(labels: pd.DataFrame, trial: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What tells a trial apart, as values and as tables show it.

    Args:
      labels: as `trials.label_columns` gives.
      trial: the trial.
    """
    values = {str(name): labels[name][trial] for name in labels}
    return values, {name: trials.shown_value(value) for name, value in values.items()}


def _gap(
    measured: pd.DataFrame, other: pd.DataFrame | None, amount: float
) -> statistics.PairedDifference:
    values = {} if other is None else by_seed(other, amount, MEAN.column)
    return statistics.match_or_differ(by_seed(measured, amount, MEAN.column), values)


def _as_row(gap: statistics.Difference) -> dict[str, Any]:
    return {"n": gap.n, "mean": gap.mean, "std": gap.std, "verdict": gap.verdict}


def gap_text(gap: statistics.Difference) -> str:
    """ "higher (+0.0123)"; of one seed, of which the rule says nothing, the difference alone."""
    if not gap.n:
        return ""
    size = tables.measured([abs(gap.mean)], [math.nan])[0]
    return f"{gap.verdict} ({'-' if gap.mean < 0 else '+'}{size})".strip()


@dataclass(frozen=True)
class Compared:
    """One number of ours beside the paper's.

    Attributes:
      labels: heading -> text, what the row is about.
      metric: as in `tfprune.papers.published`.
      values: seed -> ours, in the metric's unit.
      paper: as printed; NaN where it prints no such number.
      against: seed -> ours, of the network that this one is compared with.
      unlike: how ours was made otherwise than the paper's ("20 epochs, not 200").
      missing: seeds that others have and this has not.
    """

    labels: Mapping[str, str]
    metric: str
    values: Mapping[int, float]
    paper: float = math.nan
    against: Mapping[int, float] = field(default_factory=dict)
    unlike: str = ""
    missing: tuple[int, ...] = ()


_METRICS = {
    "val_accuracy_percent": ("validation accuracy (%)", 2),
    "train_loss": ("train loss (nats)", 3),
}


def comparison_table(
    name: str, title: str, rows: Sequence[Compared], against: str = SMALL
) -> tables.Table:
    """Ours beside the paper's, each row with its verdicts by PEG section 2's rule and n.

    PM prints a number without a spread or a count of seeds, so it is taken as exact, and what
    differs from it is told by our own spread alone.

    Args:
      name: of the table's files.
      title: what is compared; how to read the verdicts is added.
      rows: columns that none of them fills are left out.
      against: what `Compared.against` are of.
    """
    numbers = pd.DataFrame([_numbers(row, against) for row in rows])
    shown = pd.DataFrame([_shown(row, against) for row in rows], dtype="object").fillna("")
    shown = shown.loc[:, [bool(shown[c].ne("").any()) for c in shown]]
    title = f"{title}; higher or lower where the mean difference is at least one std over seeds"
    title += " from 0"
    if any(not math.isnan(row.paper) for row in rows):
        title += ", the paper's number, printed without a spread, taken as exact"
    else:
        title += "; the paper prints no numbers for these settings"
    own = [c for c in shown if c == "of" or any(c in row.labels for row in rows)]
    return tables.Table(name, title, numbers, shown, tuple(map(str, own)))


def _from_paper(row: Compared) -> statistics.Difference:
    return statistics.difference([value - row.paper for value in row.values.values()])


def _numbers(row: Compared, against: str) -> dict[str, Any]:
    ours, gap = statistics.difference(list(row.values.values())), _from_paper(row)
    other = statistics.match_or_differ(row.values, row.against)
    return {
        **row.labels,
        "metric": row.metric,
        "n": ours.n,
        "mean": ours.mean,
        "std": ours.std,
        "missing_seeds": ", ".join(map(str, row.missing)),
        "paper_mean": row.paper,
        "minus_paper": gap.mean,
        "verdict_paper": gap.verdict,
        **{f"minus_{against}_{k}": v for k, v in _as_row(other).items()},
        "unlike_the_paper": row.unlike,
    }


def _shown(row: Compared, against: str) -> dict[str, str]:
    heading, digits = _METRICS[row.metric]
    ours, paper = statistics.difference(list(row.values.values())), _from_paper(row)
    other = statistics.match_or_differ(row.values, row.against)
    return {
        **row.labels,
        "of": heading,
        "ours": tables.number_text(ours.mean, ours.std, digits),
        "seeds": str(ours.n) if ours.n else "",
        "paper": tables.number_text(row.paper, math.nan, digits),
        "vs paper": _verdict(paper, digits, ours.n),
        f"vs {against}": _verdict(other, digits, ours.n),
        "unlike the paper": row.unlike if not math.isnan(row.paper) else "",
        "missing seeds": ", ".join(map(str, row.missing)),
    }


def _verdict(gap: statistics.Difference, digits: int, seeds: int) -> str:
    if not gap.n or math.isnan(gap.mean):
        return ""
    n = "" if gap.n == seeds else f", n={gap.n}"
    return f"{gap.verdict} ({gap.mean:+.{digits}f}{n})".strip()


def values_of(rows: pd.DataFrame, metric: str) -> dict[int, float]:
    """seed -> what the paper calls the metric, of rows of one network.

    Its validation accuracy is our last test accuracy: PM names no validation split, and
    CIFAR-10's test images are what is left.
    """
    column, scale = ("train_loss", 1.0) if metric == "train_loss" else ("test_accuracy_last", 100.0)
    rows = rows.dropna(subset=[column])
    return {int(s): scale * float(v) for s, v in zip(rows["seed"], rows[column], strict=True)}


def printed(table: int, row: Mapping[Any, Any], method: str, at: str, metric: str) -> float:
    """What a table of PM prints; NaN where it has no such cell.

    Args:
      table: as printed.
      row: of results.csv; one of another model, other data, or with label noise has no cell.
      method: as in `tfprune.papers.published`.
      at: likewise; `sparsity_S` is met by a sparsity near S.
      metric: likewise.
    """
    # Another experiment's columns are empty here.
    noise, width = (_or_default(row.get(name), default) for name, default in _AS_IN_THE_PAPER)
    if noise != 0 or width != 1:
        return math.nan
    rows = published(PAPER, table)
    here = (
        (rows["model"] == row.get("model"))
        & (rows["dataset"] == row.get("dataset"))
        & (rows["method"] == method)
        & rows["at"].map(lambda own: _same_place(at, str(own)))
        & (rows["metric"] == metric)
    )
    return float(rows.loc[here, "mean"].iloc[0]) if here.any() else math.nan


def _or_default(value: Any, default: float) -> float:
    return default if value is None or value == "" or value != value else float(value)


def _same_place(ours: str, printed_at: str) -> bool:
    first, second = ours.partition("_"), printed_at.partition("_")
    if first[0] != second[0] or first[0] != "sparsity":
        return ours == printed_at
    return abs(float(first[2]) - float(second[2])) <= _SAME_SPARSITY


def unlike_the_paper(rows: pd.DataFrame, epochs: int) -> str:
    """How long these networks were trained, where the paper trains them for other `epochs`."""
    trained = rows["train_epochs"].dropna().unique()
    if not len(trained) or set(trained) == {epochs}:
        return ""
    return f"{', '.join(str(int(n)) for n in sorted(trained))} epochs, not {epochs}"
