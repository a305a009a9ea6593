"""Arguments of callbacks, looked at when one is made or `fit` starts."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from tfprune.errors import InputError, SettingError


def check_whole_number(setting: str, value: Any, least: int) -> None:
    """Refuses anything but a whole number of at least this.

    Raises:
      SettingError: it is another value.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise SettingError(setting, value, f"a whole number of at least {least}")


def check_labelled(setting: str, value: Any) -> None:
    """Refuses anything but (images, labels), equally many.

    Raises:
      InputError: it is another value.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"{setting} must be (images, labels), not a {type(value).__name__}")
    images, labels = value
    if not all(hasattr(part, "__len__") and len(part) for part in (images, labels)):
        raise InputError(f"{setting} must be arrays (images, labels), with an example at least")
    if len(images) != len(labels):
        raise InputError(f"{setting} has {len(images)} images and {len(labels)} labels")


def check_one_batch_a_step(model: Any, what: str) -> None:
    """Refuses a model that trains several batches between two calls of a callback.

    Raises:
      InputError: it was compiled with `steps_per_execution` above 1.
    """
    steps = getattr(model, "_steps_per_execution", None)
    count = 1 if steps is None else int(steps)
    if count > 1:
        raise InputError(
            f"{what} acts before every batch: compile the model with steps_per_execution=1, "
            f"not {count}"
        )
