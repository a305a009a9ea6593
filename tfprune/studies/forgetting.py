"""Rows of results.csv that other options made: one table and figure must not mix them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfprune.config import SECTIONS, RunConfig, settings_of
from tfprune.results import layout
from tfprune.results.store import KEY_COLUMNS, STAGE, merge_rows, read_results
from tfprune.studies.trial import trial_name


def forget_rows(
    config: RunConfig,
    is_current: Callable[[Mapping[str, Any], str], bool],
    keep: Sequence[str] = (),
) -> None:
    """Empties what a trial's rows of branches say, where they are not of the options now.

    The files stay, and a run with those options puts the rows back.

    Args:
      config: the trial's run.
      is_current: of a row's key columns and the folder of its stage.
      keep: further columns that say what was run, not what came out.
    """
    results = read_results(config.output_dir)
    mine = (results["experiment"] == config.experiment) & (results["trial"] == trial_name(config))
    measured = _measured_columns(map(str, results.columns), keep)
    emptied: list[dict[str, Any]] = []
    for row in results[mine & (results["branch"] != "")].to_dict("records"):
        key = {name: row[name] for name in KEY_COLUMNS}
        if not is_current(key, str(row[STAGE])):
            emptied.append({**key, **dict.fromkeys(measured)})
    merge_rows(config.output_dir, emptied, measured)


def _measured_columns(columns: Any, keep: Sequence[str]) -> list[str]:
    """Columns that say what came out; the others say what was run, and where."""
    run = {name for section in SECTIONS.values() for name in settings_of(section)}
    run = {*KEY_COLUMNS, STAGE, *keep, *(run - set(layout.RESULT_COLUMNS))}
    return [name for name in columns if name not in run]
