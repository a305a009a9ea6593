"""From a source to one trial's data: validation split, training subset, label noise, subsets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from etils import epath

from tfprune.data import label_noise
from tfprune.data.normalization import statistics
from tfprune.data.settings import DataConfig
from tfprune.data.sources import Source
from tfprune.data.streaming import StreamedData, StreamedSource
from tfprune.errors import SettingError, arguments_from
from tfprune.files import is_regular_file
from tfprune.seeds import Stream, generator


@dataclass(frozen=True)
class PreparedData:
    """One trial's data, in memory. C classes, N training, V validation and M test examples.

    Attributes:
      name: as the setting `dataset` spells it.
      num_classes: C.
      class_names: C names.
      mean: float32 [channels], of pixels scaled to [0, 1]: what images are normalized with.
      std: float32 [channels], likewise.
      source_images: uint8 [P, H, W, channels], the source's training split: all trials' one array.
      images: uint8 [N, H, W, channels], those of them that are trained on.
      labels: int32 [N], observed labels: what is trained on.
      original_labels: int32 [N].
      selected: bool [N], the examples that the label noise chose.
      indices: int64 [N], increasing positions in the source's training split.
      val_images: uint8 [V, H, W, channels]; V is 0 without a validation split.
      val_indices: int64 [V], their positions in the source's training split.
      val_labels: int32 [V], without noise.
      test_images: uint8 [M, H, W, channels].
      test_labels: int32 [M].
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    source_images: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    original_labels: np.ndarray
    selected: np.ndarray
    indices: np.ndarray
    val_images: np.ndarray
    val_indices: np.ndarray
    val_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.images.shape[1:]
        return (height, width, channels)

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """Some training images as they are, uint8 [K, H, W, channels], in the order of `rows`."""
        return self.images[rows]


def prepare(
    source: Source | StreamedSource, config: DataConfig, seed: int
) -> PreparedData | StreamedData:
    """Splits, subsets and noises a source for one trial.

    In this order: `validation_examples` random training examples are held out with their clean
    labels; `train_subset` picks from the rest, at random by count, or as listed in a file (listed
    examples that are held out for validation are left out); `noise_fraction` of what remains is
    selected by the label noise. The validation split depends on the seed and the count alone.

    Args:
      source: the whole dataset.
      config: `validation_examples`, `train_subset`, `label_noise`, `noise_fraction`, `augment`,
        `normalization`.
      seed: the trial's seed.

    Raises:
      SettingError: more examples are asked for than there are, the index file is unusable, the
        noise does not fit the dataset, or `crop_flip` is asked for on images of one size.
    """
    if isinstance(source, Source) and config.augment == "crop_flip":
        raise SettingError(
            "augment", "crop_flip", "for streamed sets of large images; flip_shift for this one"
        )
    mean, std = statistics(source, config.normalization)
    source = dataclasses.replace(source, mean=mean, std=std)
    split = generator(seed, Stream.SPLIT)
    val, rest = _hold_out(len(source.train_labels), config.validation_examples, split)
    train = _train_indices(config.train_subset, len(source.train_labels), rest, split)
    with arguments_from(kind="label_noise", fraction="noise_fraction"):
        noisy = label_noise.apply(
            config.label_noise,
            source.train_labels[train],
            source.num_classes,
            config.noise_fraction,
            generator(seed, Stream.LABEL_NOISE),
            source.name,
        )
    if isinstance(source, StreamedSource):
        return StreamedData(
            source=source,
            augment=config.augment,
            labels=noisy.observed,
            original_labels=noisy.original,
            selected=noisy.selected,
            indices=train,
            val_indices=val,
        )
    return _resident(source, train, val, noisy)


_Data = TypeVar("_Data", bound=PreparedData | StreamedData)


def keep(data: _Data, rows: np.ndarray) -> _Data:
    """The same trial's data with only some training examples, their labels as they are.

    Args:
      data: a trial's data, N training examples.
      rows: int [K], increasing rows of the training examples, in [0, N).
    """
    names = {field.name for field in dataclasses.fields(data)}
    per_example = names & {"images", "labels", "original_labels", "selected", "indices"}
    return dataclasses.replace(data, **{name: getattr(data, name)[rows] for name in per_example})


def _hold_out(examples: int, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sorted positions of the validation examples and of the rest, int64."""
    if count >= examples:
        raise SettingError(
            "validation_examples", count, f"fewer than the {examples} training examples"
        )
    order = rng.permutation(examples)
    return np.sort(order[:count]), np.sort(order[count:])


def _train_indices(
    subset: str, examples: int, available: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Sorted positions of the training examples, int64."""
    if not subset:
        return available
    if not subset.isdigit():
        chosen = np.intersect1d(_read_indices(subset, examples), available)
        if not len(chosen):
            raise SettingError(
                "train_subset", subset, "at least one index outside the validation split"
            )
        return chosen
    if not 1 <= int(subset) <= len(available):
        raise SettingError(
            "train_subset", subset, f"1 to {len(available)} examples, or a file of indices"
        )
    return np.sort(rng.permutation(available)[: int(subset)])


def _read_indices(path: str, examples: int) -> np.ndarray:
    """Distinct positions in [0, examples) from a .npy file, or a text file of one a line."""
    file = epath.Path(path).expanduser()
    try:
        if not is_regular_file(file):
            raise SettingError(
                "train_subset", path, f"a number of examples, or a file of indices; no file {file}"
            )
        indices = _parse_indices(file)
    except SettingError:
        raise
    except Exception as error:  # A damaged header may raise any, as tokenize.TokenError.
        raise SettingError(
            "train_subset", path, "a .npy file of integers [K], or text with one integer per line"
        ) from error
    if not len(indices) or indices.min() < 0 or indices.max() >= examples:
        odd = [int(index) for index in indices if not 0 <= index < examples][:1]
        but = f", and {odd[0]} is none" if odd else ", at least one"
        raise SettingError("train_subset", path, f"indices from 0 to {examples - 1}{but}")
    values, counts = np.unique(indices, return_counts=True)
    if counts.max() > 1:
        raise SettingError(
            "train_subset", path, f"indices without duplicates; {values[counts.argmax()]} repeats"
        )
    return values.astype(np.int64)


def _parse_indices(file: epath.Path) -> np.ndarray:
    if file.name.endswith(".npy"):
        with file.open("rb") as stream:
            indices = np.load(stream, allow_pickle=False)
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError("not a list of integers")
        return indices
    return np.array([int(line) for line in file.read_text().split()], np.int64)


def _resident(
    source: Source, train: np.ndarray, val: np.ndarray, noisy: label_noise.NoisyLabels
) -> PreparedData:
    # Taking every example would only copy them: the largest sets are gigabytes.
    whole = len(train) == len(source.train_images)
    return PreparedData(
        name=source.name,
        num_classes=source.num_classes,
        class_names=source.class_names,
        mean=source.mean,
        std=source.std,
        source_images=source.train_images,
        images=source.train_images if whole else source.train_images[train],
        labels=noisy.observed,
        original_labels=noisy.original,
        selected=noisy.selected,
        indices=train,
        val_images=source.train_images[val],
        val_indices=val,
        val_labels=source.train_labels[val],
        test_images=source.test_images,
        test_labels=source.test_labels,
    )
