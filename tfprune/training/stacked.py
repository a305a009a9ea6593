"""Epochs of several trainings at once: one compiled program whose every variable has places.

The trainings stay what they are, each with its own callbacks, files and weights: a `Stack` only
carries out the epochs that they are at, when all have come to one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.data.prepare import PreparedData
from tfprune.precision import products
from tfprune.training import metrics, step
from tfprune.training.checkpoints import training_state
from tfprune.training.metrics import EVALUATION_BATCH
from tfprune.training.resident import ResidentProgram
from tfprune.training.stacked_layers import stacked_network
from tfprune.training.together import Together

State = dict[str, tf.Tensor]


class Seat(NamedTuple):
    """One training's epoch, as it comes to the stack.

    Attributes:
      state: every variable that it reads or writes, by name.
      data: what it trains and is measured on.
      order: int32 [N], the rows of its training examples in the order shown.
      rates: float32 [steps], the learning rates.
      steps: int32 [2], the first step to take and the one to stop before.
      draws: flips, dy and dx of every row, or nothing.
    """

    state: State
    data: PreparedData
    order: np.ndarray
    rates: np.ndarray
    steps: np.ndarray
    draws: tuple[np.ndarray, ...]


class Shared(NamedTuple):
    """The images of all places, tensors on the device."""

    images: Any
    test_images: Any
    mean: Any
    std: Any


class Places(NamedTuple):
    """What differs between places: [K, ...] each.

    Attributes:
      shown: int32 [K, N], positions of the training examples among the images, in the order shown.
      shown_labels: int32 [K, N], in that order too.
      draws: flips, dy and dx, in that order too, or nothing.
      rates: float32 [K, steps].
      steps: int32 [K, 2].
      rows: int32 [K, N], positions of the training examples, as the data have them.
      labels: int32 [K, N].
      original_labels: int32 [K, N].
      selected: bool [K, N].
      val_rows: int32 [K, V].
      val_labels: int32 [K, V].
      test_labels: int32 [K, M].
    """

    shown: Any
    shown_labels: Any
    draws: tuple[Any, ...]
    rates: Any
    steps: Any
    rows: Any
    labels: Any
    original_labels: Any
    selected: Any
    val_rows: Any
    val_labels: Any
    test_labels: Any

    @classmethod
    def of(cls, seats: list[Seat]) -> Places:
        """Of one seat for each place."""
        each = []
        for seat in seats:
            data, order = seat.data, seat.order
            each.append(
                cls(
                    shown=data.indices[order].astype(np.int32),
                    shown_labels=data.labels[order],
                    draws=tuple(draw[order] for draw in seat.draws),
                    rates=seat.rates,
                    steps=seat.steps,
                    rows=data.indices.astype(np.int32),
                    labels=data.labels,
                    original_labels=data.original_labels,
                    selected=data.selected,
                    val_rows=data.val_indices.astype(np.int32),
                    val_labels=data.val_labels,
                    test_labels=data.test_labels,
                )
            )
        return tf.nest.map_structure(lambda *values: tf.constant(np.stack(values)), *each)


class Stack:
    """Trains and evaluates an epoch in each of K places; compiled once for all of one shape.

    A place computes what it computes whatever is in the others. Places that nothing is for do what
    the first does.

    Args:
      model: compiled, of which every place has a copy; it is neither read nor written.
      batch_size: examples per step, of each place.
      places: K.
      matmul: as for `EpochProgram`.
    """

    def __init__(self, model: keras.Model, batch_size: int, places: int, matmul: str):
        self._places = places
        self._batch_size = batch_size
        self._matmul = matmul
        self._model = stacked_network(model, places)
        # The copy takes the process's default for its own.
        self._dtype = model.compute_dtype
        self._optimizer = _stacked_optimizer(model.optimizer, places)
        self._optimizer.build(self._model.trainable_variables)
        self._names = _names(model, self._model, self._optimizer)
        # TensorFlow's own products of stacked matrices round by the place, and XLA's do not.
        compiled = partial(tf.function, jit_compile=True, autograph=False)
        self.steps = compiled(self._take_steps)
        self.evaluation = compiled(self._evaluate)
        # With the data, so that nothing else gets the identity of their arrays.
        self._shared: tuple[PreparedData, Shared] | None = None

    def run(self, seats: list[Seat]) -> list[tuple[State, dict[str, Any]]]:
        """Trains an epoch of each seat; returns its state after it, and all metrics."""
        after, means, shared, places = self._trained(seats)
        with products("ieee"):
            found = self.evaluation(shared, places)
        values = {name: value.numpy() for name, value in {**step.running(means), **found}.items()}
        logs = [{name: value[i] for name, value in values.items()} for i in range(len(seats))]
        return list(zip(after, logs, strict=True))

    def run_steps(self, seats: list[Seat]) -> list[tuple[State, dict[str, Any]]]:
        """As `run`, without measuring."""
        return [(state, {}) for state in self._trained(seats)[0]]

    def _trained(self, seats: list[Seat]) -> tuple[list[State], tf.Tensor, Shared, Places]:
        """The state of each seat after its steps, [RUNNING, K] means, and what was shown."""
        shared, places, states = self.inputs(seats)
        with products(self._matmul):
            after, means = self.steps(shared, places, states)
        own = [{name: each[i] for name, each in after.items()} for i in range(len(seats))]
        return own, means, shared, places

    def inputs(self, seats: list[Seat]) -> tuple[Shared, Places, dict[str, list[tf.Tensor]]]:
        """What `steps` takes to train an epoch of each seat."""
        filled = [*seats, *[seats[0]] * (self._places - len(seats))]
        states = {name: [seat.state[name] for seat in filled] for name in seats[0].state}
        return self._images(seats[0].data), Places.of(filled), states

    def _images(self, data: PreparedData) -> Shared:
        if self._shared is None or _images_of(self._shared[0]) != _images_of(data):
            mean, std = (np.broadcast_to(v, data.input_shape) for v in (data.mean, data.std))
            arrays = (data.source_images, data.test_images, mean, std)
            self._shared = data, Shared(*map(tf.constant, arrays))
        return self._shared[1]

    def _take_steps(
        self, shared: Shared, places: Places, states: dict[str, list[tf.Tensor]]
    ) -> tuple[dict[str, list[tf.Tensor]], tf.Tensor]:
        """The steps of all places; returns their states after them, and [RUNNING, K] means."""
        for name, variable in self._names.items():
            variable.assign(tf.stack(states[name]))
        num_examples = places.shown.shape[1]
        full_steps, remainder = divmod(num_examples, self._batch_size)
        total = tf.zeros([len(step.RUNNING), self._places], tf.float32)
        if full_steps:
            _, total = tf.while_loop(
                lambda index, total: index < full_steps,
                lambda index, total: (
                    index + 1,
                    total + self._step(shared, places, index, self._batch_size),
                ),
                (tf.constant(0), total),
                parallel_iterations=1,
            )
        if remainder:
            with tf.control_dependencies([total]):
                total += self._step(shared, places, tf.constant(full_steps), remainder)
        sizes = [self._batch_size] * full_steps + [remainder] * (remainder > 0)
        ends = tf.constant([0, *np.cumsum(sizes)], tf.int32)
        shown = tf.gather(ends, places.steps[:, 1]) - tf.gather(ends, places.steps[:, 0])
        with tf.control_dependencies([total]):
            after = {n: tf.unstack(v.read_value()) for n, v in self._names.items()}
        return after, total / tf.cast(tf.maximum(shown, 1), tf.float32)

    def _step(self, shared: Shared, places: Places, index: tf.Tensor, size: int) -> tf.Tensor:
        """A step of each place that is due; returns [RUNNING, K] sums over its examples."""
        model, optimizer, count = self._model, self._optimizer, self._places
        start = index * self._batch_size
        rows, labels, *draws = (
            tf.slice(values, [0, start], [count, size])
            for values in (places.shown, places.shown_labels, *places.draws)
        )
        images = tf.gather(shared.images, tf.reshape(rows, [-1]))
        if draws:
            images = augmentation.apply(images, *(tf.reshape(draw, [-1]) for draw in draws))
        inputs = augmentation.normalize(images, shared.mean, shared.std, self._dtype)
        changing = [v for name, v in self._names.items() if not name.startswith("mask/")]
        before = [variable.read_value() for variable in changing]
        with tf.GradientTape() as tape:
            logits = model(inputs, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(
                tf.reshape(labels, [-1]), logits, from_logits=True
            )
            own = tf.reduce_mean(tf.reshape(losses, [count, size]), axis=1)
            # Nobody's variables are in two places: the gradient of the sum is each one's own.
            loss = tf.reduce_sum(own)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        due = (places.steps[:, 0] <= index) & (index < places.steps[:, 1])
        optimizer.learning_rate.assign(tf.gather(places.rates, index, axis=1))
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        optimizer.steps.assign_add(tf.ones_like(optimizer.steps))
        for variable, old in zip(changing, before, strict=True):
            is_due = tf.reshape(due, [count, *[1] * (old.shape.rank - 1)])
            variable.assign(tf.where(is_due, variable, old))
        right = step.correct(logits, tf.reshape(labels, [-1]))
        accuracy = tf.reduce_mean(tf.reshape(right, [count, size]), axis=1)
        means = tf.stack([tf.cast(own, tf.float32), accuracy])
        return tf.where(due, means * float(size), tf.zeros_like(means))

    def _evaluate(self, shared: Shared, places: Places) -> dict[str, tf.Tensor]:
        return metrics.of_splits(places, partial(self._infer, shared, places))

    def _infer(self, shared: Shared, places: Places, split: str) -> metrics.PerExample:
        """Losses and predictions of a split, [K, examples] each."""
        model, count = self._model, self._places
        rows = {"train": places.rows, "val": places.val_rows, "test": None}[split]
        labels = getattr(places, f"{metrics.SPLITS[split]}labels")

        def infer(start: tf.Tensor, size: int) -> metrics.PerExample:
            if rows is None:  # The same for all.
                pixels = tf.slice(
                    shared.test_images, [start, 0, 0, 0], [size, *shared.test_images.shape[1:]]
                )
                inputs = augmentation.normalize(pixels, shared.mean, shared.std, self._dtype)
                inputs = tf.tile(inputs, [count, *[1] * (inputs.shape.rank - 1)])
            else:
                own = tf.reshape(tf.slice(rows, [0, start], [count, size]), [-1])
                pixels = tf.gather(shared.images, own)
                inputs = augmentation.normalize(pixels, shared.mean, shared.std, self._dtype)
            own = tf.reshape(tf.slice(labels, [0, start], [count, size]), [-1])
            found = metrics.per_example(model(inputs, training=False), own)
            return metrics.PerExample(
                *(tf.transpose(tf.reshape(value, [count, size])) for value in found)
            )

        chunk = max(EVALUATION_BATCH // count, 1)
        found = metrics.in_chunks(labels.shape[1], infer, chunk, (count,))
        return metrics.PerExample(*map(tf.transpose, found))


class StackedProgram(ResidentProgram):
    """An epoch that is trained together with those of other trainings of its shape.

    Args:
      model: as for `EpochProgram`; every training in turn has it.
      batch_size: examples per step.
      jit: whether to compile with XLA what is done for one training alone.
      together: where trainings meet, as many as it has places.
      matmul: as for `EpochProgram`.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int,
        jit: bool,
        together: Together,
        matmul: str = "tf32",
    ):
        super().__init__(model, batch_size, jit, matmul)
        self._together = together
        self.stack = Stack(model, batch_size, together.places, matmul)

    def run(self, epoch: int) -> dict[str, Any]:
        """See base class. Until it returns, others may use the model, as they find it."""
        return self._meet(epoch, self.stack.run)

    def run_steps(self, epoch: int) -> None:
        """See base class; as `run`."""
        self._meet(epoch, self.stack.run_steps)

    def _meet(
        self, epoch: int, run: Callable[[list[Seat]], list[tuple[State, dict[str, Any]]]]
    ) -> dict[str, Any]:
        data, feeding, seat = self._data, self._fed, self.seat(epoch)
        key = (id(self), run.__name__, *_shape_of(seat))
        after, found = self._together.meet(key, run, seat)
        for name, variable in training_state(self._model, self._model.optimizer).items():
            variable.assign(after[name])
        self._model.program, self._model.noise = self, None
        self.attach(data, feeding)
        return found

    def seat(self, epoch: int) -> Seat:
        """What an epoch of the training that the model is in brings to the stack."""
        variables, feed = training_state(self._model, self._model.optimizer), self._feed(epoch)
        state = {name: variable.read_value() for name, variable in variables.items()}
        return Seat(state, self._data, feed.order, feed.learning_rates, feed.steps, feed.draws)


