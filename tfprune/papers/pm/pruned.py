"""What utility_pruned shows: pretrained, pruned and small networks, of as many weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd
from etils import epath

from tfprune import store
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import ACCURACY, AMOUNT, BY_RATIO, MEAN, NETWORK, RISING, SMALL
from tfprune.papers.published import published
from tfprune.report import style, summary, tables, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Figure, Scale
from tfprune.report.summary import Beside, by_seed, described
from tfprune.report.tables import Table, mean_std, measured

PRETRAINED, PRUNED = "pretrained", "pruned and retrained"
# PM 2.2.2: the small network's training repeats the schedule once for the pruned one's retraining.
_EPOCHS = {PRUNED: utility.EPOCHS, SMALL: 2 * utility.EPOCHS}
_LIKENESS = {
    "lower": " (the first is closer, n = {})",
    "higher": " (the second is closer, n = {})",
    "matches": " (which match, n = {})",
    "": "",
}
_LEVEL = ["trial", "level"]
_ABOUT = (*NETWORK, "called", "percent", "network")


@dataclass(frozen=True)
class Found:
    """The networks that levels above 0 leave.

    Attributes:
      results: the rows of results.csv.
      networks: those of pruned and of small networks, by `network`; `percent` is the sparsity.
      measured: as `utility.by_amount`, of the weights that a level leaves.
    """

    results: pd.DataFrame
    networks: pd.DataFrame
    measured: pd.DataFrame


def load(results: pd.DataFrame, folder: epath.Path) -> Found:
    """Every level above 0, by trial.

    Raises:
      InputError: a file is damaged.
    """
    trunk = utility.stages(results[results["level"] > 0]).assign(network=PRUNED)
    small = utility.stages(results, SMALL).assign(network=SMALL)
    sparsity = trunk.groupby(_LEVEL)["sparsity"].mean()
    rows = pd.concat([trunk, small], ignore_index=True).drop(columns="sparsity")
    rows = rows.join(sparsity, on=_LEVEL).dropna(subset=["sparsity"])
    rows = rows.assign(percent=rows["sparsity"].map(tables.sparsity_percent))
    pretrained = rows[rows["network"] == PRUNED].assign(network=PRETRAINED)
    parts = [
        store.read_measurements(folder, networks, column, utility.SUBSET_COLUMNS, _ABOUT)
        for networks, column in ((pretrained, utility.PRETRAINED), (rows, utility.RATIO))
    ]
    found = utility.by_amount(summary.concatenated(parts), _ABOUT)
    found = trials.in_order(found.sort_values("level", kind="stable"), results)
    return Found(results, rows, found)


def distances(measured: pd.DataFrame) -> pd.DataFrame:
    """How far mean utilities are from the pretrained networks', nats.

    Returns:
      trial, level, seed; `pruned` and `small`, the absolute difference of such networks, averaged
      over ablation ratios; `minus_small`, the first minus the second.
    """
    by = [*_LEVEL, "seed"]
    table = measured.pivot(index=[*by, AMOUNT], columns="network", values=MEAN).astype(float)
    table = table.reindex(columns=[PRETRAINED, PRUNED, SMALL])
    gaps = table.sub(table[PRETRAINED], axis=0).abs().groupby(by).mean().reset_index()
    gaps = gaps.rename(columns={PRUNED: "pruned"})
    return gaps.assign(minus_small=gaps["pruned"] - gaps[SMALL])


# ---------------------------------------------------------------- figures
def _panels(found: Found) -> pd.DataFrame:
    rows = found.measured
    named = rows["called"] + ", " if rows["called"].nunique() > 1 else ""
    return rows.assign(heading=named + rows["percent"].astype(str) + "% sparsity")  # Or none.


_COLORS = Scale("network", {PRETRAINED: style.BLACK, PRUNED: style.BLUE, SMALL: style.VERMILLION})
_MARKERS = Scale("network", {PRETRAINED: "o", PRUNED: "s", SMALL: "D"})


def _likeness(found: Found) -> list[dict[str, Any]]:
    """How far pruned and small networks are from the pretrained one, by level."""
    rows, gaps = [], distances(found.measured)
    for (trial, level), networks in found.networks.groupby(_LEVEL, sort=False):
        here = gaps[(gaps["trial"] == trial) & (gaps["level"] == level)]
        values = {name: by_seed(here, name) for name in ("pruned", "small", "minus_small")}
        row = {"trial": trial, "level": level, "sparsity": networks["sparsity"].iloc[0]}
        row |= described(values["pruned"], "pruned") | described(values["small"], "small")
        row |= described(values["minus_small"], "minus_small", *utility.GAP)
        missing = utility.seeds_of(found.results, trial) - values["minus_small"].keys()
        rows.append(row | {"missing_seeds": summary.seeds_text(missing)})
    return rows


def likeness_reading(found: Found) -> str:
    """How far pruned and small networks are from the pretrained one, in one sentence."""
    said, names = [], dict(found.networks[["trial", "called"]].to_numpy())
    for row in _likeness(found):
        if row["pruned_n"] or row["small_n"]:
            pruned, small = (measured(row[f"{n}_mean"]) or "?" for n in ("pruned", "small"))
            rule = _LIKENESS[row["minus_small_verdict"]].format(row["minus_small_n"])
            whose = f" with {names[row['trial']]}" * (len(names) > 1)
            said.append(
                f"{pruned} and {small} nats at "
                f"{tables.sparsity_percent(row['sparsity'])}% sparsity{rule}{whose}"
            )
    if not said:
        return "The utility of pretrained and pruned networks is not measured yet."
    return (
        "The mean utility of pruned-and-retrained and of small networks differs from the "
        f"pretrained network's by {'; '.join(said)} (absolute difference, averaged over ratios)."
    )


# ---------------------------------------------------------------- tables
def table_2(found: Found) -> Table:
    """Validation accuracy and train loss of pruned and of small networks (PM table 2)."""
    what = "pruned and retrained networks beside small ones of as many weights"
    of_level = found.networks.groupby(_LEVEL, sort=False)
    rows = (row for _, here in of_level for row in _beside(here, found.results))
    return utility.beside_table(2, what, list(rows))


def _beside(here: pd.DataFrame, results: pd.DataFrame) -> Iterator[Beside]:
    first = here.iloc[0]
    sparsities = {at: float(at.partition("_")[2]) for at in published("PM", 2)["at"]}
    near = [at for at, s in sparsities.items() if abs(s - first["sparsity"]) <= utility.SAME_SHARE]
    for metric, (network, rows) in product(utility.METRICS, here.groupby("network")):
        small = utility.values_of(here[here["network"] == SMALL], metric)
        labels = {"trial": first["called"], "sparsity (%)": first["percent"], "network": network}
        method, against = (SMALL, {}) if network == SMALL else (first["retrain"], small)
        yield utility.beside(
            2, labels, rows, metric, method, "".join(near), _EPOCHS[str(network)], against,
            utility.seeds_of(results, first["trial"]),
        )  # fmt: skip


def likeness_table(found: Found) -> Table:
    """Whether pruned-and-retrained networks are more like the pretrained one than small ones."""
    rows = _likeness(found)
    shown: dict[str, Any] = {
        "sparsity (%)": lambda row: tables.sparsity_percent(row["sparsity"]),
        "pruned (nats)": mean_std("pruned", measured),
        "small (nats)": mean_std("small", measured),
        "pruned vs small": utility.gap_cell("minus_small"),
        "seeds": "minus_small_n",
        "missing seeds": "missing_seeds",
    }
    title = (
        "How far mean utility is from the pretrained network's, on the weights that the level "
        "leaves: absolute difference, averaged over ratios, mean ± std over seeds; lower where "
        "pruned and retrained networks resemble it more than small ones do, by at least one std"
    )
    numbers = pd.DataFrame(rows if any(row["pruned_n"] + row["small_n"] for row in rows) else [])
    labels = ("sparsity (%)",)
    return tables.of_trials("likeness", title, numbers, found.results, shown, labels)


def utility_table(found: Found) -> Table:
    """Utility of the three networks at every amount."""
    title = "Utility of the weights that a level leaves, mean ± std over seeds"
    rows = found.measured.rename(columns={"percent": "sparsity (%)"})
    labels = ("sparsity (%)", "network")
    return utility.amounts_table("utility", title, rows, labels, found.results)


# fmt: off
UTILITY_PRUNED = Experiment(
    "utility_pruned",
    load,
    figures=(
        Figure(
            "utility", "Utility of pretrained, pruned and small networks, of as many weights",
            _panels, utility.panels(BY_RATIO, (*RISING, ACCURACY), _COLORS, _MARKERS),
            likeness_reading, panel="heading", beside=True, same_y="called", above="called",
            size=(10.8, 2.7, 2.6), letters=36),
    ),
    tables=(
        table_2, likeness_table, utility_table,
        lambda found: tables.accuracy_table(found.results),
    ),
)
# fmt: on
