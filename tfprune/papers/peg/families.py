"""Families of models in PEG, and their optimal member.

A family is what one method makes of one benchmark: the levels of an iterative pruning, the cycles
of extended dense training, dense networks of ever smaller width. The dense model of the benchmark
belongs to each of its families (PEG figure 5, table 6), and may be the optimal one of it, but not
of a family of widths. Two results differ, and a mark is drawn, by PEG section 2's rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tfprune.measures.statistics import PairedDifference, first_lowest, match_or_differ
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
    DENSE: "dense",
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
        parts += [f"width {self.width:g}"] * (self.width != 1)
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
        `test_error_percent` and `val_error_percent`, at the last epoch; and for figures
        `panel`, `benchmark` and `noise` in words, `of_widths`, `is_dense`.
      seeds: all seeds that the benchmark has, so that a missing one can be named.
    """

    benchmark: Benchmark
    method: str
    points: pd.DataFrame = field(repr=False, compare=False)
    seeds: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return METHOD_NAMES[self.method]

    @property
    def is_of_widths(self) -> bool:
        """Whether its members are dense networks of different widths."""
        return self.method in _WIDTH_METHODS

    @property
    def members(self) -> list[int]:
        return self.points["member"].unique().tolist()

    @property
    def is_validated(self) -> bool:
        """Whether there is a validation split to choose by."""
        return bool(self.points[VAL_ERROR].notna().any())

    def rows(self, member: int | None) -> pd.DataFrame:
        """One member's rows, by seed; none of no member."""
        return self.points[self.points["member"] == (-1 if member is None else member)]

    def by_seed(self, column: str, member: int | None) -> dict[int, float]:
        """seed -> a member's value of a column, seeds without one left out; {} for no member."""
        return summary.by_seed(self.rows(member), column)

    def mean(self, column: str, member: int | None) -> float:
        """A member's mean over seeds; NaN for no member."""
        return float(self.rows(member)[column].mean())

    def optimal(self, with_dense: bool = True) -> int | None:
        """The member of best mean validation error over seeds; of equals, the least pruned.

        One level for all seeds: the paper does not say whether it chooses by seed. By test error
        where there is no validation split (see `selection_note`); None where there is neither.
        Where a seed is missing, the others are still compared with their own dense models.

        Of a family of widths, the best of the narrowed ones: table 7 prints larger errors for width
        scaling than table 6 for the dense models where narrowing does not help (VGG-16 6.67 and
        6.6%, LeNet with 5% noise 5.63 and 5.3%), so the full width is not one of them.

        Args:
          with_dense: whether the dense model may be the optimal one.
        """
        column = VAL_ERROR if self.is_validated else TEST_ERROR
        errors = self.points.pivot(index="seed", columns="member", values=column)
        if self.by_seed(column, 0):
            errors = errors.sub(errors[0], axis=0)
        means = errors.mean().dropna()
        means = means[means.index.isin(self._candidates(with_dense))]
        return int(means.index[first_lowest(means)]) if len(means) else None

    def _candidates(self, with_dense: bool) -> list[int]:
        """The members to choose among."""
        if not self.is_of_widths:
            return [member for member in self.members if member or with_dense]
        return self.points.query("width < @self.benchmark.width")["member"].unique().tolist()

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

    def missing(self, seeds: Iterable[int]) -> str:
        """The benchmark's other seeds, in words."""
        return summary.seeds_text(set(self.seeds) - set(seeds))

    def remaining(self, member: int | None) -> float:
        """Weights remaining of a member, of the full dense model's; NaN for no member."""
        return self.mean("weights_remaining", member)

    def remaining_text(self, member: int | None) -> str:
        """The same in %; "" for no member."""
        return percent_text(self.remaining(member))

    def place_text(self, member: int | None) -> str:
        """Where a member is, "" for no member: "41%"; "1380 epochs" of longer dense training."""
        if self.method == EXTENDED_DENSE:
            epochs = self.mean("total_epochs", member)
            return "" if math.isnan(epochs) else f"{epochs:g} epochs"
        remaining = self.remaining_text(member)
        return f"{remaining}%" if remaining else ""


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
    """benchmark -> method -> its family, in their order; `dense` is the dense model alone."""
    table: dict[Benchmark, dict[str, Family]] = {}
    for family in found:
        here = table.setdefault(family.benchmark, {})
        here[family.method] = family
        here.setdefault(DENSE, replace(family, method=DENSE, points=family.rows(0)))
    return table


def select(
    found: Iterable[Family], *methods: str, any_of: Sequence[str] = (), noisy: bool | None = None
) -> list[Family]:
    """Families of these methods, default all, on benchmarks where every one of them was run.

    With `any_of`, where one of those was run; with `noisy`, with (True) or without label noise.
    """
    there = by_benchmark(found := list(found))
    return [
        family
        for family in found
        if noisy in (None, family.benchmark.is_noisy)
        and (not methods or family.method in methods)
        and there[family.benchmark].keys() >= set(methods)
        and (not any_of or not there[family.benchmark].keys().isdisjoint(any_of))
    ]


