"""The report of utility_dynamics: PM figures 1, 2 and 7-13, and whether utility rises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables, trials
from tfprune.results import figures
from tfprune.results import utility_curves as utility
from tfprune.results.utility_curves import ACCURACY, AMOUNT, IMBALANCE, MEAN, MINIMUM, Quantity

EXPERIMENT = "utility_dynamics"
_PANELS = (IMBALANCE, MEAN, MINIMUM, ACCURACY)
# What PM says rises through training.
RISING = (IMBALANCE, MEAN, MINIMUM)
_VERDICTS = {"higher": "rises", "lower": "falls", "matches": "neither", "": ""}


@dataclass(frozen=True)
class Run:
    """One trial's dense training.

    Attributes:
      trial: the trial.
      name: in the settings that vary.
      seeds: all that results.csv has of it.
      dynamics: rows of the measurement during training, `utility.DYNAMICS_COLUMNS` and seed.
      at_end: as `utility.by_amount`, of random subsets after training; empty if not measured.
      magnitude: rows of subsets by magnitude rank after training; empty if not measured.
    """

    trial: str
    name: str
    seeds: tuple[int, ...]
    dynamics: pd.DataFrame = field(repr=False, compare=False)
    at_end: pd.DataFrame = field(repr=False, compare=False)
    magnitude: pd.DataFrame = field(repr=False, compare=False)

    @property
    def amounts(self) -> list[float]:
        """Ablation ratios that were measured during training, increasing."""
        return sorted(float(amount) for amount in self.dynamics[AMOUNT].unique())

    def curve(self, amount: float) -> pd.DataFrame:
        """Mean and std over seeds of all columns by epoch, as `utility.over_seeds`."""
        return utility.over_seeds(self.dynamics[self.dynamics[AMOUNT] == amount], "epoch")


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the files its rows name.

    Returns:
      The figures there are data for, utility through training first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = runs(store.read_results(output_dir), output_dir)
    drawn: list[figures.Drawing] = [
        (
            "training",
            "Utility of random subsets of the weights through training",
            rise_reading(found),
            "PM figures 2, 7, 11, 12 and 13",
            through_training(found),
        ),
        (
            "by_ratio",
            "Utility through training, ratio by ratio",
            ratio_reading(found),
            "PM figures 8, 9 and 10",
            ratio_by_ratio(found),
        ),
        (
            "ablated_accuracy",
            "Train accuracy without some of the weights, after training",
            accuracy_reading(found),
            "PM figure 1",
            ablated_accuracy(found),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """Whether imbalance, mean and minimum utility rise through training, ratio by ratio.

    Raises:
      InputError: a file is damaged.
    """
    found = [run for run in runs(results, output_dir) if len(run.dynamics)]
    return [rise_table(found, utility.of_experiment(results, EXPERIMENT))] if found else []


def runs(results: pd.DataFrame, output_dir: epath.PathLike) -> list[Run]:
    """The dense trainings of the experiment in which anything was measured.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    dense = utility.stages(mine, utility.TRUNK, 0)
    found = []
    for trial, name in trials.names(dense).items():
        rows = dense[dense["trial"] == trial].sort_values("seed")
        dynamics = utility.read(output_dir, rows, utility.DYNAMICS, utility.DYNAMICS_COLUMNS)
        subsets = utility.read_subsets(output_dir, rows, utility.RATIO)
        magnitude = utility.read(
            output_dir, rows, utility.MAGNITUDE, (*utility.SUBSET_COLUMNS, "position")
        )
        at_end = utility.by_amount(subsets) if len(subsets) else subsets
        if len(dynamics) or len(at_end) or len(magnitude):
            seeds = tuple(int(seed) for seed in rows["seed"])
            found.append(Run(trial, name, seeds, dynamics, at_end, magnitude))
    return found


# ---------------------------------------------------------------- figures
def through_training(found: Sequence[Run]) -> Figure | None:
    """Imbalance, mean, minimum and ablated accuracy by epoch (PM figures 2, 7, 11, 12, 13).

    A row per trial, a curve per ablation ratio, mean ± std over seeds. None where nothing was
    measured during training.
    """
    found = [run for run in found if len(run.dynamics)]
    if not found:
        return None
    with style.house_style():
        figure = style.new_figure(13, 3.0 * len(found) + 0.7)
        grid = figure.subplots(len(found), len(_PANELS), squeeze=False)
        colors = _ratio_colors(found)
        for line, run in zip(grid, found, strict=True):
            for axes, quantity in zip(line, _PANELS, strict=True):
                for amount in run.amounts:
                    table = run.curve(amount)
                    figures.band(
                        axes,
                        table.index.to_numpy(float),
                        table,
                        quantity.column,
                        colors[amount],
                        "-",
                        scale=quantity.scale,
                    )
                utility.quantity_axis(axes, quantity)
                style.epoch_axis(axes)
            line[0].set_title(style.wrapped(_called(run), 36), loc="left")
        figures.legend_below(figure, _ratio_handles(colors, found))
    return figure


