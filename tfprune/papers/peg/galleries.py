"""What example_galleries shows: the images that pruning affects, and at which levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from tfprune import files
from tfprune.errors import InputError
from tfprune.measures.example_groups import KINDS
from tfprune.papers.drawings import gallery
from tfprune.papers.peg import families
from tfprune.papers.peg.families import LR_REWIND, Benchmark, Family
from tfprune.report import readings, summary, tables
from tfprune.report.experiment import Drawing, Experiment
from tfprune.report.tables import Table

_ARRAYS = ("images", "labels", "predictions", "levels")
_NAMES = {
    "most_worsened": "most worsened",
    "most_improved": "most improved",
    "least_affected": "least affected",
}
# PEG table 4, of (dataset, model): the highest and lowest weights remaining in %, by kind.
_PUBLISHED = {
    ("mnist", "lenet_300_100"): ((1.4, 1.4), (80.0, 5.5), (100.0, 1.4)),
    ("cifar10", "resnet20"): ((16.7, 13.4), (80.0, 21.0), (100.0, 5.5)),
    ("cifar10", "vgg16"): ((2.3, 0.7), (80.0, 2.3), (100.0, 0.19)),
    ("cifar100", "resnet32"): ((16.7, 8.6), (80.0, 21.0), (100.0, 8.6)),
    ("imagenet2012", "resnet50"): ((13.4, 13.4), (80.0, 16.8), (100.0, 13.4)),
}
_UNKNOWN = (float("nan"), float("nan"))


class Kind(NamedTuple):
    """The examples of one kind, n of them, the most affected (least affected) first.

    Images are uint8 [n, H, W, C], C 1 or 3; labels, those trained on, and predictions, the majority
    over seeds and the levels used, integers [n]; levels, where losses were measured, integers [L].
    """

    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True, eq=False)
class Gallery:
    """The examples of one benchmark, pruned with learning-rate rewinding.

    Attributes:
      family: the pruned networks.
      kinds: by name, in the order of `KINDS`.
      class_names: what the data calls its classes, by number; empty where the file does not say.
    """

    family: Family
    kinds: Mapping[str, Kind]
    class_names: tuple[str, ...]

    @property
    def benchmark(self) -> Benchmark:
        return self.family.benchmark

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that have losses at every level used, increasing."""
        used = {int(level) for kind in self.kinds.values() for level in kind.levels} | {0}
        points = self.family.points
        rows = points[points["examples"].fillna("").ne("")] if "examples" in points else points
        there = rows.groupby("seed")["level"].agg(set)
        return tuple(seed for seed in self.family.seeds if used <= there.get(seed, set()))

    @property
    def missing(self) -> tuple[int, ...]:
        """The benchmark's other seeds."""
        return tuple(seed for seed in self.family.seeds if seed not in self.seeds)

    def ends(self, name: str) -> tuple[float, float]:
        """The highest and lowest weights remaining of a kind, in percent; NaN without levels."""
        means = self.family.points.groupby("member")["weights_remaining"].mean()
        percent = 100 * means.reindex(self.kinds[name].levels).dropna()
        return (float(percent.max()), float(percent.min())) if len(percent) else _UNKNOWN

    def printed_ends(self, name: str) -> tuple[float, float]:
        """The same as PEG table 4 prints them."""
        mark = self.benchmark
        if mark.is_noisy or mark.width != 1 or (mark.dataset, mark.model) not in _PUBLISHED:
            return _UNKNOWN
        return _PUBLISHED[mark.dataset, mark.model][list(_NAMES).index(name)]


