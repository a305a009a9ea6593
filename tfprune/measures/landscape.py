"""Loss landscapes: between two solutions, and around one along filter-normalized directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tfprune.backend import keras
from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.measures.evaluation import Evaluator, Examples, Loss, Metrics, evaluator_of
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays, masks_by_variable, read_weights, summed_axes
from tfprune.seeds import Stream, generator

BATCH_NORM = ("interpolated", "reestimated")


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The segment between two solutions, P points.

    Attributes:
      alphas: float64 [P], rising from 0 (the start) to 1 (the end).
      loss: split -> float64 [P], nats.
      accuracy: split -> float64 [P], in [0, 1].
    """

    alphas: np.ndarray
    loss: Mapping[str, np.ndarray]
    accuracy: Mapping[str, np.ndarray]

    def largest_rise(self, split: str) -> float:
        """How far the loss climbs on the way, in nats: max over α ≤ β of L(β) − L(α).

        0 exactly when the loss never rises, so that the end is reached downhill (SDD 5).
        """
        loss = self.loss[split]
        return float(np.max(loss - np.minimum.accumulate(loss)))

    def is_monotonically_decreasing(self, split: str, tolerance: float = 0.0) -> bool:
        """Whether the loss never climbs more than `tolerance` nats above its lowest value so far.

        Small rises that add up count as one. A loss that is NaN anywhere is not decreasing.
        """
        return bool(self.largest_rise(split) <= tolerance)

    def barrier_height(self, split: str) -> float:
        """max over α of L(α) − [(1 − α) L(0) + α L(1)], in nats; never below 0.

        Entezari et al. 2022, definition 3.1; with ends of equal loss it is the barrier of Frankle
        et al. 2020, max L − (L(0) + L(1)) / 2. The latter is positive for every path between ends
        of unequal loss, such as a sparse and a re-dense solution, even a straight descent. A path
        that decreases but lies above its chord still has a barrier here: whether the loss ever
        rises is for `largest_rise` to say.
        """
        loss = self.loss[split]
        chord = (1 - self.alphas) * loss[0] + self.alphas * loss[-1]
        return float(np.max(loss - chord))


@dataclass(frozen=True, eq=False)
class Line:
    """The loss along M directions at D distances from the same centre.

    Attributes:
      distances: float64 [D], in units of the direction: 1 moves each filter by its own norm.
      loss: split -> float64 [M, D], nats.
      accuracy: split -> float64 [M, D], in [0, 1].
    """

    distances: np.ndarray
    loss: Mapping[str, np.ndarray]
    accuracy: Mapping[str, np.ndarray]

    def mean(self, split: str) -> np.ndarray:
        """The loss at each distance, mean over directions, float64 [D]."""
        return self.loss[split].mean(axis=0)

    def std(self, split: str) -> np.ndarray:
        """Its standard deviation over directions (ddof 1), float64 [D]; NaN for one direction."""
        losses = self.loss[split]
        if len(losses) == 1:
            return np.full(losses.shape[1], np.nan)
        return losses.std(axis=0, ddof=1)

    def sharpness(self, split: str, at: float = 1.0) -> float:
        """The mean rise of the loss at this distance, in nats; higher is sharper.

        mean over directions d of [L(θ + at·d) + L(θ − at·d)] / 2 − L(θ). Both sides together
        cancel the slope; for a quadratic loss with Hessian H it is at²/2 · mean dᵀHd.

        Raises:
          SettingError: `at`, −`at` or 0 is not among the distances.
        """
        ahead, behind, centre = (self._index(value, at) for value in (at, -at, 0.0))
        losses = self.loss[split]
        rises = (losses[:, ahead] + losses[:, behind]) / 2 - losses[:, centre]
        return float(rises.mean())

    def _index(self, distance: float, at: float) -> int:
        matches = np.flatnonzero(np.isclose(self.distances, distance, rtol=0, atol=1e-9))
        if not len(matches):
            raise SettingError("at", at, "one of the distances, whose opposite and 0 are others")
        return int(matches[0])


@dataclass(frozen=True, eq=False)
class Surface:
    """The loss on a grid θ + x·first + y·second of X by Y points.

    Attributes:
      x: float64 [X], distances along the first direction.
      y: float64 [Y], along the second.
      loss: split -> float64 [Y, X], nats; rows are y, as contour plots take it.
      accuracy: split -> float64 [Y, X], in [0, 1].
    """

    x: np.ndarray
    y: np.ndarray
    loss: Mapping[str, np.ndarray]
    accuracy: Mapping[str, np.ndarray]


