"""What PM's experiments have in common: tables beside stages, quantities, ours beside the paper's.

Its validation accuracy is our last test accuracy: PM names no validation split, and CIFAR-10's
test images are what is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from tfprune import store
from tfprune.measures.statistics import match_or_differ
from tfprune.papers.published import published
from tfprune.report import summary, tables, trials
from tfprune.report.grammar import Axis, Lines, Panel, Scale
from tfprune.report.summary import Beside, by_seed, described
from tfprune.report.tables import Table, mean_std, measured, plus_minus

# Columns of results.csv that name a table, and what is measured in it.
DYNAMICS = "utility_dynamics"
RATIO, NUMBER = "utility_ratio", "utility_number"
MAGNITUDE, PRETRAINED = "utility_magnitude", "utility_pretrained"
AMOUNT = "ablation_amount"
SUBSET_COLUMNS = (AMOUNT, "ablated_weights", "subset", "utility", "ablated_accuracy", "accuracy")
IMBALANCE, MEAN, MINIMUM = "utility_imbalance", "utility_mean", "utility_min"
MAXIMUM, ACCURACY = "utility_max", "ablated_accuracy_mean"
# What PM says rises through training.
RISING = (IMBALANCE, MEAN, MINIMUM)
NAMES = {IMBALANCE: "imbalance", MEAN: "mean", MINIMUM: "minimum", MAXIMUM: "maximum"}
LEAST, MOST = "ablated_accuracy_min", "ablated_accuracy_max"
DYNAMICS_COLUMNS = ("epoch", AMOUNT, *NAMES, ACCURACY, LEAST, MOST, "accuracy")
SMALL = "small"
# For which the paper trains a network, and retrains it.
EPOCHS = 200
# What a row of a table is of.
NETWORK = ("trial", "branch", "level", "seed")
# Read back, or computed from a number of weights, an amount is off by no more than this.
_AMOUNT_DECIMALS = 6
# metric -> its name, decimals, its column of results.csv and what multiplies that.
_METRICS = {
    "val_accuracy_percent": ("validation accuracy (%)", 2, "test_accuracy_last", 100.0),
    "train_loss": ("train loss (nats)", 3, "train_loss", 1.0),
}


# ---------------------------------------------------------------- reading
def stages(results: pd.DataFrame, branch: str = "", level: int | None = None) -> pd.DataFrame:
    """The rows of a branch, of one level or of all, trial by trial, and what these are `called`."""
    here = results["branch"] == branch
    if level is not None:
        here &= results["level"] == level
    rows = results[here]
    rows = trials.in_order(rows.sort_values(["level", "seed"]), rows)
    return rows.assign(called=rows["trial"].map(trials.names(rows)))


def read(
    output_dir: epath.PathLike,
    rows: pd.DataFrame,
    column: str,
    needed: Iterable[str],
    about: Sequence[str] = NETWORK,
) -> pd.DataFrame:
    """The tables that a column of results.csv names, joined.

    Args:
      output_dir: the output folder.
      rows: rows of results.csv.
      column: of paths relative to the output folder.
      needed: columns of the tables that must be there, all numbers.
      about: columns of `rows` that come before those of the tables.

    Raises:
      InputError: a file is damaged, or lacks a column.
    """
    rows = store.read_measurements(output_dir, rows, column, needed, about)
    if AMOUNT in rows:
        rows[AMOUNT] = rows[AMOUNT].astype(float).round(_AMOUNT_DECIMALS)
    return rows


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below the other; those without rows, whose columns have no types, left out."""
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def read_subsets(
    output_dir: epath.PathLike, rows: pd.DataFrame, column: str, about: Sequence[str] = NETWORK
) -> pd.DataFrame:
    """As `read`, a row per ablated subset of weights."""
    return read(output_dir, rows, column, SUBSET_COLUMNS, about)


def by_amount(subsets: pd.DataFrame, about: Sequence[str] = NETWORK) -> pd.DataFrame:
    """PM definitions 2 and 3 of every network, seed and amount.

    Args:
      subsets: as `read_subsets` gives.
      about: columns that say which network and seed a subset is of.

    Returns:
      `about`, ablation_amount; utility_mean, utility_imbalance (the standard deviation over the
      subsets, ddof 0), utility_min and utility_max, nats; ablated_accuracy_mean, _min and _max;
      accuracy of the whole network.
    """
    groups = subsets.groupby([*about, AMOUNT], sort=False, observed=True)
    utility, accuracy = groups["utility"], groups["ablated_accuracy"]
    columns = {IMBALANCE: utility.std(ddof=0), MEAN: utility.mean(), MINIMUM: utility.min()}
    columns |= {MAXIMUM: utility.max(), ACCURACY: accuracy.mean(), LEAST: accuracy.min()}
    columns |= {MOST: accuracy.max(), "accuracy": groups["accuracy"].mean()}
    return pd.DataFrame(columns).reset_index()


# ---------------------------------------------------------------- figures
def _from_zero(panel: Panel) -> None:
    panel.axes.set_ylim(bottom=0)


def _percents(panel: Panel) -> None:
    panel.axes.set_ylim(-3, 103)


def from_left(panel: Panel) -> None:
    """The x axis starts at 0."""
    panel.axes.set_xlim(left=0)


