"""Initial weights: their distribution, and what they depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from networks import case

from tfprune.backend import keras  # Before tensorflow_model_optimization, which needs Keras 2.

# isort: split
import tensorflow_model_optimization as tfmot

from tfprune.catalog import MODELS
from tfprune.errors import InputError, SettingError
from tfprune.models.initialize import initial_weights, initialize, weight_variables
from tfprune.seeds import Stream, generator

layers = keras.layers


def small(extra=(), first=4):
    """Convolution, batch norm, dense and what `extra` adds before the end."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(first, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(5, name="dense"),
            *extra,
        ]
    )


def by_name(model, **options):
    """{"layer/variable": initial value}."""
    values = initial_weights(model, seed=3, **options)
    variables = weight_variables(model)
    return {v.name.split(":")[0]: value for v, value in zip(variables, values, strict=True)}


def assert_equal_lists(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["lenet_300_100", "resnet20", case("resnet50"), "vgg11"])
def test_every_kernel_is_normal_with_variance_two_over_fan_in(name):
    model = MODELS[name]((8, 8, 1), 10, width=0.3)
    values = initial_weights(model, seed=0)
    model.set_weights(values)
    checked = 0
    for variable, value in zip(model.weights, values, strict=True):
        if value.ndim < 2:
            continue
        checked += 1
        fan_in = math.prod(variable.shape[:-1])
        scores = value.astype("float64").ravel() / math.sqrt(2 / fan_in)
        # Five standard errors of the mean and of the variance of a standard normal.
        assert abs(scores.mean()) < 5 / math.sqrt(scores.size)
        assert abs(np.mean(scores**2) - 1) < 5 * math.sqrt(2 / scores.size)
        if scores.size > 10_000:  # Not truncated at two deviations, unlike Keras's he_normal.
            assert np.mean(np.abs(scores) > 2) == pytest.approx(0.0455, abs=0.011)
    assert checked == sum(isinstance(x, (layers.Conv2D, layers.Dense)) for x in model.layers)


# Parameters of a layer -> the standard deviation of its normal or the bound of its uniform
# distribution, by fan in and fan out, as in the published code. 0: all zero.
KAIMING = ("normal", lambda fan_in, fan_out: math.sqrt(2 / fan_in))
FAN_OUT = ("normal", lambda fan_in, fan_out: math.sqrt(2 / fan_out))
PYTORCH = ("uniform", lambda fan_in, fan_out: 1 / math.sqrt(fan_in))
ZERO = ("uniform", lambda fan_in, fan_out: 0.0)


@pytest.mark.parametrize(
    ("name", "conv", "conv_bias", "dense", "dense_bias"),
    [
        ("kaiming_normal", KAIMING, ZERO, KAIMING, ZERO),
        ("open_lth", KAIMING, PYTORCH, KAIMING, PYTORCH),
        ("pytorch", PYTORCH, PYTORCH, PYTORCH, PYTORCH),
        ("kaiming_fan_out", FAN_OUT, ZERO, PYTORCH, PYTORCH),
    ],
)
def test_each_initialization_draws_as_its_code_does(name, conv, conv_bias, dense, dense_bias):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 20)),
            layers.Conv2D(700, 3, name="conv"),  # fan in 180, fan out 6,300
            layers.GlobalAveragePooling2D(),
            layers.Dense(500, name="dense"),  # fan in 700, fan out 500
        ]
    )
    values = by_name(model, initialization=name)
    fans = {"conv": (180, 6300), "dense": (700, 500)}
    for variable, (kind, scale) in {
        "conv/kernel": conv,
        "conv/bias": conv_bias,
        "dense/kernel": dense,
        "dense/bias": dense_bias,
    }.items():
        wanted = scale(*fans[variable.split("/")[0]])
        value = values[variable].astype("float64").ravel()
        if kind == "uniform":
            assert np.abs(value).max() <= wanted
            deviation = wanted / math.sqrt(3)
        else:
            deviation = wanted
            assert np.mean(np.abs(value) > 2 * deviation) == pytest.approx(0.0455, abs=0.005)
        assert value.std() == pytest.approx(deviation, rel=5 / math.sqrt(value.size))
        assert abs(value.mean()) <= 5 * deviation / math.sqrt(value.size)


def test_the_choice_of_biases_changes_no_kernel():
    zero, drawn = (by_name(small(), initialization=n) for n in ("kaiming_normal", "open_lth"))
    assert zero.keys() == drawn.keys()
    for name, value in zero.items():
        assert np.array_equal(value, drawn[name]) == (not name.endswith("bias"))


