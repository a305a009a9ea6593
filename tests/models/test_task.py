"""What outputs and labels mean, against plain Keras and NumPy in float64: every form of label and
loss, through every measure and criterion."""

import re

import numpy as np
import pytest
from compatibility import CLASSES, LABELS_REFUSED, OUTPUTS_REFUSED, TASKS

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.measures.ablation import Ablations, UtilityMeter
from tfprune.measures.curvature import gradient_covariance_trace
from tfprune.measures.el2n import el2n
from tfprune.measures.evaluation import Evaluator, Examples
from tfprune.measures.hessian import Curvature
from tfprune.measures.landscape import interpolate
from tfprune.models.task import batch_loss_of, task_of
from tfprune.pruning.criteria import ScoringInputs, gradient, snip
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.model import get_masks, prune_model
from tfprune.pruning.weights import read_weights
from tfprune.training.callbacks.filter_noise import FilterNoise
from tfprune.training.callbacks.subsets import SubsetAccuracy

layers, losses = keras.layers, keras.losses
N, C = 40, CLASSES


# What the others say of outputs and labels is what one of these says, with another loss or shape;
# loss, accuracy and probabilities are looked at of all.
OF_EACH_KIND = {
    "uncompiled_logits", "sparse_column", "weighted", "one_hot_logits_smoothed", "own_of_one_hot",
    "sigmoid_float", "one_logit", "multi_label", "regression_of_many",
}  # fmt: skip


def cases(names, quick=frozenset(TASKS)):
    """A test for each of these tasks, slow where it is not among the quick ones."""
    marks = {name: () if name in quick else pytest.mark.slow for name in names}
    return pytest.mark.parametrize(
        "case", [pytest.param(TASKS[name], id=name, marks=marks[name]) for name in names]
    )


WITH_CLASSES = [name for name, task in TASKS.items() if task.one_class]


def drawn(case):
    """A model, images and labels."""
    width = case.width
    rng = np.random.default_rng(0)
    is_layer = callable(case.end)
    inputs = keras.Input((4,))
    x = layers.Dense(6, "tanh", name="hidden")(inputs)
    x = layers.Dense(width, None if is_layer else case.end, name="end")(x)
    model = keras.Model(inputs, case.end(keras)(x) if is_layer else x)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    if case.loss is not None:
        model.compile("sgd", case.loss(keras), loss_weights=case.weight)
    images = rng.normal(size=(N, 4)).astype(np.float32)
    classes = rng.integers(0, max(width, 2), N)
    labels = {
        "index": classes,
        "column": classes[:, None],
        "one_hot": np.eye(C)[classes % C],
        "binary": classes,
        "binary_column": classes[:, None],
        "binary_float": classes.astype(float),
        "many": rng.integers(0, 2, (N, C)),
        "number": rng.normal(size=N),
        "numbers": rng.normal(size=(N, C)),
    }[case.labels]
    return model, images, labels, classes % max(width, 2)


def numpy_outputs(model, images):
    """Logits or numbers before the last activation, float64."""
    w, b, v, c = (x.astype(np.float64) for x in model.get_weights())
    return np.tanh(images.astype(np.float64) @ w + b) @ v + c


def numpy_predictions(values):
    return (values[:, 0] > 0).astype(int) if values.shape[1] == 1 else values.argmax(axis=1)


