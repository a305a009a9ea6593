"""What measures and scores multiplies in IEEE float32, whatever training is allowed."""

import numpy as np
import pytest
from networks import evaluate

import tfprune
from tfprune.backend import keras, tf
from tfprune.catalog import CRITERIA, FILTER_CRITERIA
from tfprune.measures.ablation import Ablations, UtilityMeter
from tfprune.measures.curvature import flatness
from tfprune.measures.el2n import el2n, model_outputs
from tfprune.measures.evaluation import Examples
from tfprune.measures.landscape import interpolate, line
from tfprune.measures.loss_change import linear_loss_change
from tfprune.precision import products
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.model import get_masks, prune_model
from tfprune.pruning.weights import read_weights

allowed = tf.config.experimental.tensor_float_32_execution_enabled
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 4, 4, 1)).astype(np.float32)
LABELS = RNG.integers(3, size=8)
EXAMPLES = Examples(IMAGES, LABELS)


@keras.utils.register_keras_serializable("tests")
class Witness(keras.layers.Layer):
    """Passes on what it gets, and notes what is allowed whenever it is traced or run."""

    seen: list = []  # noqa: RUF012 - of all copies.

    def call(self, inputs):
        graph = tf.compat.v1.get_default_graph()
        # In a scratch graph Keras only asks for the shape of what comes out.
        if "scratch_graph" not in getattr(graph, "name", ""):
            self.seen.append(allowed())
        return inputs


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", input_shape=(4, 4, 1), name="conv"),
            layers.BatchNormalization(name="norm"),
            Witness(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3, name="logits"),
        ]
    )
    pruned = prune_model(network, filters=True)
    pruned.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    Witness.seen.clear()
    return pruned


def scored(model, criterion):
    inputs = ScoringInputs(
        model, get_masks(model), [(IMAGES, LABELS)], rng=np.random.default_rng(0)
    )
    criterion(inputs)


def changed(model):
    masks = get_masks(model)
    fewer = tfprune.prune({n: np.abs(m * 1.0) for n, m in masks.items()}, masks, 0.5, "global")
    linear_loss_change(model, EXAMPLES, masks, fewer)


MEASURES = {
    "evaluate": lambda model: evaluate(model, {"test": EXAMPLES}),
    "interpolate": lambda model: interpolate(
        model, read_weights(model), read_weights(model), {"test": EXAMPLES}, alphas=[0.0, 1.0]
    ),
    "line": lambda model: line(model, [read_weights(model)], {"test": EXAMPLES}, [0.0]),
    "flatness": lambda model: flatness(model, EXAMPLES, EXAMPLES, k=1, probes=2, vectors=1),
    "el2n": lambda model: el2n([model], IMAGES, LABELS),
    "model_outputs": lambda model: model_outputs(model, IMAGES),
    "linear_loss_change": changed,
    "utility": lambda model: UtilityMeter(
        model, EXAMPLES, Ablations(amounts=(0.5,), subsets=2)
    ).measure(),
    **{
        name: lambda model, name=name: scored(model, CRITERIA[name])
        for name in ("gradient", "snip", "synflow")
    },
    "filter_activation": lambda model: scored(model, FILTER_CRITERIA["filter_activation"]),
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_measures_and_criteria_are_ieee_and_leave_the_switch_as_it_was(model, measure):
    for before in (True, False):
        with products("tf32" if before else "ieee"):
            measure(model)
            assert allowed() is before
    assert Witness.seen
    assert not any(Witness.seen)


def test_the_switch_goes_back_when_something_is_raised():
    before = allowed()
    with pytest.raises(ZeroDivisionError), products("tf32" if not before else "ieee"):
        _ = 1 / 0
    assert allowed() is before


@pytest.mark.parametrize(("kind", "is_ieee"), [("ieee", True), ("tf32", False)])
def test_compiled_products_say_which_kind_they_are(kind, is_ieee):
    """XLA reads the switch when it compiles, on any device, and writes it into the program."""

    def function(images, kernel):
        outputs = tf.nn.conv2d(images, kernel, 1, "SAME")
        return tf.matmul(tf.reshape(outputs, (-1, 2)), tf.ones((2, 3)))

    arguments = tf.constant(IMAGES), tf.ones((3, 3, 1, 2))
    with products(kind):
        program = tf.function(function, jit_compile=True, autograph=False)
        text = program.experimental_get_compiler_ir(*arguments)(stage="hlo")
    lines = [part for part in text.splitlines() if " convolution(" in part or " dot(" in part]
    assert len(lines) == 2
    assert all(("operand_precision={highest,highest}" in part) is is_ieee for part in lines)
