"""The report of sparse_double_descent: SDD figures 1, 2, 3, 8, 9, 10, 12 and pruning efficacy."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from etils import epath

from tfprune import store
from tfprune.measures import descent as analysis
from tfprune.report import tables, trials
from tfprune.results import descent_tables, figures

EXPERIMENT = "sparse_double_descent"
_EXAMPLES = {
    "permuted": "permuted_accuracy",
    "unpermuted": "unpermuted_accuracy",
    "restored": "restored_accuracy",
}
_LOSERS = {
    "dense": "in the dense network",
    "overfitting": "in the overfitting one",
    "sweet_spot_last": "at the sweet spot",
}


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the stages' metrics.csv.

    Returns:
      The figures there are data for, accuracy against sparsity first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    results = _trunk(store.read_results(output_dir))
    if results.empty:
        return []
    drawn: list[figures.Drawing] = [
        (
            "accuracy",
            "Accuracy against sparsity",
            descent_reading(results),
            "SDD figures 1 and 8",
            figures.accuracy_against_sparsity(results),
        ),
        (
            "dynamics",
            "Training dynamics at the sampled sparsities",
            dynamics_reading(results),
            "SDD figures 2 and 9",
            figures.training_dynamics(output_dir, results),
        ),
        (
            "memorization",
            "Memorization during training",
            memorization_reading(results),
            "SDD figures 3, 10 and 12",
            figures.memorization_dynamics(output_dir, results),
        ),
        (
            "memorization_by_sparsity",
            "Memorization at the end of training, against sparsity",
            forgetting_reading(results),
            "SDD section 4",
            figures.memorization_against_sparsity(results),
        ),
        (
            "loss_change",
            "Change of the training loss by pruning, against sparsity",
            descent_tables.loss_change_reading(results),
            "SDD equation 1",
            descent_tables.loss_change_figure(results),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Accuracy at every level, pruning efficacy, ranges and samples of sparsity, change in loss.

    SDD sections 3.2 and 4; the sampled sparsities stand beside those that its figures print.

    The tolerance is the column efficacy_tolerance of results.csv where it is there.
    """
    results = _trunk(results)
    if results.empty:
        return []
    tolerance = analysis.DEFAULT_TOLERANCE
    if trials.EFFICACY_TOLERANCE in results:
        given = results[trials.EFFICACY_TOLERANCE].dropna()
        tolerance = float(given.iloc[-1]) if len(given) else tolerance
    change = descent_tables.loss_change_table(results, f"{EXPERIMENT}_loss_change")
    return [
        tables.accuracy_table(results, f"{EXPERIMENT}_accuracy"),
        tables.efficacy_table(results, tolerance, f"{EXPERIMENT}_pruning_efficacy"),
        descent_tables.ranges_table(results, tolerance, f"{EXPERIMENT}_ranges"),
        descent_tables.sampled_table(results, f"{EXPERIMENT}_sampled"),
        *([change] if change else []),
    ]


def _trunk(results: pd.DataFrame) -> pd.DataFrame:
    return results[(results["experiment"] == EXPERIMENT) & (results["branch"] == "")]


@dataclass(frozen=True)
class _Curve:
    """One trial's means over seeds, indexed by level, and the levels that play a role."""

    name: str
    rows: pd.DataFrame
    roles: dict[str, int]

    def accuracy(self, column: str, level: int) -> float:
        return float(self.rows[f"{column}_mean"][level])

    def percent(self, column: str, level: int) -> str:
        return f"{100 * self.accuracy(column, level):.1f}%"

    def sparsity(self, level: int) -> str:
        return f"{tables.sparsity_percent(float(self.rows['sparsity'][level]))}%"

    def fall_and_rise(self) -> tuple[float, float]:
        """Last test accuracy lost between dense and overfitting, and won back; else zeros."""
        if not self.is_double_descent():
            return 0.0, 0.0
        dense, dip, peak = (
            self.accuracy("test_accuracy_last", self.roles[role])
            for role in ("dense", "overfitting", "sweet_spot_last")
        )
        return dense - dip, peak - dip

    def is_double_descent(self) -> bool:
        """Whether last test accuracy falls and rises again, as can be told from noise."""
        return {"overfitting", "sweet_spot_last"} <= set(self.roles)


def _curves(results: pd.DataFrame) -> list[_Curve]:
    """A curve per trial, the deepest fall first."""
    table = tables.aggregate(results, (*tables.ACCURACY_COLUMNS, *figures.MEMORIZATION_COLUMNS))
    curves = []
    for trial, name in trials.names(results).items():
        rows = table[table["trial"] == trial]
        roles = figures.roles_of(results[results["trial"] == trial])
        curves.append(_Curve(name, rows.set_index("level"), roles))
    return sorted(curves, key=lambda curve: -curve.fall_and_rise()[0])


