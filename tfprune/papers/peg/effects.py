"""What example_effects shows: how the training loss of easy and hard examples (EL2N) changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from tfprune import files, store
from tfprune.measures import example_groups
from tfprune.measures.statistics import correlation, difference
from tfprune.papers.peg import families
from tfprune.papers.peg.comparisons import printed
from tfprune.papers.peg.families import EXTENDED_DENSE, LR_REWIND, TEST_ERROR, WIDTH, Family
from tfprune.papers.peg.looks import noise_colors
from tfprune.report import readings, style, summary, tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import ZERO, Axis, Bars, Figure, Lines, Scale
from tfprune.report.summary import Beside
from tfprune.report.tables import Table

# M percentile groups by EL2N (PEG 3), and how many of them are its "top 20%".
GROUPS, _HARD = 20, 0.2
# The most affected examples whose overlap is table 3 (PEG I), which prints its std as "at most".
AFFECTED, _LARGEST_PRINTED_STD = 0.1, 0.03
# Levels that figures 18 to 20 show.
_SHOWN = 5


def spread_members(family: Family) -> list[int]:
    """Up to five members at even distances, the first and the last among them (PEG L)."""
    members = [member for member in family.members if member > 0]
    places = np.linspace(0, len(members) - 1, min(_SHOWN, len(members))).round().astype(int)
    return [members[place] for place in places]


def _best(family: Family) -> list[int | None]:
    """The best of what differs from the dense model in size.

    Table 3 compares algorithms at their optimal sparsity and width, and has a number even where the
    dense model generalizes best (LeNet with 5% noise).
    """
    return [family.optimal(with_dense=False)]


OPTIMAL, HIGHEST = "optimal sparsity", "highest sparsity that beats dense"
BEST, ALONG = "the best of its kind", "along"
_MATCHED = {families.ONE_SHOT: "one-shot", families.WIDTH_MATCHED: "width"}
# What is shown of a benchmark: where, of which methods if all were run, which members.
_CHOSEN: tuple[tuple[str, Sequence[str], Callable[[Family], Sequence[int | None]]], ...] = (
    (OPTIMAL, [LR_REWIND], lambda family: [family.optimal()]),
    (HIGHEST, [LR_REWIND], lambda family: [family.highest_beating_dense()]),
    (BEST, list(_MATCHED), _best),
    *((ALONG, [method], spread_members) for method in (LR_REWIND, EXTENDED_DENSE, WIDTH)),
)


@dataclass(frozen=True, eq=False)
class Change:
    """How the training losses of examples change from the dense model to one member of a family.

    Attributes:
      at: why it is shown, of `_CHOSEN`.
      family: of the later model.
      member: which one; 0 where the dense model is the optimal one.
      affected: seed -> the tenth of the benchmark's examples whose loss changes most, either way,
        by number; of the seeds that were measured, increasing.
      groups: the change of the groups by EL2N, by each seed's own scores, nats, negative where the
        later model is better.
    """

    at: str
    family: Family
    member: int
    affected: Mapping[int, np.ndarray]
    groups: example_groups.GroupLossChange

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.affected)

    @property
    def size(self) -> tuple[str, str]:
        """How small the later model is, or how long it trained: in a few letters, in words."""
        if self.family.method == EXTENDED_DENSE:
            return f"TT {self.member}", f"{self.member} retraining{'s' * (self.member > 1)}"
        left = self.family.remaining_text(self.member)
        return f"WR {left}%", f"{left}% of weights remaining"

    @property
    def n_text(self) -> str:
        missing = self.family.missing(self.seeds)
        return f"n = {len(self.seeds)}" + (f", no seed {missing}" if missing else "")

    def _groups(self, hard: bool) -> slice:
        """The fifth of groups of highest EL2N, or the rest."""
        hardest = max(1, round(_HARD * len(self.groups.mean)))
        return slice(-hardest, None) if hard else slice(None, -hardest)

    def part(self, hard: bool) -> dict[int, float]:
        """seed -> mean change of the fifth of highest EL2N, or of the rest."""
        by_seed, examples = (
            table[:, self._groups(hard)] for table in (self.groups.by_seed, self.groups.examples)
        )
        means = np.nansum(by_seed * examples, axis=1) / examples.sum(axis=1)
        return dict(zip(self.seeds, means.tolist(), strict=True))

    def ratio(self) -> float:
        """Mean |change| of the groups of highest EL2N over that of the rest (PEG 3)."""
        sizes = np.abs(self.groups.mean)
        hard, easy = (np.nanmean(sizes[self._groups(part)]) for part in (True, False))
        return float(hard / easy)


Found = Sequence[Change]


def load(results: pd.DataFrame, folder: epath.Path) -> list[Change]:
    """What is shown of every benchmark, in the order of `_CHOSEN`, where it is measured.

    Raises:
      InputError: a file is damaged.
    """
    found = []
    for here in families.by_benchmark(families.load(results)).values():
        rows = pd.concat([family.rows(0) for family in here.values()])
        dense = _read_by_seed(folder, rows, "examples", "losses")
        groups = el2n_groups(dense, _read_by_seed(folder, rows, "el2n", "values"))
        shown = [
            (at, here[method], member)
            for at, methods, choose in _CHOSEN
            if all(method in here for method in methods)
            for method in methods
            for member in choose(here[method])
            if member is not None
        ]
        for at, family, member in shown:
            after = _read_by_seed(folder, family.rows(member), "examples", "losses")
            seeds: list[Any] = [seed for seed in groups if seed in after]
            if seeds:
                before, after = (table.reindex(dense.index)[seeds] for table in (dense, after))
                parts = (table.to_numpy().T for table in (before, after, groups[seeds]))
                by_group = example_groups.group_loss_change(*parts)
                sizes = (after - before).abs()
                affected = {int(n): example_groups.top_fraction(sizes[n], AFFECTED) for n in seeds}
                found.append(Change(at, family, member, affected, by_group))
    return found


def el2n_groups(losses: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The percentile group of every example that has a loss and a score, by each seed's scores.

    Of tables with a row per example and a column per seed: int64, a row per row of `losses`, a
    column per seed that has both; -1 is no group. `GROUPS` groups, or as many as there are
    examples.
    """
    both = scores.reindex(losses.index).where(losses.notna()).dropna(axis=1, how="all")
    groups = {
        seed: example_groups.percentile_groups(own, min(GROUPS, int(own.count())))
        for seed, own in both.items()
    }
    return pd.DataFrame(groups, index=losses.index)


