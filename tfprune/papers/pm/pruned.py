"""What utility_pruned shows: pretrained, pruned and small networks, of as many weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from etils import epath

from tfprune.measures.statistics import match_or_differ
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import ACCURACY, AMOUNT, BY_RATIO, MEAN, NETWORK, RISING, SMALL
from tfprune.papers.published import published
from tfprune.report import style, summary, tables, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Figure, Scale
from tfprune.report.summary import Beside, described
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
_ABOUT = (*NETWORK, "called", "percent", "network")
# As fine as a printed sparsity is: 0.25 of a number of weights is seldom whole.
_SAME_SPARSITY = 0.005


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

    def levels(self) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """The rows of networks, and those measured, of every level, by trial."""
        for (trial, level), rows in self.networks.groupby(["trial", "level"], sort=False):
            here = (self.measured["trial"] == trial) & (self.measured["level"] == level)
            yield rows, self.measured[here]

    def seeds(self, trial: str) -> set[int]:
        return set(self.results.loc[self.results["trial"] == trial, "seed"])


def load(results: pd.DataFrame, folder: epath.Path) -> Found:
    """Every level above 0, by trial.

    Raises:
      InputError: a file is damaged.
    """
    trunk = utility.stages(results[results["level"] > 0])
    small = utility.stages(results, SMALL).assign(network=SMALL)
    sparsity = trunk.groupby(["trial", "level"])["sparsity"].mean()
    rows = pd.concat([trunk.assign(network=PRUNED), small], ignore_index=True)
    rows["sparsity"] = pd.MultiIndex.from_frame(rows[["trial", "level"]]).map(sparsity)
    rows = rows.dropna(subset=["sparsity"])
    rows = rows.assign(percent=rows["sparsity"].map(tables.sparsity_percent))
    pruned = rows[rows["network"] == PRUNED]
    pretrained = pruned.assign(network=PRETRAINED)
    parts = [
        utility.read_subsets(folder, pretrained, utility.PRETRAINED, _ABOUT),
        utility.read_subsets(folder, rows, utility.RATIO, _ABOUT),
    ]
    found = utility.by_amount(utility.joined(parts), _ABOUT)
    found = trials.in_order(found.sort_values("level", kind="stable"), results)
    return Found(results, rows, found)


def distance(here: pd.DataFrame, network: str) -> dict[int, float]:
    """seed -> how far its mean utility is from the pretrained network's, nats.

    The mean over ablation ratios of the absolute difference, of rows of one level.
    """
    table = here.pivot(index=["seed", AMOUNT], columns="network", values=MEAN)
    if not {network, PRETRAINED} <= set(table):
        return {}
    gaps = (table[network] - table[PRETRAINED]).dropna().abs().groupby("seed").mean()
    return {int(str(seed)): float(gap) for seed, gap in gaps.items()}


# ---------------------------------------------------------------- figures
def _panels(found: Found) -> pd.DataFrame:
    rows = found.measured
    named = rows["called"] + ", " if rows["called"].nunique() > 1 else ""
    return rows.assign(heading=named + rows["percent"] + "% sparsity")


_LOOKS = {PRETRAINED: (style.BLACK, "o"), PRUNED: (style.BLUE, "s"), SMALL: (style.VERMILLION, "D")}
_COLORS, _MARKERS = (
    Scale("network", {network: look[n] for network, look in _LOOKS.items()}) for n in (0, 1)
)


def _likeness(found: Found) -> list[dict[str, Any]]:
    """How far pruned and small networks are from the pretrained one, by level."""
    rows = []
    for networks, here in found.levels():
        about = {name: networks[name].iloc[0] for name in ("trial", "level", "sparsity")}
        pruned, small = (distance(here, network) for network in (PRUNED, SMALL))
        missing = found.seeds(about["trial"]) - (pruned.keys() & small.keys())
        row = about | described(pruned, "pruned") | described(small, "small")
        row |= summary.compared(match_or_differ(pruned, small), "minus_small")
        rows.append(row | {"missing_seeds": summary.seeds_text(missing)})
    return rows


def likeness_reading(found: Found) -> str:
    """How far pruned and small networks are from the pretrained one, in one sentence."""
    said, names = [], dict(found.networks[["trial", "called"]].to_numpy())
    for row in _likeness(found):
        if row["pruned_n"] or row["small_n"]:
            texts = map(measured, (row["pruned_mean"], row["small_mean"]))
            rule = _LIKENESS[row["minus_small_verdict"]].format(row["minus_small_n"])
            whose = f" with {names[row['trial']]}" * (len(names) > 1)
            said.append(
                f"{' and '.join(text or '?' for text in texts)} nats at "
                f"{tables.sparsity_percent(row['sparsity'])}% sparsity{rule}{whose}"
            )
    if not said:
        return "The utility of pretrained and pruned networks is not measured yet."
    return (
        "The mean utility of pruned-and-retrained and of small networks differs from the "
        f"pretrained network's by {'; '.join(said)} (absolute difference, averaged over ratios)."
    )


# ---------------------------------------------------------------- tables
def table_2(found: Found) -> Table | None:
    """Validation accuracy and train loss of pruned and of small networks (PM table 2)."""
    rows = [
        row
        for here, _ in found.levels()
        for metric in ("val_accuracy_percent", "train_loss")
        for row in _beside(here, metric, found.seeds(here["trial"].iloc[0]))
    ]
    what = "pruned and retrained networks beside small ones of as many weights"
    return utility.beside_table(2, what, rows)


def _beside(here: pd.DataFrame, metric: str, seeds: set[int]) -> Iterator[Beside]:
    first = here.iloc[0]
    small = utility.values_of(here[here["network"] == SMALL], metric)
    near = (
        at for at in published("PM", 2)["at"]
        if abs(float(at.partition("_")[2]) - first["sparsity"]) <= _SAME_SPARSITY
    )  # fmt: skip
    at = next(near, "")
    for network, rows in here.groupby("network"):
        labels = {"trial": first["called"], "sparsity (%)": first["percent"], "network": network}
        method, against = (SMALL, {}) if network == SMALL else (str(first["retrain"]), small)
        epochs = _EPOCHS[str(network)]
        yield utility.beside(2, labels, rows, metric, method, at, epochs, against, seeds)


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
    labels = {"sparsity (%)": "percent", "network": "network"}
    return utility.amounts_table("utility", title, found.measured, labels, found.results)


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
        lambda found: tables.accuracy_table(found.results, "accuracy"),
    ),
)
# fmt: on
