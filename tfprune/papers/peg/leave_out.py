"""What leave_out shows: dense training on fewer examples, by the sparsity that chose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tfprune.measures.statistics import Difference, difference, match_or_differ
from tfprune.papers.peg import families, looks
from tfprune.papers.peg.comparisons import beside, mean_at
from tfprune.papers.peg.families import DENSE, LR_REWIND, TEST_ERROR, Benchmark, Family
from tfprune.report import style, summary, tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import ZERO, Axis, Figure, Lines, Mark, Panel, Scale, line_handle, shade
from tfprune.report.readings import gap_text
from tfprune.report.summary import Beside
from tfprune.report.tables import Table, number_text

DENSE_SUBSET = "dense_subset"
_GREEN = "#CDEBD9"


@dataclass(frozen=True)
class Pairing:
    """Two sets of examples to train on that are compared.

    Attributes:
      name: of its figure and table.
      chosen: the branch whose set pruning chose.
      random: the branch whose set is random, of the same size.
      names: what figures call the two.
      title: of its figure.
      what: what is compared, for sentences.
      beside_dense: whether dense training on all examples, where a set is nearly all of them, is
        drawn beside.
      published: what the paper's text says of it without noise, by (model, width).
    """

    name: str
    chosen: str
    random: str
    names: tuple[str, str]
    title: str
    what: str
    beside_dense: bool
    published: Mapping[tuple[str, float], str]


# fmt: off
TOP_IMPROVED = Pairing(
    "top_improved", "tie", "rnd", ("TIE", "RND"),
    "Dense training without the examples that pruning improves the most",
    "without the top-improved examples", True,
    {("lenet_300_100", 1): "+0.78", ("resnet20", 1): "+0.77", ("vgg16", 1): "+0.34",
     ("resnet50", 1): "+0.69", ("resnet32", 1): "no significant difference",
     ("resnet32", 8): "+0.44"},
)
TOP_WORSENED = Pairing(
    "top_worsened", "worsened_subsample", "random_subsample", ("with top-worsened", "random"),
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

    @property
    def benchmark(self) -> Benchmark:
        return self.family.benchmark

    def by_seed(self, branch: str, level: int | None) -> dict[int, float]:
        """seed -> test error in percent, of a branch from a level."""
        here = (self.rows["branch"] == branch) & (self.rows["level"] == level)
        return summary.by_seed(self.rows[here], TEST_ERROR)

    def levels(self, *branches: str) -> list[int]:
        """The levels from which at least one of these branches has a test error."""
        here = self.rows[self.rows["branch"].isin(branches) & self.rows[TEST_ERROR].notna()]
        return sorted(int(level) for level in here["level"].unique())

    def remaining(self, level: int) -> float:
        """Weights remaining of a level of the trunk, mean over seeds; NaN where unknown."""
        return mean_at(self.family, "weights_remaining", level)

    def gaps(self, pairing: Pairing) -> pd.DataFrame:
        """Chosen − random, points of test error: a row per seed, a column per level with a pair."""
        levels = self.levels(pairing.chosen, pairing.random)
        chosen, random = (
            pd.DataFrame({n: pd.Series(self.by_seed(branch, n), dtype=float) for n in levels})
            for branch in (pairing.chosen, pairing.random)
        )
        return (chosen - random).dropna(axis=1, how="all")

    def mean_difference(self, pairing: Pairing) -> Difference:
        """Chosen − random, each seed's mean over the improving levels where it has both (PEG D)."""
        gaps = self.gaps(pairing)
        green = [level for level in gaps if level in self.family.beating_dense()]
        return difference(gaps[green].mean(axis=1)) if green else difference([])


Found = Sequence[Sets]


def load(results: pd.DataFrame, _: Any) -> list[Sets]:
    """What was trained on a part of the examples, a benchmark each, in the order of families."""
    branches = results[results["branch"].ne("")]
    branches = branches.assign(**{TEST_ERROR: 100 * (1 - branches["test_accuracy_last"])})
    return [
        Sets(family, own)
        for family in families.families(results)
        if family.method == LR_REWIND
        if len(own := branches[branches["trial"].isin(_trials(family))])
    ]


def _trials(family: Family) -> list[str]:
    """The trials of a family's own rows: a dense row may be another family's."""
    own = family.points[family.points["method"] == family.method]
    return [str(trial) for trial in own["trial"].unique()]


def _with(pairing: Pairing) -> Callable[[Found], list[Sets]]:
    """Those with a level where some seed has both sets."""
    return lambda found: [here for here in found if here.gaps(pairing).size]


