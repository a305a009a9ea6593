"""EL2N: how far a partly trained network is from each label, the mean over several networks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tfprune.backend import keras, tf
from tfprune.data import augmentation
from tfprune.errors import InputError, SettingError
from tfprune.measures.evaluation import BATCH_SIZE
from tfprune.measures.example_groups import checked_outputs
from tfprune.models.task import check_one_input, task_of
from tfprune.precision import products


def el2n_scores(outputs: ArrayLike, labels: ArrayLike, from_logits: bool = True) -> np.ndarray:
    """‖p(x) − y‖₂ of each example under one model, float64 [N], in [0, √2] (PEG B.3).

    Args:
      outputs: [N, C], logits, or the probabilities p.
      labels: integers in [0, C), [N], as trained on; y is one-hot.
      from_logits: which of the two the outputs are.

    Raises:
      InputError: the shapes do not go together, or a label is no class.
    """
    values, classes = checked_outputs(outputs, labels)
    error = special.softmax(values, axis=1) if from_logits else values.copy()
    error[np.arange(len(classes)), classes] -= 1
    return np.sqrt(np.sum(np.square(error), axis=1))


def mean_el2n(
    outputs_of_models: Iterable[ArrayLike], labels: ArrayLike, from_logits: bool = True
) -> np.ndarray:
    """(1/N) Σₙ ‖pₙ(x) − y‖₂ over models, float64 [examples] (PEG B.3).

    Args:
      outputs_of_models: each model's outputs [examples, C]; taken one at a time.
      labels: as `el2n_scores`.
      from_logits: likewise.

    Raises:
      InputError: there is no model, or outputs and labels do not go together.
    """
    return _mean(el2n_scores(outputs, labels, from_logits) for outputs in outputs_of_models)


@products("ieee")
def el2n(
    models: keras.Model | Iterable[keras.Model],
    images: np.ndarray,
    labels: ArrayLike,
    batch_size: int = BATCH_SIZE,
    *,
    from_logits: bool | None = None,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> np.ndarray:
    """EL2N scores of labelled images under one's own models, float64 [N] (PEG B.3).

    The models should be partly trained: the paper takes 10 of them, each 10% of the way. Each is
    used as it is, in inference mode, and left as found. One output stands for two classes, of
    probabilities 1 − p and p.

    Args:
      models: one, or several; an iterator may load them one after the other.
      images: [N, ...], what the models take, or pixels in [0, 255] with `mean` and `std`.
      labels: one class each, as trained on: [N], [N, 1] or one-hot (see
        `tfprune.models.task.Task.labels`).
      batch_size: the most images in a batch.
      from_logits: whether models give logits or probabilities; None asks their compiled loss and
        their last activation.
      mean: [channels], of pixels scaled to [0, 1]; None for images normalized already.
      std: likewise.

    Raises:
      InputError: there is no model or no image, images and labels do not go together, a model is
        no classifier with one label for each example, or it gives probabilities where logits are
        expected or the other way round.
    """

    def scores(model: keras.Model) -> np.ndarray:
        task = task_of(model, from_logits=from_logits)
        task.check_probabilities("EL2N")
        classes = task.class_labels(labels, "EL2N")
        values = model_outputs(model, images, batch_size, mean=mean, std=std)
        by_class = task.by_class(tf.constant(values)).numpy()
        check_kind(model, by_class, task.from_logits)
        return el2n_scores(by_class, classes, task.from_logits)

    return _mean(map(scores, [models] if isinstance(models, keras.Model) else models))


@products("ieee")
def model_outputs(
    model: keras.Model,
    images: np.ndarray,
    batch_size: int = BATCH_SIZE,
    *,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
) -> np.ndarray:
    """A model's outputs in inference mode, [N, ...] of its dtype; the model is left as found.

    Args:
      model: any Keras model of one input.
      images: as `el2n`.
      batch_size: the most images in a batch; changes no output but through rounding.
      mean: as `el2n`.
      std: likewise.

    Raises:
      InputError: there are no images, the model has several inputs, or only one of `mean` and
        `std` is given.
      SettingError: the batch size is below 1.
    """
    check_one_input(model)
    if not len(images):
        raise InputError("there are no images to measure on: give at least one")
    if (mean is None) != (std is None):
        raise InputError("give both mean and std, or neither for images normalized already")
    if batch_size < 1:
        raise SettingError("batch_size", batch_size, "at least 1")

    def batch(start: int) -> np.ndarray:
        pixels = tf.constant(images[start : start + batch_size])
        if mean is not None and std is not None:
            pixels = augmentation.normalize(pixels, mean, std, model.compute_dtype)
        return model(pixels, training=False).numpy()

    return np.concatenate([batch(start) for start in range(0, len(images), batch_size)])


def _mean(scores_of_models: Iterable[np.ndarray]) -> np.ndarray:
    total, count = np.zeros(()), 0
    for scores in scores_of_models:
        total = total + scores
        count += 1
    if not count:
        raise InputError("EL2N is a mean over models, and there is none: give at least one")
    return total / count


def check_kind(model: keras.Model, outputs: np.ndarray, from_logits: bool) -> None:
    """Refuses probabilities taken for logits and logits taken for probabilities."""
    sums = outputs.astype(np.float64).sum(axis=-1)
    # Half precision rounds a sum of probabilities by up to a few parts in a thousand.
    probabilities = bool(np.all(outputs >= 0) and np.all(np.abs(sums - 1) < 1e-2))
    if probabilities == from_logits:
        kinds = ("probabilities", "logits") if from_logits else ("logits", "probabilities")
        raise InputError(
            f"model {model.name!r} gives {kinds[0]}, not {kinds[1]}: "
            f"say from_logits={not from_logits}"
        )
