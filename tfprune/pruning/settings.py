"""The settings of pruning and retraining."""

from __future__ import annotations

import dataclasses
import re

from tfprune.catalog import CRITERIA, FILTER_CRITERIA, RETRAINING, Retraining
from tfprune.errors import SettingError
from tfprune.registry import Names
from tfprune.settings import Section, at_least, below_one, between, join, setting

# Which filters go first, by their scores (PruneS, PruneR and PruneL of GST).
TARGETS = ("smallest", "random", "largest")
SCOPES = ("global", "layer")
_REWIND_POINT = re.compile(r"(\d+)(ep|it)")


@dataclasses.dataclass(frozen=True)
class RewindPoint:
    """A moment of training: `10ep`, the end of epoch 10, or `1000it`, after 1000 steps."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str, name: str = "rewind_to") -> RewindPoint:
        """Reads `0ep`, `10ep` or `1000it`; raises SettingError for anything else."""
        match = _REWIND_POINT.fullmatch(str(text))
        if not match:
            raise SettingError(name, text, "a number of epochs as 10ep or of steps as 1000it")
        return cls(int(match[1]), match[2])

    def step(self, steps_per_epoch: int) -> int:
        """The moment as a number of steps."""
        return self.count * (steps_per_epoch if self.unit == "ep" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


# Some hundred are more than any network bears; a study plans each before it looks at its network.
MAX_LEVELS = 10_000


@dataclasses.dataclass(frozen=True)
class PruningConfig(Section):
    """What is removed between trainings, and how training goes on."""

    criterion: str = setting(
        "magnitude",
        f"{CRITERIA.help_lines()}; of whole filters {FILTER_CRITERIA.help_lines()}",
        choices=Names(CRITERIA, FILTER_CRITERIA),
    )
    criterion_batches: int = setting(
        10, "training batches that snip averages over", check=between(1, 10**6)
    )
    scope: str = setting("global", "weights compete across layers or within one", choices=SCOPES)
    prune_fraction: float = setting(
        0.2, "fraction of the remaining weights that a level removes", check=below_one
    )
    levels: int = setting(
        22,
        "pruning iterations after the dense training",
        check=between(0, MAX_LEVELS),
        identity=False,
    )
    sparsities: tuple[float, ...] = setting(
        (),
        "prune in one shot from the dense network to each of these, instead of iteratively",
        check=between(0, 1),
    )
    retrain: str = setting("weight_rewind", RETRAINING.help_lines(), choices=RETRAINING)
    rewind_to: str = setting("0ep", "rewind point: 10ep (epochs) or 1000it (steps)")
    finetune_lr: float = setting(
        0.0, "learning rate of finetune; 0 takes the schedule's last value", check=at_least(0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        RewindPoint.parse(self.rewind_to)
        if tuple(sorted(set(self.sparsities))) != self.sparsities or 1.0 in self.sparsities:
            raise SettingError(
                "sparsities", join(self.sparsities), "increasing fractions below 1, none twice"
            )

    @property
    def prunes_filters(self) -> bool:
        """Whether whole filters are pruned, and fractions are of filters."""
        return self.criterion in FILTER_CRITERIA

    @property
    def retraining(self) -> Retraining:
        """How training goes on after a pruning."""
        way: Retraining = RETRAINING[self.retrain]
        return way

    @property
    def retrains_from(self) -> RewindPoint:
        """The moment of the schedule that a retraining starts at."""
        return RewindPoint.parse(self.retraining.start or self.rewind_to)

    @property
    def last_level(self) -> int:
        """The last level of a trunk."""
        return len(self.sparsities) or self.levels
