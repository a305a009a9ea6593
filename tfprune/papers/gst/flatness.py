"""What flatness shows: how flat the minima are, by the stability of pruning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, MaxNLocator

from tfprune.papers.gst import parts, runs
from tfprune.papers.gst.runs import ACCURACY, STABILITY, Benchmark, Quantity
from tfprune.report import grammar, style, tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Axis, Figure, Line, Lines, Mark, Panel, Spread
from tfprune.report.readings import extremes

# How many eigenvalues bars show, and how many eigenvectors are followed.
_BARS, _DIRECTIONS = 10, 9
# ε's rise of the test loss, in nats.
RISE = 0.1


def relations(benchmark: Benchmark) -> Iterator[parts.Row]:
    """Every measured quantity with stability and with accuracy, and those two."""
    pairs = [(STABILITY, q) for q in runs.MEASURED] + [(q, ACCURACY) for q in runs.MEASURED]
    for x, y in [*pairs, (STABILITY, ACCURACY)]:
        if benchmark.runs[[x.column, y.column]].notna().any().all():
            yield parts.relation("all", benchmark.runs, x, y)


def _around(*quantities: Quantity) -> parts.Pairs:
    return [pair for q in quantities for pair in ((STABILITY, q), (q, ACCURACY))]


# ---------------------------------------------------------------- eigenvalues
def eigenvalues(benchmark: Benchmark) -> pd.DataFrame:
    """The top eigenvalues by falling magnitude, signed; of as many as every run of one has."""
    table = benchmark.measured("flatness", ("index", "eigenvalue"))
    table = table.assign(size=table["eigenvalue"].abs())
    # Files have them by falling value, as the eigenvectors come: the negative ones at the end.
    run = table.groupby(["configuration", "seed"], observed=True)["size"]
    table = table.assign(place=run.rank(method="first", ascending=False))
    least = run.transform("count").groupby(table["configuration"], observed=True).transform("min")
    return table[table["place"] <= least]


def _bars(benchmark: Benchmark) -> pd.DataFrame:
    """The first of them, with the width of their bars, and how many of these they stand aside."""
    table = eigenvalues(benchmark)
    known = list(table["configuration"].unique())
    aside = [known.index(c) - (len(known) - 1) / 2 for c in table["configuration"]]
    table = table.assign(width=0.84 / max(len(known), 1), aside=aside)
    return table[table["place"] <= _BARS]


class BarsBeside(Lines):
    """A bar in place of each point of a line, those of several lines side by side."""

    def draw_line(self, axes: Axes, line: Line) -> None:
        width, aside = (float(line.rows[name].iloc[0]) for name in ("width", "aside"))
        std = None if line.std.isna().all() else line.std
        axes.bar(
            line.x + width * aside, line.mean, width, yerr=std, color=line.look["color"],
            error_kw={"elinewidth": 0.8, "ecolor": style.BLACK},
        )  # fmt: skip
        axes.grid(False, axis="x")

    def handle(self, label: str, look: Mapping[str, Any]) -> grammar.Handle:
        return Patch(color=look["color"], label=label)


def _log_places(panel: Panel) -> None:
    panel.axes.set_xscale("log")
    panel.axes.xaxis.set_major_formatter(LogFormatter())
    panel.axes.xaxis.set_minor_formatter(LogFormatter())


_PLACES = Axis(
    "place", "Place by magnitude",
    finish=lambda panel: panel.axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True)),
)  # fmt: skip


def _ends(benchmark: Benchmark) -> str:
    """Which configuration has the largest and the smallest top eigenvalue."""
    means = benchmark.means(runs.TOP)
    if not means:
        return ""
    least, most = extremes(means, tables.measured)
    said = f", smallest with {least}" if len(means) > 1 else ""
    return f"The mean top eigenvalue{benchmark.where} is largest with {most}{said}."


def _negative(benchmark: Benchmark) -> str:
    """How many eigenvalues were found, and how many of them are negative."""
    table = eigenvalues(benchmark)
    if table.empty:
        return ""
    return (
        f"Of the {table['place'].max():.0f} eigenvalues of largest magnitude of every "
        f"run{benchmark.where}, {100 * (table['eigenvalue'] < 0).mean():.0f}% are negative."
    )


# ---------------------------------------------------------------- perturbations
def rises(benchmark: Benchmark) -> pd.DataFrame:
    """Rises of the test loss along the first nine eigenvectors."""
    table = benchmark.measured("perturbations", ("direction", "step", "test_loss_rise"))
    # Different runs may differ in the last bit of what is one step.
    table = table[table["direction"] < _DIRECTIONS].assign(step=table["step"].round(9))
    title = [f"{benchmark.title} eigenvector {place + 1:.0f}" for place in table["direction"]]
    return table.assign(title=title)


def _near(benchmark: Benchmark) -> pd.DataFrame:
    """As far out as just beyond the largest ε; the whole grid where there is none."""
    table, epsilon = rises(benchmark), benchmark.runs[runs.EPSILON.column].max()
    return table if math.isnan(epsilon) else table[table["step"].abs() <= 1.15 * epsilon]


def _reached(benchmark: Benchmark) -> str:
    """How far along the first eigenvector the dotted line is reached."""
    first = (
        rises(benchmark).query("direction == 0").groupby(["configuration", "step"], observed=True)
    )
    said = []
    for c, rise in first["test_loss_rise"].mean().groupby(level=0, observed=True):
        steps = np.abs(rise.index.get_level_values("step")[rise >= RISE])
        step = f"{steps.min():.3g}" if steps.size else "none that was measured"
        said.append(f"{step} with {c}")
    if not said:
        return ""
    return (
        f"Along the first eigenvector{benchmark.where}, the mean rise of the test loss first "
        f"reaches {RISE:g} nats at a step of {', '.join(said)}: further out is flatter."
    )


_STEPS = Axis(
    "step", "Step along the unit vector",
    finish=lambda panel: panel.axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True)),
)  # fmt: skip
_RISE = Mark(
    lambda panel: panel.axes.axhline(RISE, color="#777777", linestyle=":", linewidth=1.3),
    lambda: grammar.line_handle(f"rise of {RISE:g} nats", "#777777", dash=":"),
)

# fmt: off
FLATNESS = Experiment(
    "flatness",
    runs.benchmarks,
    figures=(
        parts.scatter(
            "curvature_and_noise", "Stability, curvature, gradient noise and test accuracy",
            _around(runs.TRACE, runs.COVARIANCE)),
        Figure(
            "top_eigenvalues", "The Hessian's eigenvalues of largest magnitude",
            parts.rows_of(_bars),
            BarsBeside(
                _PLACES, Axis("eigenvalue", "Eigenvalue"),
                color=parts.BY_CONFIGURATION["color"], marks=(grammar.ZERO,),
                spread=Spread(grammar.STD.ends, "± std over runs", bars=True)),
            parts.on_each(_ends), panel="benchmark", size=(11, 7.4, 3.8)),
        Figure(
            "spectra", "The Hessian's top eigenvalues, with their sign and in magnitude",
            parts.rows_of(eigenvalues),
            {"signed": Lines(
                replace(_PLACES, finish=_log_places),
                Axis("eigenvalue", "Eigenvalue, mean over runs"),
                marks=(grammar.ZERO,), spread=parts.band(0.8), **parts.BY_CONFIGURATION),
             "magnitude": Lines(
                _PLACES, Axis("size", "Magnitude of the eigenvalue, mean over runs"),
                spread=None, **parts.BY_CONFIGURATION)},
            parts.on_each(_negative), row="benchmark", column="shown", heading="benchmark",
            size=(7.4, 5.5, 3.9)),
        parts.scatter(
            "epsilon", "Perturbations that raise the test loss by 0.1 nats", _around(runs.EPSILON)),
        Figure(
            "perturbations", "Rise of the test loss along the Hessian's top eigenvectors",
            parts.rows_of(_near),
            Lines(
                _STEPS, Axis("test_loss_rise", "Rise (nats)"), marks=(_RISE,), spread=None,
                **parts.BY_CONFIGURATION),
            parts.on_each(_reached), row="benchmark", column="direction", heading="title",
            wrap=3, same_y="benchmark", size=(3.8, 3.8, 2.5)),
        parts.scatter("tic", "The Takeuchi information criterion's proxy", _around(runs.TIC)),
        parts.scatter(
            "accuracy", "Test accuracy against stability over all configurations",
            [(STABILITY, ACCURACY)]),
    ),
    tables=(
        parts.configuration_table(
            "Flatness at the end of training: best test accuracy and mean stability, eigenvalues "
            "and traces of the test loss on the measured examples, and ε; mean ± std over runs",
            (ACCURACY, runs.TRAIN, STABILITY, *runs.MEASURED)),
        parts.correlation_table(
            "How flatness goes with stability and test accuracy over the runs of all "
            "configurations", relations),
    ),
    every_variant=True,
)
