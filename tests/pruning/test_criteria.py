"""Criteria: scores of a hand-made network in closed form, ties, and no trace left behind."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.catalog import CRITERIA
from tfprune.errors import InputError
from tfprune.pruning import criteria
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prune_model, set_masks
from tfprune.pruning.selection import prune, prune_to_sparsity


def _inputs(model, **kwargs):
    return ScoringInputs(model, get_masks(model), **kwargs)


def _linear(weights):
    """Two logits that are linear in two inputs."""
    images = keras.Input((2,))
    model = keras.Model(images, keras.layers.Dense(2, use_bias=False, name="output")(images))
    model.set_weights([np.array(weights)])
    return prune_model(model)


def _softmax_gradient(w, images, labels):
    """Mean over examples of x (softmax(x w) - onehot)', in float64."""
    logits = images @ w
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return images.T @ (p - np.eye(2)[labels]) / len(labels)


def test_magnitude_is_the_absolute_value(hand_made):
    scores = criteria.magnitude(_inputs(prune_model(hand_made)))
    assert scores["hidden"].tolist() == [[1.0, 2.0], [0.5, 1.0]]
    assert scores["output"].tolist() == [[3.0], [1.0]]
    assert {score.dtype for score in scores.values()} == {np.dtype(np.float64)}


def test_magnitude_pruning_of_six_weights_breaks_ties_by_flat_index(hand_made):
    inputs = _inputs(prune_model(hand_made))
    # |w| = 1, 2, 0.5, 1 | 3, 1: the half goes first, then the ones in order.
    left = prune(criteria.magnitude(inputs), inputs.masks, 0.5, "global")
    assert left == Masks({"hidden": [[0, 1], [0, 0]], "output": [[1], [1]]})


def test_gradient_uses_the_first_batch_only():
    w = np.array([[1.0, -0.5], [0.25, 2.0]])
    images, labels = np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0]]), np.array([0, 1, 1])
    batches = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    scores = criteria.gradient(_inputs(_linear(w), batches=batches))
    expected = np.abs(w * _softmax_gradient(w, images[:2], labels[:2]))
    np.testing.assert_allclose(scores["output"], expected, rtol=1e-5)


