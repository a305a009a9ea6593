"""SDD's ranges of sparsity, its sampled sparsities beside the paper's, and its change in loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune.measures import descent as analysis
from tfprune.measures.statistics import match_or_differ
from tfprune.papers.published import published
from tfprune.report import style, tables, trials
from tfprune.results import figures

LOSS_CHANGES = ("loss_change", "loss_change_linear")
# What SDD samples besides the dense network, by what it calls them; its two sweet spots, where the
# best or the last test accuracy peaks, are told apart by their order alone.
_PRINTED = ("dense", "overfitting", "first_sweet_spot", "second_sweet_spot", "underfitting")


def ranges_of(results: pd.DataFrame, tolerance: float) -> dict[str, dict[str, tuple[int, int]]]:
    """`analysis.sparsity_ranges` of every trial, by its means over seeds.

    A level is boosted where its last test accuracy is higher than the dense network's by the rule
    of match or differ, seed by seed, and by more than `analysis.SMALLEST_CHANGE`; a single seed
    has the latter alone.

    Args:
      results: rows of results.csv, of trunks.
      tolerance: training accuracy that may be lost and still be full.

    Returns:
      {trial: {range: (first level, last level)}}.
    """
    table = tables.aggregate(results)
    found = {}
    for trial in trials.names(results):
        rows = table[table["trial"] == trial].sort_values("level")
        of_trial = results[results["trial"] == trial]
        found[trial] = analysis.sparsity_ranges(
            rows["level"],
            rows["train_accuracy_mean"],
            rows["test_accuracy_last_mean"],
            rows["test_accuracy_best_mean"],
            [_is_boosted(of_trial, int(level)) for level in rows["level"]],
            tolerance,
        )
    return found


def _is_boosted(results: pd.DataFrame, level: int) -> bool:
    last = {
        n: results[results["level"] == n].set_index("seed")["test_accuracy_last"].to_dict()
        for n in (0, level)
    }
    gap = match_or_differ(last[level], last[0])
    return gap.verdict in ("higher", "") and gap.mean > analysis.SMALLEST_CHANGE


def ranges_table(results: pd.DataFrame, tolerance: float, name: str) -> tables.Table:
    """The four ranges of sparsity of every trial (SDD 3.2)."""
    sparsity = results.groupby(["trial", "level"])["sparsity"].mean()
    rows = [
        {
            "trial": trial,
            "range": kind,
            "first_level": first,
            "last_level": last,
            "first_sparsity": sparsity[trial, first],
            "last_sparsity": sparsity[trial, last],
        }
        for trial, ranges in ranges_of(results, tolerance).items()
        for kind, (first, last) in ranges.items()
    ]
    columns = ["trial", "range", "first_level", "last_level", "first_sparsity", "last_sparsity"]
    numbers = pd.DataFrame(rows, columns=columns)
    by_trial = dict(list(numbers.groupby("trial")))
    shown = tables.label_table(
        pd.DataFrame({"trial": [t for t in trials.names(results) if t in by_trial]}), results
    )
    for kind in analysis.RANGES:
        shown[f"{kind} (%)"] = [
            _span(part[part["range"] == kind])
            for part in (by_trial[t] for t in trials.names(results) if t in by_trial)
        ]
    title = (
        "Ranges of sparsity: trivial, full training accuracy; critical, where it starts to drop; "
        "high, last test accuracy above dense; extreme, beyond"
    )
    labels = tuple(name for name in map(str, shown) if not name.endswith(" (%)"))
    return tables.Table(name, title, tables.with_settings(numbers, results), shown, labels)


def _span(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    row = rows.iloc[0]
    first, last = (tables.sparsity_percent(row[f"{end}_sparsity"]) for end in ("first", "last"))
    return first if first == last else f"{first} to {last}"


def printed_sparsities(settings: Mapping[Any, Any]) -> dict[str, str]:
    """What SDD prints for each sampled sparsity of a trial's setting, in percent.

    Args:
      settings: a trial's, by the columns of results.csv.

    Returns:
      {as the paper samples it: "98.2", or "94.5 (figure 9), 96.48 (figure 11)" where its figures
      disagree}; empty where the paper has not these data, model, noise and pruning.
    """
    rows = published("SDD")
    asked = {name: settings.get(name) for name in ("dataset", "model", "noise_fraction")}
    pruned = (settings.get("label_noise"), settings.get("criterion"), settings.get("retrain"))
    if pruned != ("symmetric", "magnitude", "weight_rewind"):
        return {}
    for column, value in asked.items():
        rows = rows[rows[column] == value]
    found = {}
    for at, part in rows.groupby("at"):
        values = part.groupby("mean")["table"].first().sort_index()
        texts = [f"{value:g}" for value in values.index]
        if len(texts) > 1:
            texts = [f"{text} ({table})" for text, table in zip(texts, values, strict=True)]
        found[str(at)] = ", ".join(texts)
    return found


def sampled_table(results: pd.DataFrame, name: str) -> tables.Table:
    """The five sparsities that SDD 3.2 samples, ours beside those its figures print."""
    aggregated = tables.aggregate(results)
    settings = trials.settings(results).to_dict("index")
    parts, sampled, printed = [], [], []
    for trial in trials.names(results):
        rows = aggregated[aggregated["trial"] == trial]
        roles = figures.roles_of(results[results["trial"] == trial])
        levels = {_sampled_as(role, roles): level for role, level in roles.items()}
        paper = printed_sparsities(settings[trial])
        for at in _PRINTED:
            if at in levels or at in paper:
                sampled.append(at)
                printed.append(paper.get(at, ""))
                part = rows[rows["level"] == levels.get(at, -1)]
                parts.append(part if len(part) else pd.DataFrame({"trial": [trial]}))
    if not parts:
        return tables.Table(name, _SAMPLED_TITLE, aggregated.iloc[:0], pd.DataFrame())
    numbers = pd.concat(parts, ignore_index=True)
    numbers.insert(1, "sampled", sampled)
    shown = tables.label_table(numbers, results)
    labels = (*map(str, shown), "sampled")
    shown["sampled"] = [at.replace("_", " ") for at in sampled]
    shown["sparsity (%)"] = [tables.sparsity_percent(value) for value in numbers["sparsity"]]
    shown["the paper's (%)"] = printed
    for column, heading in (("last", "last test (%)"), ("best", "best test (%)")):
        column = f"test_accuracy_{column}"
        shown[heading] = tables.plus_minus(numbers[f"{column}_mean"], numbers[f"{column}_std"])
    numbers["published_sparsity_percent"] = printed
    return tables.Table(name, _SAMPLED_TITLE, tables.with_settings(numbers, results), shown, labels)


_SAMPLED_TITLE = "The five sparsities that SDD 3.2 samples, beside those that its figures print"


def _sampled_as(role: str, roles: Mapping[str, int]) -> str:
    """What the paper's figures show for a role of `analysis.ROLES`."""
    if not role.startswith("sweet_spot"):
        return role
    sweet = sorted(level for name, level in roles.items() if name.startswith("sweet_spot"))
    return "first_sweet_spot" if roles[role] == sweet[0] else "second_sweet_spot"


