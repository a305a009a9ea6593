"""Saved and loaded models keep their masks, and keep holding them; TFLite runs the same."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from compatibility import FORMATS
from tensorflow_model_optimization.sparsity.keras import prune_scope, strip_pruning

import tfprune
from tfprune.backend import keras, tf
from tfprune.errors import DamagedFile, InputError
from tfprune.pruning.export import load_model, save_model, to_tflite
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, prunable_weights, prune_model, set_masks, strip


@pytest.fixture
def sparse_model(conv_net, examples):
    """A wrapped, compiled network after a few dense steps with momentum and a pruning."""
    model = prune_model(conv_net())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    model.run_eagerly = True  # Two steps.
    model.fit(*examples((6, 6, 2)), batch_size=10, verbose=0)
    model.run_eagerly = False
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
        pytest.param("model.keras", "ours", marks=pytest.mark.slow),
        ("model.keras", "keras"),
        ("model.keras", "prune_scope"),
        ("saved_model", "ours"),
        pytest.param("saved_model", "prune_scope", marks=pytest.mark.slow),
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
    path = tf.train.Checkpoint(model=sparse_model).write(str(tmp_path / "checkpoint"))
    other = prune_model(conv_net(seed=50))
    other.compile(keras.optimizers.SGD(0.1, momentum=0.9), sparse_model.loss)
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    assert get_masks(other) == get_masks(sparse_model)
    np.testing.assert_array_equal(other(images), sparse_model(images))
    for model in (other, sparse_model):
        model.get_layer("dropout").rate = 0.0
        model.compile(model.optimizer, model.loss)  # The same optimizer, the step traced anew.
        assert_trains_on_sparse(model, get_masks(sparse_model), images[:10], labels[:10])
    np.testing.assert_allclose(other(images), sparse_model(images), rtol=1e-4, atol=1e-5)


def test_tflite_computes_what_the_sparse_model_computes(sparse_model, examples):
    images, _ = examples((6, 6, 2), count=1)
    interpreter = tf.lite.Interpreter(model_content=to_tflite(sparse_model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, sparse_model(images), rtol=1e-4, atol=1e-5)


class Twice(keras.layers.Layer):
    """A user's own layer, not registered."""

    def call(self, inputs):
        return 2 * inputs


def own_loss(labels, outputs):
    return keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)


def with_own_layers():
    """Kernels in a subclass that is not registered, and a layer without weights."""
    inputs = keras.Input((4,))
    x = Unregistered(3, name="unregistered")(Twice(name="twice")(inputs))
    model = prune_model(keras.Model(inputs, keras.layers.Dense(2, name="output")(x)))
    set_masks(model, Masks({"unregistered": np.eye(4, 3), "output": np.ones((3, 2))}))
    return model


class Unregistered(keras.layers.Dense):
    def call(self, inputs):
        return 3 * super().call(inputs)


OWN = {"Unregistered": Unregistered, "Twice": Twice}


@pytest.mark.parametrize("way", [name for name, way in FORMATS.items() if way.unknown])
def test_layers_of_classes_that_are_not_known_are_refused_and_given_they_are_right(way, tmp_path):
    model, x = with_own_layers(), np.ones((2, 4), np.float32)
    path = tmp_path / FORMATS[way].file
    save_model(model, path)
    with pytest.raises((InputError, TypeError, ValueError), match=FORMATS[way].unknown):
        load_model(path)
    loaded = load_model(path, OWN)
    assert get_masks(loaded) == get_masks(model)
    np.testing.assert_array_equal(strip(loaded)(x), model(x))


def test_a_savedmodel_of_classes_that_are_not_known_says_what_to_give(tmp_path):
    model, x = with_own_layers(), np.ones((2, 4), np.float32)
    save_model(model, tmp_path / "saved")
    with pytest.raises(InputError, match=r"'unregistered' \(Unregistered\)") as error:
        load_model(tmp_path / "saved")
    text = str(error.value)
    assert "\n" not in text
    assert 'custom_objects={"Twice": Twice, "Unregistered": Unregistered}' in text
    # By Keras alone it computes the same, and what a copy would compute is refused.
    revived = keras.models.load_model(tmp_path / "saved")
    np.testing.assert_allclose(revived(x), model(x))
    with pytest.raises(InputError, match="classes that are not known"):
        strip(revived)


class NoConfig(keras.layers.Dense):
    def __init__(self, gain):
        super().__init__(3)
        self.gain = gain


def test_a_layer_that_its_config_does_not_make_is_refused_in_a_line():
    plain = keras.Sequential([keras.Input((4,)), NoConfig(2.0), keras.layers.Dense(2)])
    with pytest.raises(InputError, match=r"\(NoConfig\) cannot be copied: its get_config") as error:
        prune_model(plain)
    assert "\n" not in str(error.value)


