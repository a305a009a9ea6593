"""What utility_dynamics shows: whether utility rises through training, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
from etils import epath

from tfprune import store
from tfprune.measures.statistics import Difference, correlation
from tfprune.papers.pm import utility
from tfprune.papers.pm.utility import ACCURACY, AMOUNT, LEAST, MEAN, MOST, NAMES, RISING
from tfprune.report import grammar, readings, style, summary, tables, trials
from tfprune.report.accuracy import EPOCHS
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Axis, Figure, Line, Lines, Mark, Panel, Scale, Spread
from tfprune.report.tables import Table, mean_std, measured, number_text, signed

_VERDICTS = {"higher": "rises", "lower": "falls", "matches": "neither", "": ""}
_ABOUT = (*utility.NETWORK, "called")


@dataclass(frozen=True, eq=False)
class Found:
    """What was measured in dense trainings; each frame in the order of trials and seeds.

    Attributes:
      results: their rows of results.csv.
      dynamics: rows of the measurement during training.
      end: random subsets after training, as `utility.by_amount`.
      ranks: subsets by magnitude rank after training; `middle` of the window of ranks, in [0, 1].
    """

    results: pd.DataFrame
    dynamics: pd.DataFrame
    end: pd.DataFrame
    ranks: pd.DataFrame


def load(results: pd.DataFrame, folder: epath.Path) -> Found:
    """What was measured of the dense trainings.

    Raises:
      InputError: a file is damaged.
    """
    dense = utility.stages(results[results["level"] == 0])
    read = partial(store.read_measurements, folder, dense, about=_ABOUT)
    dynamics = read(utility.DYNAMICS, utility.DYNAMICS_COLUMNS)
    end = utility.by_amount(read(utility.RATIO, utility.SUBSET_COLUMNS), _ABOUT)
    last = dynamics["epoch"] == dynamics.groupby(["trial", "seed"])["epoch"].transform("max")
    end = summary.concatenated([end, dynamics[last & ~dynamics["trial"].isin(end["trial"])]])
    ranks = read(utility.MAGNITUDE, (*utility.SUBSET_COLUMNS, "position"))
    ranks["middle"] = ranks["position"].round(6) + ranks[AMOUNT] / 2
    return Found(dense, dynamics, end, ranks)


def rises(found: Found) -> pd.DataFrame:
    """How each quantity changes from the first measured epoch to the last, over seeds.

    Returns:
      A row for each `trial`, `ablation_amount`, increasing, and `quantity`: `first`, `last` and
      `change`, last − first, nats; `kendall`, τ of the quantity with the epoch: 1 if it rises from
      each measurement to the next, NaN for fewer than three epochs; `verdict`.
    """
    changes = ("first", "last", "change", "kendall")
    of_seeds, rows = [], []
    ordered = found.dynamics.sort_values([AMOUNT, "epoch"], kind="stable")
    ordered = trials.in_order(ordered, found.results)
    for key, own in ordered.groupby(["trial", AMOUNT, "seed"], sort=False):
        for quantity in RISING:
            first, last = own[quantity].iloc[[0, -1]]
            tau = correlation(own["epoch"], own[quantity]).kendall
            of_seeds.append((*key, quantity, first, last, last - first, tau))
    each = pd.DataFrame(of_seeds, columns=["trial", AMOUNT, "seed", "quantity", *changes])
    for row, own in utility.described_by(each, ("trial", AMOUNT, "quantity"), changes):
        change = Difference(row["n"], row["change_mean"], row["change_std"])
        row["verdict"] = _VERDICTS[change.verdict]
        rows.append(row | {"missing_seeds": utility.missing(found.results, own)})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- figures
RATIOS = Scale("ratio", style.sequence)


def _by_ratio(rows: pd.DataFrame) -> pd.DataFrame:
    """With `ratio` in words, a category in their order."""
    names = {amount: f"ratio {amount:g}" for amount in sorted(rows[AMOUNT].unique())}
    return rows.assign(ratio=pd.Categorical(rows[AMOUNT].map(names), list(names.values())))


def _through_training(found: Found) -> pd.DataFrame:
    """A panel's `heading` says how many seeds are there, if not all."""
    there, wanted = (
        found.dynamics["trial"].map(rows.groupby("trial")["seed"].nunique())
        for rows in (found.dynamics, found.results)
    )
    few = " (" + there.astype(str) + " of " + wanted.astype(str) + " seeds)"
    heading = found.dynamics["called"] + few.where(there < wanted, "")
    return _by_ratio(found.dynamics.assign(heading=heading))


def _after_training(found: Found) -> pd.DataFrame:
    """Random subsets, and those by rank; none where the first are not measured yet."""
    rows = summary.concatenated([found.end, found.ranks.drop(columns="accuracy")])
    rows = rows.assign(heading=rows["called"] + ": random subsets")
    return _by_ratio(rows) if len(found.end) else found.end


def _ends(line: Line) -> tuple[pd.Series, pd.Series]:
    """The least and the most accurate ablated network, means over seeds, in %."""
    ends = summary.over_seeds(line.rows, AMOUNT, [LEAST, MOST])
    return 100 * ends[f"{LEAST}_mean"], 100 * ends[f"{MOST}_mean"]


def _draw_whole(panel: Panel) -> None:
    whole = 100 * float(panel.rows["accuracy"].mean())
    panel.axes.axhline(whole, color=style.BLACK, linestyle="--", linewidth=1.1)


