"""The report of redense: SDD figures 4, 11, 13 (training), 5, 14 (paths) and 6 (sharpness)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.measures import statistics
from tfprune.report import style, tables
from tfprune.results import branches, figures, landscapes

EXPERIMENT = "redense"
_NOTE = "; re-dense networks at the sparsity before their masks were lifted"
_TRAIN_AND_TEST: tuple[tuple[str, str, str, Any], ...] = (
    ("train_accuracy", "train", style.BLACK, "-"),
    ("test_accuracy", "test", style.ORANGE, "--"),
)
# The largest p-value of a trend that a reading calls one.
_SIGNIFICANT = 0.05
# Barriers below this many nats are rounding.
_NO_BARRIER = 1e-6


def build(output_dir: epath.PathLike) -> list[figures.FigureInfo]:
    """Draws the experiment's figures from results.csv and the files its rows name.

    Returns:
      The figures there are data for, accuracy through sparse and re-dense training first.

    Raises:
      InputError: there is no results.csv, a file is damaged, or a folder cannot be written.
    """
    pairs = branches.pairs(_mine(store.read_results(output_dir)), branches.REDENSE)
    drawn: list[figures.Drawing] = [
        (
            "accuracy",
            "Accuracy through sparse and re-dense training",
            escape_reading(pairs),
            "SDD figures 4, 11 and 13",
            accuracy_through_training(output_dir, pairs),
        ),
        (
            "interpolation",
            "Straight from the sparse to the re-dense solution",
            path_reading(pairs),
            "SDD figures 5 and 14",
            landscapes.interpolation(output_dir, pairs),
        ),
        (
            "sharpness",
            "Loss around re-dense minima",
            sharpness_reading(pairs),
            "SDD figure 6",
            landscapes.lines(output_dir, pairs),
        ),
        (
            "surface",
            "Loss surfaces around re-dense minima",
            surface_reading(output_dir, pairs),
            "",
            landscapes.surfaces(output_dir, pairs),
        ),
    ]
    return figures.save_all(output_dir, EXPERIMENT, drawn)


def build_tables(results: pd.DataFrame) -> list[tables.Table]:
    """Accuracy of sparse and re-dense networks, what lifting the masks changes, landscapes."""
    results = _mine(results)
    title = "What re-dense training changes at every sparsity, re-dense minus sparse"
    return [
        tables.accuracy_table(results, f"{EXPERIMENT}_accuracy", _NOTE),
        branches.difference_table(results, branches.REDENSE, f"{EXPERIMENT}_change", title),
        landscape_table(results),
    ]


def _mine(results: pd.DataFrame) -> pd.DataFrame:
    mine = results[results["experiment"] == EXPERIMENT]
    kept = branches.of_kinds(mine, (branches.TRUNK, branches.REDENSE))
    return branches.at_branching_level(kept)


def accuracy_through_training(
    output_dir: epath.PathLike, pairs: list[branches.Pair]
) -> Figure | None:
    """Accuracy by epoch, through sparse and then re-dense training (SDD figures 4, 11, 13).

    Two rows per pair: train and test accuracy; and accuracy on unpermuted, permuted and restored
    training examples, where there are permuted ones. A panel per sampled level, mean ± std over
    seeds; the vertical line is where the masks are lifted. None where no stage has metrics.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    rows = []
    for pair in pairs:
        panels = [p for s in pair.samples() if (p := _through(output_dir, pair, s)) is not None]
        if panels:
            rows.append((pair.name, panels, _TRAIN_AND_TEST))
        if any(table["permuted_accuracy_mean"].notna().any() for _, table, _ in panels):
            rows.append((pair.name, panels, figures.MEMORIZATION))
    if not rows:
        return None
    columns = max(len(panels) for _, panels, _ in rows)
    with style.house_style():
        figure = style.new_figure(max(2.5 * columns, 7), 2.7 * len(rows) + 0.6)
        grid = figure.subplots(len(rows), columns, squeeze=False, sharey=True)
        for line, (name, panels, curves) in zip(grid, rows, strict=True):
            for axes in line[len(panels) :]:
                axes.set_axis_off()
            for axes, (title, table, lifted) in zip(line, panels, strict=False):
                for column, _, color, linestyle in curves:
                    x = table.index.to_numpy(float)
                    figures.band(axes, x, table, column, color, linestyle)
                _mark_lifting(axes, lifted)
                axes.set_title(title, loc="center")
                axes.set_ylim(-3, 103)
                style.epoch_axis(axes)
            what = "Train accuracy (%)" if curves is figures.MEMORIZATION else "Accuracy (%)"
            whose = f"{style.wrapped(name, 26)}\n\n" if len(pairs) > 1 else ""
            line[0].set_ylabel(whose + what)
        if len(pairs) == 1:
            figure.suptitle(pairs[0].name, fontsize=10.5)
        kinds = [curves for _, _, curves in rows]
        several = any(pair.rows["seed"].nunique() > 1 for pair in pairs)
        _training_legend(figure, figures.MEMORIZATION in kinds, several)
    return figure