def two_backbones(deeper):
    """Two models inside with a layer `conv` each; deeper, inside one that is inside."""

    def backbone(name):
        parts = [keras.layers.Conv2D(2, 3, input_shape=(5, 5, 1), name="conv")]
        return keras.Sequential([*parts, keras.layers.Flatten()], name=name)

    inputs = keras.Input((5, 5, 1))
    both = keras.layers.Concatenate()([backbone(name)(inputs) for name in "AB"])
    if deeper:
        both = keras.Model(inputs, both, name="both")(inputs)
    model = prune_model(keras.Model(inputs, keras.layers.Dense(2, name="output")(both)))
    dense = get_masks(model)
    third = {next(iter(dense)): np.arange(18).reshape(3, 3, 1, 2) % 3 == 0}
    set_masks(model, dense.replaced({**dense, **third}))
    return model


def backbone_cases():
    """Compiled, or deeper; what is both or neither is no kind of its own, but `.h5` of neither."""
    for way in (name for name, way in FORMATS.items() if way.file):
        for deeper, compiled in itertools.product((False, True), repeat=2):
            quick = deeper != compiled or (way == "`.h5`" and not deeper)
            yield pytest.param(deeper, compiled, way, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize("file", ["model.keras", "model.h5", "model"])
def test_a_model_that_is_not_there_or_not_whole_is_said_to_be_so(file, tmp_path):
    path = tmp_path / file
    with pytest.raises(InputError, match=f"there is no model at .*{file}"):
        load_model(path)
    save_model(prune_model(two_heads()), path)
    part = path / "saved_model.pb" if path.is_dir() else path
    part.write_bytes(part.read_bytes()[:-200])
    with pytest.raises(DamagedFile, match=f"{file} is damaged"):
        load_model(path)


LOSSES = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}


def two_heads():
    """Outputs of which one comes twice, by a shared layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    kind, size = keras.layers.Dense(4, name="kind"), keras.layers.Dense(1, name="size")
    return keras.Model(inputs, [kind(inputs), size(inputs), size(kind(inputs))])


@pytest.mark.parametrize("file", ["", "model.keras", "model.h5", "model"])
def test_outputs_keep_their_names_for_losses_labels_and_logs(file, tmp_path):
    rng = np.random.default_rng(0)
    inputs, sizes = rng.normal(size=(8, 4)), rng.normal(size=(2, 8))
    labels = {"kind": np.arange(8) % 4, "size": sizes[0], "size_1": sizes[1]}

    def compiled(model):
        losses, weights = {**LOSSES, "size_1": "mae"}, {"kind": 1.0, "size": 0.5, "size_1": 0.1}
        model.compile(
            "sgd", losses, metrics={"kind": "sparse_categorical_accuracy"}, loss_weights=weights
        )
        return model

    model = compiled(prune_model(two_heads()))
    if file:
        save_model(model, tmp_path / file)
        model = load_model(tmp_path / file)
    plain = compiled(two_heads())
    assert model.output_names == plain.output_names
    for network in (model, plain):
        network.fit(inputs, labels, shuffle=False, verbose=0)
    assert model.history.history == plain.history.history
    assert "size_1_loss" in model.history.history


@pytest.mark.parametrize(("deeper", "compiled", "way"), backbone_cases())
def test_two_backbones_with_equal_names_are_saved_whole_or_refused(deeper, compiled, way, tmp_path):
    model, path = two_backbones(deeper), tmp_path / FORMATS[way].file
    if compiled:
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        model.optimizer.build(model.trainable_variables)
    outcome = FORMATS[way].alike_deeper if deeper else FORMATS[way].alike
    whole = not way.startswith("`save_weights")
    if outcome != "yes" and (compiled or deeper):
        with pytest.raises((InputError, ValueError), match=outcome):
            (save_model if whole else keras.Model.save_weights)(model, path)
        assert not (whole and list(tmp_path.iterdir()))
        return
    if whole:
        save_model(model, path)
        loaded = load_model(path)
    else:
        model.save_weights(path)
        loaded = two_backbones(deeper)
        loaded.load_weights(path)
    assert get_masks(loaded) == get_masks(model)
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# What Keras calls in the middle of writing.
@pytest.mark.parametrize(
    ("name", "called"), [("model.keras", "save_own_variables"), ("model.h5", "get_config")]
)
def test_a_model_that_cannot_be_saved_leaves_the_one_before(
    name, called, sparse_model, tmp_path, monkeypatch
):
    path = tmp_path / name
    save_model(sparse_model, path)
    before = path.read_bytes()
    monkeypatch.setattr(sparse_model.layers[-1], called, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(sparse_model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("way", [name for name, way in FORMATS.items() if way.file])
def test_the_optimizers_state_is_kept_or_keras_leaves_it_out(way, mlp, examples, tmp_path):
    def compiled():
        made = prune_model(mlp())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        made.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
        return made

    model, path = compiled(), tmp_path / FORMATS[way].file
    model.run_eagerly = True  # One step.
    model.fit(*examples((6,)), verbose=0)
    model.run_eagerly = False
    if way.startswith("`save_weights"):
        model.save_weights(path)
        other = compiled()
        other.optimizer.build(other.trainable_variables)
        other.load_weights(path)
    else:
        save_model(model, path)
        other = load_model(path)
    slots = [variable.numpy() for variable in model.optimizer.variables[2:]]
    found = [variable.numpy() for variable in other.optimizer.variables[2:]]
    kept = len(found) == len(slots) and all(map(np.array_equal, found, slots))
    assert kept == (FORMATS[way].state == "kept")
    assert all(slot.any() for slot in slots)


# What a script of another process does: it has the user's names, and touches nothing of tfprune's.
LOADS = """
import sys
import numpy as np
import tfprune
import tf_keras as keras

