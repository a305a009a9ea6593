"""Training that goes on: several fits, after a kill, from a file, with another model.

What it must be is what one uninterrupted `fit` leaves, to the bit: the data come in the same order.
"""

import functools
import re
import warnings

import numpy as np
import pytest

import tfprune
from tfprune.backend import keras
from tfprune.errors import InputError
from tfprune.pruning.weights import read_weights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 8)).astype(np.float32)
Y = np.arange(32) % 3
EPOCHS = 8


def new_model(seed=1):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(16, use_bias=False, input_shape=(8,), name="hidden"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(name="relu"),
        keras.layers.Dense(3, name="output"),
    ]
    model = tfprune.prune_model(keras.Sequential(layers), ["hidden"], filters=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # So few steps are taken sooner than compiled.
    model.compile(tfprune.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"], run_eagerly=True)
    return model


def fit(model, callbacks, epochs=EPOCHS, initial_epoch=0):
    model.fit(X, Y, batch_size=16, epochs=epochs, initial_epoch=initial_epoch, shuffle=False,
              verbose=0, callbacks=callbacks)  # fmt: skip


def iterative(folder, point="0ep"):
    """Three levels of two epochs, the weights put back each time."""
    rewind = tfprune.RewindWeights(point, path=folder / "rewind.npz")
    return [rewind, tfprune.IterativePruning(2, 3, 0.25, rewind=rewind)]


def by_filters(folder):
    """Filters die after the first, the third and the fifth epoch."""
    schedule = tfprune.FilterSchedule("hidden", start=0, end=4, period=2, fraction=0.5)
    return [tfprune.FilterPruning([schedule], test=(X, Y), path=folder / "events.csv")]


def redensed(folder):
    return [tfprune.IterativePruning(1, 2, 0.25), tfprune.ReDense(at_epoch=4, learning_rate=0.05)]


WHAT = {
    "rewound to 0ep": iterative,
    "rewound to 1ep": lambda folder: iterative(folder, "1ep"),
    "rewound to 3it": lambda folder: iterative(folder, "3it"),
    "filters": by_filters,
    "redensed": redensed,
}


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            raise Killed


def two_fits(what, folder):
    model, callbacks = new_model(), what(folder)
    fit(model, callbacks, epochs=5)
    fit(model, callbacks, epochs=EPOCHS - 5)
    return model


def a_fit_per_epoch(what, folder):
    model, callbacks = new_model(), what(folder)
    for epoch in range(EPOCHS):
        fit(model, callbacks, epochs=epoch + 1, initial_epoch=epoch)
    return model


def killed_and_restored(at, backup_first):
    def train(what, folder):
        for killer in ([Kill(at)], []):  # The second time with all that a new process has.
            model = new_model()
            backup = keras.callbacks.BackupAndRestore(folder / "backup")
            callbacks = what(folder)
            callbacks = [backup, *callbacks] if backup_first else [*callbacks, backup]
            try:
                fit(model, [*callbacks, *killer])
            except Killed:
                assert killer
        return model

    return train


def saved_and_loaded(at, file):
    def train(what, folder):
        model = new_model()
        fit(model, what(folder), epochs=at)
        model.save(folder / file)
        model = tfprune.load_model(folder / file)
        model.run_eagerly = True  # HDF5 does not keep it, and compiled steps round otherwise.
        fit(model, what(folder), initial_epoch=at)
        return model

    return train


HOW = {
    "two fits": two_fits,
    "a fit per epoch": a_fit_per_epoch,
    "saved and loaded after 3 epochs": saved_and_loaded(3, "model.keras"),
    "saved and loaded after 4 epochs": saved_and_loaded(4, "model.h5"),
    **{
        f"killed in epoch {at}, backed up {'first' if first else 'last'}": killed_and_restored(
            at, first
        )
        for at, first in ((1, True), (2, True), (2, False), (5, False))
    },
}
# The masks that are lifted are not those that IterativePruning leaves.
REFUSED = [("killed in epoch 5, backed up last", "redensed")]
# With each way one point of rewinding, and filters or a re-densing by turns: each kind of way, of
# which there are two, meets each kind of callback. All other pairs wait for `test-slow`.
POINTS = [what for what in WHAT if what.startswith("rewound")]
FIRST = {
    (how, what)
    for number, how in enumerate(HOW)
    for what in (POINTS[number % 3], ("redensed", "filters")[number % 2])
}
PAIRS = [
    pytest.param(how, what, marks=() if (how, what) in FIRST else pytest.mark.slow)
    for how in HOW
    for what in WHAT
    if (how, what) not in REFUSED
]


@pytest.fixture(scope="module")
def in_one_fit(tmp_path_factory):
    """What one fit leaves, by what is done in it: the masks, the weights and the folder."""

    @functools.cache
    def trained(what):
        folder, model = tmp_path_factory.mktemp("one"), new_model()
        fit(model, WHAT[what](folder))
        return tfprune.get_masks(model), read_weights(model), folder

    return trained


@pytest.mark.filterwarnings("ignore:.*without another fit it is not done")
@pytest.mark.parametrize(("how", "what"), PAIRS)
def test_it_ends_where_one_fit_ends(how, what, in_one_fit, tmp_path):
    masks, weights, folder = in_one_fit(what)
    got = HOW[how](WHAT[what], tmp_path)
    assert tfprune.get_masks(got) == masks
    for name, value in weights.items():
        np.testing.assert_array_equal(read_weights(got)[name], value, err_msg=name)
    if what == "filters":
        assert (tmp_path / "events.csv").read_text() == (folder / "events.csv").read_text()


@pytest.mark.parametrize(("how", "what"), REFUSED)
def test_or_it_is_refused(how, what, tmp_path):
    with pytest.raises(InputError, match="leaves 99 weights"):
        HOW[how](WHAT[what], tmp_path)


def events_until(epoch):
    return [tfprune.FilterSchedule("hidden", start=1, end=epoch, period=2, fraction=0.5)]


# Each has something to do that a sixth epoch is needed for; there are two batches in an epoch.
PLANNED = {
    "FilterPruning": lambda: tfprune.FilterPruning(events_until(5), test=(X, Y)),
    "FilterNoise": lambda: tfprune.FilterNoise(events_until(6), test=(X, Y)),
    "IterativePruning": lambda: tfprune.IterativePruning(2, 3, 0.25),
    "ReDense": lambda: tfprune.ReDense(at_epoch=5),
    "RewindWeights, epochs": lambda: tfprune.RewindWeights("6ep"),
    "RewindWeights, batches": lambda: tfprune.RewindWeights("11it"),
}


@pytest.mark.parametrize("plan", PLANNED)
def test_what_lies_past_the_end_of_fit_is_said_once_before_anything_is_trained(plan):
    said = f"{plan.partition(',')[0]}: .* needs 6 epochs of training, and fit ends after "
    model = new_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match=f"{said}5: without another fit it is not done"):
            fit(model, [PLANNED[plan]()], epochs=5)
        assert model.optimizer.iterations == 0
        fit(new_model(), [PLANNED[plan]()], epochs=6)
        callback = PLANNED[plan]()
        with warnings.catch_warnings(record=True) as several:
            warnings.simplefilter("always", UserWarning)
            for epoch in range(6):  # A fit for each epoch is as good as one.
                fit(model, [callback], initial_epoch=epoch, epochs=epoch + 1)
        (only,) = [str(w.message) for w in several]
        assert re.match(f"{said}1", only)
        with pytest.raises(UserWarning, match=said):
            fit(new_model(), [callback], epochs=5)  # Another model has not heard it.


def test_the_same_callbacks_with_another_model_are_as_new_ones(tmp_path):
    alone = []
    for seed in (1, 2):
        model = new_model(seed)
        fit(model, iterative(tmp_path))
        alone.append(read_weights(model))
    callbacks = [*iterative(tmp_path), tfprune.EpochRecord(), tfprune.DistanceFromInit()]
    for seed, want in zip((1, 2), alone, strict=True):
        model = new_model(seed)
        initial = read_weights(model)
        fit(model, callbacks)
        np.testing.assert_array_equal(
            callbacks[0].weights["hidden/kernel"], initial["hidden/kernel"]
        )
        for name, value in want.items():
            np.testing.assert_array_equal(read_weights(model)[name], value, err_msg=name)
        assert [row["epoch"] for row in callbacks[2].rows] == list(range(1, EPOCHS + 1))


def test_filters_of_another_model_have_their_own_events(tmp_path):
    (pruning,) = by_filters(tmp_path)
    for seed in (1, 2):
        fit(new_model(seed), [pruning])
        assert [event["epoch"] for event in pruning.events] == [1, 3, 5]


def test_what_is_recorded_of_an_epoch_does_not_depend_on_the_fits(tmp_path):
    def recorded(path):
        return [tfprune.DistanceFromInit(initial), tfprune.EpochRecord(path, columns=None)]

    def lines(path):
        rows = tfprune.training.callbacks.record.rows_until(path, EPOCHS)
        return [{n: v for n, v in row.items() if n != "wall_seconds"} for row in rows]

    model = new_model()
    initial = read_weights(model)
    fit(model, recorded(tmp_path / "one.csv"))
    model, callbacks = new_model(), recorded(tmp_path / "two.csv")
    fit(model, callbacks, epochs=3)
    fit(model, callbacks, epochs=2)
    fit(model, recorded(tmp_path / "two.csv"), initial_epoch=5)  # As in a new process.
    assert lines(tmp_path / "two.csv") == lines(tmp_path / "one.csv")
    assert len(lines(tmp_path / "one.csv")) == EPOCHS


def test_distances_over_several_fits_are_from_the_first_weights():
    model, distance, record = new_model(), tfprune.DistanceFromInit(), tfprune.EpochRecord()
    initial = read_weights(model)
    for _ in range(2):
        fit(model, [distance, record], epochs=2)
    trained = read_weights(model)
    names = ("hidden/kernel", "output/kernel", "output/bias")
    moved = [(trained[n] - initial[n]).ravel().astype(np.float64) for n in names]
    want = np.linalg.norm(np.concatenate(moved))
    np.testing.assert_allclose(record.rows[-1]["distance_from_init"], want, rtol=1e-6)


@pytest.mark.parametrize(
    ("callbacks", "match"),
    [
        (lambda: [tfprune.RewindWeights("0ep")], "past the rewind point 0ep"),
        (lambda: [tfprune.RewindWeights("2ep")], "past the rewind point 2ep"),
        (lambda: [tfprune.RewindWeights("3it")], "past the rewind point 3it"),
        (lambda: [tfprune.IterativePruning(1, 2, 0.25)], "leaves 99 weights .* has 176"),
        (lambda: [tfprune.IterativePruning(4, 2, 0.2)], None),
        (lambda: [tfprune.DistanceFromInit()], "weights before were not seen"),
    ],
)
def test_what_was_not_seen_is_not_made_up(callbacks, match):
    """After 3 epochs of a dense training whose first epochs these callbacks do not know."""
    model = new_model()
    fit(model, [], epochs=3)
    before = read_weights(model)
    if match is None:
        fit(model, callbacks(), initial_epoch=3)
        assert tfprune.get_masks(model).remaining < tfprune.get_masks(model).total
        return
    with pytest.raises(InputError, match=match):
        fit(model, callbacks(), initial_epoch=3)
    for name, value in before.items():
        np.testing.assert_array_equal(read_weights(model)[name], value, err_msg=name)


def test_a_rewind_file_of_another_model_is_refused(tmp_path):
    np.savez(tmp_path / "rewind.npz", **{"hidden/kernel": np.zeros((8, 4), np.float32)})
    with pytest.raises(InputError, match="weights of another model"):
        fit(new_model(), iterative(tmp_path), initial_epoch=1)


def test_masks_that_changed_between_two_fits_are_refused():
    model, pruning = new_model(), tfprune.IterativePruning(1, 2, 0.25)
    fit(model, [pruning], epochs=3)
    dense = tfprune.get_masks(model)
    tfprune.set_masks(model, dense.replaced({n: np.ones_like(m) for n, m in dense.items()}))
    with pytest.raises(InputError, match="make new callbacks"):
        fit(model, [pruning], epochs=3)
    fit(model, [tfprune.IterativePruning(1, 2, 0.25)], epochs=3)
    assert tfprune.get_masks(model) != dense
    assert tfprune.get_masks(model).remaining == dense.remaining


def test_redense_is_done_once_over_two_fits_and_refused_where_it_was_missed():
    model, redense = new_model(), tfprune.ReDense(at_epoch=1, learning_rate=0.05)
    fit(model, [redense], epochs=2)
    model.optimizer.learning_rate.assign(0.02)
    fit(model, [redense], epochs=2)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.02)
    tfprune.set_masks(model, tfprune.get_masks(model).replaced({"hidden": np.eye(8, 16)}))
    with pytest.raises(InputError, match="masks were not lifted"):
        fit(model, [tfprune.ReDense(at_epoch=1)], initial_epoch=3)
