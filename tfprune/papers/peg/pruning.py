"""What pruning_effect and width_scaling show: test error by size, training time and method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from tfprune.measures.statistics import match_or_differ
from tfprune.papers.peg import looks
from tfprune.papers.peg.comparisons import (
    Claim,
    Found,
    beside,
    claims_table,
    compares,
    count_verdicts,
    optima_table,
    table_of_optima,
)
from tfprune.papers.peg.families import (
    DENSE,
    EXTENDED_DENSE,
    LR_REWIND,
    METHOD_NAMES,
    ONE_SHOT,
    RANDOM,
    SNIP,
    SYNFLOW,
    TEST_ERROR,
    WEIGHT_REWIND,
    WIDTH,
    WIDTH_MATCHED,
    Family,
    by_benchmark,
    load,
    rows_of,
    selection_note,
    with_any,
    with_methods,
)
from tfprune.report import readings, style, summary
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Mark, Panel, Scale, shade
from tfprune.report.summary import Beside
from tfprune.report.tables import Table

_VARIANTS = (LR_REWIND, WEIGHT_REWIND, SYNFLOW, SNIP, RANDOM)
_LOOKS = {
    LR_REWIND: (style.BLUE, "s"),
    WEIGHT_REWIND: (style.VERMILLION, "o"),
    SYNFLOW: (style.ORANGE, "D"),
    SNIP: (style.PURPLE, "^"),
    RANDOM: (style.GREEN, "v"),
    EXTENDED_DENSE: (style.BLACK, "P"),
}
_BY_CRITERION = {LR_REWIND: "magnitude", SYNFLOW: "SynFlow", RANDOM: "random"}
_PARTS = {"noisy_loss": "noisy", "original_loss": "original"}
_SIZE_OR_TRAINING = "optimal sparsity or training"


def _clean(found: Found) -> list[Family]:
    return [family for family in found if not family.benchmark.is_noisy]


# ---------------------------------------------------------------- by level
def _by_level(found: Found) -> pd.DataFrame:
    """Rows with `at_level`, the weights that pruning leaves at a row's level, by benchmark.

    Dense training for longer removes nothing: it stands where pruning has its level. `alike` flags
    the levels where both generalize alike.
    """
    rows = rows_of([family for family in found if family.method in _LOOKS])
    if rows.empty:
        return rows
    pruned = rows[rows["method"].isin(_VARIANTS) & rows[TEST_ERROR].notna()]
    by_method = pruned.groupby(["benchmark", "method", "member"])["weights_remaining"].mean()
    remaining = by_method.groupby(level=["benchmark", "member"]).mean()
    alike = {mark.name: alike_levels(here) for mark, here in by_benchmark(found).items()}
    keys = pd.MultiIndex.from_frame(rows[["benchmark", "member"]])
    return rows.assign(
        at_level=remaining.reindex(keys).to_numpy(),
        alike=[alike[benchmark].get(level, False) for benchmark, level in keys],
    )


def alike_levels(here: Mapping[str, Family]) -> dict[int, bool]:
    """level -> whether pruning and longer dense training generalize alike there (PEG 2).

    Of all levels above dense that both have; {} where one was not run.
    """
    if not {LR_REWIND, EXTENDED_DENSE} <= here.keys():
        return {}
    pruned, dense = here[LR_REWIND], here[EXTENDED_DENSE]
    both = sorted(set(pruned.members) & set(dense.members) - {0})
    errors = {n: (pruned.by_seed(TEST_ERROR, n), dense.by_seed(TEST_ERROR, n)) for n in both}
    return {n: match_or_differ(*pair).verdict == "matches" for n, pair in errors.items()}


def _epochs_above(panel: Panel) -> None:
    """A second axis above, with the epochs that every level of dense training has had."""
    longer = panel.rows[panel.rows["method"] == EXTENDED_DENSE]
    epochs = longer.groupby("member")["total_epochs"].mean().dropna()
    places = pd.concat([line.x for line in panel.lines]).groupby(level=0).first()
    place = places.reindex(epochs.index).dropna()
    if len(place) < 2:
        return
    ticks = [tick for tick in panel.axes.get_xticks() if tick <= place.max()]
    values = np.interp(ticks, place, epochs[place.index])
    above = panel.axes.secondary_xaxis("top")
    above.set_xticks(ticks, [f"{value:.0f}" for value in values])
    above.set_xlabel("Training epochs")


_LEVEL = dataclasses.replace(looks.REMAINING, column="at_level")
_MARKS = (looks.optimum(_SIZE_OR_TRAINING), looks.ONE_DENSE, Mark(_epochs_above, late=True))
_ALIKE = shade("alike", "both alike", style.GREEN, 0.13)


def alike_reading(found: Found) -> str:
    """Down to where pruning does no more than the training that comes with it, in one sentence."""
    if len(found[0].seeds) < 2:
        return "One seed cannot tell where pruning and longer dense training generalize alike."
    said = []
    benchmarks = by_benchmark(found)
    for benchmark, here in benchmarks.items():
        known = alike_levels(here)
        levels = [level for level, alike in known.items() if alike]
        where = f" on {benchmark.panel}" if len(benchmarks) > 1 else ""
        least = f", the last with {here[LR_REWIND].remaining_text(max(levels))}%" if levels else ""
        least += " of the weights" if levels else ""
        said.append(f"{len(levels)} of {len(known)} levels{where}{least}")
    return f"Pruning and longer dense training generalize alike at {'; '.join(said)}."


def algorithms_reading(found: Found) -> str:
    """Which algorithm's optimum is lowest without noise, in one sentence."""
    said = []
    for benchmark, here in by_benchmark(found).items():
        known = {f.name: f.mean(TEST_ERROR, f.optimal()) for m, f in here.items() if m in _LOOKS}
        means = {name: mean for name, mean in known.items() if not math.isnan(mean)}
        if len(means) > 1:
            low, high = readings.extremes(means, "{:.1f}%".format)
            said.append(f"on {benchmark.panel} with {low}, highest with {high}")
    return f"The optimal model's test error is lowest {'; '.join(said)}." if said else ""


