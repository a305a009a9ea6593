"""The plane through three networks: coordinates, distances, and loss and accuracy on a grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfprune.backend import keras
from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.measures.evaluation import Evaluator, Examples, Loss, evaluator_of
from tfprune.pruning.weights import Arrays, unlike

BATCH_NORM = ("reestimated", "interpolated")

# Three networks whose triangle is flatter than this, relative to its longest side, are on a line:
# float32 rounding would decide on the second axis.
_FLATTEST = 1e-5

# Read back from text, a coordinate is off by no more than its last printed digit.
_SAME_COORDINATE = 1e-6


class Projection(NamedTuple):
    """Where a network is, seen from a plane.

    Attributes:
      x: along the first axis, in units of the L2 norm of weights.
      y: along the second.
      distance: from the plane, in the same unit.
    """

    x: float
    y: float
    distance: float


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through three networks w1, w2 and w3 (PM 3, Garipov et al. 2018, section 3).

    Axes by Gram-Schmidt: û is the direction of w2 − w1, v̂ that of w3 − w1 without its part along
    û; a point is w1 + x·û + y·v̂. Make one with `Plane.through`.

    Attributes:
      anchors: the three networks' weights by name.
      names: the variables that are coordinates of the space; lengths are L2 norms over these.
      first_axis: û, float64 by name.
      second_axis: v̂, likewise.
      points: float64 [3, 2], the coordinates of the three: (0, 0), (a, 0) and (b, c), a, c > 0.
    """

    anchors: tuple[Mapping[str, np.ndarray], ...]
    names: tuple[str, ...]
    first_axis: Arrays
    second_axis: Arrays
    points: np.ndarray

    @classmethod
    def through(
        cls,
        first: Mapping[str, np.ndarray],
        second: Mapping[str, np.ndarray],
        third: Mapping[str, np.ndarray],
        names: Sequence[str] | None = None,
    ) -> Plane:
        """The plane through three networks built alike.

        Args:
          first: w1, by name as `read_weights` gives: the origin, W* in PM.
          second: w2, on the first axis.
          third: w3.
          names: which variables make up the space; `parameter_names(first)` if None, as Garipov
            et al. flatten all parameters. PM does not say.

        Raises:
          InputError: the networks differ in their variables, or lie on a line.
        """
        chosen = tuple(parameter_names(first) if names is None else names)
        for other in (second, third):
            _check_alike(first, other)
        across, along = (_difference(other, first, chosen) for other in (second, third))
        a = _norm(across)
        longest = max(a, _norm(along))
        if not a > _FLATTEST * longest:
            raise _on_a_line()
        u = _scaled(across, 1 / a)
        b = _dot(along, u)
        rest = _minus(along, u, b)
        c = _norm(rest)
        if not c > _FLATTEST * longest:
            raise _on_a_line()
        return cls(
            (first, second, third),
            chosen,
            u,
            _scaled(rest, 1 / c),
            np.array([[0.0, 0.0], [a, 0.0], [b, c]]),
        )

    @property
    def distances(self) -> tuple[float, float, float]:
        """‖w2 − w1‖, ‖w3 − w1‖ and ‖w3 − w2‖, as printed in PM figure 16."""
        first, second, third = self.points
        return math.dist(second, first), math.dist(third, first), math.dist(third, second)

    def project(self, weights: Mapping[str, np.ndarray]) -> Projection:
        """Coordinates of the nearest point of the plane, and the distance to it.

        Args:
          weights: of a network built alike, such as one of another pruning cycle.

        Raises:
          InputError: the network is another one.
        """
        _check_alike(self.anchors[0], weights)
        offset = _difference(weights, self.anchors[0], self.names)
        x = _dot(offset, self.first_axis)
        y = _dot(offset, self.second_axis)
        rest = _minus(_minus(offset, self.first_axis, x), self.second_axis, y)
        return Projection(x, y, _norm(rest))

    def coefficients(self, coordinates: ArrayLike) -> np.ndarray:
        """The affine combinations of the three networks at points of the plane.

        Args:
          coordinates: [P, 2].

        Returns:
          float64 [P, 3], rows of sum 1; exactly a unit vector at each of `points`.

        Raises:
          InputError: the coordinates are not pairs.
        """
        pairs = np.asarray(coordinates, np.float64)
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise InputError(f"coordinates must be pairs (x, y), not of shape {pairs.shape}")
        (a, _), (b, c) = self.points[1:]
        third = pairs[:, 1] / c
        second = (pairs[:, 0] - third * b) / a
        return np.stack([1 - second - third, second, third], axis=1)


