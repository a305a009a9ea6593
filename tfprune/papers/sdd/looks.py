"""What figures of SDD have in common: axes, and colours of examples and of sampled sparsities."""

from __future__ import annotations

from collections.abc import Sequence

from tfprune.report import style
from tfprune.report.accuracy import ROLE_COLORS, all_percents
from tfprune.report.grammar import QUANTITY, Axis, Lines, Mark, Scale

EXAMPLES = {f"{kind}_accuracy": kind for kind in ("unpermuted", "permuted", "restored")}


def percents(label: str, *columns: str, right: bool = False) -> tuple[Axis, ...]:
    """Axes of accuracies, from 0% to 100%."""
    first, *others = columns
    axis = Axis(first, label, 100, finish=all_percents, right=right)
    return (axis, *(Axis(column, "", 100, right=right) for column in others))


def of_examples(x: Axis, at: str, label: str, *marks: Mark) -> Lines:
    """Accuracy on unpermuted, permuted and restored training examples."""
    colors = dict(zip(EXAMPLES, (style.SKY, style.PURPLE, style.BROWN), strict=True))
    dashes = dict(zip(EXAMPLES, ("-", "--", "-."), strict=True))
    return Lines(
        x, percents(label, *EXAMPLES), at, Scale(QUANTITY, colors, EXAMPLES),
        dash=Scale(QUANTITY, dashes), marks=marks,
    )  # fmt: skip


def sample_colors(samples: Sequence[str]) -> dict[str, str]:
    """A colour for each sampled sparsity, from light to dark: that of its role where it has one."""
    colors = {style.ROLE_LABELS[role]: color for role, color in ROLE_COLORS.items()}
    plain = style.sequence(samples)
    return {sample: colors.get(sample.split(",")[0], plain[sample]) for sample in samples}
