"""Weight utility: how far a network's outputs move when some of its weights are zeroed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfprune.backend import keras, map_in_turn, tf
from tfprune.errors import InputError, SettingError, arguments_from, unknown_name
from tfprune.measures.el2n import check_kind
from tfprune.measures.evaluation import (
    DeviceExamples,
    Evaluator,
    Examples,
    check_examples,
    even_batch,
    is_on_cpu,
    some_examples,
)
from tfprune.models.task import task_of
from tfprune.precision import products
from tfprune.pruning import model as pruned
from tfprune.pruning.masks import Masks
from tfprune.pruning.prunable import prunable_kernels
from tfprune.pruning.selection import exact_ceil
from tfprune.pruning.weights import check_fits, named_variables, read_weights
from tfprune.seeds import MAX_SEED, LevelDraw, Stream, generator

RATIOS = (0.01, 0.05, 0.075, 0.1, 0.15, 0.25)
AMOUNTS = ("ratio", "number")
ORDERS = ("random", "magnitude")

# On 2 cores no slower than larger ones, for dense nets and for convolutions, with less memory.
BATCH_SIZE = 256

# A call of the program costs about a millisecond, more than a tiny network: several share it.
_NETWORKS_AT_ONCE = 24
_RANK_BYTES_AT_ONCE = 2**26

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Ablations:
    """Which subsets of the weights are zeroed, on how many examples (PM 2.1.2, N = 500).

    Only kernels count as weights, never biases or batch-norm parameters: PM says "weights" and
    leaves it open, and its comparisons count what pruning can remove. **Eligible** are those that
    no mask prunes, of a magnitude above `magnitude_above`.

    Random subset k depends on (seed, k) and the number of weights alone: it is the beginning of
    one random order of all weights, restricted to the eligible ones. So every epoch and every
    network built alike, pruned or not, meets the same draws, and a larger subset holds the
    smaller one of the same k.

    Attributes:
      amounts: how many weights a subset has; the statistics are given for each.
      by: `ratio`, amounts are fractions of the eligible weights in [0, 1], and a subset has
        `ceil(ratio * eligible)`; or `number`, amounts are numbers of weights.
      subsets: N, subsets for each amount.
      order: `random`, or `magnitude`: the subsets are N windows of consecutive magnitude ranks,
        evenly spaced from the smallest weights to the largest (figure 1, right).
      kernels: `conv_dense`, `conv` or `hidden`, as `prunable_kernels` takes it.
      magnitude_above: only weights of larger magnitude are eligible (2.2.2); None for all. Where
        a pruned twin is at hand, `measure(masks=...)` with its masks says the same exactly.
      num_examples: measure on so many, drawn by the seed; None for all.
      seed: of all draws.

    Raises:
      SettingError: one of them is not allowed.
    """

    amounts: tuple[float, ...] = RATIOS
    by: str = "ratio"
    subsets: int = 500
    order: str = "random"
    kernels: str = "conv_dense"
    magnitude_above: float | None = None
    num_examples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("by", AMOUNTS), ("order", ORDERS)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        _check_amounts(self.amounts, self.by)
        if self.subsets < 1:
            raise SettingError("subsets", self.subsets, "at least 1")
        if self.magnitude_above is not None and not self.magnitude_above >= 0:
            raise SettingError("magnitude_above", self.magnitude_above, "a number of at least 0")
        if self.num_examples is not None and self.num_examples < 1:
            raise SettingError("num_examples", self.num_examples, "at least 1")
        if not 0 <= self.seed <= MAX_SEED:
            raise SettingError("seed", self.seed, f"a whole number in [0, {MAX_SEED}]")

    def sizes(self, eligible: int) -> list[int]:
        """How many weights a subset of each amount has, of so many eligible ones.

        Raises:
          SettingError: a number is larger than that.
        """
        if self.by == "ratio":
            return [exact_ceil(ratio, eligible) for ratio in self.amounts]
        for number in self.amounts:
            if number > eligible:
                raise SettingError("amounts", number, f"at most the {eligible} eligible weights")
        return [int(number) for number in self.amounts]


@dataclass(frozen=True, eq=False)
class Utility:
    """The utility of N subsets for each of A amounts (PM definitions 1-3).

    Attributes:
      ablations: what was asked for.
      eligible: how many weights the subsets were drawn from.
      sizes: int64 [A], weights in a subset.
      values: float64 [A, N], U(Ws) = mean over examples of KL(f_W ‖ f_{W∖Ws}), nats; for
        histograms. Never below 0 but for rounding.
      accuracies: float64 [A, N], of the ablated networks, in [0, 1].
      accuracy: of the network as it is, on the same examples.
      positions: float64 [A, N], the fraction of the eligible weights whose magnitude ranks below
        the subset, for order `magnitude`; None for random subsets.
    """

    ablations: Ablations
    eligible: int
    sizes: np.ndarray
    values: np.ndarray
    accuracies: np.ndarray
    accuracy: float
    positions: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean utility, float64 [A], nats."""
        return self.values.mean(axis=1)

    @property
    def imbalance(self) -> np.ndarray:
        """Utility imbalance: the standard deviation over the N subsets (ddof 0), float64 [A]."""
        return self.values.std(axis=1)

    @property
    def minimum(self) -> np.ndarray:
        """The least utility, float64 [A], nats."""
        return self.values.min(axis=1)

    @property
    def maximum(self) -> np.ndarray:
        """The largest utility, float64 [A], nats."""
        return self.values.max(axis=1)

    def rows(self) -> list[dict[str, Any]]:
        """A row of plain numbers for each amount, for a tidy table."""
        columns: dict[str, Any] = {
            "ablation_amount": list(self.ablations.amounts),
            "ablated_weights": self.sizes.tolist(),
            "utility_mean": self.mean.tolist(),
            "utility_imbalance": self.imbalance.tolist(),
            "utility_min": self.minimum.tolist(),
            "utility_max": self.maximum.tolist(),
            "ablated_accuracy_mean": self.accuracies.mean(axis=1).tolist(),
            "ablated_accuracy_min": self.accuracies.min(axis=1).tolist(),
            "ablated_accuracy_max": self.accuracies.max(axis=1).tolist(),
        }
        shared = {
            "ablation_by": self.ablations.by,
            "eligible_weights": self.eligible,
            "subsets": self.values.shape[1],
            "accuracy": self.accuracy,
        }
        rows = zip(*columns.values(), strict=True)
        return [{**dict(zip(columns, row, strict=True)), **shared} for row in rows]


