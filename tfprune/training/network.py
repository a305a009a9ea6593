"""The network of a run's settings, with its masks: what is trained, and what a stage left."""

from __future__ import annotations

from tfprune.backend import keras
from tfprune.config import RunConfig
from tfprune.errors import arguments_from
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
    """
    with dtype_policy(config.training.dtype):
        network = build_model(config.model, input_shape, num_classes)
        with arguments_from(which="prunable"):
            names = prunable_kernels(network, config.model.prunable, config.model.model)
        if config.model.cut_shortcuts:
            network = gate_shortcuts(network)
        return pruned.prune_model(network, names, config.pruning.prunes_filters)


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
