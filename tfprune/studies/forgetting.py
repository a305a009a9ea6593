"""Rows of results.csv that other settings of an experiment made: kept, but not mixed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.store import KEY_COLUMNS, STAGE, keep_aside, read_results
from tfprune.studies.trial import Stage, Trial, trial_name


def keep_other_rows(config: RunConfig, is_current: Callable[[Mapping[str, Any], str], bool]) -> int:
    """Puts aside a trial's rows of branches that are not of the settings now.

    Args:
      config: the trial's run.
      is_current: of a row's key columns and the folder of its stage.

    Returns:
      How many.
    """
    results = read_results(config.output_dir)
    mine = (results["experiment"] == config.experiment) & (results["trial"] == trial_name(config))
    rows = results[mine & (results["branch"] != "")].to_dict("records")
    keys = [{name: row[name] for name in KEY_COLUMNS} for row in rows]
    other = [k for k, row in zip(keys, rows, strict=True) if not is_current(k, str(row[STAGE]))]
    return keep_aside(config.output_dir, other)


def keep_rows_before(trained: Iterable[tuple[Trial, Stage]]) -> int:
    """Puts aside the rows that those of these stages would overwrite; returns how many."""
    wanted = {
        (trial.config.experiment, trial.name, trial.seed, stage.branch, stage.level): (trial, stage)
        for trial, stage in trained
    }
    folder = next((trial.output_dir for trial, _ in wanted.values()), None)
    if folder is None or not (folder / layout.RESULTS).exists():
        return 0
    other = []
    for row in read_results(folder).to_dict("records"):
        key = {name: row[name] for name in KEY_COLUMNS}
        found = wanted.get(tuple(key.values()))
        if found and row[STAGE] and row[STAGE] != found[1].relative:
            other.append(key)
    return keep_aside(folder, other)
