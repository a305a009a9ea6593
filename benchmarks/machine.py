"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from tfprune.versions import versions

_CPU_INFO = Path("/proc/cpuinfo")
_NAMED_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def description() -> dict[str, Any]:
    """CPU, cores, and versions of Python and packages."""
    return {
        "cpu": _cpu_field("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "cpu_flags": [flag for flag in _NAMED_FLAGS if has_cpu_flag(flag)],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: found for name, found in versions().items() if name != "code"},
    }


def code() -> str:
    """The digest of the code that is timed."""
    return versions()["code"]


def has_cpu_flag(flag: str) -> bool:
    """Whether Linux names this feature of the CPU; False where it cannot be told."""
    return flag in _cpu_field("flags").split()


def load() -> float | None:
    """Processes that ran or waited to run in the last minute, this one included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_field(name: str) -> str:
    """A line of /proc/cpuinfo, of the first core."""
    if not _CPU_INFO.exists():
        return ""
    for line in _CPU_INFO.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
