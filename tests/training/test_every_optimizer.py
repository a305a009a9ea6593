"""Every optimizer of tf_keras: pruned weights are zero, and a rewound level is a new training.

What a level that follows a rewinding must be is found without any of the callbacks: a new network
with a new optimizer, the same weights and masks, trained by Keras alone.
"""

import numpy as np
import pytest
from compatibility import OPTIMIZERS, OPTIMIZERS_REFUSED

import tfprune
from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.weights import named_variables, read_weights, write_weights
from tfprune.training.optimizers import reset_slots

MODERN = keras.optimizers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5)).astype(np.float32)
Y = np.arange(24) % 3


def network(seed=1):
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(8, "relu", input_shape=(5,), name="hidden")
    return tfprune.prune_model(keras.Sequential([hidden, keras.layers.Dense(3, name="output")]))


def fit(model, *callbacks, epochs=1):
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def compiled(optimizer):
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def moved(model):
    """How many pruned weights are not exactly zero."""
    weights = read_weights(model)
    masks = tfprune.get_masks(model)
    return sum(np.count_nonzero(weights[f"{name}/kernel"][~mask]) for name, mask in masks.items())


class Moved(keras.callbacks.Callback):
    """After every step, how many pruned weights are not exactly zero."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append(moved(self.model))


# Averages are kept by Keras's one base class, which the loss-scaling optimizer wraps, and what a
# legacy optimizer keeps by another; the three ways to clip a gradient keep nothing.
AVERAGED = ("SGD", "Adam", "LossScaleOptimizer")
LEGACY = ("legacy SGD", "legacy Adam")
CLIPPED = ("global_clipnorm", "clipvalue")


def of_few_alike(name):
    """A pytest parameter set; of what is kept in the same way, the others are for `test-slow`."""
    kind, setting = name
    is_slow = (
        (setting == "use_ema" and kind not in AVERAGED)
        or (kind.startswith("legacy") and kind not in LEGACY)
        or setting in CLIPPED
    )
    return pytest.param(name, marks=pytest.mark.slow if is_slow else (), id=" ".join(name))


@pytest.mark.parametrize("name", map(of_few_alike, OPTIMIZERS))
def test_a_level_after_a_rewinding_is_a_new_training_and_pruned_weights_are_zero(name):
    model = compiled(OPTIMIZERS[name](keras))
    initial = read_weights(model)
    rewind, counted = tfprune.RewindWeights("0ep"), Moved()
    fit(model, rewind, tfprune.IterativePruning(1, 1, 0.5, rewind=rewind), counted, epochs=3)
    assert counted.counts == [0] * 9
    assert moved(model) == 0
    masks = tfprune.get_masks(model)
    plain = tfprune.strip(model)
    assert not any(plain.get_layer(n).kernel.numpy()[~mask].any() for n, mask in masks.items())
    assert masks.remaining == 32
    other = compiled(OPTIMIZERS[name](keras))
    write_weights(other, initial)
    tfprune.set_masks(other, masks)
    fit(other, epochs=2)
    for key, value in read_weights(other).items():
        assert np.all(np.isfinite(value)), key
        np.testing.assert_array_equal(read_weights(model)[key], value, err_msg=key)


@pytest.mark.parametrize("overwrite", [None, 2])
def test_averages_are_numpys_over_what_is_left_of_the_weights(overwrite):
    """Two steps, then masks: what `fit` writes in the end is the average of NumPy's weights."""
    model = network()
    optimizer = MODERN.SGD(
        0.5, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=overwrite, jit_compile=False
    )
    kernel = named_variables(model)["hidden/kernel"]
    gradients = [RNG.normal(size=(5, 8)).astype(np.float32) for _ in range(3)]
    weights, kept = kernel.numpy(), RNG.random((5, 8)) < 0.5
    average = weights.copy()
    model.compile(optimizer)
    for step, gradient in enumerate(gradients, start=1):
        if step == 3:
            masks = {**tfprune.get_masks(model), "hidden": kept}
            tfprune.set_masks(model, tfprune.Masks(masks))
            weights, average = weights * kept, average * kept
        optimizer.apply_gradients([(tf.constant(gradient), kernel)])
        weights = weights - 0.5 * gradient
        average = 0.75 * average + 0.25 * weights
        if overwrite and step % overwrite == 0:
            weights = average
        if step == 3:
            weights = weights * kept
    np.testing.assert_allclose(kernel.numpy(), weights, rtol=1e-5, atol=1e-6)
    optimizer.finalize_variable_values([kernel])
    np.testing.assert_allclose(kernel.numpy(), average * kept, rtol=1e-5, atol=1e-6)
    tfprune.set_masks(model, tfprune.Masks.dense(tfprune.get_masks(model).shapes))
    optimizer.finalize_variable_values([kernel])
    np.testing.assert_allclose(kernel.numpy(), average * kept, rtol=1e-5, atol=1e-6)


class Accumulating(MODERN.SGD):
    """A user's own optimizer that takes every second step with the sum of two gradients."""

    def build(self, var_list):
        if getattr(self, "_built", False):
            return
        super().build(var_list)
        self.sums = [tf.Variable(tf.fill(v.shape, 0.25)) for v in var_list]

    def update_step(self, gradient, variable):
        total = self.sums[self._index_dict[self._var_key(variable)]]
        total.assign_add(gradient)
        due = tf.cast((self.iterations + 1) % 2 == 0, variable.dtype)
        super().update_step(due * total, variable)
        total.assign((1 - due) * total)


def test_a_users_own_optimizer_starts_where_it_starts():
    optimizer, w = Accumulating(0.1, jit_compile=False), tf.Variable([1.0, 2.0])
    ends = []
    for _ in range(2):
        w.assign([1.0, 2.0])
        reset_slots(optimizer, [w])
        for gradient in ([1.0, -1.0], [0.5, 0.5], [2.0, 2.0]):
            optimizer.apply_gradients([(tf.constant(gradient), w)])
        ends.append(w.numpy())
    np.testing.assert_array_equal(*ends)
    np.testing.assert_allclose(ends[1], [1 - 0.1 * 1.75, 2 + 0.1 * 0.25], rtol=1e-6)


class NoConfig(MODERN.SGD):
    def __init__(self, rate, needed):
        super().__init__(rate)


def built_for_two(model):
    optimizer = MODERN.SGD(0.1)
    optimizer.build(model.trainable_variables + network(2).trainable_variables)
    return optimizer


CANNOT_START_AFRESH = {
    "one that its `get_config` does not make again": lambda model: NoConfig(0.1, needed=1),
    "one that was built for two models": built_for_two,
}


@pytest.mark.parametrize("kind", OPTIMIZERS_REFUSED)
def test_an_optimizer_that_cannot_start_afresh_is_refused_before_training(kind):
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(CANNOT_START_AFRESH[kind](model), loss)
    before = read_weights(model)
    for callback in (tfprune.RewindWeights("1ep"), tfprune.ReDense(at_epoch=0)):
        with pytest.raises(InputError, match=OPTIMIZERS_REFUSED[kind]):
            fit(model, callback)
    for key, value in before.items():
        np.testing.assert_array_equal(read_weights(model)[key], value)
