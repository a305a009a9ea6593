"""What accuracy_surface shows: planes through pretrained, pruned and retrained networks."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from scipy.interpolate import RegularGridInterpolator

from tfprune import store
from tfprune.measures.statistics import difference
from tfprune.papers.drawings.plane import Plane
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import SMALL
from tfprune.report import style, tables, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Figure, draw
from tfprune.report.summary import Beside
from tfprune.report.tables import Table, mean_std, measured, plus_minus

_PRUNED, _RETRAINED = "distance_pretrained_pruned", "distance_pretrained_retrained"
_DISTANCES = {
    _PRUNED: "‖W* − Wp‖", _RETRAINED: "‖W* − Wr‖", "distance_pruned_retrained": "‖Wp − Wr‖"
}  # fmt: skip
_TO_PRUNED, _TO_RETRAINED = "least_accuracy_to_pruned", "least_accuracy_to_retrained"
_LEAST = {_TO_PRUNED: "Wp", _TO_RETRAINED: "Wr"}
_RETRAINING = {"finetune": "fine-tuned", "lr_rewind": "learning rate rewound"}
# PM 3: five cycles after pretraining; the small network trains for the epochs of all.
_SMALL_EPOCHS = 6 * utility.EPOCHS
_METRIC = "val_accuracy_percent"
# Structure -> before the method in the published numbers, what is pruned, and which share of it
# PM 3's five cycles leave; networks with another share have no number of table 1's.
_PRINTED = {"weights": ("", "weights", 0.7**5), "channels": ("channel_", "filters", 0.8**5)}
# Points of the straight line that accuracy is read at between two networks.
_BETWEEN = 101


def load(results: pd.DataFrame, folder: epath.Path) -> pd.DataFrame:
    """Every trial of the experiment.

    Returns:
      The rows of results.csv, weights before channels, fine-tuning before rewinding, by level and
      seed; with `name` of a trial, what is pruned and how it is retrained, and the settings that
      vary besides; `learned`, the data, the model and the noise, in words; and, of trunks, what
      `surfaces` adds, NaN where no plane was measured.

    Raises:
      InputError: a file is damaged.
    """
    order = {"structure": False, "retrain": True, "trial": True, "level": True, "seed": True}
    rows = results.sort_values([*order], ascending=[*order.values()])
    rows["name"] = rows["structure"] + ", " + rows["retrain"].replace(_RETRAINING)
    for name, alike in rows.groupby("name"):
        if alike["trial"].nunique() > 1:
            rows.loc[alike.index, "name"] = alike["trial"].map(trials.names(alike)) + f": {name}"
    for trial, own in rows.groupby("trial"):
        rows.loc[own.index, "learned"] = trials.names(own)[str(trial)]
    found = surfaces(folder, rows[rows["branch"] == ""])
    return rows.join(found[found.columns.difference(rows.columns)])


def surfaces(folder: epath.PathLike, rows: pd.DataFrame) -> pd.DataFrame:
    """Those of rows of results.csv whose planes were measured.

    Returns:
      The rows, with their `grid`, train accuracy on the plane through a cycle's three networks, by
      y and x, float64 [Y, X] in [0, 1], NaN where a cell is not measured; `points`, "W*", "Wp" and
      "Wr" -> (x, y); `path`, x and y [networks, 2] of the training so far, in its order; what
      pruning has `left`, in words ("34% of filters, 12% of weights"); least_accuracy_to_pruned and
      _to_retrained, on the straight lines from W*, NaN where they leave the grid or meet a hole.

    Raises:
      InputError: a file is damaged.
    """
    each = [_surface(folder, rows.iloc[n : n + 1]) for n in range(len(rows))]
    found = pd.DataFrame(each, rows.index, ["grid", "points", "path", "left", *_LEAST])
    return rows.join(found).dropna(subset="grid")


def _surface(folder: epath.PathLike, row: pd.DataFrame) -> dict[str, Any]:
    """Of one row; nothing if it names none."""
    cells = store.read_measurements(folder, row, "plane", ("x", "y", "train_accuracy"))
    if cells.empty:
        return {}
    cells = cells.drop_duplicates(["x", "y"], keep="last")
    grid = cells.pivot(index="y", columns="x", values="train_accuracy")
    pruned_x, *retrained = row[["pruned_x", "retrained_x", "retrained_y"]].iloc[0].astype(float)
    points = {"W*": (0.0, 0.0), "Wp": (pruned_x, 0.0), "Wr": tuple(retrained)}
    path = store.read_measurements(folder, row, "trajectory", ("cycle", "x", "y"))
    if len(path):  # Within a cycle their names are in the order of training, too.
        path = path.sort_values(["cycle", "network"])
    left = [f"{tables.percent_text(share)}% of {what}" for what, share in left_of(row).items()]
    least = {name: _least_between(grid, points["W*"], points[end]) for name, end in _LEAST.items()}
    seen = {"grid": grid, "points": points, "path": path[["x", "y"]].to_numpy(float)}
    return seen | {"left": ", ".join(left), **least}


def _least_between(grid: pd.DataFrame, start: Sequence[float], end: Sequence[float]) -> float:
    """The lowest accuracy on the straight line between two places, read bilinearly."""
    line, sides = np.linspace(start, end, _BETWEEN), (grid.index, grid.columns)
    read = RegularGridInterpolator(sides, grid.to_numpy(float), bounds_error=False)
    return float(read(line[:, ::-1]).min())


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


# ---------------------------------------------------------------- figures
_LAST = "{name},\ncycle {level}, seed\N{NO-BREAK SPACE}{seed}\n{left} left"


def _said(row: Mapping[Any, Any]) -> str:
    left = row["left"].replace(", ", "\n")
    retrained, pruned = (f"{row[name]:#.4g}" for name in (_RETRAINED, _PRUNED))
    return f"cycle {row['level']}\n{left}\n‖W*−Wr‖ {retrained}\n‖W*−Wp‖ {pruned}"


def _drawn(rows: pd.DataFrame, last: bool) -> pd.DataFrame:
    """The planes of the first seed of a trial: of the last cycle, or of all where several are."""
    rows = rows.dropna(subset="grid")
    rows = rows[rows["seed"] == rows.groupby("trial")["seed"].transform("min")]
    rows = _last(rows) if last else rows[rows.groupby("trial")["level"].transform("nunique") > 1]
    say = _LAST.format_map if last else _said
    return rows.assign(
        name=rows["name"] + ", seed\N{NO-BREAK SPACE}" + rows["seed"].astype(str),
        title=[say(row) for row in rows.to_dict("records")],
        cycle=rows["level"].astype("category"),  # A trial may lack its first cycles.
    )


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every trial's last cycle that was measured."""
    rows = rows.dropna(subset="grid")
    return rows[rows["level"] == rows.groupby("trial")["level"].transform("max")]


