"""Every kind of layer: its kernels, what their axes count, exact zeros, what is left out.

The kinds and the numbers by hand are those of docs/compatibility.md.
"""

from __future__ import annotations

import warnings

import compatibility
import numpy as np
import pytest
from compatibility import LAYERS
from networks import channels

from tfprune.backend import keras, tf
from tfprune.errors import InputError, SettingError
from tfprune.measures.landscape import filter_normalized_direction
from tfprune.models.initialize import initial_weights
from tfprune.models.kernel_table import kernels_of
from tfprune.pruning.criteria import ScoringInputs
from tfprune.pruning.dead_filters import set_filter_masks
from tfprune.pruning.export import load_model, save_model
from tfprune.pruning.filter_criteria import filter_l2
from tfprune.pruning.filter_selection import filter_kernels
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import (
    get_masks,
    masked_layers,
    prunable_weights,
    prune_model,
    set_masks,
    sparsity,
    strip,
)
from tfprune.pruning.shrink import flops, shrink
from tfprune.pruning.weights import named_variables, read_weights, under_masks
from tfprune.training.callbacks.filter_noise import NoiseState

layers = keras.layers
EXAMPLES = 8


def own_name(kind):
    return kind.lower().replace(" ", "_")


def made(kind):
    layer = LAYERS[kind].make(layers)
    layer._name = own_name(kind)
    return layer


def called(layer, x):
    return layer(x, x) if isinstance(layer, layers.MultiHeadAttention) else layer(x)


def one_of_each():
    """A model with one layer of every kind, side by side."""
    inputs, ends = [], []
    for kind, row in LAYERS.items():
        dtype = "int32" if kind == "Embedding" else "float32"
        x = keras.Input(row.shape, dtype=dtype, name=f"{own_name(kind)}_input")
        inputs.append(x)
        ends.append(layers.Flatten()(called(made(kind), x)))
    return keras.Model(inputs, layers.Dense(2, name="logits")(layers.Concatenate()(ends)))


def examples():
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 9, (EXAMPLES, *row.shape))
        if kind == "Embedding"
        else rng.normal(size=(EXAMPLES, *row.shape)).astype(np.float32)
        for kind, row in LAYERS.items()
    ]


def keys(kind):
    row, name = LAYERS[kind], own_name(kind)
    return [name] if len(row.kernels) == 1 else [f"{name}/{kernel}" for kernel in row.kernels]


def half(shapes, seed=1):
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape) < 0.5 for name, shape in shapes.items()}


class Moved(keras.callbacks.Callback):
    """After every step, the kernels in which a pruned weight is not exactly 0."""

    def __init__(self):
        super().__init__()
        self.steps, self.names = 0, set()

    def on_train_batch_end(self, batch, logs=None):
        masks = get_masks(self.model)
        self.steps += 1
        self.names |= {n for n, w in prunable_weights(self.model).items() if w[~masks[n]].any()}


@pytest.fixture(scope="module")
def plain_of_each():
    """Nothing trains it: `prune_model` copies."""
    return one_of_each()


@pytest.fixture(scope="module")
def trained(plain_of_each):
    """One layer of each kind, half of every kernel pruned, after four steps with momentum."""
    model = prune_model(plain_of_each, [own_name(kind) for kind in LAYERS])
    masks = get_masks(model)
    set_masks(model, masks.replaced(half(masks.shapes)))
    before, moved = prunable_weights(model), Moved()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.optimizer.build(model.trainable_variables)  # So that the step is traced once.
    labels = np.ones((EXAMPLES, 2))
    model.fit(examples(), labels, batch_size=4, epochs=2, verbose=0, callbacks=[moved])
    return model, before, moved


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kernel_of_every_kind_is_exactly_zero_where_pruned_after_each_step(kind, trained):
    model, before, moved = trained
    masks, after = get_masks(model), prunable_weights(model)
    assert [name for name in masks if name.partition("/")[0] == own_name(kind)] == keys(kind)
    assert moved.steps == 4
    for name in keys(kind):
        assert name not in moved.names
        assert (after[name] != before[name])[masks[name]].mean() > 0.5  # The others train.


