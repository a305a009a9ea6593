"""Filters that are pruned stay dead in any training: kernels, biases, batch norm, shortcuts."""

import numpy as np
import pytest
from compatibility import FORMATS
from networks import three_blocks

from tfprune import FilterPruning, FilterSchedule, MaskedLayer, ReDense, RewindWeights, prune_model
from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.channel_masks import has_masks
from tfprune.pruning.dead_filters import gate_shortcuts, set_filter_masks
from tfprune.pruning.export import load_model
from tfprune.pruning.filter_selection import filter_kernels, kept_filters
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, set_masks, strip
from tfprune.pruning.weights import mask_variables, named_variables, read_weights, write_weights


def plain_net():
    images = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, name="first")(images)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Conv2D(5, 3, use_bias=False, name="second")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, keras.layers.Dense(3, name="logits")(x))


def net():
    return prune_model(plain_net(), ["first", "second"], filters=True)


def without(model, **filters):
    masks = get_masks(model)
    keep = kept_filters(masks)
    for name, index in filters.items():
        keep[name][index] = False
    return filter_kernels(masks, keep)


def train(model, steps=4):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(32, *model.input_shape[1:])).astype(np.float32)
    labels = rng.integers(0, model.output_shape[-1], 32)
    # Momentum and decay push dead variables as hard as they can.
    # A few steps: quicker than tracing them. `test_masks_hold_under_xla` traces.
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  run_eagerly=True)  # fmt: skip
    model.fit(images, labels, batch_size=8, epochs=steps // 4, verbose=0)
    return images


def test_what_belongs_to_a_pruned_filter_is_zero_after_training_and_the_rest_has_moved():
    model = net()
    train(model)  # So that slots and batch norm are not at their beginnings.
    before = read_weights(model)
    set_filter_masks(model, without(model, first=1, second=[0, 3]))
    train(model)
    after = read_weights(model)
    assert not after["first/kernel"][..., 1].any()
    assert after["first/bias"][1] == 0
    assert not after["second/kernel"][..., [0, 3]].any()
    for name in ("norm/gamma", "norm/beta"):
        assert not after[name][[0, 3]].any(), name
        assert (after[name][[1, 2, 4]] != before[name][[1, 2, 4]]).all(), name
    assert (after["first/bias"][[0, 2, 3]] != before["first/bias"][[0, 2, 3]]).all()


def test_a_dead_channel_contributes_exactly_nothing():
    model = net()
    images = train(model)
    set_filter_masks(model, without(model, second=2))
    output = keras.Model(model.input, model.get_layer("norm").output)
    for training in (False, True):
        values = output(images, training=training).numpy()
        assert not values[..., 2].any()
        assert values[..., 0].any()


def test_dense_masks_let_all_filters_train_again():
    model = net()
    dense, weights = get_masks(model), read_weights(model)
    set_filter_masks(model, without(model, first=1, second=2))
    set_filter_masks(model, dense)
    write_weights(model, weights)
    assert all(np.all(mask.numpy() == 1) for mask in mask_variables(model).values())
    train(model)
    after = read_weights(model)
    assert after["norm/beta"][2] != 0
    assert after["first/bias"][1] != 0


def test_every_mask_is_named_by_its_variable():
    names = {"first/kernel", "first/bias", "second/kernel", "norm/gamma", "norm/beta"}
    assert set(mask_variables(net())) == {*names, "logits/bias"}
    wrapped = prune_model(plain_net(), ["first", "second"])
    assert set(mask_variables(wrapped)) == {"first/kernel", "second/kernel"}
    assert has_masks(net())
    assert not has_masks(wrapped)


def test_stripped_models_know_nothing_of_the_masks():
    model = net()
    set_filter_masks(model, without(model, first=1))
    plain = strip(model)
    assert "tfprune" not in plain.to_json()
    assert not any(isinstance(layer, MaskedLayer) for layer in plain.layers)
    assert plain.get_layer("first").bias.constraint is None
    images = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(plain(images), model(images))


def test_a_constraint_of_the_layer_s_own_still_holds():
    images = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(3, 3, bias_constraint="non_neg", name="conv")(images)
    flat = keras.layers.Flatten(name="flat")(x)
    model = keras.Model(images, keras.layers.Dense(2, name="logits")(flat))
    model = prune_model(model, ["conv"], filters=True)
    train(model, steps=8)
    bias = named_variables(model)["conv/bias"]
    assert (bias.numpy() >= 0).all()
    assert model.get_layer("masked_layer_conv").layer.get_config()["bias_constraint"] is not None


def test_shortcuts_into_a_dead_channel_are_cut_where_asked_for():
    network = gate_shortcuts(three_blocks((8, 8, 3), 10, width=0.25))
    model = prune_model(network, "conv", filters=True)
    masks = get_masks(model)
    identity = next(name for name in masks if "block2" in name and name.endswith("conv2"))
    projected = [name for name in masks if "shortcut" in name or "projection" in name]
    pruned = without(model, **{identity: 1})
    kept = set_filter_masks(model, pruned, cut_shortcuts=True)
    assert kept == pruned  # Its shortcut is an identity.
    train(model)
    gates = {n: v for n, v in read_weights(model).items() if "_gate" in n}
    assert [n for n, v in gates.items() if (v == 0).any()] != []
    # A block whose shortcut is a projection: its filter goes with the block's.
    block = projected[0].rsplit("_", 1)[0]
    last = next(n for n in masks if n.startswith(block) and n.endswith("conv2"))
    kept = set_filter_masks(model, without(model, **{last: 0}), cut_shortcuts=True)
    assert not kept[projected[0]][..., 0].any()
    train(model)
    assert not read_weights(model)[f"{projected[0]}/kernel"][..., 0].any()


def test_a_model_that_is_not_wrapped_for_filters_is_refused():
    model = prune_model(plain_net(), ["first"])
    with pytest.raises(InputError, match="filters=True"):
        set_filter_masks(model, Masks.dense({"first": (3, 3, 2, 4)}))


def test_masks_hold_under_xla():
    model = net()
    set_filter_masks(model, without(model, second=2))
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(model.trainable_variables)
    images = tf.random.stateless_normal((8, 6, 6, 2), (0, 1))

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    for _ in range(3):
        step()
    assert not read_weights(model)["norm/beta"][2].any()
    assert read_weights(model)["norm/beta"][1].any()


def test_filters_of_a_nested_model_stay_dead_too():
    images = keras.Input((6, 6, 2))
    outside = keras.Sequential([images, plain_net()])
    model = prune_model(outside, ["first", "second"], filters=True)
    assert has_masks(model)
    set_filter_masks(model, without(model, first=1, second=[0, 3]))
    train(model)
    after = read_weights(model)
    inside = {name.split("/", 1)[-1]: value for name, value in after.items()}
    assert not inside["first/kernel"][..., 1].any()
    assert inside["first/bias"][1] == 0
    for name in ("norm/gamma", "norm/beta"):
        assert not inside[name][[0, 3]].any(), name
        assert inside[name][[1, 2, 4]].all(), name


def swish_net():
    """As `plain_net`, but no activation hides what a dead channel's shift does."""
    images = keras.Input((6, 6, 2))
    x = images
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 3, use_bias=number == 1, name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
        x = keras.layers.Activation("swish", name=f"swish{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(images, keras.layers.Dense(3, name="logits")(x))
    return prune_model(model, ["conv1", "conv2"], filters=True)


def dead_and_trained():
    """A network whose filters 1 of conv1 and 0, 3 of conv2 died in training, as it is then."""
    model = swish_net()
    train(model)
    set_masks(model, without(model, conv1=1, conv2=[0, 3]))
    train(model)
    return model


def assert_dead(model, dead=True):
    weights = read_weights(model)
    for name, filters in {
        "conv1/bias": [1],
        "norm1/gamma": [1],
        "norm1/beta": [1],
        "norm2/gamma": [0, 3],
        "norm2/beta": [0, 3],
    }.items():
        assert (not weights[name][filters].any()) == dead, name
    for kernel, filters in {"conv1/kernel": [1], "conv2/kernel": [0, 3]}.items():
        assert (not weights[kernel][..., filters].any()) == dead, kernel


def by_weights(file):
    def again(model, folder):
        model.save_weights(folder / file)
        other = swish_net()
        other.load_weights(folder / file)
        return other

    return again


def by_checkpoint(model, folder):
    other = swish_net()
    other.compile(model.optimizer.from_config(model.optimizer.get_config()), model.loss)
    path = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    return other


def by_set_weights(model, folder):
    other = swish_net()
    other.set_weights(model.get_weights())
    return other


def by_clone(model, folder):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    return other


def by_backup(model, folder):
    """What Keras restores when a training that was killed starts again."""
    state = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    rng = np.random.default_rng(1)
    model.fit(rng.normal(size=(8, 6, 6, 2)), np.zeros(8, int), verbose=0, callbacks=[state])
    other = swish_net()
    other.compile(model.optimizer.from_config(model.optimizer.get_config()), model.loss)
    again = keras.callbacks.BackupAndRestore(folder / "backup")
    other.fit(rng.normal(size=(8, 6, 6, 2)), np.zeros(8, int), verbose=0, callbacks=[again])
    other._training_state = None  # Keras deletes it at the end, and `fit` looks for it.
    return other


def by_file(file):
    def again(model, folder):
        model.save(folder / file)
        return load_model(folder / file)

    return again


# The rows of docs/compatibility.md.
AGAIN = {
    **{name: by_file(FORMATS[name].file) for name in ("`.keras`", "`.h5`", "SavedModel")},
    **{name: by_weights(FORMATS[name].file) for name in FORMATS if name.startswith("`save_w")},
    "`tf.train.Checkpoint`": by_checkpoint,
    "`set_weights(get_weights())`": by_set_weights,
    "`clone_model` and `set_weights`": by_clone,
    "`BackupAndRestore`": by_backup,
}


@pytest.fixture(scope="module")
def saved():
    """Saving leaves it as it is."""
    return dead_and_trained()


@pytest.mark.parametrize("way", FORMATS)
def test_masks_of_filters_are_saved_and_loaded_with_the_model(way, saved, tmp_path):
    model = dead_and_trained() if AGAIN[way] is by_backup else saved
    assert_dead(model)
    other = AGAIN[way](model, tmp_path)
    assert {name: mask.numpy().tolist() for name, mask in mask_variables(other).items()} == {
        name: mask.numpy().tolist() for name, mask in mask_variables(model).items()
    }
    for name, value in read_weights(model).items():
        np.testing.assert_array_equal(read_weights(other)[name], value, err_msg=name)
    train(other)
    assert_dead(other)
    moved = read_weights(other)["norm2/gamma"] != read_weights(model)["norm2/gamma"]
    assert moved.tolist() == [False, True, True, False]
    # It goes on pruning.
    set_masks(other, without(other, conv2=1))
    train(other)
    assert np.flatnonzero(read_weights(other)["norm2/gamma"]).tolist() == [2]


def test_best_weights_of_before_the_pruning_come_back_with_their_masks():
    model = swish_net()
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(16, 6, 6, 2)).astype("float32"), np.arange(16) % 3

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = -epoch

    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.compile(model.optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = FilterSchedule("conv2", start=0, end=0, period=1, fraction=0.5)
    pruning = FilterPruning([schedule], test=lambda: 1.0)
    best = keras.callbacks.EarlyStopping(
        "score", patience=2, mode="max", restore_best_weights=True, start_from_epoch=0
    )
    model.fit(images, labels, epochs=5, verbose=0, callbacks=[Worse(), best, pruning])
    assert get_masks(model).sparsity == 0
    train(model)
    assert read_weights(model)["norm2/gamma"].all()
    assert read_weights(model)["conv2/kernel"].all()


def lifted_by_hand(model):
    set_masks(model, Masks.dense(get_masks(model).shapes))


def lifted_by_redense(model):
    rng = np.random.default_rng(0)
    model.optimizer.learning_rate.assign(0.0)
    model.fit(
        rng.normal(size=(8, 6, 6, 2)), np.zeros(8, int), verbose=0, callbacks=[ReDense(at_epoch=0)]
    )


@pytest.mark.parametrize("lift", [lifted_by_hand, lifted_by_redense])
def test_filters_whose_masks_are_lifted_train_again_from_zero(lift):
    model = dead_and_trained()
    images = np.random.default_rng(5).normal(size=(4, 6, 6, 2)).astype("float32")
    before = model(images).numpy()
    lift(model)
    if lift is lifted_by_hand:
        np.testing.assert_array_equal(model(images), before)  # The same function, dense.
    lifted = read_weights(model)
    assert lifted["norm2/gamma"][[0, 3]].tolist() == [1, 1]
    assert not lifted["norm2/beta"][[0, 3]].any()
    assert not lifted["conv2/kernel"][..., [0, 3]].any()
    train(model)
    assert_dead(model, dead=False)


def test_rewinding_keeps_what_is_dead_dead_and_brings_back_the_rest():
    model = swish_net()
    rng = np.random.default_rng(0)
    train(model)
    initial, rewind = read_weights(model), RewindWeights("0ep")
    data = rng.normal(size=(8, 6, 6, 2)).astype("float32"), np.zeros(8, int)
    model.fit(*data, verbose=0, callbacks=[rewind])
    set_masks(model, without(model, conv1=1, conv2=[0, 3]))
    rewind.rewind()
    assert_dead(model)
    gamma = read_weights(model)["norm2/gamma"]
    np.testing.assert_array_equal(gamma[[1, 2]], initial["norm2/gamma"][[1, 2]])


def test_a_shortcut_that_was_cut_stays_cut_until_its_filter_comes_back():
    network = gate_shortcuts(three_blocks((8, 8, 3), 10, width=0.25))
    model = prune_model(network, "conv", filters=True)
    identity = next(n for n in get_masks(model) if "block2" in n and n.endswith("conv2"))
    rewind = RewindWeights("0ep")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 10)), verbose=0, callbacks=[rewind])
    set_filter_masks(model, without(model, **{identity: 1}), cut_shortcuts=True)

    def closed():
        gates = [v for n, v in read_weights(model).items() if "_gate" in n]
        return sum(int((gate == 0).sum()) for gate in gates)

    assert closed() == 1
    rewind.rewind()
    assert closed() == 1
    set_masks(model, without(model, **{identity: 2}))
    assert closed() == 1
    set_masks(model, Masks.dense(get_masks(model).shapes))
    assert closed() == 0