def parameter_names(weights: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Kernels, biases and batch-norm γ and β: all numbers but moving statistics.

    Args:
      weights: by name, as `read_weights` gives.
    """
    return tuple(
        name
        for name, value in weights.items()
        if not name.rsplit("/", 1)[-1].startswith("moving_") and not _is_whole(value)
    )


def grid_axes(
    coordinates: ArrayLike, points: int = 15, margin: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced x and y around some points of a plane, such as `plane.points`.

    Args:
      coordinates: [P, 2], all of which the grid covers; add the trajectory to see it.
      points: of each axis. PM's axes end at 14, which is what 15 points would show.
      margin: how far the grid goes beyond the points on each side, as a fraction of their extent
        (Garipov et al.'s code: 0.2).

    Returns:
      x, y, float64 [points] each.

    Raises:
      SettingError: there are fewer than 2 points, or the margin is below 0.
      InputError: the coordinates all have the same x or y.
    """
    if points < 2:
        raise SettingError("points", points, "at least 2")
    if not margin >= 0:
        raise SettingError("margin", margin, "a number of at least 0")
    pairs = np.asarray(coordinates, np.float64)
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    if not np.all(high > low):
        raise InputError("points that differ in neither x nor y span no grid: give plane.points")
    start, stop = low - margin * (high - low), high + margin * (high - low)
    x, y = np.linspace(start, stop, points, axis=1)
    return x, y


@dataclass(frozen=True)
class Cell:
    """One measured point of a grid.

    Attributes:
      row: index of y.
      column: index of x.
      x: along the first axis.
      y: along the second.
      loss: split -> mean loss, nats.
      accuracy: split -> accuracy, in [0, 1].
    """

    row: int
    column: int
    x: float
    y: float
    loss: Mapping[str, float]
    accuracy: Mapping[str, float]

    def as_row(self) -> dict[str, Any]:
        """Plain numbers for a CSV: `row, column, x, y`, then `SPLIT_loss, SPLIT_accuracy`."""
        values: dict[str, Any] = {"row": self.row, "column": self.column, "x": self.x, "y": self.y}
        for split in self.loss:
            values[f"{split}_loss"] = self.loss[split]
            values[f"{split}_accuracy"] = self.accuracy[split]
        return values

    @classmethod
    def from_row(cls, values: Mapping[str, Any]) -> Cell:
        """What `as_row` was made of; the values may be text.

        Raises:
          InputError: a column is missing.
        """
        splits = [name.removesuffix("_loss") for name in values if str(name).endswith("_loss")]
        try:
            return cls(
                int(values["row"]),
                int(values["column"]),
                float(values["x"]),
                float(values["y"]),
                {split: float(values[f"{split}_loss"]) for split in splits},
                {split: float(values[f"{split}_accuracy"]) for split in splits},
            )
        except KeyError as error:
            raise InputError(f"a measured cell has no column {error}: delete its file") from error


def plane_grid(
    model: keras.Model | Evaluator,
    plane: Plane,
    splits: Mapping[str, Examples],
    x: ArrayLike,
    y: ArrayLike,
    *,
    measured: Iterable[Cell] = (),
    batch_norm: str = "reestimated",
    reestimation_split: str = "train",
    cells_at_once: int = 1,
    loss: Loss | None = None,
    jit: bool | None = None,
) -> Iterator[Cell]:
    """Loss and accuracy on a grid of the plane, cell by cell (PM figures 6 and 16).

    Yields the missing cells row by row as they are measured, so that the caller can append each
    to a file and, after an interruption, give them back as `measured`; no cell's value depends on
    which others are measured. At the coordinates of the three networks are the networks
    themselves. Masks play no part, and the model is not touched.

    Every variable is the affine combination of the three networks', those that are not in
    `plane.names` too. The moving statistics of batch norm are then replaced by those of
    `reestimation_split` (see `landscape.interpolate`), as Garipov et al. do, at the three networks
    too. `interpolated` keeps the combination: exact at the three, but beyond the triangle a moving
    variance can turn negative, and the loss into NaN.

    Args:
      model: a network built like the three, or an `Evaluator` of it.
      plane: through them.
      splits: what to evaluate on, by name.
      x: increasing [X], as `grid_axes` gives.
      y: increasing [Y].
      measured: cells that need not be measured again; they are not yielded.
      batch_norm: `reestimated` or `interpolated`.
      reestimation_split: the name in `splits` of what re-estimation runs over.
      cells_at_once: how many share a call of the program: more are faster for tiny networks.
      loss: see `Evaluator`.
      jit: likewise.

    Raises:
      InputError: the axes do not increase, a measured cell is of another grid or, at the first
        cell, the networks are not built like the model.
      SettingError: unknown `batch_norm` or `reestimation_split`, or `cells_at_once` below 1.
    """
    if batch_norm not in BATCH_NORM:
        raise unknown_name("batch_norm", batch_norm, BATCH_NORM)
    if reestimation_split not in splits and batch_norm == "reestimated":
        raise unknown_name("reestimation_split", reestimation_split, splits)
    if cells_at_once < 1:
        raise SettingError("cells_at_once", cells_at_once, "at least 1")
    columns, rows = _axis(x, "x"), _axis(y, "y")
    done = {_place(cell, columns, rows, splits) for cell in measured}
    missing = [place for place in np.ndindex(len(rows), len(columns)) if place not in done]
    return _cells(
        evaluator_of(model, loss, jit),
        plane,
        splits,
        [(row, column, columns[column], rows[row]) for row, column in missing],
        reestimation_split if batch_norm == "reestimated" else None,
        cells_at_once,
    )


def _cells(
    evaluator: Evaluator,
    plane: Plane,
    splits: Mapping[str, Examples],
    places: list[tuple[int, int, float, float]],
    reestimation_split: str | None,
    at_once: int,
) -> Iterator[Cell]:
    for first in range(0, len(places), at_once):
        chunk = places[first : first + at_once]
        # The last place fills up the last call, so that all calls share one program.
        filled = chunk + chunk[-1:] * (at_once - len(chunk))
        coefficients = plane.coefficients([(x, y) for *_, x, y in filled])
        found = evaluator.at_points(plane.anchors, coefficients, splits, reestimation_split)
        for index, (row, column, x, y) in enumerate(chunk):
            yield Cell(
                row,
                column,
                float(x),
                float(y),
                {split: float(metrics.loss[index]) for split, metrics in found.items()},
                {split: float(metrics.accuracy[index]) for split, metrics in found.items()},
            )


def _place(cell: Cell, x: np.ndarray, y: np.ndarray, splits: Iterable[str]) -> tuple[int, int]:
    """The cell's indices, if it is of this grid and these splits."""
    inside = 0 <= cell.row < len(y) and 0 <= cell.column < len(x)
    near = inside and np.allclose(
        [cell.x, cell.y],
        [x[cell.column], y[cell.row]],
        rtol=0,
        atol=_SAME_COORDINATE * max(np.ptp(x), np.ptp(y)),
    )
    if not near or set(cell.loss) != set(splits):
        raise InputError(
            f"the measured cell ({cell.row}, {cell.column}) is of another grid or other splits: "
            "delete the file it came from"
        )
    return cell.row, cell.column


def _axis(values: ArrayLike, name: str) -> np.ndarray:
    axis = np.array(values, np.float64)
    increases = axis.ndim == 1 and axis.size > 0 and np.isfinite(axis).all()
    if not increases or np.any(np.diff(axis) <= 0):
        raise InputError(f"{name} must be increasing numbers: make them with grid_axes")
    return axis


def _is_whole(value: np.ndarray) -> bool:
    return np.issubdtype(value.dtype, np.integer) or value.dtype == np.bool_


def _check_alike(weights: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    odd = unlike(weights, other)
    if odd:
        raise InputError(f"the networks of a plane must be built alike, and {odd} differ")


def _on_a_line() -> InputError:
    return InputError(
        "the three networks lie on a line, and no plane is the one through them: "
        "give three different ones, such as before pruning, after it, and retrained"
    )


def _difference(
    end: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray], names: Sequence[str]
) -> Arrays:
    return {name: end[name].astype(np.float64) - start[name].astype(np.float64) for name in names}


def _scaled(vector: Arrays, factor: float) -> Arrays:
    return {name: value * factor for name, value in vector.items()}


def _minus(vector: Arrays, axis: Arrays, length: float) -> Arrays:
    return {name: value - length * axis[name] for name, value in vector.items()}


def _dot(first: Arrays, second: Arrays) -> float:
    return math.fsum(float(np.sum(value * second[name])) for name, value in first.items())


def _norm(vector: Arrays) -> float:
    return math.sqrt(_dot(vector, vector))
