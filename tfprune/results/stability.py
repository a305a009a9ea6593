"""What the reports of GST's experiments share: runs, configurations, scatter plots, tables.

A run is a training with one seed; a configuration is what its runs have in common: no pruning, a
schedule of filter pruning, the pruned architecture from scratch, or a noise in pruning's place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfprune import store
from tfprune.measures import statistics
from tfprune.papers.published import published
from tfprune.report import style, tables, trials
from tfprune.results import figures
from tfprune.seeds import Stream, generator
from tfprune.studies.settings import FilterConfig, FlatnessConfig

PAPER = "GST"
NO_PRUNING, FILTERS, SCRATCH = "none", "filters", "scratch"
ZEROING, GAUSSIAN, RESTORING = "zeroing", "gaussian", "restoring"
NOISES = {ZEROING: "Zeroing", GAUSSIAN: "Gaussian", RESTORING: "Restoring"}
_KINDS = (NO_PRUNING, FILTERS, SCRATCH, *NOISES)
SMALLEST, RANDOM, LARGEST = "smallest", "random", "largest"
TARGETS = {SMALLEST: "Prune_S", RANDOM: "Prune_R", LARGEST: "Prune_L"}
TARGET_COLORS = {SMALLEST: style.BLUE, RANDOM: style.GREEN, LARGEST: style.VERMILLION}
TARGET_MARKERS = {SMALLEST: "o", RANDOM: "s", LARGEST: "^"}
_SCRATCH_COLOR, _SCRATCH_MARKER = style.PURPLE, "D"
_LINESTYLES: tuple[Any, ...] = ("-", "--", ":", "-.")
# How much white is mixed into the colour of the smallest of several rates.
_PALEST = 0.55
# What trials must have in common for their configurations to be compared.
_BASE = ("dataset", "model", "label_noise", "noise_fraction", "criterion")
_NAMED = _BASE[:4]
FEWEST_RUNS = 3
# The largest p-value of a trend that a reading calls one.
SIGNIFICANT = 0.05
# As many as seaborn's, with which the paper draws its bands.
_BAND_RESAMPLES = 1000


@dataclass(frozen=True)
class Configuration:
    """What the runs of one legend entry have in common.

    Attributes:
      kind: `none`, `filters`, `scratch`, or a noise: `zeroing`, `gaussian`, `restoring`.
      target: of the filters: `smallest`, `random` or `largest`; "" without pruning.
      period: epochs between the pruning events of a layer; 0 where there are none.
      rate: the iterative rate, the fraction of the last scheduled layer that an event prunes.
      total: the fraction of that layer that all events prune.
      fractions: those of all scheduled layers, as "0.3,0.3,0.9"; "" where results.csv has none.
      batches: training batches that a noise lasts.
      cumulative: whether the noise is on all filters targeted so far, or only on new ones.
    """

    kind: str
    target: str = ""
    period: int = 0
    rate: float = 0.0
    total: float = 0.0
    fractions: str = ""
    batches: int = 0
    cumulative: bool = False

    @property
    def short_name(self) -> str:
        """Its name where no other configuration has the same: "Prune_L 13%", "Zeroing 50"."""
        if self.kind == NO_PRUNING:
            return "No Pruning"
        if self.kind == SCRATCH:
            return f"Scratch ({TARGETS.get(self.target, self.target)})"
        if self.kind == FILTERS:
            return f"{TARGETS.get(self.target, self.target)} {rate_text(self.rate)}"
        cumulative = ", cumulative" if self.cumulative else ""
        return f"{NOISES[self.kind]} {self.batches}{cumulative}"

    @property
    def place(self) -> tuple[Any, ...]:
        """Sorts configurations as legends and tables list them."""
        targets = list(TARGETS)
        target = targets.index(self.target) if self.target in targets else len(targets)
        kind = _KINDS.index(self.kind)
        numbers = (self.rate, self.total, self.fractions, self.period, self.batches)
        return kind, self.cumulative, target, *numbers


@dataclass(frozen=True)
class Look:
    """How a configuration is drawn, the same in every figure of an experiment."""

    color: str
    marker: str
    linestyle: Any


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What is learned, and every run on it.

    Attributes:
      name: the data and the model, and what else tells this from other benchmarks.
      facts: dataset, model, label_noise, noise_fraction and criterion, as results.csv has them.
      runs: a row per run: the columns of results.csv, and `configuration`; `accuracy`, the best
        test accuracy at or after the last pruning epoch; `stability`, the mean over events, 1
        without any; `gap`, train − test accuracy at the epoch of `accuracy`; fractions.
      names: what legends call the configurations of the experiment.
      looks: how they are drawn.
    """

    name: str
    facts: Mapping[str, Any]
    runs: pd.DataFrame = field(repr=False)
    names: Mapping[Configuration, str] = field(repr=False)
    looks: Mapping[Configuration, Look] = field(repr=False)

    @property
    def configurations(self) -> list[Configuration]:
        """Those that were run here, in the order of legends."""
        return _ordered(self.runs["configuration"])

    def of(self, configuration: Configuration) -> pd.DataFrame:
        """The runs of a configuration, by seed."""
        return self.runs[self.runs["configuration"] == configuration].sort_values("seed")

    def of_kinds(self, *kinds: str) -> pd.DataFrame:
        """The runs of all configurations of these kinds."""
        return self.runs[[c.kind in kinds for c in self.runs["configuration"]]]

    def missing_seeds(self, configuration: Configuration) -> list[int]:
        """Seeds that other configurations have and this has not."""
        return sorted(set(map(int, self.runs["seed"])) - set(map(int, self.of(configuration).seed)))