# ---------------------------------------------------------------- by criterion
def _by_criterion(found: Found) -> list[Family]:
    """Families of the criteria that stand beside magnitude, where at least one does."""
    kept = [family for family in found if family.method in _BY_CRITERION]
    return with_any(with_any(kept, LR_REWIND), SYNFLOW, RANDOM)


def criteria_reading(found: Found) -> str:
    """How other criteria's optima compare with magnitude's, in one sentence."""
    said = [
        f"{_BY_CRITERION[method]} pruning is {counts}"
        for method in (SYNFLOW, RANDOM)
        if (counts := count_verdicts(found, method, LR_REWIND))
    ]
    return (
        f"Against magnitude, in optimal test error, {'; '.join(said)} benchmarks." if said else ""
    )


# ---------------------------------------------------------------- losses
def _with_parts(found: Found) -> list[Family]:
    return [
        family
        for family in with_methods(found, LR_REWIND)
        if family.benchmark.is_noisy and family.points["noisy_loss"].notna().any()
    ]


def _loss_rows(found: Found) -> pd.DataFrame:
    """The rows of noisy benchmarks; noises without any keep their colour."""
    rows = rows_of(with_methods(found, LR_REWIND))
    there = {family.benchmark.name for family in _with_parts(found)}
    return rows[rows["benchmark"].isin(there)] if there else pd.DataFrame()


def loss_reading(found: Found) -> str:
    """What pruning does to the loss on noisy and on original examples, a line per benchmark."""
    said = []
    for family in _with_parts(found):
        optimal = family.optimal()
        changes = [
            f"on {part} examples from {family.mean(column, 0):.2f} to "
            f"{family.mean(column, optimal):.2f} nats"
            for column, part in _PARTS.items()
        ]
        said.append(
            f"On {family.benchmark.name}, from dense to the optimal sparsity "
            f"({family.remaining_text(optimal)}% of the weights remaining), training loss goes "
            f"{' and '.join(changes)}."
        )
    return "\n".join(said)


