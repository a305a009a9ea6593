"""Ending on SIGTERM and SIGINT without losing work: between epochs, after a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tfprune.errors import Stopped


class StopSignals:
    """Turns signals into `Stopped`, at a moment when nothing is lost by it.

    As a context manager it takes the signals over, and gives them back. A signal raises at once,
    except inside `held`, where it waits for someone to ask `requested`; who holds it raises when
    it is ready, or `held` does at its end. A second signal raises wherever it comes.

    Args:
      signums: which signals.
      raises: whether a signal ever raises by itself; if not, it is for `requested` only.
    """

    def __init__(
        self, signums: Iterable[int] = (signal.SIGTERM, signal.SIGINT), raises: bool = True
    ):
        self._signums = tuple(signums)
        self._raises = raises
        self._signum: int | None = None
        self._holding = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self._before = {signum: signal.signal(signum, self._receive) for signum in self._signums}
        return self

    def __exit__(self, *exception: Any) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, a first signal only makes `requested` true."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        if not self._holding:
            self.check()

    def requested(self) -> int | None:
        """The signal that came, if any."""
        return self._signum

    def check(self) -> None:
        """Raises Stopped if a signal came."""
        if self._signum is not None:
            raise Stopped(self._signum)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        again = self._signum is not None
        self._signum = signum
        if self._raises and (again or not self._holding):
            raise Stopped(signum)
