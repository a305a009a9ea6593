"""Figures of loss landscapes: straight paths, 1-D curves and 2-D surfaces around minima."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune import store
from tfprune.report import style
from tfprune.results import branches, figures

_SPLITS: tuple[tuple[str, Any], ...] = (("train", "-"), ("test", "--"))
_PANEL_WIDTH, _PANEL_HEIGHT = 2.6, 2.7
# Contours of a surface: geometric from its lowest point, so that a flat minimum shows its shape.
_CONTOURS = 14


def interpolation(output_dir: epath.PathLike, pairs: Sequence[branches.Pair]) -> Figure | None:
    """Loss and accuracy from sparse (α = 0) to re-dense (α = 1) solutions (SDD figures 5, 14).

    A row per pair, a panel per sampled level, mean ± std over seeds; loss in blue on the left
    axis, accuracy in red on the right, train solid, test dashed. None where no row has its file.

    Raises:
      InputError: a file is damaged.
    """
    rows = {pair.name: _paths(output_dir, pair) for pair in pairs}
    rows = {name: panels for name, panels in rows.items() if panels}
    if not rows:
        return None
    columns = max(map(len, rows.values()))
    several = False
    with style.house_style():
        figure = _grid_figure(len(rows), columns)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, panels) in zip(grid, rows.items(), strict=True):
            _hide(line[len(panels) :])
            for axes, (sample, table, seeds) in zip(line, panels, strict=False):
                right = _draw_path(axes, table)
                axes.set_title(_title(sample), loc="center")
                axes.set_ylabel("Loss (nats)" if axes is line[0] else "")
                last = axes is line[len(panels) - 1]
                right.set_ylabel("Accuracy (%)" if last else "")
                right.tick_params(labelright=bool(last))
                several |= seeds > 1
            _name_row(figure, line[0], name, len(rows))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=color, linestyle=linestyle, label=f"{what}, {split}")
            for color, what in ((style.BLUE, "loss"), (style.VERMILLION, "accuracy"))
            for split, linestyle in _SPLITS
        ]
        figures.legend_below(figure, handles + [figures.std_handle(style.BLACK)] * several)
    return figure


def _paths(
    output_dir: epath.PathLike, pair: branches.Pair
) -> list[tuple[figures.Sample, pd.DataFrame, int]]:
    found = []
    for sample in pair.samples():
        rows = pair.rows[pair.rows["level"] == sample.level]
        tables = store.read_measurements(
            output_dir, rows, "interpolation", store.INTERPOLATION_COLUMNS
        )
        if tables:
            found.append((sample, _mean_and_std(tables, ["alpha"]), len(tables)))
    return found


def _draw_path(axes: Axes, table: pd.DataFrame) -> Axes:
    right = style.two_axes(axes, style.BLUE, style.VERMILLION)
    x = table.index.to_numpy(float)
    for split, linestyle in _SPLITS:
        figures.band(axes, x, table, f"{split}_loss", style.BLUE, linestyle, scale=1)
        figures.band(right, x, table, f"{split}_accuracy", style.VERMILLION, linestyle)
    right.set_ylim(-3, 103)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_xticks([0, 0.5, 1], ["0\nsparse", "0.5", "1\nre-dense"])
    axes.set_xlabel("α")
    return right


def lines(output_dir: epath.PathLike, pairs: Sequence[branches.Pair]) -> Figure | None:
    """Train loss along filter-normalized directions around re-dense minima (SDD figure 6).

    A row per pair: on the left a curve per sparsity before the masks were lifted, and the dense
    network trained from scratch, mean ± std over directions and seeds; on the right sharpness
    against that sparsity, mean ± std over seeds. None where no row has its file.

    Raises:
      InputError: a file is damaged.
    """
    rows = {}
    for pair in pairs:
        found = _lines(output_dir, pair)
        if found:
            rows[pair.name] = (pair, found)
    if not rows:
        return None
    with style.house_style():
        figure = style.new_figure(11, 3.7 * len(rows))
        grid = figure.subplots(len(rows), 2, squeeze=False, width_ratios=[1.25, 1])
        for (left, right), (name, (pair, curves)) in zip(grid, rows.items(), strict=True):
            for label, color, linestyle, table in curves:
                x = table.index.to_numpy(float)
                figures.band(left, x, table, "train_loss", color, linestyle, scale=1)
                left.plot([], [], color=color, linestyle=linestyle, label=label)
            left.set_xlabel("Distance along a filter-normalized direction (filter norms)")
            left.set_ylabel("Train loss (nats)")
            left.set_ylim(bottom=0)
            title = f"{name}\nmean ± std over directions and seeds"
            left.set_title("\n".join(style.wrapped(part, 60) for part in title.split("\n")))
            left.legend(title="Re-dense from", loc="upper center")
            _draw_sharpness(right, pair)
    return figure


_Curves = list[tuple[str, str, str, pd.DataFrame]]


def _lines(output_dir: epath.PathLike, pair: branches.Pair) -> _Curves:
    """(label, colour, line style, means over directions and seeds), sparsest last."""
    found: _Curves = []
    samples = pair.samples()
    colors = style.sequence_colors(len(samples))
    for sample, color in zip(samples, colors, strict=True):
        rows = pair.rows[pair.rows["level"] == sample.level]
        tables = store.read_measurements(output_dir, rows, "line", store.LINE_COLUMNS)
        if tables:
            found.append((sample.percent, color, "-", _mean_and_std(tables, ["distance"])))
    dense = store.read_measurements(
        output_dir, pair.trunk[pair.trunk["level"] == 0], "line", store.LINE_COLUMNS
    )
    if found and dense:
        table = _mean_and_std(dense, ["distance"])
        found.insert(0, ("dense, from scratch", style.BLACK, "--", table))
    return found


def _draw_sharpness(axes: Axes, pair: branches.Pair) -> None:
    table = sharpness(pair.rows)
    x = style.sparsity_position(table["weights_remaining"])
    axes.errorbar(
        x,
        table["sharpness_mean"],
        table["sharpness_std"].fillna(0),
        color=style.BLUE,
        marker="o",
        capsize=3,
        label="re-dense",
    )
    scratch = from_scratch(pair)
    if len(scratch):
        axes.axhline(scratch.mean(), color=style.BLACK, linestyle="--", label="dense, from scratch")
        std = scratch.std(ddof=1) if len(scratch) > 1 else 0
        low, high = scratch.mean() - std, scratch.mean() + std
        axes.axhspan(low, high, color=style.BLACK, alpha=0.12, linewidth=0)
    style.sparsity_axis(axes, table["weights_remaining"])
    axes.set_xlabel("Sparsity before the masks were lifted (%)")
    axes.set_ylabel("Sharpness (nats)")
    axes.set_ylim(bottom=0)
    axes.set_title("Rise of the train loss at distance 1\nmean ± std over seeds")
    axes.legend()


def sharpness(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and std over seeds of the sharpness of a branch, by level.

    Returns:
      A table indexed by level: sparsity, weights_remaining, sharpness_mean, sharpness_std, n.
    """
    rows = rows[rows["sharpness"].notna()] if "sharpness" in rows else rows.iloc[:0]
    if rows.empty:
        columns = ["sparsity", "weights_remaining", "sharpness_mean", "sharpness_std", "n"]
        return pd.DataFrame(columns=columns, dtype=float)
    groups = rows.groupby("level")
    table: pd.DataFrame = groups[["sparsity", "weights_remaining"]].mean()
    table["sharpness_mean"] = groups["sharpness"].mean()
    table["sharpness_std"] = groups["sharpness"].std(ddof=1)
    table["n"] = groups["sharpness"].count()
    return table


