"""The files of an output folder: atomic writes, results.csv and the stages' metrics.csv.

Everything goes through etils.epath, so an output folder may also be `gs://BUCKET/FOLDER`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from tfprune import layout
from tfprune.claims import exclusively
from tfprune.door import program
from tfprune.errors import DamagedFile, InputError, reason, unknown_name
from tfprune.files import (
    csv_text,
    read_json,
    read_text,
    set_aside,
    write_text_atomic,
    wrong_folder,
    wrong_kind,
)
from tfprune.settings import hash8

Cells = dict[str, str]
Key = tuple[str, str, int, str, int, str]  # `KEY_COLUMNS` and `VARIANT`.
Table = dict[Key, Cells]

KEY_COLUMNS = ("experiment", "trial", "seed", "branch", "level")
STAGE = "stage"  # The stage's folder, relative to the output folder.
# Empty in the rows of the settings that were run last; else it tells apart rows of other settings.
VARIANT = "variant"
# The columns of the tables that measurements leave beside a stage.
_MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
INTERPOLATION_COLUMNS = ("alpha", *_MEASURES)
LINE_COLUMNS = ("direction", "distance", *_MEASURES)
SURFACE_COLUMNS = ("x", "y", *_MEASURES)
# Columns that name a file.
_FILES = (
    *("interpolation", "line", "surface", "examples", "el2n", "gallery"),
    *("utility_dynamics", "utility_ratio", "utility_number", "utility_magnitude"),
    *("utility_pretrained", "plane", "trajectory"),
    *("events", "architecture", "flatness", "perturbations", "batch_norm"),
)
_TEXT_COLUMNS = (
    *("experiment", "trial", "branch", "method", "structure", "target", STAGE, VARIANT),
    *_FILES,
)
# What differs between rows of one key that other settings made: where they come from.
_ORIGIN = (STAGE, *_FILES)
_HASH = re.compile(r"-[0-9a-f]{8}$")  # At the end of a trial's name.
_WHOLE_COLUMNS = ("train_epochs", "best_epoch")  # Whole numbers that may be missing.


def merge_rows(
    output_dir: epath.PathLike,
    rows: Iterable[Mapping[str, Any]],
    extra_columns: Iterable[str] = (),
) -> None:
    """Puts rows into results.csv, over rows of the same experiment, trial, seed, branch, level.

    The file stays tidy: the columns of `layout.RESULT_COLUMNS`, then every other in the order in
    which it first came; rows sorted by their key. Cells of an old row that the new one does not
    name keep their value. Floats are written with `repr`, so they read back bit for bit; None
    and NaN are left empty. Any number of processes may do so at a time. Of a damaged file the rows
    that are whole are kept, and it is set aside.

    Args:
      output_dir: the output folder.
      rows: a mapping from column to value for each stage; `branch` defaults to "".
      extra_columns: columns that this experiment has besides the fixed ones, `stage` and
        `variant`.

    Raises:
      InputError: a row has a column that is not declared, or lacks a part of its key; the folder
        cannot be written. Nothing was written.
    """
    path = epath.Path(output_dir) / layout.RESULTS
    declared = list(dict.fromkeys((*layout.RESULT_COLUMNS, STAGE, VARIANT, *extra_columns)))
    given = [{name: _cell(value) for name, value in row.items()} for row in rows]
    for cells in given:
        _check_columns(cells, declared)
    new = {_key(cells, path): cells for cells in given}
    with exclusively(epath.Path(output_dir) / layout.claim_file(layout.RESULTS)):
        columns, before = _read_cells(path) if path.exists() else (declared, {})
        table = _renamed(before, new)
        columns = list(dict.fromkeys((*layout.RESULT_COLUMNS, *columns, *declared)))
        same = all(key in table and {**table[key], **new[key]} == table[key] for key in new)
        if same and table == before:
            return
        for key, cells in new.items():
            _put(table, key, cells)
        _write(path, columns, table)


def _renamed(table: Table, new: Iterable[Key]) -> Table:
    """The table, its trials called as in new rows of the same experiment.

    The hash at its end tells which trial it is; the words before it may have become others, as when
    a trial of the dense level alone is given further ones.
    """
    names = {(key[0], hashed[0]): key[1] for key in new if (hashed := _HASH.search(str(key[1])))}
    found: Table = {}
    for key, cells in table.items():
        hashed = _HASH.search(str(key[1]))
        name = names.get((key[0], hashed[0]), key[1]) if hashed else key[1]
        found[key[0], str(name), key[2], key[3], key[4], key[5]] = {**cells, "trial": str(name)}
    return found


def _put(table: Table, key: Key, cells: Cells) -> None:
    """Merges cells into a row; of other settings' row, a copy stays."""
    old = table.get(key, {})
    if _differ(old, cells):
        _copy_aside(table, key)
        if _differ(old, cells, (STAGE,)):
            old = {}
    table[key] = {**old, **cells}
    for other in [k for k in table if k[:-1] == key[:-1] and k[-1]]:
        origin = {name: table[other][name] for name in _ORIGIN if table[other].get(name)}
        if origin.items() <= table[key].items():
            del table[other]  # These settings are those of the row itself again.


