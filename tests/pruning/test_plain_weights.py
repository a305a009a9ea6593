"""Between wrapped models and plain ones: masks from zeros, weights of a plain model's file."""

import numpy as np
import pytest

import tfprune
from tfprune.backend import keras
from tfprune.errors import InputError
from tfprune.pruning.weights import read_weights

KEPT = np.arange(24).reshape(4, 6) % 3 != 0


def plain_net(seed=1, units=6):
    keras.utils.set_random_seed(seed)
    hidden = keras.layers.Dense(units, "relu", input_shape=(4,), name="hidden")
    norm = keras.layers.BatchNormalization(name="norm")
    return keras.Sequential([hidden, norm, keras.layers.Dense(3, name="output")])


def sparse_net():
    model = plain_net()
    kernel, bias = model.get_layer("hidden").get_weights()
    model.get_layer("hidden").set_weights([kernel * KEPT, bias])
    return model


def test_masks_of_a_sparse_model_are_its_zeros_and_hold_them_in_training():
    masks = tfprune.masks_of(sparse_net())
    np.testing.assert_array_equal(masks["hidden"], KEPT)
    assert masks["output"].all()
    assert masks.sparsity == 8 / (24 + 18)
    model = tfprune.prune_model(sparse_net())
    tfprune.set_masks(model, masks)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss)
    images = np.random.default_rng(0).normal(size=(16, 4))
    model.fit(images, np.arange(16) % 3, epochs=2, verbose=0)
    assert tfprune.masks_of(tfprune.strip(model)) == masks
    assert tfprune.masks_of(model) == masks


def test_masks_of_a_part_of_the_layers_count_the_others():
    masks = tfprune.masks_of(sparse_net(), ["hidden"])
    assert list(masks) == ["hidden"]
    assert (masks.never_pruned, masks.sparsity) == (18, 8 / 42)


def test_masks_of_a_wrapped_model_that_has_zeros_are_its_zeros():
    model = tfprune.prune_model(sparse_net())
    assert tfprune.sparsity(model) == 0
    np.testing.assert_array_equal(tfprune.masks_of(model)["hidden"], KEPT)


@pytest.mark.parametrize("file", ["plain.weights.h5", "plain.h5", "plain"])
@pytest.mark.parametrize("filters", [False, True])
def test_a_wrapped_model_loads_what_the_plain_one_saved_under_its_masks(file, filters, tmp_path):
    plain = plain_net(seed=2)
    plain.save_weights(tmp_path / file)
    model = tfprune.prune_model(plain_net(seed=3), filters=filters)
    masks = tfprune.get_masks(model)
    tfprune.set_masks(model, masks.replaced({**masks, "hidden": KEPT}))
    tfprune.load_weights(model, tmp_path / file)
    want = read_weights(plain)
    want["hidden/kernel"] = want["hidden/kernel"] * KEPT
    if filters:  # Units 0 and 3 have no weight left.
        for name in ("hidden/bias", "norm/gamma", "norm/beta"):
            want[name] = want[name] * KEPT.any(axis=0)
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)
    assert tfprune.sparsity(model) == 8 / 42


@pytest.mark.parametrize("file", ["other.weights.h5", "other.h5", "other", "nothing.h5"])
def test_weights_of_another_model_are_refused(file, tmp_path):
    if file != "nothing.h5":
        plain_net(units=5).save_weights(tmp_path / file)
    model = tfprune.prune_model(plain_net())
    before = read_weights(model)
    with pytest.raises(InputError, match="does not hold the weights of the plain model"):
        tfprune.load_weights(model, tmp_path / file)
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