def test_gradient_masks_of_a_level_equal_a_numpy_computation():
    """|w dL/dw| of a two-layer network by hand in float64, and the 20% lowest removed."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(6, 9)), rng.normal(size=(9, 4))
    images, labels = rng.normal(size=(12, 6)), rng.integers(0, 4, 12)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(9, "relu", use_bias=False, name="hidden")(inputs)
    logits = keras.layers.Dense(4, use_bias=False, name="output")(hidden)
    plain = keras.Model(inputs, logits)
    plain.set_weights([first, second])
    model = prune_model(plain, ["hidden"])
    first, second = (w.astype(np.float64) for w in plain.get_weights())

    active = np.maximum(images @ first, 0)
    p = np.exp(active @ second)
    error = (p / p.sum(axis=1, keepdims=True) - np.eye(4)[labels]) / len(labels)
    gradient = images.T @ ((error @ second.T) * (active > 0))
    scores = np.abs(first * gradient).ravel()
    expected = np.ones(54, bool)
    expected[np.argsort(scores, kind="stable")[:18]] = False  # ceil(0.2 * (54 + 36)).

    scored = criteria.gradient(_inputs(model, batches=[(images, labels)]))
    np.testing.assert_allclose(scored["hidden"].ravel(), scores, rtol=1e-4, atol=1e-8)
    left = prune(scored, get_masks(model), 0.2, "global")
    np.testing.assert_array_equal(left.flat(), expected)
    assert left.sparsity == 18 / 90


@pytest.mark.parametrize(("num_batches", "used"), [(None, 5), (2, 3), (1, 2), (99, 5)])
def test_snip_weighs_every_example_the_same(num_batches, used):
    rng = np.random.default_rng(0)
    w, images, labels = rng.normal(size=(2, 2)), rng.normal(size=(5, 2)), np.array([0, 1, 1, 0, 1])
    ends = [(0, 2), (2, 3), (3, 5)]
    batches = [(images[a:b], labels[a:b]) for a, b in ends]
    inputs = _inputs(_linear(w), batches=lambda: iter(batches), num_batches=num_batches)
    expected = np.abs(w * _softmax_gradient(w, images[:used], labels[:used]))
    np.testing.assert_allclose(criteria.snip(inputs)["output"], expected, rtol=1e-5)


def test_snip_averages_before_taking_the_absolute_value():
    """Two examples whose gradients cancel score zero."""
    images, labels = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    batches = [(images[:1], labels[:1]), (images[1:], labels[1:])]
    w = [[0.5, 0.5], [0.5, 0.5]]
    assert criteria.snip(_inputs(_linear(w), batches=batches))["output"].max() < 1e-8
    assert criteria.gradient(_inputs(_linear(w), batches=batches))["output"][0, 0] > 0.2


def test_synflow_of_a_hand_made_network_is_the_flow_through_each_weight(hand_made):
    # |hidden| = [[1, 2], [0.5, 1]], |output| = [3, 1]: R = 3 (1 + 0.5) + 1 (2 + 1) = 7.5.
    scores = criteria.synflow(_inputs(prune_model(hand_made)))
    np.testing.assert_array_equal(scores["hidden"], [[3.0, 2.0], [1.5, 1.0]])
    np.testing.assert_array_equal(scores["output"], [[4.5], [3.0]])


def test_synflow_does_not_flow_through_pruned_weights(hand_made):
    model = prune_model(hand_made)
    set_masks(model, Masks({"hidden": [[1, 1], [1, 1]], "output": [[0], [1]]}))
    scores = criteria.synflow(_inputs(model))
    np.testing.assert_array_equal(scores["hidden"], [[0.0, 2.0], [0.0, 1.0]])


@pytest.mark.parametrize("kind", ["mlp", "conv_net"])
def test_synflow_conserves_its_sum_in_every_layer(kind, request):
    """True at initialization: biases zero, batch norm a fixed scale."""
    scores = criteria.synflow(_inputs(prune_model(request.getfixturevalue(kind)())))
    if kind == "conv_net":
        del scores["conv2"]  # The shortcut leads around it.
    sums = [score.sum() for score in scores.values()]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-12)
    assert sums[0] > 1


def _narrow_wide_narrow(seed):
    """Kernels of fan-in 9, 36, 288 and 4, and so of very different scale by He's rule."""
    layers, init = keras.layers, keras.initializers.HeNormal
    images = keras.Input((8, 8, 1))
    x = images
    for index, filters in enumerate((4, 32, 4)):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", use_bias=False,
            kernel_initializer=init(seed + index), name=f"conv{index}",
        )(x)  # fmt: skip
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, use_bias=False, kernel_initializer=init(seed + 3), name="output")(x)
    return prune_model(keras.Model(images, x))


def _iterative_counts(criterion, model):
    """Weights left in every layer at every level: 20% of all of them a level, down to one each."""
    counts = []
    while (masks := get_masks(model)).remaining > len(masks):
        scores = CRITERIA[criterion](ScoringInputs(model, masks))
        set_masks(model, prune(scores, masks, 0.2, "global"))
        counts.append([int(mask.sum()) for mask in get_masks(model).values()])
    return np.array(counts)


@pytest.mark.parametrize("seed", [0, pytest.param(10, marks=pytest.mark.slow)])
def test_iterative_synflow_never_empties_a_layer_where_magnitude_does(seed):
    """Every layer's scores sum to R, so no score is above a last weight's (Tanaka et al. 2020)."""
    left = _iterative_counts("synflow", _narrow_wide_narrow(seed))
    assert len(left) == 27
    assert left.min() == 1
    assert left[-1].tolist() == [1, 1, 1, 1]  # A path from input to logits.
    by_magnitude = _iterative_counts("magnitude", _narrow_wide_narrow(seed))
    emptied = by_magnitude[by_magnitude.min(axis=1) == 0]
    assert emptied[0].argmin() == 2  # The small weights of the 32 -> 4 convolution,
    assert emptied[0].sum() == 492  # while a fifth of all weights are left.


