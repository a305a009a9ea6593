"""Filter criteria: scores in closed form, by numerical integration and by NumPy; no trace left."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from tfprune.backend import keras
from tfprune.catalog import FILTER_CRITERIA
from tfprune.errors import InputError
from tfprune.models.vgg import vgg11
from tfprune.pruning import filter_criteria as criteria
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.dead_filters import gate_shortcuts
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prune_model


def _inputs(model, layers=None, **kwargs):
    masks = get_masks(model)
    chosen = {name: masks[name] for name in layers or masks}
    return ScoringInputs(model, Masks(chosen), **kwargs)


def _with_batch_norm(gamma, beta, **kwargs):
    filters = len(gamma)
    images = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(filters, 3, name="conv")(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn", **kwargs)(x))
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    norm = model.get_layer("bn")
    for variable, value in ((norm.gamma, gamma), (norm.beta, beta)):
        if variable is not None:
            variable.assign(value)
    return prune_model(model)


def test_norms_are_of_each_filters_kernel(hand_made):
    inputs = _inputs(prune_model(hand_made))  # [[1, -2], [-0.5, 1]] and [[3], [-1]].
    l1, l2 = criteria.filter_l1(inputs), criteria.filter_l2(inputs)
    assert (l1["hidden"].tolist(), l1["output"].tolist()) == ([1.5, 3.0], [4.0])
    np.testing.assert_allclose(l2["hidden"], [np.sqrt(1.25), np.sqrt(5)], rtol=1e-15)
    np.testing.assert_allclose(l2["output"], [np.sqrt(10)], rtol=1e-15)
    assert l1["hidden"].dtype == l2["hidden"].dtype == np.float64


def test_a_filter_is_the_last_axis_of_a_convolutions_kernel(conv_net):
    model = prune_model(conv_net())
    kernel = model.get_layer("masked_layer_conv2").layer.kernel.numpy().astype(np.float64)
    scores = criteria.filter_l2(_inputs(model))
    expected = [np.linalg.norm(kernel[..., filter_].ravel()) for filter_ in range(4)]
    np.testing.assert_allclose(scores["conv2"], expected, rtol=1e-12)


def _expected_rectified(beta, gamma):
    """The integral of y times the normal density over y > 0, for either sign of gamma."""
    spread = abs(gamma)
    value, _ = integrate.quad(
        lambda y: y * stats.norm.pdf(y, beta, spread), 0, abs(beta) + 12 * spread, epsabs=1e-13
    )
    return value


GAMMA = np.array([1.0, 0.5, 2.0, 0.1, 1.0, 3.0])
BETA = np.array([0.0, 1.0, -1.5, -0.2, -3.0, 0.7])


def test_ebn_is_the_integral_of_the_rectified_normal():
    scores = criteria.filter_ebn(_inputs(_with_batch_norm(GAMMA, BETA)))["conv"]
    expected = [_expected_rectified(b, g) for b, g in zip(BETA, GAMMA, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-9)
    assert scores[0] == pytest.approx(1 / np.sqrt(2 * np.pi), rel=1e-12)


def test_ebn_does_not_know_the_sign_of_gamma_and_the_signed_variant_does():
    """For gamma < 0 the published variant is -E[max(0, -N(beta, gamma^2))]."""
    positive, negative = (_inputs(_with_batch_norm(g, BETA)) for g in (GAMMA, -GAMMA))
    np.testing.assert_array_equal(
        criteria.filter_ebn(negative)["conv"], criteria.filter_ebn(positive)["conv"]
    )
    np.testing.assert_array_equal(
        criteria.filter_ebn_signed(positive)["conv"], criteria.filter_ebn(positive)["conv"]
    )
    expected = [-_expected_rectified(-b, g) for b, g in zip(BETA, GAMMA, strict=True)]
    np.testing.assert_allclose(
        criteria.filter_ebn_signed(negative)["conv"], expected, rtol=1e-6, atol=1e-9
    )


def test_ebn_of_a_channel_without_variance_is_its_rectified_shift():
    inputs = _inputs(_with_batch_norm(np.zeros(3), np.array([0.0, -2.0, 1.5])))
    for score in (criteria.filter_ebn, criteria.filter_ebn_signed):
        assert score(inputs)["conv"].tolist() == [0.0, 0.0, 1.5]


def test_gamma_is_the_absolute_scale():
    assert criteria.filter_gamma(_inputs(_with_batch_norm([-2.0, 0.5], [9.0, 9.0])))[
        "conv"
    ].tolist() == [2.0, 0.5]


def test_batch_norm_without_scale_or_shift_counts_as_one_and_zero():
    model = _with_batch_norm(np.ones(2), np.zeros(2), scale=False, center=False)
    np.testing.assert_allclose(criteria.filter_ebn(_inputs(model))["conv"], 0.3989422804, rtol=1e-9)
    with pytest.raises(InputError, match="'conv' has no scale"):
        criteria.filter_gamma(_inputs(model))


@pytest.mark.parametrize("name", ["filter_gamma", "filter_ebn", "filter_ebn_signed"])
def test_a_layer_without_batch_norm_is_named(name, conv_net):
    with pytest.raises(InputError, match=r"'output' has no batch norm .*`prunable=conv`"):
        FILTER_CRITERIA[name](_inputs(prune_model(conv_net())))


def _normalized(values):
    """By the statistics of the batch, as in training (the fixture's epsilon is 1e-3)."""
    axes = tuple(range(values.ndim - 1))
    return (values - values.mean(axes)) / np.sqrt(values.var(axes) + 1e-3)


def _conv(images, kernel):
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.einsum("nyxcij,ijcf->nyxf", windows, kernel)


@pytest.mark.parametrize("gated", [False, True])
def test_activations_are_before_the_relu_and_after_the_shortcut(gated, conv_net, examples):
    """conv1: its batch norm's output. conv2: the sum. output: itself. All in NumPy."""
    plain = conv_net()
    kernels = [
        plain.get_layer(name).kernel.numpy().astype(np.float64)
        for name in ("conv1", "conv2", "output")
    ]
    model = prune_model(gate_shortcuts(plain) if gated else plain, filters=True)
    batches = [examples((6, 6, 2), count, seed) for seed, count in enumerate((8, 8, 3))]
    expected = {"conv1": 0.0, "conv2": 0.0, "output": 0.0}
    for images, _ in batches:
        first = _normalized(_conv(images, kernels[0]))
        relu = np.maximum(first, 0)
        total = _normalized(_conv(relu, kernels[1])) + relu
        pooled = total.reshape(len(images), 3, 2, 3, 2, 4).max((2, 4))
        logits = pooled.reshape(len(images), -1) @ kernels[2]
        for name, values in (("conv1", first), ("conv2", total), ("output", logits)):
            seen = np.abs(values).sum(tuple(range(values.ndim - 1)))
            expected[name] = 0.9 * expected[name] + 0.1 * seen
    scores = criteria.filter_activation(_inputs(model, batches=batches))
    for name, want in expected.items():
        np.testing.assert_allclose(scores[name], want, rtol=1e-4)
    one = criteria.filter_activation(_inputs(model, batches=batches, num_batches=1))
    same = criteria.filter_activation(_inputs(model, batches=batches[:1]))
    np.testing.assert_array_equal(one["conv1"], same["conv1"])
    assert not np.allclose(one["conv1"], scores["conv1"], rtol=1e-2)


def test_activations_inside_a_nested_model_and_of_a_layer_used_twice():
    """The sum over both uses: |x w| and |x w w| of one unit."""
    layer = keras.layers.Dense(1, use_bias=False, name="unit")
    images = keras.Input((1,))
    part = keras.Model(images, layer(images), name="part")
    outer = keras.Input((1,))
    model = keras.Model(outer, part(part(outer)))
    layer.kernel.assign([[-3.0]])
    batches = [(np.array([[1.0], [-2.0]], np.float32), np.zeros(2, int))]
    scores = criteria.filter_activation(_inputs(prune_model(model), batches=batches))
    np.testing.assert_allclose(scores["unit"], [0.1 * (3 * 3 + 9 * 3)], rtol=1e-12)


def test_activations_need_batches(conv_net):
    with pytest.raises(InputError, match="needs training batches"):
        criteria.filter_activation(_inputs(prune_model(conv_net())))


def test_random_scores_depend_on_the_generator_alone(hand_made):
    scores = criteria.filter_random(_inputs(prune_model(hand_made), rng=np.random.default_rng(7)))
    expected = np.random.default_rng(7).random(3)
    np.testing.assert_array_equal(np.concatenate(list(scores.values())), expected)
    with pytest.raises(ValueError, match=r"needs ScoringInputs\.rng"):
        criteria.filter_random(_inputs(prune_model(hand_made)))


@pytest.fixture(scope="module", params=["vgg", "conv_net"])
def untouched(request, conv_net):
    """One for all criteria: scoring leaves it as it is."""
    plain = conv_net() if request.param == "conv_net" else vgg11((6, 6, 2), 3, width=0.05)
    model = prune_model(plain, "conv", filters=True)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("name", list(FILTER_CRITERIA))
def test_a_criterion_scores_by_as_many_batches_as_the_catalog_says(name):
    taken = []

    def three():
        for seed in range(3):
            taken.append(seed)
            yield np.ones((1, 4, 4, 2), np.float32), np.zeros(1, int)

    model = _with_batch_norm([1.0, 2.0], [0.0, 1.0])
    inputs = _inputs(model, batches=three, num_batches=3, rng=np.random.default_rng(0))
    FILTER_CRITERIA[name](inputs)
    assert len(taken) == FILTER_CRITERIA.entry(name).get("batches", 3)


@pytest.mark.parametrize("name", list(FILTER_CRITERIA))
def test_scoring_leaves_the_model_as_it_was_bit_for_bit(name, untouched, examples):
    model = untouched
    before = [variable.numpy().tobytes() for variable in model.variables]
    batches = [examples((6, 6, 2), 5, seed) for seed in range(2)]
    scores = FILTER_CRITERIA[name](_inputs(model, batches=batches, rng=np.random.default_rng(0)))
    assert [variable.numpy().tobytes() for variable in model.variables] == before
    shapes = get_masks(model).shapes
    assert {n: s.shape for n, s in scores.items()} == {n: shape[-1:] for n, shape in shapes.items()}
    assert list(scores) == list(shapes)
    if name != "filter_random":
        again = FILTER_CRITERIA[name](_inputs(model, batches=batches))
        for layer, score in again.items():
            np.testing.assert_array_equal(score, scores[layer])
