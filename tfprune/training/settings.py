"""The settings of one training."""

from __future__ import annotations

import dataclasses

from tfprune.errors import SettingError
from tfprune.settings import Section, above, at_least, below_one, between, join, setting

LR_DECAYS = {
    "drops": "the learning rate drops after `lr_drop_epochs`",
    "cosine": "half a cosine, from the end of the warm-up to 0 at the end of training",
}
OPTIMIZERS = ("sgd", "nesterov", "adam")
PRODUCTS = ("tf32", "ieee")
DTYPES = ("float32", "mixed_bfloat16", "float64")


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section):
    """How one training runs."""

    train_epochs: int = setting(100, "epochs of one training", check=between(1, 10**6))
    batch_size: int = setting(128, "examples in a step, over all devices", check=between(1, 10**6))
    optimizer: str = setting("sgd", "optimizer", choices=OPTIMIZERS)
    learning_rate: float = setting(0.1, "learning rate of the first epoch", check=above(0))
    lr_drop_epochs: tuple[int, ...] = setting(
        (), "epochs after which the learning rate drops, comma separated", check=at_least(1)
    )
    lr_drop_factor: float = setting(
        0.1, "multiplies the learning rate at every drop", check=above(0)
    )
    lr_decay: str = setting(
        "drops",
        "; ".join(f"{name}: {summary}" for name, summary in LR_DECAYS.items()),
        choices=LR_DECAYS,
    )
    warmup_epochs: int = setting(
        0, "epochs in which the learning rate first rises, step by step, from 0", check=at_least(0)
    )
    # Of 1, nothing that a step added is ever lost: the weights swing for ever.
    momentum: float = setting(0.0, "momentum of sgd and nesterov", check=below_one)
    weight_decay: float = setting(
        0.0, "coupled L2: this times the weights is added to the gradient", check=at_least(0)
    )
    adam_epsilon: float = setting(1e-8, "epsilon of adam", check=above(0))
    dtype: str = setting("float32", "Keras dtype policy", choices=DTYPES)
    matmul: str = setting(
        "tf32",
        "float32 products of training steps: tf32, rounded to TensorFloat-32 where a GPU has it, "
        "or ieee; whatever evaluates, measures or scores is ieee",
        choices=PRODUCTS,
        later=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if tuple(sorted(set(self.lr_drop_epochs))) != self.lr_drop_epochs:
            raise SettingError(
                "lr_drop_epochs", join(self.lr_drop_epochs), "increasing epochs, none twice"
            )
        if self.lr_decay == "cosine" and self.lr_drop_epochs:
            raise SettingError(
                "lr_drop_epochs", join(self.lr_drop_epochs), "nothing with `lr_decay=cosine`"
            )
        if self.warmup_epochs >= self.train_epochs:
            raise SettingError(
                "warmup_epochs",
                self.warmup_epochs,
                f"fewer epochs than the training has (`train_epochs={self.train_epochs}`)",
            )
