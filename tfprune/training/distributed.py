"""Epochs shared by the replicas of a `tf.distribute` strategy: the same results as on one device.

The trainer's own model stays the one that everybody reads and writes; it lives on one device. A
copy on every replica takes its weights, masks and optimizer slots before an epoch and gives them
back after it. So initialization, pruning, measures, callbacks and checkpoints know of one device
only, and a training may go on under another strategy than it began under.

A global batch is split as evenly as it goes. Each replica's loss is its sum over examples divided
by the size of the global batch, and gradients are summed, so a step is that of one device whatever
the split. A short last batch with fewer examples than replicas is trained on the one device. The
loop over steps is outside the replicas' function, because replicas cannot meet inside a loop of
their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.data.order import epoch_order
from tfprune.data.prepare import PreparedData
from tfprune.data.streaming import StreamedData
from tfprune.errors import SettingError
from tfprune.pruning.copies import copy_of
from tfprune.pruning.model import copy_model
from tfprune.pruning.weights import mask_variables, named_variables
from tfprune.pruning.wrapper import MaskedLayer
from tfprune.seeds import EpochDraw
from tfprune.training import metrics, step
from tfprune.training.epoch_model import (
    EVALUATION_BATCH,
    Feeding,
    steps_per_epoch,
)
from tfprune.training.strategies import Distribution


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
        self.compute_dtype = (
            model.compute_dtype
        )  # The copy takes the process's default for its own.
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

        def replica() -> metrics.PerExample:
            positions = tf.minimum(_replica_id() * each + tf.range(each), size - 1)
            return _in_chunks(positions, each, batch)

        parts = self.strategy.run(replica)
        return metrics.PerExample(*(self.strategy.gather(part, axis=0)[:size] for part in parts))

    def infer(self, inputs: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
        """Losses and predictions of a batch; in a replica's context."""
        return metrics.per_example(self.model(inputs, training=False), labels)