def loss_change_table(results: pd.DataFrame, name: str) -> tables.Table | None:
    """ΔL of SDD's equation 1 at every level, and to first order; None where it was not measured."""
    rows, columns = _with_changes(results)
    if rows.empty:
        return None
    numbers = tables.aggregate(rows, columns)
    shown = tables.label_table(numbers, results)
    labels = tuple(map(str, shown))
    shown["level"] = numbers["level"].astype(str)
    shown["sparsity (%)"] = [tables.sparsity_percent(value) for value in numbers["sparsity"]]
    headings = {"loss_change": "ΔL (nats)", "loss_change_linear": "first order (nats)"}
    for column in columns:
        shown[headings[column]] = tables.measured(
            numbers[f"{column}_mean"], numbers[f"{column}_std"]
        )
    shown["seeds"] = numbers["n"].astype(str)
    title = "Change of the training loss by pruning, before retraining (SDD equation 1)"
    return tables.Table(name, title, tables.with_settings(numbers, results), shown, labels)


def _with_changes(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    columns = [name for name in LOSS_CHANGES if name in results]
    there = results[results[columns].notna().any(axis=1)] if columns else results.iloc[:0]
    return there, [name for name in columns if there[name].notna().any()]


def loss_change_figure(results: pd.DataFrame) -> Figure | None:
    """ΔL against sparsity, a line per trial, to first order dashed; None where there is none."""
    rows, columns = _with_changes(results)
    if rows.empty:
        return None
    table, names = tables.aggregate(rows, columns), trials.names(results)
    known = trials.settings(results)
    by_criterion = "criterion" in known and known["criterion"].nunique() == len(names) > 1
    labels = known["criterion"].astype(str).to_dict() if by_criterion else names
    colors = {trial: style.color_of(labels[trial], list(labels.values())) for trial in names}
    with style.house_style():
        figure = style.new_figure(7.2, 4.0)
        axes = figure.subplots()
        for trial in names:
            series = table[table["trial"] == trial].sort_values("level")
            x = style.sparsity_position(series["weights_remaining"])
            for column, linestyle in zip(columns, ("-", "--"), strict=False):
                figures.band(axes, x, series, column, colors[trial], linestyle, scale=1)
        style.sparsity_axis(axes, table["weights_remaining"])
        axes.set_ylabel("Change of training loss (nats)")
        figures.legend_below(figure, _change_handles(names, colors, columns, table["n"].max() > 1))
    return figure


def _change_handles(
    names: Mapping[str, str], colors: Mapping[str, str], columns: list[str], several_seeds: bool
) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = []
    if len(names) > 1:
        handles += [Line2D([], [], color=colors[t], label=name) for t, name in names.items()]
    plain = style.BLACK if len(names) > 1 else next(iter(colors.values()))
    handles.append(Line2D([], [], color=plain, label="ΔL"))
    if len(columns) > 1:
        handles.append(Line2D([], [], color=plain, linestyle="--", label="to first order"))
    return handles + ([figures.std_handle(plain)] if several_seeds else [])


def loss_change_reading(results: pd.DataFrame) -> str:
    """Where pruning first costs training loss, and what the first order says of it."""
    rows, columns = _with_changes(results)
    if rows.empty:
        return ""
    table, names = tables.aggregate(rows, columns), trials.names(results)
    said = []
    for trial, name in names.items():
        part = table[table["trial"] == trial].reset_index(drop=True)
        if part.empty or part["loss_change_mean"].isna().all():
            continue
        top = part.loc[part["loss_change_mean"].idxmax()]
        where = f"at {tables.sparsity_percent(top['sparsity'])}% sparsity"
        linear = ""
        if "loss_change_linear" in columns and pd.notna(top["loss_change_linear_mean"]):
            linear = f" (to first order {top['loss_change_linear_mean']:.3g})"
        subject = f"with {name} " if len(names) > 1 else ""
        said.append(f"{subject}{top['loss_change_mean']:.3g} nats{linear} {where}")
    return f"The largest change of training loss by pruning is {'; '.join(said)}." if said else ""
