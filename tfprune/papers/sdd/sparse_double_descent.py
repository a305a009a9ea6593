"""What sparse_double_descent shows: accuracy, training and memorization over sparsity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from tfprune.measures import descent
from tfprune.measures.statistics import match_or_differ
from tfprune.papers.published import published
from tfprune.papers.sdd import networks
from tfprune.papers.sdd.networks import EXAMPLES, Networks, Study, of_examples, on_each
from tfprune.report import accuracy, readings, style, summary, tables, trials
from tfprune.report.accuracy import BEST, EPOCHS, LAST, SPARSITY, percent
from tfprune.report.experiment import Experiment
from tfprune.report.grammar import QUANTITY, Axis, Figure, Lines, Scale
from tfprune.report.tables import Table, mean_std, sparsity_percent

_LOSERS = {
    "dense": "in the dense network",
    "overfitting": "in the overfitting one ({})",
    "sweet_spot_last": "at the sweet spot ({})",
}
# ΔL of the paper's equation 1, and to first order.
_CHANGE, _LINEAR = "loss_change", "loss_change_linear"
_CHANGES = {_CHANGE: "ΔL", _LINEAR: "to first order"}
# SDD's two sweet spots, where the best or the last test accuracy peaks, are told apart by their
# order alone: a network that has one of them may have either.
_SWEET_SPOTS = ("first_sweet_spot", "second_sweet_spot")
# What SDD samples, by what it calls them.
_PRINTED = ("dense", "overfitting", *_SWEET_SPOTS, "sweet_spot", "underfitting")


# ---------------------------------------------------------------- readings
def _falls(network: Networks) -> bool:
    """Whether last test accuracy falls from dense to overfitting, and rises again."""
    roles = network.roles
    if not {"overfitting", "sweet_spot_last"} <= set(roles):
        return False
    return network.mean(LAST, 0) > network.mean(LAST, roles["overfitting"])


def descent_reading(found: Study) -> str:
    """Whether last test accuracy falls and rises again with sparsity, a sentence per network."""
    each = on_each(lambda network: f"Last test accuracy {_descent(network)}.")(found)
    if not found.several:
        return each
    return (
        "Last test accuracy falls and rises again, both by at least a std over seeds, in "
        f"{sum(map(_falls, found.networks))} of {len(found.networks)} settings.\n{each}"
    )


def _descent(network: Networks) -> str:
    roles, levels = network.roles, network.rows["level"]
    seeds = network.rows.dropna(subset=LAST).groupby("level")["seed"].nunique().max()
    if "dense" not in roles or levels.nunique() == 1 or seeds < 2:
        few = "one seed" if seeds == 1 else f"{seeds} seeds"
        many = f"{levels.nunique()} level{'s' * (levels.nunique() > 1)}"
        return f"of {few} at {many} cannot tell a fall or a rise from noise"
    dense, peak, dip = (
        network.percent(LAST, 0), roles.get("sweet_spot_last"), roles.get("overfitting")
    )  # fmt: skip
    if peak is None:
        return (
            f"does not exceed the dense network's {dense} by at least a std over seeds and "
            f"{100 * descent.SMALLEST_CHANGE:g} points, up to {network.sparsity(levels.max())} "
            "sparsity"
        )
    start = f"rises from {dense} (dense), with no fall before it, to"
    if dip is not None:
        lowest = f"{network.percent(LAST, dip)} at {network.sparsity(dip)}"
        start = f"falls from {dense} (dense) to {lowest}, then rises to"
    return f"{start} {network.percent(LAST, peak)} at {network.sparsity(peak)} sparsity"


@on_each
def dynamics_reading(network: Networks) -> str:
    """How much test accuracy the last epochs cost at the sampled sparsities."""
    losses = [
        f"{100 * (network.mean(BEST, level) - network.mean(LAST, level)):.1f} points "
        f"{where.format(network.sparsity(level))}"
        for role, where in _LOSERS.items()
        if (level := network.roles.get(role)) is not None
    ]
    fall = f"From the best epoch to the last, test accuracy falls by {', '.join(losses)}."
    return fall if losses else ""


@on_each
def memorization_reading(network: Networks) -> str:
    """What the sweet spot does to permuted and to other examples."""
    if network.rows["permuted_accuracy"].isna().all():
        return ""
    level = network.roles.get("sweet_spot_last", int(network.rows["level"].max()))
    changes = [
        f"on {name} examples {network.percent(column, 0)}"
        + (f" and {network.percent(column, level)}" if level else "")
        for column, name in EXAMPLES.items()
    ]
    where = f" and at {network.sparsity(level)} sparsity" if level else ""
    return f"Final accuracy in the dense network{where}: {', '.join(changes)}."


@on_each
def forgetting_reading(network: Networks) -> str:
    """Which examples sparsity makes a network lose first."""
    if network.rows["permuted_accuracy"].isna().all():
        return ""
    said = {}
    for kind in ("permuted", "unpermuted"):
        means = network.rows.groupby("level")[["sparsity", f"{kind}_accuracy"]].mean().dropna()
        lost = means.set_index("sparsity")[f"{kind}_accuracy"] < 0.5
        said[kind] = "at least half are fitted at every sparsity"
        if lost.any():
            from_first = lost[lost.idxmax() :]
            at = f"at {networks.listed(lost)} sparsity"
            if from_first.all():
                at = f"from {networks.sparsity_text(from_first.index[0])} sparsity on"
            said[kind] = f"fewer than half are fitted {at}"
    return f"Of the permuted examples, {said['permuted']}; of the unpermuted, {said['unpermuted']}."


def loss_change_reading(found: Study) -> str:
    """Where pruning costs most training loss, and what the first order says of it."""
    said = []
    for network in found.networks:
        means = network.rows.reindex(columns=["level", *_CHANGES]).groupby("level").mean()
        if means[_CHANGE].notna().any():
            level = means[_CHANGE].idxmax()
            exact, linear = means.loc[level]
            first = "" if pd.isna(linear) else f" (to first order {linear:.3g})"
            subject = f"with {network.name} " if found.several else ""
            said.append(f"{subject}{exact:.3g} nats{first} at {network.sparsity(level)} sparsity")
    return f"The largest change of training loss by pruning is {'; '.join(said)}." if said else ""


# ---------------------------------------------------------------- figures
def _memorized(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that have permuted examples."""
    return rows[rows["permuted_accuracy"].notna()] if len(rows) else rows


