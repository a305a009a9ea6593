"""What pruning_as_noise shows: noise in the place of pruning."""

from __future__ import annotations

import math

import pandas as pd

from tfprune.papers.gst import parts, runs
from tfprune.papers.gst.runs import ACCURACY, FILTERS, NO_PRUNING, NOISES, Benchmark, Configuration
from tfprune.report import tables
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import Figure
from tfprune.report.readings import SIGNIFICANT


def noise_panels(benchmark: Benchmark) -> dict[str, list[Configuration]]:
    """Kind of noise, on new filters or cumulative -> its noises, shortest first, after the rest."""
    known = benchmark.configurations
    names = {c: NOISES[c.kind] + ", cumulative" * c.cumulative for c in known if c.kind in NOISES}
    plain = [c for c in known if c.kind in (NO_PRUNING, FILTERS)]
    return {
        name: plain + [c for c in known if names.get(c) == name]
        for name in dict.fromkeys(names.values())
    }


def _by_epoch(benchmark: Benchmark) -> pd.DataFrame:
    return parts.curve_rows(benchmark, noise_panels(benchmark))


def _gains(benchmark: Benchmark) -> str:
    """What pruning and each noise add to the accuracy without either."""
    means = benchmark.means(ACCURACY)
    plain = next((c for c in means if c.kind == NO_PRUNING), None)
    if plain is None:
        return ""
    others = [c for c in means if c != plain]
    gains = ", ".join(f"{c} {tables.points(means[c] - means[plain])}" for c in others)
    tests = [p for c in others if not math.isnan(p := parts.t_test(benchmark, c, plain)["p"])]
    differ = sum(p < SIGNIFICANT for p in tests)
    tested = f"; by t tests, {differ} of {len(tests)} differ from it (p < {SIGNIFICANT:g})"
    return (
        f"Points of test accuracy above No Pruning ({100 * means[plain]:.1f}%){benchmark.where}: "
        f"{gains}{tested if tests else ''}."
    )


def compared(benchmark: Benchmark) -> list[parts.Pair]:
    """Every noise with no pruning and with pruning; pruning with no pruning."""
    against = {FILTERS: [NO_PRUNING]} | {noise: [NO_PRUNING, FILTERS] for noise in NOISES}
    known = benchmark.configurations
    return [(c, other) for c in known for other in known if other.kind in against.get(c.kind, ())]


# fmt: off
PRUNING_AS_NOISE = Experiment(
    "pruning_as_noise",
    runs.benchmarks,
    figures=(
        Figure(
            "accuracy", "Test accuracy by epoch with pruning, and with noise in its place",
            parts.rows_of(_by_epoch), parts.CURVES, parts.on_each(_gains, premise=True),
            row="benchmark", column="shown", heading="title", wrap=2,
            same_y="same_y", size=(7.4, 4.9, 4.6), legend="panel"),
    ),
    tables=(
        parts.configuration_table(
            "Pruning and noise in its place (GST section 3.3): best test accuracy at or after the "
            "last event, train accuracy at that epoch, mean stability over events, and "
            "generalization gap, of the network and of the running training accuracy; mean ± std "
            "over runs"),
        parts.t_test_table(compared),
    ),
    every_variant=True,
)
