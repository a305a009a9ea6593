"""Pruning filters in a user's `fit`: when, which, what it costs, and after an interruption."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import tfprune
from tfprune.backend import keras
from tfprune.errors import InputError, SettingError
from tfprune.pruning.dead_filters import gate_shortcuts
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.filter_selection import kept_filters
from tfprune.pruning.weights import read_weights
from tfprune.training.callbacks.filter_pruning import EVENT_COLUMNS, FilterPruning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _network(learning_rate=0.1, second=10):
    keras.utils.set_random_seed(1)
    layers = keras.layers
    plain = keras.Sequential(
        [
            layers.Dense(16, use_bias=False, input_shape=(8,), name="first"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(),
            layers.Dense(second, name="second"),
            layers.ReLU(),
            layers.Dense(3, name="output"),
        ]
    )
    model = tfprune.prune_model(plain, ["first", "second"], filters=True)
    # So few steps are taken sooner than compiled.
    model.compile(tfprune.SGD(learning_rate, momentum=0.9), LOSS, run_eagerly=True)
    return model


def _fit(model, *callbacks, epochs=6, initial_epoch=0):
    return model.fit(
        *(X, Y),
        batch_size=16,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
    )


def _kept(model):
    return {
        n: np.flatnonzero(f).tolist() for n, f in kept_filters(tfprune.get_masks(model)).items()
    }


class _KeptPerEpoch(keras.callbacks.Callback):
    """How many filters of each layer are left at the start of every epoch."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_epoch_begin(self, epoch, logs=None):
        self.counts.append([len(kept) for kept in _kept(self.model).values()])


SCHEDULES = (FilterSchedule("first", 1, 5, 2, 0.5), FilterSchedule("second", 3, 4, 1, 0.3))


@pytest.mark.parametrize(
    ("criterion", "target"), [("filter_l1", "largest"), ("filter_random", "smallest")]
)
def test_filters_go_by_the_schedule_of_each_layer_at_the_ends_of_epochs(criterion, target):
    """first: ceil(8 + 8 (3 - i) / 3) = 14, 11, 8 after epochs 2, 4, 6; second: 9, 7."""
    model, seen = _network(), _KeptPerEpoch()
    pruning = FilterPruning(SCHEDULES, criterion, target, test=(X, Y))
    _fit(model, pruning, seen, epochs=7)
    assert seen.counts == [[16, 10], [16, 10], [14, 10], [14, 10], [11, 9], [11, 7], [8, 7]]
    got = [[e[c] for c in EVENT_COLUMNS[:4]] for e in pruning.events]
    assert got == [
        [2, "first", 2, 24],
        [4, "first second", 4, 20],
        [5, "second", 2, 18],
        [6, "first", 3, 15],
    ]


@pytest.mark.parametrize(("target", "pick"), [("smallest", np.argmin), ("largest", np.argmax)])
def test_an_event_removes_the_filters_that_the_target_names(target, pick):
    model = _network(learning_rate=0.0)
    norms = np.linalg.norm(read_weights(model)["first/kernel"].astype(np.float64), axis=0)
    _fit(
        model, FilterPruning([FilterSchedule("first", 0, 0, 1, 1 / 16)], target=target, test=(X, Y))
    )
    assert set(range(16)) - set(_kept(model)["first"]) == {int(pick(norms))}


def test_dead_filters_stay_dead_in_later_training_and_live_ones_move():
    model = _network()
    before = read_weights(model)
    _fit(model, FilterPruning(SCHEDULES, test=(X, Y)), epochs=8)
    weights, kept = read_weights(model), kept_filters(tfprune.get_masks(model))
    for name in ("first/kernel", "norm1/gamma", "norm1/beta", "second/kernel", "second/bias"):
        live = kept["second" if "second" in name else "first"]
        assert not weights[name][..., ~live].any()
        assert (weights[name][..., live] != before[name][..., live]).any()


def _known_model():
    images = keras.Input((2,))
    x = keras.layers.Dense(2, name="hidden")(images)
    model = keras.Model(images, keras.layers.Dense(2, use_bias=False, name="output")(x))
    model.set_weights([np.diag([2.0, 1.0]), np.zeros(2), np.diag([0.5, 1.0])])
    pruned = tfprune.prune_model(model, ["hidden"], filters=True)
    pruned.compile(tfprune.SGD(0.0), LOSS, run_eagerly=True)
    return pruned


# Logits (x0, x1) before: three of four right. (x0, 0) after: the second turns wrong.
KNOWN_X = np.array([[2.0, 1.0], [1.0, 2.0], [-1.0, 2.0], [3.0, 1.0]], np.float32)
KNOWN_Y = np.array([0, 1, 1, 1])


