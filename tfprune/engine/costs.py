"""What a training costs: operations by formula, seconds by what was measured where, bytes on disk.

Importing this module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

from tfprune.config import RunConfig
from tfprune.errors import InputError


@dataclass(frozen=True)
class Network:
    """A network for images of one data set.

    Attributes:
      forward: floating-point operations of a forward pass of one image, as
        `tfprune.pruning.shrink.flops` counts them.
      weights: all its variables' numbers, batch-norm statistics among them.
    """

    forward: float
    weights: float


@dataclass(frozen=True)
class Images:
    """A data set: the shape of its images, its classes, and how many images it has."""

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int


# At the full width. A narrower network counts by the square of its width.
NETWORKS = {
    ("lenet_300_100", "digits"): Network(100_400, 50_610),
    ("lenet_300_100", "mnist"): Network(532_400, 266_610),
    ("resnet18", "cifar10"): Network(1_110_845_440, 11_183_562),
    ("resnet18", "cifar100"): Network(1_110_937_600, 11_229_732),
    ("resnet20", "cifar10"): Network(81_626_368, 274_042),
    ("resnet20", "digits"): Network(5_065_984, 273_754),
    ("resnet32", "cifar100"): Network(138_260_992, 475_220),
    ("resnet50", "imagenet2012"): Network(8_178_368_512, 25_610_152),
    ("resnet56", "cifar10"): Network(251_495_680, 860_026),
    ("resnet101", "folder:tiny-imagenet-200"): Network(20_080_525_312, 43_007_624),
    ("vanilla_cnn", "cifar10"): Network(24_478_976, 75_050),
    ("vanilla_cnn", "digits"): Network(1_494_272, 74_762),
    ("vanilla_cnn_bn", "cifar10"): Network(24_478_976, 75_770),
    ("vanilla_cnn_bn", "digits"): Network(1_494_272, 75_482),
    ("vgg11", "cifar10"): Network(305_539_072, 9_236_618),
    ("vgg16", "cifar10"): Network(626_403_328, 14_732_490),
}
IMAGES = {
    "digits": Images((8, 8, 1), 10, 1_437, 360),
    "mnist": Images((28, 28, 1), 10, 60_000, 10_000),
    "cifar10": Images((32, 32, 3), 10, 50_000, 10_000),
    "cifar100": Images((32, 32, 3), 100, 50_000, 10_000),
    "imagenet2012": Images((224, 224, 3), 1000, 1_281_167, 50_000),
    "folder:tiny-imagenet-200": Images((64, 64, 3), 200, 100_000, 10_000),
}

# Kernels of a step as compiled for an H200: docs/accelerators.md.
_KERNELS = {
    "lenet_300_100": 31,
    "vanilla_cnn": 73,
    "vgg11": 172,
    "vgg16": 217,
    "resnet20": 285,
    "resnet18": 301,
    "resnet32": 509,
}
_BYTES = 4  # Of a float32.
_MASK_BYTES = 0.15  # Of a weight, in a compressed file of masks.
_EPOCH_BYTES = 650  # Its row of metrics and TensorBoard's scalars.
_STAGE_BYTES = 5_000  # What else a stage has.
# Rows of a report's tables, its figures, and those that TensorBoard shows.
REPORT_BYTES = 5e6


@dataclass(frozen=True)
class Speed:
    """How fast a device trains, from few measured epochs.

    An epoch, both evaluations included, takes as long as its operations or its steps do.

    Attributes:
      device: what it is, and where the numbers are from.
      operations: of training alone, in a second.
      half: how many times as fast bfloat16 is.
      kernel_seconds: that a kernel of a step takes at least.
      step_seconds: that a step takes at least.
    """

    device: str
    operations: float
    half: float
    kernel_seconds: float
    step_seconds: float

    def epoch(self, cost: TrainingCost, config: RunConfig) -> float:
        """Seconds of an epoch."""
        half = self.half if config.training.dtype == "mixed_bfloat16" else 1.0
        kernels = _KERNELS.get(config.model.model, _KERNELS["resnet18"])
        step = max(self.step_seconds, kernels * self.kernel_seconds)
        return max(cost.training / self.operations / half, cost.steps * step)


# ResNet-18's epoch of 2.44 s on CIFAR-10's images gives operations; in bfloat16 it took 1.70 s,
# over its 391 steps of 301 kernels the seconds of a kernel: those of smaller networks take less.
# LeNet's epoch of 0.84 s gives the least step.
GPU = Speed(
    "one H200, as an earlier code took there (docs/accelerators.md)",
    operations=3 * 1_110_845_440 * 50_000 / 2.44,
    half=2.44 / 1.70,
    kernel_seconds=1.70 / 391 / 301,
    step_seconds=0.84 / 469,
)
# LeNet's epoch on MNIST took 0.68 s, the vanilla CNN's on CIFAR-10 34 s, ResNet-20's a bit over
# half as much for its operations: about 1e11 of them in a second.
CPU = Speed(
    "2 CPU cores, as benchmarks/epochs has them",
    operations=1e11,
    half=1.0,
    kernel_seconds=0.0,
    step_seconds=7e-4,
)


@dataclass(frozen=True)
class TrainingCost:
    """What one epoch of a training takes, and its network.

    Attributes:
      network: with its width.
      train, test: examples; those held out for validation count as test.
      steps: of an epoch.
    """

    network: Network
    train: int
    test: int
    steps: int

    @property
    def training(self) -> float:
        """Operations of an epoch's steps: forward, and twice that backward."""
        return 3 * self.network.forward * self.train

    @property
    def evaluation(self) -> float:
        """Operations of evaluating all splits once."""
        return self.network.forward * (self.train + self.test)


