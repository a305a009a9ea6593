"""The report of accuracy_surface: PM figures 6 and 16, table 1: planes through three networks."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.interpolate import RegularGridInterpolator

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables, trials
from tfprune.results import figures
from tfprune.results import utility_curves as utility
from tfprune.results.utility_curves import Compared

EXPERIMENT = "accuracy_surface"
PLANE, TRAJECTORY = "plane", "trajectory"
PLANE_COLUMNS = ("row", "column", "x", "y", "train_accuracy")
TRAJECTORY_COLUMNS = ("cycle", "x", "y", "distance")
POINTS = ("pruned_x", "retrained_x", "retrained_y")
DISTANCES = {
    "distance_pretrained_pruned": "‖W* − Wp‖",
    "distance_pretrained_retrained": "‖W* − Wr‖",
    "distance_pruned_retrained": "‖Wp − Wr‖",
}
CHANNELS = "channels"
_LEFT = ("filters", "weights")
_RETRAINING = {"finetune": "fine-tuned", "lr_rewind": "learning rate rewound"}
# PM 3: five cycles of 200 epochs after 200 of pretraining; the small network trains for all.
_CYCLES, _EPOCHS = 5, 200
_METRIC = "val_accuracy_percent"
_ORDER = {"pretrained": 0, "pruned": 1, "retrained": 2}
_MARKS = {
    "W*": ("*", 15, "pretrained, W*"),
    "Wp": ("v", 9, "pruned, Wp"),
    "Wr": ("o", 8, "retrained, Wr"),
}
# Settings that the name of a trial tells.
_SAID = ("trial", "criterion", "retrain")
# Points of the straight line that accuracy is read at between two networks.
_BETWEEN = 101


@dataclass(frozen=True)
class Surface:
    """Train accuracy on the plane through one cycle's three networks, of one seed.

    Attributes:
      level: the cycle.
      seed: the seed.
      x: float64 [X], increasing, of the grid.
      y: float64 [Y], likewise.
      accuracy: float64 [Y, X], in [0, 1]; NaN where a cell is not measured.
      points: "W*", "Wp" and "Wr" -> (x, y).
      distances: column of `DISTANCES` -> length.
      left: what pruning has left, in words: "34% of filters, 12% of weights".
      trajectory: `cycle, network, x, y, distance`, in the order of training; may be empty.
    """

    level: int
    seed: int
    x: np.ndarray = field(repr=False, compare=False)
    y: np.ndarray = field(repr=False, compare=False)
    accuracy: np.ndarray = field(repr=False, compare=False)
    points: Mapping[str, tuple[float, float]] = field(repr=False, compare=False)
    distances: Mapping[str, float] = field(repr=False, compare=False)
    trajectory: pd.DataFrame = field(repr=False, compare=False)
    left: str = field(repr=False, compare=False)

    def least_between(self, first: str = "W*", second: str = "Wr") -> float:
        """The lowest train accuracy on the straight line between two networks, in [0, 1].

        Read from the grid bilinearly; NaN where the line leaves it or meets a missing cell.
        """
        ends = np.array([self.points[first], self.points[second]])
        share = np.linspace(0, 1, _BETWEEN)[:, None]
        line = (1 - share) * ends[0] + share * ends[1]
        read = RegularGridInterpolator((self.y, self.x), self.accuracy, bounds_error=False)
        return float(read(line[:, ::-1]).min())


@dataclass(frozen=True)
class Cycles:
    """The pruning cycles of one trial.

    Attributes:
      trial: the trial.
      name: what is pruned and how it is retrained, and the settings that vary besides.
      learned: the data, the model and the noise, in words.
      structure: "weights" or "channels".
      retrain: as its flag.
      rows: the trunk's rows of results.csv.
      small: those of the small networks.
      surfaces: of every seed and level that were measured.
    """

    trial: str
    name: str
    learned: str
    structure: str
    retrain: str
    rows: pd.DataFrame = field(repr=False, compare=False)
    small: pd.DataFrame = field(repr=False, compare=False)
    surfaces: tuple[Surface, ...] = field(repr=False, compare=False)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted(int(seed) for seed in self.rows["seed"].unique()))

    def drawn(self) -> list[Surface]:
        """The surfaces of the first seed that has any, by cycle."""
        first = min((surface.seed for surface in self.surfaces), default=None)
        found = [surface for surface in self.surfaces if surface.seed == first]
        return sorted(found, key=lambda surface: surface.level)


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the files its rows name.

    Returns:
      The figures there are data for, the last cycle's planes first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = cycles(store.read_results(output_dir), output_dir)
    drawn: list[figures.Drawing] = [
        (
            "planes",
            "Train accuracy on the plane through pretrained, pruned and retrained networks",
            between_reading(found),
            "PM figure 6",
            last_planes(found),
        ),
        (
            "cycles",
            "The planes of all pruning cycles",
            distance_reading(found),
            "PM figure 16",
            planes_by_cycle(found),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """PM table 1, ours beside the paper's; distances by cycle; accuracy of all networks.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    found = cycles(results, output_dir)
    compared = [row for trial in found for row in _compared(trial)]
    made = []
    if compared:
        title = (
            "PM table 1, networks after the last pruning cycle beside small ones of as many weights"
        )
        made.append(utility.comparison_table(f"{EXPERIMENT}_table_1", title, compared))
    if any(trial.surfaces for trial in found):
        made.append(distance_table(found))
    return [*made, _accuracy_table(mine, found)]