ABLATED = "Train accuracy, ablated (%)"
AXES = {
    IMBALANCE: Axis(IMBALANCE, "Utility imbalance (nats)", finish=_from_zero),
    MEAN: Axis(MEAN, "Mean utility (nats)", finish=_from_zero),
    MINIMUM: Axis(MINIMUM, "Minimum utility (nats)", finish=_from_zero),
    MAXIMUM: Axis(MAXIMUM, "Maximum utility (nats)", finish=_from_zero),
    ACCURACY: Axis(ACCURACY, ABLATED, 100, finish=_percents),
    "ablated_accuracy": Axis("ablated_accuracy", ABLATED, 100, finish=_percents),
}
BY_RATIO = Axis(AMOUNT, "Ablation ratio", finish=from_left)


def panels(
    x: Axis, quantities: Iterable[str], color: Scale, marker: Scale | str = ""
) -> tuple[Lines, ...]:
    """A panel of each quantity."""
    return tuple(Lines(x, AXES[quantity], color=color, marker=marker) for quantity in quantities)


# ---------------------------------------------------------------- tables
def amounts_table(
    name: str,
    title: str,
    found: pd.DataFrame,
    labels: Mapping[str, str],
    results: pd.DataFrame,
    reference: Mapping[str, str] | None = None,
) -> Table:
    """Utility of networks at every amount, mean ± std over seeds.

    Args:
      name, title: of the table; the rule of the verdicts is added where there is a reference.
      found: rows of `by_amount`.
      labels: heading -> the column of them that says which network of a trial they are of.
      results: the rows of results.csv that it is of.
      reference: the column and the value of it that the others are compared with.
    """
    rows = []
    keys = ["trial", *labels.values(), AMOUNT]
    ((column, against),) = (reference or {"": ""}).items()
    for key, here in found.groupby(keys, sort=False, observed=True):
        row = dict(zip(("trial", *labels, AMOUNT), key, strict=True))
        row["n"] = here["seed"].nunique()
        for quantity in (*NAMES, ACCURACY):
            row |= described(by_seed(here, quantity), quantity, "mean", "std")
        if reference:
            alike = (found["trial"] == key[0]) & (found[AMOUNT] == key[-1])
            full = found[alike & (found[column] == against) & (here[column].iloc[0] != against)]
            gap = match_or_differ(by_seed(here, MEAN), by_seed(full, MEAN))
            row |= summary.compared(gap, f"mean_minus_{against}")
        rows.append(row)
    shown: dict[str, Any] = {label: label for label in labels}
    shown["ablated"] = lambda row: f"{row[AMOUNT]:g}"
    shown |= {f"{text} (nats)": mean_std(quantity, measured) for quantity, text in NAMES.items()}
    shown["accuracy (%)"] = mean_std(ACCURACY, plus_minus)
    if reference:
        title += "; higher or lower where the mean difference is at least one std from 0"
        shown[f"mean vs {against}"] = gap_cell(f"mean_minus_{against}")
    shown["seeds"] = "n"
    return tables.of_trials(name, title, pd.DataFrame(rows), results, shown, labels)


def gap_cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    """A cell of a difference in nats, as `summary.compared` has it: "higher (+0.0123)".

    Of one seed, of which the rule says nothing, the difference alone.
    """

    def cell(row: Mapping[str, Any]) -> str:
        mean = row[f"{name}_mean"]
        size = measured([abs(mean)], [math.nan])[0]
        sign = "-" if mean < 0 else "+"
        return f"{row[f'{name}_verdict']} ({sign}{size})".strip() if size else ""

    return cell


# ---------------------------------------------------------------- beside the paper
def values_of(rows: pd.DataFrame, metric: str) -> dict[int, float]:
    """seed -> what the paper calls the metric, of rows of one network."""
    *_, column, scale = _METRICS[metric]
    return {seed: scale * value for seed, value in by_seed(rows, column).items()}


def beside(
    table: int,
    labels: Mapping[str, str],
    rows: pd.DataFrame,
    metric: str,
    method: str,
    at: str,
    epochs: int,
    against: Mapping[int, float],
    seeds: Iterable[int],
) -> Beside:
    """A row of ours beside a cell of the paper's table.

    Args:
      table: as printed.
      labels: of the row.
      rows: of results.csv, of one network; of another model, other data, another width or with
        label noise there is no cell.
      metric, method, at: as in `tfprune.papers.published`.
      epochs: for which the paper trains; where ours were trained for others, the row says so.
      against: seed -> ours, of the network that this one is compared with.
      seeds: that there should be.
    """
    row, values = rows.iloc[0], values_of(rows, metric)
    # Another experiment's columns are empty here.
    noise, width = (row.get(name) for name in ("noise_fraction", "width"))
    cell = {"model": row["model"], "dataset": row["dataset"], "method": method, "at": at}
    printed = None
    if pd.isna(width) or width == 1:
        numbers = published("PM", table)
        noise = 0 if pd.isna(noise) else noise
        printed = summary.find_printed(numbers, noise, **cell, metric=metric)
    trained = sorted(set(rows["train_epochs"].dropna().astype(int)) - {epochs})
    unlike = f"{', '.join(map(str, trained))} epochs, not {epochs}" if trained and printed else ""
    missing = tuple(sorted(set(seeds) - set(values)))
    details = {"unlike the paper": unlike}
    return Beside({}, {}, labels, values, metric, printed, against, details, missing)


def beside_table(number: int, what: str, rows: Sequence[Beside]) -> Table | None:
    """One of the paper's tables, ours beside it; None of no rows."""
    if not rows:
        return None
    metrics = {metric: (text, digits) for metric, (text, digits, *_) in _METRICS.items()}
    title = f"PM table {number}, {what}"
    return summary.beside_table(
        f"table_{number}", title, rows, against=SMALL, metrics=metrics, exact=True
    )
