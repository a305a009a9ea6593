"""How exactly a device multiplies float32 matrices: IEEE float32, or rounded to TensorFloat-32.

Since Ampere, NVIDIA's GPUs round the factors of matrix products and convolutions to ten bits of
mantissa (TF32) unless TensorFlow is told otherwise. Training bears that; what measures or scores
does not: small differences are what it is after. TensorFlow has one switch for the process, which
compiled programs read when they are compiled and others when they run, so both happen inside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tfprune.backend import tf

_switch = tf.config.experimental


@contextlib.contextmanager
def products(kind: str) -> Iterator[None]:
    """Inside, and inside of functions that it decorates, float32 products are of this kind.

    Args:
      kind: `ieee`, or `tf32`, which has an effect on GPUs that have it only.
    """
    before = _switch.tensor_float_32_execution_enabled()
    _switch.enable_tensor_float_32_execution(kind == "tf32")
    try:
        yield
    finally:
        _switch.enable_tensor_float_32_execution(before)
