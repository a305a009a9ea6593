"""What generalization_stability shows: accuracy against the stability of pruning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator
from scipy.special import ndtr

from tfprune.measures import statistics
from tfprune.papers.gst import parts, runs
from tfprune.papers.gst.runs import ACCURACY, FILTERS, STABILITY, Benchmark, Configuration, Found
from tfprune.report import grammar, readings, style, tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Axis, Figure, Legend, Line, Lines, Mark, Panel, Scale, Spread
from tfprune.report.pointer import Trace
from tfprune.report.summary import Printed

# What figure 2 correlates: target and period.
_FIGURE_2 = {("smallest", 4), ("smallest", 40), ("largest", 40)}
# With what figure 2 scores filters (figure B2 prunes the same networks by E[BN]), and the fractions
# of the four layers that it prunes (table C1's differ in the second).
_FIGURE_2_SETTINGS = {
    "vgg11": ("filter_l2", "0.3,0.3,0.3,0.9"),
    "resnet18": ("filter_activation", "0.25,0.4,0.25,0.95"),
}
# Of the networks whose parameters it counts: figure 2's, and table C1's (section 3.2).
_COUNTED_FRACTIONS = {
    "section 2": {fractions for _, fractions in _FIGURE_2_SETTINGS.values()},
    "section 3.2": {"0.25,0.8,0.25,0.95"},
}
# More curves than these hide each other in one panel: then every target has its own.
_MOST_CURVES = 8
# Below this the means of one panel crowd at its upper edge (figure 3's inset starts at 98.65%).
_CROWDED = 0.95
_PRUNED = attrgetter("pruned")
_GAPS = (runs.GAP, runs.RUNNING_GAP)
_RATE = "iterative_rate"
_MOST_LAYERS = 8


def _with_pruning(found: Found) -> list[Benchmark]:
    return [benchmark for benchmark in found if len(benchmark.pruned)]


# ---------------------------------------------------------------- curves and all runs
def _curves_and_points(benchmark: Benchmark) -> pd.DataFrame:
    """Curves of all configurations, of a target each where these are many; the pruned runs."""
    known = benchmark.configurations
    panels = {"": known}
    if len(known) > _MOST_CURVES:
        targets = dict.fromkeys(c.target for c in known if c.kind == FILTERS)
        panels = {
            runs.TARGETS[t]: [c for c in known if c.kind != FILTERS or c.target == t]
            for t in targets
        }
    curves = parts.curve_rows(benchmark, panels).assign(kind="curves")
    points = benchmark.pruned.assign(kind="runs", shown="runs", title="")
    rows = pd.concat([curves, points])
    return rows.assign(shown=pd.Categorical(rows["shown"], ["", *runs.TARGETS.values(), "runs"]))


def _most_accurate(benchmark: Benchmark) -> str:
    """The configuration of highest accuracy, if it differs from the next and from no pruning."""
    means = benchmark.means(ACCURACY)
    best, *others = sorted(means, key=lambda c: -means[c])
    plain = [c for c in others if c.kind == runs.NO_PRUNING]
    said = f"{best} with {100 * means[best]:.2f}%"
    said += f", No Pruning {100 * means[plain[0]]:.2f}%" if plain else ""
    near = dict.fromkeys(str(c) for c in others[:1] + plain if not _differ(benchmark, best, c))
    alike = f", matches {' and '.join(near)}" if near else ""
    lead = "No configuration is the most accurate{}:" if near else "Most accurate{} is"
    said = f"{lead.format(benchmark.where)} {said}{alike}."
    if paper := [printed for printed in figure_2(benchmark)[1] if printed]:
        said += f" GST prints r = {paper[0].mean:.2f} for three configurations of ten runs."
    return said


def _differ(benchmark: Benchmark, first: Configuration, second: Configuration) -> bool:
    """Whether their accuracies differ by PEG's rule, seed by seed; a single seed says nothing."""
    found = [benchmark.of(c).set_index("seed")["accuracy"] for c in (first, second)]
    return statistics.match_or_differ(*found).differs


# ---------------------------------------------------------------- by rate
def at_rates(benchmark: Benchmark) -> pd.DataFrame:
    """The runs with pruning, by iterative rate, each with the mean accuracy of no pruning."""
    rows = benchmark.pruned[benchmark.pruned[_RATE] > 0].sort_values(_RATE, kind="stable")
    title = [f"{benchmark.title}\nIterative rate {runs.rate_text(rate)}" for rate in rows[_RATE]]
    baseline = benchmark.runs.loc[benchmark.runs["kind"] == runs.NO_PRUNING, "accuracy"].mean()
    return rows.assign(title=title, baseline=baseline)