def ratio_by_ratio(found: Sequence[Run]) -> Figure | None:
    """Imbalance, mean and minimum by epoch, a panel per ratio (PM figures 8, 9, 10).

    Three rows per trial. None where nothing was measured during training.
    """
    found = [run for run in found if len(run.dynamics)]
    if not found:
        return None
    colors = _ratio_colors(found)
    columns = max(len(run.amounts) for run in found)
    lines = [(run, quantity) for run in found for quantity in RISING]
    with style.house_style():
        figure = style.new_figure(max(2.3 * columns, 6) + 0.4, 2.1 * len(lines) + 0.4)
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for line, (run, quantity) in zip(grid, lines, strict=True):
            for axes in line[len(run.amounts) :]:
                axes.set_axis_off()
            for axes, amount in zip(line, run.amounts, strict=False):
                table = run.curve(amount)
                x = table.index.to_numpy(float)
                figures.band(axes, x, table, quantity.column, colors[amount], "-", scale=1)
                utility.quantity_axis(axes, quantity)
                axes.set_ylabel(quantity.label.replace(" (", "\n(") if axes is line[0] else "")
                style.epoch_axis(axes)
                axes.set_title(f"ratio {amount:g}", loc="center")
                axes.set_xlabel("Epoch" if quantity is RISING[-1] else "")
            if len(found) > 1 and quantity is RISING[0]:
                name = style.wrapped(_called(run), 26)
                line[0].set_ylabel(f"{name}\n\n{line[0].get_ylabel()}")
        if len(found) == 1:
            figure.suptitle(_called(found[0]), fontsize=10.5)
        if _several(found):
            figures.legend_below(figure, [figures.std_handle(style.BLACK)])
    return figure


def ablated_accuracy(found: Sequence[Run]) -> Figure | None:
    """Train accuracy of ablated networks, by ratio and by magnitude rank (PM figure 1).

    A row per trial. On the left random subsets, whose bars go from the least accurate to the most
    accurate network; on the right windows of magnitude ranks. Means over seeds. None where
    neither was measured.
    """
    found = [run for run in found if len(_end(run)) or len(run.magnitude)]
    if not found:
        return None
    with style.house_style():
        figure = style.new_figure(11, 3.5 * len(found))
        grid = figure.subplots(len(found), 2, squeeze=False)
        for (left, right), run in zip(grid, found, strict=True):
            _draw_range(left, _end(run))
            _draw_ranks(right, run)
            left.set_title(style.wrapped(f"{_called(run)}: random subsets", 55))
    return figure


def _draw_range(axes: Axes, measured: pd.DataFrame) -> None:
    if not len(measured):
        axes.set_axis_off()
        return
    table = utility.over_seeds(measured)
    mean, low, high = (
        100 * table[f"{column}_mean"].to_numpy(float)
        for column in (ACCURACY.column, "ablated_accuracy_min", "ablated_accuracy_max")
    )
    axes.axhline(
        100 * float(table["accuracy_mean"].mean()),
        color=style.BLACK,
        linestyle="--",
        linewidth=1.1,
        label="nothing ablated",
    )
    axes.errorbar(
        table.index.to_numpy(float),
        mean,
        [mean - low, high - mean],
        color=style.BLUE,
        marker="o",
        capsize=3,
        label="mean, least and most accurate",
    )
    axes.set_xlabel("Ablation ratio")
    axes.set_xlim(left=0)
    utility.quantity_axis(axes, ACCURACY)
    axes.legend(loc="best")


