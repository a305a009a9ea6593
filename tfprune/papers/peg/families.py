"""Families of models in PEG, and their optimal member.

A family is what one method makes of one benchmark: the levels of an iterative pruning, the cycles
of extended dense training, dense networks of ever smaller width. The dense model of the benchmark
belongs to each of its families (PEG figure 5, table 6), and may be the optimal one of it, but not
of a family of widths. Two results differ, and a mark is drawn, by PEG section 2's rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tfprune.measures.statistics import PairedDifference, match_or_differ
from tfprune.report import summary, trials
from tfprune.report.tables import percent_text

LR_REWIND, WEIGHT_REWIND, EXTENDED_DENSE = "lr_rewind", "weight_rewind", "extended_dense"
SYNFLOW, SNIP, RANDOM = "synflow", "snip", "random"
DENSE = "dense"
WIDTH, ONE_SHOT, WIDTH_MATCHED = "width", "one_shot", "width_matched"
METHOD_NAMES = {
    LR_REWIND: "LR rewinding",
    WEIGHT_REWIND: "weight rewinding",
    SYNFLOW: "SynFlow",
    SNIP: "SNIP",
    RANDOM: "random pruning",
    EXTENDED_DENSE: "extended dense",
    WIDTH: "width scaling",
    ONE_SHOT: "one-shot pruning",
    WIDTH_MATCHED: "matched width scaling",
}
MODEL_NAMES = {
    "lenet_300_100": "LeNet-300-100",
    "resnet20": "ResNet-20",
    "vgg16": "VGG-16",
    "resnet32": "ResNet-32",
    "resnet50": "ResNet-50",
}
PAPER_NOISE = ("none", "uniform_other")
_WIDTH_METHODS = (WIDTH, WIDTH_MATCHED)
# The standard dense model is the same in all families; rows are taken in this order.
_DENSE_FROM = (LR_REWIND, WEIGHT_REWIND, ONE_SHOT, EXTENDED_DENSE, WIDTH)
BASE = ("dataset", "model", "label_noise", "noise_fraction", "width")
TEST_ERROR, VAL_ERROR = "test_error_percent", "val_error_percent"


@dataclass(frozen=True)
class Benchmark:
    """What is learned, whatever is then pruned: data, model, noise.

    Attributes:
      dataset: as its flag.
      model: as its flag.
      label_noise: as its flag, `none` where the fraction is 0.
      noise_fraction: in [0, 1].
      width: the width multiplier of the full model.
      extra: other settings that a sweep varied, as (name, value).
    """

    dataset: str
    model: str
    label_noise: str
    noise_fraction: float
    width: float = 1.0
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def panel(self) -> str:
        """Everything but the noise, in words: benchmarks of one panel differ in noise alone."""
        parts = [MODEL_NAMES.get(self.model, self.model), self.dataset]
        parts += [f"width {self.width:g}"] if self.width != 1 else []
        return ", ".join(parts + [f"{n}={trials.shown_value(v)}" for n, v in self.extra])

    @property
    def noise(self) -> str:
        """The noise in words: "no noise", "15% noise", with its kind where it is not PEG's."""
        if not self.is_noisy:
            return "no noise"
        kind = "" if self.label_noise in PAPER_NOISE else f"{self.label_noise} "
        return f"{100 * self.noise_fraction:g}% {kind}noise"

    @property
    def name(self) -> str:
        return f"{self.panel}, {self.noise}"

    @property
    def is_noisy(self) -> bool:
        return self.noise_fraction > 0

    @property
    def settings(self) -> dict[str, Any]:
        """As columns of a table's numbers."""
        return {name: getattr(self, name) for name in BASE} | dict(self.extra)

    @property
    def labels(self) -> dict[str, str]:
        """As a table shows it, the noise "15%"."""
        noise = self.noise.removesuffix(" noise") if self.is_noisy else "0%"
        return {"model": self.panel, "noise": noise}


