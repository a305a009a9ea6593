"""What the pointer is told over a figure: the numbers of its points, and where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

# Places of a picture are in ten-thousandths of its width and height.
_WHOLE = 10_000
# Of a line of more points about so many are told: no pointer tells closer ones apart.
_MOST = 400


@dataclass(frozen=True, eq=False)
class Trace:
    """Points of a panel that have something to tell.

    Attributes:
      axes: the panel.
      name: of the line; "" where there is one.
      x, y: where points stand on the axes, `[points]`.
      across, up: what stands there, a text each.
      labels: what `across` and `up` are; of a label "" nothing is told.
    """

    axes: Axes
    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    across: Sequence[str]
    up: Sequence[str]
    labels: tuple[str, str]


def cells(
    axes: Axes, x: npt.ArrayLike, y: npt.ArrayLike, values: Iterable[float], label: str
) -> Trace:
    """Of cells or contours, the values themselves; what they are of says the label."""
    texts = [f"{value:.4g}" for value in values]
    return Trace(axes, "", x, y, texts, [""] * len(texts), (label, ""))


def placed(figure: matplotlib.figure.Figure, traces: Iterable[Trace]) -> list[dict[str, Any]]:
    """Traces as JSON has them: name, labels, points [x, y, across, up] from the top left.

    Args:
      figure: drawn, so that its panels are where they stay.
      traces: of its panels; points without a place or outside of their panel are left out.
    """
    told = []
    for trace in traces:
        x, y = (np.asarray(side, float) for side in (trace.x, trace.y))
        inside = np.isfinite(x) & np.isfinite(y)
        pixels = trace.axes.transData.transform(np.column_stack([x, y])[inside])
        panel = trace.axes.bbox
        # A pixel of slack: what lies on an axis is there.
        seen = (pixels >= (panel.x0 - 1, panel.y0 - 1)).all(axis=1)
        seen &= (pixels <= (panel.x1 + 1, panel.y1 + 1)).all(axis=1)
        at = np.flatnonzero(inside)[seen]
        shares = pixels[seen] / (figure.bbox.width, figure.bbox.height)
        spots = np.rint(_WHOLE * np.column_stack([shares[:, 0], 1 - shares[:, 1]])).astype(int)
        points = [
            [int(left), int(top), trace.across[n], trace.up[n]]
            for n, (left, top) in zip(at, spots, strict=True)
        ]
        if points:
            labels = [" ".join(label.split()) for label in trace.labels]
            step = -(-len(points) // _MOST) if labels[1] else 1
            told.append({"name": trace.name, "labels": labels, "points": points[::step]})
    return told