def _line_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour for each trial: that of its criterion, where that is its name."""
    criteria = [name.removesuffix(" pruning") for name in names]
    return {n: style.color_of(c, criteria) for n, c in zip(names, criteria, strict=True)}


# ---------------------------------------------------------------- tables
def _tolerance(results: pd.DataFrame) -> float:
    """The training accuracy that may be lost and still be full, as results.csv says."""
    given = results.get(trials.EFFICACY_TOLERANCE, pd.Series(dtype=float)).dropna()
    return float(given.iloc[-1]) if len(given) else descent.DEFAULT_TOLERANCE


def efficacy_table(found: Study) -> Table:
    """Pruning efficacy of every trial (SDD section 4), mean ± std over seeds.

    An efficacy that the deepest level there is still reaches is shown as ≥.
    """
    tolerance = _tolerance(found.rows)
    groups = descent.efficacy_by_seed(found.rows, tolerance).groupby(["experiment", "trial"])
    columns = {f"efficacy_{what}": ("efficacy", what) for what in ("mean", "std")}
    numbers = groups.agg(n=("efficacy", "count"), **columns, at_end=("at_end", "any"))
    number = mean_std("efficacy", partial(tables.plus_minus, digits=2))
    shown: dict[str, Any] = {
        "pruning efficacy, sparsity (%)": lambda row: "≥ " * row["at_end"] + number(row),
        "seeds": "n",
    }
    title = (
        "Pruning efficacy: the largest sparsity that keeps train accuracy within "
        f"{100 * tolerance:g} point{'s' * (tolerance != 0.01)} of dense"
    )
    numbers = trials.in_order(numbers.reset_index().assign(tolerance=tolerance), found.rows)
    return tables.of_trials("pruning_efficacy", title, numbers, found.rows, shown)


def ranges_of(network: Networks, tolerance: float) -> dict[str, tuple[int, int]]:
    """`descent.sparsity_ranges` of a trial's means over seeds: {range: (first level, last)}.

    A level is boosted where its last test accuracy is higher than the dense network's by the rule
    of match or differ, seed by seed, and by more than `descent.SMALLEST_CHANGE`; a single seed
    has the latter alone.
    """
    by_level = network.rows.groupby("level")
    means = by_level[list(tables.ACCURACIES)].mean()
    last = {n: own.set_index("seed")[LAST].to_dict() for n, own in by_level}
    gaps = [match_or_differ(last[level], last.get(0, {})) for level in means.index]
    boosted = [gap.verdict in ("higher", "") and gap.mean > descent.SMALLEST_CHANGE for gap in gaps]
    train, test, best = (means[name] for name in tables.ACCURACIES)
    return descent.sparsity_ranges(means.index, train, test, best, boosted, tolerance)


def ranges_table(found: Study) -> Table | None:
    """The four ranges of sparsity of every trial (SDD 3.2)."""
    rows, cells = [], []
    for network in found.networks:
        cells.append({"trial": network.trial} | dict.fromkeys(descent.RANGES, ""))
        for kind, (first, last) in ranges_of(network, _tolerance(found.rows)).items():
            row = {"trial": network.trial, "range": kind, "first_level": first, "last_level": last}
            ends = [network.mean("sparsity", level) for level in (first, last)]
            rows.append(row | {"first_sparsity": ends[0], "last_sparsity": ends[1]})
            cells[-1][kind] = readings.span(ends, sparsity_percent)
    if not rows:
        return None
    shown = {f"{kind} (%)": kind for kind in descent.RANGES}
    title = (
        "Ranges of sparsity: trivial, full training accuracy; critical, where it starts to drop; "
        "high, last test accuracy above dense; extreme, beyond"
    )
    made = tables.of_trials("ranges", title, pd.DataFrame(cells), found.rows, shown)
    return dataclasses.replace(made, numbers=tables.with_settings(pd.DataFrame(rows), found.rows))


def printed_sparsities(settings: Mapping[Any, Any]) -> dict[str, str]:
    """What SDD prints for each sampled sparsity of a trial's setting, in percent.

    Args:
      settings: a trial's, by the columns of results.csv.

    Returns:
      {as the paper samples it: "98.2", or "94.5 (figure 9), 96.48 (figure 11)" where its figures
      disagree}; empty where the paper has not these data, model, noise and pruning.
    """
    if not summary.full_size(settings):
        return {}
    pruned = tuple(settings.get(name) for name in ("label_noise", "criterion", "retrain"))
    if pruned != ("symmetric", "magnitude", "weight_rewind"):
        return {}
    rows, found = published("SDD"), {}
    for column in ("dataset", "model", "noise_fraction"):
        rows = rows[rows[column] == settings.get(column)]
    for at, part in rows.groupby("at"):
        values = part.groupby("mean")["table"].first().sort_index()
        texts = [f"{v:g}" + f" ({where})" * (len(values) > 1) for v, where in values.items()]
        found[str(at)] = ", ".join(texts)
    return found


def sampled_table(found: Study) -> Table:
    """The five sparsities that SDD 3.2 samples, ours beside those its figures print."""
    aggregated = tables.aggregate(found.rows)
    settings = trials.settings(found.rows).to_dict("index")
    rows: list[dict[str, Any]] = []
    for network in found.networks:
        levels, paper = _sampled(network.roles, printed_sparsities(settings[network.trial]))
        here = aggregated[aggregated["trial"] == network.trial].set_index("level", drop=False)
        for at in (at for at in _PRINTED if at in levels or at in paper):
            ours = here.loc[levels[at]].to_dict() if at in levels else {"trial": network.trial}
            about = {"experiment": ours.get("experiment"), "sampled": at}
            rows.append(about | ours | {"published_sparsity_percent": paper.get(at, "")})
    shown: dict[str, Any] = {
        "sampled": lambda row: row["sampled"].replace("_", " "),
        "sparsity (%)": tables.LEVEL["sparsity (%)"],
        "the paper's (%)": "published_sparsity_percent",
        "last test (%)": mean_std(LAST, tables.plus_minus),
        "best test (%)": mean_std(BEST, tables.plus_minus),
    }
    title = "The five sparsities that SDD 3.2 samples, beside those that its figures print"
    return tables.of_trials("sampled", title, pd.DataFrame(rows), found.rows, shown, ["sampled"])


def _sampled(
    roles: Mapping[str, int], paper: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, str]]:
    """Levels of roles of `descent.ROLES`, and what SDD prints, by what its figures call them."""
    sweet = sorted({level for role, level in roles.items() if role.startswith("sweet_spot")})
    others = {role: level for role, level in roles.items() if not role.startswith("sweet_spot")}
    if len(sweet) == 1:
        other = {at: text for at, text in paper.items() if at not in _SWEET_SPOTS}
        either = " and ".join(paper[at] for at in _SWEET_SPOTS if at in paper)
        return others | {"sweet_spot": sweet[0]}, other | ({"sweet_spot": either} if either else {})
    return others | dict(zip(_SWEET_SPOTS, sweet, strict=False)), dict(paper)


def loss_change_table(found: Study) -> Table | None:
    """ΔL of SDD's equation 1 at every level, and to first order; None where it was not measured."""
    columns = [c for c in _CHANGES if c in found.rows and found.rows[c].notna().any()]
    if not columns:
        return None
    rows = found.rows[found.rows[columns].notna().any(axis=1)]
    headings = dict(zip(_CHANGES, ("ΔL (nats)", "first order (nats)"), strict=True))
    cells = {headings[c]: mean_std(c, tables.measured) for c in columns}
    title = "Change of the training loss by pruning, before retraining (SDD equation 1)"
    return tables.of_trials(
        "loss_change", title, tables.aggregate(rows, columns), rows,
        tables.LEVEL | cells | tables.SEEDS,
    )  # fmt: skip