def _read_by_seed(
    folder: epath.PathLike, rows: pd.DataFrame, column: str, name: str
) -> pd.DataFrame:
    """An array of the files that a column of rows names: float64, a column per seed with a file.

    A row per training example, by its position in the dataset; NaN where a seed held it out. Of
    several files of a seed the first that is there counts.
    """
    found: dict[int, pd.Series] = {}
    for place, path in store.files_there(folder, rows, column):
        seed = int(rows["seed"].iloc[place])
        if seed not in found:
            arrays = files.load_arrays(path, needed=(name, "indices"))
            found[seed] = pd.Series(arrays[name], arrays["indices"], dtype="float64")
    return pd.DataFrame({seed: found[seed] for seed in sorted(found)}, dtype="float64")


def _of(found: Found, at: str) -> list[list[Change]]:
    """Changes somewhere, by benchmark."""
    kept = (change for change in found if change.at == at)
    return [list(own) for _, own in groupby(kept, lambda change: change.family.benchmark)]


def pairs(found: Found) -> list[list[Change]]:
    """The best of one-shot pruning and of training-matched widths, where both are measured."""
    return [pair for pair in _of(found, BEST) if len(pair) == len(_MATCHED)]


# ---------------------------------------------------------------- figures
def _rows(changes: Iterable[Change], label: str) -> pd.DataFrame:
    """A row per change, seed and group, with what is said of each change.

    `label` names further columns: "{noise}: {letters}, {n}".
    """
    parts = []
    for place, change in enumerate(change for change in changes if change.member):
        number, mark = len(change.groups.mean), change.family.benchmark
        percentiles = 100 * (np.arange(number) + 0.5) / number
        table = pd.DataFrame(change.groups.by_seed.T, percentiles, change.seeds)
        rows = table.melt(var_name="seed", value_name="change", ignore_index=False)
        letters, words = change.size
        about = {
            "place": place,
            "at": change.at,
            "panel": mark.panel,
            "benchmark": mark.name,
            "noise": mark.noise,
            "n": change.n_text,
            "whose": f"{mark.noise}, {change.n_text}",
            "kind": _MATCHED.get(change.family.method, ""),
            "error": change.family.mean(TEST_ERROR, change.member),
            "letters": letters,
            "words": words,
        }
        rows = rows.rename_axis("percentile").reset_index()
        parts.append(rows.assign(**about, label=label.format(**about)))
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


