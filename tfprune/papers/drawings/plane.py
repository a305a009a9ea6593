"""Accuracy on a plane through three networks, and the training seen from it (PM figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tfprune.report import style
from tfprune.report.grammar import Legend
from tfprune.report.pointer import cells

_MARKS = {
    "W*": ("*", 15, "pretrained, W*"),
    "Wp": ("v", 9, "pruned, Wp"),
    "Wr": ("o", 8, "retrained, Wr"),
}


@dataclass(frozen=True)
class Plane:
    """A heat map from 0 to 100%, with its three networks and the path of the training so far.

    There is one row, as of `tfprune.papers.pm.planes.surfaces`. Both axes are lengths in weight
    space; each has its own scale, since Wr is often near Wp.

    Attributes:
      x: label.
      y: label.
    """

    x: str = "Distance from W* towards Wp"
    y: str = "Distance across, towards Wr"

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        (surface,) = rows.to_dict("records")
        accuracy = 100 * surface["grid"]
        x, y = np.meshgrid(accuracy.columns, accuracy.index)
        axes.pcolormesh(x, y, accuracy, shading="nearest", cmap="viridis", vmin=0, vmax=100)
        values = accuracy.to_numpy().ravel()
        legend.traces.append(cells(axes, x.ravel(), y.ravel(), values, "Train accuracy (%)"))
        limits = axes.get_xlim(), axes.get_ylim()
        if len(surface["path"]):
            axes.plot(*surface["path"].T, color="white", linewidth=2.6)
            (path,) = axes.plot(
                *surface["path"].T, color=style.BLACK, linewidth=1.1, marker=".",
                label="cycles so far, projected",
            )  # fmt: skip
            legend.add(1, path)
        for name, (marker, size, label) in _MARKS.items():
            (point,) = axes.plot(
                *surface["points"][name], marker=marker, markersize=size, color=style.BLACK,
                markerfacecolor="white", markeredgewidth=1.1, linestyle="", zorder=5, label=label,
            )  # fmt: skip
            legend.add(0, point)
        axes.set(xlim=limits[0], ylim=limits[1], xlabel=self.x, ylabel=self.y)
        axes.grid(False)
