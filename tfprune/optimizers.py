"""SGD and Adam with the arithmetic of the papers' PyTorch code: coupled L2, unscaled momentum."""

from __future__ import annotations

from typing import Any

from tfprune.backend import keras, tf


@keras.saving.register_keras_serializable("tfprune")
class SGD(keras.optimizers.SGD):
    """SGD as in `torch.optim.SGD`.

    With g = dL/dw + l2 w:  v <- momentum v + g;  w <- w - lr (g + momentum v if nesterov else v).

    Keras's own SGD keeps the learning rate inside the velocity, which differs after every
    learning-rate drop, and its `weight_decay` is decoupled.

    Args:
      l2: coupled weight decay, added to the gradient of every trainable variable.
      **kwargs: as for `keras.optimizers.SGD`.
    """

    def __init__(self, learning_rate: Any = 0.01, *, l2: float = 0.0, **kwargs: Any):
        kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        gradient = _with_l2(gradient, variable, self.l2)
        rate = _for(variable, self.learning_rate)
        if not self.momentum:
            variable.assign_sub(rate * gradient)
            return
        velocity = self.momentums[self._index_dict[self._var_key(variable)]]
        momentum = tf.constant(self.momentum, variable.dtype)
        velocity.assign(momentum * velocity + gradient)
        step = gradient + momentum * velocity if self.nesterov else velocity
        variable.assign_sub(rate * step)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}


@keras.saving.register_keras_serializable("tfprune")
class Adam(keras.optimizers.Adam):
    """Adam as in `torch.optim.Adam`: epsilon outside the bias correction, coupled L2.

    With g = dL/dw + l2 w and bias-corrected moments m, v:  w <- w - lr m / (sqrt(v) + epsilon).

    Args:
      l2: coupled weight decay, added to the gradient of every trainable variable.
      **kwargs: as for `keras.optimizers.Adam`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, *, l2: float = 0.0, epsilon: float = 1e-8, **kwargs: Any
    ):
        kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate, epsilon=epsilon, **kwargs)
        self.l2 = l2
        # Steps taken, int64 [places], where places of a stack began at different times.
        self.steps: tf.Variable | None = None

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        gradient = _with_l2(gradient, variable, self.l2)
        key = self._index_dict[self._var_key(variable)]
        first, second = self._momentums[key], self._velocities[key]
        step = _for(variable, (self.iterations if self.steps is None else self.steps) + 1)
        beta_1, beta_2 = (tf.constant(b, variable.dtype) for b in (self.beta_1, self.beta_2))
        first.assign(beta_1 * first + (1 - beta_1) * gradient)
        second.assign(beta_2 * second + (1 - beta_2) * tf.square(gradient))
        corrected_first = first / (1 - tf.pow(beta_1, step))
        corrected_second = second / (1 - tf.pow(beta_2, step))
        rate = _for(variable, self.learning_rate)
        epsilon = tf.constant(self.epsilon, variable.dtype)
        variable.assign_sub(rate * corrected_first / (tf.sqrt(corrected_second) + epsilon))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}


def _for(variable: tf.Variable, value: tf.Tensor) -> tf.Tensor:
    """A number for all of a variable, or one for each of the places along its first axis."""
    value = tf.cast(value, variable.dtype)
    if not value.shape.rank:
        return value
    return tf.reshape(value, [-1, *[1] * (variable.shape.rank - 1)])


def _with_l2(gradient: Any, variable: tf.Variable, l2: float) -> tf.Tensor:
    gradient = tf.convert_to_tensor(gradient)  # Embeddings give IndexedSlices.
    # Not tf.cast, which would round a Python float to float32 on the way to float64.
    return gradient + tf.constant(l2, variable.dtype) * variable if l2 else gradient