class DistributedProgram:
    """An `EpochProgram` over data that live on every replica; `ResidentProgram` on several.

    Every draw is made on the host, as there.

    Args:
      model: a compiled model that maps normalized images to logits.
      batch_size: examples per step, over all replicas.
      distribution: with a strategy.
      drop_remainder: leave out the short last batch, counted as a step that is not taken; None
        where the devices demand it: on TPUs, which take batches of one static shape.

    Raises:
      SettingError: the batch cannot be split among TPU cores.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int,
        distribution: Distribution,
        drop_remainder: bool | None = None,
    ):
        self._network = _network(model, batch_size, distribution)
        self._batch_size = batch_size
        self._drop_remainder = _Remainder(distribution, batch_size, drop_remainder)
        self._host: PreparedData | None = None
        self._feeding: Feeding | None = None
        self._resident: _Resident | None = None

    def attach(self, data: PreparedData, feeding: Feeding | None) -> None:
        """See `EpochProgram`. The data attached last stay on the devices.

        Raises:
          SettingError: the last batch is dropped, and there is no other.
        """
        if feeding is not None:
            self._drop_remainder.check(len(data.labels))
        if data is not self._host:
            if self._resident is None or not self._resident.takes(data):
                self._resident = _Resident(self._network, data)
            self._resident.put(data)
            self._host = data
        self._feeding = feeding

    def run(self, epoch: int) -> dict[str, tf.Tensor]:
        """See `EpochProgram`."""
        means = self._train(epoch)
        return {**step.running(means), **self._attached_data().evaluate()}

    def run_steps(self, epoch: int) -> None:
        """See `EpochProgram`."""
        self._train(epoch)

    def evaluate(self) -> dict[str, tf.Tensor]:
        """See `EpochProgram`."""
        self._network.push()
        return self._attached_data().evaluate()

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, np.ndarray]]:
        """See `EpochProgram`."""
        data, feeding = self._attached()
        order = epoch_order(len(data.labels), feeding.seed, feeding.level, EpochDraw.NO_EPOCH)
        starts = range(0, min(count * self._batch_size, len(order)), self._batch_size)
        chosen = [order[start : start + self._batch_size] for start in starts]
        dtype = self._network.compute_dtype
        return [
            (
                augmentation.normalize(tf.constant(data.images[rows]), data.mean, data.std, dtype),
                data.labels[rows],
            )
            for rows in chosen
        ]

    def _train(self, epoch: int) -> np.ndarray:
        """The epoch's steps; returns their example-weighted means of `step.RUNNING`."""
        data, feeding = self._attached()
        examples, size = len(data.labels), self._batch_size
        steps, full = steps_per_epoch(examples, size), examples // size
        first, last = feeding.steps_of(epoch, steps)
        draws = augmentation.draw(feeding.augment, examples, feeding.seed, feeding.level, epoch)
        shown = () if draws is None else tuple(vars(draws).values())
        order = epoch_order(examples, feeding.seed, feeding.level, epoch)
        rates = feeding.schedule(epoch, steps)
        self._network.push()
        self._network.start_sums()
        resident, last_full = self._attached_data(), min(last, full)
        feed = tf.nest.map_structure(tf.constant, (order, shown, rates, first, last_full))
        resident.full_steps(size, *feed)
        taken = max(last_full - first, 0) * size
        rest = self._drop_remainder.rest(examples) if first <= full < last else 0
        if rest >= self._network.replicas:
            resident.short_step(feed[0][full * size :], feed[1], feed[2][full])
        self._network.pull()
        total = self._network.sums()
        if 0 < rest < self._network.replicas:
            total += self._train_rest(order[full * size :], draws, rates[full])
        return np.float32(total / max(taken + rest, 1))

    def _train_rest(
        self, rows: np.ndarray, draws: augmentation.Draws | None, rate: np.float32
    ) -> np.ndarray:
        """A step on these few examples; returns their sums of `step.RUNNING`."""
        data, _ = self._attached()
        images = tf.constant(data.images[rows])
        if draws is not None:
            images = augmentation.apply(images, draws.flips[rows], draws.dy[rows], draws.dx[rows])
        inputs = augmentation.normalize(images, data.mean, data.std, self._network.compute_dtype)
        return self._network.train_alone(inputs, data.labels[rows], rate)

    def _attached(self) -> tuple[PreparedData, Feeding]:
        if self._host is None or self._feeding is None:
            raise ValueError("attach data and feeding first")
        return self._host, self._feeding

    def _attached_data(self) -> _Resident:
        if self._resident is None:
            raise ValueError("attach data first")
        return self._resident