def _differ(old: Cells, new: Cells, names: Iterable[str] = _ORIGIN) -> bool:
    return any(old.get(n) and new.get(n) and old[n] != new[n] for n in names)


def _copy_aside(table: Table, key: Key) -> None:
    row = table[key]
    variant = hash8({name: row[name] for name in _ORIGIN if row.get(name)})
    aside = (*key[:-1], variant)
    table[aside] = {**row, VARIANT: variant}


def keep_aside(
    output_dir: epath.PathLike, keys: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()
) -> int:
    """Keeps rows of other settings than those run now under a `variant` of their own.

    Tables and figures of `read_results` do not mix settings; `read_results(every_variant=True)`
    has all rows. A run with those settings makes them the rows without variant again.

    Args:
      output_dir: the output folder.
      keys: the key columns of the rows; what is not there is left out.
      columns: what a measurement with other settings said: only these columns are emptied, and the
        row stays too; empty if all of the row is of other settings.

    Returns:
      How many rows were put aside.
    """
    path = epath.Path(output_dir) / layout.RESULTS
    if not path.exists():
        return 0
    with exclusively(epath.Path(output_dir) / layout.claim_file(layout.RESULTS)):
        header, table = _read_cells(path)
        header = list(dict.fromkeys((*header, VARIANT)))
        wanted = [_key({name: _cell(value) for name, value in key.items()}, path) for key in keys]
        found = [key for key in wanted if key in table]
        for key in found:
            _copy_aside(table, key)
            row = table.pop(key)
            if columns:
                table[key] = {name: "" if name in columns else row[name] for name in row}
        if found:
            _write(path, header, table)
    return len(found)


def _write(path: epath.Path, columns: Iterable[str], table: Table) -> None:
    write_text_atomic(path, csv_text([table[key] for key in sorted(table)], list(columns)))


def _check_columns(row: Mapping[str, str], declared: list[str]) -> None:
    for name in row:
        if name not in declared:
            raise unknown_name("results column", name, declared)


def _key(cells: Mapping[str, str], path: epath.Path) -> Key:
    """Sorts as results.csv does: text as text, seeds and levels as numbers."""
    missing = [name for name in KEY_COLUMNS if name != "branch" and not cells.get(name)]
    if missing:
        raise InputError(f"a row of {path} has no {', '.join(missing)}")
    return (
        cells["experiment"],
        cells["trial"],
        int(cells["seed"]),
        cells.get("branch", ""),
        int(cells["level"]),
        cells.get(VARIANT, ""),
    )


def _cell(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, tuple)):
        return ",".join(_cell(part) for part in value)
    return repr(value) if isinstance(value, float) else str(value)


def mend_results(output_dir: epath.PathLike) -> str:
    """Keeps the whole rows of a damaged results.csv, and sets the damaged file aside.

    Returns:
      A sentence about it; nothing if the file is whole or not there.

    Raises:
      InputError: it is whole, and no results.csv of this version.
    """
    path = epath.Path(output_dir) / layout.RESULTS
    if not path.exists():
        return ""
    with exclusively(epath.Path(output_dir) / layout.claim_file(layout.RESULTS)):
        columns, lines, is_whole = _lines(path)
        if is_whole:
            return ""
        aside = set_aside(path)
        table = _table(columns, lines, path)
        if table:
            write_text_atomic(path, csv_text(list(table.values()), columns))
    return (
        f"{path} was damaged and is set aside as {aside.name}: {len(table)} rows were whole; "
        "rows of other experiments come back when those are run again, which trains nothing"
    )


def _read_cells(path: epath.Path) -> tuple[list[str], Table]:
    """The file as text, so that rewriting it changes no byte of a row that is left alone."""
    columns, lines, _ = _lines(path)
    _require(columns, layout.RESULT_COLUMNS, path)
    return columns, _table(columns, lines, path)


