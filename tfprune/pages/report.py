"""report.html: one self-contained page per output folder, made from its files alone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from etils import epath
from markupsafe import Markup

from tfprune import files, layout, papers, store
from tfprune.errors import InputError
from tfprune.pages import damage, runs, tensorboard
from tfprune.papers import items as paper_items
from tfprune.report import accuracy, style, tables
from tfprune.report.experiment import Drawn, Experiment

# A table of more rows is folded in the page; its files are linked all the same.
_LONG_TABLE = 14
# Of what is missing, and of a reading, more lines are folded.
_MANY_NOTES = 8
ONE_SEED = "Of one seed: without a spread over seeds, an effect cannot be told from chance."
NOTHING_YET = "Too little of it is there yet to say what it shows."
# What a cell says that compares: "higher", "matches (-0.21)", "+1.2 ± 0.3, lower".
_VERDICT = re.compile(r"(?:^|, )(higher|lower|matches)(?: \(|$)")


@dataclass(frozen=True)
class _Section:
    """One experiment of the page.

    Attributes:
      name: of the experiment.
      summary: what of the papers it is.
      drawn: its figures, the headline first.
      tabled: its tables.
      problems: sentences, of what could not be drawn or tabled because a file is damaged.
    """

    name: str
    summary: str
    drawn: list[Drawn]
    tabled: list[tables.Table]
    problems: list[str]


@dataclass(frozen=True)
class Report:
    """What was written: the page, and the tables of each experiment, by its name."""

    file: epath.Path
    tables: dict[str, list[tables.Table]]


def build_report(
    output_dir: epath.PathLike,
    formats: Iterable[str] = (),
    tell: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Draws every figure and table of an output folder again, and the page that shows them.

    Writes figures/*.png, tables/*.csv, tables/*.md and report.html. Nothing is read but
    results.csv, the stages' config.json and metrics.csv, and the tables of measurements beside
    them, so it also works where checkpoints were deleted, and on a folder that is still being
    filled.

    Args:
      output_dir: the output folder.
      formats: of figures, as of `style.save_figure`.
      tell: takes sentences on files that are lost or damaged; the page has them too.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written. Of
        a damaged file the page is written nevertheless: it names the file, and shows the rest.
    """
    folder = epath.Path(output_dir)
    results = _paper_by_paper(store.read_results(folder))
    sections = [_section(folder, results, name, formats) for name in results["experiment"].unique()]
    lost = damage.damaged_stages(folder, results)
    for part in (each for each in sections if not each.problems):  # Else not all could be drawn.
        drawn = [Path(info.file).stem for info in part.drawn]
        lost += damage.old_pictures(folder, part.name, drawn, [each.name for each in sections])
    page = _page(folder, results, sections, lost)
    files.write_text_atomic(folder / layout.REPORT, page)
    for sentence in lost:
        tell(sentence)
    problems = [problem for section in sections for problem in section.problems]
    if problems:
        raise InputError(f"{folder / layout.REPORT} is there, but not whole: {problems[0]}")
    return Report(folder / layout.REPORT, {part.name: part.tabled for part in sections})


def _paper_by_paper(results: pd.DataFrame) -> pd.DataFrame:
    """The rows, experiments in the order of `run.py --list`, those that it does not know last."""
    places = {name: place for place, name in enumerate(papers.REPORTS)}
    return results.sort_values(
        "experiment", key=lambda names: names.map(places), kind="stable", ignore_index=True
    )


def loaded(
    results: pd.DataFrame, experiment: str, output_dir: epath.PathLike
) -> tuple[Experiment, Any]:
    """An experiment's declaration, and what it makes its tables and draws its figures of.

    One without its own is declared by its accuracy against sparsity.

    Args:
      results: rows of results.csv, of any experiments.
      experiment: one of them.
      output_dir: where results.csv is, with rows of other settings, and the files that rows name.

    Raises:
      InputError: a file is damaged.
    """
    there = experiment in papers.REPORTS
    declared: Experiment = papers.REPORTS[experiment] if there else accuracy.generic(experiment)
    folder = epath.Path(output_dir)
    if declared.every_variant:
        results = store.read_results(folder, every_variant=True)
    return declared, declared.load(results[results["experiment"] == experiment], folder)


