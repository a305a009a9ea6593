"""EL2N against NumPy, closed forms, and models whose outputs are known."""

import math

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.catalog import MEASURES
from tfprune.errors import InputError, SettingError
from tfprune.measures import el2n, example_groups

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0], [-3.0, 4.0, 1.0], [1e4, 0.0, -1e4]])
LABELS = np.array([0, 2, 0, 0])


def numpy_el2n(logits, labels):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return np.linalg.norm(probabilities - np.eye(logits.shape[1])[labels], axis=1)


def linear(weights, activation=None):
    """A model that multiplies by a matrix."""
    inputs = keras.Input((weights.shape[0],))
    layer = keras.layers.Dense(weights.shape[1], use_bias=False, activation=activation)
    model = keras.Model(inputs, layer(inputs))
    model.set_weights([weights])
    return model


def test_it_is_numpys_norm_on_fixed_logits():
    scores = el2n.el2n_scores(LOGITS, LABELS)
    np.testing.assert_allclose(scores, numpy_el2n(LOGITS, LABELS), rtol=1e-14, atol=1e-300)
    assert scores.dtype == np.float64


def test_a_guess_a_hit_and_a_miss_have_their_closed_forms():
    # Uniform over C classes: √((1 − 1/C)² + (C − 1)/C²) = √(1 − 1/C).
    assert el2n.el2n_scores(np.zeros((1, 10)), [3]) == pytest.approx(math.sqrt(0.9))
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(el2n.el2n_scores(sure, [0, 1], from_logits=False), [0, math.sqrt(2)])


def test_probabilities_and_their_logits_score_alike_and_are_not_written_to():
    probabilities = np.array([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]])
    before = probabilities.copy()
    scores = el2n.el2n_scores(probabilities, [2, 1], from_logits=False)
    np.testing.assert_allclose(scores, el2n.el2n_scores(np.log(probabilities), [2, 1]))
    np.testing.assert_array_equal(probabilities, before)


def test_the_mean_is_over_the_models_scores_not_their_probabilities():
    right, wrong = np.array([[50.0, 0.0]]), np.array([[0.0, 50.0]])
    # Mean probabilities (1/2, 1/2) would score √(1/2); the mean of 0 and √2 is the same number,
    # so a third, undecided model tells them apart.
    found = el2n.mean_el2n(iter([right, wrong, np.zeros((1, 2))]), [0])
    assert found == pytest.approx((0 + math.sqrt(2) + math.sqrt(0.5)) / 3)
    right_twice = el2n.mean_el2n([right, right, wrong], [0])
    assert right_twice == pytest.approx(math.sqrt(2) / 3)


@pytest.mark.parametrize("batch_size", [1, 3, 1024])
def test_ones_own_models_score_as_numpy_does_in_any_batches(batch_size):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(7, 4)).astype(np.float32)
    labels = rng.integers(0, 3, 7)
    matrices = rng.normal(size=(2, 4, 3)).astype(np.float32)
    expected = np.mean([numpy_el2n(images @ m.astype(np.float64), labels) for m in matrices], 0)
    models = (linear(m) for m in matrices)
    np.testing.assert_allclose(el2n.el2n(models, images, labels, batch_size), expected, atol=1e-6)


def test_one_model_with_a_softmax_needs_no_list():
    weights = np.array([[1.0, -1.0], [0.5, 2.0]], np.float32)
    images, labels = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32), np.array([1, 1])
    found = el2n.el2n(linear(weights, "softmax"), images, labels)
    np.testing.assert_allclose(found, numpy_el2n(images @ weights, labels), atol=1e-6)


def test_pixels_are_normalized_per_channel():
    pixels = np.array([[0, 255], [51, 102]], np.uint8)
    mean, std = np.array([0.5, 0.2], np.float32), np.array([0.5, 0.4], np.float32)
    found = el2n.model_outputs(linear(np.eye(2, dtype=np.float32)), pixels, mean=mean, std=std)
    np.testing.assert_allclose(found, [[-1, 2], [-0.6, 0.5]], atol=1e-6)


def test_a_model_is_measured_in_inference_mode_and_left_as_found():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    before = model.get_weights()
    images = np.arange(12, dtype=np.float32).reshape(4, 3)
    outputs = el2n.model_outputs(model, images, batch_size=2)
    np.testing.assert_allclose(outputs, images / math.sqrt(1.001), rtol=1e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.predict_function is None
    assert tf.executing_eagerly()


def test_probabilities_taken_for_logits_are_refused_and_the_other_way_round():
    images, labels = np.array([[1.0, 2.0]], np.float32), np.array([0])
    with pytest.raises(InputError, match="gives probabilities, not logits: say from_logits=False"):
        el2n.el2n(linear(np.eye(2, dtype=np.float32), "softmax"), images, labels, from_logits=True)
    with pytest.raises(InputError, match="gives logits, not probabilities: say from_logits=True"):
        el2n.el2n(linear(np.eye(2, dtype=np.float32)), images, labels, from_logits=False)


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3)), [0], "a label each"),
        (np.zeros(3), [0], "a label each"),
        (np.zeros((2, 3)), [0, 3], "labels go from 0 to 2, not 0 to 3"),
        (np.zeros((2, 3)), [-1, 0], "not -1 to 0"),
        (np.zeros((2, 3)), [0.0, 1.0], "give integers"),
    ],
)
def test_outputs_and_labels_that_do_not_go_together_are_refused(outputs, labels, message):
    with pytest.raises(InputError, match=message):
        el2n.el2n_scores(outputs, labels)


def test_nothing_to_measure_is_refused():
    model = linear(np.eye(2, dtype=np.float32))
    with pytest.raises(InputError, match="there is none"):
        el2n.mean_el2n([], [0])
    with pytest.raises(InputError, match="no images"):
        el2n.el2n(model, np.zeros((0, 2), np.float32), np.zeros(0, int))
    with pytest.raises(InputError, match="both mean and std"):
        el2n.model_outputs(model, np.zeros((1, 2), np.uint8), mean=np.zeros(2, np.float32))
    with pytest.raises(SettingError, match="batch_size=0"):
        el2n.model_outputs(model, np.zeros((1, 2), np.float32), batch_size=0)


@pytest.mark.parametrize(
    ("epochs", "percent", "partial"), [(60, 10, 6), (160, 10, 16), (90, 22, 20), (3, 10, 1)]
)
def test_ten_percent_of_table_1s_epochs(epochs, percent, partial):
    assert example_groups.partial_epochs(epochs, percent) == partial


def test_it_is_a_measure_by_name():
    assert MEASURES["el2n"] is el2n.el2n
