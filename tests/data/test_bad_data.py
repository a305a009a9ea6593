"""Data that cannot be read: one line that names the set and the file, whenever it is met."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from wording import says

from tfprune.backend import tf
from tfprune.data import sources
from tfprune.data.prepare import PreparedData, prepare
from tfprune.data.settings import DataConfig
from tfprune.data.sources import load_source
from tfprune.errors import SettingError

CLASSES = ("cat", "dog")


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "empty": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def go_through(config):
    """Reads everything of a set, as a training does."""
    data = prepare(load_source(config), config, seed=0)
    if isinstance(data, PreparedData):
        return
    for batches in (data.train_epoch(0, 0, 0, 4), data.evaluation("test", 4)):
        for _ in batches:
            pass


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A TFDS set, two files for each split."""
    import tensorflow_datasets as tfds

    root = tmp_path_factory.mktemp("tfds")

    def split(count):
        grey = np.arange(count, dtype=np.uint8)[:, None, None, None]
        images = np.broadcast_to(10 * grey, (count, 4, 4, 3))
        labels = np.arange(count) % 2
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})

    tfds.dataset_builders.store_as_tfds_dataset(
        name="greys",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(4, 4, 3), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=list(CLASSES)),
            }
        ),
        split_datasets={"train": split(12), "test": split(8)},
        data_dir=root,
        download_config=tfds.download.DownloadConfig(num_shards=2),
        disable_shuffling=True,
    )
    return root


@pytest.mark.parametrize("limit", [sources.RESIDENT_BYTES_LIMIT, 0])
@pytest.mark.filterwarnings("ignore:.*is streamed")
def test_whole_records_are_read(records, monkeypatch, limit):
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", limit)
    go_through(DataConfig(dataset="greys", data_dir=str(records)))


@pytest.mark.parametrize(
    ("split", "limit"), [("train", sources.RESIDENT_BYTES_LIMIT), ("train", 0), ("test", 0)]
)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.filterwarnings("ignore:.*is streamed")
def test_damaged_records_are_named(records, monkeypatch, damage, split, limit):
    (path,) = records.glob(f"greys/*/*-{split}.*00001-of*")
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", limit)
    config = DataConfig(dataset="greys", data_dir=str(records))
    good = path.read_bytes()
    try:
        DAMAGES[damage](path)
        with pytest.raises(SettingError) as refused:
            go_through(config)
        # Nothing tells which file whole records are missing from.
        where = path.parent if damage == "empty" else path
        assert says(str(refused.value), "dataset=greys: data that can be read", str(where))
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(good)


def test_records_that_are_lost_after_labels_were_read_end_the_epoch(records, monkeypatch):
    """A file that ends early after a whole record is no damage to TensorFlow."""
    monkeypatch.setattr(sources, "RESIDENT_BYTES_LIMIT", 0)
    config = DataConfig(dataset="greys", data_dir=str(records), validation_examples=6)
    with pytest.warns(UserWarning, match="is streamed"):
        data = prepare(load_source(config), config, seed=0)
    (path,) = records.glob("greys/*/*-train.*00001-of*")
    good = path.read_bytes()
    try:
        path.write_bytes(b"")
        with pytest.raises(SettingError, match="data that can be read"):
            list(data.train_epoch(0, 0, 0, 4))
    finally:
        path.write_bytes(good)


@pytest.fixture
def pictures(tmp_path):
    """A folder of images of two sizes, which is streamed."""
    for split, each in (("train", 6), ("test", 3)):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(each):
                image = np.full((6 + number % 2, 6, 3), 20 * number, np.uint8)
                encoded = tf.io.encode_png(image).numpy()
                (tmp_path / split / name / f"{number}.png").write_bytes(encoded)
    return tmp_path


@pytest.mark.parametrize("damage", [*DAMAGES, "no image", "a dangling link"])
@pytest.mark.filterwarnings("ignore:.*is streamed")
def test_an_image_that_goes_bad_in_training_is_named(pictures, damage):
    config = DataConfig(dataset=f"folder:{pictures}")
    data = prepare(load_source(config), config, seed=0)
    path = pictures / "train" / "dog" / "4.png"
    damages = {
        **DAMAGES,
        "no image": lambda path: path.write_text("hello"),
        "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere.png")),
    }
    damages[damage](path)
    for batches in (data.train_epoch(0, 0, 0, 4), data.evaluation("train", 4).skip(1)):
        with pytest.raises(SettingError) as refused:
            list(batches)
        assert says(str(refused.value), f"dataset=folder:{pictures}: ", str(path))
        assert "{{" not in str(refused.value)
    row = int(np.flatnonzero(data.indices == 10)[0])
    with pytest.raises(SettingError, match=r"dog/4\.png"):
        data.pictures(np.array([0, row]))


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nowhere"), os.mkfifo])
def test_what_is_no_file_is_refused_before_anything_is_read(pictures, make):
    make(pictures / "test" / "cat" / "odd.png")
    with pytest.raises(SettingError, match=r"test/cat/odd\.png is"):
        load_source(DataConfig(dataset=f"folder:{pictures}"))


def petabyte(path):
    """An archive of arrays of 10^15 bytes by their headers."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 32, 32), }"
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "test"):
            archive.writestr(f"{split}_images.npy", content)
            archive.writestr(f"{split}_labels.npy", content)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (petabyte, "fit in memory"),
        (os.mkfifo, "is none"),
        (Path.mkdir, "is none"),
        (lambda path: path.symlink_to("/dev/zero"), "is none"),
        (lambda path: path.symlink_to("nowhere"), "there is no file"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 100), "numpy.savez"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff"), "numpy.savez"),
    ],
    ids=["petabyte", "pipe", "folder", "device", "dangling link", "no archive", "no header"],
)
def test_an_npz_that_cannot_be_had_is_refused_at_once(tmp_path, make, fact):
    path = tmp_path / "x.npz"
    make(path)
    config = DataConfig(dataset=f"npz:{path}", train_subset=str(path))
    assert config.identity()  # Which reads what it can, and waits for nothing.
    with pytest.raises(SettingError) as refused:
        load_source(config)
    assert says(str(refused.value), f"dataset=npz:{path}: ", fact)