def test_biases_and_batch_norm_start_at_their_constants():
    values = by_name(small())
    for name, constant in {
        "conv/bias": 0, "dense/bias": 0, "norm/gamma": 1, "norm/beta": 0,
        "norm/moving_mean": 0, "norm/moving_variance": 1,
    }.items():  # fmt: skip
        np.testing.assert_array_equal(values[name], np.full_like(values[name], constant))


def test_the_first_kernel_is_this_draw_of_numpys():
    first = generator(3, Stream.INIT, 2).spawn(2)[0].spawn(1)[0]
    expected = math.sqrt(2 / 18) * first.standard_normal((3, 3, 2, 4))
    np.testing.assert_array_equal(by_name(small(), level=2)["conv/kernel"], np.float32(expected))


def test_uniform_gamma_is_uniform_and_changes_nothing_else():
    model = MODELS["vgg11"]((8, 8, 1), 10, width=0.5)
    ones = initial_weights(model, seed=1)
    uniform = initial_weights(model, seed=1, batch_norm_gamma="uniform")
    gammas = []
    for variable, one, other in zip(model.weights, ones, uniform, strict=True):
        if "gamma" in variable.name:
            gammas.append(other)
        else:
            np.testing.assert_array_equal(one, other)
    assert len({gamma[0] for gamma in gammas}) == 8
    pooled = np.concatenate(gammas)  # 1,376 values
    assert pooled.min() >= 0
    assert pooled.max() < 1
    assert pooled.mean() == pytest.approx(0.5, abs=5 / math.sqrt(12 * pooled.size))
    assert pooled.var() == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / pooled.size))


def test_the_same_seed_and_level_give_the_same_bits_in_models_built_apart():
    assert_equal_lists(initial_weights(small(), 5, 1), initial_weights(small(), 5, 1))


@pytest.mark.parametrize("other", [(6, 0), (5, 1), (0, 5)])
def test_another_seed_or_level_changes_every_kernel(other):
    first, second = initial_weights(small(), 5, 0), initial_weights(small(), *other)
    for one, two in zip(first, second, strict=True):
        if one.ndim > 1:
            assert not np.any(one == two)


def test_kernels_of_one_shape_differ():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    first, _, second, _ = initial_weights(model, seed=0)
    assert not np.any(first == second)


def test_layers_added_at_the_end_change_no_earlier_layer():
    longer = small([layers.BatchNormalization(name="norm2"), layers.Dense(3, name="dense2")])
    plain = by_name(small(), batch_norm_gamma="uniform")
    extended = by_name(longer, batch_norm_gamma="uniform")
    assert set(plain) < set(extended)
    for name, value in plain.items():
        np.testing.assert_array_equal(extended[name], value)


def test_batch_norm_changes_no_kernel():
    models = [MODELS[name]((8, 8, 1), 10) for name in ("vanilla_cnn", "vanilla_cnn_bn")]
    kernels = [[v for v in initial_weights(m, seed=0) if v.ndim > 1] for m in models]
    assert_equal_lists(*kernels)


def test_a_change_of_one_layers_width_leaves_kernels_it_does_not_touch():
    two = [layers.Dense(7, name="a"), layers.Dense(3, name="b")]
    narrow, wide = by_name(small(two)), by_name(small(two, first=9))
    for name in ("a/kernel", "b/kernel"):
        np.testing.assert_array_equal(narrow[name], wide[name])


def test_a_model_wrapped_for_pruning_gets_the_plain_models_weights():
    plain = small()
    wrapped = keras.models.clone_model(
        plain,
        clone_function=lambda layer: (
            tfmot.sparsity.keras.prune_low_magnitude(layer) if layer.weights else layer
        ),
    )
    assert len(wrapped.weights) > len(plain.weights)
    names = [variable.name.split("/")[-1] for variable in weight_variables(wrapped)]
    assert names == [variable.name.split("/")[-1] for variable in plain.weights]
    expected = initial_weights(plain, seed=3, batch_norm_gamma="uniform")
    assert_equal_lists(initial_weights(wrapped, seed=3, batch_norm_gamma="uniform"), expected)

    others = {v.name: v.numpy() for v in wrapped.weights if "kernel" not in v.name}
    initialize(wrapped, seed=3)
    for variable, value in zip(weight_variables(wrapped), initial_weights(plain, 3), strict=True):
        np.testing.assert_array_equal(variable, value)
    for variable in wrapped.weights:
        if any(word in variable.name for word in ("mask", "threshold", "step")):
            np.testing.assert_array_equal(variable, others[variable.name])


