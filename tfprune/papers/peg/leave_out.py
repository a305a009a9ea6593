"""What leave_out shows: dense training on fewer examples, by the sparsity that chose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from tfprune.report.summary import Beside, described
from tfprune.report.tables import Table, mean_std, number_text

DENSE_SUBSET = "dense_subset"


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
      published: what the paper's text says of it without noise, by (model, dataset, width).
    """

    name: str
    branches: tuple[str, str]
    names: tuple[str, str]
    title: str
    what: str
    beside_dense: bool
    published: Mapping[tuple[str, str, float], str]


# fmt: off
TOP_IMPROVED = Pairing(
    "top_improved", ("tie", "rnd"), ("TIE", "RND"),
    "Dense training without the examples that pruning improves the most",
    "without the top-improved examples", True,
    {("lenet_300_100", "mnist", 1): "+0.78", ("resnet20", "cifar10", 1): "+0.77",
     ("vgg16", "cifar10", 1): "+0.34", ("resnet50", "imagenet2012", 1): "+0.69",
     ("resnet32", "cifar100", 1): "no significant difference",
     ("resnet32", "cifar100", 8): "+0.44"},
)
TOP_WORSENED = Pairing(
    "top_worsened", ("worsened_subsample", "random_subsample"), ("with top-worsened", "random"),
    "Dense training with and without the examples that pruning worsens the most",
    "with the top-worsened examples", False,
    {("resnet20", "cifar10", 1): "0 to +0.35", ("vgg16", "cifar10", 1): "0 to +0.54"},
)
# fmt: on
_BRANCHES = [*TOP_IMPROVED.branches, *TOP_WORSENED.branches, DENSE_SUBSET]


class Sets(NamedTuple):
    """The networks of one benchmark that were trained on a part of the examples.

    Attributes:
      family: the trunk, pruned with learning-rate rewinding.
      errors: test errors, percent: a row per (level, seed), a column per branch.
    """

    family: Family
    errors: pd.DataFrame

    def by_seed(self, branch: str, level: int | None) -> dict[int, float]:
        """seed -> test error of a branch from a level of the trunk."""
        known = self.errors[branch].dropna()
        return known[known.index.get_level_values("level") == level].droplevel("level").to_dict()

    def gaps(self, pairing: Pairing) -> pd.Series:
        """Chosen − random, points, by the (level, seed) that have both."""
        chosen, random = (self.errors[branch] for branch in pairing.branches)
        return (chosen - random).dropna().rename("gap")

    def mean_difference(self, pairing: Pairing) -> Difference:
        """Chosen − random, each seed's mean over the improving levels where it has both (PEG D)."""
        gaps = self.gaps(pairing)
        improving = gaps.index.isin(self.family.beating_dense(), level="level")
        return difference(gaps[improving].groupby("seed").mean())


Found = Sequence[Sets]


def load(results: pd.DataFrame, _: Any) -> list[Sets]:
    """What was trained on a part of the examples, a benchmark each, in the order of families."""
    branches = results[results["branch"].ne("")]
    branches = branches.assign(error=100 * (1 - branches["test_accuracy_last"]))
    found = []
    for family in families.load(results):
        own = branches[branches["trial"].isin(family.points["trial"])]
        if family.method == LR_REWIND and len(own):
            errors = own.pivot_table("error", ["level", "seed"], "branch")
            found.append(Sets(family, errors.reindex(columns=_BRANCHES)))
    return found


# ---------------------------------------------------------------- figures
def _paired_rows(pairing: Pairing, found: Found) -> pd.DataFrame:
    """Rows of either set, of their difference seed by seed, and of the trunk's levels."""
    made = []
    for here in found:
        family = here.family
        sets = [
            here.errors[branch].rename(TEST_ERROR).reset_index().assign(set=name)
            for branch, name in zip(pairing.branches, pairing.names, strict=True)
        ]
        levels = pd.DataFrame({"level": family.members})
        rows = pd.concat([*sets, here.gaps(pairing).reset_index(), levels], ignore_index=True)
        made.append(
            rows.assign(
                weights_remaining=rows["level"].map(family.remaining),
                improves=rows["level"].isin(family.beating_dense()),
                benchmark=family.benchmark.name,
                dense=family.mean(TEST_ERROR, 0),
                said=_green_text(here, pairing),
            )
        )
    return summary.concatenated(made)


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
_IMPROVES = shade("improves", "pruning improves generalization", "#CDEBD9")
_SAID = Mark(lambda panel: panel.axes.set_title(panel.rows["said"].iloc[0], fontsize=9))
_ERROR = Axis(TEST_ERROR, "Test error (%)")
# Without ticks at the other levels, which rows have for what is green.
_CHOSEN_AT = replace(
    SPARSITY,
    label="Sparsity at which examples are chosen (%)",
    finish=lambda p: style.sparsity_axis(p.axes, pd.concat([line.values for line in p.lines])),
)


def _with_both(pairing: Pairing, found: Found) -> list[Sets]:
    return [here for here in found if len(here.gaps(pairing))]


