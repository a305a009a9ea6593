"""What is measured: `Examples`, and nothing that looks like them."""

import numpy as np
import pytest

import tfprune
from tfprune.backend import keras, tf
from tfprune.catalog import MEASURES
from tfprune.errors import InputError
from tfprune.measures.evaluation import Examples
from tfprune.measures.hessian import Curvature
from tfprune.measures.plane import Plane
from tfprune.pruning.model import get_masks
from tfprune.pruning.weights import read_weights

IMAGES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS = np.arange(6) % 2


@pytest.fixture(scope="module")
def model():
    layer = keras.layers.Dense(2, input_shape=(3,), name="logits")
    return tfprune.prune_model(keras.Sequential([layer]))


def weights(model, count):
    """Of different networks, no three of which are on a line."""
    rng, values = np.random.default_rng(0), read_weights(model).items()
    return [{name: v + rng.normal(size=v.shape) for name, v in values} for _ in range(count)]


MEASURED = {
    "interpolate": lambda m, data: MEASURES["interpolate"](
        m, *weights(m, 2), {"train": data}, [0, 1]
    ),
    "plane_grid": lambda m, data: list(
        MEASURES["plane_grid"](m, Plane.through(*weights(m, 3)), {"train": data}, [0, 1], [0, 1])
    ),
    "flatness": lambda m, data: MEASURES["flatness"](m, data, data, get_masks(m), k=1, vectors=1),
    "gradient norms": lambda m, data: Curvature(m).gradient_norms(data),
    "linear_loss_change": lambda m, data: MEASURES["linear_loss_change"](
        m, data, get_masks(m), get_masks(m)
    ),
    "utility": lambda m, data: MEASURES["utility"](m, data),
    "UtilityRecord": lambda m, data: tfprune.UtilityRecord(data),
}
OTHERS = {
    "a tf.data set": tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(2),
    "a pair of arrays": (IMAGES, LABELS),
    "images": IMAGES,
}


@pytest.mark.parametrize("measure", MEASURED.values(), ids=MEASURED)
@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_what_are_no_examples_is_refused_in_a_line(model, measure, data):
    with pytest.raises(InputError, match=r"tfprune.Examples\(images, labels\)"):
        measure(model, data)


def test_splits_without_names_are_refused(model):
    with pytest.raises(InputError, match="examples by name"):
        MEASURES["interpolate"](model, *weights(model, 2), Examples(IMAGES, LABELS), [0, 1])
