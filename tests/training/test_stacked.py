"""Trainings in a stack: the numbers of each alone, whatever is beside it."""

import dataclasses
import threading

import numpy as np
import pytest
from synthetic import prepared_data

from tfprune.backend import keras
from tfprune.config import from_settings
from tfprune.data.prepare import keep
from tfprune.data.streaming import StreamedData
from tfprune.errors import SettingError, TrainingDiverged
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import prune_model
from tfprune.pruning.weights import read_weights
from tfprune.training import schedules
from tfprune.training.checkpoints import training_state
from tfprune.training.stacked_layers import cannot_stack, stacked_network
from tfprune.training.together import Together
from tfprune.training.trainer import Trainer, TrainingOutputs, TrainingPlan

EPOCHS = 3
SMALL = {"train_epochs": EPOCHS, "batch_size": 16, "width": 0.05, "learning_rate": 0.05}
MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01}
DATA = prepared_data(examples=56, test_examples=20, val_examples=10)


def data_of(seed):
    """Other labels, other training and validation examples of the same images."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(56)[:50])
    data = keep(DATA, rows)
    noisy = np.where(rng.random(50) < 0.3, (data.labels + 1) % 3, data.labels).astype(np.int32)
    return dataclasses.replace(data, labels=noisy, selected=noisy != data.original_labels)


def trainer_alone(config):
    """Of the same numbers, by TensorFlow's own kernels, for which nothing is compiled."""
    return Trainer(dataclasses.replace(config, jit="off"), DATA.input_shape, 3)


def plan_of(trainer, config, seed, start_step=0, rate=None, masked=True):
    weights = trainer.initial_weights(seed)
    masks = trainer.dense_masks
    if masked:
        rng = np.random.default_rng(seed)
        filters = config.pruning.prunes_filters
        left = {n: rng.random(m.shape[-1:] if filters else m.shape) < 0.6 for n, m in masks.items()}
        masks = Masks({n: np.broadcast_to(left[n], m.shape).copy() for n, m in masks.items()})
    schedule = schedules.training_schedule(config.training)
    return TrainingPlan(
        seed, 1, weights, masks, weights, schedules.fixed(rate) if rate else schedule, EPOCHS,
        start_step=start_step, augment="flip_shift" if seed % 2 else "none",
    )  # fmt: skip


def together_in(trainer, together, trainings, folder):
    """Carries out trainings as a workshop does: rows and weights of each, or its error."""
    found = {}
    together.expect(len(trainings))

    def train(name, data, plan):
        with together.task():
            try:
                outputs = TrainingOutputs(folder / name, folder / name, checkpoint_seconds=1e9)
                rows = trainer.train(data, plan(), outputs)
                found[name] = rows, read_weights(trainer.model)
            except TrainingDiverged as error:
                found[name] = error

    threads = [threading.Thread(target=train, args=(n, *t)) for n, t in trainings.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def metrics_of(rows):
    return [{k: v for k, v in row.items() if k != "wall_seconds"} for row in rows]


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("lenet_300_100", {"optimizer": "adam", "weight_decay": 0.01}),
        pytest.param("lenet_300_100", MOMENTUM, marks=pytest.mark.slow),
        pytest.param(
            "vanilla_cnn_bn",
            {
                "optimizer": "nesterov",
                "momentum": 0.9,
                "width": 0.25,
                "prunable": "conv",
                "criterion": "filter_l2",  # Whole filters are dead.
            },
            marks=pytest.mark.slow,
        ),
        pytest.param("resnet20", {}, marks=pytest.mark.slow),
    ],
)
def test_each_place_trains_as_one_alone(tmp_path, model, settings):
    """Own masks, labels, examples, orders, flips, rates; one rewound to the middle of an epoch."""
    config = from_settings({**SMALL, "model": model, "dtype": "float64", **settings})
    together = Together(3)
    stacked = Trainer(config, DATA.input_shape, 3, together)
    alone = trainer_alone(config)
    kinds = {  # One with flips would not be in one stack with those without.
        "whole": (2, {}),
        "rewound": (4, {"start_step": 5}),
        "other rate": (6, {"rate": 0.01, "masked": False}),
    }

    def trainings(trainer):
        return {
            name: (data_of(seed), lambda s=seed, o=options: plan_of(trainer, config, s, **o))
            for name, (seed, options) in kinds.items()
        }

    found = together_in(stacked, together, trainings(stacked), tmp_path / "stacked")
    for name, (data, plan) in trainings(alone).items():
        outputs = TrainingOutputs(tmp_path / name, tmp_path / name, checkpoint_seconds=1e9)
        rows, weights = alone.train(data, plan(), outputs), read_weights(alone.model)
        for ours, theirs in zip(metrics_of(found[name][0]), metrics_of(rows), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5, nan_ok=True), name
        for key, value in weights.items():
            np.testing.assert_allclose(found[name][1][key], value, rtol=1e-7, atol=1e-9)


