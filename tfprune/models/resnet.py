"""The residual networks: ResNet-20/32/56, -18 and -101 for small images, -50 for ImageNet.

Where a block changes the shape of its input, `shortcut="projection"` puts a 1x1 convolution with
batch norm on the shortcut (He et al. 2016's option B; OpenLTH's, so PEG's, and PyTorch's form);
`"zero_pad"` takes every other pixel and pads the channels with zeros, without a weight (He et
al.'s option A). Projections count as convolutions wherever kernels are chosen for pruning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfprune.backend import keras
from tfprune.errors import unknown_name
from tfprune.models.blocks import (
    conv_bn,
    conv_bn_relu,
    image_input,
    pooled_logits,
    relu,
)
from tfprune.models.settings import SHORTCUTS
from tfprune.models.widths import scaled

# (x, filters, strides, shortcut, name) -> the block's output.
Block = Callable[[Any, int, int, str, str], Any]

_BOTTLENECK_EXPANSION = 4


def resnet20(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """He et al.'s CIFAR ResNet of 20 layers (PEG B.1, PM, GST): 3 stages of 16, 32, 64 filters.

    Args:
      input_shape: (height, width, channels) of one image; any size, the second and third stage
        halve it, rounded up.
      num_classes: number of logits.
      width: multiplies the number of filters.
      shortcut: `projection` or `zero_pad`, for blocks that change shape (see the module).

    Returns:
      A functional model: float [batch, *input_shape] -> logits, float32 [batch, num_classes].

    Raises:
      InputError: `input_shape` is not that of an image.
      SettingError: `width` is not above 0, or there is no such shortcut.
    """
    return _cifar_resnet("resnet20", 3, input_shape, num_classes, width, shortcut)


def resnet32(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """He et al.'s CIFAR ResNet of 32 layers (PEG B.1); otherwise as `resnet20`."""
    return _cifar_resnet("resnet32", 5, input_shape, num_classes, width, shortcut)


