"""Utility against closed forms and NumPy: what is ablated, how far outputs move, what stays."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from networks import evaluate
from synthetic import prepared_data, softmax_regression

from tfprune.backend import keras
from tfprune.catalog import MEASURES
from tfprune.errors import InputError, SettingError
from tfprune.measures.ablation import (
    Ablations,
    UtilityMeter,
    eligible_weights,
    kl_divergence,
    magnitude_ranks,
    random_ranks,
    utility,
    window_starts,
)
from tfprune.measures.evaluation import Evaluator, Examples, splits_of
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import prune_model, set_masks, strip
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training.callbacks.utility_record import UtilityRecord

layers = keras.layers


def scrambled(model, seed):
    """Weights that no initializer gives: no zero bias, no unit variance."""
    rng = np.random.default_rng(seed)
    drawn = {
        name: rng.uniform(0.5, 1.5, value.shape).astype(value.dtype)
        if name.endswith("variance")
        else rng.normal(0, 0.5, value.shape).astype(value.dtype)
        for name, value in read_weights(model).items()
    }
    write_weights(model, drawn)
    return model


def conv_net(seed=1):
    images = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(images)
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    x = layers.Dropout(0.5, name="dropout")(x)
    return scrambled(keras.Model(images, layers.Dense(3, name="logits")(layers.Flatten()(x))), seed)


def dense_net(seed=1):
    """16 x 5 weights in layer hidden, 5 x 3 in layer logits."""
    images = keras.Input((4, 4, 1))
    x = layers.Dense(5, "relu", name="hidden")(layers.Flatten()(images))
    return scrambled(keras.Model(images, layers.Dense(3, name="logits")(x)), seed)


def numpy_kl(f, g):
    """Of logits, float64 [N]."""
    log_f, log_g = (v - np.log(np.exp(v).sum(axis=1, keepdims=True)) for v in (f, g))
    return np.sum(np.exp(log_f) * (log_f - log_g), axis=1)


@pytest.fixture
def train():
    return splits_of(prepared_data(examples=11))["train"]


def inputs_of(examples):
    return (examples.images / 255 - examples.mean) / examples.std


# --- The draw.


def test_a_random_subset_is_an_order_of_the_eligible_weights():
    eligible = np.arange(100) % 3 != 0
    ranks = random_ranks(eligible, seed=4, index=2)
    assert ranks.dtype == np.int32
    assert set(ranks[~eligible]) == {-1}
    np.testing.assert_array_equal(np.sort(ranks[eligible]), np.arange(66))


def test_the_draw_of_a_pruned_network_is_the_dense_ones_without_what_is_pruned():
    eligible = np.arange(100) % 3 != 0
    dense = np.argsort(random_ranks(np.ones(100, bool), seed=4, index=2))
    ranks = random_ranks(eligible, seed=4, index=2)
    order = np.argsort(ranks)[np.count_nonzero(~eligible) :]
    np.testing.assert_array_equal(order, [weight for weight in dense if eligible[weight]])


def test_seeds_and_indices_give_orders_of_their_own():
    everything = np.ones(50, bool)
    keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
    orders = {tuple(random_ranks(everything, seed, index)) for seed, index in keys}
    assert len(orders) == 4
    again = random_ranks(everything, 0, 0)
    np.testing.assert_array_equal(again, random_ranks(everything, 0, 0))


def test_every_weight_is_as_likely_to_be_drawn():
    everything = np.ones(20, bool)
    drawn = np.mean([random_ranks(everything, 0, k) < 5 for k in range(2000)], axis=0)
    # 5 of 20: 0.25 with a standard deviation of 0.0097.
    np.testing.assert_allclose(drawn, 0.25, atol=4 * 0.0097)


def test_magnitude_ranks_go_from_small_to_large_and_ties_to_the_lower_index():
    magnitudes = np.array([3.0, 1.0, 2.0, 1.0, 0.0])
    np.testing.assert_array_equal(
        magnitude_ranks(magnitudes, np.array([True, True, True, True, False])), [3, 0, 2, 1, -1]
    )


def test_windows_reach_from_the_smallest_weights_to_the_largest():
    starts = window_starts(10, [4, 10], 4)
    np.testing.assert_array_equal(starts, [[0, 2, 4, 6], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("ablations", "sizes"),
    [
        (Ablations(amounts=(0.0, 0.07, 0.1, 0.101, 1.0)), [0, 7, 10, 11, 100]),
        (Ablations(amounts=(0, 7, 100), by="number"), [0, 7, 100]),
    ],
)
def test_ratios_and_numbers_have_the_sizes_they_say(ablations, sizes):
    assert ablations.sizes(100) == sizes


# --- What is ablated: a network whose outputs show its weights.


def showing_net(count=12):
    """Images of one pixel; two classes; the logit of class 0 is the sum of `count` weights of 1.

    So softmax(logits)[0] = sigmoid(weights left), and of k ablated weights the utility is known.
    """
    inputs = keras.Input((count,))
    outputs = layers.Dense(2, name="logits")(inputs)
    model = keras.Model(inputs, outputs)
    kernel = np.zeros((count, 2), np.float32)
    kernel[:, 0] = 1
    model.set_weights([kernel, np.zeros(2, np.float32)])
    return model, Examples(np.ones((5, count), np.float32), np.zeros(5, int))


def sigmoid_kl(before, after):
    p, q = (1 / (1 + np.exp(-value)) for value in (before, after))
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def test_the_utility_of_two_classes_is_that_of_the_formula():
    model, examples = showing_net(12)
    everything = Masks({"logits": np.tile([1, 0], (12, 1))})  # Only weights of class 0.
    numbers = (0, 1, 5, 12)
    found = utility(model, examples, Ablations(numbers, by="number", subsets=3), masks=everything)
    assert found.eligible == 12
    np.testing.assert_array_equal(found.sizes, numbers)
    for row, number in enumerate(numbers):
        np.testing.assert_allclose(found.values[row], sigmoid_kl(12, 12 - number), rtol=1e-6)
    np.testing.assert_allclose(found.imbalance, 0, atol=1e-12)
    # With no weight left, the logits are equal, and argmax takes class 0.
    np.testing.assert_array_equal(found.accuracies, 1)


def test_ablated_networks_are_numpys_with_the_drawn_weights_at_zero(train):
    """In float64: values, accuracies and all statistics, over several calls of the program."""
    model = softmax_regression(prepared_data(examples=11))
    inputs = inputs_of(train).astype(np.float64).reshape(11, -1)
    kernel, bias = model.get_weights()
    ratios = (0.1, 0.5, 1.0)
    examples = Examples(inputs.reshape(train.images.shape), train.labels)
    found = utility(model, examples, Ablations(ratios, subsets=20, seed=3), batch_size=4)
    own = inputs @ kernel + bias
    assert found.accuracy == np.mean(own.argmax(axis=1) == train.labels)
    for row, ratio in enumerate(ratios):
        size = int(np.ceil(ratio * kernel.size))
        for index in range(20):
            ranks = random_ranks(np.ones(kernel.size, bool), 3, index).reshape(kernel.shape)
            logits = inputs @ np.where(ranks < size, 0, kernel) + bias
            expected = numpy_kl(own, logits).mean()
            np.testing.assert_allclose(found.values[row, index], expected, rtol=1e-12)
            correct = np.mean(logits.argmax(axis=1) == train.labels)
            assert found.accuracies[row, index] == pytest.approx(correct, abs=1e-15)
    rows = found.rows()
    assert [row["utility_mean"] for row in rows] == found.values.mean(axis=1).tolist()
    assert [row["utility_imbalance"] for row in rows] == found.values.std(axis=1).tolist()
    assert [row["utility_min"] for row in rows] == found.values.min(axis=1).tolist()
    assert [row["utility_max"] for row in rows] == found.values.max(axis=1).tolist()
    assert [row["ablated_accuracy_max"] for row in rows] == found.accuracies.max(axis=1).tolist()
    assert [row["ablated_weights"] for row in rows] == [5, 24, 48]


@pytest.mark.parametrize("jit", [False, True])
def test_the_utility_of_the_empty_subset_is_exactly_0(train, jit):
    model = conv_net()
    found = utility(model, train, Ablations((0.0,), subsets=3), jit=jit, batch_size=4)
    np.testing.assert_array_equal(found.values, 0)
    np.testing.assert_array_equal(found.accuracies, found.accuracy)


@pytest.mark.parametrize("jit", [False, True])
def test_convolutional_networks_are_ablated_in_inference_mode(train, jit):
    model = conv_net()
    found = utility(model, train, Ablations((40,), by="number", subsets=4), jit=jit)
    inputs = inputs_of(train).astype(np.float32)
    own = model(inputs, training=False).numpy().astype(np.float64)
    weights = read_weights(model)
    ablated = conv_net()
    for index in range(4):
        ranks = random_ranks(np.ones(27 + 144, bool), 0, index)
        changed = dict(weights)
        for name, part in (("conv/kernel", ranks[:27]), ("logits/kernel", ranks[27:])):
            gone = part.reshape(weights[name].shape) < 40
            changed[name] = np.where(gone, np.float32(0), weights[name])
        write_weights(ablated, changed)
        logits = ablated(inputs, training=False).numpy().astype(np.float64)
        np.testing.assert_allclose(found.values[0, index], numpy_kl(own, logits).mean(), rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_a_network_that_has_seen_no_batch_is_measured_with_the_examples_statistics(train, jit):
    ablations = Ablations((40,), by="number", subsets=4)
    model, inputs = conv_net(), inputs_of(train).astype(np.float32)
    convolved = keras.Model(model.inputs, model.get_layer("conv").output)(inputs).numpy()
    untouched = {"bn/moving_mean": np.zeros(3), "bn/moving_variance": np.ones(3)}
    seen = {"bn/moving_mean": convolved.mean((0, 1, 2))}
    seen["bn/moving_variance"] = convolved.var((0, 1, 2))
    # A single channel that has moved is one of a network that has seen batches.
    moved = {**untouched, "bn/moving_variance": np.array([1, 1, 0.9])}

    def at(statistics):
        write_weights(model, {**read_weights(model), **statistics})
        found = utility(model, train, ablations, jit=jit)
        for name, value in statistics.items():
            np.testing.assert_array_equal(read_weights(model)[name], np.float32(value))
        return found

    before, by_examples, after = map(at, (untouched, seen, moved))
    np.testing.assert_allclose(before.values, by_examples.values, rtol=1e-4)
    assert before.accuracy == by_examples.accuracy
    logits = model(inputs, training=False).numpy()
    assert after.accuracy == np.mean(logits.argmax(axis=1) == train.labels)
    assert not np.allclose(after.values, before.values, rtol=1e-2)


def test_magnitude_windows_ablate_consecutive_ranks():
    model, examples = showing_net(4)
    kernel = np.zeros((4, 2), np.float32)
    kernel[:, 0] = [0.3, -0.1, 0.4, 0.2]
    model.set_weights([kernel, np.zeros(2, np.float32)])
    only = Masks({"logits": np.tile([1, 0], (4, 1))})
    ablations = Ablations((2,), by="number", subsets=3, order="magnitude")
    found = utility(model, examples, ablations, masks=only)
    left = np.array([0.7, 0.3, 0.1])  # Without (-0.1, 0.2), (0.2, 0.3), (0.3, 0.4).
    np.testing.assert_allclose(found.values[0], sigmoid_kl(0.8, left), rtol=1e-5)
    np.testing.assert_array_equal(found.positions, [[0, 0.25, 0.5]])


def test_only_weights_above_the_magnitude_are_ablated():
    model, examples = showing_net(4)
    kernel = np.zeros((4, 2), np.float32)
    kernel[:, 0] = [0.5, -1.0, 2.0, 0.25]
    model.set_weights([kernel, np.zeros(2, np.float32)])
    found = utility(model, examples, Ablations((1.0,), subsets=2, magnitude_above=0.5))
    assert found.eligible == eligible_weights(model, magnitude_above=0.5) == 2
    np.testing.assert_allclose(found.values, sigmoid_kl(1.75, 0.75), rtol=1e-6)
    without = Masks({"logits": np.tile([[1], [1], [0], [1]], 2)})
    halved = {name: value / 2 for name, value in read_weights(model).items()}
    assert eligible_weights(model, masks=without, weights=halved, magnitude_above=0.2) == 2
    assert eligible_weights(model, masks=without, weights=halved, magnitude_above=0.25) == 1
    with pytest.raises(InputError, match="lower magnitude_above"):
        utility(model, examples, Ablations(magnitude_above=3.0))


def test_conv_kernels_alone_can_be_asked_for(train):
    found = utility(conv_net(), train, Ablations((1.0,), subsets=1, kernels="conv"))
    assert found.eligible == 27


def test_a_wrapped_network_is_ablated_among_its_remaining_weights(train):
    wrapped = prune_model(dense_net())
    masks = Masks({"hidden": np.arange(80).reshape(16, 5) % 2, "logits": np.ones((5, 3))})
    set_masks(wrapped, masks)
    ablations = Ablations((0.1, 0.5), subsets=3)
    found = utility(wrapped, train, ablations)
    assert found.eligible == 40 + 15
    given = utility(strip(wrapped), train, ablations, masks=masks)
    np.testing.assert_array_equal(given.values, found.values)
    pretrained = UtilityMeter(dense_net(), train, ablations).measure(masks=masks)
    assert pretrained.eligible == 40 + 15


def test_all_networks_built_alike_meet_the_same_draws_in_one_program(train):
    meter = UtilityMeter(dense_net(1), train, Ablations((0.1, 0.3), subsets=30))
    first = meter.measure()
    other = meter.measure(read_weights(dense_net(2)))
    np.testing.assert_array_equal(meter.measure().values, first.values)
    assert meter.traces == 1
    direct = utility(dense_net(2), train, Ablations((0.1, 0.3), subsets=30))
    np.testing.assert_array_equal(direct.values, other.values)
    assert np.all(first.values != other.values)
    # A prefix: subset k is the same however many are drawn.
    few = utility(dense_net(1), train, Ablations((0.3,), subsets=7))
    np.testing.assert_allclose(few.values[0], first.values[1, :7], rtol=1e-6)


def test_some_of_the_examples_are_the_same_ones_every_time(train):
    model = softmax_regression(prepared_data(examples=11))
    inputs = inputs_of(train).astype(np.float64)
    ablations = Ablations((0.3,), subsets=1, num_examples=5, seed=9)
    found, again = (utility(model, Examples(inputs, train.labels), ablations) for _ in range(2))
    np.testing.assert_array_equal(found.values, again.values)
    kernel, bias = model.get_weights()
    ablated = np.where(random_ranks(np.ones(48, bool), 9, 0).reshape(16, 3) < 15, 0, kernel)
    flat = inputs.reshape(11, 16)
    each = numpy_kl(flat @ kernel + bias, flat @ ablated + bias)
    means = [np.mean(each[list(five)]) for five in itertools.combinations(range(11), 5)]
    assert np.sum(np.isclose(means, found.values[0, 0], rtol=1e-10)) == 1


def test_the_model_and_the_random_state_are_left_as_found(train):
    model = dense_net()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = read_weights(model)
    state = random.getstate()
    utility(model, train, Ablations((0.3,), subsets=2))
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert random.getstate() == state


def test_a_model_that_ends_in_a_softmax_gives_the_same(train):
    logits = dense_net()
    softmax = keras.Model(logits.inputs, layers.Softmax()(logits.output))
    ablations = Ablations((0.1, 0.5), subsets=3)
    expected = utility(logits, train, ablations)
    found = utility(softmax, train, ablations)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4)
    with pytest.raises(InputError, match="from_logits=False"):
        utility(softmax, train, ablations, from_logits=True)


def test_a_probability_of_zero_leaves_the_divergence_finite():
    f, g = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32), np.array([[0.5, 0.5], [1, 0]], "f4")
    tiny = np.log(np.finfo(np.float32).tiny)
    found = kl_divergence(keras.backend.constant(f), keras.backend.constant(g), from_logits=False)
    np.testing.assert_allclose(found, [np.log(2), np.log(0.5) - 0.5 * tiny], rtol=1e-6)


# --- Mistakes.


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"by": "percent"}, "by=percent"),
        ({"order": "size"}, "order=size"),
        ({"amounts": ()}, "amounts"),
        ({"amounts": (0.1, 1.5)}, r"amounts=1.5: ratios in \[0, 1\]"),
        ({"amounts": (0.1,), "by": "number"}, "amounts=0.1: whole numbers"),
        ({"subsets": 0}, "subsets=0: at least 1"),
        ({"magnitude_above": -1}, "magnitude_above=-1"),
        ({"num_examples": 0}, "num_examples=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, said):
    with pytest.raises(SettingError, match=said):
        Ablations(**setting)


def test_what_does_not_fit_the_network_is_refused(train):
    meter = UtilityMeter(dense_net(), train, Ablations((96,), by="number", subsets=1))
    with pytest.raises(SettingError, match="at most the 95 eligible weights"):
        meter.measure()
    with pytest.raises(InputError, match="another network"):
        meter.measure({"hidden/kernel": np.zeros(3)})
    with pytest.raises(InputError, match="mask of layer 'hidden'"):
        meter.measure(masks=Masks({"hidden": np.ones((3, 3))}))
    with pytest.raises(SettingError, match="at most the 11 there are"):
        UtilityMeter(dense_net(), train, Ablations(num_examples=12))
    with pytest.raises(SettingError, match="batch_size=0"):
        UtilityMeter(dense_net(), train, batch_size=0)


def test_an_evaluator_may_be_shared_with_other_measures(train):
    evaluator = Evaluator(dense_net(), jit=False)
    found = utility(evaluator, train, Ablations((0.3,), subsets=2))
    np.testing.assert_array_equal(
        found.values, utility(dense_net(), train, Ablations((0.3,), subsets=2)).values
    )
    assert evaluate(evaluator, {"train": train})["train"].accuracy[0] == found.accuracy


def test_it_is_a_measure_by_name():
    assert MEASURES["utility"] is utility


# --- While training.


def fit(train, *callbacks, epochs=5, initial_epoch=0, weights=None):
    model = dense_net() if weights is None else weights
    if weights is None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05), loss)
    inputs = inputs_of(train).astype(np.float32)
    history = model.fit(
        inputs,
        train.labels,
        batch_size=4,
        shuffle=False,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        callbacks=list(callbacks),
    )
    return model, history


def test_the_callback_measures_at_the_start_every_k_epochs_and_at_the_end(train, tmp_path):
    keras.utils.set_random_seed(0)
    plain, _ = fit(train)
    keras.utils.set_random_seed(0)
    seen = {}
    ablations = Ablations((0.1, 0.3), subsets=3)
    record = UtilityRecord(
        train, ablations, 2, path=tmp_path / "utility.csv", on_measured=seen.__setitem__
    )
    measured, history = fit(train, record)
    assert [(row["epoch"], row["ablation_amount"]) for row in record.rows] == [
        (epoch, ratio) for epoch in (0, 2, 4, 5) for ratio in (0.1, 0.3)
    ]
    before, after = (utility(model, train, ablations) for model in (dense_net(), measured))
    np.testing.assert_array_equal(seen[0].values, before.values)
    np.testing.assert_array_equal(seen[5].values, after.values)
    assert record.rows[-1] == {"epoch": 5, **after.rows()[1]}
    assert history.history["utility_mean/0.3"][-1] == after.mean[1]
    for name, value in read_weights(measured).items():
        np.testing.assert_array_equal(value, read_weights(plain)[name], err_msg=name)
    lines = (tmp_path / "utility.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert lines[0].startswith("epoch,ablation_amount,ablated_weights,utility_mean,")


def test_a_resumed_training_replaces_rows_of_epochs_it_trains_again(train):
    ablations = Ablations((0.3,), subsets=2)
    whole = UtilityRecord(train, ablations, 2)
    keras.utils.set_random_seed(0)
    fit(train, whole, epochs=6)
    keras.utils.set_random_seed(0)
    first = UtilityRecord(train, ablations, 2)
    model, _ = fit(train, first, epochs=3)
    assert [row["epoch"] for row in first.rows] == [0, 2, 3]
    stale = [*first.rows[:2], {**first.rows[1], "epoch": 4}]
    second = UtilityRecord(train, ablations, 2, rows=stale)
    fit(train, second, epochs=6, initial_epoch=3, weights=model)
    assert second.rows == whole.rows
    assert [row["epoch"] for row in second.rows] == [0, 2, 4, 6]


def test_the_callback_refuses_no_epochs(train):
    with pytest.raises(SettingError, match="every_epochs=0"):
        UtilityRecord(train, every_epochs=0)
