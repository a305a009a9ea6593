"""What learning_distance shows: distance from initialization and accuracy, sparse and re-dense."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes

from tfprune.measures import descent, statistics
from tfprune.papers.sdd.looks import from_zero
from tfprune.papers.sdd.networks import (
    REDENSE,
    TRUNK,
    Study,
    branch_cell,
    name,
    sparsity_text,
    study,
)
from tfprune.report import readings, style, tables
from tfprune.report.accuracy import LAST, SPARSITY, columns_of, percent
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import (
    QUANTITY,
    Axis,
    Figure,
    Lines,
    Mark,
    Panel,
    Scale,
    at_zero,
    line_handle,
)  # fmt: skip
from tfprune.report.tables import Table, mean_std, sparsity_percent

DISTANCE = "distance_from_init"
_QUANTITIES = {LAST: "accuracy", DISTANCE: "distance"}
_COLORS = {DISTANCE: style.BLUE, LAST: style.VERMILLION}
_DENSE_DASHES = ("-", "-.", ":")
# Labels of crossings that are closer than this share of the axis would overlap.
_LABEL_ROOM = 0.07
_GAP = "sparse minus re-dense"


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial's rows of results.csv, trunk and branches."""

    trial: str
    name: str
    rows: pd.DataFrame

    @cached_property
    def means(self) -> dict[str, pd.DataFrame]:
        """Over seeds, by branch, the trunk first: distance and accuracy, by level."""
        return {
            str(branch): own.groupby("level")[["sparsity", DISTANCE, LAST]].mean()
            for branch, own in self.rows.groupby("branch", sort=True)
        }

    @property
    def pairs(self) -> list[tuple[str, pd.Index]]:
        """The branches beside the trunk, and the levels that both have."""
        if TRUNK not in self.means:
            return []
        trunk = self.means[TRUNK].index
        return [(b, trunk.intersection(table.index)) for b, table in self.means.items() if b]

    @property
    def series(self) -> dict[str, pd.DataFrame]:
        """Means by branch, as people call it; and those of the trunk minus those of a branch."""
        found = {name(branch): table for branch, table in self.means.items()}
        for branch, _ in self.pairs:
            options = name(branch).removeprefix(name(REDENSE))
            found[_GAP + options] = self.means[TRUNK] - self.means[branch]
        return found

    def correlations(self) -> dict[str, statistics.Correlation]:
        """Of distance and accuracy over levels, by series."""
        return {n: statistics.correlation(t[DISTANCE], t[LAST]) for n, t in self.series.items()}


def crossings(rows: pd.DataFrame, column: str, branch: str) -> list[float]:
    """The sparsities where the trunk's and the branch's curves cross, on the papers' axis.

    Only where the two differ over seeds on both sides (`descent.crossings`).
    """
    sparse, dense = (
        rows[rows["branch"] == b].pivot_table(column, "seed", "level", dropna=False)
        for b in (TRUNK, branch)
    )
    gap = (sparse - dense).reindex(columns=sparse.columns.intersection(dense.columns))
    remaining = rows[rows["branch"] == TRUNK].groupby("level")["weights_remaining"].mean()
    places = descent.crossings(style.sparsity_position(remaining[gap.columns]), gap)
    return [1 - math.exp(-place) for place in places]


@dataclass(frozen=True, eq=False)
class Distances(Study):
    """Of which the trials are compared."""

    @cached_property
    def trials(self) -> list[Trial]:
        by_trial = self.rows.groupby("trial", sort=False)
        return [Trial(str(t), own["panel"].iloc[0], own) for t, own in by_trial]

    def crossed(self) -> Iterator[tuple[Trial, str, str, float]]:
        """(trial, branch, quantity, sparsity) of every crossing."""
        for trial in self.trials:
            for branch, _ in trial.pairs:
                for column in _QUANTITIES:
                    for sparsity in crossings(trial.rows, column, branch):
                        yield trial, branch, column, sparsity


def load(results: pd.DataFrame, folder: epath.Path) -> Distances:
    """Sparse and re-dense networks; no row where no distance was measured."""
    if DISTANCE not in results or results[DISTANCE].isna().all():
        results = results.iloc[:0].assign(**{DISTANCE: math.nan})
    found = study(results, folder, REDENSE)
    return Distances(found.rows.assign(network=found.rows["branch"].map(name)), found.networks)


