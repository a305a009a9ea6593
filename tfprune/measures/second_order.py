"""Where TensorFlow's second derivatives are wrong or missing: what is mended, what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from tfprune.backend import keras, tf
from tfprune.errors import InputError

# isort: split
from tensorflow.python.framework import ops
from tensorflow.python.ops import nn_impl

# Stopping the gradient of the largest exponent changes no derivative: it cancels.
_HARMLESS_SCOPES = ("reducelogsumexp", "reduce_logsumexp", "logsumexp")


@contextlib.contextmanager
def exact_moments() -> Iterator[None]:
    """While it lasts, `tf.nn.moments` has right second derivatives.

    TensorFlow's stops the gradient of the mean inside the variance: right for first derivatives,
    where that term is zero, and wrong for second ones. Layer normalization calls it wherever it
    is not fused, with an epsilon below 1.001e-5 and in float64. The replacement has the same
    values and first derivatives, so it may be met by anybody else meanwhile.
    """
    original = nn_impl.moments
    nn_impl.moments = _moments
    try:
        yield
    finally:
        nn_impl.moments = original


def _moments(
    x: tf.Tensor,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.name_scope(name or "moments"):
        keep = bool(keep_dims or keepdims)
        x = tf.convert_to_tensor(x)
        exact = tf.cast(x, tf.float32) if x.dtype == tf.float16 else x
        mean = tf.reduce_mean(exact, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(exact, mean), axes, keepdims=keep)
        mean = mean if keep else tf.squeeze(mean, axes)
        return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


def check_gradient_graph(
    graph: tf.Graph, model: keras.Model, variables: Iterable[tf.Variable]
) -> None:
    """Refuses gradients whose own derivatives TensorFlow would get wrong in silence.

    Such are a stopped gradient, and gradients that are registered as having none themselves, as
    that of bilinear resizing is: their part of the Hessian would be left out.

    Args:
      graph: in which the gradients were computed.
      model: whose loss it is, for messages.
      variables: with respect to which.

    Raises:
      InputError: there is one on the way from the variables.
    """
    copies = (part for v in variables for part in getattr(v, "values", (v,)))  # One a device.
    handles = {id(variable.handle) for variable in copies}
    moved = {inner.name for outer, inner in graph.captures if id(outer) in handles}
    for op in graph.get_operations():
        if not any(tensor.name in moved for tensor in op.inputs):
            continue
        moved.update(tensor.name for tensor in op.outputs)
        wrong = op.type if _is_wrong(op.type, op.name) else _wrong_inside(graph, op)
        if wrong is not None:
            raise _refusal(model, wrong, op.name)


def missing_derivative(error: LookupError, graph: tf.Graph, model: keras.Model) -> InputError:
    """The refusal of a loss of which TensorFlow has no second derivative.

    Args:
      error: what TensorFlow raised.
      graph: in which the first ones were computed.
      model: whose loss it is.
    """
    kind = str(error).rsplit(": ", 1)[-1].strip()
    names = [op.name for op in graph.get_operations() if op.type == kind]
    return _refusal(model, kind, names[0] if names else kind)


def _refusal(model: keras.Model, kind: str, name: str) -> InputError:
    layers = {layer.name: layer for layer in model.submodules if hasattr(layer, "call")}
    inside = [layers[part] for part in name.split("/") if part in layers and part != model.name]
    where = f" of layer {inside[-1].name!r} ({type(inside[-1]).__name__})" if inside else ""
    return InputError(
        f"model {model.name!r} has no Hessian here: TensorFlow has no second derivative through "
        f"{kind}{where}"
    )


def _is_wrong(kind: str, name: str) -> bool:
    if kind == "StopGradient":
        return not any(part in name.lower() for part in _HARMLESS_SCOPES)
    if not kind.endswith(("Grad", "Gradient")):
        return False
    try:
        return ops.gradient_registry.lookup(kind) is None
    except LookupError:
        return False  # Not registered: TensorFlow says so itself when it is asked.


def _wrong_inside(graph: tf.Graph, op: tf.Operation) -> str | None:
    """What is wrong in the functions that an operation calls, such as the body of a loop."""
    if not any(attribute.HasField("func") for attribute in op.node_def.attr.values()):
        return None
    functions = graph.as_graph_def().library.function
    kinds = (node.op for function in functions for node in function.node_def
             if _is_wrong(node.op, node.name))  # fmt: skip
    return next(kinds, None)