def numpy_probabilities(values):
    if values.shape[1] == 1:
        values = np.hstack([np.zeros_like(values), values])
    e = np.exp(values - values.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def keras_loss(model, images, labels):
    """What Keras itself says of a compiled model, or cross-entropy by NumPy."""
    if getattr(model, "loss", None):
        outputs = model(images, training=False)
        return float(model.compute_loss(images, tf.constant(labels), outputs))
    p = numpy_probabilities(numpy_outputs(model, images))
    return -np.log(p[np.arange(N), labels]).mean()


@cases(TASKS)
def test_loss_and_accuracy_are_those_of_keras_and_numpy_and_so_are_the_ends_of_a_path(case):
    model, images, labels, classes = drawn(case)
    evaluator = Evaluator(model, jit=False)
    start = read_weights(model)
    end = {name: 0.5 * value for name, value in start.items()}
    path = interpolate(evaluator, start, end, {"t": Examples(images, labels)}, [0, 1])
    for place, weights in enumerate((start, end)):
        model.set_weights(list(weights.values()))
        assert path.loss["t"][place] == pytest.approx(keras_loss(model, images, labels), rel=1e-5)
        if case.one_class:
            right = numpy_predictions(numpy_outputs(model, images)) == classes
            assert path.accuracy["t"][place] == pytest.approx(right.mean())
            assert 0 < right.mean() < 1
        else:
            assert np.isnan(path.accuracy["t"][place])


def slope(model, images, labels, layer, index, step=1e-2):
    """The derivative of Keras's loss by one entry of a kernel, by a five-point difference."""
    kernel = model.get_layer(layer).kernel
    value, found = kernel.numpy(), 0.0
    for distance, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        moved = value.copy()
        moved[index] += distance * step
        kernel.assign(moved)
        found += factor * keras_loss(model, images, labels)
    kernel.assign(value)
    return found / (12 * step)


@cases(TASKS, OF_EACH_KIND)
def test_gradient_scores_are_slopes_of_the_models_own_loss(case):
    model, images, labels, _ = drawn(case)
    masks = get_masks(prune_model(model))
    halves = [(images[:15], labels[:15]), (images[15:], labels[15:])]
    scores = snip(ScoringInputs(model, masks, halves))
    whole = gradient(ScoringInputs(model, masks, [(images, labels)]))
    for name, score in whole.items():
        np.testing.assert_allclose(scores[name], score, atol=1e-6)
    for layer, index in (("hidden", (1, 2)), ("end", (3, 0))):
        weight = model.get_layer(layer).kernel.numpy()[index]
        expected = abs(weight * slope(model, images, labels, layer, index))
        assert scores[layer][index] == pytest.approx(expected, rel=2e-3, abs=2e-5)


@cases(TASKS, OF_EACH_KIND)
def test_second_derivatives_and_gradients_of_examples_are_those_of_the_models_own_loss(case):
    model, images, labels, _ = drawn(case)
    curvature, loss = Curvature(model), batch_loss_of(model)
    examples = Examples(images[:9], labels[:9])
    kernel, variables = model.get_layer("end").kernel, model.trainable_variables

    def gradients(rows=slice(9), value=None):
        kernel.assign(kernel if value is None else value)
        with tf.GradientTape() as tape:
            found = loss(labels[rows], model(images[rows], training=False))
        return [g.numpy().astype(np.float64) for g in tape.gradient(found, variables)]

    squares = [sum(np.sum(g**2) for g in gradients(slice(row, row + 1))) for row in range(9)]
    assert gradient_covariance_trace(curvature, examples) == pytest.approx(
        np.mean(squares), rel=1e-4
    )
    hessian = curvature.hessian(examples)
    places = hessian.coordinates.to_arrays(np.arange(hessian.shape[0], dtype=np.float64))
    column = int(places["end/kernel"][3, 0])
    row = hessian @ np.eye(hessian.shape[0], dtype=np.float32)[column]
    value, moved = kernel.numpy(), np.zeros(kernel.shape, np.float32)
    moved[3, 0] = 1e-2
    ahead, behind = gradients(value=value + moved)[2], gradients(value=value - moved)[2]
    found = hessian.coordinates.to_arrays(row)["end/kernel"]
    expected = (ahead - behind) / 2e-2
    np.testing.assert_allclose(found, expected, atol=3e-3 * np.abs(expected).max())


@cases(WITH_CLASSES)
def test_el2n_is_the_distance_of_probabilities_from_the_label(case):
    model, images, labels, classes = drawn(case)
    p = numpy_probabilities(numpy_outputs(model, images))
    expected = np.linalg.norm(p - np.eye(p.shape[1])[classes], axis=1)
    np.testing.assert_allclose(el2n(model, images, labels), expected, atol=1e-5)


@cases(WITH_CLASSES, OF_EACH_KIND)
def test_utility_is_the_divergence_between_distributions_over_classes(case):
    model, images, labels, classes = drawn(case)
    ablations = Ablations((1.0,), subsets=1)
    found = UtilityMeter(model, Examples(images, labels), ablations).measure()
    p = numpy_probabilities(numpy_outputs(model, images))
    zeroed = [w if w.ndim == 1 else np.zeros_like(w) for w in model.get_weights()]
    model.set_weights(zeroed)
    q = numpy_probabilities(numpy_outputs(model, images))
    expected = np.mean(np.sum(p * np.log(p / q), axis=1))
    assert expected > 0.01
    assert found.mean[0] == pytest.approx(expected, rel=1e-3)
    assert found.accuracies[0, 0] == pytest.approx(np.mean(q.argmax(axis=1) == classes))


@cases(WITH_CLASSES, OF_EACH_KIND)
def test_events_and_subsets_are_measured_by_the_true_accuracy(case):
    model, images, labels, classes = drawn(case)
    loss = getattr(model, "loss", losses.SparseCategoricalCrossentropy(from_logits=True))
    model.compile(keras.optimizers.SGD(0.0), loss, run_eagerly=True)  # Two steps.
    selected = np.arange(N) < 9
    subsets = SubsetAccuracy(images, labels, labels[::-1], selected, batch_size=7)
    noise = FilterNoise([FilterSchedule("hidden", 0, 0, 1, 0.5)], test=(images, labels))
    history = model.fit(images, labels, verbose=0, callbacks=[subsets, noise]).history
    assert noise.events[0]["accuracy_after"] == pytest.approx(
        np.mean(numpy_predictions(numpy_outputs(model, images)) == classes)
    )
    original, *_ = drawn(case)
    right = numpy_predictions(numpy_outputs(original, images)) == classes
    assert noise.events[0]["accuracy_before"] == pytest.approx(right.mean())
    assert history["train_accuracy"][0] == pytest.approx(right.mean())
    assert history["permuted_accuracy"][0] == pytest.approx(right[selected].mean())
    assert history["unpermuted_accuracy"][0] == pytest.approx(right[~selected].mean())
    assert history["train_loss"][0] == pytest.approx(
        keras_loss(original, images, labels) / (case.weight or 1), rel=1e-5
    )


@cases([name for name in TASKS if name not in WITH_CLASSES])
def test_what_is_for_classifiers_refuses_other_tasks_before_anything_is_computed(case):
    model, images, labels, _ = drawn(case)
    for measure in (
        lambda: el2n(model, images, labels),
        lambda: UtilityMeter(model, Examples(images, labels)),
    ):
        with pytest.raises(InputError, match="compares distributions over classes"):
            measure()
    schedule = FilterSchedule("hidden", 0, 0, 1, 0.5)
    for callback in (
        FilterNoise([schedule], test=(images, labels)),
        SubsetAccuracy(images, labels, labels, np.zeros(N, bool)),
    ):
        with pytest.raises(InputError, match="classifiers with one label for each example"):
            model.fit(images, labels, verbose=0, callbacks=[callback])
    assert model.optimizer.iterations.numpy() == 0


@pytest.mark.parametrize(("width", "activation", "loss", "message"), OUTPUTS_REFUSED)
def test_outputs_that_nothing_gives_a_meaning_are_refused(width, activation, loss, message):
    model = keras.Sequential([layers.Dense(width, activation, input_shape=(2,))])
    if loss is not None:
        model.compile("sgd", loss)
    with pytest.raises(InputError, match=message):
        task_of(model)


@pytest.mark.parametrize(("case", "labels", "message"), LABELS_REFUSED)
def test_labels_that_do_not_fit_are_refused_in_a_line(case, labels, message):
    model, *_ = drawn(TASKS[case])
    with pytest.raises(InputError, match=re.escape(message)) as error:
        task_of(model).labels(np.array(labels))
    assert "\n" not in str(error.value)


def test_ones_own_layer_at_the_end_is_told_what_it_gives():
    class Ends(layers.Layer):
        def call(self, inputs):
            return tf.nn.softmax(inputs)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Ends()(layers.Dense(3, name="d")(inputs)))
    images, labels = np.eye(3, dtype=np.float32), np.arange(3)
    with pytest.raises(InputError, match="say from_logits=False"):
        el2n(model, images, labels)
    p = model(images).numpy()
    expected = np.linalg.norm(p - np.eye(3), axis=1)
    found = el2n(model, images, labels, from_logits=False)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("structure", [dict, list])
