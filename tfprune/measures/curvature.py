"""Flatness: Hessian spectrum and trace, gradient covariance, perturbations withstood (GST 3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from tfprune.backend import keras
from tfprune.errors import InputError, SettingError, unknown_name
from tfprune.measures.evaluation import Evaluator, Examples, Loss, evaluator_of
from tfprune.measures.hessian import Coordinates, Curvature, Hessian
from tfprune.measures.landscape import line
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays, read_weights
from tfprune.seeds import EpochDraw, Stream, generator

MaskLike = Masks | Mapping[str, ArrayLike] | None

EXAMPLES = 512
EIGENVALUES = 100
PROBES = 100
PERTURBED_VECTORS = 10
RISE = 0.1

_WHICH = {"magnitude": "LM", "algebraic": "LA"}


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """The k dominant eigenvalues of a Hessian and their eigenvectors.

    Attributes:
      values: float64 [k], falling.
      vectors: float [k, n], of length 1, over unpruned coordinates; each one's entry of largest
        magnitude is positive.
      coordinates: what the n entries are.
    """

    values: np.ndarray
    vectors: np.ndarray
    coordinates: Coordinates

    @property
    def trace(self) -> float:
        """Σ of the k eigenvalues: Tr(H₁₀₀) of GST's figures 6 and E5 for k = 100."""
        return math.fsum(self.values)

    def direction(self, index: int) -> Arrays:
        """An eigenvector by variable name, in the variables' shapes; zero where pruned."""
        return self.coordinates.to_arrays(self.vectors[index])


@dataclass(frozen=True, eq=False)
class TraceEstimate:
    """Hutchinson's estimate of a trace.

    Attributes:
      samples: float64 [m], zᵀHz of each probe; their mean is unbiased.
    """

    samples: np.ndarray

    @property
    def value(self) -> float:
        """The estimate."""
        return float(np.mean(self.samples))

    @property
    def standard_error(self) -> float:
        """Of the estimate, by the spread of the samples (ddof 1); NaN for one probe."""
        if len(self.samples) < 2:
            return math.nan
        return float(np.std(self.samples, ddof=1) / math.sqrt(len(self.samples)))


@dataclass(frozen=True, eq=False)
class Perturbations:
    """How the loss rises along M directions of length 1 (GST figures E3 and E4).

    Attributes:
      distances: float64 [D], rising, 0 among them.
      rises: float64 [M, D], L(θ + distance · direction) − L(θ), nats.
    """

    distances: np.ndarray
    rises: np.ndarray

    def by_direction(self, rise: float = RISE) -> np.ndarray:
        """For each direction the smallest |distance|, of either sign, that raises the loss so far.

        Returns:
          float64 [M], one of the distances, not between two; NaN where the loss never rises that
          far. A loss that is NaN has risen.
        """
        far = ~(self.rises < rise)
        sizes = np.where(far, np.abs(self.distances), np.inf).min(axis=1)
        return np.where(np.isinf(sizes), np.nan, sizes)

    def epsilon(self, rise: float = RISE) -> float:
        """ε of GST: the smallest of these over all directions; NaN if the loss never rises so far.

        The paper's text leaves open how directions are joined. Its published code takes, at each
        size, the worst rise over signs and directions, and then the first size where that is
        0.1: the same number, and no mean.
        """
        sizes = self.by_direction(rise)
        return math.nan if np.isnan(sizes).all() else float(np.nanmin(sizes))


