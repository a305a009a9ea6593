"""Datasets that do not fit in memory: stateless tf.data pipelines over encoded images (ImageNet).

Labels, splits and noise are arrays over an example's position in its split, so they work as for
data in memory; only pixels are streamed. The preprocessing is that of OpenLTH, which PEG uses:
random resized crops (area 10% to 100%, aspect 0.8 to 1.25) and flips for training, the central
224x224 of the image resized to 256 on its shorter side for evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import tf
from tfprune.data import augmentation
from tfprune.data.normalization import statistics_of_counts
from tfprune.data.reading import Images, decode, readable
from tfprune.seeds import Stream, generator

CROP_AREA_RANGE = (0.1, 1.0)
CROP_ASPECT_RANGE = (0.8, 1.25)

# Encoded images held while shuffling the examples of a TFDS set: about 1 GB for ImageNet.
SHUFFLE_BUFFER_EXAMPLES = 8192

# Training images that are decoded to find out what a set of many sizes looks like.
SAMPLE_EXAMPLES = 2000

# ImageNet's own: pixels of the shorter side, and of what of it is shown.
RESIZE, CROP = 256, 224

# `read(split, wanted, rng)`: a dataset of (int64 position, string encoded image), the positions
# where bool [N] `wanted` holds, each once; in increasing order without rng, shuffled with it.
# Of a few positions only the files that hold them are read.
Read = Callable[[str, np.ndarray, "np.random.Generator | None"], tf.data.Dataset]


class Reader(NamedTuple):
    """How the images of a set are read, and where one of them is, should it be no image.

    Attributes:
      read: see `Read`.
      where: says in words where the image of a split and a position is.
      records: the TFRecord files that hold the images of a split.
    """

    read: Read
    where: Callable[[str, int], str]
    records: Callable[[str], tuple[str, ...]] = lambda split: ()

    def images(
        self,
        name: str,
        split: str,
        encoded: tf.data.Dataset,
        dataset: tf.data.Dataset,
        size: int = 1,
    ) -> Images:
        """What `dataset`, made of `encoded`, shows; see `Images`."""
        where = partial(self.where, split)
        return Images(name, dataset, encoded, where, self.records(split), size)


@dataclass(frozen=True)
class StreamedSource:
    """A dataset whose images stay on disk.

    Attributes:
      name: as the setting `dataset` spells it.
      num_classes: C, labels lie in [0, C).
      class_names: C names.
      mean: float32 [3], of pixels scaled to [0, 1], of a sample of training images (see `Look`);
        ImageNet's for ImageNet.
      std: float32 [3], likewise.
      train_labels: int32 [N].
      test_labels: int32 [M].
      reader: reads encoded images of the splits `train` and `test`.
      resize: pixels of an image's shorter side before the central crop.
      crop: height and width of what a model sees, in pixels.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    train_labels: np.ndarray
    test_labels: np.ndarray
    reader: Reader
    resize: int = RESIZE
    crop: int = CROP


class Look(NamedTuple):
    """What images on disk look like, by a sample of them.

    Attributes:
      examples: how many were decoded.
      mean: float32 [3], of pixels scaled to [0, 1], each counted once.
      std: float32 [3], likewise.
      shorter_side: the median over images of the smaller of height and width, in pixels.
    """

    examples: int
    mean: np.ndarray
    std: np.ndarray
    shorter_side: int

    @property
    def size(self) -> dict[str, int]:
        """How images are resized and cropped: as ImageNet's, and no smaller ones blown up."""
        if self.shorter_side >= RESIZE:
            return {"resize": RESIZE, "crop": CROP}
        return {"resize": self.shorter_side, "crop": self.shorter_side}


