"""The report of utility_pruned: PM figures 5 and 15, table 2: pruned, pretrained and small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables, trials
from tfprune.results import figures
from tfprune.results import utility_curves as utility
from tfprune.results.utility_curves import (
    ACCURACY,
    AMOUNT,
    IMBALANCE,
    MEAN,
    MINIMUM,
    Compared,
    Curve,
)

EXPERIMENT = "utility_pruned"
PRETRAINED, PRUNED, SMALL = "pretrained", "pruned and retrained", "small"
_STYLES = {
    PRETRAINED: (style.BLACK, "o"),
    PRUNED: (style.BLUE, "s"),
    SMALL: (style.VERMILLION, "D"),
}
_QUANTITIES = (IMBALANCE, MEAN, MINIMUM, ACCURACY)
# PM 2.2.2: the small network's training repeats the schedule once for the pruned one's retraining.
_LIKENESS = {
    "lower": "the first is closer",
    "higher": "the second is closer",
    "matches": "which match",
}
_PAPER_EPOCHS = {PRUNED: 200, SMALL: 400}
_METRICS = ("val_accuracy_percent", "train_loss")


@dataclass(frozen=True)
class Trio:
    """What a level leaves, in three networks: pretrained, pruned and retrained, and small.

    Attributes:
      trial: the trial.
      name: of the trial and the sparsity.
      level: the level.
      sparsity: the mean over seeds.
      rows: network -> its rows of results.csv; the pretrained network's utility is named in those
        of the pruned one.
      measured: network -> its rows of `utility.by_amount`, of the weights the level leaves.
      seeds: all that the trial has.
    """

    trial: str
    name: str
    level: int
    sparsity: float
    rows: Mapping[str, pd.DataFrame] = field(repr=False, compare=False)
    measured: Mapping[str, pd.DataFrame] = field(repr=False, compare=False)
    seeds: tuple[int, ...] = ()

    @property
    def percent(self) -> str:
        return f"{tables.sparsity_percent(self.sparsity)}%"

    def curves(self) -> list[Curve]:
        """Those networks that were measured."""
        return [
            Curve(network, *_STYLES[network], utility.over_seeds(rows))
            for network, rows in self.measured.items()
            if len(rows)
        ]

    def distance(self, network: str) -> dict[int, float]:
        """seed -> how far its mean utility is from the pretrained network's, nats.

        The mean over ablation ratios of the absolute difference.
        """
        first, second = (
            rows.set_index(["seed", AMOUNT])[MEAN.column] if len(rows) else pd.Series(dtype=float)
            for rows in (self.measured[network], self.measured[PRETRAINED])
        )
        if first.empty or second.empty:
            return {}
        gaps = (first - second).dropna().abs().groupby(level="seed").mean()
        return {int(str(seed)): float(gap) for seed, gap in gaps.items()}


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the files its rows name.

    Returns:
      The figures there are data for.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = trios(store.read_results(output_dir), output_dir)
    drawn: list[figures.Drawing] = [
        (
            "utility",
            "Utility of pretrained, pruned and small networks, of as many weights",
            likeness_reading(found),
            "PM figures 5 and 15",
            against_ratio(found),
        )
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame, output_dir: epath.PathLike) -> list[tables.Table]:
    """PM table 2, ours beside the paper's; likeness of utility; utility; accuracy of all networks.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    found = trios(results, output_dir)
    made = [table_2(found, mine)] if found else []
    if any(trio.distance(PRUNED) or trio.distance(SMALL) for trio in found):
        made.append(likeness_table(found, mine))
    rows = [
        ({"sparsity (%)": trio.percent[:-1], "network": network}, rows, None)
        for trio in found
        for network, rows in trio.measured.items()
        if len(rows)
    ]
    if rows:
        title = "Utility of the weights that a level leaves, mean ± std over seeds"
        labels = trials.label_columns(mine)
        made.append(utility.amounts_table(f"{EXPERIMENT}_utility", title, labels, rows))
    return [*made, tables.accuracy_table(mine, f"{EXPERIMENT}_accuracy")]


