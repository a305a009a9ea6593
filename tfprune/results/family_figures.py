"""Figures of families of models: a panel a model, a colour a noise level, a star at the optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune.results import figures, style
from tfprune.results.families import (
    DENSE,
    METHOD_NAMES,
    TEST_ERROR,
    Benchmark,
    Family,
    by_benchmark,
    by_panel,
    compare_optima,
    number_text,
    optimal_errors,
    percent_text,
    remaining_text,
)

_MAX_COLUMNS = 3
_TITLE_LETTERS = 44
# A panel goes this many points above the dense models at least, then curves leave it.
_LEAST_HEADROOM = 4.0
# A panel is this many points high at least: smaller differences are noise.
_LEAST_HEIGHT = 2.0
# Ticks of an axis where families do not share their sizes, in percent.
_ROUND_PERCENTS = (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
      family: what it shows.
      color: of line, shading and star.
      linestyle: as matplotlib's.
      marker: as matplotlib's; "" for none.
      column: of the family's points.
    """

    family: Family
    color: str
    linestyle: str = "-"
    marker: str = "o"
    column: str = TEST_ERROR


# Where the members of a family stand, `[members]`, from its table of means.
Place = Callable[[pd.DataFrame], np.ndarray]


def by_remaining(table: pd.DataFrame) -> np.ndarray:
    """-ln of weights remaining of the full dense model's: the papers' axis, dense at 0."""
    return style.sparsity_position(table["weights_remaining"])


def by_epochs(table: pd.DataFrame) -> np.ndarray:
    """All epochs trained so far."""
    return table["total_epochs"].to_numpy(float)


def by_weights(table: pd.DataFrame) -> np.ndarray:
    """How many convolution and dense weights are left."""
    return table["weights"].to_numpy(float)


def noise_colors(found: Iterable[Family]) -> dict[str, str]:
    """Noise in words -> its colour, the same in all panels; by rising noise."""
    marks = {family.benchmark for family in found}
    ordered = sorted(marks, key=lambda mark: (mark.noise_fraction, mark.label_noise))
    names = list(dict.fromkeys(mark.noise for mark in ordered))
    return {name: style.CYCLE[n % len(style.CYCLE)] for n, name in enumerate(names)}


def curves(
    found: Iterable[Family], markers: Mapping[str, str], column: str = TEST_ERROR
) -> dict[str, list[Curve]]:
    """A curve per family by panel, coloured by noise, with a marker by method."""
    found = list(found)
    colors = noise_colors(found)
    return {
        panel: [
            Curve(f, colors[f.benchmark.noise], "-", markers.get(f.method, ""), column)
            for f in here
        ]
        for panel, here in by_panel(found).items()
    }


