"""How figures look: colours, fonts, the sparsity axis, and bytes that depend on the data alone."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from etils import epath
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tfprune import files, layout
from tfprune.report.tables import sparsity_percent

DPI = 150
# Okabe and Ito's palette: told apart with every common kind of colour blindness.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#222222"
BROWN = "#7B4B2A"
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
CRITERION_COLORS = {
    "magnitude": BLUE,
    "gradient": VERMILLION,
    "random": GREEN,
    "snip": PURPLE,
    "synflow": ORANGE,
}
NETWORK_COLORS = {
    "sparse": BLUE,
    "lottery ticket": BLUE,
    "re-dense": ORANGE,
    "random reinitialization": ORANGE,
}
ROLE_LABELS = {
    "dense": "dense",
    "overfitting": "overfitting",
    "sweet_spot_last": "sweet spot (last)",
    "sweet_spot_best": "sweet spot (best)",
    "underfitting": "underfitting",
}
MARKERS = "osD^vPX"
# Every fourth level where a level removes 20%, as in the papers' figures.
_PAPER_GAP = -4 * np.log(0.8)
# Inches that a legend entry takes beside its label, and a letter of it, at 9 points.
_LEGEND_HANDLE, _LEGEND_LETTER = 0.62, 0.073
_SETTINGS: Any = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # It comes with matplotlib: the same glyphs everywhere.
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 4,
    "svg.hashsalt": "tfprune",
    "pdf.fonttype": 42,  # Letters stay letters, as publishers ask.
}
# What would tell one file of a figure from another: a version or a date.
_CHANGES = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """The suite's look, whatever the user's matplotlibrc says; undone on leaving."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # Leaves the backend alone.
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, on the Agg canvas, apart from pyplot."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def save_figure(
    output_dir: epath.PathLike,
    name: str,
    figure: Figure,
    formats: Iterable[str] = layout.FIGURE_FORMATS[:1],
) -> str:
    """Writes figures/NAME.png at 150 dpi, and copies; the same figure gives the same bytes.

    Args:
      output_dir: the output folder.
      name: of the figure.
      figure: what is drawn.
      formats: of `layout.FIGURE_FORMATS`, the files there are; png is always there.

    Returns:
      The png, relative to the output folder.

    Raises:
      InputError: the folder cannot be written.
    """
    for kind in dict.fromkeys(("png", *formats)):
        data = io.BytesIO()
        with house_style():  # A user's savefig.bbox must not change the bytes.
            figure.savefig(data, format=kind, dpi=DPI, metadata={_CHANGES[kind]: None})
        file = f"{layout.FIGURES}/{name}.{kind}"
        files.write_bytes_atomic(epath.Path(output_dir) / file, data.getvalue())
    return f"{layout.FIGURES}/{name}.png"


def wrapped(text: str, width: int) -> str:
    """A title whose lines are broken at `width` characters, so that no panel cuts it off."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def sparsity_position(weights_remaining: npt.ArrayLike) -> np.ndarray:
    """Where a level stands on the papers' axis: -ln(weights_remaining), dense at 0.

    Levels that remove a fixed fraction stand at equal distances. NaN where nothing remains.
    """
    remaining = np.asarray(weights_remaining, float)
    return -np.log(np.where(remaining > 0, remaining, np.nan)) + 0.0


def sparsity_ticks(
    weights_remaining: npt.ArrayLike, max_ticks: int = 9
) -> tuple[list[float], list[str]]:
    """Ticks for the sparsity axis: at levels, about as far apart as in the papers.

    With 20% a level that is every fourth level: 0, 59.0, 83.2, 93.1, 97.2, 98.8, 99.5, 99.8,
    99.92. Short curves get closer ticks, so that there are at least about five.

    Args:
      weights_remaining: of every level drawn, any order, repeats allowed.
      max_ticks: at most this many.

    Returns:
      Positions as `sparsity_position`, and labels in %.
    """
    positions = sparsity_position(weights_remaining)
    remaining = np.asarray(weights_remaining, float)
    order = np.argsort(positions, kind="stable")
    order = order[~np.isnan(positions[order])]
    if not order.size:
        return [], []
    span = positions[order[-1]] - positions[order[0]]
    # 2% of slack: a level removes a whole number of weights, so the steps are not quite even.
    gap = 0.98 * max(min(_PAPER_GAP, span / 4), span / max(max_ticks - 0.9, 1))
    chosen = [order[0]]
    for index in order[1:]:
        if positions[index] - positions[chosen[-1]] >= max(gap, 1e-9):
            chosen.append(index)
    labels = [sparsity_percent(1 - remaining[index]) for index in chosen]
    return [float(positions[index]) for index in chosen], labels


def sparsity_axis(axes: Axes, weights_remaining: npt.ArrayLike) -> None:
    """Makes the x axis the papers' sparsity axis; unlabelled ticks stand at the other levels."""
    positions, labels = sparsity_ticks(weights_remaining)
    axes.set_xticks(positions, labels)
    every = np.unique(sparsity_position(weights_remaining))
    axes.set_xticks(every[~np.isnan(every)], minor=True)