@dataclass(frozen=True)
class Quantity:
    """A number of a run that figures and tables show.

    Attributes:
      column: of `Benchmark.runs`.
      label: of an axis.
      heading: of a table's column.
      scale: multiplies what is shown; 100 shows fractions in %.
    """

    column: str
    label: str
    heading: str
    scale: float = 1.0

    def of(self, runs: pd.DataFrame) -> np.ndarray:
        """`[runs]`, float64, as results.csv has them; NaN where the column lacks."""
        if self.column not in runs:
            return np.full(len(runs), math.nan)
        return pd.to_numeric(runs[self.column], errors="coerce").to_numpy(float)


ACCURACY = Quantity("accuracy", "Best test accuracy (%)", "test accuracy (%)", 100)
STABILITY = Quantity("stability", "Mean stability (%)", "mean stability (%)", 100)
TRAIN = Quantity(
    "train_accuracy_at_best", "Train accuracy at that epoch (%)", "train accuracy (%)", 100
)
GAP = Quantity("gap", "Generalization gap (points)", "generalization gap (points)", 100)
# As the paper's code has it: train accuracy over the epoch's own batches, while weights move.
RUNNING_GAP = Quantity(
    "running_generalization_gap",
    "Running generalization gap (points)",
    "running generalization gap (points)",
    100,
)
# "All training accuracies at the time of evaluation are 100%" (GST 2): from here on they count so.
FITTED = 0.99


def rate_text(fraction: float) -> str:
    """A fraction in % with two digits.

    Example:
      >>> [rate_text(part) for part in (0.9 / 7, 0.9 / 68, 0.1 / 77, 1.0)]
      ['13%', '1.3%', '0.13%', '100%']
    """
    percent = 100 * fraction
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.2g}%"


def stability_text(fraction: float) -> str:
    """A mean stability in %, which only perfect stability rounds to 100.

    Example:
      >>> [stability_text(part) for part in (0.989, 0.99972, 1.0, float("nan"))]
      ['98.9%', '99.97%', '100%', '']
    """
    if math.isnan(fraction):
        return ""
    if fraction == 1:
        return "100%"
    return f"{100 * fraction:.{1 if fraction < 0.9995 else 2}f}%"


# ---------------------------------------------------------------- reading
def benchmarks(results: pd.DataFrame, experiment: str) -> list[Benchmark]:
    """Every benchmark of an experiment, in the order of results.csv.

    Trials of one dataset, model, label noise and criterion are one benchmark, and what they share
    counts once: a sweep over pruning schedules is one scatter plot. Runs with other schedules of
    the layers, or other options of a measurement, are a benchmark each, with the same unpruned
    runs. Where two trials of one trained the same configuration to different ends, another setting
    was swept, and each is a benchmark.

    Args:
      results: rows of results.csv, of any experiments; with `every_variant` those of all settings.
      experiment: one of GST's.
    """
    rows = _runs(results[results["experiment"] == experiment])
    if rows.empty:
        return []
    known = _ordered(rows["configuration"])
    names, looks = _names(known), _looks(known)
    found = []
    base = [name for name in _BASE if name in rows]
    varying = [name for name in base if rows[name].nunique(dropna=False) > 1]
    groups = [mine for _, mine in rows.groupby(base, sort=False, dropna=False)] if base else [rows]
    for options, mine in (pair for group in groups for pair in _by_options(group)):
        once = mine.drop_duplicates([*_SAME_RUN, "train_loss", "test_loss", "accuracy"])
        together = not once.duplicated(list(_SAME_RUN)).any()
        parts = [once] if together else [part for _, part in mine.groupby("trial", sort=False)]
        for part in parts:
            facts = {name: part[name].iloc[0] for name in base}
            said = varying or [name for name in _NAMED if name in base]
            name = trials.describe({key: facts[key] for key in said} | options)
            if not together:
                name = trials.names(rows)[part["trial"].iloc[0]]
            name = name or str(part["trial"].iloc[0])
            found.append(Benchmark(name, facts, part.reset_index(drop=True), names, looks))
    return found