def from_scratch(pair: branches.Pair) -> pd.Series:
    """The sharpness of the dense network trained from scratch, a value per seed."""
    if "sharpness" not in pair.trunk:
        return pd.Series(dtype=float)
    return pair.trunk.loc[pair.trunk["level"] == 0, "sharpness"].dropna().astype(float)


def surfaces(output_dir: epath.PathLike, pairs: Sequence[branches.Pair]) -> Figure | None:
    """Contours of the train loss on two filter-normalized directions around re-dense minima.

    A row per pair, a panel per sampled level, all panels with one scale of geometric contours,
    for the first seed that has a surface: directions of other seeds are others. None where no
    row has its file.

    Raises:
      InputError: a file is damaged.
    """
    rows = {pair.name: _surfaces(output_dir, pair) for pair in pairs}
    rows = {name: panels for name, panels in rows.items() if panels}
    if not rows:
        return None
    columns = max(map(len, rows.values()))
    everything = [table for panels in rows.values() for _, table in panels]
    levels = _contours(everything)
    with style.house_style():
        figure = style.new_figure(max(2.7 * columns + 1.2, 5), 3.1 * len(rows))
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, panels) in zip(grid, rows.items(), strict=True):
            _hide(line[len(panels) :])
            for axes, (title, table) in zip(line, panels, strict=False):
                z = table.pivot(index="y", columns="x", values="train_loss")
                drawn = axes.contourf(
                    z.columns,
                    z.index,
                    z,
                    levels,
                    norm=LogNorm(levels[0], levels[-1]),
                    cmap="viridis",
                    extend="both",
                )
                axes.contour(z.columns, z.index, z, levels, colors="white", linewidths=0.4)
                axes.plot(0, 0, marker="+", color=style.BLACK, markersize=8)
                axes.set_aspect("equal")
                axes.grid(False)
                axes.set_title(title, loc="center")
                axes.set_xlabel("First direction (filter norms)")
            line[0].set_ylabel("Second direction\n(filter norms)")
            _name_row(figure, line[0], name, len(rows))
        bar = figure.colorbar(drawn, ax=grid, label="Train loss (nats)", shrink=0.9)
        bar.ax.set_yticks(levels[::3], [f"{level:.3g}" for level in levels[::3]])
    return figure