class DistributedStreamedProgram:
    """An `EpochProgram` over data that stay on disk; `StreamedProgram` on several replicas.

    Every batch is read whole in every process and each replica takes its share of it, so that the
    examples, their crops and their order are those of one device. Reading is not shared among
    worker processes.

    Args:
      model: a compiled model that maps normalized images to logits.
      batch_size: examples per step, over all replicas.
      distribution: with a strategy.
      drop_remainder: as for `DistributedProgram`.

    Raises:
      SettingError: the batch cannot be split among TPU cores.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int,
        distribution: Distribution,
        drop_remainder: bool | None = None,
    ):
        self._network = _network(model, batch_size, distribution)
        self._batch_size = batch_size
        self._drop_remainder = _Remainder(distribution, batch_size, drop_remainder)
        self._step = tf.function(self._train_batch, autograph=False)
        self._inference = tf.function(self._infer_batch, autograph=False)
        self._data: StreamedData | None = None
        self._feeding: Feeding | None = None

    def attach(self, data: StreamedData, feeding: Feeding | None) -> None:
        """See `EpochProgram`.

        Raises:
          SettingError: the last batch is dropped, and there is no other.
        """
        if feeding is not None:
            self._drop_remainder.check(len(data.labels))
        self._data, self._feeding = data, feeding

    def run(self, epoch: int) -> dict[str, Any]:
        """See `EpochProgram`."""
        return {**step.running(self._train(epoch)), **self.evaluate()}

    def run_steps(self, epoch: int) -> None:
        """See `EpochProgram`."""
        self._train(epoch)

    def evaluate(self) -> dict[str, Any]:
        """See `EpochProgram`."""
        self._network.push()
        data, _ = self._attached()
        splits = {
            name: self._split(name, len(labels))
            for name, labels in _labels(data).items()
            if len(labels)
        }
        return _metrics(data, splits)

    def scoring_batches(self, count: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """See `EpochProgram`."""
        return [
            (images, labels) for images, labels, _ in self._epoch(EpochDraw.NO_EPOCH).take(count)
        ]

    def _train(self, epoch: int) -> np.ndarray:
        """The epoch's steps; returns their example-weighted means of `step.RUNNING`."""
        data, feeding = self._attached()
        steps = steps_per_epoch(len(data.labels), self._batch_size)
        first, last = feeding.steps_of(epoch, steps)
        rates, taken, few = feeding.schedule(epoch, steps), 0, None
        self._network.push()
        self._network.start_sums()
        batches = self._epoch(epoch).skip(first)
        for rate, (images, labels, _) in zip(rates[first:last], batches, strict=False):
            if len(labels) < self._batch_size and self._drop_remainder.drops:
                break
            taken += len(labels)
            if len(labels) < self._network.replicas:
                few = (tf.cast(images, self._network.compute_dtype), labels, rate)
                break
            self._step(images, labels, tf.constant(rate))
        self._network.pull()
        total = self._network.sums()
        if few is not None:  # The last batch.
            total += self._network.train_alone(*few)
        return np.float32(total / max(taken, 1))

    def _epoch(self, epoch: int) -> tf.data.Dataset:
        data, feeding = self._attached()
        if feeding is None:
            raise ValueError("attach feeding first")
        return data.train_epoch(feeding.seed, feeding.level, epoch, self._batch_size)

    def _train_batch(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> None:
        network, size = self._network, labels.shape[0]

        def replica() -> None:
            with tf.device("/CPU:0"):  # Only the share goes to the replica's device.
                own_images, own_labels = network.share(images), network.share(labels)
            inputs = tf.cast(own_images, network.compute_dtype)
            network.train_share(inputs, own_labels, rate, size)

        network.strategy.run(replica)

    def _infer_batch(self, images: tf.Tensor, labels: tf.Tensor) -> metrics.PerExample:
        network = self._network

        def batch(positions: tf.Tensor) -> metrics.PerExample:
            with tf.device("/CPU:0"):
                own_images, own_labels = tf.gather(images, positions), tf.gather(labels, positions)
            return network.infer(tf.cast(own_images, network.compute_dtype), own_labels)

        return network.per_example(labels.shape[0], batch)

    def _split(self, split: str, examples: int) -> metrics.PerExample:
        """Losses and predictions of a split, in the order of its labels."""
        data, _ = self._attached()
        losses, predictions = np.zeros(examples, np.float32), np.zeros(examples, np.int32)
        size = EVALUATION_BATCH * self._network.replicas
        for images, labels, rows in data.evaluation(split, size):
            values = self._inference(images, labels)
            losses[rows], predictions[rows] = values.losses, values.predictions
        return metrics.PerExample(tf.constant(losses), tf.constant(predictions))

    def _attached(self) -> tuple[StreamedData, Any]:
        if self._data is None:
            raise ValueError("attach data first")
        return self._data, self._feeding


class _Resident:
    """The data of one trial on every replica, and the programs that train and evaluate on them."""

    def __init__(self, network: ReplicatedNetwork, data: PreparedData):
        self._network = network
        arrays = _arrays(data)
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._arrays = {
            name: _OnReplicas(array, network.strategy) for name, array in arrays.items()
        }
        self._mean, self._std = (tf.Variable(v, trainable=False) for v in (data.mean, data.std))
        self._data = data
        self._full_steps = tf.function(self._loop, autograph=False)
        self.short_step = tf.function(self._step, autograph=False)
        self._evaluation = tf.function(self._per_example, autograph=False)

    def takes(self, data: PreparedData) -> bool:
        """Whether other data can be put in the place of these, with no new program."""
        return {name: array.shape for name, array in _arrays(data).items()} == self._shapes

    def put(self, data: PreparedData) -> None:
        """Replaces the data."""
        if data is not self._data:
            for name, array in _arrays(data).items():
                self._arrays[name].assign(array)
            self._mean.assign(data.mean)
            self._std.assign(data.std)
            self._data = data

    def full_steps(self, batch_size: int, *feed: Any) -> None:
        """Steps of whole batches; see `_loop`."""
        self._full_steps(batch_size, *feed)

    def evaluate(self) -> dict[str, tf.Tensor]:
        """Every split's metrics for the weights on the replicas."""
        return _metrics(self._data, self._evaluation())

    def _loop(
        self,
        batch_size: int,
        order: tf.Tensor,
        draws: tuple[tf.Tensor, ...],
        rates: tf.Tensor,
        first: tf.Tensor,
        last: tf.Tensor,
    ) -> None:
        """The steps with indices in [first, last) of an epoch.

        Args:
          batch_size: examples in a step.
          order: int32 [examples], the order in which they are shown.
          draws: flips, dy and dx of every example, or nothing.
          rates: float32 [steps].
          first: int32 scalar.
          last: int32 scalar.
        """

        def body(index: tf.Tensor) -> tuple[tf.Tensor]:
            self._step(tf.slice(order, [index * batch_size], [batch_size]), draws, rates[index])
            return (index + 1,)

        tf.while_loop(lambda index: index < last, body, (first,), parallel_iterations=1)

    def _step(self, positions: tf.Tensor, draws: tuple[tf.Tensor, ...], rate: tf.Tensor) -> None:
        """One step on the examples at these positions."""
        network, size = self._network, positions.shape[0]
        shown = tuple(tf.gather(draw, positions) for draw in draws)

        def replica(
            positions: tf.Tensor,
            shown: tuple[tf.Tensor, ...],
            rate: tf.Tensor,
            mean: tf.Tensor,
            std: tf.Tensor,
        ) -> None:
            own = network.share(positions)
            images = tf.gather(self._arrays["images"].here(), own)
            if shown:
                images = augmentation.apply(images, *(network.share(draw) for draw in shown))
            inputs = augmentation.normalize(images, mean, std, network.compute_dtype)
            labels = tf.gather(self._arrays["labels"].here(), own)
            network.train_share(inputs, labels, rate, size)

        mean, std = self._mean.read_value(), self._std.read_value()
        network.strategy.run(replica, args=(positions, shown, rate, mean, std))

    def _per_example(self) -> dict[str, metrics.PerExample]:
        """Losses and predictions of every split."""
        network = self._network
        mean, std = self._mean.read_value(), self._std.read_value()

        def of(images: _OnReplicas, labels: _OnReplicas, examples: int) -> metrics.PerExample:
            def batch(positions: tf.Tensor) -> metrics.PerExample:
                pixels = tf.gather(images.here(), positions)
                inputs = augmentation.normalize(pixels, mean, std, network.compute_dtype)
                return network.infer(inputs, tf.gather(labels.here(), positions))

            return network.per_example(examples, batch)

        return {
            name: of(
                self._arrays[f"{prefix}images"],
                self._arrays[f"{prefix}labels"],
                self._shapes[f"{prefix}labels"][0],
            )
            for name, prefix in _PREFIXES.items()
            if f"{prefix}labels" in self._arrays
        }


class _OnReplicas:
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


class _Remainder:
    """Whether the short last batch of an epoch is dropped, said once."""

    def __init__(self, distribution: Distribution, batch_size: int, drops: bool | None):
        self.drops = distribution.is_tpu if drops is None else drops
        self._batch_size = batch_size
        self._said = False

    def rest(self, examples: int) -> int:
        """How many examples the short last batch shows."""
        return 0 if self.drops else examples % self._batch_size

    def check(self, examples: int) -> None:
        """Tells of the examples that an epoch leaves out; refuses to leave out all."""
        left_out = examples % self._batch_size
        if not self.drops or not left_out:
            return
        if left_out == examples:
            allowed = f"at most {examples}, the training examples there are: batches must be full"
            raise SettingError("batch_size", self._batch_size, allowed)
        if not self._said:
            self._said = True
            warnings.warn(
                f"batches must be full on these devices: the last {left_out} of the {examples} "
                "training examples in each epoch's random order are not shown in that epoch",
                stacklevel=2,
            )


_PREFIXES = {"train": "", "test": "test_", "val": "val_"}


def _labels(data: PreparedData | StreamedData) -> dict[str, np.ndarray]:
    return {name: getattr(data, f"{prefix}labels") for name, prefix in _PREFIXES.items()}


def _arrays(data: PreparedData) -> dict[str, np.ndarray]:
    """What replicas need of the data; a split without examples is left out."""
    return {
        f"{prefix}{kind}": getattr(data, f"{prefix}{kind}")
        for prefix in _PREFIXES.values()
        for kind in ("images", "labels")
        if len(getattr(data, f"{prefix}labels"))
    }


def _metrics(
    data: PreparedData | StreamedData, splits: Mapping[str, metrics.PerExample]
) -> dict[str, tf.Tensor]:
    """The metrics of every split that was evaluated, as on one device."""
    labels = _labels(data)
    values: dict[str, tf.Tensor] = {}
    for name, examples in splits.items():
        values |= metrics.split_metrics(name, examples, labels[name])
    train = splits["train"]
    return values | metrics.subset_metrics(
        train, data.labels, data.original_labels, tf.constant(data.selected)
    )


def _network(model: keras.Model, batch_size: int, distribution: Distribution) -> ReplicatedNetwork:
    if distribution.strategy is None:
        raise ValueError("this distribution has no strategy: one device needs no shared program")
    replicas = distribution.num_replicas
    if distribution.is_tpu and batch_size % replicas:
        raise SettingError("batch_size", batch_size, f"a multiple of the {replicas} TPU cores")
    return ReplicatedNetwork(model, distribution.strategy)


def _replica_of(model: keras.Model) -> keras.Model:
    """A copy with global batch norm, with masks where the model has them."""
    return copy_model(model, _synchronized_copy)


def _synchronized_copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, MaskedLayer):
        return layer.around(_synchronized_copy(layer.layer))
    if isinstance(layer, keras.layers.BatchNormalization):
        return GlobalBatchNormalization(bool(layer.fused), **layer.get_config())
    return copy_of(layer)


