"""The report of pruning_as_noise: GST figures 5 and D2, noise in the place of pruning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from tfprune import store
from tfprune.measures.statistics import t_test
from tfprune.report import style, tables
from tfprune.results import figures, stability
from tfprune.results.stability import FILTERS, NO_PRUNING, NOISES, Benchmark, Configuration

EXPERIMENT = "pruning_as_noise"
_MAX_COLUMNS = 3
# The largest p-value of a t test that the reading calls a difference; not corrected.
_SIGNIFICANT = 0.05


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figure from results.csv and the stages' metrics.csv.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    found = stability.benchmarks(store.read_results(output_dir, every_variant=True), EXPERIMENT)
    drawn: list[figures.Drawing] = [
        (
            "accuracy",
            "Test accuracy by epoch with pruning, and with noise in its place",
            noise_reading(found),
            "GST figures 5 and D2",
            accuracy_by_epoch(output_dir, found),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Every configuration, and t tests of each noise against pruning and against neither."""
    found = stability.benchmarks(results, EXPERIMENT)
    if not found:
        return []
    title = (
        "Pruning and noise in its place (GST section 3.3): best test accuracy at or after the last "
        "event, train accuracy at that epoch, mean stability over events, and generalization gap, "
        "of the network and of the running training accuracy; mean ± std over runs"
    )
    tested = stability.t_test_table(found, f"{EXPERIMENT}_t_tests", compared)
    return [
        stability.configuration_table(found, f"{EXPERIMENT}_configurations", title),
        *([tested] if tested is not None else []),
    ]


def noise_panels(benchmark: Benchmark) -> dict[str, list[Configuration]]:
    """Title -> the noises of a panel: a kind, on new filters or cumulative, shortest first."""
    panels: dict[str, list[Configuration]] = {}
    for configuration in benchmark.configurations:
        if configuration.kind in NOISES:
            title = f"{NOISES[configuration.kind]}{', cumulative' * configuration.cumulative}"
            panels.setdefault(title, []).append(configuration)
    return panels


def _plain(benchmark: Benchmark) -> list[Configuration]:
    """What every panel shows beside its noises."""
    return [c for c in benchmark.configurations if c.kind in (NO_PRUNING, FILTERS)]


def accuracy_by_epoch(output_dir: epath.PathLike, found: Sequence[Benchmark]) -> Figure | None:
    """Test accuracy by epoch, mean and bootstrapped 95% band (GST figures 5, D2).

    A panel per benchmark and kind of noise, with pruning and without either beside. The
    legends name the training batches that a noise lasts. None where no noise was run.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    panels = [(b, title, noises) for b in found for title, noises in noise_panels(b).items()]
    curves = {b: stability.curves(output_dir, b) for b in found}
    panels = [panel for panel in panels if any(c in curves[panel[0]] for c in panel[2])]
    if not panels:
        return None
    columns = 2 if len(panels) == 4 else min(len(panels), _MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    most = max(len(noises) + len(_plain(b)) for b, _, noises in panels)
    with style.house_style():
        width, height = (7.4 if columns == 1 else 4.9 * columns), 3.4 + 0.2 * most
        figure = style.new_figure(width, height * rows)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (benchmark, title, noises) in zip(grid, panels, strict=False):
            there = [c for c in (*_plain(benchmark), *noises) if c in curves[benchmark]]
            drawn = {c: curves[benchmark][c] for c in there}
            stability.draw_curves(axes, benchmark, drawn)
            axes.set_title(style.wrapped(f"{benchmark.name}: {title}", 50))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17))
        for benchmark in found:
            together = zip(grid, panels, strict=False)
            mine = [axes for axes, (owner, _, _) in together if owner is benchmark]
            if mine:
                style.same_limits(mine)
    return figure


def noise_reading(found: Sequence[Benchmark]) -> str:
    """What pruning and each noise add to the accuracy without either, in one sentence."""
    said = []
    for benchmark in found:
        means = {c: float(benchmark.of(c)["accuracy"].mean()) for c in benchmark.configurations}
        plain = [mean for c, mean in means.items() if c.kind == NO_PRUNING]
        if not plain or len(means) < 2:
            continue
        gains = [
            f"{benchmark.names[c]} {tables.points([mean - plain[0]], [float('nan')])[0]}"
            for c, mean in means.items()
            if c.kind != NO_PRUNING
        ]
        where = f" on {benchmark.name}" if len(found) > 1 else ""
        said.append(
            f"Points of test accuracy above No Pruning ({100 * plain[0]:.1f}%){where}: "
            f"{', '.join(gains)}{_tested(benchmark)}."
        )
    warning = stability.premise(found) if said else ""
    return " ".join([*said, *([f"{warning}."] if warning else [])])


def _tested(benchmark: Benchmark) -> str:
    """How many configurations differ from no pruning; "" where no t test can be made."""
    known = benchmark.configurations
    (plain, *_) = (c for c in known if c.kind == NO_PRUNING)
    pairs = [(benchmark.of(c)["accuracy"], benchmark.of(plain)["accuracy"]) for c in known]
    tests = [t_test(*pair) for c, pair in zip(known, pairs, strict=True) if c.kind != NO_PRUNING]
    told = [test.p for test in tests if not math.isnan(test.p)]
    if not told:
        return ""
    differ = sum(p < _SIGNIFICANT for p in told)
    return f"; by t tests, {differ} of {len(told)} differ from it (p < {_SIGNIFICANT:g})"


def compared(benchmark: Benchmark) -> list[tuple[Configuration, Configuration]]:
    """Every noise with no pruning and with pruning; pruning with no pruning."""
    known = benchmark.configurations
    noises = [c for c in known if c.kind in NOISES]
    plain, pruned = ([c for c in known if c.kind == kind] for kind in (NO_PRUNING, FILTERS))
    return [
        *((first, second) for first in pruned for second in plain),
        *((first, second) for first in noises for second in (*plain, *pruned)),
    ]
