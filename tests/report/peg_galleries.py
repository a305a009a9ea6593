"""Made-up galleries of digits."""

import numpy as np
import peg
import results
from sklearn.datasets import load_digits

from tfprune import files

FILE = "trials/t/seed_0/level_00/gallery-0123abcd.npz"
DIGITS = load_digits()
LEVELS = {"most_worsened": [9, 8], "most_improved": [1, 2, 3, 5], "least_affected": [4]}


def kind_arrays(kind, count, levels):
    """Digits number 0, 1, 2, ... as the examples; every third one is predicted wrong."""
    images = (DIGITS.images[:count] * 15).astype(np.uint8)[..., None]
    labels = DIGITS.target[:count]
    predictions = np.where(np.arange(count) % 3 == 0, (labels + 1) % 10, labels)
    arrays = {"images": images, "labels": labels, "predictions": predictions}
    arrays |= {"indices": np.arange(count), "score": np.linspace(1, 0, count)}
    return {f"{kind}/{name}": v for name, v in (arrays | {"levels": np.array(levels, int)}).items()}


def make(folder, counts=(20, 20, 20), levels=LEVELS, seeds=(0, 1), skip=(), names=()):
    """A trunk of ten levels, its gallery on the level-0 row of the first seed."""
    rows = [
        peg.row(
            "lr_rewind", level, seed, 5.0, experiment="example_galleries", gallery="",
            examples="" if (seed, level) in skip else "a.npz",
        )
        for level in range(10)
        for seed in seeds
    ]  # fmt: skip
    rows[0]["gallery"] = FILE
    arrays = {"class_names": np.array(list(names))} if names else {}
    for (kind, used), count in zip(levels.items(), counts, strict=True):
        arrays |= kind_arrays(kind, count, used)
    files.save_arrays(folder / FILE, arrays)
    return results.write(folder, rows)
