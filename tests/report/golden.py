"""What a report shows, as plain data: the cells of its tables, what its figures draw.

`make golden` writes golden/*.json again, after a change that is meant; its diff says what changed.
"""

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tfprune import store
from tfprune.pages import report
from tfprune.papers import items
from tfprune.report.experiment import Experiment

FOLDER = Path(__file__).parent / "golden"
# Longer arrays and columns are told by their length, their ends and two projections.
_WHOLE = 10


def figures_of(folder: Path, experiment: str) -> dict[str, tuple[Any, Figure]]:
    """name -> what the page says of it, and the figure, of those that an experiment draws."""
    declared, loaded = _loaded(folder, experiment)
    figures: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:

        def save(figure: Figure, *_: Any, **__: Any) -> None:
            figures.extend([figure] if not figures or figure is not figures[-1] else [])

        patch.setattr(Figure, "savefig", save)
        infos = declared.draw(loaded, folder, items.shown_at)
    names = [Path(info.file).stem.removeprefix(f"{experiment}_") for info in infos]
    return dict(zip(names, zip(infos, figures, strict=True), strict=True))


def tables_of(folder: Path, experiment: str) -> dict[str, Any]:
    """name -> table, of those that an experiment makes."""
    declared, loaded = _loaded(folder, experiment)
    made = declared.make_tables(loaded)
    return {table.name.removeprefix(f"{experiment}_"): table for table in made}


def of_folder(folder: Path, experiment: str) -> dict[str, Any]:
    """Every table and figure of an experiment: {"tables": ..., "figures": ...}, as JSON has it."""
    drawn = {
        info.file: {
            "title": info.title,
            "reading": info.reading,
            "paper": info.paper_figures,
            **of_figure(figure),
        }
        for info, figure in figures_of(folder, experiment).values()
    }
    made = tables_of(folder, experiment).values()
    return {"tables": {table.name: of_table(table) for table in made}, "figures": drawn}


def _loaded(folder: Path, experiment: str) -> tuple[Experiment, Any]:
    return report.loaded(store.read_results(folder), experiment, folder)


# ---------------------------------------------------------------- tables
def of_table(table: Any) -> dict[str, Any]:
    numbers, shown = table.numbers, table.shown
    return {
        "title": table.title,
        "labels": list(table.labels),
        "numbers": {str(name): _column(numbers[name]) for name in numbers},
        "shown": {str(name): _column(shown[name].astype(str)) for name in shown},
    }


def _column(column: pd.Series) -> Any:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return _array(column.to_numpy(float))
    texts = ["" if value != value or value is None else str(value) for value in column]
    if len(texts) <= 2 * _WHOLE:
        return " | ".join(texts)
    # Runs of one value are told once: most columns of words have few.
    runs = [(text, len(list(same))) for text, same in itertools.groupby(texts)]
    return " | ".join(text if n == 1 else f"{text} x{n}" for text, n in runs)


def _array(values: Any) -> list[Any]:
    flat = np.asarray(values, float).ravel()
    if flat.size <= _WHOLE:
        return [_number(value) for value in flat]
    known = np.nan_to_num(flat, nan=-7.0, posinf=1e6, neginf=-1e6)
    place = np.arange(flat.size)
    return [
        f"{flat.size} values",
        *map(_number, (flat[0], flat[-1])),
        *(_number(float(known @ wave)) for wave in (np.cos(place), np.sin(1.3 * place + 1))),
    ]


def _number(value: float) -> float | str:
    return float(f"{value:.10g}") + 0.0 if np.isfinite(value) else str(value)


# ---------------------------------------------------------------- figures
def of_figure(figure: Figure) -> dict[str, Any]:
    """Panels in the order in which they were made, the words of the legends, the title above."""
    parts = (figure, *figure.subfigs)
    every = [axes for panel in figure.axes for axes in (panel, *panel.child_axes)]
    return {
        "above": [_words(part.get_suptitle()) for part in parts if part.get_suptitle()],
        "legends": [_legend(legend) for part in parts for legend in part.legends],
        "panels": [of_axes(axes) for axes in every if axes.axison or axes.images],
    }


def _legend(legend: Legend) -> str:
    entries = zip(legend.get_texts(), legend.legend_handles, strict=True)
    return " | ".join(f"{text.get_text()} [{_look(handle)}]" for text, handle in entries)


def of_axes(axes: Axes) -> dict[str, Any]:
    sides = ("left", "center", "right")
    # A second axis beside a panel's own has no title.
    titles = [axes.get_title(side) for side in sides] if hasattr(axes, "get_title") else []
    told: dict[str, Any] = {
        "title": _words(next(filter(None, titles), "")),
        "x": _axis(axes.get_xlabel(), axes.get_xscale(), axes.get_xlim(), axes.xaxis),
        "y": _axis(axes.get_ylabel(), axes.get_yscale(), axes.get_ylim(), axes.yaxis),
        "lines": sorted((_line(line) for line in axes.lines if np.size(line.get_xdata())), key=str),
        "areas": sorted(map(_collection, axes.collections), key=str),
        "bars": _bars([patch for patch in axes.patches if isinstance(patch, Rectangle)]),
        "shapes": sorted(
            [_look(patch), _array(patch.get_path().vertices)]
            for patch in axes.patches
            if not isinstance(patch, Rectangle)
        ),
        "images": [_array(image.get_array()) for image in axes.images],
        "texts": sorted(
            f"{text.get_text()} @ {_array(text.get_position())}" for text in axes.texts
        ),
        "legend": _legend(axes.legend_) if axes.legend_ else "",
    }
    return {name: value for name, value in told.items() if value}