def _draw_ranks(axes: Axes, run: Run) -> None:
    if not len(run.magnitude):
        axes.set_axis_off()
        return
    amounts = sorted(run.magnitude[AMOUNT].unique())
    for amount, color in zip(amounts, style.sequence_colors(len(amounts)), strict=True):
        rows = run.magnitude[run.magnitude[AMOUNT] == amount]
        table = utility.over_seeds(rows.assign(position=rows["position"].round(6)), "position")
        x = 100 * (table.index.to_numpy(float) + amount / 2)
        figures.band(axes, x, table, "ablated_accuracy", color, "-")
        axes.plot([], [], color=color, label=f"{amount:g}")
    utility.quantity_axis(axes, ACCURACY)
    axes.set_xlabel("Magnitude rank at the middle of the ablated window (%)")
    axes.set_xlim(0, 100)
    axes.set_title("by magnitude, smallest to largest")
    axes.legend(title="Ablation ratio", loc="center left", bbox_to_anchor=(1.01, 0.5))


def _end(run: Run) -> pd.DataFrame:
    """Random subsets after training: measured there, or else in the last epoch of all seeds."""
    if len(run.at_end) or not len(run.dynamics):
        return run.at_end
    last = run.dynamics.groupby("seed")["epoch"].transform("max")
    return run.dynamics[run.dynamics["epoch"] == last]


def _ratio_colors(found: Sequence[Run]) -> dict[float, str]:
    amounts = sorted({amount for run in found for amount in run.amounts})
    return dict(zip(amounts, style.sequence_colors(len(amounts)), strict=True))


def _ratio_handles(colors: dict[float, str], found: Sequence[Run]) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, label=f"ratio {amount:g}") for amount, color in colors.items()
    ]
    return handles + ([figures.std_handle(style.BLACK)] if _several(found) else [])


def _several(found: Sequence[Run]) -> bool:
    return any(run.dynamics["seed"].nunique() > 1 for run in found)


def _called(run: Run) -> str:
    """Its name, and of how many seeds where some are not measured yet."""
    there = run.dynamics["seed"].nunique()
    few = f" ({there} of {len(run.seeds)} seeds)" if 0 < there < len(run.seeds) else ""
    return f"{run.name}{few}"


# ---------------------------------------------------------------- does it rise?
@dataclass(frozen=True)
class Rise:
    """How a quantity changes from the first measured epoch to the last, over seeds.

    Attributes:
      amount: the ablation ratio.
      quantity: of the subsets of that ratio.
      first: its value at the first epoch, nats, a seed each.
      last: at the last.
      change: last − first.
      kendall: Kendall's τ of the quantity with the epoch, mean over seeds; NaN for fewer than
        three epochs. 1 if it rises from each measurement to the next.
      missing: seeds without a measurement.
    """

    amount: float
    quantity: Quantity
    first: statistics.Difference
    last: statistics.Difference
    change: statistics.Difference
    kendall: statistics.Difference
    missing: tuple[int, ...] = ()


def rises(run: Run) -> list[Rise]:
    """The change of imbalance, mean and minimum utility through training, for every ratio."""
    found = []
    for amount in run.amounts:
        here = run.dynamics[run.dynamics[AMOUNT] == amount].sort_values("epoch")
        missing = tuple(sorted(set(run.seeds) - set(here["seed"])))
        for quantity in RISING:
            values = [
                (rows["epoch"].to_numpy(float), rows[quantity.column].to_numpy(float))
                for _, rows in here.groupby("seed")
            ]
            found.append(
                Rise(
                    amount,
                    quantity,
                    statistics.difference([value[0] for _, value in values]),
                    statistics.difference([value[-1] for _, value in values]),
                    statistics.difference([value[-1] - value[0] for _, value in values]),
                    statistics.difference(
                        [statistics.correlation(*pair).kendall for pair in values]
                    ),
                    missing,
                )
            )
    return found


def rise_reading(found: Sequence[Run]) -> str:
    """At how many ratios each of the three rises through training, in one sentence."""
    said = []
    for run in found:
        if not len(run.dynamics):
            continue
        epochs = run.dynamics["epoch"]
        if epochs.nunique() < 2:
            continue
        counts = [_count(rises(run), quantity) for quantity in RISING]
        where = f" with {run.name}" if len(found) > 1 else ""
        said.append(
            f"{counts[0]}, {counts[1]} and {counts[2]}{where}, from epoch {epochs.min():g} to "
            f"{epochs.max():g}"
        )
    if not said:
        return "Utility was not measured at two epochs yet."
    return f"Through training, on average over seeds, utility rises in {'; '.join(said)}."


