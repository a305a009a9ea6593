"""What example_galleries shows: the images that pruning affects, and at which levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from tfprune import files
from tfprune.measures.example_groups import KINDS
from tfprune.papers.drawings import gallery
from tfprune.papers.peg import families
from tfprune.papers.peg.families import LR_REWIND, Family
from tfprune.report import readings, summary, tables
from tfprune.report.experiment import Drawing, Experiment
from tfprune.report.tables import Table

# PEG table 4, of (dataset, model): the highest and lowest weights remaining in %, by kind.
_PUBLISHED = {
    about: dict(zip(KINDS, ends, strict=True))
    for about, ends in {
        ("mnist", "lenet_300_100"): ((1.4, 1.4), (80.0, 5.5), (100.0, 1.4)),
        ("cifar10", "resnet20"): ((16.7, 13.4), (80.0, 21.0), (100.0, 5.5)),
        ("cifar10", "vgg16"): ((2.3, 0.7), (80.0, 2.3), (100.0, 0.19)),
        ("cifar100", "resnet32"): ((16.7, 8.6), (80.0, 21.0), (100.0, 8.6)),
        ("imagenet2012", "resnet50"): ((13.4, 13.4), (80.0, 16.8), (100.0, 13.4)),
    }.items()
}


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
    def seeds(self) -> tuple[int, ...]:
        """Those that have losses at every level used, increasing."""
        used = {int(level) for kind in self.kinds.values() for level in kind.levels} | {0}
        measured = self.family.points[self.family.points["examples"].fillna("").ne("")]
        there = measured.groupby("seed")["level"].agg(set)
        return tuple(seed for seed in self.family.seeds if used <= there.get(seed, set()))

    @property
    def missing(self) -> tuple[int, ...]:
        """The benchmark's other seeds."""
        return tuple(seed for seed in self.family.seeds if seed not in self.seeds)

    def ends(self, name: str) -> tuple[float, float]:
        """The highest and lowest weights remaining of a kind, fractions; NaN without levels."""
        means = self.family.points.groupby("member")["weights_remaining"].mean()
        known = means.reindex(self.kinds[name].levels)
        return float(known.max()), float(known.min())

    def printed_ends(self, name: str) -> tuple[float, float]:
        """The same as PEG table 4 has them; NaN where it has none."""
        mark = self.family.benchmark
        known = {} if mark.is_noisy or not summary.full_size(mark.settings) else _PUBLISHED
        high, low = known.get((mark.dataset, mark.model), {}).get(name, (math.nan, math.nan))
        return high / 100, low / 100


def load(results: pd.DataFrame, folder: epath.Path) -> list[Gallery]:
    """The galleries of an output folder; a file that is gone is as one that never was.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    found = []
    names = {kind: [f"{kind}/{name}" for name in Kind._fields] for kind in KINDS}
    for family in families.load(results):
        named = family.rows(0).get("gallery", pd.Series()).fillna("")
        there = [path for file in named if file and (path := folder / str(file)).exists()]
        if family.method == LR_REWIND and there:
            arrays = files.load_arrays(there[0], needed=itertools.chain(*names.values()))
            kinds = {kind: Kind(*(arrays[name] for name in own)) for kind, own in names.items()}
            classes = tuple(map(str, arrays.get("class_names", ())))
            found.append(Gallery(family, kinds, classes))
    return found


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _draw(here: Gallery) -> Any:
    parts = {
        f"{readings.start(_words(name))}, by losses at {_range(*here.ends(name))}% of weights "
        "remaining": kind[:3]
        for name, kind in here.kinds.items()
        if len(kind.labels)
    }
    return gallery.draw(parts, here.class_names)


def _range(high: float, low: float) -> str:
    """Weights remaining in percent as PEG table 4 prints them: "80-5.5", or "1.4"."""
    ends = [100 * end for end in (high, low) if not math.isnan(end)]
    texts = [f"{end:.2g}" if end < 1 else f"{end:.1f}".removesuffix(".0") for end in ends]
    return "-".join(dict.fromkeys(texts))


def mislabelled_reading(here: Gallery) -> str:
    """In how many examples of each kind the majority prediction is not the label."""
    counts = [
        f"{int((kind.labels != kind.predictions).sum())} of the {len(kind.labels)} {_words(name)}"
        for name, kind in here.kinds.items()
        if len(kind.labels)
    ]
    none = [_words(name) for name, kind in here.kinds.items() if not len(kind.labels)]
    but = f"; no level qualifies to rank the {' and the '.join(none)}" if none else ""
    without = f", {summary.seeds_text(here.missing)} not everywhere" if here.missing else ""
    return (
        "The majority prediction (P) differs from the label (L) in "
        f"{', '.join(counts)} examples{but}; n = {len(here.seeds)} seeds{without}."
    )


def levels_table(found: Sequence[Gallery]) -> Table | None:
    """The levels at which losses were measured, a row per benchmark and kind (PEG table 4)."""
    rows = [_row(here, name, kind) for here in found for name, kind in here.kinds.items()]
    shown: dict[str, Any] = {
        "model": "model",
        "noise": "noise",
        "examples": lambda row: _words(row["kind"]),
        "levels": "levels",
        "weights remaining, ours (%)": lambda row: _range(row["highest"], row["lowest"]),
        "weights remaining, paper (%)": lambda row: _range(
            row["published_highest"], row["published_lowest"]
        ),
    }
    title = (
        "Weights remaining at which the losses behind each gallery were measured; the paper's "
        "least affected examples include the dense model, which has no change to average"
    )
    labels = ("model", "noise", "examples")
    return tables.of_rows("levels", title, rows, shown | tables.SEEDS, labels) if rows else None


def _row(here: Gallery, name: str, kind: Kind) -> dict[str, Any]:
    """Fractions, as all numbers of results.csv."""
    ours, paper = here.ends(name), here.printed_ends(name)
    return {
        "model": here.family.benchmark.panel,
        "noise": here.family.benchmark.noise,
        "kind": name,
        "levels": _runs(np.sort(kind.levels)),
        "highest": ours[0],
        "lowest": ours[1],
        "published_highest": paper[0],
        "published_lowest": paper[1],
        "n": len(here.seeds),
        "missing_seeds": summary.seeds_text(here.missing),
    }


def _runs(levels: np.ndarray) -> str:
    """Levels as runs: "1-3, 5"."""
    parts = np.split(levels, np.flatnonzero(np.diff(levels) > 1) + 1) if levels.size else []
    return ", ".join(f"{p[0]}-{p[-1]}" if p.size > 1 else f"{p[0]}" for p in parts)


def _by_name(found: Sequence[Gallery]) -> dict[str, Gallery]:
    return {here.family.benchmark.name: here for here in found}


EXAMPLE_GALLERIES = Experiment(
    "example_galleries",
    load,
    figures=(
        Drawing(
            "examples", "Examples that pruning affects the most and the least", _draw,
            mislabelled_reading, each=_by_name,
        ),
    ),
    tables=(levels_table,),
)  # fmt: skip
