"""XLA's compiled programs, kept from process to process, so that a machine compiles each once.

TensorFlow names an entry by its program, compares the whole program before it takes one, and moves
an entry into place once it is written, so any number of processes may share a folder. Two things
are left to do here: an entry that a power cut has left incomplete would end every training that
finds it, and a program that was compiled for another processor may crash this one.

Importing this module imports no TensorFlow, which reads these settings when it is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import platformdirs

from tfprune.errors import SettingError, reason
from tfprune.versions import processor_cores

OFF, AUTO = "off", "auto"
_FOLDER_FLAG = "--tf_xla_persistent_cache_directory"
# What must be free where nobody named a folder: a training ends if an entry cannot be written.
_FREE_BYTES = 2**30
# How a field of a protocol buffer goes on after its tag.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def environment(setting: str) -> dict[str, str]:
    """The variables that make TensorFlow keep what XLA compiles, and find it again.

    Args:
      setting: a folder; `auto`, one in the user's cache folder, if its disk has room; or `off`.

    Returns:
      Values by name, what the variables say now included; nothing where no
      programs are kept, or the variables name a folder already.

    Raises:
      SettingError: the folder that was named cannot be written, or has no name. `auto` does
        without it.
    """
    if not setting.strip():
        raise SettingError("compilation_cache", setting, "off, auto, or a folder")
    if setting == OFF or _FOLDER_FLAG in os.environ.get("TF_XLA_FLAGS", ""):
        return {}
    root = Path(platformdirs.user_cache_dir("tfprune") if setting == AUTO else setting)
    folder = root.expanduser().absolute() / "xla" / _machine(os.environ)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if setting == AUTO and shutil.disk_usage(folder).free < _FREE_BYTES:
            return {}
        _remove_incomplete(folder)
    except OSError as error:
        if setting == AUTO:
            return {}
        raise SettingError(
            "compilation_cache", setting, f"off, or a folder that can be written ({reason(error)})"
        ) from None
    flags = {
        "TF_XLA_FLAGS": f"{_FOLDER_FLAG}={folder} --tf_xla_persistent_cache_device_types=CPU,GPU",
        "XLA_FLAGS": f"--xla_gpu_per_fusion_autotune_cache_dir={folder}",
    }
    return {name: f"{os.environ.get(name, '')} {added}".strip() for name, added in flags.items()}


def _machine(environment: Mapping[str, str]) -> str:
    """Names what a compiled program depends on besides the program: processor, cores, versions."""
    compiler = [environment.get(name, "") for name in ("TF_XLA_FLAGS", "XLA_FLAGS")]
    processor = [platform.machine(), _processor(), str(processor_cores())]
    facts = [*processor, version("tensorflow"), *compiler]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _processor() -> str:
    """The processor and its instructions, of which two of one name may have different ones."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def _remove_incomplete(folder: Path) -> None:
    for entry in folder.glob("*.pb"):
        with contextlib.suppress(FileNotFoundError):  # Another process was first.
            if not _is_whole(entry):
                entry.unlink()


def _is_whole(path: Path) -> bool:
    """Whether a file is a protocol buffer whose last field ends with it, and not empty."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            kind = (_varint(file) or 0) & 7
            skipped = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if kind in (_VARINT, _BYTES):
                number = _varint(file)
                skipped = number if kind == _BYTES else 0 if number is not None else None
            if skipped is None or file.tell() + skipped > size:
                return False
            file.seek(skipped, os.SEEK_CUR)
    return size > 0


def _varint(file: BinaryIO) -> int | None:
    """The number that comes next, seven bits in a byte, the lowest first; None at the end."""
    number, shift = 0, 0
    while byte := file.read(1):
        number |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return number
    return None