def test_several_outputs_are_refused_with_what_to_give_instead(structure):
    inputs = keras.Input((3,))
    ends = {name: layers.Dense(2, name=name)(inputs) for name in ("class", "other")}
    outputs = ends if structure is dict else list(ends.values())
    model = keras.Model(inputs, outputs)
    images, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 1])
    for measure in (
        lambda m: el2n(m, images, labels),
        lambda m: Evaluator(m),
        lambda m: Curvature(m),
        lambda m: UtilityMeter(m, Examples(images, labels)),
    ):
        with pytest.raises(InputError, match="has the outputs class, other, and one is measured"):
            measure(model)
        measure(keras.Model(model.inputs, model.outputs[0]))
    only = keras.Model(inputs, {"class": ends["class"]})
    with pytest.raises(InputError, match="has the outputs class, and one is measured"):
        task_of(only)


def test_several_inputs_are_refused():
    a, b = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    model = keras.Model([a, b], layers.Dense(2, name="d")(layers.Add()([a, b])))
    images, labels = np.zeros((3, 2), np.float32), np.array([0, 1, 1])
    for measure in (
        lambda: el2n(model, [images, images], labels),
        lambda: Evaluator(model),
        lambda: Curvature(model),
        lambda: UtilityMeter(model, Examples(images, labels)),
    ):
        with pytest.raises(InputError, match="has the inputs left, right, and models of one"):
            measure()
    with pytest.raises(InputError, match="images must be one array"):
        Examples([images, images], labels)