def loss_table(found: Found) -> Table | None:
    """Training loss on noisy and original examples, dense, optimal, and the change (table 11)."""
    noisy = _with_parts(found)
    if not noisy:
        return None
    rows = [row for f in noisy for column in _PARTS for row in _loss_rows_of(f, column)]
    title = (
        "PEG table 11, training loss on noisy and on original examples, dense and at the optimal "
        f"sparsity; {selection_note(noisy)}"
    )
    return summary.beside_table("table_11", title, rows, "nats", against=DENSE)


def _loss_rows_of(family: Family, column: str) -> list[Beside]:
    member = family.optimal()
    dense, optimal = (family.by_seed(column, m) for m in (0, member))
    change = {seed: optimal[seed] - dense[seed] for seed in sorted(dense.keys() & optimal.keys())}

    def row(at: str, values: Mapping[int, float], member: int | None, metric: str) -> Beside:
        method, cell = (DENSE, DENSE) if at == DENSE else (LR_REWIND, "optimal")
        return beside(
            11, family.benchmark, {"examples": _PARTS[column], "at": at}, values, method, cell,
            metric, against=dense if at == "optimal" else {},
            details={"remaining (%)": family.remaining_text(member)},
            seeds=family.seeds,
        )  # fmt: skip

    return [
        row(DENSE, dense, 0, column),
        row("optimal", optimal, member, column),
        row("change", change, None, f"{column}_change"),
    ]


# fmt: off
PRUNING_EFFECT = Experiment(
    "pruning_effect",
    load,
    figures=(
        looks.by_method(
            "error", "Test error of pruned networks, by weights remaining",
            {LR_REWIND: "o"}, compares(LR_REWIND, DENSE)),
        Figure(
            "size_and_training",
            "Test error of smaller networks and of longer dense training, without label noise",
            _by_level, looks.by_look(_LEVEL, _LOOKS, METHOD_NAMES, *_MARKS, _ALIKE), alike_reading,
            lambda found: with_methods(_clean(found), LR_REWIND, EXTENDED_DENSE), panel="panel"),
        Figure(
            "loss", "Training loss on noisy and on original examples, by weights remaining",
            _loss_rows,
            Lines(
                looks.REMAINING,
                (Axis("noisy_loss", "Training loss (nats)",
                      finish=lambda panel: panel.axes.set_ylim(bottom=0)),
                 Axis("original_loss")),
                "member", looks.NOISE,
                dash=Scale(QUANTITY, {"noisy_loss": "-", "original_loss": "--"},
                           {column: f"{part} examples" for column, part in _PARTS.items()}),
                marks=(looks.optimum("optimal sparsity"),)),
            loss_reading, panel="panel"),
        looks.by_method(
            "epochs", "Test error of pruning and of longer dense training, by training epochs",
            {LR_REWIND: "s", EXTENDED_DENSE: "o"}, compares(EXTENDED_DENSE, LR_REWIND),
            x=looks.EPOCHS, optimal=_SIZE_OR_TRAINING, names=METHOD_NAMES | {LR_REWIND: "pruning"}),
        Figure(
            "algorithms", "Test error of pruning algorithms, without label noise",
            _by_level, looks.by_look(_LEVEL, _LOOKS, METHOD_NAMES, *_MARKS), algorithms_reading,
            lambda found: with_any(_clean(found), *_VARIANTS[1:]), panel="panel"),
        looks.by_method(
            "rewinding", "Test error with weights rewound, and with the learning rate alone",
            {LR_REWIND: "s", WEIGHT_REWIND: "o"}, compares(WEIGHT_REWIND, LR_REWIND)),
        looks.by_method(
            "criteria", "Test error by what is pruned",
            {LR_REWIND: "s", SYNFLOW: "o", RANDOM: "^"}, criteria_reading, _by_criterion,
            names=_BY_CRITERION),
    ),
    tables=(
        optima_table,
        table_of_optima(2, "pruning algorithms and longer dense training, without label noise",
                    tuple(_LOOKS), noisy=False, digits=1),
        table_of_optima(5, "longer dense training and pruning, with label noise",
                    (LR_REWIND, EXTENDED_DENSE), (EXTENDED_DENSE,), noisy=True),
        table_of_optima(6, "pruned networks and dense ones",
                    (WEIGHT_REWIND, LR_REWIND, DENSE), (WEIGHT_REWIND, LR_REWIND),
                    digits=1, against=DENSE),
        table_of_optima(9, "weight rewinding and learning-rate rewinding",
                    (WEIGHT_REWIND, LR_REWIND), (WEIGHT_REWIND,)),
        table_of_optima(10, "by what is pruned",
                    (LR_REWIND, SYNFLOW, RANDOM), (SYNFLOW, RANDOM), names=_BY_CRITERION),
        loss_table,
        claims_table(
            Claim("pruned, dense; noise", "lower on 11, matches on 2 of 13",
                  LR_REWIND, DENSE, True),
            Claim("extended dense, pruned; noise", "higher on 9 of 13",
                  EXTENDED_DENSE, LR_REWIND, True),
            Claim("weight rewinding, LR rewinding", "lower on 10, matches on 6, higher on 2 of 18",
                  WEIGHT_REWIND, LR_REWIND),
            Claim("SynFlow, magnitude", "lower on 6 of 18", SYNFLOW, LR_REWIND),
            Claim("random, magnitude; noise", "lower on 9 of 13", RANDOM, LR_REWIND, True)),
    ),
)
# fmt: on


