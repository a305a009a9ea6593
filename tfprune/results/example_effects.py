"""The report of example_effects: PEG figures 1b, 2, 5, 13, 18-20, table 3: loss change by EL2N."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfprune import files, store
from tfprune.errors import InputError
from tfprune.measures import statistics
from tfprune.measures.example_groups import (
    GroupLossChange,
    group_loss_change,
    jaccard,
    jaccard_baseline,
    percentile_groups,
    top_fraction,
)
from tfprune.results import families, figures, style, tables
from tfprune.results.families import Benchmark, Family

EXPERIMENT = "example_effects"
# M percentile groups by EL2N (PEG 3), and how many of them are its "top 20%".
GROUPS = 20
_HARD = 0.2
# The most affected examples whose overlap is table 3 (PEG I).
AFFECTED = 0.1
# Table 3 prints no std but "at most 0.03".
_LARGEST_PRINTED_STD = 0.03
# Levels that figures 18 to 20 show.
_SHOWN = 5
_EXAMPLES, _EL2N = "examples", "el2n"
_PERCENTILE = "EL2N percentile"
_CHANGE = "Loss change (nats)"
_IMPROVED, _WORSENED = style.BLUE, style.VERMILLION
_BEST, _DEEPEST = "optimal sparsity", "highest sparsity that beats dense"
_MATCHED = (families.ONE_SHOT, families.WIDTH_MATCHED)


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

    def change(self, method: str, member: int | None) -> Change | None:
        """What one member of a family does to each group; None where that is not measured."""
        family = self.families.get(method)
        if family is None or not member or self.groups.empty:
            return None
        after = read_losses(self.folder, family.rows(member))
        seeds = [seed for seed in _seeds(self.groups) if seed in after]
        if not seeds:
            return None
        examples = self.dense.index
        found = group_loss_change(
            self.dense[seeds].to_numpy().T,
            after[seeds].reindex(examples).to_numpy().T,
            self.groups[seeds].to_numpy().T,
        )
        return Change(self.benchmark, family, member, tuple(seeds), found)


@dataclass(frozen=True, eq=False)
class Change:
    """The loss change of the groups, from the dense model to one member of a family.

    Attributes:
      benchmark: what is learned.
      family: of the later model.
      member: which one.
      seeds: those measured, increasing.
      groups: the change, nats, negative where the later model is better.
    """

    benchmark: Benchmark
    family: Family
    member: int
    seeds: tuple[int, ...]
    groups: GroupLossChange

    @property
    def percentiles(self) -> np.ndarray:
        """The middle of each group, in percent."""
        number = len(self.groups.mean)
        return 100 * (np.arange(number) + 0.5) / number

    @property
    def size_text(self) -> str:
        """How small the later model is, or how long it trained, in a few letters."""
        if self.family.method == families.EXTENDED_DENSE:
            return f"TT {self.member}"
        return f"WR {families.remaining_text(self.family, self.member)}%"

    @property
    def size_words(self) -> str:
        """The same in words."""
        if self.family.method == families.EXTENDED_DENSE:
            return f"{self.member} retraining{'s' * (self.member > 1)}"
        return f"{families.remaining_text(self.family, self.member)}% of weights remaining"

    @property
    def error_text(self) -> str:
        values = list(self.family.by_seed(families.TEST_ERROR, self.member).values())
        return f"E {np.mean(values):.1f}%" if values else ""

    def part(self, hard: bool) -> dict[int, float]:
        """seed -> mean change of the fifth of highest EL2N, or of the rest."""
        number = len(self.groups.mean)
        first = number - max(1, round(_HARD * number))
        chosen = slice(first, None) if hard else slice(None, first)
        sums = self.groups.by_seed[:, chosen] * self.groups.examples[:, chosen]
        means = np.nansum(sums, axis=1) / self.groups.examples[:, chosen].sum(axis=1)
        return dict(zip(self.seeds, map(float, means), strict=True))

    def ratio(self) -> float:
        """Mean |change| of the groups of highest EL2N over that of the rest (PEG 3)."""
        sizes = np.abs(self.groups.mean)
        first = sizes.size - max(1, round(_HARD * sizes.size))
        rest = float(np.nanmean(sizes[:first])) if first else math.nan
        return float(np.nanmean(sizes[first:])) / rest if rest else math.nan

    def verdicts(self) -> dict[str, int]:
        """How many groups' losses are lower, higher, or match, by PEG section 2's rule."""
        found = [statistics.difference(seeds).verdict for seeds in self.groups.by_seed.T]
        return {name: found.count(name) for name in ("lower", "higher", "matches")}


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv, and the losses and scores its rows name.

    Returns:
      The figures there are data for, loss changes without noise first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    found = effects(output_dir, results[results["experiment"] == EXPERIMENT])
    clean = [here for here in found if not here.benchmark.is_noisy]
    noisy = [here for here in found if here.benchmark.is_noisy]
    best, deepest = _at_optimum(clean), _at_highest(clean)
    best_noisy = _at_optimum(noisy)
    pairs = [pair for here in found if (pair := _matched(here))]
    drawn: list[figures.Drawing] = [
        (
            "by_sparsity",
            "Loss change by EL2N, without label noise",
            f"{hard_reading(best, clean)}{_of_paper(best)} {_deepest(deepest)}".strip(),
            "PEG figures 1b and 2",
            two_sparsities(best, deepest),
        ),
        (
            "by_noise",
            "Loss change by EL2N at the optimal sparsity, with label noise",
            f"{hard_reading(best_noisy, noisy)} WR: weights remaining.",
            "PEG figure 5",
            by_noise(best_noisy),
        ),
        (
            "matched_training",
            "Loss change by EL2N of one-shot pruning and of width down-scaling",
            matched_reading(pairs),
            "PEG figure 13",
            matched_training(pairs),
        ),
        *_along_families(found),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """Loss changes of easy and hard examples, and the overlap of the most affected (PEG table 3).

    Raises:
      InputError: a file is damaged.
    """
    found = effects(output_dir, results[results["experiment"] == EXPERIMENT])
    changes = [change for here in found for change in _told(here)]
    made = [change_table(changes)] if changes else []
    compared = [here for here in found if all(name in here.families for name in _MATCHED)]
    return made + ([overlap_table(compared)] if compared else [])


def effects(output_dir: epath.PathLike, results: pd.DataFrame) -> list[Effects]:
    """The dense losses and the EL2N groups of every benchmark.

    Args:
      output_dir: the output folder.
      results: the experiment's rows of results.csv.

    Raises:
      InputError: a file is damaged.
    """
    folder = epath.Path(output_dir)
    found = []
    for benchmark, here in families.by_benchmark(families.families(results)).items():
        rows = pd.concat([family.rows(0) for family in here.values()])
        dense = read_losses(folder, rows)
        scores = read_scores(folder, rows)
        found.append(Effects(benchmark, here, dense, el2n_groups(dense, scores), folder))
    return found


def el2n_groups(losses: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The percentile group of every example that has a loss and a score, by each seed's scores.

    Args:
      losses: as `read_losses`.
      scores: as `read_scores`.

    Returns:
      int64, a row per row of `losses`, a column per seed that has both; -1 is no group. `GROUPS`
      groups, or as many as there are examples.
    """
    scores = scores.reindex(losses.index)
    both = {seed: scores[seed].where(losses[seed].notna()) for seed in losses if seed in scores}
    groups = {
        seed: percentile_groups(own, min(GROUPS, int(own.notna().sum())))
        for seed, own in both.items()
        if own.notna().any()
    }
    return pd.DataFrame(groups, index=losses.index)