def panels(count: int, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, up to three side by side; call it in the house style."""
    columns = 2 if count == 4 else min(count, _MAX_COLUMNS)
    rows = math.ceil(count / columns)
    figure = style.new_figure(7.4 if columns == 1 else 4.5 * columns, height * rows + 0.8)
    grid = list(figure.subplots(rows, columns, squeeze=False).flatten())
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def title(axes: Axes, text: str) -> None:
    axes.set_title(style.wrapped(text, _TITLE_LETTERS))


def draw(axes: Axes, curve: Curve, place: Place, dense_color: str = "") -> None:
    """A family's mean ± std over seeds, and a star at its optimal member if it differs from dense.

    Its dense model is a dashed line of `dense_color`; "" for none.
    """
    table = curve.family.means(curve.column)
    x = place(table)
    figures.band(axes, x, table, curve.column, curve.color, curve.linestyle, curve.marker, scale=1)
    mean = table[f"{curve.column}_mean"]
    if dense_color and 0 in mean.index:
        axes.axhline(float(mean[0]), color=dense_color, linestyle="--", linewidth=1.1, alpha=0.8)
    optimal = curve.family.marked_optimum()
    if optimal is not None and optimal in mean.index:
        here = float(x[table.index.get_loc(optimal)])
        axes.plot(
            here,
            float(mean[optimal]),
            marker="*",
            markersize=14,
            color=curve.color,
            markeredgecolor=style.BLACK,
            markeredgewidth=0.7,
            linestyle="",
            zorder=6,
        )


def error_axis(axes: Axes, drawn: Sequence[Curve]) -> None:
    """Labels the axis of test errors, and cuts off what is far worse than the dense models.

    A pruned network ends at chance; on an axis that reaches there no difference can be seen.
    """
    means = [curve.family.means(TEST_ERROR)[f"{TEST_ERROR}_mean"] for curve in drawn]
    means = [mean for mean in means if len(mean)]
    if means:
        low = min(float(mean.min()) for mean in means)
        dense = max(float(mean.iloc[0]) for mean in means)
        highest = max(float(mean.max()) for mean in means)
        room = max(_LEAST_HEADROOM, dense - low)
        top = min(highest, dense + room)
        pad = 0.06 * max(top - low, _LEAST_HEIGHT)
        axes.set_ylim(low - 1.5 * pad, max(top, low + _LEAST_HEIGHT) + pad)
    axes.set_ylabel("Test error (%)")


def remaining_axis(axes: Axes, weights_remaining: Iterable[float]) -> None:
    """The papers' axis, labelled with weights remaining, ticks at levels; dense on the left."""
    remaining = np.array(sorted(set(weights_remaining), reverse=True))
    positions, _ = style.sparsity_ticks(remaining, max_ticks=7)
    axes.set_xticks(positions, [percent_text(math.exp(-x)) for x in positions])
    axes.set_xticks(style.sparsity_position(remaining), minor=True)
    axes.set_xlabel("Weights remaining (%)")


def _round_remaining_axis(axes: Axes) -> None:
    """As `remaining_axis`, at round numbers, for families that do not share their sizes."""
    _, high = axes.get_xlim()
    shown = [p for p in _ROUND_PERCENTS if -math.log(p / 100) <= high]
    while len(shown) > 8:
        shown = shown[::2]
    axes.set_xticks([-math.log(p / 100) for p in shown], [f"{p:g}" for p in shown])
    axes.set_xlabel("Weights remaining (%)")


def method_handles(markers: Mapping[str, str], names: Mapping[str, str]) -> list[Line2D]:
    """Legend entries of the methods, by marker."""
    return [
        Line2D([], [], color=style.BLACK, marker=marker, label=names.get(method, method))
        for method, marker in markers.items()
    ]


def line_handles(
    styles: Mapping[str, tuple[str, str]], names: Mapping[str, str] = METHOD_NAMES
) -> list[Line2D | Patch]:
    """Legend entries of methods drawn in (colour, marker)."""
    return [
        Line2D([], [], color=color, marker=marker, label=names.get(method, method))
        for method, (color, marker) in styles.items()
    ]


def noise_handles(found: Iterable[Family], colors: Mapping[str, str] | None = None) -> list[Line2D]:
    """Legend entries of the noise levels, by colour; `colors` as `noise_colors` gives them."""
    found = list(found)
    colors = colors or noise_colors(found)
    names = {family.benchmark.noise for family in found}
    return [
        Line2D([], [], color=color, linewidth=3, label=name)
        for name, color in colors.items()
        if name in names
    ]


def common_handles(
    found: Iterable[Family], what: str = "optimal sparsity", dense_line: bool = True
) -> list[Line2D | Patch]:
    """Legend entries of the star, where there is any, the dashed line and the shading."""
    found = list(found)
    label = f"{what}, where it differs from dense"
    star = Line2D(
        [], [], marker="*", markersize=12, color="white", markeredgecolor=style.BLACK, label=label
    )
    is_marked = any(family.marked_optimum() is not None for family in found)
    handles: list[Line2D | Patch] = [star] if is_marked else []
    if dense_line:
        handles.append(Line2D([], [], color=style.BLACK, linestyle="--", label="dense"))
    several = any(len(family.seeds) > 1 for family in found)
    return handles + ([figures.std_handle(style.BLACK)] if several else [])


def by_method(
    found: Sequence[Family],
    markers: Mapping[str, str],
    place: Place,
    names: Mapping[str, str] | None = None,
    what: str = "optimal sparsity",
) -> Figure | None:
    """Test error of several methods: a panel a model, a colour a noise level, a marker a method.

    Args:
      found: the families; None is drawn of none.
      markers: by method.
      place: the x axis: `by_remaining` or `by_epochs`.
      names: what the legend calls the methods.
      what: what it calls the star.
    """
    if not found:
        return None
    with style.house_style():
        drawn = curves(found, markers)
        figure, grid = panels(len(drawn))
        for axes, (panel, lines) in zip(grid, drawn.items(), strict=True):
            for line in lines:
                is_first = line.family.method == lines[0].family.method
                draw(axes, line, place, line.color if is_first else "")
            error_axis(axes, lines)
            _x_axis(axes, lines, place)
            title(axes, panel)
        used = {m: mark for m, mark in markers.items() if any(f.method == m for f in found)}
        handles: list[Line2D | Patch] = [*noise_handles(found)]
        handles += method_handles(used, names or METHOD_NAMES) if len(used) > 1 else []
        figures.legend_below(figure, [*handles, *common_handles(found, what)])
    return figure


def _x_axis(axes: Axes, lines: Sequence[Curve], place: Place) -> None:
    if place is not by_remaining:
        style.epoch_axis(axes)
        axes.set_xlabel("Training epochs")
    elif any(line.family.is_of_widths for line in lines):
        _round_remaining_axis(axes)
    else:
        tables = [line.family.means(line.column)["weights_remaining"] for line in lines]
        remaining_axis(axes, pd.concat(tables))


def comparison_reading(found: Iterable[Family], first: str, second: str) -> str:
    """How the optimal models of two methods compare, in one sentence.

    Args:
      found: families; benchmarks that lack one of the two are left out.
      first: a method.
      second: a method, or `dense`.
    """
    marks = {
        mark: here
        for mark, here in by_benchmark(found).items()
        if compare_optima(here, first, second).n
    }
    names = [METHOD_NAMES.get(method, method) for method in (first, second)]
    if not marks:
        return f"{_start(names[0])} and {names[1]} are not both there yet."
    if len(marks) == 1:
        ((mark, here),) = marks.items()
        return _one_reading(mark, here, first, second)
    gaps = [compare_optima(here, first, second) for here in marks.values()]
    counts = {v: sum(gap.verdict == v for gap in gaps) for v in ("lower", "matches", "higher", "")}
    text = (
        f"At its optimum, {names[0]} has lower test error than {names[1]} on {counts['lower']} of "
        f"{len(gaps)} benchmarks, higher on {counts['higher']}, and matches on {counts['matches']}"
    )
    return text + (f"; {counts['']} with one seed tell nothing." if counts[""] else ".")


def _one_reading(mark: Benchmark, here: Mapping[str, Family], first: str, second: str) -> str:
    gap = compare_optima(here, first, second)
    values = [np.array(list(optimal_errors(here, method).values())) for method in (first, second)]
    texts = [
        number_text(float(v.mean()), float(v.std(ddof=1)) if v.size > 1 else math.nan, 2)
        for v in values
    ]
    what = "they match" if gap.verdict == "matches" else f"the first is {gap.verdict}"
    tail = f": {what} (n = {gap.n})" if gap.verdict else ": one seed cannot tell a difference"
    where = remaining_text(here[first], here[first].optimal())
    at = f" with {where}% of the weights" if where != "100" else ""
    other = "the dense model" if second == DENSE else METHOD_NAMES.get(second, second)
    return (
        f"On {mark.name}, the best test error of {METHOD_NAMES.get(first, first)} is "
        f"{texts[0]}%{at}, of {other} {texts[1]}%{tail}."
    )


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
