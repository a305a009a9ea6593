"""What an experiment cannot measure is said before anything is trained, whatever it is."""

import dataclasses
from unittest import mock

import numpy as np
import pytest
from end_to_end.commands import figures_unpainted
from synthetic import prepared_data

from tfprune import __main__ as door
from tfprune.data import sources
from tfprune.errors import SettingError
from tfprune.experiments import runner
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.files import load_arrays

DATA = prepared_data(examples=60, test_examples=30, side=8, channels=3, noise=0)
CLASSES = ("cat", "dog", "owl")
# What these measure goes through whole splits in memory many times.
IN_MEMORY = {
    "redense", "utility_dynamics", "utility_size", "utility_pruned", "accuracy_surface", "flatness",
}  # fmt: skip
# These measure single examples of streamed data, or nothing beside the trainings' own metrics.
STREAMED = {
    "sparse_double_descent", "learning_distance", "random_reinit", "pruning_effect",
    "width_scaling", "example_effects", "example_galleries", "leave_out",
    "generalization_stability", "pruning_as_noise",
}  # fmt: skip
SMALL = ("--preset=smoke", "--jit=off", "--validation_examples=10", "--train_subset=")


pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """Images of one size, two files of them, as a TFDS set that has no code."""
    from tfprune.backend import tf  # noqa: I001 - TFDS must not be the first to load Keras
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=list(CLASSES)),
    }
    splits = {
        "train": {"image": DATA.images, "label": DATA.original_labels.astype(np.int64)},
        "test": {"image": DATA.test_images, "label": DATA.test_labels.astype(np.int64)},
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="patterns",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices(arrays) for name, arrays in splits.items()
        },
        data_dir=root,
        download_config=tfds.download.DownloadConfig(num_shards=2),
        disable_shuffling=True,
    )
    return root


@pytest.fixture
def streamed(tfds_folder, monkeypatch):
    """The flags of a set that is streamed, for it is too large for memory."""
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", 0)
    return (*SMALL, "--dataset=patterns", f"--data_dir={tfds_folder}")


def test_every_experiment_is_among_those_tried_here():
    assert set(EXPERIMENTS) == IN_MEMORY | STREAMED


@pytest.mark.parametrize("name", sorted(IN_MEMORY))
def test_streamed_data_are_refused_where_they_cannot_be_measured(name, streamed, tmp_path):
    folder = tmp_path / "runs"
    with pytest.raises(SettingError, match=f"--dataset=patterns: .* what {name} measures"):
        door.dispatch([name, *streamed, f"--output_dir={folder}"])
    assert not list(folder.glob("**/*.*"))


def test_of_a_finished_trunk_too(streamed, tmp_path, monkeypatch):
    """Nothing is trained for a measurement that cannot be made, by whomever the trunk was."""
    small = ["redense", *SMALL, "--dataset=patterns", *streamed[-1:], f"--output_dir={tmp_path}"]
    small += ["--levels=1", "--train_epochs=1", "--alpha_step=0.5", "--line_points=3"]
    trunk = dataclasses.replace(EXPERIMENTS["redense"], check=None, further=lambda *args: None)
    monkeypatch.setattr("tfprune.experiments.redense.EXPERIMENT", trunk)
    with mock.patch.object(runner, "show"):
        assert door.dispatch(small) == 0
    monkeypatch.undo()
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", 0)
    with pytest.raises(SettingError, match="--dataset=patterns"):
        door.dispatch(small)
    assert not list(tmp_path.glob("trials/*/*/redense*"))


def test_galleries_of_streamed_data_show_the_images_and_name_the_classes(
    streamed, tmp_path, capsys
):
    short = ("--levels=1", "--train_epochs=1", "--seeds=0", f"--output_dir={tmp_path}")
    with figures_unpainted():
        assert door.dispatch(["example_galleries", *streamed, *short]) == 0
    assert "not measured" not in "".join(capsys.readouterr())
    (path,) = tmp_path.glob("trials/*/seed_0/level_00/gallery-*.npz")
    gallery = load_arrays(path)
    assert gallery["class_names"].tolist() == list(CLASSES)
    shown = 0
    for kind in ("most_worsened", "most_improved", "least_affected"):
        indices = gallery[f"{kind}/indices"]
        shown += len(indices)
        np.testing.assert_array_equal(gallery[f"{kind}/images"], DATA.images[indices])
        np.testing.assert_array_equal(gallery[f"{kind}/labels"], DATA.original_labels[indices])
    assert shown
    assert list(tmp_path.glob("figures/example_galleries_*.png"))


def test_families_that_no_gallery_shows_are_refused(tmp_path):
    folder = tmp_path / "runs"
    argv = ["example_galleries", "--preset=smoke", f"--output_dir={folder}"]
    with pytest.raises(SettingError, match="--methods=lr_rewind,random: lr_rewind"):
        door.dispatch([*argv, "--methods=lr_rewind,random"])
    assert not list(folder.glob("**/*.*"))


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        (("--improved_fraction=0.99",), "improved_fraction"),
        (("--subsample_fraction=0.02", "--worsened_fraction=0"), "subsample_fraction"),
    ],
)
def test_sets_without_an_example_are_refused(flags, setting, tmp_path):
    folder = tmp_path / "runs"
    argv = ["leave_out", "--preset=smoke", "--train_subset=20", f"--output_dir={folder}", *flags]
    with pytest.raises(SettingError, match=f"--{setting}=.*at least one of the 20 training"):
        door.dispatch(argv)
    assert not list(folder.glob("**/*.*"))
