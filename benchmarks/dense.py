"""LeNet-300-100: epochs on MNIST shapes and on digits."""

from __future__ import annotations

import math
import statistics
import tempfile
from typing import Any, cast

# Before tfmot, which touches Keras: the backend sees to it that it is tf_keras.
from tfprune.backend import keras, tf, without_keras_3

# isort: split
with without_keras_3():
    from tensorflow_model_optimization.sparsity import keras as tfmot

from benchmarks.findings import Bar, Finding, ratio_finding
from benchmarks.timing import Scale, Timed, call_seconds, interleaved
from benchmarks.workloads import (
    BATCH_SIZE,
    CLASSES,
    SPARSITY,
    EpochClock,
    Workload,
    compiled,
    image_data,
    normalized,
    second_epoch_of_fit,
)
from tfprune.catalog import DATASETS
from tfprune.data.prepare import PreparedData, prepare
from tfprune.data.settings import DataConfig
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig
from tfprune.training.callbacks.distance_from_init import DistanceFromInit
from tfprune.training.callbacks.epoch_progress import EpochProgress
from tfprune.training.callbacks.event_scalars import TensorBoardScalars
from tfprune.training.callbacks.record import EpochRecord
from tfprune.training.callbacks.safety import StopOnNonFinite
from tfprune.training.epoch_program import EpochProgram
from tfprune.training.stacked import StackedProgram
from tfprune.training.together import Together
from tfprune.training.trainer import Trainer

MNIST_SHAPE = (28, 28, 1)
MODEL = ModelConfig(model="lenet_300_100")


