"""Kinds of sentences that say what a figure shows, made from its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tfprune.measures.statistics import Difference

VERDICTS = ("lower", "matches", "higher", "")


def count(gaps: Iterable[Difference]) -> dict[str, int]:
    """How many differences are lower, match, are higher; and, "", are of one seed."""
    found = [gap.verdict for gap in gaps]
    return {verdict: found.count(verdict) for verdict in VERDICTS}


def start(text: str) -> str:
    """A text as the start of a sentence."""
    return text[:1].upper() + text[1:]


def gap_text(gap: Difference, unit: str = "points") -> str:
    """ "+0.78 ± 0.21 points (n = 3), higher"."""
    spread = "" if math.isnan(gap.std) else f" ± {gap.std:.2f}"
    verdict = f", {gap.verdict}" if gap.verdict else ""
    return f"{gap.mean:+.2f}{spread} {unit} (n = {gap.n}){verdict}"


def p_value(value: float) -> str:
    """A p-value in a sentence.

    Example:
      >>> [p_value(p) for p in (0.2345, 0.012, 0.00001)]
      ['p = 0.23', 'p = 0.012', 'p < 0.001']
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
