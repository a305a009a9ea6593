"""Files that are whole or not there: bytes, text, JSON and named arrays.

Everything goes through etils.epath, so a path may also be `gs://BUCKET/FILE`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from tfprune.errors import DamagedFile, InputError, SettingError, reason

# What reading a damaged .npz can raise.
_NOT_WHOLE = (
    ValueError,
    EOFError,
    OSError,
    KeyError,
    AttributeError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_bytes_atomic(path: epath.PathLike, data: bytes) -> None:
    """Writes a file so that a reader finds the old bytes or the new ones, never a part of them.

    Args:
      path: the file; its folder is made if need be.
      data: everything that the file shall hold.

    Raises:
      InputError: the folder cannot be written.
    """
    path = epath.Path(path)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        raise InputError(
            f"cannot write {path.name} in {path.parent} ({reason(error)}): "
            "free space there, allow writing, or choose another --output_dir"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: epath.Path) -> None:
    with contextlib.suppress(OSError):  # The error that brought us here says more.
        path.unlink(missing_ok=True)


def write_text_atomic(path: epath.PathLike, text: str) -> None:
    """As `write_bytes_atomic`, UTF-8."""
    write_bytes_atomic(path, text.encode())


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes JSON atomically; floats and NumPy scalars keep every bit.

    Raises:
      InputError: the folder cannot be written.
      ValueError: a number is NaN or infinite, which JSON does not know; use None.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    write_text_atomic(path, text + "\n")


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with None for numbers that are not finite, which JSON does not know."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path: epath.PathLike) -> Any:
    """Reads JSON.

    Raises:
      InputError: there is no such file, or it cannot be read.
      DamagedFile: it is not whole.
    """
    path = epath.Path(path)
    text = _read(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise DamagedFile(path, reason(error)) from error


def check_writable(folder: epath.PathLike, setting: str = "output_dir") -> None:
    """Tries a write, so that a bad folder is met before any work is done; leaves no trace.

    Raises:
      SettingError: the folder cannot be made or written; names `setting`.
    """
    probe = epath.Path(folder) / f".writable-{uuid.uuid4().hex[:12]}"
    try:
        new = [parent for parent in probe.parents if not parent.exists()]
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        for parent in new:
            parent.rmdir()
    except Exception as error:  # Cloud storage raises classes of its own.
        raise SettingError(
            setting, folder, f"a folder that can be written ({reason(error)})"
        ) from error


def save_arrays(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes_atomic(path, buffer.getvalue())


def load_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads an .npz that `save_arrays` wrote; the checksums inside are compared.

    Raises:
      InputError: there is no such file, or it cannot be read.
      DamagedFile: it is not whole.
    """
    path = epath.Path(path)
    content = _read(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _NOT_WHOLE as error:
        raise DamagedFile(path, reason(error)) from error


def set_aside(path: epath.PathLike) -> epath.Path:
    """Renames a damaged file, so that nothing takes it for a whole one and nothing is deleted.

    Returns:
      Its new path: the old one with `.damaged` and, if that exists, a number.
    """
    path = epath.Path(path)
    names = (f"{path.name}.damaged{number or ''}" for number in itertools.count())
    aside = next(path.parent / name for name in names if not (path.parent / name).exists())
    path.rename(aside)
    return aside


@contextlib.contextmanager
def whole_or_set_aside(path: epath.PathLike) -> Iterator[None]:
    """Around reading a file that can be made again: a damaged one is renamed, the reading ends."""
    try:
        yield
    except DamagedFile:
        set_aside(path)


def _read(path: epath.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path} ({reason(error)})") from error
