"""The plane through a pretrained, a pruned and a retrained network, as measurements (PM 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune.config import replace
from tfprune.errors import SettingError, arguments_from
from tfprune.files import csv_text, write_text_atomic
from tfprune.seeds import LevelDraw, Stream, generator
from tfprune.studies.landscapes import check_in_memory, splits
from tfprune.studies.partial_tables import PartialTable
from tfprune.studies.procedure import Measurement, Passes, Study
from tfprune.studies.settings import SurfaceConfig
from tfprune.studies.small import check_twins
from tfprune.studies.trial import Row, Stage

if TYPE_CHECKING:
    from tfprune.config import RunConfig
    from tfprune.measures.evaluation import Examples
    from tfprune.measures.plane import Plane
    from tfprune.pruning.weights import Arrays
    from tfprune.studies.iterative import PruneRetrain


def structured(
    bases: Iterable[RunConfig], options: SurfaceConfig
) -> list[tuple[RunConfig, Mapping[str, Any]]]:
    """Every run of the structures that are pruned, with the column `structure` (PM 3, A.5.1)."""
    channels = {
        "criterion": options.channel_criterion,
        "prune_fraction": options.channel_fraction,
    }
    changes: dict[str, dict[str, Any]] = {"weights": {}, "channels": channels}
    return [
        (replace(base, **changes[structure]), {"structure": structure})
        for base in bases
        for structure in options.structures
    ]


def check_surface(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses streamed data, more examples than there are, and small networks without a schedule.

    `options` is a SurfaceConfig alone.
    """
    check_in_memory(loop)
    if has_twin(loop.config):
        check_twins(loop.config)
    wanted, there = options[0].plane_examples, len(loop.data.labels)
    if wanted > there:
        raise SettingError("plane_examples", wanted, f"at most the {there} training examples")


def has_twin(config: RunConfig) -> bool:
    """Whether table 1 has a small network beside: by learning-rate rewinding, which it repeats.

    That is, where the trained weights go on by the training's own schedule.
    """
    retraining = config.pruning.retraining
    return retraining.prunes and retraining.weights is None and retraining.schedule is None


def measure_planes(study: Study, options: SurfaceConfig) -> None:
    """Measures the plane, and the trajectory on it, of the levels asked for of all trials."""
    # Level by level: three networks on a line have no plane, and the other levels still do.
    levels = sorted({n for trial in study.trials for n in options.levels(trial.config)})
    for level in levels:
        stages = {trial: [trial.stage(level)] for trial in study.trials}
        done = {trial: those for trial, those in stages.items() if those[0].is_done}
        study.measure(plane(options), done)
        study.measure(trajectory(), done)


def plane(options: SurfaceConfig) -> Measurement:
    """Accuracy and loss on the plane through W*, Wp and Wr of a level (figures 6, 16).

    W* is the pretrained (dense) network, Wp the level's network before retraining, Wr after it.
    """
    used = {
        name: value
        for name, value in options.identity().items()
        if name.startswith("plane_") and name != "plane_levels"
    }
    points = options.plane_points**2
    few, again = options.plane_examples, 1 + (options.plane_batch_norm == "reestimated")
    passes = Passes(test=points, **{"examples" if few else "train": again * points * (few or 1)})
    return Measurement("plane", used, partial(_measure_plane, options=options), passes=passes)


def trajectory() -> Measurement:
    """The networks of all cycles so far, projected onto a level's plane."""
    return Measurement("trajectory", {}, _measure_trajectory)


def _measure_plane(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: SurfaceConfig
) -> Row:
    from tfprune.measures.plane import Cell, grid_axes, plane_grid
    from tfprune.training.evaluating import evaluator

    found = _plane(loop, stage)
    with arguments_from(points="plane_points", margin="plane_margin"):
        x, y = grid_axes(found.points, options.plane_points, options.plane_margin)
    rows = PartialTable(table)
    cells = plane_grid(
        evaluator(loop.trainer),
        found,
        _splits(loop, stage.seed, options.plane_examples),
        x,
        y,
        measured=[Cell.from_row(row) for row in rows.rows],
        batch_norm=options.plane_batch_norm,
    )
    for cell in cells:
        rows.add(cell.as_row())
    rows.finish()
    pruned, retrained, between = found.distances
    return {
        "pruned_x": float(found.points[1, 0]),
        "retrained_x": float(found.points[2, 0]),
        "retrained_y": float(found.points[2, 1]),
        "distance_pretrained_pruned": pruned,
        "distance_pretrained_retrained": retrained,
        "distance_pruned_retrained": between,
    }


def _measure_trajectory(loop: PruneRetrain, stage: Stage, table: epath.Path) -> Row:
    found = _plane(loop, stage)
    rows = [
        {"cycle": cycle, "network": network, **found.project(weights)._asdict()}
        for cycle in range(stage.level + 1)
        for network, weights in _networks(loop, cycle).items()
    ]
    write_text_atomic(table, csv_text(rows))
    return {}


def _plane(loop: PruneRetrain, stage: Stage) -> Plane:
    from tfprune.measures.plane import Plane

    own = _networks(loop, stage.level)
    (pretrained,) = _networks(loop, 0).values()
    return Plane.through(pretrained, own["pruned"], own["retrained"])


def _networks(loop: PruneRetrain, cycle: int) -> dict[str, Arrays]:
    """The pretrained network, or a cycle's before and after its retraining."""
    stage = loop.trial.stage(cycle)
    if cycle == 0:
        return {"pretrained": stage.end()}
    return {"pruned": stage.start(), "retrained": stage.end()}


def _splits(loop: PruneRetrain, seed: int, examples: int) -> dict[str, Examples]:
    """The training split, or this many examples of it, and the test split."""
    from tfprune.measures.evaluation import some_examples

    found = splits(loop)
    if examples:
        rng = generator(seed, Stream.MEASURE, LevelDraw.PLANE_EXAMPLES)
        found["train"] = some_examples(found["train"], examples, rng, "plane_examples")
    return found
