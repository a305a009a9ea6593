"""The report of width_scaling: PEG figures 7, 11 and 12, table 7."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from etils import epath
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tfprune import store
from tfprune.results import families, family_figures, figures, style, tables
from tfprune.results.families import (
    LR_REWIND,
    METHOD_NAMES,
    ONE_SHOT,
    WIDTH,
    WIDTH_MATCHED,
    Family,
)

EXPERIMENT = "width_scaling"
_OPTIMUM = "optimal size"
_COLORS = {LR_REWIND: style.ORANGE, WIDTH: style.BLUE}
_SHORT = {LR_REWIND: "pruning", WIDTH: METHOD_NAMES[WIDTH]}


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv.

    Returns:
      The figures whose families were run.

    Raises:
      InputError: there is no results.csv, it is damaged, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    found = families.families(results[results["experiment"] == EXPERIMENT])
    scaled = families.with_methods(found, LR_REWIND, WIDTH)
    matched = families.with_methods(found, ONE_SHOT, WIDTH_MATCHED)
    if not scaled:
        scaled = [family for family in found if family.method == WIDTH]
    drawn: list[figures.Drawing] = [
        (
            "error",
            "Test error of narrower dense networks and of pruned ones, by their size",
            family_figures.comparison_reading(found, WIDTH, LR_REWIND),
            "PEG figure 7",
            family_figures.by_method(
                scaled,
                {LR_REWIND: "s", WIDTH: "o"},
                family_figures.by_remaining,
                _SHORT,
                _OPTIMUM,
            ),
        ),
        (
            "benchmarks",
            "Test error by number of weights, benchmark by benchmark",
            beating_reading(scaled),
            "PEG figure 11",
            by_benchmark(scaled),
        ),
        (
            "matched_training",
            "Test error of one-shot pruned and of narrower networks trained as long",
            family_figures.comparison_reading(matched, WIDTH_MATCHED, ONE_SHOT),
            "PEG figure 12",
            family_figures.by_method(
                matched,
                {ONE_SHOT: "s", WIDTH_MATCHED: "o"},
                family_figures.by_remaining,
                METHOD_NAMES,
                _OPTIMUM,
            ),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Every family's optimum, ours beside the paper's table 7, and its claim."""
    found = families.families(results[results["experiment"] == EXPERIMENT])
    if not found:
        return []
    made = [families.optima_table(found, f"{EXPERIMENT}_optima")]
    optimal, claims = _table_7(found), _claims(found)
    return [*made, *([optimal] if optimal else []), *([claims] if claims else [])]


def _table_7(found: Sequence[Family]) -> tables.Table | None:
    """Ours beside PEG table 7; None where no network of another width was run."""
    benchmarks = {
        mark: here for mark, here in families.by_benchmark(found).items() if WIDTH in here
    }
    if not benchmarks:
        return None
    cells = [
        families.optimal_cell(here, mark, method, 7, LR_REWIND)
        for mark, here in benchmarks.items()
        for method in (LR_REWIND, WIDTH)
    ]
    used = [f for here in benchmarks.values() for m, f in here.items() if m in _COLORS]
    title = (
        "PEG table 7, test error of the optimal model, narrower dense networks and pruned ones, "
        f"weights remaining of the full width's; {families.selection_note(used)}"
    )
    name = f"{EXPERIMENT}_table_7"
    return families.comparison_table(name, title, cells, digits=2, against=LR_REWIND)


def _claims(found: Sequence[Family]) -> tables.Table | None:
    clean = [family for family in found if not family.benchmark.is_noisy]
    noisy = [family for family in found if family.benchmark.is_noisy]
    claims = [
        families.Claim(
            "width scaling, pruning; no noise",
            "higher on 4 of 5",
            families.count_verdicts(clean, WIDTH, LR_REWIND),
        ),
        families.Claim(
            "width scaling, pruning; noise",
            "",
            families.count_verdicts(noisy, WIDTH, LR_REWIND),
        ),
    ]
    return families.claims_table(f"{EXPERIMENT}_claims", claims)


def by_benchmark(found: Sequence[Family]) -> Figure | None:
    """Test error by number of weights, a panel per benchmark (PEG figure 11)."""
    found = [family for family in found if family.points["weights"].notna().any()]
    if not found:
        return None
    with style.house_style():
        benchmarks = families.by_benchmark(found)
        figure, grid = family_figures.panels(len(benchmarks))
        for axes, (benchmark, here) in zip(grid, benchmarks.items(), strict=True):
            lines = [
                family_figures.Curve(f, _COLORS[m], "-", "s" if m == LR_REWIND else "o")
                for m, f in here.items()
            ]
            for line in lines:
                dashed = style.BLACK if line is lines[0] else ""
                family_figures.draw(axes, line, family_figures.by_weights, dashed)
            family_figures.error_axis(axes, lines)
            axes.set_xscale("log")
            axes.invert_xaxis()
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("Weights")
            family_figures.title(axes, benchmark.name)
        used = [method for method in _COLORS if any(f.method == method for f in found)]
        handles = family_figures.line_handles(
            {m: (_COLORS[m], "s" if m == LR_REWIND else "o") for m in used}, _SHORT
        )
        common = family_figures.common_handles(found, _OPTIMUM)
        figures.legend_below(figure, [*handles, *common])
    return figure


def beating_reading(found: Sequence[Family]) -> str:
    """How small networks of either kind get while they beat the dense one, in one sentence."""
    if max((len(family.seeds) for family in found), default=0) < 2:
        return "One seed cannot tell whether a smaller network beats the dense one."
    by_width = [family for family in found if family.method == WIDTH]
    pruned = [family for family in found if family.method == LR_REWIND]
    said = [
        f"{_SHORT[method]} on {sum(f.highest_beating_dense() is not None for f in here)} "
        f"of {len(here)}"
        for method, here in ((WIDTH, by_width), (LR_REWIND, pruned))
        if here
    ]
    return f"Benchmarks on which some smaller network beats the dense one: {', '.join(said)}."
