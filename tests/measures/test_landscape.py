"""Landscapes against closed forms and NumPy: segments, parabolas, filter norms, statistics."""

from __future__ import annotations

import random

import numpy as np
import pytest
from networks import evaluate
from synthetic import prepared_data, softmax_regression

from tfprune.backend import keras, tf
from tfprune.catalog import MEASURES
from tfprune.errors import InputError, SettingError
from tfprune.measures.evaluation import Evaluator, Examples, splits_of
from tfprune.measures.landscape import (
    Interpolation,
    Line,
    alpha_grid,
    filter_normalized_direction,
    interpolate,
    line,
    random_directions,
    surface,
)
from tfprune.models.task import cross_entropy
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prune_model, set_masks
from tfprune.pruning.weights import read_weights, write_weights

layers = keras.layers


def dense_net(width=5):
    images = keras.Input((4, 4, 1))
    x = layers.Dense(width, "relu", bias_initializer="normal", name="hidden")(
        layers.Flatten(name="flat")(images)
    )
    return keras.Model(images, layers.Dense(3, name="logits")(x))


def conv_net():
    images = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(images)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(layers.ReLU()(x))
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(images, layers.Dense(3, name="logits")(layers.Flatten()(x)))


def scrambled(model, seed):
    """Weights that no initializer gives: no zero bias, no unit variance."""
    rng = np.random.default_rng(seed)
    weights = read_weights(model)
    return {
        name: rng.uniform(0.5, 1.5, value.shape).astype(value.dtype)
        if name.endswith("variance")
        else rng.normal(0, 0.5, value.shape).astype(value.dtype)
        for name, value in weights.items()
    }


def numpy_metrics(model, weights, examples):
    """Cross-entropy and accuracy of a model that is given these weights, by NumPy in float64."""
    write_weights(model, weights)
    inputs = (examples.images / 255 - examples.mean) / examples.std
    logits = model(inputs.astype(np.float32), training=False).numpy().astype(np.float64)
    log_sums = np.log(np.exp(logits).sum(axis=1))
    losses = log_sums - logits[np.arange(len(logits)), examples.labels]
    return losses.mean(), np.mean(logits.argmax(axis=1) == examples.labels)


def line_model(features=3):
    """x -> w·x + b in float64."""
    inputs = keras.Input((features,), dtype="float64")
    return keras.Model(inputs, layers.Dense(1, dtype="float64", name="linear")(inputs))


def squared_error(labels, outputs):
    return tf.square(outputs[:, 0] - tf.cast(labels, outputs.dtype))


@pytest.fixture
def splits():
    return splits_of(prepared_data(examples=11, test_examples=7))


# --- Evaluation of whole splits.


def test_splits_of_a_trial_leave_out_an_empty_validation_split():
    with_val = prepared_data(examples=11, val_examples=5)
    assert set(splits_of(with_val)) == {"train", "val", "test"}
    assert len(splits_of(with_val)["val"].labels) == 5
    assert set(splits_of(prepared_data())) == {"train", "test"}


@pytest.mark.parametrize("build", [dense_net, conv_net])
@pytest.mark.parametrize("batch_size", [1024, 4, 1])
def test_metrics_are_example_weighted_means_whatever_the_batch(splits, build, batch_size):
    model = build()
    weights = scrambled(model, 1)
    expected = {name: numpy_metrics(model, weights, split) for name, split in splits.items()}
    measured = evaluate(Evaluator(model, jit=False, batch_size=batch_size), splits)
    for name in splits:
        loss, accuracy = expected[name]
        np.testing.assert_allclose(measured[name].loss, [loss], rtol=1e-6)
        np.testing.assert_allclose(measured[name].accuracy, [accuracy], rtol=1e-12)


def test_images_normalized_by_the_user_give_the_same(splits):
    model = dense_net()
    pixels = splits["train"]
    floats = ((pixels.images / 255 - pixels.mean) / pixels.std).astype(np.float32)
    both = {"pixels": pixels, "floats": Examples(floats, pixels.labels)}
    measured = evaluate(Evaluator(model, jit=False), both)
    np.testing.assert_allclose(measured["floats"].loss, measured["pixels"].loss, rtol=1e-6)


