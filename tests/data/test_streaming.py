"""Streamed data: every example once, stateless, cropped and resized as documented."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from tfprune.backend import tf
from tfprune.data import augmentation, streaming
from tfprune.data.prepare import prepare
from tfprune.data.settings import DataConfig
from tfprune.data.sources import load_source
from tfprune.data.streaming import StreamedSource

SIZES = [(6, 9), (8, 5), (7, 7), (5, 12), (6, 6)]
CLASSES = ("cat", "dog", "owl")


def value_of(position, split="train"):
    return position * 10 + (5 if split == "test" else 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """15 training and 6 test images of several sizes, each of one grey level: its own number."""
    root = tmp_path_factory.mktemp("images")
    for split, each in (("train", 5), ("test", 2)):
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                value = value_of(label * each + number, split)
                image = np.full((*SIZES[number], 3), value, np.uint8)
                encoded = tf.io.encode_png(image).numpy()
                (root / split / name / f"{number}.png").write_bytes(encoded)
    return root


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """The same kind of set as three files of a TFDS set that has no code."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")

    def split(count):
        sizes = tf.constant(SIZES)

        def example(position):
            size = tf.gather(sizes, position % len(SIZES))
            image = tf.fill([size[0], size[1], 3], tf.cast(position * 10, tf.uint8))
            return {"image": image, "label": position // 5}

        return tf.data.Dataset.range(count).map(example)

    tfds.dataset_builders.store_as_tfds_dataset(
        name="greys",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=list(CLASSES)),
            }
        ),
        split_datasets={"train": split(15), "test": split(15)},
        data_dir=root,
        download_config=tfds.download.DownloadConfig(num_shards=3),
        disable_shuffling=True,
    )
    return root


def small(source):
    assert isinstance(source, StreamedSource)
    one = np.full(3, 1 / 255, np.float32)
    return dataclasses.replace(source, resize=5, crop=4, mean=0 * one, std=one)


@pytest.fixture(params=["folder", "tfds"])
def source(request, folder, tfds_folder):
    if request.param == "folder":
        return small(load_source(DataConfig(dataset=f"folder:{folder}")))
    return small(load_source(DataConfig(dataset="greys", data_dir=str(tfds_folder))))


def config(**values):
    return DataConfig(dataset="streamed", **values)


def collect(batches):
    parts = [tuple(part.numpy() for part in batch) for batch in batches]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def greys(images):
    """The one grey level of each image, checked to be one up to rounding in the resizing."""
    spread = images.max((1, 2, 3)) - images.min((1, 2, 3))
    np.testing.assert_allclose(spread, 0, atol=1e-3)
    return np.rint(images.mean((1, 2, 3))).astype(int)


def test_labels_are_read_in_the_order_of_the_files(source):
    np.testing.assert_array_equal(source.train_labels, np.repeat([0, 1, 2], 5))
    assert source.train_labels.dtype == np.int32
    assert source.class_names == CLASSES


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_an_epoch_shows_every_training_example_once_with_its_label_and_row(source, augment):
    noise = {"label_noise": "pairflip", "noise_fraction": 0.5}
    data = prepare(source, config(validation_examples=4, augment=augment, **noise), 0)
    batches = data.train_epoch(seed=1, level=0, epoch=0, batch_size=4)
    assert [len(rows) for _, _, rows in batches] == [4, 4, 3]
    images, labels, rows = collect(batches)
    assert images.dtype == np.float32
    assert images.shape == (11, 4, 4, 3)
    np.testing.assert_array_equal(np.sort(rows), np.arange(11))
    np.testing.assert_array_equal(greys(images), data.indices[rows] * 10)
    np.testing.assert_array_equal(labels, data.labels[rows])
    assert (data.labels != data.original_labels).sum() == round(0.5 * 11)


