"""What PM's experiments have in common: tables beside stages, quantities, ours beside the paper's.

Its validation accuracy is our last test accuracy: PM names no validation split, and CIFAR-10's
test images are what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from tfprune.papers.published import published
from tfprune.report import summary, tables, trials
from tfprune.report.accuracy import all_percents
from tfprune.report.grammar import Axis, Lines, Panel, Scale
from tfprune.report.summary import Beside, by_seed, described
from tfprune.report.tables import Table, mean_std, measured, plus_minus, signed

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
# As fine as a printed sparsity is: 0.25 of a number of weights is seldom whole.
SAME_SHARE = 0.005
# What a row of a table is of.
NETWORK = ("trial", "branch", "level", "seed")
# What a table says of a difference.
GAP = ("n", "mean", "std", "verdict")
# metric -> its name, decimals, its column of results.csv and what multiplies that.
METRICS = {
    "val_accuracy_percent": ("validation accuracy (%)", 2, "test_accuracy_last", 100.0),
    "train_loss": ("train loss (nats)", 3, "train_loss", 1.0),
}


# ---------------------------------------------------------------- reading
def stages(results: pd.DataFrame, branch: str = "") -> pd.DataFrame:
    """The rows of a branch, trial by trial, and what these are `called`."""
    rows = results[results["branch"] == branch]
    rows = trials.in_order(rows.sort_values(["level", "seed"]), rows)
    return rows.assign(called=rows["trial"].map(trials.names(rows)))


def by_amount(subsets: pd.DataFrame, about: Sequence[str]) -> pd.DataFrame:
    """PM definitions 2 and 3 of every network, seed and amount.

    Args:
      subsets: a row each, with `about` and `SUBSET_COLUMNS`.
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
def axis(quantity: str) -> Axis:
    """Up: utility in nats, from 0; or the accuracy of ablated networks in %."""
    if quantity not in NAMES:
        return Axis(quantity, "Train accuracy, ablated (%)", 100, finish=all_percents)
    label = "utility imbalance" if quantity == IMBALANCE else f"{NAMES[quantity]} utility"
    label = f"{label.capitalize()} (nats)"
    return Axis(quantity, label, finish=lambda panel: panel.axes.set_ylim(bottom=0))


def from_left(panel: Panel) -> None:
    """The x axis starts at 0."""
    panel.axes.set_xlim(left=0)


BY_RATIO = Axis(AMOUNT, "Ablation ratio", finish=from_left)


def panels(
    x: Axis, quantities: Iterable[str], color: Scale, marker: Scale | str = ""
) -> tuple[Lines, ...]:
    """A panel of each quantity."""
    return tuple(Lines(x, axis(quantity), color=color, marker=marker) for quantity in quantities)


# ---------------------------------------------------------------- tables
def seeds_of(results: pd.DataFrame, trial: Any) -> set[int]:
    """The seeds that a trial has rows of."""
    return set(results.loc[results["trial"] == trial, "seed"])


def missing(results: pd.DataFrame, own: pd.DataFrame) -> str:
    """The seeds that the trial of these rows has and they have not."""
    return summary.seeds_text(seeds_of(results, own["trial"].iloc[0]) - set(own["seed"]))


def described_by(
    rows: pd.DataFrame, keys: Sequence[str], columns: Iterable[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Over the seeds of each group: (`keys`, n, COLUMN_mean and COLUMN_std, the group's rows)."""
    columns = list(columns)
    for key, own in rows.groupby(list(keys), sort=False, observed=True):
        row = dict(zip(keys, key, strict=True)) | {"n": own["seed"].nunique()}
        for column in columns:
            row |= described(by_seed(own, column), column, "mean", "std")
        yield row, own


def amounts_table(
    name: str,
    title: str,
    rows: pd.DataFrame,
    labels: Sequence[str],
    results: pd.DataFrame,
    reference: str = "",
) -> Table:
    """Utility of networks at every amount, mean ± std over seeds.

    Args:
      name, title: of the table; the rule of the verdicts is added where there is a reference.
      rows: of `by_amount`.
      labels: columns of them that say which network of a trial they are of.
      results: the rows of results.csv that it is of.
      reference: which network others are compared with; `mean_minus_REFERENCE` is the difference.
    """
    gap, found = f"mean_minus_{reference}", []
    for row, own in described_by(rows, ("trial", *labels, AMOUNT), (*NAMES, ACCURACY)):
        found.append(row | (described(by_seed(own, gap), gap, *GAP) if reference else {}))
    shown: dict[str, Any] = {label: label for label in labels}
    shown["ablated"] = lambda row: f"{row[AMOUNT]:g}"
    shown |= {f"{text} (nats)": mean_std(quantity, measured) for quantity, text in NAMES.items()}
    shown["accuracy (%)"] = mean_std(ACCURACY, plus_minus)
    if reference:
        title += "; higher or lower where the mean difference is at least one std from 0"
        shown[f"mean vs {reference}"] = gap_cell(gap)
    shown["seeds"] = "n"
    return tables.of_trials(name, title, pd.DataFrame(found), results, shown, labels)


def gap_cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    """A cell of a difference in nats, described by `GAP`: "higher (+0.0123)".

    Of one seed, of which the rule says nothing, the difference alone.
    """

    def cell(row: Mapping[str, Any]) -> str:
        size = signed(measured(row[f"{name}_mean"]))
        return f"{row[f'{name}_verdict']} ({size})".strip() if size else ""

    return cell


# ---------------------------------------------------------------- beside the paper
def values_of(rows: pd.DataFrame, metric: str) -> dict[int, float]:
    """seed -> what the paper calls the metric, of rows of one network."""
    *_, column, scale = METRICS[metric]
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
      rows: of results.csv, of one network; of another model, other data or a part of them,
        another width or with label noise there is no cell.
      metric, method, at: as in `tfprune.papers.published`.
      epochs: for which the paper trains; where ours were trained for others, the row says so.
      against: seed -> ours, of the network that this one is compared with.
      seeds: that there should be.
    """
    row, values, printed = rows.iloc[0], values_of(rows, metric), None
    if summary.full_size(row.to_dict()):
        cell = {"model": row["model"], "dataset": row["dataset"], "method": method, "at": at}
        numbers = published("PM", table)
        printed = summary.find_printed(numbers, row["noise_fraction"], **cell, metric=metric)
    trained = sorted(set(rows["train_epochs"].dropna().astype(int)) - {epochs})
    unlike = f"{', '.join(map(str, trained))} epochs, not {epochs}" if trained and printed else ""
    details = {"unlike the paper": unlike}
    return Beside({}, {}, labels, values, metric, printed, against, details, seeds)


def beside_table(number: int, what: str, rows: Sequence[Beside]) -> Table:
    """One of the paper's tables, ours beside it."""
    metrics = {metric: (text, digits) for metric, (text, digits, *_) in METRICS.items()}
    title = f"PM table {number}, {what}"
    return summary.beside_table(
        f"table_{number}", title, rows, against=SMALL, metrics=metrics, exact=True
    )
