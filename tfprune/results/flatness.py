"""The report of flatness: GST figures 6 and E1 to E6, how flat the minima are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables
from tfprune.results import figures, stability
from tfprune.results.stability import (
    ACCURACY,
    STABILITY,
    TRAIN,
    Benchmark,
    Configuration,
    Quantity,
    Relation,
)
from tfprune.seeds import Stream, generator

EXPERIMENT = "flatness"
EIGENVALUES, PERTURBATIONS = "flatness", "perturbations"
EIGENVALUE_COLUMNS = ("index", "eigenvalue")
PERTURBATION_COLUMNS = ("direction", "step", "test_loss_rise")
TRACE = Quantity(
    "hessian_trace_top", "Curvature: sum of the top Hessian eigenvalues", "sum of top eigenvalues"
)
COVARIANCE = Quantity(
    "gradient_covariance_trace", "Noise: trace of the gradient covariance", "Tr(C)"
)
EPSILON = Quantity("epsilon", "ε: perturbation that raises the test loss by 0.1 nats", "epsilon")
TIC = Quantity("tic_proxy", "TIC proxy: Tr(C) over Tr(H)", "TIC proxy")
HUTCHINSON = Quantity("hessian_trace", "Trace of the Hessian (Hutchinson)", "Tr(H), Hutchinson")
TOP = Quantity("top_eigenvalue", "Top Hessian eigenvalue", "top eigenvalue")
MEASURED = (TRACE, HUTCHINSON, TOP, COVARIANCE, TIC, EPSILON)
# How many eigenvalues figure E1 shows, and eigenvectors figure E4.
_BARS, _DIRECTIONS = 10, 9
# Of the band around the mean eigenvalues in figure E2.
_BAND = 0.8
# Epsilon's rise of the test loss, in nats.
RISE = 0.1


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the tables that its rows name.

    Returns:
      The figures there are data for, curvature and gradient noise first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = stability.benchmarks(store.read_results(output_dir, every_variant=True), EXPERIMENT)
    pairs = [(STABILITY, TRACE), (TRACE, ACCURACY), (STABILITY, COVARIANCE), (COVARIANCE, ACCURACY)]
    margins, tic = _around(EPSILON), _around(TIC)
    overall = [(STABILITY, ACCURACY)]
    drawn: list[figures.Drawing] = [
        (
            "curvature_and_noise",
            "Stability, curvature, gradient noise and test accuracy",
            _reading(found, pairs),
            "GST figure 6",
            stability.scatter_panels(found, pairs, everything),
        ),
        (
            "top_eigenvalues",
            "The Hessian's eigenvalues of largest magnitude",
            eigenvalue_reading(found),
            "GST figure E1",
            top_eigenvalues(output_dir, found),
        ),
        (
            "spectra",
            "The Hessian's top eigenvalues, with their sign and in magnitude",
            spectrum_reading(output_dir, found),
            "GST figure E2",
            spectra(output_dir, found),
        ),
        (
            "epsilon",
            "Perturbations that raise the test loss by 0.1 nats",
            _reading(found, margins),
            "GST figure E3",
            stability.scatter_panels(found, margins, everything),
        ),
        (
            "perturbations",
            "Rise of the test loss along the Hessian's top eigenvectors",
            perturbation_reading(output_dir, found),
            "GST figure E4",
            loss_rises(output_dir, found),
        ),
        (
            "tic",
            "The Takeuchi information criterion's proxy",
            _reading(found, tic),
            "GST figure E5",
            stability.scatter_panels(found, tic, everything),
        ),
        (
            "accuracy",
            "Test accuracy against stability over all configurations",
            _reading(found, overall),
            "GST figure E6",
            stability.scatter_panels(found, overall, everything),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def _around(quantity: Quantity) -> list[tuple[Quantity, Quantity]]:
    return [(STABILITY, quantity), (quantity, ACCURACY)]


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Flatness of every configuration, and its correlations with stability and accuracy."""
    found = stability.benchmarks(results, EXPERIMENT)
    if not found:
        return []
    title = (
        "Flatness at the end of training: best test accuracy and mean stability, eigenvalues and "
        "traces of the test loss on the measured examples, and ε; mean ± std over runs"
    )
    shown = (ACCURACY, TRAIN, STABILITY, *MEASURED)
    linked = stability.correlation_table(
        found,
        f"{EXPERIMENT}_correlations",
        "How flatness goes with stability and test accuracy over the runs of all configurations; "
        "intervals bootstrapped, p-values two-sided",
        relations(found),
    )
    return [
        stability.configuration_table(found, f"{EXPERIMENT}_configurations", title, shown),
        *([linked] if linked is not None else []),
    ]


