"""Over seeds, compared, beside what a paper prints: the numbers of figures and tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from tfprune.measures.statistics import Difference, difference, match_or_differ, match_published
from tfprune.report import tables
from tfprune.report.tables import Table, number_text

_DESCRIBED = ("n", "mean", "std")
_RULE = (
    "verdicts: matches, or higher and lower where ours differs, by at least one std of the "
    "difference"
)


def over_seeds(
    rows: pd.DataFrame, at: str, columns: Iterable[str], means: Iterable[str] = ()
) -> pd.DataFrame:
    """Mean, std (ddof 1) and n over the rows of every value of `at`, which is the index.

    Args:
      rows: a row per seed and point.
      at: says which point a row is of.
      columns: COLUMN_mean, COLUMN_std (NaN for one seed) and COLUMN_n for each. Points without
        any value of them are left out.
      means: further columns, of which the mean alone is wanted, under their own names.
    """
    columns = list(columns)
    groups = rows.groupby(at)
    table = pd.DataFrame({name: groups[name].mean() for name in means if name != at})
    for name in columns:
        table[f"{name}_mean"] = groups[name].mean()
        table[f"{name}_std"] = groups[name].std(ddof=1)
        table[f"{name}_n"] = groups[name].count()
    if at in means:
        table[at] = table.index
    return table.dropna(subset=[f"{name}_mean" for name in columns], how="all")


def concatenated(made: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all; frames without any, whose columns have no types, are left out."""
    parts = [rows for rows in made if len(rows)] or made[:1]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def by_seed(rows: pd.DataFrame, column: str) -> dict[int, float]:
    """seed -> a column's value, seeds without one left out; {} where there is no such column."""
    if column not in rows:
        return {}
    known = rows[column].notna().to_numpy()
    pairs = zip(rows["seed"].to_numpy()[known], rows[column].to_numpy()[known], strict=True)
    return {int(seed): float(value) for seed, value in sorted(pairs, key=itemgetter(0))}


def described(
    values: Mapping[int, float] | Sequence[float], name: str = "", *which: str
) -> dict[str, Any]:
    """n, mean and std (ddof 1), or which of them, as columns of a table, after `name_`."""
    known = difference(list(values.values() if isinstance(values, Mapping) else values))
    before = f"{name}_" if name else ""
    return {f"{before}{what}": getattr(known, what) for what in which or _DESCRIBED}


def gap_columns(gap: Difference, against: str) -> dict[str, Any]:
    """A difference as columns of a table: `minus_AGAINST_n`, ..., `verdict_AGAINST`."""
    columns = {f"minus_{against}_{what}": getattr(gap, what) for what in _DESCRIBED}
    return columns | {f"verdict_{against}": gap.verdict}


def verdict_text(gap: Difference, seeds: int, digits: int = 2) -> str:
    """ "lower (-0.90)"; with n where fewer than `seeds` were paired.

    Of one seed, of which the rule says nothing, the difference alone.
    """
    if not gap.n or math.isnan(gap.mean):
        return ""
    n = "" if gap.n == seeds else f", n={gap.n}"
    return f"{gap.verdict} ({gap.mean:+.{digits}f}{n})".strip()


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds for a cell: "0, 2"."""
    return ", ".join(map(str, sorted(seeds)))


# ---------------------------------------------------------------- beside a paper
@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it.

    Attributes:
      mean: in the unit of its metric.
      std: NaN where none is printed.
      n: seeds; 0 where the paper does not say.
      note: misprints, and what other tables print.
    """

    mean: float
    std: float = math.nan
    n: int = 0
    note: str = ""


def full_size(settings: Mapping[Any, Any]) -> bool:
    """Whether a trial is of a network of full width and of all training examples.

    Others have no number of a paper's beside them.

    Args:
      settings: a trial's, by the columns of results.csv.

    Example:
      >>> full_size({"width": 1.0}), full_size({"train_subset": 4000})
      (True, False)
    """
    width, subset = settings.get("width"), settings.get("train_subset")
    return (pd.isna(width) or float(width) == 1) and (pd.isna(subset) or subset == "")