def _with_subset(found: Found) -> list[Sets]:
    return [here for here in found if here.levels(DENSE_SUBSET)]


# ---------------------------------------------------------------- figures
def _paired_rows(pairing: Pairing) -> Callable[[Found], pd.DataFrame]:
    """Rows of either set, of their difference seed by seed, and of the trunk's levels."""

    def rows_of(found: Found) -> pd.DataFrame:
        made = []
        for here in found:
            improves = here.family.beating_dense()
            sets = [
                here.rows[here.rows["branch"] == branch].assign(set=name)
                for name, branch in zip(
                    pairing.names, (pairing.chosen, pairing.random), strict=True
                )
            ]
            gaps = here.gaps(pairing).rename_axis("seed").reset_index()
            gaps = gaps.melt("seed", var_name="level", value_name="difference")
            trunk = pd.DataFrame({"level": here.family.members})
            rows = pd.concat([*sets, gaps, trunk], ignore_index=True)
            made.append(
                rows.assign(
                    set=rows["set"].fillna(""),
                    weights_remaining=rows["level"].map(here.remaining),
                    improves=rows["level"].isin(improves),
                    benchmark=here.benchmark.name,
                    dense=mean_at(here.family, TEST_ERROR, 0),
                    said=_green_text(here, pairing),
                )
            )
        return pd.concat(made, ignore_index=True) if made else pd.DataFrame()

    return rows_of


def _green_text(here: Sets, pairing: Pairing) -> str:
    gap = here.mean_difference(pairing)
    if gap.n:
        return f"mean in green: {gap_text(gap)}"
    if len(here.family.by_seed(TEST_ERROR, 0)) < 2:
        return "one seed cannot tell where generalization improves"
    return "no sparsity with both sets improves generalization"


def _draw_dense(panel: Panel) -> None:
    dense = float(panel.rows["dense"].iloc[0])
    panel.axes.axhline(dense, color=style.BLACK, linestyle="--", linewidth=1.1)


_DENSE = Mark(_draw_dense, lambda: line_handle("dense, all examples", dash="--"))
_IMPROVES = shade("improves", "pruning improves generalization", _GREEN)
_SAID = Mark(lambda panel: panel.axes.set_title(panel.rows["said"].iloc[0], fontsize=9))


def _compared(pairing: Pairing) -> Figure:
    """Two sets by the sparsity that chose them, and below their difference, chosen − random."""
    colors = dict(zip(pairing.names, (style.VERMILLION, style.BLUE), strict=True))
    markers = dict(zip(pairing.names, "os", strict=True))
    x = looks.sparsity("Sparsity at which examples are chosen (%)")
    gap = Axis("difference", "\n− ".join(pairing.names) + " (points)")
    error, dense = Axis(TEST_ERROR, "Test error (%)"), (_DENSE,) * pairing.beside_dense
    upper = Lines(
        x,
        error,
        "level",
        Scale("set", colors),
        Scale("set", markers),
        marks=(*dense, _IMPROVES),
        height=1.5,
    )
    lower = Lines(x, gap, "level", style.PURPLE, "D", marks=(ZERO, _IMPROVES, _SAID))
    return Figure(
        pairing.name, pairing.title, _paired_rows(pairing), (upper, lower),
        lambda found: pairing_reading(found, pairing), _with(pairing), panel="benchmark",
        size=(6.8, 4.6, 5.2),
    )  # fmt: skip


def _subset_rows(found: Found) -> pd.DataFrame:
    """Dense networks on the subset, by the level that chose it, and the sparse ones."""
    made = []
    for here in found:
        sparse = families.rows_of([here.family]).assign(network="sparse")
        subset = here.rows[here.rows["branch"] == DENSE_SUBSET]
        about = sparse[["panel", "noise"]].iloc[0].to_dict()
        left = subset["level"].map(here.remaining)
        subset = subset.assign(**about, network=DENSE_SUBSET, weights_remaining=left)
        made += [subset.assign(member=subset["level"]), sparse]
    if not made:
        return pd.DataFrame()
    noises = families.noises(here.family for here in found)
    rows = pd.concat(made, ignore_index=True)
    return rows.assign(noise=pd.Categorical(rows["noise"], noises))