# ---------------------------------------------------------------- from results.csv
def load(results: pd.DataFrame, _: Any = None) -> list[Family]:
    """Every family of an experiment's results.

    Settings besides dataset, model, noise, criterion and retraining that a sweep varied make
    benchmarks of their own, and so do trials that results.csv has no column to tell apart.

    Args:
      results: rows of results.csv of one experiment; branches are left out.

    Returns:
      Ordered by data and model, noise, and method as in `METHOD_NAMES`.
    """
    rows = _measured(results[results["branch"] == ""])
    keys = _benchmark_keys(rows)
    extras = [str(name) for name in keys if name not in BASE]
    names = ["dataset", "model", "width", *extras, "noise_fraction", "label_noise"]
    found = []
    for key, mine in rows.groupby([keys[name] for name in names], dropna=False):
        of: dict[str, Any] = dict(zip(names, key, strict=True))
        extra = tuple((n, of[n]) for n in extras if trials.shown_value(of[n]))
        benchmark = Benchmark(**{name: of[name] for name in BASE}, extra=extra)
        seeds = tuple(sorted(mine["seed"].unique().tolist()))
        for method in [name for name in METHOD_NAMES if mine["method"].eq(name).any()]:
            found.append(Family(benchmark, method, _points(method, mine, benchmark), seeds))
    return found


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with errors in % and the epochs trained so far."""
    rows = rows.sort_values(["trial", "seed", "level"])
    rank = rows["method"].map(list(METHOD_NAMES).index)
    rows = rows.iloc[rank.argsort(kind="stable")].reset_index(drop=True)
    epochs = rows["train_epochs"].astype("float64")
    of_run = epochs.groupby([rows["trial"], rows["seed"]])
    # A level that is missing leaves the sum unknown.
    total = of_run.cumsum().where(of_run.cumcount() == rows["level"])
    one_shot = of_run.transform("first") + epochs.where(rows["level"] > 0, 0.0)
    return rows.assign(
        total_epochs=total.where(rows["method"] != ONE_SHOT, one_shot),
        **{TEST_ERROR: 100 * (1 - rows["test_accuracy_last"])},
        **{VAL_ERROR: 100 * (1 - rows["val_accuracy"])},
    )


def _benchmark_keys(rows: pd.DataFrame) -> pd.DataFrame:
    """What says the benchmark of every row: columns `BASE`, and those of `Benchmark.extra`."""
    noise = rows["label_noise"].where(rows["noise_fraction"] > 0, "none")
    keys = rows[list(BASE)].assign(label_noise=noise)
    # Families start from a dense network, the widest of a family of widths.
    start = [*(keys[name] for name in BASE if name != "width"), rows["dense_trial"]]
    keys["width"] = rows["width"].groupby(start).transform("max")

    def several(name: str, *more: str) -> pd.Series:
        """Whether the rows that agree with a row in `keys` and in `more` have several values."""
        agree = [*(keys[key] for key in keys), *(rows[key] for key in more)]
        groups = rows[name].groupby(agree, dropna=False)
        return groups.transform("nunique", dropna=False) > 1

    # What a sweep varied: settings that differ within one method; a method says how it retrains.
    known = [name for name in trials.settings(rows) if name not in (*BASE, "retrain")]
    swept = [
        name
        for name in known
        # A part of the data is another benchmark also where nothing else is there.
        if name == "train_subset" or several(str(name), "method", "width").any()
    ]
    keys = keys.join(rows[swept])
    for name, more in (("dense_trial", ()), ("trial", ("method", "width"))):
        if (apart := several(name, *more)).any():
            keys[name] = rows[name].where(apart, "")
    return keys


def _points(method: str, rows: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """A family's rows, of all rows of its benchmark, numbered; the dense model's among them."""
    own = rows[rows["method"] == method]
    own = own.assign(member=own["level"])
    if method in _WIDTH_METHODS:
        own = own[own["level"] == int(method == WIDTH_MATCHED)]
        place = own["width"].rank(method="dense", ascending=False).astype(int)
        # The full width, trained as usual, is the dense model; trained for longer it is not.
        is_dense = method == WIDTH and own["width"].eq(benchmark.width).any()
        own = own.assign(member=place - int(is_dense))
    dense = rows[(rows["level"] == 0) & (rows["width"] == benchmark.width)].assign(member=0)
    points = pd.concat([own, dense]).drop_duplicates(["member", "seed"])
    if method in _WIDTH_METHODS:
        points["weights_remaining"] = points["weights"] / dense["weights"].max()
    points = points.sort_values(["member", "seed"], kind="stable", ignore_index=True)
    return points.assign(
        panel=benchmark.panel,
        benchmark=benchmark.name,
        noise=benchmark.noise,
        method=method,
        of_widths=method in _WIDTH_METHODS,
        is_dense=points["member"] == 0,
    )


def rows_of(found: Iterable[Family]) -> pd.DataFrame:
    """The points of families as rows for figures; `is_optimum` flags `Family.marked_optimum`."""
    parts = ((family.points, family.marked_optimum()) for family in found)
    return summary.concatenated(
        [points.assign(is_optimum=points["member"] == member) for points, member in parts]
    )
