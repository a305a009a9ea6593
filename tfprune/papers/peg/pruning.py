"""What pruning_effect and width_scaling show: test error by size, training time and method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfprune.measures.statistics import match_or_differ
from tfprune.papers.peg import families, looks
from tfprune.papers.peg.comparisons import (
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
)
from tfprune.report import readings, style, summary
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Mark, Panel, Scale, shade
from tfprune.report.summary import Beside
from tfprune.report.tables import Table

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


# ---------------------------------------------------------------- by level
def _by_level(found: Found) -> pd.DataFrame:
    """Rows with `at_level`, the weights that pruning leaves at a row's level, by benchmark.

    Dense training for longer removes nothing: it stands where pruning has its level.
    """
    rows = families.rows_of(family for family in found if family.method in _LOOKS)
    pruned = rows["weights_remaining"].where(rows["method"] != EXTENDED_DENSE)
    return rows.assign(
        at_level=pruned.groupby([rows["benchmark"], rows["member"]]).transform("mean")
    )


def _with_alike(found: Found) -> pd.DataFrame:
    """The same; `alike` flags the levels where pruning and longer training generalize alike."""
    rows = _by_level(found)
    alike = {mark.name: alike_levels(here) for mark, here in families.by_benchmark(found).items()}
    at = rows[["benchmark", "member"]].to_numpy()
    return rows.assign(alike=[alike[benchmark].get(level, False) for benchmark, level in at])


def alike_levels(here: Mapping[str, families.Family]) -> dict[int, bool]:
    """level -> whether pruning and longer dense training generalize alike there (PEG 2).

    Of all levels above dense that both have.
    """
    pruned, longer = here[LR_REWIND], here[EXTENDED_DENSE]
    both = sorted(set(pruned.members) & set(longer.members) - {0})
    errors = {n: (pruned.by_seed(TEST_ERROR, n), longer.by_seed(TEST_ERROR, n)) for n in both}
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
    benchmarks = families.by_benchmark(found)
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
    for benchmark, here in families.by_benchmark(found).items():
        known = {f.name: f.mean(TEST_ERROR, f.optimal()) for m, f in here.items() if m in _LOOKS}
        means = {name: mean for name, mean in known.items() if not math.isnan(mean)}
        if len(means) > 1:
            low, high = readings.extremes(means, "{:.1f}%".format)
            said.append(f"on {benchmark.panel} with {low}, highest with {high}")
    return f"The optimal model's test error is lowest {'; '.join(said)}." if said else ""


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
def _with_parts(found: Found) -> list[families.Family]:
    """Families of noisy benchmarks whose losses on both parts of the examples are there."""
    noisy = families.select(found, LR_REWIND, noisy=True)
    return [family for family in noisy if family.points["noisy_loss"].notna().any()]


def loss_reading(found: Found) -> str:
    """What pruning does to the loss on noisy and on original examples, a line per benchmark."""
    said = []
    for family in found:
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


def loss_table(found: Found) -> Table:
    """Training loss on noisy and on original examples, and how it changes (PEG table 11)."""
    noisy = _with_parts(found)
    title = (
        "PEG table 11, training loss on noisy and on original examples, dense and at the optimal "
        f"sparsity; {families.selection_note(noisy)}"
    )
    rows = [row for f in noisy for column in _PARTS for row in _loss_rows(f, column)]
    return summary.beside_table("table_11", title, rows, "nats", against=DENSE)


def _loss_rows(family: families.Family, column: str) -> list[Beside]:
    optimal = family.optimal()
    before, after = (family.by_seed(column, member) for member in (0, optimal))
    change = {seed: after[seed] - before[seed] for seed in sorted(before.keys() & after.keys())}

    def row(
        at: str, member: int | None, values: Mapping[int, float], *cell: str, **more: Any
    ) -> Beside:
        left = {"remaining (%)": family.remaining_text(member)}
        labels = {"examples": _PARTS[column], "at": at}
        more |= {"details": left, "seeds": family.seeds}
        return beside(11, family.benchmark, labels, values, *cell, **more)

    return [
        row(DENSE, 0, before, DENSE, DENSE, column),
        row("optimal", optimal, after, LR_REWIND, "optimal", column, against=before),
        row("change", None, change, LR_REWIND, "optimal", f"{column}_change"),
    ]


# fmt: off
PRUNING_EFFECT = Experiment(
    "pruning_effect",
    families.load,
    figures=(
        looks.by_method(
            "error", "Test error of pruned networks, by weights remaining",
            {LR_REWIND: "o"}, compares(LR_REWIND, DENSE)),
        Figure(
            "size_and_training",
            "Test error of smaller networks and of longer dense training, without label noise",
            _with_alike, looks.by_look(_LEVEL, _LOOKS, METHOD_NAMES, *_MARKS, _ALIKE),
            alike_reading,
            lambda found: families.select(found, LR_REWIND, EXTENDED_DENSE, noisy=False),
            panel="panel"),
        Figure(
            "loss", "Training loss on noisy and on original examples, by weights remaining",
            families.rows_of,
            Lines(
                looks.REMAINING,
                (Axis("noisy_loss", "Training loss (nats)",
                      finish=lambda panel: panel.axes.set_ylim(bottom=0)),
                 Axis("original_loss")),
                "member", looks.NOISE,
                dash=Scale(QUANTITY, {"noisy_loss": "-", "original_loss": "--"},
                           {column: f"{part} examples" for column, part in _PARTS.items()}),
                marks=(looks.optimum("optimal sparsity"),)),
            loss_reading, _with_parts, panel="panel"),
        looks.by_method(
            "epochs", "Test error of pruning and of longer dense training, by training epochs",
            {LR_REWIND: "s", EXTENDED_DENSE: "o"}, compares(EXTENDED_DENSE, LR_REWIND),
            x=looks.EPOCHS, optimal=_SIZE_OR_TRAINING, names=METHOD_NAMES | {LR_REWIND: "pruning"}),
        Figure(
            "algorithms", "Test error of pruning algorithms, without label noise",
            _by_level, looks.by_look(_LEVEL, _LOOKS, METHOD_NAMES, *_MARKS), algorithms_reading,
            lambda found: families.select(
                found, any_of=[WEIGHT_REWIND, SYNFLOW, SNIP, RANDOM], noisy=False),
            panel="panel"),
        looks.by_method(
            "rewinding", "Test error with weights rewound, and with the learning rate alone",
            {LR_REWIND: "s", WEIGHT_REWIND: "o"}, compares(WEIGHT_REWIND, LR_REWIND)),
        looks.by_method(
            "criteria", "Test error by what is pruned",
            {LR_REWIND: "s", SYNFLOW: "o", RANDOM: "^"}, criteria_reading,
            lambda found: families.select(
                families.select(found, any_of=[LR_REWIND]), any_of=[SYNFLOW, RANDOM]),
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
            ("pruned, dense; noise", "lower on 11, matches on 2 of 13", LR_REWIND, DENSE, True),
            ("extended dense, pruned; noise", "higher on 9 of 13", EXTENDED_DENSE, LR_REWIND, True),
            ("weight rewinding, LR rewinding", "lower on 10, matches on 6, higher on 2 of 18",
             WEIGHT_REWIND, LR_REWIND, None),
            ("SynFlow, magnitude", "lower on 6 of 18", SYNFLOW, LR_REWIND, None),
            ("random, magnitude; noise", "lower on 9 of 13", RANDOM, LR_REWIND, True)),
    ),
)
# fmt: on


# ---------------------------------------------------------------- width_scaling
_OPTIMUM = "optimal size"
_SHORT = {LR_REWIND: "pruning", WIDTH: METHOD_NAMES[WIDTH]}


def _scaled(found: Found) -> list[families.Family]:
    """Widths beside pruning, or alone where nothing was pruned."""
    return families.select(found, LR_REWIND, WIDTH) or families.select(found, WIDTH)


def beating_reading(found: Found) -> str:
    """How small networks of either kind get while they beat the dense one, in one sentence."""
    if max(len(family.seeds) for family in found) < 2:
        return "One seed cannot tell whether a smaller network beats the dense one."
    kinds = [(method, families.select(found, method)) for method in (WIDTH, LR_REWIND)]
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
    families.load,
    figures=(
        looks.by_method(
            "error", "Test error of narrower dense networks and of pruned ones, by their size",
            {LR_REWIND: "s", WIDTH: "o"}, compares(WIDTH, LR_REWIND), _scaled,
            optimal=_OPTIMUM, names=_SHORT),
        Figure(
            "benchmarks", "Test error by number of weights, benchmark by benchmark",
            families.rows_of, looks.by_look(
                looks.WEIGHTS, {LR_REWIND: _LOOKS[LR_REWIND], WIDTH: (style.SKY, "o")}, _SHORT,
                looks.optimum(_OPTIMUM), looks.ONE_DENSE),
            beating_reading, _scaled, panel="benchmark"),
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
            ("width scaling, pruning; no noise", "higher on 4 of 5", WIDTH, LR_REWIND, False),
            ("width scaling, pruning; noise", "", WIDTH, LR_REWIND, True)),
    ),
)