def is_known(config: RunConfig) -> bool:
    """Whether the tables have a run's data and network, so that nothing must be read and built."""
    dataset = config.data.dataset
    return dataset in IMAGES and (config.model.model, dataset) in NETWORKS


def cost_of(config: RunConfig) -> TrainingCost:
    """What an epoch of a run takes. Data or networks that are not in the tables are made.

    Raises:
      InputError: such data cannot be read.
    """
    data, model = config.data, config.model
    images = IMAGES.get(data.dataset) or _read(config)
    network = NETWORKS.get((model.model, data.dataset))
    if network is None:
        network = _built(model.model, images)
    area = model.width**2
    network = Network(network.forward * area, network.weights * area)
    train = images.train
    if re.fullmatch("[0-9]+", data.train_subset):
        train = min(train, int(data.train_subset))
    held_out = min(data.validation_examples, train)
    train -= held_out
    steps = math.ceil(train / config.training.batch_size)
    return TrainingCost(network, train, images.test + held_out, steps)


def _read(config: RunConfig) -> Images:
    from tfprune.data.prepare import prepare
    from tfprune.data.sources import load_source

    whole = dataclasses.replace(config.data, train_subset="", validation_examples=0)
    data = prepare(load_source(whole), whole, seed=0)
    height, width, channels = data.input_shape
    if not height or not width:
        raise InputError(f"{config.data.dataset}: images of many sizes are not counted")
    shape = (height, width, channels)
    return Images(shape, data.num_classes, len(data.labels), len(data.test_labels))


def _built(model: str, images: Images) -> Network:
    from tfprune.catalog import MODELS
    from tfprune.pruning.shrink import flops

    made = MODELS[model](images.shape, images.classes)
    return Network(flops(made), made.count_params())


def stage_bytes(cost: TrainingCost, epochs: int) -> float:
    """What a finished training leaves on disk: weights twice, masks, metrics, events."""
    weights = cost.network.weights * (2 * _BYTES + _MASK_BYTES)
    return weights + epochs * _EPOCH_BYTES + _STAGE_BYTES


def kept_bytes(cost: TrainingCost, config: RunConfig) -> float:
    """What a dense training leaves besides: snapshots, and weights at the rewind point."""
    every = config.snapshot_every
    snapshots = config.training.train_epochs // every if every else 0
    rewinds = int(config.pruning.rewind_to != "0ep")
    return (snapshots + rewinds) * cost.network.weights * _BYTES


def duration(seconds: float) -> str:
    """About how long, as a person would say it.

    Example:
      >>> duration(3), duration(40), duration(7000), duration(9e6)
      ('seconds', '40 seconds', '117 minutes', '104 days')
    """
    for unit, size in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 10 else "seconds"
