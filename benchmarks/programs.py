"""The programs of a training as compilers get them, and what is read of those that they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tfprune.backend import tf
from tfprune.config import from_settings
from tfprune.data.prepare import PreparedData
from tfprune.training.epoch_model import EpochModel
from tfprune.training.epoch_program import Feeding
from tfprune.training.network import build_network
from tfprune.training.optimizers import build_optimizer
from tfprune.training.resident import ResidentProgram
from tfprune.training.schedules import fixed
from tfprune.training.stacked import StackedProgram
from tfprune.training.together import Together

BATCH = 128
MNIST, CIFAR = (28, 28, 1), (32, 32, 3)


def program_of(
    model: str, dtype: str, train: int = 50_000, test: int = 10_000, stack: int = 1
) -> ResidentProgram:
    """A network's epoch on images of MNIST's or CIFAR-10's shape, all zeros; kept by the CPU.

    Args:
      model: its name.
      dtype: the Keras dtype policy.
      train: training examples.
      test: test examples.
      stack: how many trainings are trained together.
    """
    shape = MNIST if model.startswith("lenet") else CIFAR
    config = from_settings({"model": model, "dtype": dtype, "momentum": 0.9, "weight_decay": 1e-4})
    data = _zeros(shape, {"": train, "val_": 0, "test_": test})
    with tf.device("/CPU:0"):
        network = EpochModel.of(build_network(config, shape, 10))
        network.compile(build_optimizer(config.training))
        program = (
            StackedProgram(network, BATCH, True, Together(stack))
            if stack > 1
            else ResidentProgram(network, BATCH, jit=True)
        )
        program.attach(data, Feeding(0, 0, fixed(0.1)))
    return program


def steps_of(program: ResidentProgram) -> tuple[Any, tuple[Any, ...]]:
    """The compiled steps of an epoch, and what they take."""
    if isinstance(program, StackedProgram):
        return program.stack.steps, program.stack.inputs([program.seat(0)])
    return program.steps, program.inputs(0)


def _zeros(shape: tuple[int, ...], splits: dict[str, int]) -> PreparedData:
    images = {f"{name}images": np.zeros((n, *shape), np.uint8) for name, n in splits.items()}
    labels = {f"{name}labels": np.zeros(n, np.int32) for name, n in splits.items()}
    return PreparedData(
        name="zeros",
        num_classes=10,
        class_names=(),
        mean=np.zeros(shape[-1], np.float32),
        std=np.ones(shape[-1], np.float32),
        source_images=images["images"],
        original_labels=labels["labels"],
        selected=np.zeros(splits[""], bool),
        indices=np.arange(splits[""]),
        val_indices=np.arange(0),
        **images,
        **labels,
    )


def stablehlo(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """A `tf.function` as compilers outside TensorFlow take it.

    Args:
      function: compiled with XLA.
      arguments: what it is called with; only shapes and dtypes matter.

    Raises:
      ImportError: jax is not installed.
    """
    from jax._src.lib import xla_client

    program = function.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized")
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(program))
    # The one operation of TensorFlow's that StableHLO does not have; it copies.
    return re.sub(
        r"= mhlo\.copy (%\S+) : (tensor<[^>]*>)", r"= stablehlo.reshape \1 : (\2) -> \2", text
    )


def compiled_for(device: Any, text: str, overrides: dict[str, Any] | None = None) -> Any:
    """What a device's compiler makes of StableHLO.

    Args:
      device: of a jax topology; it need not be there.
      text: the program.
      overrides: flags of XLA, by name.
    """
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jaxlib import _jax
    from jaxlib.mlir import ir

    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = xla_client.DeviceAssignment.create(np.array([[0]]))
    options.env_option_overrides = list((overrides or {}).items())
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
    return device.client.compile(module, _jax.DeviceList((device,)), options)


def loop_body(program: str) -> list[str]:
    """The instructions of one turn of a compiled program's own loop.

    Args:
      program: its text; loops inside of others come before them.

    Returns:
      A line for each instruction; none without a loop.
    """
    bodies = re.findall(r" while\(.*body=%?([\w.\-]+)", program)
    if not bodies:
        return []
    (body,) = re.findall(
        rf"^%?{re.escape(bodies[-1])} .*?^}}", program, flags=re.MULTILINE | re.DOTALL
    )
    return body.splitlines()[1:-1]