def everything(benchmark: Benchmark) -> pd.DataFrame:
    """The runs of all configurations, as figures 6 and E show them."""
    return benchmark.runs


def relations(found: Sequence[Benchmark]) -> list[Relation]:
    """Every measured quantity with stability and with accuracy, and those two."""
    return [
        Relation(benchmark, "all", benchmark.runs, x, y)
        for benchmark in found
        for x, y in [
            *((STABILITY, q) for q in MEASURED),
            *((q, ACCURACY) for q in MEASURED),
            (STABILITY, ACCURACY),
        ]
        if all(np.isfinite(q.of(benchmark.runs)).any() for q in (x, y))
    ]


def _reading(found: Sequence[Benchmark], pairs: Sequence[tuple[Quantity, Quantity]]) -> str:
    said = stability.correlation_reading(found, everything, pairs)
    warning = stability.premise(found) if said and ACCURACY in sum(pairs, ()) else ""
    return f"{said} {warning}." if warning else said


# ---------------------------------------------------------------- eigenvalues
def eigenvalues(output_dir: epath.PathLike, runs: pd.DataFrame) -> list[np.ndarray]:
    """The top eigenvalues of every run that has its file, by falling magnitude, signed.

    Raises:
      InputError: a file is damaged.
    """
    return [
        table.sort_values("index")["eigenvalue"].to_numpy(float)
        for table in _read(output_dir, runs, EIGENVALUES, EIGENVALUE_COLUMNS)
    ]


def _read(
    output_dir: epath.PathLike, runs: pd.DataFrame, column: str, needed: Sequence[str]
) -> list[pd.DataFrame]:
    if column not in runs:
        return []
    there = runs[[isinstance(file, str) and bool(file) for file in runs[column]]]
    return store.read_measurements(output_dir, there, column, needed)


def _spectra_of(
    output_dir: epath.PathLike, benchmark: Benchmark
) -> dict[Configuration, np.ndarray]:
    """Configuration -> eigenvalues `[runs, k]`, of as many as every run has."""
    found = {}
    for configuration in benchmark.configurations:
        runs = eigenvalues(output_dir, benchmark.of(configuration))
        if runs:
            found[configuration] = np.stack([v[: min(map(len, runs))] for v in runs])
    return found