def test_instability_is_the_fraction_of_accuracy_that_an_event_costs(tmp_path):
    rows = []
    pruning = FilterPruning(
        [FilterSchedule("hidden", 1, 1, 1, 0.5)],
        test=(KNOWN_X, KNOWN_Y),
        on_event=rows.append,
        path=tmp_path / "events.csv",
    )
    history = _known_model().fit(KNOWN_X, KNOWN_Y, epochs=3, verbose=0, callbacks=[pruning]).history
    assert pruning.events == rows
    assert rows[0] == {
        "epoch": 2,
        "layers": "hidden",
        "filters_removed": 1,
        "filters_kept": 1,
        "accuracy_before": 0.75,
        "accuracy_after": 0.5,
        "instability": pytest.approx(1 / 3),
        "stability": pytest.approx(2 / 3),
    }
    assert history["instability"] == [pytest.approx(1 / 3)]
    assert pruning.mean_stability == pytest.approx(2 / 3)
    (line,) = csv.DictReader((tmp_path / "events.csv").read_text().splitlines())
    assert {name: str(value) for name, value in rows[0].items()} == line


@pytest.mark.parametrize(("accuracies", "instability"), [((0.0, 0.0), 0.0), ((0.4, 0.5), -0.25)])
def test_instability_of_a_network_that_is_never_right_is_zero(accuracies, instability):
    values = iter(accuracies)
    pruning = FilterPruning([FilterSchedule("hidden", 0, 0, 1, 0.5)], test=lambda: next(values))
    _known_model().fit(KNOWN_X, KNOWN_Y, epochs=1, verbose=0, callbacks=[pruning])
    assert pruning.events[0]["instability"] == pytest.approx(instability)
    assert pruning.mean_instability == pytest.approx(instability)


def test_the_mean_is_over_events_and_one_before_training_does_not_count():
    model, seen = _known_model(), []
    pruning = FilterPruning(
        [FilterSchedule.scratch("hidden", 0.5)],
        test=lambda: seen.append(int(model.optimizer.iterations)) or 0.5 / len(seen),
    )
    model.fit(KNOWN_X, KNOWN_Y, epochs=2, verbose=0, callbacks=[pruning])
    assert seen == [0, 0]  # Before the first step.
    assert _kept(model) == {"hidden": [0]}
    assert [event["epoch"] for event in pruning.events] == [0]
    assert (pruning.mean_stability, pruning.mean_instability) == (1.0, 0.0)
    pruning.events += [{"epoch": 4, "instability": 0.1}, {"epoch": 5, "instability": 0.3}]
    assert pruning.mean_stability == pytest.approx(0.8)


def _assert_same(model, other):
    assert tfprune.get_masks(model) == tfprune.get_masks(other)
    for variable, twin in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), twin.numpy())


class _UpTo(FilterPruning):
    """Has no events after the epoch with index `last`."""

    def __init__(self, last, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.last = last

    def on_epoch_end(self, epoch, logs=None):
        if epoch <= self.last:
            super().on_epoch_end(epoch, logs)


@pytest.mark.parametrize(
    ("target", "stop", "saved"),
    [
        ("smallest", 2, "after the event"),
        ("smallest", 4, "before the event"),
        ("random", 5, "after the event"),
        ("random", 2, "before the event"),
    ],
)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(target, stop, saved):
    """Masks saved before the event of the last epoch are behind: it comes when training goes on."""
    whole, reference = _network(), FilterPruning(SCHEDULES, target=target, test=(X, Y), seed=3)
    _fit(whole, reference)
    model = _network()
    last = stop - 1 if saved == "after the event" else stop - 2
    first = _UpTo(last, SCHEDULES, target=target, test=(X, Y), seed=3)
    _fit(model, first, epochs=stop)
    second = FilterPruning(SCHEDULES, target=target, test=(X, Y), seed=3, rows=first.events)
    _fit(model, second, initial_epoch=stop)
    _assert_same(model, whole)
    assert second.events == reference.events


def test_events_after_the_epoch_that_training_goes_on_from_are_forgotten():
    """A checkpoint older than the record: what it holds of later epochs is measured again."""
    rows = [{"epoch": epoch, "instability": 0.5} for epoch in (2, 4, 5)]
    pruning = FilterPruning([], test=(X, Y), rows=rows)
    _fit(_network(), pruning, initial_epoch=4)
    assert [row["epoch"] for row in pruning.events] == [2, 4]


def test_random_filters_depend_on_seed_epoch_and_layer_alone():
    def removed(seed, start, schedules=()):
        model = _network()
        one = FilterSchedule("second", start, start, 1, 0.5)
        schedules = [*schedules, one]
        pruning = FilterPruning(schedules, target="random", test=lambda: 1.0, seed=seed)
        _fit(model, pruning, epochs=start + 1)
        return _kept(model)["second"]

    alone = removed(0, 1)
    assert removed(0, 1, [FilterSchedule("first", 0, 1, 1, 0.5)]) == alone
    assert removed(1, 1) != alone
    assert removed(0, 0) != alone
    model = _network(second=16)
    both = [FilterSchedule(layer, 0, 0, 1, 0.5) for layer in ("first", "second")]
    _fit(model, FilterPruning(both, target="random", test=lambda: 1.0), epochs=1)
    assert _kept(model)["first"] != _kept(model)["second"]


def test_the_optimizer_keeps_its_slots():
    model, slots = _network(), []

    def look():
        slots.append([variable.numpy() for variable in model.optimizer.variables])
        return 1.0

    _fit(model, FilterPruning(SCHEDULES, test=look))
    for before, after in zip(slots[::2], slots[1::2], strict=True):
        for values, same in zip(before, after, strict=True):
            np.testing.assert_array_equal(values, same)
    assert any(np.any(values) for values in slots[0])


def _residual():
    layers = keras.layers
    images = keras.Input((4, 4, 2))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, name="stem")(images)))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False, name="block")(x)
    y = layers.Add(name="add")([layers.BatchNormalization(name="bn")(y), x])
    logits = layers.Dense(3, name="output")(layers.GlobalAveragePooling2D()(layers.ReLU()(y)))
    return keras.Model(images, logits)


