"""Noise in the compiled program of an epoch: a loop over its batches, and gone when it is over."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import prepared_data

from tfprune.backend import keras, tf
from tfprune.data.augmentation import normalize
from tfprune.data.order import epoch_order
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training import schedules, step
from tfprune.training.callbacks.filter_noise import NOISE_KINDS, NoiseState
from tfprune.training.epoch_model import EpochModel
from tfprune.training.epoch_program import Feeding
from tfprune.training.optimizers import SGD, reset_slots
from tfprune.training.resident import ResidentProgram
from tfprune.training.runtime import dtype_policy

DATA = prepared_data(examples=10)
BATCH = 4  # Two whole batches and a short one.
RATE = 0.25
TARGETS = np.arange(8) % 4 == 0
EPOCHS = 3


def network(dtype="float64"):
    """A dense layer whose units are disturbed, its batch norm, and the logits."""
    with dtype_policy(dtype):
        inputs = keras.Input(DATA.input_shape, dtype=dtype)
        x = keras.layers.Flatten()(inputs)
        x = keras.layers.Dense(8, use_bias=False, name="hidden")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
        model = EpochModel.of(keras.Model(inputs, keras.layers.Dense(3, name="logits")(x)))
    rng = np.random.default_rng(1)
    model.get_layer("hidden").set_weights([rng.normal(scale=0.3, size=(16, 8))])
    model.get_layer("logits").set_weights([rng.normal(scale=0.3, size=(8, 3)), np.zeros(3)])
    model.compile(SGD(RATE, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    return model


def begun(model, kind, batches):
    """Noise on its way, as just after an event."""
    state = NoiseState(model, ["hidden"])
    state.start(kind, 7, evaluation_batches=3)
    state.begin("hidden", TARGETS, batches, cumulative=False)
    return state


def program_of(model, noise, jit=False):
    model.noise = noise
    program = ResidentProgram(model, BATCH, jit)
    program.attach(DATA, Feeding(0, 0, schedules.fixed(RATE)))
    return program


def epoch_by_hand(model, state, epoch):
    """The epoch's batches, then a test set in one batch, as here."""
    order = epoch_order(len(DATA.labels), 0, 0, epoch)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        images = normalize(tf.constant(DATA.images[chosen]), DATA.mean, DATA.std, tf.float64)
        model.noise = state
        step.train_on_batch(model, images, tf.constant(DATA.labels[chosen]), tf.constant(RATE))
    step.before_test_batch(model, 1.0)


def compiled_or_not(kind, jit):
    """A pytest parameter set: kinds of noise that draw nothing take the same way through both."""
    is_slow = (kind, jit) in (("zeroing", True), ("restoring", False))
    return pytest.param(kind, jit, marks=pytest.mark.slow if is_slow else ())


@pytest.mark.parametrize(
    ("kind", "jit"), [compiled_or_not(kind, jit) for kind in NOISE_KINDS for jit in (False, True)]
)
def test_epochs_of_the_program_are_a_loop_over_their_batches(kind, jit):
    """Five batches: all of the first epoch, two of the second, none of the third."""
    looped, compiled = network(), network()
    states = [begun(model, kind, 5) for model in (looped, compiled)]
    program = program_of(compiled, states[1], jit)
    for epoch in range(EPOCHS):
        epoch_by_hand(looped, states[0], epoch)
        program.run(epoch)
        # Draws are float32: XLA rounds their logarithms and cosines in its own way.
        tolerance = 1e-5 if kind == "gaussian" and jit else 1e-12
        want = {**read_weights(looped), **states[0].read()}
        got = {**read_weights(compiled), **states[1].read()}
        for name, value in want.items():
            np.testing.assert_allclose(
                got[name], value, rtol=0, atol=tolerance, err_msg=f"{epoch} {name}"
            )
        assert states[1].read()["hidden/remaining"] == max(5 - 3 * (epoch + 1), 0)
    # The first is the event's, the first epoch's evaluation is with the noise on.
    assert states[1].read()["hidden/draws"] == (6 if kind == "gaussian" else 0)