def test_flips_and_shifts_are_each_places_own(tmp_path):
    config = from_settings({**SMALL, **MOMENTUM, "dtype": "float64"})
    together = Together(2)
    stacked = Trainer(config, DATA.input_shape, 3, together)
    alone = trainer_alone(config)
    odd = {str(seed): seed for seed in (1, 3)}

    def trainings(trainer):
        return {
            name: (data_of(seed), lambda s=seed: plan_of(trainer, config, s))
            for name, seed in odd.items()
        }

    found = together_in(stacked, together, trainings(stacked), tmp_path / "stacked")
    for name, (data, plan) in trainings(alone).items():
        alone.train(data, plan(), TrainingOutputs(tmp_path / name, tmp_path / name))
        for key, value in read_weights(alone.model).items():
            np.testing.assert_allclose(found[name][1][key], value, rtol=1e-7, atol=1e-9)


@pytest.fixture(scope="module")
def three_places():
    config = from_settings({**SMALL, "momentum": 0.9})
    together = Together(3)
    return config, together, Trainer(config, DATA.input_shape, 3, together)


def seeds_in(three_places, order, folder, **options):
    config, together, trainer = three_places

    def training(seed):
        own = options.get(str(seed), {})
        return data_of(seed), lambda: plan_of(trainer, config, seed, **own)

    trainings = {str(seed): training(seed) for seed in order}
    return together_in(trainer, together, trainings, folder)


def assert_same_bits(ours, theirs):
    assert metrics_of(ours[0]) == metrics_of(theirs[0])
    for name, value in theirs[1].items():
        np.testing.assert_array_equal(ours[1][name], value)


@pytest.mark.parametrize("order", [(6, 2, 4), (4,), (2, 8, 10, 4, 6)])
def test_who_is_beside_changes_no_bit(three_places, tmp_path, order):
    whole = seeds_in(three_places, (2, 4, 6), tmp_path / "whole")
    found = seeds_in(three_places, order, tmp_path / "other")
    for name in found.keys() & whole.keys():
        assert_same_bits(found[name], whole[name])


def test_a_training_that_diverges_ends_alone(three_places, tmp_path):
    whole = seeds_in(three_places, (2, 4, 6), tmp_path / "whole")
    found = seeds_in(three_places, (2, 4, 6), tmp_path / "other", **{"4": {"rate": 1e30}})
    assert isinstance(found["4"], TrainingDiverged)
    assert "after epoch 1" in str(found["4"])
    for name in ("2", "6"):
        assert_same_bits(found[name], whole[name])


