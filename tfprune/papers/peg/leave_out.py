"""What leave_out shows: dense training on fewer examples, by the sparsity that chose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from tfprune.measures.statistics import Difference, difference, match_or_differ
from tfprune.papers.peg import families, looks
from tfprune.papers.peg.comparisons import beside
from tfprune.papers.peg.families import DENSE, LR_REWIND, TEST_ERROR, Family
from tfprune.report import style, summary, tables
from tfprune.report.accuracy import SPARSITY
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import ZERO, Axis, Figure, Lines, Mark, Panel, Scale, line_handle, shade
from tfprune.report.readings import gap_text
from tfprune.report.summary import Beside
from tfprune.report.tables import Table, mean_std, number_text

DENSE_SUBSET = "dense_subset"
_GREEN = "#CDEBD9"


class Pairing(NamedTuple):
    """Two sets of examples to train on that are compared: chosen by pruning, and random ones.

    Attributes:
      name: of its figure and table.
      branches: chosen, and random of the same size.
      names: what figures call the two.
      title: of its figure.
      what: what is compared, for sentences.
      beside_dense: whether dense training on all examples, where a set is nearly all of them, is
        drawn beside.
      published: what the paper's text says of it without noise, by (model, width).
    """

    name: str
    branches: tuple[str, str]
    names: tuple[str, str]
    title: str
    what: str
    beside_dense: bool
    published: Mapping[tuple[str, float], str]


# fmt: off
TOP_IMPROVED = Pairing(
    "top_improved", ("tie", "rnd"), ("TIE", "RND"),
    "Dense training without the examples that pruning improves the most",
    "without the top-improved examples", True,
    {("lenet_300_100", 1): "+0.78", ("resnet20", 1): "+0.77", ("vgg16", 1): "+0.34",
     ("resnet50", 1): "+0.69", ("resnet32", 1): "no significant difference",
     ("resnet32", 8): "+0.44"},
)
TOP_WORSENED = Pairing(
    "top_worsened", ("worsened_subsample", "random_subsample"), ("with top-worsened", "random"),
    "Dense training with and without the examples that pruning worsens the most",
    "with the top-worsened examples", False,
    {("resnet20", 1): "0 to +0.35", ("vgg16", 1): "0 to +0.54"},
)
# fmt: on


@dataclass(frozen=True, eq=False)
class Sets:
    """The networks of one benchmark that were trained on a part of the examples.

    Attributes:
      family: the trunk, pruned with learning-rate rewinding.
      rows: those of the branches, with `test_error_percent`.
    """

    family: Family
    rows: pd.DataFrame

    def errors(self, branch: str) -> pd.DataFrame:
        """Test errors of a branch, percent: a row per seed, a column per level that has one."""
        return self.rows[self.rows["branch"] == branch].pivot_table(TEST_ERROR, "seed", "level")

    def remaining(self, level: int) -> float:
        """Weights remaining of a level of the trunk, mean over seeds; NaN where unknown."""
        return self.family.mean("weights_remaining", level)


class Pair(NamedTuple):
    """Both sets of a pairing on one benchmark: test errors as of `Sets.errors`."""

    pairing: Pairing
    sets: Sets
    chosen: pd.DataFrame
    random: pd.DataFrame

    @property
    def gaps(self) -> pd.DataFrame:
        """Chosen − random, points: a row per seed, a column per level where some seed has both."""
        return (self.chosen - self.random).dropna(axis=1, how="all")

    def mean_difference(self) -> Difference:
        """Chosen − random, each seed's mean over the improving levels where it has both (PEG D)."""
        green = self.gaps.columns.intersection(self.sets.family.beating_dense())
        return difference(self.gaps[green].mean(axis=1))


Found = Sequence[Sets]


def load(results: pd.DataFrame, _: Any) -> list[Sets]:
    """What was trained on a part of the examples, a benchmark each, in the order of families."""
    branches = results[results["branch"].ne("")]
    branches = branches.assign(**{TEST_ERROR: 100 * (1 - branches["test_accuracy_last"])})
    return [
        Sets(family, own)
        for family in families.load(results)
        if family.method == LR_REWIND
        # A dense row may be another family's.
        if len(trials := family.points.loc[family.points["method"] == family.method, "trial"])
        if len(own := branches[branches["trial"].isin(trials)])
    ]


def pairs(found: Found, pairing: Pairing) -> list[Pair]:
    """Those of benchmarks with a level where some seed has both sets."""
    made = [Pair(pairing, here, *map(here.errors, pairing.branches)) for here in found]
    return [pair for pair in made if pair.gaps.size]


def _with_subset(found: Found) -> list[Sets]:
    return [here for here in found if here.errors(DENSE_SUBSET).size]