def resnet56(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """He et al.'s CIFAR ResNet of 56 layers (GST 3); otherwise as `resnet20`."""
    return _cifar_resnet("resnet56", 9, input_shape, num_classes, width, shortcut)


def resnet18(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """PyTorch's ResNet-18 with a 3x3 first convolution of stride 1 and no max-pool (SDD A.1).

    4 stages of 2 basic blocks with 64, 128, 256, 512 filters; arguments as `resnet20`.
    """
    images = image_input(input_shape)
    filters = [scaled(base, width) for base in (64, 128, 256, 512)]
    x = conv_bn_relu(images, filters[0], 3, "conv1")
    x = _stages(x, filters, (2, 2, 2, 2), _basic_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name="resnet18")


def resnet101(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """ResNet-101 for Tiny ImageNet, with `resnet18`'s 3x3 first convolution (SDD's code).

    4 stages of 3, 4, 23, 3 bottleneck blocks as in `resnet50`, of strides 1, 2, 2, 2; arguments as
    `resnet20`.
    """
    images = image_input(input_shape)
    filters = [scaled(base, width) for base in (64, 128, 256, 512)]
    x = conv_bn_relu(images, filters[0], 3, "conv1")
    x = _stages(x, filters, (3, 4, 23, 3), _bottleneck_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name="resnet101")


def resnet50(
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float = 1.0,
    shortcut: str = "projection",
) -> Any:
    """ResNet-50 for ImageNet (PEG B.1) in PyTorch's v1.5 form: a block strides in its 3x3.

    7x7 convolution of stride 2, 3x3 max-pool of stride 2, then 4 stages of 3, 4, 6, 3 bottleneck
    blocks with 64, 128, 256, 512 inner filters and four times as many outer; arguments as
    `resnet20`. It accepts images of any size, small ones shrink to one pixel on the way.
    """
    images = image_input(input_shape)
    filters = [scaled(base, width) for base in (64, 128, 256, 512)]
    x = conv_bn_relu(images, filters[0], 7, "conv1", strides=2)
    # After a ReLU, padding by zeros is PyTorch's padding by minus infinity.
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    x = _stages(x, filters, (3, 4, 6, 3), _bottleneck_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name="resnet50")


def _cifar_resnet(
    name: str,
    blocks_per_stage: int,
    input_shape: tuple[int, ...],
    num_classes: int,
    width: float,
    shortcut: str,
) -> Any:
    images = image_input(input_shape)
    filters = [scaled(base, width) for base in (16, 32, 64)]
    x = conv_bn_relu(images, filters[0], 3, "conv1")
    x = _stages(x, filters, (blocks_per_stage,) * 3, _basic_block, shortcut)
    return keras.Model(images, pooled_logits(x, num_classes), name=name)


def _stages(
    x: Any, filters: Sequence[int], blocks: Sequence[int], block: Block, shortcut: str
) -> Any:
    """The blocks of all stages; the first block of every stage but the first has stride 2."""
    if shortcut not in SHORTCUTS:
        raise unknown_name("shortcut", shortcut, SHORTCUTS)
    for stage, (stage_filters, stage_blocks) in enumerate(
        zip(filters, blocks, strict=True), start=1
    ):
        for index in range(1, stage_blocks + 1):
            strides = 2 if stage > 1 and index == 1 else 1
            x = block(x, stage_filters, strides, shortcut, f"stage{stage}_block{index}")
    return x


def _basic_block(x: Any, filters: int, strides: int, shortcut: str, name: str) -> Any:
    """Two 3x3 convolutions, He et al. 2016 fig. 5 left."""
    residual = conv_bn_relu(x, filters, 3, f"{name}_conv1", strides)
    residual = conv_bn(residual, filters, 3, f"{name}_conv2")
    return _add_shortcut(residual, x, strides, shortcut, name)


def _bottleneck_block(x: Any, filters: int, strides: int, shortcut: str, name: str) -> Any:
    """1x1, 3x3 and 1x1 convolutions, He et al. 2016 fig. 5 right, the stride in the 3x3."""
    residual = conv_bn_relu(x, filters, 1, f"{name}_conv1")
    residual = conv_bn_relu(residual, filters, 3, f"{name}_conv2", strides)
    residual = conv_bn(residual, _BOTTLENECK_EXPANSION * filters, 1, f"{name}_conv3")
    return _add_shortcut(residual, x, strides, shortcut, name)


def _add_shortcut(residual: Any, x: Any, strides: int, shortcut: str, name: str) -> Any:
    filters = residual.shape[-1]
    if strides > 1 or x.shape[-1] != filters:
        change = _projection if shortcut == "projection" else zero_pad_shortcut
        x = change(x, filters, strides, f"{name}_shortcut")
    return relu(keras.layers.Add(name=f"{name}_add")([residual, x]), f"{name}_relu")


def _projection(x: Any, filters: int, strides: int, name: str) -> Any:
    return conv_bn(x, filters, 1, name, strides)


def zero_pad_shortcut(x: Any, filters: int, strides: int, name: str) -> Any:
    """He et al. 2016's option A: `x[:, ::strides, ::strides]`, zero channels on both sides.

    Args:
      x: [batch, height, width, channels], channels <= filters.
      filters: number of channels to reach; an odd zero channel goes last.
      strides: keeps pixels 0, strides, 2 strides, ... of each side.
      name: prefix of the layers' names.

    Returns:
      [batch, ceil(height / strides), ceil(width / strides), filters].
    """
    if strides > 1:
        # The average of a 1x1 window is the pixel itself: a strided slice as a stock layer.
        x = keras.layers.AveragePooling2D(1, strides=strides, name=f"{name}_subsample")(x)
    extra = filters - x.shape[-1]
    if extra == 0:
        return x
    before = extra // 2
    # Told that channels come first, the layer pads the last two axes: here width and channels.
    return keras.layers.ZeroPadding2D(
        ((0, 0), (before, extra - before)), data_format="channels_first", name=f"{name}_zeros"
    )(x)