def test_weights_to_rewind_to_are_those_on_the_way(three_places, tmp_path):
    """Trained up to the end of an epoch again, beside another: the bits that its training had."""
    config, together, trainer = three_places
    way = {}

    def keep(name):
        return lambda logs: way.setdefault(name, []).append(read_weights(trainer.model))

    def train(seed):
        outputs = TrainingOutputs(tmp_path / str(seed), tmp_path, advance=keep(seed))
        trainer.train(data_of(seed), plan_of(trainer, config, seed), outputs)

    def again(seed):
        plan = plan_of(trainer, config, seed)
        way[seed].append(trainer.train_to(data_of(seed), plan, step=4 * 2))

    for act in (train, again):
        together.expect(2)
        threads = [threading.Thread(target=in_turn, args=(together, act, s)) for s in (2, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed in (2, 4):
        for name, value in way[seed][1].items():
            np.testing.assert_array_equal(way[seed][-1][name], value)


def in_turn(together, act, seed):
    with together.task():
        act(seed)


def test_a_rewound_training_beside_changes_no_bit(three_places, tmp_path):
    whole = seeds_in(three_places, (2, 4), tmp_path / "whole")
    found = seeds_in(three_places, (2, 4), tmp_path / "other", **{"4": {"start_step": 5}})
    assert_same_bits(found["2"], whole["2"])


def test_images_are_held_once_and_what_differs_for_each_place(three_places, tmp_path):
    trainer = three_places[2]
    seeds_in(three_places, (2, 4, 6), tmp_path)
    shared = trainer.model.program.stack._shared[1]
    assert shared.images.shape == (66, 4, 4, 1)
    for name, variable in trainer.model.program.stack._names.items():
        alone = training_state(trainer.model, trainer.model.optimizer)[name]
        assert variable.shape == (3, *alone.shape)


def dense(**options):
    return keras.layers.Dense(3, name="logits", **options)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        (
            [keras.layers.Dropout(0.5, name="off"), dense()],
            r"'off' \(Dropout\) is of no kind",
        ),
        ([dense(kernel_regularizer="l2")], r"layer 'logits' \(Dense\) has a regularizer"),
        ([dense(kernel_constraint="max_norm")], r"layer 'logits' \(Dense\) has a constraint"),
        ([keras.layers.GRU(4, name="gru"), dense()], r"layer 'gru' \(GRU\) is of no kind"),
    ],
)
def test_what_cannot_be_stacked_is_named(layers, why):
    inputs = keras.Input((4, 4))
    x = inputs if any("gru" in layer.name for layer in layers) else keras.layers.Flatten()(inputs)
    for layer in layers:
        x = layer(x)
    network = prune_model(keras.Model(inputs, x), layers=["logits"])
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(cannot_stack(network))


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ((4, 6), keras.layers.Dense(5, activation="tanh", dtype="float64")),
        ((7, 6, 2), keras.layers.Conv2D(3, 3, padding="same", strides=2, dtype="float64")),
        ((7, 6, 2), keras.layers.Conv2D(3, (2, 3), activation="relu", dtype="float64")),
        ((5, 5, 2), keras.layers.Conv2D(3, 1, strides=2, use_bias=False, dtype="float64")),
    ],
)
def test_a_stacked_layer_is_the_layer_of_each_place(shape, layer):
    rng = np.random.default_rng(0)
    alone = keras.Sequential([keras.Input(shape), layer])
    stacked = stacked_network(alone, 3)
    drawn = [rng.normal(size=w.shape) for w in stacked.get_weights()]
    stacked.set_weights(drawn)
    inputs = rng.normal(size=(3, 2, *shape))
    outputs = stacked(inputs.reshape(6, *shape)).numpy().reshape(3, 2, *alone.output_shape[1:])
    for place in range(3):
        alone.set_weights([weights[place] for weights in drawn])
        np.testing.assert_allclose(outputs[place], alone(inputs[place]), rtol=1e-12, atol=1e-12)


def test_streamed_data_are_refused_in_stacks(three_places):
    trainer = three_places[2]
    streamed = object.__new__(StreamedData)
    with pytest.raises(SettingError, match=r"^stack=3: 1 with data that are streamed$"):
        trainer.check_data(streamed)
