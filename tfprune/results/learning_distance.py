"""The report of learning_distance: SDD figure 7, distance from initialization and accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures import descent as analysis
from tfprune.measures import statistics
from tfprune.report import style, tables, trials
from tfprune.results import branches, figures

EXPERIMENT = "learning_distance"
DISTANCE, ACCURACY = "distance_from_init", "test_accuracy_last"
# What is drawn and compared: column, its name, colour, and what it is multiplied by.
_QUANTITIES = (
    (DISTANCE, "distance", style.BLUE, 1.0),
    (ACCURACY, "accuracy", style.VERMILLION, 100.0),
)
_DENSE_STYLES = ("-", "-.", ":")
# Labels of crossings that are closer than this share of the axis would overlap.
_LABEL_ROOM = 0.07
_GAP = "sparse minus re-dense"


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv.

    Returns:
      The figures there are data for, distance and accuracy against sparsity first.

    Raises:
      InputError: there is no results.csv, it is damaged, or a folder cannot be written.
    """
    results = _mine(store.read_results(output_dir))
    curves = trial_curves(results)
    if not curves:
        return []
    drawn: list[figures.Drawing] = [
        (
            "curves",
            "Distance from initialization and test accuracy against sparsity",
            crossing_reading(curves),
            "SDD figure 7",
            distance_and_accuracy(results, curves),
        ),
        (
            "correlation",
            "Test accuracy against distance from initialization",
            correlation_reading(curves),
            "SDD section 5",
            accuracy_against_distance(curves),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Distance and accuracy at every level, their correlation, and where curves cross."""
    results = _mine(results)
    curves = trial_curves(results)
    made = (
        _levels_table(results),
        _correlation_table(curves, results),
        _crossings_table(curves, results),
    )
    return [table for table in made if len(table.numbers)]


def _mine(results: pd.DataFrame) -> pd.DataFrame:
    mine = results[results["experiment"] == EXPERIMENT]
    kept = branches.of_kinds(mine, (branches.TRUNK, branches.REDENSE))
    return branches.at_branching_level(kept)


@dataclass(frozen=True)
class TrialCurves:
    """One trial's means over seeds, by branch, each a table indexed by level.

    Attributes:
      trial: the trial.
      name: what figures call it.
      by_branch: rows of `tables.aggregate`; the trunk first.
      rows: those of results.csv.
    """

    trial: str
    name: str
    by_branch: dict[str, pd.DataFrame]
    rows: pd.DataFrame = field(repr=False, compare=False)

    @property
    def branches(self) -> list[str]:
        """The branches beside the trunk."""
        return [branch for branch in self.by_branch if branch != branches.TRUNK]

    def shared_levels(self, branch: str) -> pd.Index:
        """The levels at which both the trunk and the branch are there, increasing."""
        trunk = self.by_branch.get(branches.TRUNK, pd.DataFrame())
        return trunk.index.intersection(self.by_branch[branch].index)

    def crossings(self, column: str, branch: str) -> list[float]:
        """The sparsities where the trunk's and the branch's curves cross, on the papers' axis.

        Only where the two differ over seeds on both sides (`analysis.crossings`).
        """
        levels = self.shared_levels(branch)
        if levels.empty:
            return []
        trunk = self.by_branch[branches.TRUNK]
        position = style.sparsity_position(trunk.loc[levels, "weights_remaining"])
        sparse, dense = (
            self.rows[self.rows["branch"] == name].pivot_table(
                index="seed", columns="level", values=column, dropna=False
            )
            for name in (branches.TRUNK, branch)
        )
        gap = (sparse - dense).reindex(columns=levels)
        return [1 - math.exp(-x) for x in analysis.crossings(position, gap)]

    def correlations(self) -> dict[str, statistics.Correlation]:
        """Of distance and accuracy over levels, by branch; and of trunk minus branch."""
        found = {
            branches.name(branch): _correlation(table) for branch, table in self.by_branch.items()
        }
        if branches.TRUNK in self.by_branch:
            for branch in self.branches:
                gap = self.by_branch[branches.TRUNK] - self.by_branch[branch]
                options = branches.name(branch).removeprefix(branches.name(branches.REDENSE))
                found[_GAP + options] = _correlation(gap)
        return found


def _correlation(table: pd.DataFrame) -> statistics.Correlation:
    return statistics.correlation(table[f"{DISTANCE}_mean"], table[f"{ACCURACY}_mean"])


def trial_curves(results: pd.DataFrame) -> list[TrialCurves]:
    """The curves of every trial, in the order of `results`."""
    if results[DISTANCE].isna().all():
        return []
    table = tables.aggregate(results, (DISTANCE, ACCURACY))
    numbers = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    return [
        TrialCurves(
            trial,
            name,
            {
                str(branch): rows[numbers].set_index("level")
                for branch, rows in table[table["trial"] == trial].groupby("branch", sort=True)
            },
            results[results["trial"] == trial],
        )
        for trial, name in trials.names(results).items()
    ]


def distance_and_accuracy(results: pd.DataFrame, curves: list[TrialCurves]) -> Figure:
    """Distance (blue, left) and last test accuracy (red, right) by sparsity (SDD figure 7).

    A panel per trial; sparse networks dashed, re-dense solid, mean ± std over seeds. A vertical
    line of the quantity's colour stands wherever its sparse and re-dense curves cross, and differ
    over seeds on both sides.
    """
    columns = figures.panel_columns(results, len(curves))
    rows = math.ceil(len(curves) / columns)
    with style.house_style():
        figure = style.new_figure(7.6 if columns == 1 else 5.0 * columns, 4.2 * rows + 0.7)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in panels[len(curves) :]:
            axes.set_axis_off()
        crossed: set[str] = set()
        for axes, trial in zip(panels, curves, strict=False):
            crossed |= _draw_trial(axes, trial)
        several = results["seed"].nunique() > 1
        _curves_legend(figure, curves, crossed, several)
    return figure


def _draw_trial(axes: Axes, trial: TrialCurves) -> set[str]:
    """Draws a panel; returns the names of the quantities whose curves cross."""
    right = style.two_axes(axes, style.BLUE, style.VERMILLION)
    remaining = pd.concat([table["weights_remaining"] for table in trial.by_branch.values()])
    for branch, table in trial.by_branch.items():
        x = style.sparsity_position(table["weights_remaining"])
        linestyle = _style_of(branch, trial.branches)
        for panel, (column, _, color, scale) in zip((axes, right), _QUANTITIES, strict=True):
            figures.band(panel, x, table, column, color, linestyle, scale=scale)
    style.sparsity_axis(axes, remaining)
    axes.set_ylabel("ℓ2 distance from initialization")
    axes.set_ylim(bottom=0)
    style.percent_axis(right, "Last test accuracy (%)")
    axes.set_title(style.wrapped(trial.name, 60), pad=26)
    crossed = set()
    for column, name, color, _ in _QUANTITIES:
        sparsities = sorted(s for b in trial.branches for s in trial.crossings(column, b))
        if sparsities:
            crossed.add(name)
            _mark_crossings(axes, sparsities, color, 12 if column == ACCURACY else 2)
    return crossed


def _style_of(branch: str, others: list[str]) -> Any:
    return "--" if branch == branches.TRUNK else _DENSE_STYLES[others.index(branch) % 3]


def _mark_crossings(axes: Axes, sparsities: list[float], color: str, height: float) -> None:
    """Vertical lines, labelled `height` points above the panel, where a label has room."""
    low, high = axes.get_xlim()
    free = low
    for sparsity in sparsities:
        x = float(style.sparsity_position(1 - sparsity))
        axes.axvline(x, color=color, linestyle=":", linewidth=1.4)
        if x < free:
            continue
        free = x + _LABEL_ROOM * (high - low)
        axes.annotate(
            tables.sparsity_percent(sparsity),
            (x, 1),
            xytext=(0, height),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=color,
        )


def _curves_legend(
    figure: Figure, curves: list[TrialCurves], crossed: set[str], several_seeds: bool
) -> None:
    names = {
        branches.name(branch): _style_of(branch, trial.branches)
        for trial in curves
        for branch in trial.by_branch
    }
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, linestyle=linestyle, label=f"{quantity}, {branch}")
        for _, quantity, color, _ in _QUANTITIES
        for branch, linestyle in names.items()
    ]
    handles += [
        Line2D([], [], color=color, linestyle=":", label=f"{quantity} curves cross (sparsity, %)")
        for _, quantity, color, _ in _QUANTITIES
        if quantity in crossed
    ]
    handles += [figures.std_handle(style.BLACK)] if several_seeds else []
    figures.legend_below(figure, handles)


def accuracy_against_distance(curves: list[TrialCurves]) -> Figure:
    """Last test accuracy against distance from initialization, a point per level (SDD section 5).

    A row per trial; on the left the means over seeds, on the right trunk minus branch at the same
    sparsity: in the upper left quarter the sparse network is closer to initialization and better.
    """
    paired = [bool(trial.branches) and branches.TRUNK in trial.by_branch for trial in curves]
    columns = 2 if any(paired) else 1
    with style.house_style():
        figure = style.new_figure(5.6 * columns, 3.9 * len(curves))
        grid = figure.subplots(len(curves), columns, squeeze=False)
        for line, trial, has_gap in zip(grid, curves, paired, strict=True):
            _draw_points(line[0], trial)
            if has_gap:
                _draw_gaps(line[1], trial)
            elif columns == 2:
                line[1].set_axis_off()
    return figure


def _draw_points(axes: Axes, trial: TrialCurves) -> None:
    for index, (branch, table) in enumerate(trial.by_branch.items()):
        axes.plot(
            table[f"{DISTANCE}_mean"],
            100 * table[f"{ACCURACY}_mean"],
            color=style.CYCLE[index % len(style.CYCLE)],
            marker=style.MARKERS[index % len(style.MARKERS)],
            linewidth=0.7,
            label=_with_r(branches.name(branch), _correlation(table)),
        )
    axes.set_xlabel("ℓ2 distance from initialization")
    axes.set_title(style.wrapped(trial.name, 48))
    style.percent_axis(axes, "Last test accuracy (%)")
    axes.legend(title="A point per level", loc="best")


def _draw_gaps(axes: Axes, trial: TrialCurves) -> None:
    trunk = trial.by_branch[branches.TRUNK]
    found = trial.correlations()
    for index, branch in enumerate(trial.branches, start=1):
        gap = trunk - trial.by_branch[branch]
        gap = gap.dropna(subset=[f"{DISTANCE}_mean", f"{ACCURACY}_mean"])
        name = next(n for n in found if n == _GAP + branches.name(branch).removeprefix("re-dense"))
        axes.plot(
            gap[f"{DISTANCE}_mean"],
            100 * gap[f"{ACCURACY}_mean"],
            color=style.CYCLE[(index + 1) % len(style.CYCLE)],
            marker=style.MARKERS[index % len(style.MARKERS)],
            linewidth=0.7,
            label=_with_r(name, found[name]),
        )
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.axvline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xlabel("Difference in distance, sparse minus re-dense")
    axes.set_ylabel("Difference in last test accuracy\n(points)")
    axes.legend(loc="best")


def _with_r(name: str, found: statistics.Correlation) -> str:
    if math.isnan(found.pearson):
        return name
    return f"{name}: r = {found.pearson:.2f}"


def crossing_reading(curves: list[TrialCurves]) -> str:
    """Where the sparse and re-dense curves cross, in one sentence."""
    pairs = ((t, b, t.shared_levels(b)) for t in curves for b in t.branches)
    trial, branch, levels = next((p for p in pairs if len(p[2]) > 1), (None, "", pd.Index([])))
    if trial is None:
        return "There are no two levels yet at which both sparse and re-dense networks are there."
    said = [
        f"the {name} curves {_crossing_text(trial.crossings(column, branch))}"
        for column, name, _, _ in reversed(_QUANTITIES)
    ]
    trunk, dense = (trial.by_branch[b].loc[levels[-1]] for b in (branches.TRUNK, branch))
    start = f"With {trial.name}: of" if len(curves) > 1 else "Of"
    where = branches.sparsity_text(float(trunk["sparsity"]))
    return (
        f"{start} sparse and re-dense networks, {' and '.join(said)}; at {where} the sparse one "
        f"lies {_place(trunk)}, the re-dense one {_place(dense)}."
    )


def _place(row: pd.Series) -> str:
    """The distance and the accuracy of a level, in words."""
    distance = tables.measured([row[f"{DISTANCE}_mean"]], [row[f"{DISTANCE}_std"]])[0]
    accuracy = tables.plus_minus([row[f"{ACCURACY}_mean"]], [row[f"{ACCURACY}_std"]])[0]
    return f"{distance or '?'} from initialization, with {accuracy or '?'}% test accuracy"


def _crossing_text(sparsities: list[float]) -> str:
    if not sparsities:
        return "do not clearly cross"
    texts = [branches.sparsity_text(sparsity) for sparsity in sparsities]
    if len(texts) > 3:
        return f"cross {len(texts)} times between {texts[0]} and {texts[-1]} sparsity"
    return f"cross at {' and '.join(texts)} sparsity"


def correlation_reading(curves: list[TrialCurves]) -> str:
    """How distance and accuracy go together over levels, in one sentence."""
    trial = curves[0]
    said = [_correlation_text(name, found) for name, found in trial.correlations().items()]
    start = f"With {trial.name}: over" if len(curves) > 1 else "Over"
    return (
        f"{start} levels, distance from initialization and last test accuracy correlate for "
        f"{'; '.join(said)}."
    )


def _correlation_text(name: str, found: statistics.Correlation) -> str:
    if math.isnan(found.pearson):
        return f"{name} not measurably (n = {found.n})"
    return (
        f"{name} with r = {found.pearson:.2f} ({figures.p_value(found.pearson_p)}), "
        f"τ = {found.kendall:.2f} ({figures.p_value(found.kendall_p)}), n = {found.n}"
    )


def _levels_table(results: pd.DataFrame) -> tables.Table:
    numbers = tables.aggregate(results, (DISTANCE, ACCURACY))
    labels = tables.label_table(numbers, results).assign(
        network=numbers["branch"].map(branches.name)
    )
    shown = labels.assign(level=numbers["level"].astype(str))
    shown["sparsity (%)"] = [tables.sparsity_percent(value) for value in numbers["sparsity"]]
    shown["distance"] = tables.measured(numbers[f"{DISTANCE}_mean"], numbers[f"{DISTANCE}_std"])
    shown["last test (%)"] = tables.plus_minus(
        numbers[f"{ACCURACY}_mean"], numbers[f"{ACCURACY}_std"]
    )
    shown["seeds"] = numbers["n"].astype(str)
    if numbers["missing_seeds"].ne("").any():
        shown["missing seeds"] = numbers["missing_seeds"]
    title = (
        "ℓ2 distance from initialization and last test accuracy, mean ± std over seeds; re-dense "
        "networks at the sparsity before their masks were lifted"
    )
    full = tables.with_settings(numbers, results)
    return tables.Table(f"{EXPERIMENT}_levels", title, full, shown, tuple(map(str, labels)))


def _correlation_table(curves: list[TrialCurves], results: pd.DataFrame) -> tables.Table:
    rows = [
        (trial.trial, name, c.n, c.pearson, c.pearson_p, c.kendall, c.kendall_p)
        for trial in curves
        for name, c in trial.correlations().items()
    ]
    columns = ["trial", "network", "n", "pearson", "pearson_p", "kendall", "kendall_p"]
    numbers = pd.DataFrame(rows, columns=columns)
    labels = tables.label_table(numbers, results).assign(network=numbers["network"])
    shown = labels.copy()
    for column, heading in (("pearson", "Pearson's r"), ("kendall", "Kendall's τ")):
        shown[heading] = [_number(value, "+.3f") for value in numbers[column]]
        shown[f"p ({heading[-1]})"] = [_number(value, ".2g") for value in numbers[f"{column}_p"]]
    shown["levels"] = numbers["n"].astype(str)
    title = (
        "Correlation of distance from initialization and last test accuracy over levels, of means "
        "over seeds, two-sided p-values"
    )
    full = tables.with_settings(numbers, results)
    return tables.Table(f"{EXPERIMENT}_correlation", title, full, shown, tuple(map(str, labels)))


def _number(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)


def _crossings_table(curves: list[TrialCurves], results: pd.DataFrame) -> tables.Table:
    rows = [
        (trial.trial, branch, column, sparsity)
        for trial in curves
        for branch in trial.branches
        for column, *_ in reversed(_QUANTITIES)
        for sparsity in trial.crossings(column, branch)
    ]
    numbers = pd.DataFrame(rows, columns=["trial", "branch", "quantity", "sparsity"])
    labels = tables.label_table(numbers, results).assign(quantity=numbers["quantity"])
    if numbers["branch"].nunique() > 1:
        labels["network"] = numbers["branch"].map(branches.name)
    shown = labels.assign(
        **{"sparsity (%)": [tables.sparsity_percent(s) for s in numbers["sparsity"]]}
    )
    title = (
        "Sparsities at which the curves of sparse and re-dense networks cross, both sides apart by "
        "at least one std over seeds"
    )
    full = tables.with_settings(numbers, results)
    return tables.Table(f"{EXPERIMENT}_crossings", title, full, shown, tuple(map(str, labels)))