def test_an_epoch_is_a_function_of_seed_level_and_epoch(source):
    data = prepare(source, config(augment="crop_flip"), 0)
    first, again = (collect(data.train_epoch(1, 2, 3, 4)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert np.any(collect(data.train_epoch(*key, 4))[2] != first[2])


def test_an_example_is_augmented_the_same_way_in_whatever_batch_it_comes(folder):
    data = prepare(
        small(load_source(DataConfig(dataset=f"folder:{folder}"))), config(augment="shift"), 0
    )
    images, _, rows = collect(data.train_epoch(1, 0, 0, 4))
    other, _, other_rows = collect(data.train_epoch(1, 0, 0, 15))
    np.testing.assert_array_equal(images[np.argsort(rows)], other[np.argsort(other_rows)])
    draws = augmentation.draw("shift", 15, 1, 0, 0)
    visible = np.clip(4 - np.abs(draws.dy), 0, 4) * np.clip(4 - np.abs(draws.dx), 0, 4)
    shown = (images[np.argsort(rows)][1:] > 1).sum((1, 2, 3)) // 3
    np.testing.assert_array_equal(shown, visible[1:])  # Image 0 is black all over.


def test_evaluation_is_in_order_with_clean_validation_labels(source):
    data = prepare(
        source, config(validation_examples=4, label_noise="pairflip", noise_fraction=1.0), 0
    )
    images, labels, rows = collect(data.evaluation("val", 3))
    np.testing.assert_array_equal(rows, np.arange(4))
    np.testing.assert_array_equal(greys(images), data.val_indices * 10)
    np.testing.assert_array_equal(labels, data.val_indices // 5)
    images, labels, rows = collect(data.evaluation("train", 3))
    np.testing.assert_array_equal(greys(images), data.indices * 10)
    np.testing.assert_array_equal(labels, (data.indices // 5 + 1) % 3)
    np.testing.assert_array_equal(rows, np.arange(11))
    _, labels, rows = collect(data.evaluation("test", 4))
    np.testing.assert_array_equal(labels, data.test_labels)
    np.testing.assert_array_equal(rows, np.arange(len(data.test_labels)))
    assert data.selected.all()


def test_test_images_are_those_of_the_test_folder(folder):
    data = prepare(small(load_source(DataConfig(dataset=f"folder:{folder}"))), config(), 0)
    images, labels, _ = collect(data.evaluation("test", 4))
    np.testing.assert_array_equal(greys(images), [5, 15, 25, 35, 45, 55])
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2, 2])


def test_pixels_are_normalized_by_the_mean_and_std_of_the_source(folder):
    source = small(load_source(DataConfig(dataset=f"folder:{folder}")))
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.25, 0.2], np.float32)
    data = prepare(dataclasses.replace(source, mean=mean, std=std), config(), 0)
    images = collect(data.evaluation("train", 15))[0]
    np.testing.assert_allclose(images[12, 0, 0], (120 / 255 - mean) / std, rtol=1e-4)


def test_pictures_are_central_crops_in_the_order_asked_for(source):
    data = prepare(source, config(validation_examples=4), 0)
    rows = np.array([10, 0, 7])
    images = data.pictures(rows)
    assert (images.dtype, images.shape) == (np.uint8, (3, 4, 4, 3))
    np.testing.assert_array_equal(images[:, 0, 0, 0], data.indices[rows] * 10)
    assert data.pictures(np.zeros(0, np.int64)).shape == (0, 4, 4, 3)


def test_of_a_tfds_set_only_the_files_that_hold_an_example_are_read(tfds_folder, tmp_path):
    """15 examples in three files of five."""
    copy = shutil.copytree(tfds_folder, tmp_path / "copy")
    source = small(load_source(DataConfig(dataset="greys", data_dir=str(copy))))
    data = prepare(source, config(), 0)
    first, _, third = sorted(copy.rglob("greys-train*"))
    first.write_bytes(b"")
    third.write_bytes(b"")
    assert data.pictures(np.array([9, 5]))[:, 0, 0, 0].tolist() == [90, 50]
    assert len(collect(data.evaluation("test", 4))[2]) == 15


def test_without_a_validation_split_its_evaluation_is_empty(source):
    data = prepare(source, config(), 0)
    assert list(data.evaluation("val", 3)) == []


def test_an_unknown_split_is_refused(source):
    with pytest.raises(ValueError, match="train, val or test"):
        prepare(source, config(), 0).evaluation("training", 3)


def test_the_central_crop_of_an_image_that_needs_no_resizing_is_its_middle():
    image = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    crop = streaming.central_crop(tf.constant(image), resize=8, crop=4)
    np.testing.assert_array_equal(crop, image[2:6, 4:8])


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (60, 90)])
def test_the_shorter_side_is_resized_and_the_crop_is_square(size):
    # Shrinking by a whole factor keeps a plane a plane, away from the borders.
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    image = np.repeat((rows + columns)[..., None], 3, -1).astype(np.uint8)
    crop = streaming.central_crop(tf.constant(image), resize=20, crop=8).numpy()
    assert crop.shape == (8, 8, 3)
    step = min(size) / 20
    np.testing.assert_allclose(np.diff(crop[..., 0], axis=0), step, rtol=1e-4)
    np.testing.assert_allclose(crop.mean(), (sum(size) - 2) / 2, atol=1e-3)


def test_random_crops_cover_a_tenth_to_all_of_the_image_at_the_stated_aspects():
    # Channels hold row and column, so a crop's range of values is its extent.
    rows, columns = np.meshgrid(np.arange(100), np.arange(200), indexing="ij")
    image = tf.constant(np.stack([rows, columns, rows], -1).astype(np.uint8))
    sizes = []
    for number in range(200):
        crop = streaming.random_resized_crop(image, tf.constant([7, number], tf.int64), 64).numpy()
        assert crop.shape == (64, 64, 3)
        # Sample points lie half a step inside the crop's edges.
        extent = (crop.max((0, 1)) - crop.min((0, 1)))[:2] * 64 / 63
        sizes.append(extent)
    height, width = np.array(sizes).T
    area, aspect = height * width / 20_000, width / height
    assert 0.08 < area.min() < 0.2
    assert area.max() > 0.5
    assert 0.75 < aspect.min() < 0.87
    assert 1.15 < aspect.max() < 1.35


def test_a_random_crop_is_a_function_of_its_seed():
    image = tf.constant(np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8))
    crops = [
        streaming.random_resized_crop(image, tf.constant(seed, tf.int64), 8).numpy()
        for seed in ([1, 2], [1, 2], [1, 3], [2, 2])
    ]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert np.any(crops[0] != crops[2])
    assert np.any(crops[0] != crops[3])