def cycles(results: pd.DataFrame, output_dir: epath.PathLike) -> list[Cycles]:
    """Every trial of the experiment; weights before channels, fine-tuning before rewinding.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    found = []
    for trial, name in _names(mine).items():
        own = mine[mine["trial"] == trial].sort_values(["level", "seed"])
        trunk = utility.stages(own, utility.TRUNK)
        structure, retrain = _kind(own)
        surfaces = tuple(_surfaces(output_dir, trunk))
        small = utility.stages(own, utility.SMALL)
        learned = trials.names(own)[trial]
        found.append(Cycles(trial, name, learned, structure, retrain, trunk, small, surfaces))
    order = list(_RETRAINING)
    found.sort(
        key=lambda c: (
            c.structure == CHANNELS,
            order.index(c.retrain) if c.retrain in order else len(order),
        )
    )
    return found


def _kind(rows: pd.DataFrame) -> tuple[str, str]:
    """(weights or channels, how it is retrained) of a trial's rows."""
    first = rows.iloc[0]
    structure = str(first.get("structure") or "weights")
    return structure if structure != "nan" else "weights", str(first.get("retrain", ""))


def _names(results: pd.DataFrame) -> dict[str, str]:
    """What a trial is called: its kind, and other settings where trials of its kind differ."""
    kinds = {str(t): _kind(rows) for t, rows in results.groupby("trial", sort=False)}
    names: dict[str, str] = {}
    for kind in dict.fromkeys(kinds.values()):
        alike = [trial for trial, own in kinds.items() if own == kind]
        text = ", ".join(part for part in (kind[0], _RETRAINING.get(kind[1], kind[1])) if part)
        called = trials.names(results[results["trial"].isin(alike)])
        names |= {t: f"{called[t]}: {text}" if len(alike) > 1 else text for t in alike}
    return names


def _surfaces(output_dir: epath.PathLike, rows: pd.DataFrame) -> Iterable[Surface]:
    for index in range(len(rows)):
        one = rows.iloc[index : index + 1]
        found = surface_of(output_dir, one)
        if found is not None:
            yield found


def surface_of(output_dir: epath.PathLike, row: pd.DataFrame) -> Surface | None:
    """The surface that one row of results.csv names; None if it names none.

    Raises:
      InputError: a file is damaged.
    """
    cells = utility.read(output_dir, row, PLANE, PLANE_COLUMNS)
    if cells.empty or any(name not in row for name in (*POINTS, *DISTANCES)):
        return None
    cells = cells.drop_duplicates(["row", "column"], keep="last")
    grid = cells.pivot(index="row", columns="column", values="train_accuracy")
    x, y = cells.groupby("column")["x"].first(), cells.groupby("row")["y"].first()
    values = row.iloc[0]
    pruned_x, retrained_x, retrained_y = (float(values[name]) for name in POINTS)
    trajectory = utility.read(output_dir, row, TRAJECTORY, TRAJECTORY_COLUMNS)
    if len(trajectory):
        order = trajectory["network"].map(_ORDER)
        trajectory = trajectory.assign(order=order).sort_values(["cycle", "order"])
    return Surface(
        int(values["level"]),
        int(values["seed"]),
        x.to_numpy(float),
        y.to_numpy(float),
        grid.to_numpy(float),
        {"W*": (0.0, 0.0), "Wp": (pruned_x, 0.0), "Wr": (retrained_x, retrained_y)},
        {name: float(values[name]) for name in DISTANCES},
        trajectory,
        ", ".join(f"{_percent(share)}% of {what}" for what, share in left_of(row).items()),
    )


