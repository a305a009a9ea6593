"""What accuracy_surface shows: planes through pretrained, pruned and retrained networks."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from scipy.interpolate import RegularGridInterpolator

from tfprune.measures.statistics import Difference, difference
from tfprune.papers.drawings.plane import Plane
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import SMALL
from tfprune.report import style, summary, tables, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Figure, draw
from tfprune.report.summary import Beside, described
from tfprune.report.tables import Table, mean_std, measured, plus_minus

_COLUMNS = ("row", "column", "x", "y", "train_accuracy")
_TRAJECTORY = ("cycle", "x", "y", "distance")
_POINTS = ("pruned_x", "retrained_x", "retrained_y")
_PRUNED, _RETRAINED = "distance_pretrained_pruned", "distance_pretrained_retrained"
_DISTANCES = {
    _PRUNED: "‖W* − Wp‖", _RETRAINED: "‖W* − Wr‖", "distance_pruned_retrained": "‖Wp − Wr‖"
}  # fmt: skip
_CHANNELS = "channels"
_RETRAINING = {"finetune": "fine-tuned", "lr_rewind": "learning rate rewound"}
# PM 3: five cycles after pretraining; the small network trains for the epochs of all.
_SMALL_EPOCHS = 6 * utility.EPOCHS
_METRIC = "val_accuracy_percent"
_ORDER = {"pretrained": 0, "pruned": 1, "retrained": 2}
# Points of the straight line that accuracy is read at between two networks.
_BETWEEN = 101


@dataclass(frozen=True, eq=False)
class Surface:
    """Train accuracy on the plane through one cycle's three networks, of one seed.

    Attributes:
      level: the cycle.
      seed: the seed.
      x: float64 [X], increasing, of the grid.
      y: float64 [Y], likewise.
      accuracy: float64 [Y, X], in [0, 1]; NaN where a cell is not measured.
      points: "W*", "Wp" and "Wr" -> (x, y).
      distances: column of results.csv -> length.
      path: x and y `[networks, 2]` of the training so far, in its order; of none, [0, 2].
      left: what pruning has left, in words: "34% of filters, 12% of weights".
    """

    level: int
    seed: int
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    accuracy: np.ndarray = field(repr=False)
    points: Mapping[str, tuple[float, float]]
    distances: Mapping[str, float]
    path: np.ndarray = field(repr=False)
    left: str

    def least_between(self, first: str = "W*", second: str = "Wr") -> float:
        """The lowest train accuracy on the straight line between two networks, in [0, 1].

        Read from the grid bilinearly; NaN where the line leaves it or meets a missing cell.
        """
        line = np.linspace(self.points[first], self.points[second], _BETWEEN)
        read = RegularGridInterpolator((self.y, self.x), self.accuracy, bounds_error=False)
        return float(read(line[:, ::-1]).min())


@dataclass(frozen=True, eq=False)
class Cycles:
    """The pruning cycles of one trial.

    Attributes:
      name: what is pruned and how it is retrained, and the settings that vary besides.
      learned: the data, the model and the noise, in words.
      structure: "weights" or "channels".
      retrain: as its flag.
      rows: the trunk's rows of results.csv.
      small: those of the small networks.
      surfaces: of every seed and level that were measured, by level.
    """

    name: str
    learned: str
    structure: str
    retrain: str
    rows: pd.DataFrame = field(repr=False)
    small: pd.DataFrame = field(repr=False)
    surfaces: tuple[Surface, ...]

    @property
    def trial(self) -> str:
        return str(self.rows["trial"].iloc[0])

    @property
    def seeds(self) -> set[int]:
        return set(self.rows["seed"])

    def drawn(self) -> list[Surface]:
        """The surfaces of the first seed that has any, by cycle."""
        first = min((surface.seed for surface in self.surfaces), default=None)
        return [surface for surface in self.surfaces if surface.seed == first]

    def last(self, value: Callable[[Surface], float]) -> Difference:
        """A number of the last cycle's surfaces over seeds."""
        last = self.surfaces[-1].level if self.surfaces else 0
        return difference([value(surface) for surface in self.surfaces if surface.level == last])


