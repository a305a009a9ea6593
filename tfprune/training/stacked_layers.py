"""Layers of several networks of one shape: every variable has the places of a stack first.

A stacked network is the network's own graph of layers over one long batch, the examples of all
places after one another. So layers without variables are used as they are, and only those that have
some are made anew: each takes the batch apart, and applies every place's variables to its part.
"""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras, tf
from tfprune.errors import InputError
from tfprune.pruning.channel_masks import ChannelMask
from tfprune.pruning.copies import copy_of
from tfprune.pruning.kernels import leaf_layers
from tfprune.pruning.model import copy_layers
from tfprune.pruning.wrapper import MaskedLayer, inner

_CONSTRAINTS = ("kernel_constraint", "bias_constraint", "gamma_constraint", "beta_constraint")
_REGULARIZERS = tuple(f"{name}_regularizer" for name in ("kernel", "bias", "gamma", "beta"))


def stacked_network(model: keras.Model, places: int) -> keras.Model:
    """A network of `places` networks: its variables are those of the model, with places first.

    Args:
      model: a built functional model, wrapped for pruning or plain.
      places: K, how many.

    Returns:
      Maps [K * batch, ...], the examples of place 0 first, to [K * batch, classes].

    Raises:
      InputError: a layer of it cannot be stacked.
    """
    reason = cannot_stack(model)
    if reason:
        raise InputError(reason)
    return copy_layers(model, lambda layer: _stacked(layer, places))


def cannot_stack(model: keras.Model) -> str:
    """Why a network cannot be trained in stacks; nothing if it can."""
    for name, layer in leaf_layers(model):
        why = _why_not(inner(layer))
        if why:
            return f"layer {name!r} ({type(inner(layer)).__name__}) {why}"
    return ""


def _why_not(layer: keras.layers.Layer) -> str:
    kinds = keras.layers
    if isinstance(layer, _without_variables()):
        return ""
    if type(layer) not in _kinds():
        return "is of no kind that is trained in stacks"
    if any(getattr(layer, name, None) is not None for name in _REGULARIZERS):
        return "has a regularizer"
    if layer.activity_regularizer is not None:
        return "has a regularizer"
    constraints = (getattr(layer, name, None) for name in _CONSTRAINTS)
    own = (c.first if isinstance(c, ChannelMask) else c for c in constraints)
    if any(constraint is not None for constraint in own):
        return "has a constraint of its own"
    if isinstance(layer, kinds.Conv2D):
        plain = layer.groups == 1 and set(layer.dilation_rate) == {1}
        if not plain or layer.data_format != "channels_last":
            return "has groups, a dilation or its channels first"
    if isinstance(layer, kinds.BatchNormalization):
        last = len(layer.input_spec.axes or {}) == 1 and layer.input_spec.ndim - 1 in (
            layer.input_spec.axes
        )
        if not last or getattr(layer, "renorm", False) or layer.synchronized:
            return "normalizes not over its last axis alone"
    return ""


def _without_variables() -> tuple[type, ...]:
    """Layers that treat every example for itself, in the same way for every place."""
    kinds = keras.layers
    return (
        kinds.InputLayer, kinds.Activation, kinds.ReLU, kinds.LeakyReLU, kinds.ELU, kinds.Softmax,
        kinds.Flatten, kinds.Reshape, kinds.Permute, kinds.ZeroPadding2D, kinds.Cropping2D,
        kinds.MaxPooling2D, kinds.AveragePooling2D, kinds.GlobalAveragePooling2D,
        kinds.GlobalMaxPooling2D, kinds.Add, kinds.Subtract, kinds.Multiply, kinds.Average,
        kinds.Maximum, kinds.Minimum, kinds.Concatenate, kinds.Rescaling, kinds.UpSampling2D,
    )  # fmt: skip


def _stacked(layer: keras.layers.Layer, places: int) -> keras.layers.Layer:
    if isinstance(layer, MaskedLayer):
        return layer.around(_stacked(layer.layer, places))
    kind = _kinds().get(type(layer))
    if kind is None:
        return copy_of(layer)
    masks = {
        name: ChannelMask((places, *constraint.shape), constraint.of, dtype=constraint.dtype)
        for name in _CONSTRAINTS
        if isinstance(constraint := getattr(layer, name, None), ChannelMask)
    }
    config = {**layer.get_config(), **masks}
    if kind is StackedBatchNormalization:
        return kind(places, bool(layer.fused), **config)
    return kind(places, **config)