def _images_of(data: PreparedData) -> tuple[Any, ...]:
    """What must be equal for data to share their images."""
    return (
        id(data.source_images), id(data.test_images), data.mean.tobytes(), data.std.tobytes()
    )  # fmt: skip


def _shape_of(seat: Seat) -> tuple[Any, ...]:
    """What seats of one stack have in common."""
    data = seat.data
    return (*_images_of(data), len(data.labels), len(data.val_labels), bool(seat.draws))


def _stacked_optimizer(optimizer: Any, places: int) -> Any:
    """An optimizer of the same kind with a learning rate, and a count of steps, for each place."""
    zeros = np.zeros(places, np.float32)
    stacked = type(optimizer).from_config({**optimizer.get_config(), "learning_rate": zeros})
    stacked.steps = tf.Variable(tf.zeros([places], tf.int64), trainable=False)
    return stacked


def _names(model: keras.Model, stacked: keras.Model, optimizer: Any) -> dict[str, tf.Variable]:
    """The stacked variables, by the names that one model's have in `training_state`."""
    own = training_state(model, model.optimizer)
    found = dict(training_state(stacked, optimizer))
    slots = {name: v for name, v in found.items() if not name.startswith("optimizer/")}
    theirs = {name: variable for name, variable in own.items() if name.startswith("optimizer/")}
    one, many = model.optimizer, optimizer
    special = {id(one.iterations): many.steps, id(one.learning_rate): many.learning_rate}
    pairs = zip(_slots(one), _slots(many), strict=True)
    special |= {id(a): b for a, b in pairs}
    names = {**slots, **{name: special[id(variable)] for name, variable in theirs.items()}}
    for name, variable in own.items():
        places = names[name].shape[0]
        assert tuple(names[name].shape) == (places, *variable.shape), name
    return {name: names[name] for name in own}


def _slots(optimizer: Any) -> list[tf.Variable]:
    """The variables of an optimizer that belong to the model's, in order."""
    apart = {id(optimizer.iterations), id(optimizer.learning_rate)}
    return [variable for variable in optimizer.variables if id(variable) not in apart]
