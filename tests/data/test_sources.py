"""Sources: digits, .npz arrays, image folders, TFDS; and what each says of bad input."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from processes import wait_long
from wording import says

from tfprune.backend import tf
from tfprune.claims import claim
from tfprune.data import sources
from tfprune.data.settings import DataConfig
from tfprune.data.sources import Source, load_source
from tfprune.data.streaming import StreamedSource
from tfprune.errors import SettingError

TFDS_FOLDER = os.environ.get("TFDS_DATA_DIR", "")


def prepared(name):
    found = TFDS_FOLDER and (Path(TFDS_FOLDER) / name).is_dir()
    return pytest.mark.skipif(not found, reason=f"{name} is not prepared in TFDS_DATA_DIR")


def save_npz(path, **changes):
    arrays = {
        "train_images": np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2),
        "train_labels": np.array([0, 1, 2, 1]),
        "test_images": np.zeros((2, 3, 2), np.uint8),
        "test_labels": np.array([2, 0]),
    }
    arrays.update(changes)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return f"npz:{path}"


def save_images(root, split, label, sizes, start=0):
    folder = root / split / label
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes):
        image = np.full((*size, 3), start + number, np.uint8)
        (folder / f"{number:02d}.png").write_bytes(tf.io.encode_png(image).numpy())


def test_digits_are_scaled_to_bytes_and_split_once_for_all():
    from sklearn.datasets import load_digits

    source = load_source(DataConfig(dataset="digits"))
    assert source.train_images.shape == (1437, 8, 8, 1)
    assert source.test_images.shape == (360, 8, 8, 1)
    assert source.train_images.dtype == np.uint8
    assert source.train_labels.dtype == source.test_labels.dtype == np.int32
    together = np.concatenate([source.train_images, source.test_images]).reshape(1797, 64)
    expected = np.array([round(v * 255 / 16) for v in range(17)])[load_digits().data.astype(int)]
    np.testing.assert_array_equal(np.unique(together, axis=0), np.unique(expected, axis=0))
    shares = np.bincount(source.test_labels) / np.bincount(load_digits().target)
    np.testing.assert_allclose(shares, 360 / 1797, atol=1 / 170)
    again = load_source(DataConfig(dataset="digits"))
    np.testing.assert_array_equal(source.train_labels, again.train_labels)


def test_channel_statistics_are_those_of_float64_numpy():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 2), np.uint8)
    images[..., 1] = 51
    mean, std = sources.channel_statistics(images)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, [(images[..., 0] / 255).mean(), 0.2], rtol=1e-6)
    np.testing.assert_allclose(std, [(images[..., 0] / 255).std(), 1.0], rtol=1e-6)


def test_npz_arrays_get_a_channel_axis_and_int32_labels(tmp_path):
    source = load_source(DataConfig(dataset=save_npz(tmp_path / "a.npz")))
    assert source.train_images.shape == (4, 3, 2, 1)
    np.testing.assert_array_equal(source.train_images.ravel(), np.arange(24))
    np.testing.assert_array_equal(source.train_labels, [0, 1, 2, 1])
    assert source.train_labels.dtype == np.int32
    assert source.class_names == ("0", "1", "2")
    assert source.num_classes == 3
    np.testing.assert_allclose(source.mean, [11.5 / 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "missing test_labels"),
        ({"train_images": np.zeros((4, 3, 2), np.float32)}, "train_images of dtype uint8"),
        ({"train_images": np.zeros((4, 6), np.uint8)}, r"shape \[N, H, W\]"),
        ({"test_images": np.zeros((2, 3, 3), np.uint8)}, r"\(3, 2, 1\), not \(3, 3, 1\)"),
        ({"train_labels": np.array([0, 1, 2])}, r"train_labels of shape \(4,\)"),
        ({"train_labels": np.array([0.0, 1, 2, 1])}, "integer dtype"),
        ({"test_labels": np.array([-1, 0])}, "from 0, not from -1"),
        ({"test_images": np.zeros((0, 3, 2), np.uint8)}, "test_images of shape"),
        ({"train_labels": np.array([0, 1, 2, None])}, "without Python objects"),
    ],
)
def test_an_unusable_npz_is_refused_in_one_line(tmp_path, changes, message):
    name = save_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(SettingError, match=message) as error:
        load_source(DataConfig(dataset=name))
    assert str(error.value).startswith(f"dataset={name}: ")
    assert "\n" not in str(error.value)


def test_a_missing_or_foreign_npz_is_refused(tmp_path):
    with pytest.raises(SettingError, match="there is no file"):
        load_source(DataConfig(dataset=f"npz:{tmp_path}/none.npz"))
    for content in (b"", b"not a zip file", b"PK\x03\x04 broken"):
        (tmp_path / "text.npz").write_bytes(content)
        with pytest.raises(SettingError, match=r"numpy\.savez"):
            load_source(DataConfig(dataset=f"npz:{tmp_path}/text.npz"))
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(SettingError, match=r"numpy\.savez"):
        load_source(DataConfig(dataset=f"npz:{tmp_path}/array.npy"))


def test_a_folder_of_equal_images_is_resident_and_in_sorted_order(tmp_path):
    save_images(tmp_path, "train", "dog", [(4, 5)] * 2, start=20)
    save_images(tmp_path, "train", "cat", [(4, 5)] * 3, start=10)
    save_images(tmp_path, "val", "dog", [(4, 5)], start=30)
    source = load_source(DataConfig(dataset=f"folder:{tmp_path}"))
    assert isinstance(source, Source)
    assert source.class_names == ("cat", "dog")
    np.testing.assert_array_equal(source.train_images[:, 0, 0, 0], [10, 11, 12, 20, 21])
    np.testing.assert_array_equal(source.train_labels, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(source.test_images, np.full((1, 4, 5, 3), 30))
    np.testing.assert_array_equal(source.test_labels, [1])


def test_a_folder_holds_what_tfds_image_folder_finds_in_it(tmp_path):
    import tensorflow_datasets as tfds

    save_images(tmp_path, "train", "b", [(4, 4)] * 3, start=1)
    save_images(tmp_path, "train", "a", [(4, 4)] * 2, start=9)
    save_images(tmp_path, "test", "a", [(4, 4)], start=40)
    source = load_source(DataConfig(dataset=f"folder:{tmp_path}"))
    builder = tfds.ImageFolder(str(tmp_path))
    assert source.class_names == tuple(builder.info.features["label"].names)
    for split, images, labels in (
        ("train", source.train_images, source.train_labels),
        ("test", source.test_images, source.test_labels),
    ):
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        theirs = sorted((int(e["image"][0, 0, 0]), int(e["label"])) for e in examples)
        ours = zip(images[:, 0, 0, 0].tolist(), labels.tolist(), strict=True)
        assert sorted(ours) == theirs


def test_a_test_folder_without_labels_gives_way_to_val(tmp_path):
    save_images(tmp_path, "train", "a", [(4, 4)])
    save_images(tmp_path, "train", "b", [(4, 4)])
    save_images(tmp_path, "test", "images", [(4, 4)], start=77)
    save_images(tmp_path, "val", "b", [(4, 4)], start=33)
    source = load_source(DataConfig(dataset=f"folder:{tmp_path}"))
    np.testing.assert_array_equal(source.test_images[:, 0, 0, 0], [33])


def tiny_imagenet(root):
    """As it is unpacked: class folders with `images`, `val` annotated, `test` without labels."""
    for number, label in enumerate(("n01", "n02")):
        save_images(root, "train", f"{label}/images", [(4, 4)] * 2, start=10 * number)
        (root / "train" / label / f"{label}_boxes.txt").write_text("n01_0.JPEG\t0\t0\t62\t62\n")
    save_images(root, "val", "images", [(4, 4)] * 3, start=100)
    lines = [f"{n:02d}.png\t{label}\t0\t0\t62\t62" for n, label in enumerate(["n02", "n01", "n02"])]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    save_images(root, "test", "images", [(4, 4)], start=77)


def test_tiny_imagenet_is_read_as_it_is_unpacked(tmp_path):
    tiny_imagenet(tmp_path)
    source = load_source(DataConfig(dataset=f"folder:{tmp_path}"))
    assert source.class_names == ("n01", "n02")
    np.testing.assert_array_equal(source.train_images[:, 0, 0, 0], [0, 1, 10, 11])
    np.testing.assert_array_equal(source.train_labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(source.test_images[:, 0, 0, 0], [101, 100, 102])
    np.testing.assert_array_equal(source.test_labels, [0, 1, 1])


def test_annotations_must_name_a_class_for_every_image(tmp_path):
    tiny_imagenet(tmp_path)
    config = DataConfig(dataset=f"folder:{tmp_path}")
    annotations = tmp_path / "val" / "val_annotations.txt"
    annotations.write_text("00.png\tn01\n01.png n02\n")
    with pytest.raises(SettingError, match="a tab and CLASS in line 2 of"):
        load_source(config)
    annotations.write_text("00.png\tn01\n01.png\tn02\n")
    with pytest.raises(SettingError, match=r"a line for .*02\.png in"):
        load_source(config)


def test_images_of_several_shapes_or_too_many_bytes_are_streamed(tmp_path, monkeypatch):
    save_images(tmp_path, "train", "a", [(4, 4)])
    save_images(tmp_path, "train", "b", [(4, 4)])
    save_images(tmp_path, "test", "a", [(4, 4), (5, 4)])
    assert isinstance(load_source(DataConfig(dataset=f"folder:{tmp_path}")), StreamedSource)
    (tmp_path / "test" / "a" / "01.png").unlink()
    assert isinstance(load_source(DataConfig(dataset=f"folder:{tmp_path}")), Source)
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", 3 * 48 - 1)
    assert isinstance(load_source(DataConfig(dataset=f"folder:{tmp_path}")), StreamedSource)


def test_an_unusable_folder_is_refused(tmp_path):
    name = f"folder:{tmp_path}/set"
    config = DataConfig(dataset=name)
    with pytest.raises(SettingError, match="there is no folder"):
        load_source(config)
    save_images(tmp_path / "set", "train", "a", [(4, 4)])
    with pytest.raises(SettingError, match="at least two classes"):
        load_source(config)
    save_images(tmp_path / "set", "train", "b", [(4, 4)])
    with pytest.raises(SettingError, match="test/CLASS or"):
        load_source(config)
    save_images(tmp_path / "set", "test", "b", [(4, 4)])
    (tmp_path / "set" / "test" / "b" / "zz.png").write_bytes(b"no image")
    with pytest.raises(SettingError, match=r"zz\.png cannot be read"):
        load_source(config)


def test_an_unknown_name_is_answered_with_the_nearest_names(tmp_path):
    with pytest.raises(SettingError, match="did you mean cifar10") as error:
        load_source(DataConfig(dataset="cifar_10", data_dir=str(tmp_path)))
    assert "npz:PATH" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["mnist:9.9.9", "cifar10/nothing", "imdb_reviews", "nowhere:mnist"]
)
def test_a_wrong_version_configuration_or_kind_of_set_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(SettingError) as error:
        load_source(DataConfig(dataset=name, data_dir=str(tmp_path)))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_offline_an_unprepared_set_says_where_it_looked_and_both_ways_out(tmp_path, monkeypatch):
    def unreachable(address, timeout):
        raise OSError("no network")

    monkeypatch.setattr(sources.socket, "create_connection", unreachable)
    monkeypatch.setattr(sources.urllib.request, "getproxies", dict)
    with pytest.raises(SettingError) as error:
        load_source(DataConfig(dataset="cifar100", data_dir=str(tmp_path)))
    message = str(error.value)
    assert message.startswith("dataset=cifar100: ")
    for part in (str(tmp_path), "tfds build cifar100", "`data_dir`", "TFDS_DATA_DIR", "npz:PATH"):
        assert part in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_must_be_downloaded_by_hand_is_refused_at_once(tmp_path):
    with pytest.raises(SettingError, match=r"by hand in .*manual") as error:
        load_source(DataConfig(dataset="imagenet2012", data_dir=str(tmp_path)))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_of_several_processes_one_prepares_a_set_and_the_others_wait_for_it(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    class TwoGreys(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = None

        def _info(self):
            image, label = (
                tfds.features.Image(shape=(4, 4, 1)),
                tfds.features.ClassLabel(num_classes=2),
            )
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(), "test": self._generate_examples()}

        def _generate_examples(self):
            with claim(tmp_path / ".two_greys.lock") as mine:
                assert not mine
            for label in range(2):
                yield label, {"image": np.full((4, 4, 1), label, np.uint8), "label": label}

    config = DataConfig(dataset="two_greys", data_dir=str(tmp_path))
    said = []
    monkeypatch.setattr(sources.warnings, "warn", lambda text, **_: said.append(text))
    with ThreadPoolExecutor(1) as other, claim(tmp_path / ".two_greys.lock"):
        source = other.submit(load_source, config)
        wait_long(lambda: said or source.done())
    (sentence,) = said
    assert says(sentence, "two_greys", str(tmp_path), "another process: waiting")
    assert source.result().train_labels.tolist() == [0, 1]


def test_the_data_dir_flag_wins_over_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_any_reachable", lambda urls: False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "environment"))
    with pytest.raises(SettingError, match="environment"):
        load_source(DataConfig(dataset="cifar100"))
    with pytest.raises(SettingError, match="flag"):
        load_source(DataConfig(dataset="cifar100", data_dir=str(tmp_path / "flag")))


def test_the_test_split_is_the_first_that_has_labels():
    assert sources._test_split("any", ["train", "validation", "test"]) == "test"
    assert sources._test_split("any/64x64", ["train", "validation"]) == "validation"
    assert sources._test_split("imagenet2012", ["train", "validation", "test"]) == "validation"
    with pytest.raises(SettingError, match="not only train"):
        sources._test_split("tf_flowers", ["train"])


@prepared("mnist")
@pytest.mark.slow
def test_mnist_is_the_published_set():
    source = load_source(DataConfig(dataset="mnist", data_dir=TFDS_FOLDER))
    assert source.train_images.shape == (60_000, 28, 28, 1)
    assert source.test_images.shape == (10_000, 28, 28, 1)
    # Counts of LeCun et al.'s files.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(source.train_labels), counts)
    mean, std = sources.channel_statistics(source.train_images)
    np.testing.assert_allclose(source.mean, mean, atol=5e-5)
    np.testing.assert_allclose(source.std, std, atol=5e-5)


@prepared("cifar10")
@pytest.mark.slow
def test_cifar10_has_its_published_statistics():
    source = load_source(DataConfig(dataset="cifar10", data_dir=TFDS_FOLDER))
    assert source.train_images.shape == (50_000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(source.train_labels), [5000] * 10)
    assert source.class_names[9] == "truck" or source.class_names[9] == "9"
    mean, std = sources.channel_statistics(source.train_images)
    np.testing.assert_allclose(source.mean, mean, atol=0.005)
    np.testing.assert_allclose(source.std, std, atol=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_images": np.zeros((4, 3, 8, 8), np.uint8)},
            r"train_images of shape \[N, H, W, C\], and \(4, 3, 8, 8\) looks like \[N, C, H, W\]",
        ),
        (
            {"train_images": np.zeros((4, 1, 28, 28), np.uint8)},
            r"save images\.transpose\(0, 2, 3, 1\)",
        ),
        ({"train_labels": np.array([1, 2, 3, 1])}, "no training image has label 0: number them"),
        ({"train_labels": np.array([0, 2, 4, 2])}, "no training image has label 1, 3: number"),
        (
            {"train_labels": np.array([0, 9, 9, 0])},
            "no training image has label 1, 2, 3 and 5 more: number them with np.unique",
        ),
        (
            {"train_labels": np.zeros(4, int), "test_labels": np.zeros(2, int)},
            "two classes or more, and all are 0",
        ),
        ({"test_labels": np.array([3, 0])}, "no training image has label 3"),
    ],
)
def test_arrays_that_mean_something_else_are_refused_in_one_line(tmp_path, changes, message):
    name = save_npz(tmp_path / "a.npz", **changes)
    with pytest.raises(SettingError, match=message) as error:
        load_source(DataConfig(dataset=name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(4, 5, 6, 13), (4, 4, 4, 4), (4, 2, 3, 1)])
def test_images_with_the_channels_last_are_taken_as_they_are(tmp_path, shape):
    images = np.zeros(shape, np.uint8)
    name = save_npz(tmp_path / "a.npz", train_images=images, test_images=images[:2])
    assert load_source(DataConfig(dataset=name)).train_images.shape == shape


@pytest.mark.parametrize(("side", "size"), [(40, (40, 40)), (255, (255, 255)), (300, (256, 224))])
def test_a_folder_of_many_sizes_is_normalized_by_its_own_images_and_says_what_it_does(
    tmp_path, side, size
):
    rng = np.random.default_rng(0)
    pixels = []
    for split, label in (("train", "a"), ("train", "b"), ("test", "a")):
        folder = tmp_path / split / label
        folder.mkdir(parents=True)
        for number in range(3):
            image = rng.integers(0, 60, (side, side + number, 3)).astype(np.uint8)
            (folder / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
            pixels += [image.reshape(-1, 3) / 255] if split == "train" else []
    said = f"resized to {size[0]} pixels.* {size[1]} x {size[1]} is shown.* of 6 training images"
    with pytest.warns(UserWarning, match=said):
        source = load_source(DataConfig(dataset=f"folder:{tmp_path}"))
    own = np.concatenate(pixels)
    np.testing.assert_allclose(source.mean, own.mean(0), rtol=1e-5)
    np.testing.assert_allclose(source.std, own.std(0), rtol=1e-5)
    assert (source.resize, source.crop) == size


def test_a_set_with_a_class_that_no_example_has_says_so():
    def gaps(name, data_dir):
        images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 2, 2, 0], np.int32)
        mean = std = np.ones(1, np.float32)
        return Source(name, 3, ("a", "b", "c"), mean, std, images, labels, images, labels)

    sources.DATASETS.add("gaps", gaps, "a class without examples")
    try:
        with pytest.warns(UserWarning, match="gaps has 3 classes, and no training image has la"):
            load_source(DataConfig(dataset="gaps"))
    finally:
        del sources.DATASETS._entries["gaps"]
