"""What a trial is called in messages: the settings that tell a run's trials apart, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfprune.config import SECTIONS, RunConfig, flat_settings
from tfprune.report.trials import describe
from tfprune.settings import join, settings_of
from tfprune.studies.trial import trial_name

# Columns that an experiment gives its runs and that say in a word what is done.
_IN_A_WORD = ("method", "structure")
# What is said first; of a setting that follows from those before it nothing is said.
_FIRST = ("dataset", "model", "label_noise", "noise_fraction", *_IN_A_WORD, "criterion", "retrain")


def names_of(
    configs: Sequence[RunConfig], columns_of: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """A name for every trial of a run, by its folder's name.

    Each setting that tells apart trials which those before it do not is in the name. A run of one
    configuration is called by its noise and its criterion, or by data and model without these.

    Args:
      configs: the run's.
      columns_of: further columns of results.csv by the trial's name, such as the `method`.

    Returns:
      Names as "40% label noise, random pruning"; the folder's own for a trial that no setting
      tells apart.
    """
    rows = {trial_name(c): _settings(c) for c in configs}
    for name, columns in (columns_of or {}).items():
        known = {column: columns[column] for column in _IN_A_WORD if column in columns}
        rows[name] = {**known, **rows[name]}
    if len(rows) == 1:
        return {name: _alone(config) for name, config in zip(rows, configs, strict=False)}
    chosen = _telling_apart(list(rows.values()))
    names = {name: _in_words({key: row.get(key) for key in chosen}) for name, row in rows.items()}
    twins = [name for name in names.values() if list(names.values()).count(name) > 1]
    return {trial: trial if not name or name in twins else name for trial, name in names.items()}


def _settings(config: RunConfig) -> dict[str, Any]:
    """Those that make a trial what it is, and the number of levels, which does not."""
    flat = flat_settings(config)
    names = [name for section in SECTIONS.values() for name in settings_of(section)]
    return {name: flat[name] for name in (*names, "jit", "deterministic")}


def _telling_apart(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    every = dict.fromkeys((*_FIRST, *(name for row in rows for name in row)))
    chosen: list[str] = []
    told_apart = 1
    for name in every:
        count = len({tuple(str(row.get(key)) for key in (*chosen, name)) for row in rows})
        if count > told_apart:
            chosen.append(name)
            told_apart = count
    return chosen


def _alone(config: RunConfig) -> str:
    data, pruning = config.data, config.pruning
    values: dict[str, Any] = {}
    if data.noise_fraction:
        values = {"label_noise": data.label_noise, "noise_fraction": data.noise_fraction}
    if pruning.last_level or pruning.prunes_filters:
        values["criterion"] = pruning.criterion
    return describe(values or {"dataset": data.dataset, "model": config.model.model})


def _in_words(values: Mapping[str, Any]) -> str:
    words = [str(values[name]) for name in _IN_A_WORD if values.get(name)]
    rest = {name: _shown(value) for name, value in values.items() if name not in _IN_A_WORD}
    described = describe(rest)
    return ", ".join(filter(None, (described, *words)))


def _shown(value: Any) -> Any:
    if value in ((), ""):
        return "none"
    return join(value) if isinstance(value, tuple) else value
