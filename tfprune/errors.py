"""Errors that tfprune raises on purpose, each with a message that says what to do next.

They speak of arguments and settings by their names. A setting other than the one that is wrong
stands in backquotes, with or without a value, so that a command line can spell it as its flag:
"nothing with `lr_decay=cosine`".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any


class TfpruneError(Exception):
    """Base class of every error that tfprune raises on purpose."""

    def marked(self) -> str:
        """The message, with every setting that it names in backquotes."""
        return str(self)


class InputError(TfpruneError, ValueError):
    """The user asked for something that cannot be done; nothing was written.

    A command that meets one prints its one line on stderr and exits with code 2.
    """


class SettingError(InputError):
    """An argument or a setting has a value that is not allowed.

    Args:
      name: the argument, or the setting.
      value: what was given.
      allowed: what is allowed, as a phrase ("a number in [0, 1]").
    """

    def __init__(self, name: str, value: object, allowed: str):
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"{name}={value}: {allowed}")

    def marked(self) -> str:
        return f"`{self.name}={self.value}`: {self.allowed}"

    def __reduce__(self) -> tuple[Any, ...]:
        return SettingError, (self.name, self.value, self.allowed)


class CannotWrite(InputError):
    """The disk is full, or the folder may not be written; what was finished before is kept."""


class DamagedFile(InputError):
    """A file is not whole: truncated, or its bytes are not those that were written.

    Args:
      path: the file.
      what: what was found ("File is not a zip file").
      advice: what to do about it.
    """

    def __init__(self, path: Any, what: str, advice: str = "delete it and run again"):
        self.path = path
        self.what = what
        self.advice = advice
        super().__init__(f"{path} is damaged ({what}): {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedFile, (self.path, self.what, self.advice)


class Stopped(BaseException):
    """A signal asked the process to end; what was trained is saved.

    As KeyboardInterrupt, it is no Exception: nothing that catches those must keep it.

    Args:
      signum: the signal.
    """

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(signum)


class TrainingDiverged(TfpruneError, ArithmeticError):
    """A loss became NaN or infinite; the trial stops, other trials go on."""


class LayerCollapse(UserWarning):
    """A pruning leaves a layer without a weight, so that no signal passes it."""


@contextmanager
def arguments_from(**settings: str) -> Iterator[None]:
    """Errors about arguments name the settings that the arguments were taken from.

    Args:
      **settings: the setting's name by the argument's.

    Example:
      >>> with arguments_from(fraction="prune_fraction"):
      ...     raise SettingError("fraction", 2, "at most 1")
      Traceback (most recent call last):
      tfprune.errors.SettingError: prune_fraction=2: at most 1
    """
    try:
        yield
    except SettingError as error:
        if error.name not in settings:
            raise
        raise SettingError(settings[error.name], error.value, error.allowed) from error


def reason(error: BaseException) -> str:
    """What an error says, in as few words as it has, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def close_names(value: str, names: Sequence[str]) -> list[str]:
    """The three names that are most likely meant: that have it as a part, or look like it.

    Example:
      >>> close_names("lenet", ["resnet20", "lenet_300_100"])
      ['lenet_300_100', 'resnet20']
    """
    whole = [name for name in names if len(value) > 2 and value in name.split("_")]
    begun = [name for name in names if len(value) > 2 and name.startswith(value)]
    close = get_close_matches(value, names, n=3, cutoff=0.4)
    return list(dict.fromkeys((*whole, *begun, *close)))[:3]


def nearest(value: str, known: Iterable[str]) -> str:
    """What is allowed, as a phrase, the names nearest to `value` first."""
    names = list(known)
    close = close_names(value, names)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}allowed: {', '.join(names)}"


def unknown_name(setting: str, value: object, known: Iterable[str]) -> SettingError:
    """The error for a name, or what was given as one, that is not among those that are known."""
    return SettingError(setting, value, nearest(str(value), known))
