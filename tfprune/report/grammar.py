"""A small grammar of figures: what stands on the axes, what tells lines apart, what a panel is.

A figure is a declaration, `Figure`, of tidy rows: a row per seed and point, with columns for what
is on the axes, and for what tells lines and panels apart. Kinds of panels are classes with a method
`draw`: `Lines` (means over seeds in their bands, of one quantity or several), `Bars`; a paper's own
(`tfprune/papers/drawings`) need that method alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune.report import style, tables
from tfprune.report.pointer import Trace
from tfprune.report.summary import concatenated, over_seeds

Handle = Line2D | Patch
QUANTITY = "quantity"
_MAX_COLUMNS = 3
_NO_LOOK = {"color": style.BLACK, "marker": "", "dash": "-"}
# Where entries of a legend stand: colours, markers and dashes, marks, the spread, what is shaded.
_COLORS, _OTHERS, _MARKS, _SPREAD, SHADES = range(5)


@dataclass(frozen=True)
class Axis:
    """What stands on an axis.

    Attributes:
      column: of the rows.
      label: with the unit.
      scale: multiplies the values; 100 shows fractions in %.
      place: where values stand, `[points]` to `[points]`; None: where they are.
      finish: ticks and limits, a function of the panel once all is drawn.
      right: whether it is a second y axis, on the right.
      marked: whether lines of it have their markers.
      text: a value of the column as the pointer is told it; default four digits.
    """

    column: str
    label: str = ""
    scale: float = 1.0
    place: Callable[[np.ndarray], np.ndarray] | None = None
    finish: Callable[[Panel], Any] | None = None
    right: bool = False
    marked: bool = True
    text: Callable[[float], str] | None = None

    def of(self, values: Any) -> np.ndarray:
        """Values of the column as places on the axis, float64 `[points]`."""
        known = self.scale * np.asarray(values, float)
        return known if self.place is None else self.place(known)

    def told(self, value: float) -> str:
        """A value of the column in words, in the unit of the label."""
        return self.text(value) if self.text else f"{self.scale * value:.4g}"


@dataclass(frozen=True)
class Scale:
    """What lines of one value of a column look like.

    Attributes:
      column: of the rows, or `QUANTITY`: which of several quantities a line is of.
      looks: value -> colour, marker or dash; or a function of the values there are to it.
      names: value -> what the legend calls it, or a function of it; default the value.
    """

    column: str
    looks: Mapping[Any, Any] | Callable[[Sequence[Any]], Mapping[Any, Any]]
    names: Mapping[Any, str] | Callable[[Any], str] = field(default_factory=dict)

    def name(self, value: Any) -> str:
        return str(self.names(value) if callable(self.names) else self.names.get(value, value))

    def of(self, column: pd.Series) -> dict[Any, Any]:
        """value -> look of what there is in a column; a category counts its other values too."""
        there = in_order(column)
        known = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else there
        looks = self.looks(list(known)) if callable(self.looks) else self.looks
        return {value: look for value, look in looks.items() if value in there}


@dataclass(frozen=True, eq=False)
class Line:
    """A line as it is drawn: its rows, and its points by the column `at`.

    `values` are those of the column of x, `x` where they stand, `n` how many a mean is of; `low`
    and `high` are where its spread ends, NaN where it has none, and empty without any. `name` says
    what tells it from others.
    """

    quantity: Axis
    look: Mapping[str, Any]
    rows: pd.DataFrame
    values: pd.Series
    x: pd.Series
    mean: pd.Series
    std: pd.Series
    n: pd.Series
    name: str = ""
    low: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    high: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))

    def trace(self, axes: Axes, x: Axis) -> Trace:
        """What the pointer is told of it in a panel that is finished."""
        across = [x.told(value) for value in self.values]
        labels = (x.label or axes.get_xlabel(), axes.get_ylabel())
        up = [
            f"{text} (n = {n})" if n > 1 else text
            for text, n in zip(map(tables.measured, self.mean, self.std), self.n, strict=True)
        ]
        return Trace(axes, self.name, self.x, self.mean, across, up, labels)


@dataclass(frozen=True)
class Spread:
    """What stands around the means of lines.

    Attributes:
      ends: a line, whose own are not known yet, to where it ends below and above, `[points]` each.
      label: in the legend; "" for no entry.
      bars: whether as bars at the points, not as a band.
    """

    ends: Callable[[Line], tuple[Any, Any]]
    label: str = ""
    bars: bool = False

    def handle(self) -> Handle:
        if self.bars:
            return line_handle(self.label)
        return Patch(color=style.BLACK, alpha=0.18, linewidth=0, label=self.label)


STD = Spread(
    lambda line: (line.mean - line.std.fillna(0), line.mean + line.std.fillna(0)),
    "± std over seeds",
)


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel that is being drawn: its rows, its axis across, and the lines that are there."""

    axes: Axes
    rows: pd.DataFrame
    x: Axis
    at: str
    lines: Sequence[Line] = ()


