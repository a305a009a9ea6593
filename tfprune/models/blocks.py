"""The layers that the networks share: named, scaled by width, padded as in PyTorch.

Every layer is a stock Keras layer with a name of its own, so a model is the same whatever was
built before it in the process, survives `clone_model`, saving and TFLite, and can be wrapped by
tensorflow-model-optimization, which knows no TF-op or Lambda layers.
"""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras
from tfprune.errors import InputError

BATCH_NORM_MOMENTUM = 0.9  # PyTorch's 0.1, which weighs the new batch instead of the old average.
BATCH_NORM_EPSILON = 1e-5
GATE_SUFFIX = "_gate"


def is_gate(layer: Any) -> bool:
    """Whether a layer is a gate of `tfprune.pruning.dead_filters.gate_shortcuts`."""
    gate = isinstance(layer, keras.layers.DepthwiseConv2D) and layer.name.endswith(GATE_SUFFIX)
    return gate and not layer.trainable


def is_batch_norm(layer: Any) -> bool:
    """Whether a layer is a batch normalization of any kind."""
    kinds = keras.layers
    return isinstance(layer, (kinds.BatchNormalization, kinds.experimental.SyncBatchNormalization))


def has_convolutions(model: Any) -> bool:
    """Whether a network has convolutions, which oneDNN runs faster on a CPU than XLA does."""
    kinds = keras.layers
    convolutions = (kinds.Conv1D, kinds.Conv2D, kinds.Conv3D, kinds.DepthwiseConv2D)
    return any(isinstance(part, convolutions) for part in model.submodules)


def image_input(input_shape: tuple[int, ...]) -> Any:
    """The input of a convolutional network: normalized images, float [batch, height, width, c].

    Raises:
      InputError: `input_shape` is not three positive integers.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise InputError(
            f"a convolutional model takes images of shape (height, width, channels), got {shape}: "
            "reshape the images, or choose `model=lenet_300_100`"
        )
    return keras.Input(shape, name="images")


def kaiming_normal() -> Any:
    """Keras's form of Kaiming normal, fan-in, gain sqrt(2) (not truncated, as in PyTorch).

    It makes a freshly built model usable; `tfprune.models.initialize` makes it a trial's.
    """
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def conv(
    x: Any, filters: int, kernel_size: int, name: str, strides: int = 1, use_bias: bool = False
) -> Any:
    """A square convolution that keeps the image's size, or divides it by `strides`, rounded up.

    A strided kernel is centred on pixels 0, s, 2s, ... as in PyTorch: Keras's own "same" padding
    would centre it one pixel off, out of line with the shortcut beside it.
    """
    padding = "same"
    if strides > 1 and kernel_size > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=kaiming_normal(),
        name=name,
    )(x)


def batch_norm(x: Any, name: str) -> Any:
    """Batch normalization with PyTorch's momentum and epsilon."""
    return keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=name
    )(x)


def relu(x: Any, name: str) -> Any:
    return keras.layers.ReLU(name=name)(x)


def conv_bn(
    x: Any, filters: int, kernel_size: int, name: str, strides: int = 1, use_bias: bool = False
) -> Any:
    """A convolution, then batch norm, which takes any bias away again in training."""
    return batch_norm(conv(x, filters, kernel_size, name, strides, use_bias), f"{name}_bn")


def conv_bn_relu(
    x: Any, filters: int, kernel_size: int, name: str, strides: int = 1, use_bias: bool = False
) -> Any:
    return relu(conv_bn(x, filters, kernel_size, name, strides, use_bias), f"{name}_relu")


def max_pool(x: Any, name: str) -> Any:
    """2x2 max-pooling, left out where a side is already 1, so that 8x8 images fit any depth.

    An odd side drops its last row or column, as in PyTorch.
    """
    if min(x.shape[1:3]) < 2:
        return x
    return keras.layers.MaxPooling2D(2, name=name)(x)


def logits(x: Any, num_classes: int) -> Any:
    """The linear output layer, in the precision of the variables: float32 in mixed precision."""
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=kaiming_normal(),
        dtype=keras.mixed_precision.global_policy().variable_dtype,
        name="logits",
    )(x)


def pooled_logits(x: Any, num_classes: int) -> Any:
    """Global average pooling, then the output layer."""
    return logits(keras.layers.GlobalAveragePooling2D(name="average_pool")(x), num_classes)