# ---------------------------------------------------------------- figures
def _paired_rows(found: Sequence[Pair]) -> pd.DataFrame:
    """Rows of either set, of their difference seed by seed, and of the trunk's levels."""
    made = []
    for pair in found:
        family, names = pair.sets.family, pair.pairing.names
        kinds = (
            (pair.chosen, TEST_ERROR, names[0]),
            (pair.random, TEST_ERROR, names[1]),
            (pair.gaps, "difference", ""),
        )
        parts = [
            table.reset_index().melt("seed", var_name="level", value_name=column).assign(set=name)
            for table, column, name in kinds
        ]
        trunk = pd.DataFrame({"level": family.members, "set": ""})
        rows = pd.concat([*parts, trunk], ignore_index=True)
        made.append(
            rows.assign(
                weights_remaining=rows["level"].map(pair.sets.remaining),
                improves=rows["level"].isin(family.beating_dense()),
                benchmark=family.benchmark.name,
                dense=family.mean(TEST_ERROR, 0),
                said=_green_text(pair),
            )
        )
    return summary.concatenated(made)


def _green_text(pair: Pair) -> str:
    gap = pair.mean_difference()
    if gap.n:
        return f"mean in green: {gap_text(gap)}"
    if len(pair.sets.family.by_seed(TEST_ERROR, 0)) < 2:
        return "one seed cannot tell where generalization improves"
    return "no sparsity with both sets improves generalization"


def _draw_dense(panel: Panel) -> None:
    dense = float(panel.rows["dense"].iloc[0])
    panel.axes.axhline(dense, color=style.BLACK, linestyle="--", linewidth=1.1)


_DENSE = Mark(_draw_dense, lambda: line_handle("dense, all examples", dash="--"))
_IMPROVES = shade("improves", "pruning improves generalization", _GREEN)
_SAID = Mark(lambda panel: panel.axes.set_title(panel.rows["said"].iloc[0], fontsize=9))


def _ticks_where_chosen(panel: Panel) -> None:
    """Not at the other levels, which rows have for what is green."""
    style.sparsity_axis(panel.axes, pd.concat([line.values for line in panel.lines]))


def _compared(pairing: Pairing) -> Figure:
    """Two sets by the sparsity that chose them, and below their difference, chosen − random."""
    colors, markers = (
        Scale("set", dict(zip(pairing.names, values, strict=True)))
        for values in ((style.VERMILLION, style.BLUE), "os")
    )
    label = "Sparsity at which examples are chosen (%)"
    x = replace(SPARSITY, label=label, finish=_ticks_where_chosen)
    gap = Axis("difference", "\n− ".join(pairing.names) + " (points)")
    error, dense = Axis(TEST_ERROR, "Test error (%)"), (_DENSE,) * pairing.beside_dense
    upper = Lines(x, error, "level", colors, markers, marks=(*dense, _IMPROVES), height=1.5)
    lower = Lines(x, gap, "level", style.PURPLE, "D", marks=(ZERO, _IMPROVES, _SAID))
    return Figure(
        pairing.name, pairing.title, _paired_rows, (upper, lower), pairing_reading,
        lambda found: pairs(found, pairing), panel="benchmark", size=(6.8, 4.6, 5.2),
    )  # fmt: skip


def _subset_rows(found: Found) -> pd.DataFrame:
    """The sparse networks, and dense ones on the subset, by the level that chose it."""
    sparse = families.rows_of([here.family for here in found]).assign(network="sparse")
    made = []
    for here in found:
        subset = here.rows[here.rows["branch"] == DENSE_SUBSET]
        left, mark = subset["level"].map(here.remaining), here.family.benchmark
        subset = subset.assign(panel=mark.panel, noise=mark.noise, weights_remaining=left)
        made.append(subset.assign(member=subset["level"], network=DENSE_SUBSET))
    if not made:
        return pd.DataFrame()
    rows = pd.concat([*made, sparse], ignore_index=True)
    return rows.assign(noise=rows["noise"].astype(sparse["noise"].dtype))


def pairing_reading(found: Sequence[Pair]) -> str:
    """The mean difference where pruning improves generalization, in one sentence."""
    said = []
    for pair in found:
        gap, mark = pair.mean_difference(), pair.sets.family.benchmark
        what = gap_text(gap) if gap.n else "no such sparsity has both sets"
        unlike = mark.is_noisy or "train_subset" in mark.settings
        paper = "" if unlike else pair.pairing.published.get((mark.model, mark.width), "")
        said.append(f"{what} with {mark.name}" + (f" ({paper} in the paper)" if paper else ""))
    return (
        "Where pruning improves generalization, the test error of dense training "
        f"{found[0].pairing.what}, minus that on as many random ones: {'; '.join(said)}."
    )


def subset_reading(found: Found) -> str:
    """Dense training on the subset against the sparse network at its optimum, in one sentence."""
    said = []
    for here in found:
        _, sparse, subset = _at(here, "optimal")
        gap = match_or_differ(subset, sparse)
        if gap.n:
            said.append(f"{gap_text(gap)} with {here.family.benchmark.name}")
    if not said:
        return "No dense network on the subset of an optimally sparse one is there yet."
    return (
        "The test error of a dense network trained on what the optimally sparse one classifies "
        f"correctly, minus the sparse one's: {'; '.join(said)}."
    )


