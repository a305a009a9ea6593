"""Saved and loaded models keep their masks, and keep holding them; TFLite runs the same."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from tensorflow_model_optimization.sparsity.keras import prune_scope, strip_pruning

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.export import (
    load_model,
    restore_checkpoint,
    save_checkpoint,
    save_model,
    to_tflite,
)
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prunable_weights, prune_model, set_masks, strip


@pytest.fixture
def sparse_model(conv_net, examples):
    """A wrapped, compiled network after a few dense steps with momentum and a pruning."""
    model = prune_model(conv_net())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    model.fit(*examples((6, 6, 2)), batch_size=10, verbose=0)
    rng = np.random.default_rng(0)
    shapes = get_masks(model).shapes
    set_masks(model, Masks({name: rng.random(shape) < 0.5 for name, shape in shapes.items()}))
    return model


def assert_trains_on_sparse(model, masks, images, labels):
    before = prunable_weights(model)
    model.fit(images, labels, batch_size=10, epochs=2, verbose=0)
    after = prunable_weights(model)
    for name, mask in masks.items():
        assert np.count_nonzero(after[name][~mask]) == 0
        assert np.count_nonzero(after[name] != before[name]) > 0
    assert get_masks(model) == masks


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("model.keras", "ours"),
        ("model.keras", "keras"),
        ("model.keras", "prune_scope"),
        ("saved_model", "ours"),
        ("saved_model", "prune_scope"),
        ("model.h5", "keras"),
    ],
)
def test_a_saved_model_keeps_function_and_masks_and_trains_on(
    name, loader, sparse_model, examples, tmp_path
):
    images, labels = examples((6, 6, 2))
    path = tmp_path / name
    if name == "model.h5":
        sparse_model.save(path)
    else:
        save_model(sparse_model, path)
    with prune_scope() if loader == "prune_scope" else contextlib.nullcontext():
        loaded = load_model(path) if loader == "ours" else keras.models.load_model(path)
    assert get_masks(loaded) == get_masks(sparse_model)
    np.testing.assert_array_equal(loaded(images), sparse_model(images))
    np.testing.assert_array_equal(strip(loaded)(images), sparse_model(images))
    assert_trains_on_sparse(loaded, get_masks(sparse_model), images, labels)
    np.testing.assert_array_equal(strip_pruning(loaded)(images), loaded(images))


@keras.utils.register_keras_serializable("tfprune_tests")
class OwnDense(keras.layers.Dense):
    """A user's own layer, prunable in the sense of tfmot."""

    def get_prunable_weights(self):
        return [self.kernel]


@pytest.mark.parametrize("name", ["model.keras", "saved_model"])
def test_a_users_own_layer_is_saved_and_holds_its_mask(name, examples, tmp_path):
    images, labels = examples((6,))
    model = prune_model(keras.Sequential([keras.Input((6,)), OwnDense(3, name="own")]))
    set_masks(model, Masks({"own": np.arange(18).reshape(6, 3) % 2}))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    save_model(model, tmp_path / name)
    loaded = load_model(tmp_path / name)
    assert type(strip(loaded).get_layer("own")) is OwnDense
    assert_trains_on_sparse(loaded, get_masks(model), images, labels)


def test_a_checkpoint_restores_weights_masks_and_momentum(
    sparse_model, conv_net, examples, tmp_path
):
    images, labels = examples((6, 6, 2))
    path = save_checkpoint(sparse_model, tmp_path / "checkpoint")
    other = prune_model(conv_net(seed=50))
    other.compile(keras.optimizers.SGD(0.1, momentum=0.9), sparse_model.loss)
    restore_checkpoint(other, path)
    assert get_masks(other) == get_masks(sparse_model)
    np.testing.assert_array_equal(other(images), sparse_model(images))
    for model in (other, sparse_model):
        model.get_layer("dropout").rate = 0.0
        model.compile(model.optimizer, model.loss)  # The same optimizer, the step traced anew.
        assert_trains_on_sparse(model, get_masks(sparse_model), images[:10], labels[:10])
    np.testing.assert_allclose(other(images), sparse_model(images), rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_another_network_is_refused(sparse_model, mlp, tmp_path):
    path = save_checkpoint(sparse_model, tmp_path / "checkpoint")
    with pytest.raises(InputError, match="not a checkpoint of this model"):
        restore_checkpoint(prune_model(mlp()), path)
    with pytest.raises(InputError, match="no checkpoint"):
        restore_checkpoint(sparse_model, tmp_path / "nothing")


def test_tflite_computes_what_the_sparse_model_computes(sparse_model, examples):
    images, _ = examples((6, 6, 2), count=1)
    interpreter = tf.lite.Interpreter(model_content=to_tflite(sparse_model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, sparse_model(images), rtol=1e-4, atol=1e-5)
