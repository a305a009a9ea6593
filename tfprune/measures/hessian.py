"""Products with a network's Hessian, norms of per-example gradients, on unpruned parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from tfprune.backend import keras, map_in_turn, tf
from tfprune.errors import InputError, SettingError, nearest
from tfprune.measures import second_order
from tfprune.measures.evaluation import (
    DeviceExamples,
    Evaluator,
    Examples,
    check_examples,
    even_batch,
)
from tfprune.models.task import Loss, check_one_input, task_of
from tfprune.precision import products
from tfprune.pruning.channel_flow import filter_axes
from tfprune.pruning.dead_filters import batch_norm_of, filter_masks
from tfprune.pruning.filter_selection import by_filter
from tfprune.pruning.masks import Masks
from tfprune.pruning.model import get_masks, kernels, masked_layers
from tfprune.pruning.weights import Arrays, named_variables

BoolArray = NDArray[np.bool_]

BATCH_SIZE = 512


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The unpruned trainable parameters of a network, n of them, as the entries of one vector.

    Attributes:
      masks: variable name (as in `tfprune.pruning.weights.named_variables`) -> bool of the
        variable's shape, False where a parameter is pruned. The entries are the variables' in
        this order, each in C order.
    """

    masks: Mapping[str, BoolArray]

    @property
    def size(self) -> int:
        """n, how many parameters are unpruned."""
        return len(self._places)

    @property
    def total(self) -> int:
        """How many trainable parameters there are, pruned ones included."""
        return sum(mask.size for mask in self.masks.values())

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        flat = [mask.ravel() for mask in self.masks.values()]
        return np.flatnonzero(np.concatenate([np.zeros(0, bool), *flat]))

    def embed(self, vector: np.ndarray, dtype: Any = np.float64) -> np.ndarray:
        """The vector [n] among all parameters, [total] of `dtype`: zero where pruned."""
        embedded = np.zeros(self.total, dtype)
        embedded[self._places] = vector
        return embedded

    def restrict(self, vector: np.ndarray) -> np.ndarray:
        """The entries [n] of a vector over all parameters [total] that are unpruned."""
        return vector[self._places]

    def to_arrays(self, vector: np.ndarray) -> Arrays:
        """The vector [n] by variable name, in the variables' shapes: zero where pruned."""
        sizes = [mask.size for mask in self.masks.values()]
        parts = np.split(self.embed(vector, vector.dtype), np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(mask.shape)
            for (name, mask), part in zip(self.masks.items(), parts, strict=True)
        }


def unpruned_coordinates(
    model: keras.Model, masks: Masks | Mapping[str, ArrayLike] | None = None
) -> Coordinates:
    """All trainable parameters that are not pruned: kernels, biases, batch-norm scales and shifts.

    GST's published code differentiates with respect to all of them; pruned ones have no part in
    its forward pass, so that leaving them out changes none of its numbers.

    Args:
      model: any built `tf_keras` model, wrapped or plain.
      masks: None: the masks of a wrapped model. `Masks`: of the kernels of the layers it names.
        In both cases a dead filter's scale, shift, bias and shortcut go too: one whose kernel is
        pruned or zero throughout, and whose batch norm has zero scale and shift. A mapping from
        variable names to masks that broadcast, as `filter_masks` gives, is taken as it is; an
        empty one keeps all parameters.

    Raises:
      InputError: the model is not built or has no trainable parameter left, or a mask is of no
        variable of it.
    """
    variables = trainable_variables(model)
    kept = {name: np.ones(variable.shape, bool) for name, variable in variables.items()}
    if masks is None and masked_layers(model):
        masks = get_masks(model)
    by_variable = _by_variable(model, masks) if isinstance(masks, Masks) else masks or {}
    for name, mask in by_variable.items():
        # A frozen kernel may be masked: it is no coordinate anyway.
        if name in kept:
            kept[name] &= _fitting(name, mask, kept[name].shape)
        elif name not in named_variables(model):
            raise InputError(f"the model has no variable {name!r}: {nearest(name, kept)}")
    if (masks is None or isinstance(masks, Masks)) and _is_graph(model):
        _leave_out_dead_filters(model, variables, kept)
    coordinates = Coordinates(kept)
    if not coordinates.size:
        raise InputError(f"model {model.name!r} has no unpruned trainable parameter to measure")
    return coordinates


def trainable_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """The trainable variables of a built model by name, layer by layer.

    Raises:
      InputError: it is no `tf_keras` model or not built, or a variable belongs to no layer.
    """
    if not isinstance(model, keras.Model) or not model.built:
        name = getattr(model, "name", type(model).__name__)
        raise InputError(f"{name!r} cannot be measured: give a tf_keras model that is built")
    trainable = {id(variable) for variable in model.trainable_variables}
    found = {name: v for name, v in named_variables(model).items() if id(v) in trainable}
    if len(found) != len(trainable):
        raise InputError(
            f"model {model.name!r} has trainable variables outside its layers: put them in a layer"
        )
    return found