@pytest.mark.parametrize("cut", [True, False])
def test_shortcuts_into_pruned_channels_are_cut_if_asked(cut):
    model = tfprune.prune_model(gate_shortcuts(_residual()), ["block"], filters=True)
    model.compile(tfprune.SGD(0.1, momentum=0.9), LOSS, run_eagerly=True)
    images = RNG.normal(size=(16, 4, 4, 2)).astype(np.float32)
    pruning = FilterPruning(
        [FilterSchedule("block", 0, 0, 1, 0.5)],
        "filter_activation",
        test=(images, Y[:16]),
        batches=[(images, Y[:16])],
        cut_shortcuts=cut,
    )
    model.fit(images, Y[:16], epochs=3, verbose=0, callbacks=[pruning])
    kept = kept_filters(tfprune.get_masks(model))["block"]
    assert kept.sum() == 2
    inside = keras.Model(
        model.inputs, [model.get_layer("add").output, model.get_layer("bn").output]
    )
    total, branch = (values.numpy() for values in inside(images))
    assert not branch[..., ~kept].any()
    assert total[..., ~kept].any() == (not cut)
    assert total[..., kept].any()


def test_mistakes_say_what_to_do():
    schedule = FilterSchedule("first", 0, 0, 1, 0.5)
    with pytest.raises(InputError, match="one schedule"):
        FilterPruning([schedule, schedule], test=(X, Y))
    with pytest.raises(SettingError, match="criterion=filter_l3: did you mean filter_l"):
        FilterPruning([schedule], "filter_l3", test=(X, Y))
    with pytest.raises(SettingError, match="target=big"):
        FilterPruning([schedule], target="big", test=(X, Y))
    with pytest.raises(InputError, match="'frist' can be pruned: did you mean first"):
        _fit(_network(), FilterPruning([FilterSchedule("frist", 0, 0, 1, 0.5)], test=(X, Y)))
    plain = tfprune.strip(_network())
    plain.compile("sgd", LOSS)
    with pytest.raises(InputError, match="filters=True"):
        _fit(plain, FilterPruning([schedule], test=(X, Y)))


@pytest.mark.parametrize("criterion", ["filter_l2", "filter_activation", "filter_gamma"])
def test_filters_of_a_separable_convolution_die_train_and_shrink_by_its_pointwise_kernel(criterion):
    keras.utils.set_random_seed(1)
    x = images = keras.Input((6, 6, 3))
    x = keras.layers.SeparableConv2D(8, 3, use_bias=False, name="separable")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(x))
    x = keras.layers.Dense(3, name="output")(keras.layers.GlobalAveragePooling2D()(x))
    model = tfprune.prune_model(keras.Model(images, x), filters=True)
    model.compile(tfprune.SGD(0.1, momentum=0.9), LOSS, run_eagerly=True)
    examples = RNG.normal(size=(32, 6, 6, 3)).astype(np.float32), Y
    schedule = FilterSchedule("separable/pointwise_kernel", 0, 1, 1, 0.5)
    pruning = FilterPruning([schedule], criterion, test=examples, batches=[examples])
    model.fit(*examples, epochs=3, verbose=0, callbacks=[pruning])
    assert [event["filters_kept"] for event in pruning.events] == [6, 4]
    weights = read_weights(model)
    dead = weights["norm/gamma"] == 0
    assert dead.sum() == 4
    assert not weights["separable/pointwise_kernel"][..., dead].any()
    assert not weights["norm/beta"][dead].any()
    small = tfprune.shrink(model)
    assert small.get_layer("separable").filters == 4
    np.testing.assert_allclose(small(examples[0]), model(examples[0]), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="did you mean separable/pointwise_kernel"):
        _fit(model, FilterPruning([FilterSchedule("separable", 0, 0, 1, 0.5)], test=examples))
