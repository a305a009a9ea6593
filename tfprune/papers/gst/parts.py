"""What GST's pages are made of: kinds of panels, of sentences and of tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tfprune.measures import statistics
from tfprune.papers.gst import runs
from tfprune.papers.gst.runs import ACCURACY, STABILITY, Benchmark, Configuration, Found, Quantity
from tfprune.report import grammar, readings, style, summary, tables
from tfprune.report.accuracy import EPOCHS
from tfprune.report.grammar import Axis, Figure, Legend, Line, Lines, Mark, Panel, Scale, Spread
from tfprune.report.tables import Table
from tfprune.seeds import Stream, generator

FEWEST_RUNS = 3
# "All training accuracies at the time of evaluation are 100%" (GST 2): from here on they count so.
_FITTED = 0.99
# As many as seaborn's, with which the paper draws its bands.
_BAND_RESAMPLES = 1000
Choice = Callable[[Benchmark], pd.DataFrame]
Pairs = Sequence[tuple[Quantity, Quantity]]
Row = dict[str, Any]
MakeTable = Callable[[Found], Table]
Pair = tuple[Configuration, Configuration]
_LABELS = ("benchmark", "configuration", "runs of", "quantities", "compared", "against")
_WORDS = {quantity.column: quantity.words for quantity in runs.QUANTITIES}
_INTERVALS = {"pearson": statistics.pearson_interval, "kendall": statistics.kendall_interval}
_AMOUNTS = ("period", "iterative_rate", "total_fraction", "noise_batches")


def rows_of(make: Choice) -> Callable[[Found], pd.DataFrame]:
    """The rows that `make` gives of every benchmark, with its name."""
    return lambda found: summary.concatenated([make(b).assign(benchmark=b.name) for b in found])


def _look(name: str) -> Scale:
    """What gives points and lines the look of their configuration."""
    return Scale("configuration", lambda known: {c: c.look[name] for c in known})


_LOOKS = {name: _look(name) for name in ("color", "marker", "dash")}
BY_CONFIGURATION: dict[str, Any] = {"color": _LOOKS["color"], "dash": _LOOKS["dash"]}
BY_TARGET: dict[str, Any] = {
    "color": Scale("target", runs.TARGET_COLORS, runs.TARGETS),
    "marker": Scale("target", runs.TARGET_MARKERS, runs.TARGETS),
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
    style.percent_axis(panel.axes)


_ACCURACY = Axis("test_accuracy", "Test accuracy (%)", 100, finish=_settle)
CURVES = Lines(EPOCHS, _ACCURACY, spread=band(), **BY_CONFIGURATION)


def curve_rows(benchmark: Benchmark, panels: Mapping[str, Sequence[Configuration]]) -> pd.DataFrame:
    """Test accuracy by epoch of what each panel, by its name, shows; a row per run and epoch."""
    curves = benchmark.measured(runs.CURVE, ("epoch", "test_accuracy"))
    curves["configuration"] = curves["configuration"].astype(object)
    named = {c: _for_legend(benchmark, c, curves) for c in benchmark.configurations}
    shown = [(c, name) for name, known in panels.items() for c in known]
    rows = pd.DataFrame(shown, columns=["configuration", "shown"]).merge(curves, on="configuration")
    rows["configuration"] = rows["configuration"].map(named)
    title = [f"{benchmark.name}: {name}" if name else benchmark.name for name in rows["shown"]]
    return rows.assign(title=title, same_y=benchmark.name)


def _for_legend(benchmark: Benchmark, c: Configuration, curves: pd.DataFrame) -> Configuration:
    """Its name has the mean stability, and how many of its runs have a curve."""
    own, read = benchmark.of(c), curves.loc[curves["configuration"] == c, "seed"].nunique()
    stability = tables.sparsity_percent(own["stability"].mean())
    said = [] if c.kind in (runs.NO_PRUNING, runs.SCRATCH) else [f"{stability}% stable"]
    said += [f"{read} of {len(own)} runs"] if read < len(own) else []
    return replace(c, name=f"{c} ({', '.join(said)})" if said else c.name)


# ---------------------------------------------------------------- scatter plots
def correlation(rows: pd.DataFrame, x: Axis, y: Axis) -> statistics.Correlation:
    """How two quantities go together over runs."""
    return statistics.correlation(rows[x.column], rows[y.column])


def correlation_text(found: statistics.Correlation) -> str:
    """Both coefficients with their p-values, or why there are none.

    Example:
      >>> correlation_text(statistics.correlation([1, 2], [1, 2]))
      'n = 2: a correlation needs at least 3 runs'
    """
    return no_correlation(found.n) if math.isnan(found.pearson) else readings.correlated(found)


def no_correlation(n: int) -> str:
    """Why so many runs have none."""
    if n < FEWEST_RUNS:
        return f"n = {n}: a correlation needs at least {FEWEST_RUNS} runs"
    return f"n = {n}: no correlation, one of the two does not vary"


def _trend(panel: Panel) -> bool:
    """The least-squares line over the points' width, where they correlate beyond chance."""
    axes = (panel.x, panel.lines[0].quantity)
    rows = panel.rows.dropna(subset=[axis.column for axis in axes])
    if not correlation(rows, *axes).pearson_p < readings.SIGNIFICANT:
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


