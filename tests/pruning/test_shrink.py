"""A shrunk network computes the same function with fewer operations, and the cost is counted."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from networks import channels, three_blocks, two_bottlenecks

from tfprune.backend import keras, tf
from tfprune.catalog import MODELS
from tfprune.errors import InputError
from tfprune.pruning.dead_filters import (
    batch_norm_of,
    filter_masks,
    gate_shortcuts,
    set_filter_masks,
    zero_filters,
)
from tfprune.pruning.filter_selection import filter_kernels
from tfprune.pruning.model import get_masks, masked_layers, prune_model
from tfprune.pruning.shrink import flops, live_weights, shrink
from tfprune.pruning.weights import named_variables, read_weights

layers = keras.layers


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Draws every variable, statistics and shifts of batch norm included."""
    rng = np.random.default_rng(seed)
    for name, variable in named_variables(model).items():
        kind, shape = name.rsplit("/")[-1], tuple(variable.shape)
        if "gamma" in kind or "variance" in kind:
            value = rng.uniform(0.5, 1.5, shape)
        elif "kernel" in kind:
            value = rng.normal(size=shape) * math.sqrt(2 / max(1, math.prod(shape[:-1])))
        else:
            value = rng.normal(size=shape) * 0.3
        variable.assign(value.astype(np.float32))
    return model


def images_for(model: keras.Model, count: int = 5) -> tf.Tensor:
    shape = (count, *model.input_shape[1:])
    return tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)


def first_kept(filters: int, fraction: float) -> np.ndarray:
    """Keeps all but `fraction` of the filters; which ones is shuffled with a fixed seed."""
    order = np.random.default_rng(filters).permutation(filters)
    return order >= round(fraction * filters)


def is_inner(name: str) -> bool:
    """Whether a convolution's channels are added to no shortcut, by the names of our models."""
    return "block" in name and not name.endswith(("conv2", "shortcut"))


def assert_same_function(shrunk: keras.Model, model: keras.Model) -> None:
    images = images_for(model)
    np.testing.assert_allclose(shrunk(images), model(images), rtol=0, atol=1e-5)
    assert [layer.name for layer in shrunk.layers] == [
        getattr(layer, "layer", layer).name for layer in model.layers
    ]
    assert (shrunk.input_shape, shrunk.output_shape) == (model.input_shape, model.output_shape)


NETWORKS = {
    "vanilla_cnn": {},
    "vanilla_cnn_bn": {},
    "vgg11": {},
    "resnet20": {"shortcut": "projection"},
    "resnet20 zero_pad": {"shortcut": "zero_pad"},
    "resnet18": {"shortcut": "projection"},
    "resnet18 zero_pad": {"shortcut": "zero_pad"},
}

# Where neither the depth nor a whole stage of blocks is what a test is about.
FEW_BLOCKS = {
    "three_blocks": {"shortcut": "projection"},
    "three_blocks zero_pad": {"shortcut": "zero_pad"},
}

# Residual networks take seconds to shrink.
FRACTIONS = {"resnet20": (0.75,), "resnet18": (0.5,)}


@functools.cache
def built(key: str) -> keras.Model:
    width = 0.0625 if key.startswith(("resnet18", "vgg")) else 0.25
    build = three_blocks if key in FEW_BLOCKS else MODELS[key.split()[0]]
    return build((8, 8, 3), 5, width=width, **(NETWORKS | FEW_BLOCKS)[key])


def network(key: str) -> keras.Model:
    """The network of this name, of which there is one: every call draws all its variables anew."""
    return randomize(built(key))


def hidden_filters(model: keras.Model) -> dict[str, int]:
    return {name: count for name, count in channels(model).items() if name != "logits"}


@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=pytest.mark.slow if "18" in key else ()) for key in NETWORKS]
)
def test_a_network_with_25_50_75_percent_of_its_filters_dead_shrinks_to_the_rest(key):
    model = network(key)
    dense_flops = flops(model)
    # Zero padding makes one group of all stages' channels: only what all filters have dead goes.
    stage_by_stage = "zero_pad" not in key
    for fraction in FRACTIONS.get(key.split()[0], (0.25, 0.5, 0.75)):
        keep = {n: first_kept(count, fraction) for n, count in hidden_filters(model).items()}
        zero_filters(model, keep)
        shrunk = shrink(model)
        assert np.abs(model(images_for(model))).max() > 0.01
        assert_same_function(shrunk, model)
        left = {n: int(np.sum(mask)) for n, mask in keep.items() if stage_by_stage or is_inner(n)}
        assert left.items() <= channels(shrunk).items()
        assert flops(shrunk) < (1 - fraction * (1 if stage_by_stage else 0.5)) * dense_flops
        assert_live_weights(model, shrunk, "resnet" not in key or stage_by_stage)


