"""How families of models compare: with each other, with the paper's tables and with its words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfprune.papers.peg.families import (
    BASE,
    DENSE,
    LR_REWIND,
    METHOD_NAMES,
    PAPER_NOISE,
    TEST_ERROR,
    WIDTH,
    Benchmark,
    Family,
    by_benchmark,
    compare_optima,
    optimal_errors,
    place_text,
    remaining_text,
    selection_note,
)
from tfprune.papers.published import published
from tfprune.report import readings, summary, tables
from tfprune.report.summary import Beside, Printed, described, verdict_text
from tfprune.report.tables import Table, number_text

# What the paper's tables call a method, where they do not use our name for it.
_PUBLISHED_METHODS = {WIDTH: "width_scaling"}


def settings_of(mark: Benchmark) -> dict[str, Any]:
    """A benchmark as columns of a table."""
    return {name: getattr(mark, name) for name in (*BASE, "width")} | dict(mark.extra)


def labels_of(mark: Benchmark) -> dict[str, str]:
    """A benchmark as a table shows it."""
    return {"model": mark.panel, "noise": mark.noise_percent}


# ---------------------------------------------------------------- the paper's tables
def printed(
    table: int, mark: Benchmark, method: str, at: str = "optimal", metric: str = TEST_ERROR
) -> Printed | None:
    """What a table of PEG prints for this benchmark and method; None where it has no such cell.

    Args:
      table: as printed.
      mark: ours; one of another width, or with noise of another kind, has no cell.
      method: our name of it, `dense` for the dense model.
      at: `optimal`, or `dense` for level 0.
      metric: as in `tfprune.papers.published`.
    """
    if mark.width != 1 or mark.label_noise not in PAPER_NOISE:
        return None
    method = _PUBLISHED_METHODS.get(method, method)
    cell = {"model": mark.model, "dataset": mark.dataset, "method": method}
    numbers = published("PEG", table)
    return summary.find_printed(numbers, mark.noise_fraction, **cell, at=at, metric=metric)


def beside(
    table: int, mark: Benchmark, labels: Mapping[str, str], values: Mapping[int, float],
    method: str, at: str = "optimal", metric: str = TEST_ERROR, **more: Any,
) -> Beside:  # fmt: skip
    """A row of ours beside a cell of the paper's table; further arguments as of `Beside`."""
    cell = printed(table, mark, method, at, metric)
    return Beside(settings_of(mark), labels_of(mark), labels, values, metric, cell, **more)


@dataclass(frozen=True)
class OptimaTable:
    """One of the paper's tables of optimal test errors, ours beside it.

    Made where an algorithm it is about was run, of the benchmarks that were run; cells of other
    algorithms stay empty.

    Attributes:
      number: as printed.
      what: for the title.
      methods: its columns, ours.
      about: the methods of which one must have been run; default all.
      noisy: whether it has only benchmarks with noise (True) or only those without (False).
      digits: decimals it prints.
      against: the method that the others are compared with.
      names: what it calls methods.
    """

    number: int
    what: str
    methods: tuple[str, ...]
    about: tuple[str, ...] = ()
    noisy: bool | None = None
    digits: int = 2
    against: str = LR_REWIND
    names: Mapping[str, str] = field(default_factory=lambda: METHOD_NAMES)

    def __call__(self, found: Iterable[Family]) -> Table | None:
        benchmarks = {
            mark: here
            for mark, here in by_benchmark(found).items()
            if self.noisy in (None, mark.is_noisy)
            if any(method in here for method in self.about or self.methods)
        }
        if not benchmarks:
            return None
        rows = [
            self._row(mark, here, method)
            for mark, here in benchmarks.items()
            for method in self.methods
        ]
        used = [family for here in benchmarks.values() for family in here.values()]
        title = f"PEG table {self.number}, test error of the optimal model, {self.what}"
        return summary.beside_table(
            f"table_{self.number}", f"{title}; {selection_note(used)}", rows,
            digits=self.digits, against=self.against, names=METHOD_NAMES,
        )  # fmt: skip

    def _row(self, mark: Benchmark, here: Mapping[str, Family], method: str) -> Beside:
        family = next(iter(here.values())) if method == DENSE else here.get(method)
        member = 0 if method == DENSE else family.optimal() if family else None
        return beside(
            self.number, mark, {"algorithm": self.names.get(method, method)},
            optimal_errors(here, method), method, DENSE if method == DENSE else "optimal",
            against=optimal_errors(here, self.against) if self.against != method else {},
            details={"optimum at": place_text(family, member)},
            missing=family.missing_seeds(member) if family else (),
        )  # fmt: skip


# ---------------------------------------------------------------- optima
def optima_table(found: Iterable[Family]) -> Table | None:
    """Every family: its dense model, its optimum, the smallest that still beats dense."""
    found = list(found)
    if not found:
        return None
    title = (
        "Test error of every family of models, and the last model of each that still beats "
        "dense by at least one std of the difference over seeds; "
        f"{selection_note(found)}"
    )
    numbers, shown = zip(*(_optimum(family) for family in found), strict=True)
    labels = ("model", "noise", "algorithm")
    return tables.of_rows("optima", title, numbers, shown, labels, say_once="model")


