"""Shortcuts and strides of the residual networks against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.catalog import MODELS
from tfprune.models.blocks import conv
from tfprune.models.resnet import zero_pad_shortcut


def apply(function, images: np.ndarray) -> np.ndarray:
    """What `function`, from Keras tensor to Keras tensor, computes."""
    inputs = keras.Input(images.shape[1:])
    return keras.Model(inputs, function(inputs))(images).numpy()


@pytest.mark.parametrize(
    ("size", "channels", "filters", "strides"),
    [(8, 16, 32, 2), (7, 3, 8, 2), (1, 2, 5, 2), (4, 6, 24, 1), (5, 4, 4, 2)],
)
def test_zero_pad_shortcut_takes_every_other_pixel_and_pads_channels(
    size, channels, filters, strides
):
    images = np.random.default_rng(0).normal(size=(2, size, size + 1, channels)).astype("float32")
    before = (filters - channels) // 2
    after = filters - channels - before
    expected = np.pad(images[:, ::strides, ::strides], ((0, 0), (0, 0), (0, 0), (before, after)))
    output = apply(lambda x: zero_pad_shortcut(x, filters, strides, "shortcut"), images)
    np.testing.assert_array_equal(output, expected)


def correlate(images: np.ndarray, kernel: np.ndarray, strides: int, padding: int) -> np.ndarray:
    """PyTorch's Conv2d, as a sum over the window, in float64."""
    side = kernel.shape[0]
    padded = np.pad(images.astype("float64"), ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    rows, columns = (1 + (n - side) // strides for n in padded.shape[1:3])
    output = np.zeros((len(images), rows, columns, kernel.shape[-1]))
    for i in range(side):
        for j in range(side):
            window = padded[
                :, i : i + strides * rows : strides, j : j + strides * columns : strides
            ]
            output += window[:, :rows, :columns] @ kernel[i, j]
    return output


@pytest.mark.parametrize("size", [8, 7, 1])
@pytest.mark.parametrize(("side", "strides"), [(3, 1), (3, 2), (7, 2), (1, 2)])
def test_convolutions_are_centred_as_in_pytorch(size, side, strides):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(2, size, size, 3)).astype("float32")
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, conv(inputs, 4, side, "conv1", strides))
    kernel = generator.normal(size=(side, side, 3, 4)).astype("float32")
    model.set_weights([kernel])
    expected = correlate(images, kernel, strides, side // 2)
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-4)


def test_a_zero_pad_block_without_residual_is_its_shortcut():
    model = MODELS["resnet20"]((8, 8, 3), 10, shortcut="zero_pad")
    # Batch norm with a scale of zero silences the residual branch.
    model.get_layer("stage2_block1_conv2_bn").gamma.assign(np.zeros(32))
    names = ("stage1_block3_relu", "stage2_block1_relu")
    inner = keras.Model(model.input, [model.get_layer(name).output for name in names])
    before, after = inner(np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
    expected = np.pad(before[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (8, 8)))
    assert np.any(expected > 0)
    np.testing.assert_array_equal(after, expected)


def test_resnet50_strides_in_the_3x3_of_a_block():
    model = MODELS["resnet50"]((64, 64, 3), 10, width=0.05)
    strides = {x.name: x.strides[0] for x in model.layers if isinstance(x, keras.layers.Conv2D)}
    assert {name for name, stride in strides.items() if stride == 2} == {
        "conv1",
        *(f"stage{n}_block1_conv2" for n in (2, 3, 4)),
        *(f"stage{n}_block1_shortcut" for n in (2, 3, 4)),
    }
    assert "stage1_block1_shortcut" in strides  # 64 channels become 256.


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tflite_computes_a_zero_pad_shortcut_beside_a_strided_convolution():
    inputs = keras.Input((8, 8, 3))
    sides = [zero_pad_shortcut(inputs, 8, 2, "shortcut"), conv(inputs, 8, 3, "conv1", strides=2)]
    model = keras.Model(inputs, keras.layers.Add()(sides))
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, model(images), rtol=1e-4, atol=1e-5)
