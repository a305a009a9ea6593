"""Hessians through layers whose second derivatives TensorFlow gets wrong, against differences of
gradients in float64."""

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.measures.curvature import flatness, hessian_trace, top_eigenpairs
from tfprune.measures.evaluation import Examples
from tfprune.measures.hessian import Curvature
from tfprune.pruning.model import prune_model, with_dtype

layers = keras.layers


class Moments(layers.Layer):
    """A layer of one's own that calls what layer normalization calls."""

    def call(self, inputs):
        mean, variance = tf.nn.moments(inputs, [-1], keepdims=True)
        return (inputs - mean) / tf.sqrt(variance + 1e-3)


class StopsHalf(layers.Layer):
    def call(self, inputs):
        return inputs * tf.stop_gradient(inputs)


class StopsInside(layers.Layer):
    @tf.function
    def call(self, inputs):
        return inputs * tf.stop_gradient(inputs)


class LogSumExp(layers.Layer):
    def call(self, inputs):
        return inputs - tf.reduce_logsumexp(inputs, axis=-1, keepdims=True)


def transformer_block(make):
    """An attention block and a feed-forward layer, each behind what `make` gives."""
    inputs = keras.Input((4, 3))
    attended = layers.MultiHeadAttention(1, 2)(make()(inputs), inputs)
    x = layers.Add()([inputs, attended])
    x = layers.Dense(3, "gelu", name="feed")(make()(x))
    x = layers.GlobalAveragePooling1D()(make()(x))
    return scrambled(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def sequence_net(make):
    inputs = keras.Input((4, 3))
    x = layers.GlobalAveragePooling1D()(make()(inputs))
    return scrambled(keras.Model(inputs, layers.Dense(3, name="logits")(x)))


def image_net(make):
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 3, activation="tanh", name="conv")(inputs)
    x = make()(x)
    return scrambled(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))


def scrambled(model):
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.7, w.shape) for w in model.get_weights()])
    return model


def examples(shape):
    rng = np.random.default_rng(1)
    return Examples(rng.normal(size=(5, *shape)), rng.integers(0, 3, 5))


def by_differences(model, data, step=1e-5):
    """The whole Hessian from first derivatives alone."""
    variables = model.trainable_variables

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(
                    data.labels, model(data.images, training=False), from_logits=True
                )
            )
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return tf.concat([tf.reshape(g, [-1]) for g in found], 0)

    def put(flat):
        sizes = [int(np.prod(v.shape)) for v in variables]
        for v, part in zip(variables, np.split(flat, np.cumsum(sizes)[:-1]), strict=True):
            v.assign(part.reshape(v.shape))

    weights = np.concatenate([v.numpy().ravel() for v in variables])
    rows = []
    for row in np.eye(len(weights)) * step:
        put(weights + row)
        ahead = gradient().numpy()
        put(weights - row)
        rows.append((ahead - gradient().numpy()) / (2 * step))
    put(weights)
    return np.array(rows)


@pytest.mark.parametrize(
    ("network", "make"),
    [
        (transformer_block, lambda: layers.LayerNormalization(epsilon=1e-6)),
        pytest.param(
            transformer_block,
            lambda: layers.LayerNormalization(axis=[1, 2], epsilon=1e-6),
            marks=pytest.mark.slow,
        ),
        (transformer_block, Moments),
        (transformer_block, LogSumExp),
        (transformer_block, layers.BatchNormalization),
        (sequence_net, lambda: layers.LSTM(3, return_sequences=True)),
    ],
    ids=[*("layer_norm", "layer_norm_of_two_axes", "moments", "logsumexp", "batch_norm", "lstm")],
)
def test_second_derivatives_are_differences_of_first_ones(network, make):
    model = with_dtype(network(make), "float64")
    data = examples((4, 3))
    expected = by_differences(model, data)
    hessian = Curvature(model).hessian(data)
    pairs = top_eigenpairs(hessian, hessian.shape[0])
    np.testing.assert_allclose(
        pairs.values, np.linalg.eigvalsh((expected + expected.T) / 2)[::-1], atol=1e-6
    )
    assert pairs.trace == pytest.approx(np.trace(expected), rel=1e-6)


def test_in_float32_and_wrapped_it_is_the_same_number():
    model = transformer_block(lambda: layers.LayerNormalization(epsilon=1e-6))
    data = examples((4, 3))
    exact = np.trace(by_differences(with_dtype(model, "float64"), data))
    single = Examples(data.images.astype(np.float32), data.labels)
    for network in (model, prune_model(model, layers=["feed", "logits"])):
        hessian = Curvature(network).hessian(single)
        assert top_eigenpairs(hessian, hessian.shape[0]).trace == pytest.approx(exact, rel=1e-3)


def test_outside_of_a_hessian_moments_are_tensorflows_own():
    from tensorflow.python.ops import nn_impl

    original = nn_impl.moments
    model = transformer_block(lambda: layers.LayerNormalization(epsilon=1e-6))
    data = examples((4, 3))
    single = Examples(data.images.astype(np.float32), data.labels)
    hessian_trace(Curvature(model).hessian(single), probes=1)
    assert nn_impl.moments is original


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (layers.UpSampling2D, "ResizeNearestNeighborGrad of layer 'up_sampling2d.*UpSampling2D"),
        (
            lambda: layers.UpSampling2D(interpolation="bilinear"),
            r"ResizeBilinearGrad of layer 'up_sampling2d.*\(UpSampling2D\)",
        ),
        (lambda: layers.Resizing(3, 3), r"ResizeBilinearGrad of layer 'resizing.*\(Resizing\)"),
        (StopsHalf, r"StopGradient of layer 'stops_half.*\(StopsHalf\)"),
        (StopsInside, "StopGradient"),
    ],
    ids=["nearest", "bilinear", "resizing", "stop_gradient", "stop_gradient_in_a_function"],
)
def test_a_second_derivative_that_tensorflow_lacks_is_refused_with_the_layer(make, said):
    model = image_net(make)
    data = examples((4, 4, 1))
    single = Examples(data.images.astype(np.float32), data.labels)
    with pytest.raises(InputError, match=f"no second derivative through {said}") as error:
        flatness(model, single, single, k=1, probes=1, vectors=1)
    assert "\n" not in str(error.value)


def test_a_stopped_gradient_that_no_weight_reaches_does_no_harm():
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 3, activation="tanh")(StopsHalf()(inputs))
    model = scrambled(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
    model = with_dtype(model, "float64")
    data = examples((4, 4, 1))
    hessian = Curvature(model).hessian(data)
    trace = top_eigenpairs(hessian, hessian.shape[0]).trace
    assert trace == pytest.approx(np.trace(by_differences(model, data)), abs=1e-6)