@dataclass(frozen=True, eq=False)
class Found:
    """Weights before channels, fine-tuning before rewinding; and all rows of results.csv."""

    results: pd.DataFrame
    trials: Sequence[Cycles]


def load(results: pd.DataFrame, folder: epath.Path) -> Found:
    """Every trial of the experiment.

    Raises:
      InputError: a file is damaged.
    """
    kinds = {str(trial): _kind(own) for trial, own in results.groupby("trial", sort=False)}
    found = []
    for trial, (structure, retrain) in kinds.items():
        alike = results[results["trial"].map(kinds) == (structure, retrain)]
        own = results[results["trial"] == trial]
        name = f"{structure}, {_RETRAINING.get(retrain, retrain)}"
        if alike["trial"].nunique() > 1:
            name = f"{trials.names(alike)[trial]}: {name}"
        trunk = utility.stages(own)
        each = (surface_of(folder, trunk.iloc[n : n + 1]) for n in range(len(trunk)))
        surfaces = tuple(surface for surface in each if surface)
        learned, small = trials.names(own)[trial], utility.stages(own, SMALL)
        found.append(Cycles(name, learned, structure, retrain, trunk, small, surfaces))
    order = [*_RETRAINING, *(cycles.retrain for cycles in found)]
    found.sort(key=lambda own: (own.structure == _CHANNELS, order.index(own.retrain)))
    return Found(results, found)


def _kind(rows: pd.DataFrame) -> tuple[str, str]:
    """(weights or channels, how it is retrained) of a trial's rows."""
    first = rows.iloc[0]
    return _CHANNELS if first.get("structure") == _CHANNELS else "weights", str(first["retrain"])


def surface_of(folder: epath.PathLike, row: pd.DataFrame) -> Surface | None:
    """The surface that one row of results.csv names; None if it names none.

    Raises:
      InputError: a file is damaged.
    """
    cells = utility.read(folder, row, "plane", _COLUMNS)
    if cells.empty:
        return None
    cells = cells.drop_duplicates(["row", "column"], keep="last")
    grid = cells.pivot(index="row", columns="column", values="train_accuracy")
    x, y = cells.groupby("column")["x"].first(), cells.groupby("row")["y"].first()
    values = row.iloc[0]
    pruned_x, retrained_x, retrained_y = (float(values[name]) for name in _POINTS)
    path = utility.read(folder, row, "trajectory", _TRAJECTORY)
    if len(path):
        path = path.assign(order=path["network"].map(_ORDER)).sort_values(["cycle", "order"])
    return Surface(
        int(values["level"]), int(values["seed"]),
        x.to_numpy(float), y.to_numpy(float), grid.to_numpy(float),
        {"W*": (0.0, 0.0), "Wp": (pruned_x, 0.0), "Wr": (retrained_x, retrained_y)},
        {name: float(values[name]) for name in _DISTANCES},
        path[["x", "y"]].to_numpy(float),
        ", ".join(f"{_percent(share)}% of {what}" for what, share in left_of(row).items()),
    )  # fmt: skip