def _ranks_axis(panel: Panel) -> None:
    panel.axes.set_xlim(0, 100)
    panel.axes.set_title("by magnitude, smallest to largest")


_WHOLE = Mark(_draw_whole, lambda: grammar.line_handle("nothing ablated", dash="--"))
_BARS = Mark(
    lambda panel: True, lambda: grammar.line_handle("mean, least and most accurate", marker="o")
)
_RANKS = Axis("middle", "Magnitude rank at the middle of the ablated window (%)", 100,
              finish=_ranks_axis)  # fmt: skip


# ---------------------------------------------------------------- readings
def _of_trials(found: Found, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(how a sentence says which trial, its rows)."""
    names = dict(found.results[["trial", "called"]].to_numpy())
    several = rows["trial"].nunique() > 1
    of_trial = rows.groupby("trial", sort=False)
    return [(f" with {names[trial]}" * several, own) for trial, own in of_trial]


def rise_reading(found: Found) -> str:
    """At how many ratios each of the three rises through training, in one sentence."""
    said = []
    for where, own in _of_trials(found, rises(found)):
        counts = [_count(own[own["quantity"] == quantity]) for quantity in RISING]
        epochs = found.dynamics.loc[found.dynamics["trial"] == own["trial"].iloc[0], "epoch"]
        ends = f"from epoch {epochs.min():g} to {epochs.max():g}"
        said.append(f"{counts[0]}, {counts[1]} and {counts[2]}{where}, {ends}")
    return f"Through training, on average over seeds, utility rises in {'; '.join(said)}."


def _count(rows: pd.DataFrame) -> str:
    # Of one seed the rule says nothing: its sign is what there is, and the page says so.
    up = rows["verdict"].eq("rises").where(rows["n"] > 1, rows["change_mean"] > 0).sum()
    taus = readings.span(rows["kendall_mean"], "{:.2f}".format)
    spread = f" (Kendall's τ with the epoch {taus})" if taus else ""
    return f"{NAMES[rows['quantity'].iloc[0]]} at {up} of {len(rows)} ratios{spread}"


def ratio_reading(found: Found) -> str:
    """Mean utility before and after training, of the smallest and largest ratio, in a sentence."""
    said = []
    for where, own in _of_trials(found, rises(found).query(f"quantity == '{MEAN}'")):
        for row in own.iloc[[0, -1] if len(own) > 1 else [0]].to_dict("records"):
            first, last = (mean_std(name, measured)(row) for name in ("first", "last"))
            rule = f" ({row['verdict']}, n = {row['n']})" * bool(row["verdict"])
            said.append(f"from {first} to {last} nats at ratio {row[AMOUNT]:g}{rule}{where}")
    return f"From the first measured epoch to the last, mean utility goes {'; '.join(said)}."


def accuracy_reading(found: Found) -> str:
    """How far apart ablated networks of one ratio are, in one sentence."""
    said = []
    for where, end in _of_trials(found, found.end):
        spread = (end[MOST] - end[LEAST]).groupby(end[AMOUNT]).mean()
        said.append(f"{100 * spread.max():.0f} points at ratio {spread.idxmax():g}{where}")
    return (
        "Between random subsets of one size, the train accuracy without them differs by up to "
        f"{'; '.join(said)} (in the paper about 60 points at ratio 0.1, ResNet-20 on CIFAR-10)."
    )


def rise_table(found: Found) -> Table:
    """First and last values, change and Kendall's τ of each quantity and ratio."""
    tau = mean_std("kendall", number_text)
    shown: dict[str, Any] = {
        "ratio": lambda row: f"{row[AMOUNT]:g}",
        "quantity": lambda row: NAMES[row["quantity"]],
        **{f"{name} (nats)": mean_std(name, measured) for name in ("first", "last", "change")},
        "it": "verdict",
        "Kendall's τ with the epoch": lambda row: signed(tau(row)),
        **tables.SEEDS,
    }
    title = (
        "Does utility rise through training? From the first measured epoch to the last, mean ± std "
        "over seeds; it rises or falls where the mean change is at least one std from 0"
    )
    labels = ("ratio", "quantity")
    return tables.of_trials("rise", title, rises(found), found.results, shown, labels)


# fmt: off
UTILITY_DYNAMICS = Experiment(
    "utility_dynamics",
    load,
    figures=(
        Figure(
            "training", "Utility of random subsets of the weights through training",
            _through_training, utility.panels(EPOCHS, (*RISING, ACCURACY), RATIOS),
            rise_reading, panel="heading", beside=True, size=(10.8, 2.7, 2.6), letters=36),
        Figure(
            "by_ratio", "Utility through training, ratio by ratio",
            _through_training, utility.panels(EPOCHS, RISING, RATIOS),
            ratio_reading, row="heading", column="ratio", heading="ratio", name_rows=True,
            size=(6, 2, 5.6)),
        Figure(
            "ablated_accuracy", "Train accuracy without some of the weights, after training",
            _after_training,
            (Lines(utility.BY_RATIO, utility.axis(ACCURACY), marker="o",
                   marks=(_WHOLE, _BARS), spread=Spread(_ends, bars=True)),
             Lines(_RANKS, utility.axis("ablated_accuracy"), color=RATIOS)),
            accuracy_reading, panel="heading", beside=True, size=(11, 5.5, 3.4), letters=55),
    ),
    tables=(rise_table,),
)
# fmt: on