def _pruned(noisy: bool, *places: str) -> Callable[[Found], list[Change]]:
    """Those at these places, one place after the other, with noise or without."""
    return lambda found: [
        change
        for at in places
        for change in found
        if change.at == at and change.family.benchmark.is_noisy == noisy
    ]


def _along(method: str, name: str, words: str, size: str) -> Figure:
    """Five members of a family from left to right, a row per noise, each on its own scale."""

    def reading(found: Found) -> str:
        """How the groups fare at the ends of every family, a line each, and what titles mean."""
        ends = [dict.fromkeys((line[0], line[-1])) for line in _of(found, ALONG)]
        told = [f"Along it, {'; then '.join(map(_counted, changes))}." for changes in ends]
        return "\n".join([*told, f"E: test error; {size}."])

    return Figure(
        name, f"Loss change by EL2N along {words}",
        lambda found: summary.concatenated(
            [_rows(line, "E {error:.1f}%, {letters}") for line in _of(found, ALONG)]
        ),
        _BARS, reading,
        lambda found: [c for c in found if c.at == ALONG and c.family.method == method],
        lambda found: {
            panel: list(own)
            for panel, own in groupby(found, lambda change: change.family.benchmark.panel)
        },
        row="whose", column="place", heading="label", name_rows=True, size=(4.0, 2.6, 2.4),
    )  # fmt: skip


# ---------------------------------------------------------------- readings
def hard_reading(found: Found) -> str:
    """Whether it is the hard examples whose loss changes, and what is not shown (PEG 3).

    How many groups gain is a line per benchmark.
    """
    optimal = [change for change in found if change.at == OPTIMAL]
    dense = [change.family.benchmark.name for change in optimal if not change.member]
    ratios = (change.ratio() for change in optimal if change.member)
    said = []
    if times := readings.span(ratios, "{:.3g}".format):
        said.append(
            "At the optimal sparsity, the mean |change| of the 20% of examples of highest EL2N is "
            f"{times} times that of the rest."
        )
    said += [f"The dense model is the optimal one with {'; '.join(dense)}."] * bool(dense)
    lines = [f"At the {c.at}, {_counted(c)}." for c in found if c.member]
    return "\n".join(filter(None, [" ".join(said), *lines]))


def _two_reading(found: Found) -> str:
    is_told = any(change.at == OPTIMAL and change.member for change in found)
    return hard_reading(found) + "\nThe paper has 3.5 to 71 times." * is_told


def _counted(change: Change) -> str:
    """Of how many groups the loss falls, rises and matches; of one seed, the first two."""
    by_seed = change.groups.by_seed
    counts = readings.count(map(difference, by_seed.T))
    if len(by_seed) < 2:
        counts |= {"lower": int((by_seed < 0).sum()), "higher": int((by_seed > 0).sum())}
    verbs = {"lower": "falls", "higher": "rises", "matches": "matches the dense one"}
    said = [f"{verb} in {counts[verdict]}" for verdict, verb in verbs.items() if counts[verdict]]
    return (
        f"the loss {', '.join(said)} of {by_seed.shape[1]} groups "
        f"({change.family.benchmark.name}; {change.size[1]}; {change.n_text})"
    )


def matched_reading(found: Found) -> str:
    """Whether pruning and width scaling go together over groups, in one sentence."""
    said = []
    for first, second in pairs(found):
        link = correlation(first.groups.mean, second.groups.mean)
        said.append(f"r = {link.pearson:.2f} ({first.family.benchmark.name})")
    return (
        "Over groups, the loss changes of one-shot pruning and of width down-scaling with the "
        f"same training correlate with {', '.join(said)}. WR: weights remaining of "
        "those at full width."
    )


