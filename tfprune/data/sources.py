"""Where images come from: scikit-learn's digits, TFDS, .npz arrays and folders of images.

A source is the whole dataset as published, before any split, subset or noise. Sets that fit are
read into memory as a `Source`; the others become a `tfprune.data.streaming.StreamedSource`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from tfprune.catalog import DATASETS, PATH_DATASETS
from tfprune.claims import check_cloud, exclusively
from tfprune.data.normalization import IMAGENET, statistics_of_counts
from tfprune.errors import SettingError, reason
from tfprune.files import is_regular_file

if TYPE_CHECKING:
    from tfprune.data.settings import DataConfig
    from tfprune.data.streaming import Look, StreamedSource

# Images of both splits together, in bytes of uint8; larger sets are streamed.
RESIDENT_BYTES_LIMIT = 2 * 10**9

# Mean and standard deviation per channel of pixels in [0, 1], to four places: the training images'
# own, except ImageNet's, which everyone copies.
CHANNEL_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet2012": IMAGENET,
}

DIGITS_TEST_EXAMPLES = 360

_TEST_SPLITS = ("test", "validation", "val")
_UNLABELLED_TEST = ("imagenet2012",)  # TFDS gives every example of its `test` the label -1.
_NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Source:
    """A dataset in memory.

    Attributes:
      name: as the setting `dataset` spells it.
      num_classes: C, labels lie in [0, C).
      class_names: C names.
      mean: float32 [channels], of training pixels scaled to [0, 1].
      std: float32 [channels], likewise.
      train_images: uint8 [N, H, W, channels].
      train_labels: int32 [N].
      test_images: uint8 [M, H, W, channels].
      test_labels: int32 [M].
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_source(config: DataConfig) -> Source | StreamedSource:
    """Loads the dataset that `config.dataset` names.

    Names that no registry knows are looked for among TFDS's sets.

    Raises:
      SettingError: the name is unknown, or its data cannot be had or used.
    """
    name, (kind, colon, _) = config.dataset, config.dataset.partition(":")
    load: Callable[..., Any] = tfds_images
    if colon and kind in PATH_DATASETS:
        load = PATH_DATASETS[kind]
    elif name in DATASETS:
        load = DATASETS[name]
    try:
        source = load(name, config.data_dir)
    except Exception as error:
        if not isinstance(error, OSError) and not _is_of_cloud_storage(error):
            raise
        from tfprune.data.reading import unreadable

        raise unreadable(name, error) from error
    if not _is_streamed(source):
        source = _checked(name, source)
    absent = _absent_classes(source.train_labels, source.num_classes)
    if absent:
        warnings.warn(
            f"{name} has {source.num_classes} classes, and {_named(absent)}: networks get an "
            "output for each, and label noise draws from all",
            stacklevel=2,
        )
    return source


def _is_streamed(source: Any) -> bool:
    from tfprune.data.streaming import StreamedSource

    return isinstance(source, StreamedSource)


def _checked(name: str, source: Any) -> Source:
    """A source as it is trained on: a function of one's own may have put anything into it.

    Raises:
      SettingError: what is wrong with it.
    """
    if not isinstance(source, Source):
        raise SettingError(
            "dataset", name, f"a tfprune.Source from its function, not {type(source).__name__}"
        )
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        images, labels = (f"{split}_{what}" for what in ("images", "labels"))
        arrays[images] = _checked_images(name, images, np.asarray(getattr(source, images)))
        given, examples = np.asarray(getattr(source, labels)), len(arrays[images])
        arrays[labels] = _checked_labels(name, labels, given, examples)
        if arrays[labels].max() >= source.num_classes:
            raise SettingError(
                "dataset",
                name,
                f"{labels} below num_classes, {source.num_classes}, not {arrays[labels].max()}",
            )
    if len(source.class_names) != source.num_classes:
        raise SettingError(
            "dataset", name, f"{source.num_classes} class_names, not {len(source.class_names)}"
        )
    _check_one_shape(name, arrays["train_images"], arrays["test_images"])
    mean, std = _checked_statistics(name, source, arrays["train_images"].shape[-1])
    fields: dict[str, Any] = {**arrays, "mean": mean, "std": std}
    return replace(source, **fields)


def _check_one_shape(name: str, train: np.ndarray, test: np.ndarray) -> None:
    if train.shape[1:] != test.shape[1:]:
        raise SettingError(
            "dataset",
            name,
            f"test_images of the shape of train_images, {train.shape[1:]}, not {test.shape[1:]}",
        )