def _words(text: str) -> str:
    """Wherever lines are broken."""
    return " ".join(text.split())


def _axis(label: str, scale: str, limits: Sequence[float], axis: Any) -> dict[str, Any]:
    told = {"label": _words(label), "scale": scale, "limits": _array(limits)}
    if isinstance(axis.get_major_formatter(), matplotlib.ticker.FixedFormatter):
        told["ticks"] = " ".join(text.get_text() for text in axis.get_majorticklabels())
    return told


def _line(line: Line2D) -> list[Any]:
    return [_look(line), _array(line.get_xdata()), _array(line.get_ydata())]


def _collection(area: Collection) -> list[Any]:
    if isinstance(area, QuadMesh):
        cells = np.ma.filled(np.ma.asarray(area.get_array(), float), np.nan)
        return ["mesh", _array(area.get_coordinates()), _array(cells)]
    if isinstance(area, PathCollection):
        colours = [to_hex(c, keep_alpha=True) for c in area.get_facecolors()]
        return ["points", " ".join(colours[:60]), _array(area.get_offsets())]
    vertices = [path.vertices for path in area.get_paths()]
    colours = (*area.get_facecolors()[:1], *area.get_edgecolors()[:1])
    shown = [to_hex(colour, keep_alpha=True) for colour in colours]
    return ["area", *shown, _array(np.concatenate(vertices) if vertices else [])]


def _bars(bars: Sequence[Rectangle]) -> list[Any]:
    """Corners, widths and heights of all, in their order."""
    if not bars:
        return []
    shape = [[*bar.get_xy(), bar.get_width(), bar.get_height()] for bar in bars]
    colours = dict.fromkeys(to_hex(bar.get_facecolor(), keep_alpha=True) for bar in bars)
    return [" ".join(colours), *(_array(column) for column in np.transpose(shape))]


def _look(artist: Any) -> str:
    if isinstance(artist, Line2D):
        colour = to_hex(artist.get_color())
        marker = artist.get_marker() if artist.get_marker() not in ("None", "", None) else ""
        dash = artist.get_linestyle() if artist.get_linestyle() != "None" else ""
        face = to_hex(artist.get_markerfacecolor()) if marker else colour
        return f"{colour} {dash}{marker}" + (f" {face}" if face != colour else "")
    if isinstance(artist, Patch):
        return to_hex(artist.get_facecolor(), keep_alpha=True)
    return type(artist).__name__


# ---------------------------------------------------------------- files
def dumps(value: Any, depth: int = 0) -> str:
    """JSON with a line for each cell, line and panel, whose changes a diff shows."""
    pad, end = " " * (depth + 1), " " * depth
    if isinstance(value, Mapping) and value:
        parts = [f"{pad}{json.dumps(k)}: {dumps(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{end}}}"
    if isinstance(value, list) and any(isinstance(part, list | dict) for part in value):
        parts = [dumps(p, depth + 1) if isinstance(p, dict) else json.dumps(p) for p in value]
        return "[\n" + ",\n".join(pad + part for part in parts) + f"\n{end}]"
    return json.dumps(value, ensure_ascii=False)


def check(name: str, found: Any) -> None:
    """Fails where what is shown now differs from golden/NAME.json."""
    file = FOLDER / f"{name}.json"
    if os.environ.get("TFPRUNE_WRITE_GOLDEN"):
        file.write_text(dumps(found) + "\n", encoding="utf-8")
    told = list(differences(json.loads(file.read_text(encoding="utf-8")), found))
    assert not told, "\n".join(told[:40])


# ---------------------------------------------------------------- comparison
def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """A line for every place where two differ by more than rounding."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if set(old) == set(new) and list(old) != list(new):
            yield f"{where}: {list(old)} before, {list(new)} now"
        for name in dict.fromkeys([*old, *new]):
            if name not in new or name not in old:
                yield f"{where}/{name}: only {'before' if name in old else 'now'}"
            else:
                yield from differences(old[name], new[name], f"{where}/{name}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} before, {len(new)} now"
        for index, pair in enumerate(zip(old, new, strict=False)):
            yield from differences(*pair, f"{where}[{index}]")
    elif isinstance(old, int | float) and isinstance(new, int | float):
        if abs(old - new) > 1e-8 * max(1.0, abs(old)):
            yield f"{where}: {old} before, {new} now"
    elif old != new:
        yield f"{where}: {old!r} before, {new!r} now"
