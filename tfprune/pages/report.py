"""report.html: one self-contained page per output folder, made from its files alone."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from etils import epath

from tfprune import files, layout, papers, store
from tfprune.door import program
from tfprune.errors import InputError
from tfprune.papers import items as paper_items
from tfprune.report import accuracy, style, tables, trials
from tfprune.report.experiment import Drawn, Experiment

# A table of more rows is folded in the page; its files are linked all the same.
_LONG_TABLE = 40
# The facts of more trials are folded, a line each.
_MANY_TRIALS = 4
# Of what is missing, more lines are folded; of what is unfinished, so many stages are named.
_MANY_NOTES = 8
_NAMED_STAGES = 5
# What the short names stand for by which figures say where a paper shows them.
PAPERS = {
    "SDD": "Sparse Double Descent: Where Network Pruning Aggravates Overfitting, and its poster "
    "Can network pruning benefit deep learning under label noise?",
    "PEG": "Pruning's Effect on Generalization Through the Lens of Training and Regularization",
    "PM": "An empirical study of a pruning mechanism",
    "GST": "The Generalization-Stability Tradeoff in Neural Network Pruning",
}
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
class _Trial:
    """What config.json and results.csv say of one trial.

    Attributes:
      settings: (setting, value) pairs of its config, in the config's order; empty if the trial
        has no config.json.
      settings_of: the trial whose config.json that is: of one that was trained by branches of
        another alone, the other.
      missing: sentences, each naming seeds or levels that were asked for and are not there.
    """

    name: str
    trial: str
    seeds: str
    levels: int
    epochs: int
    seconds: float
    command: str
    device: str
    versions: str
    settings: list[tuple[str, str]]
    settings_of: str
    missing: list[str]


def build_report(output_dir: epath.PathLike, formats: Iterable[str] = ()) -> epath.Path:
    """Draws every figure and table of an output folder again, and the page that shows them.

    Writes figures/*.png, tables/*.csv, tables/*.md and report.html. Nothing is read but
    results.csv, the stages' config.json and metrics.csv, and the tables of measurements beside
    them, so it also works where checkpoints were deleted, and on a folder that is still being
    filled.

    Args:
      output_dir: the output folder.
      formats: of figures, as of `style.save_figure`.

    Returns:
      The path of report.html.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written. Of
        a damaged file the page is written nevertheless: it names the file, and shows the rest.
    """
    folder = epath.Path(output_dir)
    results = store.read_results(folder)
    sections = [_section(folder, results, name, formats) for name in results["experiment"].unique()]
    page = _page(folder, results, sections)
    files.write_text_atomic(folder / layout.REPORT, page)
    problems = [problem for section in sections for problem in section.problems]
    if problems:
        raise InputError(f"{folder / layout.REPORT} is there, but not whole: {problems[0]}")
    return folder / layout.REPORT


def build_tables(
    results: pd.DataFrame, experiment: str, output_dir: epath.PathLike | None = None
) -> list[tables.Table]:
    """An experiment's tables; those of an experiment without its own are the accuracy table.

    Args:
      results: rows of results.csv, of any experiments.
      experiment: one of them.
      output_dir: where results.csv is, with rows of other settings, and the files that rows name;
        None leaves out what is made of them.

    Raises:
      InputError: a file is damaged.
    """
    mine = results[results["experiment"] == experiment]
    declared, loaded = _loaded(mine, experiment, output_dir)
    return declared.make_tables(loaded)


def build_figures(
    output_dir: epath.PathLike, experiment: str, formats: Iterable[str] = ()
) -> list[Drawn]:
    """Draws an experiment's figures; one without its own gets accuracy against sparsity.

    Args:
      output_dir: the output folder.
      experiment: its name.
      formats: as of `style.save_figure`.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    mine = results[results["experiment"] == experiment]
    declared, loaded = _loaded(mine, experiment, output_dir)
    return declared.draw(loaded, output_dir, paper_items.shown_at, formats)


def _loaded(
    results: pd.DataFrame, experiment: str, output_dir: epath.PathLike | None
) -> tuple[Experiment, Any]:
    """An experiment's declaration, and what it makes its figures and tables of."""
    there = experiment in papers.REPORTS
    declared: Experiment = papers.REPORTS[experiment] if there else accuracy.generic(experiment)
    folder = epath.Path(output_dir or "")
    if declared.every_variant and output_dir is not None:
        results = store.read_results(folder, every_variant=True)
        results = results[results["experiment"] == experiment]
    return declared, declared.load(results, folder)


def _section(
    folder: epath.Path, results: pd.DataFrame, experiment: str, formats: Iterable[str]
) -> _Section:
    problems: list[str] = []
    tabled = _made(problems, lambda: build_tables(results, experiment, folder))
    for table in tabled:
        tables.write_table(folder, table)
    drawn = _made(problems, lambda: build_figures(folder, experiment, formats))
    summary = paper_items.reproduces(experiment)
    return _Section(experiment, summary, drawn, tabled, list(dict.fromkeys(problems)))


def _made(problems: list[str], build: Callable[[], list[Any]]) -> list[Any]:
    """What `build` makes; nothing, and one more of `problems`, where a file is damaged."""
    try:
        return build()
    except InputError as error:
        problems.append(str(error))
        return []


def _page(folder: epath.Path, results: pd.DataFrame, sections: list[_Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = [info.file for part in sections for info in part.drawn]
    images = {file: (folder / file).read_bytes() for file in shown}
    found = [_trial(folder, results, trial) for trial in results["trial"].unique()]
    notes = [f"{trial.name}: {note}" for trial in found for note in trial.missing]
    return environment.get_template("report.html.j2").render(
        sections=sections,
        readings={
            info.file: reading(info, results[results["experiment"] == part.name])
            for part in sections
            for info in part.drawn
        },
        images={file: _data_url(data) for file, data in images.items()},
        widths={file: _width(data) for file, data in images.items()},
        papers=_papers(info for part in sections for info in part.drawn),
        trials=found,
        facts=_facts(results, found),
        missing=[*notes, *_unfinished(folder)],
        problems=[problem for part in sections for problem in part.problems],
        results_file=layout.RESULTS,
        tables_folder=layout.TABLES,
        duration=duration,
        verdict=verdict,
        long_table=_LONG_TABLE,
        many_trials=_MANY_TRIALS,
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
    return f"{info.reading} {ONE_SEED}"


def verdict(cell: object) -> str:
    """What a cell of a table says of two results: "matches", "differs", or "".

    Example:
      >>> [verdict(cell) for cell in ("matches", "higher (+0.75)", "lower on 1 of 2", "3.1 ± 0.2")]
      ['matches', 'differs', '', '']
    """
    found = _VERDICT.search(str(cell))
    if found is None:
        return ""
    return "matches" if found[1] == "matches" else "differs"


def _papers(drawn: Iterable[Drawn]) -> dict[str, str]:
    """The papers that figures name, by short name."""
    words = {word for info in drawn for word in info.paper_figures.split()}
    return {name: title for name, title in PAPERS.items() if name in words}


def _facts(results: pd.DataFrame, found: Iterable[_Trial]) -> dict[str, str]:
    """What was run in all, a line each; of a stage that experiments share, the cost once."""
    stages, known = _stages(results), list(found)
    seeds = ", ".join(str(seed) for seed in sorted(results["seed"].unique()))
    lines = {
        "trials": _count(results["trial"].nunique(), "trial"),
        "seeds": seeds,
        "cost": f"{_count(len(stages), 'stage')}, {_count(_epochs(stages), 'epoch')}, "
        f"{duration(stage_seconds(results))} of training",
        "device": "; ".join(dict.fromkeys(trial.device for trial in known if trial.device)),
        "versions": "; ".join(dict.fromkeys(trial.versions for trial in known if trial.versions)),
    }
    return {name: text for name, text in lines.items() if text}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _epochs(stages: pd.DataFrame) -> int:
    return int(stages["train_epochs"].fillna(0).sum())


def _unfinished(folder: epath.Path) -> list[str]:
    """A sentence on the stages that have a folder and no result: running, or interrupted."""
    files_of: dict[str, set[str]] = {}
    for path in folder.glob(f"{layout.TRIALS}/*/*/*/*"):
        stage = "/".join(path.parts[-4:-1])
        files_of.setdefault(stage, set()).add(path.name)
    begun = sorted(stage for stage, names in files_of.items() if layout.RESULT not in names)
    if not begun:
        return []
    rest = len(begun) - _NAMED_STAGES
    named = ", ".join(begun[:_NAMED_STAGES]) + (f" and {rest} more" if rest > 0 else "")
    return [f"{_count(len(begun), 'stage')} begun, without a result: {named}"]


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _width(png: bytes) -> int:
    """How wide a figure is in CSS pixels of 1/96 inch, so that all figures' letters are alike."""
    return round(int.from_bytes(png[16:20], "big") * 96 / style.DPI)


def _stages(results: pd.DataFrame) -> pd.DataFrame:
    """The rows, each stage once: experiments share them, and trials the dense training."""
    rows = results.drop_duplicates(["trial", "seed", "branch", "level"])
    if store.STAGE not in rows:
        return rows
    return rows[rows[store.STAGE].eq("") | ~rows[store.STAGE].duplicated()]


def stage_seconds(results: pd.DataFrame) -> float:
    """Wall-clock seconds of training, a stage that several experiments share counted once."""
    return float(_stages(results)["wall_seconds"].sum())


def duration(seconds: float) -> str:
    """Seconds as a person would say them.

    Example:
      >>> [duration(seconds) for seconds in (3.21, 75, 7260)]
      ['3.2 s', '1 min 15 s', '2 h 1 min']
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _trial(folder: epath.Path, results: pd.DataFrame, trial: str) -> _Trial:
    rows = results[results["trial"] == trial]
    found = sorted(int(seed) for seed in rows["seed"].unique())
    owner = _owner(folder, rows)
    records = _records(folder, owner, found)
    record: dict[str, Any] = records[0] if records else {}
    config = record.get("config") or {}
    return _Trial(
        name=trials.names(results)[trial],
        trial=trial,
        seeds=", ".join(map(str, found)),
        levels=rows.loc[rows["branch"] == "", "level"].nunique(),
        epochs=_epochs(_stages(rows)),
        seconds=stage_seconds(rows),
        command=_command(record),
        device=_distinct(str(r.get("device") or "") for r in records),
        versions=_distinct(_versions(r) for r in records),
        settings=_flat(config),
        settings_of=owner,
        missing=_missing(rows, found, config if owner == trial else {}),
    )


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _versions(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {text}" for name, text in (record.get("versions") or {}).items())


def _command(record: Mapping[str, Any]) -> str:
    """What was typed; the recorded arguments may be the flags alone."""
    words = list(map(str, record.get("argv") or ()))
    experiment = (record.get("config") or {}).get("experiment")
    if experiment and not any(word.endswith("run.py") for word in words[:2]):
        words = [*program().split(), experiment, *words]
    return shlex.join(words)


def _owner(folder: epath.Path, rows: pd.DataFrame) -> str:
    """The trial that has the config.json of these rows: their own, or that of their stages."""
    trial = str(rows["trial"].iloc[0])
    stages = list(rows[store.STAGE]) if store.STAGE in rows else []
    others = [stage.split("/")[1] for stage in stages if stage.count("/") > 2]
    known = (
        name
        for name in dict.fromkeys([trial, *others])
        if any((folder / layout.TRIALS / name).glob(f"*/{layout.CONFIG}"))
    )
    return next(known, trial)