def _checked_statistics(name: str, source: Source, channels: int) -> tuple[np.ndarray, np.ndarray]:
    mean, std = np.asarray(source.mean, np.float32), np.asarray(source.std, np.float32)
    if mean.shape != (channels,) or std.shape != (channels,):
        raise SettingError(
            "dataset",
            name,
            f"mean and std of shape ({channels},), one per channel, not {mean.shape} and "
            f"{std.shape}",
        )
    if not ((mean >= 0) & (mean <= 1) & (std > 0) & (std <= 1)).all():
        raise SettingError(
            "dataset",
            name,
            "mean in [0, 1] and std in (0, 1], of pixels scaled to [0, 1], as "
            f"tfprune.channel_statistics gives; not {mean.tolist()} and {std.tolist()}",
        )
    return mean, std


def _is_of_cloud_storage(error: Exception) -> bool:
    """Whether TensorFlow says so, through which everything on gs:// is read."""
    return type(error).__module__.startswith("tensorflow.") and "gs://" in str(error)


def digits(name: str = "digits", data_dir: str = "") -> Source:
    """scikit-learn's 1,797 real handwritten digits of 8x8 pixels; nothing is downloaded.

    The 17 grey levels are spread over 0..255. 360 test examples are set apart, stratified by
    class, the same in every run; 1,437 remain for training.
    """
    del data_dir
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = np.rint(data.images * 255 / 16).astype(np.uint8)[..., None]
    labels = data.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=DIGITS_TEST_EXAMPLES, stratify=labels, random_state=0
    )
    train, test = np.sort(train), np.sort(test)
    names = [str(digit) for digit in data.target_names]
    return _source(name, names, images[train], labels[train], images[test], labels[test])


def npz_arrays(name: str, data_dir: str = "") -> Source:
    """Arrays saved with `numpy.savez`, named `npz:PATH`.

    The file holds train_images, train_labels, test_images, test_labels: uint8 images [N, H, W] or
    [N, H, W, channels], and integer labels [N]: 0 to C − 1, every class in training, C at least 2.

    Raises:
      SettingError: the file is missing, unreadable or too large for memory, or a key, dtype, shape
        or label is wrong.
    """
    del data_dir
    arrays = _read_npz(name)
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        arrays[f"{split}_images"] = _checked_images(name, f"{split}_images", images)
        arrays[f"{split}_labels"] = _checked_labels(name, f"{split}_labels", labels, len(images))
    train, test = arrays["train_images"], arrays["test_images"]
    _check_one_shape(name, train, test)
    classes = 1 + max(int(arrays["train_labels"].max()), int(arrays["test_labels"].max()))
    names = [str(label) for label in range(classes)]
    missing = _absent_classes(arrays["train_labels"], classes)
    if classes < 2 or missing:
        raise SettingError(
            "dataset",
            name,
            f"train_labels of two classes or more, 0, 1, 2, ... without a gap; {_named(missing)}: "
            "number them with np.unique(labels, return_inverse=True)"
            if missing
            else "train_labels of two classes or more, and all are 0",
        )
    return _source(name, names, train, arrays["train_labels"], test, arrays["test_labels"])


def _absent_classes(labels: np.ndarray, classes: int) -> list[int]:
    return np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()


def _named(absent: Sequence[int]) -> str:
    more = f" and {len(absent) - 3} more" if absent[3:] else ""
    return f"no training image has label {', '.join(map(str, absent[:3]))}{more}"


def image_folder(name: str, data_dir: str = "") -> Source | StreamedSource:
    """A folder in `tfds.ImageFolder`'s layout, named `folder:PATH`.

    `train/CLASS/*.png|jpg|jpeg` and the same under `test`, `validation` or `val`: the first of
    these whose classes are all among the training classes is the test split. Classes and files
    are taken in sorted order and decoded as RGB. Tiny ImageNet may stay as it is unpacked: images
    in `train/CLASS/images`, and in `val/images` with their classes in `val/val_annotations.txt`,
    lines of a file's name, a tab and its class; its own `test` has no labels.

    Resident if every image has one shape and they all fit in memory. Otherwise streamed: mean and
    standard deviation are those of up to 2,000 training images, the shorter side is resized to 256
    pixels and the middle 224 x 224 is shown; where the median shorter side is below 256, images
    are resized to that and the middle square is shown. A warning says what was done.

    Raises:
      SettingError: the folder is missing, not laid out like this, or holds an unreadable image.
    """
    del data_dir
    root = epath.Path(name.partition(":")[2]).expanduser()
    if not root.is_dir():
        raise SettingError("dataset", name, f"a folder of images; there is no folder {root}")
    train = _class_files(name, root / "train")
    if len(train) < 2:
        raise SettingError("dataset", name, f"images in {root}/train/CLASS, at least two classes")
    class_names = tuple(sorted(train))
    test = _labelled_test_files(name, root, class_names)
    if not test:
        wanted = " or ".join(f"{root}/{split}/CLASS" for split in _TEST_SPLITS)
        raise SettingError("dataset", name, f"images of the training classes in {wanted}")
    return _folder_source(
        name,
        class_names,
        _paths_and_labels(train, class_names),
        _paths_and_labels(test, class_names),
    )


