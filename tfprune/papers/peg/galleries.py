"""What example_galleries shows: the images that pruning affects, and at which levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from tfprune import files, store
from tfprune.measures.example_groups import KINDS
from tfprune.papers.drawings import gallery
from tfprune.papers.peg import families
from tfprune.papers.peg.comparisons import printed
from tfprune.papers.peg.families import LR_REWIND, Family
from tfprune.report import readings, tables
from tfprune.report.experiment import Drawing, Experiment
from tfprune.report.tables import Table


class Kind(NamedTuple):
    """The examples of one kind, n of them, the most affected (least affected) first.

    Images are uint8 [n, H, W, C], C 1 or 3; labels, those trained on, and predictions, the majority
    over seeds and the levels used, integers [n]; levels, where losses were measured, integers [L].
    """

    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    levels: np.ndarray


class Gallery(NamedTuple):
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
        measured = self.family.points[self.family.points["examples"] != ""]
        there = measured.groupby("seed")["level"].agg(set)
        return tuple(seed for seed in self.family.seeds if used <= there.get(seed, set()))

    def ends(self, name: str) -> list[float]:
        """The highest and lowest weights remaining of a kind, fractions; NaN without levels."""
        left = list(map(self.family.remaining, self.kinds[name].levels))
        return [max(left), min(left)] if left else [math.nan, math.nan]


def load(results: pd.DataFrame, folder: epath.Path) -> list[Gallery]:
    """The galleries of an output folder; a file that is gone is as one that never was.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    found = []
    names = {kind: [f"{kind}/{name}" for name in Kind._fields] for kind in KINDS}
    for family in families.load(results):
        there = [path for _, path in store.files_there(folder, family.rows(0), "gallery")]
        if family.method == LR_REWIND and there:
            arrays = files.load_arrays(there[0], needed=itertools.chain(*names.values()))
            kinds = {kind: Kind(*(arrays[name] for name in own)) for kind, own in names.items()}
            found.append(Gallery(family, kinds, tuple(map(str, arrays.get("class_names", ())))))
    return found


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _draw(here: Gallery) -> Any:
    parts = {
        f"{readings.start(_words(name))}, by losses at {_range(here.ends(name))}% of weights "
        "remaining": kind[:3]
        for name, kind in here.kinds.items()
        if len(kind.labels)
    }
    return gallery.draw(parts, here.class_names)


def _range(ends: Sequence[float]) -> str:
    """Weights remaining in percent as PEG table 4 prints them: "80-5.5", or "1.4"."""
    percents = [100 * end for end in ends if not math.isnan(end)]
    texts = [f"{end:.2g}" if end < 1 else f"{end:.1f}".removesuffix(".0") for end in percents]
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
    missing = here.family.missing(here.seeds)
    without = f", {missing} not everywhere" if missing else ""
    return (
        "The majority prediction (P) differs from the label (L) in "
        f"{', '.join(counts)} examples{but}; n = {len(here.seeds)} seeds{without}."
    )


def levels_table(found: Sequence[Gallery]) -> Table:
    """The levels at which losses were measured, a row per benchmark and kind (PEG table 4)."""
    shown: dict[str, Any] = {
        "model": "model",
        "noise": "noise",
        "examples": lambda row: _words(row["kind"]),
        "levels": "levels",
        "weights remaining, ours (%)": lambda row: _range([row["highest"], row["lowest"]]),
        "weights remaining, paper (%)": lambda row: _range(
            [row["published_highest"], row["published_lowest"]]
        ),
    }
    title = (
        "Weights remaining at which the losses behind each gallery were measured; the paper's "
        "least affected examples include the dense model, which has no change to average"
    )
    rows = [_row(here, name, kind) for here in found for name, kind in here.kinds.items()]
    labels = ("model", "noise", "examples")
    return tables.of_rows("levels", title, rows, shown | tables.SEEDS, labels)


def _row(here: Gallery, name: str, kind: Kind) -> dict[str, Any]:
    """Fractions, as all numbers of results.csv."""
    mark, (high, low) = here.family.benchmark, here.ends(name)
    cells = (
        printed(4, mark, name, at, "weights_remaining_percent") for at in ("highest", "lowest")
    )
    paper = [cell.mean / 100 if cell else math.nan for cell in cells]
    return {
        "model": mark.panel,
        "noise": mark.noise,
        "kind": name,
        "levels": _runs(np.sort(kind.levels)),
        "highest": high,
        "lowest": low,
        "published_highest": paper[0],
        "published_lowest": paper[1],
        "n": len(here.seeds),
        "missing_seeds": here.family.missing(here.seeds),
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
            mislabelled_reading,
            each=lambda found: {here.family.benchmark.name: here for here in found},
        ),
    ),
    tables=(levels_table,),
)  # fmt: skip
