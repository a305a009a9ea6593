"""The report of pruning_effect: PEG figures 1a, 3, 4, 6, 8, 14, 15; tables 2, 5, 6, 9, 10, 11."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures.statistics import match_or_differ
from tfprune.results import families, family_figures, figures, style, tables
from tfprune.results.families import (
    DENSE,
    EXTENDED_DENSE,
    LR_REWIND,
    METHOD_NAMES,
    RANDOM,
    SNIP,
    SYNFLOW,
    TEST_ERROR,
    WEIGHT_REWIND,
    Cell,
    Family,
)

EXPERIMENT = "pruning_effect"
_VARIANTS = (LR_REWIND, WEIGHT_REWIND, SYNFLOW, SNIP, RANDOM)
_VARIANT_STYLES = {
    LR_REWIND: (style.BLUE, "s"),
    WEIGHT_REWIND: (style.VERMILLION, "o"),
    SYNFLOW: (style.ORANGE, "D"),
    SNIP: (style.PURPLE, "^"),
    RANDOM: (style.GREEN, "v"),
    EXTENDED_DENSE: (style.BLACK, "P"),
}
_BY_CRITERION = {LR_REWIND: "magnitude", SYNFLOW: "SynFlow", RANDOM: "random"}
_PARTS: tuple[tuple[str, str, Any], ...] = (
    ("noisy_loss", "noisy", "-"),
    ("original_loss", "original", "--"),
)


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv.

    Returns:
      The figures whose families were run, test error against sparsity first.

    Raises:
      InputError: there is no results.csv, it is damaged, or a folder cannot be written.
    """
    results = store.read_results(output_dir)
    found = families.families(results[results["experiment"] == EXPERIMENT])
    pruned = families.with_methods(found, LR_REWIND)
    rewound = families.with_methods(found, LR_REWIND, WEIGHT_REWIND)
    longer = families.with_methods(found, LR_REWIND, EXTENDED_DENSE)
    criteria = _by_criterion(found)
    clean = [family for family in found if not family.benchmark.is_noisy]
    drawn: list[figures.Drawing] = [
        (
            "error",
            "Test error of pruned networks, by weights remaining",
            family_figures.comparison_reading(found, LR_REWIND, DENSE),
            "PEG figure 3",
            family_figures.by_method(pruned, {LR_REWIND: "o"}, family_figures.by_remaining),
        ),
        (
            "size_and_training",
            "Test error of smaller networks and of longer dense training, without label noise",
            alike_reading(families.with_methods(clean, LR_REWIND, EXTENDED_DENSE)),
            "PEG figure 1a",
            size_and_training(families.with_methods(clean, LR_REWIND, EXTENDED_DENSE)),
        ),
        (
            "loss",
            "Training loss on noisy and on original examples, by weights remaining",
            loss_reading(pruned),
            "PEG figure 4",
            loss_by_part(pruned),
        ),
        (
            "epochs",
            "Test error of pruning and of longer dense training, by training epochs",
            family_figures.comparison_reading(longer, EXTENDED_DENSE, LR_REWIND),
            "PEG figure 6",
            family_figures.by_method(
                longer,
                {LR_REWIND: "s", EXTENDED_DENSE: "o"},
                family_figures.by_epochs,
                {LR_REWIND: "pruning", EXTENDED_DENSE: METHOD_NAMES[EXTENDED_DENSE]},
                "optimal sparsity or training",
            ),
        ),
        (
            "algorithms",
            "Test error of pruning algorithms, without label noise",
            algorithms_reading(clean),
            "PEG figure 8",
            algorithms(clean),
        ),
        (
            "rewinding",
            "Test error with weights rewound, and with the learning rate alone",
            family_figures.comparison_reading(rewound, WEIGHT_REWIND, LR_REWIND),
            "PEG figure 14",
            family_figures.by_method(
                rewound, {LR_REWIND: "s", WEIGHT_REWIND: "o"}, family_figures.by_remaining
            ),
        ),
        (
            "criteria",
            "Test error by what is pruned",
            criteria_reading(criteria),
            "PEG figure 15",
            family_figures.by_method(
                criteria,
                {LR_REWIND: "s", SYNFLOW: "o", RANDOM: "^"},
                family_figures.by_remaining,
                _BY_CRITERION,
            ),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Every family's optimum, ours beside the paper's tables 2, 5, 6, 9, 10, 11, and its claims.

    A table of the paper is made where the algorithm it is about was run; the benchmarks are those
    that were run, and cells of other algorithms stay empty.
    """
    found = families.families(results[results["experiment"] == EXPERIMENT])
    if not found:
        return []
    made = [families.optima_table(found, f"{EXPERIMENT}_optima")]
    made += [table for spec in _TABLES if (table := _paper_table(spec, found))]
    losses = loss_table(families.with_methods(found, LR_REWIND))
    made += [losses] if losses else []
    claims = claims_table(found)
    return made + ([claims] if claims else [])


def _by_criterion(found: Sequence[Family]) -> list[Family]:
    """Families of the criteria that stand beside magnitude, where at least one does."""
    kept = [f for f in found if f.method in _BY_CRITERION]
    there = families.by_benchmark(kept)
    return [f for f in kept if len(there[f.benchmark]) > 1 and LR_REWIND in there[f.benchmark]]


# ---------------------------------------------------------------- figures
def size_and_training(found: Sequence[Family]) -> Figure | None:
    """Pruning by weights remaining, dense training by epochs, level by level (PEG figure 1a).

    Shaded where both generalize alike, by PEG section 2's rule.

    Args:
      found: families of both on the same benchmarks.
    """
    return _by_level(found, shade_alike=True)


def algorithms(found: Sequence[Family]) -> Figure | None:
    """Five ways to prune, and dense training for as long (PEG figure 8).

    None where there is nothing beside learning-rate rewinding and dense training, which
    `size_and_training` shows.
    """
    others = {f.benchmark for f in found if f.method in _VARIANTS and f.method != LR_REWIND}
    return _by_level([f for f in found if f.benchmark in others], shade_alike=False)


def _by_level(found: Sequence[Family], shade_alike: bool) -> Figure | None:
    """A panel per benchmark: weights remaining below, epochs of the same level above."""
    found = [family for family in found if family.method in _VARIANT_STYLES]
    if not found:
        return None
    with style.house_style():
        benchmarks = families.by_benchmark(found)
        figure, grid = family_figures.panels(len(benchmarks), height=4.0)
        shaded = False
        for axes, (benchmark, here) in zip(grid, benchmarks.items(), strict=True):
            lines = [
                family_figures.Curve(f, _VARIANT_STYLES[m][0], "-", _VARIANT_STYLES[m][1])
                for m, f in here.items()
            ]
            remaining = remaining_by_level(here)
            for line in lines:
                dashed = style.BLACK if line is lines[0] else ""
                family_figures.draw(axes, line, _at_levels(remaining), dashed)
            family_figures.error_axis(axes, lines)
            family_figures.remaining_axis(axes, remaining)
            _epochs_above(axes, here)
            shaded |= shade_alike and _shade(axes, alike_levels(here), remaining)
            family_figures.title(axes, benchmark.panel)
        figures.legend_below(figure, _level_handles(found, shaded))
    return figure


def remaining_by_level(here: Mapping[str, Family]) -> pd.Series:
    """Weights remaining of the pruned families of a benchmark, indexed by level."""
    pruned = [f.means(TEST_ERROR)["weights_remaining"] for m, f in here.items() if m in _VARIANTS]
    return pd.concat(pruned).groupby(level=0).mean() if pruned else pd.Series({0: 1.0})


def _at_levels(remaining: pd.Series) -> family_figures.Place:
    """Puts a level where pruning has it: dense training for longer removes nothing."""

    def place(table: pd.DataFrame) -> np.ndarray:
        return style.sparsity_position(remaining.reindex(table.index))

    return place


def _epochs_above(axes: Axes, here: Mapping[str, Family]) -> None:
    """A second axis above, with the epochs that every level of dense training has had."""
    if EXTENDED_DENSE not in here:
        return
    epochs = here[EXTENDED_DENSE].means(TEST_ERROR)["total_epochs"].dropna()
    place = style.sparsity_position(remaining_by_level(here).reindex(epochs.index))
    known = ~np.isnan(place)
    if known.sum() < 2:
        return
    above = axes.secondary_xaxis("top")
    ticks = [
        (tick, float(np.interp(tick, place[known], epochs[known])))
        for tick in axes.get_xticks()
        if tick <= place[known].max()
    ]
    above.set_xticks([tick for tick, _ in ticks], [f"{value:.0f}" for _, value in ticks])
    above.set_xlabel("Training epochs")


def alike_levels(here: Mapping[str, Family]) -> list[int]:
    """The levels above dense at which pruning and dense training generalize alike (PEG 2)."""
    pruned, dense = here[LR_REWIND], here[EXTENDED_DENSE]
    both = sorted(set(pruned.members) & set(dense.members) - {0})
    return [
        level
        for level in both
        if match_or_differ(
            pruned.by_seed(TEST_ERROR, level), dense.by_seed(TEST_ERROR, level)
        ).verdict
        == "matches"
    ]


def _shade(axes: Axes, levels: Sequence[int], remaining: pd.Series) -> bool:
    """Shades half a level to either side of these levels; returns whether there are any."""
    place = pd.Series(style.sparsity_position(remaining), remaining.index)
    middle = (place + place.shift(-1)) / 2
    for level in levels:
        left = middle.get(level - 1, place[level])
        right = middle.get(level, math.nan)
        right = place[level] if math.isnan(right) else right
        axes.axvspan(left, right, color=style.GREEN, alpha=0.13, linewidth=0, zorder=0)
    return bool(levels)


def _level_handles(found: Sequence[Family], shaded: bool) -> list[Line2D | Patch]:
    used = {m: line for m, line in _VARIANT_STYLES.items() if any(f.method == m for f in found)}
    handles = family_figures.line_handles(used)
    handles += family_figures.common_handles(found, "optimal sparsity or training")
    if shaded:
        handles.append(Patch(color=style.GREEN, alpha=0.13, linewidth=0, label="both alike"))
    return handles


def loss_by_part(found: Sequence[Family]) -> Figure | None:
    """Training loss on noisy (solid) and on original examples (dashed) (PEG figure 4).

    None where no benchmark is noisy.
    """
    noisy = _with_parts(found)
    if not noisy:
        return None
    with style.house_style():
        colors, by_panel = family_figures.noise_colors(found), families.by_panel(noisy)
        figure, grid = family_figures.panels(len(by_panel))
        for axes, (panel, here) in zip(grid, by_panel.items(), strict=True):
            for family in here:
                for column, _, linestyle in _PARTS:
                    color = colors[family.benchmark.noise]
                    curve = family_figures.Curve(family, color, linestyle, "", column)
                    family_figures.draw(axes, curve, family_figures.by_remaining)
            remaining = pd.concat([f.means("noisy_loss")["weights_remaining"] for f in here])
            family_figures.remaining_axis(axes, remaining)
            axes.set_ylabel("Training loss (nats)")
            axes.set_ylim(bottom=0)
            family_figures.title(axes, panel)
        parts: list[Line2D | Patch] = [
            Line2D([], [], color=style.BLACK, linestyle=linestyle, label=f"{name} examples")
            for _, name, linestyle in _PARTS
        ]
        common = family_figures.common_handles(noisy, dense_line=False)
        figures.legend_below(
            figure, [*family_figures.noise_handles(noisy, colors), *parts, *common]
        )
    return figure


def _with_parts(found: Sequence[Family]) -> list[Family]:
    return [
        family
        for family in found
        if family.benchmark.is_noisy and family.points["noisy_loss"].notna().any()
    ]


# ---------------------------------------------------------------- readings
def alike_reading(found: Sequence[Family]) -> str:
    """Down to where pruning does no more than the training that comes with it, in one sentence."""
    if not found:
        return ""
    said = []
    benchmarks = families.by_benchmark(found)
    for benchmark, here in benchmarks.items():
        levels, remaining = alike_levels(here), remaining_by_level(here)
        both = set(here[LR_REWIND].members) & set(here[EXTENDED_DENSE].members) - {0}
        last = _percent(remaining[max(levels)]) if levels else ""
        least = f", the last with {last} of the weights" if last else ""
        where = f" on {benchmark.panel}" if len(benchmarks) > 1 else ""
        said.append(f"{len(levels)} of {len(both)} levels{where}{least}")
    if len(found[0].seeds) < 2:
        return "One seed cannot tell where pruning and longer dense training generalize alike."
    return f"Pruning and longer dense training generalize alike at {'; '.join(said)}."


def loss_reading(found: Sequence[Family]) -> str:
    """What pruning does to the loss on noisy and on original examples, in one sentence."""
    noisy = _with_parts(found)
    if not noisy:
        return ""
    # The noisiest benchmark tells most.
    family = max(noisy, key=lambda f: f.benchmark.noise_fraction)
    changes = [
        f"on {part} examples from {_mean(family, column, 0):.2f} to "
        f"{_mean(family, column, family.optimal()):.2f} nats"
        for column, part, _ in _PARTS
    ]
    where = families.remaining_text(family, family.optimal())
    return (
        f"On {family.benchmark.name}, from dense to the optimal sparsity ({where}% of the weights "
        f"remaining), training loss goes {' and '.join(changes)}."
    )


def _mean(family: Family, column: str, member: int | None) -> float:
    values = list(family.by_seed(column, member).values())
    return float(np.mean(values)) if values else math.nan


def _percent(fraction: float) -> str:
    return f"{families.percent_text(fraction)}%"


def algorithms_reading(found: Sequence[Family]) -> str:
    """Which algorithm's optimum is lowest without noise, in one sentence."""
    said = []
    for benchmark, here in families.by_benchmark(found).items():
        known = {m: families.optimal_errors(here, m) for m in here if m in _VARIANT_STYLES}
        means = {m: float(np.mean(list(values.values()))) for m, values in known.items() if values}
        if len(means) < 2:
            continue
        order = sorted(means, key=lambda method: means[method])
        ends = [f"{METHOD_NAMES[m]} ({means[m]:.1f}%)" for m in (order[0], order[-1])]
        said.append(f"on {benchmark.panel} with {ends[0]}, highest with {ends[1]}")
    return f"The optimal model's test error is lowest {'; '.join(said)}." if said else ""


def criteria_reading(found: Sequence[Family]) -> str:
    """How other criteria's optima compare with magnitude's, in one sentence."""
    said = [
        f"{_BY_CRITERION[method]} pruning is {counts}"
        for method in (SYNFLOW, RANDOM)
        if (counts := families.count_verdicts(found, method, LR_REWIND))
    ]
    return (
        f"Against magnitude, in optimal test error, {'; '.join(said)} benchmarks." if said else ""
    )


# ---------------------------------------------------------------- tables
class _Spec(NamedTuple):
    """One of the paper's tables of optimal test errors.

    Attributes:
      number: as printed.
      what: for the title.
      methods: its columns, ours.
      about: the methods of which one must have been run.
      noisy: whether it has only benchmarks with noise (True) or only those without (False).
      digits: decimals it prints.
      against: the method that the others are compared with.
      names: what it calls methods, where not by their own name.
    """

    number: int
    what: str
    methods: tuple[str, ...]
    about: tuple[str, ...]
    noisy: bool | None
    digits: int
    against: str = LR_REWIND
    names: Mapping[str, str] = {}


_TABLES = (
    _Spec(
        2,
        "pruning algorithms and longer dense training, without label noise",
        (*_VARIANTS, EXTENDED_DENSE),
        (*_VARIANTS, EXTENDED_DENSE),
        False,
        1,
    ),
    _Spec(
        5,
        "longer dense training and pruning, with label noise",
        (LR_REWIND, EXTENDED_DENSE),
        (EXTENDED_DENSE,),
        True,
        2,
    ),
    _Spec(
        6,
        "pruned networks and dense ones",
        (WEIGHT_REWIND, LR_REWIND, DENSE),
        (WEIGHT_REWIND, LR_REWIND),
        None,
        1,
        DENSE,
    ),
    _Spec(
        9,
        "weight rewinding and learning-rate rewinding",
        (WEIGHT_REWIND, LR_REWIND),
        (WEIGHT_REWIND,),
        None,
        2,
    ),
    _Spec(
        10,
        "by what is pruned",
        (LR_REWIND, SYNFLOW, RANDOM),
        (SYNFLOW, RANDOM),
        None,
        2,
        LR_REWIND,
        _BY_CRITERION,
    ),
)


def _paper_table(spec: _Spec, found: Sequence[Family]) -> tables.Table | None:
    """Ours beside one of the paper's tables; None where what it is about was not run."""
    benchmarks = {
        mark: here
        for mark, here in families.by_benchmark(found).items()
        if spec.noisy is None or mark.is_noisy == spec.noisy
        if any(method in here for method in spec.about)
    }
    if not benchmarks:
        return None
    cells = [
        _renamed(families.optimal_cell(here, mark, method, spec.number, spec.against), spec, method)
        for mark, here in benchmarks.items()
        for method in spec.methods
    ]
    used = [family for here in benchmarks.values() for family in here.values()]
    title = (
        f"PEG table {spec.number}, test error of the optimal model, {spec.what}; "
        f"{families.selection_note(used)}"
    )
    name = f"{EXPERIMENT}_table_{spec.number}"
    return families.comparison_table(name, title, cells, digits=spec.digits, against=spec.against)


def _renamed(cell: Cell, spec: _Spec, method: str) -> Cell:
    name = spec.names.get(method, cell.labels["algorithm"])
    return dataclasses.replace(cell, labels={"algorithm": name})


def loss_table(found: Sequence[Family]) -> tables.Table | None:
    """Training loss on noisy and original examples, dense and optimal (PEG table 11)."""
    noisy = _with_parts(found)
    if not noisy:
        return None
    cells = [
        cell
        for family in noisy
        for column, name, _ in _PARTS
        for cell in _loss_cells(family, column, name)
    ]
    title = (
        "PEG table 11, training loss on noisy and on original examples, dense and at the optimal "
        f"sparsity; {families.selection_note(noisy)}"
    )
    return families.comparison_table(
        f"{EXPERIMENT}_table_11", title, cells, unit="nats", digits=2, against=DENSE
    )


def _loss_cells(family: Family, column: str, name: str) -> list[Cell]:
    """Dense, optimal, and the change between them of the same seeds."""
    dense, optimal = (family.by_seed(column, m) for m in (0, family.optimal()))
    change = {seed: optimal[seed] - dense[seed] for seed in sorted(dense.keys() & optimal.keys())}
    mark = family.benchmark

    def cell(at: str, values: Mapping[int, float], member: int | None, metric: str) -> Cell:
        method, place = (DENSE, DENSE) if at == DENSE else (LR_REWIND, "optimal")
        return Cell(
            mark,
            {"examples": name, "at": at},
            values,
            families.printed(11, mark, method, place, metric),
            dense if at == "optimal" else {},
            {"remaining (%)": families.remaining_text(family, member)},
            family.missing_seeds(member, column) if member is not None else (),
            metric,
        )

    return [
        cell(DENSE, dense, 0, column),
        cell("optimal", optimal, family.optimal(), column),
        cell("change", change, None, f"{column}_change"),
    ]


def claims_table(found: Sequence[Family]) -> tables.Table | None:
    """PEG's claims in words about these families; None where none could be checked."""
    noisy = [family for family in found if family.benchmark.is_noisy]
    compared = (
        (
            "pruned, dense; noise",
            "lower on 11, matches on 2 of 13",
            noisy,
            LR_REWIND,
            DENSE,
        ),
        (
            "extended dense, pruned; noise",
            "higher on 9 of 13",
            noisy,
            EXTENDED_DENSE,
            LR_REWIND,
        ),
        (
            "weight rewinding, LR rewinding",
            "lower on 10, matches on 6, higher on 2 of 18",
            found,
            WEIGHT_REWIND,
            LR_REWIND,
        ),
        ("SynFlow, magnitude", "lower on 6 of 18", found, SYNFLOW, LR_REWIND),
        ("random, magnitude; noise", "lower on 9 of 13", noisy, RANDOM, LR_REWIND),
    )
    claims = [
        families.Claim(text, paper, families.count_verdicts(among, first, second))
        for text, paper, among, first, second in compared
    ]
    return families.claims_table(f"{EXPERIMENT}_claims", claims)