def tfds_images(name: str, data_dir: str = "") -> Source | StreamedSource:
    """An image classification set of TensorFlow Datasets, downloaded if it has to be.

    The set must have `train` and one of `test`, `validation`, `val` (the first is used; ImageNet
    uses `validation`, its `test` has no labels). Examples keep the order of the prepared files.
    Resident if TFDS declares one image shape and both splits fit in memory, streamed otherwise.

    Args:
      name: as `tfds.load` takes it, a configuration or version included.
      data_dir: where sets are prepared; default $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
      SettingError: no such set, not an image classification set, or neither prepared nor
        downloadable.
    """
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    check_cloud(folder)
    builder = _prepared_builder(name, os.path.expanduser(folder))
    image_key, label_key = _image_and_label_keys(name, builder)
    test_split = _test_split(name, list(builder.info.splits))
    shape = builder.info.features[image_key].shape
    splits = builder.info.splits
    examples = splits["train"].num_examples + splits[test_split].num_examples
    class_names = tuple(builder.info.features[label_key].names)
    if None in shape or examples * math.prod(shape) > RESIDENT_BYTES_LIMIT:
        return _streamed_tfds(name, builder, test_split, image_key, label_key)
    train = _read_tfds(name, builder, "train", image_key, label_key)
    test = _read_tfds(name, builder, test_split, image_key, label_key)
    for split, (_, labels) in (("train", train), (test_split, test)):
        if labels.min() < 0 or labels.max() >= len(class_names):
            raise SettingError("dataset", name, f"a set with labels; its {split} split has none")
    return _source(name, class_names, *train, *test)


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of pixels scaled to [0, 1], from exact pixel counts.

    Args:
      images: uint8 [N, H, W, channels].

    Returns:
      float32 [channels] twice. A channel that never varies gets standard deviation 1.
    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 1000):  # bincount makes int64 copies of its input
        for channel in range(channels):
            block = images[start : start + 1000, ..., channel]
            counts[channel] += np.bincount(block.ravel(), minlength=256)
    return statistics_of_counts(counts)


