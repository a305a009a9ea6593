"""Device, compiler and determinism: the only process-wide settings, made when a run starts."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from tfprune.backend import keras, tf
from tfprune.config import RunConfig
from tfprune.errors import SettingError

_VERSIONED = (
    "tfprune",
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "tensorflow-datasets",
    "numpy",
)


def configure(config: RunConfig) -> None:
    """Applies a run's strategy and determinism to this process.

    Raises:
      SettingError: the strategy asks for a device that is not there.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if config.strategy == "gpu" and not gpus:
        raise SettingError("strategy", "gpu", "TensorFlow sees no GPU; use cpu or auto")
    if config.strategy == "cpu" and gpus:
        with contextlib.suppress(RuntimeError):  # Devices are in use already: placement decides.
            tf.config.set_visible_devices([], "GPU")
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()


def device(config: RunConfig) -> str:
    """The device that trains, as TensorFlow names it."""
    use_gpu = config.strategy != "cpu" and tf.config.list_logical_devices("GPU")
    return "/GPU:0" if use_gpu else "/CPU:0"


def device_description(config: RunConfig) -> str:
    """The device in words, for config.json."""
    if device(config) == "/CPU:0":
        return f"CPU {platform.machine()}"
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    return f"GPU {details.get('device_name', '')}".strip()


def use_jit(config: RunConfig, model: keras.Model) -> bool:
    """Whether to compile with XLA: on accelerators, and on a CPU for networks without
    convolutions, which oneDNN runs faster than XLA does."""
    if config.jit != "auto":
        return config.jit == "on"
    if device(config) != "/CPU:0":
        return True
    return not any(isinstance(layer, keras.layers.Conv2D) for layer in model.submodules)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside take this Keras dtype policy."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for package in _VERSIONED:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
