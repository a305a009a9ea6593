"""What config.json and results.csv of an output folder say of its trials: what the page tells."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pandas as pd
from etils import epath

from tfprune import layout, store
from tfprune.door import program
from tfprune.errors import InputError
from tfprune.report import tables, trials
from tfprune.report.accuracy import LAST

# Of what is unfinished, so many stages are named.
_NAMED_STAGES = 5


@dataclass(frozen=True)
class Run:
    """What is known of one trial.

    Attributes:
      name: what it is called in figures.
      trial: its folder.
      seeds: of its results.
      levels: how many, the dense one included.
      sparsity: of the deepest level, in [0, 1]; NaN without a trunk.
      dense, highest: last test accuracy in [0, 1], mean over seeds, of the dense network and where
        it is highest; NaN where there is none.
      highest_at: the sparsity of the highest.
      epochs, seconds: of training.
      records: its config.json, one for each seed.
      owner: the trial whose config.json that is: of one that was trained by branches of another
        alone, the other.
      missing: sentences, each naming seeds or levels that were asked for and are not there.
    """

    name: str
    trial: str
    seeds: tuple[int, ...]
    levels: int
    sparsity: float
    dense: float
    highest: float
    highest_at: float
    epochs: int
    seconds: float
    records: tuple[Mapping[str, Any], ...]
    owner: str
    missing: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str]:
        """setting -> value, in the config's order; empty if there is no config.json."""
        return _flat(self.records[0].get("config") or {}) if self.records else {}


def runs(folder: epath.Path, results: pd.DataFrame) -> list[Run]:
    """Every trial, in the order of results.csv."""
    return [_run(folder, results, trial) for trial in results["trial"].unique()]


def _run(folder: epath.Path, results: pd.DataFrame, trial: str) -> Run:
    rows = results[results["trial"] == trial]
    seeds = tuple(sorted(int(seed) for seed in rows["seed"].unique()))
    owner = _owner(folder, rows)
    records = tuple(_records(folder, owner, seeds))
    config = records[0].get("config") or {} if records and owner == trial else {}
    trunk = rows[rows["branch"] == ""]
    means = trunk.groupby("level")[["sparsity", LAST]].mean().dropna()
    top = means.loc[means[LAST].idxmax()] if len(means) else pd.Series(dtype=float)
    return Run(
        name=trials.names(results)[trial],
        trial=trial,
        seeds=seeds,
        levels=trunk["level"].nunique(),
        sparsity=float(trunk["sparsity"].max()),
        dense=float(means[LAST].get(0, float("nan"))),
        highest=float(top.get(LAST, float("nan"))),
        highest_at=float(top.get("sparsity", float("nan"))),
        epochs=epochs_of(stages_of(rows)),
        seconds=stage_seconds(rows),
        records=records,
        owner=owner,
        missing=tuple(_missing(rows, seeds, config)),
    )


# ---------------------------------------------------------------- of all trials
def facts(results: pd.DataFrame, found: Iterable[Run]) -> dict[str, str]:
    """What was run in all, a line each; of a stage that experiments share, the cost once."""
    stages, records = stages_of(results), [record for run in found for record in run.records]
    lines = {
        "date": _dates(record.get("started") for record in records),
        "host": _distinct(record.get("host") for record in records),
        "device": _distinct(record.get("device") for record in records),
        "trials": count(results["trial"].nunique(), "trial"),
        "seeds": ", ".join(str(seed) for seed in sorted(results["seed"].unique())),
        "cost": f"{count(len(stages), 'stage')}, {count(epochs_of(stages), 'epoch')}, "
        f"{duration(stage_seconds(results))} of training",
        "versions": _distinct(
            ", ".join(f"{name} {text}" for name, text in (record.get("versions") or {}).items())
            for record in records
        ),
    }
    return {name: text for name, text in lines.items() if text}


def commands(found: Iterable[Run]) -> list[str]:
    """What was typed, each once."""
    return list(dict.fromkeys(_command(record) for run in found for record in run.records))


def settings(
    found: Iterable[Run],
) -> tuple[dict[str, str], list[str], list[tuple[str, list[str]]]]:
    """What was set in trials with a config.json.

    Of seeds that were asked for at different times, the last are what a config.json holds.

    Returns:
      setting -> value, of those that all have in common; the other settings; and the values of
      these in each trial, (its name, values).
    """
    known = {run.name: run.settings for run in found if run.settings}
    names = dict.fromkeys(name for own in known.values() for name in own)
    values = {name: [own.get(name) for own in known.values()] for name in names}
    shared = {name: str(all_[0]) for name, all_ in values.items() if len(set(all_)) == 1}
    differ = [name for name in names if name not in shared]
    return shared, differ, [(n, [own.get(d, "") for d in differ]) for n, own in known.items()]


