"""Wrapping, masks held at zero in every step, and stripping."""

from __future__ import annotations

import types
import warnings

import numpy as np
import pytest
from tensorflow_model_optimization.sparsity.keras import prune_low_magnitude, strip_pruning

from tfprune.backend import keras, tf
from tfprune.errors import InputError, SettingError
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import (
    apply_masks,
    copy_model,
    get_masks,
    kernels,
    masked_layers,
    prunable_weights,
    prune_model,
    set_masks,
    sparsity,
    strip,
)
from tfprune.pruning.weights import read_weights
from tfprune.pruning.wrapper import MaskedLayer

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def half_masks(model, seed=0):
    """Masks that prune about half of every layer's weights."""
    rng = np.random.default_rng(seed)
    shapes = get_masks(model).shapes
    return Masks({name: rng.random(shape) < 0.5 for name, shape in shapes.items()})


def values(model):
    return [variable.numpy().tobytes() for variable in model.variables]


class CountsMovedWeights(keras.callbacks.Callback):
    """After every step, how many pruned weights are not exactly zero."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        weights, masks = prunable_weights(self.model), get_masks(self.model)
        self.counts.append(sum(np.count_nonzero(weights[n][~masks[n]]) for n in masks))


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "decoupled_decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "legacy_momentum": lambda: keras.optimizers.legacy.SGD(0.1, momentum=0.9),
}


@pytest.mark.parametrize(
    ("name", "jit"),
    [(name, False) for name in OPTIMIZERS]
    + [("nesterov", True), pytest.param("adam", True, marks=pytest.mark.slow)],
)
def test_pruned_weights_are_zero_after_every_step_stale_momentum_included(name, jit, mlp, examples):
    images, labels = examples((6,))
    model = prune_model(mlp())
    optimizer = OPTIMIZERS[name]()
    model.compile(optimizer, CROSS_ENTROPY, jit_compile=jit)
    if hasattr(optimizer, "build"):
        optimizer.build(model.trainable_variables)  # So that the step is traced once.
    model.fit(images, labels, batch_size=6, epochs=1, verbose=0)  # Dense: momentum builds up.
    masks = half_masks(model)
    set_masks(model, masks)
    before, moved = prunable_weights(model), CountsMovedWeights()
    model.fit(images, labels, batch_size=6, epochs=2, verbose=0, callbacks=[moved])
    assert moved.counts == [0] * 8
    after = prunable_weights(model)
    assert all((after[n] != before[n])[masks[n]].mean() > 0.5 for n in masks)  # The others train.
    if name == "momentum":
        slots = [slot for slot in optimizer.variables if tuple(slot.shape) == masks["fc1"].shape]
        assert np.count_nonzero(slots[0].numpy()[~masks["fc1"]]) > 0


@keras.utils.register_keras_serializable("tfprune_tests")
class PlusOne(keras.constraints.Constraint):
    def __call__(self, w):
        return w + 1.0


def test_pruned_weights_stay_zero_under_the_layers_own_constraint(examples):
    """Theirs first, then the mask: a constraint that adds one cannot revive a weight."""
    images, labels = examples((6,))
    layer = keras.layers.Dense(3, input_shape=(6,), kernel_constraint=PlusOne(), name="fc")
    model = prune_model(keras.Sequential([layer]))
    masks = half_masks(model)
    set_masks(model, masks)
    model.compile(keras.optimizers.SGD(0.0), CROSS_ENTROPY)
    before = prunable_weights(model)["fc"]
    model.fit(images, labels, batch_size=20, verbose=0)
    np.testing.assert_array_equal(prunable_weights(model)["fc"], (before + 1.0) * masks["fc"])


def test_pruned_weights_stay_zero_in_mixed_precision_with_loss_scaling(examples):
    policy = keras.mixed_precision.Policy("mixed_float16")
    images = keras.Input((6,))
    x = keras.layers.Dense(5, "relu", dtype=policy, name="fc")(images)
    model = prune_model(
        keras.Model(images, keras.layers.Dense(3, dtype="float32", name="output")(x))
    )
    assert masked_layers(model)["fc"].compute_dtype == "float16"
    assert masked_layers(model)["output"].compute_dtype == "float32"
    set_masks(model, half_masks(model))
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(keras.mixed_precision.LossScaleOptimizer(sgd), CROSS_ENTROPY)
    moved = CountsMovedWeights()
    model.fit(*examples((6,)), batch_size=5, verbose=0, callbacks=[moved])
    assert moved.counts == [0] * 4
    assert prunable_weights(model)["fc"].dtype == np.float32


def test_shared_layers_are_wrapped_once_and_stay_sparse(examples):
    shared = keras.layers.Dense(6, "relu", name="shared")
    images = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), shared], name="inner")
    x = keras.layers.Add()([shared(images), inner(shared(images))])
    plain = keras.Model(images, keras.layers.Dense(3, name="output")(x))
    model = prune_model(plain)
    assert list(get_masks(model)) == ["shared", "output"]
    names = [f"{layer}/{kind}" for layer in ("shared", "output") for kind in ("kernel", "bias")]
    assert list(read_weights(model)) == names == list(read_weights(plain))
    inputs, labels = examples((6,))
    np.testing.assert_array_equal(model(inputs), plain(inputs))
    set_masks(model, half_masks(model))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), CROSS_ENTROPY)
    moved = CountsMovedWeights()
    model.fit(inputs, labels, batch_size=5, verbose=0, callbacks=[moved])
    assert moved.counts == [0] * 4
    np.testing.assert_array_equal(strip(model)(inputs), model(inputs))
    assert strip(model).count_params() == plain.count_params()


@pytest.mark.parametrize("training", [False, True])
def test_wrapped_and_plain_models_compute_the_same_function_and_gradients(
    training, conv_net, examples
):
    plain = conv_net()
    plain.get_layer("dropout").rate = 0.0  # Its draws are not what is compared.
    wrapped = prune_model(plain)
    images, labels = examples((6, 6, 2))

    def loss_and_gradients(model):
        with tf.GradientTape() as tape:
            loss = CROSS_ENTROPY(labels, model(images, training=training))
        return loss, tape.gradient(loss, model.trainable_variables)

    (loss, gradients), (expected_loss, expected) = map(loss_and_gradients, (wrapped, plain))
    assert loss.numpy() == expected_loss.numpy()
    assert len(gradients) == len(expected)
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    moving_mean = wrapped.get_layer("bn1").moving_mean.numpy()
    np.testing.assert_array_equal(moving_mean, plain.get_layer("bn1").moving_mean.numpy())


def test_gradients_of_pruned_weights_are_dense(mlp, examples):
    model = prune_model(mlp())
    masks = half_masks(model)
    set_masks(model, masks)
    images, labels = examples((6,))
    kernel = masked_layers(model)["output"].kernel
    with tf.GradientTape() as tape:
        loss = CROSS_ENTROPY(labels, model(images))
    assert np.count_nonzero(tape.gradient(loss, kernel).numpy()[~masks["output"]]) > 0


def test_regularization_losses_are_those_of_the_plain_model(examples):
    l2 = keras.regularizers.L2(0.1)
    layer = keras.layers.Dense(3, kernel_regularizer=l2, activity_regularizer=l2, input_shape=(6,))
    plain = keras.Sequential([layer])
    images, _ = examples((6,))
    wrapped = prune_model(plain)
    wrapped(images), plain(images)
    assert len(wrapped.losses) == len(plain.losses) == 2
    np.testing.assert_array_equal(sum(wrapped.losses), sum(plain.losses))


@pytest.mark.parametrize("run", ["predict", "evaluate", "predict_on_batch"])
def test_inference_writes_to_no_variable(run, conv_net, examples):
    model = prune_model(conv_net())
    set_masks(model, half_masks(model))
    # Weights from elsewhere: even then, reading a model does not change it.
    masked_layers(model)["conv1"].kernel.assign_add(tf.ones((3, 3, 2, 4)))
    model.compile("sgd", CROSS_ENTROPY)
    before = values(model)
    images, labels = examples((6, 6, 2))
    if run == "evaluate":
        model.evaluate(images, labels, verbose=0)
    else:
        getattr(model, run)(images)
    assert values(model) == before


def test_the_users_model_stays_as_it_was_and_shares_nothing(mlp, examples):
    plain = mlp()
    plain.compile("sgd", CROSS_ENTROPY)
    before, layers = values(plain), [type(layer) for layer in plain.layers]
    model = prune_model(plain)
    set_masks(model, Masks.dense(get_masks(model).shapes))
    set_masks(model, half_masks(model))
    assert values(plain) == before
    assert [type(layer) for layer in plain.layers] == layers
    assert plain.get_layer("fc1").kernel.constraint is None
    assert getattr(model, "optimizer", None) is None
    stripped = strip(model)
    stripped.get_layer("fc1").kernel.assign_add(tf.ones((6, 8)))
    assert np.count_nonzero(prunable_weights(model)["fc1"][~get_masks(model)["fc1"]]) == 0


def test_masks_are_read_back_and_zero_the_weights_at_once(mlp):
    plain = mlp()
    model = prune_model(plain)
    assert get_masks(model) == Masks.dense({"fc1": (6, 8), "fc2": (8, 7), "output": (7, 3)})
    masks = half_masks(model)
    set_masks(model, masks)
    assert get_masks(model) == masks
    assert sparsity(model) == masks.sparsity
    for name, weights in prunable_weights(model).items():
        np.testing.assert_array_equal(weights, plain.get_layer(name).kernel.numpy() * masks[name])


def test_sparsity_counts_kernels_that_are_not_wrapped(mlp):  # SDD 3.2
    model = prune_model(mlp(), ["fc1", "fc2"])  # 48, 56, and 21 that are never pruned.
    dense = get_masks(model)
    assert (dense.prunable, dense.never_pruned, dense.total) == (104, 21, 125)
    fewer = dense.replaced({"fc1": np.zeros((6, 8)), "fc2": dense["fc2"]})
    set_masks(model, fewer)
    assert sparsity(model) == get_masks(model).sparsity == 48 / 125


def test_weights_from_elsewhere_are_masked_on_demand(mlp):
    model = prune_model(mlp())
    set_masks(model, half_masks(model))
    for layer in masked_layers(model).values():
        layer.kernel.assign(tf.ones_like(layer.kernel))
    apply_masks(model)
    masks = get_masks(model)
    assert all((w == masks[name]).all() for name, w in prunable_weights(model).items())


def test_a_stripped_model_whose_pruned_weights_are_back_is_said_to_have_them(mlp):
    model = prune_model(mlp())
    set_masks(model, half_masks(model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strip(model)
    kernel = model.get_layer("masked_layer_fc1").kernel
    kernel.assign(tf.ones_like(kernel))  # As a loop of one's own may.
    pruned = int((~get_masks(model)["fc1"]).sum())
    with pytest.warns(UserWarning, match=f"^{pruned} pruned weights of fc1 are not 0"):
        strip(model)
    set_masks(model, get_masks(model))
    assert np.count_nonzero(prunable_weights(model)["fc1"]) == kernel.shape.num_elements() - pruned


def test_wrapper_names_follow_from_the_layers(mlp):
    layers = masked_layers(prune_model(mlp()))
    assert [layer.name for layer in layers.values()] == [
        "masked_layer_fc1",
        "masked_layer_fc2",
        "masked_layer_output",
    ]


@pytest.mark.parametrize(
    ("prunable", "expected"),
    [
        ("default", ["conv1", "conv2", "output"]),
        ("conv", ["conv1", "conv2"]),
        (["output", "conv1"], ["conv1", "output"]),
        (lambda layer: "2" in layer.name, ["conv2"]),
    ],
)
def test_what_is_prunable_is_chosen_by_set_list_or_function(prunable, expected, conv_net):
    assert list(masked_layers(prune_model(conv_net(), prunable))) == expected


def test_sequential_models_with_and_without_an_input_keep_their_kind(examples):
    images, _ = examples((6,))
    inferred = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(3)])
    inferred(images)
    declared = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="only")])
    for plain in (inferred, declared):
        model = prune_model(plain)
        assert isinstance(model, keras.Sequential)
        np.testing.assert_array_equal(model(images), plain(images))
        np.testing.assert_array_equal(strip(model)(images), plain(images))
        assert [x.name for x in strip(model).layers] == [x.name for x in plain.layers]


@pytest.mark.parametrize("how", ["ours", "tfmot"])
def test_stripped_models_are_plain_and_compute_the_same(how, conv_net, examples):
    plain = conv_net()
    model = prune_model(plain)
    set_masks(model, half_masks(model))
    images, _ = examples((6, 6, 2))
    expected = model(images).numpy()
    stripped = strip(model) if how == "ours" else strip_pruning(model)
    np.testing.assert_array_equal(stripped(images), expected)
    assert {layer.name for layer in stripped.layers} == {layer.name for layer in plain.layers}
    assert [v.shape for v in stripped.variables] == [v.shape for v in plain.variables]
    assert "tfprune" not in stripped.to_json()
    assert stripped.to_json() == plain.to_json()


def test_a_stripped_layer_has_its_own_constraint_only():
    layer = keras.layers.Dense(3, input_shape=(6,), kernel_constraint="non_neg", name="fc")
    stripped = strip(prune_model(keras.Sequential([layer])))
    assert type(stripped.get_layer("fc").kernel.constraint) is keras.constraints.NonNeg
    free = strip(prune_model(keras.Sequential([keras.layers.Dense(3, input_shape=(6,))])))
    assert free.layers[0].kernel.constraint is None


def test_frozen_layers_stay_frozen(mlp):
    plain = mlp()
    plain.get_layer("fc2").trainable = False
    model = prune_model(plain)
    assert len(model.trainable_variables) == 4
    assert not strip(model).get_layer("fc2").trainable


def test_kernels_are_found_in_wrapped_and_plain_models(mlp):
    plain = mlp()
    for model in (plain, prune_model(plain, ["fc2"])):
        found = kernels(model, ["output", "fc2"])
        assert [tuple(kernel.shape) for kernel in found.values()] == [(7, 3), (8, 7)]
    with pytest.raises(InputError, match="no layer 'fc9'"):
        kernels(plain, ["fc9"])


def test_copy_model_copies_weights_of_every_layer(conv_net):
    plain = conv_net()
    plain.get_layer("bn1").moving_mean.assign_add(tf.ones(4))
    copy = copy_model(plain, lambda layer: type(layer).from_config(layer.get_config()))
    assert values(copy) == values(plain)
    assert copy.get_layer("conv1") is not plain.get_layer("conv1")


def test_mistakes_are_answered_in_one_clear_line(mlp, conv_net):
    with pytest.raises(SettingError, match="did you mean fc2 or fc1"):
        prune_model(mlp(), ["fc3"])
    with pytest.raises(InputError, match=r"'pool' .MaxPooling2D. has no kernel that can be"):
        prune_model(conv_net(), ["pool"])
    with pytest.raises(InputError, match="no prunable layer among"):
        prune_model(mlp(), lambda layer: False)
    with pytest.raises(InputError, match="wrapped already"):
        prune_model(prune_model(mlp()))
    with pytest.raises(InputError, match="strip_pruning"):
        prune_model(prune_low_magnitude(mlp()))
    with pytest.raises(InputError, match="no weights yet"):
        prune_model(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(InputError, match="call prune_model first"):
        get_masks(mlp())
    with pytest.raises(InputError, match="do not fit"):
        set_masks(prune_model(mlp()), Masks({"fc1": np.ones((6, 8))}))
    with pytest.raises(InputError, match="needed, not int"):
        prune_model(3)


def test_a_keras_3_model_and_a_subclassed_one_are_refused():
    keras_3 = types.new_class("Functional", (), {}, lambda ns: ns.update(__module__="keras.src.x"))
    with pytest.raises(InputError, match="Keras 3 model"):
        prune_model(keras_3())

    class Subclassed(keras.Model):
        pass

    with pytest.raises(InputError, match="functional API"):
        prune_model(Subclassed())


def test_layers_without_a_kernel_and_built_ones_are_not_wrapped_in_silence():
    with pytest.raises(InputError, match="no kernel that can be pruned"):
        MaskedLayer(keras.layers.BatchNormalization())
    built = keras.layers.Dense(3)
    built.build((None, 2))
    with pytest.raises(InputError, match="built already"):
        MaskedLayer(built)
