"""The report of example_galleries: PEG figure 16, images that pruning affects, and table 4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfprune import files, store
from tfprune.errors import InputError
from tfprune.measures.example_groups import KINDS
from tfprune.results import families, figures, style, tables
from tfprune.results.families import Benchmark, Family

EXPERIMENT = "example_galleries"
_COLUMN = "gallery"
_ARRAYS = ("images", "labels", "predictions", "levels")
_IN_A_ROW = 10
# The longest class names of which a label and a prediction stand in one line above an image, and
# the most characters of a name that has a line of its own.
_SHORT, _LONGEST = 2, 13
_NAMES = {
    "most_worsened": "most worsened",
    "most_improved": "most improved",
    "least_affected": "least affected",
}
# PEG table 4, of (dataset, model): the highest and the lowest weights remaining, in percent.
_PUBLISHED: Mapping[tuple[str, str], Mapping[str, tuple[float, float]]] = {
    ("mnist", "lenet_300_100"): {
        "most_worsened": (1.4, 1.4),
        "most_improved": (80.0, 5.5),
        "least_affected": (100.0, 1.4),
    },
    ("cifar10", "resnet20"): {
        "most_worsened": (16.7, 13.4),
        "most_improved": (80.0, 21.0),
        "least_affected": (100.0, 5.5),
    },
    ("cifar10", "vgg16"): {
        "most_worsened": (2.3, 0.7),
        "most_improved": (80.0, 2.3),
        "least_affected": (100.0, 0.19),
    },
    ("cifar100", "resnet32"): {
        "most_worsened": (16.7, 8.6),
        "most_improved": (80.0, 21.0),
        "least_affected": (100.0, 8.6),
    },
    ("imagenet2012", "resnet50"): {
        "most_worsened": (13.4, 13.4),
        "most_improved": (80.0, 16.8),
        "least_affected": (100.0, 13.4),
    },
}


@dataclass(frozen=True, eq=False)
class Kind:
    """The examples of one kind, n of them, the most affected (least affected) first.

    Attributes:
      images: uint8 [n, H, W, C], C 1 or 3.
      labels: integers [n], those trained on.
      predictions: integers [n], the majority over seeds and the levels used.
      levels: integers [L], where losses were measured; none where no level qualifies.
      weights_remaining: float64 [L], of these levels, the mean over seeds; NaN for a level
        without a row.
    """

    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    levels: np.ndarray
    weights_remaining: np.ndarray


@dataclass(frozen=True, eq=False)
class Gallery:
    """The examples of one benchmark, pruned with learning-rate rewinding.

    Attributes:
      benchmark: what is learned.
      kinds: by name, in the order of `KINDS`.
      class_names: what the data calls its classes, by number; empty where the file does not say.
      seeds: those that have losses at every level used, increasing.
      missing: the benchmark's other seeds.
    """

    benchmark: Benchmark
    kinds: dict[str, Kind]
    class_names: tuple[str, ...]
    seeds: tuple[int, ...]
    missing: tuple[int, ...]

    @property
    def published(self) -> Mapping[str, tuple[float, float]]:
        """PEG table 4, by kind: the highest and the lowest weights remaining, in percent."""
        mark = self.benchmark
        if mark.is_noisy or mark.width != 1:
            return {}
        return _PUBLISHED.get((mark.dataset, mark.model), {})


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws a figure of images for every benchmark that has a gallery (PEG figure 16).

    Returns:
      The figures there are data for.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = galleries(output_dir, store.read_results(output_dir))
    drawn: list[figures.Drawing] = [
        (
            "examples" + (f"_{number}" if len(found) > 1 else ""),
            f"Examples that pruning affects the most and the least: {gallery.benchmark.name}",
            mislabelled_reading(gallery),
            "PEG figure 16",
            images(gallery),
        )
        for number, gallery in enumerate(found, start=1)
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """Weights remaining at which the losses were measured, ours beside the paper's (PEG table 4).

    Raises:
      InputError: a file is damaged.
    """
    found = galleries(output_dir, results)
    return [levels_table(found)] if found else []


def galleries(output_dir: epath.PathLike, results: pd.DataFrame) -> list[Gallery]:
    """The galleries of an output folder; a file that is gone is as one that never was.

    Args:
      output_dir: the output folder.
      results: rows of results.csv.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    mine = results[results["experiment"] == EXPERIMENT]
    return [
        _gallery(path, family)
        for family in families.families(mine)
        if family.method == families.LR_REWIND and (path := _file(output_dir, family)) is not None
    ]