_TREND = Mark(
    _trend,
    lambda: grammar.line_handle(f"least squares, where p < {readings.SIGNIFICANT:g}", dash="--"),
)


@dataclass(frozen=True)
class Points(Lines):
    """A point per run; what correlates is told, and drawn beyond chance.

    Attributes:
      told: whether the legend tells of the points.
    """

    at: str = "run"
    color: Scale | str = _LOOKS["color"]
    marker: Scale | str = _LOOKS["marker"]
    marks: tuple[Mark, ...] = (_TREND,)
    spread: Spread | None = None
    told: bool = True

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        own = legend if self.told else Legend()
        super().draw(axes, rows.assign(run=range(len(rows))), known, own)
        legend.traces += [] if self.told else own.traces
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

    def handle(self, label: str, look: Mapping[str, Any]) -> grammar.Handle:
        handle = grammar.line_handle(label, look["color"], look["marker"] or "o", "")
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
        return readings.start(f"{told}{benchmark.where}.")

    return say


def _pair_text(rows: pd.DataFrame, x: Quantity, y: Quantity) -> str:
    link = correlation(rows, x, y)
    told = correlation_text(link)
    if math.isnan(link.pearson):
        return f"{y.words} against {x.words}: {told}"
    return f"{y.words} {readings.trend(link.pearson, link.pearson_p)} {x.words} ({told})"


def with_premise(text: str, found: Iterable[Benchmark]) -> str:
    """A text, and a warning where training accuracy is not near 100%, as GST takes it to be."""
    means = {f"{c} on {b.name}": mean for b in found for c, mean in b.means(runs.TRAIN).items()}
    low = {name: mean for name, mean in means.items() if mean < _FITTED}
    if not low:
        return text
    worst = min(low, key=lambda name: low[name])
    return (
        f"{text} Warning: GST takes training accuracy to be 100%, and {len(low)} of {len(means)} "
        f"configurations end below {100 * _FITTED:g}%, the lowest at {100 * low[worst]:.1f}% "
        f"({worst}): there, test accuracy is not the generalization gap turned around."
    )


# ---------------------------------------------------------------- tables
def table(
    name: str,
    title: str,
    rows: Callable[[Benchmark], Iterable[Row]],
    shown: Mapping[str, Any],
    premise: bool = False,
) -> MakeTable:
    """A table of the rows of every benchmark, which is named first where there are several.

    Of `shown`, as of `tables.of_rows`, numbers that no row has are left out. With `premise`, the
    title ends in the warning of `with_premise`.
    """

    def make(found: Found) -> Table:
        made = [{**b.facts, "benchmark": b.name, **row} for b in found for row in rows(b)]
        named = {"benchmark": "benchmark"} if len(found) > 1 else {}
        optional = [heading for heading in shown if heading not in _LABELS]
        said = with_premise(f"{title}.", found if premise else ()).removesuffix(".")
        return tables.of_rows(name, said, made, named | dict(shown), _LABELS, optional)

    return make


def text(name: str, form: Callable[[float], str]) -> Callable[[Mapping[str, Any]], str]:
    """A cell of a row's number; "" for NaN."""
    return lambda row: "" if math.isnan(row[name]) else form(row[name])


def configuration_table(
    title: str,
    quantities: Sequence[Quantity] = (ACCURACY, runs.TRAIN, STABILITY, runs.GAP, runs.RUNNING_GAP),
) -> MakeTable:
    """Mean ± std (ddof 1) over runs of every configuration (GST tables C1 and F1)."""
    shown: dict[str, Any] = {
        "configuration": "configuration",
        "total pruned": text("total_fraction", runs.rate_text),
    }
    for q in quantities:
        form = partial(tables.plus_minus, digits=2) if q.scale == 100 else tables.measured
        shown[q.of_table] = tables.mean_std(q.column, form)
    shown |= {
        "paper (%)": text("paper_accuracy", tables.plus_minus),
        "runs": "n",
        "missing seeds": "missing_seeds",
    }
    rows = partial(_configurations, quantities=quantities)
    return table("configurations", title, rows, shown, premise=True)


