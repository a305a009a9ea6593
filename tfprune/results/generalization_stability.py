"""The report of generalization_stability: GST figures 2, 3, 4, B1, B2, C1 to C3; tables C1, F1."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from scipy.special import ndtr

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables
from tfprune.results import figures, stability
from tfprune.results.stability import (
    ACCURACY,
    FILTERS,
    GAP,
    LARGEST,
    NO_PRUNING,
    RUNNING_GAP,
    SCRATCH,
    SMALLEST,
    STABILITY,
    TARGETS,
    Benchmark,
    Configuration,
    Look,
    Relation,
)
from tfprune.seeds import Stream, generator

EXPERIMENT = "generalization_stability"
# What figure 2 correlates: target and period.
FIGURE_2 = {(SMALLEST, 4), (SMALLEST, 40), (LARGEST, 40)}
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
_RATE_COLUMNS = 4
# Below this the means of one panel crowd at its upper edge (figure 3's inset starts at 98.65%).
_CROWDED = 0.95


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the stages' metrics.csv.

    Returns:
      The figures there are data for, accuracy by epoch and against stability first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = stability.benchmarks(store.read_results(output_dir, every_variant=True), EXPERIMENT)
    swept = [benchmark for benchmark in found if has_rates(benchmark)]
    drawn: list[figures.Drawing] = [
        (
            "stability",
            "Test accuracy by epoch, and against the stability of pruning",
            stability_reading(found),
            "GST figures 2 and B2",
            accuracy_and_stability(output_dir, found),
        ),
        (
            "rate",
            "Stability, accuracy and their correlation by iterative rate",
            rate_reading(swept),
            "GST figure 3",
            by_rate(swept),
        ),
        (
            "rate_kendall",
            "Kendall's tau of accuracy and stability by iterative rate",
            kendall_reading(swept),
            "GST figure C2",
            kendall_by_rate(swept),
        ),
        (
            "rate_scatter",
            "Test accuracy against stability at every iterative rate",
            rate_scatter_reading(swept),
            "GST figure C1",
            scatter_by_rate(swept),
        ),
        (
            "gap",
            "Test accuracy and generalization gap against stability",
            gap_reading(found),
            "GST figures 4 and C3",
            accuracy_and_gap(found),
        ),
        (
            "batch_norm",
            "Batch norms' outputs before scale and shift, beside the normal density",
            normal_reading(output_dir, found),
            "GST figure B1",
            normalized(output_dir, found),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Every configuration (tables C1, F1), correlations, t tests (F1) and sizes.

    The paper's numbers stand beside ours. What was not run has no table.
    """
    found = stability.benchmarks(results, EXPERIMENT)
    if not found:
        return []
    title = (
        "GST tables C1 and F1: best test accuracy at or after the last pruning epoch, train "
        "accuracy at that epoch, mean stability over pruning events, and generalization gap, of "
        "the network and of the running training accuracy; mean ± std over runs"
    )
    made = [
        stability.configuration_table(found, f"{EXPERIMENT}_configurations", title),
        stability.correlation_table(
            found,
            f"{EXPERIMENT}_correlations",
            "How accuracy and generalization gap go with stability over runs; intervals "
            "bootstrapped, p-values two-sided",
            relations(found),
        ),
        stability.t_test_table(found, f"{EXPERIMENT}_t_tests", compared),
        size_table(found),
    ]
    return [table for table in made if table is not None]


def pruned(benchmark: Benchmark) -> pd.DataFrame:
    """The runs whose filters were pruned during training."""
    return benchmark.of_kinds(FILTERS)


def _with_pruning(found: Iterable[Benchmark]) -> list[Benchmark]:
    return [benchmark for benchmark in found if len(pruned(benchmark))]