def load(results: pd.DataFrame, folder: epath.Path) -> list[Gallery]:
    """The galleries of an output folder; a file that is gone is as one that never was.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    return [
        _gallery(path, family)
        for family in families.families(results)
        if family.method == LR_REWIND and (path := _file(folder, family)) is not None
    ]


def _file(folder: epath.Path, family: Family) -> epath.Path | None:
    """The first gallery that is there."""
    rows = family.rows(0)
    named = rows.loc[rows["gallery"].fillna("").ne(""), "gallery"] if "gallery" in rows else ()
    return next((path for file in named if (path := folder / str(file)).exists()), None)


def _gallery(path: epath.Path, family: Family) -> Gallery:
    arrays = files.load_arrays(path)
    needed = {f"{kind}/{name}" for kind in KINDS for name in _ARRAYS}
    if missing := sorted(needed - set(arrays)):
        raise InputError(f"{path} has no {', '.join(missing)}: delete it and run again")
    kinds = {kind: Kind(*(arrays[f"{kind}/{name}"] for name in _ARRAYS)) for kind in KINDS}
    return Gallery(family, kinds, tuple(map(str, arrays.get("class_names", ()))))


def _draw(here: Gallery) -> Any:
    parts = {
        f"{readings.start(_NAMES[name])}, by losses at {_range(here.ends(name))}% of weights "
        "remaining": kind[:3]
        for name, kind in here.kinds.items()
        if len(kind.labels)
    }
    return gallery.draw(parts, here.class_names)


def _range(ends: Iterable[float]) -> str:
    """Percentages of weights remaining as PEG table 4 prints them: "80-5.5", or "1.4"."""
    texts = [f"{end:.2g}" if end < 1 else f"{end:.1f}".removesuffix(".0") for end in ends]
    return "-".join(dict.fromkeys(text for text in texts if text != "nan"))


def mislabelled_reading(here: Gallery) -> str:
    """In how many examples of each kind the majority prediction is not the label."""
    counts = [
        f"{int((kind.labels != kind.predictions).sum())} of the {len(kind.labels)} {_NAMES[name]}"
        for name, kind in here.kinds.items()
        if len(kind.labels)
    ]
    none = [_NAMES[name] for name, kind in here.kinds.items() if not len(kind.labels)]
    but = f"; no level qualifies to rank the {' and the '.join(none)}" if none else ""
    without = f", {summary.seeds_text(here.missing)} not everywhere" if here.missing else ""
    return (
        "The majority prediction (P) differs from the label (L) in "
        f"{', '.join(counts)} examples{but}; n = {len(here.seeds)} seeds{without}."
    )


def levels_table(found: Sequence[Gallery]) -> Table | None:
    """The levels at which losses were measured, a row per benchmark and kind (PEG table 4)."""
    rows = [_row(here, name, kind) for here in found for name, kind in here.kinds.items()]
    if not rows:
        return None

    def ends(which: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: _range(100 * row[f"{which}{end}"] for end in ("highest", "lowest"))

    shown: dict[str, Any] = {"model": "model", "noise": "noise"}
    shown |= {"examples": lambda row: _NAMES[row["kind"]], "levels": "levels"}
    shown["weights remaining, ours (%)"] = ends("")
    shown["weights remaining, paper (%)"] = ends("published_")
    shown |= {"seeds": "n", "missing seeds": "missing_seeds"}
    title = (
        "Weights remaining at which the losses behind each gallery were measured; the paper's "
        "least affected examples include the dense model, which has no change to average"
    )
    return tables.of_rows("levels", title, rows, shown, ("model", "noise", "examples"))


def _row(here: Gallery, name: str, kind: Kind) -> dict[str, Any]:
    """Fractions, as all numbers of results.csv."""
    ours, paper = (np.divide(ends, 100) for ends in (here.ends(name), here.printed_ends(name)))
    return {
        "model": here.benchmark.panel,
        "noise": here.benchmark.noise,
        "kind": name,
        "levels": _runs(np.sort(kind.levels)),
        **dict(zip(("highest", "lowest"), ours, strict=True)),
        **dict(zip(("published_highest", "published_lowest"), paper, strict=True)),
        "n": len(here.seeds),
        "missing_seeds": summary.seeds_text(here.missing),
    }


def _runs(levels: np.ndarray) -> str:
    """Levels as runs: "1-3, 5"."""
    parts = np.split(levels, np.flatnonzero(np.diff(levels) > 1) + 1) if levels.size else []
    return ", ".join(f"{p[0]}-{p[-1]}" if p.size > 1 else f"{p[0]}" for p in parts)


EXAMPLE_GALLERIES = Experiment(
    "example_galleries",
    load,
    figures=(
        Drawing(
            "examples", "Examples that pruning affects the most and the least", _draw,
            mislabelled_reading, each=lambda found: {here.benchmark.name: here for here in found},
        ),
    ),
    tables=(levels_table,),
)  # fmt: skip