# ---------------------------------------------------------------- over sparsity
def _crossing(column: str) -> Mark:
    """Vertical lines where a quantity's curves cross, labelled above where there is room."""

    def draw(panel: Panel) -> bool:
        rows = panel.rows
        branches = [b for b in rows["branch"].unique() if b]
        found = sorted(s for b in branches for s in crossings(rows, column, b))
        low, high = panel.axes.get_xlim()
        ticks, free = {}, low
        for sparsity in found:
            x = float(style.sparsity_position(1 - sparsity))
            panel.axes.axvline(x, color=_COLORS[column], linestyle=":", linewidth=1.4)
            if x >= free:
                free = x + _LABEL_ROOM * (high - low)
                # An empty line lifts those of accuracy above those of distance.
                ticks[x] = sparsity_percent(sparsity) + "\n" * (column == LAST)
        if found:
            _above(panel.axes, ticks, _COLORS[column])
        return bool(found)

    label = f"{_QUANTITIES[column]} curves cross (sparsity, %)"
    return Mark(draw, lambda: line_handle(label, _COLORS[column], dash=":"), late=True)


def _above(axes: Axes, ticks: dict[float, str], color: str) -> None:
    side = axes.secondary_xaxis("top")
    side.set_xticks(list(ticks), list(ticks.values()), color=color, fontsize=8)
    side.tick_params(length=0, pad=1)
    side.spines["top"].set_visible(False)


def _dashes(names: Sequence[str]) -> dict[str, str]:
    """Sparse networks are dashed, as in the paper."""
    others = [n for n in names if n != name(TRUNK)]
    return {name(TRUNK): "--"} | {n: _DENSE_DASHES[i % 3] for i, n in enumerate(others)}


def crossing_reading(found: Distances) -> str:
    """Where the sparse and re-dense curves cross, a sentence per trial and branch."""
    pairs = [(t, b, levels) for t in found.trials for b, levels in t.pairs if len(levels) > 1]
    if not pairs:
        return "There are no two levels yet at which both sparse and re-dense networks are there."
    several = len(pairs) > 1
    return "\n".join(f"{_whose(*pair[:2]) * several}{_crossed(*pair)}" for pair in pairs)


def _whose(trial: Trial, branch: str) -> str:
    options = f", {name(branch)}" if len(trial.pairs) > 1 else ""
    return f"With {trial.name}{options}: "


def _crossed(trial: Trial, branch: str, levels: pd.Index) -> str:
    said = []
    for column, called in _QUANTITIES.items():
        texts = [sparsity_text(s) for s in crossings(trial.rows, column, branch)]
        where = f"cross at {' and '.join(texts)} sparsity" if texts else "do not clearly cross"
        if len(texts) > 3:
            where = f"cross {len(texts)} times between {texts[0]} and {texts[-1]} sparsity"
        said.append(f"the {called} curves {where}")
    sparsity: Any = trial.means[TRUNK]["sparsity"][levels[-1]]
    last = trial.rows[trial.rows["level"] == levels[-1]]
    ends = [_place(last[last["branch"] == b]) for b in (TRUNK, branch)]
    return (
        f"Of sparse and re-dense networks, {' and '.join(said)}; at "
        f"{sparsity_text(sparsity)} the sparse one lies "
        f"{ends[0]}, the re-dense one {ends[1]}."
    )


def _place(rows: pd.DataFrame) -> str:
    """The distance and the accuracy of a level, in words."""
    distance = tables.measured([rows[DISTANCE].mean()], [rows[DISTANCE].std()])[0]
    accuracy = tables.plus_minus([rows[LAST].mean()], [rows[LAST].std()])[0]
    return f"{distance or '?'} from initialization, with {accuracy or '?'}% test accuracy"


# ---------------------------------------------------------------- against each other
def _points(found: Distances) -> pd.DataFrame:
    """A point per level of every series; differences in columns of their own."""
    made = []
    for trial in found.trials:
        for (called, table), link in zip(
            trial.series.items(), trial.correlations().values(), strict=True
        ):
            r = "" if math.isnan(link.pearson) else f": r = {link.pearson:.2f}"
            gap = called.startswith(_GAP)
            columns = {DISTANCE: "gap", LAST: "gain"} if gap else {}
            points = table.dropna(subset=[DISTANCE, LAST]).rename(columns=columns)
            points = points.rename_axis("level").reset_index()
            made.append(points.assign(panel=trial.name, series=called + r, seed=0))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def _series_colors(names: Sequence[str]) -> dict[str, str]:
    """Those of the networks; a difference has none of them."""
    own = ((name, _GAP if name.startswith(_GAP) else name.split(":")[0]) for name in names)
    return {n: style.NETWORK_COLORS.get(k.split(",")[0], style.BLACK) for n, k in own}


def _cross(panel: Panel) -> None:
    at_zero(panel)
    panel.axes.axvline(0, color=style.BLACK, linewidth=0.8)