@dataclass(frozen=True)
class Family:
    """The models that one method makes on one benchmark.

    Attributes:
      benchmark: what is learned.
      method: as the column `method` of results.csv.
      points: a row per (member, seed), in this order: the columns of results.csv, and
        `member`: 0 is the dense model, then from the largest to the smallest model: the level, or
        for width scaling the place among the widths;
        `weights_remaining`: of the full dense model's convolution and dense weights, whether
        others were pruned or never there: the axis of every figure by size;
        `total_epochs`: of all training up to here, that of earlier levels included;
        `test_error_percent` and `val_error_percent`, at the last epoch.
      seeds: all seeds that the benchmark has, so that a missing one can be named.
    """

    benchmark: Benchmark
    method: str
    points: pd.DataFrame = field(repr=False, compare=False)
    seeds: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return METHOD_NAMES.get(self.method, self.method)

    @property
    def is_of_widths(self) -> bool:
        """Whether its members are dense networks of different widths."""
        return self.method in _WIDTH_METHODS

    @property
    def members(self) -> list[int]:
        return sorted(self._rows)

    @cached_property
    def is_validated(self) -> bool:
        """Whether there is a validation split to choose by."""
        return bool(self.points[VAL_ERROR].notna().any())

    @cached_property
    def _rows(self) -> dict[int, pd.DataFrame]:
        return {int(str(member)): rows for member, rows in self.points.groupby("member")}

    def rows(self, member: int | None) -> pd.DataFrame:
        """One member's rows, by seed; none of no member."""
        none = self.points.iloc[:0]
        return none if member is None else self._rows.get(member, none)

    def by_seed(self, column: str, member: int | None) -> dict[int, float]:
        """seed -> a member's value of a column, seeds without one left out; {} for no member."""
        return summary.by_seed(self.rows(member), column)

    def mean(self, column: str, member: int | None) -> float:
        """A member's mean over seeds; NaN for no member."""
        values = list(self.by_seed(column, member).values())
        return float(np.mean(values)) if values else math.nan

    @cached_property
    def change_from_dense(self) -> pd.Series:
        """The error that optima are chosen by minus the dense model's, points, by member.

        The mean over seeds. Where every seed is there this is the difference of the means; where
        one is missing, the others are still compared with their own dense models. Without any
        dense model it is the mean itself.
        """
        column = VAL_ERROR if self.is_validated else TEST_ERROR
        values = self.points.set_index(["member", "seed"])[column]
        if dense := self.by_seed(column, 0):
            values = values - values.index.get_level_values("seed").map(dense).to_numpy(float)
        return values.groupby("member").mean().dropna()

    def optimal(self, with_dense: bool = True) -> int | None:
        """The member of best mean validation error over seeds; of equals, the least pruned.

        One level for all seeds: the paper does not say whether it chooses by seed. By test error
        where there is no validation split (see `selection_note`); None where there is neither.

        Of a family of widths, the best of the narrowed ones: table 7 prints larger errors for width
        scaling than table 6 for the dense models where narrowing does not help (VGG-16 6.67 and
        6.6%, LeNet with 5% noise 5.63 and 5.3%), so the full width is not one of them.

        Args:
          with_dense: whether the dense model may be the optimal one.
        """
        change = self.change_from_dense
        change = change[change.index.isin(self._candidates(with_dense))]
        return int(change.index.to_numpy()[int(change.argmin())]) if len(change) else None

    def _candidates(self, with_dense: bool) -> list[int]:
        """The members to choose among."""
        if not self.is_of_widths:
            return [member for member in self.members if member or with_dense]
        narrowed = self.points[self.points["width"] < self.benchmark.width]
        return sorted(int(member) for member in narrowed["member"].unique())

    def against_dense(self, member: int | None) -> PairedDifference:
        """A member's test error minus the dense model's, points, by PEG section 2's rule."""
        return match_or_differ(self.by_seed(TEST_ERROR, member), self.by_seed(TEST_ERROR, 0))

    def beating_dense(self) -> list[int]:
        """The members whose test error is lower than the dense model's, by PEG section 2's rule.

        None of one seed, of which the rule says nothing.
        """
        return [m for m in self._candidates(False) if self.against_dense(m).verdict == "lower"]

    def highest_beating_dense(self) -> int | None:
        """The last member that beats the dense model (PEG section 3); None for none."""
        return max(self.beating_dense(), default=None)

    def marked_optimum(self) -> int | None:
        """The optimal member, if its test error differs from dense: what figures mark with a star.

        None where the two match, where they are one model, and for one seed.
        """
        optimal = self.optimal()
        return optimal if self.against_dense(optimal).verdict in ("lower", "higher") else None

    def missing_seeds(self, member: int | None, column: str = TEST_ERROR) -> tuple[int, ...]:
        """The benchmark's seeds without a value here."""
        return tuple(sorted(set(self.seeds) - set(self.by_seed(column, member))))

    def remaining_text(self, member: int | None) -> str:
        """Weights remaining of a member, of the full dense model's, in %; "" for no member."""
        return percent_text(self.mean("weights_remaining", member))

    def place_text(self, member: int | None) -> str:
        """Where a member is, "" for no member: "41%"; "1380 epochs" of longer dense training."""
        if self.method != EXTENDED_DENSE:
            remaining = self.remaining_text(member)
            return f"{remaining}%" if remaining else "" if member is None else f"member {member}"
        epochs = self.mean("total_epochs", member)
        unknown = "" if member is None else f"level {member}"
        return unknown if math.isnan(epochs) else f"{epochs:g} epochs"