def png(rows: pd.DataFrame) -> bytes:
    """A row of `surfaces` as a picture of its own; the same one gives the same bytes."""
    titles = [f"seed {row['seed']}, {_said(row)}" for row in rows.to_dict("records")]
    made, data = draw(_ALONE, rows.assign(title=titles))[0], io.BytesIO()
    assert made is not None
    with style.house_style():
        made.savefig(data, format="png", dpi=style.DPI, metadata={"Software": None})
    return data.getvalue()


# ---------------------------------------------------------------- readings
def between_reading(rows: pd.DataFrame) -> str:
    """How low train accuracy gets between pretrained and retrained networks, in one sentence."""
    said = []
    for name, own in _last(rows).groupby("name", sort=False):
        gap = difference(own[_TO_RETRAINED])
        said += [f"{plus_minus(gap.mean, gap.std)}% with {name!s}"] * bool(gap.n)
    if not said:
        return "No plane holds the whole line from a pretrained to a retrained network."
    return (
        "On the straight line from the pretrained to the last retrained network, train accuracy "
        f"is at least {'; '.join(said)}; PM sees a region of high accuracy join them for weights, "
        "and perhaps separate basins for channels."
    )


def distance_reading(rows: pd.DataFrame) -> str:
    """How much farther than the pruned network the retrained one is, in one sentence."""
    means = _last(rows).groupby("name", sort=False)[[_RETRAINED, _PRUNED]].mean()
    said = (
        f"{own[_RETRAINED]:#.4g} and {own[_PRUNED]:#.4g} with {name}"
        for name, own in means.iterrows()
    )
    return (
        "In the last cycle, the retrained and the pruned network lie from the pretrained one at "
        f"{'; '.join(said)}; in PM, retraining moves hardly farther away."
    )