def test_a_class_at_each_position_has_a_loss_and_no_accuracy():
    """Sequence labelling: the loss is Keras's own, the mean over positions."""
    model = keras.Sequential([layers.Dense(3, input_shape=(5, 2), name="d")])
    with pytest.raises(InputError, match=r"outputs of shape \(None, 5, 3\), which may be logits"):
        task_of(model)
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(N, 5, 2)).astype(np.float32)
    labels = rng.integers(0, 3, (N, 5))
    examples = Examples(images, labels)
    weights = read_weights(model)
    found = interpolate(Evaluator(model, jit=False), weights, weights, {"t": examples}, [0, 1])
    assert found.loss["t"][0] == pytest.approx(model.evaluate(images, labels, verbose=0), rel=1e-5)
    assert np.isnan(found.accuracy["t"]).all()
    with pytest.raises(InputError, match="compares distributions over classes"):
        el2n(model, images, labels)


def test_a_nested_model_that_ends_in_a_softmax_gives_probabilities():
    inner = keras.Sequential([layers.Dense(3, "softmax", input_shape=(4,), name="d")], name="inner")
    inputs = keras.Input((4,))
    nested = keras.Model(inputs, layers.Dropout(0.5)(inner(inputs)))
    for model in (nested, prune_model(nested), prune_model(keras.Sequential(inner.layers))):
        task = task_of(model)
        assert (task.kind, task.from_logits, task.width) == ("classes", False, 3)