def left_of(rows: pd.DataFrame) -> dict[str, float]:
    """What pruning has left of networks, means over these rows of results.csv, in [0, 1].

    Of single weights those that the masks leave. Of channels the filters, and the weights that are
    not dead without the others (`tfprune.pruning.shrink.live_weights`): both shares say something
    else, and only the second compares with a network of single weights.

    Returns:
      "filters", where these were pruned, and "weights" -> share; NaN if results.csv has none.
    """
    filters = _mean(rows, "filters_remaining")
    if math.isnan(filters):
        return {"weights": _mean(rows, "weights_remaining")}
    return {"filters": filters, "weights": _mean(rows, "live_weights_remaining")}


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].mean()) if column in rows else math.nan


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


# ---------------------------------------------------------------- figures
def last_planes(found: Sequence[Cycles]) -> Figure | None:
    """Train accuracy on the plane of the last cycle, a panel per trial (PM figure 6).

    Colours always go from 0 to 100%. Of the first seed that was measured; the line is the
    training of all cycles, seen from this plane.
    """
    panels = [(trial, trial.drawn()[-1]) for trial in found if trial.surfaces]
    if not panels:
        return None
    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    with style.house_style():
        figure = style.new_figure(4.1 * columns + 1.1, 3.7 * lines + 0.6)
        grid = figure.subplots(lines, columns, squeeze=False)
        flat = list(grid.flatten())
        for axes in flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (trial, surface) in zip(flat, panels, strict=False):
            mesh = draw(axes, surface)
            text = f"{trial.name}, cycle {surface.level}, seed {surface.seed}"
            axes.set_title(f"{style.wrapped(text, 42)}\n{surface.left} left")
        _name(figure, [trial for trial, _ in panels])
        figure.colorbar(mesh, ax=grid, label="Train accuracy (%)", shrink=0.9)
        figures.legend_below(figure, _handles([surface for _, surface in panels]))
    return figure


def planes_by_cycle(found: Sequence[Cycles]) -> Figure | None:
    """The planes of all cycles, a row per trial, titled with both distances (PM figure 16)."""
    lines = [(trial, surfaces) for trial in found if len(surfaces := trial.drawn()) > 1]
    if not lines:
        return None
    columns = max(len(surfaces) for _, surfaces in lines)
    with style.house_style():
        figure = style.new_figure(2.75 * columns + 1.0, 3.2 * len(lines) + 0.6)
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for number, (trial, surfaces) in enumerate(lines, start=1):
            line = grid[number - 1]
            for axes in line[len(surfaces) :]:
                axes.set_axis_off()
            for axes, surface in zip(line, surfaces, strict=False):
                mesh = draw(axes, surface)
                axes.set_title(_distances(surface), loc="center", fontsize=9.5)
                axes.set_ylabel("")
                axes.set_xlabel("Distance from W*" if number == len(lines) else "")
            name = style.wrapped(f"{trial.name}, seed {surfaces[0].seed}", 24)
            line[0].set_ylabel(f"{name}\n\nAcross", fontsize=9.5)
        figure.colorbar(mesh, ax=grid, label="Train accuracy (%)", shrink=0.9)
        _name(figure, [trial for trial, _ in lines])
        shown = [surface for _, surfaces in lines for surface in surfaces]
        figures.legend_below(figure, _handles(shown))
    return figure


def _name(figure: Figure, found: Sequence[Cycles]) -> None:
    """Says what was learned, where it is the same in all panels."""
    names = {trial.learned for trial in found}
    if len(names) == 1:
        figure.suptitle(names.pop(), fontsize=10.5)


