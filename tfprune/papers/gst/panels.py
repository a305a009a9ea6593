"""Kinds of panels in GST's figures: curves by epoch, scatter plots; and their sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tfprune import store
from tfprune.measures import statistics
from tfprune.papers.gst.runs import (
    FILTERS,
    NO_PRUNING,
    SCRATCH,
    TARGET_COLORS,
    TARGET_MARKERS,
    TARGETS,
    TRAIN,
    Benchmark,
    Configuration,
    Found,
    Quantity,
)
from tfprune.report import style
from tfprune.report.grammar import (
    Axis,
    Figure,
    Handle,
    Legend,
    Line,
    Lines,
    Mark,
    Panel,
    Scale,
    Spread,
    line_handle,
)
from tfprune.report.readings import SIGNIFICANT, correlated, start, trend
from tfprune.seeds import Stream, generator

FEWEST_RUNS = 3
# "All training accuracies at the time of evaluation are 100%" (GST 2): from here on they count so.
_FITTED = 0.99
# As many as seaborn's, with which the paper draws its bands.
_BAND_RESAMPLES = 1000
Choice = Callable[[Benchmark], pd.DataFrame]
Pairs = Sequence[tuple[Quantity, Quantity]]


def rows_of(make: Choice) -> Callable[[Found], pd.DataFrame]:
    """The rows that `make` gives of every benchmark, with its name."""

    def data(found: Found) -> pd.DataFrame:
        parts = [rows.assign(benchmark=b.name) for b in found if len(rows := make(b))]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    return data


def pruned(benchmark: Benchmark) -> pd.DataFrame:
    """The runs whose filters were pruned during training."""
    return benchmark.of_kind(FILTERS)


def _look(name: str) -> Scale:
    """What gives points and lines the look of their configuration."""
    return Scale("configuration", lambda known: {c: getattr(c, name) for c in known})


_LOOKS = {name: _look(name) for name in ("color", "marker", "dash")}
BY_CONFIGURATION: dict[str, Any] = {"color": _LOOKS["color"], "dash": _LOOKS["dash"]}
BY_TARGET: dict[str, Any] = {
    "color": Scale("target", TARGET_COLORS, TARGETS),
    "marker": Scale("target", TARGET_MARKERS, TARGETS),
}


def random() -> np.random.Generator:
    """The same resamples for every curve, so that figures depend on the data alone."""
    return generator(0, Stream.MEASURE)


def band(confidence: float = 0.95) -> Spread:
    """The bootstrapped interval of means over runs; whole runs are resampled."""

    def ends(line: Line) -> tuple[np.ndarray, np.ndarray]:
        at, column = str(line.mean.index.name), line.quantity.column
        by_run = line.rows.pivot(index=at, columns="seed", values=column).loc[line.mean.index]
        values = line.quantity.scale * by_run.to_numpy().T
        return statistics.mean_band(values, random(), confidence, _BAND_RESAMPLES)

    return Spread(ends)


# ---------------------------------------------------------------- curves over epochs
def _settle(panel: Panel) -> None:
    """Shows where the curves of the second half lie: early epochs and deep drops are cut off.

    As in the paper: on an axis that shows all of them no difference can be seen.
    """
    late = [(line.mean[len(line.mean) // 2 :], line.high) for line in panel.lines]
    low = min(float(mean.quantile(0.1)) for mean, _ in late)
    top = max(float(high[mean.index].fillna(mean).max()) for mean, high in late)
    pad = 0.06 * max(top - low, 1.0)
    panel.axes.set_ylim(low - 3 * pad, top + 2 * pad)
    style.percent_axis(panel.axes, "Test accuracy (%)")


CURVES = Lines(
    Axis("epoch", finish=lambda panel: style.epoch_axis(panel.axes)),
    Axis("test_accuracy", scale=100, finish=_settle),
    spread=band(),
    **BY_CONFIGURATION,
)


def curve_rows(benchmark: Benchmark, panels: Mapping[str, Sequence[Configuration]]) -> pd.DataFrame:
    """Test accuracy by epoch of what each panel, by its name, shows; a row per run and epoch."""
    known = {c: _curve(benchmark, c) for shown in panels.values() for c in shown}
    parts = [known[c].assign(shown=name) for name, shown in panels.items() for c in shown]
    rows = pd.concat([pd.DataFrame(), *parts], ignore_index=True).assign(same_y=benchmark.name)
    titles = {name: f"{benchmark.name}: {name}" if name else benchmark.name for name in panels}
    return rows.assign(title=rows["shown"].map(titles)) if len(rows) else rows


def _curve(benchmark: Benchmark, configuration: Configuration) -> pd.DataFrame:
    """Of the runs that have a metrics.csv; named with their mean stability for the legend."""
    runs = benchmark.of(configuration)
    read = [
        store.read_metrics(benchmark.folder, stage)[["epoch", "test_accuracy"]].assign(seed=seed)
        for seed, stage in zip(runs["seed"], runs[store.STAGE], strict=True)
        if stage and store.metrics_path(benchmark.folder, stage).exists()
    ]
    if not read:
        return pd.DataFrame()
    said = [f"{len(read)} of {len(runs)} runs"] if len(read) < len(runs) else []
    if configuration.kind not in (NO_PRUNING, SCRATCH):
        said.insert(0, f"{stability_text(runs['stability'].mean())} stable")
    name = f"{configuration.name} ({', '.join(said)})" if said else configuration.name
    return pd.concat(read, ignore_index=True).assign(
        configuration=replace(configuration, name=name)
    )


def stability_text(fraction: float) -> str:
    """A mean stability in %, which only perfect stability rounds to 100.

    Example:
      >>> [stability_text(part) for part in (0.989, 0.99972, 1.0)]
      ['98.9%', '99.97%', '100%']
    """
    if fraction == 1:
        return "100%"
    return f"{100 * fraction:.{1 if fraction < 0.9995 else 2}f}%"


# ---------------------------------------------------------------- scatter plots
def correlation(runs: pd.DataFrame, x: Axis, y: Axis) -> statistics.Correlation:
    """How two quantities go together over runs."""
    return statistics.correlation(runs[x.column], runs[y.column])


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
    return correlated(found)


def _trend(panel: Panel) -> bool:
    """The least-squares line over the points' width, where they correlate beyond chance."""
    axes = (panel.x, panel.lines[0].quantity)
    rows = panel.rows.dropna(subset=[axis.column for axis in axes])
    if not correlation(rows, *axes).pearson_p < SIGNIFICANT:
        return False
    x, y = (axis.of(rows[axis.column]) for axis in axes)
    ends, middle = np.array([x.min(), x.max()]), x.mean()
    # Around the middle: of numbers far from 0, a fit around 0 loses its digits.
    slope, height = np.polyfit(x - middle, y, 1)
    panel.axes.plot(
        ends, height + slope * (ends - middle), color=style.BLACK, linestyle="--", linewidth=1.1,
        zorder=1,
    )  # fmt: skip
    return True


