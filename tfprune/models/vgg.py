"""VGG-11 and VGG-16 for small images, with batch norm and one dense layer."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.models.blocks import conv_bn_relu, image_input, max_pool, pooled_logits
from tfprune.models.widths import scaled

# Filters of each 3x3 convolution, a max-pool between the groups (Simonyan & Zisserman 2015).
_VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg11(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Any:
    """VGG-11 with batch norm, its dense layers replaced by a single one (GST 2, and its code).

    Five 2x2 max-pools (left out where a side is already 1), so that the dense layer gets one pixel
    of a CIFAR image; of larger images, the average over what remains. Convolutions have a bias, as
    torchvision's: the batch norm after each takes it away in training, but derivatives in
    inference mode (GST's curvature) see it.

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
    images = image_input(input_shape)
    x = max_pool(_groups(images, _VGG11, width, use_bias=True), "pool5")
    return keras.Model(images, pooled_logits(x, num_classes), name="vgg11")


def vgg16(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Any:
    """VGG-16 with batch norm and one dense layer (PEG B.1).

    As OpenLTH's CIFAR VGG: four 2x2 max-pools (left out where a side is already 1), then an
    average over what remains (2x2 for CIFAR) instead of the fifth. Unlike there, convolutions have
    no bias: the batch norm after each takes it away again. Otherwise as `vgg11`.
    """
    images = image_input(input_shape)
    x = _groups(images, _VGG16, width)
    return keras.Model(images, pooled_logits(x, num_classes), name="vgg16")


def _groups(
    x: Any, groups: tuple[tuple[int, ...], ...], width: float, use_bias: bool = False
) -> Any:
    """Groups of 3x3 convolutions, a max-pool between them."""
    for group, filters_of_group in enumerate(groups, start=1):
        if group > 1:
            x = max_pool(x, f"pool{group - 1}")
        for index, filters in enumerate(filters_of_group, start=1):
            name = f"group{group}_conv{index}"
            x = conv_bn_relu(x, scaled(filters, width), 3, name, use_bias=use_bias)
    return x