@dataclass(frozen=True)
class Mark:
    """What stands in a panel beside its lines.

    Attributes:
      draw: a function of the panel; it returns False where it has nothing to draw.
      handle: its entry in the legend, if any; a function without arguments.
      late: whether it is drawn when ticks and limits are there.
      rank: where its entry stands.
    """

    draw: Callable[[Panel], Any]
    handle: Callable[[], Handle] | None = None
    late: bool = False
    rank: int = _MARKS


class Legend:
    """Entries by label, in the order of their ranks; and what the pointer is told.

    Attributes:
      traces: of the panels that it is of.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, Handle]] = {}
        self.traces: list[Trace] = []

    def add(self, rank: float, handle: Handle) -> None:
        self._entries.setdefault(str(handle.get_label()), (rank, handle))

    def handles(self, spread: bool = True) -> list[Handle]:
        """Their handles, the one of the spread among them or not."""
        known = sorted(self._entries.values(), key=lambda entry: entry[0])
        return [handle for rank, handle in known if spread or rank != _SPREAD]


class Kind(Protocol):
    """A kind of panel."""

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        """Draws the rows of a panel; `known` are those that the legend is of."""


@dataclass(frozen=True)
class Lines:
    """Means over seeds against x, in a band of ± std; of several quantities a line each.

    Attributes:
      x: across.
      y: up.
      at: the column that says which point of a line a row is of; default that of x.
      color: what tells lines apart; or the colour of all.
      marker: likewise.
      dash: likewise.
      marks: what else is drawn.
      height: relative to other panels of a stack.
      spread: around the means; None for nothing.
    """

    x: Axis
    y: Axis | tuple[Axis, ...]
    at: str = ""
    color: Scale | str = style.BLACK
    marker: Scale | str = ""
    dash: Scale | str = "-"
    marks: tuple[Mark, ...] = ()
    height: float = 1.0
    spread: Spread | None = STD

    @property
    def quantities(self) -> tuple[Axis, ...]:
        return self.y if isinstance(self.y, tuple) else (self.y,)

    @property
    def scales(self) -> dict[str, Scale]:
        known = {"color": self.color, "marker": self.marker, "dash": self.dash}
        return {name: scale for name, scale in known.items() if isinstance(scale, Scale)}

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        looks = {name: scale.of(self._values(scale, known)) for name, scale in self.scales.items()}
        sides = {False: axes}
        if any(quantity.right for quantity in self.quantities):
            sides[True] = style.two_axes(axes, style.BLUE, style.VERMILLION)
        columns = [s.column for s in self.scales.values() if s.column != QUANTITY]
        lines = [
            line
            for own in _groups(rows, columns)
            for quantity in self.quantities
            if (line := self._line(own, quantity, looks)) is not None
        ]
        for line in lines:
            self.draw_line(sides[line.quantity.right], line)
        panel = Panel(axes, rows, self.x, self.at or self.x.column, lines)
        self._tell_marks(panel, legend, late=False)
        self._finish(panel, sides)
        self._tell_marks(panel, legend, late=True)
        self._tell(looks, known, legend)
        legend.traces += [line.trace(sides[line.quantity.right], self.x) for line in lines]

    def draw_line(self, axes: Axes, line: Line) -> None:
        """A line and its spread."""
        color = line.look["color"]
        look = {"color": color, "linestyle": line.look["dash"], "marker": line.look["marker"]}
        look["marker"] *= line.quantity.marked
        if self.spread and self.spread.bars:
            # Rounding must not make a reach negative.
            reach = [(line.mean - line.low).clip(0), (line.high - line.mean).clip(0)]
            axes.errorbar(line.x, line.mean, np.nan_to_num(reach), capsize=2.5, elinewidth=1.1,
                          **look)  # fmt: skip
            return
        axes.plot(line.x, line.mean, **look)
        if self.spread:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, linewidth=0)

    def there(self, rows: pd.DataFrame) -> list[str]:
        """The columns of the quantities that rows have a value of."""
        columns = [q.column for q in self.quantities if q.column in rows]
        return [name for name in columns if rows[name].notna().any()]

    def handle(self, label: str, look: Mapping[str, Any]) -> Handle:
        """The legend's entry of a look."""
        return line_handle(label, **look)

    def _values(self, scale: Scale, rows: pd.DataFrame) -> pd.Series:
        if scale.column == QUANTITY:
            return pd.Series(self.there(rows))
        return rows[scale.column]

    def _line(self, rows: pd.DataFrame, quantity: Axis, looks: Mapping[str, Any]) -> Line | None:
        at, column = self.at or self.x.column, quantity.column
        if column not in rows:
            return None
        table = over_seeds(rows, at, [column], [self.x.column])
        if table.empty:
            return None
        look: dict[str, Any] = {"color": self.color, "marker": self.marker, "dash": self.dash}
        names: dict[str, str] = {}
        for name, scale in self.scales.items():
            value = column if scale.column == QUANTITY else rows[scale.column].iloc[0]
            look[name] = looks[name].get(value, _NO_LOOK[name])
            called = scale.name(value)
            if called != str(value) or scale.column not in names:
                names[scale.column] = called
        values = table[self.x.column]
        x = pd.Series(self.x.of(values), table.index)
        mean, std = (quantity.scale * table[f"{column}_{what}"] for what in ("mean", "std"))
        called = ", ".join(filter(None, names.values()))
        line = Line(quantity, look, rows, values, x, mean, std, table[f"{column}_n"], called)
        if self.spread is None:
            return line
        low, high = (pd.Series(end, table.index, dtype=float) for end in self.spread.ends(line))
        return replace(line, low=low, high=high)

    def _finish(self, panel: Panel, sides: Mapping[bool, Axes]) -> None:
        for quantity in self.quantities:
            mine = [line for line in panel.lines if line.quantity.right == quantity.right]
            side = replace(panel, axes=sides[quantity.right], lines=mine)
            finish(quantity, side, "y")
        finish(self.x, panel, "x")

    def _tell_marks(self, panel: Panel, legend: Legend, late: bool) -> None:
        for place, mark in enumerate(self.marks):
            if mark.late == late and mark.draw(panel) is not False and mark.handle:
                legend.add(mark.rank + place / len(self.marks), mark.handle())

    def _tell(self, looks: Mapping[str, Any], rows: pd.DataFrame, legend: Legend) -> None:
        """Says what the scales mean, those of one column together."""
        for column in dict.fromkeys(scale.column for scale in self.scales.values()):
            scales = {name: s for name, s in self.scales.items() if s.column == column}
            values = list(dict.fromkeys(value for name in scales for value in looks[name]))
            if len(values) < 2 and "color" not in scales:
                continue
            for value in values:
                look = _NO_LOOK | {
                    name: looks[name][value] for name in scales if value in looks[name]
                }
                rank = _COLORS if "color" in scales else _OTHERS
                names = [scale.name(value) for scale in scales.values()]
                name = next((name for name in names if name != str(value)), str(value))
                if not name:  # There is one line, and nothing to call it.
                    continue
                legend.add(rank, self.handle(name, look))
        if self.spread and self.spread.label and rows["seed"].nunique() > 1:
            legend.add(_SPREAD, self.spread.handle())