def percent_axis(axes: Axes) -> None:
    """Keeps an accuracy axis at least 4 points high; call it after plotting.

    Otherwise 99.99% and 100% would lie as far apart as chance and perfection.
    """
    low, high = axes.get_ylim()
    height = max(4.0, high - low)
    top = min((low + high + height) / 2, 100 + 0.05 * height)
    axes.set_ylim(top - height, top)


def two_axes(axes: Axes, left: str, right: str) -> Axes:
    """A second y axis on the right; each axis is drawn in its colour.

    Args:
      axes: the panel, whose own y axis is the left one.
      left: colour of the left axis.
      right: colour of the right axis.

    Returns:
      The right axis.
    """
    other = axes.twinx()
    other.grid(False)
    other.spines["right"].set_visible(True)
    for panel, side, color in ((axes, "left", left), (other, "right", right)):
        panel.spines[side].set_color(color)
        panel.tick_params(axis="y", colors=color)
        panel.yaxis.label.set_color(color)
    return other


def twins(axes: Axes) -> list[Axes]:
    """The second axes that stand over a panel."""
    place = axes.get_subplotspec()
    others: list[Axes] = axes.figure.axes
    return [other for other in others if other is not axes and other.get_subplotspec() == place]


def legend_columns(labels: Sequence[str], width: float) -> int:
    """The most columns of a legend that fit `width` inches; filled downwards, as matplotlib does.

    Widths are estimated at the house style's font size, so that the choice needs no drawing.
    """
    for columns in range(len(labels), 1, -1):
        long, rest = divmod(len(labels), columns)
        ends = np.cumsum([long + (index < rest) for index in range(columns)])
        widest = [max(map(len, part)) for part in np.split(np.array(labels, object), ends[:-1])]
        if sum(_LEGEND_HANDLE + _LEGEND_LETTER * letters for letters in widest) <= width:
            return columns
    return 1


def shade(position: float) -> str:
    """A colour between light, 0, and dark, 1; the lightest still shows on white."""
    return to_hex(matplotlib.colormaps["viridis_r"](0.25 + 0.75 * position))


def sequence_colors(count: int) -> list[str]:
    """Colours from light to dark for `count` curves in an order, as by sparsity."""
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.12, 1, max(count, 1)))
    return [to_hex(shade) for shade in shades[:count]]


def cycle(values: Sequence[Any]) -> dict[Any, str]:
    """A colour for each of the values, by its place."""
    return {value: CYCLE[place % len(CYCLE)] for place, value in enumerate(values)}


def sequence(values: Sequence[Any]) -> dict[Any, str]:
    """A colour for each of the values in an order, from light to dark."""
    return dict(zip(values, sequence_colors(len(values)), strict=True))


def markers(values: Sequence[Any]) -> dict[Any, str]:
    """A marker for each of the values, by its place."""
    return {value: MARKERS[place % len(MARKERS)] for place, value in enumerate(values)}


def color_of(name: str, among: Iterable[str]) -> str:
    """A colour for a line: criteria and networks have their own, others go by their place."""
    own = CRITERION_COLORS | NETWORK_COLORS
    others = [other for other in among if other not in own]
    place = others.index(name) if name in others else -1
    return own.get(name, CYCLE[place % len(CYCLE)])
