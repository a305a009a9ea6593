"""From a model's settings to the network."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from tfprune.catalog import MODELS
from tfprune.models.settings import ModelConfig


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
    """
    builder = MODELS[config.model]
    accepted = inspect.signature(builder).parameters
    options = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name in accepted
    }
    return builder(input_shape, num_classes, **options)