@dataclass(frozen=True)
class Bars(Lines):
    """A bar of the mean over seeds at each x, whiskers ± std.

    Attributes:
      colors: of bars that fall and of those that rise.
      width: of a bar, in the unit of x, by how many there are.
    """

    colors: tuple[str, str] = (style.BLUE, style.VERMILLION)
    width: Callable[[int], float] = lambda number: 0.8
    spread: Spread | None = None

    def draw_line(self, axes: Axes, line: Line) -> None:
        axes.bar(
            line.x,
            line.mean,
            width=self.width(len(line.mean)),
            color=np.where(line.mean < 0, *self.colors).tolist(),
            yerr=None if line.std.isna().all() else line.std,
            error_kw={"elinewidth": 0.9, "ecolor": "#777777"},
        )
        axes.grid(False, axis="x")


def finish(axis: Axis, panel: Panel, side: str) -> None:
    """Labels an axis, and sets its ticks and limits."""
    if axis.label:
        (panel.axes.set_xlabel if side == "x" else panel.axes.set_ylabel)(axis.label)
    if axis.finish:
        axis.finish(panel)


def _groups(rows: pd.DataFrame, columns: Iterable[str]) -> list[pd.DataFrame]:
    """The rows by what tells lines apart, in the order in which they first come."""
    names = list(dict.fromkeys(columns))
    if not names:
        return [rows]
    return [own for _, own in rows.groupby(names, sort=False, observed=True)]


