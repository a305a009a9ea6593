"""Filter pruning schedules: at which epochs a layer loses filters, and how many it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

from tfprune.errors import SettingError
from tfprune.pruning.selection import exact_ceil


@dataclass(frozen=True)
class FilterSchedule:
    """When one layer is pruned while it trains, and to how many filters (GST 2).

    Events are at the ends of the epochs with the indices start, start + period, ... up to end,
    N in all. The number of filters that are kept falls linearly, rounded up.

    Attributes:
      layer: the name of the layer.
      start: index of the first event's epoch, counted from 0: an event at index 40 comes after
        41 epochs of training; -1 is before the first epoch.
      end: no event comes after the epoch with this index.
      period: epochs from one event to the next.
      fraction: of the filters, pruned in the end, in [0, 1); at least one filter stays.

    Raises:
      SettingError: for a value that is not allowed.

    Example:
      >>> schedule = FilterSchedule("conv", start=4, end=12, period=4, fraction=0.3)
      >>> schedule.epochs, schedule.kept(8)
      (range(4, 13, 4), [8, 7, 6])
    """

    layer: str
    start: int
    end: int
    period: int
    fraction: float

    def __post_init__(self) -> None:
        for name in ("start", "end", "period"):
            value = getattr(self, name)
            if not isinstance(value, Integral):
                raise SettingError(name, value, "a whole number of epochs")
        if self.start < -1:
            raise SettingError(
                "start", self.start, "an epoch's index, 0 or more, or -1 for before training"
            )
        if self.end < self.start:
            raise SettingError("end", self.end, f"at least the start, {self.start}")
        if self.period < 1:
            raise SettingError("period", self.period, "at least 1 epoch")
        if not 0 <= self.fraction < 1:
            raise SettingError(
                "fraction", self.fraction, "a number in [0, 1): a layer keeps a filter"
            )

    @classmethod
    def scratch(cls, layer: str, fraction: float) -> FilterSchedule:
        """All at once before the first epoch: the pruned architecture from the outset."""
        return cls(layer, start=-1, end=-1, period=1, fraction=fraction)

    @property
    def epochs(self) -> range:
        """The indices of the epochs at whose end the layer is pruned."""
        return range(self.start, self.end + 1, self.period)

    @property
    def iterative_rate(self) -> float:
        """The fraction of the layer's filters that an event removes, on average."""
        return self.fraction / len(self.epochs)

    def kept(self, filters: int) -> list[int]:
        """How many filters of `filters` = F are left after each of the N events.

        ceil(K + (F - K) (N - i) / N) after event i = 1, ..., N, where K = ceil((1 - fraction) F),
        free of float error. It may be the same after two events.
        """
        final, events = exact_ceil(1 - self.fraction, filters), len(self.epochs)
        removed = filters - final
        return [final - (-removed * (events - i) // events) for i in range(1, events + 1)]

    def kept_after(self, epoch: int, filters: int) -> int:
        """How many of `filters` are left at the end of the epoch with this index."""
        past = sum(event <= epoch for event in self.epochs)
        return self.kept(filters)[past - 1] if past else filters


def block_convolutions(model: Any) -> list[str]:
    """The layers that the settings of GST prune: the convolutions of a network's blocks.

    Those that end in the sum with a shortcut, without the one before the first block and
    without projections, which lose the channels of the block beside them. In a network without
    shortcuts, every convolution.

    Args:
      model: a built functional or sequential model, wrapped or plain.

    Returns:
      Layer names in the order of the model's layers.

    Raises:
      InputError: if the model is not functional or sequential, or adds with an operator.
      SettingError: if it has no convolution.
    """
    from tfprune.pruning.channel_flow import mixes, name_of_filters
    from tfprune.pruning.prunable import prunable_kernels
    from tfprune.pruning.wiring import Wiring

    convolutions = prunable_kernels(model, which="conv")
    wiring = Wiring(model)
    adds = wiring.adds
    blocks: set[str] = set()
    for add in adds:
        made = [wiring.branch(tensor) for tensor in add.keras_inputs]
        branches = [[name_of_filters(x.name, x) for x in b if mixes(x)] for b in made]
        longest = max(map(len, branches))  # The others are shortcuts.
        blocks.update(*(branch for branch in branches if len(branch) == longest))
    return [name for name in convolutions if not adds or name in blocks]
