"""How a setting is declared: once, as a dataclass field that the command line's flag comes from.

Importing this module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfprune.errors import SettingError, unknown_name
from tfprune.registry import Names, Registry

Check = Callable[[str, Any], None]


def between(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> None:
        if not low <= value <= high:
            raise SettingError(name, value, f"a number in [{low}, {high}]")

    return check


def below_one(name: str, value: Any) -> None:
    """A check of a fraction that leaves something."""
    if not 0 <= value < 1:
        raise SettingError(name, value, "a number in [0, 1)")


def at_least(low: float) -> Check:
    def check(name: str, value: Any) -> None:
        if not value >= low:
            raise SettingError(name, value, f"a number of at least {low}")

    return check


def above(low: float, most: float = math.inf) -> Check:
    def check(name: str, value: Any) -> None:
        if not low < value <= most:
            bound = "" if most == math.inf else f", at most {most}"
            raise SettingError(name, value, f"a number above {low}{bound}")

    return check


def one_of(allowed: Iterable[str]) -> Check:
    """A check of each of several names."""
    names = tuple(allowed)

    def check(name: str, value: Any) -> None:
        if value not in names:
            raise unknown_name(name, value, names)

    return check


def expanded(name: str, path: str) -> str:
    """A path, `npz:PATH` or `folder:PATH` with the home folder that a leading `~` stands for.

    Raises:
      SettingError: there is no such user, or it is on a kind of storage that nothing here reads.
    """
    kind = next((kind for kind in ("npz:", "folder:") if path.startswith(kind)), "")
    whole = os.path.expanduser(path.removeprefix(kind))
    storage = re.match(r"([\w+.-]+)://", whole)
    if storage and storage[1] != "gs":
        raise SettingError(name, path, f"a path of this machine, or gs://..., not {storage[0]}")
    if whole.startswith("~"):
        raise SettingError(name, path, f"a path; there is no user {whole[1:].split('/')[0]!r}")
    return kind + whole


def auto_or_count(name: str, value: Any) -> None:
    """A check: `auto`, or a whole number of at least 1."""
    if value != "auto" and not (str(value).isdecimal() and int(value) >= 1):
        raise SettingError(name, value, "auto, or a number of at least 1")


def setting(
    default: Any,
    help: str,  # noqa: A002 - the word the flag uses
    *,
    choices: Iterable[str] | Registry | Names | None = None,
    check: Check | None = None,
    identity: bool = True,
    later: bool = False,
    path: bool = False,
) -> Any:
    """Declares one setting.

    Args:
      default: its default; also the flag's.
      help: one line of help, with units.
      choices: the allowed names, if they are a closed set.
      check: raises SettingError for a value that is not allowed.
      identity: whether the value can change a number in a result; such values make up the hash.
      later: the setting is younger than folders that people have, whose numbers were made with its
        default: that leaves the hash as it was.
      path: the value may name a file or folder, in which `~` is somebody's home.
    """
    kept: dict[str, Any] = {"help": help, "choices": choices, "check": check, "path": path}
    return dataclasses.field(
        default=default, metadata={**kept, "identity": identity, "later": later}
    )


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings whose values are checked when it is constructed."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.metadata.get("path"):
                own = expanded(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, own)
            value = getattr(self, field.name)
            choices, check = field.metadata.get("choices"), field.metadata.get("check")
            if choices is not None and value not in choices:
                raise unknown_name(field.name, str(value), choices)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, float) and not math.isfinite(part):
                    raise SettingError(field.name, part, "a finite number")
                if check is not None:
                    check(field.name, part)

    def check_with(self, config: Any) -> None:
        """Raises SettingError if the values do not go with a run's; sections may override it.

        Args:
          config: a `tfprune.config.RunConfig`.
        """

    def identity(self) -> dict[str, Any]:
        """The values that can change a number, JSON-ready."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("identity", True)
            and not (field.metadata.get("later") and getattr(self, field.name) == field.default)
        }


def join(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


def as_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as columns of results.csv: several of one name in one text."""
    return {n: join(v) if isinstance(v, list | tuple) else v for n, v in values.items()}


def settings_of(section: type[Section]) -> dict[str, dataclasses.Field]:
    """The settings a section declares itself, by name, sections inside it left out."""
    return {f.name: f for f in dataclasses.fields(section) if "help" in f.metadata}


def hash8(values: Any) -> str:
    """The first eight hex digits of the SHA-256 of JSON with sorted keys and no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