def test_the_noise_of_the_short_last_batch_is_applied():
    """Only that batch is left to disturb after two; without learning the zeros stay."""
    for batches, zero in ((2, False), (3, True)):
        model = network()
        program = program_of(model, begun(model, "restoring", batches))
        program.attach(DATA, Feeding(0, 0, schedules.fixed(0.0), start_step=0, stop_step=2))
        program.run_steps(0)
        assert model.get_layer("hidden").get_weights()[0][:, TARGETS].any() != zero
        program.attach(DATA, Feeding(0, 0, schedules.fixed(0.0), start_step=2))
        program.run_steps(0)
        assert model.get_layer("hidden").get_weights()[0].all()


@pytest.mark.parametrize(
    ("kind", "held", "jit"),
    [
        ("zeroing", True, True),
        ("gaussian", False, False),
        pytest.param("zeroing", True, False, marks=pytest.mark.slow),
        pytest.param("gaussian", False, True, marks=pytest.mark.slow),
    ],
)
def test_an_epoch_is_measured_with_the_zeros_that_the_next_batch_sees(kind, held, jit):
    """Its metrics are those of the network as it is left, zeros and all."""
    model = network()
    state = begun(model, kind, 4)
    state.start(kind, 7, evaluation_batches=0)
    got = program_of(model, state, jit).run(0)
    assert model.get_layer("hidden").get_weights()[0][:, TARGETS].any() != held
    want = program_of(model, None).evaluate()
    for name, value in want.items():
        np.testing.assert_allclose(float(got[name]), float(value), rtol=1e-6, err_msg=name)


def test_a_test_set_of_several_batches_is_walked_through(monkeypatch):
    """Gaussian noise grows from batch to batch; what it adds in all is what was asked for."""
    monkeypatch.setattr("tfprune.training.metrics.EVALUATION_BATCH", 1)
    model = network()
    state = begun(model, "gaussian", 10)
    start = read_weights(model)["hidden/kernel"]
    metrics = program_of(model, state).evaluate()
    examples = len(DATA.test_labels)
    assert state.read()["hidden/draws"] == 1 + examples
    twin = network()
    same = begun(twin, "gaussian", 10)
    correct = 0
    for image, label in zip(DATA.test_images, DATA.test_labels, strict=True):
        same.during_evaluation(1 / examples)
        inputs = normalize(tf.constant(image[None]), DATA.mean, DATA.std, tf.float64)
        correct += int(np.argmax(twin(inputs, training=False)) == label)
    assert float(metrics["test_accuracy"]) == pytest.approx(correct / examples)
    np.testing.assert_allclose(
        read_weights(model)["hidden/kernel"], read_weights(twin)["hidden/kernel"], atol=1e-6
    )
    assert np.any(read_weights(model)["hidden/kernel"] != start)


def test_what_is_restored_is_back_before_the_epoch_is_measured():
    """Nothing trains, so the metrics are those from before the noise, but for its statistics."""
    model = network()
    expected = {n: float(v) for n, v in program_of(model, None).evaluate().items()}
    before = read_weights(model)
    state = begun(model, "restoring", 3)
    disturbed = program_of(model, state).evaluate()
    assert float(disturbed["test_loss"]) != expected["test_loss"]
    program = program_of(model, state)
    program.attach(DATA, Feeding(0, 0, schedules.fixed(0.0)))
    model.get_layer("norm").momentum = 1.0  # Nor do statistics move.
    got = program.run(0)
    for name, value in before.items():
        np.testing.assert_array_equal(read_weights(model)[name], value, err_msg=name)
    for name, value in expected.items():
        assert float(got[name]) == value, name


def test_a_program_traced_without_noise_has_none():
    """Two programs of one network; the noise of the other one is still to come."""
    model = network()
    plain, twin = program_of(model, None), network()
    plain.run(0)
    program_of(twin, None).run(0)
    state = begun(model, "gaussian", 100)
    start = read_weights(model)
    program_of(model, state).run(1)
    assert state.read()["hidden/remaining"] == 97
    model.noise = None
    for one in (model, twin):
        write_weights(one, start)
        reset_slots(one.optimizer, one.variables)
    plain.run(2)
    program_of(twin, None).run(2)
    assert state.read()["hidden/remaining"] == 97
    for name, value in read_weights(twin).items():
        np.testing.assert_array_equal(read_weights(model)[name], value, err_msg=name)