def _optimum(family: Family) -> tuple[dict[str, Any], dict[str, str]]:
    optimal, last = family.optimal(), family.highest_beating_dense()
    gain, mark = family.against_dense(optimal), family.benchmark
    row: dict[str, Any] = settings_of(mark) | {"method": family.method, "metric": TEST_ERROR}
    for name, member in (("dense", 0), ("optimal", optimal)):
        row |= described(family.by_seed(TEST_ERROR, member), name)
    row |= {
        "optimal_member": optimal,
        "optimal_weights_remaining": mean_at(family, "weights_remaining", optimal),
        "highest_beating_dense_member": last,
        "highest_beating_dense_weights_remaining": mean_at(family, "weights_remaining", last),
        "chosen_by": "validation" if family.is_validated else "test",
        **{f"minus_dense_{what}": getattr(gain, what) for what in ("n", "mean", "std")},
        "verdict_dense": gain.verdict,
        "missing_seeds": summary.seeds_text(family.missing_seeds(optimal)),
    }
    one_seed = row["dense_n"] < 2  # Of which the rule says nothing.
    return row, {
        **labels_of(mark),
        "algorithm": family.name,
        "dense (%)": number_text(row["dense_mean"], row["dense_std"], 2),
        "optimum at": place_text(family, optimal),
        "optimal (%)": number_text(row["optimal_mean"], row["optimal_std"], 2),
        "vs dense": verdict_text(gain, row["optimal_n"]),
        "still beats dense": "" if one_seed else place_text(family, last) or "never",
        "seeds": str(row["optimal_n"]),
        "missing seeds": row["missing_seeds"],
    }


def mean_at(family: Family, column: str, member: int | None) -> float:
    """A member's mean over seeds; NaN for no member."""
    values = list(family.by_seed(column, member).values())
    return float(np.mean(values)) if values else math.nan


# ---------------------------------------------------------------- what the paper says in words
@dataclass(frozen=True)
class Claim:
    """What the paper says of two methods' optima, in numbers of benchmarks.

    Attributes:
      text: what is claimed.
      paper: how often, in the paper.
      first: a method.
      second: that it is compared with.
      noisy: as of `OptimaTable`.
    """

    text: str
    paper: str
    first: str
    second: str
    noisy: bool | None = None

    def ours(self, found: Iterable[Family]) -> str:
        """What came out; "" where no benchmark has both methods."""
        among = [f for f in found if self.noisy in (None, f.benchmark.is_noisy)]
        return count_verdicts(among, self.first, self.second)


def claims_table(*claims: Claim) -> Callable[[Iterable[Family]], Table | None]:
    """What the paper says beside what came out; no table where no claim could be checked."""
    title = (
        "What PEG says of the test error of optimal models, and what came out, in benchmarks on "
        "which the first is lower than, matches, or is higher than the second"
    )

    def make(found: Iterable[Family]) -> Table | None:
        found = list(found)
        rows = [
            {"claim": claim.text, "paper": claim.paper, "ours": ours}
            for claim in claims
            if (ours := claim.ours(found))
        ]
        return tables.of_rows("claims", title, rows, rows, ["claim"]) if rows else None

    return make


def _gaps(found: Iterable[Family], first: str, second: str) -> dict[Benchmark, Any]:
    """The differences of two methods' optima, by benchmark, where some seed has both."""
    gaps = {m: compare_optima(here, first, second) for m, here in by_benchmark(found).items()}
    return {mark: gap for mark, gap in gaps.items() if gap.n}


def count_verdicts(found: Iterable[Family], first: str, second: str) -> str:
    """On how many benchmarks one optimum is lower than, matches, or is higher than another.

    Returns:
      "lower on 2, matches on 1, higher on 1 of 4"; "" where no benchmark has both methods.
    """
    gaps = _gaps(found, first, second).values()
    if not gaps:
        return ""
    count = readings.count(gaps)
    one = f", one seed on {count['']}" if count[""] else ""
    text = f"lower on {count['lower']}, matches on {count['matches']}, higher on {count['higher']}"
    return f"{text}{one} of {len(gaps)}"


def compares(first: str, second: str) -> Callable[[Sequence[Family]], str]:
    """A reading: how the optimal models of two methods compare, in one sentence."""

    def read(found: Sequence[Family]) -> str:
        gaps = _gaps(found, first, second)
        names = [METHOD_NAMES.get(method, method) for method in (first, second)]
        if not gaps:
            return f"{readings.start(names[0])} and {names[1]} are not both there yet."
        if len(gaps) == 1:
            (mark,) = gaps
            return _compare_one(mark, by_benchmark(found)[mark], first, second)
        count = readings.count(gaps.values())
        text = (
            f"At its optimum, {names[0]} has lower test error than {names[1]} on {count['lower']} "
            f"of {len(gaps)} benchmarks, higher on {count['higher']}, and matches on "
            f"{count['matches']}"
        )
        return text + (f"; {count['']} with one seed tell nothing." if count[""] else ".")

    return read


def _compare_one(mark: Benchmark, here: Mapping[str, Family], first: str, second: str) -> str:
    gap = compare_optima(here, first, second)
    values = [described(optimal_errors(here, method)) for method in (first, second)]
    texts = [number_text(value["mean"], value["std"], 2) for value in values]
    what = "they match" if gap.verdict == "matches" else f"the first is {gap.verdict}"
    tail = f": {what} (n = {gap.n})" if gap.verdict else ": one seed cannot tell a difference"
    where = remaining_text(here[first], here[first].optimal())
    at = f" with {where}% of the weights" if where != "100" else ""
    other = "the dense model" if second == DENSE else METHOD_NAMES.get(second, second)
    return (
        f"On {mark.name}, the best test error of {METHOD_NAMES.get(first, first)} is "
        f"{texts[0]}%{at}, of {other} {texts[1]}%{tail}."
    )
