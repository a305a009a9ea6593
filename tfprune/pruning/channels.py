"""What is known of every channel of a network: which belong together, which can be removed.

Here a channel is an index of a tensor's last axis: a filter's output, or a unit's.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BoolArray = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of one tensor.

    Attributes:
      ids: int [channels], who each channel is; a layer that passes channels on keeps their ids.
      constant: float64 [channels], the value a channel has at every position of every example in
        inference; NaN where it has none or none is known.
    """

    ids: NDArray[np.int64]
    constant: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Reader:
    """A convolution or dense layer, as a reader of its input's channels.

    Attributes:
      inputs, outputs: its channels.
      weights: float64 [inputs, outputs], its kernel summed over the window.
      reads: bool [inputs, outputs], whether any weight of the window is not zero.
      foldable: bool [inputs], whether the input is constant and its contribution is a constant
        too, which the bias can take: zero, or anything where no zero padding is mixed in.
    """

    inputs: Channels
    outputs: Channels
    weights: NDArray[np.float64]
    reads: BoolArray
    foldable: BoolArray


class ChannelGraph:
    """The channels of a whole network; see `tfprune.pruning.channel_flow`.

    Attributes:
      layers: layer name -> (channels in, channels out) of each layer whose channels are
        understood; two or more inputs count as the first. Layers of unknown kinds are left out.
      readers: layer name -> the convolution or dense layer as a reader.
    """

    def __init__(self) -> None:
        self.layers: dict[str, tuple[Channels, Channels]] = {}
        self.readers: dict[str, Reader] = {}
        self._tensors: list[Channels] = []
        self._count = 0
        self._ties: list[NDArray[np.int64]] = [np.zeros((2, 0), np.int64)]
        self._pinned: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]

    def new(self, constant: NDArray[np.float64]) -> Channels:
        """Channels that did not exist before, one for each value (NaN: not constant)."""
        first, self._count = self._count, self._count + len(constant)
        return Channels(np.arange(first, self._count), constant)

    def tie(self, one: Channels, other: Channels) -> None:
        """Says that the n-th channels of both can only be removed together."""
        self._ties.append(np.stack([one.ids, other.ids]))

    def pin(self, channels: Channels) -> None:
        """Says that these channels cannot be removed."""
        self._pinned.append(channels.ids)

    def add_tensor(self, channels: Channels) -> None:
        """Says that these are the channels of a tensor, which cannot be left without any."""
        if len(channels):
            self._tensors.append(channels)

    @functools.cached_property
    def groups(self) -> NDArray[np.int64]:
        """For each id, the number of its group: the channels that must be removed together."""
        rows, columns = np.concatenate(self._ties, axis=1)
        links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(self._count,) * 2)
        return connected_components(links, directed=False)[1].astype(np.int64)

    def removable(self) -> tuple[BoolArray, BoolArray]:
        """For each id, whether the channel can be removed without changing the function.

        A group goes if every reader of any of its channels either knows the channel's constant
        contribution or has only zeros for it.

        Returns:
          Whether nobody needs the channel, and whether it goes: where a tensor would have no
          channel left, its first stays, though nobody needs it.
        """
        pinned = np.zeros(self._count, dtype=bool)
        pinned[self.groups[np.concatenate(self._pinned)]] = True
        removed = self._removed_groups(pinned)
        kept = np.zeros(self._count, dtype=bool)
        for tensor in self._tensors:
            if removed[self.groups[tensor.ids]].all():
                kept[self.groups[tensor.ids[0]]] = True
        return removed[self.groups], (removed & ~kept)[self.groups]

    def _removed_groups(self, pinned: BoolArray) -> BoolArray:
        """The fixed point: what only removed filters read is not needed either."""
        removed = np.zeros(self._count, dtype=bool)
        while True:
            needed = pinned.copy()
            for reader in self.readers.values():
                kept_outputs = ~removed[self.groups[reader.outputs.ids]]
                read = reader.reads[:, kept_outputs].any(axis=1) & ~reader.foldable
                needed[self.groups[reader.inputs.ids[read]]] = True
            if np.array_equal(removed, ~needed):
                return removed
            removed = ~needed