def in_order(column: pd.Series) -> list[Any]:
    """The values of a column: as a category orders them, or as they first come."""
    there = list(column.dropna().unique())
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [value for value in column.cat.categories if value in there]
    return there


# ---------------------------------------------------------------- figures
@dataclass(frozen=True)
class Figure:
    """A figure, as a paper declares it.

    Attributes:
      name: of its files, after the experiment's.
      title: one line.
      data: tidy rows of what the experiment loaded; none where there is nothing to draw.
      show: what a panel shows; of several, one above the other; of a mapping, the kind that the
        value of `by` names, or, where rows have no such column, one beside the other. Of several,
        a kind of lines of which the rows have no value is left out.
      beside: whether several stand side by side, every panel's in a line of its own, and a
        `panel`'s legend to their right.
      reading: a sentence made from what was loaded, that says what the figure shows.
      of: what of the loaded is shown; default all. Of an empty list nothing is drawn.
      each: part of the loaded by name, a figure each; None for one figure of all.
      panel: the column of which every value has a panel, and what its title says.
      row, column: columns that make a grid of panels.
      by: the column that says which kind of a mapping a panel is; default `column`.
      wrap: at most as many panels of a grid side by side, further ones below; 0 for all.
      columns: how many panels stand side by side, a function of the rows, where there is no grid.
      same_y: a column: panels of one value of it and of one kind have the same y axis; of NaN,
        their own.
      heading: the column that has a panel's title; default `panel`. What a kind sets stands below.
      size: of a panel in inches: width where there is one column, width where there are more,
        height.
      legend: `below` all panels, one in or below every `panel`, or "" for none.
      legend_title: of a `panel`'s legend.
      letters: of a panel's title in a line.
      name_rows: whether the value of `row` stands at the first panel of a row, and labels of axes
        at the outermost panels alone.
      above: a column whose value stands above all panels, where it has but one.
      bar: what the bar of colours says, for kinds that colour cells.
    """

    name: str
    title: str
    data: Callable[[Any], pd.DataFrame]
    show: Kind | tuple[Kind, ...] | Mapping[Any, Kind]
    reading: Callable[[Any], str] = lambda found: ""
    of: Callable[[Any], Any] = lambda found: found
    each: Callable[[Any], Mapping[str, Any]] | None = None
    panel: str = ""
    row: str = ""
    column: str = ""
    by: str = ""
    wrap: int = 0
    same_y: str = ""
    heading: str = ""
    size: tuple[float, float, float] = (7.4, 4.5, 3.6)
    legend: str = "below"
    legend_title: str = ""
    letters: int = 44
    name_rows: bool = False
    beside: bool = False
    columns: Callable[[pd.DataFrame], int] | None = None
    above: str = ""
    bar: str = ""