def _lines(path: epath.Path) -> tuple[list[str], list[list[str]], bool]:
    """The header, the rows that have as many cells, and whether that is all there is."""
    text = read_text(path).replace("\0", "\ufffd")
    columns, *lines = [_parsed(line) for line in text.split("\n")[:-1]] or [[]]
    whole = [line for line in lines if len(line) == len(columns) and _is_text(line)]
    if set(layout.RESULT_COLUMNS) - set(columns):
        if "\n" in text and _is_text(columns):  # It is another program's, or another version's.
            _require(columns, layout.RESULT_COLUMNS, path)
        return columns, [], False  # Of a damaged header, no cell is sure.
    table = _table(columns, whole, path)
    return columns, whole, text.endswith("\n") and len(table) == len(lines)


def _parsed(line: str) -> list[str]:
    """The cells of a line: none, if it cannot be read."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _is_text(line: Iterable[str]) -> bool:
    return all(cell.isprintable() and "\ufffd" not in cell for cell in line)


def _table(columns: list[str], lines: list[list[str]], path: epath.Path) -> Table:
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    return {key: row for row in rows if (key := _whole_key(row, path))}


def _whole_key(row: Mapping[str, str], path: epath.Path) -> Key | None:
    """The key of a row that is whole."""
    numbers = [name for name in layout.RESULT_COLUMNS if name not in _TEXT_COLUMNS]
    try:
        for name in numbers:
            float(row[name] or "nan")
        for name in _WHOLE_COLUMNS:
            int(row[name] or 0)
        return _key(row, path)
    except ValueError:
        return None


def _require(columns: Iterable[str], needed: Iterable[str], path: epath.Path) -> None:
    missing = [name for name in needed if name not in list(columns)]
    if missing:
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        raise InputError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing[:3])}{more}: it "
            "is not a file of this version of tfprune; move it away and run the experiment again"
        )


# What must be of which kind in an output folder.
_FOLDERS = (
    *(layout.FIGURES, layout.TABLES, layout.TRIALS),
    *(layout.TENSORBOARD, layout.OVERVIEW, layout.CLAIMS),
)


def check_kinds(output_dir: epath.PathLike) -> None:
    """Raises InputError if a file stands where a folder belongs in an output folder, or vice versa.

    Args:
      output_dir: the output folder.
    """
    folder = epath.Path(output_dir)
    if not folder.exists():
        return
    files = (wrong_kind(folder / name) for name in (layout.RESULTS, layout.REPORT))
    folders = (wrong_folder(folder / name) for name in _FOLDERS)
    for sentence in filter(None, (*files, *folders)):
        raise InputError(sentence)


# What parts of a config.json are.
_ABOUT = {
    **{"config": dict, "versions": dict, "mixed_with": list, "argv": list},
    **{"device": str, "host": str, "started": str, "input_shape": list, "num_classes": int},
}
_CONFIG = {"data": dict, "model": dict, "training": dict, "pruning": dict, "seeds": list}


def read_about(path: epath.PathLike) -> dict[str, Any]:
    """What a trial's config.json says of it; not every version wrote every part.

    Raises:
      InputError: there is no such file, or it cannot be read.
      DamagedFile: it is not whole, or a part is not what it must be.
    """
    about = read_json(path)
    if not isinstance(about, dict):
        raise DamagedFile(path, "it does not hold names and values")
    _check_parts(path, about, _ABOUT)
    _check_parts(path, about.get("config", {}), _CONFIG)
    try:
        datetime.fromisoformat(about.get("started") or "2000-01-01")
    except ValueError as error:
        raise DamagedFile(path, f"its started is {about['started'][:40]!r}") from error
    for versions in (about.get("versions", {}), *about.get("mixed_with", ())):
        if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
            raise DamagedFile(path, f"it has the versions {str(versions)[:40]!r}")
    return about


def _check_parts(
    path: epath.PathLike, values: Mapping[str, Any], kinds: Mapping[str, type]
) -> None:
    for name, kind in kinds.items():
        if name in values and not isinstance(values[name], kind):
            raise DamagedFile(path, f"its {name} is {str(values[name])[:40]!r}")


def read_results(output_dir: epath.PathLike, every_variant: bool = False) -> pd.DataFrame:
    """Reads results.csv: one row per (experiment, trial, seed, branch, level).

    Args:
      output_dir: the output folder.
      every_variant: also the rows of settings of an experiment that were not run last: one row
        per (experiment, trial, seed, branch, level, variant).

    Returns:
      The table, in the file's order. `seed` and `level` are int64, `train_epochs` and
      `best_epoch` nullable Int64, text has "" for empty, other fixed columns are float64 with
      NaN for empty; an experiment's own columns have the type pandas infers.

    Raises:
      InputError: there is no results.csv, it is empty, or it lacks a column.
    """
    path = epath.Path(output_dir) / layout.RESULTS
    if not path.exists():
        raise InputError(
            f"{path} does not exist: run an experiment first, for example "
            f"{program()} sparse_double_descent --output_dir={output_dir}"
        )
    numbers = [name for name in layout.RESULT_COLUMNS if name not in _TEXT_COLUMNS]
    types: dict[str, Any] = dict.fromkeys(numbers, "float64")
    types |= dict.fromkeys(_WHOLE_COLUMNS, "Int64")
    types |= dict.fromkeys(("seed", "level"), "int64")
    types |= dict.fromkeys(_TEXT_COLUMNS, str)
    table = _read_csv(path, (*layout.RESULT_COLUMNS, STAGE), types)
    if table.empty:
        raise InputError(f"{path} has no rows yet: run the experiment again, it resumes")
    text = table.select_dtypes(include=["object", "string"]).columns
    table = table.fillna(dict.fromkeys(text, ""))
    return table if every_variant else current(table)


def current(results: pd.DataFrame) -> pd.DataFrame:
    """The rows of the settings that were run last, of all rows of results.csv."""
    if VARIANT not in results:
        return results
    return results[results[VARIANT] == ""].reset_index(drop=True)


def metrics_path(output_dir: epath.PathLike, stage: str) -> epath.Path:
    """Where the metrics of a stage are; `stage` is relative to the output folder."""
    return epath.Path(output_dir) / stage / layout.METRICS


def read_metrics(output_dir: epath.PathLike, stage: str) -> pd.DataFrame:
    """Reads a stage's metrics.csv: one row per finished epoch, counted from 1.

    Args:
      output_dir: the output folder.
      stage: the stage's folder relative to it, as in the column `stage` of results.csv.

    Returns:
      `epoch` int64, the other columns of `layout.METRIC_COLUMNS` float64, NaN for empty.

    Raises:
      InputError: there is no such file, or it lacks a column.
    """
    path = metrics_path(output_dir, stage)
    if not path.exists():
        raise InputError(f"{path} does not exist: run the experiment again, it resumes")
    types: dict[str, Any] = dict.fromkeys(layout.METRIC_COLUMNS, "float64")
    return _read_csv(path, layout.METRIC_COLUMNS, types | {"epoch": "int64"})


def files_there(
    output_dir: epath.PathLike, rows: pd.DataFrame, column: str
) -> Iterator[tuple[int, epath.Path]]:
    """The files that a column of results.csv names, and that are there.

    Args:
      output_dir: the output folder.
      rows: rows of results.csv; before the first measurement they have no such column.
      column: of paths relative to the output folder.

    Yields:
      The place of the row, and the file.
    """
    for place, file in enumerate(rows[column].fillna("") if column in rows else ()):
        if file and (path := epath.Path(output_dir) / file).exists():
            yield place, path


def read_measurements(
    output_dir: epath.PathLike,
    rows: pd.DataFrame,
    column: str,
    needed: Iterable[str],
    about: Sequence[str] = ("seed",),
) -> pd.DataFrame:
    """Reads the tables that a column of results.csv names, one below the other.

    Args:
      output_dir: the output folder.
      rows: rows of results.csv.
      column: of paths relative to the output folder ("interpolation", "line", "surface").
      needed: the columns of the tables; all are numbers.
      about: columns of `rows` that come before those of their tables.

    Returns:
      The tables that are there, float64, in the order of the rows: one without a file, or whose
      file is gone, has none. Of no table, `about` and `needed` without rows.

    Raises:
      InputError: a file is damaged, or lacks a column.
    """
    needed = tuple(needed)
    types: dict[str, Any] = dict.fromkeys(needed, "float64")
    tables, whose = [pd.DataFrame(columns=needed, dtype="float64")], []
    for place, path in files_there(output_dir, rows, column):
        tables.append(_read_csv(path, needed, types))
        whose += [place] * len(tables[-1])
    known = rows[list(about)].iloc[whose].reset_index(drop=True)
    return known.join(pd.concat(tables[1:] or tables, ignore_index=True))


def _exact_floats() -> dict[str, Any]:
    """What makes pandas read floats back bit for bit; from version 3 on it always does."""
    return {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}


def _read_csv(path: epath.Path, needed: Iterable[str], types: dict[str, Any]) -> pd.DataFrame:
    text = read_text(path)
    header = next(csv.reader(io.StringIO(text, newline="")), [])
    _require(header, needed, path)
    try:
        # Only an empty cell is missing: "none" and "NA" are names a setting may have.
        return pd.read_csv(
            io.StringIO(text),
            dtype={name: kind for name, kind in types.items() if name in header},
            keep_default_na=False,
            na_values=[""],
            **_exact_floats(),
        )
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({reason(error)}): move it away and run again"
        ) from error