def training_state(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> dict[str, tf.Variable]:
    """Every variable that training reads or writes, by name."""
    slots = {f"optimizer/{index}": slot for index, slot in enumerate(optimizer.variables)}
    slots["learning_rate"] = optimizer.learning_rate  # Not among the variables.
    masks = {f"mask/{name}": mask for name, mask in mask_variables(model).items()}
    weights = {f"model/{name}": value for name, value in named_variables(model).items()}
    return {**weights, **masks, **slots}


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


def _in_chunks(
    positions: tf.Tensor, size: int, batch: Callable[[tf.Tensor], metrics.PerExample]
) -> metrics.PerExample:
    """`batch` over positions in chunks of one static size, and one of the rest."""
    full, rest = divmod(size, EVALUATION_BATCH)
    parts = []
    if full:
        whole = tf.map_fn(
            batch,
            tf.reshape(positions[: full * EVALUATION_BATCH], [full, EVALUATION_BATCH]),
            fn_output_signature=metrics.PerExample(
                tf.TensorSpec([EVALUATION_BATCH], tf.float32),
                tf.TensorSpec([EVALUATION_BATCH], tf.int32),
            ),
            parallel_iterations=1,
        )
        parts.append(metrics.PerExample(*(tf.reshape(value, [-1]) for value in whole)))
    if rest:
        parts.append(batch(positions[full * EVALUATION_BATCH :]))
    return metrics.PerExample(*(tf.concat(values, 0) for values in zip(*parts, strict=True)))


def _replica_id() -> tf.Tensor:
    return tf.convert_to_tensor(tf.distribute.get_replica_context().replica_id_in_sync_group)


def _corner(start: tf.Tensor, values: tf.Tensor) -> list[Any]:
    return [start, *(0 for _ in values.shape[1:])]


def _local_devices(strategy: tf.distribute.Strategy) -> tuple[str, ...]:
    return strategy.extended.worker_devices


def _variable_on(device: str, array: np.ndarray) -> tf.Variable:
    with tf.device(device):
        return tf.Variable(array, trainable=False)