@dataclass(frozen=True, eq=False)
class _Cell:
    """A panel's rows, its place in the grid, its title, and the name of its row."""

    place: tuple[int, int]
    rows: pd.DataFrame
    title: str
    row_name: str = ""


def draw(figure: Figure, rows: pd.DataFrame) -> tuple[matplotlib.figure.Figure | None, list[Trace]]:
    """Draws a figure of its rows, and says what it tells the pointer.

    The figure is None of no rows, or where no kind has a value of them.
    """
    if rows.empty:
        return None, []
    by = figure.by or figure.column
    by_name = figure.show if isinstance(figure.show, Mapping) else {}
    if by_name and by not in rows:
        names = pd.CategoricalDtype(list(by_name))
        there = [name for name, kind in by_name.items() if _is_there(kind, rows)]
        each = [rows.assign(**{by: pd.Series(name, rows.index, names)}) for name in there]
        rows = concatenated(each)
    several: Any = figure.show if isinstance(figure.show, tuple) else (figure.show,)
    kinds = [kind for kind in several if not by_name and _is_there(kind, rows)]
    if rows.empty or not (kinds or by_name):
        return None, []
    cells = _cells(figure, rows)
    number = max(len(kinds), 1)
    down, across = (1, number) if figure.beside else (number, 1)
    lines, columns = (1 + max(cell.place[side] for cell in cells) for side in (0, 1))
    one, more, height = figure.size
    with style.house_style():
        width = one if columns * across == 1 else more * columns * across
        made = style.new_figure(width, height * lines + 0.8)
        heights = [getattr(kind, "height", 1.0) for kind in kinds[:down]] or [1.0]
        grid = made.subplots(
            lines * down, columns * across, squeeze=False, height_ratios=heights * lines
        )
        for axes in grid.flatten():
            axes.set_axis_off()
        below, placed, legends = Legend(), [], []
        for cell in cells:
            legend = below if figure.legend == "below" else Legend()
            legends += [legend] if legend not in legends else []
            known = rows if figure.legend == "below" else cell.rows
            line, column = cell.place
            block = grid[down * line : down * (line + 1), across * column : across * (column + 1)]
            panels = list(block.flatten())
            placed.append((cell, panels))
            own = kinds or [by_name[cell.rows[by].iloc[0]]]
            for axes, kind in zip(panels, own, strict=True):
                if _is_there(kind, cell.rows):
                    kind.draw(axes, cell.rows, known, legend)
                if axes.has_data():
                    axes.set_axis_on()
                if axes is not panels[-1] and not figure.beside:
                    axes.set_xlabel("")
                    axes.tick_params(labelbottom=False)
            if not any(axes.axison for axes in panels):
                continue
            said = (cell.title, panels[0].get_title(loc="left"))
            panels[0].set_title(style.wrapped("\n".join(filter(None, said)), figure.letters))
            if figure.legend == "panel":
                # Beside or below the panel: inside it lines leave room nowhere for sure.
                where: dict[str, Any] = (
                    {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
                    if figure.beside
                    else {"loc": "upper left", "bbox_to_anchor": (0, -0.2), "borderaxespad": 0}
                )
                handles = legend.handles(spread=False)
                panels[-1].legend(handles=handles, title=figure.legend_title or None, **where)
        if figure.name_rows:
            _name_rows(placed, figure.above == figure.row and len({c.place[0] for c in cells}) == 1)
        if figure.same_y:
            _share_y(placed, figure.same_y)
        if figure.above and rows[figure.above].nunique() == 1:
            made.suptitle(str(rows[figure.above].iloc[0]), fontsize=10.5)
        if figure.bar:
            areas = (area for axes in grid.flat for area in axes.collections)
            colored = next(area for area in areas if area.get_array() is not None)
            made.colorbar(colored, ax=grid, label=figure.bar, shrink=0.9, format="%.3g")
        if below.handles():
            legend_below(made, below.handles())
    return made, [trace for legend in legends for trace in legend.traces]


def _is_there(kind: Kind, rows: pd.DataFrame) -> bool:
    return bool(kind.there(rows)) if isinstance(kind, Lines) else True


def _cells(figure: Figure, rows: pd.DataFrame) -> list[_Cell]:
    if not (figure.row or figure.column):
        groups = _groups(rows, [figure.panel]) if figure.panel else [rows]
        columns = 2 if len(groups) == 4 else min(len(groups), _MAX_COLUMNS)
        columns = figure.columns(rows) if figure.columns else columns
        columns = 1 if figure.beside else columns
        heading = figure.heading or figure.panel
        return [
            _Cell(divmod(number, columns), own, str(own[heading].iloc[0]) if heading else "")
            for number, own in enumerate(groups)
        ]
    across = in_order(rows[figure.column])
    wrap = figure.wrap or len(across)
    cells = []
    for line, (name, mine) in enumerate(rows.groupby(figure.row, sort=False, observed=True)):
        for _, own in mine.groupby(figure.column, sort=False, observed=True):
            below, beside = divmod(across.index(own[figure.column].iloc[0]), wrap)
            place = line * math.ceil(len(across) / wrap) + below, beside
            title = str(own[figure.heading].iloc[0]) if figure.heading else ""
            cells.append(_Cell(place, own, title, str(name)))
    return cells


_Placed = Sequence[tuple[_Cell, list[Axes]]]


def _name_rows(placed: _Placed, is_said: bool) -> None:
    """What a row is of, if not said, stands at its first panel; labels at the outermost alone."""
    for cell, panels in placed:
        line, column = cell.place
        beside = [c.place[1] for c, _ in placed if c.place[0] == line]
        first, last = column == min(beside), column == max(beside)
        if first and not is_said:
            panels[0].set_ylabel(f"{style.wrapped(cell.row_name, 26)}\n{panels[0].get_ylabel()}")
        if line < max(c.place[0] for c, _ in placed if c.place[1] == column):
            panels[-1].set_xlabel("")
        for axes in panels:
            if not first:
                axes.set_ylabel("")
            for right in style.twins(axes):
                right.set_ylabel(right.get_ylabel() if last else "")
                right.tick_params(labelright=last)


def _share_y(placed: _Placed, by: str) -> None:
    """Panels of one kind and one value of a column have the same y axis."""
    groups: dict[Any, list[Axes]] = {}
    for cell, panels in placed:
        value = cell.rows[by].iloc[0]
        for kind, axes in enumerate(panels if pd.notna(value) else ()):
            groups.setdefault((kind, value), []).append(axes)
    for group in groups.values():
        shown = [axes for axes in group if axes.axison]
        low, high = zip(*(axes.get_ylim() for axes in shown), strict=True)
        for axes in shown:
            axes.set_ylim(min(low), max(high))


# ---------------------------------------------------------------- marks
def level_line(where: str, label: str, color: str = "", only_first_of: str = "") -> Mark:
    """A horizontal line at the mean of a line's points whose rows are flagged.

    Args:
      where: the column of flags.
      label: in the legend.
      color: default the line's own.
      only_first_of: a column: of lines of other values than the panel's first there is none.
    """

    def draw_levels(panel: Panel) -> None:
        firsts = [line.rows[only_first_of].iloc[0] for line in panel.lines if only_first_of]
        for number, line in enumerate(panel.lines):
            if (color and number) or (firsts and firsts[number] != firsts[0]):
                continue
            mean = line.mean[_flagged(line, where)]
            if len(mean):
                panel.axes.axhline(
                    float(mean.iloc[0]), color=color or line.look["color"], linestyle="--",
                    linewidth=1.1, alpha=0.8,
                )  # fmt: skip

    return Mark(draw_levels, lambda: line_handle(label, dash="--"))


def _flagged(line: Line, where: str) -> pd.Series:
    """Whether each point of a line has a flagged row."""
    at = str(line.mean.index.name)
    return line.rows.groupby(at)[where].any().reindex(line.mean.index)


def star(
    where: str, label: str, color: str = "", marker: str = "*", size: float = 14, on: str = ""
) -> Mark:
    """A star, or another marker, at every point of a line that a flagged row is of.

    Args:
      where: the column of flags.
      label: in the legend.
      color: default the line's own.
      marker: what it looks like.
      size: of it, in points.
      on: the quantity on whose lines it stands; default all.
    """

    def draw_stars(panel: Panel) -> bool:
        found = False
        for line in panel.lines:
            chosen = _flagged(line, where)
            if on in ("", line.quantity.column) and chosen.any():
                found = True
                panel.axes.plot(
                    line.x[chosen], line.mean[chosen], marker=marker, markersize=size,
                    color=color or line.look["color"], linestyle="",
                    markeredgecolor=style.BLACK, markeredgewidth=0.7, zorder=6,
                )  # fmt: skip
        return found

    def handle() -> Handle:
        return Line2D([], [], marker=marker, markersize=min(size, 12), color=color or "white",
                      linestyle="" if color else "-", markeredgecolor=style.BLACK,
                      label=label)  # fmt: skip

    return Mark(draw_stars, handle)


def shade(where: str, label: str, color: str, alpha: float = 1.0) -> Mark:
    """Shades where points whose rows are flagged stand, as far as halfway to their neighbours.

    Neighbours are all points that the rows of the panel have, within what is drawn.
    """

    def draw_spans(panel: Panel) -> bool:
        low, high = panel.axes.get_xlim()
        at, x = panel.at, panel.x
        rows = panel.rows.assign(x=x.of(panel.rows[x.column])).dropna(subset=["x"])
        places, chosen = rows.groupby(at)["x"].mean(), rows.groupby(at)[where].any()
        points = pd.DataFrame({"x": places, "chosen": chosen}).sort_values("x")
        middle = (points["x"].shift(-1) + points["x"]) / 2
        right = middle.fillna(points["x"].max()).to_numpy()
        left = np.append(points["x"].min(), right[:-1])
        runs = (points["chosen"] != points["chosen"].shift()).cumsum().to_numpy()
        for run in np.unique(runs[points["chosen"]]):
            start, end = max(left[runs == run].min(), low), min(right[runs == run].max(), high)
            if start < end:
                panel.axes.axvspan(start, end, color=color, alpha=alpha, linewidth=0, zorder=0)
        panel.axes.set_xlim(low, high)
        return bool(chosen.any())

    def handle() -> Handle:
        return Patch(color=color, alpha=alpha, linewidth=0, label=label)

    return Mark(draw_spans, handle, late=True, rank=SHADES)


def at_zero(panel: Panel) -> None:
    panel.axes.axhline(0, color=style.BLACK, linewidth=0.8)


ZERO = Mark(at_zero)


# ---------------------------------------------------------------- legends
def line_handle(label: str, color: str = style.BLACK, marker: str = "", dash: Any = "-") -> Line2D:
    """An entry of a legend that is a line."""
    return Line2D([], [], color=color, marker=marker, linestyle=dash, label=label)


def legend_below(figure: matplotlib.figure.Figure, handles: Sequence[Handle]) -> None:
    """One legend for all panels, in as few rows below them as the figure's width allows."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = style.legend_columns(labels, figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
