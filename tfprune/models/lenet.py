"""LeNet-300-100, the fully connected network of SDD and PEG."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.models.blocks import kaiming_normal, logits
from tfprune.models.widths import scaled


def lenet_300_100(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Any:
    """Two hidden ReLU layers of 300 and 100 units (SDD A.1, OpenLTH's `mnist_lenet_300_100`).

    Args:
      input_shape: of one example, any rank; it is flattened.
      num_classes: number of logits.
      width: multiplies 300 and 100.

    Returns:
      A functional model: float [batch, *input_shape] -> logits, float32 [batch, num_classes].

    Raises:
      SettingError: `width` is not above 0.
    """
    images = keras.Input(tuple(input_shape), name="images")
    x = keras.layers.Flatten(name="flatten")(images)
    for index, units in enumerate((300, 100), start=1):
        x = keras.layers.Dense(
            scaled(units, width),
            activation="relu",
            kernel_initializer=kaiming_normal(),
            name=f"dense{index}",
        )(x)
    return keras.Model(images, logits(x, num_classes), name="lenet_300_100")
