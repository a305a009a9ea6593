"""The HParams table: which columns of results.csv are settings, and which were measured."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath

from tfprune import layout
from tfprune.pages.tensorboard.event_files import HParam, write_experiment, write_hparams
from tfprune.report import trials
from tfprune.settings import Section, settings_of
from tfprune.studies import settings as studies_settings

TRUNK = "trunk"
# The fixed columns that are final metrics, in the order of the HParams table.
_METRICS = (
    *("test_accuracy_last", "test_accuracy_best", "train_accuracy", "val_accuracy"),
    *("distance_from_init", "instability"),
    *("unpermuted_accuracy", "permuted_accuracy", "restored_accuracy"),
    *("train_loss", "val_loss", "test_loss", "noisy_loss", "original_loss"),
    *("best_epoch", "wall_seconds"),
)


def settings(results: pd.DataFrame) -> list[str]:
    """The settings that any row has a value of, in the order of results.csv."""
    named = set(trials.settings(results).columns)
    filled = [name for name in results if (results[name].notna() & (results[name] != "")).any()]
    return [name for name in filled if name in named]


def metrics(results: pd.DataFrame) -> list[str]:
    """The columns that are final metrics: the fixed ones, then an experiment's own numbers."""
    known = {*layout.RESULT_COLUMNS, *settings(results), trials.EFFICACY_TOLERANCE, *_options()}
    numbers = results.select_dtypes("number").columns
    own = [name for name in numbers if name not in known]
    return [name for name in (*_METRICS, *own) if results[name].notna().any()]


@dataclass(frozen=True)
class Row:
    """A run that is a row of the HParams table; attributes as of `event_files.write_hparams`."""

    folder: epath.Path
    hparams: Mapping[str, HParam]
    metrics: Mapping[str, float]
    step: int
    name: str


def write_table(pages: epath.Path, rows: Sequence[Row]) -> None:
    """Writes the HParams table: of the settings those in which rows differ, and final metrics.

    Those of single layers are curves and no columns: a ResNet has dozens.

    Args:
      pages: the event folder of the run that says which columns there are.
      rows: all; one may lack some settings.

    Raises:
      InputError: a folder cannot be written.
    """
    names = dict.fromkeys(name for row in rows for name in row.hparams)
    values = {name: [row.hparams[name] for row in rows if name in row.hparams] for name in names}
    varying = {name: given for name, given in values.items() if len(set(given)) > 1}
    for row in rows:
        hparams = {name: value for name, value in row.hparams.items() if name in varying}
        write_hparams(row.folder, hparams, row.metrics, row.step, row.name)
    measured = {name for row in rows for name in row.metrics if "/" not in name}
    ordered = dict.fromkeys((*_METRICS, *(name for row in rows for name in row.metrics)))
    write_experiment(pages, varying, [name for name in ordered if name in measured])


def trunk_or(branch: str) -> str:
    """A branch as TensorBoard shows it: an empty cell says nothing."""
    return branch or TRUNK


def agreed(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, HParam]:
    """Settings that rows agree on; texts that differ side by side, numbers that differ not."""
    found: dict[str, HParam] = {}
    for name in names:
        values = [
            value.item() if isinstance(value, np.generic) else value
            for value in rows[name].unique()
        ]
        values = [value for value in values if value not in ("", None) and value == value]
        if len(values) == 1:
            found[name] = values[0]
        elif values and all(isinstance(value, str) for value in values):
            found[name] = ", ".join(sorted(values))
    return found


def _options() -> set[str]:
    """The options of branches and measurements: they say what was asked for."""
    known = (value for value in vars(studies_settings).values() if inspect.isclass(value))
    sections = (c for c in known if issubclass(c, Section) and dataclasses.is_dataclass(c))
    return {name for section in sections for name in settings_of(section)}