def _by_options(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The rows by the options of their experiment that differ, and what those are.

    A row that an option does not apply to, as of a network without pruning, is in every part.
    """
    texts = pd.DataFrame(
        {name: [trials.shown_value(v) for v in rows[name]] for name in _OPTIONS if name in rows},
        index=rows.index,
    )
    texts = texts[[name for name in texts if texts.loc[texts[name] != "", name].nunique() > 1]]
    if texts.columns.empty:
        yield {}, rows
        return
    of_all = texts.eq("").any(axis=1)
    for values in texts[~of_all].drop_duplicates().to_dict("records"):
        fits = (texts.eq(pd.Series(values)) | texts.eq("")).all(axis=1)
        yield {str(name): text for name, text in values.items()}, rows[fits]


# What is pruned when, and how it is measured.
_OPTIONS = (*FilterConfig().identity(), "criterion_batches", *FlatnessConfig().identity())
_SAME_RUN = ("configuration", "seed")


def _runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of trunks and of GST's branches, with the columns that `Benchmark` names."""
    kinds = [_kind(branch) for branch in rows["branch"]]
    rows = rows[[kind in _KINDS for kind in kinds] & rows["level"].eq(0).to_numpy()]
    marks = [_configuration(row) for row in rows.to_dict("records")]
    rows = rows.assign(configuration=pd.Series(marks, rows.index, dtype="object"))
    is_pruned = np.array([c.kind not in (NO_PRUNING, SCRATCH) for c in rows["configuration"]], bool)
    best = _numbers(rows, "stable_accuracy_best")
    train = _numbers(rows, "train_accuracy_at_best")
    accuracy = best.where(is_pruned | best.notna(), rows["test_accuracy_best"])
    stability = _numbers(rows, "stability")
    gap = _numbers(rows, "generalization_gap")
    rows = rows.assign(
        accuracy=accuracy,
        stability=stability.where(is_pruned | stability.notna(), 1.0),
        gap=gap.where(gap.notna(), train - accuracy),
    )
    return rows[rows["accuracy"].notna()]


def _kind(branch: str) -> str:
    return branch.split("_")[0] or NO_PRUNING


def _configuration(row: Mapping[Any, Any]) -> Configuration:
    kind = _kind(row["branch"])
    if kind == NO_PRUNING:
        return Configuration(kind)
    target, total = _text(row, "target"), round(_number(row, "total_fraction"), 6)
    fractions = _text(row, "layer_fractions")
    if kind == SCRATCH:
        return Configuration(kind, target, total=total, fractions=fractions)
    period = int(_number(row, "period"))
    if kind == FILTERS:
        rate = round(_number(row, "iterative_rate"), 6)
        return Configuration(kind, target, period, rate, total, fractions)
    batches = int(_number(row, "noise_batches"))
    cumulative = _text(row, "cumulative").lower() in ("true", "1", "1.0")
    return Configuration(kind, target, period, batches=batches, cumulative=cumulative)


def _text(row: Mapping[Any, Any], name: str) -> str:
    return trials.shown_value(row.get(name))


def _number(row: Mapping[Any, Any], name: str) -> float:
    text = _text(row, name)
    return float(row[name]) if text else 0.0


def _numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    if name not in rows:
        return pd.Series(math.nan, rows.index)
    return pd.to_numeric(rows[name], errors="coerce").astype(float)


def _ordered(configurations: Iterable[Configuration]) -> list[Configuration]:
    return sorted(set(configurations), key=lambda configuration: configuration.place)


def _names(known: Sequence[Configuration]) -> dict[Configuration, str]:
    """Short names; with the period, then the total as well, where several would have one name."""
    longer: tuple[Callable[[Configuration], str], ...] = (
        lambda c: f", every {c.period} epochs" if c.period else "",
        lambda c: f", {rate_text(c.total)} in all" if c.total else "",
        lambda c: f", layers by {c.fractions}" if c.fractions else "",
        lambda c: f", {TARGETS.get(c.target, c.target)}" if c.kind in NOISES else "",
    )
    names = {c: c.short_name for c in known}
    for more in longer:
        told: dict[str, set[str]] = {}
        for c, name in names.items():
            told.setdefault(name, set()).add(more(c))
        names = {c: n + more(c) if len(told[n]) > 1 else n for c, n in names.items()}
    return names


def _looks(known: Sequence[Configuration]) -> dict[Configuration, Look]:
    """A colour per target, paler for smaller rates; noises from light to dark by their length."""
    looks = {}
    for configuration in known:
        kind, target = configuration.kind, configuration.target
        alike = [c for c in known if (c.kind, c.target) == (kind, target)]
        if kind in NOISES:
            alike = [c for c in alike if c.cumulative == configuration.cumulative]
        place = len(alike) - 1 - alike.index(configuration)  # 0 for the largest rate.
        linestyle = _LINESTYLES[place % len(_LINESTYLES)]
        if kind == NO_PRUNING:
            looks[configuration] = Look(style.BLACK, "P", "-")
        elif kind in NOISES:
            # One more than needed: the lightest would hardly be seen.
            color = style.sequence_colors(len(alike) + 1)[-1 - place]
            marker = style.MARKERS[list(NOISES).index(kind)]
            looks[configuration] = Look(color, marker, "-")
        else:
            is_scratch = kind == SCRATCH
            color = _SCRATCH_COLOR if is_scratch else TARGET_COLORS.get(target, style.ORANGE)
            marker = _SCRATCH_MARKER if is_scratch else TARGET_MARKERS.get(target, "v")
            white = _PALEST * place / max(len(alike) - 1, 1)
            looks[configuration] = Look(_paler(color, white), marker, linestyle)
    return looks


def _paler(color: str, white: float) -> str:
    red, green, blue = (white + (1 - white) * part for part in to_rgb(color))
    return to_hex((red, green, blue))


# ---------------------------------------------------------------- curves over epochs
@dataclass(frozen=True)
class Curve:
    """Test accuracy by epoch of one configuration.

    Attributes:
      table: indexed by epoch: mean over runs, low and high of its bootstrapped 95% interval (NaN
        for one run), fractions.
      found: over how many runs.
      expected: how many runs results.csv has.
    """

    table: pd.DataFrame
    found: int
    expected: int


def curves(output_dir: epath.PathLike, benchmark: Benchmark) -> dict[Configuration, Curve]:
    """Test accuracy by epoch of every configuration whose stages have their metrics.csv.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    found = {c: _curve(output_dir, benchmark.of(c)) for c in benchmark.configurations}
    return {c: curve for c, curve in found.items() if curve.found}


def _curve(output_dir: epath.PathLike, runs: pd.DataFrame) -> Curve:
    stages = [stage for stage in runs.get(store.STAGE, ()) if stage]
    read = [
        store.read_metrics(output_dir, stage).set_index("epoch")["test_accuracy"]
        for stage in stages
        if store.metrics_path(output_dir, stage).exists()
    ]
    if not read:
        return Curve(pd.DataFrame(), 0, len(runs))
    by_epoch = pd.concat(read, axis=1).sort_index().dropna(how="all")
    low, high = statistics.mean_band(by_epoch.to_numpy().T, _random(), resamples=_BAND_RESAMPLES)
    table = pd.DataFrame({"mean": by_epoch.mean(axis=1), "low": low, "high": high}, by_epoch.index)
    return Curve(table, len(read), len(runs))


def _random() -> np.random.Generator:
    """The same resamples for every curve, so that figures depend on the data alone."""
    return generator(0, Stream.MEASURE)


def draw_curves(axes: Axes, benchmark: Benchmark, drawn: Mapping[Configuration, Curve]) -> None:
    """Means and bands of these curves, with a legend below that tells their mean stability."""
    for configuration, curve in drawn.items():
        look = benchmark.looks[configuration]
        x, table = curve.table.index.to_numpy(float), 100 * curve.table
        axes.plot(
            x, table["mean"], color=look.color, linestyle=look.linestyle, linewidth=1.3,
            label=_curve_label(benchmark, configuration, curve),
        )  # fmt: skip
        axes.fill_between(x, table["low"], table["high"], color=look.color, alpha=0.2, linewidth=0)
    axes.set_ylim(*_settled(list(drawn.values())))
    style.percent_axis(axes, "Test accuracy (%)")
    style.epoch_axis(axes)


def _curve_label(benchmark: Benchmark, configuration: Configuration, curve: Curve) -> str:
    name = benchmark.names[configuration]
    few = f", {curve.found} of {curve.expected} runs" if curve.found < curve.expected else ""
    if configuration.kind in (NO_PRUNING, SCRATCH):
        return name + few
    mean = float(benchmark.of(configuration)["stability"].mean())
    return f"{name} ({stability_text(mean)} stable{few})"


def _settled(drawn: Sequence[Curve]) -> tuple[float, float]:
    """Where the curves of the second half lie, in %: early epochs and deep drops are cut off.

    As in the paper: on an axis that shows all of them no difference can be seen.
    """
    late = [curve.table.iloc[len(curve.table) // 2 :] for curve in drawn]
    low = min(float(table["mean"].quantile(0.1)) for table in late)
    tops = [table["high"].where(table["high"].notna(), table["mean"]).max() for table in late]
    high = max(float(top) for top in tops)
    pad = 0.06 * max(high - low, 0.01)
    return 100 * (low - 3 * pad), 100 * (high + 2 * pad)


# ---------------------------------------------------------------- scatter plots
def correlation(runs: pd.DataFrame, x: Quantity, y: Quantity) -> statistics.Correlation:
    """How two quantities go together over runs."""
    return statistics.correlation(x.of(runs), y.of(runs))


def correlation_text(found: statistics.Correlation) -> str:
    """Both coefficients with their p-values, or why there are none.

    Example:
      >>> correlation_text(statistics.correlation([1, 2], [1, 2]))
      'n = 2: a correlation needs at least 3 runs'
    """
    if found.n < FEWEST_RUNS:
        return f"n = {found.n}: a correlation needs at least {FEWEST_RUNS} runs"
    if math.isnan(found.pearson):
        return f"n = {found.n}: no correlation, one of the two does not vary"
    return (
        f"r = {found.pearson:.2f} ({figures.p_value(found.pearson_p)}), "
        f"τ = {found.kendall:.2f} ({figures.p_value(found.kendall_p)}), n = {found.n}"
    )


# What colours and marks a run's point.
LookOf = Callable[[Configuration], Look]


def scatter(
    axes: Axes, benchmark: Benchmark, runs: pd.DataFrame, x: Quantity, y: Quantity,
    look_of: LookOf | None = None, title: str = "",
) -> None:  # fmt: skip
    """A point per run, and the correlation in the title; the least-squares line beyond chance.

    Args:
      axes: where to.
      benchmark: what the runs are of.
      runs: rows of `benchmark.runs`.
      x: across.
      y: up.
      look_of: how a configuration is drawn; default `benchmark.looks`.
      title: stands before the correlation.
    """
    for configuration in _ordered(runs["configuration"]):
        mine = runs[runs["configuration"] == configuration]
        look = look_of(configuration) if look_of else benchmark.looks[configuration]
        axes.plot(
            x.scale * x.of(mine), y.scale * y.of(mine), color=look.color, marker=look.marker,
            linestyle="", markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, alpha=0.9,
        )  # fmt: skip
    found = correlation(runs, x, y)
    if found.pearson_p < SIGNIFICANT:
        _draw_line(axes, x.scale * x.of(runs), y.scale * y.of(runs))
    axes.ticklabel_format(axis="both", useOffset=False)
    axes.margins(0.08)
    axes.set_xlabel(x.label)
    axes.set_ylabel(style.wrapped(y.label, 32))
    # A line for each coefficient: both in one are wider than a panel.
    lines = [title, correlation_text(found).replace("), ", ")\n", 1)]
    axes.set_title("\n".join(filter(None, lines)))


def _draw_line(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The least-squares line over the points' width."""
    there = ~(np.isnan(x) | np.isnan(y))
    ends = np.array([x[there].min(), x[there].max()])
    middle = x[there].mean()  # Of numbers far from 0, a fit around 0 loses its digits.
    slope, height = np.polyfit(x[there] - middle, y[there], 1)
    line = height + slope * (ends - middle)
    axes.plot(ends, line, color=style.BLACK, linestyle="--", linewidth=1.1, zorder=1)


def point_handles(benchmark: Benchmark, shown: Iterable[Configuration]) -> list[Line2D]:
    """Legend entries of configurations, as points."""
    return [point_handle(benchmark.looks[c], benchmark.names[c]) for c in _ordered(shown)]


def point_handle(look: Look, label: str) -> Line2D:
    """A legend entry that is a point."""
    return Line2D(
        [], [], linestyle="", marker=look.marker, markersize=6.5, color=look.color, label=label
    )


def line_handles(panels: Iterable[Axes]) -> list[Line2D]:
    """What a legend says of the line through points, if any of these panels of `scatter` has it."""
    if not any(line.get_linestyle() == "--" for axes in panels for line in axes.get_lines()):
        return []
    label = f"least squares, where p < {SIGNIFICANT:g}"
    return [Line2D([], [], color=style.BLACK, linestyle="--", linewidth=1.1, label=label)]


def scatter_panels(
    found: Sequence[Benchmark],
    pairs: Sequence[tuple[Quantity, Quantity]],
    choose: Callable[[Benchmark], pd.DataFrame],
) -> Figure | None:
    """A scatter plot of every pair of quantities, two side by side, below each other by benchmark.

    Args:
      found: the benchmarks; those without a run that has both quantities of a pair are left out.
      pairs: (across, up).
      choose: the runs of a benchmark to show.

    Returns:
      The figure; None where nothing can be shown.
    """
    shown = [b for b in found if any(_both(choose(b), x, y).any() for x, y in pairs)]
    if not shown:
        return None
    columns, rows = min(2, len(pairs)), math.ceil(len(pairs) / 2)
    with style.house_style():
        height = 3.7 * rows * len(shown) + 0.8
        figure = style.new_figure(7.4 if columns == 1 else 5.2 * columns, height)
        grid = figure.subplots(rows * len(shown), columns, squeeze=False)
        for number, benchmark in enumerate(shown):
            panels = grid[rows * number : rows * (number + 1)].flatten()
            for axes in panels[len(pairs) :]:
                axes.set_axis_off()
            title = benchmark.name if len(found) > 1 else ""
            for axes, (x, y) in zip(panels, pairs, strict=False):
                scatter(axes, benchmark, choose(benchmark), x, y, title=title)
        there = [c for b in shown for c in choose(b)["configuration"]]
        handles = [*point_handles(shown[0], there), *line_handles(grid.flatten())]
        figures.legend_below(figure, handles)
    return figure


def _both(runs: pd.DataFrame, x: Quantity, y: Quantity) -> np.ndarray:
    return ~(np.isnan(x.of(runs)) | np.isnan(y.of(runs)))


def correlation_reading(
    found: Sequence[Benchmark],
    choose: Callable[[Benchmark], pd.DataFrame],
    pairs: Sequence[tuple[Quantity, Quantity]],
) -> str:
    """How the quantities of every pair go together on every benchmark, in one sentence."""
    said = []
    for benchmark in found:
        parts = [_pair_text(choose(benchmark), x, y) for x, y in pairs]
        where = f"on {benchmark.name}, " if len(found) > 1 else ""
        said.append(where + "; ".join(parts))
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if said else ""


def _pair_text(runs: pd.DataFrame, x: Quantity, y: Quantity) -> str:
    link = correlation(runs, x, y)
    what, over = y.heading.split(" (")[0], x.heading.split(" (")[0]
    if math.isnan(link.pearson):
        return f"{what} against {over}: {correlation_text(link)}"
    return f"{what} {direction(link)} {over} ({correlation_text(link)})"


def direction(link: statistics.Correlation) -> str:
    """What Pearson's r says of the trend: "falls with", "grows with", or that it is not clear."""
    if not link.pearson_p < SIGNIFICANT:
        return "neither clearly grows nor falls with"
    return "grows with" if link.pearson > 0 else "falls with"


# ---------------------------------------------------------------- published numbers
def printed(benchmark: Benchmark, table: str, metric: str) -> pd.Series | None:
    """The row of a number that GST prints for this benchmark's data, model and noise, or None.

    Args:
      benchmark: ours.
      table: as in `tfprune.papers.published` ("figure 2").
      metric: likewise.
    """
    facts, rows = benchmark.facts, published(PAPER, table)
    here = (
        (rows["model"] == facts.get("model"))
        & (rows["dataset"] == facts.get("dataset"))
        & (rows["noise_fraction"] == (facts.get("noise_fraction") or 0.0))
        & (rows["metric"] == metric)
    )
    return rows[here].iloc[0] if here.any() else None


# ---------------------------------------------------------------- tables
def configuration_table(
    found: Sequence[Benchmark],
    name: str,
    title: str,
    quantities: Sequence[Quantity] = (ACCURACY, TRAIN, STABILITY, GAP, RUNNING_GAP),
) -> tables.Table:
    """Mean ± std (ddof 1) over runs of every configuration (GST tables C1 and F1).

    Args:
      found: the benchmarks.
      name: of the table's files.
      title: one line.
      quantities: what is shown; those that no run has are left out.
    """
    quantities = [q for q in quantities if any(np.isfinite(q.of(b.runs)).any() for b in found)]
    rows = [(b, c) for b in found for c in b.configurations]
    numbers = pd.DataFrame([_configuration_numbers(b, c, quantities) for b, c in rows])
    shown = _labels(found, [(b, b.names[c]) for b, c in rows], "configuration")
    shown["total pruned"] = [rate_text(c.total) if c.total else "" for _, c in rows]
    for quantity in quantities:
        mean, std = numbers[f"{quantity.column}_mean"], numbers[f"{quantity.column}_std"]
        shown[quantity.heading] = (
            tables.plus_minus(mean, std, 2) if quantity.scale == 100 else tables.measured(mean, std)
        )
    paper = [_paper_accuracy(b, c) for b, c in rows]
    numbers["paper_accuracy"] = paper
    if not np.isnan(paper).all():
        shown["paper (%)"] = ["" if math.isnan(v) else f"{100 * v:.1f}" for v in paper]
    shown["runs"] = numbers["n"].astype(str)
    if numbers["missing_seeds"].ne("").any():
        shown["missing seeds"] = numbers["missing_seeds"]
    if shown["total pruned"].eq("").all():
        shown = shown.drop(columns="total pruned")
    title = ". ".join(filter(None, (title, premise(found))))
    return tables.Table(name, title, numbers, shown, _label_names(shown))


def premise(found: Iterable[Benchmark]) -> str:
    """A warning where training accuracy is not near 100%, as GST's reasoning takes it to be.

    In one sentence; "" where it holds, or no training accuracy is known.
    """
    means = {
        f"{b.names[c]} on {b.name}": float(np.mean(TRAIN.of(b.of(c))))
        for b in found
        for c in b.configurations
    }
    means = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    low = {name: mean for name, mean in means.items() if mean < FITTED}
    if not low:
        return ""
    worst = min(low, key=lambda name: low[name])
    return (
        f"Warning: GST takes training accuracy to be 100%, and {len(low)} of {len(means)} "
        f"configurations end below {100 * FITTED:g}%, the lowest at {100 * low[worst]:.1f}% "
        f"({worst}): there, test accuracy is not the generalization gap turned around"
    )


def _configuration_numbers(
    benchmark: Benchmark, configuration: Configuration, quantities: Sequence[Quantity]
) -> dict[str, Any]:
    runs = benchmark.of(configuration)
    missing = ", ".join(map(str, benchmark.missing_seeds(configuration)))
    row: dict[str, Any] = {
        **benchmark.facts,
        "benchmark": benchmark.name,
        "configuration": benchmark.names[configuration],
        "kind": configuration.kind,
        "target": configuration.target,
        "period": configuration.period or math.nan,
        "iterative_rate": configuration.rate or math.nan,
        "total_fraction": configuration.total or math.nan,
        "noise_batches": configuration.batches or math.nan,
        "cumulative": configuration.cumulative,
        "n": len(runs),
        "missing_seeds": missing,
    }
    for quantity in quantities:
        values = pd.Series(quantity.of(runs))
        row[f"{quantity.column}_mean"] = values.mean()
        row[f"{quantity.column}_std"] = values.std(ddof=1)
    return row


def _paper_accuracy(benchmark: Benchmark, configuration: Configuration) -> float:
    """The one accuracy that GST prints: of no pruning, in the caption of figure 3."""
    if configuration.kind != NO_PRUNING:
        return math.nan
    row = printed(benchmark, "figure 3", "test_accuracy_percent")
    return math.nan if row is None else float(row["mean"]) / 100


def _labels(
    found: Sequence[Benchmark], rows: Sequence[tuple[Benchmark, str]], heading: str
) -> pd.DataFrame:
    """The columns that say what a row is about: the benchmark where there are several."""
    shown = pd.DataFrame({heading: [text for _, text in rows]}, dtype="object")
    if len(found) > 1:
        shown.insert(0, "benchmark", [benchmark.name for benchmark, _ in rows])
    return shown


_LABELS = ("benchmark", "configuration", "runs of", "quantities", "compared", "against")


def _label_names(shown: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(column) for column in shown if column in _LABELS)


@dataclass(frozen=True)
class Relation:
    """One row of a table of correlations.

    Attributes:
      benchmark: what is learned.
      which: the runs, in words.
      runs: rows of `benchmark.runs`.
      x: one quantity.
      y: the other.
      paper: rows of `tfprune.papers.published`: Pearson's r and its p-value, None where the
        paper prints none.
    """

    benchmark: Benchmark
    which: str
    runs: pd.DataFrame
    x: Quantity
    y: Quantity
    paper: tuple[pd.Series | None, pd.Series | None] = (None, None)


def correlation_table(
    found: Sequence[Benchmark], name: str, title: str, relations: Sequence[Relation]
) -> tables.Table | None:
    """Pearson's r and Kendall's τ with bootstrapped 95% intervals and p-values, the paper's beside.

    Of fewer than three runs there is none, and the table says so. None without a relation.
    """
    if not relations:
        return None
    numbers = pd.DataFrame([_relation_numbers(relation) for relation in relations])
    shown = _labels(found, [(r.benchmark, r.which) for r in relations], "runs of")
    shown["quantities"] = [_quantities(relation) for relation in relations]
    shown["n"] = numbers["n"].astype(str)
    for coefficient, symbol in (("pearson", "r"), ("kendall", "τ")):
        shown[f"{symbol} [95% CI]"] = [_interval_text(row, coefficient) for row in _dicts(numbers)]
        shown[f"p of {symbol}"] = [_p_text(value) for value in numbers[f"{coefficient}_p"]]
    if numbers["paper_pearson"].notna().any():
        shown["paper r"] = [_signed(value) for value in numbers["paper_pearson"]]
        shown["paper p"] = [_p_text(value) for value in numbers["paper_pearson_p"]]
    return tables.Table(name, title, numbers, shown, _label_names(shown))


def _relation_numbers(relation: Relation) -> dict[str, Any]:
    x, y = relation.x.of(relation.runs), relation.y.of(relation.runs)
    link = statistics.correlation(x, y)
    pearson = statistics.pearson_interval(x, y, _random())
    kendall = statistics.kendall_interval(x, y, _random())
    r, p = relation.paper
    notes = [str(row["note"]) for row in relation.paper if row is not None]
    return {
        **relation.benchmark.facts,
        "benchmark": relation.benchmark.name,
        "runs": relation.which,
        "x": relation.x.column,
        "y": relation.y.column,
        "n": link.n,
        "pearson": link.pearson,
        "pearson_low": pearson.low,
        "pearson_high": pearson.high,
        "pearson_p": link.pearson_p,
        "kendall": link.kendall,
        "kendall_low": kendall.low,
        "kendall_high": kendall.high,
        "kendall_p": link.kendall_p,
        "paper_pearson": math.nan if r is None else float(r["mean"]),
        "paper_pearson_p": math.nan if p is None else float(p["mean"]),
        "paper_note": "; ".join(notes),
    }


def _quantities(relation: Relation) -> str:
    return f"{relation.y.heading.split(' (')[0]}, {relation.x.heading.split(' (')[0]}"


def _dicts(numbers: pd.DataFrame) -> list[dict[Any, Any]]:
    return numbers.to_dict("records")


def _interval_text(row: Mapping[Any, Any], coefficient: str) -> str:
    if row["n"] < FEWEST_RUNS:
        return f"needs at least {FEWEST_RUNS} runs"
    if math.isnan(row[coefficient]):
        return "one does not vary"
    low, high = row[f"{coefficient}_low"], row[f"{coefficient}_high"]
    return f"{_signed(row[coefficient])} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _p_text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def t_test_table(
    found: Sequence[Benchmark],
    name: str,
    pairs: Callable[[Benchmark], Iterable[tuple[Configuration, Configuration]]],
) -> tables.Table | None:
    """t tests of test accuracy between configurations (GST table F1); None without a pair.

    Args:
      found: the benchmarks.
      name: of the table's files.
      pairs: of a benchmark, what is compared, and with what.
    """
    rows = [(b, first, second) for b in found for first, second in pairs(b)]
    if not rows:
        return None
    tests = [
        statistics.t_test(ACCURACY.of(b.of(first)), ACCURACY.of(b.of(second)))
        for b, first, second in rows
    ]
    numbers = pd.DataFrame(
        [
            {
                **b.facts,
                "benchmark": b.name,
                "compared": b.names[first],
                "against": b.names[second],
                "compared_n": test.n_first,
                "against_n": test.n_second,
                "difference": test.difference,
                "t": test.t,
                "p": test.p,
            }
            for (b, first, second), test in zip(rows, tests, strict=True)
        ]
    )
    shown = _labels(found, [(b, b.names[first]) for b, first, _ in rows], "compared")
    shown["against"] = numbers["against"]
    shown["test accuracy (points)"] = [f"{100 * gap:+.2f}" for gap in numbers["difference"]]
    shown["t"] = [_signed(value) for value in numbers["t"]]
    shown["p"] = [_p_text(value) or "needs 2 runs each" for value in numbers["p"]]
    shown["runs"] = [f"{test.n_first}, {test.n_second}" for test in tests]
    title = (
        "Test accuracy of two configurations: two-sided t tests of independent runs, variance "
        "pooled, p-values not corrected for their number"
    )
    return tables.Table(name, title, numbers, shown, _label_names(shown))
