"""Kinds of sentences that say what a figure shows, made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tfprune.measures.statistics import Correlation, Difference

VERDICTS = ("lower", "matches", "higher", "")
# A trend, or a difference, of a smaller p-value than this is called one.
SIGNIFICANT = 0.05


def count(gaps: Iterable[Difference]) -> dict[str, int]:
    """How many differences are lower, match, are higher; and, "", are of one seed."""
    found = [gap.verdict for gap in gaps]
    return {verdict: found.count(verdict) for verdict in VERDICTS}


def start(text: str) -> str:
    """A text as the start of a sentence."""
    return text[:1].upper() + text[1:]


def gap_text(gap: Difference) -> str:
    """ "+0.78 ± 0.21 points (n = 3), higher"."""
    spread = "" if math.isnan(gap.std) else f" ± {gap.std:.2f}"
    verdict = f", {gap.verdict}" if gap.verdict else ""
    return f"{gap.mean:+.2f}{spread} points (n = {gap.n}){verdict}"


def p_value(value: float) -> str:
    """A p-value in a sentence.

    Example:
      >>> [p_value(p) for p in (0.2345, 0.012, 0.00001)]
      ['p = 0.23', 'p = 0.012', 'p < 0.001']
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def correlated(link: Correlation) -> str:
    """Both coefficients of a correlation that has them.

    Example:
      >>> correlated(Correlation(5, 0.912, 0.031, 1.0, 0.0167))
      'r = 0.91 (p = 0.031), τ = 1.00 (p = 0.017), n = 5'
    """
    return (
        f"r = {link.pearson:.2f} ({p_value(link.pearson_p)}), "
        f"τ = {link.kendall:.2f} ({p_value(link.kendall_p)}), n = {link.n}"
    )


def trend(coefficient: float, p: float) -> str:
    """The verb of one quantity against another, by Pearson's r or Kendall's τ and its p-value.

    Example:
      >>> [trend(0.9, 0.049), trend(-1.0, 0.01)]
      ['grows with', 'falls with']
      >>> {trend(0.9, p) for p in (0.05, math.nan)}
      {'neither clearly grows nor falls with'}
    """
    if not p < SIGNIFICANT:
        return "neither clearly grows nor falls with"
    return "grows with" if coefficient > 0 else "falls with"


def span(values: Iterable[float], text: Callable[[float], str]) -> str:
    """From the least to the greatest of numbers, those that are NaN left out.

    Example:
      >>> [span(known, "{:.2f}".format) for known in ([1, math.nan, 0.333], [0.5, 0.501], [])]
      ['0.33 to 1.00', '0.50', '']
    """
    known = sorted(value for value in values if not math.isnan(value))
    return " to ".join(dict.fromkeys(map(text, known[:1] + known[-1:])))


def extremes(values: Mapping[Any, float], text: Callable[[float], str]) -> tuple[str, str]:
    """What has the least and what the greatest of values, of equal ones the first, with these.

    Example:
      >>> extremes({"random": 12.0, "magnitude": 7.25, "snip": 12.0}, "{:.1f}%".format)
      ('magnitude (7.2%)', 'random (12.0%)')
    """
    least, most = (end(values, key=lambda name: values[name]) for end in (min, max))
    return f"{least} ({text(values[least])})", f"{most} ({text(values[most])})"
