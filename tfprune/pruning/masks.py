"""Masks: which weights of a network are left, as an immutable value."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath
from numpy.typing import ArrayLike, NDArray

from tfprune.errors import DamagedFile, reason
from tfprune.files import load_arrays, place, write_bytes_atomic

BoolArray = NDArray[np.bool_]

# Beside the layers in a file; no Keras layer can have this name.
_NEVER_PRUNED = "#never_pruned"


class Masks(Mapping[str, BoolArray]):
    """For each prunable layer, a boolean array of its kernel's shape: True where a weight is left.

    The order of the layers is part of the value: it orders the flat index that breaks ties.

    Counts are of all convolution and dense kernels of the network, those that are never pruned
    included: SDD 3.2's d, and what OpenLTH counts.

    Args:
      masks: layer name -> array of zeros and ones of any dtype, copied.
      never_pruned: number of weights in the network's other convolution and dense kernels.

    Raises:
      ValueError: if an array holds anything but zeros and ones; the message names the layer.

    Example:
      >>> masks = Masks({"first": [[1, 0], [1, 1]], "second": [[0], [1]]}, never_pruned=2)
      >>> masks.total, masks.prunable, masks.remaining, masks.sparsity
      (8, 6, 6, 0.25)
      >>> masks.flat()
      array([ True, False,  True,  True, False,  True])
    """

    def __init__(self, masks: Mapping[str, ArrayLike], never_pruned: int = 0):
        self._masks = {str(name): _read_only_mask(name, mask) for name, mask in masks.items()}
        self.never_pruned = never_pruned

    @classmethod
    def dense(cls, shapes: Mapping[str, tuple[int, ...]], never_pruned: int = 0) -> Masks:
        """The masks of level 0: every weight is left.

        Args:
          shapes: layer name -> shape of its kernel.
          never_pruned: number of weights in the network's other convolution and dense kernels.
        """
        ones = {name: np.ones(shape, dtype=bool) for name, shape in shapes.items()}
        return cls(ones, never_pruned)

    def replaced(self, masks: Mapping[str, ArrayLike]) -> Masks:
        """Other masks of the same network."""
        return Masks(masks, self.never_pruned)

    def __getitem__(self, name: str) -> BoolArray:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same layers in the same order with the same weights left."""
        if not isinstance(other, Masks):
            return NotImplemented
        return (list(self), self.never_pruned) == (list(other), other.never_pruned) and all(
            np.array_equal(self[name], other[name]) for name in self
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Masks({len(self)} layers, {self.remaining} of {self.total} weights remaining)"

    @property
    def prunable(self) -> int:
        """Number of weights that can be pruned."""
        return sum(mask.size for mask in self.values())

    @property
    def total(self) -> int:
        """Number of weights: the prunable ones and those that are never pruned."""
        return self.prunable + self.never_pruned

    @property
    def pruned(self) -> int:
        """Number of weights that are pruned."""
        return sum(mask.size - int(np.count_nonzero(mask)) for mask in self.values())

    @property
    def remaining(self) -> int:
        """Number of weights that are left, those that are never pruned included."""
        return self.total - self.pruned

    @property
    def weights_remaining(self) -> float:
        """Fraction of the weights that is left, in [0, 1]; 1 for no layers at all."""
        return self.remaining / self.total if self.total else 1.0

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that is pruned, in [0, 1]; 0 for no layers at all."""
        return self.pruned / self.total if self.total else 0.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Layer name -> shape of its kernel."""
        return {name: mask.shape for name, mask in self.items()}

    @property
    def emptied(self) -> list[str]:
        """The layers without a weight left, through which no signal passes (layer collapse)."""
        return [name for name, mask in self.items() if mask.size and not mask.any()]

    def flat(self) -> BoolArray:
        """All masks end to end, shape `(prunable,)`: layers in order, each in C order."""
        return np.concatenate([np.zeros(0, dtype=bool), *(mask.ravel() for mask in self.values())])

    def save(self, path: epath.PathLike) -> None:
        """Writes a compressed npz, one boolean array per layer; `path` is never half written.

        In the same place of any output folder equal masks give equal bytes, and `numpy.load` reads
        the file. The number of weights that are never pruned is the entry `#never_pruned`, if there
        are any.
        """
        extra = {_NEVER_PRUNED: np.int64(self.never_pruned)} if self.never_pruned else {}
        write_bytes_atomic(path, _npz_bytes({**self, **extra}, place(path)))

    @classmethod
    def load(cls, path: epath.PathLike, in_place: bool = False) -> Masks:
        """Reads what `save` wrote, layers in the same order.

        Args:
          path: the file.
          in_place: as for `files.load_arrays`.

        Raises:
          InputError: there is no such file, or it cannot be read.
          DamagedFile: it is not whole, or holds anything but zeros and ones.
        """
        arrays = load_arrays(path, in_place)
        try:
            return cls(arrays, int(arrays.pop(_NEVER_PRUNED, np.int64(0))))
        except (TypeError, ValueError) as error:
            raise DamagedFile(path, reason(error)) from error


def _read_only_mask(name: str, mask: ArrayLike) -> BoolArray:
    array = np.asarray(mask)
    kept = array.astype(bool)  # A copy, so that later writes to the caller's array do not show.
    if array.dtype != np.bool_ and not np.array_equal(array, kept):
        raise ValueError(f"the mask of layer {name!r} holds values other than 0 and 1")
    kept.setflags(write=False)
    return kept


def _npz_bytes(arrays: Mapping[str, ArrayLike], comment: bytes) -> bytes:
    """An npz file; unlike `numpy.savez`, any name may be used and no clock time gets in."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