def _swept(found: Found) -> list[Benchmark]:
    """Those with something to see by rate: three, or two at each of which are several targets."""
    several = {b: at_rates(b).groupby(_RATE)["target"].nunique() > 1 for b in found}
    return [b for b, many in several.items() if len(many) >= 3 or many.sum() >= 2]


def correlations(benchmark: Benchmark) -> dict[Any, parts.Row]:
    """How accuracy goes with stability at every rate, over the runs of all targets."""
    return {
        rate: parts.relation(f"iterative rate {runs.rate_text(rate)}", rows, STABILITY, ACCURACY)
        for rate, rows in at_rates(benchmark).groupby(_RATE)
    }


def _coefficients(benchmark: Benchmark) -> pd.DataFrame:
    """A row for every rate that has enough runs."""
    rows = pd.DataFrame([{**row, _RATE: r} for r, row in correlations(benchmark).items()])
    return rows.dropna(subset="pearson").assign(seed=0, title="", shown="pearson")


def _by_rate(benchmark: Benchmark) -> pd.DataFrame:
    """Runs for stability and for accuracy; correlations."""
    rows = at_rates(benchmark)
    stable = rows.assign(shown="stability", title=benchmark.name)
    return pd.concat([stable, rows.assign(shown="accuracy", title=""), _coefficients(benchmark)])


def _rate_axis(axes: Axes, known: Sequence[float]) -> None:
    """A logarithmic axis (base 2) with a tick at every rate that has room for its label."""
    axes.set_xscale("log", base=2)
    shown = [known[0]]
    for rate in known[1:]:
        # As far as labels are wide: a seventeenth of the axis.
        if math.log(rate / shown[-1]) > 0.07 * math.log(known[-1] / known[0]):
            shown.append(rate)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(shown, [runs.rate_text(rate).removesuffix("%") for rate in shown])


def _mean_ends(line: Line) -> tuple[Any, Any]:
    """Bootstrapped 95% intervals of the means at every rate."""
    values = line.quantity.scale * line.rows[line.quantity.column]
    ends = [
        statistics.mean_interval(v, parts.random()) for _, v in values.groupby(line.rows[_RATE])
    ]
    return tuple(end.low for end in ends), tuple(end.high for end in ends)


def _draw_inset(panel: Panel) -> None:
    """The same where it is crowded: the rates at which pruning is most stable, enlarged."""
    means = panel.rows.groupby(_RATE)["stability"].mean()
    stable = means.index[means >= _CROWDED].to_list()
    if means.min() >= _CROWDED or len(stable) < 2:
        return
    inset = panel.axes.inset_axes((0.14, 0.1, 0.5, 0.46))
    for line in panel.lines:
        _of_targets(STABILITY).draw_line(inset, line)
    low = min(line.mean[line.mean.index.isin(stable)].min() for line in panel.lines)
    pad = 0.12 * max(100 - low, 0.05)
    _rate_axis(inset, stable)
    inset.set(xlim=(stable[0] * 0.8, stable[-1] * 1.25), ylim=(low - 2 * pad, 100 + pad))
    inset.tick_params(labelsize=7)


def _draw_baseline(panel: Panel) -> bool:
    baseline = 100 * panel.rows["baseline"].iloc[0]
    panel.axes.axhline(baseline, color=style.BLACK, linestyle="--", linewidth=1.2)
    return not math.isnan(baseline)


_ACROSS = Axis(
    _RATE, "Iterative pruning rate (%)",
    finish=lambda panel: _rate_axis(panel.axes, sorted(panel.rows[_RATE].unique())),
)  # fmt: skip
_INSET = Mark(_draw_inset, late=True)
_BASELINE = Mark(_draw_baseline, lambda: grammar.line_handle("No Pruning", dash="--"))
_ALL_TARGETS = Mark(
    lambda panel: None, lambda: grammar.line_handle("Pearson's r (all targets)", style.ORANGE, "o")
)


def _of_targets(quantity: Axis, *marks: Mark) -> Lines:
    means = Spread(_mean_ends, bars=True)
    return Lines(_ACROSS, quantity, marks=marks, spread=means, **parts.BY_TARGET)


