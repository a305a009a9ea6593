"""Device, compiler and determinism: the only process-wide settings, made when a run starts."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from tfprune.backend import keras, tf
from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.models.blocks import has_convolutions
from tfprune.training import strategies
from tfprune.training.cluster import worker_of
from tfprune.versions import processor_cores

Gpu = TypeVar("Gpu")


def configure(config: RunConfig, worker: int = 0) -> None:
    """Applies a run's strategy, precision and determinism to this process.

    It comes before data are loaded and models built: `multi_worker` cannot be set up once
    TensorFlow has done anything, nor can a GPU be hidden.

    Args:
      config: the run.
      worker: this process's number among the `workers` of this machine; they take its GPUs in
        turn.

    Raises:
      SettingError: the strategy asks for a device or a worker that is not there, or for more
        processes than there are GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.strategy == "gpu" and not gpus:
        raise SettingError("strategy", "gpu", "TensorFlow sees no GPU; use cpu or auto")
    own = gpus_of(config, gpus, worker, os.environ)
    # Devices are in use already, where placement decides; or somebody has divided one.
    with contextlib.suppress(RuntimeError, ValueError):
        if own != gpus:
            tf.config.set_visible_devices(own, "GPU")
        for gpu in own:
            # Else TensorFlow takes all memory at once, and another process that has work for the
            # card dies: a worker, a task on Ray, a second command on the folder.
            tf.config.experimental.set_memory_growth(gpu, True)
    # Steps of training that may round their products say so themselves.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategies.distribution_of(config)


def gpus_of(
    config: RunConfig, gpus: Sequence[Gpu], worker: int, variables: Mapping[str, str]
) -> list[Gpu]:
    """Those of a machine's GPUs that are this process's; others may have them too.

    Args:
      config: the run.
      gpus: those that TensorFlow sees.
      worker: as for `configure`.
      variables: the process's, `os.environ`.

    Raises:
      SettingError: more processes of `strategy=multi_worker` than GPUs; NCCL lets no two share one.
    """
    if config.strategy == "cpu" or not gpus:
        return []
    if str(config.workers) != "1":
        return [gpus[worker % len(gpus)]]
    # Where somebody has dealt them out, every process sees its own only.
    if config.strategy != "multi_worker" or "CUDA_VISIBLE_DEVICES" in variables:
        return list(gpus)
    process = worker_of(config)
    each = len(gpus) // process.num_neighbours
    if not each:
        raise SettingError(
            "strategy",
            "multi_worker",
            f"at most a process for each GPU of a machine: TF_CONFIG has {process.num_neighbours} "
            f"on this one, which has {len(gpus)}; CUDA_VISIBLE_DEVICES= hides them",
        )
    return list(gpus[process.place * each :][:each])


def device(config: RunConfig) -> str:
    """The device that trains, as TensorFlow names it.

    Under a distributed strategy, the one that does all but train and evaluate: it draws, prunes
    and measures. Beside a TPU that is the CPU.
    """
    use_gpu = config.strategy not in ("cpu", "tpu") and tf.config.list_logical_devices("GPU")
    return "/GPU:0" if use_gpu else "/CPU:0"


def device_description(config: RunConfig) -> str:
    """The device in words, for config.json."""
    replicas = strategies.distribution_of(config).num_replicas
    if config.strategy == "tpu":
        return f"{replicas} TPU cores"
    shared = f"{replicas} x " if config.strategy in strategies.DISTRIBUTED else ""
    return shared + _device_name(config)


def _device_name(config: RunConfig) -> str:
    if device(config) == "/CPU:0":
        # By which convolutions split their sums: another number gives other last bits.
        cores = processor_cores()
        return f"CPU {platform.machine()}, {cores} core{'s' * (cores > 1)}"
    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    return f"GPU {details.get('device_name', '')}".strip()


def use_jit(config: RunConfig, model: keras.Model) -> bool:
    """Whether to compile with XLA: on accelerators, and on a CPU for networks without
    convolutions, which oneDNN runs faster than XLA does."""
    if config.jit != "auto":
        return config.jit == "on"
    return device(config) != "/CPU:0" or not has_convolutions(model)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside take this Keras dtype policy."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