def selection_note(found: Iterable[Family]) -> str:
    """How optimal members were chosen, for a title: warns where test error had to do."""
    found = list(found)
    rule = "optimal: of best mean validation error over seeds, the dense model included"
    if any(family.is_of_widths for family in found):
        rule += "; of widths, one of the narrowed"
    if not all(family.is_validated for family in found):
        rule += "; without a validation split, by TEST error, which is optimistic: "
        rule += "set validation_examples"
    return rule


def by_benchmark(found: Iterable[Family]) -> dict[Benchmark, dict[str, Family]]:
    """benchmark -> method -> its family, in their order."""
    table: dict[Benchmark, dict[str, Family]] = {}
    for family in found:
        table.setdefault(family.benchmark, {})[family.method] = family
    return table


def with_methods(found: Iterable[Family], *methods: str) -> list[Family]:
    """Families of these methods, on benchmarks where every one of them was run."""
    return [
        here[method]
        for here in by_benchmark(found).values()
        if all(name in here for name in methods)
        for method in methods
    ]


def with_any(found: Sequence[Family], *methods: str) -> list[Family]:
    """All families of benchmarks where one of these methods was run."""
    there = by_benchmark(found)
    return [f for f in found if any(method in there[f.benchmark] for method in methods)]


# ---------------------------------------------------------------- from results.csv
def load(results: pd.DataFrame, _: Any = None) -> list[Family]:
    """Every family of an experiment's results.

    Settings besides dataset, model, noise, criterion and retraining that a sweep varied make
    benchmarks of their own, and so do trials that results.csv has no column to tell apart.

    Args:
      results: rows of results.csv of one experiment; branches are left out.

    Returns:
      Ordered by panel as they first come, noise, and method as in `METHOD_NAMES`.
    """
    rows = results[results["branch"] == ""] if "branch" in results else results
    rows = rows[rows["method"].fillna("").ne("")] if "method" in rows else rows.iloc[:0]
    if rows.empty:
        return []
    rows = _measured(rows)
    rows = rows.assign(benchmark=pd.Series(_benchmarks(rows), rows.index, dtype="object"))
    found = []
    for benchmark, mine in rows.groupby("benchmark", sort=False):
        dense = _dense_rows(mine, benchmark)
        seeds = tuple(sorted(int(seed) for seed in mine["seed"].unique()))
        for method, own in mine.groupby("method", sort=False):
            points = _points(str(method), own, dense)
            found.append(Family(benchmark, str(method), points, seeds))
    panels = list(dict.fromkeys(family.benchmark.panel for family in found))

    def place(family: Family) -> tuple[int, float, str, int]:
        mark = family.benchmark
        rank = [*METHOD_NAMES, family.method].index(family.method)
        return panels.index(mark.panel), mark.noise_fraction, mark.label_noise, rank

    return sorted(found, key=place)


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with errors in % and the epochs trained so far; columns that may lack are NaN."""
    rows = rows.sort_values(["trial", "seed", "level"], kind="stable").reset_index(drop=True)
    stages = rows["train_epochs"].astype("float64")
    by_trial = stages.groupby([rows["trial"], rows["seed"]], sort=False)
    # A level that is missing leaves the sum unknown.
    total = by_trial.cumsum().where(by_trial.cumcount() == rows["level"])
    dense = stages.where(rows["level"] == 0).groupby([rows["trial"], rows["seed"]])
    one_shot = dense.transform("max") + stages.where(rows["level"] > 0, 0.0)
    return rows.assign(
        width=rows["width"].fillna(1.0) if "width" in rows else 1.0,
        weights=rows.get("weights", math.nan),
        dense_trial=rows["dense_trial"].fillna("") if "dense_trial" in rows else "",
        **{TEST_ERROR: 100 * (1 - rows["test_accuracy_last"])},
        **{VAL_ERROR: 100 * (1 - rows["val_accuracy"])},
        total_epochs=total.where(rows["method"] != ONE_SHOT, one_shot),
    )


def _benchmarks(rows: pd.DataFrame) -> list[Benchmark]:
    """The benchmark of every row."""
    fractions = rows["noise_fraction"].fillna(0.0)
    noise = rows["label_noise"].where(fractions > 0, "none")
    full = rows[["dataset", "model"]].assign(label_noise=noise, noise_fraction=fractions)

    def several(name: str, *keys: str, dropna: bool = True) -> pd.Series:
        """Whether the rows that agree with a row in all this and in `keys` have several values."""
        agree = [*(full[column] for column in full), *(rows[key] for key in keys)]
        values = rows[name].replace("", np.nan) if dropna else rows[name]
        return values.groupby(agree, dropna=False).transform("nunique", dropna=dropna) > 1

    # What a sweep varied: settings that differ within one method; a method says how it retrains.
    known = [name for name in trials.settings(rows) if name not in (*BASE, "retrain")]
    swept = [
        name
        for name in map(str, known)
        # A part of the data is another benchmark also where nothing else is there.
        if name == "train_subset" or several(name, "method", "width", dropna=False).any()
    ]
    full = full.join(rows[swept])
    full["width"] = _full_width(rows, [full[name] for name in full])
    for name, keys in (("dense_trial", ()), ("trial", ("method", "width"))):
        if (apart := several(name, *keys)).any():
            full[name] = rows[name].where(apart, "")
    extra = [str(name) for name in full if name not in BASE]
    return [
        Benchmark(
            **{name: row[name] for name in BASE},
            extra=tuple((name, row[name]) for name in extra if trials.shown_value(row[name])),
        )
        for row in full.to_dict("records")
    ]


def _full_width(rows: pd.DataFrame, keys: list[pd.Series]) -> pd.Series:
    """The width that a family starts from: its own, or of a family of widths the largest.

    Where that one is not there yet, the next larger at which another method was run.
    """
    scaled = rows["method"].isin(_WIDTH_METHODS)
    keys = [*keys, rows["dense_trial"]]
    widest = rows.groupby([*keys, rows["method"]], dropna=False)["width"].transform("max")
    marks = pd.Series(list(zip(*keys, strict=True)), rows.index)
    others = rows["width"][~scaled].groupby(marks[~scaled]).agg(set).to_dict()
    larger = [
        min((width for width in others.get(mark, ()) if width >= own), default=own)
        for mark, own in zip(marks, widest, strict=True)
    ]
    return rows["width"].where(~scaled, pd.Series(larger, rows.index))


def _dense_rows(rows: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """The benchmark's standard dense model, a row per seed."""
    dense = rows[(rows["level"] == 0) & (rows["width"] == benchmark.width)]
    rank = dense["method"].map(lambda method: [*_DENSE_FROM, method].index(method))
    return dense.iloc[rank.argsort(kind="stable").to_numpy()].drop_duplicates("seed")