@pytest.mark.parametrize("criterion", ["snip", "synflow"])
def test_scores_of_the_dense_network_alone_empty_a_layer(criterion, examples):
    """It is the scoring anew at every level that keeps the layers alive, of SynFlow too."""
    model = _narrow_wide_narrow(0)
    masks, batches = get_masks(model), [examples((8, 8, 1))]
    scores = CRITERIA[criterion](ScoringInputs(model, masks, batches))
    left = prune_to_sparsity(scores, masks, 0.995, "global")
    assert left.remaining == 11
    assert min(mask.sum() for mask in left.values()) == 0


def test_synflow_takes_batch_norm_as_the_absolute_affine_map_of_inference():
    """One path: R = 2 (4 (3·1 + 5) / √(0.25 + 0) + 1) = 130 for w = -3 and γ, β, μ, σ² below."""
    images = keras.Input((1,))
    x = keras.layers.Dense(1, use_bias=False, name="first")(images)
    x = keras.layers.BatchNormalization(epsilon=0.0, name="bn")(x)
    x = keras.layers.ReLU()(x)
    model = keras.Model(images, keras.layers.Dense(1, use_bias=False, name="last")(x))
    model.get_layer("first").set_weights([np.array([[-3.0]])])
    model.get_layer("bn").set_weights([np.array([v]) for v in (-4.0, -1.0, 5.0, 0.25)])
    model.get_layer("last").set_weights([np.array([[2.0]])])
    scores = criteria.synflow(_inputs(prune_model(model)))
    assert scores["last"].item() == 130.0
    assert scores["first"].item() == 3 * 2 * 4 / 0.5


def test_synflow_stays_finite_where_float32_would_not():
    model = keras.Sequential([keras.Input((4,))])
    for index in range(30):
        model.add(keras.layers.Dense(4, use_bias=False, name=f"fc{index}"))
    model.set_weights([np.full((4, 4), 250.0) for _ in range(30)])
    scores = criteria.synflow(_inputs(prune_model(model)))
    np.testing.assert_allclose(
        [score.sum() for score in scores.values()], 16 * 250.0 * 1000.0**29, rtol=1e-12
    )


def test_random_scores_depend_on_the_generator_alone(hand_made):
    model = prune_model(hand_made)
    scores = criteria.random(_inputs(model, rng=np.random.default_rng(7)))
    expected = np.random.default_rng(7).random(6)
    np.testing.assert_array_equal(np.concatenate([s.ravel() for s in scores.values()]), expected)


@pytest.mark.parametrize("name", list(CRITERIA))
def test_scoring_leaves_the_model_as_it_was_bit_for_bit(name, conv_net, examples):
    model = prune_model(conv_net())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    shapes = get_masks(model).shapes
    rng = np.random.default_rng(0)
    set_masks(model, Masks({n: rng.random(shape) < 0.5 for n, shape in shapes.items()}))
    before = [variable.numpy().tobytes() for variable in model.variables]
    batches = [examples((6, 6, 2), 5, seed) for seed in range(2)]
    inputs = _inputs(model, batches=batches, num_batches=2, rng=rng)
    scores = CRITERIA[name](inputs)
    assert [variable.numpy().tobytes() for variable in model.variables] == before
    assert {n: s.shape for n, s in scores.items()} == shapes
    assert list(scores) == list(shapes)
    if name != "random":
        assert all((scores[n][~inputs.masks[n]] == 0).all() for n in scores)
        np.testing.assert_array_equal(CRITERIA[name](inputs)["conv2"], scores["conv2"])


def test_wrapped_and_plain_models_have_the_same_scores(conv_net, examples):
    plain, batches = conv_net(), [examples((6, 6, 2))]
    wrapped = prune_model(plain)
    for name in ("magnitude", "snip", "synflow"):
        ours = CRITERIA[name](_inputs(wrapped, batches=batches))
        theirs = CRITERIA[name](ScoringInputs(plain, get_masks(wrapped), batches))
        for layer in ours:
            np.testing.assert_array_equal(ours[layer], theirs[layer])