def look_at(name: str, reader: Reader, positions: np.ndarray, examples: int) -> Look:
    """Decodes some training images of a set.

    Args:
      name: of the set.
      reader: of the set.
      positions: int [K], which.
      examples: how many training images there are.

    Raises:
      SettingError: one of them cannot be read.
    """
    wanted = np.zeros(examples, bool)
    wanted[positions] = True
    counts, sides = np.zeros((3, 256), np.int64), []
    encoded = reader.read("train", wanted, None).take(len(positions))
    decoded = encoded.map(lambda position, image: decode(image))
    for tensor in reader.images(name, "train", encoded, decoded):
        image = tensor.numpy()
        sides.append(min(image.shape[:2]))
        for channel in range(3):
            counts[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
    mean, std = statistics_of_counts(counts)
    return Look(len(sides), mean, std, int(np.median(sides)))


@dataclass(frozen=True)
class StreamedData:
    """One trial's data, with the images on disk.

    Attributes:
      source: where the images are.
      augment: a name in `tfprune.data.settings.AUGMENTATIONS`.
      labels: int32 [N], observed labels of the training examples.
      original_labels: int32 [N].
      selected: bool [N], the examples that the label noise chose.
      indices: int64 [N], increasing positions in the source's training split.
      val_indices: int64 [V], increasing positions in the source's training split.
    """

    source: StreamedSource
    augment: str
    labels: np.ndarray
    original_labels: np.ndarray
    selected: np.ndarray
    indices: np.ndarray
    val_indices: np.ndarray

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def num_classes(self) -> int:
        return self.source.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def mean(self) -> np.ndarray:
        return self.source.mean

    @property
    def std(self) -> np.ndarray:
        return self.source.std

    @property
    def val_labels(self) -> np.ndarray:
        return self.source.train_labels[self.val_indices]

    @property
    def test_labels(self) -> np.ndarray:
        return self.source.test_labels

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (self.source.crop, self.source.crop, 3)

    def train_epoch(self, seed: int, level: int, epoch: int, batch_size: int) -> Images:
        """One epoch of training batches, each example once, the short last batch included.

        Order and augmentation are functions of (seed, level, epoch). A folder is shuffled
        completely; a TFDS set by its files and, in a buffer of 8,192 examples, across 16 of them.
        (That buffer's shuffle also depends on `tf.random.set_seed`, which tfprune never calls.)

        Returns:
          Batches of normalized float32 images [B, crop, crop, 3], observed int32 labels [B] and
          int64 rows [B]: positions in `labels`, `selected` and `indices`. Iterating them raises
          SettingError where an image cannot be read.
        """
        rng = generator(seed, Stream.DATA_ORDER, level, epoch)
        encoded = self.source.reader.read("train", self._mask(self.indices), rng)
        rows = self._rows(encoded, self.indices)
        draws = augmentation.draw(self.augment, len(self.labels), seed, level, epoch)
        if self.augment == "crop_flip":
            keys = generator(seed, Stream.AUGMENTATION, level, epoch).spawn(1)[0]
            crop_key = int(keys.integers(2**31))
            images = self._decoded(rows, lambda i, row: self._random_crop(i, row, crop_key))
        else:
            images = self._decoded(rows, lambda i, row: self._central_crop(i))
        batches = self._batches(images, self.labels, draws, batch_size)
        return self._images("train", encoded, batches, batch_size)

    def evaluation(self, split: str, batch_size: int) -> Images:
        """A split in increasing order: central crops, nothing random, the short batch included.

        The validation examples lie among the training files, so a TFDS set is read whole for them.

        Args:
          split: `train`, `val` or `test`.
          batch_size: examples in a batch.

        Returns:
          Batches of normalized float32 images [B, crop, crop, 3], int32 labels [B] (the observed
          ones for `train`) and int64 rows [B]: positions in that split's labels. Iterating them
          raises SettingError where an image cannot be read.

        Raises:
          ValueError: there is no such split.
        """
        if split == "test":
            files, positions = "test", np.arange(len(self.test_labels))
            wanted, labels = np.ones(len(positions), bool), self.test_labels
        elif split in ("train", "val"):
            files, positions = "train", self.indices if split == "train" else self.val_indices
            wanted = self._mask(positions)
            labels = self.labels if split == "train" else self.val_labels
        else:
            raise ValueError(f"split {split!r}: train, val or test")
        encoded = self.source.reader.read(files, wanted, None)
        rows = self._rows(encoded, positions)
        images = self._decoded(rows, lambda i, row: self._central_crop(i))
        batches = self._batches(images, labels, None, batch_size)
        return self._images(files, encoded, batches, batch_size)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Some training images as a person looks at them: central crops, not normalized.

        Args:
          rows: different positions in `labels`.

        Returns:
          uint8 [K, crop, crop, 3], in the order of `rows`.

        Raises:
          SettingError: one of them cannot be read.
        """
        positions = self.indices[rows]
        places = {int(position): place for place, position in enumerate(positions)}
        images = np.zeros((len(places), *self.input_shape), np.uint8)
        encoded = self.source.reader.read("train", self._mask(positions), None)
        cropped = encoded.map(lambda position, image: (position, self._central_crop(image)))
        for position, image in self._images("train", encoded, cropped):
            images[places[int(position)]] = np.rint(image)
        return images

    def _images(
        self, split: str, encoded: tf.data.Dataset, dataset: tf.data.Dataset, size: int = 1
    ) -> Images:
        return self.source.reader.images(self.name, split, encoded, dataset, size)

    def _mask(self, positions: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self.source.train_labels), bool)
        mask[positions] = True
        return mask

    def _rows(self, encoded: tf.data.Dataset, positions: np.ndarray) -> tf.data.Dataset:
        """(position, image) to (row, image), where positions[row] == position."""
        rows = np.full(int(positions.max(initial=-1)) + 1, -1, np.int64)
        rows[positions] = np.arange(len(positions))
        table = tf.constant(rows)
        return encoded.map(lambda position, image: (table[position], image))

    def _decoded(
        self, rows: tf.data.Dataset, crop: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    ) -> tf.data.Dataset:
        return rows.map(
            lambda row, image: (row, crop(image, row)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _batches(
        self,
        images: tf.data.Dataset,
        labels: np.ndarray,
        draws: augmentation.Draws | None,
        batch_size: int,
    ) -> tf.data.Dataset:
        all_labels = tf.constant(labels, tf.int32)

        def finish(rows: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            if draws is not None:
                batch = augmentation.apply(batch, *(tf.gather(values, rows) for values in draws))
            normalized = augmentation.normalize(batch, self.mean, self.std)
            return normalized, tf.gather(all_labels, rows), rows

        batches = images.batch(batch_size).map(
            finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return batches.prefetch(tf.data.AUTOTUNE)

    def _central_crop(self, encoded: tf.Tensor) -> tf.Tensor:
        image = central_crop(decode(encoded), self.source.resize, self.source.crop)
        return tf.ensure_shape(image, self.input_shape)

    def _random_crop(self, encoded: tf.Tensor, row: tf.Tensor, key: int) -> tf.Tensor:
        seed = tf.stack([tf.constant(key, tf.int64), row])
        image = random_resized_crop(decode(encoded), seed, self.source.crop)
        return tf.ensure_shape(image, self.input_shape)


def central_crop(image: tf.Tensor, resize: int, crop: int) -> tf.Tensor:
    """Resizes the shorter side to `resize` pixels (antialiased), then takes the middle.

    Args:
      image: uint8 [H, W, C].
      resize: pixels of the shorter side.
      crop: height and width of the result, at most `resize`.

    Returns:
      float32 [crop, crop, C], pixels in [0, 255].
    """
    size = tf.shape(image)[:2]
    resized_size = size * resize // tf.reduce_min(size)
    resized = tf.image.resize(image, resized_size, antialias=True)
    top, left = tf.unstack((resized_size - crop) // 2)
    return resized[top : top + crop, left : left + crop]


def random_resized_crop(image: tf.Tensor, seed: tf.Tensor, crop: int) -> tf.Tensor:
    """A random part of the image, of 10% to 100% of its area, resized to a square.

    Args:
      image: uint8 [H, W, C].
      seed: two integers; the crop is a function of them and of H and W.
      crop: height and width of the result.

    Returns:
      float32 [crop, crop, C], pixels in [0, 255].
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=CROP_ASPECT_RANGE,
        area_range=CROP_AREA_RANGE,
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.image.resize(tf.slice(image, begin, size), [crop, crop], antialias=True)


def folder_reader(paths: Mapping[str, Sequence[str]]) -> Reader:
    """Reads image files by split; shuffling is a permutation of the whole split."""

    def read(split: str, wanted: np.ndarray, rng: np.random.Generator | None) -> tf.data.Dataset:
        order = np.flatnonzero(wanted) if rng is None else rng.permutation(np.flatnonzero(wanted))
        files = [paths[split][int(position)] for position in order]
        dataset = tf.data.Dataset.from_tensor_slices(
            (tf.constant(order, tf.int64), tf.constant(files, tf.string, [len(files)]))
        )
        return dataset.map(
            lambda position, path: (position, tf.io.read_file(path)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    return Reader(read, lambda split, position: paths[split][position])


def tfds_labels(name: str, builder: Any, split: str, label_key: str) -> np.ndarray:
    """A split's labels in the order of its files, int32 [N]; no image is decoded.

    Raises:
      SettingError: a file cannot be read.
    """
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({label_key: True}),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    with readable(name, record_files(builder, split)):
        parts = [batch[label_key] for batch in tfds.as_numpy(dataset.batch(4096))]
    return np.concatenate(parts).astype(np.int32)


def tfds_reader(builder: Any, splits: Mapping[str, str], image_key: str) -> Reader:
    """Reads a prepared TFDS set; shuffling permutes its files and uses a buffer across them.

    Args:
      builder: a prepared `tfds.core.DatasetBuilder`.
      splits: the TFDS split behind `train` and `test`.
      image_key: the image feature.
    """
    import tensorflow_datasets as tfds

    def read(split: str, wanted: np.ndarray, rng: np.random.Generator | None) -> tf.data.Dataset:
        info = builder.info.splits[splits[split]]
        order = _files_with(wanted, info)
        if rng is not None:
            order = rng.permutation(order)
        config = tfds.ReadConfig(
            add_tfds_id=True,
            try_autocache=False,
            assert_cardinality=len(order) == len(info.file_instructions),
            enable_ordering_guard=False,
            interleave_cycle_length=1 if rng is None else 16,
            experimental_interleave_sort_fn=lambda files: [files[i] for i in order],
        )
        dataset = builder.as_dataset(
            split=splits[split],
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {image_key: True}, decoders={image_key: tfds.decode.SkipDecoding()}
            ),
            read_config=config,
        )
        position = _position_of(info)
        positions = dataset.map(lambda example: (position(example["tfds_id"]), example[image_key]))
        kept = tf.constant(wanted)
        chosen = positions.filter(lambda position, image: kept[position])
        # A file that was cut after a whole record says nothing of the others.
        chosen = chosen.apply(tf.data.experimental.assert_cardinality(int(wanted.sum())))
        if rng is None:
            return chosen
        return chosen.shuffle(
            SHUFFLE_BUFFER_EXAMPLES, seed=int(rng.integers(2**31)), reshuffle_each_iteration=False
        )

    def where(split: str, position: int) -> str:
        return f"image {position} of the split {splits[split]} in {builder.data_dir}"

    return Reader(read, where, lambda split: record_files(builder, splits[split]))


def record_files(builder: Any, split: str) -> tuple[str, ...]:
    """The TFRecord files of a prepared TFDS set's split."""
    return tuple(map(str, builder.info.splits[split].filepaths))


def _files_with(wanted: np.ndarray, info: Any) -> np.ndarray:
    """Which files of a split hold examples that are wanted, increasing; the first where none is."""
    ends = np.cumsum([instruction.examples_in_shard for instruction in info.file_instructions])
    there = np.unique(np.searchsorted(ends, np.flatnonzero(wanted), side="right"))
    return there if there.size else np.zeros(1, np.int64)


def _position_of(info: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """Maps a TFDS id, `FILE__POSITION_IN_FILE`, to the position in the split."""
    files = tf.constant([instruction.basename() for instruction in info.file_instructions])
    counts = [instruction.examples_in_shard for instruction in info.file_instructions]
    starts = tf.constant(np.cumsum([0, *counts[:-1]]), tf.int64)

    def position(tfds_id: tf.Tensor) -> tf.Tensor:
        parts = tf.strings.split(tfds_id, "__")
        file = tf.argmax(tf.equal(files, parts[0]))
        return starts[file] + tf.strings.to_number(parts[1], tf.int64)

    return position