@pytest.mark.parametrize("key", ["vanilla_cnn", "resnet20 zero_pad"])
def test_a_network_with_nothing_pruned_comes_back_bit_for_bit(key):
    model = network(key)
    shrunk = shrink(model)
    assert all(map(np.array_equal, shrunk.get_weights(), model.get_weights()))
    images = images_for(model)
    np.testing.assert_array_equal(shrunk(images), model(images))


@pytest.mark.parametrize(
    "build", [two_bottlenecks, pytest.param(MODELS["resnet50"], marks=pytest.mark.slow)]
)
def test_bottlenecks_shrink(build):
    model = randomize(build((16, 16, 3), 5, width=0.0625))
    keep = {name: first_kept(count, 0.5) for name, count in hidden_filters(model).items()}
    zero_filters(model, keep)
    shrunk = shrink(model)
    assert_same_function(shrunk, model)
    assert hidden_filters(shrunk) == {name: int(np.sum(mask)) for name, mask in keep.items()}


def vanilla_flops(filters: list[int], size: int, classes: int) -> int:
    """PM A.2.1 by hand: 3 convolutions, pool, 2, pool, 2, global average, dense; 3x3 windows."""
    sizes = [size] * 3 + [size // 2] * 2 + [size // 4] * 2
    inputs = [3, *filters[:-1]]
    multiply_adds = sum(9 * i * o * s * s for i, o, s in zip(inputs, filters, sizes, strict=True))
    return 2 * (multiply_adds + filters[-1] * classes)


def test_flops_are_the_hand_formula_before_and_after():
    model = randomize(MODELS["vanilla_cnn"]((8, 8, 3), 5))
    assert flops(model) == vanilla_flops([16, 16, 16, 32, 32, 64, 64], 8, 5)
    assert flops(prune_model(model)) == flops(model)
    zero_filters(model, {f"conv{n}": np.arange(c) % 4 == 0 for n, c in ((2, 16), (4, 32), (7, 64))})
    assert flops(shrink(model)) == vanilla_flops([16, 4, 16, 8, 32, 64, 16], 8, 5)


def kernel_weights(model: keras.Model) -> list[np.ndarray]:
    """The kernels of convolutions and dense layers."""
    kinds = (layers.Conv2D, layers.Dense)
    kernels = [layer.kernel for layer in model.layers if type(layer) in kinds]
    return [kernel.numpy() for kernel in kernels]


def assert_live_weights(model: keras.Model, shrunk: keras.Model, all_of_them: bool) -> None:
    """They are those of the shrunk network that are not zero, or all of its weights."""
    live, kernels = live_weights(model), kernel_weights(shrunk)
    assert live.remaining == sum(map(np.count_nonzero, kernels))
    assert live.total == sum(kernel.size for kernel in kernel_weights(model))
    if all_of_them:
        assert live.remaining == sum(kernel.size for kernel in kernels)


@pytest.mark.parametrize("key", FEW_BLOCKS)
def test_live_weights_where_shortcuts_carry_channels_past_filters_that_are_zero(key):
    model = network(key)
    keep = {name: first_kept(count, 0.5) for name, count in hidden_filters(model).items()}
    zero_filters(model, keep)
    assert_live_weights(model, shrink(model), all_of_them=False)


def test_a_pruned_filter_kills_the_weights_that_read_it_too():
    model = keras.Sequential(
        [
            layers.Conv2D(8, 3, input_shape=(6, 6, 2), name="conv1"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Conv2D(6, 3, name="conv2"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, name="output"),
        ]
    )
    wrapped = prune_model(randomize(model), ["conv1", "conv2"], filters=True)
    masks = get_masks(wrapped)
    keep = {"conv1": np.arange(8) < 2, "conv2": np.arange(6) < 3}
    masks = set_filter_masks(wrapped, filter_kernels(masks, keep))
    # Half of the filters of conv2 with all they read, and the output, which is not pruned.
    assert masks.remaining == 9 * 2 * 2 + 9 * 8 * 3 + 6 * 3
    live = live_weights(wrapped)
    assert {name: int(mask.sum()) for name, mask in live.items()} == {
        "conv1": 9 * 2 * 2,
        "conv2": 9 * 2 * 3,
        "output": 3 * 3,
    }
    assert live.total == 9 * 2 * 8 + 9 * 8 * 6 + 6 * 3
    assert live.remaining == live_weights(shrink(wrapped)).total


def test_live_weights_of_nested_models_and_of_kernels_that_read_channels_of_unknown_layers():
    model = keras.Sequential([sequential(), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    live = live_weights(model)
    assert live.total == 9 * 2 * 4 + 4 * 2 + 2 * 3
    assert live.remaining == 9 * 2 * 2 + 2 * 2 + 2 * 3
    grouped = keras.Sequential([layers.Conv2D(4, 1, groups=2, input_shape=(3, 3, 4), name="conv")])
    randomize(grouped).get_layer("conv").kernel.assign(np.ones((1, 1, 2, 4)) * [1, 0, 1, 1])
    assert (live_weights(grouped).total, live_weights(grouped).remaining) == (8, 6)


def test_flops_of_strided_grouped_depthwise_separable_and_transposed_kernels():
    images = keras.Input((9, 7, 4))
    x = layers.Conv2D(6, (3, 2), strides=2, groups=2)(images)  # 4 x 3 positions, 2 inputs each
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.SeparableConv2D(5, 3)(x)  # 2 x 1 positions
    x = layers.Conv2DTranspose(2, 3, strides=3)(x)
    x = layers.Dense(3)(x)  # at each of 6 x 3 positions
    model = keras.Model(images, x)
    by_hand = 3 * 2 * 2 * 6 * 12 + 9 * 6 * 2 * 12 + (9 * 12 + 12 * 5) * 2 + 9 * 5 * 2 * 2
    assert flops(model) == 2 * (by_hand + 2 * 3 * 6 * 3)
    assert list(channels(model).values()) == [6, 12, 5, 2, 3]


def test_flops_of_images_of_any_size_ask_for_a_size():
    images = keras.Input((None, None, 3))
    with pytest.raises(InputError, match="'conv' has no fixed size"):
        flops(keras.Model(images, layers.Conv2D(2, 3, name="conv")(images)))


def test_dead_and_unused_units_of_a_lenet_go():
    model = randomize(MODELS["lenet_300_100"]((4, 4), 3, width=0.1))
    first, second, logits = (model.get_layer(n) for n in ("dense1", "dense2", "logits"))
    dead = np.arange(30) < 7
    first.kernel.assign(np.where(dead, 0, first.kernel))
    first.bias.assign(np.where(dead, 0, first.bias))
    logits.kernel.assign(np.where(np.arange(10)[:, None] < 3, 0, logits.kernel))  # Unused.
    only_for_unused = np.arange(30)[:, None] >= 25
    second.kernel.assign(np.where(only_for_unused & (np.arange(10) >= 3), 0, second.kernel))
    shrunk = shrink(model)
    assert channels(shrunk) == {"dense1": 30 - 7 - 5, "dense2": 7, "logits": 3}
    assert_same_function(shrunk, model)


def constant_channel_net(padding: str) -> keras.Model:
    """Channel 0 of the first convolution is sigmoid(normalized bias) everywhere, never zero."""
    images = keras.Input((6, 6, 2))
    x = layers.Conv2D(3, 3, name="conv1")(images)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Activation("sigmoid")(x)
    x = layers.AveragePooling2D(2, strides=1, padding="same")(x)
    x = layers.Conv2D(4, 2, padding=padding, use_bias=False, activation="relu", name="conv2")(x)
    x = layers.Dense(2, name="dense")(layers.Flatten()(x))
    model = randomize(keras.Model(images, x))
    conv1 = model.get_layer("conv1")
    conv1.kernel.assign(conv1.kernel * [0.0, 1.0, 1.0])
    return model


def test_a_constant_that_is_not_zero_moves_into_the_next_bias():
    model = constant_channel_net("valid")
    shrunk = shrink(model)
    assert channels(shrunk) == {"conv1": 2, "conv2": 4, "dense": 2}
    assert_same_function(shrunk, model)
    conv1, bn = model.get_layer("conv1"), model.get_layer("bn")
    gamma, beta, mean, variance = (w[0].astype(np.float64) for w in bn.get_weights())
    normalized = gamma * (conv1.bias.numpy()[0] - mean) / np.sqrt(variance + bn.epsilon) + beta
    by_hand = model.get_layer("conv2").kernel.numpy()[:, :, 0].sum((0, 1)) / (
        1 + np.exp(-normalized)
    )
    np.testing.assert_allclose(shrunk.get_layer("conv2").bias, by_hand, rtol=1e-5)


def test_a_constant_that_padding_would_dilute_stays():
    model = constant_channel_net("same")
    shrunk = shrink(model)
    assert channels(shrunk) == channels(model)
    assert_same_function(shrunk, model)
    zero_padded = keras.Sequential(
        [
            layers.Conv2D(2, 1, input_shape=(3, 3, 1), name="conv1"),
            layers.ZeroPadding2D(1),
            layers.Conv2D(2, 3, name="conv2"),
        ]
    )
    randomize(zero_padded).get_layer("conv1").kernel.assign(np.zeros((1, 1, 1, 2)))
    assert channels(shrink(zero_padded)) == channels(zero_padded)
    assert_same_function(shrink(zero_padded), zero_padded)


def test_constants_add_up_and_cancel():
    images = keras.Input((5, 5, 1))
    branches = [layers.Conv2D(2, 3, name=f"branch{n}")(images) for n in (1, 2)]
    x = layers.Conv2D(2, 3, padding="same", name="reader")(layers.Add()(branches))
    model = randomize(keras.Model(images, x))
    for name, bias in (("branch1", 0.75), ("branch2", -0.75)):
        layer = model.get_layer(name)
        layer.kernel.assign(layer.kernel * [0.0, 1.0])
        layer.bias.assign([bias, 1.0])
    shrunk = shrink(model)
    assert channels(shrunk) == {"branch1": 1, "branch2": 1, "reader": 2}
    assert_same_function(shrunk, model)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_separable_convolution_loses_the_channels_it_reads_and_those_it_makes(
    rank, multiplier, padding
):
    """Filter 1 of `conv` is zero, 3 is constant: no zero padding may be mixed into that."""
    kinds = {1: (layers.Conv1D, layers.SeparableConv1D), 2: (layers.Conv2D, layers.SeparableConv2D)}
    convolution, separable = kinds[rank]
    x = images = keras.Input((*[6] * rank, 2))
    x = convolution(4, 3, name="conv")(x)
    x = separable(
        5, 3, padding=padding, depth_multiplier=multiplier, activation="tanh", name="separable"
    )(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(2, name="dense")(layers.Flatten()(x))
    model = randomize(keras.Model(images, x))
    keep = {"conv": np.array([1, 0, 1, 0]), "separable/pointwise_kernel": [0, 1, 1, 0, 1]}
    touched = zero_filters(model, keep)
    names = ("pointwise_kernel", "bias")
    assert set(touched) == {
        *("conv/kernel", "conv/bias", "norm/gamma", "norm/beta"),
        *(f"separable/{name}" for name in names),
    }
    model.get_layer("conv").bias.assign([0.1, 0.0, 0.2, 0.7])
    shrunk = shrink(model)
    left = 2 if padding == "valid" else 3
    assert channels(shrunk) == {"conv": left, "separable": 3, "dense": 2}
    window = [3] * rank
    ones = [1] * rank
    assert [tuple(w.shape) for w in shrunk.get_layer("separable").weights] == [
        (*window, left, multiplier),
        (*ones, left * multiplier, 3),
        (3,),
    ]
    assert_same_function(shrunk, model)
    kernels = [weight for name, weight in read_weights(shrunk).items() if "kernel" in name]
    assert live_weights(model).remaining == sum(map(np.count_nonzero, kernels))


def test_pruned_pointwise_weights_kill_what_only_they_read():
    """Channel 1 is read by a depthwise filter that is zero, channel 2 by zero pointwise weights."""
    first = layers.Conv2D(4, 3, input_shape=(6, 6, 2), name="conv")
    separable = layers.SeparableConv2D(3, 3, depth_multiplier=2, padding="same", name="separable")
    model = randomize(keras.Sequential([first, separable]))
    model.build((None, 6, 6, 2))
    depthwise, pointwise, bias = separable.get_weights()
    depthwise[:, :, 1] = 0
    pointwise[:, :, [4, 5]] = 0
    pointwise[:, :, 6] = 0  # The other half of channel 3 is read.
    separable.set_weights([depthwise, pointwise, bias])
    shrunk = shrink(model)
    assert channels(shrunk) == {"conv": 2, "separable": 3}
    assert_same_function(shrunk, model)


@pytest.mark.parametrize("alive", ["shortcut", "conv"])
def test_a_channel_alive_on_one_branch_of_a_sum_stays_on_both(alive):
    images = keras.Input((5, 5, 2))
    shortcut = layers.Conv2D(3, 1, name="shortcut")(images)
    x = layers.Conv2D(3, 3, padding="same", name="conv")(images)
    x = layers.Dense(2, name="dense")(layers.GlobalAveragePooling2D()(layers.Add()([x, shortcut])))
    model = randomize(keras.Model(images, x))
    for name, keep in (("shortcut", [0, 0, 1]), ("conv", [0, 0, 1])):
        kept = np.array(keep) if name != alive else np.array([0, 1, 1])
        layer = model.get_layer(name)
        layer.kernel.assign(layer.kernel * kept)
        layer.bias.assign(layer.bias * kept)
    shrunk = shrink(model)
    assert channels(shrunk) == {"shortcut": 2, "conv": 2, "dense": 2}
    assert_same_function(shrunk, model)


def test_a_layer_with_no_filter_left_keeps_one():
    model = network("vanilla_cnn_bn")
    zero_filters(model, {"conv7": np.zeros(16)})
    shrunk = shrink(model)
    assert list(channels(shrunk).values()) == [1] * 7 + [5]  # Nobody needs what conv7 would read.
    assert_same_function(shrunk, model)


def test_the_one_constant_channel_that_stays_is_not_counted_twice():
    conv = layers.Conv2D(3, 3, input_shape=(4, 4, 2), name="conv")
    model = randomize(keras.Sequential([conv, layers.Flatten(), layers.Dense(2, name="dense")]))
    conv.kernel.assign(0 * conv.kernel)
    shrunk = shrink(model)
    assert channels(shrunk) == {"conv": 1, "dense": 2}
    np.testing.assert_allclose(shrunk.get_layer("dense").bias, model(images_for(model))[0], 1e-5)
    assert_same_function(shrunk, model)


def sequential(*middle: keras.layers.Layer) -> keras.Model:
    """Two convolutions, the first with 2 of 4 filters dead, and layers between."""
    first = layers.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 2), name="conv1")
    model = keras.Sequential([first, *middle, layers.Conv2D(2, 1, name="conv2")])
    zero_filters(randomize(model), {"conv1": [1, 0, 1, 0]})
    return model


class Doubled(keras.layers.ReLU):
    """A known layer's subclass, which may do anything."""

    def call(self, inputs):
        return 2 * super().call(inputs) + tf.constant([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    "barrier", [Doubled(), layers.LayerNormalization(), layers.Softmax(), layers.Permute((3, 1, 2))]
)
def test_what_an_unknown_layer_touches_is_left_whole(barrier):
    model = sequential(barrier, layers.Conv2D(3, 1, name="after"))
    keep_after = {"after": [0, 1, 1]}
    zero_filters(model, keep_after)
    shrunk = shrink(model)
    assert channels(shrunk) == {"conv1": 4, "after": 2, "conv2": 2}
    assert_same_function(shrunk, model)


@pytest.mark.parametrize(
    "known",
    [
        layers.Dropout(0.5),
        layers.LeakyReLU(),
        layers.MaxPooling2D(2),
        layers.DepthwiseConv2D(3, padding="same", use_bias=False, depth_multiplier=2),
        layers.BatchNormalization(center=False),
        layers.ZeroPadding2D(2),
        layers.Cropping2D((1, 0)),
    ],
)
def test_what_a_known_layer_passes_on_is_removed_before_and_after_it(known):
    model = sequential(known)
    shrunk = shrink(model)
    assert channels(shrunk)["conv1"] == 2
    assert_same_function(shrunk, model)


def test_batch_norm_in_training_mode_is_left_whole():
    images = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, name="conv1")(images)
    x = layers.BatchNormalization()(x, training=True)
    model = randomize(keras.Model(images, layers.Conv2D(2, 3, name="conv2")(x)))
    zero_filters(model, {"conv1": [1, 0, 1, 0]})
    shrunk = shrink(model)
    assert channels(shrunk)["conv1"] == 4
    assert_same_function(shrunk, model)


def test_a_shared_convolution_is_left_whole_but_a_shared_activation_is_not():
    images = keras.Input((6, 6, 4))
    conv, relu = layers.Conv2D(4, 3, padding="same", name="twice"), layers.ReLU()
    x = relu(layers.Conv2D(4, 1, name="once")(relu(conv(conv(images)))))
    model = randomize(keras.Model(images, layers.Conv2D(2, 3, name="last")(x)))
    zero_filters(model, {"twice": [1, 0, 1, 1], "once": [1, 0, 1, 1]})
    shrunk = shrink(model)
    assert channels(shrunk) == {"twice": 4, "once": 3, "last": 2}
    assert_same_function(shrunk, model)


def test_flattened_and_concatenated_channels_go_with_their_blocks_of_units():
    images = keras.Input((4, 4, 2))
    one = layers.Conv2D(3, 3, name="one")(images)
    two = layers.Conv2D(4, 3, name="two")(images)
    x = layers.Flatten()(layers.Concatenate()([one, two]))
    model = randomize(keras.Model(images, layers.Dense(2, name="dense")(x)))
    zero_filters(model, {"one": [1, 0, 1], "two": [0, 1, 0, 0]})
    shrunk = shrink(model)
    assert channels(shrunk) == {"one": 2, "two": 1, "dense": 2}
    assert shrunk.get_layer("dense").kernel.shape == (2 * 2 * 3, 2)
    assert_same_function(shrunk, model)


def test_nested_models_shrink_between_their_inputs_and_outputs():
    model = keras.Sequential([sequential(), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    shrunk = shrink(model)
    assert channels(shrunk)["conv1"] == 2
    assert flops(shrunk) == 2 * (9 * 2 * 2 * 16 + 2 * 2 * 16 + 2 * 3)
    assert_same_function(shrunk, model)


def test_a_wrapped_model_shrinks_to_a_plain_one_and_stays_as_it_is():
    model = prune_model(network("three_blocks"))
    zero_filters(model, {"stage1_block1_conv1": [1, 0, 1, 0]})
    before = read_weights(model)
    shrunk = shrink(model)
    assert channels(shrunk)["stage1_block1_conv1"] == 2
    assert not masked_layers(shrunk)
    assert_same_function(shrunk, model)
    after = read_weights(model)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_saved_shrunk_model_is_plain_tf_keras(tmp_path):
    model = network("three_blocks zero_pad")
    zero_filters(model, {"stage2_block1_conv1": np.arange(8) < 3})
    shrunk = shrink(model)
    assert "tfprune" not in shrunk.to_json()
    shrunk.save(tmp_path / "shrunk.keras")
    loaded = keras.models.load_model(tmp_path / "shrunk.keras")
    images = images_for(model)
    np.testing.assert_array_equal(loaded(images), shrunk(images))
    assert channels(loaded) == channels(shrunk)


def test_zero_filters_zeroes_exactly_the_filter_its_batch_norm_and_its_projection():
    model = network("resnet20")
    before = read_weights(model)
    keep = np.array([True, False] + [True] * 6)
    touched = zero_filters(model, {"stage2_block1_conv2": keep})
    assert set(touched) == {
        f"stage2_block1_{name}"
        for branch in ("conv2", "shortcut")
        for name in (f"{branch}/kernel", f"{branch}_bn/gamma", f"{branch}_bn/beta")
    }
    after = read_weights(model)
    for name, value in before.items():
        expected = np.where(keep, value, 0) if name in touched else value
        np.testing.assert_array_equal(after[name], expected)
    assert np.abs(output_of(model, "stage2_block1_relu")[..., 1]).max() == 0


def output_of(model: keras.Model, layer: str) -> np.ndarray:
    part = keras.Model(model.input, model.get_layer(layer).output)
    return part(images_for(model)).numpy()


def test_no_projection_filter_is_pruned_for_inner_filters_and_no_block_for_a_projection():
    model = network("resnet20")
    for name in ("conv1", "stage2_block1_conv1", "stage2_block1_shortcut", "stage2_block2_conv2"):
        keep = np.arange(channels(model)[name]) > 0
        masks = filter_masks(model, {name: keep})
        assert set(masks) == {f"{name}/kernel", f"{name}_bn/gamma", f"{name}_bn/beta"}


def test_a_pruned_channel_beside_an_identity_is_its_input_without_a_gate_and_zero_with_one():
    model = network("resnet20")
    gated = gate_shortcuts(model)
    images = images_for(model)
    np.testing.assert_array_equal(gated(images), model(images))
    keep = {"stage1_block2_conv2": [1, 1, 0, 1]}
    zero_filters(model, keep)
    np.testing.assert_array_equal(
        output_of(model, "stage1_block2_relu")[..., 2],
        output_of(model, "stage1_block1_relu")[..., 2],
    )
    assert "stage1_block2_add_gate/depthwise_kernel" in zero_filters(gated, keep)
    out, into = (output_of(gated, f"stage1_block{n}_relu") for n in (2, 1))
    assert np.abs(out[..., 2]).max() == 0
    assert np.abs(into[..., 2]).max() > 0
    assert_same_function(shrink(gated), gated)
    assert len(gated.trainable_weights) == len(model.trainable_weights)
    assert len(gated.layers) == len(model.layers) + 7  # Of nine blocks, two have projections.


@pytest.mark.parametrize("wrapped", [False, True])
def test_gates_of_a_wrapped_or_zero_padded_network_close(wrapped):
    model = network("three_blocks zero_pad")
    model = gate_shortcuts(prune_model(model) if wrapped else model)
    assert len(masked_layers(model)) == (8 if wrapped else 0)
    zero_filters(model, {"stage2_block1_conv2": np.arange(8) != 3})  # Of the four not padded.
    assert np.abs(output_of(model, "stage2_block1_relu")[..., 3]).max() == 0
    assert_same_function(shrink(model), model)


def test_a_batch_norm_without_scale_is_zero_by_its_shift_and_mean():
    images = keras.Input((4, 4, 1))
    x = layers.BatchNormalization(scale=False, name="bn")(layers.Conv2D(2, 3, name="conv")(images))
    model = randomize(keras.Model(images, x))
    touched = zero_filters(model, {"conv": [0, 1]})
    assert touched == ["conv/kernel", "conv/bias", "bn/beta", "bn/moving_mean"]
    output = model(images_for(model)).numpy()
    assert np.abs(output[..., 0]).max() == 0 < np.abs(output[..., 1]).max()


def test_the_batch_norm_of_a_layer_is_the_one_that_takes_its_output():
    model = prune_model(network("resnet20"))
    found = {name: layer.name for name, layer in batch_norm_of(model).items()}
    convolutions = [name for name in channels(model) if name != "logits"]
    assert found == {name: f"{name}_bn" for name in convolutions}
    assert batch_norm_of(network("vanilla_cnn")) == {}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"conv9": [1, 0]}, "no convolution or dense layer 'conv9': did you mean conv"),
        ({"conv1": [1, 0]}, "'conv1' has 4 filters, its mask 2"),
        ({"conv1": [1, 0, 2, 1]}, "'conv1' must be a vector of 0 and 1"),
        ({"conv1": [[1, 0, 1, 1]]}, "'conv1' must be a vector of 0 and 1"),
    ],
)
def test_a_mask_that_fits_no_layer_is_an_error_and_changes_nothing(keep, message):
    model = network("vanilla_cnn_bn")
    before = model.get_weights()
    with pytest.raises(InputError, match=message):
        zero_filters(model, keep)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_subclassed_model_is_an_error():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    for function in (shrink, flops, gate_shortcuts, batch_norm_of):
        with pytest.raises(InputError, match="functional"):
            function(Own())
