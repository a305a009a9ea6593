"""report.html: one self-contained page per output folder, made from its files alone."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from etils import epath

from tfprune import files
from tfprune.results import figures, layout, registry, store, tables, trials

# A table of more rows is folded in the page; its files are linked all the same.
_LONG_TABLE = 80
# The facts of more trials are folded, a line each.
_MANY_TRIALS = 4


@dataclass(frozen=True)
class _Section:
    """One experiment of the page."""

    name: str
    drawn: list[figures.FigureInfo]
    tabled: list[tables.Table]


@dataclass(frozen=True)
class _Trial:
    """What config.json and results.csv say of one trial.

    Attributes:
      settings: (setting, value) pairs of its config, in the config's order; empty if the trial
        has no config.json.
      missing: sentences, each naming seeds or levels that were asked for and are not there.
    """

    name: str
    trial: str
    seeds: str
    levels: int
    seconds: float
    command: str
    device: str
    versions: str
    settings: list[tuple[str, str]]
    missing: list[str]


def build_report(output_dir: epath.PathLike) -> epath.Path:
    """Draws every figure and table of an output folder again, and the page that shows them.

    Writes figures/*.png, tables/*.csv, tables/*.md and report.html. Nothing is read but
    results.csv and the stages' config.json and metrics.csv, so it also works where checkpoints
    were deleted, and on a folder that is still being filled.

    Args:
      output_dir: the output folder.

    Returns:
      The path of report.html.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written.
    """
    folder = epath.Path(output_dir)
    results = store.read_results(folder)
    sections = [_section(folder, results, name) for name in results["experiment"].unique()]
    page = _page(folder, results, sections)
    files.write_text_atomic(folder / layout.REPORT, page)
    return folder / layout.REPORT


def build_tables(
    results: pd.DataFrame, experiment: str, output_dir: epath.PathLike | None = None
) -> list[tables.Table]:
    """An experiment's tables; those of an experiment without its own are the accuracy table.

    Args:
      results: rows of results.csv, of any experiments.
      experiment: one of them.
      output_dir: where the files are that the rows name; None leaves out tables made of them.

    Raises:
      InputError: a file is damaged.
    """
    mine = results[results["experiment"] == experiment]
    if experiment not in registry.TABLES:
        return [tables.accuracy_table(mine, f"{experiment}_accuracy")]
    entry = registry.TABLES.entry(experiment)
    if not dict(entry.properties).get("reads_files"):
        return entry.load()(mine)
    return [] if output_dir is None else entry.load()(mine, output_dir)


def _section(folder: epath.Path, results: pd.DataFrame, experiment: str) -> _Section:
    tabled = build_tables(results, experiment, folder)
    for table in tabled:
        tables.write_table(folder, table)
    if experiment in registry.REPORTS:
        drawn = registry.REPORTS[experiment](folder)
    else:
        drawn = figures.generic(folder, experiment)
    return _Section(experiment, drawn, tabled)


def _page(folder: epath.Path, results: pd.DataFrame, sections: list[_Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    images = {info.file: _data_url(folder / info.file) for part in sections for info in part.drawn}
    return environment.get_template("report.html.j2").render(
        sections=sections,
        images=images,
        trials=[_trial(folder, results, trial) for trial in results["trial"].unique()],
        seconds=stage_seconds(results),
        stages=len(_stages(results)),
        results_file=layout.RESULTS,
        tables_folder=layout.TABLES,
        duration=duration,
        long_table=_LONG_TABLE,
        many_trials=_MANY_TRIALS,
    )


def _data_url(file: epath.Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


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
    records = _records(folder, trial, found)
    record: dict[str, Any] = records[0] if records else {}
    config = record.get("config") or {}
    return _Trial(
        name=trials.names(results)[trial],
        trial=trial,
        seeds=", ".join(map(str, found)),
        levels=rows.loc[rows["branch"] == "", "level"].nunique(),
        seconds=stage_seconds(rows),
        command=shlex.join(map(str, record.get("argv", []))),
        device=", ".join(dict.fromkeys(str(r["device"]) for r in records if r.get("device"))),
        versions=", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items()),
        settings=_flat(config),
        missing=_missing(rows, found, config),
    )


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
