"""What a model's outputs and labels mean: its task, as every criterion and measure takes it.

The compiled loss decides, then the activation that the model ends in, then the shape of the
labels. What these leave open is refused in one line, before anything is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfprune.backend import keras, tf
from tfprune.errors import InputError

# (labels [batch, ...], outputs [batch, ...]) -> float [batch], a loss for each example.
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# Kinds of tasks. `classes`: one of C classes for each example. `binary`: the same of two, by one
# output. `multi_label`: C yes-or-no answers. `values`: numbers, or a
# class at each of several positions. `open`: whatever the labels say.
KINDS = ("classes", "binary", "multi_label", "values", "open")

# Layers that neither mix outputs nor apply an activation: what comes before them is the end.
_TRANSPARENT = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Dropout,
    keras.layers.ActivityRegularization,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
)

_PROBABILITIES = ("softmax", "sigmoid")

_CATEGORICAL = ("categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_VALUES = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "cosine_similarity",
    "hinge",
    "squared_hinge",
)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each example, in nats.

    Args:
      labels: int32 [batch].
      logits: float [batch, classes].
    """
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


@dataclass(frozen=True, eq=False)
class Task:
    """What one output of a model and its labels mean. Make one with `task_of`.

    Attributes:
      model: the model's name, for messages.
      kind: one of `KINDS`.
      width: C, numbers in an output; None where the model does not say.
      from_logits: whether outputs are logits; else they are probabilities.
      form: the labels that `loss` takes: `index`, int32 [batch]; `one_hot`, float [batch, C];
        `column`, float [batch, 1]; `given`, as they are; `compiled`, as they are but for what
        Keras does to them before it calls a compiled loss; `wide`, the same, and as wide as the
        outputs, since Keras's own losses stretch labels that are not, in silence.
      loss: of each example.
    """

    model: str
    kind: str
    width: int | None
    from_logits: bool
    form: str
    loss: Loss

    def labels(self, given: ArrayLike) -> np.ndarray:
        """The labels of N examples, checked, as the other methods take them.

        Args:
          given: one class each, integers or whole floats [N] or [N, 1]; one-hot rows [N, C]; for
            a categorical loss also probabilities [N, C]; or what another loss takes, [N, ...].

        Returns:
          int32 [N], the classes, for `classes` and `binary`, unless they are probabilities;
          else the values, float as Keras's `floatx` or integers.

        Raises:
          InputError: they do not fit the outputs; the message says what would.
        """
        values = np.asarray(given)
        if values.dtype == np.bool_:
            values = values.astype(np.int32)
        if not np.issubdtype(values.dtype, np.number) or not values.ndim:
            raise InputError(f"labels must be numbers, not {values.dtype} of shape {values.shape}")
        if self.form in ("index", "one_hot", "column"):
            return self._classes_of(values)
        is_as_wide = values.ndim > 1 and values.shape[-1] == self.width
        if self.form == "wide" and self.width not in (None, 1) and not is_as_wide:
            raise self._unfit("others", values)
        if np.issubdtype(values.dtype, np.floating):
            return values.astype(keras.backend.floatx())
        if self.form != "given" and self.is_single_label(values) and _is_column(values):
            self._check_range(values)
        return values.astype(np.int32)

    def example_losses(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The loss of each example, [batch].

        Args:
          labels: as `labels` returns.
          outputs: of the model, [batch, ...].
        """
        if outputs.shape.rank == 1:
            outputs = outputs[:, tf.newaxis]
        losses = self.loss(self._in_form(labels, outputs), outputs)
        if losses.shape.rank == 0:  # A mean already, as Keras takes it.
            return tf.fill([tf.shape(outputs)[0]], losses)
        if losses.shape.rank > 1:
            return tf.reduce_mean(losses, axis=range(1, losses.shape.rank))
        return losses

    def is_single_label(self, labels: Any) -> bool:
        """Whether each example has one class, so that it can be right or wrong.

        Args:
          labels: [N, ...], as `labels` returns.
        """
        if self.kind != "open":
            return self.kind in ("classes", "binary")
        return np.issubdtype(_numpy_dtype(labels), np.integer) and _is_column(labels)

    def check_single_label(self, labels: Any, what: str) -> None:
        """Refuses what only a classifier with one label for each example has.

        Args:
          labels: as `labels` returns.
          what: what is asked for, the beginning of the message.

        Raises:
          InputError: it is another task.
        """
        if not self.is_single_label(labels):
            raise InputError(
                f"{what} is for classifiers with one label for each example, and {self._describe()}"
            )

    def class_labels(self, given: ArrayLike, what: str) -> np.ndarray:
        """The one class of each example, int32 [N].

        Args:
          given: as for `labels`.
          what: what is asked for, the beginning of the message.

        Raises:
          InputError: the labels do not fit, or an example has not one class.
        """
        labels = self.labels(given)
        self.check_single_label(labels, what)
        if not _is_column(labels) and not _is_one_hot(labels):
            raise InputError(f"{what} needs one class for each example, not probabilities of some")
        return np.asarray(self.classes(tf.constant(labels)))

    def check_probabilities(self, what: str) -> None:
        """Refuses what compares distributions over classes where outputs are none.

        Raises:
          InputError: the outputs are neither logits nor probabilities of classes.
        """
        if self.kind not in ("classes", "binary", "open"):
            raise InputError(f"{what} compares distributions over classes, and {self._describe()}")

    def predicted(self, outputs: tf.Tensor) -> tf.Tensor:
        """The class of each example, int32 [batch]."""
        if self.width == 1:
            threshold = 0.0 if self.from_logits else 0.5
            return tf.cast(tf.reshape(outputs, [-1]) > threshold, tf.int32)
        return tf.argmax(outputs, axis=-1, output_type=tf.int32)

    def classes(self, labels: tf.Tensor) -> tf.Tensor:
        """The class that each label says, int32 [batch]."""
        if labels.shape.rank == 1:
            return labels if labels.dtype == tf.int32 else tf.cast(labels, tf.int32)
        if labels.shape[-1] == 1:
            return tf.cast(labels[:, 0], tf.int32)
        return tf.argmax(labels, axis=-1, output_type=tf.int32)

    def correct(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Whether the prediction is the label's class, bool [batch]."""
        return self.predicted(outputs) == self.classes(labels)

    def by_class(self, outputs: tf.Tensor) -> tf.Tensor:
        """Outputs with a column for each class: one output stands for two classes.

        Args:
          outputs: [batch, C].

        Returns:
          [batch, C], or for C = 1 [batch, 2]: logits (0, z) or probabilities (1 - p, p).
        """
        if self.width != 1:
            return outputs
        one = tf.reshape(outputs, [-1, 1])
        return tf.concat([tf.zeros_like(one) if self.from_logits else 1 - one, one], axis=1)

    def _describe(self) -> str:
        what = {
            "multi_label": f"{self.width} answers that do not exclude each other",
            "open": "what the labels do not make classes",
        }
        numbers = "a number" if self.width == 1 else "several numbers"
        return f"model {self.model!r} puts out {what.get(self.kind, numbers)}"

    def _classes_of(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 2 and values.shape[1] == self.width and values.shape[1] > 1:
            if _is_one_hot(values):
                return values.argmax(axis=1).astype(np.int32)
            if self.form == "one_hot":
                return values.astype(keras.backend.floatx())
            raise self._unfit("rows that are not one-hot", values)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise self._unfit("others", values)
        if np.issubdtype(values.dtype, np.floating) and not np.all(values == np.rint(values)):
            raise self._unfit("fractions", values)
        self._check_range(values)
        return values.astype(np.int32)

    def _check_range(self, values: np.ndarray) -> None:
        count = 2 if self.width == 1 else self.width
        if values.size and count is not None and (values.min() < 0 or values.max() >= count):
            raise InputError(
                f"labels go from {values.min():g} to {values.max():g}, and model {self.model!r} "
                f"tells classes 0 to {count - 1} apart"
                + (", by one output" if self.width == 1 else "")
            )

    def _unfit(self, found: str, values: np.ndarray) -> InputError:
        wanted = {
            "wide": f"of shape [N, {self.width}]",
            "column": "0 or 1 for each example, [N] or [N, 1]: it has one output",
        }.get(self.form, f"0 to {(self.width or 0) - 1}, [N] or [N, 1], or one-hot ones")
        return InputError(
            f"model {self.model!r} takes labels {wanted}, not {found} of shape {values.shape}"
        )

    def _in_form(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Labels as the loss takes them."""
        if self.form == "one_hot" and labels.shape.rank == 1:
            return tf.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
        if self.form == "column":
            return tf.cast(labels[:, tf.newaxis], outputs.dtype)
        if self.form in ("compiled", "wide"):
            # What Keras does before it calls a compiled loss.
            if labels.shape.rank == 1 and outputs.shape.rank > 1:
                labels = labels[:, tf.newaxis]
            if labels.dtype.is_floating:
                labels = tf.cast(labels, outputs.dtype)
        return labels


def task_of(model: keras.Model, loss: Loss | None = None, from_logits: bool | None = None) -> Task:
    """What a model's outputs and labels mean.

    The compiled loss decides: what labels it takes, and whether outputs are logits. A softmax or
    sigmoid at the end makes outputs probabilities whatever the loss says of logits, as in Keras.
    A model that was not compiled ends in logits of two classes or more, in a softmax (measured by
    the cross-entropy of its probabilities) or in sigmoids (by the binary cross-entropy).

    Args:
      model: any built `tf_keras` model with one output.
      loss: of each example, (labels, outputs) -> [batch], in place of the compiled one. Labels
        are int32 [batch] where there is one class each.
      from_logits: says what outputs are where neither loss nor activation does; None finds out.

    Raises:
      InputError: the model has several outputs, or nothing says what its outputs mean.
    """
    compiled = _compiled_loss(model)
    width, end = _width(model), end_of(model)
    positions = _has_positions(model)
    classifies = (width != 1 or end == "sigmoid") and not positions
    task = None if compiled is None else _by_loss(model, compiled, width, end)
    if loss is not None and task is not None and task.kind in ("classes", "binary"):
        task = replace(task, form="index", loss=loss)
    elif loss is not None:
        kind = "open" if classifies else "values"
        task = Task(model.name, kind, width, end not in _PROBABILITIES, "given", loss)
    elif task is None and classifies:
        task = _by_end(model, width, end)
    if task is None:
        outputs = f"outputs of shape {model.output_shape}" if positions else "one output"
        raise InputError(
            f"model {model.name!r} has {outputs}, which may be logits or any numbers: compile the "
            "model with its loss"
        )
    return task if from_logits is None else _said(task, from_logits, end)


def batch_loss_of(model: keras.Model) -> Callable[[Any, Any], tf.Tensor]:
    """The mean loss of a batch, as a function of its labels and the model's outputs.

    Of a model with several outputs it is the compiled one: the sum of the losses of the outputs,
    each times its weight. Penalties that layers add are left out.

    Raises:
      InputError: nothing says what the outputs mean, or, in a call, labels do not fit them.
    """
    if len(_output_names(model)) > 1:
        return _compiled_batch_loss(model)
    task = task_of(model)

    def mean(labels: Any, outputs: tf.Tensor) -> tf.Tensor:
        (outputs,) = tf.nest.flatten(outputs)
        (labels,) = tf.nest.flatten(labels)
        return tf.reduce_mean(task.example_losses(tf.constant(task.labels(labels)), outputs))

    return mean


def check_one_input(model: keras.Model) -> None:
    """Refuses a model with several inputs.

    Raises:
      InputError: it has.
    """
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    if len(names) > 1:
        raise InputError(
            f"model {model.name!r} has the inputs {', '.join(names)}, and models of one are "
            "measured: give one that takes them in one array"
        )


def _said(task: Task, from_logits: bool, end: str) -> Task:
    if end in (*_PROBABILITIES, "logits") and from_logits != task.from_logits:
        kinds = ("probabilities", "logits") if from_logits else ("logits", "probabilities")
        raise InputError(
            f"model {task.model!r} gives {kinds[0]}, not {kinds[1]}: "
            f"say from_logits={not from_logits}"
        )
    return replace(task, from_logits=from_logits)


def _by_end(model: keras.Model, width: int | None, end: str) -> Task:
    """The task of a model that was not compiled."""
    if end == "other" or (end == "softmax" and width == 1):
        raise InputError(
            f"model {model.name!r} ends in neither logits, a softmax nor sigmoids: compile it "
            "with its loss"
        )
    losses = keras.losses
    if end == "sigmoid" and width == 1:
        return Task(model.name, "binary", 1, False, "column", losses.binary_crossentropy)
    if end == "sigmoid":
        return Task(model.name, "multi_label", width, False, "wide", _of_probabilities)
    loss = losses.sparse_categorical_crossentropy if end == "softmax" else cross_entropy
    return Task(model.name, "classes", width, end != "softmax", "index", loss)


def _of_probabilities(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    return keras.losses.binary_crossentropy(tf.cast(labels, outputs.dtype), outputs)


def _by_loss(model: keras.Model, compiled: _Compiled, width: int | None, end: str) -> Task:
    """The task of a compiled model."""
    probable = end in _PROBABILITIES
    logits = not probable and (compiled.from_logits if compiled.is_entropy else True)

    def task(kind: str, form: str) -> Task:
        return Task(model.name, kind, width, logits, form, compiled.of_examples)

    name = compiled.name
    if _has_positions(model):
        return task("values", "compiled")
    if name == "sparse_categorical_crossentropy" or name in _CATEGORICAL:
        if width == 1:
            raise InputError(
                f"model {model.name!r} has one output, of which {name} is 0 always: compile it "
                "with binary_crossentropy"
            )
        return task("classes", "index" if name.startswith("sparse") else "one_hot")
    if width == 1 and name in _BINARY:
        return task("binary", "column")
    form = "wide" if compiled.is_known else "compiled"
    if end == "softmax" and width != 1:
        return task("classes", "one_hot" if name in _BINARY else form)
    if width == 1 and end == "sigmoid":
        return task("open", form)
    if name in _BINARY:
        return task("multi_label", form)
    return task("values" if compiled.is_known or width == 1 else "open", form)


@dataclass(frozen=True, eq=False)
class _Compiled:
    """The loss that a model was compiled with.

    Attributes:
      name: of Keras's function; empty for a loss of one's own.
      from_logits: as the loss was told.
      of_examples: the loss of each example, times the weight that `compile` gave it.
    """

    name: str
    from_logits: bool
    of_examples: Loss

    @property
    def is_known(self) -> bool:
        return bool(self.name)

    @property
    def is_entropy(self) -> bool:
        return self.name in ("sparse_categorical_crossentropy", *_CATEGORICAL, *_BINARY)


def _compiled_loss(model: keras.Model) -> _Compiled | None:
    _check_one_output(model)
    losses = [loss for loss in tf.nest.flatten(getattr(model, "loss", None)) if loss is not None]
    if not losses:
        return None
    loss = keras.losses.get(losses[0])
    function = getattr(loss, "fn", None if isinstance(loss, keras.losses.Loss) else loss)
    settings = getattr(loss, "_fn_kwargs", {})
    if settings.get("ignore_class") is not None:
        raise InputError(f"model {model.name!r} has a loss with ignore_class, which is not known")
    names = ("sparse_categorical_crossentropy", *_CATEGORICAL, *_BINARY, *_VALUES)
    found = [name for name in names if getattr(keras.losses, name, None) is function]
    per_example = loss.call if isinstance(loss, keras.losses.Loss) else loss
    weights = getattr(getattr(model, "compiled_loss", None), "_user_loss_weights", None)
    (weight,) = tf.nest.flatten(weights) or [None]

    def of_examples(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        values = per_example(labels, outputs)
        return values if weight is None or weight == 1 else values * weight

    return _Compiled(
        found[0] if found else "", bool(settings.get("from_logits", False)), of_examples
    )


def _compiled_batch_loss(model: keras.Model) -> Callable[[Any, Any], tf.Tensor]:
    compiled = getattr(model, "compiled_loss", None)
    if compiled is None or not getattr(model, "loss", None):
        raise InputError(
            f"model {model.name!r} has the outputs {', '.join(_output_names(model))} and no loss: "
            "compile it with one for each"
        )
    # Another one than the model's own, which keeps the means that `fit` logs.
    total = type(compiled)(
        compiled._user_losses, compiled._user_loss_weights, output_names=model.output_names
    )
    return lambda labels, outputs: total(
        tf.nest.map_structure(tf.convert_to_tensor, labels), outputs
    )


def _output_names(model: keras.Model) -> list[str]:
    return list(getattr(model, "output_names", None) or ())


def _check_one_output(model: keras.Model) -> None:
    names = _output_names(model)
    shape = _output_shape(model)
    if len(names) > 1 or not isinstance(shape, tuple | None):
        raise InputError(
            f"model {model.name!r} has the outputs {', '.join(names)}, and one is measured: give "
            "keras.Model(model.inputs, model.outputs[0]) or another of them"
        )


def _output_shape(model: keras.Model) -> Any:
    """As Keras says it, None where it does not, as of a subclassed model."""
    try:
        return model.output_shape
    except (AttributeError, RuntimeError):
        return None


def _width(model: keras.Model) -> int | None:
    shape = _output_shape(model)
    if shape is None:
        return None
    return shape[-1] if len(shape) > 1 else 1


def _has_positions(model: keras.Model) -> bool:
    """Whether outputs are more than a row for each example, as those of segmentation are."""
    return _width(model) is not None and len(model.output_shape) > 2


def end_of(model: keras.Model) -> str:
    """What the model ends in: `logits`, `softmax`, `sigmoid`, `other`, or `unknown`."""
    if not getattr(model, "outputs", None):
        return "unknown"
    tensor = tf.nest.flatten(model.outputs)[0]
    while True:
        layer, node_index, tensor_index = tensor._keras_history
        node = layer._inbound_nodes[node_index]
        while isinstance(layer, keras.layers.Wrapper):
            layer = layer.layer
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
            tensor = tf.nest.flatten(layer.outputs)[tensor_index]
            continue
        if isinstance(layer, _TRANSPARENT):
            (tensor, *_) = node.keras_inputs
            continue
        kind = _activation_kind(layer)
        if kind == "identity" and isinstance(layer, keras.layers.Activation):
            (tensor, *_) = node.keras_inputs
            continue
        return "logits" if kind == "identity" else kind


def _activation_kind(layer: keras.layers.Layer) -> str:
    """What the layer's last function does to numbers, tried on some."""
    if isinstance(layer, keras.layers.RNN):
        return "other"  # Its activation is not what it ends in.
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    function = getattr(layer, "activation", None) or getattr(layer, "function", None)
    if not callable(function):
        return "unknown"
    numbers = np.array([[-1.5, 0.25, 2.0]], np.float32)
    try:
        found = np.asarray(function(tf.constant(numbers)))
    except Exception:  # A function of a layer of one's own, of who knows what.
        return "unknown"
    softmax = np.exp(numbers) / np.exp(numbers).sum()
    expected = {
        "identity": numbers,
        "softmax": softmax,
        "sigmoid": 1 / (1 + np.exp(-numbers)),
        "logits": np.log(softmax),  # Softmax takes log-probabilities to the probabilities.
    }
    for kind, values in expected.items():
        if found.shape == values.shape and np.allclose(found, values, atol=1e-4):
            return kind
    return "other"


def _is_one_hot(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all())


def _is_column(values: Any) -> bool:
    return len(values.shape) == 1 or tuple(values.shape[1:]) == (1,)


def _numpy_dtype(values: Any) -> Any:
    return getattr(values.dtype, "as_numpy_dtype", values.dtype)
