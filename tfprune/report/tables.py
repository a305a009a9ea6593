"""Means and standard deviations over seeds, as numbers, as Markdown and in the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import rich.box
import rich.table
from etils import epath
from rich.console import Console
from rich.measure import Measurement

from tfprune import files, layout
from tfprune.report import trials

# The accuracies that every level has, and what tables call them.
ACCURACIES = {
    "train_accuracy": "train",
    "test_accuracy_last": "last test",
    "test_accuracy_best": "best test",
}
GROUP_COLUMNS = ("experiment", "trial", "branch", "level")


@dataclass(frozen=True)
class Table:
    """A table in both its forms.

    Attributes:
      name: of its files, `tables/NAME.csv` and `tables/NAME.md`.
      title: one line.
      numbers: fractions and seconds, full precision; the CSV.
      shown: text for people, accuracies in % as mean ± std; the Markdown and the terminal.
      labels: the columns of `shown` that say what a row is about, in words.
    """

    name: str
    title: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    labels: tuple[str, ...] = ()


def aggregate(results: pd.DataFrame, columns: Iterable[str] = ACCURACIES) -> pd.DataFrame:
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
    return trials.in_order(table.reset_index(), results)


def accuracy_table(results: pd.DataFrame, note: str = "") -> Table:
    """Train, last and best test accuracy at every level, mean ± std over seeds.

    Args:
      results: rows of results.csv of one experiment.
      note: added to the title.
    """
    title = f"Accuracy at every level, mean ± std over seeds{note}"
    branch = {"branch": lambda row: row["branch"] or "trunk"} if results["branch"].any() else {}
    shown = branch | LEVEL
    shown |= {f"{name} (%)": mean_std(c, plus_minus) for c, name in ACCURACIES.items()}
    return of_trials("accuracy", title, aggregate(results), results, shown | SEEDS, ["branch"])


def of_trials(
    name: str,
    title: str,
    numbers: pd.DataFrame,
    results: pd.DataFrame,
    shown: Mapping[str, str | Callable[[Any], str]],
    labels: Iterable[str] = (),
) -> Table:
    """A table of trials: first what tells them apart, and the settings in which they differ.

    Args:
      name: of its files.
      title: one line.
      numbers: rows with a column `trial`.
      results: the rows of results.csv that it is of.
      shown: as of `of_rows`.
      labels: of the headings, those that say what a row is about.
    """
    if numbers.empty:
        return Table(name, title, numbers, pd.DataFrame())
    known = trials.label_columns(results).map(trials.shown_value)
    about = known.reindex(numbers["trial"]).set_axis(numbers.index)
    cells = of_rows(name, title, numbers.to_dict("records"), shown).shown
    text = pd.concat([about, cells], axis=1)
    own = (*map(str, about), *(str(c) for c in cells if c in set(labels)))
    return Table(name, title, with_settings(numbers, results), text, own)


def with_settings(numbers: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """`numbers` with a column per setting that varies, as in results.csv, after `trial`."""
    known, numbers = trials.label_columns(results), numbers.copy()
    after = list(numbers.columns).index("trial") + 1
    for place, name in enumerate(name for name in known.columns if name not in numbers):
        numbers.insert(after + place, str(name), numbers["trial"].map(known[name]))
    return numbers


def number_text(mean: float, std: float = math.nan, digits: int = 2) -> str:
    """ "4.40 ± 0.20", without the std where there is none, "" without a mean."""
    if math.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def plus_minus(mean: float, std: float = math.nan, digits: int = 1) -> str:
    """A fraction as percent.

    Example:
      >>> [plus_minus(0.5, 0.012), plus_minus(0.25), plus_minus(math.nan)]
      ['50.0 ± 1.2', '25.0', '']
    """
    return number_text(100 * mean, 100 * std, digits)


def points(mean: float, std: float = math.nan) -> str:
    """A difference of fractions as signed percentage points.

    Example:
      >>> [points(0.051, 0.012), points(-0.25)]
      ['+5.1 ± 1.2', '-25.0']
    """
    return signed(plus_minus(mean, std))


def signed(number: str) -> str:
    """A number in words with its sign, "" as it is."""
    return number if number.startswith("-") or not number else f"+{number}"


def measured(mean: float, std: float = math.nan) -> str:
    """A quantity of any size to three digits of the mean.

    Example:
      >>> [measured(0.03124, 0.0041), measured(12.0), measured(math.nan)]
      ['0.0312 ± 0.0041', '12.0', '']
    """
    size = max(abs(mean), 0.0 if math.isnan(std) else std)
    exact = size == 0 or math.isnan(size)
    decimals = 2 if exact else min(max(2 - math.floor(math.log10(size)), 0), 6)
    return number_text(mean, std, decimals)


def sparsity_percent(sparsity: float) -> str:
    """A sparsity as the papers print it: as many decimals as what remains needs, at least one.

    Example:
      >>> [sparsity_percent(1 - 0.8**level) for level in (0, 4, 20, 32)]
      ['0', '59.0', '98.8', '99.92']
    """
    if math.isnan(sparsity):
        return ""
    if sparsity <= 0 or sparsity >= 1:
        return f"{100 * sparsity:.0f}"
    decimals = max(1, -math.floor(math.log10(100 * (1 - sparsity))))
    return f"{100 * sparsity:.{decimals}f}"


def percent_text(fraction: float) -> str:
    """A fraction in % with three digits, "" for NaN.

    Example:
      >>> [percent_text(0.8**level) for level in (0, 4, 20, 28)]
      ['100', '41', '1.15', '0.193']
    """
    return "" if math.isnan(fraction) else f"{100 * fraction:.3g}"


def mean_std(name: str, form: Callable[..., str]) -> Callable[[Mapping[str, Any]], str]:
    """A cell of a row's NAME_mean and NAME_std, as `plus_minus`, `points` or `measured`."""
    return lambda row: form(row[f"{name}_mean"], row[f"{name}_std"])