@pytest.mark.parametrize("kind", LAYERS)
def test_the_table_counts_inputs_and_outputs_as_by_hand(kind):
    layer, row = made(kind), LAYERS[kind]
    called(layer, keras.Input(row.shape))
    found = kernels_of(layer)
    assert tuple(kernel.name for kernel in found) == row.kernels
    assert tuple(kernel.fan_in for kernel in found) == row.fan_in
    sizes = [np.prod(kernel.variable.shape) for kernel in found]
    outputs = tuple(size // fan_in for size, fan_in in zip(sizes, row.fan_in, strict=True))
    assert outputs == row.outputs


@pytest.mark.parametrize("kind", LAYERS)
def test_operations_are_counted_as_by_hand(kind):
    x = keras.Input(LAYERS[kind].shape)
    model = keras.Model(x, called(made(kind), x))
    assert flops(model) == LAYERS[kind].flops
    assert flops(prune_model(model, [own_name(kind)])) == LAYERS[kind].flops


def test_steps_are_counted_in_models_and_in_cells_and_what_is_not_known_is_named():
    steps = keras.Input((5, 3))
    inside = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(2)])
    x = layers.TimeDistributed(inside)(steps)
    assert flops(keras.Model(steps, x)) == 5 * 2 * (3 * 4 + 4 * 2)
    images = keras.Input((2, 6, 6, 1))
    moved = layers.TimeDistributed(layers.Conv2DTranspose(3, 2))(images)
    assert flops(keras.Model(images, moved)) == 2 * 36 * 2 * 4 * 3
    first = keras.Model(images, layers.ConvLSTM2D(2, 3, padding="same")(images))
    assert flops(first) == 2 * 2 * 36 * 9 * (1 + 2) * 8
    values = keras.Input((7, 4))
    attended = layers.MultiHeadAttention(2, 3, value_dim=5, output_shape=6)(steps, values)
    by_hand = 5 * 3 * 6 + 7 * 4 * 6 + 7 * 4 * 10 + 5 * 7 * 2 * (3 + 5) + 5 * 10 * 6
    assert flops(keras.Model([steps, values], attended)) == 2 * by_hand
    with pytest.warns(UserWarning, match=r"does not count layer 'own' \(Composite\)"):
        assert flops(keras.Model(steps, layers.Dense(2)(Composite(name="own")(steps)))) == 80
    endless = keras.Input((None, 3))
    with pytest.raises(InputError, match="'lstm' has no fixed size"):
        flops(keras.Model(endless, layers.LSTM(2, name="lstm")(endless)))


@pytest.mark.parametrize("kind", [kind for kind, row in LAYERS.items() if row.filters == "yes"])
def test_a_filter_of_the_table_is_what_makes_one_channel(kind):
    """All ones in one filter and at the input: its channel sums fan_in of them, others none."""
    layer, row = made(kind), LAYERS[kind]
    layer.build((None, *row.shape))
    *before, kernel = kernels_of(layer)  # Before a pointwise kernel, a depthwise one.
    for depthwise in before:
        depthwise.variable.assign(np.ones(depthwise.variable.shape))
    (axis,) = kernel.axes.outputs
    weights = np.zeros(kernel.variable.shape, np.float32)
    np.moveaxis(weights, axis, -1)[..., 2] = 1
    kernel.variable.assign(weights)
    output = layer(np.ones((1, *row.shape), np.float32)).numpy()
    assert output[..., 2].max() == np.prod(row.fan_in)
    assert not np.delete(output, 2, axis=-1).any()


def test_what_was_trained_strips_copies_and_names_its_variables_as_the_plain_model(trained):
    model, _, _ = trained
    plain = strip(model)
    np.testing.assert_array_equal(plain(examples()), model(examples()))
    weights = read_weights(model)
    assert weights.keys() == read_weights(plain).keys()
    masked = under_masks({n: np.ones_like(w) for n, w in weights.items()}, get_masks(model))
    pruned = sum(int((w == 0).sum()) for w in masked.values())
    assert pruned == get_masks(model).pruned


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
def test_layers_of_several_kernels_keep_their_masks_on_disk_and_train_on(name, tmp_path):
    x = steps = keras.Input((4, 6))
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.SeparableConv1D(3, 2, name="separable")(x)
    plain = keras.Model(steps, layers.Bidirectional(layers.SimpleRNN(2), name="both")(x))
    model = prune_model(plain, ["attention", "separable", "both"])
    set_masks(model, get_masks(model).replaced(half(get_masks(model).shapes)))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    if name.endswith("h5"):
        model.save(tmp_path / name)
    else:
        save_model(model, tmp_path / name)
    loaded = load_model(tmp_path / name)
    assert get_masks(loaded) == get_masks(model)
    assert len(get_masks(model)) == 10
    inputs, moved = np.ones((2, 4, 6), np.float32), Moved()
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    loaded.run_eagerly = True  # One step.
    loaded.fit(inputs, np.ones((2, 4)), verbose=0, callbacks=[moved])
    assert moved.steps == 1
    assert not moved.names