def test_a_long_sum_of_losses_loses_no_digits():
    labels = np.ones(1000, np.int64)
    labels[0] = 2**24  # The next float32 is 2**24 + 2: adding ones to it in float32 does nothing.
    model = keras.Sequential([layers.Dense(1, input_shape=(1,))])
    evaluator = Evaluator(
        model, lambda labels, _: tf.cast(labels, tf.float32), jit=False, batch_size=1
    )
    split = Examples(np.zeros((1000, 1), np.float32), labels)
    assert evaluate(evaluator, {"train": split})["train"].loss[0] == (2**24 + 999) / 1000


# --- Interpolation.


@pytest.mark.parametrize(
    ("build", "jit"), [(dense_net, None), (dense_net, False), (conv_net, None), (conv_net, True)]
)
def test_points_of_the_segment_are_the_models_evaluated_directly(splits, build, jit):
    model = build()
    start, end = scrambled(model, 1), scrambled(model, 2)
    path = interpolate(model, start, end, splits, alphas=[0, 0.3, 1], jit=jit)
    between = {name: 0.7 * start[name] + 0.3 * end[name] for name in start}
    for point, weights in enumerate([start, between, end]):
        for name, split in splits.items():
            loss, accuracy = numpy_metrics(model, weights, split)
            assert abs(path.loss[name][point] - loss) < 1e-6
            assert abs(path.accuracy[name][point] - accuracy) < 1e-12


def test_a_float64_segment_is_numpys_to_float64(splits):
    data = prepared_data(examples=11)
    model = softmax_regression(data)
    start, end = scrambled(model, 1), scrambled(model, 2)
    train = splits["train"]
    inputs = ((train.images / 255 - train.mean) / train.std).astype(np.float64)
    path = interpolate(model, start, end, {"train": Examples(inputs, train.labels)}, jit=False)
    for alpha, measured in zip(alpha_grid(), path.loss["train"], strict=True):
        kernel, bias = (
            (1 - alpha) * start[f"logits/{part}"] + alpha * end[f"logits/{part}"]
            for part in ("kernel", "bias")
        )
        logits = inputs.reshape(11, -1) @ kernel + bias
        picked = logits[np.arange(11), train.labels]
        expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - picked)
        np.testing.assert_allclose(measured, expected, rtol=1e-12)


def test_masks_play_no_part_on_the_way_from_a_sparse_to_a_dense_solution(splits):
    plain = dense_net()
    wrapped = prune_model(plain, ["hidden"])
    set_masks(wrapped, Masks({"hidden": np.arange(80).reshape(16, 5) % 4 == 0}))
    sparse, redense = read_weights(wrapped), scrambled(plain, 2)
    path = interpolate(wrapped, sparse, redense, splits, alphas=[0, 1], jit=False)
    for point, weights in enumerate([sparse, redense]):
        loss, _ = numpy_metrics(plain, weights, splits["test"])
        np.testing.assert_allclose(path.loss["test"][point], loss, rtol=1e-6)


def test_all_101_points_and_later_calls_share_one_program(splits):
    built = []

    def counted(labels, logits):
        built.append(1)
        return cross_entropy(labels, logits)

    def builds(points):
        built.clear()
        evaluator = Evaluator(dense_net(), counted, jit=False)
        start, end = scrambled(evaluator.model, 1), scrambled(evaluator.model, 2)
        path = interpolate(evaluator, start, end, splits, alpha_grid(1 / (points - 1)))
        back = interpolate(evaluator, end, start, splits, alpha_grid(1 / (points - 1)))
        assert len(path.loss["train"]) == points
        np.testing.assert_allclose(back.loss["train"], path.loss["train"][::-1], rtol=1e-5)
        assert evaluator.traces == 1
        return len(built)

    assert builds(101) == builds(2)


def test_all_directions_of_a_line_share_one_program(splits):
    evaluator = Evaluator(dense_net(), jit=False)
    line(evaluator, random_directions(evaluator.model, 3, seed=0), splits, [-1, 0, 1])
    assert evaluator.traces == 1


# --- Batch-norm statistics.


def two_batch_norms():
    inputs = keras.Input((2,))
    x = layers.BatchNormalization(epsilon=1e-3, name="bn1")(inputs)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(3, "relu", name="dense")(x)
    return keras.Model(inputs, layers.BatchNormalization(epsilon=1e-3, name="bn2")(x))


