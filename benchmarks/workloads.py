"""What is timed: made-up data of the papers' shapes, our training and what it is compared with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from etils import epath

from benchmarks.timing import Timed
from tfprune.backend import keras, tf
from tfprune.config import RunConfig, from_settings
from tfprune.data.prepare import PreparedData
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays
from tfprune.training import schedules
from tfprune.training.epoch_program import EpochProgram
from tfprune.training.scoring import prune
from tfprune.training.trainer import Trainer, TrainingOutputs, TrainingPlan

CLASSES = 10
NOISE_FRACTION = 0.2
BATCH_SIZE = 128
LEARNING_RATE = 0.01
SPARSITY = 0.8


def image_data(
    examples: int, test_examples: int, shape: tuple[int, int, int], seed: int = 0
) -> PreparedData:
    """Uniform noise as images, and labels without a pattern: the cost does not depend on them.

    Args:
      examples: training examples, a fifth of which the label noise selected.
      test_examples: test examples.
      shape: height, width, channels.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    channels = shape[-1]

    def images(count: int) -> np.ndarray:
        return rng.integers(0, 256, (count, *shape), np.uint8)

    def labels(count: int) -> np.ndarray:
        return rng.integers(0, CLASSES, count, np.int32)

    train_images = images(examples)
    return PreparedData(
        name="synthetic",
        num_classes=CLASSES,
        class_names=tuple(map(str, range(CLASSES))),
        mean=np.full(channels, 0.5, np.float32),
        std=np.full(channels, 0.25, np.float32),
        source_images=train_images,
        images=train_images,
        labels=labels(examples),
        original_labels=labels(examples),
        selected=rng.random(examples) < NOISE_FRACTION,
        indices=np.arange(examples),
        val_images=images(0),
        val_indices=np.arange(0),
        val_labels=labels(0),
        test_images=images(test_examples),
        test_labels=labels(test_examples),
    )


def normalized(data: PreparedData) -> np.ndarray:
    """The training images as a plain `fit` takes them, float32, normalized beforehand."""
    return ((data.images / 255 - data.mean) / data.std).astype(np.float32)


@dataclass(frozen=True)
class Workload:
    """One of our networks, sparse, ready to train.

    Attributes:
      config: the run.
      data: what it is trained on.
      folder: for what callbacks write.
    """

    config: RunConfig
    data: PreparedData
    folder: epath.Path

    @classmethod
    def of(cls, folder: epath.PathLike, data: PreparedData, **settings: Any) -> Workload:
        values = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, **settings}
        return cls(from_settings(values), data, epath.Path(folder))

    @cached_property
    def trainer(self) -> Trainer:
        return Trainer(self.config, self.data.input_shape, self.data.num_classes)

    @cached_property
    def start(self) -> tuple[Arrays, Masks]:
        """Initial weights, and masks that leave a fifth of them."""
        weights = self.trainer.initial_weights(seed=0)
        dense, pruning = self.trainer.dense_masks, self.config.pruning
        masks = prune(self.trainer, self.data, 0, 1, weights, dense, pruning, SPARSITY)
        return weights, masks

    def plan(self, epochs: int) -> TrainingPlan:
        weights, masks = self.start
        schedule = schedules.training_schedule(self.config.training)
        augment = self.config.data.augment
        return TrainingPlan(0, 1, weights, masks, weights, schedule, epochs, augment=augment)

    def train(self, epochs: int) -> list[float]:
        """Trains as a study does, with all callbacks; returns the seconds of each epoch."""
        clock = EpochClock()
        outputs = TrainingOutputs(
            self.folder / "stage",
            self.folder / "tensorboard",
            checkpoint_seconds=math.inf,  # The next training would go on from a checkpoint.
            advance=lambda logs: clock.tick(),
        )
        clock.start()
        self.trainer.train(self.data, self.plan(epochs), outputs)
        return clock.seconds

    @cached_property
    def program(self) -> EpochProgram:
        """What runs an epoch, without `fit`, with the plan's data and feeding."""
        self.train(epochs=1)
        program = self.trainer.model.program
        assert program is not None  # As training attached it.
        return program


class EpochClock:
    """Seconds from one end of an epoch to the next: nothing between them is left out."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._before = 0.0

    def start(self) -> None:
        self._before = time.perf_counter()

    def tick(self) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._before)
        self._before = now


class EpochSeconds(keras.callbacks.Callback):
    """The same for a plain `fit`; the last of its callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = EpochClock()

    def on_train_begin(self, logs: Any = None) -> None:
        self.clock.start()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.clock.tick()


def second_epoch_of_fit(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    callbacks: Callable[[], Sequence[keras.callbacks.Callback]] = tuple,
) -> Timed:
    """Times an epoch of a plain `fit` on arrays.

    Of two epochs the second: the first one sets up the iterator, and the end of `fit` waits for a
    thread of tf.data, neither of which is training.
    """

    def timed() -> float:
        seconds = EpochSeconds()
        model.fit(
            images,
            labels,
            batch_size=BATCH_SIZE,
            epochs=2,
            verbose=0,
            callbacks=[*callbacks(), seconds],
        )
        return seconds.clock.seconds[-1]

    return timed


def compiled(model: keras.Model, jit: bool = False, momentum: float = 0.0) -> keras.Model:
    """Compiles a model as Keras users do."""
    tf.random.set_seed(0)  # Shuffling wants one where a run has made operations deterministic.
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE, momentum=momentum),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit,
    )
    return model