def unfinished(folder: epath.Path) -> list[str]:
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
    return [f"{count(len(begun), 'stage')} begun, without a result: {named}"]


def stages_of(results: pd.DataFrame) -> pd.DataFrame:
    """The rows, each stage once: experiments share them, and trials the dense training."""
    return results.drop_duplicates(store.STAGE)


def stage_seconds(results: pd.DataFrame) -> float:
    """Wall-clock seconds of training, a stage that several experiments share counted once."""
    return float(stages_of(results)["wall_seconds"].sum())


def epochs_of(stages: pd.DataFrame) -> int:
    return int(stages["train_epochs"].fillna(0).sum())


# ---------------------------------------------------------------- words
def count(number: int, noun: str) -> str:
    """ "1 stage", "1,596 stages"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """Seconds as a person would say them.

    Example:
      >>> [duration(seconds) for seconds in (3.21, 59.94, 59.99, 75, 7260)]
      ['3.2 s', '59.9 s', '1 min 0 s', '1 min 15 s', '2 h 1 min']
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _dates(started: Iterable[Any]) -> str:
    """When the first and the last began: "26 November 2026, 17:05 UTC", or a range of them."""
    read = (datetime.fromisoformat(moment) for moment in set(started) if moment)
    moments = sorted(moment.astimezone(timezone.utc) for moment in read)
    said = [
        moment.strftime("%d %B %Y, %H:%M UTC").lstrip("0") for moment in moments[:1] + moments[-1:]
    ]
    return " to ".join(dict.fromkeys(said))


def _distinct(texts: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(str(text) for text in texts if text))


def _command(record: Mapping[str, Any]) -> str:
    """What was typed: config.json has the arguments alone."""
    experiment = record.get("config", {}).get("experiment", "")
    return shlex.join([*program().split(), experiment, *map(str, record.get("argv", ()))])


# ---------------------------------------------------------------- files
def _owner(folder: epath.Path, rows: pd.DataFrame) -> str:
    """The trial that has the config.json of these rows: their own, or that of their stages."""
    trial = str(rows["trial"].iloc[0])
    others = [stage.split("/")[1] for stage in rows[store.STAGE]]
    for name in dict.fromkeys([trial, *others]):
        if any((folder / layout.TRIALS / name).glob(f"*/{layout.CONFIG}")):
            return name
    return trial


def _records(folder: epath.Path, trial: str, seeds: Iterable[int]) -> list[dict[str, Any]]:
    paths = [folder / layout.TRIALS / trial / layout.seed_folder(s) / layout.CONFIG for s in seeds]
    return [about for path in paths if (about := _about(path))]


def _about(path: epath.Path) -> dict[str, Any]:
    """What config.json says; nothing of one that is damaged, which `damage` names."""
    try:
        return store.read_about(path) if path.exists() else {}
    except InputError:
        return {}


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            pairs |= _flat(value)
        else:
            pairs[name] = value if isinstance(value, str) else json.dumps(value)
    return pairs


# ---------------------------------------------------------------- what is missing
def _missing(rows: pd.DataFrame, found: Iterable[int], config: Mapping[str, Any]) -> list[str]:
    absent = [seed for seed in config.get("seeds", ()) if seed not in found]
    notes = [f"{_seeds(absent)}: no level is there yet"] if absent else []
    deepest, asked = int(rows["level"].max()), _asked_levels(config)
    if deepest < asked:
        notes.append(f"levels {deepest + 1} to {asked} are not there yet")
    for (branch, level), names in _levels_by_missing_seeds(rows).items():
        notes.append(f"{_seeds(names)}: no result at {branch}level{level}")
    return notes


def _asked_levels(config: Mapping[str, Any]) -> int:
    """The deepest level that the run asked for; 0 if its config does not say."""
    pruning = config.get("pruning") or {}
    return len(pruning.get("sparsities") or ()) or int(pruning.get("levels") or 0)


def _seeds(seeds: Iterable[Any]) -> str:
    listed = [str(seed) for seed in seeds]
    return f"seed{'s' * (len(listed) > 1)} {', '.join(listed)}"


def _levels_by_missing_seeds(rows: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """{(branch, levels as text): seeds}, levels that lack the same seeds joined."""
    table = tables.aggregate(stages_of(rows).assign(experiment=""))
    gaps = table[table["missing_seeds"].ne("") & table["n"].gt(0)]
    found: dict[tuple[str, str], list[str]] = {}
    for (branch, seeds), levels in gaps.groupby(["branch", "missing_seeds"])["level"]:
        text = ", ".join(map(str, levels))
        name = f"{branch} " if branch else ""
        found[(name, f"{'s' * (len(levels) > 1)} {text}")] = str(seeds).split(", ")
    return found