def trios(results: pd.DataFrame, output_dir: epath.PathLike) -> list[Trio]:
    """Every level above 0, by trial.

    Raises:
      InputError: a file is damaged.
    """
    mine = utility.of_experiment(results, EXPERIMENT)
    names = trials.names(mine)
    found = []
    for trial, name in names.items():
        own = mine[mine["trial"] == trial]
        trunk = utility.stages(own, utility.TRUNK)
        for level in sorted(int(n) for n in trunk["level"].unique() if n > 0):
            pruned = utility.stages(own, utility.TRUNK, level).sort_values("seed")
            small = utility.stages(own, utility.SMALL, level).sort_values("seed")
            subsets = {
                PRETRAINED: utility.read_subsets(output_dir, pruned, utility.PRETRAINED),
                PRUNED: utility.read_subsets(output_dir, pruned, utility.RATIO),
                SMALL: utility.read_subsets(output_dir, small, utility.RATIO),
            }
            found.append(
                Trio(
                    trial,
                    name,
                    level,
                    float(pruned["sparsity"].mean()),
                    {PRUNED: pruned, SMALL: small},
                    {n: utility.by_amount(s) if len(s) else s for n, s in subsets.items()},
                    tuple(sorted(int(seed) for seed in own["seed"].unique())),
                )
            )
    return found


# ---------------------------------------------------------------- figures
def against_ratio(found: Sequence[Trio]) -> Figure | None:
    """Imbalance, mean, minimum and ablated accuracy against ratio (PM figures 5 and 15).

    A row per trial and sparsity, a curve per network, mean ± std over seeds; panels of one trial
    and quantity share their y axis. Of the pretrained network only the weights that pruning
    leaves are ablated.
    """
    lines = [(trio, curves) for trio in found if (curves := trio.curves())]
    if not lines:
        return None
    several = len({trio.trial for trio, _ in lines}) > 1
    with style.house_style():
        figure = style.new_figure(13, 2.8 * len(lines) + 0.7)
        grid = figure.subplots(len(lines), len(_QUANTITIES), squeeze=False)
        for number, (trio, curves) in enumerate(lines, start=1):
            line = grid[number - 1]
            for axes, quantity in zip(line, _QUANTITIES, strict=True):
                utility.draw(axes, curves, quantity)
                axes.set_xlim(left=0)
                axes.set_xlabel("Ablation ratio" if number == len(lines) else "")
            whose = f"{trio.name}, " if several else ""
            line[0].set_title(style.wrapped(f"{whose}{trio.percent} sparsity", 36))
        for trial in dict.fromkeys(trio.trial for trio, _ in lines):
            own = [line for line, (t, _) in zip(grid, lines, strict=True) if t.trial == trial]
            for column in zip(*own, strict=True):
                style.same_limits(column)
        if not several:
            figure.suptitle(lines[0][0].name, fontsize=10.5)
        figures.legend_below(figure, utility.handles(c for _, curves in lines for c in curves))
    return figure


# ---------------------------------------------------------------- likeness
def likeness_reading(found: Sequence[Trio]) -> str:
    """How far pruned and small networks are from the pretrained one, in one sentence."""
    several = len({trio.trial for trio in found}) > 1
    said = []
    for trio in found:
        pruned, small = (_mean(trio.distance(network)) for network in (PRUNED, SMALL))
        if math.isnan(pruned) and math.isnan(small):
            continue
        texts = tables.measured([pruned, small], [math.nan] * 2)
        whose = f" with {trio.name}" if several else ""
        gap = statistics.match_or_differ(trio.distance(PRUNED), trio.distance(SMALL))
        rule = f" ({_LIKENESS[gap.verdict]}, n = {gap.n})" if gap.verdict else ""
        amounts = f"{texts[0] or '?'} and {texts[1] or '?'} nats"
        said.append(f"{amounts} at {trio.percent} sparsity{rule}{whose}")
    if not said:
        return "The utility of pretrained and pruned networks is not measured yet."
    return (
        "The mean utility of pruned-and-retrained and of small networks differs from the "
        f"pretrained network's by {'; '.join(said)} (absolute difference, averaged over ratios)."
    )


