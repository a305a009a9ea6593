"""What random_reinit shows: lottery tickets against random reinitialization."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from tfprune.measures.statistics import Difference
from tfprune.papers.sdd import networks
from tfprune.papers.sdd.networks import Networks, Study
from tfprune.report import readings, style, tables
from tfprune.report.accuracy import BEST, LAST, SPARSITY, against_sparsity
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, ZERO, Axis, Figure, Line2D, Lines, Mark, Panel, Scale
from tfprune.report.summary import concatenated

_NAMES = {networks.TRUNK: "lottery ticket", networks.REINIT: "random reinitialization"}
_EPOCHS = {LAST: "last epoch", BEST: "best epoch"}


def _gains(found: Study) -> pd.DataFrame:
    """Reinitialized minus ticket, seed by seed, in the columns of both accuracies."""
    gaps = [
        network.gaps(column).rename(columns={"difference": column}).assign(panel=network.name)
        for network in found.networks
        for column in _EPOCHS
    ]
    return concatenated(gaps).assign(all="")


def _open_matches(panel: Panel) -> bool:
    """Markers are open where the rule of PEG section 2 finds no difference."""
    found = False
    for line in panel.lines:
        gaps = [Difference(2, m, s) for m, s in zip(line.mean, line.std, strict=True)]
        chosen = [gap.verdict == "matches" for gap in gaps]
        found |= any(chosen)
        panel.axes.plot(
            line.x[chosen], line.mean[chosen], linestyle="", marker=line.look["marker"],
            markerfacecolor="white", markeredgecolor=line.look["color"],
        )  # fmt: skip
    return found


_MATCHES = Mark(
    _open_matches,
    lambda: Line2D([], [], linestyle="", marker="o", markerfacecolor="white",
                   markeredgecolor=style.BLACK, label="matches (mean within one std of 0)"),
)  # fmt: skip


def gain_reading(column: str, what: str) -> Callable[[Study], str]:
    """At which sparsities reinitialization ends better, and by how much, by network."""

    @networks.on_each
    def reading(network: Networks) -> str:
        table = network.differences(column)
        # Without the dense network, which has no mask: reinitialized, it is another seed.
        table = table[table["sparsity"] > 0]
        if table.empty:
            return ""
        top = table.loc[table["mean"].idxmax()]
        gain = tables.points(top["mean"], top["std"])
        most = f"the largest gain is {gain} points, at {networks.sparsity_text(top['sparsity'])}"
        start = f"{what} test accuracy of random reinitialization is"
        if (table["n"] < 2).all():
            above = f"above the lottery ticket's at {(table['mean'] > 0).sum()} of {len(table)}"
            return (
                f"{start} {above} sparsities; {most}, which one seed cannot tell from the spread."
            )
        verdicts = table.set_index("sparsity")["verdict"]
        at = {v: verdicts == v for v in readings.VERDICTS}
        where = {v: f" ({networks.listed(there)})" * bool(there.any()) for v, there in at.items()}
        return (
            f"{start} higher than the lottery ticket's at {at['higher'].sum()} of {len(table)} "
            f"sparsities{where['higher']}, lower at {at['lower'].sum()}{where['lower']}, and "
            f"matches at {at['matches'].sum()}; {most}."
        )

    return reading


# fmt: off
RANDOM_REINIT = Experiment(
    "random_reinit",
    partial(networks.study, wanted=networks.REINIT),
    figures=(
        against_sparsity(
            "Lottery ticket and random reinitialization against sparsity",
            gain_reading(LAST, "Last"), results=lambda found: found.rows, branch_names=_NAMES),
        Figure(
            "difference", "What random reinitialization gains over the lottery ticket", _gains,
            Lines(SPARSITY,
                  (Axis(LAST, "Test accuracy, reinitialized\nminus ticket (points)", 100),
                   Axis(BEST, scale=100)),
                  "level", style.ORANGE, Scale(QUANTITY, {LAST: "o", BEST: "s"}),
                  Scale(QUANTITY, {LAST: "-", BEST: ":"}, _EPOCHS), marks=(ZERO, _MATCHES)),
            gain_reading(BEST, "Best"), panel="panel", same_y="all", size=(7.2, 4.4, 3.6)),
    ),
    tables=(
        networks.accuracy_table,
        networks.difference_table(
            "difference", "Random reinitialization minus lottery ticket at every sparsity"),
    ),
)