def _distances(surface: Surface) -> str:
    retrained = surface.distances["distance_pretrained_retrained"]
    pruned = surface.distances["distance_pretrained_pruned"]
    left = surface.left.replace(", ", "\n")
    return f"cycle {surface.level}\n{left}\n‖W*−Wr‖ {retrained:#.4g}\n‖W*−Wp‖ {pruned:#.4g}"


def draw(axes: Axes, surface: Surface) -> QuadMesh:
    """A surface as a heat map from 0 to 100%, with its three networks and the trajectory.

    Both axes are lengths in weight space; each has its own scale, since Wr is often near Wp.
    """
    mesh = axes.pcolormesh(
        surface.x,
        surface.y,
        100 * surface.accuracy,
        shading="nearest",
        cmap="viridis",
        vmin=0,
        vmax=100,
    )
    limits = axes.get_xlim(), axes.get_ylim()
    if len(surface.trajectory):
        path = surface.trajectory
        axes.plot(path["x"], path["y"], color="white", linewidth=2.6)
        axes.plot(path["x"], path["y"], color=style.BLACK, linewidth=1.1, marker=".")
    for name, (marker, size, _) in _MARKS.items():
        x, y = surface.points[name]
        axes.plot(
            x,
            y,
            marker=marker,
            markersize=size,
            markerfacecolor="white",
            markeredgecolor=style.BLACK,
            markeredgewidth=1.1,
            linestyle="",
            zorder=5,
        )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    axes.grid(False)
    axes.set_xlabel("Distance from W* towards Wp")
    axes.set_ylabel("Distance across, towards Wr")
    return mesh


def png(surface: Surface) -> bytes:
    """One surface as a picture of its own; the same surface gives the same bytes."""
    data = io.BytesIO()
    with style.house_style():
        figure = style.new_figure(5.2, 4.4)
        axes = figure.subplots()
        mesh = draw(axes, surface)
        axes.set_title(f"seed {surface.seed}, {_distances(surface)}")
        figure.colorbar(mesh, ax=axes, label="Train accuracy (%)")
        figures.legend_below(figure, _handles([surface]))
        figure.savefig(data, format="png", dpi=style.DPI, metadata={"Software": None})
    return data.getvalue()


def _handles(surfaces: Sequence[Surface]) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=marker,
            markersize=size,
            markerfacecolor="white",
            markeredgecolor=style.BLACK,
            label=label,
        )
        for marker, size, label in _MARKS.values()
    ]
    if any(len(surface.trajectory) for surface in surfaces):
        handles.append(
            Line2D([], [], color=style.BLACK, marker=".", label="cycles so far, projected")
        )
    return handles


# ---------------------------------------------------------------- readings
def between_reading(found: Sequence[Cycles]) -> str:
    """How low train accuracy gets between pretrained and retrained networks, in one sentence."""
    said = []
    for trial in found:
        last = max((surface.level for surface in trial.surfaces), default=0)
        values = [s.least_between() for s in trial.surfaces if s.level == last]
        gap = statistics.difference(values)
        if gap.n:
            least = tables.plus_minus([gap.mean], [gap.std])[0]
            said.append(f"{least}% with {trial.name}")
    if not said:
        return "No surface is there yet on which pretrained and retrained networks are joined."
    return (
        "On the straight line from the pretrained to the last retrained network, train accuracy "
        f"is at least {'; '.join(said)}; PM sees a region of high accuracy join them for weights, "
        "and perhaps separate basins for channels."
    )


def distance_reading(found: Sequence[Cycles]) -> str:
    """How much farther than the pruned network the retrained one is, in one sentence."""
    said = []
    for trial in found:
        last = max((surface.level for surface in trial.surfaces), default=0)
        here = [s.distances for s in trial.surfaces if s.level == last]
        if here:
            pruned, retrained = (
                float(np.mean([d[name] for d in here]))
                for name in ("distance_pretrained_pruned", "distance_pretrained_retrained")
            )
            said.append(f"{retrained:#.4g} and {pruned:#.4g} with {trial.name}")
    if not said:
        return "No distances are there yet."
    return (
        "In the last cycle, the retrained and the pruned network lie from the pretrained one at "
        f"{'; '.join(said)}; in PM, retraining moves hardly farther away."
    )