def test_the_default_leaves_depthwise_kernels_and_embeddings_which_do_not_count(plain_of_each):
    plain = plain_of_each
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = get_masks(prune_model(plain))
    expected = ["logits"]
    for kind, row in LAYERS.items():
        unasked = row.kernels if row.default is None else row.default
        own = zip(row.kernels, keys(kind), strict=True)
        expected += [key for kernel, key in own if kernel in unasked]
    assert sorted(masks) == sorted(expected)
    size = {n: int(np.prod(v.shape)) for n, v in named_variables(plain).items() if "kernel" in n}
    assert masks.total == sum(size.values())
    assert masks.never_pruned == sum(n for name, n in size.items() if "depthwise" in name)
    chain = [layers.Embedding(9, 3, input_length=4, name="embedding"), layers.LSTM(5, name="lstm")]
    chosen = get_masks(prune_model(keras.Sequential(chain), ["embedding", "lstm/recurrent_kernel"]))
    assert chosen.shapes == {"embedding": (9, 3), "lstm/recurrent_kernel": (5, 20)}
    assert chosen.never_pruned == 3 * 20


def test_one_kernel_of_a_layer_may_be_pruned_and_is_after_loading_too(tmp_path):
    plain = keras.Sequential([layers.LSTM(3, input_shape=(4, 2), name="lstm"), layers.Dense(2)])
    model = prune_model(plain, ["lstm/recurrent_kernel"])
    set_masks(model, get_masks(model).replaced({"lstm/recurrent_kernel": np.zeros((3, 12))}))
    assert sparsity(model) == 36 / (36 + 24 + 6)
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert get_masks(loaded) == get_masks(model)
    assert strip(loaded).layers[0].get_weights()[0].any()


# --- Filters of transposed convolutions: the same as of others, on another axis.


def deconvolutional():
    x = images = keras.Input((5, 5, 2))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv")(x)))
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", use_bias=False, name="up")(x)
    x = layers.Activation("tanh")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2DTranspose(3, 2, name="up2")(x)
    model = keras.Model(images, layers.Dense(2, name="logits")(layers.Flatten()(x)))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.uniform(0.3, 1, variable.shape)
        signs = 1 if "variance" in variable.name else rng.choice([-1, 1], variable.shape)
        variable.assign(value * signs)
    return model


def test_filters_of_transposed_convolutions_are_scored_killed_and_shrunk():
    model = prune_model(deconvolutional(), ["conv", "up", "up2"], filters=True)
    kernel = model.get_layer("masked_layer_up").kernel.numpy()  # [3, 3, out, in]
    scores = filter_l2(ScoringInputs(model, get_masks(model)))
    by_hand = np.sqrt(np.einsum("hwoi,hwoi->o", kernel.astype(float), kernel))
    np.testing.assert_allclose(scores["up"], by_hand)
    keep = {"up": [1, 0, 1, 1, 0, 1], "up2": [1, 1, 0]}
    masks = filter_kernels(get_masks(model), keep, {"up": -2, "up2": -2})
    set_filter_masks(model, masks)
    assert not model.get_layer("norm").gamma.numpy()[[1, 4]].any()
    images = np.random.default_rng(1).normal(size=(4, 5, 5, 2)).astype(np.float32)
    small = shrink(model)
    assert channels(small)["up"] == 4
    assert channels(small)["up2"] == 2
    np.testing.assert_allclose(small.predict(images), model.predict(images), atol=1e-5)


def test_noise_on_a_transposed_convolution_is_on_its_filters_alone():
    model = deconvolutional()
    before = model.get_layer("up").kernel.numpy()
    noise = NoiseState(model, ["up"])
    noise.start("zeroing", 0)
    noise.begin("up", np.arange(6) == 3, 1, False)
    after = model.get_layer("up").kernel.numpy()
    assert not after[:, :, 3].any()
    np.testing.assert_array_equal(np.delete(after, 3, 2), np.delete(before, 3, 2))