def correlation_reading(found: Distances) -> str:
    """How distance and accuracy go together over levels, a sentence per trial."""
    several = len(found.trials) > 1
    return "\n".join(
        f"With {trial.name}: {_correlated(trial)}" if several else _correlated(trial)
        for trial in found.trials
    )


def _correlated(trial: Trial) -> str:
    said = []
    for called, c in trial.correlations().items():
        how = f"not measurably (n = {c.n})"
        how = how if math.isnan(c.pearson) else f"with {readings.correlated(c)}"
        said.append(f"{called} {how}")
    return (
        f"Over levels, distance from initialization and last test accuracy correlate for "
        f"{'; '.join(said)}."
    )


# ---------------------------------------------------------------- tables
def levels_table(found: Distances) -> Table:
    """Distance and accuracy at every level."""
    shown: dict[str, Any] = {"network": lambda row: name(row["branch"])} | tables.LEVEL
    shown |= {"distance": mean_std(DISTANCE, tables.measured)}
    shown |= {"last test (%)": mean_std(LAST, tables.plus_minus)} | tables.SEEDS
    title = (
        "ℓ2 distance from initialization and last test accuracy, mean ± std over seeds; re-dense "
        "networks at the sparsity before their masks were lifted"
    )
    numbers = tables.aggregate(found.rows, (DISTANCE, LAST))
    return tables.of_trials("levels", title, numbers, found.rows, shown, ["network"])


def correlation_table(found: Distances) -> Table:
    """Correlations of distance and accuracy over levels."""
    columns = ("n", "pearson", "pearson_p", "kendall", "kendall_p")
    rows = [
        {"trial": trial.trial, "network": called} | {what: getattr(c, what) for what in columns}
        for trial in found.trials
        for called, c in trial.correlations().items()
    ]

    def number(column: str, form: str) -> Callable[[Any], str]:
        return lambda row: "" if np.isnan(row[column]) else format(row[column], form)

    shown: dict[str, Any] = {
        "network": "network",
        "Pearson's r": number("pearson", "+.3f"),
        "p (r)": number("pearson_p", ".2g"),
        "Kendall's τ": number("kendall", "+.3f"),
        "p (τ)": number("kendall_p", ".2g"),
        "levels": "n",
    }
    title = (
        "Correlation of distance from initialization and last test accuracy over levels, of means "
        "over seeds, two-sided p-values"
    )
    return tables.of_trials(
        "correlation", title, pd.DataFrame(rows), found.rows, shown, ["network"]
    )


def crossings_table(found: Distances) -> Table:
    """Where curves of sparse and re-dense networks cross."""
    columns = ("trial", "branch", "quantity", "sparsity")
    rows = [
        dict(zip(columns, (trial.trial, *rest), strict=True)) for trial, *rest in found.crossed()
    ]
    shown = {"quantity": "quantity"} | branch_cell(found, "network")
    shown["sparsity (%)"] = tables.LEVEL["sparsity (%)"]
    title = (
        "Sparsities at which the curves of sparse and re-dense networks cross, both sides apart by "
        "at least one std over seeds"
    )
    numbers = pd.DataFrame(rows, columns=columns)
    return tables.of_trials("crossings", title, numbers, found.rows, shown, ["quantity", "network"])


# fmt: off
LEARNING_DISTANCE = Experiment(
    "learning_distance",
    load,
    figures=(
        Figure(
            "curves", "Distance from initialization and test accuracy against sparsity",
            lambda found: found.rows,
            Lines(SPARSITY,
                  (Axis(DISTANCE, "ℓ2 distance from initialization", finish=from_zero),
                   percent(LAST, "Last test accuracy (%)", right=True)),
                  "level", Scale(QUANTITY, _COLORS, _QUANTITIES), dash=Scale("network", _dashes),
                  marks=(_crossing(DISTANCE), _crossing(LAST))),
            crossing_reading, panel="panel", columns=columns_of, size=(7.6, 5.0, 4.2)),
        Figure(
            "correlation", "Test accuracy against distance from initialization", _points,
            (Lines(Axis(DISTANCE, "ℓ2 distance from initialization"),
                   percent(LAST, "Last test accuracy (%)"), "level",
                   Scale("series", _series_colors), Scale("series", style.markers), spread=None),
             Lines(Axis("gap", "Difference in distance, sparse minus re-dense"),
                   Axis("gain", "Difference in last test accuracy\n(points)", 100), "level",
                   Scale("series", _series_colors), Scale("series", style.markers), spread=None,
                   marks=(Mark(_cross),))),
            correlation_reading, panel="panel", beside=True, legend="panel",
            legend_title="A point per level", size=(5.6, 5.2, 3.9)),
    ),
    tables=(levels_table, correlation_table, crossings_table),
)
