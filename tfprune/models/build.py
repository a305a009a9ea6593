"""From a model's settings to the network."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from tfprune.backend import keras
from tfprune.catalog import MODELS
from tfprune.errors import SettingError
from tfprune.models.settings import ModelConfig
from tfprune.models.task import end_of


def build_model(config: ModelConfig, input_shape: tuple[int, ...], num_classes: int) -> Any:
    """Builds the registered network that `config.model` names.

    Every setting of `ModelConfig` that the network's function names as a parameter is passed to
    it (`width`, and `shortcut` for ResNets); the others do not apply to it. Sets no seed: the
    weights are Keras's own draw until `tfprune.models.initialize.initialize` makes them a trial's.

    Args:
      config: which network, and its options.
      input_shape: of one example, (height, width, channels) for images.
      num_classes: number of logits.

    Returns:
      A functional model: normalized images, float [batch, *input_shape] -> logits, float32 (the
      precision of its variables) [batch, num_classes].

    Raises:
      InputError: the network cannot take examples of this shape.
      SettingError: a function of one's own returned no network from images to logits.
    """
    builder = MODELS[config.model]
    accepted = inspect.signature(builder).parameters
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name in accepted
    }
    model = builder(input_shape, num_classes, **options)
    _check(model, config.model, num_classes)
    return model


def _check(model: Any, name: str, num_classes: int) -> None:
    """Refuses what could not be trained as a classifier by its logits."""
    made = "from its function"
    if not isinstance(model, keras.Model):
        raise SettingError("model", name, f"a tf_keras model {made}, not {type(model).__name__}")
    if model.built and tuple(model.output_shape) != (None, num_classes):
        allowed = f"one output of shape (None, {num_classes}) {made}, a logit for each class"
        raise SettingError("model", name, f"{allowed}, not {model.output_shape}")
    if (end := end_of(model)) in ("softmax", "sigmoid"):
        raise SettingError("model", name, f"logits {made}, and it ends in a {end}: leave that out")
