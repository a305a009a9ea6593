"""Loss and accuracy of a network over whole splits, at many points of weight space at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, map_in_turn, tf
from tfprune.data import augmentation
from tfprune.data.prepare import PreparedData
from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.measures import batch_norm
from tfprune.models.blocks import has_convolutions, is_batch_norm
from tfprune.models.task import Loss, check_one_input, task_of
from tfprune.precision import products
from tfprune.pruning.copies import copy_of
from tfprune.pruning.model import copy_model
from tfprune.pruning.weights import check_fits, named_variables
from tfprune.pruning.wrapper import inner
from tfprune.seeds import EpochDraw, Stream, generator

BATCH_SIZE = 1024


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples of one split, N of them.

    Attributes:
      images: uint8 pixels [N, H, W, C] that are normalized by `mean` and `std`, or without these
        whatever the model takes, [N, ...].
      labels: numbers [N, ...], in any form that the model's loss takes (see
        `tfprune.models.task.Task.labels`): a class each, [N] or [N, 1], one-hot rows, or others.
      mean: float32 [C], of pixels scaled to [0, 1], or None.
      std: float32 [C], likewise; None exactly when `mean` is.

    Raises:
      InputError: there are no examples, not as many labels as images, several inputs, or only one
        of `mean` and `std` is given.
    """

    images: np.ndarray
    labels: np.ndarray
    mean: np.ndarray | None = None
    std: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("images", "labels"):
            if not hasattr(getattr(self, name), "shape"):
                kind = type(getattr(self, name)).__name__
                raise InputError(f"{name} must be one array, [N, ...], not a {kind}")
        shape, dtype = np.shape(self.labels), np.asarray(self.labels).dtype
        if shape[:1] != (len(self.images),) or not np.issubdtype(dtype, np.number):
            raise InputError(f"{len(self.images)} images need as many labels, not {dtype} {shape}")
        if not len(self.images):
            raise InputError("a split without examples cannot be measured: leave it out")
        if (self.mean is None) != (self.std is None):
            raise InputError("give both mean and std, or neither for images normalized already")


def check_examples(examples: Any) -> None:
    """Refuses other things, as a tf.data set or a pair of arrays, where examples are measured.

    Raises:
      InputError: it is none of `Examples`.
    """
    if not isinstance(examples, Examples):
        raise InputError(
            "examples to measure must be tfprune.Examples(images, labels), of arrays that are in "
            f"memory, not {type(examples).__name__}"
        )


def splits_of(data: PreparedData) -> dict[str, Examples]:
    """`train` (labels as trained on), `val` if there is one, and `test`, of a trial's data."""
    splits = {
        "train": Examples(data.images, data.labels, data.mean, data.std),
        "test": Examples(data.test_images, data.test_labels, data.mean, data.std),
    }
    if len(data.val_labels):
        splits["val"] = Examples(data.val_images, data.val_labels, data.mean, data.std)
    return splits


def some_examples(
    examples: Examples, count: int, rng: np.random.Generator, setting: str
) -> Examples:
    """This many random examples, in the order they are in.

    Raises:
      SettingError: there are fewer; `setting` is what asked for so many.
    """
    there = len(examples.labels)
    if count > there:
        raise SettingError(setting, count, f"at most the {there} there are")
    chosen = np.sort(rng.permutation(there)[:count])
    labels = np.asarray(examples.labels)[chosen]
    return replace(examples, images=examples.images[chosen], labels=labels)


class Metrics(NamedTuple):
    """Example-weighted means over a split, at P points.

    Attributes:
      loss: float64 [P], the compiled loss of the model, or cross-entropy in nats if it was not
        compiled, unless another loss was asked for; without the penalties that layers add.
      accuracy: float64 [P], in [0, 1]; NaN where an example has not one class (regression, several
        labels each).
    """

    loss: np.ndarray
    accuracy: np.ndarray


