"""How families of models compare: with each other, with the paper's tables and with its words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tfprune.measures.statistics import PairedDifference, match_or_differ
from tfprune.papers.peg.families import (
    DENSE,
    LR_REWIND,
    METHOD_NAMES,
    PAPER_NOISE,
    TEST_ERROR,
    Benchmark,
    Family,
    by_benchmark,
    select,
    selection_note,
)
from tfprune.papers.published import published
from tfprune.report import readings, summary, tables
from tfprune.report.summary import Beside, Printed, described, verdict_text
from tfprune.report.tables import Table, number_text

Found = Sequence[Family]


def optimal_errors(here: Mapping[str, Family], method: str) -> dict[int, float]:
    """seed -> test error in % of a method's optimal model; {} where it was not run.

    `here` are a benchmark's families by method, as `by_benchmark` gives them.
    """
    return here[method].by_seed(TEST_ERROR, here[method].optimal()) if method in here else {}


# ---------------------------------------------------------------- the paper's tables
def printed(
    table: int, mark: Benchmark, method: str, at: str = "optimal", metric: str = TEST_ERROR
) -> Printed | None:
    """What a table of PEG prints for this benchmark and method.

    `method`, `at` and `metric` are as in `tfprune.papers.published`. None where the table has no
    such cell: none is of another width, of a part of the data, or of noise of another kind.
    """
    if not summary.full_size(mark.settings) or mark.label_noise not in PAPER_NOISE:
        return None
    cell = {"model": mark.model, "dataset": mark.dataset, "method": method}
    numbers = published("PEG", table)
    return summary.find_printed(numbers, mark.noise_fraction, **cell, at=at, metric=metric)


def beside(
    table: int, mark: Benchmark, labels: Mapping[str, str], values: Mapping[int, float],
    method: str, at: str = "optimal", metric: str = TEST_ERROR, **more: Any,
) -> Beside:  # fmt: skip
    """A row of ours beside a cell of the paper's table; further arguments as of `Beside`."""
    cell = printed(table, mark, method, at, metric)
    return Beside(mark.settings, mark.labels, labels, values, metric, cell, **more)


def table_of_optima(
    number: int,
    what: str,
    methods: Sequence[str],
    about: Sequence[str] = (),
    noisy: bool | None = None,
    digits: int = 2,
    against: str = LR_REWIND,
    names: Mapping[str, str] = METHOD_NAMES,
) -> Callable[[Found], Table]:
    """One of the paper's tables of optimal test errors, ours beside it.

    It has the benchmarks on which an algorithm it is about was run; cells of other algorithms stay
    empty.

    Args:
      number: as printed.
      what: for the title.
      methods: its columns, ours.
      about: the methods of which one must have been run; default all.
      noisy: whether it has only benchmarks with noise (True) or only those without (False).
      digits: decimals it prints.
      against: the method that the others are compared with.
      names: what it calls methods.
    """

    def row(mark: Benchmark, here: Mapping[str, Family], method: str) -> Beside:
        family = here.get(method)
        return beside(
            number, mark, {"algorithm": names[method]}, optimal_errors(here, method),
            method, DENSE if method == DENSE else "optimal",
            against=optimal_errors(here, against) if against != method else {},
            details={"optimum at": family.place_text(family.optimal()) if family else ""},
            seeds=family.seeds if family else (),
        )  # fmt: skip

    def make(found: Found) -> Table:
        used = select(found, any_of=about or methods, noisy=noisy)
        benchmarks = by_benchmark(used).items()
        rows = [row(mark, here, method) for mark, here in benchmarks for method in methods]
        title = f"PEG table {number}, test error of the optimal model, {what}"
        return summary.beside_table(
            f"table_{number}", f"{title}; {selection_note(used)}", rows, digits=digits,
            against=against, names=METHOD_NAMES,
        )  # fmt: skip

    return make


# ---------------------------------------------------------------- optima
def optima_table(found: Found) -> Table:
    """Every family: its dense model, its optimum, the smallest that still beats dense."""
    title = (
        "Test error of every family of models, and the last model of each that still beats "
        "dense by at least one std of the difference over seeds; "
        f"{selection_note(found)}"
    )
    rows = [_optimum(family) for family in found]
    labels = ("model", "noise", "algorithm")
    numbers, shown = ([row[part] for row in rows] for part in (0, 1))
    return tables.of_rows("optima", title, numbers, shown, labels, say_once="model")


