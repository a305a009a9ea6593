"""Every network's training step and evaluation compile with XLA, every shape known beforehand.

What compiles here is what each replica of a distributed training runs, the program that a TPU gets.
Programs are compiled to XLA's own form and not to machine code, which takes a CPU minutes.
"""

import re

import numpy as np
import pytest
from networks import EVERY_MODEL, three_blocks_added

from tfprune.backend import tf
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig
from tfprune.pruning.model import prune_model
from tfprune.pruning.prunable import prunable_kernels
from tfprune.training.metrics import EVALUATION_BATCH
from tfprune.training.optimizers import SGD
from tfprune.training.replicas import ReplicatedNetwork
from tfprune.training.runtime import dtype_policy

SHAPE = (8, 8, 3)
BATCH = 2


def network_of(name, dtype="float32"):
    with dtype_policy(dtype):
        plain = build_model(ModelConfig(model=name, width=0.05), SHAPE, num_classes=3)
        model = prune_model(plain, prunable_kernels(plain, "default", name))
    model.compile(SGD(0.1, momentum=0.9, l2=1e-4))
    return ReplicatedNetwork(model, tf.distribute.get_strategy())


def compiled(function, *arguments):
    """A function's XLA program as text, and whatever has a shape that is not known beforehand."""
    program = tf.function(function, jit_compile=True, autograph=False)
    unknown = [
        tensor.name
        for operation in program.get_concrete_function(*arguments).graph.get_operations()
        for tensor in operation.outputs
        if tensor.dtype not in (tf.resource, tf.variant) and not tensor.shape.is_fully_defined()
    ]
    text = program.experimental_get_compiler_ir(*arguments)(stage="hlo")
    # XLA writes a dimension that is only bounded as `<=8`, inside loops too.
    return text, unknown + re.findall(r"\w+\[[^\]]*<=[^\]]*\]", text)


def batch(dtype=tf.float32):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(BATCH, *SHAPE)), dtype)
    return images, tf.constant([0, 2])


@pytest.fixture(scope="module", params=EVERY_MODEL)
def network(request):
    return network_of(request.param)


def test_a_training_step_compiles_with_static_shapes(network):
    def step(images, labels, rate):
        network.train_share(images, labels, rate, BATCH)

    text, unknown = compiled(step, *batch(), tf.constant(0.1))
    assert unknown == []
    assert f"f32[{BATCH},8,8,3]" in text


def test_an_evaluation_compiles_with_static_shapes(network):
    images, labels = batch()
    examples = EVALUATION_BATCH + 3

    def evaluate(images, labels):
        def infer(positions):
            rows = positions % BATCH
            return network.infer(tf.gather(images, rows), tf.gather(labels, rows))

        return tuple(network.per_example(examples, infer))

    text, unknown = compiled(evaluate, images, labels)
    assert unknown == []
    assert f"f32[{examples}]" in text


def test_bfloat16_compiles_with_static_shapes():
    with three_blocks_added():
        network = network_of("three_blocks", "mixed_bfloat16")
    assert network.compute_dtype == "bfloat16"

    def step(images, labels, rate):
        network.train_share(images, labels, rate, BATCH)

    text, unknown = compiled(step, *batch(tf.bfloat16), tf.constant(0.1))
    assert unknown == []
    assert "bf16[" in text
