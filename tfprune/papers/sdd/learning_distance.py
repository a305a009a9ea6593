"""What learning_distance shows: distance from initialization and accuracy, sparse and re-dense."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from etils import epath

from tfprune.measures import descent, statistics
from tfprune.measures.statistics import Correlation
from tfprune.papers.sdd import networks
from tfprune.papers.sdd.networks import TRUNK, Networks, Study, name
from tfprune.report import grammar, readings, style, tables
from tfprune.report.accuracy import LAST, SPARSITY, columns_of, from_zero, percent
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Mark, Panel, Scale
from tfprune.report.summary import concatenated
from tfprune.report.tables import Table, mean_std, sparsity_percent

DISTANCE = "distance_from_init"
_QUANTITIES = {LAST: "accuracy", DISTANCE: "distance"}
_COLORS = {DISTANCE: style.BLUE, LAST: style.VERMILLION}
_DENSE_DASHES = ("-", "-.", ":")
# Labels of crossings that are closer than this share of the axis would overlap.
_LABEL_ROOM = 0.07
_GAP = "sparse minus re-dense"


def load(results: pd.DataFrame, folder: epath.Path) -> Study:
    """Sparse and re-dense networks; no row where no distance was measured."""
    if results[DISTANCE].isna().all():
        results = results.iloc[:0]
    found = networks.study(results, folder, networks.REDENSE)
    return Study(found.rows.assign(network=found.rows["branch"].map(name)), found.networks)


def crossings(trunk: pd.DataFrame, branch: pd.DataFrame, column: str) -> list[float]:
    """The sparsities where two networks' curves cross, on the papers' axis.

    Only where the two differ over seeds on both sides (`descent.crossings`).
    """
    sparse, dense = (
        rows.pivot_table(column, "seed", "level", dropna=False) for rows in (trunk, branch)
    )
    gap = (sparse - dense).reindex(columns=sparse.columns.intersection(dense.columns))
    remaining = trunk.groupby("level")["weights_remaining"].mean()
    places = descent.crossings(style.sparsity_position(remaining[gap.columns]), gap)
    return [1 - math.exp(-place) for place in places]


def _pairs(found: Study) -> list[Networks]:
    """The branches that share two levels at least with their trunk."""
    return [n for n in found.networks if len({*n.trunk["level"]} & {*n.rows["level"]}) > 1]


def _series(found: Study) -> Iterator[tuple[pd.DataFrame, str, pd.DataFrame, Correlation]]:
    """(a trial's rows, which series of it, its means over seeds by level, their correlation).

    Of each network, the trunk first; and of the trunk's minus those of each branch, over the seeds
    that have both.
    """
    for _, rows in found.rows.groupby("trial", sort=False):
        known = {
            str(branch): own.set_index(["level", "seed"])[["sparsity", DISTANCE, LAST]]
            for branch, own in rows.groupby("branch", sort=True)
        }
        series = {name(branch): table for branch, table in known.items()}
        series |= {
            _GAP + name(branch).removeprefix(name(networks.REDENSE)): known[TRUNK] - table
            for branch, table in known.items()
            if branch and TRUNK in known
        }
        for called, by_seed in series.items():
            table = by_seed.groupby("level").mean()
            yield rows, called, table, statistics.correlation(table[DISTANCE], table[LAST])


# ---------------------------------------------------------------- over sparsity
def _crossing(column: str) -> Mark:
    """Vertical lines where a quantity's curves cross, labelled above where there is room."""

    def draw(panel: Panel) -> bool:
        networks = dict(list(panel.rows.groupby("branch")))
        trunk = networks.pop(TRUNK, panel.rows.iloc[:0])
        found = sorted(s for own in networks.values() for s in crossings(trunk, own, column))
        low, high = panel.axes.get_xlim()
        ticks, free = {}, low
        for sparsity in found:
            x = float(style.sparsity_position(1 - sparsity))
            panel.axes.axvline(x, color=_COLORS[column], linestyle=":", linewidth=1.4)
            if x >= free:
                free = x + _LABEL_ROOM * (high - low)
                # An empty line lifts those of accuracy above those of distance.
                ticks[x] = sparsity_percent(sparsity) + "\n" * (column == LAST)
        if found:
            side = panel.axes.secondary_xaxis("top")
            side.set_xticks(list(ticks), list(ticks.values()), color=_COLORS[column], fontsize=8)
            side.tick_params(length=0, pad=1)
            side.spines["top"].set_visible(False)
        return bool(found)

    label = f"{_QUANTITIES[column]} curves cross (sparsity, %)"
    return Mark(draw, lambda: grammar.line_handle(label, _COLORS[column], dash=":"), late=True)


def _dashes(names: Sequence[str]) -> dict[str, str]:
    """Sparse networks are dashed, as in the paper."""
    others = [n for n in names if n != name(TRUNK)]
    return {name(TRUNK): "--"} | {n: _DENSE_DASHES[i % 3] for i, n in enumerate(others)}


def crossing_reading(found: Study) -> str:
    """Where the sparse and re-dense curves cross, a sentence per trial and branch."""
    pairs = _pairs(found)
    if not pairs:
        return "There are no two levels yet at which both sparse and re-dense networks are there."
    return "\n".join(f"With {n.name}: " * (len(pairs) > 1) + _crossed(n) for n in pairs)


def _crossed(network: Networks) -> str:
    said = []
    for column, called in _QUANTITIES.items():
        texts = [networks.sparsity_text(s) for s in crossings(network.trunk, network.rows, column)]
        where = f"cross at {' and '.join(texts)} sparsity" if texts else "do not clearly cross"
        said.append(f"the {called} curves {where}")
    both = (network.trunk, network.rows)
    level = max({*network.trunk["level"]} & {*network.rows["level"]})
    ends = [_place(rows[rows["level"] == level]) for rows in both]
    return (
        f"Of sparse and re-dense networks, {' and '.join(said)}; at {network.sparsity(level)} the "
        f"sparse one lies {ends[0]}, the re-dense one {ends[1]}."
    )


def _place(rows: pd.DataFrame) -> str:
    """The distance and the accuracy of a level, in words."""
    distance = tables.measured(rows[DISTANCE].mean(), rows[DISTANCE].std())
    accuracy = tables.plus_minus(rows[LAST].mean(), rows[LAST].std())
    return f"{distance or '?'} from initialization, with {accuracy or '?'}% test accuracy"


# ---------------------------------------------------------------- against each other
def _points(found: Study) -> pd.DataFrame:
    """A point per level of every series; differences in columns of their own."""
    made = []
    for rows, called, table, link in _series(found):
        r = "" if math.isnan(link.pearson) else f": r = {link.pearson:.2f}"
        columns = {DISTANCE: "gap", LAST: "gain"} if called.startswith(_GAP) else {}
        points = table.dropna(subset=[DISTANCE, LAST]).rename(columns=columns)
        points = points.rename_axis("level").reset_index()
        made.append(points.assign(panel=rows["panel"].iloc[0], series=called + r, seed=0))
    return concatenated(made)


def _series_colors(names: Sequence[str]) -> dict[str, str]:
    """Those of the networks; a difference has none of them."""
    own = ((name, _GAP if name.startswith(_GAP) else name.split(":")[0]) for name in names)
    return {n: style.NETWORK_COLORS.get(k.split(",")[0], style.BLACK) for n, k in own}


def _cross(panel: Panel) -> None:
    grammar.at_zero(panel)
    panel.axes.axvline(0, color=style.BLACK, linewidth=0.8)


def correlation_reading(found: Study) -> str:
    """How distance and accuracy go together over levels, a sentence per trial."""
    said: dict[str, list[str]] = {}
    for rows, called, _, link in _series(found):
        how = f"not measurably (n = {link.n})"
        how = how if math.isnan(link.pearson) else f"with {readings.correlated(link)}"
        said.setdefault(rows["panel"].iloc[0], []).append(f"{called} {how}")
    return "\n".join(
        f"With {trial}: " * (len(said) > 1)
        + "Over levels, distance from initialization and last test accuracy correlate for "
        + f"{'; '.join(each)}."
        for trial, each in said.items()
    )


# ---------------------------------------------------------------- tables
def levels_table(found: Study) -> Table:
    """Distance and accuracy at every level."""
    shown: dict[str, Any] = {"network": lambda row: name(row["branch"])} | tables.LEVEL
    shown |= {"distance": mean_std(DISTANCE, tables.measured)}
    shown |= {"last test (%)": mean_std(LAST, tables.plus_minus)} | tables.SEEDS
    title = (
        "ℓ2 distance from initialization and last test accuracy, mean ± std over seeds; re-dense "
        "networks at the sparsity before their masks were lifted"
    )
    numbers = tables.aggregate(found.rows, (DISTANCE, LAST))
    return tables.of_trials("levels", title, numbers, found.rows, shown, ["network"])


def correlation_table(found: Study) -> Table:
    """Correlations of distance and accuracy over levels."""
    rows = [
        {"trial": rows["trial"].iloc[0], "network": called} | dataclasses.asdict(link)
        for rows, called, _, link in _series(found)
    ]
    shown: dict[str, Any] = {
        "network": "network",
        "Pearson's r": tables.text("pearson", "{:+.3f}".format),
        "p (r)": tables.text("pearson_p", "{:.2g}".format),
        "Kendall's τ": tables.text("kendall", "{:+.3f}".format),
        "p (τ)": tables.text("kendall_p", "{:.2g}".format),
        "levels": "n",
    }
    title = (
        "Correlation of distance from initialization and last test accuracy over levels, of means "
        "over seeds, two-sided p-values"
    )
    return tables.of_trials(
        "correlation", title, pd.DataFrame(rows), found.rows, shown, ["network"]
    )


def crossings_table(found: Study) -> Table:
    """Where curves of sparse and re-dense networks cross."""
    rows = [
        (network.trial, network.branch, column, sparsity)
        for network in _pairs(found)
        for column in _QUANTITIES
        for sparsity in crossings(network.trunk, network.rows, column)
    ]
    numbers = pd.DataFrame(rows, columns=["trial", "branch", "quantity", "sparsity"])
    shown = {"quantity": "quantity"} | networks.branch_cell(found, "network")
    shown["sparsity (%)"] = tables.LEVEL["sparsity (%)"]
    title = (
        "Sparsities at which the curves of sparse and re-dense networks cross, both sides apart by "
        "at least one std over seeds"
    )
    return tables.of_trials("crossings", title, numbers, found.rows, shown, ["quantity", "network"])


# fmt: off
_SERIES: dict[str, Any] = {"color": Scale("series", _series_colors),
                           "marker": Scale("series", style.markers), "spread": None}

LEARNING_DISTANCE = Experiment(
    "learning_distance",
    load,
    figures=(
        Figure(
            "curves", "Distance from initialization and test accuracy against sparsity",
            lambda found: found.rows,
            Lines(SPARSITY,
                  (Axis(DISTANCE, "ℓ2 distance from initialization", finish=from_zero),
                   percent(LAST, "Last test accuracy (%)", right=True)),
                  "level", Scale(QUANTITY, _COLORS, _QUANTITIES), dash=Scale("network", _dashes),
                  marks=(_crossing(DISTANCE), _crossing(LAST))),
            crossing_reading, panel="panel", columns=columns_of, size=(7.6, 5.0, 4.2)),
        Figure(
            "correlation", "Test accuracy against distance from initialization", _points,
            (Lines(Axis(DISTANCE, "ℓ2 distance from initialization"),
                   percent(LAST, "Last test accuracy (%)"), "level", **_SERIES),
             Lines(Axis("gap", "Difference in distance, sparse minus re-dense"),
                   Axis("gain", "Difference in last test accuracy\n(points)", 100), "level",
                   marks=(Mark(_cross),), **_SERIES)),
            correlation_reading, panel="panel", beside=True, legend="panel",
            legend_title="A point per level", size=(5.6, 5.2, 3.9)),
    ),
    tables=(levels_table, correlation_table, crossings_table),
)