def test_random_directions_have_the_norms_of_transposed_filters():
    model = deconvolutional()
    direction = filter_normalized_direction(model, np.random.default_rng(0))["up/kernel"]
    kernel = model.get_layer("up").kernel.numpy()
    norms = [np.linalg.norm(array[:, :, 2].astype(float)) for array in (direction, kernel)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


def test_filter_criteria_name_a_layer_without_filters(trained):
    model, _, _ = trained
    masks = Masks({"gru/kernel": np.ones((3, 15))})
    with pytest.raises(InputError, match="'gru/kernel' has no filters"):
        filter_l2(ScoringInputs(model, masks))


@pytest.mark.parametrize("kind", LAYERS)
def test_kernels_are_drawn_by_their_fan_in_or_the_layer_is_named(kind):
    x = keras.Input(LAYERS[kind].shape)
    model = keras.Model(x, called(made(kind), x))
    if not LAYERS[kind].drawn:
        with pytest.raises(InputError, match=f"no rule initializes '{own_name(kind)}") as error:
            initial_weights(model, seed=0)
        assert "\n" not in str(error.value)
        return
    variables = [kernel.variable for kernel in kernels_of(model.layers[-1])]
    drawn = {id(v): w for v, w in zip(model.weights, initial_weights(model, seed=0), strict=True)}
    for variable, fan_in in zip(variables, LAYERS[kind].fan_in, strict=True):
        size = np.std(drawn[id(variable)])
        assert size == pytest.approx(np.sqrt(2 / fan_in), rel=5 / np.sqrt(drawn[id(variable)].size))


# --- How layers are used.


def test_masks_of_time_steps_and_states_reach_layers_through_the_wrapper():
    """A token 0 is padding; encoder states start the decoder; attention is causal."""
    tokens, later = keras.Input((5,), dtype="int32"), keras.Input((4, 3))
    x = layers.Embedding(9, 6, mask_zero=True, name="embedding")(tokens)
    x = layers.Dense(6, name="dense")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x, use_causal_mask=True)
    _, h, c = layers.LSTM(4, return_state=True, name="encoder")(x)
    outputs = layers.LSTM(4, name="decoder")(later, initial_state=[h, c])
    plain = keras.Model([tokens, later], outputs)
    every = ["embedding", "dense", "attention", "encoder", "decoder"]
    inputs = [np.array([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]]), np.ones((2, 4, 3), np.float32)]
    expected = plain(inputs).numpy()
    model = prune_model(plain, every)
    np.testing.assert_array_equal(model(inputs), expected)
    np.testing.assert_array_equal(strip(model)(inputs), expected)


def test_a_stateful_layer_keeps_its_states_and_is_reset_with_its_model():
    shape = (2, 3, 2)
    plain = keras.Sequential([layers.GRU(3, stateful=True, batch_input_shape=shape)])
    model, x = prune_model(plain), np.ones(shape, np.float32)
    first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
    assert np.abs(first - second).max() > 1e-3
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, verbose=0), first)


def test_two_backbones_with_equal_names_are_both_pruned_by_their_paths():
    def backbone(name):
        parts = [layers.Conv2D(4, 3, input_shape=(6, 6, 1), name="conv"), layers.Flatten()]
        return keras.Sequential(parts, name=name)

    inputs = [keras.Input((6, 6, 1)), keras.Input((6, 6, 1))]
    ends = [backbone(name)(x) for name, x in zip("AB", inputs, strict=True)]
    plain = keras.Model(inputs, layers.Dense(2, name="logits")(layers.Concatenate()(ends)))
    model = prune_model(plain)
    assert list(get_masks(model)) == ["A/conv", "B/conv", "logits"]
    zeros = {"A/conv": np.zeros((3, 3, 1, 4))}
    set_masks(model, get_masks(model).replaced({**get_masks(model), **zeros}))
    stripped = strip(model)
    assert not stripped.get_layer("A").get_layer("conv").kernel.numpy().any()
    assert stripped.get_layer("B").get_layer("conv").kernel.numpy().all()
    with pytest.raises(SettingError, match=r"did you mean [AB]/conv"):
        prune_model(plain, ["conv"])


# --- What is left out.


class Own(layers.Dense):
    """A subclass, pruned as its class is."""


class Ignores(layers.Dense):
    """A subclass that does not apply its kernel's constraint."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_weight("bias", (self.units,))
        self.built = True


class Composite(layers.Layer):
    """A layer made of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inside = layers.Dense(4)

    def call(self, inputs):
        return self.inside(inputs)


MADE_OF_MODELS = {
    "SpectralNormalization": lambda: layers.SpectralNormalization(layers.Dense(4)),
    "TimeDistributed of a model": lambda: layers.TimeDistributed(
        keras.Sequential([layers.Dense(4, input_shape=(3,))])
    ),
    "a layer of your own made of layers": Composite,
    "a subclass that ignores its constraint": lambda: Ignores(4),
}