def numpy_batch_norm(x, weights, name):
    scale = weights[f"{name}/gamma"] / np.sqrt(x.var(axis=0) + 1e-3)
    return (x - x.mean(axis=0)) * scale + weights[f"{name}/beta"]


def drifting(count=13):
    """Features whose mean moves along the split, far from zero: batches differ a lot."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(count, 2)) + np.arange(count)[:, None] + [50, -3]).astype(np.float32)


@pytest.mark.parametrize("jit", [True, False])
def test_reestimated_statistics_are_those_of_a_numpy_forward_pass(jit):
    model, x = two_batch_norms(), drifting()
    start, end = scrambled(model, 1), scrambled(model, 2)
    splits = {"train": Examples(x, np.zeros(13, int))}
    path = interpolate(
        model,
        start,
        end,
        splits,
        alphas=[0, 0.5, 1],
        batch_norm="reestimated",
        loss=lambda _, outputs: outputs[:, 0] * outputs[:, 1] + outputs[:, 2],
        jit=jit,
    )
    for point, alpha in enumerate([0, 0.5, 1]):
        weights = {k: ((1 - alpha) * start[k] + alpha * end[k]).astype(float) for k in start}
        hidden = numpy_batch_norm(x.astype(float), weights, "bn1")
        hidden = np.maximum(hidden @ weights["dense/kernel"] + weights["dense/bias"], 0)
        out = numpy_batch_norm(hidden, weights, "bn2")
        expected = np.mean(out[:, 0] * out[:, 1] + out[:, 2])
        np.testing.assert_allclose(path.loss["train"][point], expected, rtol=1e-4)


@pytest.mark.parametrize("rank", [2, 4])
def test_statistics_pooled_over_batches_are_the_splits_mean_and_variance(rank):
    x = drifting(39) if rank == 2 else drifting(39 * 4).reshape(39, 2, 2, 2)
    inputs = keras.Input(x.shape[1:])
    outputs = layers.BatchNormalization(momentum=0.9, scale=False, center=False, name="bn")(inputs)
    model = keras.Model(inputs, layers.Flatten()(outputs))
    variance = x.reshape(-1, 2).astype(np.float64).var(axis=0)

    def statistic(labels, z):
        """Mean of channel 0, of channel 1, mean square of channel 0, of channel 1, by label."""
        means = [tf.reduce_mean(z[:, c::2] ** power, axis=1) for power in (1, 2) for c in (0, 1)]
        return tf.gather(tf.stack(means, axis=1), labels, batch_dims=1)

    splits = {str(k): Examples(x, np.full(39, k)) for k in range(4)}
    weights = read_weights(model)
    evaluator = Evaluator(model, statistic, jit=False, batch_size=5)
    path = interpolate(evaluator, weights, weights, splits, [0, 1], "reestimated", "0")
    for c in range(2):
        np.testing.assert_allclose(path.loss[str(c)], 0, atol=1e-5)
        expected = variance[c] / (variance[c] + 1e-3)
        np.testing.assert_allclose(path.loss[str(2 + c)], expected, rtol=1e-6)


def test_interpolated_statistics_are_on_the_segment():
    inputs = keras.Input((2,))
    bn = layers.BatchNormalization(epsilon=0.0, scale=False, center=False, name="bn")
    model = keras.Model(inputs, bn(inputs))
    start = {"bn/moving_mean": np.float32([0, 0]), "bn/moving_variance": np.float32([1, 1])}
    end = {"bn/moving_mean": np.float32([4, 0]), "bn/moving_variance": np.float32([7, 1])}
    one = {"train": Examples(np.float32([[10, 0]]), np.array([0]))}
    path = interpolate(model, start, end, one, [0, 0.5, 1], loss=lambda _, z: z[:, 0], jit=False)
    expected = [10 / 1, (10 - 2) / 2, (10 - 4) / np.sqrt(7)]
    np.testing.assert_allclose(path.loss["train"], expected, rtol=1e-6)


# --- Lines and surfaces.


def test_on_a_quadratic_loss_the_line_is_the_parabola():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(20, 3)), rng.integers(-2, 3, 20)
    model = line_model()
    direction = {"linear/kernel": rng.normal(size=(3, 1)), "linear/bias": rng.normal(size=1)}
    splits = {"train": Examples(x, labels)}
    found = line(model, [direction, direction], splits, loss=squared_error, jit=False)
    weights = read_weights(model)
    residual = (x @ weights["linear/kernel"] + weights["linear/bias"])[:, 0] - labels
    slope = (x @ direction["linear/kernel"] + direction["linear/bias"])[:, 0]
    t = np.linspace(-1, 1, 51)
    parabola = np.mean(residual**2) + 2 * t * np.mean(residual * slope) + t**2 * np.mean(slope**2)
    np.testing.assert_allclose(found.loss["train"], [parabola, parabola], rtol=1e-12)
    # Half the Hessian's quadratic form, at 1 and at 0.2.
    np.testing.assert_allclose(found.sharpness("train"), np.mean(slope**2), rtol=1e-10)
    np.testing.assert_allclose(found.sharpness("train", 0.2), 0.04 * np.mean(slope**2), rtol=1e-9)


def test_on_a_quadratic_loss_the_surface_is_the_paraboloid_with_y_in_rows():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(20, 3)), rng.integers(-2, 3, 20)
    model = line_model()
    names = ("linear/kernel", "linear/bias")
    first, second = (
        dict(zip(names, (rng.normal(size=(3, 1)), rng.normal(size=1)), strict=True))
        for _ in range(2)
    )
    x, y = [-1, 0, 0.5], [0, 2]
    found = surface(
        model, first, second, {"test": Examples(inputs, labels)}, x, y, squared_error, jit=False
    )
    weights = read_weights(model)
    residual, along_x, along_y = (
        (inputs @ part[names[0]] + part[names[1]])[:, 0] for part in (weights, first, second)
    )
    expected = [
        [np.mean((residual - labels + a * along_x + b * along_y) ** 2) for a in x] for b in y
    ]
    np.testing.assert_allclose(found.loss["test"], expected, rtol=1e-12)
    assert found.accuracy["test"].shape == (2, 3)


def test_mean_spread_and_sharpness_are_over_directions():
    losses = np.array([[3.0, 1.0, 2.0], [9.0, 1.0, 4.0]])
    made_up = Line(np.array([-1.0, 0.0, 1.0]), {"train": losses}, {"train": losses})
    np.testing.assert_allclose(made_up.mean("train"), [6, 1, 3])
    np.testing.assert_allclose(made_up.std("train"), [np.sqrt(18), 0, np.sqrt(2)])
    assert made_up.sharpness("train") == ((3 + 2) / 2 - 1 + (9 + 4) / 2 - 1) / 2
    with pytest.raises(SettingError, match=r"at=0.5: one of the distances"):
        made_up.sharpness("train", 0.5)
    alone = Line(made_up.distances, {"train": losses[:1]}, {"train": losses[:1]})
    assert np.isnan(alone.std("train")).all()


# --- Filter-normalized directions.


def filter_norms(array, axes):
    return np.sqrt(np.sum(np.square(array.astype(np.float64)), axis=axes))


def test_directions_have_the_norm_of_every_filter_for_conv_and_dense_layouts():
    model = conv_net()
    weights = scrambled(model, 1)
    write_weights(model, weights)
    direction = filter_normalized_direction(model, np.random.default_rng(0))
    inside = {
        "conv/kernel": (0, 1, 2),  # [3, 3, 1, 3]: one filter per output channel.
        "depthwise/depthwise_kernel": (0, 1),  # [3, 3, 3, 2]: one per input and multiplier.
        "logits/kernel": (0,),
    }
    for name, axes in inside.items():
        wanted = filter_norms(weights[name], axes)
        assert wanted.size == {"conv/kernel": 3, "logits/kernel": 3}.get(name, 6)
        np.testing.assert_allclose(filter_norms(direction[name], axes), wanted, rtol=1e-6)
        cosine = np.vdot(direction[name], weights[name]) / np.vdot(weights[name], weights[name])
        assert abs(cosine) < 0.9
    rest = set(weights) - set(inside)
    assert {name.split("/")[1] for name in rest} == {
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    }
    assert all(not direction[name].any() for name in rest)
    assert all(direction[name].dtype == weights[name].dtype for name in weights)


def test_unit_draws_and_a_known_filter_give_a_known_direction():
    class Ones(np.random.Generator):
        def standard_normal(self, size=None):
            return np.ones(size)

    model = keras.Sequential([layers.Dense(2, name="a", input_shape=(2,))])
    model.set_weights([np.array([[3.0, 0.0], [4.0, 0.0]]), np.array([7.0, 7.0])])
    ones = Ones(np.random.PCG64(0))
    whole = filter_normalized_direction(model, ones)
    np.testing.assert_allclose(whole["a/kernel"], [[5 / np.sqrt(2), 0], [5 / np.sqrt(2), 0]])
    masked = filter_normalized_direction(model, ones, Masks({"a": [[0, 1], [1, 0]]}))
    np.testing.assert_allclose(masked["a/kernel"], [[0, 0], [5, 0]])


def test_masked_directions_are_zero_where_pruned_and_keep_the_filters_norms():
    model = prune_model(dense_net(), ["hidden"])
    mask = np.random.default_rng(1).random((16, 5)) < 0.5
    mask[:, 2] = False  # A unit without a single weight.
    set_masks(model, Masks({"hidden": mask}))
    (direction,) = random_directions(model, 1, seed=0, masks=get_masks(model))
    kernel = read_weights(model)["hidden/kernel"]
    assert np.array_equal(direction["hidden/kernel"] != 0, mask)
    np.testing.assert_allclose(
        filter_norms(direction["hidden/kernel"], (0,)), filter_norms(kernel, (0,)), rtol=1e-6
    )
    assert direction["logits/kernel"].all()


def test_directions_repeat_by_seed_level_and_index():
    model = dense_net()

    def kernels(count, seed, level=0):
        found = random_directions(model, count, seed, level)
        return np.stack([direction["hidden/kernel"] for direction in found])

    assert np.array_equal(kernels(3, seed=4)[:2], kernels(2, seed=4))
    others = [kernels(2, seed=4)[1], kernels(1, seed=5)[0], kernels(1, seed=4, level=1)[0]]
    assert all(not np.array_equal(kernels(1, seed=4)[0], other) for other in others)


# --- What a path says.


def path_of(*losses):
    alphas = np.linspace(0, 1, len(losses))
    return Interpolation(alphas, {"train": np.array(losses)}, {"train": np.array(losses)})


@pytest.mark.parametrize(
    ("losses", "rise", "barrier"),
    [
        ((4.0, 3.0, 2.0, 1.0, 0.0), 0.0, 0.0),  # The chord itself.
        ((4.0, 1.0, 0.5, 0.25, 0.0), 0.0, 0.0),  # Downhill, below the chord.
        ((4.0, 4.0, 4.0, 4.0, 0.0), 0.0, 3.0),  # Downhill, above the chord: 4 - 1 at 0.75.
        ((1.0, 2.0, 3.0, 2.0, 1.0), 2.0, 2.0),  # Frankle et al.: 3 - (1 + 1) / 2.
        ((4.0, 1.0, 1.5, 2.0, 0.0), 1.0, 1.0),  # Two rises of 0.5 after a dip.
    ],
)
def test_rise_and_barrier_of_made_up_paths(losses, rise, barrier):
    path = path_of(*losses)
    assert path.largest_rise("train") == rise
    assert path.barrier_height("train") == barrier
    assert path.is_monotonically_decreasing("train") == (rise == 0)
    assert path.is_monotonically_decreasing("train", tolerance=rise)
    assert not path.is_monotonically_decreasing("train", tolerance=rise - 1e-9)


def test_a_path_with_a_nan_is_not_decreasing():
    assert not path_of(2.0, np.nan, 0.0).is_monotonically_decreasing("train", tolerance=9.0)


@pytest.mark.parametrize(("step", "points"), [(0.01, 101), (0.1, 11), (1 / 3, 4), (1, 2)])
def test_alpha_grids_run_from_0_to_1_exactly(step, points):
    grid = alpha_grid(step)
    assert len(grid) == points
    assert (grid[0], grid[-1]) == (0, 1)
    np.testing.assert_allclose(np.diff(grid), step, rtol=1e-9)


@pytest.mark.parametrize("step", [0.03, 0.3, 0.0, -0.1, 2.0, float("nan")])
def test_steps_that_do_not_divide_1_are_refused(step):
    with pytest.raises(SettingError, match=r"^step=.*a step that divides 1"):
        alpha_grid(step)


# --- The model is left as it was found.


def trained_model(splits):
    model = prune_model(conv_net(), ["conv", "logits"])
    kept = {name: np.arange(mask.size) % 3 > 0 for name, mask in get_masks(model).items()}
    shapes = get_masks(model).shapes
    set_masks(model, Masks({name: mask.reshape(shapes[name]) for name, mask in kept.items()}))
    model.compile(
        keras.optimizers.legacy.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = splits["train"]
    model.fit(train.images / 255, train.labels, batch_size=4, verbose=0)
    return model


def state(model):
    variables = [*model.weights, *model.optimizer.variables()]
    return [variable.numpy().tobytes() for variable in variables]


def fails(labels, outputs):
    raise RuntimeError("in the middle")


@pytest.mark.parametrize("loss", [None, fails])
def test_weights_masks_statistics_optimizer_and_random_state_stay_bit_for_bit(splits, loss):
    model = trained_model(splits)
    first, second = random_directions(model, 2, seed=0)
    before, random_before = state(model), random.getstate()

    def measure_all():
        weights = read_weights(model)
        measures = (
            lambda: interpolate(
                model, weights, first, splits, [0, 1], batch_norm="reestimated", loss=loss
            ),
            lambda: line(model, [first], splits, [-1, 1], loss=loss),
            lambda: surface(model, first, second, splits, [0], [0, 1], loss=loss),
        )
        for measure in measures:
            if loss is None:
                measure()
            else:
                with pytest.raises(RuntimeError, match="in the middle"):
                    measure()

    measure_all()
    assert state(model) == before
    assert random.getstate() == random_before


# --- Mistakes.


def test_mistakes_are_named(splits):
    model = dense_net()
    weights = read_weights(model)
    with pytest.raises(SettingError, match="directions=0: at least 1"):
        random_directions(model, 0, seed=0)
    with pytest.raises(SettingError, match="directions=0: at least 1"):
        line(model, [], splits)
    with pytest.raises(SettingError, match="batch_norm=reestimate: did you mean reestimated"):
        interpolate(model, weights, weights, splits, batch_norm="reestimate")
    with pytest.raises(SettingError, match=r"reestimation_split=training: .* train"):
        interpolate(
            model,
            weights,
            weights,
            splits,
            batch_norm="reestimated",
            reestimation_split="training",
        )
    with pytest.raises(InputError, match="alphas must rise from 0 to 1"):
        interpolate(model, weights, weights, splits, alphas=[0, 0.5])
    with pytest.raises(InputError, match="x must increase"):
        surface(model, weights, weights, splits, x=[1, 0])
    with pytest.raises(InputError, match="no split to measure on"):
        evaluate(model, {})
    with pytest.raises(InputError, match="another network, hidden/bias, hidden/kernel, logits/k"):
        interpolate(model, weights, read_weights(dense_net(width=6)), splits)
    with pytest.raises(InputError, match=r"the mask of layer 'other'.* belongs to no kernel"):
        filter_normalized_direction(
            model, np.random.default_rng(0), Masks({"other": np.ones((16, 5))})
        )
    with pytest.raises(InputError, match="give them to Evaluator"):
        line(Evaluator(model), [weights], splits, loss=squared_error)
    with pytest.raises(InputError, match="cannot be measured"):
        Evaluator(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(InputError, match="which may be logits or any numbers"):
        Evaluator(keras.Sequential([layers.Conv2D(2, 1, input_shape=(3, 3, 1))]))
    with pytest.raises(InputError, match="2 images need as many labels"):
        Examples(np.zeros((2, 1)), np.zeros(3))
    with pytest.raises(InputError, match="without examples"):
        Examples(np.zeros((0, 1)), np.zeros(0, int))
    with pytest.raises(InputError, match="both mean and std"):
        Examples(np.zeros((1, 1)), np.zeros(1, int), mean=np.zeros(1))


def test_every_registered_measure_loads_by_its_name():
    assert {name: MEASURES[name].__name__ for name in MEASURES} == {name: name for name in MEASURES}
    assert {"distance", "interpolate", "line", "surface"} <= set(MEASURES)