def _points(method: str, own: pd.DataFrame, dense: pd.DataFrame) -> pd.DataFrame:
    """A family's rows, the dense model's among them, numbered and measured against it."""
    own = own.assign(member=own["level"])
    if method in _WIDTH_METHODS:
        own = own[own["level"] == (0 if method == WIDTH else 1)]
        widths = sorted(own["width"].unique(), reverse=True)
        is_dense = method == WIDTH and bool(set(dense["width"]) & set(widths[:1]))
        places = {width: n for n, width in enumerate(widths, start=1 - is_dense)}
        own = own.assign(member=own["width"].map(places))
    absent = dense[~dense["seed"].isin(own.loc[own["member"] == 0, "seed"])]
    points = pd.concat([absent.assign(member=0), own]) if len(absent) else own
    points = points.assign(member=points["member"].astype(int))
    if method in _WIDTH_METHODS:
        points["weights_remaining"] = points["weights"] / dense["weights"].dropna().max()
    return points.sort_values(["member", "seed"], kind="stable").reset_index(drop=True)


def rows_of(found: Iterable[Family]) -> pd.DataFrame:
    """The points of families as rows for figures.

    Returns:
      A family's points with `panel`, `benchmark`, `method` and `of_widths`; `noise`, a category by
      rising noise; `is_dense` flags the dense model, `is_optimum` an optimum that differs from it.
    """
    found = list(found)
    marks = sorted((f.benchmark for f in found), key=lambda m: (m.noise_fraction, m.label_noise))
    noises = pd.CategoricalDtype(list(dict.fromkeys(mark.noise for mark in marks)))
    parts = [
        family.points.assign(
            panel=family.benchmark.panel,
            benchmark=family.benchmark.name,
            noise=pd.Series(family.benchmark.noise, family.points.index, noises),
            method=family.method,
            of_widths=family.is_of_widths,
            is_dense=family.points["member"] == 0,
            is_optimum=family.points["member"] == family.marked_optimum(),
        )
        for family in found
    ]
    return summary.concatenated(parts)