class Curvature:
    """The compiled first- and second-order programs of one model, for any weights and masks of it.

    The model is used as it is, in inference mode (batch norm by its moving statistics, no
    dropout), and never written to. The loss is the mean over examples, without the penalties that
    layers add. Whatever weights the model has when a method runs are the ones measured; the
    program for examples of one shape is compiled once.

    Args:
      model: any built `tf_keras` model of one input and one output, wrapped or plain.
      loss: (labels, outputs) -> the loss of each example, [batch]; if None, the loss that the
        model was compiled with, or cross-entropy, in nats. It needs second derivatives.
      jit: whether to compile with XLA, which loses on a CPU with convolutions and a TPU needs.
      batch_size: the most examples in a batch; results depend on it through rounding only. Memory
        is about three times that of a training step with this batch.

    TensorFlow's second derivatives are mended where they are known to be wrong, and refused where
    they are missing: see `tfprune.measures.second_order`. What a `tf.custom_gradient` of one's own
    leaves out of its second derivative is not seen.

    Raises:
      InputError: the model cannot be measured; in the first product, if TensorFlow has no second
        derivative of a layer.
      SettingError: the batch size is below 1.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss | None = None,
        jit: bool = False,
        batch_size: int = BATCH_SIZE,
    ):
        if batch_size < 1:
            raise SettingError("batch_size", batch_size, "at least 1")
        self.model = model
        self._variables = list(trainable_variables(model).values())
        check_one_input(model)
        self.loss = loss
        self._task = task_of(model, loss)
        self._batch_size = batch_size
        self._product = tf.function(self._summed_product, jit_compile=jit, autograph=False)
        self._norms = tf.function(self._squared_norms, jit_compile=jit, autograph=False)

    @cached_property
    def evaluator(self) -> Evaluator:
        """What measures the same loss of the same network at other weights."""
        return Evaluator(self.model, self.loss)

    @property
    def dtype(self) -> np.dtype:
        """What vectors are multiplied in: that of the trainable variables."""
        return np.result_type(*(variable.dtype.as_numpy_dtype for variable in self._variables))

    @property
    def traces(self) -> int:
        """How many Hessian-vector programs were built so far: one per shape of a batch."""
        return self._product.experimental_get_tracing_count()

    def hessian(
        self, examples: Examples, masks: Masks | Mapping[str, ArrayLike] | None = None
    ) -> Hessian:
        """The Hessian of the mean loss over examples, restricted to unpruned coordinates.

        Args:
          examples: what the loss is over.
          masks: see `unpruned_coordinates`.

        Raises:
          InputError: as `unpruned_coordinates`.
        """
        return Hessian(self, examples, unpruned_coordinates(self.model, masks))

    @products("ieee")
    def product(self, batches: list[DeviceExamples], vector: np.ndarray) -> np.ndarray:
        """∇²L v over all trainable parameters, [total], of the summed loss of the batches."""
        on_device = tf.constant(vector, self.dtype)
        found = [self._product(batch, on_device).numpy() for batch in batches]
        return np.sum(found, axis=0) if len(found) > 1 else found[0]

    @products("ieee")
    def gradient_norms(
        self, examples: Examples, masks: Masks | Mapping[str, ArrayLike] | None = None
    ) -> np.ndarray:
        """‖∇ℓᵢ‖² of each example over unpruned coordinates, float64 [examples].

        One example after the other inside the program, so that one gradient is in memory.

        Args:
          examples: what is measured.
          masks: see `unpruned_coordinates`.

        Raises:
          InputError: as `unpruned_coordinates`, or a gradient is not finite.
        """
        coordinates = unpruned_coordinates(self.model, masks)
        kept = [tf.constant(mask) for mask in coordinates.masks.values()]
        batches = self.batches(examples)
        norms = np.concatenate([self._norms(batch, kept).numpy() for batch in batches])
        _check_finite(norms, self.model)
        return norms

    def batches(self, examples: Examples) -> list[DeviceExamples]:
        """The examples on the device, in batches that are as even as can be."""
        check_examples(examples)
        whole = DeviceExamples.of(examples, self._task.labels(examples.labels))
        return [
            whole._replace(images=whole.images[part], labels=whole.labels[part])
            for part in _slices(len(examples.labels), self._batch_size)
        ]

    def _losses(self, batch: DeviceExamples) -> tf.Tensor:
        images = batch.inputs(batch.images, self.model.compute_dtype)
        with second_order.exact_moments():
            outputs = self.model(images, training=False)
        return self._task.example_losses(batch.labels, outputs)

    def _gradients(self, batch: DeviceExamples) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            loss = tf.reduce_sum(self._losses(batch))
        return _dense(tape.gradient(loss, self._variables, unconnected_gradients="zero"))

    def _summed_product(self, batch: DeviceExamples, vector: tf.Tensor) -> tf.Tensor:
        """Reverse over reverse: the gradient of ∇L·v with v held fixed."""
        sizes = [variable.shape.num_elements() for variable in self._variables]
        parts = [
            tf.cast(tf.reshape(part, variable.shape), variable.dtype)
            for part, variable in zip(tf.split(vector, sizes), self._variables, strict=True)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            gradients = self._gradients(batch)
        graph = tf.compat.v1.get_default_graph()
        second_order.check_gradient_graph(graph, self.model, self._variables)
        try:
            products = tape.gradient(
                gradients, self._variables, output_gradients=parts, unconnected_gradients="zero"
            )
        except LookupError as error:
            raise second_order.missing_derivative(error, graph, self.model) from error
        flat = [tf.reshape(tf.cast(part, vector.dtype), [-1]) for part in _dense(products)]
        return tf.concat(flat, axis=0)

    def _squared_norms(self, batch: DeviceExamples, kept: list[tf.Tensor]) -> tf.Tensor:
        def squared_norm(example: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, label = (part[tf.newaxis] for part in example)
            gradients = self._gradients(batch._replace(images=image, labels=label))
            squares = [
                tf.reduce_sum(tf.where(mask, tf.square(tf.cast(gradient, tf.float64)), 0))
                for gradient, mask in zip(gradients, kept, strict=True)
            ]
            return tf.reduce_sum(tf.stack(squares))

        each = (batch.images, batch.labels)
        return map_in_turn(squared_norm, each, tf.TensorSpec([], tf.float64))


class Hessian(LinearOperator):
    """The Hessian of the mean loss over examples at the model's weights, n by n, for SciPy.

    `hessian @ v` is float [n], by a program over all parameters: the sub-matrix of unpruned
    coordinates. It is that of the model's weights at the time of the product; the coordinates are
    those found when it was made.

    Attributes:
      coordinates: what the n entries are.
    """

    def __init__(self, curvature: Curvature, examples: Examples, coordinates: Coordinates):
        self.coordinates = coordinates
        self._curvature = curvature
        self._batches = curvature.batches(examples)
        self._count = len(examples.labels)
        super().__init__(curvature.dtype, (coordinates.size, coordinates.size))

    def _matvec(self, vector: np.ndarray) -> np.ndarray:
        embedded = self.coordinates.embed(np.ravel(vector), self.dtype)
        product = self._curvature.product(self._batches, embedded)
        _check_finite(product, self._curvature.model)
        return self.coordinates.restrict(product) / self.dtype.type(self._count)

    def _adjoint(self) -> Hessian:
        return self


def _by_variable(model: keras.Model, masks: Masks) -> dict[str, BoolArray]:
    names = {id(variable): name for name, variable in named_variables(model).items()}
    return {names[id(kernel)]: masks[layer] for layer, kernel in kernels(model, masks).items()}


def _fitting(name: str, mask: ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    array = np.asarray(mask)
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"the mask of {name!r} holds values other than 0 and 1")
    try:
        return np.broadcast_to(array.astype(bool), shape)
    except ValueError as error:
        raise InputError(
            f"a mask of shape {array.shape} does not fit {name!r} of shape {shape}"
        ) from error


def _is_graph(model: keras.Model) -> bool:
    return isinstance(model, keras.Sequential) or getattr(model, "_is_graph_network", False)


def _leave_out_dead_filters(
    model: keras.Model, variables: Mapping[str, tf.Variable], kept: dict[str, BoolArray]
) -> None:
    """Clears in `kept` what belongs to filters that are dead (see `unpruned_coordinates`)."""
    norms, axes = batch_norm_of(model), filter_axes(model)
    names = {id(variable): name for name, variable in variables.items()}
    keep: dict[str, BoolArray] = {}
    for layer, kernel in kernels(model, norms).items():
        weights = kernel.numpy() != 0
        weights &= kept.get(names.get(id(kernel), ""), True)
        alive = np.asarray(by_filter(weights, axes[layer]).any(axis=0))
        for variable in (norms[layer].gamma, norms[layer].beta):
            alive |= False if variable is None else variable.numpy() != 0
        if not alive.all():
            keep[layer] = alive
    for name, mask in filter_masks(model, keep).items():
        if name in kept:
            # What is not zero is alive whatever it belongs to, as an identity's projection.
            kept[name] &= mask | (variables[name].numpy() != 0)


def _slices(examples: int, limit: int) -> Iterator[slice]:
    size = even_batch(examples, limit)
    return (slice(start, start + size) for start in range(0, examples, size))


def _dense(gradients: list[Any]) -> list[tf.Tensor]:
    """Gradients of embeddings as tensors like the others."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _check_finite(values: np.ndarray, model: keras.Model) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            f"derivatives of the loss of model {model.name!r} are not finite: measure one whose "
            "weights are finite, with a loss that has derivatives"
        )
