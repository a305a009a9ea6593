"""Which columns of results.csv are settings, and which were measured."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfprune import layout
from tfprune.pages.tensorboard.event_files import HParam
from tfprune.report import trials
from tfprune.settings import Section, settings_of
from tfprune.studies import settings as studies_settings

TRUNK = "trunk"
# The fixed columns that are final metrics, in the order of the HParams table.
_METRICS = (
    "test_accuracy_last",
    "test_accuracy_best",
    "train_accuracy",
    "val_accuracy",
    "distance_from_init",
    "instability",
    "unpermuted_accuracy",
    "permuted_accuracy",
    "restored_accuracy",
    "train_loss",
    "val_loss",
    "test_loss",
    "noisy_loss",
    "original_loss",
    "best_epoch",
    "wall_seconds",
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


def finals(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """The final metrics of rows that are columns of the HParams table, in its order.

    Those of single layers are curves and no columns: a ResNet has dozens.
    """
    named = {name: None for row in rows for name in row if "/" not in name}
    return [name for name in dict.fromkeys((*_METRICS, *named)) if name in named]


def varying(rows: Sequence[Mapping[str, HParam]]) -> dict[str, list[HParam]]:
    """The values of the hyperparameters that differ between rows; a row may lack some."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: given for name, given in values.items() if len(set(given)) > 1}


def trunk_or(branch: str) -> str:
    """A branch as TensorBoard shows it: an empty cell says nothing."""
    return branch or TRUNK


def agreed(cells: pd.Series) -> HParam | None:
    """The value that rows agree on; texts that differ side by side, numbers that differ not."""
    values = [value.item() if isinstance(value, np.generic) else value for value in cells.unique()]
    values = [value for value in values if value not in ("", None) and value == value]
    if len(values) == 1:
        return values[0]
    if values and all(isinstance(value, str) for value in values):
        return ", ".join(sorted(values))
    return None


def _options() -> set[str]:
    """The options of branches and measurements: they say what was asked for."""
    sections = [
        value
        for value in vars(studies_settings).values()
        if inspect.isclass(value) and issubclass(value, Section) and dataclasses.is_dataclass(value)
    ]
    return {name for section in sections for name in settings_of(section)}