@dataclass(frozen=True, eq=False)
class Flatness:
    """All flatness measures of a network (GST 3.4, figures 6 and E1 to E5).

    Of all but ε, which is a size that is withstood, lower is flatter.

    Attributes:
      eigenpairs: the dominant ones of the Hessian H.
      hessian_trace: Tr(H) by Hutchinson, of the whole spectrum.
      gradient_covariance_trace: Tr(C), uncentred.
      perturbations: along the dominant eigenvectors.
    """

    eigenpairs: Eigenpairs
    hessian_trace: TraceEstimate
    gradient_covariance_trace: float
    perturbations: Perturbations

    @property
    def tic_proxy(self) -> float:
        """Tr(C) / Tr(H), H's trace by the sum of the k eigenvalues, as in GST's figure E5."""
        return tic_proxy(self.gradient_covariance_trace, self.eigenpairs.trace)

    @property
    def tic_proxy_hutchinson(self) -> float:
        """The same with Hutchinson's trace of the whole spectrum."""
        return tic_proxy(self.gradient_covariance_trace, self.hessian_trace.value)

    @property
    def epsilon(self) -> float:
        """The smallest perturbation that raises the loss by 0.1; higher is flatter."""
        return self.perturbations.epsilon()


def curvature_examples(n_test: int, count: int = EXAMPLES, seed: int | None = None) -> np.ndarray:
    """The test examples that derivatives are taken on: rising indices, int64 [count].

    Args:
      n_test: how many test examples there are; all are taken if there are no more than `count`.
      count: how many to take.
      seed: None: the first ones, as GST's published code does (512 of CIFAR-10). An integer:
        drawn without replacement, which a test split that is sorted by class needs.

    Raises:
      SettingError: there are no examples, or `count` is below 1.
    """
    if n_test < 1:
        raise SettingError("n_test", n_test, "at least 1")
    if count < 1:
        raise SettingError("count", count, "at least 1")
    if seed is None or count >= n_test:
        return np.arange(min(count, n_test), dtype=np.int64)
    rng = generator(seed, Stream.MEASURE, epoch=EpochDraw.CURVATURE_EXAMPLES)
    return np.sort(rng.choice(n_test, count, replace=False)).astype(np.int64)


def perturbation_grid(largest: float = 0.4, step: float = 0.01) -> np.ndarray:
    """−largest, ..., −step, 0, step, ..., largest: 81 distances as in GST's published code.

    Raises:
      SettingError: `largest` is not a whole number of steps, at least one.
    """
    steps = round(largest / step) if step > 0 else 0
    if steps < 1 or abs(largest / step - steps) > 1e-9 * steps:
        raise SettingError("step", step, f"a step that divides {largest}, such as 0.01")
    # Rounded, so that 0.03 is the number that is written so.
    return np.round(np.arange(-steps, steps + 1) * step, 12)


def top_eigenpairs(
    hessian: Hessian,
    k: int = EIGENVALUES,
    which: str = "magnitude",
    tolerance: float = 1e-4,
    basis_size: int | None = None,
    seed: int = 0,
) -> Eigenpairs:
    """The k dominant eigenvalues of a Hessian with their eigenvectors, by ARPACK's Lanczos.

    GST's published code finds the largest in magnitude by power iteration with deflation, 20
    steps each, and sorts them falling; Lanczos finds the same ones, more exactly. The whole
    matrix is built and solved instead where n is k.

    Memory is `basis_size + k` vectors of n numbers: for VGG-11 (n = 9.2 million, float32) 11 GB
    at k = 100 and 1 GB at k = 10.

    Args:
      hessian: as `Curvature.hessian` gives.
      k: how many, at most n.
      which: `magnitude`, those of the largest |λ|, or `algebraic`, the largest λ.
      tolerance: on the residual ‖Hv − λv‖ relative to |λ|; that of λ itself is about its square.
        0 is as exact as float64 can be: too much to ask of a float32 network.
      basis_size: Lanczos vectors held, in (k, n]; the largest of 2k + 1 and 20 if None.
        Fewer take less memory and more products.
      seed: of the starting vector.

    Raises:
      SettingError: `which`, k or `basis_size` is not allowed.
      InputError: Lanczos did not converge, or derivatives are not finite.
    """
    if which not in _WHICH:
        raise unknown_name("which", which, _WHICH)
    n = hessian.shape[0]
    if not 1 <= k <= n:
        raise SettingError("k", k, f"between 1 and {n}, the number of unpruned parameters")
    held = min(n, max(2 * k + 1, 20)) if basis_size is None else basis_size
    if k < n and not k < held <= n:
        raise SettingError("basis_size", held, f"more than k = {k} and at most {n}")
    values, vectors = (
        _whole_spectrum(hessian)
        if k == n
        else _lanczos(hessian, k, _WHICH[which], tolerance, held, seed)
    )
    falling = np.argsort(-values, kind="stable")
    found = np.ascontiguousarray(vectors.T[falling])
    peaks = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, np.newaxis], axis=1)
    found *= np.where(peaks < 0, -1, 1).astype(found.dtype)
    return Eigenpairs(values[falling].astype(np.float64), found, hessian.coordinates)