def _correlations(column: str, name: str, *marks: Mark) -> Lines:
    def ends(line: Line) -> tuple[Any, Any]:
        return line.rows[f"{column}_low"].tolist(), line.rows[f"{column}_high"].tolist()

    label = f"{name} of accuracy and stability"
    y = Axis(column, label, finish=lambda panel: panel.axes.set_ylim(-1.05, 1.05))
    return Lines(_ACROSS, y, color=style.ORANGE, marker="o", marks=(grammar.ZERO, *marks),
                 spread=Spread(ends, bars=True))  # fmt: skip


def _peaks(benchmark: Benchmark) -> str:
    """At which rate each target ends best, and at how many rates r is negative."""
    kept = [c for c in benchmark.configurations if c.iterative_rate]
    said = ", ".join(
        f"{_peak(benchmark, [c for c in kept if c.target == target])} with {runs.TARGETS[target]}"
        for target in dict.fromkeys(c.target for c in kept)
    )
    links = _coefficients(benchmark)["pearson"]
    count = (
        f"accuracy falls with stability (r < 0) at {(links < 0).sum()} of {len(links)} rates"
        if len(links)
        else f"a correlation needs at least {parts.FEWEST_RUNS} runs at a rate"
    )
    return f"Test accuracy{benchmark.where} is highest at a rate of {said}; {count}."


def _peak(benchmark: Benchmark, known: Sequence[Configuration]) -> str:
    """The rate of highest accuracy, if it differs from that of the next."""
    means = benchmark.means(ACCURACY)
    best, *others = sorted(known, key=lambda c: -means[c])
    if others and not _differ(benchmark, best, others[0]):
        return "no one rate"
    return runs.rate_text(best.iterative_rate)


def _by_rate_reading(column: str, name: str) -> Callable[[Found], str]:
    """The correlation of accuracy and stability at every rate."""

    def told(row: parts.Row) -> str:
        if math.isnan(row[column]):
            return parts.no_correlation(row["n"])
        return f"{row[column]:.2f} ({readings.p_value(row[f'{column}_p'])})"

    def say(benchmark: Benchmark) -> str:
        rates = correlations(benchmark).items()
        said = "; ".join(f"{runs.rate_text(rate)}: {told(row)}" for rate, row in rates)
        return f"{name} by iterative rate{benchmark.where}: {said}."

    return parts.on_each(say)


_RATES = Scale(
    _RATE,
    lambda known: dict(zip(sorted(known), runs.shades(len(known)), strict=True)),
    lambda rate: f"iterative rate {runs.rate_text(rate)}",
)
_GAP_PAIRS = [(STABILITY, quantity) for quantity in (ACCURACY, *_GAPS)]
_GAPS_SAID = parts.correlation_text_of(_GAP_PAIRS, _PRUNED)
_GAPS_NAMED = (
    "The generalization gap is of the network after the epoch, on training images as they are; "
    "the running one, as the paper's code takes it, is of the training accuracy over the epoch's "
    "own batches, augmented where training is."
)


# ---------------------------------------------------------------- batch norms
_GREY = "#B0B0B0"
_TRAINED = ("At initialization", "After training")


@dataclass(frozen=True)
class Densities:
    """A histogram, and the standard normal density beside it."""

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        x = np.linspace(-5, 5, 201)
        low, normal = rows["low"].to_numpy(), np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        axes.bar(low, rows["density"], low[1] - low[0], align="edge", color=_GREY)
        axes.plot(x, normal, color=style.BLACK, linewidth=1.3)
        middle, labels = low + (low[1] - low[0]) / 2, ("Output", "Density")
        across, up = ([f"{value:.3g}" for value in side] for side in (middle, rows["density"]))
        legend.traces.append(Trace(axes, "", middle, rows["density"], across, up, labels))
        axes.set(xlim=(-5, 5), ylim=(0, 1.05 * max(known["density"].max(), normal.max())),
                 xlabel="Output before scale and shift", ylabel="Density")  # fmt: skip
        legend.add(0, Patch(color=_GREY, label="all channels and positions"))
        legend.add(1, grammar.line_handle("standard normal density"))


def normalized(found: Found) -> pd.DataFrame:
    """Of the first unpruned network that was measured, before and after training.

    Raises:
      InputError: a file is damaged.
    """
    needed = ("trained", "place", "low", "density")
    rows = parts.rows_of(lambda benchmark: benchmark.measured("batch_norm", needed))(found)
    if rows.empty:
        return rows.reindex(columns=needed)
    rows = rows[rows[["benchmark", "seed"]].eq(rows[["benchmark", "seed"]].iloc[0]).all(axis=1)]
    when = [_TRAINED[int(trained)] for trained in rows["trained"]]
    return rows.assign(when=when, title=rows["layer"].astype(str) + ": " + when)


