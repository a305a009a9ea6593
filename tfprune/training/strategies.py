"""The one place where a `tf.distribute` strategy is made, and what its processes tell each other.

TensorFlow wants one strategy object per process: a second one, after a first has trained, was
seen to cancel its own operations. `strategy=multi_worker` must be made before TensorFlow runs
its first operation, so `runtime.configure` comes before data are loaded or a model is built.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from tfprune.backend import tf
from tfprune.config import RunConfig
from tfprune.errors import InputError, SettingError
from tfprune.training.cluster import Worker, worker_of

DISTRIBUTED = ("mirrored", "multi_worker", "tpu")

_JSON = TypeVar("_JSON")


@dataclass(frozen=True)
class Distribution:
    """The replicas that train one network, and the processes they live in.

    Attributes:
      strategy: of `tf.distribute`; None where one device trains.
      worker: this process among those of the run.
    """

    strategy: tf.distribute.Strategy | None = None
    worker: Worker = field(default_factory=Worker)

    @property
    def num_replicas(self) -> int:
        """How many devices share a batch, over all processes."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.worker.is_chief

    @property
    def is_tpu(self) -> bool:
        """Whether programs must have one static shape on all replicas."""
        return isinstance(self.strategy, tf.distribute.TPUStrategy)

    def from_chief(self, value: _JSON) -> _JSON:
        """The chief's value, which may be anything that JSON holds, in every process.

        Every process must call it, in the same order. Where there is one process, the value
        itself.
        """
        if self.worker.num_workers == 1:
            return value
        text = json.dumps(value).encode()
        (length,) = np.frombuffer(self._chiefs(np.int64(len(text)).tobytes()), np.int64)
        return json.loads(self._chiefs(text if self.is_chief else bytes(length)))

    def arrays_from_chief(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The chief's numbers in every process, bit for bit.

        Names, shapes and dtypes must be the same in all.
        """
        if self.worker.num_workers == 1:
            return dict(arrays)
        own = {name: np.asarray(array) for name, array in arrays.items()}
        received = self._chiefs(b"".join(array.tobytes() for array in own.values()))
        found, start = {}, 0
        for name, array in own.items():
            values = np.frombuffer(received, array.dtype, array.size, start)
            found[name] = values.reshape(array.shape).copy()
            start += array.nbytes
        return found

    def _chiefs(self, own: bytes) -> bytes:
        """The chief's bytes; each process gives as many, and those of the others do not count.

        They travel as float32 numbers below 65,536, which are exact, in a sum over all replicas to
        which all but the chief's first one add zeros: GPUs sum no integers.
        """
        strategy = self.strategy
        assert strategy is not None  # More than one process.
        numbers = np.frombuffer(own + bytes(len(own) % 2), np.uint16).astype(np.float32)
        sent = tf.constant(numbers if self.is_chief else np.zeros_like(numbers))

        def first_replica() -> tf.Tensor:
            index = tf.get_static_value(
                tf.distribute.get_replica_context().replica_id_in_sync_group
            )
            return sent if index == 0 else tf.zeros_like(sent)

        def run() -> tf.Tensor:
            return strategy.reduce(
                tf.distribute.ReduceOp.SUM, strategy.run(first_replica), axis=None
            )

        total = tf.function(run, autograph=False)()
        return total.numpy().astype(np.uint16).tobytes()[: len(own)]


def distribution_of(config: RunConfig) -> Distribution:
    """The distribution that a run asks for; the same strategy object in the whole process.

    Raises:
      SettingError: there is no TPU, or TF_CONFIG is missing or cannot be used.
      InputError: TensorFlow has started already, too late for `multi_worker`.
    """
    if config.strategy not in DISTRIBUTED:
        return Distribution()
    worker = worker_of(config)
    return Distribution(_strategy(config.strategy, config.tpu), worker)


@functools.cache
def _strategy(kind: str, tpu: str) -> tf.distribute.Strategy:
    if kind == "tpu":
        return _tpu_strategy(tpu)
    if kind == "multi_worker":
        return _multi_worker_strategy()
    return tf.distribute.MirroredStrategy(mirrored_devices())


def mirrored_devices() -> list[str]:
    """All GPUs of this machine; where there is none, all logical CPU devices (see `split_cpu`)."""
    for kind in ("GPU", "CPU"):
        devices = tf.config.list_logical_devices(kind)
        if devices:
            return [f"/{kind}:{index}" for index in range(len(devices))]
    raise SettingError("strategy", "mirrored", "TensorFlow sees no device")


def _multi_worker_strategy() -> tf.distribute.Strategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=_communication())
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise InputError(
            "`strategy=multi_worker` must be set up before TensorFlow does anything: "
            "call tfprune.training.runtime.configure(config) first in a new process"
        ) from None


def _communication() -> tf.distribute.experimental.CommunicationOptions:
    """How processes exchange numbers: between GPUs by NCCL; TensorFlow's own choice is gRPC."""
    kinds = tf.distribute.experimental.CommunicationImplementation
    has_gpu = bool(tf.config.get_visible_devices("GPU"))
    return tf.distribute.experimental.CommunicationOptions(
        implementation=kinds.NCCL if has_gpu else kinds.AUTO
    )


def _tpu_strategy(name: str) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    try:
        return tf.distribute.TPUStrategy(resolver.connect(name or "local"))
    except (tf.errors.OpError, ImportError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        where = f"no TPU answers as `tpu={name}`" if name else "this machine has no TPU; name `tpu`"
        raise SettingError("strategy", "tpu", f"{where} ({reason})") from None


def split_cpu(devices: int) -> None:
    """Makes TensorFlow see the CPU as several devices, to try `strategy=mirrored` without GPUs.

    Args:
      devices: how many.

    Raises:
      InputError: TensorFlow has started already.

    Example:
      python -c "from tfprune.training.strategies import split_cpu; split_cpu(2); \
from tfprune.__main__ import main; main()" sparse_double_descent --strategy=mirrored
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * devices
    try:
        tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError:
        raise InputError("split_cpu comes before TensorFlow does anything") from None
