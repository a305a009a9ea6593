"""Optimizers: two updates by hand in float64, coupled weight decay included."""

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.training.optimizers import SGD, Adam, build_optimizer, reset_slots
from tfprune.training.settings import TrainingConfig

W0 = np.array([0.5, -1.5, 2.0])
GRADIENTS = [np.array([0.1, -0.2, 0.3]), np.array([-0.4, 0.5, 0.6])]
RATES = [0.1, 0.01]
L2 = 0.05


def run(optimizer):
    w = tf.Variable(W0, dtype=tf.float64)
    optimizer.build([w])
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        optimizer.learning_rate.assign(rate)
        optimizer.apply_gradients([(tf.constant(gradient), w)])
    return w.numpy()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_pytorchs_over_a_learning_rate_drop(momentum, nesterov):
    w, v = W0.copy(), np.zeros(3)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        g = gradient + L2 * w
        v = momentum * v + g
        w = w - rate * (g + momentum * v if nesterov else v)
    got = run(SGD(0.1, momentum=momentum, nesterov=nesterov, l2=L2))
    np.testing.assert_allclose(got, w, rtol=0, atol=1e-9)


def test_adam_is_pytorchs():
    w, m, s = W0.copy(), np.zeros(3), np.zeros(3)
    for t, (gradient, rate) in enumerate(zip(GRADIENTS, RATES, strict=True), start=1):
        g = gradient + L2 * w
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run(Adam(0.1, l2=L2)), w, rtol=0, atol=1e-6)


def test_without_weight_decay_sgd_is_keras_own():
    theirs = keras.optimizers.SGD(0.1)
    np.testing.assert_allclose(run(SGD(0.1)), run(theirs), rtol=0, atol=1e-12)


def test_weight_decay_alone_shrinks_every_weight_by_the_same_factor():
    w = tf.Variable(W0)
    optimizer = SGD(0.5, l2=0.2)
    optimizer.build([w])
    optimizer.apply_gradients([(tf.zeros(3, tf.float64), w)])
    np.testing.assert_allclose(w.numpy(), W0 * (1 - 0.5 * 0.2), rtol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
def test_after_a_reset_the_same_steps_give_the_same_weights(name):
    """As between levels: the second training must not see the first one's slots."""
    optimizer = build_optimizer(TrainingConfig(optimizer=name, momentum=0.9, weight_decay=L2))
    w = tf.Variable(W0)
    optimizer.build([w])
    ends = []
    for _ in range(2):
        w.assign(W0)
        reset_slots(optimizer, [w])
        for gradient, rate in zip(GRADIENTS, RATES, strict=True):
            optimizer.learning_rate.assign(rate)
            optimizer.apply_gradients([(tf.constant(gradient), w)])
        ends.append(w.numpy())
    np.testing.assert_array_equal(*ends)


def test_settings_reach_the_optimizer():
    config = TrainingConfig(optimizer="adam", weight_decay=0.01, adam_epsilon=1e-3)
    optimizer = build_optimizer(config)
    assert (optimizer.l2, optimizer.epsilon) == (0.01, 1e-3)
    again = Adam.from_config(optimizer.get_config())
    assert (again.l2, again.epsilon) == (0.01, 1e-3)
