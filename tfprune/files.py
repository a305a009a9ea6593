"""Files that are whole or not there: bytes, text, JSON and named arrays.

Everything goes through etils.epath, so a path may also be `gs://BUCKET/FILE`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import os
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from tfprune import layout
from tfprune.errors import CannotWrite, DamagedFile, InputError, SettingError, reason

# In sealed JSON, what is not of the row.
_FILES = "_files"
_PLACE = "_place"
_CHECKSUM = "_checksum"
_LARGE = (layout.START, layout.END, layout.MASKS)
_END_BYTES = 65_536  # Room for the directory of an archive of some hundred arrays.


def write_bytes_atomic(path: epath.PathLike, data: bytes) -> None:
    """Writes a file so that a reader finds the old bytes or the new ones, never a part of them.

    Args:
      path: the file; its folder is made if need be.
      data: everything that the file shall hold.

    Raises:
      CannotWrite: the folder cannot be written.
    """
    path = epath.Path(path)
    with explained(path), replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing(path: epath.PathLike, ending: str = ".tmp") -> Iterator[epath.Path]:
    """A file to write, which becomes this one at the end, and is removed at an error.

    Args:
      path: the file that is written or replaced; its folder is made if need be.
      ending: of the name until then.
    """
    path = epath.Path(path)
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}{ending}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


@contextlib.contextmanager
def explained(path: epath.PathLike) -> Iterator[None]:
    """Around writing a file: what the system refuses becomes a `CannotWrite`."""
    path = epath.Path(path)
    try:
        yield
    except OSError as error:
        if in_the_way := wrong_kind(path) or wrong_folder(path.parent):
            raise CannotWrite(in_the_way) from error
        raise CannotWrite(
            f"cannot write {path.name} in {path.parent} ({reason(error)}): "
            "free space there, allow writing, or choose another `output_dir`"
        ) from error


def wrong_kind(path: epath.PathLike) -> str:
    """A sentence on a folder that stands where a file belongs; nothing if none does."""
    is_folder = epath.Path(path).is_dir()
    return f"{path} is a folder, and must be a file: move it away" if is_folder else ""


def wrong_folder(path: epath.PathLike) -> str:
    """A sentence on what stands where a folder belongs, or one that it is in; nothing if none does.

    That is a file, or a link to a disk that is not there, say.
    """
    path = epath.Path(path)
    for folder in (path, *path.parents):
        if folder.is_dir():
            return ""
        if folder.exists():
            return f"{folder} is a file, and must be a folder: move it away"
        if os.path.islink(folder):
            return f"{folder} is a link to {os.readlink(folder)}, which is not there: mend the link"
    return ""


def _remove(path: epath.Path) -> None:
    with contextlib.suppress(OSError):  # The error that brought us here says more.
        path.unlink(missing_ok=True)


def write_text_atomic(path: epath.PathLike, text: str) -> None:
    """As `write_bytes_atomic`, UTF-8."""
    write_bytes_atomic(path, text.encode())


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV; floats keep every bit, and what does not apply is empty.

    Args:
      rows: by column.
      columns: which, in this order; those of the first row if none is given.
    """
    text = io.StringIO()
    names = list(columns or (rows[0] if rows else ()))
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes JSON atomically; floats and NumPy scalars keep every bit.

    Raises:
      CannotWrite: the folder cannot be written.
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


def is_regular_file(path: epath.PathLike) -> bool:
    """Whether there is a file that ends: no folder, and no pipe or device either.

    etils.epath takes everything for a file that is no folder.
    """
    path = epath.Path(path)
    return path.is_file() if "://" in str(path) else os.path.isfile(path)


def read_json(path: epath.PathLike) -> Any:
    """Reads JSON.

    Raises:
      InputError: there is no such file, or it cannot be read.
      DamagedFile: it is not whole.
    """
    path = epath.Path(path)
    text = read_bytes(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, reason(error)) from error