def normal_reading(rows: pd.DataFrame) -> str:
    """How far the distributions are from a normal one."""
    away = rows.groupby(["when", "place"])[["low", "density"]].apply(distance_to_normal)
    said = [f"{away[when].mean():.3f} {when.lower()}" for when in _TRAINED]
    return (
        "Largest distance of the cumulative distribution to the standard normal one, mean over "
        f"batch norms: {', '.join(said)}; 0 is what E[BN] takes it to be."
    )


def distance_to_normal(histogram: pd.DataFrame) -> float:
    """Kolmogorov's distance at the edges of the bins."""
    low = histogram["low"].to_numpy(float)
    width = low[1] - low[0]
    share = np.cumsum(histogram["density"].to_numpy(float) * width)
    return float(np.abs(share + (1 - share[-1]) / 2 - ndtr(low + width)).max())


# ---------------------------------------------------------------- tables
def relations(b: Benchmark) -> Iterator[parts.Row]:
    """What the table of correlations has of a benchmark."""
    if b.pruned.empty:
        return
    pair, (three, paper) = (STABILITY, ACCURACY), figure_2(b)
    of_all = len(three) == len(b.pruned)
    yield parts.relation("all with pruning", b.pruned, *pair, paper if of_all else ())
    if len(three) and not of_all:
        yield parts.relation("those of figure 2 (S 4, S 40, L 40 epochs)", three, *pair, paper)
    for gap in _GAPS:
        yield parts.relation("all with pruning", b.pruned, STABILITY, gap)
    if _swept([b]):
        yield from correlations(b).values()


def figure_2(benchmark: Benchmark) -> tuple[pd.DataFrame, list[Printed | None]]:
    """The runs of the three configurations that figure 2 correlates, if all three were run.

    And its r and p, where these are of its network, data, criterion and schedules.
    """
    criterion, fractions = _FIGURE_2_SETTINGS.get(benchmark.facts["model"], ("", ""))
    known = [
        c
        for c in benchmark.configurations
        if (c.target, c.period) in _FIGURE_2 and c.layer_fractions in ("", fractions)
    ]
    if {(c.target, c.period) for c in known} != _FIGURE_2:
        return benchmark.runs.iloc[:0], []
    rows = benchmark.pruned[benchmark.pruned["configuration"].isin(known)]
    is_papers = {c.layer_fractions for c in known} == {fractions}
    if not is_papers or criterion != benchmark.facts["criterion"]:
        return rows, []
    metric = "accuracy_stability_pearson"
    return rows, [benchmark.printed("figure 2", name) for name in (metric, f"{metric}_p")]


def compared(benchmark: Benchmark) -> list[parts.Pair]:
    """Which configurations the t tests compare (table F1): networks that lose the same fractions.

    The targets with each other, at one period; and, at the largest rate of each target, pruning
    with the same architecture from scratch and with no pruning.
    """
    known = benchmark.configurations
    kept = [c for c in known if c.kind == FILTERS]
    alike = [
        (second, first)
        for first, second in combinations(kept, 2)
        if first.target != second.target
        and (first.period, _lost(first)) == (second.period, _lost(second))
    ]
    rated = sorted(kept, key=lambda c: c.iterative_rate)
    largest = {(c.target, _lost(c)): c for c in rated}
    plain = [c for c in known if c.kind in (runs.NO_PRUNING, runs.SCRATCH)]
    return alike + [
        (largest[target, lost], other)
        for target, lost in dict.fromkeys((c.target, _lost(c)) for c in kept)
        for other in plain
        if other.kind == runs.NO_PRUNING or _lost(other) == lost
    ]


def _lost(c: Configuration) -> tuple[float, str]:
    """The fractions of filters that a configuration loses in all."""
    return c.total_fraction, c.layer_fractions


_SIZES = {"parameters": "parameters", "flops": "FLOPs"}
# Shares that are left: of the filters of all prunable layers, and of all kernel weights, with what
# read the channels of pruned filters gone too.
_LEFT = {"filters_remaining": "filters left (%)", "live_weights_remaining": "weights left (%)"}
_NEEDED = [f"{size}{after}" for size in _SIZES for after in ("", "_shrunk")]