def hessian_trace(hessian: Hessian, probes: int = PROBES, seed: int = 0) -> TraceEstimate:
    """Tr(H) by Hutchinson: the mean of zᵀHz over probes z of independent random signs.

    Not in GST, which takes the sum of 100 eigenvalues: this one has no truncation, but noise,
    Var(zᵀHz) = 2 Σ_{i≠j} H²ᵢⱼ.

    Args:
      hessian: as `Curvature.hessian` gives.
      probes: m, how many; each costs a Hessian-vector product.
      seed: of the probes.

    Raises:
      SettingError: there are no probes.
      InputError: derivatives are not finite.
    """
    if probes < 1:
        raise SettingError("probes", probes, "at least 1")
    rng = generator(seed, Stream.MEASURE, epoch=EpochDraw.CURVATURE_PROBES)
    samples = np.empty(probes)
    for probe in range(probes):
        signs = rng.integers(0, 2, hessian.shape[0], dtype=np.int8) * np.int8(2) - np.int8(1)
        product = (hessian @ signs.astype(hessian.dtype)).astype(np.float64)
        samples[probe] = float(signs @ product)
    return TraceEstimate(samples)


def gradient_covariance_trace(
    model: keras.Model | Curvature,
    examples: Examples,
    masks: MaskLike = None,
    loss: Loss | None = None,
) -> float:
    """Tr(C) = (1/N) Σᵢ ‖∇ℓᵢ‖², of the uncentred covariance of per-example gradients (GST 2).

    Args:
      model: any built `tf_keras` model, or a `Curvature` of it.
      examples: the N labelled examples.
      masks: what is left out as pruned: see `tfprune.measures.hessian.unpruned_coordinates`.
      loss: see `Curvature`; of a `Curvature`, its own.

    Raises:
      InputError: the model cannot be measured, derivatives are not finite, or both a `Curvature`
        and a loss are given.
    """
    return float(np.mean(curvature_of(model, loss).gradient_norms(examples, masks)))


def tic_proxy(gradient_covariance: float, hessian: float) -> float:
    """Tr(C) / Tr(H), after Takeuchi's information criterion (GST 2); NaN if Tr(H) is 0."""
    return gradient_covariance / hessian if hessian else math.nan