def _trend_handle() -> Handle:
    return line_handle(f"least squares, where p < {SIGNIFICANT:g}", dash="--")


@dataclass(frozen=True)
class Points(Lines):
    """A point per run; what correlates is told, and drawn beyond chance.

    Attributes:
      told: whether the legend tells of the points.
    """

    at: str = "run"
    color: Scale | str = _LOOKS["color"]
    marker: Scale | str = _LOOKS["marker"]
    marks: tuple[Mark, ...] = (Mark(_trend, _trend_handle),)
    spread: Spread | None = None
    told: bool = True

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        own = Legend()
        super().draw(axes, rows.assign(run=range(len(rows))), known, own)
        legend.take(own, self.told)
        axes.ticklabel_format(axis="both", useOffset=False)
        axes.margins(0.08)
        axes.set_ylabel(style.wrapped(axes.get_ylabel(), 32))
        text = correlation_text(correlation(rows, self.x, *self.quantities))
        # A line for each coefficient: both in one are wider than a panel.
        axes.set_title(text.replace("), ", ")\n", 1))

    def there(self, rows: pd.DataFrame) -> list[str]:
        return super().there(rows.dropna(subset=self.x.column))

    def draw_line(self, axes: Axes, line: Line) -> None:
        axes.plot(
            line.x, line.mean, color=line.look["color"], marker=line.look["marker"], linestyle="",
            markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, alpha=0.9,
        )  # fmt: skip

    def handle(self, label: str, look: Mapping[str, Any]) -> Handle:
        handle = line_handle(label, look["color"], look["marker"] or "o", "")
        handle.set_markersize(6.5)
        return handle


