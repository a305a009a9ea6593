"""Figures that several experiments share: curves over sparsity and over epochs, mean ± std."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from tfprune.report import style, tables, trials
from tfprune.report.experiment import Drawn

_MAX_COLUMNS = 3
_MOST_SAMPLES = 5
MEMORIZATION: tuple[tuple[str, str, str, Any], ...] = (
    ("unpermuted_accuracy", "unpermuted", style.BLUE, "-"),
    ("permuted_accuracy", "permuted", style.VERMILLION, "--"),
    ("restored_accuracy", "restored", style.GREEN, "-."),
)
MEMORIZATION_COLUMNS = tuple(column for column, *_ in MEMORIZATION)


FigureInfo = Drawn
# (name, title, reading, where the paper shows it, the figure or None if there are no data for it)
Drawing = tuple[str, str, str, str, Figure | None]


def save_all(
    output_dir: epath.PathLike, experiment: str, drawn: Iterable[Drawing]
) -> list[FigureInfo]:
    """Writes figures/EXPERIMENT_NAME.png for every drawing that there is.

    Raises:
      InputError: the folder cannot be written.
    """
    return [
        FigureInfo(
            style.save_figure(output_dir, f"{experiment}_{name}", figure), title, reading, paper
        )
        for name, title, reading, paper, figure in drawn
        if figure is not None
    ]


@dataclass(frozen=True)
class Sample:
    """A level that is shown in detail, and why: a role of `analysis.ROLES`, or ""."""

    level: int
    sparsity: float
    role: str
    color: str

    @property
    def percent(self) -> str:
        return f"{tables.sparsity_percent(self.sparsity)}%"

    @property
    def role_name(self) -> str:
        return style.ROLE_LABELS.get(self.role, "")


def accuracy_against_sparsity(
    results: pd.DataFrame, branch_names: Mapping[str, str] | None = None
) -> Figure:
    """Train accuracy above, test accuracy below, against sparsity (SDD figures 1 and 8).

    Last test accuracy is solid, best dotted, shading is ± std over seeds. A line per criterion
    (and branch), a pair of panels per combination of the other settings that vary. Where a
    panel has one line, the five sparsities of SDD 3.2 are marked, those that can be told from noise
    (`analysis.five_sparsities`). Panels of one dataset share
    their axes of accuracy.

    Args:
      results: rows of results.csv, of one experiment.
      branch_names: what the legend calls a branch; default its own name, "trunk" for the trunk.
    """
    panels = trials.names(results, without=("criterion",))
    lines = _line_names(results, branch_names or {"": "trunk"})
    table = tables.aggregate(results)
    table["panel"] = table["trial"].map(panels)
    table["line"] = [lines[key] for key in zip(table["trial"], table["branch"], strict=True)]
    titles, names = list(dict.fromkeys(panels.values())), list(dict.fromkeys(lines.values()))
    with style.house_style():
        figure, pairs = _paired_axes(len(titles), panel_columns(results, len(titles)))
        roles: set[str] = set()
        for (upper, lower), title in zip(pairs, titles, strict=True):
            rows = table[table["panel"] == title]
            _draw_accuracy(upper, lower, rows, names)
            upper.set_title(style.wrapped(title, 60 if len(titles) == 1 else 44))
            if len(rows.groupby(["trial", "branch"])) == 1:
                trial, branch = rows[["trial", "branch"]].iloc[0]
                own = results[(results["trial"] == trial) & (results["branch"] == branch)]
                roles |= _mark_roles(lower, rows, roles_of(own))
        shared = "dataset" not in trials.varying(results)
        for group in zip(*pairs, strict=True) if shared else ((a,) for p in pairs for a in p):
            style.same_limits(group)
        marked = [role for role in analysis.ROLES if role in roles]
        _accuracy_legend(figure, names, marked, several_seeds=table["n"].max() > 1)
    return figure


def _line_names(
    results: pd.DataFrame, branch_names: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """(trial, branch) -> what the legend calls its line."""
    known = trials.settings(results)
    has_branches = results["branch"].ne("").any()
    by_criterion = "criterion" in (trials.varying(results) if has_branches else known)
    names = {}
    for trial, branch in results[["trial", "branch"]].drop_duplicates().itertuples(index=False):
        criterion = str(known["criterion"][trial]) if by_criterion else ""
        parts = [criterion, branch_names.get(branch, branch) if has_branches else ""]
        names[(trial, branch)] = ", ".join(part for part in parts if part)
    return names


def panel_columns(results: pd.DataFrame, panels: int) -> int:
    """How many panels stand side by side, so that rows and columns have a meaning.

    Where a product of settings was run, a column per value of the last that varies, up to four;
    else three at most.
    """
    fields = [name for name in trials.varying(results) if name != "criterion"]
    if len(fields) > 1:
        values = int(trials.settings(results)[fields[-1]].nunique(dropna=False))
        if values <= _MAX_COLUMNS + 1 and panels % values == 0:
            return values
    return min(panels, _MAX_COLUMNS + (panels == _MAX_COLUMNS + 1))


def _paired_axes(count: int, columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    blocks = math.ceil(count / columns)
    figure = style.new_figure(7.2 if count == 1 else 4.4 * columns, 5.2 * blocks + 0.6)
    grid = figure.subplots(2 * blocks, columns, squeeze=False, height_ratios=[1, 1.6] * blocks)
    pairs = []
    for index in range(blocks * columns):
        row, column = divmod(index, columns)
        upper, lower = grid[2 * row][column], grid[2 * row + 1][column]
        if index < count:
            upper.sharex(lower)
            upper.tick_params(labelbottom=False)
            pairs.append((upper, lower))
        else:
            upper.set_axis_off()
            lower.set_axis_off()
    return figure, pairs


def _draw_accuracy(upper: Axes, lower: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    style.sparsity_axis(lower, rows["weights_remaining"])
    upper.set_xticks(lower.get_xticks())
    for _, series in rows.groupby(["trial", "branch"], sort=False):
        series, line = series.sort_values("level"), str(series["line"].iloc[0])
        x, color = style.sparsity_position(series["weights_remaining"]), style.color_of(line, names)
        marker = style.MARKERS[names.index(line) % len(style.MARKERS)]
        band(upper, x, series, "train_accuracy", color, "-", marker)
        band(lower, x, series, "test_accuracy_last", color, "-", marker)
        band(lower, x, series, "test_accuracy_best", color, ":", "")
    style.percent_axis(upper, "Train accuracy (%)")
    style.percent_axis(lower, "Test accuracy (%)")


def band(
    axes: Axes,
    x: np.ndarray,
    series: pd.DataFrame,
    column: str,
    color: str,
    linestyle: str,
    marker: str = "",
    scale: float = 100,
) -> None:
    """A line of means, shaded by ± std; without a std (one seed) the line alone.

    Args:
      axes: where to.
      x: `[points]`.
      series: has COLUMN_mean and COLUMN_std, a row per point.
      column: what is drawn.
      color: of line and shade.
      linestyle: as matplotlib's.
      marker: as matplotlib's; "" for none.
      scale: multiplies the values; 100 shows fractions in %.
    """
    mean = scale * series[f"{column}_mean"].to_numpy(float)
    std = scale * series[f"{column}_std"].fillna(0).to_numpy(float)
    axes.plot(x, mean, color=color, linestyle=linestyle, marker=marker)
    axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.18, linewidth=0)


def _mark_roles(axes: Axes, rows: pd.DataFrame, roles: Mapping[str, int]) -> set[str]:
    """Marks the five sparsities on the curve that each is read from; returns those there are."""
    by_level = rows.set_index("level")
    for role, level in roles.items():
        kind = "best" if role == "sweet_spot_best" else "last"
        row = by_level.loc[level]
        axes.plot(
            style.sparsity_position(row["weights_remaining"]),
            100 * row[f"test_accuracy_{kind}_mean"],
            marker="o",
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=1.2,
            color=style.ROLE_COLORS[role],
            zorder=5,
        )
    return set(roles)


def roles_of(results: pd.DataFrame) -> dict[str, int]:
    """`analysis.five_sparsities` of the rows of results.csv of one trial and branch."""
    last, best = (
        results.pivot_table(index="seed", columns="level", values=column, dropna=False)
        for column in ("test_accuracy_last", "test_accuracy_best")
    )
    return analysis.five_sparsities(last.columns, last.to_numpy(float), best.to_numpy(float))


def _accuracy_legend(
    figure: Figure, names: list[str], roles: list[str], several_seeds: bool
) -> None:
    plain = style.color_of(names[0], names) if len(names) == 1 else style.BLACK
    handles: list[Line2D | Patch] = []
    if len(names) > 1:
        for index, name in enumerate(names):
            marker = style.MARKERS[index % len(style.MARKERS)]
            color = style.color_of(name, names)
            handles.append(Line2D([], [], color=color, marker=marker, label=name))
    handles += [
        Line2D([], [], color=plain, label="last epoch"),
        Line2D([], [], color=plain, linestyle=":", label="best epoch (test)"),
    ]
    handles += [std_handle(plain)] if several_seeds else []
    handles += [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=8,
            color=style.ROLE_COLORS[role],
            label=style.ROLE_LABELS[role],
        )
        for role in roles
    ]
    legend_below(figure, handles)


def std_handle(color: str) -> Patch:
    """What a legend says of the shading."""
    return Patch(color=color, alpha=0.18, linewidth=0, label="± std over seeds")


def legend_below(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """One legend for all panels, in as few rows below them as the figure's width allows."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = style.legend_columns(labels, figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def samples_of(
    results: pd.DataFrame, trial: str, among: Collection[int] | None = None
) -> list[Sample]:
    """The levels of a trial to show in detail: the five of SDD 3.2, by level.

    Where fewer than three of them can be told (too few levels, no label noise, one seed), up to
    five levels at even distances instead.

    Args:
      results: rows of results.csv.
      trial: which one.
      among: the levels to choose from, all of them if there are five or fewer; default those of
        the trunk.
    """
    trunk = results[(results["trial"] == trial) & (results["branch"] == "")]
    table = tables.aggregate(trunk).sort_values("level")
    sparsity = {int(n): s for n, s in zip(table["level"], table["sparsity"], strict=True)}
    levels = sorted(sparsity if among is None else set(among) & set(sparsity))
    roles = {level: role for role, level in roles_of(trunk).items()}
    roles = roles if len(roles) >= 3 else {}
    named = [level for level in levels if level in roles]
    if len(named) >= 3 and (among is None or len(levels) > _MOST_SAMPLES):
        levels = named
    elif len(levels) > _MOST_SAMPLES:
        places = np.linspace(0, len(levels) - 1, _MOST_SAMPLES).round().astype(int)
        levels = [levels[place] for place in places]
    spare = iter(style.ROLE_COLORS[r] for r in style.ROLE_COLORS if r not in map(roles.get, levels))
    return [
        Sample(level, sparsity[level], roles[level], style.ROLE_COLORS[roles[level]])
        if level in roles
        else Sample(level, sparsity[level], "", next(spare))
        for level in levels
    ]


