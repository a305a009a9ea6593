"""What figures of experiments share that are not declared yet: lines in bands, and legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfprune.report import style
from tfprune.report.experiment import Drawn

FigureInfo = Drawn
# (name, title, reading, where the paper shows it, the figure or None if there are no data for it)
Drawing = tuple[str, str, str, str, Figure | None]


def save_all(
    output_dir: epath.PathLike, experiment: str, drawn: Iterable[Drawing]
) -> list[FigureInfo]:
    """Writes figures/EXPERIMENT_NAME.png for every drawing that there is.

    Raises:
      InputError: the folder cannot be written.
    """
    return [
        FigureInfo(
            style.save_figure(output_dir, f"{experiment}_{name}", figure), title, reading, paper
        )
        for name, title, reading, paper, figure in drawn
        if figure is not None
    ]


def band(
    axes: Axes,
    x: np.ndarray,
    series: pd.DataFrame,
    column: str,
    color: str,
    linestyle: str,
    marker: str = "",
    scale: float = 100,
) -> None:
    """A line of means, shaded by ± std; without a std (one seed) the line alone.

    Args:
      axes: where to.
      x: `[points]`.
      series: has COLUMN_mean and COLUMN_std, a row per point.
      column: what is drawn.
      color: of line and shade.
      linestyle: as matplotlib's.
      marker: as matplotlib's; "" for none.
      scale: multiplies the values; 100 shows fractions in %.
    """
    mean = scale * series[f"{column}_mean"].to_numpy(float)
    std = scale * series[f"{column}_std"].fillna(0).to_numpy(float)
    axes.plot(x, mean, color=color, linestyle=linestyle, marker=marker)
    axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.18, linewidth=0)


def std_handle(color: str) -> Patch:
    """What a legend says of the shading."""
    return Patch(color=color, alpha=0.18, linewidth=0, label="± std over seeds")


def legend_below(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """One legend for all panels, in as few rows below them as the figure's width allows."""
    labels = [str(handle.get_label()) for handle in handles]
    columns = style.legend_columns(labels, figure.get_figwidth())
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def p_value(value: float) -> str:
    """A p-value in a sentence.

    Example:
      >>> [p_value(p) for p in (0.2345, 0.012, 0.00001)]
      ['p = 0.23', 'p = 0.012', 'p < 0.001']
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
