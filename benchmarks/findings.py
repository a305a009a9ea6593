"""What a row of the benchmark found, whether it meets its bar, and how that is shown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rich.table import Table

Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Bar:
    """What must be reached.

    Attributes:
      limit: the value.
      relation: whether the finding must be at least or at most that.
    """

    limit: float
    relation: Literal["at least", "at most"]

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.relation == "at least" else value <= self.limit


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
      work: what was done.
      value: the number that the bar is about.
      unit: of the value and the bar; `x` for a ratio.
      bar: None where a number is only reported.
      seconds: all repetitions of everything that was timed, by name.
      values: the value in every repetition, in the order of `seconds`; empty if there was one.
      note: what was counted, or why the bar does not apply.
      applies: whether this machine can meet the bar at all.
    """

    work: str
    value: float
    unit: str
    bar: Bar | None = None
    seconds: Series = field(default_factory=dict)
    values: Sequence[float] = ()
    note: str = ""
    applies: bool = True

    @property
    def met(self) -> bool | None:
        """None where there is no bar, or none for this machine."""
        return self.bar.is_met(self.value) if self.bar is not None and self.applies else None

    def as_json(self) -> dict[str, Any]:
        bar = None if self.bar is None else {"relation": self.bar.relation, "value": self.bar.limit}
        return {
            "work": self.work,
            "bar": bar,
            "value": self.value,
            "unit": self.unit,
            "met": self.met,
            "values": list(self.values),
            "median_seconds": {name: statistics.median(s) for name, s in self.seconds.items()},
            "seconds": {name: list(series) for name, series in self.seconds.items()},
            "note": self.note,
        }


def ratio_finding(
    work: str, seconds: Series, slow: str, fast: str, bar: Bar | None = None, **about: Any
) -> Finding:
    """How many times as long `slow` takes as `fast`: the median over repetitions of the ratio.

    Args:
      work: what was done.
      seconds: interleaved timings; repetition i of all was taken within the same moments.
      slow: a name in `seconds`.
      fast: another.
      bar: of the ratio.
      **about: further attributes of the finding.
    """
    pairs = zip(seconds[slow], seconds[fast], strict=True)
    values = [a / b for a, b in pairs]
    return Finding(work, statistics.median(values), "x", bar, {**seconds}, values=values, **about)


def table(findings: Mapping[str, Sequence[Finding]]) -> Table:
    """The findings of all rows, by the row's name, for a terminal."""
    shown = Table("work", "bar", "measured", "spread", "", "seconds (medians)", show_lines=True)
    for of_row in findings.values():
        for finding in of_row:
            shown.add_row(
                finding.work,
                _bar(finding),
                _amount(finding.value, finding.unit),
                _spread(finding),
                {True: "met", False: "NOT MET", None: "-"}[finding.met],
                "\n".join([*_medians(finding), finding.note]).strip(),
            )
    return shown


def _bar(finding: Finding) -> str:
    if finding.bar is None:
        return ""
    sign = "≥" if finding.bar.relation == "at least" else "≤"
    return f"{sign} {_amount(finding.bar.limit, finding.unit)}"


def _amount(value: float, unit: str) -> str:
    digits = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    digits = f"{value:g}" if value == round(value, 2) else digits
    return f"{digits} {unit}".strip()


def _spread(finding: Finding) -> str:
    """The smallest and the largest value of all repetitions."""
    if len(finding.values) < 2:
        return ""
    low, high = min(finding.values), max(finding.values)
    return f"{low:.2f} … {high:.2f}"


def _medians(finding: Finding) -> list[str]:
    return [f"{name}: {statistics.median(s):.4g}" for name, s in finding.seconds.items()]
