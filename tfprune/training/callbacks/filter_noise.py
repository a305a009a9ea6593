"""Pruning as noise: filters that would be pruned are disturbed for a while instead (GST 3.3)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from tfprune.backend import keras, tf
from tfprune.errors import InputError, SettingError, nearest, unknown_name
from tfprune.pruning.channel_flow import filter_axes
from tfprune.pruning.dead_filters import batch_norm_of
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.masks import BoolArray
from tfprune.pruning.model import kernels
from tfprune.seeds import Stream, name_key
from tfprune.training.callbacks.arguments import check_one_batch_a_step
from tfprune.training.callbacks.filter_pruning import FilterEvents, Kept, Row, Test

# The order is that of `NoiseState`'s programs.
NOISE_KINDS = ("zeroing", "restoring", "gaussian")


class FilterNoise(FilterEvents):
    """Disturbs the filters that `FilterPruning` would prune, for some batches after each event.

    At an event filters are targeted that no event targeted before, exactly as filters are pruned
    that are left. Nothing is masked. For the `noise_batches` training batches that follow,

    * `zeroing` holds the targets' kernels at zero: in every forward pass until the last of these
      batches, evaluations included. After it they train on from there.
    * `restoring` does so with their batch norm's scale and shift too; after the last batch these,
      the moving statistics and the kernels are what they were before the event, bit for bit.
    * `gaussian` adds N(0, s^2) to their kernels before each batch, with s^2 the variance of the
      entries of the layer's filters that were never targeted, at that moment. The first batch's
      is added at the event itself.

    So `accuracy_after` is measured with the noise on, and so is the `accuracy_before` of another
    layer's event. A layer's next event ends what is left of its noise. The optimizer's slots are
    left alone, and so are biases.

    The published code adds Gaussian noise in every forward pass, those of evaluations included,
    and evaluates twice after each epoch, before and after pruning. Nothing trains in between, so
    these increments add up: "a larger variance on the first batch of a new epoch" (GST 2). With
    `evaluation_batches` this does the same: an evaluation adds as many increments.

    Works in the `fit` of any functional or sequential model, wrapped or not, with
    `steps_per_execution` 1. To go on after an interruption, set `state` to a `NoiseState` of the
    model that was given what `state.read()` returned.

    What stands neither under arguments nor under attributes here is as in `FilterEvents`; of an
    event, `filters_removed` are those newly targeted, `filters_kept` those never targeted.

    Args:
      schedules: one for each layer with targets.
      kind: one of `NOISE_KINDS`.
      noise_batches: N, training batches with noise after each event.
      cumulative: whether all filters targeted so far are disturbed, not only the new ones.
      criterion: which score tells the filters that an event targets (GST 3.3: their l2 norm).
      target: which of them, by the score (GST 3.3: the largest).
      evaluation_batches: batches of the test set, each of which adds Gaussian noise in each of an
        epoch's two evaluations (GST figure 5: 79 of 128 examples); 0 adds none. In a plain `fit`
        an evaluation's are added together just before it.
      state: for a training program that calls `state.before_batch()`, `state.after_batch()` and
        `state.during_evaluation()` itself; None for a plain `fit`, in which this callback does.

    Attributes:
      state: the `NoiseState`, None before `fit`.

    Raises:
      SettingError: unknown kind, criterion or target, or no batches.
      InputError: two schedules for a layer; in `fit`, a layer that the model has not.

    Example:
      >>> schedule = FilterSchedule("conv2", start=3, end=150, period=40, fraction=0.3)
      >>> noise = FilterNoise([schedule], "gaussian", 50, test=(images, labels))  # doctest: +SKIP
      >>> model.fit(..., callbacks=[noise])  # doctest: +SKIP
    """

    def __init__(
        self,
        schedules: Iterable[FilterSchedule],
        kind: str = "zeroing",
        noise_batches: int = 1,
        cumulative: bool = False,
        criterion: str = "filter_l2",
        target: str = "largest",
        *,
        test: Test,
        evaluation_batches: int = 0,
        state: NoiseState | None = None,
        **settings: Any,
    ):
        super().__init__(schedules, criterion, target, test=test, **settings)
        if kind not in NOISE_KINDS:
            raise unknown_name("kind", kind, NOISE_KINDS)
        for name, value, least in (
            ("noise_batches", noise_batches, 1),
            ("evaluation_batches", evaluation_batches, 0),
        ):
            if value < least:
                raise SettingError(name, value, f"at least {least}")
        self.kind = kind
        self.noise_batches = noise_batches
        self.cumulative = cumulative
        self.evaluation_batches = evaluation_batches
        self.state = state
        self._in_program = state is not None

    def on_train_begin(self, logs: Row | None = None) -> None:
        check_one_batch_a_step(self.model, "FilterNoise")
        if self.state is None or (self.state.model is not self.model and not self._in_program):
            self.state = NoiseState(self.model, self.schedules)
        self.state.start(self.kind, self.seed, self.evaluation_batches)
        super().on_train_begin(logs)

    def on_train_batch_begin(self, batch: int, logs: Row | None = None) -> None:
        if not self._in_program:
            self._noise().before_batch()

    def on_train_batch_end(self, batch: int, logs: Row | None = None) -> None:
        if not self._in_program:
            self._noise().after_batch()

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        measured = len(self.events)
        super().on_epoch_end(epoch, logs)
        if len(self.events) == measured:
            # Nobody asked for the accuracy, which the published code measures twice all the same.
            for _ in range(1 if self._in_program else 2):
                self._noise().during_evaluation()

    def _accuracy(self) -> float:
        if not self._in_program:
            self._noise().during_evaluation()
        return super()._accuracy()

    def _noise(self) -> NoiseState:
        if self.state is None:
            raise ValueError("on_train_begin was not called")
        return self.state

    def _kept(self) -> Kept:
        return {name: ~flags for name, flags in self._noise().targeted().items()}

    def _disturb(self, before: Kept, after: Kept) -> None:
        for name, left in after.items():
            self._noise().begin(name, before[name] & ~left, self.noise_batches, self.cumulative)


class NoiseState:
    """The noise on a network's filters as TensorFlow variables, for a compiled training program.

    Call `before_batch` before each training batch, `after_batch` after it, and
    `during_evaluation` while test examples are evaluated, inside or outside of a `tf.function`.
    They draw with stateless keys of the seed, the layer and the number of its draws so far.
    Without noise they do next to nothing. Kind and seed are variables, so trials share a program.

    Args:
      model: a built functional or sequential model, wrapped or plain.
      layers: names of its convolution or dense layers that may have noise.

    Raises:
      InputError: if the model has no such layer.
    """

    def __init__(self, model: keras.Model, layers: Collection[str]):
        self.model = model
        self._kind = tf.Variable(0, trainable=False, dtype=tf.int64, name="noise_kind")
        self._seed = tf.Variable(0, trainable=False, dtype=tf.int64, name="noise_seed")
        self._evaluation_batches = _zeros([], tf.float32)
        batch_norms = batch_norm_of(model)
        axes = filter_axes(model)
        for name in layers:
            if name not in axes:
                raise InputError(
                    f"the model has no convolution or dense layer {name!r}: {nearest(name, axes)}"
                )
        self._layers = {
            name: _LayerNoise(
                name, kernel, axes[name], batch_norms.get(name), self._kind, self._seed
            )
            for name, kernel in kernels(model, layers).items()
        }

    def start(self, kind: str, seed: int, evaluation_batches: int = 0) -> None:
        """Says which noise comes next; filters that were targeted and noise that is on stay.

        Args:
          kind: one of `NOISE_KINDS`.
          seed: of the Gaussian draws, 0 <= seed < 2**32.
          evaluation_batches: how many increments of Gaussian noise one evaluation adds.
        """
        self._kind.assign(NOISE_KINDS.index(kind))
        self._seed.assign(seed)
        self._evaluation_batches.assign(evaluation_batches)

    def reset(self) -> None:
        """Forgets all targets and all noise, as for a network that trains anew."""
        for variable in self._variables().values():
            variable.assign(tf.zeros_like(variable))

    def targeted(self) -> dict[str, BoolArray]:
        """Layer name -> bool [filters]: which were targeted so far."""
        return {name: layer.targeted.numpy() for name, layer in self._layers.items()}

    def begin(self, layer: str, targets: BoolArray, batches: int, cumulative: bool) -> None:
        """Starts noise on a layer and applies it for the first of so many batches.

        Args:
          layer: its name.
          targets: bool [filters], those newly targeted.
          batches: training batches with noise, the next one included.
          cumulative: whether the noise is on all filters targeted so far.
        """
        self._layers[layer].begin(targets, batches, cumulative)

    def before_batch(self) -> None:
        """Adds what is due before a training batch; pure TensorFlow."""
        for layer in self._layers.values():
            layer.before_batch()

    def after_batch(self) -> None:
        """Holds at zero, or puts back, after a training batch's step; pure TensorFlow."""
        for layer in self._layers.values():
            layer.after_batch()

    def during_evaluation(self, share: float | tf.Tensor = 1.0) -> None:
        """Adds what the published code adds in evaluation; pure TensorFlow.

        Args:
          share: of the test examples, those that are evaluated next, in [0, 1].
        """
        for layer in self._layers.values():
            layer.during_evaluation(share * self._evaluation_batches)

    def read(self) -> dict[str, np.ndarray]:
        """All of the state by name, for a checkpoint."""
        return {name: variable.numpy().copy() for name, variable in self._variables().items()}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets the state to what `read` returned.

        Raises:
          ValueError: the names are not those of this state.
        """
        variables = self._variables()
        if set(values) != set(variables):
            raise ValueError("this noise belongs to other layers")
        for name, variable in variables.items():
            variable.assign(values[name])

    def _variables(self) -> dict[str, tf.Variable]:
        return {
            f"{name}/{of}": variable
            for name, layer in self._layers.items()
            for of, variable in layer.variables().items()
        }


class _LayerNoise:
    """The noise on the filters of one layer.

    Attributes:
      targeted: bool [filters], every filter ever targeted.
      active: bool [filters], those that the noise is on.
      remaining: int64, training batches that are still to come with noise.
      is_on: bool, whether the next batch's noise is on already.
      holding: bool, whether the saved values are to be put back.
      draws: int64, how many times Gaussian noise was added.
    """

    def __init__(
        self,
        name: str,
        kernel: tf.Variable,
        axis: int,
        batch_norm: Any | None,
        kind: tf.Variable,
        seed: tf.Variable,
    ):
        filters = kernel.shape[axis]
        self._along = [filters, *[1] * (-axis - 1)]
        self._key = name_key(name)
        self._kernel, self._kind, self._seed = kernel, kind, seed
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        norm = {of: getattr(batch_norm, of, None) for of in names}
        self._restored = {"kernel": kernel, **{of: v for of, v in norm.items() if v is not None}}
        self.targeted = _zeros([filters], tf.bool)
        self.active = _zeros([filters], tf.bool)
        self.remaining = _zeros([], tf.int64)
        self.is_on = _zeros([], tf.bool)
        self.holding = _zeros([], tf.bool)
        self.draws = _zeros([], tf.int64)
        self._saved = {of: _zeros(v.shape, v.dtype) for of, v in self._restored.items()}

    def variables(self) -> dict[str, tf.Variable]:
        own = ("targeted", "active", "remaining", "is_on", "holding", "draws")
        saved = {f"saved_{of}": variable for of, variable in self._saved.items()}
        return {**{of: getattr(self, of) for of in own}, **saved}

    def begin(self, targets: BoolArray, batches: int, cumulative: bool) -> None:
        self._put_back()
        self.targeted.assign(self.targeted | targets)
        self.active.assign(self.targeted if cumulative else targets)
        for name, variable in self._restored.items():
            self._saved[name].assign(variable)
        self.holding.assign(self._is("restoring"))
        self.remaining.assign(batches)
        self.is_on.assign(False)
        self.before_batch()
        self.is_on.assign(True)
        self._hold()

    def before_batch(self) -> None:
        is_due = (self.remaining > 0) & ~self.is_on.read_value()
        self._add(tf.constant(1.0), is_due)

    def during_evaluation(self, increments: tf.Tensor) -> None:
        # The noise of a single batch is added once, at the event.
        goes_on = (self.remaining > 1) | ((self.remaining > 0) & ~self.is_on.read_value())
        self._add(increments, goes_on & (increments > 0))

    def _add(self, increments: tf.Tensor, is_due: tf.Tensor) -> None:
        tf.cond(self._is("gaussian") & is_due, lambda: self._add_normal(increments), _done)

    def after_batch(self) -> None:
        self.is_on.assign(False)
        self.remaining.assign(tf.maximum(self.remaining - 1, 0))
        tf.cond(self.remaining > 0, self._hold, self._put_back)

    def _is(self, kind: str) -> tf.Tensor:
        return self._kind.read_value() == NOISE_KINDS.index(kind)

    def _hold(self) -> tf.Tensor:
        """Sets to zero what is held there."""
        kind = tf.cast(self._kind, tf.int32)
        return tf.switch_case(kind, [self._zero_kernel, self._zero_channel, _done])

    def _put_back(self) -> tf.Tensor:
        return tf.cond(self.holding, self._restore, _done)

    def _restore(self) -> tf.Tensor:
        for name, variable in self._restored.items():
            variable.assign(tf.where(self._active(name), self._saved[name], variable))
        self.holding.assign(False)
        return _done()

    def _zero_kernel(self) -> tf.Tensor:
        return self._zero("kernel")

    def _zero_channel(self) -> tf.Tensor:
        return self._zero("kernel", "gamma", "beta")

    def _zero(self, *names: str) -> tf.Tensor:
        for name in names:
            if name in self._restored:
                variable = self._restored[name]
                variable.assign(tf.where(self._active(name), tf.zeros_like(variable), variable))
        return _done()

    def _active(self, name: str) -> tf.Tensor:
        """Which filters the noise is on, to broadcast with a variable of theirs."""
        return tf.reshape(self.active, self._along) if name == "kernel" else self.active

    def _add_normal(self, increments: tf.Tensor) -> tf.Tensor:
        """So many independent draws at once: their sum has so many times the variance."""
        kernel = self._kernel
        seed = tf.stack([self._seed, tf.constant(int(Stream.MASK), tf.int64)])
        for part in (tf.constant(self._key, tf.int64), self.draws):
            seed = tf.random.experimental.stateless_fold_in(seed, part, alg="philox")
        noise = tf.cast(_normal(kernel.shape, seed), kernel.dtype)
        variance = _variance(kernel, tf.reshape(~self.targeted.read_value(), self._along))
        noise *= tf.sqrt(tf.cast(increments, kernel.dtype) * variance)
        kernel.assign_add(tf.where(self._active("kernel"), noise, tf.zeros_like(noise)))
        self.draws.assign_add(1)
        return _done()


def _zeros(shape: Any, dtype: tf.DType) -> tf.Variable:
    return tf.Variable(tf.zeros(shape, dtype), trainable=False)


def _done() -> tf.Tensor:
    """What both branches of a condition return."""
    return tf.constant(True)


def _normal(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal draws, float32, by Box and Muller.

    Of TensorFlow's stateless draws only the integers are the same with XLA and without.
    """
    bits = tf.random.stateless_uniform(
        [2, *shape], seed, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )
    kept = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)
    uniform = (kept + 0.5) / 2.0**24  # Never 0.
    return tf.sqrt(-2 * tf.math.log(uniform[0])) * tf.cos(2 * math.pi * uniform[1])


def _variance(kernel: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """The variance of the entries of these filters; 0 without any."""
    weight = tf.cast(filters, kernel.dtype) * tf.ones_like(kernel)
    count = tf.maximum(tf.reduce_sum(weight), 1)
    mean = tf.reduce_sum(weight * kernel) / count
    return tf.reduce_sum(weight * tf.square(kernel - mean)) / count
