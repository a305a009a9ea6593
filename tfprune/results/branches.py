"""Branches beside the trunk they left: names, sparsities, and differences seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from tfprune.measures import statistics
from tfprune.report import tables, trials
from tfprune.results import figures

TRUNK, REDENSE, REINIT = "", "redense", "reinit"
SPARSE_SPARSITY = "sparse_sparsity"
_NAMES = {TRUNK: "sparse", REDENSE: "re-dense", REINIT: "random reinitialization"}
_DIFFERENCES = {
    "train_accuracy": "train (points)",
    "test_accuracy_last": "last test (points)",
    "test_accuracy_best": "best test (points)",
}
_OPTIONS = {"lr": "learning rate {}", "ep": "{} epochs"}


def kind(branch: str) -> str:
    """What a branch is, its options aside: "redense" of "redense_lr0.01"."""
    return branch.split("_")[0]


def name(branch: str) -> str:
    """A branch as people call it.

    Example:
      >>> [name(branch) for branch in ("", "redense", "redense_lr0.01_ep5")]
      ['sparse', 're-dense', 're-dense, learning rate 0.01, 5 epochs']
    """
    first, *options = branch.split("_")
    said = [_OPTIONS[o[:2]].format(o[2:]) if o[:2] in _OPTIONS else o for o in options]
    return ", ".join([_NAMES.get(first, first), *said])


def of_kinds(results: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """The rows whose branch is of one of these kinds."""
    return results[results["branch"].map(kind).isin(list(kinds))]


def at_branching_level(results: pd.DataFrame) -> pd.DataFrame:
    """`results`, networks whose masks were lifted at the sparsity of the level they came from.

    As SDD figures 5 and 6 count them; in results.csv itself they have sparsity 0.
    """
    if SPARSE_SPARSITY not in results:
        return results
    before = results[SPARSE_SPARSITY].astype(float)
    return results.assign(
        sparsity=results["sparsity"].where(before.isna(), before),
        weights_remaining=results["weights_remaining"].where(before.isna(), 1 - before),
    )


@dataclass(frozen=True)
class Pair:
    """One branch of a trial and its trunk.

    Attributes:
      trial: the trial.
      branch: the branch.
      name: of the trial, and of the branch where the results hold several of its kind.
      trunk: the trunk's rows of results.csv.
      rows: the branch's rows of results.csv.
    """

    trial: str
    branch: str
    name: str
    trunk: pd.DataFrame
    rows: pd.DataFrame

    @property
    def results(self) -> pd.DataFrame:
        """The rows of both."""
        return pd.concat([self.trunk, self.rows])

    def samples(self) -> list[figures.Sample]:
        """The levels of the branch to show in detail."""
        return figures.samples_of(self.trunk, self.trial, self.rows["level"].unique().tolist())

    def differences(self, column: str) -> pd.DataFrame:
        """Branch minus trunk, seed by seed, at every level where both have the column.

        Returns:
          A table indexed by level: sparsity (of the trunk), trunk and branch (means over the
          seeds that have both), n, mean and std of the differences, and verdict
          (`statistics.Difference`).
        """
        keys = ["seed", "level"]
        both = self.trunk[[*keys, "sparsity", column]].merge(
            self.rows[[*keys, column]], on=keys, suffixes=("_trunk", "_branch")
        )
        both = both.dropna(subset=[f"{column}_trunk", f"{column}_branch"])
        found = []
        for level, rows in both.groupby("level"):
            trunk, branch = rows[f"{column}_trunk"], rows[f"{column}_branch"]
            gap = statistics.difference(branch - trunk)
            found.append(
                {
                    "level": level,
                    "sparsity": rows["sparsity"].mean(),
                    "trunk": trunk.mean(),
                    "branch": branch.mean(),
                    "n": gap.n,
                    "mean": gap.mean,
                    "std": gap.std,
                    "verdict": gap.verdict,
                }
            )
        columns = ["level", "sparsity", "trunk", "branch", "n", "mean", "std", "verdict"]
        return pd.DataFrame(found, columns=columns).set_index("level")


def pairs(results: pd.DataFrame, kind_wanted: str) -> list[Pair]:
    """A pair for every trial and branch of this kind, trials in the order of `results`."""
    rows = of_kinds(results, [kind_wanted])
    several = rows["branch"].nunique() > 1
    return [
        Pair(
            trial,
            branch,
            f"{called}, {name(branch)}" if several else called,
            results[(results["trial"] == trial) & (results["branch"] == TRUNK)],
            mine[mine["branch"] == branch],
        )
        for trial, called in trials.names(results).items()
        if len(mine := rows[rows["trial"] == trial])
        for branch in mine["branch"].unique()
    ]


def difference_table(
    results: pd.DataFrame, kind_wanted: str, table_name: str, title: str
) -> tables.Table:
    """Branch minus trunk at every level, and whether last test accuracies differ (PEG section 2).

    Args:
      results: rows of results.csv of one experiment.
      kind_wanted: the kind of branch.
      table_name: of the table's files.
      title: its title; the rule is added to it.
    """
    parts = []
    for pair in pairs(results, kind_wanted):
        gaps = {column: pair.differences(column) for column in _DIFFERENCES}
        last = gaps["test_accuracy_last"]
        part = pd.DataFrame({"trial": pair.trial, "branch": pair.branch, "level": last.index})
        part[["sparsity", "n"]] = last[["sparsity", "n"]].to_numpy()
        for column, gap in gaps.items():
            both = gap.reindex(last.index)[["mean", "std", "verdict"]].to_numpy()
            part[[f"{column}_difference_{what}" for what in ("mean", "std", "verdict")]] = both
        parts.append(part)
    columns = ["trial", "branch", "level", "sparsity", "n"]
    numbers = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    labels = tables.label_table(numbers, results)
    if numbers["branch"].nunique() > 1:
        labels["branch"] = numbers["branch"].map(name)
    shown = labels.assign(level=numbers["level"].astype(str))
    shown["sparsity (%)"] = [tables.sparsity_percent(value) for value in numbers["sparsity"]]
    for column, heading in _DIFFERENCES.items():
        if parts:
            mean, std = (numbers[f"{column}_difference_{what}"] for what in ("mean", "std"))
            shown[heading] = tables.points(mean, std)
    if parts:
        shown["last test is"] = numbers["test_accuracy_last_difference_verdict"]
    shown["seeds"] = [f"{n:.0f}" for n in numbers["n"]]
    rule = "higher or lower where the mean is at least one std over seeds away from 0"
    full = tables.with_settings(numbers, results)
    return tables.Table(table_name, f"{title}; {rule}", full, shown, tuple(map(str, labels)))


def sparsity_text(sparsity: float) -> str:
    """A sparsity in a sentence."""
    return f"{tables.sparsity_percent(sparsity)}%"


def listed(sparsities: Sequence[float]) -> str:
    """Sparsities in a sentence: up to three by name, more as a range."""
    texts = [sparsity_text(value) for value in sparsities]
    return ", ".join(texts) if len(texts) <= 3 else f"{texts[0]} to {texts[-1]}"


def percent(value: float) -> str:
    """An accuracy in a sentence."""
    return f"{100 * value:.1f}%"
