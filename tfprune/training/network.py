"""The network of a run's settings, with its masks: what is trained, and what a stage left."""

from __future__ import annotations

from tfprune.backend import keras
from tfprune.config import RunConfig
from tfprune.errors import SettingError, arguments_from
from tfprune.models.build import build_model
from tfprune.pruning import model as pruned
from tfprune.pruning.dead_filters import gate_shortcuts, set_filter_masks
from tfprune.pruning.masks import Masks
from tfprune.pruning.prunable import prunable_kernels
from tfprune.training.runtime import dtype_policy


def build_network(config: RunConfig, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """The run's network as `prune_model` gives it: in its precision, gated if shortcuts are cut.

    Args:
      config: the run; its model, its dtype and whether filters are pruned matter here.
      input_shape: (height, width, channels) of the images.
      num_classes: number of logits.

    Raises:
      InputError: the network cannot take such images.
      SettingError: it draws random numbers, and the run is to be deterministic.
    """
    with dtype_policy(config.training.dtype):
        network = build_model(config.model, input_shape, num_classes)
        if config.deterministic:
            _check_draws_nothing(network, config.model.model)
        with arguments_from(which="prunable"):
            names = prunable_kernels(network, config.model.prunable, config.model.model)
        if config.model.cut_shortcuts:
            network = gate_shortcuts(network)
        return pruned.prune_model(network, names, config.pruning.prunes_filters)


def _check_draws_nothing(network: keras.Model, name: str) -> None:
    """Refuses dropout and the like: TensorFlow keeps no state of its draws for a checkpoint."""
    drawing = [layer for layer in network._flatten_layers() if _draws(layer)]
    if drawing:
        layers = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in drawing[:3])
        raise SettingError(
            "model",
            name,
            f"layers that draw no random numbers, or `deterministic=false`, with which a run that "
            f"was interrupted draws others: {layers}",
        )


def _draws(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.__internal__.layers.BaseRandomLayer):
        return False
    names = ("rate", "stddev", "dropout", "recurrent_dropout")
    chances = [getattr(layer, name) for name in names if hasattr(layer, name)]
    return any(chances) or not chances


def set_masks(model: keras.Model, config: RunConfig, masks: Masks) -> Masks:
    """Sets the masks of a run's network; where filters are pruned, those without weights are dead.

    Args:
      model: from `build_network`, or one that shares its layers.
      config: the run.
      masks: of the kernels.

    Returns:
      The masks as they are now; sparser with `cut_shortcuts`, which prunes projections too.
    """
    if config.pruning.prunes_filters:
        return set_filter_masks(model, masks, config.model.cut_shortcuts)
    pruned.set_masks(model, masks)
    return masks
