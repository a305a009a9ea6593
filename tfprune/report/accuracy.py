"""Accuracy against sparsity: the figure and the table that every experiment has data for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tfprune.measures import descent
from tfprune.report import style, tables, trials
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Panel, Scale, star

LAST, BEST = "test_accuracy_last", "test_accuracy_best"
_MAX_COLUMNS = 4


def roles_of(results: pd.DataFrame) -> dict[str, int]:
    """`descent.five_sparsities` of the rows of results.csv of one trial and branch."""
    last, best = (
        results.pivot_table(index="seed", columns="level", values=column, dropna=False)
        for column in (LAST, BEST)
    )
    return descent.five_sparsities(last.columns, last.to_numpy(float), best.to_numpy(float))


def columns_of(rows: pd.DataFrame) -> int:
    """How many panels of trials stand side by side, so that rows and columns have a meaning.

    Where a product of settings was run, a column per value of the last that varies, up to four;
    else three at most, and two by two of four.
    """
    panels = rows["panel"].nunique()
    fields = [name for name in trials.varying(rows) if name != "criterion"]
    if len(fields) > 1:
        values = int(trials.settings(rows)[fields[-1]].nunique(dropna=False))
        if values <= _MAX_COLUMNS and panels % values == 0:
            return values
    return 2 if panels == 4 else min(panels, 3)


def sparsity_ticks(panel: Panel) -> None:
    """The papers' axis of sparsities, ticks at all levels of the panel."""
    style.sparsity_axis(panel.axes, panel.rows["weights_remaining"].dropna())


def whole_epochs(panel: Panel) -> None:
    """Ticks at whole numbers only."""
    panel.axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def percent(column: str, label: str, **more: Any) -> Axis:
    """An axis of accuracies in %, at least four points high."""
    return Axis(column, label, 100, finish=lambda p: style.percent_axis(p.axes), **more)


def from_zero(panel: Panel) -> None:
    """The y axis starts at 0, or below where something does."""
    panel.axes.set_ylim(bottom=min(0, panel.axes.get_ylim()[0]))


def all_percents(panel: Panel) -> None:
    """The y axis is all of 0% to 100%."""
    panel.axes.set_ylim(-3, 103)


EPOCHS = Axis("epoch", "Epoch", finish=whole_epochs)
SPARSITY = Axis(
    "weights_remaining", "Sparsity (%)", 1, style.sparsity_position, sparsity_ticks,
    text=lambda remaining: tables.sparsity_percent(1 - remaining),
)  # fmt: skip
# Of sampled sparsities, from light to dark.
ROLE_COLORS = style.sequence(descent.ROLES)
_COLOR = Scale("line", lambda names: {name: style.color_of(name, names) for name in names})
_MARKER = Scale("line", style.markers)
_ROLE_ON = {"sweet_spot_best": BEST}
_ROLES = tuple(
    star(f"is_{role}", style.ROLE_LABELS[role], color, "o", 9, _ROLE_ON.get(role, LAST))
    for role, color in ROLE_COLORS.items()
)
_LINES = (
    Lines(SPARSITY, percent("train_accuracy", "Train accuracy (%)"), "level", _COLOR, _MARKER),
    Lines(
        SPARSITY,
        (percent(LAST, "Test accuracy (%)"), Axis(BEST, scale=100, marked=False)),
        "level", _COLOR, _MARKER,
        Scale(QUANTITY, {LAST: "-", BEST: ":"}, {LAST: "last epoch", BEST: "best epoch (test)"}),
        marks=_ROLES, height=1.6,
    ),
)  # fmt: skip


def _rows(results: pd.DataFrame, branch_names: Mapping[str, str]) -> pd.DataFrame:
    """A line per criterion and branch, a panel per combination of the other settings that vary.

    Where a panel has one line, rows of SDD 3.2's five sparsities are flagged `is_ROLE`.
    """
    has_branches = results["branch"].ne("").any()
    by_criterion = "criterion" in (trials.varying(results) if has_branches else results)
    names = [results["criterion"].astype(str)] if by_criterion else []
    names += [results["branch"].map(lambda b: branch_names.get(b, b))] if has_branches else []
    rows = results.assign(
        panel=results["trial"].map(trials.names(results, without=("criterion",))),
        line=[", ".join(filter(None, parts)) for parts in zip(*names, strict=True)] or "",
        dataset=results.get("dataset", ""),
    )
    rows = trials.in_order(rows.sort_values(["branch", "level", "seed"]), results)
    alone = rows.groupby("panel")["line"].transform("nunique") == 1
    roles = {panel: roles_of(own) for panel, own in rows[alone].groupby("panel")}
    at = list(zip(rows["panel"], rows["level"], strict=True))
    flags = {
        f"is_{role}": [roles.get(panel, {}).get(role) == level for panel, level in at]
        for role in descent.ROLES
    }
    return rows.assign(**flags)


def against_sparsity(
    title: str,
    reading: Callable[[Any], str],
    results: Callable[[Any], pd.DataFrame] = lambda found: found,
    branch_names: Mapping[str, str] | None = None,
) -> Figure:
    """Train accuracy above, last and best test accuracy below, by sparsity; a pair per panel.

    Args:
      title, reading: of the figure.
      results: the rows of results.csv of what is shown.
      branch_names: what the legend calls a branch; default its own name, "trunk" for the trunk.
    """
    names = branch_names or {"": "trunk"}
    return Figure(
        "accuracy", title, lambda found: _rows(results(found), names), _LINES, reading,
        panel="panel", size=(7.2, 4.4, 5.2), columns=columns_of, same_y="dataset",
    )  # fmt: skip


def _peak_reading(results: pd.DataFrame) -> str:
    """Where last test accuracy is highest, in one sentence."""
    peak = tables.aggregate(results).nlargest(1, f"{LAST}_mean").to_dict("records")[0]
    value = tables.mean_std(LAST, tables.plus_minus)(peak)
    sparsity = tables.sparsity_percent(peak["sparsity"])
    return f"Last test accuracy is highest, {value}%, at {sparsity}% sparsity."


def generic(experiment: str) -> Experiment:
    """What the report shows of an experiment that no paper declares."""
    title = f"{experiment}: accuracy against sparsity"
    return Experiment(
        experiment, lambda results, _: results, (against_sparsity(title, _peak_reading),),
        (tables.accuracy_table,),
    )  # fmt: skip