# ---------------------------------------------------------------- tables
def change_table(found: Found) -> Table:
    """Mean loss changes of the fifth of highest EL2N and of the rest, where figures show them."""
    shown: dict[str, Any] = {name: name for name in ("model", "noise", "algorithm", "at")}
    shown["weights remaining (%)"] = "weights_remaining_percent"
    for part, heading in (("hard", "top 20% EL2N"), ("easy", "rest")):
        shown[f"{heading} (nats)"] = tables.mean_std(part, tables.measured)
        shown[f"{heading} is"] = f"{part}_verdict"
    title = (
        "Change of the mean training loss from the dense model, of examples of high and of low "
        "EL2N; higher or lower where the mean is at least one std over seeds away from 0"
    )
    rows = [_change_row(change) for change in found if change.at != ALONG and change.member]
    return tables.of_rows("change", title, rows, shown | tables.SEEDS, list(shown)[:4])


def _change_row(change: Change) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": change.family.benchmark.panel,
        "noise": change.family.benchmark.noise,
        "algorithm": change.family.name,
        "member": change.member,
        "weights_remaining_percent": change.family.remaining_text(change.member),
        "n": len(change.seeds),
        "missing_seeds": change.family.missing(change.seeds),
    }
    for name in ("hard", "easy"):
        row |= summary.described(change.part(name == "hard"), name, "mean", "std", "verdict")
    return row | {"at": change.at}


def overlap_table(found: Found) -> Table:
    """Jaccard similarity of the most affected examples of two algorithms (PEG I, table 3).

    The 10% of examples whose loss changes most, in either direction, from the dense model of the
    same seed to the best one-shot pruned and to the best training-matched narrow one.
    """
    title = (
        "Jaccard similarity of the 10% of examples most affected by one-shot pruning and by width "
        "down-scaling, at their best, beside that of random sets; the paper prints its std as at "
        f"most {_LARGEST_PRINTED_STD}, which is taken here"
    )
    rows = [_overlap(pair) for pair in pairs(found)]
    return summary.beside_table("overlap", title, rows, "Jaccard", against="random_sets")


def _overlap(pair: Sequence[Change]) -> Beside:
    (first, second), mark = pair, pair[0].family.benchmark
    values = {
        seed: example_groups.jaccard(places, second.affected[seed])
        for seed, places in first.affected.items()
        if seed in second.affected
    }
    examples = zip(first.seeds, first.groups.examples.sum(axis=1).tolist(), strict=True)
    random = {seed: example_groups.jaccard_baseline(AFFECTED, n) for seed, n in examples}
    paper = printed(3, mark, "one_shot_and_width_scaling", metric="jaccard")
    paper = paper and dataclasses.replace(paper, std=_LARGEST_PRINTED_STD)
    details = {
        f"{_MATCHED[c.family.method]} WR (%)": c.family.remaining_text(c.member) for c in pair
    }
    details["random"] = f"{np.mean(list(random.values())):.2f}"
    return Beside(
        mark.settings, mark.labels, {}, values, "jaccard", paper, random, details,
        first.family.seeds,
    )  # fmt: skip


# fmt: off
EXAMPLE_EFFECTS = Experiment(
    "example_effects",
    load,
    figures=(
        Figure(
            "by_sparsity", "Loss change by EL2N, without label noise",
            lambda found: _rows(found, "{panel}\n{at}\n{words}, {n}"), _BARS, _two_reading,
            _pruned(False, OPTIMAL, HIGHEST),
            row="at", column="benchmark", heading="label", size=(6.4, 3.4, 3.3), letters=36),
        Figure(
            "by_noise", "Loss change by EL2N at the optimal sparsity, with label noise",
            lambda found: _rows(found, "{noise}: {letters}, {n}"), _lines(noise_colors),
            lambda found: f"{hard_reading(found)}\nWR: weights remaining.",
            _pruned(True, OPTIMAL), panel="panel", size=_SIZE, legend="panel"),
        Figure(
            "matched_training", "Loss change by EL2N of one-shot pruning and of width down-scaling",
            lambda found: _rows(found, "{kind}: {letters}, {n}"), _lines(_pruned_and_narrow),
            matched_reading, lambda found: [change for pair in pairs(found) for change in pair],
            panel="benchmark", size=_SIZE, legend="panel"),
        _along(LR_REWIND, "pruning_levels", "pruning", "WR: weights remaining"),
        _along(EXTENDED_DENSE, "extended_dense_levels", "extended dense training",
               "TT: training time, in retrainings"),
        _along(WIDTH, "width_levels", "width down-scaling", "WR: weights, of those at full width"),
    ),
    tables=(change_table, overlap_table),
)
