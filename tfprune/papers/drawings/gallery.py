"""Images in rows under headings, each with its label and a prediction (PEG figure 16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfprune.report import style

_IN_A_ROW = 10
# The longest class names of which a label and a prediction stand in one line above an image, and
# the most characters of a name that has a line of its own.
_SHORT, _LONGEST = 2, 13


def draw(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], class_names: Sequence[str]
) -> Figure | None:
    """The images of every part, ten in a row, with label L and prediction P, red where not L.

    Args:
      parts: heading -> images, uint8 [n, H, W, C]; labels [n]; predictions [n].
      class_names: what classes are called, by number; their numbers if empty.

    Returns:
      The figure; None without parts.
    """
    if not parts:
        return None
    lines = [-(-len(labels) // _IN_A_ROW) for _, labels, _ in parts.values()]
    one_line = all(len(name) <= _SHORT for name in class_names)
    with style.house_style():
        figure = style.new_figure(10, (1.2 if one_line else 1.35) * sum(lines) + 0.4 * len(lines))
        places = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=lines).flatten()
        for place, (heading, part), rows in zip(places, parts.items(), lines, strict=True):
            place.suptitle(heading, x=0.01, ha="left", fontsize=10.5)
            panels = place.subplots(rows, _IN_A_ROW, squeeze=False).flatten()
            for axes in panels:
                axes.set_axis_off()
            for axes, image, *classes in zip(panels, *part, strict=False):
                names = [class_names[n] if class_names else str(n) for n in classes]
                _draw_image(axes, image, names, one_line)
    return figure


def _draw_image(axes: Axes, image: np.ndarray, names: Sequence[str], one_line: bool) -> None:
    gray = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if gray else image, cmap="gray" if gray else None, vmin=0, vmax=255
    )  # Without the bounds each gray image would be stretched to its own range.
    title = ("  " if one_line else "\n").join(
        f"{letter} {name if len(name) <= _LONGEST else name[: _LONGEST - 1] + '…'}"
        for letter, name in zip("LP", names, strict=True)
    )
    color = style.BLACK if names[0] == names[1] else style.VERMILLION
    axes.set_title(title, loc="center", fontsize=9 if one_line else 8, color=color, pad=3)