# ---------------------------------------------------------------- width_scaling
_OPTIMUM = "optimal size"
_SHORT = {LR_REWIND: "pruning", WIDTH: METHOD_NAMES[WIDTH]}


def _scaled(found: Found) -> list[Family]:
    """Widths beside pruning, or alone where nothing was pruned."""
    return with_methods(found, LR_REWIND, WIDTH) or [f for f in found if f.method == WIDTH]


def beating_reading(found: Found) -> str:
    """How small networks of either kind get while they beat the dense one, in one sentence."""
    if max(len(family.seeds) for family in found) < 2:
        return "One seed cannot tell whether a smaller network beats the dense one."
    kinds = [(m, [f for f in found if f.method == m]) for m in (WIDTH, LR_REWIND)]
    said = [
        f"{_SHORT[method]} on {sum(f.highest_beating_dense() is not None for f in here)} "
        f"of {len(here)}"
        for method, here in kinds
        if here
    ]
    return f"Benchmarks on which some smaller network beats the dense one: {', '.join(said)}."


# fmt: off
WIDTH_SCALING = Experiment(
    "width_scaling",
    load,
    figures=(
        looks.by_method(
            "error", "Test error of narrower dense networks and of pruned ones, by their size",
            {LR_REWIND: "s", WIDTH: "o"}, compares(WIDTH, LR_REWIND), _scaled,
            optimal=_OPTIMUM, names=_SHORT),
        Figure(
            "benchmarks", "Test error by number of weights, benchmark by benchmark", rows_of,
            looks.by_look(
                looks.WEIGHTS, {LR_REWIND: _LOOKS[LR_REWIND], WIDTH: (style.SKY, "o")}, _SHORT,
                looks.optimum(_OPTIMUM), looks.ONE_DENSE),
            beating_reading,
            lambda found: [f for f in _scaled(found) if f.points["weights"].notna().any()],
            panel="benchmark"),
        looks.by_method(
            "matched_training",
            "Test error of one-shot pruned and of narrower networks trained as long",
            {ONE_SHOT: "s", WIDTH_MATCHED: "o"}, compares(WIDTH_MATCHED, ONE_SHOT),
            optimal=_OPTIMUM),
    ),
    tables=(
        optima_table,
        table_of_optima(7, "narrower dense networks and pruned ones, weights remaining of the full "
                    "width's", (LR_REWIND, WIDTH), (WIDTH,)),
        claims_table(
            Claim("width scaling, pruning; no noise", "higher on 4 of 5", WIDTH, LR_REWIND, False),
            Claim("width scaling, pruning; noise", "", WIDTH, LR_REWIND, True)),
    ),
)