def _optimum(family: Family) -> tuple[dict[str, Any], dict[str, str]]:
    """Numbers, and what is shown of them."""
    optimal, last = family.optimal(), family.highest_beating_dense()
    gain, mark = family.against_dense(optimal), family.benchmark
    errors = family.by_seed(TEST_ERROR, optimal)
    row: dict[str, Any] = mark.settings | {"method": family.method, "metric": TEST_ERROR}
    row |= described(family.by_seed(TEST_ERROR, 0), "dense") | described(errors, "optimal")
    for name, member in (("optimal", optimal), ("highest_beating_dense", last)):
        row[f"{name}_member"] = member
        row[f"{name}_weights_remaining"] = family.remaining(member)
    row["chosen_by"] = "validation" if family.is_validated else "test"
    row |= summary.gap_columns(gain, "dense")
    row["missing_seeds"] = family.missing(errors)
    beating = "never" if last is None else family.place_text(last)
    one_seed = row["dense_n"] < 2  # Of which the rule says nothing.
    return row, {
        **mark.labels,
        "algorithm": family.name,
        "dense (%)": number_text(row["dense_mean"], row["dense_std"]),
        "optimum at": family.place_text(optimal),
        "optimal (%)": number_text(row["optimal_mean"], row["optimal_std"]),
        "vs dense": verdict_text(gain, row["optimal_n"]),
        "still beats dense": "" if one_seed else beating,
        "seeds": str(row["optimal_n"]),
        "missing seeds": row["missing_seeds"],
    }


# ---------------------------------------------------------------- what the paper says in words
def claims_table(*claims: tuple[str, str, str, str, bool | None]) -> Callable[[Found], Table]:
    """What the paper says beside what came out, of claims that could be checked.

    Claims are of two methods' optima: (what is compared, on how many benchmarks in the paper, the
    first method, the second, `noisy` as of `table_of_optima`).
    """
    title = (
        "What PEG says of the test error of optimal models, and what came out, in benchmarks on "
        "which the first is lower than, matches, or is higher than the second"
    )

    def make(found: Found) -> Table:
        rows = []
        for text, paper, first, second, noisy in claims:
            if ours := count_verdicts(select(found, noisy=noisy), first, second):
                rows.append({"claim": text, "paper": paper, "ours": ours})
        return tables.of_rows("claims", title, rows, rows, ["claim"])

    return make


def _gaps(found: Iterable[Family], first: str, second: str) -> dict[Benchmark, PairedDifference]:
    """The differences of two methods' optima, by benchmark, where some seed has both."""
    gaps = {
        mark: match_or_differ(optimal_errors(here, first), optimal_errors(here, second))
        for mark, here in by_benchmark(found).items()
    }
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


def compares(first: str, second: str) -> Callable[[Found], str]:
    """A reading: how the optimal models of two methods compare, in one sentence."""

    def read(found: Found) -> str:
        gaps = _gaps(found, first, second)
        names = [METHOD_NAMES[method] for method in (first, second)]
        if not gaps:
            return f"{readings.start(names[0])} and {names[1]} are not both there yet."
        if len(gaps) == 1:
            ((mark, gap),) = gaps.items()
            here = by_benchmark(found)[mark]
            ends = [described(optimal_errors(here, method)) for method in (first, second)]
            errors = [number_text(end["mean"], end["std"]) for end in ends]
            left = here[first].remaining_text(here[first].optimal())
            return (
                f"On {mark.name}, {names[0]} has {errors[0]}% test error at its optimum, with "
                f"{left}% of the weights, and {names[1]} {errors[1]}%: {readings.gap_text(gap)}"
                f"{'' if gap.verdict else ', which one seed cannot tell'}."
            )
        count = readings.count(gaps.values())
        text = (
            f"At its optimum, {names[0]} has lower test error than {names[1]} on {count['lower']} "
            f"of {len(gaps)} benchmarks, higher on {count['higher']}, and matches on "
            f"{count['matches']}"
        )
        return text + (f"; {count['']} with one seed tell nothing." if count[""] else ".")

    return read
