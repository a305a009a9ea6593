"""Small made-up data and models that several tests use."""

import numpy as np

from tfprune.backend import keras
from tfprune.data.prepare import PreparedData
from tfprune.training.runtime import dtype_policy


def prepared_data(
    *,
    examples=10,
    test_examples=7,
    val_examples=0,
    side=4,
    channels=1,
    classes=3,
    noise=0.4,
    seed=0,
):
    """Learnable images: the class is a pattern, the rest is noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 200, (classes, side, side, channels))

    def split(count):
        labels = (np.arange(count) % classes).astype(np.int32)
        images = patterns[labels] + rng.integers(0, 55, (count, side, side, channels))
        return images.astype(np.uint8), labels

    images, original = split(examples)
    test_images, test_labels = split(test_examples)
    val_images, val_labels = split(val_examples)
    selected = np.zeros(examples, bool)
    selected[rng.permutation(examples)[: round(noise * examples)]] = True
    labels = np.where(selected, (original + 1) % classes, original).astype(np.int32)
    return PreparedData(
        name="synthetic",
        num_classes=classes,
        class_names=tuple(str(c) for c in range(classes)),
        mean=np.full(channels, 0.5, np.float32),
        std=np.full(channels, 0.25, np.float32),
        source_images=np.concatenate([images, val_images]),
        images=images,
        labels=labels,
        original_labels=original,
        selected=selected,
        indices=np.arange(examples),
        val_images=val_images,
        val_indices=np.arange(examples, examples + val_examples),
        val_labels=val_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


def softmax_regression(data, dtype="float64"):
    """One dense layer on the flattened image: its gradient is written by hand in a line."""
    with dtype_policy(dtype):
        inputs = keras.Input(data.input_shape, dtype=dtype)
        flat = keras.layers.Flatten(name="flat")(inputs)
        logits = keras.layers.Dense(data.num_classes, name="logits")(flat)
        model = keras.Model(inputs, logits)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(scale=0.3, size=w.shape) for w in model.get_weights()])
    return model


def tell_nobody(event):
    """What a study that shows nothing tells."""


def is_nested(inner, outer):
    """Whether every weight that these masks leave is left by the other masks of the same layers."""
    assert inner.shapes == outer.shapes
    return not bool((inner.flat() & ~outer.flat()).any())