def _records(folder: epath.Path, trial: str, seeds: Iterable[int]) -> list[dict[str, Any]]:
    paths = [folder / layout.TRIALS / trial / layout.seed_folder(s) / layout.CONFIG for s in seeds]
    return [files.read_json(path) for path in paths if path.exists()]


def _flat(config: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = []
    for name, value in config.items():
        if isinstance(value, dict):
            pairs += _flat(value)
        else:
            pairs.append((name, value if isinstance(value, str) else json.dumps(value)))
    return pairs


def _missing(rows: pd.DataFrame, found: list[int], config: dict[str, Any]) -> list[str]:
    absent = [seed for seed in config.get("seeds", ()) if seed not in found]
    notes = [f"{_seeds(absent)}: no level is there yet"] if absent else []
    deepest, asked = int(rows["level"].max()), _asked_levels(config)
    if deepest < asked:
        notes.append(f"levels {deepest + 1} to {asked} are not there yet")
    for (branch, level), names in _levels_by_missing_seeds(rows).items():
        notes.append(f"{_seeds(names)}: no result at {branch}level{level}")
    return notes


def _asked_levels(config: dict[str, Any]) -> int:
    """The deepest level that the run asked for; 0 if its config does not say."""
    pruning = config.get("pruning") or {}
    return len(pruning.get("sparsities") or ()) or int(pruning.get("levels") or 0)


def _seeds(seeds: Iterable[Any]) -> str:
    listed = [str(seed) for seed in seeds]
    return f"seed{'s' * (len(listed) > 1)} {', '.join(listed)}"


def _levels_by_missing_seeds(rows: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """{(branch, levels as text): seeds}, levels that lack the same seeds joined."""
    table = tables.aggregate(_stages(rows).assign(experiment=""))
    gaps = table[table["missing_seeds"].ne("") & table["n"].gt(0)]
    found: dict[tuple[str, str], list[str]] = {}
    for (branch, seeds), levels in gaps.groupby(["branch", "missing_seeds"])["level"]:
        text = ", ".join(map(str, levels))
        name = f"{branch} " if branch else ""
        found[(name, f"{'s' * (len(levels) > 1)} {text}")] = str(seeds).split(", ")
    return found