def pairing_reading(found: Found, pairing: Pairing) -> str:
    """The mean difference where pruning improves generalization, in one sentence."""
    said = []
    for here in found:
        gap, mark = here.mean_difference(pairing), here.benchmark
        what = gap_text(gap) if gap.n else "no such sparsity has both sets"
        paper = "" if mark.is_noisy else pairing.published.get((mark.model, mark.width), "")
        said.append(f"{what} with {mark.name}" + (f" ({paper} in the paper)" if paper else ""))
    return (
        "Where pruning improves generalization, the test error of dense training "
        f"{pairing.what}, minus that on as many random ones: {'; '.join(said)}."
    )


def subset_reading(found: Found) -> str:
    """Dense training on the subset against the sparse network at its optimum, in one sentence."""
    said = []
    for here in found:
        level = here.family.optimal()
        sparse = here.family.by_seed(TEST_ERROR, level)
        gap = match_or_differ(here.by_seed(DENSE_SUBSET, level), sparse)
        if gap.n:
            said.append(f"{gap_text(gap)} with {here.benchmark.name}")
    if not said:
        return "No dense network on the subset of an optimally sparse one is there yet."
    return (
        "The test error of a dense network trained on what the optimally sparse one classifies "
        f"correctly, minus the sparse one's: {'; '.join(said)}."
    )


# ---------------------------------------------------------------- tables
def pairing_table(pairing: Pairing) -> Callable[[Found], Table | None]:
    """Test errors of both sets at every level, and chosen − random seed by seed."""
    chosen, random = pairing.names
    title = (
        f"Test error of dense training {pairing.what} ({chosen}) and on as many random ones "
        f"({random}), by the level that chose; higher or lower where the mean difference is at "
        "least one std over seeds away from 0"
    )

    def error(name: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: number_text(row[f"{name}_mean"], row[f"{name}_std"], 2)

    shown: dict[str, Any] = {
        "model": "model",
        "noise": "noise",
        "level": "level",
        "sparsity (%)": lambda row: tables.sparsity_percent(1 - row["remaining"]),
        f"{chosen} error (%)": error("chosen"),
        f"{random} error (%)": error("random"),
        "difference (points)": error("difference"),
        "it is": "verdict",
        "pruning improves": lambda row: "yes" * row["improves"],
        "seeds": "n",
        "unpaired seeds": "unpaired_seeds",
    }

    def make(found: Found) -> Table | None:
        rows = [
            _paired(here, pairing, level)
            for here in _with(pairing)(found)
            for level in here.levels(pairing.chosen, pairing.random)
        ]
        labels = ("model", "noise")
        return tables.of_rows(pairing.name, title, rows, shown, labels) if rows else None

    return make


def _paired(here: Sets, pairing: Pairing, level: int) -> dict[str, Any]:
    """A row; the paired difference is of the seeds that have both, as `n` says."""
    chosen, random = (here.by_seed(branch, level) for branch in (pairing.chosen, pairing.random))
    gap = match_or_differ(chosen, random)
    return {
        "model": here.benchmark.panel,
        "noise": here.benchmark.noise,
        "level": level,
        "remaining": here.remaining(level),
        **summary.described(chosen, "chosen", "mean", "std"),
        **summary.described(random, "random", "mean", "std"),
        "difference_mean": gap.mean,
        "difference_std": gap.std,
        "verdict": gap.verdict,
        "improves": level in here.family.beating_dense(),
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


def _subset(here: Sets, at: str) -> list[Beside]:
    family = here.family
    level = 0 if at == DENSE else family.optimal()
    where = "0% sparsity" if at == DENSE else "optimal sparsity"
    sparse, subset = family.by_seed(TEST_ERROR, level), here.by_seed(DENSE_SUBSET, level)
    details = {"weights remaining (%)": families.remaining_text(family, level)}
    trunk = (DENSE, DENSE) if at == DENSE else (family.name, LR_REWIND)
    return [
        beside(
            8, here.benchmark, {"at": where, "algorithm": name}, values, method, at,
            details=details, against=against,
            missing=tuple(sorted(set(family.seeds) - set(values))),
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
                looks.sparsity("Sparsity (%)"), Axis(TEST_ERROR, "Test error (%)"), "member",
                looks.NOISE,
                Scale("network", {DENSE_SUBSET: "o", "sparse": "s"}),
                Scale("network", {DENSE_SUBSET: "-", "sparse": "--"},
                      {DENSE_SUBSET: "dense, on the subset"})),
            subset_reading, _with_subset, panel="panel", size=(6.8, 4.6, 3.8)),
        _compared(TOP_WORSENED),
    ),
    tables=(pairing_table(TOP_IMPROVED), pairing_table(TOP_WORSENED), subset_table),
)
