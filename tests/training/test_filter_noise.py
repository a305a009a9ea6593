"""Pruning as noise: what is disturbed, for how many batches, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

import tfprune
from tfprune.backend import keras, tf
from tfprune.errors import InputError, SettingError
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.filter_selection import kept_filters
from tfprune.pruning.weights import read_weights
from tfprune.training.callbacks.filter_noise import FilterNoise, NoiseState
from tfprune.training.callbacks.filter_pruning import FilterPruning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
STEPS = 4  # In an epoch.
OWN = ("first/kernel", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance")


def _plain():
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Dense(16, use_bias=False, input_shape=(8,), name="first"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(3, name="output"),
        ]
    )


def _network(learning_rate=0.1):
    model = _plain()
    model.compile(tfprune.SGD(learning_rate, momentum=0.9), LOSS, run_eagerly=True)
    return model


def _fit(model, *callbacks, epochs=3, initial_epoch=0):
    return model.fit(
        *(X, Y),
        batch_size=8,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
    )


class _Forwards(keras.callbacks.Callback):
    """What each training batch is computed with: put it behind the noise."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_begin(self, batch, logs=None):
        self.weights.append(read_weights(self.model))


def _noise(*args, end=0, period=1, fraction=0.25, **kwargs):
    """Targets ceil(16 / 4) = 4 filters after the first epoch, or over the events up to `end`."""
    kwargs.setdefault("test", lambda: 1.0)
    return FilterNoise([FilterSchedule("first", 0, end, period, fraction)], *args, **kwargs)


@pytest.mark.parametrize("batches", [1, 3, 6])
def test_zeroed_filters_are_zero_for_exactly_n_batches_and_move_on_from_zero(batches):
    noise, seen = _noise("zeroing", batches), _Forwards()
    _fit(_network(), noise, seen, epochs=4)
    targets = noise.state.targeted()["first"]
    assert targets.sum() == 4
    zero = [not np.any(w["first/kernel"][:, targets]) for w in seen.weights]
    assert zero == [False] * STEPS + [True] * batches + [False] * (3 * STEPS - batches)
    assert all(np.all(w["first/kernel"][:, ~targets] != 0) for w in seen.weights)
    assert np.all(seen.weights[STEPS + batches]["first/kernel"][:, targets] != 0)
    assert all(np.all(w["norm/gamma"] != 0) for w in seen.weights)


def test_zeroed_filters_return_at_zero_where_nothing_trains_them():
    noise, seen = _noise("zeroing", 2), _Forwards()
    _fit(_network(learning_rate=0.0), noise, seen)
    targets = noise.state.targeted()["first"]
    assert not any(np.any(w["first/kernel"][:, targets]) for w in seen.weights[STEPS:])


@pytest.mark.parametrize("batches", [1, 4, 5])
def test_restoring_puts_back_kernel_and_batch_norm_bit_for_bit(batches):
    """Five batches end in the second epoch after the event, four with the epoch itself."""
    model, before = _network(), []
    noise = _noise("restoring", batches, test=lambda: before.append(read_weights(model)) or 1.0)
    seen = _Forwards()
    _fit(model, noise, seen, epochs=4)
    targets = noise.state.targeted()["first"]
    for name in ("first/kernel", "norm/gamma", "norm/beta"):
        zero = [not np.any(w[name][..., targets]) for w in seen.weights[STEPS:]]
        assert zero == [True] * batches + [False] * (3 * STEPS - batches)
    restored = seen.weights[STEPS + batches]
    for name in OWN:
        got, want = restored[name][..., targets], before[0][name][..., targets]
        assert got.tobytes() == want.tobytes()
        assert np.all(restored[name][..., ~targets] != before[0][name][..., ~targets])
    later = seen.weights[STEPS + batches + 1]
    assert np.all(later["first/kernel"][:, targets] != restored["first/kernel"][:, targets])