class _Responses(NamedTuple):
    """Of M ablated networks: float64 [M] each."""

    utility: Any
    accuracy: Any


class UtilityMeter:
    """Measures one network's utility at any number of moments, by one compiled program.

    The network's own outputs are computed once for each measurement. It works on a copy: the
    model is never written to.

    Batch norm keeps its moving statistics while weights are zeroed. Before training these are
    means of 0 and variances of 1, which normalize nothing: a residual network's activations grow
    from block to block, and with them its utility, to many times that of the network that training
    starts from. One whose batch norms have all seen no batch is measured with the statistics of
    the examples.

    Args:
      model: a built functional or sequential `tf_keras` model, wrapped or not, or an `Evaluator`
        of one.
      examples: what the mean is taken over; PM takes the training split.
      ablations: `Ablations()` if None.
      from_logits: whether the model gives logits or probabilities; None asks its compiled loss
        and its last activation. One output stands for two classes.
      jit: whether to compile with XLA; None does so anywhere but on a CPU, where it is slower.
      batch_size: the most examples in a batch; changes no result but through rounding.

    Raises:
      InputError: the model cannot be measured, or is no classifier with one label for each
        example.
      SettingError: there are fewer examples than asked for, or no such kernels.
    """

    def __init__(
        self,
        model: keras.Model | Evaluator,
        examples: Examples,
        ablations: Ablations | None = None,
        *,
        from_logits: bool | None = None,
        jit: bool | None = None,
        batch_size: int = BATCH_SIZE,
    ):
        if batch_size < 1:
            raise SettingError("batch_size", batch_size, "at least 1")
        self.ablations = Ablations() if ablations is None else ablations
        self.evaluator = model if isinstance(model, Evaluator) else Evaluator(model)
        self._kernels = _kernel_names(self.evaluator.model, self.ablations.kernels)
        check_examples(examples)
        count = self.ablations.num_examples
        if count is not None:
            rng = generator(self.ablations.seed, Stream.MEASURE, level=LevelDraw.ABLATION_EXAMPLES)
            examples = some_examples(examples, count, rng, "num_examples")
        source = self.evaluator.model
        self._task = self.evaluator.task
        if from_logits is not None:
            self._task = task_of(source, from_logits=from_logits)
        self._task.check_probabilities("utility")
        labels = self._task.class_labels(examples.labels, "utility")
        if len(source.output_shape) != 2:
            raise InputError(
                f"model {source.name!r} has outputs of shape {source.output_shape}, and utility is "
                "of outputs [batch, classes]"
            )
        self._data = DeviceExamples.of(examples, labels)
        self._batch_size = batch_size
        compiled = not is_on_cpu(self.evaluator.variables.values()) if jit is None else jit
        self._outputs = tf.function(self._all_outputs, jit_compile=compiled, autograph=False)
        self._program = tf.function(self._all_responses, jit_compile=compiled, autograph=False)
        self._estimate = tf.function(
            self.evaluator.estimate_statistics, jit_compile=compiled, autograph=False
        )

    @property
    def traces(self) -> int:
        """How many programs were built so far for the ablated networks."""
        return self._program.experimental_get_tracing_count()

    @products("ieee")
    def measure(
        self, weights: Mapping[str, np.ndarray] | None = None, masks: Masks | None = None
    ) -> Utility:
        """The utility at these weights.

        Args:
          weights: by name as `read_weights` gives, of a network built alike; the model's current
            ones if None.
          masks: pruned weights are not eligible; layers without a mask are eligible as a whole.
            The model's own masks if None, or all weights if it has none.

        Raises:
          InputError: the weights or masks are of another network, or no weight is eligible.
          SettingError: a subset is to have more weights than there are.
        """
        source = self.evaluator.model
        values = read_weights(source) if weights is None else weights
        if masks is None and pruned.masked_layers(source):
            masks = pruned.get_masks(source)
        self._assign(values)
        if self.evaluator.has_seen_no_batch:
            self._estimate(self._data)
        kernels = {name: values[name] for name in self._kernels.values()}
        magnitudes = np.concatenate([np.abs(kernel).ravel() for kernel in kernels.values()])
        above = self.ablations.magnitude_above
        eligible = _eligible(self._kernels, kernels, masks, above)
        if not eligible.any():
            raise InputError("no weight can be ablated: lower magnitude_above, or prune less")
        reference = self._outputs(self._data)
        by_class = self._task.by_class(reference).numpy()
        check_kind(self.evaluator.model, by_class, self._task.from_logits)
        return self._measured(magnitudes, eligible, kernels, reference)

    def _assign(self, weights: Mapping[str, np.ndarray]) -> None:
        variables = self.evaluator.variables
        check_fits(weights, variables)
        for name, variable in variables.items():
            variable.assign(weights[name])

    def _measured(
        self,
        magnitudes: np.ndarray,
        eligible: np.ndarray,
        kernels: Mapping[str, np.ndarray],
        reference: tf.Tensor,
    ) -> Utility:
        count = int(np.count_nonzero(eligible))
        sizes = self.ablations.sizes(count)
        responses: _Responses
        positions = None
        if self.ablations.order == "magnitude":
            starts = window_starts(count, sizes, self.ablations.subsets)
            responses = self._by_magnitude(magnitudes, eligible, starts, sizes, kernels, reference)
            positions = starts / count
        else:
            responses = self._at_random(eligible, sizes, kernels, reference)
        correct = self._task.correct(self._data.labels, reference)
        return Utility(
            self.ablations,
            count,
            np.array(sizes, np.int64),
            responses.utility,
            responses.accuracy,
            float(np.mean(correct.numpy())),
            positions,
        )

    def _at_random(
        self,
        eligible: np.ndarray,
        sizes: list[int],
        kernels: Mapping[str, np.ndarray],
        reference: tf.Tensor,
    ) -> _Responses:
        subsets, seed = self.ablations.subsets, self.ablations.seed
        at_once = _subsets_at_once(subsets, len(sizes), eligible.size)
        windows = np.array([[0, size] for size in sizes], np.int32)
        found = []
        for first in range(0, subsets, at_once):
            # The last subset fills up the last call, so that all calls share one program.
            indices = [min(first + offset, subsets - 1) for offset in range(at_once)]
            ranks = np.stack([random_ranks(eligible, seed, index) for index in indices])
            found.append(self._respond(ranks, windows, kernels, reference))
        return _Responses(
            *(np.concatenate(part).T[:, :subsets].copy() for part in zip(*found, strict=True))
        )

    def _by_magnitude(
        self,
        magnitudes: np.ndarray,
        eligible: np.ndarray,
        starts: np.ndarray,
        sizes: list[int],
        kernels: Mapping[str, np.ndarray],
        reference: tf.Tensor,
    ) -> _Responses:
        ends = starts + np.array(sizes)[:, None]
        windows = np.stack([starts.ravel(), ends.ravel()], axis=1).astype(np.int32)
        ranks = magnitude_ranks(magnitudes, eligible)[None]
        found = self._respond(ranks, windows, kernels, reference)
        return _Responses(*(part.reshape(starts.shape) for part in found))

    def _respond(
        self,
        ranks: np.ndarray,
        windows: np.ndarray,
        kernels: Mapping[str, np.ndarray],
        reference: tf.Tensor,
    ) -> _Responses:
        """Responses [S, W] of S rankings of the weights and W windows of ranks to ablate."""
        stacked = {
            name: tf.constant(kernel, self.evaluator.variables[name].dtype)
            for name, kernel in kernels.items()
        }
        found = self._program(
            tf.constant(ranks), tf.constant(windows), stacked, self._data, reference
        )
        return _Responses(*(part.numpy().reshape(len(ranks), len(windows)) for part in found))

    def _all_outputs(self, data: DeviceExamples) -> tf.Tensor:
        """The outputs for all examples, [N, classes], batch by batch as those of ablated ones."""

        def put(
            start: tf.Tensor, outputs: tf.Tensor, _: tf.Tensor, everything: tf.Tensor
        ) -> tf.Tensor:
            rows = start + tf.range(outputs.shape[0])
            return tf.tensor_scatter_nd_update(everything, rows[:, None], outputs)

        model = self.evaluator.model
        shape = [data.labels.shape[0], model.output_shape[-1]]
        nothing = tf.zeros(shape, model.outputs[0].dtype)
        return self.evaluator.fold_outputs(data, put, nothing, self._batch_size)

    def _all_responses(
        self,
        ranks: tf.Tensor,
        windows: tf.Tensor,
        kernels: dict[str, tf.Tensor],
        data: DeviceExamples,
        reference: tf.Tensor,
    ) -> _Responses:
        """The networks one after the other: as fast as several in one matrix product."""
        count = windows.shape[0]

        def network(index: tf.Tensor) -> _Responses:
            self._ablate(tf.gather(ranks, index // count), windows[index % count], kernels)
            return self._response(data, reference)

        scalar = tf.TensorSpec([], tf.float64)
        # The networks share the variables.
        indices = tf.range(ranks.shape[0] * count)
        return map_in_turn(network, indices, _Responses(scalar, scalar))

    def _ablate(self, ranks: tf.Tensor, window: tf.Tensor, kernels: dict[str, tf.Tensor]) -> None:
        """Zeroes the weights whose rank lies in [window[0], window[1])."""
        ablated = (ranks >= window[0]) & (ranks < window[1])
        start = 0
        for name in self._kernels.values():
            kernel = kernels[name]
            size = math.prod(kernel.shape)
            part = tf.reshape(ablated[start : start + size], kernel.shape)
            zeroed = tf.where(part, tf.zeros_like(kernel), kernel)
            self.evaluator.variables[name].assign(zeroed)
            start += size

    def _response(self, data: DeviceExamples, reference: tf.Tensor) -> _Responses:
        def add(
            start: tf.Tensor, outputs: tf.Tensor, labels: tf.Tensor, sums: _Responses
        ) -> _Responses:
            own = tf.slice(reference, [start, 0], [outputs.shape[0], reference.shape[1]])
            own, ablated = self._task.by_class(own), self._task.by_class(outputs)
            divergence = tf.reduce_sum(kl_divergence(own, ablated, self._task.from_logits))
            correct = self._task.correct(labels, outputs)
            return _Responses(
                sums.utility + divergence,
                sums.accuracy + tf.reduce_sum(tf.cast(correct, tf.float64)),
            )

        zero = tf.zeros([], tf.float64)
        sums = self.evaluator.fold_outputs(data, add, _Responses(zero, zero), self._batch_size)
        examples = data.labels.shape[0]
        return _Responses(sums.utility / examples, sums.accuracy / examples)


def utility(
    model: keras.Model | Evaluator,
    examples: Examples,
    ablations: Ablations | None = None,
    *,
    masks: Masks | None = None,
    from_logits: bool | None = None,
    jit: bool | None = None,
    batch_size: int = BATCH_SIZE,
) -> Utility:
    """The utility of random subsets of a model's weights (PM definitions 1-3).

    U(Ws) = mean over examples x of KL(f_W(x) ‖ f_{W∖Ws}(x)), f the softmax output, in nats; Ws is
    ablated by zeroing its weights, in inference mode and with the batch-norm statistics as they
    are, or before training those of the examples (see `UtilityMeter`). The model is left as found.

    Args:
      model: as `UtilityMeter`.
      examples: likewise.
      ablations: which subsets; `Ablations()` if None, 500 of each of six ratios.
      masks: as `UtilityMeter.measure`.
      from_logits: as `UtilityMeter`.
      jit: likewise.
      batch_size: likewise.

    Raises:
      InputError, SettingError: as `UtilityMeter` and its `measure`.

    Example:
      >>> found = utility(model, Examples(images, labels))  # doctest: +SKIP
      >>> found.mean, found.imbalance  # doctest: +SKIP
    """
    meter = UtilityMeter(
        model, examples, ablations, from_logits=from_logits, jit=jit, batch_size=batch_size
    )
    return meter.measure(masks=masks)


def eligible_weights(
    model: keras.Model,
    kernels: str = "conv_dense",
    masks: Masks | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    magnitude_above: float | None = None,
) -> int:
    """How many weights can be ablated: those of the kernels that are eligible (see `Ablations`).

    Args:
      model: wrapped or plain; its own masks are not looked at.
      kernels: as for `Ablations`.
      masks: by layer; layers without a mask count as a whole.
      weights: by name as `read_weights` gives; the model's current ones if None.
      magnitude_above: as for `Ablations`.
    """
    names = _kernel_names(model, kernels)
    if weights is None:
        variables = named_variables(model)
        weights = {name: variables[name].numpy() for name in names.values()}
    return int(np.count_nonzero(_eligible(names, weights, masks, magnitude_above)))


def kl_divergence(reference: tf.Tensor, outputs: tf.Tensor, from_logits: bool = True) -> tf.Tensor:
    """KL(f ‖ g) = Σ_c f_c ln(f_c / g_c) of each example, in nats, float64 [batch].

    Args:
      reference: [batch, classes], logits of f, or its probabilities.
      outputs: likewise of g.
      from_logits: which of the two they are; a probability of 0 counts as 1.2e-38.
    """
    log_f, log_g = (_log_probabilities(values, from_logits) for values in (reference, outputs))
    return tf.reduce_sum(tf.exp(log_f) * (log_f - log_g), axis=-1)


def random_ranks(eligible: np.ndarray, seed: int, index: int) -> np.ndarray:
    """Each weight's place in the random order of subset `index`, int32 [weights].

    The subset of k weights is those of rank 0 to k − 1. Weights that are not eligible have −1.

    Args:
      eligible: bool [weights]; changes which weights are ranked, not their order.
      seed: of the draw.
      index: which subset, from 0.
    """
    rng = generator(seed, Stream.MEASURE, level=LevelDraw.ABLATED_SUBSETS, epoch=index)
    return _ranks(rng.permutation(eligible.size), eligible)


def magnitude_ranks(magnitudes: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Each eligible weight's place by magnitude, the smallest first, int32 [weights]; others −1.

    Equal magnitudes go in the order of the flat index.

    Args:
      magnitudes: float [weights].
      eligible: bool [weights].
    """
    return _ranks(np.argsort(magnitudes, kind="stable"), eligible)


def window_starts(eligible: int, sizes: list[int], windows: int) -> np.ndarray:
    """The first ranks of windows evenly spaced over all ranks, int64 [sizes, windows].

    The first window starts at rank 0 and the last ends at rank `eligible`; a single one starts
    at 0.
    """
    last = eligible - np.array(sizes, np.float64)
    return np.rint(np.linspace(np.zeros_like(last), last, windows, axis=1)).astype(np.int64)


def _ranks(order: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    chosen = order[eligible[order]]
    ranks = np.full(eligible.size, -1, np.int32)
    ranks[chosen] = np.arange(chosen.size, dtype=np.int32)
    return ranks


def _log_probabilities(outputs: tf.Tensor, from_logits: bool) -> tf.Tensor:
    exact = tf.cast(outputs, tf.float64)
    if from_logits:
        return tf.nn.log_softmax(exact)
    return tf.math.log(tf.maximum(exact, _SMALLEST_PROBABILITY))


def _check_amounts(amounts: tuple[float, ...], by: str) -> None:
    if not amounts:
        raise SettingError("amounts", amounts, "at least one")
    for amount in amounts:
        if by == "ratio" and not 0 <= amount <= 1:
            raise SettingError("amounts", amount, "ratios in [0, 1]")
        if by == "number" and (amount != int(amount) or amount < 0):
            raise SettingError("amounts", amount, "whole numbers of at least 0")


def _kernel_names(model: keras.Model, which: str) -> dict[str, str]:
    """Layer -> its kernel's name among the named variables."""
    names = {id(variable): name for name, variable in named_variables(model).items()}
    with arguments_from(which="kernels"):
        found = pruned.kernels(model, prunable_kernels(model, which))
    return {layer: names[id(kernel)] for layer, kernel in found.items()}


def _eligible(
    layers: Mapping[str, str],
    kernels: Mapping[str, np.ndarray],
    masks: Masks | None,
    magnitude_above: float | None,
) -> np.ndarray:
    """Which weights no mask prunes, of a magnitude above this if it is given, bool [weights]."""
    known: Mapping[str, np.ndarray] = {} if masks is None else masks
    parts = []
    for layer, name in layers.items():
        mask = known.get(layer, np.ones(kernels[name].shape, bool))
        if mask.shape != kernels[name].shape:
            raise InputError(
                f"the mask of layer {layer!r}, of shape {mask.shape}, does not fit its kernel of "
                f"shape {kernels[name].shape}: give the masks of a model built alike"
            )
        if magnitude_above is not None:
            mask = mask & (np.abs(kernels[name]) > magnitude_above)
        parts.append(mask.ravel())
    return np.concatenate(parts)


def _subsets_at_once(subsets: int, sizes: int, weights: int) -> int:
    """How many subsets share a call: as even over the calls as can be."""
    few = min(-(-_NETWORKS_AT_ONCE // sizes), max(_RANK_BYTES_AT_ONCE // (4 * weights), 1))
    return even_batch(subsets, few)
