"""A network, and constant arrays, on every replica of a `tf.distribute` strategy.

A global batch is split as evenly as it goes. Each replica's loss is its sum over examples divided
by the size of the global batch, and gradients are summed, so a step is that of one device whatever
the split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.pruning.copies import copy_of
from tfprune.pruning.model import copy_model
from tfprune.pruning.wrapper import MaskedLayer
from tfprune.training import metrics, step
from tfprune.training.checkpoints import training_state


class GlobalBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm over the examples of all replicas, whatever share of them each has.

    Keras's own synchronized layer differs from its layer on one device: its variance is
    E[x^2] - E[x]^2, of which float32 leaves few digits where the mean is large, and its moving
    variance is biased, where that of the fused kernel for images has Bessel's correction.

    Args:
      unbiased: whether the moving variance has Bessel's correction.
      **kwargs: of `keras.layers.BatchNormalization`; the channels must be the last axis.
    """

    def __init__(self, unbiased: bool, **kwargs: Any):
        super().__init__(**{**kwargs, "synchronized": True})
        self.unbiased = unbiased

    def call(self, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        """See base class; training is a Python value."""
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        x = tf.cast(inputs, self.moving_mean.dtype)
        mean, variance, count = _global_moments(x)
        correction = count / (count - 1) if self.unbiased else tf.ones_like(count)
        update = self._assign_moving_average  # Of Keras, for its rounding of the momentum.
        update(self.moving_mean, mean, self.momentum, None)
        update(self.moving_variance, variance * correction, self.momentum, None)
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(outputs, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unbiased": self.unbiased}


def _global_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean and biased variance per channel over all replicas, and the number of values of each."""
    replica, axes = tf.distribute.get_replica_context(), list(range(x.shape.rank - 1))
    own_count = tf.constant([x.shape.num_elements() // x.shape[-1]], x.dtype)
    sums = replica.all_reduce("SUM", tf.concat([tf.reduce_sum(x, axes), own_count], 0))
    count = sums[-1]
    mean = sums[:-1] / count
    squares = tf.reduce_sum(tf.math.squared_difference(x, mean), axes)
    return mean, replica.all_reduce("SUM", squares) / count, count


class ReplicatedNetwork:
    """A copy of a network and its optimizer on every replica.

    Batch-norm statistics are those of the global batch, see `GlobalBatchNormalization`.

    Args:
      model: compiled, wrapped for pruning or plain; read by `push`, written by `pull` and by
        `train_alone`.
      strategy: where the copies live.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        # The copy takes the process's default for its own.
        self.compute_dtype = model.compute_dtype
        model.optimizer.build(model.trainable_variables)
        with strategy.scope():
            self.model = _replica_of(model)
            self.optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
            self.optimizer.build(self.model.trainable_variables)
            self._sums = tf.Variable(
                tf.zeros([len(step.RUNNING)], tf.float32),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
                name="running_sums",
            )
        pairs = _pairs(
            training_state(model, model.optimizer), training_state(self.model, self.optimizer)
        )
        self.push = tf.function(lambda: _push(pairs), autograph=False)
        self.pull = tf.function(lambda: _pull(strategy, pairs), autograph=False)
        self._read_sums = tf.function(lambda: self._sums.read_value(), autograph=False)
        self._alone = tf.function(
            lambda *batch: step.train_on_batch(model, *batch),
            autograph=False,
            reduce_retracing=True,
        )

    def start_sums(self) -> None:
        """Forgets the sums so far; in no replica's context."""
        self._sums.assign(tf.zeros_like(self._sums))

    def sums(self) -> np.ndarray:
        """Of `step.RUNNING`, over all examples shown by `train_share` since `start_sums`."""
        with self.strategy.scope():
            return self._read_sums().numpy().astype(np.float64)

    def train_alone(self, inputs: tf.Tensor, labels: Any, learning_rate: Any) -> np.ndarray:
        """A step of the model itself, then given to the replicas.

        Returns:
          The sums over its examples, as `sums`.
        """
        rate = tf.constant(learning_rate, tf.float32)
        means = self._alone(inputs, tf.constant(labels), rate).numpy().astype(np.float64)
        self.push()
        return means * len(labels)

    def train_share(
        self, inputs: tf.Tensor, labels: tf.Tensor, learning_rate: tf.Tensor, batch_size: int
    ) -> None:
        """One replica's part of an optimizer step; in a replica's context.

        Args:
          inputs: float [share, ...], normalized.
          labels: int32 [share].
          learning_rate: scalar.
          batch_size: examples in the global batch.
        """
        variables, optimizer = self.model.trainable_variables, self.optimizer
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            loss = tf.reduce_sum(losses) / tf.constant(batch_size, losses.dtype)
            if self.model.losses:  # Of the weights, and so the same on every replica.
                loss += tf.add_n(self.model.losses) / tf.constant(self.replicas, losses.dtype)
        gradients = tape.gradient(loss, variables)
        optimizer.learning_rate.assign(tf.cast(learning_rate, optimizer.learning_rate.dtype))
        # It sums the gradients over replicas, then updates each replica's copy, L2 included.
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        right = tf.reduce_sum(step.correct(logits, labels))
        self._sums.assign_add(tf.stack([tf.cast(loss, tf.float32) * float(batch_size), right]))

    def share(self, values: tf.Tensor) -> tf.Tensor:
        """This replica's rows of a global batch; the first replicas take one more where uneven.

        Rows per replica are static, so an uneven batch needs a program per replica, which a TPU
        does not have.
        """
        size, replica = values.shape[0], _replica_id()
        each, more = divmod(size, self.replicas)
        if not more:
            return tf.slice(
                values, _corner(replica * each, values), [each, *values.shape[1:].as_list()]
            )
        index = tf.get_static_value(replica)
        if index is None:
            raise ValueError(f"{size} examples do not divide among {self.replicas} replicas")
        start = index * each + min(index, more)
        return values[start : start + each + (index < more)]

    def per_example(
        self, size: int, batch: Callable[[tf.Tensor], metrics.PerExample]
    ) -> metrics.PerExample:
        """Losses and predictions of `size` examples, in order, each computed by one replica.

        Args:
          size: number of examples.
          batch: positions int32 [examples] -> their losses and predictions; called in a replica's
            context. The last replica may be asked for the last example several times.
        """
        each = -(-size // self.replicas)

        def chunk(start: tf.Tensor, count: int) -> metrics.PerExample:
            positions = _replica_id() * each + start + tf.range(count)
            return batch(tf.minimum(positions, size - 1))

        def replica() -> tf.Tensor:
            found = metrics.in_chunks(each, chunk)
            # GPUs exchange no integers; a class's number is exact in float32.
            return tf.stack([found.losses, tf.cast(found.predictions, tf.float32)], axis=1)

        found = self.strategy.gather(self.strategy.run(replica), axis=0)[:size]
        return metrics.PerExample(found[:, 0], tf.cast(found[:, 1], tf.int32))

    def infer(self, inputs: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
        """Losses and predictions of a batch; in a replica's context."""
        return metrics.per_example(self.model(inputs, training=False), labels)


class OnReplicas:
    """A constant array in the memory of every device.

    Not a mirrored variable where there are several processes, to which TensorFlow cannot send
    8-bit pixels; each process has the data itself.
    """

    def __init__(self, array: np.ndarray, strategy: tf.distribute.Strategy):
        if isinstance(strategy, tf.distribute.TPUStrategy):
            with strategy.scope():
                self._copies = [tf.Variable(array, trainable=False)]
        else:
            self._copies = [_variable_on(device, array) for device in _local_devices(strategy)]

    def assign(self, array: np.ndarray) -> None:
        for copy in self._copies:
            copy.assign(array)

    def here(self) -> tf.Tensor:
        """The array on this replica's device."""
        if len(self._copies) == 1:
            return self._copies[0].read_value()
        # Every process has as many replicas, numbered in a row.
        return self._copies[
            int(tf.get_static_value(_replica_id())) % len(self._copies)
        ].read_value()


def _replica_of(model: keras.Model) -> keras.Model:
    """A copy with global batch norm, with masks where the model has them."""
    return copy_model(model, _synchronized_copy)


def _synchronized_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, MaskedLayer):
        return layer.around(_synchronized_copy(layer.layer))
    if isinstance(layer, keras.layers.BatchNormalization):
        return GlobalBatchNormalization(bool(layer.fused), **layer.get_config())
    return copy_of(layer)


def _pairs(
    one: Mapping[str, tf.Variable], many: Mapping[str, tf.Variable]
) -> list[tuple[tf.Variable, tf.Variable]]:
    if {n: v.shape for n, v in one.items()} != {n: v.shape for n, v in many.items()}:
        raise ValueError("the copy on the replicas has other variables than the model")
    return [(one[name], many[name]) for name in one]


def _push(pairs: list[tuple[tf.Variable, tf.Variable]]) -> None:
    for one, many in pairs:
        many.assign(one.read_value())


def _pull(strategy: tf.distribute.Strategy, pairs: list[tuple[tf.Variable, tf.Variable]]) -> None:
    """All replicas hold the same numbers: the first one here gives them."""
    for one, many in pairs:
        one.assign(strategy.experimental_local_results(many)[0].read_value())


def _replica_id() -> tf.Tensor:
    return tf.convert_to_tensor(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _corner(start: tf.Tensor, values: tf.Tensor) -> list[Any]:
    return [start, *(0 for _ in values.shape[1:])]


def _local_devices(strategy: tf.distribute.Strategy) -> tuple[str, ...]:
    return strategy.extended.worker_devices


def _variable_on(device: str, array: np.ndarray) -> tf.Variable:
    with tf.device(device):
        return tf.Variable(array, trainable=False)
