"""The settings of models: which network, how wide, how it starts."""

from __future__ import annotations

import dataclasses

from tfprune.catalog import INITIALIZATIONS, MODELS
from tfprune.settings import Section, above, setting

PRUNABLE_KERNELS = ("default", "conv", "conv_dense")
BATCH_NORM_GAMMA = ("ones", "uniform")
SHORTCUTS = ("projection", "zero_pad")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """What is trained."""

    model: str = setting("lenet_300_100", ", ".join(MODELS), choices=MODELS)
    width: float = setting(1.0, "multiplies every hidden width", check=above(0, 100))
    prunable: str = setting(
        "default",
        "which kernels are pruned: the model's own set, every convolution, or conv and dense",
        choices=PRUNABLE_KERNELS,
    )
    shortcut: str = setting(
        "projection",
        "ResNet shortcuts that change shape: 1x1 convolution with batch norm, or zero padding",
        choices=SHORTCUTS,
    )
    cut_shortcuts: bool = setting(
        False, "pruning a filter of a block cuts the shortcut into its channel too (GST)"
    )
    initialization: str = setting(
        "kaiming_normal",
        f"how kernels and biases start; {INITIALIZATIONS.help_lines()}",
        choices=INITIALIZATIONS,
    )
    batch_norm_gamma: str = setting(
        "ones", "initial batch-norm scale: ones, or uniform in (0, 1)", choices=BATCH_NORM_GAMMA
    )