def _mean(values: Mapping[int, float]) -> float:
    return statistics.difference(list(values.values())).mean


def likeness_table(found: Sequence[Trio], results: pd.DataFrame) -> tables.Table:
    """Whether pruned-and-retrained networks are more like the pretrained one than small ones."""
    labels = trials.label_columns(results)
    numbers, shown = [], []
    for trio in found:
        settings, text = utility.settings_of(labels, trio.trial)
        pruned, small = trio.distance(PRUNED), trio.distance(SMALL)
        gap = statistics.match_or_differ(pruned, small)
        row = {"trial": trio.trial, **settings, "level": trio.level, "sparsity": trio.sparsity}
        text["sparsity (%)"] = trio.percent[:-1]
        for network, values in (("pruned", pruned), ("small", small)):
            own = statistics.difference(list(values.values()))
            row |= {f"{network}_n": own.n, f"{network}_mean": own.mean, f"{network}_std": own.std}
            text[f"{network} (nats)"] = tables.measured([own.mean], [own.std])[0]
        row |= {"minus_small_n": gap.n, "minus_small_mean": gap.mean, "minus_small_std": gap.std}
        numbers.append(row | {"verdict": gap.verdict})
        text["pruned vs small"] = utility.gap_text(gap)
        text["seeds"] = str(gap.n)
        without = sorted(set(trio.seeds) - (pruned.keys() & small.keys()))
        text["missing seeds"] = ", ".join(map(str, without))
        shown.append(text)
    frame = pd.DataFrame(shown, dtype="object")
    if not frame["missing seeds"].ne("").any():
        frame = frame.drop(columns="missing seeds")
    title = (
        "How far mean utility is from the pretrained network's, on the weights that the level "
        "leaves: absolute difference, averaged over ratios, mean ± std over seeds; lower where "
        "pruned and retrained networks resemble it more than small ones do, by at least one std"
    )
    own_labels = (*map(str, labels.columns), "sparsity (%)")
    numbers_frame = pd.DataFrame(numbers)
    return tables.Table(f"{EXPERIMENT}_likeness", title, numbers_frame, frame, own_labels)


# ---------------------------------------------------------------- table 2
def table_2(found: Sequence[Trio], results: pd.DataFrame) -> tables.Table:
    """Validation accuracy and train loss of pruned and of small networks (PM table 2)."""
    labels = trials.label_columns(results)
    rows = [
        row
        for trio in found
        for metric in _METRICS
        for network in (PRUNED, SMALL)
        for row in _compared(trio, network, metric, utility.settings_of(labels, trio.trial)[1])
    ]
    title = "PM table 2, pruned and retrained networks beside small ones of as many weights"
    return utility.comparison_table(f"{EXPERIMENT}_table_2", title, rows)


def _compared(trio: Trio, network: str, metric: str, texts: Mapping[str, str]) -> list[Compared]:
    rows = trio.rows[network]
    if rows.empty:
        return []
    own = rows.iloc[0].to_dict()
    method = utility.SMALL if network == SMALL else str(own.get("retrain", ""))
    values = utility.values_of(rows, metric)
    return [
        Compared(
            {
                **texts,
                "sparsity (%)": trio.percent[:-1],
                "network": network,
            },
            metric,
            values,
            utility.printed(2, own, method, f"sparsity_{trio.sparsity:.4f}", metric),
            {} if network == SMALL else utility.values_of(trio.rows[SMALL], metric),
            utility.unlike_the_paper(rows, _PAPER_EPOCHS[network]),
            tuple(sorted(set(trio.seeds) - set(values))),
        )
    ]