# ---------------------------------------------------------------- figures 2 and B2
def accuracy_and_stability(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """Test accuracy by epoch, mean and bootstrapped 95% band; a run's accuracy against stability.

    A row per benchmark (GST figures 2, B2). The scatter plot has the runs with pruning, without
    those of scratch pruning. Of more than eight configurations, every target has a panel of
    curves. None where no run was pruned.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    found = _with_pruning(found)
    if not found:
        return None
    curves = [stability.curves(output_dir, benchmark) for benchmark in found]
    groups = [_curve_groups(drawn) for drawn in curves]
    columns = max(map(len, groups)) + 1
    longest = max((len(group) for parts in groups for group in parts.values()), default=0)
    with style.house_style():
        height = 3.9 + 0.2 * math.ceil(longest / (2 if columns == 2 else 1))
        width = 11 if columns == 2 else 4.3 * columns
        figure = style.new_figure(width, height * len(found))
        grid = figure.subplots(
            len(found), columns, squeeze=False,
            width_ratios=[1.35 if columns == 2 else 1] * (columns - 1) + [1],
        )  # fmt: skip
        for line, benchmark, drawn, parts in zip(grid, found, curves, groups, strict=True):
            for axes in line[len(parts) : -1]:
                axes.set_axis_off()
            for axes, (name, group) in zip(line, parts.items(), strict=False):
                shown = {c: drawn[c] for c in group}
                stability.draw_curves(axes, benchmark, shown)
                axes.set_title(style.wrapped(", ".join(filter(None, (benchmark.name, name))), 50))
                _legend_under(axes, 2 if columns == 2 else 1)
            style.same_limits(line[: len(parts)])
            stability.scatter(line[-1], benchmark, pruned(benchmark), STABILITY, ACCURACY)
    return figure


def _curve_groups(drawn: Iterable[Configuration]) -> dict[str, list[Configuration]]:
    """What one panel of curves shows, by its title."""
    known = list(drawn)
    if len(known) <= _MOST_CURVES:
        return {"": known} if known else {}
    plain = [c for c in known if c.kind != FILTERS]
    targets = dict.fromkeys(c.target for c in known if c.kind == FILTERS)
    return {
        TARGETS.get(target, target): plain + [c for c in known if (c.kind, c.target) == key]
        for target in targets
        for key in [(FILTERS, target)]
    }


def _legend_under(axes: Axes, columns: int) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns)


# ---------------------------------------------------------------- figures 3 and C1
def rates(benchmark: Benchmark) -> list[float]:
    """The iterative rates that were run, increasing."""
    return sorted({c.rate for c in benchmark.configurations if c.kind == FILTERS and c.rate})


def has_rates(benchmark: Benchmark) -> bool:
    """Whether there is something to see by iterative rate.

    That is three rates, or two at each of which several targets were run.
    """
    known = [c for c in benchmark.configurations if c.kind == FILTERS]
    by_rate_ = [{c.target for c in known if c.rate == rate} for rate in rates(benchmark)]
    return len(by_rate_) >= 3 or sum(len(targets) > 1 for targets in by_rate_) >= 2


def at_rate(benchmark: Benchmark, rate: float) -> pd.DataFrame:
    """The runs with pruning at an iterative rate, of all targets."""
    return benchmark.runs[
        [c.kind == FILTERS and c.rate == rate for c in benchmark.runs["configuration"]]
    ]


def by_rate(found: Sequence[Benchmark]) -> Figure | None:
    """Stability, accuracy, and their correlation against the iterative rate (GST figure 3).

    Points are means over runs with bootstrapped 95% intervals; the dashed line is no pruning. The
    correlation is over the runs of all targets at a rate, with its bootstrapped 95% interval; a
    rate with fewer than three runs has none. A row per benchmark; None of none.
    """
    if not found:
        return None
    with style.house_style():
        figure = style.new_figure(13, 3.9 * len(found) + 0.6)
        grid = figure.subplots(len(found), 3, squeeze=False)
        for (left, centre, right), benchmark in zip(grid, found, strict=True):
            _draw_by_target(left, benchmark, STABILITY)
            _inset(left, benchmark)
            left.set_title(style.wrapped(benchmark.name, 44))
            _draw_by_target(centre, benchmark, ACCURACY)
            _draw_baseline(centre, benchmark)
            _draw_correlations(right, benchmark)
            for axes in (left, centre, right):
                _rate_axis(axes, rates(benchmark))
        figures.legend_below(figure, _target_handles(found))
    return figure


def _draw_by_target(axes: Axes, benchmark: Benchmark, quantity: stability.Quantity) -> None:
    known = [c for c in benchmark.configurations if c.kind == FILTERS]
    for target in dict.fromkeys(c.target for c in known):
        mine = [c for c in known if c.target == target]
        x = sorted({c.rate for c in mine})
        values = [quantity.of(benchmark.runs[_of_rate(benchmark, target, r)]) for r in x]
        mean, errors = _means(values, quantity.scale)
        look = _target_look(target)
        axes.errorbar(
            x, mean, errors, color=look.color, marker=look.marker, markersize=5, capsize=2.5,
            elinewidth=1.1,
        )  # fmt: skip
    axes.set_ylabel(style.wrapped(quantity.label, 32))
    axes.ticklabel_format(axis="y", useOffset=False)


def _of_rate(benchmark: Benchmark, target: str, rate: float) -> list[bool]:
    wanted = (FILTERS, target, rate)
    return [(c.kind, c.target, c.rate) == wanted for c in benchmark.runs["configuration"]]


def _means(values: Sequence[np.ndarray], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Means, and how far down and up their 95% intervals reach, 0 where there is none."""
    mean = np.array([v.mean() for v in values])
    ends = [statistics.mean_interval(v, generator(0, Stream.MEASURE)) for v in values]
    errors = np.array([[m - e.low, e.high - m] for m, e in zip(mean, ends, strict=True)])
    # Rounding must not make a reach negative.
    return scale * mean, scale * np.maximum(np.nan_to_num(errors).T, 0)


def _target_look(target: str) -> Look:
    color = stability.TARGET_COLORS.get(target, style.ORANGE)
    return Look(color, stability.TARGET_MARKERS.get(target, "v"), "-")


def _inset(axes: Axes, benchmark: Benchmark) -> None:
    """The same where it is crowded: the rates at which pruning is most stable, enlarged."""
    means = {r: float(at_rate(benchmark, r)["stability"].mean()) for r in rates(benchmark)}
    stable = [rate for rate, mean in means.items() if mean >= _CROWDED]
    if min(means.values()) >= _CROWDED or len(stable) < 2:
        return
    inset = axes.inset_axes((0.14, 0.1, 0.5, 0.46))
    _draw_by_target(inset, benchmark, STABILITY)
    runs = pd.concat([at_rate(benchmark, rate) for rate in stable])
    by_target = runs.groupby([[c.target for c in runs["configuration"]], "iterative_rate"])
    low = 100 * float(by_target["stability"].mean().min())
    pad = 0.12 * max(100 - low, 0.05)
    _rate_axis(inset, stable)
    inset.set_xlim(stable[0] * 0.8, stable[-1] * 1.25)
    inset.set_ylim(low - 2 * pad, 100 + pad)
    inset.set(xlabel="", ylabel="")
    inset.tick_params(labelsize=7)


def _draw_baseline(axes: Axes, benchmark: Benchmark) -> None:
    values = ACCURACY.of(benchmark.of_kinds(NO_PRUNING))
    if values.size:
        axes.axhline(100 * values.mean(), color=style.BLACK, linestyle="--", linewidth=1.2)


def rate_correlations(benchmark: Benchmark) -> dict[float, statistics.Correlation]:
    """Of accuracy and stability over the runs of all targets, by iterative rate."""
    return {
        rate: stability.correlation(at_rate(benchmark, rate), STABILITY, ACCURACY)
        for rate in rates(benchmark)
    }


def _draw_correlations(axes: Axes, benchmark: Benchmark, coefficient: str = "pearson") -> None:
    links = {r: link for r, link in rate_correlations(benchmark).items() if not _none(link)}
    name, interval = _COEFFICIENTS[coefficient]
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel(f"{name} of accuracy and stability")
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    if not links:
        needs = f"needs at least {stability.FEWEST_RUNS} runs\nat a rate"
        axes.text(0.5, 0.75, needs, transform=axes.transAxes, ha="center", va="center")
        return
    mean = np.array([getattr(link, coefficient) for link in links.values()])
    ends = [
        interval(STABILITY.of(runs), ACCURACY.of(runs), generator(0, Stream.MEASURE))
        for runs in (at_rate(benchmark, rate) for rate in links)
    ]
    errors = np.array([[m - e.low, e.high - m] for m, e in zip(mean, ends, strict=True)])
    errors = np.maximum(np.nan_to_num(errors).T, 0)
    axes.errorbar(
        list(links), mean, errors, color=style.PURPLE, marker="o", markersize=5, capsize=2.5
    )


_COEFFICIENTS = {
    "pearson": ("Pearson's r", statistics.pearson_interval),
    "kendall": ("Kendall's tau", statistics.kendall_interval),
}


def kendall_by_rate(found: Sequence[Benchmark]) -> Figure | None:
    """Kendall's tau of accuracy and stability by iterative rate (GST figure C2).

    As the right panel of `by_rate`, a panel per benchmark; None of none.
    """
    if not found:
        return None
    with style.house_style():
        figure = style.new_figure(6, 3.9 * len(found))
        for axes, benchmark in zip(
            figure.subplots(len(found), 1, squeeze=False).flatten(), found, strict=True
        ):
            _draw_correlations(axes, benchmark, "kendall")
            _rate_axis(axes, rates(benchmark))
            axes.set_title(style.wrapped(benchmark.name, 44))
    return figure


def kendall_reading(found: Sequence[Benchmark]) -> str:
    """Kendall's tau at every rate, in one sentence."""
    said = []
    for benchmark in found:
        links = rate_correlations(benchmark)
        texts = [
            stability.correlation_text(link)
            if _none(link)
            else f"{stability.rate_text(r)}: {link.kendall:.2f} ({figures.p_value(link.kendall_p)})"
            for r, link in links.items()
        ]
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        said.append(f"Kendall's tau by iterative rate{where}: {'; '.join(texts)}.")
    return " ".join(said)


def _none(link: statistics.Correlation) -> bool:
    return math.isnan(link.pearson)


def _rate_axis(axes: Axes, known: Sequence[float]) -> None:
    """A logarithmic axis (base 2) with a tick at every rate that has room for its label."""
    axes.set_xscale("log", base=2)
    shown = [known[0]]
    for rate in known[1:]:
        # As far as labels are wide: a seventeenth of the axis.
        if math.log(rate / shown[-1]) > 0.07 * math.log(known[-1] / known[0]):
            shown.append(rate)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(shown, [stability.rate_text(rate).removesuffix("%") for rate in shown])
    axes.set_xlabel("Iterative pruning rate (%)")


def _target_handles(found: Iterable[Benchmark]) -> list[Line2D]:
    known = {c.target for b in found for c in b.configurations if c.kind == FILTERS}
    handles = [
        Line2D([], [], color=_target_look(t).color, marker=_target_look(t).marker, label=name)
        for t, name in TARGETS.items()
        if t in known
    ]
    return [
        *handles,
        Line2D([], [], color=style.BLACK, linestyle="--", linewidth=1.2, label="No Pruning"),
        Line2D([], [], color=style.PURPLE, marker="o", label="Pearson's r (all targets)"),
    ]


def scatter_by_rate(found: Sequence[Benchmark]) -> Figure | None:
    """A run's accuracy against its stability, a panel per iterative rate (GST figure C1)."""
    if not found:
        return None
    columns = min(_RATE_COLUMNS, max(len(rates(benchmark)) for benchmark in found))
    blocks = [math.ceil(len(rates(benchmark)) / columns) for benchmark in found]
    with style.house_style():
        figure = style.new_figure(3.7 * columns, 3.5 * sum(blocks) + 0.5)
        grid = figure.subplots(sum(blocks), columns, squeeze=False)
        first = 0
        for benchmark, rows in zip(found, blocks, strict=True):
            panels = grid[first : first + rows].flatten()
            first += rows
            known = rates(benchmark)
            for axes in panels[len(known) :]:
                axes.set_axis_off()
            for axes, rate in zip(panels, known, strict=False):
                title = f"Iterative rate {stability.rate_text(rate)}"
                title = f"{benchmark.name}\n{title}" if len(found) > 1 else title
                stability.scatter(
                    axes, benchmark, at_rate(benchmark, rate), STABILITY, ACCURACY,
                    lambda c: _target_look(c.target), title,
                )  # fmt: skip
        handles = [
            stability.point_handle(_target_look(target), name)
            for target, name in TARGETS.items()
            if any(c.target == target for b in found for c in b.configurations)
        ]
        figures.legend_below(figure, [*handles, *stability.line_handles(grid.flatten())])
    return figure


# ---------------------------------------------------------------- figures 4 and C3
_GAPS = (GAP, RUNNING_GAP)


def accuracy_and_gap(found: Sequence[Benchmark]) -> Figure | None:
    """Best test accuracy and generalization gaps against stability, coloured by iterative rate.

    The gaps are train - test accuracy at the epoch of the best test accuracy: of the network after
    the epoch on images as they are, and as the paper's code takes it, of the running training
    accuracy over the epoch's own batches, augmented where training is. A row per benchmark, a
    point per run, a marker per target (GST figures 4, C3). None where no run was pruned, or none
    has a training accuracy.
    """
    found = [b for b in _with_pruning(found) if np.isfinite(GAP.of(pruned(b))).any()]
    if not found:
        return None
    known = sorted({rate for benchmark in found for rate in rates(benchmark)})
    colors = rate_colors(known)

    def look_of(configuration: Configuration) -> Look:
        marker = _target_look(configuration.target).marker
        return Look(colors.get(configuration.rate, style.BLACK), marker, "-")

    known_gaps = [gap for gap in _GAPS if any(np.isfinite(gap.of(pruned(b))).any() for b in found)]
    quantities = (ACCURACY, *known_gaps)
    with style.house_style():
        figure = style.new_figure(0.2 + 4.6 * len(quantities), 3.8 * len(found) + 0.6)
        grid = figure.subplots(len(found), len(quantities), squeeze=False)
        for line, benchmark in zip(grid, found, strict=True):
            for axes, quantity in zip(line, quantities, strict=True):
                stability.scatter(
                    axes, benchmark, pruned(benchmark), STABILITY, quantity, look_of,
                    benchmark.name,
                )  # fmt: skip
        handles = [*_rate_handles(found, colors), *stability.line_handles(grid.flatten())]
        figures.legend_below(figure, handles)
    return figure


def rate_colors(known: Sequence[float]) -> dict[float, str]:
    """A colour per iterative rate: the paper's two, or from light to dark."""
    if len(known) <= 2:
        return dict(zip(known, (style.BLUE, style.ORANGE), strict=False))
    return dict(zip(known, style.sequence_colors(len(known)), strict=True))


def _rate_handles(found: Sequence[Benchmark], colors: dict[float, str]) -> list[Line2D]:
    handles = [
        Line2D(
            [], [], linestyle="", marker="o", markersize=6.5, color=color,
            label=f"iterative rate {stability.rate_text(rate)}",
        )
        for rate, color in colors.items()
    ]  # fmt: skip
    targets = {c.target for b in found for c in b.configurations if c.kind == FILTERS}
    if len(targets) > 1:
        handles += [
            stability.point_handle(Look(style.BLACK, _target_look(t).marker, "-"), name)
            for t, name in TARGETS.items()
            if t in targets
        ]
    return handles


# ---------------------------------------------------------------- figure B1
NORMALIZED = "batch_norm"
NORMALIZED_COLUMNS = ("trained", "place", "low", "density")
_MOST_LAYERS = 8


def normalized(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """Batch norms' outputs before scale and shift, and the standard normal density (GST B1).

    A row for each of the last eight batch norms of one unpruned network, at its initialization and
    after training, over one training batch. None where nothing was measured.

    Raises:
      InputError: a file is damaged.
    """
    table = _normalized_table(output_dir, found)
    if table is None:
        return None
    places = sorted(table["place"].unique())[-_MOST_LAYERS:]
    x = np.linspace(-5, 5, 201)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    with style.house_style():
        figure = style.new_figure(8.4, 1.25 * len(places) + 1.1)
        grid = figure.subplots(len(places), 2, squeeze=False, sharex=True, sharey=True)
        for line, place in zip(grid, places, strict=True):
            for trained, axes in enumerate(line):
                mine = table[(table["place"] == place) & (table["trained"] == trained)]
                width = float(mine["low"].iloc[1] - mine["low"].iloc[0])
                axes.bar(mine["low"], mine["density"], width, align="edge", color=style.BLUE)
                axes.plot(x, density, color=style.ORANGE, linewidth=1.3)
                axes.set_title(str(mine["layer"].iloc[0]), fontsize=8)
                axes.set_xlim(-5, 5)
        for axes, when in zip(grid[-1], ("At initialization", "After training"), strict=True):
            axes.set_xlabel(f"{when}: output before scale and shift")
        grid[len(places) // 2, 0].set_ylabel("Density")
        handles = [
            Line2D([], [], color=style.BLUE, linewidth=5, label="all channels and positions"),
            Line2D([], [], color=style.ORANGE, linewidth=1.3, label="standard normal density"),
        ]
        figures.legend_below(figure, handles)
    return figure


def _normalized_table(
    output_dir: epath.PathLike, found: Sequence[Benchmark]
) -> pd.DataFrame | None:
    """Of the first unpruned network that was measured; None if there is none with batch norm."""
    for benchmark in found:
        runs = benchmark.of_kinds(NO_PRUNING)
        if NORMALIZED in runs:
            there = runs[runs[NORMALIZED].ne("")]
            for table in store.read_measurements(output_dir, there, NORMALIZED, NORMALIZED_COLUMNS):
                if len(table):
                    return table
    return None


def normal_reading(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> str:
    """How far the distributions are from a normal one, in one sentence.

    Raises:
      InputError: a file is damaged.
    """
    table = _normalized_table(output_dir, found)
    if table is None:
        return ""
    said = []
    for trained, when in enumerate(("at initialization", "after training")):
        layers = [mine for _, mine in table[table["trained"] == trained].groupby("place")]
        said.append(f"{np.mean([_distance_to_normal(mine) for mine in layers]):.3f} {when}")
    return (
        "Largest distance of the cumulative distribution to the standard normal one, mean over "
        f"batch norms: {', '.join(said)}; 0 is what E[BN] takes it to be."
    )


def _distance_to_normal(table: pd.DataFrame) -> float:
    """Kolmogorov's distance at the edges of the bins."""
    low = table["low"].to_numpy(float)
    width = low[1] - low[0]
    share = np.cumsum(table["density"].to_numpy(float) * width)
    return float(np.abs(share + (1 - share[-1]) / 2 - ndtr(low + width)).max())


# ---------------------------------------------------------------- readings
def stability_reading(found: Sequence[Benchmark]) -> str:
    """How accuracy goes with stability over runs, and which configuration ends best."""
    found = _with_pruning(found)
    said = stability.correlation_reading(found, pruned, [(STABILITY, ACCURACY)])
    warning = stability.premise(found)
    for benchmark in found:
        means = {c: float(benchmark.of(c)["accuracy"].mean()) for c in benchmark.configurations}
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        said += f" {_most_accurate(benchmark, means, where)}"
        row = published_correlation(benchmark)[0]
        if row is not None:
            said += f" GST prints r = {row['mean']:.2f} for three configurations of ten runs."
    return f"{said} {warning}." if warning else said


def _most_accurate(benchmark: Benchmark, means: Mapping[Configuration, float], where: str) -> str:
    """The configuration of highest accuracy, if it differs from the next and from no pruning."""
    best, *others = sorted(means, key=lambda c: -means[c])
    plain = [c for c in others if c.kind == NO_PRUNING]
    against = f", No Pruning {100 * means[plain[0]]:.2f}%" if plain else ""
    named = f"{benchmark.names[best]} with {100 * means[best]:.2f}%{against}"
    alike = [c for c in others[:1] + plain if not _differ(benchmark, best, c)]
    if alike:
        matched = " and ".join(dict.fromkeys(benchmark.names[c] for c in alike))
        return f"No configuration is the most accurate{where}: {named}, matches {matched}."
    return f"Most accurate{where} is {named}."


def _differ(benchmark: Benchmark, first: Configuration, second: Configuration) -> bool:
    """Whether their accuracies differ by PEG's rule, seed by seed; a single seed says nothing."""
    found = [benchmark.of(c).set_index("seed")["accuracy"] for c in (first, second)]
    return statistics.match_or_differ(*found).verdict not in ("", "matches")


def rate_reading(found: Sequence[Benchmark]) -> str:
    """At which rate each target ends best, and at how many rates r is negative."""
    said = []
    for benchmark in found:
        known = [c for c in benchmark.configurations if c.kind == FILTERS]
        peaks = []
        for target in dict.fromkeys(c.target for c in known):
            means = {
                rate: float(benchmark.runs[_of_rate(benchmark, target, rate)]["accuracy"].mean())
                for rate in sorted({c.rate for c in known if c.target == target})
            }
            peaks.append(f"{_peak(benchmark, target, means)} with {TARGETS.get(target, target)}")
        links = [link for link in rate_correlations(benchmark).values() if not _none(link)]
        negative = sum(link.pearson < 0 for link in links)
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        count = (
            f"accuracy falls with stability (r < 0) at {negative} of {len(links)} rates"
            if links
            else f"a correlation needs at least {stability.FEWEST_RUNS} runs at a rate"
        )
        said.append(f"Test accuracy{where} is highest at a rate of {', '.join(peaks)}; {count}.")
    return " ".join(said)


def _peak(benchmark: Benchmark, target: str, means: Mapping[float, float]) -> str:
    """The rate of highest accuracy, if it differs from that of the next."""
    best, *others = sorted(means, key=lambda rate: -means[rate])
    by_rate = {
        c.rate: c for c in benchmark.configurations if (c.kind, c.target) == (FILTERS, target)
    }
    if others and not _differ(benchmark, by_rate[best], by_rate[others[0]]):
        return "no one rate"
    return stability.rate_text(best)


def rate_scatter_reading(found: Sequence[Benchmark]) -> str:
    """The correlation of accuracy and stability at every rate, in one sentence."""
    said = []
    for benchmark in found:
        links = rate_correlations(benchmark)
        texts = [f"{stability.rate_text(r)}: {_short(link)}" for r, link in links.items()]
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        said.append(f"Pearson's r by iterative rate{where}: {'; '.join(texts)}.")
    return " ".join(said)


def _short(link: statistics.Correlation) -> str:
    if _none(link):
        return stability.correlation_text(link)
    return f"{link.pearson:.2f} ({figures.p_value(link.pearson_p)})"


def gap_reading(found: Sequence[Benchmark]) -> str:
    """How accuracy and generalization gap go with stability over runs, in one sentence."""
    pairs = [(STABILITY, quantity) for quantity in (ACCURACY, *_GAPS)]
    text = stability.correlation_reading(_with_pruning(found), pruned, pairs)
    return f"{text} {_GAPS_NAMED}" if text else ""


_GAPS_NAMED = (
    "The generalization gap is of the network after the epoch, on training images as they are; "
    "the running one, as the paper's code takes it, is of the training accuracy over the epoch's "
    "own batches, augmented where training is."
)


# ---------------------------------------------------------------- tables
def relations(found: Sequence[Benchmark]) -> list[Relation]:
    """What the table of correlations has, benchmark by benchmark."""
    made = []
    for benchmark in _with_pruning(found):
        runs, paper = pruned(benchmark), (None, None)
        is_figure_2 = {(c.target, c.period) for c in runs["configuration"]} == FIGURE_2
        own = published_correlation(benchmark) if is_figure_2 else paper
        made.append(Relation(benchmark, "all with pruning", runs, STABILITY, ACCURACY, own))
        some = figure_2_runs(benchmark)
        if len(some) and not is_figure_2:
            made.append(
                Relation(
                    benchmark,
                    "those of figure 2 (S 4, S 40, L 40 epochs)",
                    some,
                    STABILITY,
                    ACCURACY,
                    published_correlation(benchmark),
                )
            )
        made += [
            Relation(benchmark, "all with pruning", runs, STABILITY, gap)
            for gap in _GAPS
            if np.isfinite(gap.of(runs)).any()
        ]
        if has_rates(benchmark):
            made += [
                Relation(
                    benchmark,
                    f"iterative rate {stability.rate_text(rate)}",
                    at_rate(benchmark, rate),
                    STABILITY,
                    ACCURACY,
                )
                for rate in rates(benchmark)
            ]
    return made


def figure_2_runs(benchmark: Benchmark) -> pd.DataFrame:
    """The runs of the three configurations that figure 2 correlates, if all three were run."""
    runs = pruned(benchmark)
    wanted = _FIGURE_2_SETTINGS.get(str(benchmark.facts.get("model")), ("", ""))[1]
    marks = [
        (c.target, c.period) if c.fractions in ("", wanted) else None for c in runs["configuration"]
    ]
    return runs[[mark in FIGURE_2 for mark in marks]] if set(marks) >= FIGURE_2 else runs.iloc[:0]


def published_correlation(benchmark: Benchmark) -> tuple[pd.Series | None, pd.Series | None]:
    """Figure 2's r and p, if these runs are its: network, data, criterion and schedules."""
    criterion, fractions = _FIGURE_2_SETTINGS.get(str(benchmark.facts.get("model")), ("", ""))
    found = {c.fractions for c in figure_2_runs(benchmark)["configuration"]}
    if criterion != benchmark.facts.get("criterion") or found != {fractions}:
        return None, None
    metric = "accuracy_stability_pearson"
    r, p = (stability.printed(benchmark, "figure 2", m) for m in (metric, f"{metric}_p"))
    return r, p


def compared(benchmark: Benchmark) -> list[tuple[Configuration, Configuration]]:
    """Which configurations the t tests compare (table F1).

    The targets with each other, at one period; and, at the largest rate of each target, pruning
    with the same architecture from scratch and with no pruning.
    """
    known = benchmark.configurations
    kept = [c for c in known if c.kind == FILTERS]
    alike = [
        (second, first)
        for place, first in enumerate(kept)
        for second in kept[place + 1 :]
        if first.target != second.target
        and (first.period, first.total) == (second.period, second.total)
    ]
    largest = [
        max((c for c in kept if c.target == t), key=lambda c: c.rate) for t in _targets(kept)
    ]
    plain = [c for c in known if c.kind in (NO_PRUNING, SCRATCH)]
    return alike + [(first, second) for first in largest for second in plain]


def _targets(kept: Iterable[Configuration]) -> list[str]:
    return list(dict.fromkeys(c.target for c in kept))


_SIZES = ("parameters", "flops")
# Shares that are left: of the filters of all prunable layers, and of all kernel weights, with what
# read the channels of pruned filters gone too.
_LEFT = {"filters_remaining": "filters left (%)", "live_weights_remaining": "weights left (%)"}


def size_table(found: Sequence[Benchmark]) -> tables.Table | None:
    """FLOPs and parameters of pruned networks before and after shrinking; None where none is known.

    FLOPs are of one example. The paper's numbers are of the networks of its figure 2 (section 2)
    and of table C1 (section 3.2); they count differently, as their notes say.
    """
    needed = [f"{size}{after}" for size in _SIZES for after in ("", "_shrunk")]
    rows = [
        (benchmark, c, runs)
        for benchmark in found
        for c in benchmark.configurations
        if c.kind in (FILTERS, SCRATCH)
        for runs in [benchmark.of(c)]
        if all(name in runs and runs[name].notna().any() for name in needed)
    ]
    if not rows:
        return None
    numbers = pd.DataFrame([_size_numbers(b, c, runs, needed) for b, c, runs in rows])
    shown = pd.DataFrame({"configuration": numbers["configuration"]}, dtype="object")
    if len(found) > 1:
        shown.insert(0, "benchmark", numbers["benchmark"])
    for size, heading in (("parameters", "parameters"), ("flops", "FLOPs")):
        for after, when in (("", "before"), ("_shrunk", "shrunk")):
            shown[f"{heading} {when}"] = [f"{v:,.0f}" for v in numbers[f"{size}{after}"]]
        shown[f"{heading} removed (%)"] = [f"{100 * v:.1f}" for v in numbers[f"{size}_removed"]]
    for column, heading in _LEFT.items():
        if numbers[column].notna().any():
            shown[heading] = [f"{100 * v:.1f}" for v in numbers[column]]
    if numbers["paper_parameters_removed"].ne("").any():
        shown["paper, parameters removed"] = numbers["paper_parameters_removed"]
    shown["runs"] = numbers["n"].astype(str)
    title = (
        "Parameters and FLOPs of one example before and after the pruned filters are taken out, "
        "mean over runs"
    )
    labels = tuple(str(c) for c in shown if c in ("benchmark", "configuration"))
    return tables.Table(f"{EXPERIMENT}_size", title, numbers, shown, labels)


def _size_numbers(
    benchmark: Benchmark, configuration: Configuration, runs: pd.DataFrame, needed: Sequence[str]
) -> dict[str, object]:
    row: dict[str, object] = {
        **benchmark.facts,
        "benchmark": benchmark.name,
        "configuration": benchmark.names[configuration],
        "n": len(runs),
    }
    means = {name: float(pd.to_numeric(runs[name]).mean()) for name in needed}
    means |= {
        name: float(pd.to_numeric(runs.get(name, pd.Series(math.nan))).mean()) for name in _LEFT
    }
    removed = {f"{s}_removed": 1 - means[f"{s}_shrunk"] / means[s] for s in _SIZES}
    paper = [
        f"{found['mean']:g}% ({place})"
        for place, fractions in _COUNTED_FRACTIONS.items()
        if configuration.fractions in fractions
        if (found := stability.printed(benchmark, place, "parameters_removed_percent")) is not None
    ]
    return {**row, **means, **removed, "paper_parameters_removed": ", ".join(paper)}