def _sizes(benchmark: Benchmark) -> Iterator[parts.Row]:
    """Of networks of which there are FLOPs and parameters before and after shrinking.

    The paper's numbers are of the networks of its figure 2 (section 2) and of table C1 (section
    3.2); they count differently, as their notes say.
    """
    for c in benchmark.configurations:
        rows = benchmark.of(c).reindex(columns=[*_NEEDED, *_LEFT])
        means = rows.mean().to_dict()
        if c.kind not in (FILTERS, runs.SCRATCH) or any(
            math.isnan(means[name]) for name in _NEEDED
        ):
            continue
        paper = [
            f"{printed.mean:g}% ({place})"
            for place, fractions in _COUNTED_FRACTIONS.items()
            if c.layer_fractions in fractions
            if (printed := benchmark.printed(place, "parameters_removed_percent"))
        ]
        yield {
            "configuration": c.name,
            "n": len(rows),
            **means,
            **{f"{size}_removed": 1 - means[f"{size}_shrunk"] / means[size] for size in _SIZES},
            "paper_parameters_removed": ", ".join(paper),
        }


def _size_table() -> parts.MakeTable:
    shown: dict[str, Any] = {"configuration": "configuration"}
    for size, heading in _SIZES.items():
        for after, when in (("", "before"), ("_shrunk", "shrunk")):
            shown[f"{heading} {when}"] = tables.text(f"{size}{after}", "{:,.0f}".format)
        shown[f"{heading} removed (%)"] = tables.text(f"{size}_removed", tables.plus_minus)
    shown |= {heading: tables.text(column, tables.plus_minus) for column, heading in _LEFT.items()}
    shown |= {"paper, parameters removed": "paper_parameters_removed", "runs": "n"}
    title = (
        "Parameters and FLOPs of one example before and after the pruned filters are taken out, "
        "mean over runs"
    )
    return parts.table("size", title, _sizes, shown)


# fmt: off
GENERALIZATION_STABILITY = Experiment(
    "generalization_stability",
    runs.benchmarks,
    figures=(
        Figure(
            "stability", "Test accuracy by epoch, and against the stability of pruning",
            parts.rows_of(_curves_and_points),
            {"curves": parts.CURVES, "runs": parts.Points(STABILITY, ACCURACY, told=False)},
            parts.on_each(
                parts.correlation_text_of(_GAP_PAIRS[:1], _PRUNED), _most_accurate,
                premise=True),
            _with_pruning, row="benchmark", column="shown", by="kind",
            heading="title", same_y="same_y", size=(7.4, 5.0, 4.6), legend="panel"),
        Figure(
            "rate", "Stability, accuracy and their correlation by iterative rate",
            parts.rows_of(_by_rate),
            {"stability": _of_targets(STABILITY, _INSET),
             "accuracy": _of_targets(ACCURACY, _BASELINE),
             "pearson": _correlations("pearson", "Pearson's r", _ALL_TARGETS)},
            parts.on_each(_peaks), _swept, row="benchmark", column="shown", heading="title",
            size=(6.0, 4.4, 3.9)),
        Figure(
            "rate_kendall", "Kendall's tau of accuracy and stability by iterative rate",
            parts.rows_of(_coefficients), _correlations("kendall", "Kendall's tau"),
            _by_rate_reading("kendall", "Kendall's tau"), _swept, panel="benchmark",
            size=(6.0, 4.6, 3.6)),
        Figure(
            "rate_scatter", "Test accuracy against stability at every iterative rate",
            parts.rows_of(at_rates), parts.Points(STABILITY, ACCURACY, **parts.BY_TARGET),
            _by_rate_reading("pearson", "Pearson's r"), _swept, row="benchmark",
            column=_RATE,
            heading="title", wrap=4, size=(6.0, 3.7, 3.5)),
        parts.scatter(
            "gap", "Test accuracy and generalization gap against stability", _GAP_PAIRS,
            _PRUNED,
            lambda found: f"{parts.on_each(_GAPS_SAID)(found)} {_GAPS_NAMED}", _with_pruning,
            color=_RATES, marker=parts.BY_TARGET["marker"]),
        Figure(
            "batch_norm", "Batch norms' outputs before scale and shift, beside the normal density",
            lambda rows: rows[rows["place"] > rows["place"].max() - _MOST_LAYERS], Densities(),
            normal_reading, normalized, row="place", column="when", heading="title",
            size=(4.2, 4.2, 1.7)),
    ),
    tables=(
        parts.configuration_table(
            "GST tables C1 and F1: best test accuracy at or after the last pruning epoch, train "
            "accuracy at that epoch, mean stability over pruning events, and generalization gap, "
            "of the network and of the running training accuracy; mean ± std over runs"),
        parts.correlation_table(
            "How accuracy and generalization gap go with stability over runs", relations),
        parts.t_test_table(compared),
        _size_table(),
    ),
    every_variant=True,
)