class Twice(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs

def own_loss(labels, outputs):
    return keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)

own = {"Twice": Twice, "own_loss": own_loss}
for path in sys.argv[1:]:
    model = tfprune.load_model(path, custom_objects=own, safe_mode=False)
    before = [v.numpy() for v in model.optimizer.variables]
    print(type(model.optimizer).__name__, model.optimizer.get_config().get("l2"), end=" ")
    print(sum(float(np.abs(v).sum()) for v in before[1:]) > 0, tfprune.sparsity(model))
    images = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    model.fit(images, np.arange(16) % 2, verbose=0, shuffle=False)
    np.save(path + ".npy", np.concatenate([w.ravel() for w in tfprune.strip(model).get_weights()]))
"""


@pytest.mark.parametrize("optimizer", ["SGD", pytest.param("Adam", marks=pytest.mark.slow)])
def test_models_load_in_a_new_process_with_the_users_own_names(optimizer, tmp_path):
    """One more epoch there is one more epoch here, from all three formats."""
    keras.utils.set_random_seed(1)
    images = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    labels = np.arange(16) % 2
    inputs = keras.Input((4,))
    x = keras.layers.Lambda(lambda values: values + 1)(Twice()(inputs))
    x = keras.layers.Dense(8, "relu", name="hidden")(x)
    model = tfprune.prune_model(keras.Model(inputs, keras.layers.Dense(2, name="output")(x)))
    kind = {
        "SGD": lambda: tfprune.SGD(0.1, momentum=0.9, l2=0.25),
        "Adam": lambda: tfprune.Adam(0.01, l2=0.25),
    }[optimizer]
    model.compile(kind(), own_loss)
    set_masks(model, Masks({"hidden": np.arange(32).reshape(4, 8) % 2, "output": np.ones((8, 2))}))
    model.fit(images, labels, verbose=0, shuffle=False)
    whole = [FORMATS[name] for name in ("`.keras`", "`.h5`", "SavedModel")]
    paths = [str(tmp_path / way.file) for way in whole]
    for path in paths:
        save_model(model, path)
    restarted = load_model(paths[0], {"Twice": Twice, "own_loss": own_loss}, safe_mode=False)
    restarted.compile(kind(), own_loss)
    for one in (model, restarted):  # Keras keeps no optimizer's state in a SavedModel.
        one.fit(images, labels, verbose=0, shuffle=False)
    wanted = [
        np.concatenate([w.ravel() for w in strip(one).get_weights()])
        for one in (model, model, restarted)
    ]
    sparsity = tfprune.sparsity(model)
    command = [sys.executable, "-c", LOADS, *paths]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    said = process.stdout.splitlines()
    for way, line, path, want in zip(whole, said, paths, wanted, strict=True):
        assert line.split() == [optimizer, "0.25", str(way.state == "kept"), str(sparsity)], path
        np.testing.assert_array_equal(np.load(path + ".npy"), want, err_msg=path)
    with pytest.raises(ValueError, match="safe"):
        load_model(paths[0], custom_objects={"Twice": Twice, "own_loss": own_loss})
    plain = load_model(paths[0], {"Twice": Twice}, compile=False, safe_mode=False)
    assert getattr(plain, "optimizer", None) is None


@pytest.mark.parametrize(("quantize", "share"), [(None, 1.0), ("float16", 0.5), ("int8", 0.25)])
def test_tflite_with_quantized_weights_is_smaller_and_as_sparse(quantize, share):
    keras.utils.set_random_seed(1)
    hidden = keras.layers.Dense(512, "relu", input_shape=(64,), name="hidden")
    model = prune_model(keras.Sequential([hidden, keras.layers.Dense(4, name="output")]))
    masks = {**get_masks(model), "hidden": np.random.default_rng(0).random((64, 512)) < 0.1}
    set_masks(model, get_masks(model).replaced(masks))
    content = to_tflite(model, quantize)
    assert len(content) == pytest.approx(share * len(to_tflite(model)), rel=0.25)
    # Else the float32 weights that float16 ones become are gone when it is asked for them.
    interpreter = tf.lite.Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    stored = [
        interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if list(detail["shape"]) == [512, 64]
    ]
    assert stored[0].dtype == {None: np.float32, "float16": np.float16, "int8": np.int8}[quantize]
    assert np.count_nonzero(stored[0]) == pytest.approx(masks["hidden"].sum(), rel=0.02)
    assert not stored[0][~masks["hidden"].T].any()
    images = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, model(images), atol=0.02)


def test_an_unknown_quantization_is_refused(mlp):
    with pytest.raises(InputError, match="float16, int8"):
        to_tflite(mlp(), "int4")