def write_sealed(path: epath.PathLike, row: Mapping[str, Any], made: Iterable[Any]) -> None:
    """Writes a row of results as JSON that also tells, later, whether it and some files are whole.

    Nor is it taken for that of another training: see `place`.

    Args:
      path: the JSON file.
      row: its names do not begin with an underscore.
      made: files beside it that the row comes with.

    Raises:
      CannotWrite: the folder cannot be written.
    """
    files = {epath.Path(file).name: fingerprint(file) for file in made}
    sealed = {**row, _FILES: files, _PLACE: place(path).decode()}
    content = json.loads(json.dumps(sealed, allow_nan=False, default=_plain))
    write_json(path, {**content, _CHECKSUM: _checksum(content)})


def read_sealed(path: epath.PathLike) -> dict[str, Any]:
    """The row that `write_sealed` wrote.

    Raises:
      InputError: there is no such file, or it cannot be read.
      DamagedFile: it is not whole.
    """
    return {name: value for name, value in _sealed(path).items() if name not in (_FILES, _PLACE)}


def damage_of_sealed(path: epath.PathLike, large: bool = True) -> str:
    """What is wrong with the file, or with those it was written with; nothing if all are whole.

    Args:
      path: the JSON file.
      large: whether weights and masks are among those that must be there.
    """
    path = epath.Path(path)
    try:
        files = _sealed(path)[_FILES]
    except DamagedFile as error:
        return f"{path.name}: {error.what}"
    wanted = {name: before for name, before in files.items() if large or name not in _LARGE}
    found = (changed_since(path.parent / name, before) for name, before in wanted.items())
    return next(filter(None, found), "")


def check_sealed(path: epath.PathLike, names: Iterable[str], advice: str) -> None:
    """Compares files with what they were when `write_sealed` wrote this row beside them.

    Args:
      path: the JSON file.
      names: those of the files; what the row did not come with is left out.
      advice: what to do about a damage.

    Raises:
      DamagedFile: one is not the same any more, or is gone.
    """
    path = epath.Path(path)
    files = _sealed(path)[_FILES]
    for name in names:
        changed = changed_since(path.parent / name, files[name]) if name in files else ""
        if changed:
            raise DamagedFile(path.parent / name, changed, advice)


def _sealed(path: epath.PathLike) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or content.pop(_CHECKSUM, None) != _checksum(content):
        raise DamagedFile(path, "it is not as it was written")
    here, there = place(path).decode(), content.get(_PLACE)
    if here and there not in (None, here):  # Earlier versions did not say.
        raise DamagedFile(path, f"it was written as {there or 'a file of no trial'}")
    return content