_Panel = tuple[str, pd.DataFrame, float]


def _through(
    output_dir: epath.PathLike, pair: branches.Pair, sample: figures.Sample
) -> _Panel | None:
    """(title, curves over the epochs of both trainings, the epoch after which masks are lifted)."""
    parts = [
        figures.epoch_curves(output_dir, pair.results, pair.trial, sample.level, branch)
        for branch in (branches.TRUNK, pair.branch)
    ]
    (sparse, _, _), (dense, seeds, expected) = parts
    if not seeds:
        return None
    few = f"\n{seeds} of {expected} seeds" if seeds < expected else ""
    title = f"{sample.role_name}\nsparsity {sample.percent}{few}".strip()
    return title, pd.concat([sparse, dense]), float(dense.index.min()) - 1


def _mark_lifting(axes: Axes, epoch: float) -> None:
    axes.axvline(epoch, color="#777777", linestyle=":", linewidth=1.3)


def _training_legend(figure: Figure, memorization: bool, several_seeds: bool) -> None:
    curves = (*_TRAIN_AND_TEST, *(figures.MEMORIZATION if memorization else ()))
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, linestyle=linestyle, label=label)
        for _, label, color, linestyle in curves
    ]
    handles.append(Line2D([], [], color="#777777", linestyle=":", label="masks lifted"))
    handles += [figures.std_handle(style.BLACK)] if several_seeds else []
    figures.legend_below(figure, handles)


def escape_reading(pairs: list[branches.Pair]) -> str:
    """What lifting the masks does to train and test accuracy, in one sentence."""
    pair = _largest_change(pairs)
    if pair is None:
        return "No re-dense training is there yet."
    test, train = pair.differences("test_accuracy_last"), pair.differences("train_accuracy")
    pruned = test[test["sparsity"] > 0] if (test["sparsity"] > 0).any() else test
    level = pruned.index[int(pruned["mean"].abs().argmax())]
    where = branches.sparsity_text(float(pruned["sparsity"][level]))
    moved = " and ".join(
        f"{what} accuracy from {branches.percent(float(gap['trunk'][level]))} to "
        f"{branches.percent(float(gap['branch'][level]))}"
        for what, gap in (("train", train), ("last test", test))
        if level in gap.index
    )
    start = f"With {pair.name}, re-dense" if len(pairs) > 1 else "Re-dense"
    return f"{start} training takes {moved} at {where} sparsity; {_verdicts(pruned)}."


def _largest_change(pairs: list[branches.Pair]) -> branches.Pair | None:
    changes = [pair.differences("test_accuracy_last")["mean"].abs().max() for pair in pairs]
    known = [n for n, change in enumerate(changes) if change == change]
    return pairs[max(known, key=lambda n: changes[n])] if known else None


def _verdicts(gaps: pd.DataFrame) -> str:
    if (gaps["n"] < 2).all():
        falls = int((gaps["mean"] < 0).sum())
        return f"last test accuracy falls at {falls} of {len(gaps)} sparsities, for the one seed"
    counts = {v: int((gaps["verdict"] == v).sum()) for v in ("lower", "matches", "higher")}
    return (
        f"of {len(gaps)} sparsities, it ends with lower test accuracy than the sparse network at "
        f"{counts['lower']}, higher at {counts['higher']} and matching at {counts['matches']}"
    )


def path_reading(pairs: list[branches.Pair]) -> str:
    """Whether train loss only falls on the straight path, and its barrier, in one sentence."""
    rows = _measured(pairs, "barrier_height")
    rows = rows[rows["sparsity"] > 0] if (rows["sparsity"] > 0).any() else rows
    if rows.empty:
        return "No path is there yet."
    paths, falling = len(rows), int(rows["monotonic"].sum())
    count = "all" if falling == paths > 1 else f"{falling} of"
    rising = sorted(rows.loc[rows["monotonic"] == 0, "sparsity"].unique())
    but = f", but not at {branches.listed(rising)} sparsity" if 0 < falling < paths else ""
    return (
        "From the sparse to the re-dense solution, train loss decreases monotonically on "
        f"{count} {paths} path{'s' * (paths > 1)} (sparsities and seeds){but}; "
        f"{_barrier(rows.groupby('sparsity')['barrier_height'].mean())}."
    )


def _barrier(heights: pd.Series) -> str:
    """The highest of the mean barriers, indexed by sparsity, in words."""
    if heights.max() < _NO_BARRIER:
        return "no barrier rises above the straight line between its ends"
    top = tables.measured([float(heights.max())], [float("nan")])[0]
    where = branches.sparsity_text(float(heights.index[int(heights.argmax())]))
    return (
        "the mean barrier above the straight line between the ends is highest, "
        f"{top} nats, at {where} sparsity"
    )


def _measured(pairs: list[branches.Pair], column: str) -> pd.DataFrame:
    rows = pd.concat([pair.rows for pair in pairs]) if pairs else pd.DataFrame()
    return rows[rows[column].notna()] if column in rows else pd.DataFrame({"sparsity": []})


