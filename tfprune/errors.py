"""Errors that tfprune raises on purpose, each with a message that says what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class TfpruneError(Exception):
    """Base class of every error that tfprune raises on purpose."""


class InputError(TfpruneError, ValueError):
    """The user asked for something that cannot be done; nothing was written.

    A command that meets one prints its one line on stderr and exits with code 2.
    """


class SettingError(InputError):
    """A setting has a value that is not allowed.

    Args:
      name: the setting, as its flag is spelled without the dashes.
      value: what was given.
      allowed: what is allowed, as a phrase ("a number in [0, 1]").
    """

    def __init__(self, name: str, value: object, allowed: str):
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"--{name}={value}: {allowed}")


class TrainingDiverged(TfpruneError, ArithmeticError):
    """A loss became NaN or infinite; the trial stops, other trials go on."""


def nearest(value: str, known: Iterable[str]) -> str:
    """What is allowed, as a phrase, the names nearest to `value` first."""
    names = list(known)
    close = get_close_matches(value, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"


def unknown_name(setting: str, value: str, known: Iterable[str]) -> SettingError:
    """The error for a name that is not registered."""
    return SettingError(setting, value, nearest(value, known))
