"""Losses and the accuracy of the label-noise subsets on six examples by hand."""

import numpy as np

from tfprune.backend import tf
from tfprune.training import metrics

LOGITS = np.array([[2, 0, 0], [0, 3, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 2]], np.float32)
LABELS = tf.constant([0, 1, 2, 1, 1, 0], tf.int32)
ORIGINAL = tf.constant([0, 1, 2, 0, 1, 2], tf.int32)
SELECTED = tf.constant([False, False, False, True, True, True])


def by_hand():
    logits = LOGITS.astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -log_p[np.arange(6), LABELS.numpy()]


def test_losses_are_cross_entropy_in_nats():
    values = metrics.per_example(tf.constant(LOGITS), LABELS)
    np.testing.assert_allclose(values.losses, by_hand(), rtol=1e-6)
    assert values.predictions.numpy().tolist() == [0, 1, 2, 0, 1, 2]


def test_subsets_are_those_of_sdd_and_peg():
    values = metrics.per_example(tf.constant(LOGITS), LABELS)
    got = {
        name: float(value)
        for name, value in metrics.subset_metrics(values, LABELS, ORIGINAL, SELECTED).items()
    }
    losses = by_hand()
    # Predictions 0 1 2 0 1 2; the selected ones trained on 1 1 0, originally 0 1 2.
    assert got["unpermuted_accuracy"] == 1.0
    np.testing.assert_allclose(got["permuted_accuracy"], 1 / 3, rtol=1e-6)
    assert got["restored_accuracy"] == 1.0
    np.testing.assert_allclose(got["noisy_loss"], losses[3:].mean(), rtol=1e-6)
    np.testing.assert_allclose(got["original_loss"], losses[:3].mean(), rtol=1e-6)


def test_a_subset_without_examples_is_nan_and_the_rest_is_the_whole():
    values = metrics.per_example(tf.constant(LOGITS), LABELS)
    nobody = tf.zeros(6, tf.bool)
    got = metrics.subset_metrics(values, LABELS, ORIGINAL, nobody)
    assert np.isnan(got["permuted_accuracy"])
    assert np.isnan(got["noisy_loss"])
    whole = metrics.split_metrics("train", values, LABELS)
    np.testing.assert_allclose(got["unpermuted_accuracy"], whole["train_accuracy"])
    np.testing.assert_allclose(got["original_loss"], whole["train_loss"], rtol=1e-6)