# ---------------------------------------------------------------- tables
def _compared(trial: Cycles) -> list[Compared]:
    """The last cycle, and the small network beside it (PM table 1), with what each has left."""
    levels = trial.rows.loc[trial.rows["level"] > 0, "level"]
    if levels.empty:
        return []
    last = int(levels.max())
    prefix = "channel_" if trial.structure == CHANNELS else ""
    pruned = utility.stages(trial.rows, utility.TRUNK, last)
    small = utility.stages(trial.small, utility.SMALL, last)
    beside = utility.values_of(small, _METRIC)
    made = []
    for network, rows, method, against, epochs in (
        ("pruned and retrained", pruned, trial.retrain, beside, _EPOCHS),
        ("small", small, "small", {}, (_CYCLES + 1) * _EPOCHS),
    ):
        if rows.empty:
            continue
        own, values = rows.iloc[0].to_dict(), utility.values_of(rows, _METRIC)
        # Of a small network single weights are pruned, whatever is of its twin.
        left = {"weights": _mean(rows, "weights_remaining")} if rows is small else left_of(rows)
        about = {"trial": trial.name, "cycle": str(last), "network": network}
        about |= {f"{w} left (%)": _percent(left[w]) if w in left else "" for w in _LEFT}
        made.append(
            Compared(
                about,
                _METRIC,
                values,
                utility.printed(1, own, f"{prefix}{method}", f"level_{last}", _METRIC),
                against,
                utility.unlike_the_paper(rows, epochs),
                tuple(sorted(set(trial.seeds) - set(values))),
            )
        )
    return made


def distance_table(found: Sequence[Cycles]) -> tables.Table:
    """Distances by cycle, and the lowest accuracy between the networks, mean ± std over seeds."""
    numbers, shown = [], []
    for trial in found:
        for level in sorted({surface.level for surface in trial.surfaces}):
            here = [surface for surface in trial.surfaces if surface.level == level]
            row: dict[str, Any] = {"trial": trial.trial, "structure": trial.structure}
            row |= {"retrain": trial.retrain, "level": level, "n": len(here)}
            text = {"trial": trial.name, "cycle": str(level)}
            for name, heading in DISTANCES.items():
                value = statistics.difference([surface.distances[name] for surface in here])
                row |= {f"{name}_mean": value.mean, f"{name}_std": value.std}
                text[heading] = tables.measured([value.mean], [value.std])[0]
            for end, heading in (("Wp", "W* to Wp"), ("Wr", "W* to Wr")):
                least = statistics.difference(
                    [surface.least_between("W*", end) for surface in here]
                )
                name = "pruned" if end == "Wp" else "retrained"
                row |= {f"least_accuracy_to_{name}_mean": least.mean}
                row |= {f"least_accuracy_to_{name}_std": least.std}
                text[f"least, {heading} (%)"] = tables.plus_minus([least.mean], [least.std])[0]
            missing = sorted(set(trial.seeds) - {surface.seed for surface in here})
            row["missing_seeds"] = text["missing seeds"] = ", ".join(map(str, missing))
            numbers.append(row)
            shown.append({**text, "seeds": str(len(here))})
    frame = pd.DataFrame(shown, dtype="object")
    if not frame["missing seeds"].ne("").any():
        frame = frame.drop(columns="missing seeds")
    title = (
        "Distances between pretrained (W*), pruned (Wp) and retrained (Wr) networks by cycle, and "
        "the lowest train accuracy on the straight lines from W*, mean ± std over seeds"
    )
    name = f"{EXPERIMENT}_distances"
    return tables.Table(name, title, pd.DataFrame(numbers), frame, ("trial", "cycle"))


def _accuracy_table(results: pd.DataFrame, found: Sequence[Cycles]) -> tables.Table:
    """As of every experiment, trials called as in the figures."""
    table = tables.accuracy_table(results, f"{EXPERIMENT}_accuracy")
    if len(found) < 2 or set(table.labels) - {*_SAID, "branch"}:
        return table
    names = {trial.trial: trial.name for trial in found}
    kept = table.shown.drop(columns=[c for c in _SAID if c in table.shown])
    kept.insert(0, "trial", table.numbers["trial"].map(names))
    labels = ("trial", *(c for c in table.labels if c == "branch"))
    return tables.Table(table.name, table.title, table.numbers, kept, labels)