def lenet_epoch(scale: Scale) -> list[Finding]:
    """A training epoch through our `fit`, without evaluation, as the others have none."""
    data = image_data(scale.train_examples, scale.test_examples, MNIST_SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        ours = Workload.of(folder, data, model=MODEL.model)
        seconds = interleaved(
            {
                "tfprune fit": training_only(ours),
                "stock tfmot fit": stock_tfmot(data),
                "plain fit": plain(data, jit=False),
                "plain fit, XLA": plain(data, jit=True),
                "sgemm": sgemm(scale.train_examples, jit=False),
                "sgemm, XLA": sgemm(scale.train_examples, jit=True),
            },
            scale.repetitions,
        )
    work = f"LeNet-300-100 training epoch of {scale.train_examples:,}, MNIST shapes"
    products = min(("sgemm", "sgemm, XLA"), key=lambda name: statistics.median(seconds[name]))
    gigaflops = 1e-9 * products_flops(scale.train_examples)
    return [
        ratio_finding(
            f"{work}: times as fast as stock tfmot",
            {name: seconds[name] for name in seconds if "sgemm" not in name},
            "stock tfmot fit",
            "tfprune fit",
            Bar(4.0, "at least"),
            note=f"the bare products alone would be "
            f"{_median_ratio(seconds['stock tfmot fit'], seconds[products]):.2f} times as fast",
        ),
        ratio_finding(
            f"{work}: share of bare sgemm",
            {name: seconds[name] for name in ("tfprune fit", "sgemm", "sgemm, XLA")},
            products,
            "tfprune fit",
            Bar(0.5, "at least"),
            note=f"counted: forward, kernel gradient and (but for layer 1) input gradient of every "
            f"full batch, {gigaflops:.1f} GFLOP; the faster of TensorFlow's two",
        ),
    ]


def lenet_evaluation(scale: Scale) -> list[Finding]:
    """An epoch as a study runs it, every metric of every split included."""
    data = image_data(scale.train_examples, scale.test_examples, MNIST_SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        ours = Workload.of(folder, data, model=MODEL.model)
        seconds = interleaved(
            {
                "with evaluation and callbacks": lambda: ours.train(epochs=2)[-1],
                "bare training epoch": call_seconds(lambda: ours.program.run_steps(0)),
            },
            scale.repetitions,
        )
    return [
        ratio_finding(
            f"the same with evaluation of {scale.train_examples:,} + {scale.test_examples:,}: "
            "times the bare training epoch",
            seconds,
            "with evaluation and callbacks",
            "bare training epoch",
            Bar(1.6, "at most"),
        )
    ]


def digits_epoch(scale: Scale) -> list[Finding]:
    """An epoch on digits as a study runs it; each repetition is the median of one training."""
    config = DataConfig(label_noise="symmetric", noise_fraction=0.4)
    data = prepare(DATASETS["digits"]("digits", ""), config, seed=0)
    assert isinstance(data, PreparedData)
    with tempfile.TemporaryDirectory() as folder:
        ours = Workload.of(folder, data, model=MODEL.model)
        seconds = interleaved(
            {
                "with evaluation and callbacks": lambda: statistics.median(
                    ours.train(scale.digits_epochs)
                ),
                "bare training epoch": call_seconds(lambda: ours.program.run_steps(0)),
            },
            scale.repetitions,
        )
    milliseconds = [1e3 * value for value in seconds["with evaluation and callbacks"]]
    return [
        Finding(
            "fixed cost of an epoch (digits, 1,437 examples, evaluation of all subsets)",
            statistics.median(milliseconds),
            "ms",
            Bar(12.0, "at most"),
            seconds,
            milliseconds,
        )
    ]


def stacked_epoch(scale: Scale) -> list[Finding]:
    """Epochs with evaluation of trainings in one program, beside as many one after the other."""
    digits = prepare(DATASETS["digits"]("digits", ""), DataConfig(), seed=0)
    assert isinstance(digits, PreparedData)
    shapes = image_data(scale.train_examples, scale.test_examples, MNIST_SHAPE)
    return [
        finding
        for name, data in {"digits": digits, "MNIST shapes": shapes}.items()
        for finding in _stacked(name, data, scale.repetitions)
    ]


def _stacked(name: str, data: PreparedData, repetitions: int) -> list[Finding]:
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    places = 32 if has_gpu else 8
    turns, stacked = f"{places} in turn", f"{places} in a stack"
    with tempfile.TemporaryDirectory() as folder:
        ours = Workload.of(folder, data, model=MODEL.model)
        one = ours.program
        trainer = Trainer(ours.config, data.input_shape, CLASSES, Together(places))
        program = trainer.attach(data, ours.plan(epochs=2).feeding())
        assert isinstance(program, StackedProgram)
        seats = [program.seat(0)] * places
        seconds = interleaved(
            {
                turns: call_seconds(lambda: [_run(one) for _ in seats]),
                stacked: call_seconds(lambda: program.stack.run(seats)),
            },
            repetitions,
        )
    work = f"LeNet-300-100, {name}, epochs of {places} trainings with evaluation"
    milliseconds = [1e3 * value / places for value in seconds[stacked]]
    return [
        ratio_finding(f"{work}: times as fast in a stack", seconds, turns, stacked),
        Finding(
            f"{work}: of each in the stack",
            statistics.median(milliseconds),
            "ms",
            Bar(20.0, "at most"),
            values=milliseconds,
            note="the bar is for MNIST on a GPU",
            applies=has_gpu,
        ),
    ]


def _run(program: EpochProgram) -> list[float]:
    return [float(value) for value in program.run(0).values()]


def stock_tfmot(data: PreparedData) -> Timed:
    """tfmot's wrapper, schedule and callback, as in its guide "Pruning with Keras"."""
    schedule = tfmot.PolynomialDecay(
        initial_sparsity=0.5,
        final_sparsity=SPARSITY,
        begin_step=0,
        end_step=10 * math.ceil(len(data.labels) / BATCH_SIZE),
    )
    network = build_model(MODEL, data.input_shape, CLASSES)
    model = compiled(tfmot.prune_low_magnitude(network, pruning_schedule=schedule))
    return second_epoch_of_fit(
        model, normalized(data), data.labels, lambda: [tfmot.UpdatePruningStep()]
    )


def plain(data: PreparedData, jit: bool) -> Timed:
    """The network as it is, in a plain `fit`."""
    model = compiled(build_model(MODEL, data.input_shape, CLASSES), jit)
    return second_epoch_of_fit(model, normalized(data), data.labels)


def training_only(workload: Workload) -> Timed:
    """Our `fit` with masks and callbacks over a program that leaves evaluation out."""

    def timed() -> float:
        program, model = workload.program, workload.trainer.model
        clock = EpochClock()
        model.program = cast(EpochProgram, _TrainingOnly(program))
        try:
            clock.start()
            model.fit_epochs(
                0, 2, [*_callbacks(workload), EpochProgress(lambda logs: clock.tick())]
            )
        finally:
            model.program = program
        return clock.seconds[-1]

    return timed


class _TrainingOnly:
    """An epoch program whose epochs are not evaluated."""

    def __init__(self, program: EpochProgram):
        self._program = program

    def run(self, epoch: int) -> dict[str, Any]:
        self._program.run_steps(epoch)
        return {}


def _callbacks(workload: Workload) -> list[keras.callbacks.Callback]:
    """Those of a study, but for the epoch checkpoint, which comes once a minute."""
    plan = workload.plan(epochs=2)
    return [
        DistanceFromInit(plan.initial),
        EpochRecord(workload.folder / "metrics.csv"),
        TensorBoardScalars(workload.folder / "tensorboard", {"sparsity": plan.masks.sparsity}),
        StopOnNonFinite(plan.where),
    ]


def _kernels() -> list[tuple[int, int]]:
    """Inputs and outputs of LeNet-300-100's layers on MNIST."""
    return [(math.prod(MNIST_SHAPE), 300), (300, 100), (100, CLASSES)]


def products_flops(examples: int) -> int:
    """Of the products that `sgemm` computes."""
    batches = examples // BATCH_SIZE
    layers = enumerate(_kernels())
    return sum(
        batches * (3 if index else 2) * 2 * BATCH_SIZE * inputs * outputs
        for index, (inputs, outputs) in layers
    )


def sgemm(examples: int, jit: bool) -> Timed:
    """The matrix products of an epoch and nothing else, as one compiled program.

    Each batch has, for every layer, the forward product, the kernel's gradient and, but for the
    first layer, the input's gradient. They feed each other, so that none can be left out; the
    matrices are zero, which keeps them finite and makes nothing faster.
    """
    inputs = [tf.zeros([BATCH_SIZE, fan_in]) for fan_in, _ in _kernels()]
    kernels = [tf.zeros(shape) for shape in _kernels()]

    def batch(index: tf.Tensor, inputs: Any, kernels: Any) -> tuple[tf.Tensor, Any, Any]:
        outputs = [x @ kernel for x, kernel in zip(inputs, kernels, strict=True)]
        layers = list(zip(inputs, kernels, outputs, strict=True))
        of_kernels = [tf.matmul(x, y, transpose_a=True) for x, _, y in layers]
        of_inputs = [tf.matmul(y, kernel, transpose_b=True) for _, kernel, y in layers[1:]]
        return index + 1, [inputs[0], *of_inputs], of_kernels

    def epoch(inputs: Any, kernels: Any) -> tf.Tensor:
        _, of_inputs, of_kernels = tf.while_loop(
            lambda index, *_: index < examples // BATCH_SIZE,
            batch,
            (tf.constant(0), inputs, kernels),
            parallel_iterations=1,
        )
        return of_inputs, of_kernels

    program = tf.function(epoch, jit_compile=jit, autograph=False)
    return call_seconds(lambda: program(inputs, kernels)[1][0].numpy())


def _median_ratio(slow: list[float], fast: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
