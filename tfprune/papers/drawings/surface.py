"""Contours of a loss on a plane around a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from tfprune.report import style
from tfprune.report.grammar import Axis, Legend
from tfprune.report.pointer import cells

# Geometric from the lowest point on, so that a flat minimum shows its shape.
_CONTOURS = 14


@dataclass(frozen=True)
class Contours:
    """Contours of a positive quantity, all panels with one scale; a cross at the minimum."""

    x: Axis
    y: Axis
    of: str
    label: str

    def draw(self, axes: Axes, rows: pd.DataFrame, known: pd.DataFrame, legend: Legend) -> None:
        levels = contours(known[self.of])
        z = rows.pivot_table(index=self.y.column, columns=self.x.column, values=self.of)
        norm = LogNorm(levels[0], levels[-1])
        axes.contourf(z.columns, z.index, z, levels, norm=norm, cmap="viridis", extend="both")
        axes.contour(z.columns, z.index, z, levels, colors="white", linewidths=0.4)
        legend.traces.append(
            cells(axes, rows[self.x.column], rows[self.y.column], rows[self.of], self.label)
        )
        axes.plot(0, 0, marker="+", color=style.BLACK, markersize=8)
        axes.set_aspect("equal")
        axes.grid(False)
        axes.set_xlabel(self.x.label)
        axes.set_ylabel(self.y.label)


def contours(losses: pd.Series) -> np.ndarray:
    """Where contours stand, increasing; losses near zero would spend all at the bottom."""
    there = losses[np.isfinite(losses) & (losses > 0)]
    low, high = (there.min(), there.max()) if len(there) else (0.1, 1.0)
    low = max(low, high / 1000)
    return np.geomspace(low, max(high, 1.001 * low), _CONTOURS)