# Cells that tables of levels have: shown by heading.
LEVEL: dict[str, str | Callable[[Any], str]] = {
    "level": "level", "sparsity (%)": lambda row: sparsity_percent(row["sparsity"])
}  # fmt: skip
SEEDS: dict[str, str | Callable[[Any], str]] = {"seeds": "n", "missing seeds": "missing_seeds"}


def of_rows(
    name: str,
    title: str,
    numbers: Sequence[Mapping[Any, Any]],
    shown: Sequence[Mapping[str, str]] | Mapping[str, str | Callable[[Any], str]],
    labels: Iterable[str] = (),
    optional: Iterable[str] | None = ("missing seeds", "unpaired seeds"),
    say_once: str = "",
) -> Table:
    """A table of rows of numbers, and of what is shown of them.

    Args:
      name: of its files.
      title: one line.
      numbers: the rows.
      shown: rows of text; or heading -> the column of a row, or a function of it to text.
      labels: headings that say what a row is about.
      optional: columns that are left out where they are empty; None for all.
      say_once: a column that goes into the title where it is the same in all rows.
    """
    if isinstance(shown, Mapping):
        shown = [
            {heading: str(cell(row) if callable(cell) else row[cell])
             for heading, cell in shown.items()}
            for row in numbers
        ]  # fmt: skip
    text = pd.DataFrame(shown, dtype="object").fillna("")
    drop = [c for c in (text if optional is None else optional) if c in text]
    text = text.drop(columns=[c for c in drop if not text[c].ne("").any()])
    if say_once in text and text[say_once].nunique() == 1:
        title, text = f"{text[say_once].iloc[0]}: {title}", text.drop(columns=say_once)
    own = tuple(str(c) for c in text if c in set(labels))
    return Table(name, title, pd.DataFrame(numbers), text, own)


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
    console = console or Console()
    # Not as the table's own title, which wraps to the width of a narrow table.
    console.print(table.title, style="italic", highlight=False, soft_wrap=True)
    printed = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for heading in table.shown.columns:
        left = heading in table.labels
        # Units and second words go below: eight columns must fit a terminal 80 wide.
        lines = heading.replace(" (", "\n(").split("\n")
        below = "\n".join(part for line in lines for part in textwrap.wrap(line, 11))
        cells = [*below.split("\n"), *map(str, table.shown[heading])]
        words = [word for cell in cells for word in cell.split()] if left else cells
        printed.add_column(
            below,
            justify="left" if left else "right",
            no_wrap=not left,
            min_width=max(map(len, words), default=1),
        )
    # A rule between trials, where the table has several and more than a row for each.
    # Not itertuples: of no columns, which a single trial has, it makes no rows in pandas 2.
    labels = [tuple(row) for row in table.shown[list(table.labels)].to_numpy()]
    series = pd.Series(labels, dtype=object)
    ends = series.ne(series.shift(-1)) & (series.nunique() < len(series))
    for row, end in zip(table.shown.itertuples(index=False), ends, strict=True):
        printed.add_row(*(str(cell) for cell in row), end_section=bool(end))
    # Squeezed into a narrower terminal, the labels would vanish.
    least = Measurement.get(console, console.options.update(max_width=1000), printed).minimum
    printed.width = least if least > console.width else None
    console.print(printed, crop=False)
