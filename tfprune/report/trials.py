"""What a trial is called in figures and tables: the settings in which the trials differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from tfprune import layout
from tfprune.config import SECTIONS
from tfprune.settings import settings_of
from tfprune.studies.settings import BranchConfig

# Columns of results.csv beyond the fixed ones that say how it is read, not what was run.
EFFICACY_TOLERANCE = "efficacy_tolerance"
_FIRST = ("dataset", "model", "label_noise", "noise_fraction")


def settings(results: pd.DataFrame) -> pd.DataFrame:
    """The settings that results.csv carries, one row per trial.

    A column is a setting if it is a field of the config; every other column was measured.

    Returns:
      A table indexed by trial, sorted by the settings that vary, from the first column to the
      last.
    """
    sections = (*SECTIONS.values(), BranchConfig)
    fields = {name for section in sections for name in settings_of(section)}
    chosen = [name for name in results.columns if name in fields - set(layout.RESULT_COLUMNS)]
    table = results.drop_duplicates("trial").set_index("trial")[chosen]
    differ = [name for name in chosen if table[name].nunique(dropna=False) > 1]
    return table.sort_values(differ, kind="stable") if differ else table


def in_order(table: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """`table`, which has a column `trial`, with its trials in the order of `settings(results)`.

    Rows of one trial keep their order; the index is new.
    """
    place = {trial: number for number, trial in enumerate(settings(results).index)}
    order = table["trial"].map(place)
    return table.iloc[order.argsort(kind="stable").to_numpy()].reset_index(drop=True)


def varying(results: pd.DataFrame) -> list[str]:
    """The settings that differ between the trials of `results`."""
    table = settings(results)
    return [name for name in table.columns if table[name].nunique(dropna=False) > 1]


def label_columns(results: pd.DataFrame) -> pd.DataFrame:
    """What tells the trials apart, a column per setting that varies.

    Returns:
      A table indexed by trial, values as in results.csv; with a first column `trial` where the
      settings alone do not tell all trials apart, without any column for a single trial.
    """
    table = settings(results)[varying(results)]
    if len(table) > 1 and (table.columns.empty or table.astype(str).duplicated().any()):
        table.insert(0, "trial", table.index)
    return table


def names(results: pd.DataFrame, without: Iterable[str] = ()) -> dict[str, str]:
    """A name for every trial, made of the settings that vary.

    Where no setting varies, the name says the data, the model and the noise; where results.csv
    carries none of them, or two trials would get one name, it is the trial's own.

    Args:
      results: rows of one experiment.
      without: settings that the reader sees elsewhere, in a legend for example; trials that
        differ only in these share a name.
    """
    table = settings(results)
    used = [name for name in varying(results) if name not in without]
    used = used or [name for name in _FIRST if name in table.columns]
    found = {trial: describe(row) for trial, row in table[used].to_dict("index").items()}
    distinct = table[[name for name in without if name in table.columns]].astype(str)
    twins = distinct.assign(name=pd.Series(found)).duplicated(keep=False)
    return {
        str(trial): str(trial) if twins[trial] or not name else name
        for trial, name in found.items()
    }


def describe(values: Mapping[Any, Any]) -> str:
    """Settings as a person would say them.

    Example:
      >>> describe({"dataset": "mnist", "noise_fraction": 0.4, "retrain": "finetune"})
      'mnist, 40% label noise, retrain=finetune'
    """
    rest = {str(name): value for name, value in values.items() if not _empty(value)}
    parts = [str(rest.pop(name)) for name in ("dataset", "model") if name in rest]
    kind, fraction = rest.pop("label_noise", None), rest.pop("noise_fraction", None)
    if kind == "none" or (kind is None and fraction == 0):
        parts.append("no label noise")
    elif kind is not None or fraction is not None:
        amount = "" if fraction is None else f"{100 * float(fraction):g}% "
        parts.append(f"{amount}{kind or 'label'} noise")
    criterion = rest.pop("criterion", None)
    parts += [f"{criterion} pruning"] if criterion is not None else []
    parts += [f"{name}={_short(value)}" for name, value in rest.items()]
    return ", ".join(parts)


def _empty(value: Any) -> bool:
    return value is None or value == "" or value != value


def shown_value(value: Any) -> str:
    """A setting's value as tables show it: "" where there is none."""
    return "" if _empty(value) else _short(value)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