def top_eigenvalues(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """Bars of the ten eigenvalues of largest magnitude, mean ± std over runs (GST figure E1).

    A panel per benchmark; None where no run has its eigenvalues.

    Raises:
      InputError: a file is damaged.
    """
    shown = {b: s for b in found if (s := _spectra_of(output_dir, b))}
    if not shown:
        return None
    with style.house_style():
        figure = style.new_figure(11, 3.8 * len(shown) + 0.6)
        grid = figure.subplots(len(shown), 1, squeeze=False).flatten()
        for axes, (benchmark, by_configuration) in zip(grid, shown.items(), strict=True):
            _draw_bars(axes, benchmark, by_configuration)
            axes.set_title(style.wrapped(benchmark.name, 90))
        handles = _handles(shown)
        several = any(len(v) > 1 for s in shown.values() for v in s.values())
        std = Line2D([], [], color=style.BLACK, linewidth=1, label="± std over runs")
        figures.legend_below(figure, [*handles, *([std] if several else [])])
    return figure


def _draw_bars(axes: Axes, benchmark: Benchmark, spectra_: dict[Configuration, np.ndarray]) -> None:
    width = 0.84 / len(spectra_)
    most = 1
    for place, (configuration, values) in enumerate(spectra_.items()):
        values = values[:, :_BARS]
        most = max(most, values.shape[1])
        x = np.arange(1, values.shape[1] + 1) + width * (place - (len(spectra_) - 1) / 2)
        std = values.std(axis=0, ddof=1) if len(values) > 1 else None
        axes.bar(
            x, values.mean(axis=0), width, yerr=std, color=benchmark.looks[configuration].color,
            error_kw={"elinewidth": 0.8, "ecolor": style.BLACK},
        )  # fmt: skip
    axes.grid(False, axis="x")
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xticks(range(1, most + 1))
    axes.set_xlabel("Place by magnitude")
    axes.set_ylabel("Eigenvalue")


def _handles(shown: dict[Benchmark, dict[Configuration, np.ndarray]]) -> list[Line2D | Patch]:
    """Legend entries of everything that is shown."""
    first = next(iter(shown))
    known = sorted({c for s in shown.values() for c in s}, key=lambda c: c.place)
    return [Patch(color=first.looks[c].color, label=first.names[c]) for c in known]


def spectra(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """All top eigenvalues by falling magnitude, a line per configuration (GST figure E2).

    Left the eigenvalues with their sign over a logarithmic place, mean over runs with a
    bootstrapped 80% band; right the mean of their magnitudes. A row per benchmark; None where no
    run has its eigenvalues.

    Raises:
      InputError: a file is damaged.
    """
    shown = {b: s for b in found if (s := _spectra_of(output_dir, b))}
    if not shown:
        return None
    with style.house_style():
        figure = style.new_figure(11, 3.9 * len(shown) + 0.6)
        grid = figure.subplots(len(shown), 2, squeeze=False)
        for (left, right), (benchmark, by_configuration) in zip(grid, shown.items(), strict=True):
            for configuration, values in by_configuration.items():
                look = benchmark.looks[configuration]
                place = np.arange(1, values.shape[1] + 1)
                left.plot(place, values.mean(axis=0), color=look.color, linestyle=look.linestyle)
                band = statistics.mean_band(
                    values, generator(0, Stream.MEASURE), confidence=_BAND, resamples=1000
                )
                left.fill_between(place, *band, color=look.color, alpha=0.2, linewidth=0)
                magnitude = np.abs(values).mean(axis=0)
                right.plot(place, magnitude, color=look.color, linestyle=look.linestyle)
            left.set_xscale("log")
            left.axhline(0, color=style.BLACK, linewidth=0.8)
            left.set_ylabel("Eigenvalue, mean over runs")
            right.set_ylabel("Magnitude of the eigenvalue, mean over runs")
            right.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            for axes in (left, right):
                axes.set_xlabel("Place by magnitude")
            left.set_title(style.wrapped(benchmark.name, 50))
        figures.legend_below(figure, _handles(shown))
    return figure


# ---------------------------------------------------------------- perturbations
def loss_rises(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """Rise of the test loss along the first nine eigenvectors (GST figure E4).

    A line per configuration, mean over runs; three panels a row. None where no run has its file.

    Raises:
      InputError: a file is damaged.
    """
    shown = {b: s for b in found if (s := _rises_of(output_dir, b))}
    if not shown:
        return None
    blocks = [math.ceil(_most_directions(rises) / 3) for rises in shown.values()]
    columns = min(3, max(_most_directions(rises) for rises in shown.values()))
    with style.house_style():
        figure = style.new_figure(3.8 * columns, 2.5 * sum(blocks) + 0.7)
        grid = figure.subplots(sum(blocks), columns, squeeze=False)
        first = 0
        for (benchmark, rises), rows in zip(shown.items(), blocks, strict=True):
            panels = list(grid[first : first + rows].flatten())
            first += rows
            _draw_rises(panels, benchmark, rises, benchmark.name if len(shown) > 1 else "")
        known = sorted({c for rises in shown.values() for c in rises}, key=lambda c: c.place)
        looks, names = next(iter(shown)).looks, next(iter(shown)).names
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=looks[c].color, linestyle=looks[c].linestyle, label=names[c])
            for c in known
        ]
        handles.append(
            Line2D([], [], color="#777777", linestyle=":", label=f"rise of {RISE:g} nats")
        )
        figures.legend_below(figure, handles)
    return figure


def _rises_of(
    output_dir: epath.PathLike, benchmark: Benchmark
) -> dict[Configuration, pd.DataFrame]:
    """Configuration -> mean rise over runs, indexed by step, a column per direction."""
    found = {}
    for configuration in benchmark.configurations:
        runs = benchmark.of(configuration)
        read = _read(output_dir, runs, PERTURBATIONS, PERTURBATION_COLUMNS)
        if read:
            joined = pd.concat(read)
            # Different runs may differ in the last bit of what is one step.
            joined["step"] = joined["step"].round(9)
            found[configuration] = joined.pivot_table(
                index="step", columns="direction", values="test_loss_rise", aggfunc="mean"
            )
    return found


def _most_directions(rises: dict[Configuration, pd.DataFrame]) -> int:
    return min(_DIRECTIONS, max(table.shape[1] for table in rises.values()))


def _draw_rises(
    panels: Sequence[Axes],
    benchmark: Benchmark,
    rises: dict[Configuration, pd.DataFrame],
    name: str,
) -> None:
    count = _most_directions(rises)
    reach = _reach(benchmark, rises)
    for axes in panels[count:]:
        axes.set_axis_off()
    for place, axes in enumerate(panels[:count]):
        for configuration, table in rises.items():
            if place < table.shape[1]:
                look = benchmark.looks[configuration]
                near = table.iloc[:, place].loc[-reach:reach]
                axes.plot(near.index, near, color=look.color, linestyle=look.linestyle)
        axes.axhline(RISE, color="#777777", linestyle=":", linewidth=1.3)
        axes.set_title(style.wrapped(f"{name} eigenvector {place + 1}".strip(), 40))
        axes.set_xlabel("Step along the unit vector")
        axes.set_ylabel("Rise (nats)")
    style.same_limits(panels[:count])


def _reach(benchmark: Benchmark, rises: dict[Configuration, pd.DataFrame]) -> float:
    """How far out is shown: just beyond the largest ε, or the whole grid where there is none."""
    widest = max(float(table.index.to_numpy().max()) for table in rises.values())
    epsilon = EPSILON.of(benchmark.runs)
    known = epsilon[np.isfinite(epsilon)]
    return min(widest, 1.15 * float(known.max())) if known.size else widest


# ---------------------------------------------------------------- readings
def eigenvalue_reading(found: Sequence[Benchmark]) -> str:
    """Which configuration has the largest and the smallest top eigenvalue, in one sentence."""
    said = []
    for benchmark in found:
        means = {c: float(np.mean(TOP.of(benchmark.of(c)))) for c in benchmark.configurations}
        means = {c: mean for c, mean in means.items() if not math.isnan(mean)}
        if not means:
            continue
        order = sorted(means, key=lambda c: means[c])
        ends = [
            f"{benchmark.names[c]} ({tables.measured([means[c]], [math.nan])[0]})"
            for c in (order[-1], order[0])
        ]
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        least = f", smallest with {ends[1]}" if len(order) > 1 else ""
        said.append(f"The mean top eigenvalue{where} is largest with {ends[0]}{least}.")
    return " ".join(said)


def perturbation_reading(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> str:
    """How far along the first eigenvector the dotted line is reached, in one sentence.

    Raises:
      InputError: a file is damaged.
    """
    said = []
    for benchmark in found:
        rises = _rises_of(output_dir, benchmark)
        where = f" on {benchmark.name}" if len(found) > 1 and rises else ""
        reached = [
            f"{_reached(table)} with {benchmark.names[configuration]}"
            for configuration, table in rises.items()
        ]
        said += [f"{', '.join(reached)}{where}"] if reached else []
    if not said:
        return ""
    return (
        "Along the first eigenvector, the mean rise of the test loss first reaches "
        f"{RISE:g} nats at a step of {'; '.join(said)}: further out is flatter."
    )


def _reached(rises: pd.DataFrame) -> str:
    """The smallest measured step, either way, at which the first direction's rise is there."""
    first = rises.iloc[:, 0]
    steps = np.abs(first.index.to_numpy(float)[first.to_numpy() >= RISE])
    return f"{steps.min():.3g}" if steps.size else "none that was measured"


def spectrum_reading(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> str:
    """How many eigenvalues were found, and how many of them are negative, in one sentence.

    Raises:
      InputError: a file is damaged.
    """
    known = [values for b in found for values in _spectra_of(output_dir, b).values()]
    if not known:
        return ""
    negative = np.mean(np.concatenate([values.ravel() < 0 for values in known]))
    most = max(values.shape[1] for values in known)
    return (
        f"Of the {most} eigenvalues of largest magnitude of every run, "
        f"{100 * negative:.0f}% are negative."
    )
