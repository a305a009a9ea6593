"""What figures of PEG have in common: axes, colours, marks; a star is an optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tfprune.papers.peg.families import METHOD_NAMES, TEST_ERROR, Family, rows_of, select
from tfprune.report import style
from tfprune.report.accuracy import whole_epochs
from tfprune.report.grammar import Axis, Figure, Lines, Mark, Panel, Scale, level_line, star
from tfprune.report.tables import percent_text

# A panel goes this many points above the dense models at least, then curves leave it.
_LEAST_HEADROOM = 4.0
# A panel is this many points high at least: smaller differences are noise.
_LEAST_HEIGHT = 2.0
# Ticks of an axis where families do not share their sizes, in percent.
_ROUND_PERCENTS = (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def _remaining_ticks(panel: Panel) -> None:
    """The papers' axis, ticks at levels; at round numbers where families share no sizes."""
    if panel.rows["of_widths"].any():
        _, high = panel.axes.get_xlim()
        shown = [p for p in _ROUND_PERCENTS if -math.log(p / 100) <= high]
        while len(shown) > 8:
            shown = shown[::2]
        panel.axes.set_xticks([-math.log(p / 100) for p in shown], [f"{p:g}" for p in shown])
        return
    known = pd.concat([line.values for line in panel.lines]).dropna()
    remaining = np.array(sorted(set(known), reverse=True))
    positions, _ = style.sparsity_ticks(remaining, max_ticks=7)
    panel.axes.set_xticks(positions, [percent_text(math.exp(-x)) for x in positions])
    panel.axes.set_xticks(style.sparsity_position(remaining), minor=True)


def _weight_ticks(panel: Panel) -> None:
    panel.axes.set_xscale("log")
    panel.axes.invert_xaxis()
    panel.axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    panel.axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.axes.xaxis.set_minor_formatter(NullFormatter())


def _error_limits(panel: Panel) -> None:
    """Cuts off what is far worse than the dense models, unless the error comes down again after it.

    A pruned network ends at chance; on an axis that reaches there no difference can be seen.
    """
    means = [line.mean for line in panel.lines]
    low = min(float(mean.min()) for mean in means)
    dense = max(float(mean.iloc[0]) for mean in means)
    room = max(_LEAST_HEADROOM, dense - low)
    top = min(max(float(mean.max()) for mean in means), dense + room)
    top = max(top, *(_highest_before_the_end(mean) for mean in means))
    pad = 0.06 * max(top - low, _LEAST_HEIGHT)
    panel.axes.set_ylim(low - 1.5 * pad, max(top, low + _LEAST_HEIGHT) + pad)


def _highest_before_the_end(mean: pd.Series) -> float:
    """The highest error up to the last one that is no higher than the first, the dense model's."""
    no_higher = np.flatnonzero(mean.to_numpy() <= mean.iloc[0])
    return float(mean.iloc[: no_higher[-1] + 1].max())


REMAINING = Axis(
    "weights_remaining", "Weights remaining (%)", 1, style.sparsity_position, _remaining_ticks,
    text=percent_text,
)  # fmt: skip
EPOCHS = Axis("total_epochs", "Training epochs", finish=whole_epochs)
WEIGHTS = Axis("weights", "Weights", finish=_weight_ticks)
ERROR = Axis(TEST_ERROR, "Test error (%)", finish=_error_limits)


def noise_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour for each noise by its fraction alone, darker up to 20% (the paper has up to 15%).

    Names start with a noise in words ("15% noise"); rising.
    """
    percents = {name: float(name.split("%")[0]) if "%" in name else 0.0 for name in names}
    rising = sorted(percents.items(), key=lambda known: known[1])
    return {name: style.shade(min(percent / 20, 1)) for name, percent in rising}


NOISE = Scale("noise", noise_colors)
DENSE = level_line("is_dense", "dense", only_first_of="method")
ONE_DENSE = level_line("is_dense", "dense", style.BLACK)


def optimum(what: str) -> Mark:
    """A star at the optimum of every line, where it differs from dense."""
    return star("is_optimum", f"{what}, where it differs from dense")


def by_method(
    name: str,
    title: str,
    markers: dict[str, str],
    reading: Callable[[Sequence[Family]], str],
    of: Callable[[Sequence[Family]], Sequence[Family]] | None = None,
    x: Axis = REMAINING,
    optimal: str = "optimal sparsity",
    names: dict[str, str] = METHOD_NAMES,
) -> Figure:
    """Test error of methods: a panel a model, a colour a noise level, a marker a method.

    `of` says which families are shown, default those of benchmarks that have all of the methods;
    `optimal` is what the legend calls the star, `names` what it calls methods.
    """
    kind = Lines(
        x, ERROR, "member", NOISE, Scale("method", markers, names), marks=(optimum(optimal), DENSE)
    )
    choose = of or (lambda found: select(found, *markers))
    return Figure(
        name, title, rows_of, kind, reading,
        lambda found: [family for family in choose(found) if family.method in markers],
        panel="panel",
    )  # fmt: skip


def by_look(
    x: Axis, looks: dict[str, tuple[str, str]], names: dict[str, str], *marks: Mark
) -> Lines:
    """Test error of methods of a (colour, marker) each."""
    color, marker = (
        Scale("method", {method: look[n] for method, look in looks.items()}, names) for n in (0, 1)
    )
    return Lines(x, ERROR, "member", color, marker, marks=marks)
