"""How wide a network's layers are, told without building it: imports no TensorFlow."""

from __future__ import annotations

from tfprune.catalog import MODELS
from tfprune.errors import SettingError


def scaled(units: int, width: float) -> int:
    """`units * width`, rounded, and at least 1.

    Raises:
      SettingError: `width` is not above 0.
    """
    if not width > 0:
        raise SettingError("width", width, "a number above 0")
    return max(1, round(units * width))


def layer_units(model: str, width: float) -> tuple[float, ...]:
    """The sizes of a model's layers at a width; two widths with the same are one network.

    Of a model that was registered without `units` nothing says which widths are: the width alone.

    Args:
      model: a name in `tfprune.catalog.MODELS`.
      width: as the setting `width`.

    Example:
      >>> layer_units("lenet_300_100", 0.8), layer_units("resnet20", 0.01)
      ((240, 80), (1, 1, 1))
    """
    units = MODELS.entry(model).get("units")
    return (width,) if units is None else tuple(scaled(each, width) for each in units)
