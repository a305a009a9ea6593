"""Functions of one's own behind a name: what they return is checked where it is first used."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
from wording import says

from tfprune import catalog
from tfprune.backend import keras
from tfprune.catalog import Retraining
from tfprune.config import from_settings
from tfprune.data import label_noise
from tfprune.data.settings import DataConfig
from tfprune.data.sources import Source, load_source
from tfprune.errors import InputError, SettingError
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig
from tfprune.models.widths import layer_units
from tfprune.pruning.masks import Masks
from tfprune.pruning.prunable import prunable_kernels
from tfprune.pruning.selection import prune
from tfprune.pruning.settings import PruningConfig
from tfprune.studies.starting_weights import checked
from tfprune.training.network import build_network
from tfprune.training.schedules import fixed, retraining_schedule
from tfprune.training.settings import TrainingConfig

LABELS = np.arange(6, dtype=np.int32) % 3
GOOD = Source(
    "mine",
    3,
    ("a", "b", "c"),
    np.array([0.5], np.float32),
    np.array([0.2], np.float32),
    np.zeros((6, 4, 4, 1), np.uint8),
    LABELS,
    np.zeros((3, 4, 4, 1), np.uint8),
    LABELS[:3],
)
MASKS = Masks({"hidden": np.ones((2, 3), bool)})
WEIGHTS = {"hidden/kernel": np.ones((2, 3), np.float32), "hidden/bias": np.ones(3, np.float32)}
STEPS = 5


@pytest.fixture
def register(monkeypatch):
    """Adds a name to a registry for the time of a test."""

    def add(registry, target, **properties):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
        registry.add("mine", target, "", **properties)

    return add


def changed(**fields):
    return dataclasses.replace(GOOD, **fields)


SOURCES = {
    "no source": ((GOOD.train_images, LABELS), "a tfprune.Source from its function, not tuple"),
    "nothing": (None, "not NoneType"),
    "images that are scaled already": (
        changed(train_images=GOOD.train_images / np.float32(255)),
        "train_images of dtype uint8 (0 to 255), not float32",
    ),
    "channels first": (changed(test_images=np.zeros((3, 1, 9, 9), np.uint8)), "[N, C, H, W]"),
    "no test images": (changed(test_images=GOOD.test_images[:0]), "test_images of shape"),
    "test images of another shape": (
        changed(test_images=np.zeros((3, 4, 5, 1), np.uint8)),
        "(4, 4, 1), not (4, 5, 1)",
    ),
    "labels from 1": (changed(train_labels=LABELS + 1), "train_labels below num_classes, 3, not 3"),
    "test labels from 1": (changed(test_labels=LABELS[:3] + 1), "test_labels below num_classes, 3"),
    "labels below 0": (changed(train_labels=LABELS - 1), "train_labels from 0, not from -1"),
    "one-hot labels": (changed(train_labels=np.eye(3, dtype=int)[LABELS]), "of shape (6,)"),
    "labels as floats": (changed(train_labels=LABELS * 1.0), "an integer dtype, not float64"),
    "fewer labels than images": (changed(train_labels=LABELS[:5]), "one per image, not (5,)"),
    "too few names": (changed(class_names=("a", "b")), "3 class_names, not 2"),
    "a mean for three channels": (changed(mean=np.zeros(3)), "shape (1,), one per channel"),
    "a mean of pixels to 255": (changed(mean=[127.5], std=[50]), "of pixels scaled to [0, 1]"),
    "no deviation": (changed(std=np.zeros(1)), "std in (0, 1]"),
}


@pytest.mark.parametrize(("source", "fact"), SOURCES.values(), ids=SOURCES)
def test_what_cannot_be_a_data_set_is_refused(register, source, fact):
    register(catalog.DATASETS, lambda name, data_dir: source)
    with pytest.raises(SettingError) as error:
        load_source(DataConfig(dataset="mine"))
    says(str(error.value), "dataset=mine", fact)


def test_integers_of_any_size_and_images_without_channels_are_a_data_set(register):
    source = changed(
        train_images=GOOD.train_images[..., 0],
        test_images=GOOD.test_images[..., 0],
        train_labels=LABELS.astype(np.int64),
        mean=[0.5],
    )
    register(catalog.DATASETS, lambda name, data_dir: source)
    found = load_source(DataConfig(dataset="mine"))
    assert found.train_images.shape == (6, 4, 4, 1)
    assert found.train_labels.dtype == np.int32
    assert found.mean.dtype == np.float32


NOISES = {
    "nothing": (lambda labels, selected: None, "integer labels of shape (6,)"),
    "floats": (lambda labels, selected: labels * 1.0, "not float64 of shape (6,)"),
    "fewer": (lambda labels, selected: labels[:-1], "not int32 of shape (5,)"),
    "a class too many": (
        lambda labels, selected: np.where(selected, 3, labels),
        "labels in [0, 3)",
    ),
    "others than selected": (lambda labels, selected: (labels + 1) % 3, "none is selected"),
}


def noisy():
    return label_noise.apply("mine", LABELS, 3, 0.5, np.random.default_rng(0), "digits")


@pytest.mark.parametrize(("noise", "fact"), NOISES.values(), ids=NOISES)
def test_what_cannot_be_noisy_labels_is_refused(register, noise, fact):
    register(catalog.LABEL_NOISE, lambda labels, c, selected, rng, dataset: noise(labels, selected))
    with pytest.raises(SettingError) as error:
        noisy()
    says(str(error.value), "label_noise=mine", fact)


def test_noise_that_writes_into_its_labels_leaves_the_original_ones(register):
    def in_place(labels, num_classes, selected, rng, dataset):
        labels[selected] = (labels[selected] + 1) % num_classes
        return labels

    register(catalog.LABEL_NOISE, in_place)
    found = noisy()
    np.testing.assert_array_equal(found.original, LABELS)
    np.testing.assert_array_equal(found.observed != LABELS, found.selected)


def network(*last, classes=3):
    return keras.Sequential(
        [keras.layers.Flatten(input_shape=(4, 4, 1)), keras.layers.Dense(classes), *last]
    )


MODELS = {
    "nothing": (lambda: None, "a tf_keras model from its function, not NoneType"),
    "other classes": (lambda: network(classes=2), "(None, 3)", "not (None, 2)"),
    "softmax": (lambda: network(keras.layers.Softmax()), "logits", "ends in a softmax"),
    "sigmoids": (lambda: network(keras.layers.Activation("sigmoid")), "ends in a sigmoid"),
    "two outputs": (
        lambda: keras.Model((x := keras.Input((3,))), [x, x]),
        "one output of shape (None, 3)",
    ),
}


@pytest.mark.parametrize(("make", "facts"), [(m, f) for m, *f in MODELS.values()], ids=MODELS)
def test_what_cannot_be_trained_by_its_logits_is_refused(register, make, facts):
    register(catalog.MODELS, lambda input_shape, num_classes: make())
    with pytest.raises(SettingError) as error:
        build_model(ModelConfig(model="mine"), (4, 4, 1), 3)
    says(str(error.value), "model=mine", *facts)


def test_of_a_model_registered_with_nothing_but_its_function_all_kernels_are_pruned(register):
    register(catalog.MODELS, lambda input_shape, num_classes: network())
    model = build_model(ModelConfig(model="mine"), (4, 4, 1), 3)
    assert len(prunable_kernels(model, "default", "mine")) == 1
    assert layer_units("mine", 0.5) != layer_units("mine", 0.25)


DRAWING = {
    "dropout": (lambda: keras.layers.Dropout(0.5), True),
    "noise": (lambda: keras.layers.GaussianNoise(0.1), True),
    "augmentation": (lambda: keras.layers.RandomFlip(), True),
    "dropout of nothing": (lambda: keras.layers.Dropout(0.0), False),
    "another model's": (
        lambda: keras.Sequential([keras.layers.SpatialDropout2D(0.1, input_shape=(4, 4, 1))]),
        True,
    ),
}


@pytest.mark.parametrize(("layer", "draws"), DRAWING.values(), ids=DRAWING)
def test_a_network_that_draws_is_refused_unless_a_run_need_not_repeat(register, layer, draws):
    def build(input_shape, num_classes):
        images = keras.Input(input_shape)
        x = keras.layers.Flatten()(layer()(images))
        return keras.Model(images, keras.layers.Dense(num_classes)(x))

    register(catalog.MODELS, build)
    with pytest.raises(SettingError, match="deterministic=false") if draws else nullcontext():
        build_network(from_settings({"model": "mine"}, experiment="test"), (4, 4, 1), 3)
    free = from_settings({"model": "mine", "deterministic": False}, experiment="test")
    assert build_network(free, (4, 4, 1), 3).output_shape == (None, 3)


SCORES = {
    "nothing": (None, "not NoneType"),
    "a list": ([np.ones((2, 3))], "not list"),
    "other layers": ({"output": np.ones((2, 3))}, "do not fit masks"),
    "another shape": ({"hidden": np.ones(6)}, "do not fit masks"),
    "complex": ({"hidden": np.ones((2, 3)) * 1j}, "no real numbers"),
    "not a number": ({"hidden": np.full((2, 3), np.nan)}, "NaN"),
}


@pytest.mark.parametrize(("scores", "fact"), SCORES.values(), ids=SCORES)
def test_what_cannot_be_scores_is_refused(scores, fact):
    with pytest.raises(InputError, match=fact):
        prune(scores, MASKS, fraction=0.5, scope="global")


STARTS = {
    "nothing": (None, "not NoneType"),
    "a part": ({"hidden/bias": WEIGHTS["hidden/bias"]}, "hidden/kernel differs"),
    "another shape": ({**WEIGHTS, "hidden/kernel": np.ones(6)}, "of shape (2, 3), not (6,)"),
    "not finite": ({**WEIGHTS, "hidden/bias": np.full(3, np.nan)}, "hidden/bias of finite numbers"),
}


@pytest.mark.parametrize(("weights", "fact"), STARTS.values(), ids=STARTS)
def test_what_cannot_be_the_weights_of_a_level_is_refused(weights, fact):
    with pytest.raises(SettingError) as error:
        checked("mine", weights, WEIGHTS)
    says(str(error.value), "retrain=mine", fact)


RATES = {
    "a number": (0.1, "found float"),
    "one for an epoch": (lambda epoch, steps: 0.1, "of shape () in epoch 1"),
    "one too few": (lambda epoch, steps: np.ones(steps - 1), "of shape (4,)"),
    "below 0": (lambda epoch, steps: np.full(steps, -0.1), "found -0.1 to -0.1"),
    "not a number": (lambda epoch, steps: np.full(steps, np.nan), "found nan"),
}


@pytest.mark.parametrize(("rates", "fact"), RATES.values(), ids=RATES)
def test_what_cannot_be_learning_rates_is_refused(register, rates, fact):
    register(catalog.RETRAINING, Retraining(schedule=lambda training, pruning: rates))
    with pytest.raises(SettingError) as error:
        retraining_schedule(TrainingConfig(), PruningConfig(retrain="mine"))(1, STEPS)
    says(str(error.value), "retrain=mine", fact)


def test_learning_rates_of_ones_own_are_float32(register):
    register(catalog.RETRAINING, Retraining(schedule=lambda training, pruning: fixed(0.25)))
    rates = retraining_schedule(TrainingConfig(), PruningConfig(retrain="mine"))(1, STEPS)
    assert rates.dtype == np.float32
    np.testing.assert_array_equal(rates, np.full(STEPS, 0.25))


def test_a_function_is_no_way_to_retrain_and_a_number_no_function():
    with pytest.raises(InputError, match="must be a Retraining, not a function"):
        catalog.RETRAINING.add("mine", lambda inputs: inputs.trained, "")
    with pytest.raises(InputError, match="must be a Callable, not a float"):
        catalog.CRITERIA.add("mine", 0.5, "")