def epoch_curves(
    output_dir: epath.PathLike, results: pd.DataFrame, trial: str, level: int, branch: str = ""
) -> tuple[pd.DataFrame, int, int]:
    """The metrics of a level, or of a branch from it, against epoch: mean and std over seeds.

    Returns:
      A table indexed by epoch with COLUMN_mean and COLUMN_std (ddof 1) for every metric; over
      how many seeds; and how many seeds the level has in results.csv.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    rows = results[(results["trial"] == trial) & (results["branch"] == branch)]
    stages = rows.loc[rows["level"] == level, store.STAGE] if store.STAGE in rows else []
    found = [
        store.read_metrics(output_dir, stage)
        for stage in stages
        if stage and store.metrics_path(output_dir, stage).exists()
    ]
    if not found:
        return pd.DataFrame(), 0, len(stages)
    groups = pd.concat(found).groupby("epoch")
    mean, std = groups.mean().add_suffix("_mean"), groups.std(ddof=1).add_suffix("_std")
    return mean.join(std), len(found), len(stages)


def training_dynamics(output_dir: epath.PathLike, results: pd.DataFrame) -> Figure | None:
    """Train and test accuracy against epoch at the sampled sparsities (SDD figures 2 and 9).

    A row per trial, mean ± std over seeds. None where no stage has its metrics.csv.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    rows = _detailed(output_dir, results)
    if not rows:
        return None
    with style.house_style():
        figure = style.new_figure(11, 3.3 * len(rows))
        grid = figure.subplots(len(rows), 2, squeeze=False)
        for (train, test), (name, curves) in zip(grid, rows.items(), strict=True):
            for axes, column in ((train, "train_accuracy"), (test, "test_accuracy")):
                for label, sample, table in curves:
                    x = table.index.to_numpy(float)
                    band(axes, x, table, column, sample.color, "-")
                    axes.plot([], [], color=sample.color, label=label)
                style.epoch_axis(axes)
            style.percent_axis(train, "Train accuracy (%)")
            style.percent_axis(test, "Test accuracy (%)")
            train.set_title(style.wrapped(name, 55))
            test.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="Sparsity")
    return figure