def test_frozen_layers_and_mixed_precision_are_scored(examples):
    policy = keras.mixed_precision.Policy("mixed_bfloat16")
    images = keras.Input((6,))
    x = keras.layers.Dense(5, "relu", dtype=policy, name="fc")(images)
    plain = keras.Model(images, keras.layers.Dense(3, dtype="float32", name="output")(x))
    plain.get_layer("fc").trainable = False
    inputs = _inputs(prune_model(plain), batches=[examples((6,))])
    assert criteria.snip(inputs)["fc"].max() > 0
    sums = [score.sum() for score in criteria.synflow(inputs).values()]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-12)


@pytest.mark.parametrize("name", list(CRITERIA))
def test_a_criterion_scores_by_as_many_batches_as_the_catalog_says(name):
    taken = []

    def three():
        for seed in range(3):
            taken.append(seed)
            yield np.eye(2), np.array([0, 1])

    rng = np.random.default_rng(0)
    CRITERIA[name](_inputs(_linear(np.eye(2)), batches=three, num_batches=3, rng=rng))
    assert len(taken) == CRITERIA.entry(name).get("batches", 3)


def test_missing_batches_are_an_input_error(hand_made):
    model = prune_model(hand_made)
    model.compile("sgd", "mse")
    with pytest.raises(InputError, match="training batches"):
        criteria.snip(_inputs(model))


def test_nested_and_tf_op_models_flow(hand_made):
    inner = keras.Sequential(
        [keras.layers.Dense(2, use_bias=False, name="inner", input_shape=(2,))]
    )
    images = keras.Input((2,))
    model = keras.Model(images, tf.nn.relu(inner(images)) * 2.0)
    model.set_weights([np.array([[1.0, -2.0], [3.0, 4.0]])])
    scores = criteria.synflow(_inputs(prune_model(model)))
    np.testing.assert_array_equal(scores["inner"], [[2.0, 4.0], [6.0, 8.0]])


def _narrow(activation, end=None):
    """Signals of the absolute network grow far beyond 6."""
    layers = keras.layers
    images = keras.Input((5,))
    x = layers.Dense(6, use_bias=False, name="first")(images)
    x = activation()(x)
    x = layers.Dense(4, activation="tanh" if activation is layers.ELU else None, name="second")(x)
    model = keras.Model(images, layers.Dense(3, end, use_bias=False, name="third")(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0, 9, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("activation", "end"),
    [
        (keras.layers.ReLU, None),
        (lambda: keras.layers.ReLU(6.0), None),
        (lambda: keras.layers.Activation("hard_sigmoid"), None),
        (lambda: keras.layers.Activation(tf.nn.relu6), None),
        (lambda: keras.layers.LeakyReLU(), None),
        (keras.layers.ELU, None),
        (keras.layers.Softmax, None),
        (keras.layers.ReLU, "softmax"),
        (keras.layers.ReLU, "sigmoid"),
    ],
)
def test_synflow_is_the_product_of_absolute_weights_whatever_saturates(activation, end):
    model = _narrow(activation, end)
    scores = criteria.synflow(_inputs(prune_model(model)))
    first, second, bias, third = (np.abs(w).astype(np.float64) for w in model.get_weights())
    hidden = np.ones(5) @ first
    after = third.sum(axis=1)
    np.testing.assert_allclose(scores["third"], (hidden @ second + bias)[:, None] * third)
    np.testing.assert_allclose(scores["second"], hidden[:, None] * second * after)
    np.testing.assert_allclose(scores["first"], first * (second @ after))


def test_synflow_refuses_to_let_layers_go_by_ties():
    a, b = keras.Input((4,)), keras.Input((4,))
    shared = keras.layers.Dense(3, name="shared")
    difference = keras.layers.Subtract()([shared(a), shared(b)])
    model = keras.Model([a, b], keras.layers.Dense(1, name="end")(difference))
    with pytest.raises(InputError, match="does not pass shared, end, whose weights would go by"):
        criteria.synflow(_inputs(prune_model(model)))


def test_synflow_flows_to_every_output():
    images = keras.Input((2,))
    outputs = {n: keras.layers.Dense(1, use_bias=False, name=n)(images) for n in ("a", "b")}
    model = keras.Model(images, outputs)
    model.set_weights([np.array([[1.0], [-2.0]]), np.array([[3.0], [4.0]])])
    scores = criteria.synflow(_inputs(prune_model(model)))
    assert scores["a"].tolist() == [[1.0], [2.0]]
    assert scores["b"].tolist() == [[3.0], [4.0]]


@pytest.mark.parametrize("criterion", [criteria.gradient, criteria.snip])
def test_several_inputs_and_outputs_are_scored_by_the_whole_compiled_loss(criterion):
    """The sum of 2 times the squared error of one output and of the other's cross-entropy."""
    rng = np.random.default_rng(0)
    a, b = keras.Input((3,)), keras.Input((3,))
    x = keras.layers.Concatenate()([a, b])
    number = keras.layers.Dense(1, use_bias=False, name="number")(x)
    logits = keras.layers.Dense(2, use_bias=False, name="class")(x)
    model = prune_model(keras.Model([a, b], {"number": number, "class": logits}))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        "sgd", {"number": "mse", "class": entropy}, loss_weights={"number": 2.0, "class": 1}
    )
    images = [rng.normal(size=(4, 3)), rng.normal(size=(4, 3))]
    labels = {"number": rng.normal(size=4), "class": np.array([0, 1, 1, 0])}
    scores = criterion(_inputs(model, batches=[(images, labels)]))
    x = np.hstack(images)
    w, v = (model.get_layer(f"masked_layer_{n}").kernel.numpy() for n in ("number", "class"))
    residual = x @ w - labels["number"][:, None]
    np.testing.assert_allclose(scores["number"], np.abs(w * 2 * 2 * x.T @ residual / 4), rtol=1e-4)
    expected = np.abs(v * _softmax_gradient(v.astype(float), x, labels["class"]))
    np.testing.assert_allclose(scores["class"], expected, rtol=1e-4, atol=1e-7)


