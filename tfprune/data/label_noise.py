"""Label noise: which training labels are replaced, and by what (SDD 3.1, PEG 2).

A kind of noise is a function `(labels, num_classes, selected, rng, dataset)` that returns the
observed labels. Each draws a replacement for every example, selected or not, so that with one seed
an example's replacement does not depend on how many others are selected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfprune.catalog import LABEL_NOISE
from tfprune.errors import SettingError

_MNIST_CONFUSIONS = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}

# airplane 0, automobile 1, bird 2, cat 3, deer 4, dog 5, frog 6, horse 7, ship 8, truck 9
_CIFAR10_CONFUSIONS = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}

# Krizhevsky (2009): CIFAR-100's 20 superclasses of 5. Fine labels number the names alphabetically.
CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


@dataclass(frozen=True)
class NoisyLabels:
    """Training labels fixed before training.

    Attributes:
      observed: int32 [N], what is trained on.
      original: int32 [N], the labels before the noise.
      selected: bool [N], the examples that the noise chose. Their observed label may still equal
        the original one (SDD 3.1 counts these among the permuted examples).
    """

    observed: np.ndarray
    original: np.ndarray
    selected: np.ndarray


def none(
    labels: np.ndarray,
    num_classes: int,
    selected: np.ndarray,
    rng: np.random.Generator,
    dataset: str,
) -> np.ndarray:
    """Labels as they are, int32 [N]."""
    del num_classes, selected, rng, dataset
    return np.asarray(labels, np.int32).copy()


def symmetric(
    labels: np.ndarray,
    num_classes: int,
    selected: np.ndarray,
    rng: np.random.Generator,
    dataset: str,
) -> np.ndarray:
    """Selected labels become uniform over all classes, their own included (SDD 3.1).

    Args:
      labels: integers in [0, num_classes), [N].
      num_classes: C.
      selected: bool [N], the examples whose label is replaced.
      rng: where the replacements are drawn.
      dataset: ignored.

    Returns:
      int32 [N], observed labels.
    """
    del dataset
    return _replaced(labels, rng.integers(0, num_classes, len(labels)), selected)


def uniform_other(
    labels: np.ndarray,
    num_classes: int,
    selected: np.ndarray,
    rng: np.random.Generator,
    dataset: str,
) -> np.ndarray:
    """Selected labels become uniform over the other classes (PEG 2). As `symmetric` otherwise."""
    del dataset
    offset = rng.integers(1, num_classes, len(labels))
    return _replaced(labels, (labels + offset) % num_classes, selected)


def asymmetric(
    labels: np.ndarray,
    num_classes: int,
    selected: np.ndarray,
    rng: np.random.Generator,
    dataset: str,
) -> np.ndarray:
    """Selected labels become the class theirs is usually confused with.

    MNIST and digits: 7 to 1, 2 to 7, 5 and 6 swapped, 3 to 8. CIFAR-10: truck to automobile, bird
    to airplane, deer to horse, cat and dog swapped. CIFAR-100: the next class of the superclass,
    in alphabetical order, the last one to the first. A selected example whose class has no
    confusion keeps its label, so on MNIST and CIFAR-10 about half of the selected labels change.

    Args:
      labels: integers in [0, num_classes), [N].
      num_classes: as the dataset's.
      selected: bool [N], the examples whose label is replaced.
      rng: ignored, nothing is drawn.
      dataset: name of the data source; a TFDS version or configuration after it is ignored.

    Returns:
      int32 [N], observed labels.

    Raises:
      SettingError: no confusions are known for this dataset.
    """
    del num_classes, rng
    return _replaced(labels, confusions(dataset)[labels], selected)


def pairflip(
    labels: np.ndarray,
    num_classes: int,
    selected: np.ndarray,
    rng: np.random.Generator,
    dataset: str,
) -> np.ndarray:
    """Selected labels c become c + 1 modulo the number of classes. Nothing is drawn."""
    del rng, dataset
    return _replaced(labels, (labels + 1) % num_classes, selected)


def confusions(dataset: str) -> np.ndarray:
    """The class that each class becomes under `asymmetric`, int32 [C].

    Raises:
      SettingError: no confusions are known for this dataset.
    """
    tables = {
        "mnist": _MNIST_CONFUSIONS,
        "digits": _MNIST_CONFUSIONS,
        "cifar10": _CIFAR10_CONFUSIONS,
        "cifar100": _cifar100_confusions(),
    }
    name = re.split("[:/]", dataset)[0]
    if name not in tables:
        raise SettingError(
            "label_noise", "asymmetric", f"needs `dataset` to be one of {', '.join(tables)}"
        )
    becomes = np.arange(100 if name == "cifar100" else 10, dtype=np.int32)
    for original, observed in tables[name].items():
        becomes[original] = observed
    return becomes


def apply(
    kind: str,
    labels: np.ndarray,
    num_classes: int,
    fraction: float,
    rng: np.random.Generator,
    dataset: str,
) -> NoisyLabels:
    """Selects round(fraction * N) examples uniformly and changes their labels.

    With one generator state the selections of increasing fractions are nested.

    Args:
      kind: a name in `tfprune.catalog.LABEL_NOISE`.
      labels: integers in [0, num_classes), [N].
      num_classes: C.
      fraction: share of the examples to select, in [0, 1].
      rng: where selection and replacements are drawn.
      dataset: name of the data source; `asymmetric` depends on it.

    Raises:
      SettingError: unknown kind, a fraction outside [0, 1] or above 0 for `none`, or `asymmetric`
        for a dataset without known confusions.
    """
    noise = LABEL_NOISE[kind]
    if not 0 <= fraction <= 1:
        raise SettingError("fraction", fraction, "a number in [0, 1]")
    if kind == "none" and fraction > 0:
        raise SettingError("fraction", fraction, "0 unless a kind of noise is named")
    original = np.asarray(labels, np.int32)
    selected = np.zeros(len(original), bool)
    selected[rng.permutation(len(original))[: round(fraction * len(original))]] = True
    observed = noise(original.copy(), num_classes, selected.copy(), rng, dataset)
    observed = _checked(kind, observed, original, selected, num_classes)
    return NoisyLabels(observed, original, selected)


def _checked(
    kind: str, observed: Any, original: np.ndarray, selected: np.ndarray, num_classes: int
) -> np.ndarray:
    """What a kind of noise returned, int32 [N]: it may be a function of one's own."""
    labels = np.asarray(observed)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != original.shape:
        raise SettingError(
            "label_noise",
            kind,
            f"integer labels of shape {original.shape} from its function, not {labels.dtype} of "
            f"shape {labels.shape}",
        )
    if ((labels < 0) | (labels >= num_classes)).any():
        allowed = f"labels in [0, {num_classes}) from its function"
        found = f"not from {labels.min()} to {labels.max()}"
        raise SettingError("label_noise", kind, f"{allowed}, {found}")
    if (labels != original)[~selected].any():
        raise SettingError(
            "label_noise", kind, "the same labels from its function where none is selected"
        )
    return labels.astype(np.int32)


def _replaced(labels: np.ndarray, replacements: np.ndarray, selected: np.ndarray) -> np.ndarray:
    return np.where(selected, replacements, labels).astype(np.int32)


def _cifar100_confusions() -> dict[int, int]:
    fine = sorted(name for names in CIFAR100_SUPERCLASSES.values() for name in names)
    number = {name: label for label, name in enumerate(fine)}
    return {
        number[name]: number[following]
        for names in CIFAR100_SUPERCLASSES.values()
        for name, following in zip(names, (*names[1:], names[0]), strict=True)
    }