def test_what_is_to_be_restored_is_back_when_the_epoch_of_its_last_batch_ends():
    model, at_end = _network(), []
    end = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: at_end.append(read_weights(model)["first/kernel"])
    )
    noise = _noise("restoring", STEPS)
    _fit(model, noise, end, epochs=2)
    targets = noise.state.targeted()["first"]
    assert not at_end[0][:, targets].any()  # Just after the event, with the noise on.
    assert at_end[1][:, targets].all()
    assert not noise.state.read()["first/holding"]


@pytest.mark.parametrize(
    ("kind", "batches"),
    [
        ("zeroing", 1), ("restoring", 2), ("zeroing", STEPS), ("restoring", STEPS),
        ("zeroing", STEPS + 1), ("restoring", 2 * STEPS),
    ],
)  # fmt: skip
def test_evaluations_see_zeros_until_the_last_noisy_batch(kind, batches):
    """Keras's validation after every epoch, and "accuracy before" of another layer's event."""
    seen = {}

    class Validation(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            seen[len(seen)] = read_weights(self.model)["first/kernel"]

    model, before = _network(), []
    first = FilterSchedule("first", 0, 0, 1, 0.25)
    output = FilterSchedule("output", 1, 1, 1, 0.4)
    noise = FilterNoise(
        [first, output], kind, batches,
        test=lambda: before.append(read_weights(model)["first/kernel"]) or 1.0,
    )  # fmt: skip
    model.fit(
        X, Y, batch_size=8, epochs=4, verbose=0, shuffle=False, validation_data=(X, Y),
        validation_batch_size=32, callbacks=[noise, Validation()],
    )  # fmt: skip
    targets = noise.state.targeted()["first"]
    zero = [not seen[epoch][:, targets].any() for epoch in range(4)]
    # Validation comes before an epoch's event: the first sees the network as it was.
    assert zero == [False, batches > STEPS, batches > 2 * STEPS, batches > 3 * STEPS]
    before_second = before[2][:, targets]
    assert bool(before_second.any()) == (batches <= STEPS)


def _wide(seed=0, learning_rate=0.0):
    """64000 weights in 16 filters, and a kernel that nothing trains."""
    rng = np.random.default_rng(seed)
    images = keras.Input((4000,))
    x = keras.layers.Dense(16, use_bias=False, name="first")(images)
    model = keras.Model(images, keras.layers.Dense(3, name="output")(x))
    model.get_layer("first").set_weights([rng.normal(0.2, 0.05, (4000, 16))])
    model.compile(tfprune.SGD(learning_rate), LOSS, run_eagerly=True)
    return model


def _increments(batches, epochs, **settings):
    """The changes of the targets' kernels, event and batches one after the other."""
    model, seen = _wide(), _Forwards()
    start = read_weights(model)["first/kernel"]
    noise = _noise("gaussian", batches, **settings)
    images = np.zeros((4, 4000), np.float32)
    model.fit(
        images, Y[:4], batch_size=2, epochs=epochs, verbose=0, shuffle=False,
        callbacks=[noise, seen],
    )  # fmt: skip
    kernels = [start, *(w["first/kernel"] for w in seen.weights)]
    return noise, start, np.diff(kernels, axis=0).astype(np.float64)


def test_gaussian_noise_has_the_variance_of_the_other_filters_and_accumulates_n_times():
    noise, start, changes = _increments(batches=3, epochs=4)  # Two batches an epoch.
    targets = noise.state.targeted()["first"]
    assert not changes[..., ~targets].any()
    disturbed = [bool(change.any()) for change in changes]
    assert disturbed == [False, False, True, True, True, False, False, False]
    added = changes[2:5][..., targets].reshape(3, -1)  # 16000 draws each.
    spread = start[:, ~targets].astype(np.float64).std()
    # The standard error of a standard deviation is 1 / sqrt(2 n), of a mean and of a correlation
    # 1 / sqrt(n), in units of the spread.
    np.testing.assert_allclose(added.std(axis=1), spread, rtol=5 / np.sqrt(2 * 16000))
    assert np.abs(added.mean(axis=1)).max() < 5 * spread / np.sqrt(16000)
    assert np.abs(np.corrcoef(added) - np.eye(3)).max() < 5 / np.sqrt(16000)
    np.testing.assert_allclose(added.sum(axis=0).std(), np.sqrt(3) * spread, rtol=0.03)


@pytest.mark.parametrize(("batches", "increments"), [
    # Event, then two batches an epoch. The first one's increment is there since the event.
    (1, [0, 0, 1, 0, 0, 0, 0, 0]),
    (2, [0, 0, 6, 1, 0, 0, 0, 0]),
    (3, [0, 0, 6, 1, 11, 0, 0, 0]),
    (5, [0, 0, 6, 1, 11, 1, 11, 0]),
])  # fmt: skip
def test_evaluations_add_up_on_the_first_batch_of_an_epoch(batches, increments):
    """Five test batches: once after the event, twice after every epoch that the noise is on."""
    noise, start, changes = _increments(batches, epochs=4, evaluation_batches=5)
    targets = noise.state.targeted()["first"]
    spread = start[:, ~targets].astype(np.float64).std()
    added = changes[..., targets].reshape(8, -1)
    np.testing.assert_allclose(added.std(axis=1) / spread, np.sqrt(increments), rtol=0.03)


def test_draws_depend_on_the_seed_alone():
    first, again, other = (_increments(2, 2, seed=seed)[2] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("cumulative", [False, True])
def test_an_event_disturbs_the_new_targets_or_all_so_far(cumulative):
    """Two events of two filters each; the first is long over at the second."""
    noise, seen = _noise("zeroing", 1, cumulative, end=2, period=2), _Forwards()
    _fit(_network(), noise, seen, epochs=4)
    kernels = [w["first/kernel"] for w in seen.weights]
    zero = [~np.any(kernel, axis=0) for kernel in kernels]
    first, second = zero[STEPS], zero[3 * STEPS]
    assert first.sum() == 2
    assert second.sum() == (4 if cumulative else 2)
    assert np.all(second[first] == cumulative)
    np.testing.assert_array_equal(noise.state.targeted()["first"], first | second)
    assert [event["filters_kept"] for event in noise.events] == [14, 12]


@pytest.mark.parametrize("target", ["largest", "smallest", "random"])
def test_targets_are_the_filters_that_would_be_pruned(target):
    """Where neither training nor noise moves a weight that is scored later."""
    schedules = [FilterSchedule("first", 0, 4, 2, 0.5)]
    pruned = tfprune.prune_model(_plain(), ["first"], filters=True)
    pruned.compile(tfprune.SGD(0.0), LOSS, run_eagerly=True)
    pruning = FilterPruning(schedules, target=target, test=lambda: 1.0, seed=4)
    _fit(pruned, pruning, epochs=5)
    noise = FilterNoise(schedules, target=target, test=lambda: 1.0, seed=4)
    _fit(_network(0.0), noise, epochs=5)
    kept = kept_filters(tfprune.get_masks(pruned))["first"]
    np.testing.assert_array_equal(noise.state.targeted()["first"], ~kept)
    assert noise.events == pruning.events
    assert [event["filters_removed"] for event in noise.events] == [2, 3, 3]


def test_accuracy_after_an_event_is_with_the_noise_on():
    """Logits (x0, x1), then (0, x1): right as long as x1 > 0 exactly where the label is 1."""
    images = np.array([[2.0, 1.0], [1.0, 2.0], [3.0, 1.0], [1.0, -1.0]], np.float32)
    labels = np.array([0, 1, 0, 0])
    inputs = keras.Input((2,))
    x = keras.layers.Dense(2, use_bias=False, name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="output")(x))
    model.set_weights([np.diag([2.0, 1.0]), np.diag([0.5, 1.0])])
    model.compile(tfprune.SGD(0.0), LOSS, run_eagerly=True)
    noise = _noise("restoring", 2, fraction=0.5, test=(images, labels))
    history = model.fit(images, labels, epochs=4, verbose=0, callbacks=[noise]).history
    (event,) = noise.events
    assert (event["accuracy_before"], event["accuracy_after"]) == (1.0, 0.5)
    assert event["instability"] == 0.5 == history["instability"][0]
    np.testing.assert_array_equal(model.get_layer("first").get_weights()[0], np.diag([2.0, 1.0]))


@pytest.mark.parametrize(
    ("kind", "jit"),
    [("zeroing", False), ("restoring", True), ("gaussian", False), ("gaussian", True)],
)
def test_a_compiled_epoch_applies_the_same_noise_as_the_callback(kind, jit):
    """A loop over batches in one program, the optimizer a plain step of -0.01 on every weight."""
    targets = np.arange(16) % 4 == 0

    def train(state, model, steps):
        for _ in range(steps):
            state.before_batch()
            _drift(model)
            state.after_batch()
            state.during_evaluation(0.5)

    def _drift(model):
        for variable in model.trainable_variables:
            variable.assign_sub(tf.fill(variable.shape, 0.01))

    eager, compiled = _network(), _network()
    states = [NoiseState(model, ["first"]) for model in (eager, compiled)]
    for state in states:
        state.start(kind, 7, evaluation_batches=4)
        state.begin("first", targets, 3, cumulative=False)
    train(states[0], eager, 5)

    @tf.function(jit_compile=jit, autograph=False)
    def epoch():
        def body(index):
            train(states[1], compiled, 1)
            return (index + 1,)

        return tf.while_loop(lambda index: index < 5, body, (tf.constant(0),))

    epoch()
    for variable, twin in zip(eager.variables, compiled.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), twin.numpy(), rtol=1e-4, atol=1e-5)
    for name, value in states[0].read().items():
        np.testing.assert_allclose(value, states[1].read()[name], rtol=1e-6, err_msg=name)
    assert states[1].read()["first/draws"] == (5 if kind == "gaussian" else 0)
    assert states[1].read()["first/remaining"] == 0