def sharpness_reading(pairs: list[branches.Pair]) -> str:
    """Whether re-dense minima are sharper the sparser the network was, in one sentence."""
    found = [(pair, landscapes.sharpness(pair.rows)) for pair in pairs]
    found = [(pair, table) for pair, table in found if len(table)]
    if not found:
        return "No loss around a re-dense minimum is there yet."
    pair, table = found[0]
    trend = statistics.correlation(table["sparsity"], table["sharpness_mean"])
    ends = table.iloc[[0, -1]]
    values = tables.measured(ends["sharpness_mean"], ends["sharpness_std"])
    names = [branches.sparsity_text(value) for value in ends["sparsity"]]
    start = f"With {pair.name}, sharpness" if len(pairs) > 1 else "Sharpness"
    if len(table) == 1:
        text = f"{start} of the re-dense minimum from {names[0]} sparsity is {values[0]} nats"
    else:
        text = (
            f"{start} of re-dense minima {_trend(trend)} the sparsity before the masks were "
            f"lifted ({_kendall(trend)}), {values[0]} nats from {names[0]}, {values[1]} from "
            f"{names[1]}"
        )
    scratch = landscapes.from_scratch(pair)
    if len(scratch):
        std = float(scratch.std(ddof=1)) if len(scratch) > 1 else float("nan")
        dense = tables.measured([scratch.mean()], [std])[0]
        text += f"; that of the dense network from scratch is {dense}"
    return f"{text}."


def _trend(trend: statistics.Correlation) -> str:
    if not trend.kendall_p < _SIGNIFICANT:
        return "neither clearly grows nor falls with"
    return "grows with" if trend.kendall > 0 else "falls with"


def _kendall(trend: statistics.Correlation) -> str:
    if trend.kendall_p != trend.kendall_p:
        return f"{trend.n} sparsities are too few to tell"
    return f"Kendall's τ = {trend.kendall:.2f}, {figures.p_value(trend.kendall_p)}, n = {trend.n}"


def surface_reading(output_dir: epath.PathLike, pairs: list[branches.Pair]) -> str:
    """How far train loss rises from the minimum to the edge of every surface, in one sentence.

    Raises:
      InputError: a file is damaged.
    """
    found = [(pair, landscapes.edge_rises(output_dir, pair)) for pair in pairs]
    found = [(pair, rises) for pair, rises in found if rises]
    if not found:
        return "No loss surface around a re-dense minimum is there yet."
    pair, rises = found[0]
    start = f"With {pair.name}, from" if len(pairs) > 1 else "From"
    texts = tables.measured(rises.values(), [float("nan")] * len(rises))
    said = [f"{text or '?'} nats around {n}" for n, text in zip(rises, texts, strict=True)]
    return (
        f"{start} the minimum (the cross) to the edge of its panel, train loss rises on average "
        f"by {', '.join(said)}; one surface each, so without a spread."
    )


def landscape_table(results: pd.DataFrame) -> tables.Table:
    """Sharpness, barrier and monotonic paths of re-dense networks, by sparsity before lifting."""
    rows = branches.of_kinds(results, [branches.REDENSE])
    for column in ("sharpness", "barrier_height", "monotonic"):
        if column not in rows:
            rows = rows.assign(**{column: float("nan")})
    keys = ["trial", "branch", "level"]
    groups = rows.groupby(keys)
    numbers: pd.DataFrame = groups[["sparsity"]].mean()
    numbers["n"] = groups["seed"].nunique()
    for column in ("sharpness", "barrier_height"):
        numbers[f"{column}_mean"] = groups[column].mean()
        numbers[f"{column}_std"] = groups[column].std(ddof=1)
    numbers["monotonic_paths"] = groups["monotonic"].sum()
    numbers["paths"] = groups["monotonic"].count()
    numbers = numbers.reset_index()
    labels = tables.label_table(numbers, results)
    if numbers["branch"].nunique() > 1:
        labels["branch"] = numbers["branch"].map(branches.name)
    shown = labels.assign(level=numbers["level"].astype(str))
    shown["sparsity (%)"] = [tables.sparsity_percent(value) for value in numbers["sparsity"]]
    for column, heading in (
        ("sharpness", "sharpness (nats)"),
        ("barrier_height", "barrier (nats)"),
    ):
        shown[heading] = tables.measured(numbers[f"{column}_mean"], numbers[f"{column}_std"])
    shown["monotonic paths"] = [
        f"{done:.0f} of {paths}" if paths else ""
        for done, paths in zip(numbers["monotonic_paths"], numbers["paths"], strict=True)
    ]
    shown["seeds"] = numbers["n"].astype(str)
    title = (
        "Re-dense solutions by the sparsity before the masks were lifted: sharpness of the train "
        "loss, and its path from the sparse solution"
    )
    full = tables.with_settings(numbers, results)
    return tables.Table(f"{EXPERIMENT}_landscape", title, full, shown, tuple(map(str, labels)))