def test_nested_models_are_initialized_in_the_order_of_their_weights():
    body = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    )
    inputs = keras.Input((6, 6, 2))
    outputs = layers.Dense(5)(layers.Flatten()(body(inputs)))
    nested = keras.Model(inputs, outputs)
    assert_equal_lists(
        initial_weights(nested, 2, batch_norm_gamma="uniform"),
        initial_weights(small(), 2, batch_norm_gamma="uniform"),
    )


@pytest.mark.parametrize(
    ("layer", "shape", "fan_ins", "fan_outs"),
    [
        (layers.Conv1D(64, 5), (9, 32), [160], [320]),
        (layers.Conv3D(32, 3), (5, 5, 5, 8), [216], [864]),
        (layers.Conv2D(64, 3, groups=4), (8, 8, 32), [72], [144]),
        (layers.Conv2DTranspose(64, 3), (8, 8, 16), [144], [576]),
        (layers.DepthwiseConv2D(3, depth_multiplier=20), (8, 8, 30), [9], [180]),
        (layers.SeparableConv2D(64, 3, depth_multiplier=8), (8, 8, 30), [9, 240], [72, 64]),
        (layers.Dense(64), (100,), [100], None),
        (layers.TimeDistributed(layers.Dense(64)), (3, 100), [100], None),
    ],
)
def test_fans_are_the_inputs_of_one_output_and_the_outputs_of_one_input(
    layer, shape, fan_ins, fan_outs
):
    model = keras.Sequential([keras.Input(shape), layer])
    for initialization, fans in (("kaiming_normal", fan_ins), ("kaiming_fan_out", fan_outs)):
        if fans is None:  # Dense layers are drawn by fan in.
            continue
        *kernels, bias = initial_weights(model, seed=0, initialization=initialization)
        assert not np.any(bias)
        assert len(kernels) == len(fans)
        for kernel, fan in zip(kernels, fans, strict=True):
            tolerance = 5 * math.sqrt(2 / kernel.size)
            assert kernel.var(dtype="float64") * fan / 2 == pytest.approx(1, abs=tolerance)


def test_other_norms_start_as_the_identity_whatever_the_batch_norm_gamma():
    model = keras.Sequential(
        [keras.Input((4,)), layers.LayerNormalization(), layers.GroupNormalization(groups=2)]
    )
    values = initial_weights(model, seed=0, batch_norm_gamma="uniform")
    assert [value.tolist() for value in values] == [[1.0] * 4, [0.0] * 4] * 2


def test_layers_without_bias_scale_or_centre_are_fine():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, use_bias=False),
            layers.BatchNormalization(scale=False, center=False),
        ]
    )
    kernel, mean, variance = initial_weights(model, seed=0, batch_norm_gamma="uniform")
    assert kernel.shape == (3, 4)
    assert (mean.tolist(), variance.tolist()) == ([0.0] * 4, [1.0] * 4)


def test_statistics_of_an_input_normalization_are_kept():
    normalization = layers.Normalization()
    normalization.adapt(np.array([[1.0, 2.0], [3.0, 6.0]]))
    model = keras.Sequential([keras.Input((2,)), normalization, layers.Dense(3)])
    initialize(model, seed=0)
    np.testing.assert_array_equal(normalization.mean, [[2.0, 4.0]])
    np.testing.assert_array_equal(normalization.variance, [[1.0, 4.0]])


def test_a_trainable_variable_without_a_rule_is_refused_and_nothing_is_assigned():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.PReLU(name="slope")])
    before = model.get_weights()
    with pytest.raises(InputError, match="no rule initializes 'slope/alpha:0'"):
        initialize(model, seed=0)
    assert_equal_lists(model.get_weights(), before)


def test_an_unknown_gamma_is_refused():
    with pytest.raises(SettingError, match="batch_norm_gamma=one: did you mean ones"):
        initial_weights(small(), 0, batch_norm_gamma="one")


def test_an_unknown_initialization_is_refused():
    with pytest.raises(SettingError, match="initialization=kaiming: did you mean kaiming_normal"):
        initial_weights(small(), 0, initialization="kaiming")


def test_initialize_assigns_what_initial_weights_returns():
    model = small()
    initialize(model, seed=4, level=7, batch_norm_gamma="uniform")
    assert_equal_lists(model.get_weights(), initial_weights(model, 4, 7, "uniform"))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_every_precision_starts_from_the_same_numbers(policy):
    expected = initial_weights(small(), 2, batch_norm_gamma="uniform")
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = small()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    values = initial_weights(model, 2, batch_norm_gamma="uniform")
    assert {value.dtype.name for value in values} == {"float64" if "64" in policy else "float32"}
    assert_equal_lists([value.astype("float32") for value in values], expected)