def _file(output_dir: epath.PathLike, family: Family) -> epath.Path | None:
    """The first gallery that is there."""
    rows = family.rows(0)
    named = rows.loc[rows[_COLUMN].fillna("").ne(""), _COLUMN] if _COLUMN in rows else ()
    paths = (epath.Path(output_dir) / str(file) for file in named)
    return next((path for path in paths if path.exists()), None)


def _gallery(path: epath.Path, family: Family) -> Gallery:
    arrays = files.load_arrays(path)
    needed = {f"{kind}/{name}" for kind in KINDS for name in _ARRAYS}
    if missing := sorted(needed - set(arrays)):
        raise InputError(f"{path} has no {', '.join(missing)}: delete it and run again")
    remaining = family.points.groupby("member")["weights_remaining"].mean()
    kinds = {}
    for kind in KINDS:
        images, labels, predictions, levels = (arrays[f"{kind}/{name}"] for name in _ARRAYS)
        levels = np.sort(levels)
        left = remaining.reindex(levels).to_numpy(float)
        kinds[kind] = Kind(images, labels, predictions, levels, left)
    used = {int(level) for kind in kinds.values() for level in kind.levels} | {0}
    seeds = _seeds_with_all(family, used)
    missing_seeds = tuple(seed for seed in family.seeds if seed not in seeds)
    names = tuple(map(str, arrays.get("class_names", ())))
    return Gallery(family.benchmark, kinds, names, seeds, missing_seeds)


def _seeds_with_all(family: Family, levels: set[int]) -> tuple[int, ...]:
    """The seeds that have losses at all these levels."""
    points = family.points
    measured = points[points["examples"].fillna("").ne("")] if "examples" in points else points
    found = {seed: set(measured.loc[measured["seed"] == seed, "level"]) for seed in family.seeds}
    return tuple(seed for seed, there in found.items() if levels <= there)


def images(gallery: Gallery) -> Figure | None:
    """The images of every kind, ten in a row, with label L and majority prediction P.

    Classes are called as the data calls them. P is red where it is not L. None where no kind has
    an example.
    """
    shown = {name: kind for name, kind in gallery.kinds.items() if len(kind.labels)}
    if not shown:
        return None
    lines = [-(-len(kind.labels) // _IN_A_ROW) for kind in shown.values()]
    height = 1.2 if _in_one_line(gallery.class_names) else 1.35
    with style.house_style():
        figure = style.new_figure(10, height * sum(lines) + 0.4 * len(lines))
        parts = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=lines).flatten()
        for part, (name, kind), rows in zip(parts, shown.items(), lines, strict=True):
            part.suptitle(_heading(name, kind), x=0.01, ha="left", fontsize=10.5)
            panels = part.subplots(rows, _IN_A_ROW, squeeze=False).flatten()
            for axes in panels:
                axes.set_axis_off()
            for axes, image, label, prediction in zip(
                panels, kind.images, kind.labels, kind.predictions, strict=False
            ):
                _draw_image(axes, image, label, prediction, gallery.class_names)
    return figure


def _heading(name: str, kind: Kind) -> str:
    return f"{_NAMES[name].capitalize()}, by losses at {_range(_ends(kind))}% of weights remaining"


def _draw_image(
    axes: Axes, image: np.ndarray, label: int, prediction: int, names: Sequence[str]
) -> None:
    gray = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if gray else image, cmap="gray" if gray else None, vmin=0, vmax=255
    )  # Without the bounds each gray image would be stretched to its own range.
    called = (names[n] if names else str(n) for n in (label, prediction))
    one_line = _in_one_line(names)
    title = ("  " if one_line else "\n").join(
        f"{letter} {name if len(name) <= _LONGEST else name[: _LONGEST - 1] + '…'}"
        for letter, name in zip("LP", called, strict=True)
    )
    color = style.BLACK if label == prediction else style.VERMILLION
    axes.set_title(title, loc="center", fontsize=9 if one_line else 8, color=color, pad=3)


