"""The epoch program: against updates by hand, against NumPy, in parts and compiled."""

import numpy as np
import pytest
from synthetic import prepared_data, softmax_regression

from tfprune.backend import keras
from tfprune.data.order import epoch_order
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training import schedules
from tfprune.training.epoch_program import Feeding, steps_per_epoch
from tfprune.training.optimizers import SGD, reset_slots
from tfprune.training.resident import ResidentProgram
from tfprune.training.settings import TrainingConfig

DATA = prepared_data(examples=10)
BATCH = 4
RATE = 0.25  # Exact in the float32 of learning rates.


def program_of(model, data=DATA, jit=False, optimizer=None, **feed):
    model.compile(optimizer or SGD(RATE))
    program = ResidentProgram(model, BATCH, jit)
    settings = {"seed": 0, "level": 0, "schedule": schedules.fixed(RATE), **feed}
    program.attach(data, Feeding(**settings))
    return program


def inputs_by_hand(images):
    return ((images / 255.0 - DATA.mean) / DATA.std).reshape(len(images), -1).astype(np.float64)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def epoch_by_hand(kernel, bias, epochs=1, momentum=0.0, l2=0.0, rates=None):
    """Mini-batch SGD on softmax regression, the short last batch included.

    `rates`: of each step; None for the fixed one.
    """
    rates = iter([RATE] * 100 if rates is None else rates)
    velocity = [np.zeros_like(kernel), np.zeros_like(bias)]
    for epoch in range(epochs):
        order = epoch_order(len(DATA.labels), 0, 0, epoch)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            x = inputs_by_hand(DATA.images[chosen])
            error = softmax(x @ kernel + bias) - np.eye(3)[DATA.labels[chosen]]
            gradients = [x.T @ error / len(chosen) + l2 * kernel, error.mean(0) + l2 * bias]
            velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
            rate = float(next(rates))
            kernel, bias = kernel - rate * velocity[0], bias - rate * velocity[1]
    return kernel, bias


@pytest.mark.parametrize("jit", [False, True])
def test_two_epochs_are_the_updates_by_hand(jit):
    model = softmax_regression(DATA)
    start = model.get_weights()
    program = program_of(model, jit=jit, optimizer=SGD(RATE, momentum=0.9, l2=0.01))
    program.run(0)
    program.run(1)
    expected = epoch_by_hand(*start, epochs=2, momentum=0.9, l2=0.01)
    for got, want in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_running_accuracy_is_of_each_batch_before_its_step(jit):
    model = softmax_regression(DATA)
    kernel, bias = model.get_weights()
    order = epoch_order(len(DATA.labels), 0, 0, 0)
    right = []
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        x = inputs_by_hand(DATA.images[chosen])
        logits = x @ kernel + bias
        right += list(logits.argmax(1) == DATA.labels[chosen])
        error = (softmax(logits) - np.eye(3)[DATA.labels[chosen]]) / len(chosen)
        kernel, bias = kernel - RATE * x.T @ error, bias - RATE * error.sum(0)
    got = program_of(model, jit=jit).run(0)
    assert float(got["running_train_accuracy"]) == pytest.approx(np.mean(right), rel=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("decay", ["drops", "cosine"])
def test_every_compiled_step_takes_its_own_rate(decay, jit):
    """3 steps an epoch; a warm-up of one epoch, of rates 0, 1/3 and 2/3 of the whole."""
    drops = {"lr_drop_epochs": (2,)} if decay == "drops" else {}
    config = TrainingConfig(
        train_epochs=4, learning_rate=RATE, warmup_epochs=1, lr_decay=decay, **drops
    )
    t = np.arange(12)
    if decay == "drops":
        decayed = np.where(t < 6, 1.0, 0.1)
    else:
        decayed = (1 + np.cos(np.pi * np.maximum(t - 3, 0) / 9)) / 2
    rates = np.float32(RATE * np.minimum(t / 3, 1) * decayed)
    model = softmax_regression(DATA)
    start = model.get_weights()
    schedule = schedules.training_schedule(config)
    program = program_of(model, jit=jit, optimizer=SGD(RATE, momentum=0.9), schedule=schedule)
    for epoch in range(4):
        program.run_steps(epoch)
        expected = epoch_by_hand(*start, epochs=epoch + 1, momentum=0.9, rates=rates)
        for got, want in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_rewinding_replays_the_warm_up_from_its_step():
    """Rewound to step 1, the second step of the warm-up comes next, at a third of the rate."""
    config = TrainingConfig(train_epochs=4, learning_rate=RATE, warmup_epochs=1)
    schedule = schedules.training_schedule(config)
    whole, rewound = softmax_regression(DATA), softmax_regression(DATA)
    program_of(whole, schedule=schedule, stop_step=1).run_steps(0)
    rewound.set_weights(whole.get_weights())
    program_of(whole, schedule=schedule, start_step=1).run_steps(0)
    program_of(rewound, schedule=schedule, start_step=1, stop_step=2).run_steps(0)
    second = rewound.get_weights()
    program_of(rewound, schedule=schedule, start_step=2).run_steps(0)
    for got, want in zip(rewound.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)
    third = softmax_regression(DATA)
    program_of(third, schedule=schedules.fixed(RATE / 3), start_step=1, stop_step=2).run_steps(0)
    for got, want in zip(second, third.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-7)


def test_metrics_are_numpys_over_whole_splits():
    model = softmax_regression(DATA)
    got = {name: float(v) for name, v in program_of(model).run(0).items()}
    kernel, bias = model.get_weights()

    def losses_and_predictions(images, labels):
        p = softmax(inputs_by_hand(images) @ kernel + bias)
        return -np.log(p[np.arange(len(labels)), labels]), p.argmax(1)

    loss, predicted = losses_and_predictions(DATA.images, DATA.labels)
    test_loss, test_predicted = losses_and_predictions(DATA.test_images, DATA.test_labels)
    s = DATA.selected
    expected = {
        "train_loss": loss.mean(),
        "train_accuracy": np.mean(predicted == DATA.labels),
        "test_loss": test_loss.mean(),
        "test_accuracy": np.mean(test_predicted == DATA.test_labels),
        "unpermuted_accuracy": np.mean(predicted[~s] == DATA.labels[~s]),
        "permuted_accuracy": np.mean(predicted[s] == DATA.labels[s]),
        "restored_accuracy": np.mean(predicted[s] == DATA.original_labels[s]),
        "noisy_loss": loss[s].mean(),
        "original_loss": loss[~s].mean(),
    }
    assert set(got) == {*expected, "loss", "running_train_accuracy"}
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, err_msg=name)


