"""Loss landscapes of finished stages, as measurements kept beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune.config import LandscapeConfig
from tfprune.files import load_arrays, write_text_atomic
from tfprune.results import layout
from tfprune.seeds import Stream, generator
from tfprune.studies.study import Measurement
from tfprune.studies.trial import Row, Stage

if TYPE_CHECKING:
    from tfprune.measures.evaluation import Examples
    from tfprune.pruning.masks import Masks
    from tfprune.pruning.weights import Arrays
    from tfprune.studies.iterative import PruneRetrain

# Both paths of a 2-D surface count their directions after those of the 1-D loss.
_FIRST_SURFACE_DIRECTION = 1_000_000


def interpolation(options: LandscapeConfig) -> Measurement:
    """The straight line from a sparse solution to its re-dense one (SDD 3.3, figures 5, 14)."""
    used = {
        "alpha_step": options.alpha_step,
        "batch_norm": options.interpolation_batch_norm,
    }

    def measure(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
        from tfprune.measures.landscape import alpha_grid, interpolate

        start = load_arrays(loop.trial.stage(stage.level).folder / layout.END)
        end = load_arrays(stage.folder / layout.END)
        loop.trainer.load(end, loop.trainer.dense_masks)
        found = interpolate(
            loop.trainer.model,
            start,
            end,
            _splits(loop),
            alphas=alpha_grid(options.alpha_step),
            batch_norm=options.interpolation_batch_norm,
        )
        _write(table, {"alpha": found.alphas, **_columns(found.loss, found.accuracy)})
        return {
            "barrier_height": found.barrier_height("train"),
            "monotonic": int(found.is_monotonically_decreasing("train")),
        }

    return Measurement("interpolation", used, measure)


def line(options: LandscapeConfig) -> Measurement:
    """The loss along filter-normalized random directions (SDD 3.3, figure 6)."""
    used = {
        "directions": options.directions,
        "line_distance": options.line_distance,
        "line_points": options.line_points,
        "sparse_subspace": options.sparse_subspace,
    }

    def measure(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
        import numpy as np

        from tfprune.measures import landscape

        weights, masks = _load(loop, stage, options.sparse_subspace)
        directions = [
            _direction(weights, stage, index, masks) for index in range(options.directions)
        ]
        distances = np.linspace(-options.line_distance, options.line_distance, options.line_points)
        found = landscape.line(loop.trainer.model, directions, _splits(loop), distances)
        count, points = len(directions), len(distances)
        columns = {
            "direction": np.repeat(np.arange(count), points),
            "distance": np.tile(distances, count),
            **_columns(found.loss, found.accuracy),
        }
        _write(table, columns)
        return {"sharpness": found.sharpness("train")}

    return Measurement("line", used, measure)


def surface(options: LandscapeConfig) -> Measurement:
    """The loss on the plane of two filter-normalized random directions (Li et al. 2018)."""
    used = {
        "surface_points": options.surface_points,
        "line_distance": options.line_distance,
        "sparse_subspace": options.sparse_subspace,
    }

    def measure(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
        import numpy as np

        from tfprune.measures import landscape

        weights, masks = _load(loop, stage, options.sparse_subspace)
        first, second = (
            _direction(weights, stage, _FIRST_SURFACE_DIRECTION + index, masks)
            for index in range(2)
        )
        side = np.linspace(-options.line_distance, options.line_distance, options.surface_points)
        found = landscape.surface(loop.trainer.model, first, second, _splits(loop), x=side, y=side)
        x, y = np.meshgrid(side, side, indexing="ij")
        columns = {"x": x.ravel(), "y": y.ravel(), **_columns(found.loss, found.accuracy)}
        _write(table, columns)
        return {}

    return Measurement("surface", used, measure)


def _load(loop: PruneRetrain, stage: Stage, sparse_subspace: bool) -> tuple[Arrays, Masks | None]:
    """Puts a stage's final weights into the model, free to move, and says what may move."""
    from tfprune.pruning.masks import Masks

    weights = load_arrays(stage.folder / layout.END)
    loop.trainer.load(weights, loop.trainer.dense_masks)
    sparse = loop.trial.stage(stage.level).folder / layout.MASKS
    return weights, Masks.load(sparse) if sparse_subspace else None


def _direction(weights: Arrays, stage: Stage, index: int, masks: Masks | None) -> Arrays:
    from tfprune.measures.landscape import filter_normalized_direction

    rng = generator(stage.seed, Stream.MEASURE, stage.level, index)
    return filter_normalized_direction(weights, rng, masks)


def _splits(loop: PruneRetrain) -> dict[str, Examples]:
    from tfprune.data.prepare import PreparedData
    from tfprune.errors import InputError
    from tfprune.measures.evaluation import Examples

    data = loop.data
    if not isinstance(data, PreparedData):
        raise InputError("landscapes are measured on data in memory; this set is streamed")
    return {
        "train": Examples(data.images, data.labels, data.mean, data.std),
        "test": Examples(data.test_images, data.test_labels, data.mean, data.std),
    }


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
