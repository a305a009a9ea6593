"""The one module that imports TensorFlow's Keras: `from tfprune.backend import keras, tf`.

tensorflow-model-optimization wraps layers of `tf_keras` (Keras 2) only. `import tfprune` asked
TensorFlow for it; this module refuses to start where Keras 3 was there before.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_KERAS_3_MESSAGE = (
    "Keras 3 was loaded before tfprune, and tensorflow-model-optimization cannot wrap its layers: "
    "import tfprune before TensorFlow and Keras, or set TF_USE_LEGACY_KERAS=1, and build your "
    "model with tf_keras."
)


def _keras_3_came_first() -> bool:
    """Whether the program imported Keras 3 itself, before `tfprune`.

    TensorFlow imports Keras 3 on its own when TF_USE_LEGACY_KERAS is unset, which does no harm.
    `sys.modules` is in the order in which imports were finished, so only a `keras` that was
    finished after `tensorflow`, or without it, is the program's own. One that came after `tfprune`
    leaves `tf.keras` as it should be.
    """
    loaded = list(sys.modules)
    if "keras" not in loaded or not _is_keras_3(sys.modules["keras"]):
        return False
    came = loaded.index("keras")
    if came > loaded.index("tfprune"):
        return False
    return "tensorflow" not in loaded or came > loaded.index("tensorflow")


def _is_keras_3(module: object) -> bool:
    version = getattr(module, "__version__", None) or getattr(module, "version", str)()
    return str(version).startswith("3")


if _keras_3_came_first():
    raise ImportError(_KERAS_3_MESSAGE)

import tensorflow as tf  # noqa: E402

if _is_keras_3(tf.keras):
    raise ImportError(_KERAS_3_MESSAGE)

import tf_keras as keras  # noqa: E402

__all__ = ["keras", "map_in_turn", "tf", "without_keras_3"]


def map_in_turn(function: Callable[[Any], Any], elements: Any, signature: Any) -> Any:
    """`tf.map_fn`, one element after the other: for functions that share variables.

    TensorFlow's own, in which the function raises while it is traced, leaves a setting behind with
    which no strategy of several devices can begin in the process any more.

    Args:
      function: of one element.
      elements: stacked along their first axis; a tensor, or several.
      signature: of what the function returns, as `tf.TensorSpec`s.
    """
    scope = tf.compat.v1.get_variable_scope()
    before = scope.caching_device
    try:
        return tf.map_fn(function, elements, fn_output_signature=signature, parallel_iterations=1)
    except BaseException:
        if not tf.executing_eagerly():
            scope.set_caching_device(before)
        raise


@contextlib.contextmanager
def without_keras_3() -> Iterator[None]:
    """While inside, whoever tries to import Keras 3 goes on as if it was not installed.

    tensorflow-model-optimization looks for a class of Keras 2 in it, which is not there, and that
    takes longer than to import TensorFlow.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]
