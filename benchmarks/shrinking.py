"""Physical shrinking: does inference time fall with the FLOPs?"""

from __future__ import annotations

import numpy as np

from benchmarks.findings import Bar, Finding, ratio_finding
from benchmarks.timing import Scale, Timed, call_seconds, interleaved
from benchmarks.workloads import CLASSES
from tfprune.backend import keras, tf
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig
from tfprune.pruning.dead_filters import zero_filters
from tfprune.pruning.shrink import flops, shrink

IMAGE_SHAPE = (32, 32, 3)
MODELS = ("resnet20", "vanilla_cnn")
FRACTIONS = (0.25, 0.5, 0.75)
TOLERANCE = 1e-5


def shrinking(scale: Scale) -> list[Finding]:
    """Inference of whole networks, the same fraction of every convolution's filters removed."""
    return [finding for name in MODELS for finding in _of_model(name, scale)]


def _of_model(name: str, scale: Scale) -> list[Finding]:
    images = tf.random.stateless_normal([scale.inference_examples, *IMAGE_SHAPE], (0, 0))
    config = ModelConfig(model=name, width=scale.conv_width)
    dense = build_model(config, IMAGE_SHAPE, CLASSES)
    shrunk = {fraction: _shrunk(dense, fraction, images) for fraction in FRACTIONS}
    timed = {"dense": _inference(dense, images)}
    timed |= {_label(fraction): _inference(model, images) for fraction, model in shrunk.items()}
    seconds = interleaved(timed, scale.repetitions)
    findings = []
    for fraction, model in shrunk.items():
        fewer = flops(dense) / flops(model)
        findings.append(
            ratio_finding(
                f"{name}, {fraction:.0%} of filters removed: inference times as fast "
                f"(FLOPs {fewer:.2f} times fewer)",
                {key: seconds[key] for key in ("dense", _label(fraction))},
                "dense",
                _label(fraction),
                Bar(1.0, "at least"),
                note=f"FLOPs {flops(dense):,} -> {flops(model):,}; same function to {TOLERANCE:g}",
            )
        )
    return findings


def _label(fraction: float) -> str:
    return f"{fraction:.0%} removed"


def _shrunk(dense: keras.Model, fraction: float, images: tf.Tensor) -> keras.Model:
    """The network with this fraction of filters zeroed, without its dead channels.

    Layers of one width lose the same filters, so that a residual stage loses whole channels.

    Raises:
      ArithmeticError: it is not the same function.
    """
    pruned = keras.models.clone_model(dense)
    pruned.set_weights(dense.get_weights())
    convolutions = [layer for layer in pruned.layers if isinstance(layer, keras.layers.Conv2D)]
    keep = {layer.name: _keep(layer.filters, fraction) for layer in convolutions}
    zero_filters(pruned, keep)
    small = shrink(pruned)
    error = float(tf.reduce_max(tf.abs(small(images) - pruned(images))))
    if not error <= TOLERANCE * max(1.0, float(tf.reduce_max(tf.abs(pruned(images))))):
        raise ArithmeticError(f"the shrunk {dense.name} is off by {error:g}")
    return small


def _keep(filters: int, fraction: float) -> np.ndarray:
    order = np.random.default_rng(filters).permutation(filters)
    return order >= round(fraction * filters)


def _inference(model: keras.Model, images: tf.Tensor) -> Timed:
    program = tf.function(lambda batch: model(batch, training=False), autograph=False)
    return call_seconds(lambda: program(images).numpy())