def _compared(pairing: Pairing) -> Figure:
    """Two sets by the sparsity that chose them, and below their difference, chosen − random."""
    colors = Scale("set", dict(zip(pairing.names, (style.VERMILLION, style.BLUE), strict=True)))
    markers = Scale("set", dict(zip(pairing.names, "os", strict=True)))
    marks = (*[_DENSE] * pairing.beside_dense, _IMPROVES)
    upper = Lines(_CHOSEN_AT, _ERROR, "level", colors, markers, marks=marks, height=1.5)
    gap = Axis("gap", "\n− ".join(pairing.names) + " (points)")
    lower = Lines(_CHOSEN_AT, gap, "level", style.PURPLE, "D", marks=(ZERO, _IMPROVES, _SAID))
    return Figure(
        pairing.name, pairing.title, partial(_paired_rows, pairing), (upper, lower),
        partial(pairing_reading, pairing), partial(_with_both, pairing), panel="benchmark",
        size=(6.8, 4.6, 5.2),
    )  # fmt: skip


def _with_subset(found: Found) -> list[Sets]:
    return [here for here in found if here.errors[DENSE_SUBSET].notna().any()]


def _subset_rows(found: Found) -> pd.DataFrame:
    """The sparse networks, and dense ones on the subset, by the level that chose it."""
    made = []
    for here in found:
        mark, errors = here.family.benchmark, here.errors[DENSE_SUBSET].rename(TEST_ERROR)
        rows = errors.rename_axis(["member", "seed"]).reset_index()
        rows["weights_remaining"] = rows["member"].map(here.family.remaining)
        made.append(rows.assign(panel=mark.panel, noise=mark.noise, network=DENSE_SUBSET))
    sparse = families.rows_of(here.family for here in found).assign(network="sparse")
    return summary.concatenated([*made, sparse])


def pairing_reading(pairing: Pairing, found: Found) -> str:
    """The mean difference where pruning improves generalization, in one sentence."""
    said = []
    for here in found:
        gap, mark = here.mean_difference(pairing), here.family.benchmark
        what = gap_text(gap) if gap.n else "no such sparsity has both sets"
        unlike = mark.is_noisy or "train_subset" in mark.settings
        known = pairing.published.get((mark.model, mark.dataset, mark.width), "")
        paper = "" if unlike else known
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
        sparse, subset = here.family.by_seed(TEST_ERROR, level), here.by_seed(DENSE_SUBSET, level)
        if (gap := match_or_differ(subset, sparse)).n:
            said.append(f"{gap_text(gap)} with {here.family.benchmark.name}")
    if not said:
        return "No dense network on the subset of an optimally sparse one is there yet."
    return (
        "The test error of a dense network trained on what the optimally sparse one classifies "
        f"correctly, minus the sparse one's: {'; '.join(said)}."
    )


# ---------------------------------------------------------------- tables
def pairing_table(pairing: Pairing, found: Found) -> Table:
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
    rows = [row for here in _with_both(pairing, found) for row in _paired(pairing, here)]
    return tables.of_rows(pairing.name, title, rows, shown, ("model", "noise"))


def _paired(pairing: Pairing, here: Sets) -> Iterator[dict[str, Any]]:
    """A row per level; the paired difference is of the seeds that have both, as `n` says."""
    family, improving = here.family, here.family.beating_dense()
    known = here.errors[list(pairing.branches)].dropna(how="all")
    for level in known.index.unique("level").tolist():
        chosen, random = (here.by_seed(branch, level) for branch in pairing.branches)
        gap = match_or_differ(chosen, random)
        yield {
            "model": family.benchmark.panel,
            "noise": family.benchmark.noise,
            "level": level,
            "remaining": family.remaining(level),
            **described(chosen, "chosen", "mean", "std"),
            **described(random, "random", "mean", "std"),
            "difference_mean": gap.mean,
            "difference_std": gap.std,
            "verdict": gap.verdict,
            "improves": level in improving,
            "n": gap.n,
            "unpaired_seeds": summary.seeds_text(gap.unpaired),
        }


def subset_table(found: Found) -> Table:
    """Sparse and dense-subset networks at the optimal sparsity and at 0% (PEG table 8).

    Each is compared with the paper's, and dense-subset networks with those that chose the subset.
    """
    found = _with_subset(found)
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
    sparse, subset = family.by_seed(TEST_ERROR, level), here.by_seed(DENSE_SUBSET, level)
    where = "0% sparsity" if at == DENSE else "optimal sparsity"
    trunk = (DENSE, DENSE) if at == DENSE else (family.name, LR_REWIND)
    return [
        beside(
            8, family.benchmark, {"at": where, "algorithm": name}, values, method, at,
            details={"weights remaining (%)": family.remaining_text(level)}, against=against,
            seeds=family.seeds,
        )
        for name, method, values, against in (
            (*trunk, sparse, {}),
            ("dense subset", DENSE_SUBSET, subset, sparse),
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
                SPARSITY, _ERROR, "member", looks.NOISE,
                Scale("network", {DENSE_SUBSET: "o", "sparse": "s"}),
                Scale("network", {DENSE_SUBSET: "-", "sparse": "--"},
                      {DENSE_SUBSET: "dense, on the subset"})),
            subset_reading, _with_subset, panel="panel", size=(6.8, 4.6, 3.8)),
        _compared(TOP_WORSENED),
    ),
    tables=(
        partial(pairing_table, TOP_IMPROVED), partial(pairing_table, TOP_WORSENED), subset_table),
)