def _in_one_line(names: Sequence[str]) -> bool:
    return all(len(name) <= _SHORT for name in names)


def _ends(kind: Kind) -> tuple[float, float]:
    """The highest and the lowest weights remaining of the levels used, in percent."""
    if not kind.levels.size or np.isnan(kind.weights_remaining).all():
        return (float("nan"), float("nan"))
    percent = 100 * kind.weights_remaining
    return (float(np.nanmax(percent)), float(np.nanmin(percent)))


def _range(ends: Iterable[float]) -> str:
    """Percentages of weights remaining as PEG table 4 prints them: "80-5.5", or "1.4"."""
    texts = [f"{end:.2g}" if end < 1 else f"{end:.1f}".removesuffix(".0") for end in ends]
    return "-".join(dict.fromkeys(text for text in texts if text != "nan"))


def mislabelled_reading(gallery: Gallery) -> str:
    """In how many examples of each kind the majority prediction is not the label."""
    counts = [
        f"{int((kind.labels != kind.predictions).sum())} of the {len(kind.labels)} {_NAMES[name]}"
        for name, kind in gallery.kinds.items()
        if len(kind.labels)
    ]
    none = [_NAMES[name] for name, kind in gallery.kinds.items() if not len(kind.labels)]
    but = f"; no level qualifies to rank the {' and the '.join(none)}" if none else ""
    missing = ", ".join(map(str, gallery.missing))
    without = f", {missing} not everywhere" if missing else ""
    return (
        "The majority prediction (P) differs from the label (L) in "
        f"{', '.join(counts)} examples{but}; n = {len(gallery.seeds)} seeds{without}."
    )


def levels_table(found: list[Gallery]) -> tables.Table:
    """The levels at which losses were measured, a row per benchmark and kind (PEG table 4)."""
    numbers = pd.DataFrame(
        [_row(gallery, name, kind) for gallery in found for name, kind in gallery.kinds.items()]
    )
    labels = numbers[["model", "noise"]].assign(examples=numbers["kind"].map(_NAMES))
    shown = labels.assign(levels=numbers["levels"])
    for column, heading in (("", "ours (%)"), ("published_", "paper (%)")):
        ends = numbers[[f"{column}highest", f"{column}lowest"]].to_numpy()
        shown[f"weights remaining, {heading}"] = [_range(100 * row) for row in ends]
    shown["seeds"] = numbers["n"].astype(str)
    if numbers["missing_seeds"].ne("").any():
        shown["missing seeds"] = numbers["missing_seeds"]
    title = (
        "Weights remaining at which the losses behind each gallery were measured; the paper's "
        "least affected examples include the dense model, which has no change to average"
    )
    return tables.Table(f"{EXPERIMENT}_levels", title, numbers, shown, tuple(map(str, labels)))


def _row(gallery: Gallery, name: str, kind: Kind) -> dict[str, object]:
    """Fractions, as all numbers of results.csv."""
    ours, paper = _ends(kind), gallery.published.get(name, (float("nan"),) * 2)
    return {
        "model": gallery.benchmark.panel,
        "noise": gallery.benchmark.noise,
        "kind": name,
        "levels": _runs(kind.levels),
        "highest": ours[0] / 100,
        "lowest": ours[1] / 100,
        "published_highest": paper[0] / 100,
        "published_lowest": paper[1] / 100,
        "n": len(gallery.seeds),
        "missing_seeds": ", ".join(map(str, gallery.missing)),
    }


def _runs(levels: np.ndarray) -> str:
    """Levels as runs: "1-3, 5"."""
    parts = np.split(levels, np.flatnonzero(np.diff(levels) > 1) + 1) if levels.size else []
    return ", ".join(f"{p[0]}-{p[-1]}" if p.size > 1 else f"{p[0]}" for p in parts)
