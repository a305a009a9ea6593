"""The settings of data: which examples, with which labels, in which form."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any

from etils import epath

from tfprune.catalog import DATASETS, LABEL_NOISE, NORMALIZATIONS, PATH_DATASETS
from tfprune.claims import check_cloud
from tfprune.errors import SettingError
from tfprune.files import is_regular_file
from tfprune.settings import Section, at_least, between, setting

# How training images are changed, fresh every epoch.
AUGMENTATIONS = ("none", "flip", "shift", "flip_shift", "crop_flip")


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """What is trained on."""

    dataset: str = setting(
        "digits",
        f"{', '.join(DATASETS)}, any image classification set of TFDS, npz:PATH or folder:PATH",
        path=True,
    )
    data_dir: str = setting(
        "", "where TFDS sets are prepared; default $TFDS_DATA_DIR", identity=False, path=True
    )
    train_subset: str = setting(
        "",
        "train on this many random examples, or on the indices in this .npy or text file",
        path=True,
    )
    validation_examples: int = setting(
        0, "training examples held out for validation", check=at_least(0)
    )
    label_noise: str = setting("none", LABEL_NOISE.help_lines(), choices=LABEL_NOISE)
    noise_fraction: float = setting(
        0.0, "fraction of the training labels that the noise selects", check=between(0, 1)
    )
    augment: str = setting(
        "none",
        "training images: flip left-right, shift by up to 4 pixels; crop_flip for ImageNet",
        choices=AUGMENTATIONS,
    )
    normalization: str = setting(
        "dataset",
        f"mean and standard deviation per channel; {NORMALIZATIONS.help_lines()}",
        choices=NORMALIZATIONS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, colon, path = self.dataset.partition(":")
        if not self.dataset or (colon and kind in PATH_DATASETS and not path):
            raise SettingError("dataset", self.dataset, "a name, npz:PATH or folder:PATH")
        kind = _kind_of_path(self.dataset)
        if kind:
            raise SettingError("dataset", self.dataset, f"did you mean {kind}:{self.dataset}?")
        if self.label_noise == "none" and self.noise_fraction > 0:
            raise SettingError(
                "noise_fraction",
                self.noise_fraction,
                "0 unless `label_noise` names a kind of noise",
            )

    def identity(self) -> dict[str, Any]:
        """As for every section, with files named by what is in them."""
        values = super().identity()
        kind, colon, path = self.dataset.partition(":")
        if colon and kind in PATH_DATASETS:
            values["dataset"] = f"{kind}:{_digest(path)}"
        if self.train_subset and not re.fullmatch("[0-9]+", self.train_subset):
            values["train_subset"] = _digest(self.train_subset)
        return values


def _kind_of_path(dataset: str) -> str:
    """What a path without its prefix lacks; nothing for a name or with a prefix."""
    if dataset.partition(":")[0] in PATH_DATASETS:
        return ""
    if dataset.endswith(".npz"):
        return "npz"
    if dataset.startswith("gs://"):
        return "folder"
    # Names of TFDS may have a slash, but no folder is called so.
    return "folder" if "/" in dataset and epath.Path(dataset).expanduser().is_dir() else ""


def _digest(path: str) -> str:
    """A file by its bytes, a folder by the names and sizes of the files in it."""
    check_cloud(path)
    file = epath.Path(path).expanduser()
    # What cannot be read is reported with its flag when the data are loaded.
    try:
        if file.is_dir():
            there = (part for part in file.glob("*/*/*") if part.exists())
            found = sorted(f"{part.relative_to(file)} {part.stat().length}" for part in there)
            content = "\n".join(found).encode()
        elif is_regular_file(file):  # Not a pipe, which would be read for ever.
            content = file.read_bytes()
        else:
            return path
    except Exception:  # Cloud storage raises classes of its own.
        return path
    return hashlib.sha256(content).hexdigest()[:16]
