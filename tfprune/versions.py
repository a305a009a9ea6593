"""Which code a number comes from: versions of packages, a digest of tfprune's own source; cores."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tfprune._version import __version__

_PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "tensorflow-datasets",
    "numpy",
)
# The parts of tfprune that make numbers; the rest shows, names or moves them.
_NUMERIC = ("data", "measures", "models", "pruning", "studies", "training")
_GROUND = ("catalog", "config", "optimizers", "precision", "seeds", "settings")
# Versions that are recorded, but do not change a number.
_HARMLESS = ("python",)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number, and `code`.

    `code` is a digest of the modules of tfprune that make numbers, comments and docstrings left
    out, so that an edited checkout is told from the release.
    """
    found = {"python": platform.python_version(), "code": _code(), "tfprune": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def processor_cores() -> int:
    """How many cores of the processor this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Not on macOS.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """What differs between two `versions`, in words ("numpy 2.1.0, now 2.2.0")."""
    names = [name for name in (*theirs, *ours) if name not in _HARMLESS]
    return [
        f"{name} {theirs.get(name, 'absent')}, now {ours.get(name, 'absent')}"
        for name in dict.fromkeys(names)
        if theirs.get(name) != ours.get(name)
    ]


@cache
def _code() -> str:
    root = Path(__file__).parent
    files = [root / f"{name}.py" for name in _GROUND]
    files += [file for part in _NUMERIC for file in (root / part).rglob("*.py")]
    by_name = {file.relative_to(root).as_posix(): file for file in files}
    digest = hashlib.sha256()
    for name in sorted(by_name):
        digest.update(f"{name}\n{_without_words(by_name[name])}\n".encode())
    return digest.hexdigest()[:12]


def _without_words(file: Path) -> str:
    """A module's lines without docstrings, comments of their own and empty lines.

    Lines, not the syntax tree, whose printed form differs between versions of Python.
    """
    text = file.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            docstring = node.body[0]
            words.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    lines = [line.rstrip() for n, line in enumerate(text.splitlines(), 1) if n not in words]
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