class DeviceExamples(NamedTuple):
    """`Examples` as tensors on the device; mean and std may be None."""

    images: tf.Tensor
    labels: tf.Tensor
    mean: Any
    std: Any

    @classmethod
    def of(cls, examples: Examples, labels: np.ndarray) -> DeviceExamples:
        """Of examples, with labels as their task takes them (`Task.labels`)."""
        normalization = (
            None if value is None else tf.constant(value) for value in (examples.mean, examples.std)
        )
        return cls(tf.constant(examples.images), tf.constant(labels), *normalization)

    def inputs(self, images: tf.Tensor, dtype: Any) -> tf.Tensor:
        """Some of the images as a model of this compute dtype takes them."""
        if self.mean is None:
            return images
        return augmentation.normalize(images, self.mean, self.std, dtype)


class Evaluator:
    """Evaluates networks built like one model; splits of the same shapes share one program.

    It works on a plain copy that it makes of the model: the model itself, its masks, its
    batch-norm statistics and its optimizer are never written to, and masks play no part: what is
    evaluated are the weights as given.

    Args:
      model: a built functional or sequential `tf_keras` model, wrapped or not, of one input and
        one output; what its outputs mean is for `tfprune.models.task.task_of` to say.
      loss: (labels, outputs) -> the loss of each example, [batch]; if None, the loss that the
        model was compiled with, or cross-entropy.
      jit: whether to compile with XLA; None compiles unless the model has convolutions and runs
        on a CPU, where oneDNN is faster.
      batch_size: the most examples in a batch; no result depends on it but through rounding and,
        with re-estimated batch norm, through the statistics of the layers before.

    Raises:
      InputError: the model is of another kind or not built, or nothing says what its outputs mean.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss | None = None,
        jit: bool | None = None,
        batch_size: int = BATCH_SIZE,
    ):
        _check_model(model)
        self.model = model
        self.task = task_of(model, loss)
        self._copy = copy_model(model, _plain_copy)
        self._variables = named_variables(self._copy)
        self._batch_norms = batch_norm.recording_layers(self._copy)
        self._batch_size = batch_size
        compiled = _jit_pays(self._copy) if jit is None else jit
        self._program = tf.function(self._at_points, jit_compile=compiled, autograph=False)

    @property
    def traces(self) -> int:
        """How many programs were built so far."""
        return self._program.experimental_get_tracing_count()

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """The copy's own variables, for other programs to assign before `fold_outputs`."""
        return self._variables

    @products("ieee")
    def at_points(
        self,
        anchors: Sequence[Mapping[str, np.ndarray]],
        coefficients: np.ndarray,
        splits: Mapping[str, Examples],
        reestimation_split: str | None = None,
    ) -> dict[str, Metrics]:
        """Loss and accuracy at P points θ_p = Σ_k coefficients[p, k] anchors[k].

        One program visits all points: on a CPU neither a call per point nor a batched multiply
        over points is faster. Where a coefficient row is a unit vector, θ_p is that anchor
        exactly. Variables that are not of a floating-point type are those of the first anchor.

        Args:
          anchors: K sets of weights by name, as `read_weights` gives.
          coefficients: [P, K].
          splits: what to evaluate on, by name.
          reestimation_split: recompute the batch-norm statistics at each point as means and
            variances over this split (see `landscape.interpolate`); None leaves them at θ_p.

        Returns:
          Metrics over P points by split.

        Raises:
          InputError: there are no splits of `Examples`, or the weights are of another network.
          SettingError: there is no such split to re-estimate on.
        """
        if not isinstance(splits, Mapping):
            found = type(splits).__name__
            raise InputError(f'splits must be examples by name, as {{"test": ...}}, not {found}')
        if not splits:
            raise InputError("there is no split to measure on: give at least one, such as train")
        for split in splits.values():
            check_examples(split)
        if reestimation_split is not None and reestimation_split not in splits:
            raise unknown_name("reestimation_split", reestimation_split, splits)
        self._set_whole_numbers(anchors[0])
        data = {
            name: DeviceExamples.of(split, self.task.labels(split.labels))
            for name, split in splits.items()
        }
        order = None
        if reestimation_split is not None and self._batch_norms:
            order = tf.constant(_batch_order(len(splits[reestimation_split].labels)), tf.int32)
        values = self._program(
            self._stacked(anchors),
            tf.constant(coefficients, tf.float64),
            data,
            None if order is None else data[str(reestimation_split)],
            order,
        )
        return {
            name: Metrics(*(part.numpy() for part in metrics)) for name, metrics in values.items()
        }

    def _stacked(self, anchors: Sequence[Mapping[str, np.ndarray]]) -> dict[str, tf.Tensor]:
        """Each floating-point variable at all anchors, [K, ...]."""
        for weights in anchors:
            check_fits(weights, self._variables)
        return {
            name: tf.constant(np.stack([weights[name] for weights in anchors]), variable.dtype)
            for name, variable in self._variables.items()
            if variable.dtype.is_floating
        }

    def _set_whole_numbers(self, weights: Mapping[str, np.ndarray]) -> None:
        check_fits(weights, self._variables)
        for name, variable in self._variables.items():
            if not variable.dtype.is_floating:
                variable.assign(weights[name])

    def _at_points(
        self,
        anchors: dict[str, tf.Tensor],
        coefficients: tf.Tensor,
        splits: dict[str, DeviceExamples],
        reestimation: DeviceExamples | None,
        order: tf.Tensor | None,
    ) -> dict[str, Metrics]:
        def point(coefficient: tf.Tensor) -> dict[str, Metrics]:
            for name, stacked in anchors.items():
                self._variables[name].assign(_combination(coefficient, stacked))
            if reestimation is not None and order is not None:
                self._reestimate(reestimation, order)
            return {name: self._evaluate(split) for name, split in splits.items()}

        scalar = tf.TensorSpec([], tf.float64)
        # The points share the variables.
        return map_in_turn(point, coefficients, {name: Metrics(scalar, scalar) for name in splits})

    def _evaluate(self, split: DeviceExamples) -> Metrics:
        """Inference over a split; float64 sums, so that a long split loses no digits."""

        def add(start: tf.Tensor, outputs: tf.Tensor, labels: tf.Tensor, sums: Metrics) -> Metrics:
            losses = self.task.example_losses(labels, outputs)
            return Metrics(
                sums.loss + tf.reduce_sum(tf.cast(losses, tf.float64)),
                sums.accuracy + self._count_correct(labels, outputs),
            )

        zero = tf.zeros([], tf.float64)
        examples = split.labels.shape[0]
        sums = self.fold_outputs(split, add, Metrics(zero, zero))
        return Metrics(sums.loss / examples, sums.accuracy / examples)

    def _count_correct(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        if not self.task.is_single_label(labels):
            return tf.constant(np.nan, tf.float64)
        return tf.reduce_sum(tf.cast(self.task.correct(labels, outputs), tf.float64))

    def fold_outputs(
        self,
        split: DeviceExamples,
        add: Callable[..., Any],
        initial: Any,
        batch_size: int | None = None,
    ) -> Any:
        """Inference over a split by the copy's weights as they are, inside another program.

        Args:
          split: the examples.
          add: (start, outputs, labels, state) -> state, batch by batch; `start` is the index of
            the batch's first example.
          initial: the state before the first batch.
          batch_size: the most examples in a batch; the evaluator's own if None.

        Returns:
          The state after the last batch.
        """

        def step(start: tf.Tensor, size: int, state: Any) -> Any:
            pixels = _rows(split.images, start, size)
            outputs = self._copy(split.inputs(pixels, self.model.compute_dtype), training=False)
            return add(start, outputs, _rows(split.labels, start, size), state)

        return _fold(split.labels.shape[0], batch_size or self._batch_size, step, initial)

    @property
    def has_seen_no_batch(self) -> bool:
        """Whether the copy has batch norms, all with the statistics that layers are made with."""
        return bool(self._batch_norms) and batch_norm.are_untouched(self._batch_norms)

    def estimate_statistics(self, split: DeviceExamples) -> None:
        """Gives the copy's batch norms, as its weights are, the statistics of a split.

        See `landscape.interpolate`; it can be called inside another program.
        """
        self._reestimate(split, tf.constant(_batch_order(split.labels.shape[0]), tf.int32))

    def _reestimate(self, split: DeviceExamples, order: tf.Tensor) -> None:
        """Sets the batch-norm statistics to those over a split, in batches in this order."""

        def add(start: tf.Tensor, size: int, moments: list[Any]) -> list[Any]:
            pixels = tf.gather(split.images, _rows(order, start, size))
            inputs = split.inputs(pixels, self.model.compute_dtype)
            return batch_norm.record(self._copy, self._batch_norms, inputs, moments)

        nothing = batch_norm.no_moments(self._batch_norms)
        moments = _fold(order.shape[0], self._batch_size, add, nothing)
        batch_norm.assign_statistics(self._batch_norms, moments)


def evaluator_of(
    model: keras.Model | Evaluator, loss: Loss | None = None, jit: bool | None = None
) -> Evaluator:
    """The evaluator that is given, or a new one of a model.

    Raises:
      InputError: an evaluator is given, and a loss or jit that it was not made with.
    """
    if not isinstance(model, Evaluator):
        return Evaluator(model, loss, jit)
    if loss is not None or jit is not None:
        raise InputError("loss and jit are the evaluator's own: give them to Evaluator(...)")
    return model


def _check_model(model: Any) -> None:
    can_copy = isinstance(model, keras.Sequential) or getattr(model, "_is_graph_network", False)
    if not isinstance(model, keras.Model) or not can_copy or not model.built:
        raise InputError(
            f"{getattr(model, 'name', model)!r} cannot be measured: give a functional or "
            "sequential tf_keras model that knows its input shape"
        )
    check_one_input(model)


def _plain_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    layer = inner(layer)
    config = layer.get_config()
    # The copy gets the layer's weights. Drawing others first would move the state of Python's
    # random numbers, and with it whatever the caller draws later.
    zeros = keras.initializers.serialize(keras.initializers.Zeros())
    initializers = [k for k, v in config.items() if k.endswith("_initializer") and v is not None]
    config.update(dict.fromkeys(initializers, zeros))
    if is_batch_norm(layer):
        return batch_norm.recording_layer(type(layer), config)
    return copy_of(layer, **config)


def _jit_pays(model: keras.Model) -> bool:
    return not (is_on_cpu(model.variables) and has_convolutions(model))


def is_on_cpu(variables: Iterable[tf.Variable]) -> bool:
    """Whether all variables are in the memory of the host."""
    return all("CPU" in variable.device for variable in variables)


def _batch_order(examples: int) -> np.ndarray:
    """A fixed random order: data sorted by class would make batches of one class."""
    return generator(0, Stream.MEASURE, epoch=EpochDraw.NO_EPOCH).permutation(examples)


def _combination(coefficients: tf.Tensor, stacked: tf.Tensor) -> tf.Tensor:
    """Σ_k c_k w_k.

    Not a matrix product, which accelerators may round to fewer bits, and not a chain of additions
    (see `batch_norm.Moments.merge`).
    """
    scales = tf.cast(coefficients, stacked.dtype)
    return tf.reduce_sum(
        tf.reshape(scales, [-1, *(1 for _ in stacked.shape[1:])]) * stacked, axis=0
    )


def _rows(values: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
    rest = values.shape[1:]
    return tf.slice(values, [start, *(0 for _ in rest)], [size, *rest])


def even_batch(examples: int, limit: int) -> int:
    """The size that makes the fewest batches of at most so many as even as can be.

    A rest of a few examples would have batch statistics of its own kind.
    """
    return -(-examples // -(-examples // limit))


def _fold(examples: int, limit: int, add: Callable[..., Any], initial: Any) -> Any:
    """`add(start, size, state)` over even batches of one static size, and one of the rest."""
    size = even_batch(examples, limit)
    full, rest = divmod(examples, size)
    _, state = tf.while_loop(
        lambda index, _: index < full,
        lambda index, state: (index + 1, add(index * size, size, state)),
        (tf.constant(0), initial),
        parallel_iterations=1,
    )
    return add(tf.constant(full * size), rest, state) if rest else state