def alpha_grid(step: float = 0.01) -> np.ndarray:
    """0, step, 2 step, ..., 1, both ends exact (SDD 3.3: by 0.01).

    Returns:
      float64 [1 / step + 1].

    Raises:
      SettingError: 1 is not a whole number of steps.
    """
    if not 0 < step <= 1 or abs(1 / step - round(1 / step)) > 1e-9 / step:
        raise SettingError("step", step, "a step that divides 1, such as 0.01 or 0.25")
    return np.linspace(0, 1, round(1 / step) + 1)


def distance_grid(points: int = 51) -> np.ndarray:
    """Evenly spaced distances from −1 to 1, float64 [points]; 0 is one if `points` is odd."""
    return np.linspace(-1, 1, points)


def interpolate(
    model: keras.Model | Evaluator,
    start: Mapping[str, np.ndarray],
    end: Mapping[str, np.ndarray],
    splits: Mapping[str, Examples],
    alphas: ArrayLike | None = None,
    batch_norm: str = "interpolated",
    reestimation_split: str = "train",
    loss: Loss | None = None,
    jit: bool | None = None,
) -> Interpolation:
    """Loss and accuracy at θ(α) = (1 − α) start + α end (SDD 3.3, figures 5 and 14).

    Masks play no part: the path from a sparse to a re-dense solution leaves the sparse subspace.
    The model is not touched.

    Re-estimated batch norm, as in stochastic weight averaging (Izmailov et al. 2018): at each
    point one pass over `reestimation_split`, in batches of equal size in one fixed random order,
    every layer normalizing by the batch's own statistics, dropout off. A layer's moving mean and
    variance become those of its inputs over the whole pass: the variance is the biased one and
    includes the spread between batches, which averaging the batches' variances would lose. It
    holds at α = 0 and 1 too, whose losses then differ from the two models' own.

    Args:
      model: the network, or an `Evaluator` of it, to share one compiled program among calls.
      start: weights by name, as `tfprune.pruning.weights.read_weights` gives.
      end: likewise.
      splits: what to evaluate on, by name.
      alphas: [P], rising from 0 to 1; `alpha_grid()`, 101 points, if None.
      batch_norm: `interpolated`, moving statistics are on the segment like every weight, or
        `reestimated`.
      reestimation_split: the name in `splits` of what re-estimation runs over.
      loss: see `Evaluator`.
      jit: see `Evaluator`.

    Raises:
      InputError: the weights are of another network, alphas do not rise from 0 to 1, or the
        model cannot be measured.
      SettingError: unknown `batch_norm` or `reestimation_split`.

    Example:
      >>> data = {"train": Examples(images, labels)}  # doctest: +SKIP
      >>> path = interpolate(model, sparse, redense, data)  # doctest: +SKIP
      >>> path.is_monotonically_decreasing("train")  # doctest: +SKIP
      True
    """
    points = _increasing(alpha_grid() if alphas is None else alphas, "alphas")
    if len(points) < 2 or points[0] != 0 or points[-1] != 1:
        raise InputError("alphas must rise from 0 to 1: make them with alpha_grid(step)")
    if batch_norm not in BATCH_NORM:
        raise unknown_name("batch_norm", batch_norm, BATCH_NORM)
    metrics = evaluator_of(model, loss, jit).at_points(
        [start, end],
        np.stack([1 - points, points], axis=1),
        splits,
        reestimation_split if batch_norm == "reestimated" else None,
    )
    return Interpolation(points, *_by_metric(metrics))


def filter_normalized_direction(
    model: keras.Model,
    rng: np.random.Generator,
    masks: Masks | None = None,
) -> Arrays:
    """A Gaussian direction, each filter scaled to the norm of the network's own (Li et al. 2018).

    d_f ← ‖w_f‖ d_f / ‖d_f‖ for every filter f: the weights of one output channel of a
    convolution [kh, kw, in, out] or one output unit of a dense kernel [in, out], in general one
    index of the axes that `tfprune.models.kernel_table` calls outputs. Variables that are not
    kernels (biases, batch-norm parameters and statistics) get zero, as do filters of norm zero.

    Args:
      model: any built model, with the weights whose filters give the norms.
      rng: draws variables in the order of their names; masks change no draw.
      masks: restricts the direction to these unpruned coordinates, before it is normalized.
        Layers without a mask are not restricted.

    Returns:
      Arrays of the names, shapes and dtypes of the weights.

    Raises:
      InputError: a mask belongs to no kernel of the network.
    """
    weights, axes = read_weights(model), summed_axes(model)
    kept = masks_by_variable(weights, masks) if masks is not None else {}
    direction = {}
    for name in sorted(weights):
        weight = weights[name]
        if name in axes:
            draw = rng.standard_normal(weight.shape) * kept.get(name, 1.0)
            direction[name] = _filter_normalized(draw, weight, axes[name])
        else:
            direction[name] = np.zeros_like(weight)
    return {name: direction[name] for name in weights}


