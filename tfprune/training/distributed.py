"""Epochs shared by the replicas of a `tf.distribute` strategy: the same results as on one device.

The trainer's own model stays the one that everybody reads and writes; it lives on one device. A
copy on every replica takes its weights, masks and optimizer slots before an epoch and gives them
back after it. So initialization, pruning, measures, callbacks and checkpoints know of one device
only, and a training may go on under another strategy than it began under.

A short last batch with fewer examples than replicas is trained on the one device. The loop over
steps is outside the replicas' function, because replicas cannot meet inside a loop of their own.
"""

from __future__ import annotations

import abc
import warnings
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.data.prepare import PreparedData
from tfprune.data.streaming import StreamedData
from tfprune.errors import SettingError
from tfprune.training import metrics
from tfprune.training.epoch_program import Data, EpochProgram, Feeding, Held
from tfprune.training.replicas import OnReplicas, ReplicatedNetwork
from tfprune.training.resident import ArrayProgram
from tfprune.training.strategies import Distribution
from tfprune.training.streamed import StreamedProgram

# Normalized images, labels and learning rate of a step.
Batch = tuple[tf.Tensor, Any, np.float32]


class _SharedProgram(EpochProgram[Data, Held]):
    """An epoch whose steps and inference replicas share.

    Args:
      model: as for `EpochProgram`.
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
        super().__init__(model, batch_size)
        if distribution.strategy is None:
            raise ValueError("this distribution has no strategy: one device needs no such program")
        replicas = distribution.num_replicas
        if distribution.is_tpu and batch_size % replicas:
            raise SettingError("batch_size", batch_size, f"a multiple of the {replicas} TPU cores")
        self._network = ReplicatedNetwork(model, distribution.strategy)
        self._drop_remainder = _Remainder(distribution, batch_size, drop_remainder)

    def attach(self, data: Any, feeding: Feeding | None) -> None:
        """See base class.

        Raises:
          SettingError: the last batch is dropped, and there is no other.
        """
        if feeding is not None:
            self._drop_remainder.check(len(data.labels))
        super().attach(data, feeding)

    def evaluate(self) -> dict[str, Any]:
        """See base class."""
        self._network.push()
        return super().evaluate()

    def _train(self, epoch: int) -> np.ndarray:
        self._network.push()
        self._network.start_sums()
        shown, few = self._share_steps(epoch)
        self._network.pull()
        total = self._network.sums()
        if few is not None:
            total += self._network.train_alone(*few)
        return np.float32(total / max(shown, 1))

    @abc.abstractmethod
    def _share_steps(self, epoch: int) -> tuple[int, Batch | None]:
        """Takes the epoch's steps on the replicas.

        Returns:
          How many examples all steps show, and the last batch where it has fewer examples than
          there are replicas: it is not taken yet.
        """


class DistributedProgram(
    _SharedProgram[PreparedData, "_ReplicatedData"], ArrayProgram["_ReplicatedData"]
):
    """Over data that live on every replica; `ResidentProgram` on several, with the same draws."""

    def _hold(self, data: PreparedData) -> _ReplicatedData:
        if self._attached is None or not self._held.takes(data):
            return _ReplicatedData(self._network, data)
        self._held.put(data)
        return self._held

    def _measure(self) -> dict[str, tf.Tensor]:
        return metrics.of_splits(self._data, self._held.evaluation().__getitem__)

    def _share_steps(self, epoch: int) -> tuple[int, Batch | None]:
        feed, size, replicated = self._feed(epoch), self._batch_size, self._held
        examples = len(feed.order)
        full = examples // size
        first, last = (int(step) for step in feed.steps)
        last_full = min(last, full)
        order, draws, rates = tf.nest.map_structure(
            tf.constant, (feed.order, feed.draws, feed.learning_rates)
        )
        replicated.full_steps(size, order, draws, rates, tf.constant(first), tf.constant(last_full))
        shown = max(last_full - first, 0) * size
        rest = self._drop_remainder.rest(examples) if first <= full < last else 0
        if rest >= self._network.replicas:
            replicated.short_step(order[full * size :], draws, rates[full])
        few = None
        if 0 < rest < self._network.replicas:
            rows = feed.order[full * size :]
            inputs = self._inputs(rows, feed.draws)
            few = (inputs, self._data.labels[rows], feed.learning_rates[full])
        return shown + rest, few


class DistributedStreamedProgram(_SharedProgram[StreamedData, StreamedData], StreamedProgram):
    """Over data that stay on disk; `StreamedProgram` on several replicas.

    Every batch is read whole in every process and each replica takes its share of it, so that the
    examples, their crops and their order are those of one device. Reading is not shared among
    worker processes.
    """

    def _share_steps(self, epoch: int) -> tuple[int, Batch | None]:
        shown = 0
        for rate, images, labels in self._shown(epoch):
            if len(labels) < self._batch_size and self._drop_remainder.drops:
                break
            shown += len(labels)
            if len(labels) < self._network.replicas:  # The last batch.
                return shown, (tf.cast(images, self._network.compute_dtype), labels, rate)
            self._step(images, labels, tf.constant(rate))
        return shown, None

    @property
    def _evaluation_batch(self) -> int:
        return metrics.EVALUATION_BATCH * self._network.replicas

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


class _ReplicatedData:
    """The data of one trial on every replica, and the programs that train and evaluate on them."""

    def __init__(self, network: ReplicatedNetwork, data: PreparedData):
        self._network = network
        arrays = _arrays(data)
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._arrays = {name: OnReplicas(array, network.strategy) for name, array in arrays.items()}
        self._mean, self._std = (tf.Variable(v, trainable=False) for v in (data.mean, data.std))
        self.full_steps = tf.function(self._loop, autograph=False)
        self.short_step = tf.function(self._step, autograph=False)
        self.evaluation = tf.function(self._per_example, autograph=False)

    def takes(self, data: PreparedData) -> bool:
        """Whether other data can be put in the place of these, with no new program."""
        return {name: array.shape for name, array in _arrays(data).items()} == self._shapes

    def put(self, data: PreparedData) -> None:
        """Replaces the data."""
        for name, array in _arrays(data).items():
            self._arrays[name].assign(array)
        self._mean.assign(data.mean)
        self._std.assign(data.std)

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

        def of(images: OnReplicas, labels: OnReplicas, examples: int) -> metrics.PerExample:
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
            for name, prefix in metrics.SPLITS.items()
            if f"{prefix}labels" in self._arrays
        }


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


def _arrays(data: PreparedData) -> dict[str, np.ndarray]:
    """What replicas need of the data; a split without examples is left out."""
    return {
        f"{prefix}{kind}": getattr(data, f"{prefix}{kind}")
        for prefix in metrics.SPLITS.values()
        for kind in ("images", "labels")
        if len(getattr(data, f"{prefix}labels"))
    }