def descent_reading(results: pd.DataFrame) -> str:
    """Whether last test accuracy falls and rises again with sparsity, in one sentence."""
    curves = _curves(results)
    sentence = _descent(curves[0])
    if len(curves) == 1:
        return f"Last test accuracy {sentence}."
    double = sum(curve.is_double_descent() for curve in curves)
    return (
        "Last test accuracy falls and rises again, both by at least a std over seeds, in "
        f"{double} of {len(curves)} settings; with {curves[0].name}, it {sentence}."
    )


def _descent(curve: _Curve) -> str:
    last, roles = "test_accuracy_last", curve.roles
    reached = curve.sparsity(int(curve.rows.index.max()))
    if "dense" not in roles:
        return f"is there up to {reached} sparsity, but not yet for the dense network"
    dense = curve.percent(last, 0)
    if len(curve.rows) == 1:
        return f"is {dense} for the dense network, the only level that is there"
    if curve.rows["n"].max() < 2:
        return "is there for one seed, which cannot tell a fall or a rise from noise"
    if "sweet_spot_last" not in roles:
        return (
            f"does not exceed the dense network's {dense} by at least a std over seeds and "
            f"{100 * analysis.SMALLEST_CHANGE:g} points, up to {reached} sparsity"
        )
    peak = roles["sweet_spot_last"]
    top = f"{curve.percent(last, peak)} at {curve.sparsity(peak)} sparsity"
    if "overfitting" not in roles:
        return f"rises from {dense} (dense) to {top}, with no fall before it"
    dip = roles["overfitting"]
    return (
        f"falls from {dense} (dense) to {curve.percent(last, dip)} at {curve.sparsity(dip)}, "
        f"then rises to {top}"
    )


def dynamics_reading(results: pd.DataFrame) -> str:
    """How much test accuracy the last epochs cost at the sampled sparsities, in one sentence."""
    curve = _curves(results)[0]
    losses = []
    for role, name in _LOSERS.items():
        if role in curve.roles:
            level = curve.roles[role]
            best = curve.accuracy("test_accuracy_best", level)
            lost = 100 * (best - curve.accuracy("test_accuracy_last", level))
            where = "" if role == "dense" else f" ({curve.sparsity(level)})"
            losses.append(f"{lost:.1f} points {name}{where}")
    if not losses:
        return "The dense network is not there yet."
    start = _sentence_start(curve, results, "From the best epoch to the last")
    return f"{start}, test accuracy falls by {', '.join(losses)}."


def _sentence_start(curve: _Curve, results: pd.DataFrame, words: str) -> str:
    if results["trial"].nunique() == 1:
        return words
    return f"With {curve.name}: {words[0].lower()}{words[1:]}"


def memorization_reading(results: pd.DataFrame) -> str:
    """What the sweet spot does to permuted and to other examples, in one sentence."""
    curve = _noisiest(results)
    if curve is None or 0 not in curve.rows.index:
        return ""
    level = curve.roles.get("sweet_spot_last", int(curve.rows.index.max()))
    changes = [
        f"on {name} examples {curve.percent(column, 0)}"
        + (f" and {curve.percent(column, level)}" if level else "")
        for name, column in _EXAMPLES.items()
    ]
    where = f" and at {curve.sparsity(level)} sparsity" if level else ""
    start = _sentence_start(curve, results, f"Final accuracy in the dense network{where}")
    return f"{start}: {', '.join(changes)}."


def forgetting_reading(results: pd.DataFrame) -> str:
    """Which examples sparsity makes a network lose first, in one sentence."""
    curve = _noisiest(results)
    if curve is None:
        return ""
    permuted, unpermuted = (
        _lost_from(curve, f"{name}_accuracy") for name in ("permuted", "unpermuted")
    )
    start = _sentence_start(curve, results, f"Of the permuted examples, {permuted}")
    return f"{start}; of the unpermuted, {unpermuted}."


def _lost_from(curve: _Curve, column: str) -> str:
    level = _first_below_half(curve, column)
    if level is None:
        return "at least half are fitted at every sparsity"
    return f"fewer than half are fitted from {curve.sparsity(level)} sparsity on"


def _first_below_half(curve: _Curve, column: str) -> int | None:
    below = curve.rows.index[curve.rows[f"{column}_mean"] < 0.5]
    return int(below.min()) if len(below) else None


def _noisiest(results: pd.DataFrame) -> _Curve | None:
    """Among the trials that have permuted examples, the one with the deepest fall."""
    noisy = (c for c in _curves(results) if c.rows["permuted_accuracy_mean"].notna().any())
    return next(noisy, None)