def edge_rises(output_dir: epath.PathLike, pair: branches.Pair) -> dict[str, float]:
    """Mean train loss along the edge of every surface of `surfaces`, minus that at its minimum.

    Returns:
      Nats, by what the panel is called: "re-dense from 36.0% (seed 0)".

    Raises:
      InputError: a file is damaged.
    """
    return {
        f"{' ('.join(title.splitlines())})": edge_rise(table)
        for title, table in _surfaces(output_dir, pair)
    }


def edge_rise(surface: pd.DataFrame) -> float:
    """Mean train loss along the edge of a surface, minus that at its centre, nats.

    Args:
      surface: a table of `store.SURFACE_COLUMNS`, on a grid around 0.
    """
    x, y = surface["x"].abs(), surface["y"].abs()
    edge = np.isclose(x, x.max()) | np.isclose(y, y.max())
    loss = surface["train_loss"].to_numpy(float)
    return float(loss[edge].mean() - loss[(x + y).to_numpy().argmin()])


def _surfaces(output_dir: epath.PathLike, pair: branches.Pair) -> list[tuple[str, pd.DataFrame]]:
    found = []
    dense = pair.trunk[pair.trunk["level"] == 0].sort_values("seed")
    for seed, table in _first_surface(output_dir, dense):
        found.append((f"dense, from scratch\nseed {seed}", table))
    for sample in pair.samples():
        rows = pair.rows[pair.rows["level"] == sample.level].sort_values("seed")
        for seed, table in _first_surface(output_dir, rows):
            found.append((f"re-dense from {sample.percent}\nseed {seed}", table))
    return found


def _first_surface(
    output_dir: epath.PathLike, rows: pd.DataFrame
) -> Iterable[tuple[int, pd.DataFrame]]:
    for index in range(len(rows)):
        one = rows.iloc[index : index + 1]
        for table in store.read_measurements(output_dir, one, "surface", store.SURFACE_COLUMNS):
            return [(int(one["seed"].iloc[0]), table)]
    return []


def _contours(tables: Iterable[pd.DataFrame]) -> np.ndarray:
    losses = np.concatenate([table["train_loss"].to_numpy(float) for table in tables])
    losses = losses[np.isfinite(losses) & (losses > 0)]
    low, high = (losses.min(), losses.max()) if losses.size else (0.1, 1.0)
    # Losses near zero would spend every contour on the bottom of the bowl.
    low = max(low, high / 1000)
    return np.geomspace(low, max(high, 1.001 * low), _CONTOURS)


def _mean_and_std(tables: Sequence[pd.DataFrame], index: list[str]) -> pd.DataFrame:
    """COLUMN_mean and COLUMN_std over all rows of one place on the axis."""
    joined = pd.concat(tables)
    # Different seeds may differ in the last bit of what is one place.
    joined[index] = joined[index].round(9)
    groups = joined.groupby(index[0])
    return groups.mean().add_suffix("_mean").join(groups.std(ddof=1).add_suffix("_std"))


def _grid_figure(rows: int, columns: int) -> Figure:
    return style.new_figure(max(_PANEL_WIDTH * columns, 6), _PANEL_HEIGHT * rows + 0.6)


def _hide(axes: Iterable[Axes]) -> None:
    for panel in axes:
        panel.set_axis_off()


def _title(sample: figures.Sample) -> str:
    return f"{sample.role_name}\nsparsity {sample.percent}".strip()


def _name_row(figure: Figure, first: Axes, name: str, rows: int) -> None:
    """Says which trial a row of panels is of."""
    if rows == 1:
        figure.suptitle(name, fontsize=10.5)
    else:
        text = f"{style.wrapped(name, 26)}\n\n{first.get_ylabel()}"
        first.set_ylabel(text, color=style.BLACK)