# fmt: off
SPARSE_DOUBLE_DESCENT = Experiment(
    "sparse_double_descent",
    networks.study,
    figures=(
        accuracy.against_sparsity("Accuracy against sparsity", descent_reading,
                                  results=lambda found: found.rows),
        Figure(
            "dynamics", "Training dynamics at the sampled sparsities",
            lambda found: found.sampled(Networks.metrics),
            tuple(Lines(EPOCHS, percent(f"{split}_accuracy", f"{split.title()} accuracy (%)"),
                        color=Scale("sample", networks.sample_colors))
                  for split in ("train", "test")),
            dynamics_reading, panel="name", beside=True, legend="panel", legend_title="Sparsity",
            size=(5.5, 5.5, 3.3)),
        Figure(
            "memorization", "Memorization during training",
            lambda found: _memorized(found.sampled(Networks.metrics)),
            of_examples(EPOCHS, "", "Accuracy (%)"),
            memorization_reading, row="name", column="place", heading="heading",
            above="name", name_rows=True, size=(7, 2.5, 2.9)),
        Figure(
            "memorization_by_sparsity", "Memorization at the end of training, against sparsity",
            lambda found: _memorized(found.rows), of_examples(SPARSITY, "level", "Accuracy (%)"),
            forgetting_reading, panel="panel", columns=accuracy.columns_of, size=(7.2, 4.4, 3.4)),
        Figure(
            "loss_change", "Change of the training loss by pruning, against sparsity",
            lambda found: found.rows,
            (Lines(SPARSITY, (Axis(_CHANGE, "Change of training loss (nats)"), Axis(_LINEAR)),
                   "level", Scale("panel", _line_colors),
                   dash=Scale(QUANTITY, dict(zip(_CHANGES, ("-", "--"), strict=True)), _CHANGES)),),
            loss_change_reading, size=(7.2, 4.4, 3.2)),
    ),
    tables=(networks.accuracy_table, efficacy_table, ranges_table, sampled_table,
            loss_change_table),
)