def _source(
    name: str,
    class_names: Sequence[str],
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> Source:
    published = CHANNEL_STATISTICS.get(_base_name(name))
    if published is None:
        mean, std = channel_statistics(train_images)
    else:
        mean, std = (np.array(values, np.float32) for values in published)
    return Source(
        name=name,
        num_classes=len(class_names),
        class_names=tuple(class_names),
        mean=mean,
        std=std,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


def _base_name(name: str) -> str:
    """`mnist` of `mnist:3.0.1`."""
    return re.split("[:/]", name)[0]


# --- .npz files ---


# Fewer examples than classes make sense in a test of one's own, so far.
_SURELY_ALLOWED_CLASSES = 1000

# Grey, with transparency, in colour, both: more than these are hardly channels, fewer no height.
_MOST_CHANNELS = 4


def _read_npz(name: str) -> dict[str, np.ndarray]:
    path = epath.Path(name.partition(":")[2]).expanduser()
    if not is_regular_file(path):
        what = f"{path} is none" if path.exists() else f"there is no file {path}"
        raise SettingError("dataset", name, f"an .npz file; {what}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as loaded:
            keys = list(loaded)
            missing = [key for key in _NPZ_KEYS if key not in keys]
            if missing:
                raise SettingError(
                    "dataset",
                    name,
                    f"an .npz with arrays {', '.join(_NPZ_KEYS)}; missing {', '.join(missing)}, "
                    f"found {', '.join(keys) or 'none'}",
                )
            return {key: loaded[key] for key in _NPZ_KEYS}
    except (SettingError, PermissionError):
        raise
    except MemoryError as error:
        raise SettingError(
            "dataset", name, f"arrays that fit in memory ({reason(error)})"
        ) from error
    except Exception as error:  # A damaged header may raise any, as tokenize.TokenError.
        raise SettingError(
            "dataset", name, "a file that numpy.savez wrote, of arrays without Python objects"
        ) from error


def _checked_images(name: str, key: str, images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        raise SettingError("dataset", name, f"{key} of dtype uint8 (0 to 255), not {images.dtype}")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise SettingError(
            "dataset", name, f"{key} of shape [N, H, W] or [N, H, W, C], not {images.shape}"
        )
    if images.ndim == 4 and images.shape[1] <= _MOST_CHANNELS < images.shape[3]:
        raise SettingError(
            "dataset",
            name,
            f"{key} of shape [N, H, W, C], and {images.shape} looks like [N, C, H, W]: save "
            "images.transpose(0, 2, 3, 1)",
        )
    return images[..., None] if images.ndim == 3 else images


def _checked_labels(name: str, key: str, labels: np.ndarray, examples: int) -> np.ndarray:
    if not np.issubdtype(labels.dtype, np.integer):
        raise SettingError("dataset", name, f"{key} of an integer dtype, not {labels.dtype}")
    if labels.shape != (examples,):
        raise SettingError(
            "dataset", name, f"{key} of shape ({examples},), one per image, not {labels.shape}"
        )
    if labels.min() < 0:
        raise SettingError("dataset", name, f"{key} from 0, not from {labels.min()}")
    if labels.max() > max(examples, _SURELY_ALLOWED_CLASSES):
        raise SettingError(
            "dataset", name, f"{key} below the number of examples, {examples}, not {labels.max()}"
        )
    return labels.astype(np.int32)


# --- folders of images ---


def _class_files(name: str, folder: epath.Path) -> dict[str, list[str]]:
    """Image files of each class, sorted; classes without images are left out."""
    if not folder.is_dir():
        return {}
    files = {
        entry.name: _image_files(name, entry) or _image_files(name, entry / "images")
        for entry in folder.iterdir()
        if entry.is_dir()
    }
    return {label: paths for label, paths in files.items() if paths}


def _image_files(name: str, folder: epath.Path) -> list[str]:
    """The image files of a folder, sorted; none where there is no folder.

    Raises:
      SettingError: one is a link to nothing, or no regular file: a pipe would be read for ever.
    """
    if not folder.is_dir():
        return []
    found = [file for file in folder.iterdir() if file.name.lower().endswith(_IMAGE_SUFFIXES)]
    for file in found:
        if not is_regular_file(file):
            what = "is no file" if file.exists() else "is a link to a file that is not there"
            raise SettingError("dataset", name, f"data that can be read; {file} {what}")
    return sorted(map(os.fspath, found))


def _annotated_files(name: str, folder: epath.Path) -> dict[str, list[str]]:
    """Image files of each class by `val_annotations.txt`, sorted; none where there is no such file.

    Raises:
      SettingError: a line is no file's name and class, or an image has no line.
    """
    annotations = folder / "val_annotations.txt"
    if not annotations.exists():
        return {}
    classes = {}
    text = annotations.read_bytes().decode(errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) < 2:
            raise SettingError(
                "dataset", name, f"FILE, a tab and CLASS in line {number} of {annotations}"
            )
        classes[cells[0]] = cells[1]
    files: dict[str, list[str]] = {}
    for path in _image_files(name, folder / "images"):
        if os.path.basename(path) not in classes:
            raise SettingError("dataset", name, f"a line for {path} in {annotations}")
        files.setdefault(classes[os.path.basename(path)], []).append(path)
    return files


def _labelled_test_files(
    name: str, root: epath.Path, class_names: Iterable[str]
) -> dict[str, list[str]]:
    for split in _TEST_SPLITS:
        files = _annotated_files(name, root / split) or _class_files(name, root / split)
        if files and set(files) <= set(class_names):
            return files
    return {}


def _paths_and_labels(
    files: dict[str, list[str]], class_names: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    paths = [path for label in class_names for path in files.get(label, ())]
    counts = [len(files.get(label, ())) for label in class_names]
    return paths, np.repeat(np.arange(len(class_names), dtype=np.int32), counts)


def _folder_source(
    name: str,
    class_names: tuple[str, ...],
    train: tuple[list[str], np.ndarray],
    test: tuple[list[str], np.ndarray],
) -> Source | StreamedSource:
    images = _read_one_shape(name, train[0] + test[0])
    if images is not None:
        examples = len(train[0])
        return _source(name, class_names, images[:examples], train[1], images[examples:], test[1])
    from tfprune.data.streaming import SAMPLE_EXAMPLES, StreamedSource, folder_reader, look_at

    reader = folder_reader({"train": train[0], "test": test[0]})
    some = np.unique(np.linspace(0, len(train[0]) - 1, SAMPLE_EXAMPLES).astype(int))
    look = look_at(name, reader, some, len(train[0]))
    _say(name, look)
    return StreamedSource(
        name=name,
        num_classes=len(class_names),
        class_names=class_names,
        mean=look.mean,
        std=look.std,
        train_labels=train[1],
        test_labels=test[1],
        reader=reader,
        **look.size,
    )


def _say(name: str, look: Look) -> None:
    """Says what is done to the images of a set that is streamed."""
    resize, crop = look.size["resize"], look.size["crop"]
    warnings.warn(
        f"{name} is streamed: each image's shorter side is resized to {resize} pixels, and its "
        f"middle {crop} x {crop} is shown; mean and standard deviation are those of "
        f"{look.examples} training images",
        stacklevel=2,
    )


def _read_one_shape(name: str, paths: list[str]) -> np.ndarray | None:
    """All images as uint8 [N, H, W, 3], or None if shapes vary or they would not fit."""
    from tfprune.backend import tf
    from tfprune.data.reading import Images, decode

    encoded = tf.data.Dataset.from_tensor_slices(paths).map(tf.io.read_file).enumerate()
    decoded = encoded.map(
        lambda position, image: decode(image),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    images: np.ndarray | None = None
    for count, image in enumerate(Images(name, decoded, encoded, paths.__getitem__)):
        if images is None:
            if len(paths) * int(tf.size(image)) > RESIDENT_BYTES_LIMIT:
                return None
            images = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            return None
        images[count] = image
    return images


# --- TensorFlow Datasets ---

_PREPARE_SECONDS = 24 * 3600.0  # ImageNet takes hours.


def _prepared_builder(name: str, folder: str) -> Any:
    """The TFDS builder of a set that is prepared in `folder`, downloading it if it is not."""
    from tfprune.backend import tf  # noqa: F401, I001 - TFDS must not be the first to load Keras
    import tensorflow_datasets as tfds

    with _absl_errors_only():
        try:
            builder = tfds.builder(name, data_dir=folder, try_gcs=False)
        except tfds.core.DatasetNotFoundError as error:
            raise _no_such_set(name, folder) from error
        except Exception as error:  # TFDS raises many kinds for a wrong version or configuration.
            raise SettingError(
                "dataset", name, f"a set that TFDS can find ({_brief(error)})"
            ) from error
        if builder.is_prepared():
            return builder
        _image_and_label_keys(name, builder)
        if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
            manual = epath.Path(folder) / "downloads" / "manual"
            if not manual.is_dir() or not any(manual.iterdir()):
                raise _not_available(name, folder, f"its archives must be put by hand in {manual}")
        elif not _any_reachable(builder.url_infos or ()):
            raise _not_available(name, folder, "its server cannot be reached")
    try:
        # Of several that want it, one prepares it: TFDS itself would let all others fail.
        lock = epath.Path(folder) / f".{_base_name(name)}.lock"
        waiting = f"{name} is prepared in {folder} by another process: waiting for it"
        with exclusively(lock, _PREPARE_SECONDS, lambda: warnings.warn(waiting, stacklevel=2)):
            with _absl_errors_only():
                builder = tfds.builder(name, data_dir=folder, try_gcs=False)
            if not builder.is_prepared():
                builder.download_and_prepare(
                    download_config=tfds.download.DownloadConfig(try_download_gcs=False)
                )
    except Exception as error:  # Whatever a download or a preparation can raise.
        raise _not_available(name, folder, _brief(error)) from error
    return builder


@contextlib.contextmanager
def _absl_errors_only() -> Iterator[None]:
    """Keeps TFDS's warnings about absent folders from hiding the one line that matters."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _no_such_set(name: str, folder: str) -> SettingError:
    import tensorflow_datasets as tfds

    begun = epath.Path(folder) / _base_name(name)
    if begun.exists():
        return SettingError("dataset", name, f"a whole set of TFDS; in {begun} is none")

    known = [*DATASETS, *tfds.list_builders(with_community_datasets=False)]
    nearest = get_close_matches(name, dict.fromkeys(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    return SettingError(
        "dataset",
        name,
        f"{hint}allowed: {', '.join(DATASETS)}, any image classification set of TFDS, "
        f"{', '.join(f'{kind}:PATH' for kind in PATH_DATASETS)}",
    )


def _not_available(name: str, folder: str, reason: str) -> SettingError:
    return SettingError(
        "dataset",
        name,
        f"a set that is prepared in {folder} or can be downloaded ({reason}): either prepare it "
        f"with `tfds build {name}` where there is a network and set `data_dir` or TFDS_DATA_DIR "
        "to its folder, or give your own copy as npz:PATH or folder:PATH",
    )


def _any_reachable(urls: Iterable[str]) -> bool:
    """Whether a server of a set answers; TFDS itself would retry for over three minutes."""
    ports = {"http": 80, "https": 443, "ftp": 21}
    hosts = {
        (url.hostname, url.port or ports.get(url.scheme, 443))
        for url in map(urllib.parse.urlsplit, urls)
        if url.hostname
    }
    if not hosts or urllib.request.getproxies():
        return True
    for address in hosts:
        try:
            socket.create_connection(address, timeout=_CONNECT_SECONDS).close()
        except OSError:
            continue
        return True
    return False


def _image_and_label_keys(name: str, builder: Any) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = builder.info.supervised_keys or ("image", "label")
    if len(keys) == 2 and all(isinstance(key, str) and key in features for key in keys):
        image, label = keys
        is_image = isinstance(features[image], tfds.features.Image)
        is_class = isinstance(features[label], tfds.features.ClassLabel)
        if is_image and is_class and features[image].np_dtype == np.uint8:
            return image, label
    raise SettingError("dataset", name, "an image classification set of TFDS with uint8 images")


def _test_split(name: str, splits: Sequence[str]) -> str:
    candidates = _TEST_SPLITS[1:] if _base_name(name) in _UNLABELLED_TEST else _TEST_SPLITS
    for split in candidates:
        if split in splits and "train" in splits:
            return split
    raise SettingError(
        "dataset",
        name,
        f"a set with a train split and one of {', '.join(candidates)}, not only "
        f"{', '.join(splits)}; split it yourself and give it as npz:PATH or folder:PATH",
    )


def _read_tfds(
    name: str, builder: Any, split: str, image_key: str, label_key: str
) -> tuple[np.ndarray, np.ndarray]:
    """A whole split in the order of its files: uint8 [N, H, W, C], int32 [N]."""
    import tensorflow_datasets as tfds

    from tfprune.data.reading import readable
    from tfprune.data.streaming import record_files

    count = builder.info.splits[split].num_examples
    images = np.empty((count, *builder.info.features[image_key].shape), np.uint8)
    labels = np.empty(count, np.int32)
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({image_key: True, label_key: True}),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    start = 0
    with readable(name, record_files(builder, split)):
        for batch in tfds.as_numpy(dataset.batch(512).prefetch(2)):
            stop = start + len(batch[label_key])
            images[start:stop], labels[start:stop] = batch[image_key], batch[label_key]
            start = stop
    return images, labels


def _streamed_tfds(
    name: str, builder: Any, test_split: str, image_key: str, label_key: str
) -> StreamedSource:
    from tfprune.data.streaming import (
        SAMPLE_EXAMPLES,
        StreamedSource,
        look_at,
        tfds_labels,
        tfds_reader,
    )

    class_names = tuple(builder.info.features[label_key].names)
    shape = builder.info.features[image_key].shape
    size = {} if None in shape else {"resize": min(shape[:2]), "crop": min(shape[:2])}
    reader = tfds_reader(builder, {"train": "train", "test": test_split}, image_key)
    published = CHANNEL_STATISTICS.get(_base_name(name))
    if published is None:
        examples = builder.info.splits["train"].num_examples
        # TFDS shuffles a set when it prepares it: the first ones are as good as any.
        look = look_at(name, reader, np.arange(min(SAMPLE_EXAMPLES, examples)), examples)
        size = size or look.size
        mean, std = look.mean, look.std
        _say(name, look._replace(shorter_side=size["resize"]))
    else:
        mean, std = (np.array(values, np.float32) for values in published)
    return StreamedSource(
        name=name,
        num_classes=len(class_names),
        class_names=class_names,
        mean=mean,
        std=std,
        train_labels=tfds_labels(name, builder, "train", label_key),
        test_labels=tfds_labels(name, builder, test_split, label_key),
        reader=reader,
        **size,
    )