@pytest.mark.parametrize("kind", ["restoring", "gaussian"])
def test_noise_interrupted_between_its_batches_goes_on_as_if_not(kind):
    """Six batches from the first epoch's end on; the interruption comes after four of them."""

    def noise(**kwargs):
        return _noise(kind, 6, end=2, period=2, seed=2, evaluation_batches=3, **kwargs)

    whole, reference = _network(), noise()
    _fit(whole, reference, epochs=5)
    model, first = _network(), noise()
    _fit(model, first, epochs=2)
    second = noise(rows=first.events)
    second.state = NoiseState(model, ["first"])
    second.state.write(first.state.read())
    _fit(model, second, epochs=5, initial_epoch=2)
    for variable, twin in zip(model.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), twin.numpy())
    assert second.events == reference.events
    for name, value in reference.state.read().items():
        np.testing.assert_array_equal(value, second.state.read()[name], err_msg=name)


def test_a_state_that_is_given_is_left_to_the_training_program():
    model = _network()
    state = NoiseState(model, ["first"])
    _fit(model, _noise("zeroing", 3, state=state), epochs=3)
    assert state.read()["first/remaining"] == 3
    state.reset()
    assert not any(np.any(value) for value in state.read().values())
    with pytest.raises(ValueError, match="other layers"):
        state.write({"second/targeted": np.zeros(16)})


def test_mistakes_say_what_to_do():
    with pytest.raises(SettingError, match="kind=gausian: did you mean gaussian"):
        _noise("gausian")
    with pytest.raises(SettingError, match="noise_batches=0: at least 1"):
        _noise("zeroing", 0)
    with pytest.raises(SettingError, match="evaluation_batches=-1: at least 0"):
        _noise("gaussian", 1, evaluation_batches=-1)
    with pytest.raises(InputError, match="'frist': did you mean first"):
        _fit(_network(), FilterNoise([FilterSchedule("frist", 0, 0, 1, 0.5)], test=(X, Y)))