def read_losses(output_dir: epath.PathLike, rows: pd.DataFrame) -> pd.DataFrame:
    """Losses of the training examples: a row per example, a column per seed that has a file.

    Args:
      output_dir: the output folder.
      rows: rows of results.csv, whose column `examples` names the files; of several files of a
        seed the first that is there counts.

    Returns:
      float64, nats, indexed by position in the dataset; NaN where a seed held the example out.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    return _by_seed(output_dir, rows, _EXAMPLES, "losses")


def read_scores(output_dir: epath.PathLike, rows: pd.DataFrame) -> pd.DataFrame:
    """As `read_losses`, of the EL2N scores that the column `el2n` names."""
    return _by_seed(output_dir, rows, _EL2N, "values")


def _by_seed(
    output_dir: epath.PathLike, rows: pd.DataFrame, column: str, name: str
) -> pd.DataFrame:
    if column not in rows:  # A study that was interrupted before its first measurement.
        return pd.DataFrame(dtype="float64")
    found: dict[int, pd.Series] = {}
    named = rows[rows[column].fillna("").ne("")]
    for seed, file in zip(named["seed"], named[column], strict=True):
        path = epath.Path(output_dir) / str(file)
        if int(seed) not in found and path.exists():
            found[int(seed)] = _read(path, name)
    return pd.DataFrame({seed: found[seed] for seed in sorted(found)}, dtype="float64")


def _seeds(table: pd.DataFrame) -> list[int]:
    """The columns of a table that has one for each seed."""
    return [int(str(seed)) for seed in table.columns]


def _read(path: epath.Path, name: str) -> pd.Series:
    arrays = files.load_arrays(path)
    missing = sorted({name, "indices"} - set(arrays))
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}: delete it and run again")
    return pd.Series(arrays[name].astype(np.float64), index=arrays["indices"])


# ---------------------------------------------------------------- what is shown
def _optimal(here: Effects) -> Change | None:
    family = here.families.get(families.LR_REWIND)
    return here.change(families.LR_REWIND, family.optimal()) if family else None


def _highest(here: Effects) -> Change | None:
    family = here.families.get(families.LR_REWIND)
    return here.change(families.LR_REWIND, family.highest_beating_dense()) if family else None


def _at_optimum(found: Iterable[Effects]) -> list[Change]:
    """Of every benchmark whose optimal model is not the dense one, as in PEG figure 5."""
    return [change for here in found if (change := _optimal(here))]


def _at_highest(found: Iterable[Effects]) -> list[Change]:
    return [change for here in found if (change := _highest(here))]


def _matched(here: Effects) -> list[Change]:
    """One-shot pruning and training-matched width scaling, each at its best; [] if one lacks.

    The best of what differs from the dense model in size: table 3 compares algorithms at their
    optimal sparsity and width, and has a number even where the dense model generalizes best (LeNet
    with 5% noise).
    """
    changes = [
        here.change(method, here.families[method].optimal(with_dense=False))
        for method in _MATCHED
        if method in here.families
    ]
    there = [change for change in changes if change]
    return there if len(there) == len(_MATCHED) else []


def _told(here: Effects) -> list[tuple[str, Change]]:
    """The changes that figures of one benchmark single out, and why."""
    best, highest = _optimal(here), _highest(here)
    told = [(name, one) for name, one in ((_BEST, best), (_DEEPEST, highest)) if one]
    return told + [("the best of its kind", change) for change in _matched(here)]


def spread_members(family: Family, count: int = _SHOWN) -> list[int]:
    """Up to `count` members at even distances, the first and the last among them (PEG L)."""
    members = [member for member in family.members if member > 0]
    places = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int)
    return [members[place] for place in places]


# ---------------------------------------------------------------- figures
def two_sparsities(best: list[Change], deepest: list[Change]) -> Figure | None:
    """At the optimal sparsity, and at the highest that beats dense (PEG figures 1b, 2a, 2b).

    A column per benchmark, bars are means, whiskers ± std over seeds. None without any.
    """
    columns = list(dict.fromkeys(change.benchmark for change in (*best, *deepest)))
    rows = [
        (name, {change.benchmark: change for change in changes})
        for name, changes in (
            (_BEST, best),
            (_DEEPEST, deepest),
        )
        if changes
    ]
    if not rows:
        return None
    with style.house_style():
        figure = style.new_figure(max(6.4, 3.4 * len(columns)), 3.3 * len(rows))
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        for panels, (name, here) in zip(grid, rows, strict=True):
            for axes, benchmark in zip(panels, columns, strict=True):
                if benchmark not in here:
                    axes.set_axis_off()
                    continue
                change = here[benchmark]
                draw_bars(axes, change)
                lines = (benchmark.panel, name, f"{change.size_words}, {_n(change)}")
                title = "\n".join(style.wrapped(line, 36) for line in lines)
                axes.set_title(title, fontsize=9.5)
                axes.set_xlabel(_PERCENTILE)
                axes.set_ylabel(_CHANGE)
    return figure


def _n(change: Change) -> str:
    missing = [str(seed) for seed in change.family.seeds if seed not in change.seeds]
    return f"n = {len(change.seeds)}" + (f", no seed {', '.join(missing)}" if missing else "")


def draw_bars(axes: Axes, change: Change) -> None:
    """A bar per group, blue where the loss falls and red where it rises; whiskers are ± std."""
    mean = change.groups.mean
    axes.bar(
        change.percentiles,
        mean,
        width=85 / mean.size,
        color=np.where(mean < 0, _IMPROVED, _WORSENED).tolist(),
        yerr=None if np.isnan(change.groups.std).all() else change.groups.std,
        error_kw={"elinewidth": 0.9, "ecolor": "#777777"},
    )
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xlim(0, 100)
    axes.grid(False, axis="x")


def _draw_line(axes: Axes, change: Change, color: str, marker: str, label: str) -> None:
    x, mean, std = change.percentiles, change.groups.mean, np.nan_to_num(change.groups.std)
    axes.plot(x, mean, color=color, marker=marker, label=label)
    axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.18, linewidth=0)


def by_noise(changes: list[Change]) -> Figure | None:
    """Dense to optimally sparse, a panel per data and model, a line per noise (PEG figure 5)."""
    panels: dict[str, list[Change]] = {}
    for change in changes:
        panels.setdefault(change.benchmark.panel, []).append(change)
    if not panels:
        return None
    with style.house_style():
        figure, grid = _panels(len(panels))
        for axes, (name, lines) in zip(grid, panels.items(), strict=True):
            colors = style.sequence_colors(len(lines))
            for index, (change, color) in enumerate(zip(lines, colors, strict=True)):
                label = f"{change.benchmark.noise}: {change.size_text}, {_n(change)}"
                _draw_line(axes, change, color, style.MARKERS[index % len(style.MARKERS)], label)
            _finish_lines(axes, name)
    return figure


def matched_training(pairs: list[list[Change]]) -> Figure | None:
    """One-shot pruning and width scaling of equal training, each at its best (PEG figure 13)."""
    if not pairs:
        return None
    with style.house_style():
        figure, grid = _panels(len(pairs))
        for axes, pair in zip(grid, pairs, strict=True):
            for index, change in enumerate(pair):
                label = f"{_short_name(change)}: {change.size_text}, {_n(change)}"
                _draw_line(axes, change, style.CYCLE[index], style.MARKERS[index], label)
            _finish_lines(axes, pair[0].benchmark.name)
    return figure


def _short_name(change: Change) -> str:
    return "one-shot" if change.family.method == families.ONE_SHOT else "width"


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = style.new_figure(6.4 if columns == 1 else 4.6 * columns, 4.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, list(grid[:count])


def _finish_lines(axes: Axes, title: str) -> None:
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xlim(0, 100)
    axes.set_title(style.wrapped(title, 48))
    axes.set_xlabel(_PERCENTILE)
    axes.set_ylabel(_CHANGE)
    # Below the panel: inside it lines leave room nowhere for sure.
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), borderaxespad=0)


_ABBREVIATIONS = {
    families.LR_REWIND: "E: test error; WR: weights remaining.",
    families.EXTENDED_DENSE: "E: test error; TT: training time, in retrainings.",
    families.WIDTH: "E: test error; WR: weights, of those at full width.",
}
_ALONG = (
    (families.LR_REWIND, "pruning_levels", "pruning", "PEG figure 18"),
    (families.EXTENDED_DENSE, "extended_dense_levels", "extended dense training", "PEG figure 19"),
    (families.WIDTH, "width_levels", "width down-scaling", "PEG figure 20"),
)


def _along_families(found: list[Effects]) -> list[figures.Drawing]:
    """Figures 18, 19 and 20, each once per data and model."""
    panels: dict[str, list[Effects]] = {}
    for here in found:
        panels.setdefault(here.benchmark.panel, []).append(here)
    drawn: list[figures.Drawing] = []
    for method, name, words, paper in _ALONG:
        for number, (panel, rows) in enumerate(panels.items(), start=1):
            lines = [line for here in rows if (line := _along(here, method))]
            suffix = f"_{number}" if len(panels) > 1 else ""
            title = f"Loss change by EL2N along {words}: {panel}"
            drawn.append((name + suffix, title, along_reading(lines), paper, along(lines)))
    return drawn


def _along(here: Effects, method: str) -> list[Change]:
    family = here.families.get(method)
    members = spread_members(family) if family else []
    return [change for member in members if (change := here.change(method, member))]


def along(lines: list[list[Change]]) -> Figure | None:
    """Five members of a family from left to right, a row per noise (PEG figures 18, 19, 20).

    E is test error; WR weights remaining, for widths of those at full width; TT training time, in
    retrainings. Scales differ between panels.
    """
    if not lines:
        return None
    columns = max(len(line) for line in lines)
    with style.house_style():
        figure = style.new_figure(max(4.0, 2.6 * columns), 2.4 * len(lines) + 0.3)
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for row, line in zip(grid, lines, strict=True):
            for axes in row[len(line) :]:
                axes.set_axis_off()
            for axes, change in zip(row, line, strict=False):
                draw_bars(axes, change)
                axes.set_title(", ".join(filter(None, (change.error_text, change.size_text))))
                axes.tick_params(labelsize=8)
            row[0].set_ylabel(f"{line[0].benchmark.noise}, {_n(line[0])}\n{_CHANGE}")
        for axes in grid[-1]:
            axes.set_xlabel(_PERCENTILE)
    return figure


# ---------------------------------------------------------------- readings
def hard_reading(changes: list[Change], found: list[Effects]) -> str:
    """Whether it is the hard examples whose loss changes, and what is not shown (PEG 3).

    Args:
      changes: to the optimal models.
      found: the benchmarks that these are of, and others whose optimal model is the dense one.
    """
    dense = [here.benchmark.name for here in found if _is_dense_best(here)]
    but = f" The dense model is the optimal one with {'; '.join(dense)}." if dense else ""
    if not changes:
        return but.strip() or "No optimally sparse model is measured yet."
    ratios = [ratio for change in changes if not math.isnan(ratio := change.ratio())]
    ends = dict.fromkeys(f"{ratio:.3g}" for ratio in (min(ratios), max(ratios))) if ratios else {}
    times = f"{' to '.join(ends)} times" if ends else "not comparable to"
    return (
        f"At the optimal sparsity, {_counted(changes[0])}; the mean |change| of the 20% of "
        f"examples of highest EL2N is {times} that of the rest.{but}"
    )


def _is_dense_best(here: Effects) -> bool:
    family = here.families.get(families.LR_REWIND)
    return family is not None and family.optimal() == 0


def _of_paper(changes: list[Change]) -> str:
    return " The paper has 3.5 to 71 times." if changes else ""


def _deepest(changes: list[Change]) -> str:
    if not changes:
        return ""
    return f"At the highest sparsity that beats dense, {_counted(changes[0])}."


def _counted(change: Change) -> str:
    """Of how many groups the loss falls, rises and matches, in words."""
    mean = change.groups.mean
    if len(change.seeds) < 2:
        counts = {"falls": int((mean < 0).sum()), "rises": int((mean > 0).sum())}
    else:
        found = change.verdicts()
        counts = {
            "falls": found["lower"],
            "rises": found["higher"],
            "matches the dense one": found["matches"],
        }
    said = [f"{verb} in {count}" for verb, count in counts.items() if count]
    return (
        f"the loss {', '.join(said) or 'stays'} of {mean.size} groups ({change.benchmark.name}; "
        f"{change.size_words}; {_n(change)})"
    )


def matched_reading(pairs: list[list[Change]]) -> str:
    """Whether pruning and width scaling go together over groups, in one sentence."""
    said = []
    for pair in pairs:
        found = statistics.correlation(*(change.groups.mean for change in pair))
        said.append(f"r = {found.pearson:.2f} ({pair[0].benchmark.name})")
    if not said:
        return "One-shot pruning and width down-scaling are not both measured yet."
    return (
        "Over groups, the loss changes of one-shot pruning and of width down-scaling with the "
        f"same training correlate with {', '.join(said)}. WR: weights remaining of "
        "those at full width."
    )


def along_reading(lines: list[list[Change]]) -> str:
    """How the groups fare at the ends of a family, in one sentence, and what titles mean."""
    if not lines:
        return ""
    first, last = lines[0][0], lines[0][-1]
    ends = [_counted(change) for change in dict.fromkeys((first, last))]
    return f"Along it, {'; then '.join(ends)}. {_ABBREVIATIONS[first.family.method]}"


# ---------------------------------------------------------------- tables
def change_table(changes: list[tuple[str, Change]]) -> tables.Table:
    """Mean loss changes of the fifth of highest EL2N and of the rest.

    Args:
      changes: a row each, and what is said of where it is.
    """
    numbers = pd.DataFrame([{**_change_row(change), "at": at} for at, change in changes])
    labels = numbers[["model", "noise", "algorithm", "at"]]
    shown = labels.assign(**{"weights remaining (%)": numbers["weights_remaining_percent"]})
    for part, heading in (("hard", "top 20% EL2N (nats)"), ("easy", "rest (nats)")):
        shown[heading] = tables.measured(numbers[f"{part}_mean"], numbers[f"{part}_std"])
        shown[f"{heading.split(' (')[0]} is"] = numbers[f"{part}_verdict"]
    shown["seeds"] = numbers["n"].astype(str)
    if numbers["missing_seeds"].ne("").any():
        shown["missing seeds"] = numbers["missing_seeds"]
    title = (
        "Change of the mean training loss from the dense model, of examples of high and of low "
        "EL2N; higher or lower where the mean is at least one std over seeds away from 0"
    )
    return tables.Table(f"{EXPERIMENT}_change", title, numbers, shown, tuple(labels))


def _change_row(change: Change) -> dict[str, object]:
    mark, missing = change.benchmark, set(change.family.seeds) - set(change.seeds)
    row: dict[str, object] = {
        "model": mark.panel,
        "noise": mark.noise,
        "algorithm": change.family.name,
        "member": change.member,
        "weights_remaining_percent": families.remaining_text(change.family, change.member),
        "n": len(change.seeds),
        "missing_seeds": ", ".join(map(str, sorted(missing))),
    }
    for name, hard in (("hard", True), ("easy", False)):
        gap = statistics.difference(list(change.part(hard).values()))
        row |= {f"{name}_{what}": getattr(gap, what) for what in ("mean", "std", "verdict")}
    return row


def overlap_table(found: list[Effects]) -> tables.Table:
    """Jaccard similarity of the most affected examples of two algorithms (PEG I, table 3).

    The 10% of examples whose loss changes most, in either direction, from the dense model of the
    same seed to the best one-shot pruned and to the best training-matched narrow one.
    """
    cells = [_overlap_cell(here) for here in found]
    title = (
        "Jaccard similarity of the 10% of examples most affected by one-shot pruning and by width "
        "down-scaling, at their best, beside that of random sets; the paper prints its std as at "
        f"most {_LARGEST_PRINTED_STD}, which is taken here"
    )
    name = f"{EXPERIMENT}_overlap"
    return families.comparison_table(name, title, cells, "Jaccard", against="random_sets")


def _overlap_cell(here: Effects) -> families.Cell:
    best = {method: here.families[method].optimal(with_dense=False) for method in _MATCHED}
    values = overlap_by_seed(here, best)
    counts = zip(_seeds(here.dense), here.dense.count(), strict=True)
    random = {seed: jaccard_baseline(AFFECTED, int(count)) for seed, count in counts}
    paper = families.printed(3, here.benchmark, "one_shot_and_width_scaling", metric="jaccard")
    if paper and math.isnan(paper.std):
        paper = dataclasses.replace(paper, std=_LARGEST_PRINTED_STD)
    details = {
        f"{name} (%)": families.remaining_text(here.families[method], best[method])
        for method, name in zip(_MATCHED, ("one-shot WR", "width WR"), strict=True)
    }
    details["random"] = f"{np.mean(list(random.values())):.2f}" if random else ""
    every = {seed for method in _MATCHED for seed in here.families[method].seeds}
    missing = tuple(sorted(every - set(values)))
    return families.Cell(here.benchmark, {}, values, paper, random, details, missing)


def overlap_by_seed(here: Effects, members: Mapping[str, int | None]) -> dict[int, float]:
    """seed -> Jaccard similarity of the most affected examples of two members.

    Args:
      here: the benchmark.
      members: method -> member, of two methods.

    Returns:
      Only seeds that have losses of both and of the dense model.
    """
    after = [
        read_losses(here.folder, here.families[method].rows(member))
        for method, member in members.items()
        if member
    ]
    if len(after) < len(members):
        return {}
    seeds = [seed for seed in _seeds(here.dense) if all(seed in losses for losses in after)]
    return {
        seed: jaccard(*(_affected(here.dense[seed], losses[seed]) for losses in after))
        for seed in seeds
    }


def _affected(before: pd.Series, after: pd.Series) -> np.ndarray:
    """The examples whose loss changes most, as positions in the rows of `before`."""
    return top_fraction((after.reindex(before.index) - before).abs(), AFFECTED)