def _count(found: Sequence[Rise], quantity: Quantity) -> str:
    mine = [rise for rise in found if rise.quantity is quantity]
    # Of one seed the rule says nothing: its sign is what there is, and the page says so.
    up = sum(
        rise.change.verdict == "higher" if rise.change.n > 1 else rise.change.mean > 0
        for rise in mine
    )
    taus = [rise.kendall.mean for rise in mine if not math.isnan(rise.kendall.mean)]
    spread = f" (Kendall's τ with the epoch {_range(taus)})" if taus else ""
    return f"{quantity.name} at {up} of {len(mine)} ratios{spread}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def ratio_reading(found: Sequence[Run]) -> str:
    """Mean utility before and after training, of the smallest and largest ratio, in a sentence."""
    said = []
    for run in found:
        if not len(run.dynamics) or run.dynamics["epoch"].nunique() < 2:
            continue
        known = [rise for rise in rises(run) if rise.quantity is MEAN]
        where = f" with {run.name}" if len(found) > 1 else ""
        said += [f"{_change(rise)}{where}" for rise in dict.fromkeys((known[0], known[-1]))]
    if not said:
        return "Utility was not measured at two epochs yet."
    return f"From the first measured epoch to the last, mean utility goes {'; '.join(said)}."


def _change(rise: Rise) -> str:
    first, last = (
        tables.measured([value.mean], [value.std])[0] for value in (rise.first, rise.last)
    )
    verdict = _VERDICTS.get(rise.change.verdict)
    said = f" ({verdict}, n = {rise.change.n})" if verdict else ""
    return f"from {first} to {last} nats at ratio {rise.amount:g}{said}"


def accuracy_reading(found: Sequence[Run]) -> str:
    """How far apart ablated networks of one ratio are, in one sentence."""
    said = []
    for run in found:
        end = _end(run)
        if not len(end):
            continue
        table = utility.over_seeds(end)
        spread = table["ablated_accuracy_max_mean"] - table["ablated_accuracy_min_mean"]
        where = f" with {run.name}" if len(found) > 1 else ""
        ratio = float(str(spread.idxmax()))
        said.append(f"{100 * spread.max():.0f} points at ratio {ratio:g}{where}")
    if not said:
        return "Ablating windows of magnitude ranks shows which weights the network needs."
    return (
        "Between random subsets of one size, the train accuracy without them differs by up to "
        f"{'; '.join(said)} (in the paper about 60 points at ratio 0.1, ResNet-20 on CIFAR-10)."
    )


def rise_table(found: Sequence[Run], results: pd.DataFrame) -> tables.Table:
    """First and last values, change and Kendall's τ of each quantity and ratio."""
    labels = trials.label_columns(utility.stages(results, utility.TRUNK, 0))
    numbers, shown = [], []
    for run in found:
        settings, texts = utility.settings_of(labels, run.trial)
        for rise in rises(run):
            numbers.append({"trial": run.trial, **settings, **_numbers(rise)})
            shown.append({**texts, **_shown(rise)})
    text = pd.DataFrame(shown, dtype="object")
    if not text["missing seeds"].ne("").any():
        text = text.drop(columns="missing seeds")
    title = (
        "Does utility rise through training? From the first measured epoch to the last, mean ± std "
        "over seeds; it rises or falls where the mean change is at least one std from 0"
    )
    own = (*map(str, labels.columns), "ratio", "quantity")
    return tables.Table(f"{EXPERIMENT}_rise", title, pd.DataFrame(numbers), text, own)


def _numbers(rise: Rise) -> dict[str, Any]:
    row: dict[str, Any] = {AMOUNT: rise.amount, "quantity": rise.quantity.column}
    row["n"] = rise.change.n
    for name in ("first", "last", "change", "kendall"):
        value: statistics.Difference = getattr(rise, name)
        row |= {f"{name}_mean": value.mean, f"{name}_std": value.std}
    verdict = _VERDICTS[rise.change.verdict]
    return row | {"verdict": verdict, "missing_seeds": ", ".join(map(str, rise.missing))}


def _shown(rise: Rise) -> dict[str, str]:
    def nats(value: statistics.Difference) -> str:
        return tables.measured([value.mean], [value.std])[0]

    kendall = rise.kendall
    spread = "" if math.isnan(kendall.std) else f" ± {kendall.std:.2f}"
    return {
        "ratio": f"{rise.amount:g}",
        "quantity": rise.quantity.name,
        "first (nats)": nats(rise.first),
        "last (nats)": nats(rise.last),
        "change (nats)": nats(rise.change),
        "it": _VERDICTS[rise.change.verdict],
        "Kendall's τ with the epoch": (
            "" if math.isnan(kendall.mean) else f"{kendall.mean:+.2f}{spread}"
        ),
        "seeds": str(rise.change.n),
        "missing seeds": ", ".join(map(str, rise.missing)),
    }