def find_printed(numbers: pd.DataFrame, noise_fraction: float, **cell: Any) -> Printed | None:
    """The one of a paper's numbers that stands in this cell; None where there is none.

    Args:
      numbers: rows of `tfprune.papers.published`.
      noise_fraction: of the label noise.
      cell: values of further columns.
    """
    here = np.isclose(numbers["noise_fraction"].fillna(0.0).astype(float), noise_fraction)
    for name, value in cell.items():
        here &= (numbers[name] == value).to_numpy()
    if not here.any():
        return None
    row = numbers[here].iloc[0]
    n = 0 if pd.isna(row["n"]) else int(row["n"])
    return Printed(float(row["mean"]), float(row["std"]), n, str(row["note"]))


@dataclass(frozen=True)
class Beside:
    """One row of a table of ours beside a paper's.

    Attributes:
      settings: column -> value, of what was run; not shown.
      about: heading -> text, the same as it is shown.
      labels: heading -> text, what else the row is about, as numbers have it and as shown.
      values: seed -> ours, in the unit of the metric; empty where nothing was run.
      metric: as in `tfprune.papers.published`.
      printed: the paper's.
      against: seed -> ours of what the table names as `against`.
      details: heading -> text, shown beside.
      seeds: those that there should be; what is missing of them is named.
    """

    settings: Mapping[str, Any]
    about: Mapping[str, str]
    labels: Mapping[str, str]
    values: Mapping[int, float]
    metric: str
    printed: Printed | None = None
    against: Mapping[int, float] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    seeds: Iterable[int] = ()

    def from_paper(self, exact: bool = False) -> Difference:
        """Ours minus the paper's; `exact` as of `beside_table`."""
        values = list(self.values.values())
        if not values or self.printed is None:
            return Difference(len(values), math.nan, math.nan)
        if exact and math.isnan(self.printed.std):
            return difference([value - self.printed.mean for value in values])
        return match_published(values, self.printed.mean, self.printed.std)


def beside_table(
    name: str,
    title: str,
    rows: Sequence[Beside],
    unit: str = "%",
    digits: int = 2,
    against: str = "",
    names: Mapping[str, str] | None = None,
    metrics: Mapping[str, tuple[str, int]] | None = None,
    exact: bool = False,
) -> Table:
    """Ours beside the paper's, each row with its verdict by PEG section 2's rule and n.

    Args:
      name: of the table's files.
      title: what is compared; the rule is added to it.
      rows: columns that none of them fills are left out.
      unit: of the numbers, shown.
      digits: decimals shown, as the paper prints.
      against: what `Beside.against` are of ("dense"), "" for nothing.
      names: what it is called in a heading, where not so.
      metrics: of a table of several, what each is called with its unit, and decimals shown.
      exact: whether a number printed without a spread is taken as exact, so that what differs
        from it is told by our spread alone; else it has no verdict.
    """
    units = "" if metrics else f" ({unit})"
    shown_against = (names or {}).get(against, against.replace("_", " "))
    numbers: list[dict[str, Any]] = []
    shown: list[dict[str, str]] = []
    for row in rows:
        ours, seeds = described(row.values), len(row.values)
        missing = seeds_text(set(row.seeds) - row.values.keys())
        paper, printed = row.from_paper(exact), row.printed or Printed(math.nan)
        metric, places = (metrics or {}).get(row.metric, ("", digits))
        number = {**row.settings, **row.labels, "metric": row.metric, **ours}
        number |= {"missing_seeds": missing, **row.details}
        number |= {f"paper_{what}": getattr(printed, what) for what in ("mean", "std", "n")}
        number |= {"minus_paper": paper.mean, "verdict_paper": paper.verdict}
        cells = {
            **row.about,
            **row.labels,
            "of": metric,
            **row.details,
            f"ours{units}": number_text(ours["mean"], ours["std"], places),
            "seeds": str(seeds or ""),
            f"paper{units}": number_text(printed.mean, printed.std, places),
            "vs paper": verdict_text(paper, seeds, places) if exact else paper.verdict,
        }
        if against:
            gap = match_or_differ(row.values, row.against)
            number |= gap_columns(gap, against)
            cells[f"vs {shown_against}"] = verdict_text(gap, seeds, places if metrics else 2)
        numbers.append(number | {"paper_note": printed.note})
        shown.append(cells | {"missing seeds": missing if seeds else ""})
    labels = [name for row in rows for name in (*row.about, *row.labels, "of")]
    title = f"{title}; {_RULE}"
    if exact and any(row.printed for row in rows):
        title += "; the paper's numbers, printed without a spread, are taken as exact"
    return tables.of_rows(name, title, numbers, shown, labels, None, say_once="".join(labels[:1]))
