"""Means and standard deviations over seeds, as numbers, as Markdown and in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import rich.box
import rich.table
from etils import epath
from rich.console import Console

from tfprune import files
from tfprune.results import analysis, layout, trials

ACCURACY_COLUMNS = ("train_accuracy", "test_accuracy_last", "test_accuracy_best")
GROUP_COLUMNS = ("experiment", "trial", "branch", "level")
_SHOWN = {
    "train_accuracy": "train (%)",
    "test_accuracy_last": "last test (%)",
    "test_accuracy_best": "best test (%)",
}


@dataclass(frozen=True)
class Table:
    """A table in both its forms.

    Attributes:
      name: of its files, `tables/NAME.csv` and `tables/NAME.md`.
      title: one line.
      numbers: fractions and seconds, full precision; the CSV.
      shown: text for people, accuracies in % as mean ± std; the Markdown and the terminal.
    """

    name: str
    title: str
    numbers: pd.DataFrame
    shown: pd.DataFrame


def aggregate(results: pd.DataFrame, columns: Iterable[str] = ACCURACY_COLUMNS) -> pd.DataFrame:
    """Mean and standard deviation over seeds, per (experiment, trial, branch, level).

    Args:
      results: rows of results.csv.
      columns: the numeric columns to aggregate.

    Returns:
      `GROUP_COLUMNS`, sparsity and weights_remaining (mean), n (seeds with at least one of the
      columns), COLUMN_mean and COLUMN_std (ddof 1, NaN for one seed) for each column, and
      missing_seeds: the seeds, comma separated, that have a row at some level of the same trial
      and branch and no value here.
    """
    columns = list(columns)
    there = results[results[columns].notna().any(axis=1)]
    groups = results.groupby(list(GROUP_COLUMNS), sort=True)
    table: pd.DataFrame = groups[["sparsity", "weights_remaining"]].mean()
    found = there.groupby(list(GROUP_COLUMNS))["seed"].agg(set).to_dict()
    table["n"] = [len(found.get(key, ())) for key in table.index]
    for name in columns:
        table[f"{name}_mean"] = groups[name].mean()
        table[f"{name}_std"] = groups[name].std(ddof=1)
    expected = results.groupby(list(GROUP_COLUMNS[:3]))["seed"].agg(set).to_dict()
    missing = [expected[key[:3]] - found.get(key, set()) for key in table.index]
    table["missing_seeds"] = [", ".join(map(str, sorted(seeds))) for seeds in missing]
    return table.reset_index()


def accuracy_table(results: pd.DataFrame, name: str = "accuracy") -> Table:
    """Train, last and best test accuracy at every level, mean ± std over seeds (SDD figure 1)."""
    numbers = aggregate(results)
    shown = pd.DataFrame({"level": numbers["level"].astype(str)})
    shown["sparsity (%)"] = [sparsity_percent(value) for value in numbers["sparsity"]]
    for column, heading in _SHOWN.items():
        shown[heading] = plus_minus(numbers[f"{column}_mean"], numbers[f"{column}_std"])
    shown["seeds"] = numbers["n"].astype(str)
    if numbers["branch"].ne("").any():
        shown.insert(0, "branch", numbers["branch"])
    if numbers["trial"].nunique() > 1:
        shown.insert(0, "trial", numbers["trial"].map(trials.names(results)))
    if numbers["missing_seeds"].ne("").any():
        shown["missing seeds"] = numbers["missing_seeds"]
    return Table(name, "Accuracy at every level, mean ± std over seeds", numbers, shown)


def efficacy_table(
    results: pd.DataFrame,
    tolerance: float = analysis.DEFAULT_TOLERANCE,
    name: str = "pruning_efficacy",
) -> Table:
    """Pruning efficacy of every trial (SDD section 4), mean ± std over seeds.

    An efficacy that the deepest level there is still reaches is shown as ≥.
    """
    by_seed = analysis.efficacy_by_seed(results, tolerance)
    groups = by_seed.groupby(["experiment", "trial"])
    numbers = pd.DataFrame(
        {
            "n": groups["efficacy"].count(),
            "efficacy_mean": groups["efficacy"].mean(),
            "efficacy_std": groups["efficacy"].std(ddof=1),
            "at_end": groups["at_end"].any(),
            "tolerance": tolerance,
        }
    ).reset_index()
    shown = pd.DataFrame({"trial": numbers["trial"].map(trials.names(results))})
    percent = plus_minus(numbers["efficacy_mean"], numbers["efficacy_std"], digits=2)
    shown["pruning efficacy, sparsity (%)"] = [
        f"≥ {text}" if at_end else text
        for text, at_end in zip(percent, numbers["at_end"], strict=True)
    ]
    shown["seeds"] = numbers["n"].astype(str)
    title = (
        "Pruning efficacy: the largest sparsity that keeps train accuracy within "
        f"{100 * tolerance:g} point{'s' * (tolerance != 0.01)} of dense"
    )
    return Table(name, title, numbers, shown)


def plus_minus(mean: Iterable[float], std: Iterable[float], digits: int = 1) -> list[str]:
    """Fractions as percent: "97.1 ± 0.3", "97.1" where there is no std, "" where no mean.

    Example:
      >>> plus_minus([0.5, 0.25, float("nan")], [0.012, float("nan"), float("nan")])
      ['50.0 ± 1.2', '25.0', '']
    """
    return [_plus_minus(m, s, digits) for m, s in zip(mean, std, strict=True)]


def _plus_minus(mean: float, std: float, digits: int) -> str:
    if np.isnan(mean):
        return ""
    spread = "" if np.isnan(std) else f" ± {100 * std:.{digits}f}"
    return f"{100 * mean:.{digits}f}{spread}"


def sparsity_percent(sparsity: float) -> str:
    """A sparsity as the papers print it: as many decimals as what remains needs, at least one.

    Example:
      >>> [sparsity_percent(1 - 0.8**level) for level in (0, 4, 20, 32)]
      ['0', '59.0', '98.8', '99.92']
    """
    if np.isnan(sparsity):
        return ""
    if sparsity <= 0 or sparsity >= 1:
        return f"{100 * sparsity:.0f}"
    decimals = max(1, -int(np.floor(np.log10(100 * (1 - sparsity)))))
    return f"{100 * sparsity:.{decimals}f}"


def write_table(output_dir: epath.PathLike, table: Table) -> None:
    """Writes tables/NAME.csv (numbers, full precision) and tables/NAME.md (as shown).

    Raises:
      InputError: the folder cannot be written.
    """
    folder = epath.Path(output_dir) / layout.TABLES
    text = table.numbers.to_csv(index=False, lineterminator="\n")
    files.write_text_atomic(folder / f"{table.name}.csv", text)
    # Without disable_numparse tabulate would shorten "50.0" to "50".
    rows = table.shown.to_markdown(index=False, disable_numparse=True, stralign="right")
    files.write_text_atomic(folder / f"{table.name}.md", f"{table.title}\n\n{rows}\n")


def print_table(table: Table, console: Console | None = None) -> None:
    """Prints a table to the terminal.

    Args:
      table: what to print.
      console: where to; default standard output.
    """
    printed = rich.table.Table(title=table.title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for heading in table.shown.columns:
        left = heading in ("trial", "branch")
        # Units and second words go below: eight columns must fit a terminal 80 wide.
        below = heading.replace(" (%)", "\n(%)").replace("missing ", "missing\n")
        printed.add_column(below, justify="left" if left else "right", no_wrap=not left)
    # A rule between trials, where the table has several.
    series = table.shown.get("trial", pd.Series("", index=table.shown.index))
    ends = series.ne(series.shift(-1)) & (series.nunique() < len(series))
    for row, end in zip(table.shown.itertuples(index=False), ends, strict=True):
        printed.add_row(*(str(cell) for cell in row), end_section=bool(end))
    (console or Console()).print(printed)