def _checksum(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def check_writable(folder: epath.PathLike) -> None:
    """Tries a write, so that a bad folder is met before any work is done; leaves no trace.

    Raises:
      SettingError: the folder cannot be made or written.
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
            "output_dir", folder, f"a folder that can be written ({reason(error)})"
        ) from error


def save_arrays(path: epath.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an uncompressed .npz, whole or not at all; it also says its place, see `place`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = place(path)
    write_bytes_atomic(path, buffer.getvalue())


def place(path: epath.PathLike) -> bytes:
    """Where a file is among the trials of an output folder, UTF-8, as it says itself.

    It tells a file from that of another training, which may hold arrays of the same names and
    sizes. Nothing outside of such a folder.
    """
    parts = epath.Path(path).parts
    if layout.TRIALS not in parts:
        return b""
    last = len(parts) - 1 - parts[::-1].index(layout.TRIALS)
    return "/".join(parts[last + 1 :]).encode()


def load_arrays(
    path: epath.PathLike, in_place: bool = False, needed: Iterable[str] = ()
) -> dict[str, np.ndarray]:
    """Reads an .npz that `save_arrays` wrote; the checksums inside are compared.

    Args:
      path: the file.
      in_place: whether it must be what was written there: no other program's file, nor one of
        another training. Of a finished stage, `fingerprint` tells that.
      needed: arrays that it must have.

    Raises:
      InputError: there is no such file, it cannot be read, or it lacks one of these.
      DamagedFile: it is not whole.
    """
    path = epath.Path(path)
    content = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # At the archive's end; `zipfile` would leave out arrays without a word.
            count = len(content) - len(archive.comment) - 12
            if len(archive.infolist()) != int.from_bytes(content[count : count + 2], "little"):
                raise DamagedFile(path, "arrays are missing")
            if in_place and archive.comment != place(path):
                raise DamagedFile(path, "it was not written there")
            wrong = archive.testzip()  # Before NumPy takes a header's word for a size.
        if wrong is not None:
            raise DamagedFile(path, f"the checksum of {wrong} is another")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except DamagedFile:
        raise
    except Exception as error:  # A damaged header may raise any, as tokenize.TokenError.
        raise DamagedFile(path, reason(error)) from error
    if missing := sorted(set(needed) - set(arrays)):
        raise InputError(f"{path} has no {', '.join(missing)}: delete it and run again")
    return arrays


def set_aside(path: epath.PathLike) -> epath.Path:
    """Renames a damaged file, so that nothing takes it for a whole one and nothing is deleted.

    Returns:
      Its new path: the old one with `.damaged` and, if that exists, a number.

    Raises:
      InputError: it cannot be renamed.
    """
    path = epath.Path(path)
    names = (f"{path.name}.damaged{number or ''}" for number in itertools.count())
    aside = next(path.parent / name for name in names if not (path.parent / name).exists())
    try:
        path.rename(aside)
    except FileNotFoundError:  # Another process that found it damaged was quicker.
        pass
    except OSError as error:
        raise InputError(f"cannot rename the damaged {path} ({reason(error)})") from error
    return aside


@contextlib.contextmanager
def whole_or_set_aside(path: epath.PathLike) -> Iterator[None]:
    """Around reading a file that can be made again: a damaged one is renamed, the reading ends."""
    try:
        yield
    except DamagedFile:
        set_aside(path)


def fingerprint(path: epath.PathLike) -> list[int]:
    """What tells later whether a file is still the one it was: its size in bytes and a checksum.

    Of weights and masks, which are large, the checksum is that of their end: there an archive has
    the checksums of its arrays, which `load_arrays` compares.
    """
    path = epath.Path(path)
    size = path.stat().length
    start = max(0, size - _END_BYTES) if path.name in _LARGE else 0
    return [size, zlib.crc32(read_bytes(path, start))]


def changed_since(path: epath.PathLike, before: Any) -> str:
    """What is wrong with a file whose `fingerprint` was this; nothing if it is the same."""
    path = epath.Path(path)
    if not path.exists():
        return f"{path.name} is gone"
    if path.is_dir():
        return f"{path.name} is a folder"
    now = fingerprint(path)
    if before in (now, now[:1]):  # Of weights and masks, earlier versions wrote the size alone.
        return ""
    if not isinstance(before, list) or now[:1] == before[:1]:
        return f"{path.name} is not as it was written"
    return f"{path.name} has {now[0]} bytes, not {before[0]}"


def read_bytes(path: epath.PathLike, start: int = 0) -> bytes:
    """All that a file holds from this byte on.

    Raises:
      InputError: there is no such file, it is a folder, or it cannot be read.
    """
    try:
        with epath.Path(path).open("rb") as file:
            file.seek(start)
            return bytes(file.read())
    except OSError as error:
        raise InputError(wrong_kind(path) or f"cannot read {path} ({reason(error)})") from error


def read_text(path: epath.PathLike) -> str:
    """A file as text, without the mark that some programs put before UTF-8.

    What is no UTF-8 becomes U+FFFD, for whoever looks whether the text is whole.

    Raises:
      InputError: as for `read_bytes`.
    """
    return read_bytes(path).decode("utf-8-sig", errors="replace")