_Curves = list[tuple[str, Sample, pd.DataFrame]]


def _detailed(output_dir: epath.PathLike, results: pd.DataFrame) -> dict[str, _Curves]:
    """{trial's name: (label, sample, curves over epochs)} of every sample that has metrics."""
    found: dict[str, _Curves] = {}
    for trial, name in trials.names(results).items():
        curves = []
        for sample in samples_of(results, trial):
            table, seeds, expected = epoch_curves(output_dir, results, trial, sample.level)
            if seeds:
                few = f" ({seeds} of {expected} seeds)" if seeds < expected else ""
                label = ", ".join(filter(None, (sample.role_name, sample.percent)))
                curves.append((label + few, sample, table))
        if curves:
            found[name] = curves
    return found


def memorization_dynamics(output_dir: epath.PathLike, results: pd.DataFrame) -> Figure | None:
    """Accuracy on unpermuted, permuted and restored examples by epoch (SDD figures 3, 10, 12).

    A row per trial, a panel per sampled sparsity. None where no trial has permuted examples.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    rows = {
        name: [curve for curve in curves if curve[2]["permuted_accuracy_mean"].notna().any()]
        for name, curves in _detailed(output_dir, results).items()
    }
    rows = {name: curves for name, curves in rows.items() if curves}
    if not rows:
        return None
    columns = max(len(curves) for curves in rows.values())
    with style.house_style():
        figure = style.new_figure(max(2.5 * columns, 7), 2.9 * len(rows) + 0.5)
        grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
        for line, (name, curves) in zip(grid, rows.items(), strict=True):
            for axes in line[len(curves) :]:
                axes.set_axis_off()
            for axes, (_, sample, table) in zip(line, curves, strict=False):
                for column, _, color, linestyle in MEMORIZATION:
                    band(axes, table.index.to_numpy(float), table, column, color, linestyle)
                title = f"{sample.role_name}\nsparsity {sample.percent}".strip()
                axes.set_title(title, loc="center")
                axes.set_ylim(-3, 103)
                style.epoch_axis(axes)
            line[0].set_ylabel("Accuracy (%)")
            if len(rows) > 1:
                line[0].set_ylabel(f"{style.wrapped(name, 26)}\n\nAccuracy (%)")
        if len(rows) == 1:
            figure.suptitle(next(iter(rows)), fontsize=10.5)
        _memorization_legend(figure, results["seed"].nunique() > 1)
    return figure


def memorization_against_sparsity(results: pd.DataFrame) -> Figure | None:
    """Accuracy on unpermuted, permuted and restored examples after training, by sparsity.

    A panel per trial, mean ± std over seeds (SDD section 4, observation 1). None where no trial
    has permuted examples.
    """
    results = results[results["permuted_accuracy"].notna()]
    if results.empty:
        return None
    names = trials.names(results)
    table = tables.aggregate(results, MEMORIZATION_COLUMNS)
    columns = panel_columns(results, len(names))
    rows = math.ceil(len(names) / columns)
    with style.house_style():
        figure = style.new_figure(7.2 if columns == 1 else 4.4 * columns, 3.4 * rows + 0.6)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for axes, (trial, name) in zip(grid, names.items(), strict=False):
            series = table[table["trial"] == trial].sort_values("level")
            x = style.sparsity_position(series["weights_remaining"])
            for column, _, color, linestyle in MEMORIZATION:
                band(axes, x, series, column, color, linestyle)
            style.sparsity_axis(axes, series["weights_remaining"])
            axes.set_ylim(-3, 103)
            axes.set_ylabel("Accuracy (%)")
            axes.set_title(style.wrapped(name, 60 if columns == 1 else 44))
        for axes in grid[len(names) :]:
            axes.set_axis_off()
        _memorization_legend(figure, table["n"].max() > 1)
    return figure


def _memorization_legend(figure: Figure, several_seeds: bool) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, linestyle=linestyle, label=label)
        for _, label, color, linestyle in MEMORIZATION
    ]
    handles += [std_handle(style.BLACK)] if several_seeds else []
    legend_below(figure, handles)


def generic(output_dir: epath.PathLike, experiment: str) -> list[FigureInfo]:
    """What an experiment without a builder of its own gets: accuracy against sparsity.

    Raises:
      InputError: there is no results.csv, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    results = results[results["experiment"] == experiment]
    if results[list(tables.ACCURACY_COLUMNS)].isna().all(axis=None):
        return []
    table = tables.aggregate(results)
    peak = table.nlargest(1, "test_accuracy_last_mean")
    value = tables.plus_minus(peak["test_accuracy_last_mean"], peak["test_accuracy_last_std"])
    sparsity = tables.sparsity_percent(float(peak["sparsity"].iloc[0]))
    reading = f"Last test accuracy is highest, {value[0]}%, at {sparsity}% sparsity."
    file = style.save_figure(
        output_dir, f"{experiment}_accuracy", accuracy_against_sparsity(results)
    )
    return [FigureInfo(file, f"{experiment}: accuracy against sparsity", reading, "")]


def p_value(value: float) -> str:
    """A p-value in a sentence.

    Example:
      >>> [p_value(p) for p in (0.2345, 0.012, 0.00001)]
      ['p = 0.23', 'p = 0.012', 'p < 0.001']
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