# ---------------------------------------------------------------- tables
def pairing_table(pairing: Pairing, found: Found) -> Table | None:
    """Test errors of both sets at every level, and chosen − random seed by seed."""
    chosen, random = pairing.names
    title = (
        f"Test error of dense training {pairing.what} ({chosen}) and on as many random ones "
        f"({random}), by the level that chose; higher or lower where the mean difference is at "
        "least one std over seeds away from 0"
    )

    shown: dict[str, Any] = {
        "model": "model",
        "noise": "noise",
        "level": "level",
        "sparsity (%)": lambda row: tables.sparsity_percent(1 - row["remaining"]),
        f"{chosen} error (%)": mean_std("chosen", number_text),
        f"{random} error (%)": mean_std("random", number_text),
        "difference (points)": mean_std("difference", number_text),
        "it is": "verdict",
        "pruning improves": lambda row: "yes" * row["improves"],
        "seeds": "n",
        "unpaired seeds": "unpaired_seeds",
    }
    rows = [row for pair in pairs(found, pairing) for row in _paired(pair)]
    labels = ("model", "noise")
    return tables.of_rows(pairing.name, title, rows, shown, labels) if rows else None


def _paired(pair: Pair) -> Iterator[dict[str, Any]]:
    """A row per level; the paired difference is of the seeds that have both, as `n` says."""
    family, mark = pair.sets.family, pair.sets.family.benchmark
    for level in sorted({*pair.chosen, *pair.random}):
        chosen, random = (known.get(level, {}) for known in (pair.chosen, pair.random))
        gap = match_or_differ(chosen, random)
        yield {
            "model": mark.panel,
            "noise": mark.noise,
            "level": level,
            "remaining": pair.sets.remaining(level),
            **summary.described(chosen, "chosen", "mean", "std"),
            **summary.described(random, "random", "mean", "std"),
            "difference_mean": gap.mean,
            "difference_std": gap.std,
            "verdict": gap.verdict,
            "improves": level in family.beating_dense(),
            "n": gap.n,
            "unpaired_seeds": summary.seeds_text(gap.unpaired),
        }


def subset_table(found: Found) -> Table | None:
    """Sparse and dense-subset networks at the optimal sparsity and at 0% (PEG table 8).

    Each is compared with the paper's, and dense-subset networks with those that chose the subset.
    """
    found = _with_subset(found)
    if not found:
        return None
    title = (
        "Test error of networks pruned with learning-rate rewinding, and of dense ones trained on "
        "what these, the trunk, classify correctly (dense subset); "
        + families.selection_note(here.family for here in found)
    )
    rows = [row for here in found for at in ("optimal", DENSE) for row in _subset(here, at)]
    return summary.beside_table("dense_subset", title, rows, against="trunk")


def _at(here: Sets, at: str) -> tuple[int | None, dict[int, float], dict[int, float]]:
    """The level `optimal` or `dense`, and test errors there by seed: sparse ones, on the subset."""
    level = 0 if at == DENSE else here.family.optimal()
    rows = here.rows[(here.rows["branch"] == DENSE_SUBSET) & (here.rows["level"] == level)]
    return level, here.family.by_seed(TEST_ERROR, level), summary.by_seed(rows, TEST_ERROR)


def _subset(here: Sets, at: str) -> list[Beside]:
    family = here.family
    level, sparse, subset = _at(here, at)
    where = "0% sparsity" if at == DENSE else "optimal sparsity"
    trunk = (DENSE, DENSE) if at == DENSE else (family.name, LR_REWIND)
    return [
        beside(
            8, family.benchmark, {"at": where, "algorithm": name}, values, method, at,
            details={"weights remaining (%)": family.remaining_text(level)}, against=against,
            seeds=family.seeds,
        )
        for (name, method), values, against in (
            (trunk, sparse, {}),
            (("dense subset", DENSE_SUBSET), subset, sparse),
        )
    ]  # fmt: skip


# fmt: off
LEAVE_OUT = Experiment(
    "leave_out",
    load,
    figures=(
        _compared(TOP_IMPROVED),
        Figure(
            "dense_subset", "Dense training on what the sparse network classifies correctly",
            _subset_rows,
            Lines(
                SPARSITY, Axis(TEST_ERROR, "Test error (%)"), "member",
                looks.NOISE,
                Scale("network", {DENSE_SUBSET: "o", "sparse": "s"}),
                Scale("network", {DENSE_SUBSET: "-", "sparse": "--"},
                      {DENSE_SUBSET: "dense, on the subset"})),
            subset_reading, _with_subset, panel="panel", size=(6.8, 4.6, 3.8)),
        _compared(TOP_WORSENED),
    ),
    tables=(
        partial(pairing_table, TOP_IMPROVED), partial(pairing_table, TOP_WORSENED), subset_table),
)