# ---------------------------------------------------------------- tables
def table_1(rows: pd.DataFrame) -> Table:
    """Networks after the last cycle, and small ones beside them, with what each has left."""
    what = "networks after the last pruning cycle beside small ones of as many weights"
    of_trial = rows.groupby("trial", sort=False)
    return utility.beside_table(1, what, [row for _, own in of_trial for row in _beside(own)])


def _beside(trial: pd.DataFrame) -> Iterator[Beside]:
    first, trunk = trial.iloc[0], trial[trial["branch"] == ""]
    last = int(trunk["level"].max())
    prefix, counted, in_paper = _PRINTED[first["structure"]]
    pruned = trunk[trunk["level"] == last]
    small = trial[(trial["branch"] == SMALL) & (trial["level"] == last)]
    # Of a small network single weights are pruned, whatever is of its twin.
    weights = {"weights": float(small["weights_remaining"].mean())}
    pruned_left = left_of(pruned)
    as_many = abs(pruned_left.get(counted, math.nan) - in_paper) <= utility.SAME_SHARE
    at = f"level_{last}" if as_many else ""
    for network, rows, method, left, other, epochs in (
        ("pruned and retrained", pruned, first["retrain"], pruned_left, small, utility.EPOCHS),
        (SMALL, small, SMALL, weights, small.iloc[:0], _SMALL_EPOCHS),
    ):
        labels = {"trial": first["name"], "cycle": str(last), "network": network}
        for kind in ("filters", "weights"):
            labels[f"{kind} left (%)"] = tables.percent_text(left[kind]) if kind in left else ""
        if last and len(rows):
            yield utility.beside(
                1, labels, rows, _METRIC, prefix + method, at, epochs,
                utility.values_of(other, _METRIC), set(trunk["seed"]),
            )  # fmt: skip


def distance_table(rows: pd.DataFrame) -> Table:
    """Distances by cycle, and the lowest accuracy between the networks, mean ± std over seeds."""
    measured_rows, keys = rows.dropna(subset="grid"), ("trial", "structure", "retrain", "level")
    numbers = [
        row | {"missing_seeds": utility.missing(rows, own), "name": own["name"].iloc[0]}
        for row, own in utility.described_by(measured_rows, keys, (*_DISTANCES, *_LEAST))
    ]
    shown: dict[str, Any] = {"trial": "name", "cycle": "level"}
    shown |= {heading: mean_std(name, measured) for name, heading in _DISTANCES.items()}
    for name, end in _LEAST.items():
        shown[f"least, W* to {end} (%)"] = mean_std(name, plus_minus)
    shown |= {"missing seeds": "missing_seeds", "seeds": "n"}
    title = (
        "Distances between pretrained (W*), pruned (Wp) and retrained (Wr) networks by cycle, and "
        "the lowest train accuracy on the straight lines from W*, mean ± std over seeds"
    )
    return tables.of_rows("distances", title, numbers, shown, ("trial", "cycle"))


def accuracy_table(rows: pd.DataFrame) -> Table:
    """As of every experiment, trials called as in the figures."""
    table = tables.accuracy_table(rows)
    shown = table.shown.drop(columns=["trial", "criterion", "retrain"], errors="ignore")
    names = dict(rows[["trial", "name"]].to_numpy())
    if len(names) > 1:
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