def test_several_outputs_without_a_loss_are_refused():
    images = keras.Input((2,))
    outputs = [keras.layers.Dense(1, name=n)(images) for n in ("a", "b")]
    model = prune_model(keras.Model(images, outputs))
    with pytest.raises(InputError, match=r"outputs .*a, .*b and no loss: compile it with one"):
        criteria.snip(_inputs(model, batches=[(np.zeros((1, 2)), [np.zeros(1)] * 2)]))


def _drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 3, 20)


def _data():
    return tf.data.Dataset.from_tensor_slices(_drawn()).batch(4)


@pytest.mark.parametrize(
    "batches",
    [
        lambda data: list(data),
        lambda data: data,
        lambda data: data.filter(lambda *_: True),
        lambda data: lambda: iter(data),
        lambda data: tf.data.Dataset.from_generator(
            lambda: iter(data), output_signature=data.element_spec
        ),
    ],
    ids=["list", "dataset", "unknown_length", "function", "from_generator"],
)
def test_batches_of_any_kind_that_can_be_read_again_give_the_same_scores(mlp, batches):
    model = prune_model(mlp())
    expected = criteria.snip(_inputs(model, batches=[_drawn()]))
    given = batches(_data())
    for _ in range(2):
        found = criteria.snip(_inputs(model, batches=given))
        np.testing.assert_allclose(found["fc1"], expected["fc1"], atol=1e-6)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: (batch for batch in _data()), "a generator is empty after the first time"),
        (lambda: iter(_data()), "is empty after the first time"),
        (lambda: _data().repeat(), "batches never end"),
        (lambda: 3, "not a int"),
        (lambda: [(*_drawn(), np.ones(20))], "one has 3 parts"),
        (lambda: [np.zeros((4, 6))], "one is a ndarray"),
    ],
)
def test_batches_that_cannot_be_used_are_refused_in_a_line(mlp, batches, message):
    with pytest.raises(InputError, match=message):
        criteria.snip(_inputs(prune_model(mlp()), batches=batches()))