def test_a_validation_split_is_measured_where_there_is_one():
    data = prepared_data(val_examples=5)
    model = softmax_regression(data)
    got = program_of(model, data).run(0)
    assert {"val_loss", "val_accuracy"} <= set(got)


def test_a_large_split_is_evaluated_in_chunks_and_a_rest():
    data = prepared_data(examples=12, test_examples=2500)
    model = softmax_regression(data)
    program = program_of(model, data)
    got = float(program.evaluate()["test_loss"])
    logits = model.predict(((data.test_images / 255.0) - 0.5) / 0.25, verbose=0)
    losses = keras.losses.sparse_categorical_crossentropy(
        data.test_labels, logits, from_logits=True
    )
    np.testing.assert_allclose(got, np.mean(losses), rtol=1e-5)


def test_an_epoch_in_two_parts_is_the_epoch():
    whole, parts = softmax_regression(DATA), softmax_regression(DATA)
    parts.set_weights(whole.get_weights())
    program_of(whole).run(0)
    for start_step, stop_step in ((0, 1), (1, 3)):
        program = program_of(parts, start_step=start_step, stop_step=stop_step)
        program.run_steps(0)
    for got, want in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


def test_stopping_before_the_short_last_batch_leaves_it_out():
    model = softmax_regression(DATA)
    start = model.get_weights()
    program_of(model, stop_step=2).run_steps(0)
    after_two = model.get_weights()
    program_of(model, start_step=2).run_steps(0)
    expected = epoch_by_hand(*start)
    np.testing.assert_allclose(model.get_weights()[0], expected[0], rtol=0, atol=1e-12)
    assert np.abs(after_two[0] - expected[0]).max() > 1e-4


def test_the_short_last_batch_updates_batch_norm_with_its_own_statistics():
    inputs = keras.Input(DATA.input_shape)
    norm = keras.layers.BatchNormalization(momentum=0.9, name="norm")
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(norm(inputs)))
    model = keras.Model(inputs, logits)
    program_of(model).run(0)
    mean = np.zeros(1)
    order = epoch_order(len(DATA.labels), 0, 0, 0)
    for start in range(0, 10, BATCH):
        x = (DATA.images[order[start : start + BATCH]] / 255.0 - 0.5) / 0.25
        mean = 0.9 * mean + 0.1 * x.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5)


def test_every_trial_of_a_shape_shares_one_trace():
    model = softmax_regression(DATA)
    program = program_of(model)
    for seed in range(3):
        other = prepared_data(examples=10, seed=seed)
        program.attach(other, Feeding(seed, seed, schedules.fixed(0.1 * seed)))
        reset_slots(model.optimizer, model.variables)
        program.run(seed)
    assert program._epoch.experimental_get_tracing_count() == 1


def test_augmented_epochs_differ_and_repeat():
    def weights_after(epoch):
        model = softmax_regression(DATA)
        write_weights(model, START)
        program_of(model, augment="flip_shift").run(epoch)
        return model.get_weights()[0]

    START = read_weights(softmax_regression(DATA))  # noqa: N806
    np.testing.assert_array_equal(weights_after(3), weights_after(3))
    assert np.abs(weights_after(3) - weights_after(4)).max() > 1e-4


def test_what_is_asked_too_early_is_refused():
    model = softmax_regression(DATA)
    model.compile(SGD(RATE))
    program = ResidentProgram(model, BATCH, jit=False)
    asked = (program.evaluate, lambda: program.run(0), lambda: program.scoring_batches(1))
    for ask in asked:
        with pytest.raises(ValueError, match="data"):
            ask()
    program.attach(DATA, None)
    assert "test_loss" in program.evaluate()
    for ask in asked[1:]:
        with pytest.raises(ValueError, match="feeding"):
            ask()


def test_steps_count_the_short_batch():
    assert [steps_per_epoch(n, 128) for n in (128, 129, 60000, 1437)] == [1, 2, 469, 12]


def test_steps_are_counted_over_the_whole_training():
    late = Feeding(0, 0, schedules.fixed(0.1), start_step=4)
    assert [late.steps_of(epoch, 3) for epoch in range(3)] == [(3, 3), (1, 3), (0, 3)]
    early = Feeding(0, 0, schedules.fixed(0.1), stop_step=4)
    assert [early.steps_of(epoch, 3) for epoch in range(3)] == [(0, 3), (0, 1), (0, 0)]
