"""Sweeps: the product of some values of some settings, one configuration each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from tfprune.config import SECTIONS, RunConfig, replace
from tfprune.errors import InputError, SettingError, nearest
from tfprune.settings import settings_of


def parse(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Reads `FIELD=V1,V2,...` texts.

    A value of a list setting joins its parts by `+`, as in `lr_drop_epochs=80+120,60`.

    Args:
      texts: as `--sweep` takes them.

    Returns:
      The values by setting, in the order given.

    Raises:
      InputError: a text is not of that form, the setting is unknown, a value is of another type, or
        two texts are of one setting.
    """
    readers = _readers()
    sweep: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise SettingError("sweep", text, "FIELD=VALUE,VALUE,...")
        if name not in readers:
            raise SettingError("sweep", text, f"no such field; {nearest(name, readers)}")
        if name in sweep:
            raise SettingError("sweep", text, f"one for each field; there is another of {name}")
        sweep[name] = tuple(_read(text, part, readers[name]) for part in values.split(","))
        if len(set(sweep[name])) != len(sweep[name]):
            raise SettingError("sweep", text, "different values")
    return sweep


def configs(base: RunConfig, sweep: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """The product of all values, each put into the base run.

    Raises:
      InputError: a value, or a combination of values, is not allowed; names the sweep.
    """
    found = []
    for values in itertools.product(*sweep.values()):
        changes = dict(zip(sweep, values, strict=True))
        if changes.get("label_noise") == "none":
            changes.setdefault("noise_fraction", 0.0)
        try:
            found.append(replace(base, **changes))
        except InputError as error:
            shown = " ".join(f"{name}={value}" for name, value in changes.items())
            raise InputError(f"--sweep {shown}: {error.marked()}") from None
    return found


def _readers() -> dict[str, Callable[[str], Any]]:
    hints = {
        name: get_type_hints(section)[name]
        for section in SECTIONS.values()
        for name, field in settings_of(section).items()
        if field.metadata["identity"]  # Of what changes no number, all values are one trial.
    }
    kinds: dict[Any, Callable[[str], Any]] = {
        tuple[int, ...]: lambda text: tuple(int(part) for part in text.split("+") if part),
        tuple[float, ...]: lambda text: tuple(float(part) for part in text.split("+") if part),
    }
    return {name: kinds.get(hint, hint) for name, hint in hints.items()}


def _read(text: str, part: str, reader: Callable[[str], Any]) -> Any:
    try:
        return reader(part.strip())
    except ValueError:
        raise SettingError("sweep", text, f"{part!r} is not a value of this field") from None