def _section(
    folder: epath.Path, results: pd.DataFrame, experiment: str, formats: Iterable[str]
) -> _Section:
    problems: list[str] = []
    tabled: list[tables.Table] = []
    drawn: list[Drawn] = []
    # Of what was loaded once; where that fails, of nothing.
    for declared, found in _made(problems, lambda: [loaded(results, experiment, folder)]):
        tabled = _made(problems, partial(declared.make_tables, found))
        for table in tabled:
            tables.write_table(folder, table)
        drawing = (found, folder, paper_items.shown_at, formats)
        drawn = _made(problems, partial(declared.draw, *drawing))
    summary = paper_items.said(experiment)
    return _Section(experiment, summary, drawn, tabled, list(dict.fromkeys(problems)))


def _made(problems: list[str], build: Callable[[], list[Any]]) -> list[Any]:
    """What `build` makes; nothing, and one more of `problems`, where a file is damaged."""
    try:
        return build()
    except InputError as error:
        problems.append(str(error))
        return []


def _page(
    folder: epath.Path, results: pd.DataFrame, sections: list[_Section], lost: Sequence[str]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = [info.file for part in sections for info in part.drawn]
    images = {file: (folder / file).read_bytes() for file in shown}
    found = runs.runs(folder, results)
    notes = [f"{trial.name}: {note}" for trial in found for note in trial.missing]
    shared, differ, differing = runs.settings(found)
    return environment.get_template("report.html.j2").render(
        sections=sections,
        readings={
            info.file: reading(info, results[results["experiment"] == part.name]).split("\n")
            for part in sections
            for info in part.drawn
        },
        images={file: _data_url(data) for file, data in images.items()},
        widths={file: _width(data) for file, data in images.items()},
        papers=_papers(sections),
        runs=found,
        facts=runs.facts(results, found),
        commands=runs.commands(found),
        shared_settings=shared,
        own_settings=differ,
        settings_of_trials=differing,
        missing=[*notes, *runs.unfinished(folder), *lost],
        problems=[problem for part in sections for problem in part.problems],
        tensorboard=tensorboard.command(folder) if (folder / layout.TENSORBOARD).exists() else "",
        tensorboard_address=tensorboard.ADDRESS,
        results_file=layout.RESULTS,
        tables_folder=layout.TABLES,
        json=_json,
        percent=tables.percent_text,
        sparsity=tables.sparsity_percent,
        duration=runs.duration,
        verdict=verdict,
        long_table=_LONG_TABLE,
        many_notes=_MANY_NOTES,
    )


def reading(info: Drawn, rows: pd.DataFrame) -> str:
    """What the page says below a figure: its reading, and that it is of one seed where it is.

    Args:
      info: a figure.
      rows: those of results.csv of its experiment.
    """
    if not info.reading:
        return NOTHING_YET
    if rows.groupby("trial")["seed"].nunique().max() > 1 or "one seed" in info.reading:
        return info.reading
    separator = "\n" if "\n" in info.reading else " "
    return f"{info.reading}{separator}{ONE_SEED}"


def verdict(cell: object) -> str:
    """What a cell of a table says of two results: "matches", "differs", or "".

    Example:
      >>> cells = ("matches", "higher (+0.75)", "+3.7 ± 0.6, lower", "lower on 1 of 2", 3.1)
      >>> [verdict(cell) for cell in cells]
      ['matches', 'differs', 'differs', '', '']
    """
    found = _VERDICT.search(str(cell))
    if found is None:
        return ""
    return "matches" if found[1] == "matches" else "differs"


def _papers(sections: Iterable[_Section]) -> dict[str, str]:
    """The papers that experiments and figures name, by short name, in full."""
    named = {paper_items.paper_of(part.name) for part in sections}
    places = (info.paper_figures.split() for part in sections for info in part.drawn)
    named |= {word for words in places for word in words}
    return {name: paper.full for name, paper in paper_items.PAPERS.items() if name in named}


def _json(value: Any) -> Markup:
    """A value for a script element, which ends at the first "</"."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _width(png: bytes) -> int:
    """How wide a figure is in CSS pixels of 1/96 inch, so that all figures' letters are alike."""
    return round(int.from_bytes(png[16:20], "big") * 96 / style.DPI)
