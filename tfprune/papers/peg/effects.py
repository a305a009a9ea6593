"""What example_effects shows: how the training loss of easy and hard examples (EL2N) changes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from tfprune import files
from tfprune.measures.example_groups import (
    GroupLossChange,
    group_loss_change,
    jaccard,
    jaccard_baseline,
    percentile_groups,
    top_fraction,
)
from tfprune.measures.statistics import correlation, difference
from tfprune.papers.peg import families
from tfprune.papers.peg.comparisons import printed
from tfprune.papers.peg.families import (
    EXTENDED_DENSE,
    LR_REWIND,
    ONE_SHOT,
    TEST_ERROR,
    WIDTH,
    WIDTH_MATCHED,
    Benchmark,
    Family,
)
from tfprune.papers.peg.looks import noise_colors
from tfprune.report import readings, style, summary, tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import ZERO, Axis, Bars, Figure, Lines, Scale
from tfprune.report.summary import Beside
from tfprune.report.tables import Table

# M percentile groups by EL2N (PEG 3), and how many of them are its "top 20%".
GROUPS = 20
_HARD = 0.2
# The most affected examples whose overlap is table 3 (PEG I).
AFFECTED = 0.1
# Table 3 prints no std but "at most 0.03".
_LARGEST_PRINTED_STD = 0.03
# Levels that figures 18 to 20 show.
_SHOWN = 5
_CHOSEN = {
    "optimal sparsity": Family.optimal,
    "highest sparsity that beats dense": Family.highest_beating_dense,
}
_MATCHED = {ONE_SHOT: "one-shot", WIDTH_MATCHED: "width"}


@dataclass(frozen=True, eq=False)
class Effects:
    """What is known of the training examples of one benchmark.

    Attributes:
      benchmark: what is learned.
      families: by method.
      dense: losses of the standard dense models, nats: a row per example, by its position in the
        dataset, a column per seed, NaN where a seed held the example out.
      groups: the EL2N group of each, likewise, by each seed's own scores; -1 for none.
      folder: where the files of the others are.
    """

    benchmark: Benchmark
    families: Mapping[str, Family]
    dense: pd.DataFrame
    groups: pd.DataFrame
    folder: epath.Path

    def losses(self, method: str, member: int | None) -> pd.DataFrame:
        """Those of a member of a family, as `dense`; empty for no member."""
        rows = self.families[method].rows(member)
        return read_by_seed(self.folder, rows, "examples", "losses").reindex(self.dense.index)

    def change(self, method: str, member: int | None) -> Change | None:
        """What one member of a family does to each group; None where that is not measured."""
        after = self.losses(method, member)
        seeds = [seed for seed in _seeds(self.groups) if seed in after]
        if not (member and seeds):
            return None
        before, after, groups = (t[seeds].to_numpy().T for t in (self.dense, after, self.groups))
        found = group_loss_change(before, after, groups)
        return Change(self.families[method], member, tuple(seeds), found)

    def matched_members(self) -> dict[str, int | None]:
        """The best of one-shot pruning and of training-matched width scaling; {} if one lacks.

        The best of what differs from the dense model in size: table 3 compares algorithms at their
        optimal sparsity and width, and has a number even where the dense model generalizes best
        (LeNet with 5% noise).
        """
        there = all(method in self.families for method in _MATCHED)
        return {m: self.families[m].optimal(with_dense=False) for m in _MATCHED if there}

    def matched(self) -> list[Change]:
        """The changes at these; [] if one lacks."""
        changes = [self.change(*best) for best in self.matched_members().items()]
        return [change for change in changes if change] if all(changes) else []

    def along(self, method: str) -> list[Change]:
        """The changes at members spread over a family."""
        members = spread_members(self.families[method]) if method in self.families else []
        return [change for member in members if (change := self.change(method, member))]


@dataclass(frozen=True, eq=False)
class Change:
    """The loss change of the groups, from the dense model to one member of a family.

    Attributes:
      family: of the later model.
      member: which one.
      seeds: those measured, increasing.
      groups: the change, nats, negative where the later model is better.
    """

    family: Family
    member: int
    seeds: tuple[int, ...]
    groups: GroupLossChange

    @property
    def benchmark(self) -> Benchmark:
        return self.family.benchmark

    @property
    def size_text(self) -> str:
        """How small the later model is, or how long it trained, in a few letters."""
        if self.family.method == EXTENDED_DENSE:
            return f"TT {self.member}"
        return f"WR {self.family.remaining_text(self.member)}%"

    @property
    def size_words(self) -> str:
        """The same in words."""
        if self.family.method == EXTENDED_DENSE:
            return f"{self.member} retraining{'s' * (self.member > 1)}"
        return f"{self.family.remaining_text(self.member)}% of weights remaining"

    @property
    def missing(self) -> list[int]:
        return [seed for seed in self.family.seeds if seed not in self.seeds]

    @property
    def n_text(self) -> str:
        missing = f", no seed {summary.seeds_text(self.missing)}" if self.missing else ""
        return f"n = {len(self.seeds)}{missing}"

    @property
    def _hardest(self) -> int:
        """How many groups are the fifth of highest EL2N."""
        return max(1, round(_HARD * len(self.groups.mean)))

    def part(self, hard: bool) -> dict[int, float]:
        """seed -> mean change of the fifth of highest EL2N, or of the rest."""
        chosen = slice(-self._hardest, None) if hard else slice(None, -self._hardest)
        sums = self.groups.by_seed[:, chosen] * self.groups.examples[:, chosen]
        means = np.nansum(sums, axis=1) / self.groups.examples[:, chosen].sum(axis=1)
        return dict(zip(self.seeds, map(float, means), strict=True))

    def ratio(self) -> float:
        """Mean |change| of the groups of highest EL2N over that of the rest (PEG 3)."""
        sizes = np.abs(self.groups.mean)
        easy = sizes[: -self._hardest]
        rest = float(np.nanmean(easy)) if easy.size else math.nan
        return float(np.nanmean(sizes[-self._hardest :])) / rest if rest else math.nan


Found = Sequence[Effects]


def load(results: pd.DataFrame, folder: epath.Path) -> list[Effects]:
    """The dense losses and the EL2N groups of every benchmark.

    Raises:
      InputError: a file is damaged.
    """
    found = []
    for benchmark, here in families.by_benchmark(families.load(results)).items():
        rows = pd.concat([family.rows(0) for family in here.values()])
        dense = read_by_seed(folder, rows, "examples", "losses")
        groups = el2n_groups(dense, read_by_seed(folder, rows, "el2n", "values"))
        found.append(Effects(benchmark, here, dense, groups, folder))
    return found


def el2n_groups(losses: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The percentile group of every example that has a loss and a score, by each seed's scores.

    Of tables as `read_by_seed` gives: int64, a row per row of `losses`, a column per seed that has
    both; -1 is no group. `GROUPS` groups, or as many as there are examples.
    """
    both = scores.reindex(losses.index).where(losses.notna()).dropna(axis=1, how="all")
    groups = {
        seed: percentile_groups(own, min(GROUPS, int(own.notna().sum())))
        for seed, own in both.items()
    }
    return pd.DataFrame(groups, index=losses.index)


