"""Flatness against dense Hessians, explicit loops, and closed forms of quadratics."""

import math

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.catalog import MEASURES
from tfprune.errors import InputError, SettingError
from tfprune.measures.curvature import (
    Curvature,
    Perturbations,
    TraceEstimate,
    curvature_examples,
    curvature_of,
    flatness,
    gradient_covariance_trace,
    hessian_trace,
    perturb,
    perturbation_grid,
    tic_proxy,
    top_eigenpairs,
)
from tfprune.measures.evaluation import Evaluator, Examples
from tfprune.measures.hessian import trainable_variables, unpruned_coordinates
from tfprune.models.task import cross_entropy
from tfprune.pruning.dead_filters import filter_masks, zero_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prune_model, set_masks, with_dtype
from tfprune.pruning.weights import read_weights

layers = keras.layers


def scrambled(model, seed=0):
    """Weights that no initializer gives, so that no derivative is zero by accident."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        spread = rng.uniform(0.5, 1.5, variable.shape)
        drawn = rng.normal(0, 0.6, variable.shape)
        variable.assign(spread if "variance" in variable.name else drawn)
    return model


def small_net(dtype="float64"):
    """183 trainable parameters, with batch norm and dropout."""
    inputs = keras.Input((4, 4, 1), dtype=dtype)
    x = layers.Conv2D(5, 3, name="conv", dtype=dtype)(inputs)
    x = layers.BatchNormalization(name="bn", dtype=dtype)(x)
    x = layers.Activation("tanh", dtype=dtype)(x)
    x = layers.Dropout(0.5, dtype=dtype)(x)
    x = layers.Dense(5, "tanh", name="hidden", dtype=dtype)(layers.Flatten(dtype=dtype)(x))
    return scrambled(keras.Model(inputs, layers.Dense(3, name="logits", dtype=dtype)(x)))


def images(count=7, shape=(4, 4, 1), classes=3, dtype=np.float64):
    rng = np.random.default_rng(1)
    pixels = rng.normal(size=(count, *shape)).astype(dtype)
    return Examples(pixels, rng.integers(0, classes, count))


def mean_loss(model, examples, loss=cross_entropy):
    outputs = model(examples.images, training=False)
    return tf.reduce_mean(loss(tf.constant(examples.labels, tf.int32), outputs))


def dense_hessian(model, examples, loss=cross_entropy):
    """The whole matrix by the jacobian of the gradient, blocks put together by NumPy."""
    variables = list(trainable_variables(model).values())

    @tf.function
    def rows():
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                value = mean_loss(model, examples, loss)
            flat = [tf.reshape(g, [-1]) for g in inner.gradient(value, variables)]
            gradient = tf.concat(flat, 0)
        return outer.jacobian(gradient, variables, experimental_use_pfor=False)

    blocks = [block.numpy() for block in rows()]
    return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)


def line_model(features=3):
    """x -> w·x in float64."""
    inputs = keras.Input((features,), dtype="float64")
    layer = layers.Dense(1, use_bias=False, dtype="float64", name="linear")
    return keras.Model(inputs, layer(inputs))


def squared_error(labels, outputs):
    return tf.square(outputs[:, 0] - tf.cast(labels, outputs.dtype))


def quadratic(diagonal):
    """A model whose loss is Σ diagonal_j w_j² / 2 + 0: Hessian diag(diagonal), minimum at 0."""
    n = len(diagonal)
    model = line_model(n)
    model.set_weights([np.zeros((n, 1))])
    # The mean over n examples of (w·x)², example j along axis j.
    return model, Examples(np.diag(np.sqrt(np.array(diagonal) * n / 2)), np.zeros(n, int))


@pytest.fixture(scope="module")
def net():
    return small_net()


@pytest.fixture(scope="module")
def dense(net):
    return dense_hessian(net, images())


# --- The Hessian and its spectrum.


def test_products_are_those_of_the_dense_hessian(net, dense):
    hessian = Curvature(net).hessian(images())
    assert hessian.shape == dense.shape == (183, 183)
    vector = np.random.default_rng(2).normal(size=183)
    np.testing.assert_allclose(hessian @ vector, dense @ vector, atol=1e-12)
    np.testing.assert_allclose(hessian.T @ vector, dense @ vector, atol=1e-12)


def test_the_hessian_is_symmetric(net):
    hessian = Curvature(net).hessian(images())
    u, v = np.random.default_rng(3).normal(size=(2, 183))
    assert u @ (hessian @ v) == pytest.approx(v @ (hessian @ u), rel=1e-12)


@pytest.mark.parametrize("k", [1, 12])
def test_eigenpairs_of_largest_magnitude_are_numpys(net, dense, k):
    values, vectors = np.linalg.eigh(dense)
    chosen = np.sort(np.argsort(-np.abs(values))[:k])[::-1]
    assert k == 1 or values[chosen].min() < 0  # Otherwise the sort order is not put to the test.
    pairs = top_eigenpairs(Curvature(net).hessian(images()), k, tolerance=0)
    np.testing.assert_allclose(pairs.values, values[chosen], atol=1e-10)
    overlap = np.abs(np.sum(pairs.vectors * vectors[:, chosen].T, axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-8)
    assert pairs.trace == pytest.approx(values[chosen].sum())


def test_algebraic_eigenvalues_leave_out_the_negative_ones(net, dense):
    found = top_eigenpairs(Curvature(net).hessian(images()), 12, "algebraic", tolerance=0)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(dense)[:-13:-1], atol=1e-10)


def test_all_eigenvalues_add_up_to_the_trace():
    model = scrambled(line_model(4))
    examples = images(6, (4,))
    pairs = top_eigenpairs(Curvature(model, squared_error).hessian(examples), 4)
    covariance = 2 * examples.images.T @ examples.images / 6
    np.testing.assert_allclose(pairs.values, np.linalg.eigvalsh(covariance)[::-1], rtol=1e-12)
    assert pairs.trace == pytest.approx(np.trace(covariance))


def test_a_looser_tolerance_and_another_start_find_the_same(net, dense):
    hessian = Curvature(net).hessian(images())
    values = np.sort(np.abs(np.linalg.eigvalsh(dense)))[:-6:-1]
    for seed in (0, 1):
        found = top_eigenpairs(hessian, 5, seed=seed)
        np.testing.assert_allclose(np.sort(np.abs(found.values))[::-1], values, rtol=1e-4)
        peaks = np.abs(found.vectors).argmax(axis=1)
        assert (found.vectors[np.arange(5), peaks] > 0).all()


@pytest.mark.parametrize("batch_size", [1, 3, 512])
def test_batches_change_nothing(net, dense, batch_size):
    curvature = Curvature(net, batch_size=batch_size)
    vector = np.random.default_rng(2).normal(size=183)
    np.testing.assert_allclose(curvature.hessian(images()) @ vector, dense @ vector, atol=1e-12)
    expected = Curvature(net).gradient_norms(images())
    np.testing.assert_allclose(curvature.gradient_norms(images()), expected, rtol=1e-12)


def vgg_like(dtype):
    """ReLU, max-pooling and fused batch norm."""
    inputs = keras.Input((6, 6, 2), dtype=dtype)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, dtype=dtype)(inputs)
    x = layers.ReLU(dtype=dtype)(layers.BatchNormalization(dtype=dtype)(x))
    x = layers.Conv2D(4, 3, dtype=dtype)(layers.MaxPooling2D(dtype=dtype)(x))
    x = layers.Flatten(dtype=dtype)(layers.LeakyReLU(dtype=dtype)(x))
    return keras.Model(inputs, layers.Dense(3, dtype=dtype)(x))


@pytest.mark.parametrize("jit", [False, True])
def test_float32_kernels_agree_with_float64_ones(jit):
    single = scrambled(vgg_like("float32"))
    double = with_dtype(single, "float64")
    pixels = images(5, (6, 6, 2), dtype=np.float32)
    exact = dense_hessian(double, Examples(pixels.images.astype(float), pixels.labels))
    curvature = Curvature(single, jit=jit)
    hessian = curvature.hessian(pixels)
    vector = np.random.default_rng(2).normal(size=hessian.shape[0]).astype(np.float32)
    assert (hessian @ vector).dtype == np.float32
    np.testing.assert_allclose(hessian @ vector, exact @ vector, atol=1e-5 * np.abs(exact).max())
    largest = np.abs(np.linalg.eigvalsh(exact)).max()
    assert np.abs(top_eigenpairs(hessian, 3).values).max() == pytest.approx(largest, rel=1e-5)
    norms = Curvature(double).gradient_norms(Examples(pixels.images.astype(float), pixels.labels))
    np.testing.assert_allclose(curvature.gradient_norms(pixels), norms, rtol=1e-4)


# --- Traces.


def test_hutchinsons_interval_holds_the_trace_and_its_error_the_closed_form(net, dense):
    hessian = Curvature(net).hessian(images())
    found = hessian_trace(hessian, probes=200)
    assert abs(found.value - np.trace(dense)) < 3 * found.standard_error
    off_diagonal = dense - np.diag(np.diag(dense))
    expected = math.sqrt(2 * np.sum(off_diagonal**2) / 200)
    assert found.standard_error == pytest.approx(expected, rel=0.2)
    # By luck the above may hold for a biased estimate; ten seeds together leave less room.
    means = [hessian_trace(hessian, 30, s).value for s in range(10)]
    assert abs(np.mean(means) - np.trace(dense)) < 3 * expected * math.sqrt(200 / 300)


def test_hutchinson_is_exact_for_a_diagonal_hessian():
    model, examples = quadratic([3.0, 2.0, 0.5])
    found = hessian_trace(Curvature(model, squared_error).hessian(examples), probes=4)
    np.testing.assert_allclose(found.samples, 5.5)
    assert found.standard_error == pytest.approx(0, abs=1e-12)
    assert math.isnan(TraceEstimate(np.ones(1)).standard_error)


def test_gradient_covariance_is_an_explicit_loops(net):
    examples = images()
    variables = net.trainable_variables
    total = 0.0
    for image, label in zip(examples.images, examples.labels, strict=True):
        with tf.GradientTape() as tape:
            value = mean_loss(net, Examples(image[np.newaxis], label[np.newaxis]))
        total += sum(np.sum(g.numpy() ** 2) for g in tape.gradient(value, variables))
    assert gradient_covariance_trace(net, examples) == pytest.approx(total / 7, rel=1e-12)


def test_gradient_norms_of_softmax_regression_are_their_closed_form():
    inputs = keras.Input((4,), dtype="float64")
    model = scrambled(keras.Model(inputs, layers.Dense(3, dtype="float64")(inputs)))
    examples = images(6, (4,))
    powers = np.exp(model(examples.images).numpy())
    errors = powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[examples.labels]
    # The gradient is (p − y) xᵀ, and p − y for the bias.
    expected = np.sum(errors**2, axis=1) * (np.sum(examples.images**2, axis=1) + 1)
    np.testing.assert_allclose(Curvature(model).gradient_norms(examples), expected, rtol=1e-12)


# --- Sparse networks.


def pruned_net():
    """`small_net` wrapped, half its weights pruned, and filters 1 and 3 dead."""
    model = prune_model(small_net())
    rng = np.random.default_rng(4)
    masks = {name: rng.random(mask.shape) < 0.5 for name, mask in get_masks(model).items()}
    masks["conv"][..., [1, 3]] = False
    set_masks(model, Masks(masks))
    keep = np.array([True, False, True, False, True])
    zero_filters(model, {"conv": keep})
    return model, Masks(masks)


def expected_mask(model, masks, dead):
    """The unpruned coordinates by hand, in the order of the variables."""
    kept = []
    for name, variable in trainable_variables(model).items():
        layer, _, kind = name.partition("/")
        mask = np.ones(variable.shape, bool)
        if kind == "kernel":
            mask = masks[layer]
        elif dead and layer in ("conv", "bn"):
            mask = np.array([True, False, True, False, True])
        kept.append(mask.ravel())
    return np.concatenate(kept)


def test_a_wrapped_network_is_measured_on_the_sub_matrix_of_what_is_unpruned():
    model, masks = pruned_net()
    kept = expected_mask(model, masks, dead=True)
    assert 0 < kept.sum() < len(kept) - 70
    whole = dense_hessian(model, images())
    curvature = Curvature(model)
    hessian = curvature.hessian(images())
    found = np.stack([hessian @ row for row in np.eye(kept.sum())])
    np.testing.assert_allclose(found, whole[np.ix_(kept, kept)], atol=1e-12)
    plain = curvature.hessian(images(), masks={})
    vector = np.random.default_rng(5).normal(size=183)
    np.testing.assert_allclose(plain @ vector, whole @ vector, atol=1e-12)
    assert curvature.traces == 1  # Any sparsity shares the program.


def test_gradients_of_pruned_weights_have_no_part_in_the_covariance():
    model, masks = pruned_net()
    kept = expected_mask(model, masks, dead=True)
    examples = images(1)
    with tf.GradientTape() as tape:
        value = mean_loss(model, examples)
    variables = list(trainable_variables(model).values())
    flat = np.concatenate([g.numpy().ravel() for g in tape.gradient(value, variables)])
    assert np.sum(flat[~kept] ** 2) > 1e-3
    found = gradient_covariance_trace(model, examples)
    assert found == pytest.approx(np.sum(flat[kept] ** 2), rel=1e-12)


def test_explicit_masks_do_as_the_wrappers_would():
    model, masks = pruned_net()
    plain = small_net()
    for name, value in read_weights(model).items():
        dict(zip(read_weights(plain), plain.variables, strict=True))[name].assign(value)
    expected = unpruned_coordinates(model)
    found = unpruned_coordinates(plain, masks)
    assert list(found.masks) == list(expected.masks)
    for name, mask in expected.masks.items():
        np.testing.assert_array_equal(found.masks[name], mask)


def test_dead_filters_of_a_plain_model_are_left_out_unless_it_has_a_shift():
    model = small_net()
    keep = {"conv": [1, 0, 1, 0, 1]}
    zero_filters(model, keep)
    found = unpruned_coordinates(model)
    assert found.size == 183 - 2 * (9 + 1 + 2)
    by_name = unpruned_coordinates(model, filter_masks(model, keep))
    for name, mask in found.masks.items():
        np.testing.assert_array_equal(by_name.masks[name], mask)
    beta = model.get_layer("bn").beta
    beta.assign([0.0, 0.3, 0.0, 0.0, 0.0])
    # Filter 1 now passes on a constant that may move: not dead.
    assert unpruned_coordinates(model).size == 183 - (9 + 1 + 2)


def test_a_filter_that_unstructured_pruning_emptied_keeps_its_batch_norm():
    model = prune_model(small_net())
    masks = {name: np.array(mask) for name, mask in get_masks(model).items()}
    masks["conv"][..., 2] = False
    set_masks(model, Masks(masks))
    assert unpruned_coordinates(model).size == 183 - 9


def test_zero_kernels_without_batch_norm_are_not_taken_for_dead():
    model, _ = quadratic([1.0, 2.0])
    assert unpruned_coordinates(model).size == 2


def test_frozen_layers_are_no_coordinates():
    model = small_net()
    model.get_layer("hidden").trainable = False
    assert unpruned_coordinates(model).size == 183 - (20 * 5 + 5)


def test_a_vector_comes_back_from_the_variables_it_is_spread_over():
    model, _ = pruned_net()
    coordinates = unpruned_coordinates(model)
    vector = np.arange(1.0, coordinates.size + 1)
    arrays = coordinates.to_arrays(vector)
    assert {n: a.shape for n, a in arrays.items()} == {
        n: tuple(v.shape) for n, v in trainable_variables(model).items()
    }
    flat = np.concatenate([array.ravel() for array in arrays.values()])
    np.testing.assert_array_equal(coordinates.restrict(flat), vector)
    assert np.count_nonzero(flat) == coordinates.size
    for name, mask in coordinates.masks.items():
        assert not arrays[name][~mask].any()


# --- Perturbations.


def test_epsilon_of_a_quadratic_is_its_closed_form():
    model, examples = quadratic([40.0, 10.0, 2.5, 0.1])
    pairs = top_eigenpairs(Curvature(model, squared_error).hessian(examples), 4)
    found = perturb(model, pairs, examples, loss=squared_error)
    grid = np.arange(-40, 41) / 100
    np.testing.assert_allclose(found.distances, grid)
    expected = np.outer([40.0, 10.0, 2.5, 0.1], grid**2) / 2
    np.testing.assert_allclose(found.rises, expected, atol=1e-10)
    # √(0.2 / λ) = 0.0707, 0.1414, 0.2828 and 1.41: the next hundredth, and none.
    np.testing.assert_allclose(found.by_direction(), [0.08, 0.15, 0.29, np.nan])
    assert found.epsilon() == 0.08
    assert math.isnan(found.epsilon(rise=100))


def test_epsilon_is_the_worse_of_both_signs():
    rises = np.array([[np.nan, 0.09, 0.0, 0.1, 0.2], [0.3, 0.0, 0.0, 0.0, 0.3]])
    found = Perturbations(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), rises)
    np.testing.assert_array_equal(found.by_direction(), [1, 2])
    assert found.epsilon() == 1
    np.testing.assert_array_equal(found.by_direction(0.25), [2, 2])  # NaN has risen.


def test_only_the_first_eigenvectors_are_perturbed_along():
    model, examples = quadratic([1.0, 7.0, 3.0])
    pairs = top_eigenpairs(Curvature(model, squared_error).hessian(examples), 3)
    found = perturb(model, pairs, examples, 2, [0.0, 1.0], squared_error)
    np.testing.assert_allclose(found.rises, [[0, 3.5], [0, 1.5]], atol=1e-12)


def test_directions_of_a_sparse_network_do_not_move_pruned_weights():
    model, masks = pruned_net()
    pairs = top_eigenpairs(Curvature(model).hessian(images()), 2)
    direction = pairs.direction(0)
    assert not direction["hidden/kernel"][~masks["hidden"]].any()
    assert sum(np.sum(part**2) for part in direction.values()) == pytest.approx(1)
    found = perturb(model, pairs, images())
    curve = found.rises[0]
    slope_free = (curve[41] + curve[39]) / 2
    assert slope_free == pytest.approx(pairs.values[0] * 0.01**2 / 2, rel=1e-2)


# --- All together, and what is left behind.


def test_all_measures_at_once_are_those_one_by_one_and_leave_the_model_as_found():
    model, _ = pruned_net()
    model.compile("adam")
    before = [variable.numpy().copy() for variable in model.variables]
    examples, test = images(), images(11)
    state = np.random.get_state()[1].copy()
    found = flatness(model, examples, test, k=5, probes=3, vectors=2)
    for variable, value in zip(model.variables, before, strict=True):
        assert variable.numpy().tobytes() == value.tobytes()
    assert len(model.optimizer.variables) <= 2  # Iterations and rate: no slots were made.
    assert not model.losses
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    hessian = Curvature(model).hessian(examples)
    pairs = top_eigenpairs(hessian, 5)
    np.testing.assert_array_equal(found.eigenpairs.values, pairs.values)
    np.testing.assert_array_equal(found.hessian_trace.samples, hessian_trace(hessian, 3).samples)
    covariance = gradient_covariance_trace(model, examples)
    assert found.gradient_covariance_trace == covariance
    assert found.tic_proxy == covariance / pairs.trace
    assert found.tic_proxy_hutchinson == covariance / found.hessian_trace.value
    assert found.perturbations.rises.shape == (2, 81)
    assert found.epsilon == perturb(model, pairs, test, 2).epsilon()


def test_one_program_serves_other_weights_of_the_model():
    model = small_net()
    curvature = Curvature(model)
    vector = np.random.default_rng(2).normal(size=183)
    hessian = curvature.hessian(images())
    first = hessian @ vector
    scrambled(model, seed=9)
    np.testing.assert_allclose(
        hessian @ vector, dense_hessian(model, images()) @ vector, atol=1e-12
    )
    assert np.abs(hessian @ vector - first).max() > 1e-3
    assert curvature.traces == 1


def test_pixels_are_normalized_per_channel():
    model = scrambled(keras.Sequential([layers.Flatten(input_shape=(2, 1, 2)), layers.Dense(3)]))
    mean, std = np.array([0.5, 0.2], np.float32), np.array([0.5, 0.4], np.float32)
    pixels = np.arange(0, 240, 10, dtype=np.uint8).reshape(6, 2, 1, 2)
    labels = np.arange(6) % 3
    floats = ((pixels / 255 - mean) / std).astype(np.float32)
    found = Curvature(model).gradient_norms(Examples(pixels, labels, mean, std))
    expected = Curvature(model).gradient_norms(Examples(floats, labels))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_subclassed_model_has_a_hessian():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(2, "tanh", dtype="float64")
            self.second = layers.Dense(3, dtype="float64")

        def call(self, inputs):
            return self.second(self.first(inputs))

    model = Mine()
    examples = images(6, (4,))
    with pytest.raises(InputError, match="give a tf_keras model that is built"):
        Curvature(model)
    model(examples.images)
    values = np.linalg.eigvalsh(dense_hessian(scrambled(model), examples))
    found = top_eigenpairs(Curvature(model).hessian(examples), 1, tolerance=0)
    assert np.abs(found.values[0]) == pytest.approx(np.abs(values).max())


# --- Examples, distances, and mistakes.


def test_examples_are_the_first_of_the_test_split_or_a_fixed_draw():
    np.testing.assert_array_equal(curvature_examples(10_000), np.arange(512))
    np.testing.assert_array_equal(curvature_examples(360, seed=3), np.arange(360))
    drawn = curvature_examples(10_000, 512, seed=3)
    assert len(np.unique(drawn)) == 512
    assert drawn.max() > 9_000
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, curvature_examples(10_000, 512, seed=3))
    assert (drawn != curvature_examples(10_000, 512, seed=4)).any()


def test_the_grid_is_gsts_81_distances():
    expected = [round(x, 2) for x in np.linspace(-0.4, 0.4, 81)]
    np.testing.assert_array_equal(perturbation_grid(), expected)


def test_a_ratio_to_nothing_is_nan():
    assert tic_proxy(6.0, 2.0) == 3
    assert math.isnan(tic_proxy(1.0, 0.0))


def test_mistakes_are_refused_by_name(net):
    hessian = Curvature(net).hessian(images())
    for keywords, message in [
        ({"k": 0}, "k=0: between 1 and 183"),
        ({"k": 184}, "k=184"),
        ({"k": 5, "basis_size": 5}, "basis_size=5: more than k = 5"),
        ({"k": 5, "which": "largest"}, "which=largest"),
    ]:
        with pytest.raises(SettingError, match=message):
            top_eigenpairs(hessian, **keywords)
    with pytest.raises(SettingError, match="probes=0"):
        hessian_trace(hessian, 0)
    with pytest.raises(SettingError, match="batch_size=0"):
        Curvature(net, batch_size=0)
    with pytest.raises(SettingError, match="count=0"):
        curvature_examples(10, 0)
    with pytest.raises(SettingError, match=r"step=0\.3"):
        perturbation_grid(0.4, 0.3)
    with pytest.raises(InputError, match="the loss is the Curvature's own"):
        curvature_of(Curvature(net), squared_error)
    pairs = top_eigenpairs(hessian, 2)
    with pytest.raises(InputError, match="must have 0 among them"):
        perturb(net, pairs, images(), distances=[0.1, 0.2])
    with pytest.raises(InputError, match="another network"):
        perturb(Evaluator(line_model(16), squared_error), pairs, images())


def test_masks_of_other_networks_are_refused(net):
    with pytest.raises(InputError, match="no layer 'none'"):
        unpruned_coordinates(net, Masks({"none": [1]}))
    with pytest.raises(InputError, match="no variable 'conv/kernal': did you mean conv/kernel"):
        unpruned_coordinates(net, {"conv/kernal": [1]})
    with pytest.raises(InputError, match=r"shape \(2,\) does not fit 'bn/beta'"):
        unpruned_coordinates(net, {"bn/beta": [1, 0]})
    with pytest.raises(InputError, match="other than 0 and 1"):
        unpruned_coordinates(net, {"bn/beta": [2]})
    with pytest.raises(InputError, match="no unpruned trainable parameter"):
        unpruned_coordinates(net, {name: [0] for name in trainable_variables(net)})


def test_a_diverged_network_is_refused():
    model = line_model()
    model.set_weights([np.full((3, 1), np.nan)])
    examples = images(4, (3,))
    curvature = Curvature(model, lambda labels, outputs: outputs[:, 0] ** 4)
    with pytest.raises(InputError, match="not finite"):
        top_eigenpairs(curvature.hessian(examples), 1)
    with pytest.raises(InputError, match="not finite"):
        curvature.gradient_norms(examples)


def test_they_are_measures_by_name():
    assert MEASURES["flatness"] is flatness
    for name in ("top_eigenpairs", "hessian_trace", "gradient_covariance_trace", "perturb"):
        assert MEASURES[name].__name__ == name
