"""The seven-convolution network of PM, with and without batch norm."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.models.blocks import (
    conv,
    conv_bn_relu,
    image_input,
    max_pool,
    pooled_logits,
    relu,
)
from tfprune.models.widths import scaled

# PM A.2.1: filters of each 3x3 convolution, a max-pool between the groups.
_GROUPS = ((16, 16, 16), (32, 32), (64, 64))


def vanilla_cnn(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Any:
    """PM A.2.1: 3 convolutions of 16 filters, 2 of 32, 2 of 64, each with bias and ReLU.

    A 2x2 max-pool follows the first two groups (left out where a side is already 1), global
    average pooling and one dense layer the last.

    Args:
      input_shape: (height, width, channels) of one image.
      num_classes: number of logits.
      width: multiplies the number of filters.

    Returns:
      A functional model: float [batch, *input_shape] -> logits, float32 [batch, num_classes].

    Raises:
      InputError: `input_shape` is not that of an image.
      SettingError: `width` is not above 0.
    """
    return _vanilla_cnn("vanilla_cnn", input_shape, num_classes, width, _conv_relu)


def vanilla_cnn_bn(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Any:
    """`vanilla_cnn` with batch norm after each convolution, which then has no bias."""
    return _vanilla_cnn("vanilla_cnn_bn", input_shape, num_classes, width, conv_bn_relu)


def _conv_relu(x: Any, filters: int, kernel_size: int, name: str) -> Any:
    return relu(conv(x, filters, kernel_size, name, use_bias=True), f"{name}_relu")


def _vanilla_cnn(
    name: str, input_shape: tuple[int, ...], num_classes: int, width: float, convolution: Any
) -> Any:
    images = image_input(input_shape)
    x, index = images, 0
    for group, filters_of_group in enumerate(_GROUPS):
        if group > 0:
            x = max_pool(x, f"pool{group}")
        for filters in filters_of_group:
            index += 1
            x = convolution(x, scaled(filters, width), 3, f"conv{index}")
    return keras.Model(images, pooled_logits(x, num_classes), name=name)