def random_directions(
    model: keras.Model,
    directions: int,
    seed: int,
    level: int = 0,
    masks: Masks | None = None,
) -> list[Arrays]:
    """So many filter-normalized directions; the k-th depends on seed, level and k alone.

    Raises:
      SettingError: `directions` is below 1.
      InputError: as `filter_normalized_direction`.
    """
    if directions < 1:
        raise SettingError("directions", directions, "at least 1")
    return [
        filter_normalized_direction(model, generator(seed, Stream.MEASURE, level, index), masks)
        for index in range(directions)
    ]


def line(
    model: keras.Model | Evaluator,
    directions: Sequence[Mapping[str, np.ndarray]],
    splits: Mapping[str, Examples],
    distances: ArrayLike | None = None,
    loss: Loss | None = None,
    jit: bool | None = None,
) -> Line:
    """Loss and accuracy at θ + t·d for each direction d and distance t (SDD 3.3, figure 6).

    θ are the model's current weights; the model is not touched. Masks play no part: restrict the
    directions with `masks` to stay in the sparse subspace.

    Args:
      model: the network, or an `Evaluator` of it.
      directions: M sets of arrays, as `filter_normalized_direction` gives.
      splits: what to evaluate on, by name.
      distances: increasing [D]; `distance_grid()`, 51 points from −1 to 1, if None.
      loss: see `Evaluator`.
      jit: see `Evaluator`.

    Raises:
      SettingError: there are no directions.
      InputError: the directions are of another network, or the model cannot be measured.
    """
    if len(directions) < 1:
        raise SettingError("directions", len(directions), "at least 1")
    points = _increasing(distance_grid() if distances is None else distances, "distances")
    evaluator = evaluator_of(model, loss, jit)
    centre = read_weights(evaluator.model)
    coefficients = np.stack([np.ones_like(points), points], axis=1)
    # A direction at a time: the program is the same, and only one direction is on the device.
    found = [evaluator.at_points([centre, d], coefficients, splits) for d in directions]
    stacked = {
        split: Metrics(
            np.stack([metrics[split].loss for metrics in found]),
            np.stack([metrics[split].accuracy for metrics in found]),
        )
        for split in splits
    }
    return Line(points, *_by_metric(stacked))


def surface(
    model: keras.Model | Evaluator,
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    splits: Mapping[str, Examples],
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    loss: Loss | None = None,
    jit: bool | None = None,
) -> Surface:
    """Loss and accuracy on the grid θ + x·first + y·second (Li et al. 2018).

    As Li et al. do, the second direction is not made orthogonal to the first: random directions
    of many coordinates nearly are, and it would undo their normalization.

    Args:
      model: the network, or an `Evaluator` of it; θ are its current weights.
      first: as `filter_normalized_direction` gives.
      second: likewise.
      splits: what to evaluate on, by name.
      x: increasing [X], distances along `first`; 51 from −1 to 1 if None.
      y: increasing [Y], along `second`; as `x`.
      loss: see `Evaluator`.
      jit: see `Evaluator`.

    Raises:
      InputError: the directions are of another network, or the model cannot be measured.
    """
    columns = _increasing(distance_grid() if x is None else x, "x")
    rows = _increasing(distance_grid() if y is None else y, "y")
    across, down = (grid.ravel() for grid in np.meshgrid(columns, rows))
    evaluator = evaluator_of(model, loss, jit)
    metrics = evaluator.at_points(
        [read_weights(evaluator.model), first, second],
        np.stack([np.ones_like(across), across, down], axis=1),
        splits,
    )
    shape = (len(rows), len(columns))
    grids = {
        split: Metrics(*(values.reshape(shape) for values in found))
        for split, found in metrics.items()
    }
    return Surface(columns, rows, *_by_metric(grids))


def _increasing(values: ArrayLike, name: str) -> np.ndarray:
    points = np.array(values, np.float64)
    if points.ndim != 1 or not len(points) or not np.all(np.isfinite(points)):
        raise InputError(f"{name} must be a list of numbers, at least one")
    if np.any(np.diff(points) <= 0):
        raise InputError(f"{name} must increase from each point to the next")
    return points


def _by_metric(
    metrics: Mapping[str, Metrics],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Losses and accuracies by split."""
    return (
        {split: values.loss for split, values in metrics.items()},
        {split: values.accuracy for split, values in metrics.items()},
    )


def _filter_normalized(draw: np.ndarray, weight: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    norms = np.sqrt(np.sum(np.square(draw), axis=axes, keepdims=True))
    wanted = np.sqrt(np.sum(np.square(weight.astype(np.float64)), axis=axes, keepdims=True))
    # A filter without a coordinate left has no direction, and needs none.
    scale = np.divide(wanted, norms, out=np.zeros_like(wanted), where=norms > 0)
    return (draw * scale).astype(weight.dtype)
