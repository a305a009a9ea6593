"""What a report shows of an experiment, declared; and its figures and tables made from files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import pandas as pd
from etils import epath

from tfprune.report import style
from tfprune.report.grammar import Figure, draw
from tfprune.report.pointer import placed
from tfprune.report.tables import Table


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn.

    Attributes:
      file: relative to the output folder.
      title: one line.
      reading: one sentence, made from the data, that says what the figure shows.
      paper_figures: where the paper shows it ("SDD figures 1 and 8"); "" if nowhere.
      points: what the pointer is told over it, as of `pointer.placed`.
      is_picture: whether colours fill its panels, so that they must stay what they are.
    """

    file: str
    title: str
    reading: str
    paper_figures: str
    points: Sequence[Mapping[str, Any]] = ()
    is_picture: bool = False


@dataclass(frozen=True)
class Drawing:
    """A figure that no grammar serves; attributes as of `grammar.Figure`.

    `draw` is a function of what was loaded to a figure, None where there is nothing to draw.
    """

    name: str
    title: str
    draw: Callable[[Any], matplotlib.figure.Figure | None]
    reading: Callable[[Any], str]
    of: Callable[[Any], Any] = lambda found: found
    each: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Experiment:
    """What a report shows of an experiment.

    Attributes:
      name: as in `run.py NAME`.
      load: its rows of results.csv, and the output folder that has the files they name, to what
        figures and tables are made of.
      figures: the headline first.
      tables: functions of what was loaded; one that makes None, or no row, is left out. The
        experiment's name comes before their own.
      every_variant: whether `load` is given the rows of all settings that were run, not of the
        last ones alone.
    """

    name: str
    load: Callable[[pd.DataFrame, epath.Path], Any]
    figures: tuple[Figure | Drawing, ...]
    tables: tuple[Callable[[Any], Table | None], ...] = ()
    every_variant: bool = False

    def make_tables(self, loaded: Any) -> list[Table]:
        """The tables there are data for."""
        made = (table(loaded) for table in self.tables)
        return [
            dataclasses.replace(table, name=f"{self.name}_{table.name}")
            for table in made
            if table is not None and len(table.numbers)
        ]

    def draw(
        self,
        loaded: Any,
        output_dir: epath.PathLike,
        where: Callable[[str, str], str],
        formats: Iterable[str] = (),
    ) -> list[Drawn]:
        """Draws the figures there are data for, and writes their files.

        Args:
          loaded: what `load` gave.
          output_dir: the output folder.
          where: (experiment, file) to where the paper shows it.
          formats: as of `style.save_figure`.

        Raises:
          InputError: the folder cannot be written.
        """
        drawn = []
        for figure in self.figures:
            for suffix, title, part in _parts(figure, figure.of(loaded)):
                made, traces = (
                    (figure.draw(part), [])
                    if isinstance(figure, Drawing)
                    else draw(figure, figure.data(part))
                )
                if made is not None:
                    name = f"{self.name}_{figure.name}{suffix}"
                    file = style.save_figure(output_dir, name, made, formats)
                    paper = where(self.name, f"figures/{figure.name}")
                    points = placed(made, traces)  # Panels stand where saving has put them.
                    told = (file, title, figure.reading(part), paper)
                    drawn.append(Drawn(*told, points, _is_picture(made)))
        return drawn


def _is_picture(figure: matplotlib.figure.Figure) -> bool:
    """Whether a panel shows an image, or cells or contours in a scale of colours."""
    filled = (area.get_array() is not None for axes in figure.axes for area in axes.collections)
    return any(axes.images for axes in figure.axes) or any(filled)


def _parts(figure: Figure | Drawing, found: Any) -> Iterator[tuple[str, str, Any]]:
    """(what its file and its title end in, a part of the loaded) of every figure to draw."""
    if isinstance(found, list) and not found:
        return
    if figure.each is None:
        yield "", figure.title, found
        return
    parts = figure.each(found)
    for number, (name, part) in enumerate(parts.items(), start=1):
        suffix = f"_{number}" if len(parts) > 1 else ""
        yield suffix, f"{figure.title}: {name}", part