def perturb(
    model: keras.Model | Evaluator,
    eigenpairs: Eigenpairs,
    test: Examples,
    vectors: int = PERTURBED_VECTORS,
    distances: ArrayLike | None = None,
    loss: Loss | None = None,
) -> Perturbations:
    """How the test loss rises along the dominant eigenvectors, θ + distance · v (GST E3, E4).

    Args:
      model: a built functional or sequential model, or an `Evaluator` of it, at the weights that
        the eigenvectors were found for. It is not touched.
      eigenpairs: as `top_eigenpairs` gives; the first ones are taken, by falling eigenvalue.
      test: what the loss is over; in GST the whole test split, not the examples of the Hessian.
      vectors: how many, at most; all if there are fewer.
      distances: rising, 0 among them; `perturbation_grid()` if None.
      loss: see `Evaluator`.

    Raises:
      SettingError: `vectors` is below 1.
      InputError: 0 is not among the distances or they do not rise, the eigenvectors are of
        another network, or the model cannot be measured.
    """
    if vectors < 1:
        raise SettingError("vectors", vectors, "at least 1")
    points = np.asarray(perturbation_grid() if distances is None else distances, np.float64)
    if not np.any(points == 0):
        raise InputError("distances must have 0 among them: make them with perturbation_grid")
    evaluator = evaluator_of(model, loss)
    weights = read_weights(evaluator.model)
    still = {name: np.zeros_like(value) for name, value in weights.items()}
    taken = min(vectors, len(eigenpairs.values))
    directions = [{**still, **eigenpairs.direction(index)} for index in range(taken)]
    losses = line(evaluator, directions, {"test": test}, points).loss["test"]
    return Perturbations(points, losses - losses[:, points == 0])


def flatness(
    model: keras.Model | Curvature,
    examples: Examples,
    test: Examples,
    masks: MaskLike = None,
    k: int = EIGENVALUES,
    probes: int = PROBES,
    vectors: int = PERTURBED_VECTORS,
    loss: Loss | None = None,
    seed: int = 0,
) -> Flatness:
    """All flatness measures of a network as it is; it is left bit for bit as found (GST 3.4).

    Args:
      model: a built functional or sequential model of images to logits, or a `Curvature` of it.
      examples: what derivatives are taken on: in GST 512 test examples, `curvature_examples`.
      test: what perturbed losses are over: in GST the whole test split.
      masks: what is left out as pruned: see `tfprune.measures.hessian.unpruned_coordinates`.
      k: how many eigenvalues; no more than there are parameters are taken.
      probes: of Hutchinson's trace.
      vectors: how many of the eigenvectors to perturb along.
      loss: see `Curvature`; of a `Curvature`, its own.
      seed: of probes and of Lanczos' start.

    Raises:
      SettingError: k, `probes` or `vectors` is below 1.
      InputError: the model cannot be measured, or derivatives are not finite.
    """
    curvature = curvature_of(model, loss)
    hessian = curvature.hessian(examples, masks)
    pairs = top_eigenpairs(hessian, min(k, hessian.shape[0]), seed=seed)
    return Flatness(
        pairs,
        hessian_trace(hessian, probes, seed),
        gradient_covariance_trace(curvature, examples, masks),
        perturb(curvature.evaluator, pairs, test, vectors),
    )


def curvature_of(model: keras.Model | Curvature, loss: Loss | None = None) -> Curvature:
    """The `Curvature` that is given, or a new one of a model.

    Raises:
      InputError: a `Curvature` is given with a loss, or the model cannot be measured.
    """
    if not isinstance(model, Curvature):
        return Curvature(model, loss)
    if loss is not None:
        raise InputError("the loss is the Curvature's own: give it to Curvature(...)")
    return model


def _whole_spectrum(hessian: Hessian) -> tuple[np.ndarray, np.ndarray]:
    """All n eigenvalues: ARPACK finds at most n − 1."""
    matrix = np.stack([hessian @ row for row in np.eye(hessian.shape[0], dtype=hessian.dtype)])
    return np.linalg.eigh((matrix + matrix.T) / 2)


def _lanczos(
    hessian: Hessian, k: int, which: str, tolerance: float, held: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(seed, Stream.MEASURE, epoch=EpochDraw.CURVATURE_START)
    start = rng.standard_normal(hessian.shape[0]).astype(hessian.dtype)
    try:
        return eigsh(hessian, k, which=which, v0=start, ncv=held, tol=tolerance)
    except ArpackNoConvergence as error:
        raise InputError(
            f"Lanczos found {len(error.eigenvalues)} of {k} eigenvalues to {tolerance}: "
            "allow a larger tolerance or basis_size"
        ) from error
