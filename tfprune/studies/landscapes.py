"""Loss landscapes of finished stages, as measurements kept beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune.errors import SettingError
from tfprune.files import write_text_atomic
from tfprune.studies.procedure import Measurement, Passes
from tfprune.studies.settings import LandscapeConfig
from tfprune.studies.trial import Row, Stage

if TYPE_CHECKING:
    from tfprune.data.prepare import PreparedData
    from tfprune.measures.evaluation import Examples
    from tfprune.pruning.masks import Masks
    from tfprune.studies.iterative import PruneRetrain


def interpolation(options: LandscapeConfig) -> Measurement:
    """The straight line from a sparse solution to its re-dense one (SDD 3.3, figures 5, 14)."""
    used = {
        "alpha_step": options.alpha_step,
        "interpolation_batch_norm": options.interpolation_batch_norm,
    }
    points = round(1 / options.alpha_step) + 1
    again = 1 + (options.interpolation_batch_norm == "reestimated")
    measure = partial(_measure_interpolation, options=options)
    passes = Passes(train=again * points, test=points)
    return Measurement("interpolation", used, measure, passes=passes)


def _measure_interpolation(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: LandscapeConfig
) -> Row:
    from tfprune.measures.landscape import alpha_grid, interpolate
    from tfprune.training.evaluating import evaluator

    found = interpolate(
        evaluator(loop.trainer),
        loop.trial.stage(stage.level).end(),
        stage.end(),
        splits(loop),
        alphas=alpha_grid(options.alpha_step),
        batch_norm=options.interpolation_batch_norm,
    )
    _write(table, {"alpha": found.alphas, **_columns(found.loss, found.accuracy)})
    return {
        "barrier_height": found.barrier_height("train"),
        "largest_rise": found.largest_rise("train"),
        "monotonic": int(found.is_monotonically_decreasing("train")),
    }


def line(options: LandscapeConfig) -> Measurement:
    """The loss along filter-normalized random directions (SDD 3.3, figure 6)."""
    used = {
        "directions": options.directions,
        "line_distance": options.line_distance,
        "line_points": options.line_points,
        "sparse_subspace": options.sparse_subspace,
    }
    points = options.directions * options.line_points
    measure = partial(_measure_line, options=options)
    return Measurement("line", used, measure, passes=Passes(train=points, test=points))


def _measure_line(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: LandscapeConfig
) -> Row:
    import numpy as np

    from tfprune.measures import landscape
    from tfprune.training.evaluating import evaluator

    masks = _load(loop, stage, options.sparse_subspace)
    directions = landscape.random_directions(
        loop.trainer.model, options.directions, stage.seed, stage.level, masks
    )
    distances = np.linspace(-options.line_distance, options.line_distance, options.line_points)
    found = landscape.line(evaluator(loop.trainer), directions, splits(loop), distances)
    count, points = len(directions), len(distances)
    columns = {
        "direction": np.repeat(np.arange(count), points),
        "distance": np.tile(distances, count),
        **_columns(found.loss, found.accuracy),
    }
    _write(table, columns)
    return {"sharpness": found.sharpness("train", at=options.line_distance)}


def surface(options: LandscapeConfig) -> Measurement:
    """The loss on the plane of two filter-normalized random directions (Li et al. 2018)."""
    used = {
        "surface_points": options.surface_points,
        "line_distance": options.line_distance,
        "sparse_subspace": options.sparse_subspace,
    }
    points = options.surface_points**2
    measure = partial(_measure_surface, options=options)
    return Measurement("surface", used, measure, passes=Passes(train=points, test=points))


def _measure_surface(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: LandscapeConfig
) -> Row:
    import numpy as np

    from tfprune.measures import landscape
    from tfprune.training.evaluating import evaluator

    masks = _load(loop, stage, options.sparse_subspace)
    first, second = landscape.random_directions(
        loop.trainer.model, 2, stage.seed, stage.level, masks
    )
    side = np.linspace(-options.line_distance, options.line_distance, options.surface_points)
    found = landscape.surface(evaluator(loop.trainer), first, second, splits(loop), x=side, y=side)
    x, y = np.meshgrid(side, side)
    columns = {"x": x.ravel(), "y": y.ravel(), **_columns(found.loss, found.accuracy)}
    _write(table, columns)
    return {}


def _load(loop: PruneRetrain, stage: Stage, sparse_subspace: bool) -> Masks | None:
    """Puts a stage's final weights into the model, free to move, and says what may move."""
    loop.trainer.load(stage.end(), loop.trainer.dense_masks)
    return loop.trial.stage(stage.level).masks() if sparse_subspace else None


def splits(loop: PruneRetrain) -> dict[str, Examples]:
    """The splits of a trial's data, to measure on.

    Raises:
      SettingError: they are streamed; `check_in_memory` says so before anything is trained.
    """
    from tfprune.measures.evaluation import splits_of

    return splits_of(_in_memory(loop))


def check_in_memory(loop: PruneRetrain, options: tuple[Any, ...] = ()) -> None:
    """Refuses, before anything is trained, data that `splits` cannot give."""
    _in_memory(loop)


def _in_memory(loop: PruneRetrain) -> PreparedData:
    from tfprune.data.prepare import PreparedData

    if not isinstance(loop.data, PreparedData):
        raise SettingError(
            "dataset",
            loop.config.data.dataset,
            f"a set of images of one size that fits in memory: what {loop.config.experiment} "
            "measures goes through all examples again and again, and these are streamed",
        )
    return loop.data


def _columns(loss: Mapping[str, Any], accuracy: Mapping[str, Any]) -> dict[str, Any]:
    columns = {}
    for split, values in loss.items():
        columns[f"{split}_loss"] = values.ravel()
        columns[f"{split}_accuracy"] = accuracy[split].ravel()
    return columns


def _write(table: epath.Path, columns: Mapping[str, Iterable[Any]]) -> None:
    rows = [",".join(columns)]
    rows += [",".join(repr(v.item()) for v in row) for row in zip(*columns.values(), strict=True)]
    write_text_atomic(table, "\n".join(rows) + "\n")
