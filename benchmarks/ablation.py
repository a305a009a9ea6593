"""Weight utility: ablated networks in one program against a Python loop over `predict`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.dense import MNIST_SHAPE
from benchmarks.findings import Bar, Finding, ratio_finding
from benchmarks.timing import Scale, call_seconds, interleaved
from benchmarks.workloads import CLASSES, image_data
from tfprune.backend import keras
from tfprune.measures.ablation import Ablations, UtilityMeter, kl_divergence, random_ranks
from tfprune.measures.evaluation import splits_of
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig
from tfprune.pruning.weights import named_variables

RATIO = 0.1


def utility(scale: Scale) -> list[Finding]:
    """LeNet-300-100 without a tenth of its weights, subset after subset.

    The loop does what is at hand without a program of its own: zero the weights, `predict`, and
    the divergence in NumPy. It is given the very same subsets.
    """
    data = image_data(scale.test_examples, 10, MNIST_SHAPE)
    model = build_model(ModelConfig(), data.input_shape, CLASSES)
    examples = splits_of(data)["train"]
    images = (data.images / np.float32(255) - data.mean) / data.std
    program, loop = scale.ablated_networks, max(scale.ablated_networks // 10, 1)
    meter = UtilityMeter(model, examples, Ablations(amounts=(RATIO,), subsets=program))
    work = {
        "program": _of_each(call_seconds(meter.measure), program),
        "predict": _of_each(call_seconds(_loop(model, images, loop, 32)), loop),
        "predict_1000": _of_each(call_seconds(_loop(model, images, loop, 1000)), loop),
    }
    seconds = interleaved(work, scale.repetitions)
    measured = f"utility of LeNet-300-100, {program} subsets on {scale.test_examples} examples"
    note = f"seconds are of one network; the loop measures {loop} of them"
    return [
        ratio_finding(
            f"{measured}: a loop over predict",
            seconds,
            "predict",
            "program",
            Bar(3.0, "at least"),
            note=note,
        ),
        ratio_finding(
            f"{measured}: a loop over predict in batches of 1,000",
            seconds,
            "predict_1000",
            "program",
            note=note,
        ),
    ]


def _of_each(timed: Callable[[], float], networks: int) -> Callable[[], float]:
    return lambda: timed() / networks


def _loop(model: keras.Model, images: np.ndarray, networks: int, batch: int) -> Callable[[], Any]:
    kernels = {n: v for n, v in named_variables(model).items() if n.endswith("/kernel")}
    values = {name: variable.numpy() for name, variable in kernels.items()}
    everything = np.ones(sum(value.size for value in values.values()), bool)

    def measured() -> list[float]:
        reference = model.predict(images, batch_size=batch, verbose=0)
        found = []
        for index in range(networks):
            ablated = random_ranks(everything, 0, index) < RATIO * everything.size
            start = 0
            for name, value in values.items():
                part = ablated[start : start + value.size].reshape(value.shape)
                kernels[name].assign(np.where(part, 0, value))
                start += value.size
            outputs = model.predict(images, batch_size=batch, verbose=0)
            found.append(float(np.mean(kl_divergence(reference, outputs))))
        for name, value in values.items():
            kernels[name].assign(value)
        return found

    return measured
