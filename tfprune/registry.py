"""Named tables that do not import what they name until it is used."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tfprune.errors import InputError, unknown_name


@dataclass(frozen=True)
class Entry:
    """One registered function, or what else a table is of, and what it does in one line.

    Attributes:
      target: itself, or `"package.module:name"`, imported at first use, so that listing names
        never imports TensorFlow.
      summary: one line of help.
      properties: facts about the entry that must be known before it is imported.
    """

    target: Any
    summary: str
    properties: tuple[tuple[str, Any], ...] = ()

    def load(self) -> Any:
        return load(self.target)

    def __getitem__(self, name: str) -> Any:
        return dict(self.properties)[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A property, or a default where it was registered without."""
        return dict(self.properties).get(name, default)


def load(target: Any) -> Any:
    """What `"package.module:name"` names, imported now; anything else is itself."""
    if not isinstance(target, str):
        return target
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


class Registry:
    """Functions by name, or what else a table is of, in the order they were added.

    Args:
      setting: the flag that chooses among them ("criterion"), named by errors.
      kind: of what is registered.

    Example:
      >>> CRITERIA = Registry("criterion")
      >>> CRITERIA.add("shortest", len, "the shortest first")
      >>> CRITERIA["shortest"]("abc")
      3
      >>> CRITERIA["shortes"]
      Traceback (most recent call last):
      ...
      tfprune.errors.SettingError: criterion=shortes: did you mean shortest? allowed: shortest
    """

    def __init__(self, setting: str, kind: Any = Callable):
        self.setting = setting
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def add(self, name: str, target: Any, summary: str, **properties: Any) -> None:
        """Registers a function, or where it is.

        Raises:
          InputError: the name is taken, or this is of another kind.
        """
        if name in self._entries:
            raise InputError(f"{self.setting} {name!r} is registered already")
        if not isinstance(target, (str, self.kind)):
            raise InputError(
                f"{self.setting} {name!r} must be a {self.kind.__name__}, not a "
                f"{type(target).__name__}"
            )
        self._entries[name] = Entry(target, summary, tuple(properties.items()))

    def entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.setting, name, self._entries)
        return self._entries[name]

    def __getitem__(self, name: str) -> Any:
        return self.entry(name).load()

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def help_lines(self) -> str:
        """`name: summary` for every entry, joined by semicolons."""
        return "; ".join(f"{name}: {entry.summary}" for name, entry in self._entries.items())


class Names:
    """The names of several registries together, as they are when asked."""

    def __init__(self, *registries: Registry):
        self._registries = registries

    def __contains__(self, name: object) -> bool:
        return any(name in registry for registry in self._registries)

    def __iter__(self) -> Iterator[str]:
        return itertools.chain(*self._registries)