class _Apart:
    """What stacked layers share."""

    def __init__(self, places: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.places = places

    def _add_weights(self: Any, *shape: int) -> None:
        """A kernel of this shape for each place, and a bias of its last axis if there is one."""
        self.kernel = self.add_weight(
            "kernel", (self.places, *shape), constraint=self.kernel_constraint
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", (self.places, shape[-1]), constraint=self.bias_constraint
            )
        self.built = True

    def _apart(self, inputs: tf.Tensor) -> tf.Tensor:
        """[K * batch, ...] as [K, batch, ...]."""
        batch = inputs.shape[0]
        each = -1 if batch is None else batch // self.places
        return tf.reshape(inputs, [self.places, each, *inputs.shape[1:]])

    def _joined(self, outputs: tf.Tensor) -> tf.Tensor:
        """[K, batch, ...] as [K * batch, ...]."""
        batch = outputs.shape[1]
        every = -1 if batch is None else batch * self.places
        return tf.reshape(outputs, [every, *outputs.shape[2:]])


class StackedDense(_Apart, keras.layers.Dense):
    """A dense layer of each place.

    Args:
      places: K.
      **kwargs: of `keras.layers.Dense`.
    """

    def build(self, input_shape: Any) -> None:
        """Makes a kernel [K, inputs, units] and a bias [K, units]."""
        self._add_weights(int(input_shape[-1]), self.units)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = self._apart(inputs)
        flat = tf.reshape(x, [self.places, -1, x.shape[-1]])
        outputs = tf.matmul(flat, self.kernel)
        if self.bias is not None:
            outputs += self.bias[:, None]
        outputs = tf.reshape(outputs, [-1, *inputs.shape[1:-1], self.units])
        return self.activation(outputs)


class StackedConv2D(_Apart, keras.layers.Conv2D):
    """A convolution of each place: the sum of a product for each position in the window.

    One convolution over all places' channels, in groups, took ten times as long on a CPU.

    Args:
      places: K.
      **kwargs: of `keras.layers.Conv2D`.
    """

    def build(self, input_shape: Any) -> None:
        """Makes a kernel [K, *window, channels, filters] and a bias [K, filters]."""
        self._add_weights(*self.kernel_size, int(input_shape[-1]), self.filters)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = self._apart(self._padded(inputs))
        (height, width), (down, right) = self.kernel_size, self.strides
        rows, columns = (x.shape[2] - height) // down + 1, (x.shape[3] - width) // right + 1
        total = None
        for i in range(height):
            for j in range(width):
                seen = x[:, :, i : i + down * rows : down, j : j + right * columns : right]
                flat = tf.reshape(seen, [self.places, -1, x.shape[-1]])
                product = tf.matmul(flat, self.kernel[:, i, j])
                total = product if total is None else total + product
        if self.bias is not None:
            total += self.bias[:, None]
        return self.activation(tf.reshape(total, [-1, rows, columns, self.filters]))

    def _padded(self, images: tf.Tensor) -> tf.Tensor:
        """With the zeros around them that the padding asks for."""
        if self.padding == "valid":
            return images
        sides = []
        for size, window, stride in zip(
            images.shape[1:3], self.kernel_size, self.strides, strict=True
        ):
            zeros = max((-(-size // stride) - 1) * stride + window - size, 0)
            sides.append([zeros // 2, zeros - zeros // 2])
        return tf.pad(images, [[0, 0], *sides, [0, 0]])


class StackedBatchNormalization(_Apart, keras.layers.BatchNormalization):
    """A batch norm of each place, over its own examples.

    Args:
      places: K.
      unbiased: whether the moving variance has Bessel's correction, as Keras's fused kernel's has.
      **kwargs: of `keras.layers.BatchNormalization`; the channels are the last axis.
    """

    def __init__(self, places: int, unbiased: bool, **kwargs: Any):
        super().__init__(places, **{**kwargs, "axis": -1})
        self.unbiased = unbiased

    def build(self, input_shape: Any) -> None:
        """Makes scale, shift and statistics, each [K, channels]."""
        shape = (self.places, int(input_shape[-1]))
        dtype = self._param_dtype
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                "gamma", shape, dtype, "ones", constraint=self.gamma_constraint
            )
        if self.center:
            self.beta = self.add_weight(
                "beta", shape, dtype, "zeros", constraint=self.beta_constraint
            )
        self.moving_mean = self.add_weight("moving_mean", shape, dtype, "zeros", trainable=False)
        self.moving_variance = self.add_weight(
            "moving_variance", shape, dtype, "ones", trainable=False
        )
        self.built = True

    def call(self, inputs: tf.Tensor, training: Any = None, mask: Any = None) -> tf.Tensor:
        """See base class; training is a Python value."""
        x = tf.cast(self._apart(inputs), self.moving_mean.dtype)
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            axes = list(range(1, x.shape.rank - 1))
            mean, variance = tf.nn.moments(x, axes)
            count = x.shape[1:-1].num_elements()  # Not known while the graph of layers is made.
            correction = count / (count - 1) if self.unbiased and count else 1.0
            update = self._assign_moving_average  # Of Keras, for its rounding of the momentum.
            update(self.moving_mean, mean, self.momentum, None)
            update(self.moving_variance, variance * correction, self.momentum, None)
        ones = [1] * (x.shape.rank - 2)
        mean, variance, beta, gamma = (
            None if value is None else tf.reshape(value, [self.places, *ones, -1])
            for value in (mean, variance, self.beta, self.gamma)
        )
        outputs = tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)
        return tf.cast(self._joined(outputs), self.compute_dtype)


def _kinds() -> dict[type, type]:
    kinds = keras.layers
    return {
        kinds.Dense: StackedDense,
        kinds.Conv2D: StackedConv2D,
        kinds.BatchNormalization: StackedBatchNormalization,
    }
