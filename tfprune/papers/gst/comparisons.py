"""GST's tables: every configuration, what correlates over runs, t tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from tfprune.measures import statistics
from tfprune.papers.gst.panels import FEWEST_RUNS, random, with_premise
from tfprune.papers.gst.runs import (
    ACCURACY,
    GAP,
    NO_PRUNING,
    QUANTITIES,
    RUNNING_GAP,
    STABILITY,
    TRAIN,
    Benchmark,
    Configuration,
    Found,
    Quantity,
    rate_text,
)
from tfprune.report import summary, tables
from tfprune.report.summary import Printed
from tfprune.report.tables import Table

Row = dict[str, Any]
MakeTable = Callable[[Found], Table]
Pair = tuple[Configuration, Configuration]
_LABELS = ("benchmark", "configuration", "runs of", "quantities", "compared", "against")
_WORDS = {quantity.column: quantity.words for quantity in QUANTITIES}
_INTERVALS = {"pearson": statistics.pearson_interval, "kendall": statistics.kendall_interval}
_AMOUNTS = ("period", "iterative_rate", "total_fraction", "noise_batches")


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
    quantities: Sequence[Quantity] = (ACCURACY, TRAIN, STABILITY, GAP, RUNNING_GAP),
) -> MakeTable:
    """Mean ± std (ddof 1) over runs of every configuration (GST tables C1 and F1)."""
    shown: dict[str, Any] = {
        "configuration": "configuration",
        "total pruned": text("total_fraction", rate_text),
    }
    for q in quantities:
        form = partial(tables.plus_minus, digits=2) if q.scale == 100 else tables.measured
        shown[q.of_table] = tables.mean_std(q.column, form)
    shown |= {
        "paper (%)": text("paper_accuracy", lambda value: f"{100 * value:.1f}"),
        "runs": "n",
        "missing seeds": "missing_seeds",
    }

    def rows(b: Benchmark) -> list[Row]:
        return [_configuration(b, c, quantities) for c in b.configurations]

    return table("configurations", title, rows, shown, premise=True)


def _configuration(benchmark: Benchmark, c: Configuration, quantities: Iterable[Quantity]) -> Row:
    runs = benchmark.of(c)
    # The one accuracy that GST prints: of no pruning, in the caption of figure 3.
    paper = benchmark.printed("figure 3", "test_accuracy_percent") if c.kind == NO_PRUNING else None
    row: Row = {
        "configuration": c.name,
        "kind": c.kind,
        "target": c.target,
        **{name: getattr(c, name) or math.nan for name in _AMOUNTS},
        "cumulative": c.cumulative,
        "n": len(runs),
        "missing_seeds": benchmark.missing_seeds(c),
    }
    for q in quantities:
        row |= summary.described(runs[q.column].tolist(), q.column, "mean", "std")
    return row | {"paper_accuracy": paper.mean / 100 if paper else math.nan}


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
    runs: pd.DataFrame,
    first: Quantity,
    second: Quantity,
    paper: Sequence[Printed | None] = (),
) -> Row:
    """A row of a table of correlations: of runs, `which` in words; the paper's r and its p."""
    x, y = runs[first.column], runs[second.column]
    link = statistics.correlation(x, y)
    row: Row = {"runs": which, "x": first.column, "y": second.column, "n": link.n}
    for name, interval in _INTERVALS.items():
        ends = interval(x, y, random())
        row |= {
            name: getattr(link, name),
            f"{name}_low": ends.low,
            f"{name}_high": ends.high,
            f"{name}_p": getattr(link, f"{name}_p"),
        }
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
    return table("t_tests", title, lambda b: [_t_test(b, *pair) for pair in pairs(b)], shown)


def _t_test(benchmark: Benchmark, first: Configuration, second: Configuration) -> Row:
    test = t_test(benchmark, first, second)
    return {
        "compared": first.name,
        "against": second.name,
        "compared_n": test.n_first,
        "against_n": test.n_second,
        "difference": test.difference,
        "t": test.t,
        "p": test.p,
    }


def t_test(benchmark: Benchmark, first: Configuration, second: Configuration) -> statistics.TTest:
    """Of the test accuracies of two configurations."""
    return statistics.t_test(*(benchmark.of(c)[ACCURACY.column] for c in (first, second)))
