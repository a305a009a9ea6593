"""Splits, subsets and noise of one trial."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfprune.data.prepare import prepare
from tfprune.data.settings import DataConfig
from tfprune.data.sources import Source
from tfprune.errors import SettingError


def numbered(train=100, test=30, classes=5):
    """A source whose every image holds its own position."""
    position = np.arange(train, dtype=np.uint8)
    return Source(
        name="numbered",
        num_classes=classes,
        class_names=tuple("abcde"),
        mean=np.zeros(1, np.float32),
        std=np.ones(1, np.float32),
        train_images=np.tile(position[:, None, None, None], (1, 4, 3, 1)),
        train_labels=(np.arange(train) % classes).astype(np.int32),
        test_images=np.zeros((test, 4, 3, 1), np.uint8),
        test_labels=(np.arange(test) % classes).astype(np.int32),
    )


def settings(**values):
    return DataConfig(dataset="digits", **values)


def noisy(fraction=0.4, **values):
    return settings(label_noise="symmetric", noise_fraction=fraction, **values)


def test_without_settings_everything_is_trained_on_with_its_own_label():
    source = numbered()
    data = prepare(source, settings(), 0)
    assert data.images is source.train_images
    np.testing.assert_array_equal(data.indices, np.arange(100))
    np.testing.assert_array_equal(data.labels, source.train_labels)
    assert not data.selected.any()
    assert data.val_images.shape == (0, 4, 3, 1)
    assert data.val_labels.shape == (0,)
    assert data.input_shape == (4, 3, 1)


def in_colour(name):
    return dataclasses.replace(
        numbered(),
        name=name,
        mean=np.full(3, 0.25, np.float32),
        std=np.full(3, 0.5, np.float32),
        train_images=np.zeros((100, 4, 3, 3), np.uint8),
    )


@pytest.mark.parametrize(
    ("name", "normalization", "mean", "std"),
    [
        ("cifar10", "dataset", [0.25] * 3, [0.5] * 3),
        # OpenLTH's datasets/cifar10.py, and cifar100.py of its fork for SDD.
        ("cifar10", "open_lth", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("cifar100", "open_lth", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        # utils.py of GST's code.
        ("cifar10:3.0.2", "pytorch_cifar", [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
        ("cifar100", "pytorch_cifar", [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]),
    ],
)
def test_images_are_normalized_with_the_numbers_of_each_papers_code(name, normalization, mean, std):
    data = prepare(in_colour(name), settings(normalization=normalization), 0)
    np.testing.assert_array_equal(data.mean, np.float32(mean))
    np.testing.assert_array_equal(data.std, np.float32(std))


@pytest.mark.parametrize("normalization", ["open_lth", "pytorch_cifar"])
def test_other_images_are_normalized_with_their_own_numbers(normalization):
    grey = prepare(numbered(), settings(normalization=normalization), 0)
    np.testing.assert_array_equal([grey.mean, grey.std], [[0.0], [1.0]])
    if normalization == "pytorch_cifar":
        other = prepare(in_colour("svhn_cropped"), settings(normalization=normalization), 0)
        np.testing.assert_array_equal([other.mean, other.std], [[0.25] * 3, [0.5] * 3])


def test_validation_and_training_examples_partition_the_training_split():
    source = numbered()
    data = prepare(source, noisy(1.0, validation_examples=20), 0)
    val = data.val_images[:, 0, 0, 0]
    assert len(val) == 20
    np.testing.assert_array_equal(np.sort(np.append(val, data.indices)), np.arange(100))
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], data.indices)
    np.testing.assert_array_equal(data.val_labels, source.train_labels[val])
    np.testing.assert_array_equal(data.original_labels, source.train_labels[data.indices])


def test_indices_increase():
    data = prepare(numbered(), settings(validation_examples=20, train_subset="50"), 0)
    assert np.all(np.diff(data.indices) > 0)
    assert data.indices.dtype == np.int64


def test_the_validation_split_depends_on_the_seed_and_not_on_subset_or_noise():
    plain = prepare(numbered(), settings(validation_examples=20), 3)
    other = prepare(numbered(), noisy(validation_examples=20, train_subset="10"), 3)
    np.testing.assert_array_equal(plain.val_images, other.val_images)
    seeded = prepare(numbered(), settings(validation_examples=20), 4)
    assert np.any(plain.val_images != seeded.val_images)


def test_a_count_draws_that_many_distinct_examples_by_seed():
    draws = [prepare(numbered(), settings(train_subset="30"), seed).indices for seed in (0, 0, 1)]
    assert [len(np.unique(indices)) for indices in draws] == [30, 30, 30]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.any(draws[0] != draws[2])


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_a_file_lists_positions_in_the_source(tmp_path, kind):
    path = tmp_path / f"indices.{kind}"
    if kind == "npy":
        np.save(path, np.array([9, 3, 70]))
    else:
        path.write_text("9\n3\n\n70\n")
    data = prepare(numbered(), settings(train_subset=str(path)), 0)
    np.testing.assert_array_equal(data.indices, [3, 9, 70])
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], [3, 9, 70])


def test_listed_examples_that_are_held_out_are_not_trained_on(tmp_path):
    path = tmp_path / "all.npy"
    np.save(path, np.arange(100))
    data = prepare(numbered(), settings(train_subset=str(path), validation_examples=20), 0)
    assert len(data.indices) == 80
    assert not np.isin(data.val_images[:, 0, 0, 0], data.indices).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n100\n", "indices from 0 to 99"),
        ("-1\n5\n", "indices from 0 to 99"),
        ("4\n5\n4\n", "4 repeats"),
        ("1.5\n", "one integer per line"),
        ("", "at least one"),
    ],
)
def test_an_unusable_index_file_is_refused(tmp_path, text, message):
    path = tmp_path / "indices.txt"
    path.write_text(text)
    with pytest.raises(SettingError, match=message) as error:
        prepare(numbered(), settings(train_subset=str(path)), 0)
    assert str(error.value).startswith("train_subset=")


def test_index_arrays_of_another_kind_are_refused(tmp_path):
    for number, array in enumerate((np.zeros((2, 2), int), np.array([0.0]), np.array([None]))):
        np.save(tmp_path / f"{number}.npy", array)
        with pytest.raises(SettingError, match="npy file of integers"):
            prepare(numbered(), settings(train_subset=str(tmp_path / f"{number}.npy")), 0)
    with pytest.raises(SettingError, match="no file"):
        prepare(numbered(), settings(train_subset="none.npy"), 0)


def test_more_examples_than_there_are_is_refused():
    with pytest.raises(SettingError, match="validation_examples=100"):
        prepare(numbered(), settings(validation_examples=100), 0)
    with pytest.raises(SettingError, match="1 to 80 examples"):
        prepare(numbered(), settings(validation_examples=20, train_subset="81"), 0)
    with pytest.raises(SettingError, match="train_subset=0"):
        prepare(numbered(), settings(train_subset="0"), 0)


def test_crop_flip_is_refused_for_images_of_one_size():
    with pytest.raises(SettingError, match="flip_shift"):
        prepare(numbered(), settings(augment="crop_flip"), 0)


def test_noise_selects_its_fraction_of_the_examples_trained_on():
    data = prepare(numbered(), noisy(0.4, validation_examples=20, train_subset="50"), 0)
    assert data.selected.sum() == 20
    again = prepare(numbered(), noisy(0.4, validation_examples=20, train_subset="50"), 0)
    np.testing.assert_array_equal(data.labels, again.labels)
    other = prepare(numbered(), noisy(0.4, validation_examples=20, train_subset="50"), 1)
    assert np.any(data.selected != other.selected)