def read_by_seed(
    folder: epath.PathLike, rows: pd.DataFrame, column: str, name: str
) -> pd.DataFrame:
    """Numbers of the training examples: a row per example, a column per seed that has a file.

    Args:
      folder: the output folder.
      rows: rows of results.csv; of several files of a seed the first that is there counts.
      column: that names the files: `examples` or `el2n`.
      name: of the array in them: `losses` (nats) or `values`.

    Returns:
      float64, indexed by position in the dataset; NaN where a seed held the example out.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    found: dict[int, pd.Series] = {}
    # A study that was interrupted before its first measurement has no such column.
    named = rows[rows[column].fillna("").ne("")] if column in rows else rows.iloc[:0]
    for seed, file in zip(named["seed"], named.get(column, ()), strict=True):
        path = epath.Path(folder) / str(file)
        if int(seed) not in found and path.exists():
            arrays = files.load_arrays(path, needed=(name, "indices"))
            found[int(seed)] = pd.Series(arrays[name], arrays["indices"], dtype="float64")
    return pd.DataFrame({seed: found[seed] for seed in sorted(found)}, dtype="float64")


def _seeds(table: pd.DataFrame) -> list[int]:
    """The columns of a table that has one for each seed."""
    return [int(str(seed)) for seed in table.columns]


def spread_members(family: Family) -> list[int]:
    """Up to five members at even distances, the first and the last among them (PEG L)."""
    members = [member for member in family.members if member > 0]
    places = np.linspace(0, len(members) - 1, min(_SHOWN, len(members))).round().astype(int)
    return [members[place] for place in places]


# ---------------------------------------------------------------- figures
def _rows(changes: Iterable[Change], label: Callable[[Change], str]) -> pd.DataFrame:
    """A row per change, seed and group, with what is said of each change."""
    parts = []
    for place, change in enumerate(changes):
        seeds, number = change.groups.by_seed.shape
        about = {
            "place": place,
            "panel": change.benchmark.panel,
            "benchmark": change.benchmark.name,
            "noise": f"{change.benchmark.noise}, {change.n_text}",
            "label": label(change),
            "seed": np.repeat(change.seeds, number),
            "percentile": np.tile(100 * (np.arange(number) + 0.5) / number, seeds),
            "change": change.groups.by_seed.ravel(),
        }
        parts.append(pd.DataFrame(about))
    return summary.concatenated(parts)


_PERCENTILE = Axis("percentile", "EL2N percentile", finish=lambda p: p.axes.set_xlim(0, 100))
_CHANGE = Axis("change", "Loss change (nats)")
_BARS = Bars(_PERCENTILE, _CHANGE, width=lambda number: 85 / number, marks=(ZERO,))
_SIZE = (6.4, 4.6, 4.1)


def _pruned_and_narrow(labels: Sequence[Any]) -> dict[Any, str]:
    """The colours of pruning and of widths, as in the figures of both."""
    return {label: style.SKY if label.startswith("width") else style.BLUE for label in labels}


def _lines(colors: Callable[[Sequence[Any]], Mapping[Any, str]]) -> Lines:
    """A line per label."""
    color, marker = Scale("label", colors), Scale("label", style.markers)
    return Lines(_PERCENTILE, _CHANGE, color=color, marker=marker, marks=(ZERO,))


def _noisy(noisy: bool) -> Callable[[Found], list[Effects]]:
    return lambda found: [here for here in found if here.benchmark.is_noisy == noisy]


def _pruned(found: Found, at: str = "optimal sparsity") -> list[Change]:
    """From dense to one of `_CHOSEN`, where there is one that is not dense."""
    there = [here for here in found if LR_REWIND in here.families]
    members = [_CHOSEN[at](here.families[LR_REWIND]) for here in there]
    changes = (here.change(LR_REWIND, m) for here, m in zip(there, members, strict=True))
    return [change for change in changes if change]


def _two_sparsities(found: Found) -> pd.DataFrame:
    """At the optimal sparsity, and at the highest that beats dense, a column per benchmark."""

    def rows(at: str) -> pd.DataFrame:
        def label(change: Change) -> str:
            return f"{change.benchmark.panel}\n{at}\n{change.size_words}, {change.n_text}"

        return _rows(_pruned(found, at), label).assign(at=at)

    return pd.concat([rows(at) for at in _CHOSEN], ignore_index=True)


def _by_noise(found: Found) -> pd.DataFrame:
    return _rows(_pruned(found), lambda c: f"{c.benchmark.noise}: {c.size_text}, {c.n_text}")


def _matched_rows(found: Found) -> pd.DataFrame:
    changes = (change for here in found for change in here.matched())
    return _rows(changes, lambda c: f"{_MATCHED[c.family.method]}: {c.size_text}, {c.n_text}")


def _by_panel(found: Found) -> dict[str, list[Effects]]:
    panels = dict.fromkeys(here.benchmark.panel for here in found)
    return {panel: [h for h in found if h.benchmark.panel == panel] for panel in panels}


_ABBREVIATIONS = {
    LR_REWIND: "E: test error; WR: weights remaining.",
    EXTENDED_DENSE: "E: test error; TT: training time, in retrainings.",
    WIDTH: "E: test error; WR: weights, of those at full width.",
}


def _along(method: str, name: str, words: str) -> Figure:
    """Five members of a family from left to right, a row per noise, each on its own scale."""

    def label(change: Change) -> str:
        return f"E {change.family.mean(TEST_ERROR, change.member):.1f}%, {change.size_text}"

    def rows(found: Found) -> pd.DataFrame:
        lines = [line for here in found if (line := here.along(method))]
        return pd.concat([_rows(line, label) for line in lines]) if lines else pd.DataFrame()

    return Figure(
        name, f"Loss change by EL2N along {words}", rows, _BARS,
        lambda found: along_reading(found, method), each=_by_panel, row="noise", column="place",
        heading="label", name_rows=True, size=(4.0, 2.6, 2.4),
    )  # fmt: skip


# ---------------------------------------------------------------- readings
def hard_reading(found: Found) -> str:
    """Whether it is the hard examples whose loss changes, and what is not shown (PEG 3).

    How many groups gain is a line per benchmark.
    """
    changes = _pruned(found)
    pruned = [here.families[LR_REWIND] for here in found if LR_REWIND in here.families]
    dense = [family.benchmark.name for family in pruned if family.optimal() == 0]
    but = f" The dense model is the optimal one with {'; '.join(dense)}." if dense else ""
    if not changes:
        return but.strip() or "No optimally sparse model is measured yet."
    times = readings.span((change.ratio() for change in changes), "{:.3g}".format)
    return (
        "At the optimal sparsity, the mean |change| of the 20% of examples of highest EL2N is "
        f"{f'{times} times' if times else 'not comparable to'} that of the rest.{but}"
        f"{_lines_of('At the optimal sparsity', changes)}"
    )


def _lines_of(where: str, changes: Iterable[Change]) -> str:
    return "".join(f"\n{where}, {_counted(change)}." for change in changes)


def _two_reading(found: Found) -> str:
    deepest = _pruned(found, "highest sparsity that beats dense")
    high = _lines_of("At the highest sparsity that beats dense", deepest)
    paper = "\nThe paper has 3.5 to 71 times." if _pruned(found) else ""
    return f"{hard_reading(found)}{high}{paper}"


def _counted(change: Change) -> str:
    """Of how many groups the loss falls, rises and matches; of one seed, the first two."""
    by_seed = change.groups.by_seed
    counts = readings.count(map(difference, by_seed.T))
    if len(by_seed) < 2:
        counts |= {"lower": int((by_seed < 0).sum()), "higher": int((by_seed > 0).sum())}
    verbs = {"lower": "falls", "higher": "rises", "matches": "matches the dense one"}
    said = [f"{verb} in {counts[verdict]}" for verdict, verb in verbs.items() if counts[verdict]]
    return (
        f"the loss {', '.join(said) or 'stays'} of {by_seed.shape[1]} groups "
        f"({change.benchmark.name}; {change.size_words}; {change.n_text})"
    )


def matched_reading(found: Found) -> str:
    """Whether pruning and width scaling go together over groups, in one sentence."""
    said = []
    for here in found:
        if pair := here.matched():
            link = correlation(*(change.groups.mean for change in pair))
            said.append(f"r = {link.pearson:.2f} ({here.benchmark.name})")
    return (
        "Over groups, the loss changes of one-shot pruning and of width down-scaling with the "
        f"same training correlate with {', '.join(said)}. WR: weights remaining of "
        "those at full width."
    )


def along_reading(found: Found, method: str) -> str:
    """How the groups fare at the ends of every family, a line each, and what titles mean."""
    told = []
    for line in filter(None, (here.along(method) for here in found)):
        ends = [_counted(change) for change in dict.fromkeys((line[0], line[-1]))]
        told.append(f"Along it, {'; then '.join(ends)}.")
    return "\n".join([*told, _ABBREVIATIONS[method]])


# ---------------------------------------------------------------- tables
def change_table(found: Found) -> Table | None:
    """Mean loss changes of the fifth of highest EL2N and of the rest, where figures show them."""
    rows = []
    for here in found:
        told = [(at, change) for at in _CHOSEN for change in _pruned([here], at)]
        told += [("the best of its kind", change) for change in here.matched()]
        rows += [_change_row(change) | {"at": at} for at, change in told]
    if not rows:
        return None
    shown: dict[str, Any] = {name: name for name in ("model", "noise", "algorithm", "at")}
    shown["weights remaining (%)"] = "weights_remaining_percent"
    for part, heading in (("hard", "top 20% EL2N"), ("easy", "rest")):
        shown[f"{heading} (nats)"] = tables.mean_std(part, tables.measured)
        shown[f"{heading} is"] = f"{part}_verdict"
    title = (
        "Change of the mean training loss from the dense model, of examples of high and of low "
        "EL2N; higher or lower where the mean is at least one std over seeds away from 0"
    )
    return tables.of_rows("change", title, rows, shown | tables.SEEDS, list(shown)[:4])


def _change_row(change: Change) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": change.benchmark.panel,
        "noise": change.benchmark.noise,
        "algorithm": change.family.name,
        "member": change.member,
        "weights_remaining_percent": change.family.remaining_text(change.member),
        "n": len(change.seeds),
        "missing_seeds": summary.seeds_text(change.missing),
    }
    for name, hard in (("hard", True), ("easy", False)):
        row |= summary.described(change.part(hard), name, "mean", "std", "verdict")
    return row


def overlap_table(found: Found) -> Table | None:
    """Jaccard similarity of the most affected examples of two algorithms (PEG I, table 3).

    The 10% of examples whose loss changes most, in either direction, from the dense model of the
    same seed to the best one-shot pruned and to the best training-matched narrow one.
    """
    rows = [_overlap(here) for here in found if here.matched_members()]
    title = (
        "Jaccard similarity of the 10% of examples most affected by one-shot pruning and by width "
        "down-scaling, at their best, beside that of random sets; the paper prints its std as at "
        f"most {_LARGEST_PRINTED_STD}, which is taken here"
    )
    if not rows:
        return None
    return summary.beside_table("overlap", title, rows, "Jaccard", against="random_sets")


def _overlap(here: Effects) -> Beside:
    best, mark = here.matched_members(), here.benchmark
    after = [here.losses(*member) for member in best.items()]
    values = {
        seed: jaccard(*(_affected(here.dense[seed], losses[seed]) for losses in after))
        for seed in _seeds(here.dense)
        if all(seed in losses for losses in after)
    }
    counts = zip(_seeds(here.dense), here.dense.count(), strict=True)
    random = {seed: jaccard_baseline(AFFECTED, int(count)) for seed, count in counts}
    paper = printed(3, mark, "one_shot_and_width_scaling", metric="jaccard")
    if paper and math.isnan(paper.std):
        paper = dataclasses.replace(paper, std=_LARGEST_PRINTED_STD)
    details = {
        f"{name} WR (%)": here.families[method].remaining_text(best[method])
        for method, name in _MATCHED.items()
    }
    details["random"] = f"{np.mean(list(random.values())):.2f}" if random else ""
    every = {seed for method in _MATCHED for seed in here.families[method].seeds}
    return Beside(mark.settings, mark.labels, {}, values, TEST_ERROR, paper, random, details, every)


def _affected(before: pd.Series, after: pd.Series) -> np.ndarray:
    """The examples whose loss changes most, as positions in the rows."""
    return top_fraction((after - before).abs(), AFFECTED)


# fmt: off
EXAMPLE_EFFECTS = Experiment(
    "example_effects",
    load,
    figures=(
        Figure(
            "by_sparsity", "Loss change by EL2N, without label noise",
            _two_sparsities, _BARS, _two_reading, _noisy(False),
            row="at", column="benchmark", heading="label", size=(6.4, 3.4, 3.3), letters=36),
        Figure(
            "by_noise", "Loss change by EL2N at the optimal sparsity, with label noise",
            _by_noise, _lines(noise_colors),
            lambda found: f"{hard_reading(found)}\nWR: weights remaining.",
            _noisy(True), panel="panel", size=_SIZE, legend="panel"),
        Figure(
            "matched_training", "Loss change by EL2N of one-shot pruning and of width down-scaling",
            _matched_rows, _lines(_pruned_and_narrow), matched_reading,
            panel="benchmark", size=_SIZE, legend="panel"),
        _along(LR_REWIND, "pruning_levels", "pruning"),
        _along(EXTENDED_DENSE, "extended_dense_levels", "extended dense training"),
        _along(WIDTH, "width_levels", "width down-scaling"),
    ),
    tables=(change_table, overlap_table),
)
