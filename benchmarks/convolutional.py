"""resnet20 and vanilla_cnn: training steps on CIFAR shapes."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks import machine
from benchmarks.findings import Bar, Finding, ratio_finding
from benchmarks.timing import Scale, Timed, call_seconds, interleaved
from benchmarks.workloads import (
    BATCH_SIZE,
    CLASSES,
    Workload,
    compiled,
    image_data,
    normalized,
    second_epoch_of_fit,
)
from tfprune.data.prepare import PreparedData
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig

CIFAR_SHAPE = (32, 32, 3)
MODELS = ("resnet20", "vanilla_cnn")
MOMENTUM = 0.9


def conv_step(scale: Scale) -> list[Finding]:
    """Our step against that of a plain `fit`, on the same data and with the same optimizer."""
    data = image_data(scale.conv_steps * BATCH_SIZE, BATCH_SIZE, CIFAR_SHAPE)
    return [_conv_step(name, data, scale) for name in MODELS]


def _conv_step(name: str, data: PreparedData, scale: Scale) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        epochs = interleaved(
            {
                "tfprune": _ours(name, data, scale, folder),
                "plain fit": _plain(name, data, scale, jit=False),
                "plain fit, XLA": _plain(name, data, scale, jit=True),
            },
            scale.repetitions,
        )
    seconds = _per_step(epochs, scale)
    better = min(("plain fit", "plain fit, XLA"), key=lambda key: statistics.median(seconds[key]))
    return ratio_finding(
        f"{name} training step, batch {BATCH_SIZE}: times as fast as the better plain fit",
        seconds,
        better,
        "tfprune",
        Bar(1.0, "at least"),
        note="ours gathers and normalizes uint8 images and masks kernels, which fit does not",
    )


def bfloat16_step(scale: Scale) -> list[Finding]:
    """Our step under the two dtypes."""
    data = image_data(scale.conv_steps * BATCH_SIZE, BATCH_SIZE, CIFAR_SHAPE)
    has_amx = machine.has_cpu_flag("amx_bf16")
    findings = []
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            epochs = interleaved(
                {
                    dtype: _ours(name, data, scale, folder, dtype)
                    for dtype in ("float32", "mixed_bfloat16")
                },
                scale.repetitions,
            )
        findings.append(
            ratio_finding(
                f"{name} training step, batch {BATCH_SIZE}: bfloat16 times as fast as float32",
                _per_step(epochs, scale),
                "float32",
                "mixed_bfloat16",
                Bar(1.5, "at least"),
                note="" if has_amx else "needs AMX: not on this machine",
                applies=has_amx,
            )
        )
    return findings


def _ours(
    name: str, data: PreparedData, scale: Scale, folder: str, dtype: str = "float32"
) -> Timed:
    workload = Workload.of(
        Path(folder) / dtype,
        data,
        model=name,
        width=scale.conv_width,
        optimizer="sgd",
        momentum=MOMENTUM,
        dtype=dtype,
    )
    return call_seconds(lambda: workload.program.run_steps(0))


def _plain(name: str, data: PreparedData, scale: Scale, jit: bool) -> Timed:
    config = ModelConfig(model=name, width=scale.conv_width)
    model = compiled(build_model(config, data.input_shape, CLASSES), jit, MOMENTUM)
    return second_epoch_of_fit(model, normalized(data), data.labels)


def _per_step(epochs: dict[str, list[float]], scale: Scale) -> dict[str, list[float]]:
    return {name: [value / scale.conv_steps for value in of] for name, of in epochs.items()}
