"""The networks: parameter counts, shapes, names, precision, and what they survive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from networks import EVERY_MODEL, case

from tfprune.backend import keras, tf
from tfprune.catalog import MODELS
from tfprune.errors import InputError, SettingError
from tfprune.models.initialize import initialize
from tfprune.models.widths import layer_units

CIFAR, MNIST, IMAGENET, DIGITS = (32, 32, 3), (28, 28, 1), (224, 224, 3), (8, 8, 1)
IMAGES = np.random.default_rng(0).normal(size=(3, *DIGITS)).astype("float32")


@pytest.fixture(name="variant", scope="module", params=[*EVERY_MODEL, "resnet20-zero_pad"])
def _variant(request):
    """(model, function that builds the model again); tests leave the model as it is."""
    name, _, shortcut = request.param.partition("-")
    options = {"shortcut": shortcut} if shortcut else {}
    return tiny(name, options), lambda: tiny(name, options)


def trainable_count(model) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_weights)


def tiny(name: str, options: dict):
    """A few units a layer, of one draw: some draws of so narrow a network have no live unit."""
    model = MODELS[name](DIGITS, 10, width=0.05, **options)
    initialize(model, seed=0)
    return model


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_the_catalog_tells_sizes_and_parts_of_networks_without_building_them(name):
    model = MODELS[name](DIGITS, 7, width=0.3)
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    sizes = {int(kernel.shape[-1]) for kernel in kernels} - {7}
    units = set(layer_units(name, 0.3))
    bottleneck = name in ("resnet50", "resnet101")
    outer = {4 * size for size in units} if bottleneck else set()
    assert units <= sizes
    assert sizes <= units | outer
    kinds = {"batch norm": keras.layers.BatchNormalization, "shortcuts": keras.layers.Add}
    for part, kind in kinds.items():
        has = any(isinstance(layer, kind) for layer in model.layers)
        assert has == (part not in MODELS.entry(name).get("lacks", ())), part


@pytest.mark.parametrize(
    ("name", "options", "input_shape", "num_classes", "published"),
    [
        ("lenet_300_100", {}, MNIST, 10, 266_610),  # LeCun et al. 1998, Han et al. 2015: 267K
        ("resnet20", {"shortcut": "zero_pad"}, CIFAR, 10, 269_722),  # He et al. 2016: 0.27M
        case("resnet32", {"shortcut": "zero_pad"}, CIFAR, 10, 464_154),  # 0.46M
        case("resnet56", {"shortcut": "zero_pad"}, CIFAR, 10, 853_018),  # 0.85M
        ("resnet20", {"shortcut": "projection"}, CIFAR, 10, 272_474),  # OpenLTH's
        ("resnet18", {}, CIFAR, 10, 11_173_962),  # kuangliu/pytorch-cifar
        case("resnet18", {}, CIFAR, 100, 11_220_132),
        case("resnet50", {}, IMAGENET, 1000, 25_557_032),  # torchvision
        case("resnet101", {}, CIFAR, 10, 42_512_970),  # kuangliu/pytorch-cifar
        ("vgg11", {}, CIFAR, 10, 9_231_114),  # GST's code; kuangliu/pytorch-cifar
        # kuangliu/pytorch-cifar, less the 4,224 biases that batch norm takes away.
        ("vgg16", {}, CIFAR, 10, 14_728_266 - 4_224),
    ],
)
def test_trainable_parameters_number_as_published(
    name, options, input_shape, num_classes, published
):
    assert trainable_count(MODELS[name](input_shape, num_classes, **options)) == published


def conv_bn_count(kernel_size: int, inputs: int, filters: int) -> int:
    return kernel_size**2 * inputs * filters + 2 * filters


def chain_count(channels: Sequence[int], num_classes: int) -> int:
    """3x3 convolutions with batch norm from each number of channels to the next, then a dense."""
    convolutions = sum(conv_bn_count(3, a, b) for a, b in itertools.pairwise(channels))
    return convolutions + (channels[-1] + 1) * num_classes


def basic_resnet_count(channels: int, stages: Sequence[int], blocks: int, num_classes: int) -> int:
    total = conv_bn_count(3, channels, stages[0])
    inputs = stages[0]
    for filters in stages:
        if filters != inputs:
            total += conv_bn_count(1, inputs, filters)
        for _ in range(blocks):
            total += conv_bn_count(3, inputs, filters) + conv_bn_count(3, filters, filters)
            inputs = filters
    return total + (inputs + 1) * num_classes


def bottleneck_resnet_count(
    channels: int, stages: Sequence[int], blocks: Sequence[int], num_classes: int
) -> int:
    total, inputs = conv_bn_count(7, channels, stages[0]), stages[0]
    for filters, number in zip(stages, blocks, strict=True):
        total += conv_bn_count(1, inputs, 4 * filters)
        for _ in range(number):
            total += conv_bn_count(1, inputs, filters) + conv_bn_count(3, filters, filters)
            total += conv_bn_count(1, filters, 4 * filters)
            inputs = 4 * filters
    return total + (inputs + 1) * num_classes


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lenet_300_100", {}, 192 * 150 + 150 + 150 * 50 + 50 + 50 * 7 + 7),
        (
            "vanilla_cnn",
            {},
            (27 + 1) * 8 + 2 * (72 + 1) * 8 + (72 + 1) * 16 + (144 + 1) * 16
            + (144 + 1) * 32 + (288 + 1) * 32 + 33 * 7,
        ),
        ("vanilla_cnn_bn", {}, chain_count([3, 8, 8, 8, 16, 16, 32, 32], 7)),
        ("vgg11", {}, chain_count([3, 32, 64, 128, 128, 256, 256, 256, 256], 7) + 2_752 // 2),
        ("vgg16", {}, chain_count([3, 32, 32, 64, 64, *[128] * 3, *[256] * 6], 7)),
        case("resnet32", {}, basic_resnet_count(3, (8, 16, 32), 5, 7)),
        ("resnet18", {}, basic_resnet_count(3, (32, 64, 128, 256), 2, 7)),
        ("resnet50", {}, bottleneck_resnet_count(3, (32, 64, 128, 256), (3, 4, 6, 3), 7)),
    ],
)  # fmt: skip
def test_half_width_halves_every_hidden_layer(name, options, expected):
    assert trainable_count(MODELS[name]((8, 8, 3), 7, width=0.5, **options)) == expected


def test_vgg11_is_the_one_of_gsts_code():
    model = MODELS["vgg11"](CIFAR, 10)
    kinds = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.Dense)
    chain = [layer for layer in model.layers if isinstance(layer, kinds)]
    assert [x.filters if isinstance(x, kinds[0]) else type(x).__name__[:3] for x in chain] == [
        64, "Max", 128, "Max", 256, 256, "Max", 512, 512, "Max", 512, 512, "Max", "Den",
    ]  # fmt: skip
    assert all(x.use_bias for x in chain if isinstance(x, kinds[0]))
    assert chain[-1].kernel.shape == (512, 10)
    # What the dense layer gets is the last pool's one pixel, as flattened.
    before = keras.Model(model.inputs, [chain[-2].output, chain[-1].input])
    pooled, features = before(np.random.default_rng(0).normal(size=(2, *CIFAR)))
    np.testing.assert_array_equal(np.reshape(pooled, (2, 512)), features)


def test_vanilla_cnn_is_the_one_of_pm_a_2_1():
    model = MODELS["vanilla_cnn"](CIFAR, 10)
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert [tuple(x.kernel.shape) for x in convolutions] == [
        (3, 3, 3, 16), (3, 3, 16, 16), (3, 3, 16, 16), (3, 3, 16, 32),
        (3, 3, 32, 32), (3, 3, 32, 64), (3, 3, 64, 64),
    ]  # fmt: skip
    assert [x.output_shape[1] for x in convolutions] == [32, 32, 32, 16, 16, 8, 8]
    assert all(x.use_bias for x in convolutions)


@pytest.mark.parametrize(
    ("name", "input_shape", "last_image"),
    [
        ("vgg11", CIFAR, (1, 1)),  # GST's five max-pools: 32, 16, 8, 4, 2, 1.
        ("vgg11", MNIST, (1, 1)),
        ("vgg11", (64, 64, 3), (2, 2)),
        ("vgg16", CIFAR, (2, 2)),
        ("vgg16", MNIST, (1, 1)),  # 28, 14, 7, 3, 1: odd sides round down.
        ("vgg16", DIGITS, (1, 1)),  # 8, 4, 2, 1: the fourth pool is left out.
        ("vgg16", (1, 9, 1), (1, 9)),
        ("resnet20", CIFAR, (8, 8)),
        ("resnet20", MNIST, (7, 7)),
        ("resnet20", (9, 5, 1), (3, 2)),  # 9, 5, 3: strides round up.
        ("resnet18", CIFAR, (4, 4)),
        case("resnet18", DIGITS, (1, 1)),
        ("resnet50", IMAGENET, (7, 7)),
        case("resnet50", DIGITS, (1, 1)),
    ],
)
def test_images_shrink_to_the_documented_size_and_logits_are_one_float32_per_class(
    name, input_shape, last_image
):
    model = MODELS[name](input_shape, 10, width=0.05)
    assert model.get_layer("average_pool").input_shape[1:3] == last_image
    assert_logits_are_one_float32_per_class(model, 10)


def assert_logits_are_one_float32_per_class(model, classes):
    assert model.output.shape.as_list() == [None, classes]
    assert model.output.dtype == tf.float32


@pytest.mark.parametrize("input_shape", [DIGITS, MNIST, CIFAR], ids=["8x8", "28x28", "32x32"])
@pytest.mark.parametrize("name", ["lenet_300_100", "vanilla_cnn"])
def test_logits_are_one_float32_per_class(name, input_shape):
    assert_logits_are_one_float32_per_class(MODELS[name](input_shape, 13, width=0.05), 13)


def test_lenet_computes_its_formula():
    model = MODELS["lenet_300_100"](DIGITS, 10, width=0.1)
    w1, b1, w2, b2, w3, b3 = (array.astype("float64") for array in model.get_weights())
    hidden = np.maximum(IMAGES.reshape(3, -1) @ w1 + b1, 0)
    expected = np.maximum(hidden @ w2 + b2, 0) @ w3 + b3
    np.testing.assert_allclose(model(IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("policy", "hidden", "logits"),
    [("mixed_bfloat16", "bfloat16", "float32"), ("float64", "float64", "float64")],
)
@pytest.mark.parametrize("name", ["lenet_300_100", "resnet20"])
def test_logits_keep_the_precision_of_the_variables(name, policy, hidden, logits):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = MODELS[name](DIGITS, 10, width=0.05)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.layers[-2].output.dtype == hidden
    assert model.output.dtype == logits
    assert {variable.dtype for variable in model.weights} == {tf.as_dtype(logits)}


def test_layer_and_weight_names_do_not_depend_on_what_was_built_before(variant):
    first, build = variant
    second = build()
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    assert [weight.name for weight in first.weights] == [weight.name for weight in second.weights]
    assert first.name == second.name
    assert first.name in MODELS
    assert first.layers[0].name == "images"
    assert first.layers[-1].name == "logits"


def test_names_say_where_a_layer_is():
    names = {layer.name for layer in tiny("resnet20", {}).layers}
    assert {"conv1", "stage2_block1_conv1", "stage2_block1_shortcut", "stage3_block3_add"} <= names
    assert "stage1_block1_shortcut" not in names


def test_only_stock_layers_that_pruning_wraps_are_used(variant):
    model, _ = variant
    kinds = {type(layer) for layer in model.layers}
    assert all(getattr(keras.layers, kind.__name__) is kind for kind in kinds)
    assert not any("Lambda" in kind.__name__ or "Op" in kind.__name__ for kind in kinds)


def test_clone_and_saved_file_compute_the_same_function(variant, tmp_path):
    model, _ = variant
    expected = model(IMAGES).numpy()
    assert np.ptp(expected) > 0

    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone(IMAGES), expected)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), expected)


def test_xla_computes_the_same_function(variant):
    model, _ = variant
    compiled = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(compiled(tf.constant(IMAGES)), model(IMAGES), rtol=1e-3, atol=1e-4)


def test_batch_norm_has_pytorchs_settings_and_no_bias_before_it(variant):
    model, _ = variant
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    has_norms = model.name not in ("lenet_300_100", "vanilla_cnn")
    assert len(norms) == has_norms * len(convolutions)
    assert {(x.momentum, x.epsilon) for x in norms} <= {(0.9, 1e-5)}
    if has_norms and model.name != "vgg11":  # As GST's code has it.
        assert not any(x.use_bias for x in convolutions)


def test_width_is_rounded_and_leaves_at_least_one_unit():
    model = MODELS["lenet_300_100"](DIGITS, 10, width=0.009)  # 2.7 and 0.9 units
    assert [w.shape[1] for w in model.trainable_weights[::2]] == [3, 1, 10]
    model = MODELS["lenet_300_100"](DIGITS, 10, width=0.001)
    assert [w.shape[1] for w in model.trainable_weights[::2]] == [1, 1, 10]


@pytest.mark.parametrize("name", list(MODELS))
def test_width_of_zero_is_refused(name):
    with pytest.raises(SettingError, match="width=0: a number above 0"):
        MODELS[name](DIGITS, 10, width=0)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"lenet_300_100"}))
@pytest.mark.parametrize("input_shape", [(784,), (28, 28), (None, None, 3), (0, 8, 1)])
def test_a_shape_that_is_not_an_image_is_refused(name, input_shape):
    with pytest.raises(InputError, match=r"\(height, width, channels\), got"):
        MODELS[name](input_shape, 10)


def test_an_unknown_shortcut_is_refused_with_the_nearest_name():
    with pytest.raises(SettingError, match="shortcut=zero-pad: did you mean zero_pad"):
        MODELS["resnet20"](DIGITS, 10, shortcut="zero-pad")
