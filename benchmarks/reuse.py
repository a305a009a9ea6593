"""One more level, branch or seed of the same shape: what it costs besides its epochs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.dense import MNIST_SHAPE
from benchmarks.findings import Bar, Finding
from benchmarks.timing import Scale
from benchmarks.workloads import CLASSES, image_data
from tfprune.config import RunConfig, from_settings
from tfprune.data.prepare import PreparedData
from tfprune.studies import branches
from tfprune.studies.iterative import PruneRetrain
from tfprune.studies.settings import BranchConfig
from tfprune.studies.trial import Stage, Trial
from tfprune.training.trainer import Trainer

EPOCHS = 2
KINDS = ("level", "branch", "seed")


def another_stage(scale: Scale) -> list[Finding]:
    """LeNet-300-100 on MNIST shapes: each repetition trains a seed, a level and a branch anew."""
    data = image_data(scale.train_examples, scale.test_examples, MNIST_SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        config = from_settings(
            {"output_dir": folder, "train_epochs": EPOCHS, "levels": scale.repetitions + 1}
        )
        trainer = Trainer(config, data.input_shape, CLASSES)
        _repetition(config, trainer, data, seed=0)  # Compiles.
        before = _compiled_functions()
        repeated = [
            _repetition(config, trainer, data, seed) for seed in range(1, scale.repetitions + 1)
        ]
        new_functions = len(_compiled_functions() - before)
    seconds = {kind: [of[kind] for of in repeated] for kind in KINDS}
    work = "one more level, branch or seed of the same shape"
    slowest = max(KINDS, key=lambda kind: statistics.median(seconds[kind]))
    return [
        Finding(
            f"{work}: set-up",
            statistics.median(seconds[slowest]),
            "s",
            Bar(0.2, "at most"),
            seconds,
            seconds[slowest],
            note="wall time of the stage without its epochs; a level's without the evaluation "
            "just after pruning, which is a measurement",
        ),
        Finding(
            f"{work}: functions compiled by {len(KINDS) * scale.repetitions} further stages",
            new_functions,
            "",
            Bar(0, "at most"),
        ),
    ]


def _repetition(
    config: RunConfig, trainer: Trainer, data: PreparedData, seed: int
) -> dict[str, float]:
    """Seconds besides epochs of a seed's dense stage, its first level and a branch from it."""
    trial = Trial(config, seed)
    loop = PruneRetrain(trial, trainer, data)
    redense = branches.redense(config, BranchConfig())
    level = trial.stage(1)
    return {
        "seed": _overhead(trial.stage(0), loop.run),
        "level": _overhead(level, loop.run) - _evaluation_seconds(loop),
        "branch": _overhead(
            trial.branch_stage(redense.name, 1),
            lambda stage, advance: redense.train(loop, stage, advance),
        ),
    }


def _overhead(stage: Stage, train: Callable[[Stage, Callable[[Any], None]], None]) -> float:
    """Seconds of a stage outside its epochs."""
    started = time.perf_counter()
    train(stage, lambda logs: None)
    return time.perf_counter() - started - stage.result()["wall_seconds"]


def _evaluation_seconds(loop: PruneRetrain) -> float:
    started = time.perf_counter()
    program = loop.trainer.model.program
    assert program is not None  # As training attached it.
    for value in program.evaluate().values():
        float(value)
    return time.perf_counter() - started


def _compiled_functions() -> set[str]:
    """The traces of every `tf.function` of this process; XLA compiles once for each."""
    from tensorflow.python.eager import context  # The count has no public name.

    return set(context.context().list_function_names())
