"""What of a data set cannot be read: one line that names the set, the file and the reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tfprune.backend import tf
from tfprune.errors import SettingError, reason

# What TensorFlow puts around its sentence: where in a graph it was met.
_NODES = re.compile(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", re.DOTALL)


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 3] of an encoded image."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def unreadable(name: str, error: BaseException, file: str = "") -> SettingError:
    """The error for a set of which something cannot be read.

    Args:
      name: of the set, as the setting `dataset` spells it.
      error: what was met.
      file: where; empty if the error says it, or nobody knows.
    """
    file = file or str(getattr(error, "filename", None) or "")
    words = " ".join(_NODES.sub("", getattr(error, "message", "") or reason(error)).split())
    what = f"{file} cannot be read ({words})" if file else words
    return SettingError("dataset", name, f"data that can be read; {what}")


@contextmanager
def readable(name: str, records: Iterable[str] = ()) -> Iterator[None]:
    """Around reading a set: what cannot be read becomes a SettingError.

    Args:
      name: of the set.
      records: the TFRecord files that are read, one of which may be damaged.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise  # Memory, not data.
    except (tf.errors.OpError, OSError) as error:
        raise unreadable(name, error, _damaged_record_file(error, tuple(records))) from error


def _damaged_record_file(error: BaseException, records: Sequence[str]) -> str:
    """The first record file that is damaged: TensorFlow tells the place in it, but not which.

    The folder, if none is by itself, because whole records are missing; nothing if the error says
    it.
    """
    if any(file in str(error) for file in records):
        return ""
    for file in records:
        try:
            for _ in tf.data.TFRecordDataset(file):
                pass
        except tf.errors.OpError:
            return file
    return os.path.dirname(records[0]) if records else ""


@dataclass(frozen=True)
class Images:
    """Images that are read while they are iterated; one that cannot be read is named.

    Attributes:
      name: of the set.
      dataset: what is iterated, in the order of `encoded`.
      encoded: (int64 position, string encoded image) of every image.
      size: how many images an element of `dataset` takes.
      where: says in words where the image of a position is.
      records: the TFRecord files that are read.
    """

    name: str
    dataset: tf.data.Dataset
    encoded: tf.data.Dataset
    where: Callable[[int], str]
    records: tuple[str, ...] = ()
    size: int = 1

    def take(self, count: int) -> Images:
        """The first elements only."""
        return replace(self, dataset=self.dataset.take(count))

    def skip(self, count: int) -> Images:
        """All but the first elements."""
        encoded = self.encoded.skip(count * self.size)
        return replace(self, dataset=self.dataset.skip(count), encoded=encoded)

    def __iter__(self) -> Iterator[Any]:
        """The elements of `dataset`.

        Raises:
          SettingError: an image cannot be read.
        """
        elements, shown = iter(self.dataset), 0
        while True:
            with readable(self.name, self.records):
                try:
                    element = next(elements)
                except StopIteration:
                    return
                except tf.errors.InvalidArgumentError:  # It is no image.
                    self._name_what_is_no_image(shown * self.size)
                    raise
            yield element
            shown += 1

    def _name_what_is_no_image(self, shown: int) -> None:
        for position, image in self.encoded.skip(shown):
            try:
                decode(image)
            except tf.errors.InvalidArgumentError as error:
                raise unreadable(self.name, error, self.where(int(position))) from error