@pytest.mark.parametrize("kind", compatibility.LEFT_OUT)
def test_what_cannot_be_pruned_is_left_out_and_named_with_its_share(kind):
    x = inputs = keras.Input((2, 3))
    left_out = MADE_OF_MODELS[kind]()
    x = left_out(x)
    plain = keras.Model(inputs, layers.Dense(2, name="logits")(Own(5, name="own")(x)))
    with pytest.warns(UserWarning, match="leaves out 1 of the 4 layers") as warned:
        model = prune_model(plain)
    share = left_out.count_params() / plain.count_params()
    assert f"{share:.0%}): {left_out.name!r} ({type(left_out).__name__})" in str(warned[0].message)
    assert list(masked_layers(model)) == ["own", "logits"]
    features = np.ones((1, 2, 3), np.float32)
    np.testing.assert_array_equal(model(features), plain(features))
    with pytest.raises(InputError):
        prune_model(plain, [left_out.name])


class Gated(layers.Dense):
    """A kernel of its own beside the layer's, and a bias of two axes."""

    def build(self, input_shape):
        super().build(input_shape)
        self.gate = self.add_weight(name="gate", shape=(input_shape[-1], self.units))
        self.bias_of_gate = self.add_weight(name="bias_of_gate", shape=(1, self.units))

    def call(self, inputs):
        gate = tf.sigmoid(tf.matmul(inputs, self.gate) + self.bias_of_gate)
        return super().call(inputs) * gate


def test_a_kernel_that_a_subclass_adds_is_named_with_its_share():
    inputs = keras.Input((3,))
    x = layers.MultiHeadAttention(2, 2, name="attention")(*[layers.Reshape((1, 3))(inputs)] * 2)
    x = Gated(4, name="gated")(layers.Flatten()(x))
    plain = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    with pytest.warns(UserWarning, match="leaves out kernels") as warned:
        model = prune_model(plain)
    assert "gated" in get_masks(model)
    (warning,) = warned
    share = 12 / plain.count_params()
    assert f"12 of {plain.count_params()} weights ({share:.0%}): gate of 'gated' (Gated)" in str(
        warning.message
    )
    with pytest.warns(UserWarning, match="flops does not count"):
        flops(plain)


# --- A class of one's own.


class Stepping(keras.Model):
    """Its training step says so."""

    def train_step(self, data):
        return {**super().train_step(data), "mine": tf.constant(1.0)}


class WithInit(Stepping):
    def __init__(self, inputs, outputs, alpha=0.5):
        super().__init__(inputs, outputs)
        self.alpha = alpha


class SteppingSequential(keras.Sequential):
    def train_step(self, data):
        return {**super().train_step(data), "mine": tf.constant(1.0)}


class Silent(keras.Model):
    """An own `__init__`, and nothing else that a copy could lose."""

    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, layers.Dense(2, name="d")(inputs))


def fit_logs(model):
    model.compile("sgd", "mse")
    return model.fit(np.ones((2, 4)), np.ones((2, 2)), verbose=0).history


def test_a_models_class_is_kept_or_the_model_refused_in_one_line():
    inputs = keras.Input((4,))
    outputs = layers.Dense(2, name="d")(inputs)
    for mine in (
        Stepping(inputs, outputs),
        SteppingSequential([layers.Dense(2, input_shape=(4,), name="d")]),
    ):
        pruned = prune_model(mine)
        assert type(pruned) is type(mine)
        assert "mine" in fit_logs(pruned)
    with pytest.raises(InputError, match=r"is a WithInit, with train_step and __init__ of its own"):
        prune_model(WithInit(inputs, outputs))
    assert list(get_masks(prune_model(Silent()))) == ["d"]


def test_what_the_refusal_advises_works():
    mine = WithInit(inputs := keras.Input((4,)), layers.Dense(2, name="d")(inputs))
    pruned = prune_model(keras.Model(mine.inputs, mine.outputs))
    again = WithInit(pruned.inputs, pruned.outputs, alpha=0.25)
    set_masks(again, Masks({"d": np.arange(8).reshape(4, 2) % 2}))
    assert "mine" in fit_logs(again)
    assert sparsity(again) == 0.5
    assert np.count_nonzero(strip(again).layers[1].kernel) == 4


def test_a_model_with_a_call_of_its_own_is_not_its_layers():
    class Doubles(keras.Model):
        def call(self, inputs, training=None):
            return 2 * super().call(inputs, training=training)

    x = inputs = keras.Input((4,))
    with pytest.raises(InputError, match=r"Doubles\) has a call of its own"):
        prune_model(Doubles(inputs, layers.Dense(2)(x)))