def scatter(
    name: str,
    title: str,
    pairs: Pairs,
    choose: Choice = lambda benchmark: benchmark.runs,
    reading: Callable[[Found], str] | None = None,
    of: Callable[[Found], Found] = lambda found: found,
    **looks: Any,
) -> Figure:
    """A scatter plot of every pair of quantities, side by side, below each other by benchmark.

    Pairs are (across, up); one that no run has is left out. The reading is by default how they go
    together. `looks` are scales, default those of configurations.
    """
    kinds = {f"{x.column} {y.column}": Points(x, y, **looks) for x, y in pairs}
    said = reading or on_each(correlation_text_of(pairs, choose), premise=True)
    wrap, width = (3, 4.6) if len(pairs) == 3 else (2, 5.2)
    return Figure(
        name, title, rows_of(choose), kinds, said, of, row="benchmark", column="shown",
        heading="benchmark", wrap=wrap, letters=55, size=(7.4, width, 3.7),
    )  # fmt: skip


# ---------------------------------------------------------------- readings
Say = Callable[[Benchmark], str]


def on_each(*say: Say, premise: bool = False) -> Callable[[Found], str]:
    """A reading of sentences on every benchmark, those of one kind after those of another.

    Of several benchmarks each sentence has a line. With `premise`, it ends in the warning of
    `with_premise`.
    """

    def reading(found: Found) -> str:
        said = filter(None, (of(benchmark) for of in say for benchmark in found))
        text = ("\n" if len(found) > 1 else " ").join(said)
        return with_premise(text, found if premise else ())

    return reading


def correlation_text_of(pairs: Pairs, choose: Choice) -> Say:
    """How the quantities of every pair go together."""

    def say(benchmark: Benchmark) -> str:
        told = "; ".join(_pair_text(choose(benchmark), x, y) for x, y in pairs)
        return start(f"{told}{benchmark.where}.")

    return say


def _pair_text(runs: pd.DataFrame, x: Quantity, y: Quantity) -> str:
    link = correlation(runs, x, y)
    told = correlation_text(link)
    if math.isnan(link.pearson):
        return f"{y.words} against {x.words}: {told}"
    return f"{y.words} {trend(link.pearson, link.pearson_p)} {x.words} ({told})"


def with_premise(text: str, found: Iterable[Benchmark]) -> str:
    """A text, and a warning where training accuracy is not near 100%, as GST takes it to be."""
    means = {f"{c} on {b.name}": mean for b in found for c, mean in b.means(TRAIN).items()}
    low = {name: mean for name, mean in means.items() if mean < _FITTED}
    if not low:
        return text
    worst = min(low, key=lambda name: low[name])
    return (
        f"{text} Warning: GST takes training accuracy to be 100%, and {len(low)} of {len(means)} "
        f"configurations end below {100 * _FITTED:g}%, the lowest at {100 * low[worst]:.1f}% "
        f"({worst}): there, test accuracy is not the generalization gap turned around."
    )