def _configurations(benchmark: Benchmark, quantities: Iterable[Quantity]) -> Iterator[Row]:
    for c in benchmark.configurations:
        own, printed = benchmark.of(c), None
        if c.kind == runs.NO_PRUNING:  # The one accuracy that GST prints, in figure 3's caption.
            printed = benchmark.printed("figure 3", "test_accuracy_percent")
        row: Row = {"configuration": c.name, "kind": c.kind, "target": c.target}
        row |= {name: getattr(c, name) or math.nan for name in _AMOUNTS}
        row |= {"cumulative": c.cumulative, "n": len(own)}
        row["missing_seeds"] = summary.seeds_text(set(benchmark.runs["seed"]) - set(own["seed"]))
        for q in quantities:
            row |= summary.described(own[q.column].tolist(), q.column, "mean", "std")
        yield row | {"paper_accuracy": printed.mean / 100 if printed else math.nan}


def correlation_table(title: str, relations: Callable[[Benchmark], Iterable[Row]]) -> MakeTable:
    """Pearson's r and Kendall's τ with bootstrapped 95% intervals and p-values, the paper's beside.

    Of fewer than three runs there is none, and the table says so.
    """
    shown: dict[str, Any] = {
        "runs of": "runs",
        "quantities": lambda row: f"{_WORDS[row['y']]}, {_WORDS[row['x']]}",
        "n": "n",
    }
    for name, symbol in (("pearson", "r"), ("kendall", "τ")):
        shown[f"{symbol} [95% CI]"] = partial(_interval_text, name)
        shown[f"p of {symbol}"] = text(f"{name}_p", "{:.2g}".format)
    shown["paper r"] = text("paper_pearson", "{:.2f}".format)
    shown["paper p"] = text("paper_pearson_p", "{:.2g}".format)
    title = f"{title}; intervals bootstrapped, p-values two-sided"
    return table("correlations", title, relations, shown)


def relation(
    which: str,
    rows: pd.DataFrame,
    first: Quantity,
    second: Quantity,
    paper: Sequence[summary.Printed | None] = (),
) -> Row:
    """A row of a table of correlations: of runs, `which` in words; the paper's r and its p."""
    x, y = rows[first.column], rows[second.column]
    link = asdict(statistics.correlation(x, y))
    row: Row = {"runs": which, "x": first.column, "y": second.column, "n": link["n"]}
    for name, interval in _INTERVALS.items():
        low, high = interval(x, y, random())
        row |= {name: link[name], f"{name}_low": low, f"{name}_high": high}
        row[f"{name}_p"] = link[f"{name}_p"]
    for name, printed in zip(("pearson", "pearson_p"), paper or (None, None), strict=True):
        row[f"paper_{name}"] = printed.mean if printed else math.nan
    return row | {"paper_note": "; ".join(printed.note for printed in paper if printed)}


def _interval_text(name: str, row: Mapping[str, Any]) -> str:
    if row["n"] < FEWEST_RUNS:
        return f"needs at least {FEWEST_RUNS} runs"
    if math.isnan(row[name]):
        return "one does not vary"
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def t_test_table(pairs: Callable[[Benchmark], Iterable[Pair]]) -> MakeTable:
    """t tests of test accuracy between configurations (GST table F1)."""
    title = (
        "Test accuracy of two configurations: two-sided t tests of independent runs, variance "
        "pooled, p-values not corrected for their number"
    )
    shown = {
        "compared": "compared",
        "against": "against",
        "test accuracy (points)": lambda row: f"{100 * row['difference']:+.2f}",
        "t": text("t", "{:.2f}".format),
        "p": lambda row: text("p", "{:.2g}".format)(row) or "needs 2 runs each",
        "runs": lambda row: f"{row['compared_n']}, {row['against_n']}",
    }
    return table("t_tests", title, lambda b: [t_test(b, *pair) for pair in pairs(b)], shown)


def t_test(benchmark: Benchmark, first: Configuration, second: Configuration) -> Row:
    """A row of a table of t tests, of the test accuracies of two configurations."""
    test = statistics.t_test(*(benchmark.of(c)[ACCURACY.column] for c in (first, second)))
    return {
        "compared": first.name,
        "against": second.name,
        "compared_n": test.n_first,
        "against_n": test.n_second,
        "difference": test.difference,
        "t": test.t,
        "p": test.p,
    }