def left_of(rows: pd.DataFrame) -> dict[str, float]:
    """What pruning has left of networks, means over these rows of results.csv, in [0, 1].

    Of single weights those that the masks leave. Of channels the filters, and the weights that are
    not dead without the others (`tfprune.pruning.shrink.live_weights`): both shares say something
    else, and only the second compares with a network of single weights.

    Returns:
      "filters", where these were pruned, and "weights" -> share; NaN if results.csv has none.
    """
    means = rows.reindex(columns=["filters_remaining", "live_weights_remaining"]).mean()
    if math.isnan(means["filters_remaining"]):
        return {"weights": float(rows["weights_remaining"].mean())}
    return dict(zip(("filters", "weights"), means, strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


# ---------------------------------------------------------------- figures
def _said(surface: Surface) -> str:
    left = surface.left.replace(", ", "\n")
    return (
        f"cycle {surface.level}\n{left}\n‖W*−Wr‖ {surface.distances[_RETRAINED]:#.4g}\n"
        f"‖W*−Wp‖ {surface.distances[_PRUNED]:#.4g}"
    )


def _drawn(found: Found, last: bool) -> pd.DataFrame:
    """The planes of the first seed of a trial: of the last cycle, or of all where several are."""
    rows = []
    for cycles in found.trials:
        surfaces = cycles.drawn()
        for surface in surfaces[-1:] if last else surfaces * (len(surfaces) > 1):
            seed = f"seed\N{NO-BREAK SPACE}{surface.seed}"
            about = f"cycle {surface.level}, {seed}\n{surface.left} left"
            row = {"name": f"{cycles.name}, {seed}", "cycle": surface.level}
            row["title"] = f"{cycles.name},\n{about}" if last else _said(surface)
            rows.append(row | {"surface": surface, "learned": cycles.learned})
    made = pd.DataFrame(rows)
    if len(made):  # A trial may lack its first cycles.
        made["cycle"] = pd.Categorical(made["cycle"], sorted(set(made["cycle"])))
    return made


def png(surface: Surface) -> bytes:
    """One surface as a picture of its own; the same surface gives the same bytes."""
    rows = pd.DataFrame([{"surface": surface, "title": f"seed {surface.seed}, {_said(surface)}"}])
    made, data = draw(_ALONE, rows)[0], io.BytesIO()
    assert made is not None
    with style.house_style():
        made.savefig(data, format="png", dpi=style.DPI, metadata={"Software": None})
    return data.getvalue()


# ---------------------------------------------------------------- readings
def between_reading(found: Found) -> str:
    """How low train accuracy gets between pretrained and retrained networks, in one sentence."""
    said = []
    for cycles in found.trials:
        gap = cycles.last(Surface.least_between)
        if gap.n:
            said.append(f"{plus_minus(gap.mean, gap.std)}% with {cycles.name}")
    if not said:
        return "No plane holds the whole line from a pretrained to a retrained network."
    return (
        "On the straight line from the pretrained to the last retrained network, train accuracy "
        f"is at least {'; '.join(said)}; PM sees a region of high accuracy join them for weights, "
        "and perhaps separate basins for channels."
    )


def distance_reading(found: Found) -> str:
    """How much farther than the pruned network the retrained one is, in one sentence."""
    said = []
    for cycles in found.trials:
        retrained = cycles.last(lambda surface: surface.distances[_RETRAINED])
        pruned = cycles.last(lambda surface: surface.distances[_PRUNED])
        if pruned.n:
            said.append(f"{retrained.mean:#.4g} and {pruned.mean:#.4g} with {cycles.name}")
    return (
        "In the last cycle, the retrained and the pruned network lie from the pretrained one at "
        f"{'; '.join(said)}; in PM, retraining moves hardly farther away."
    )


# ---------------------------------------------------------------- tables
def table_1(found: Found) -> Table | None:
    """Networks after the last cycle, and small ones beside them, with what each has left."""
    what = "networks after the last pruning cycle beside small ones of as many weights"
    rows = [row for cycles in found.trials for row in _beside(cycles)]
    return utility.beside_table(1, what, rows)


def _beside(cycles: Cycles) -> Iterator[Beside]:
    last = int(cycles.rows["level"].max())
    prefix = "channel_" if cycles.structure == _CHANNELS else ""
    pruned, small = (rows[rows["level"] == last] for rows in (cycles.rows, cycles.small))
    # Of a small network single weights are pruned, whatever is of its twin.
    weights = {"weights": float(small["weights_remaining"].mean())}
    for network, rows, method, left, other, epochs in (
        ("pruned and retrained", pruned, cycles.retrain, left_of(pruned), small, utility.EPOCHS),
        (SMALL, small, SMALL, weights, small.iloc[:0], _SMALL_EPOCHS),
    ):
        labels = {"trial": cycles.name, "cycle": str(last), "network": network}
        for kind in ("filters", "weights"):
            labels[f"{kind} left (%)"] = _percent(left[kind]) if kind in left else ""
        if last and len(rows):
            yield utility.beside(
                1, labels, rows, _METRIC, prefix + method, f"level_{last}", epochs,
                utility.values_of(other, _METRIC), cycles.seeds,
            )  # fmt: skip


def distance_table(found: Found) -> Table | None:
    """Distances by cycle, and the lowest accuracy between the networks, mean ± std over seeds."""
    ends = {"Wp": "least_accuracy_to_pruned", "Wr": "least_accuracy_to_retrained"}
    rows = []
    for cycles in found.trials:
        for level in dict.fromkeys(surface.level for surface in cycles.surfaces):
            here = [surface for surface in cycles.surfaces if surface.level == level]
            row: dict[str, Any] = {"trial": cycles.trial, "structure": cycles.structure}
            row |= {"retrain": cycles.retrain, "level": level, "n": len(here)}
            for name in _DISTANCES:
                row |= described([s.distances[name] for s in here], name, "mean", "std")
            for end, name in ends.items():
                row |= described([s.least_between("W*", end) for s in here], name, "mean", "std")
            missing = summary.seeds_text(cycles.seeds - {surface.seed for surface in here})
            rows.append(row | {"missing_seeds": missing, "name": cycles.name})
    shown: dict[str, Any] = {"trial": "name", "cycle": "level"}
    shown |= {heading: mean_std(name, measured) for name, heading in _DISTANCES.items()}
    for end, name in ends.items():
        shown[f"least, W* to {end} (%)"] = mean_std(name, plus_minus)
    shown |= {"missing seeds": "missing_seeds", "seeds": "n"}
    title = (
        "Distances between pretrained (W*), pruned (Wp) and retrained (Wr) networks by cycle, and "
        "the lowest train accuracy on the straight lines from W*, mean ± std over seeds"
    )
    return tables.of_rows("distances", title, rows, shown, ("trial", "cycle")) if rows else None


def accuracy_table(found: Found) -> Table:
    """As of every experiment, trials called as in the figures."""
    table = tables.accuracy_table(found.results, "accuracy")
    shown = table.shown.drop(columns=["trial", "criterion", "retrain"], errors="ignore")
    if len(found.trials) > 1:
        names = {cycles.trial: cycles.name for cycles in found.trials}
        shown.insert(0, "trial", table.numbers["trial"].map(names))
    labels = tuple(str(c) for c in shown if c in {"trial", *table.labels})
    return replace(table, shown=shown, labels=labels)


# fmt: off
_BAR = "Train accuracy (%)"
_ALONE = Figure("plane", "", lambda rows: rows, Plane(), panel="title", bar=_BAR,
                size=(5.2, 4.1, 3.6))
ACCURACY_SURFACE = Experiment(
    "accuracy_surface",
    load,
    figures=(
        Figure(
            "planes",
            "Train accuracy on the plane through pretrained, pruned and retrained networks",
            partial(_drawn, last=True), Plane(), between_reading, panel="title",
            above="learned", bar=_BAR, size=(5.2, 4.6, 3.7), letters=42),
        Figure(
            "cycles", "The planes of all pruning cycles", partial(_drawn, last=False),
            Plane("Distance from W*", "Across"), distance_reading, row="name", column="cycle",
            heading="title", name_rows=True, above="learned", bar=_BAR, size=(4, 2.4, 2.9)),
    ),
    tables=(table_1, distance_table, accuracy_table),
)
# fmt: on
