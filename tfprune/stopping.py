"""Ending on SIGTERM and SIGINT without losing work: between epochs, after a checkpoint."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tfprune.errors import Stopped


class StopSignals:
    """Turns signals into `Stopped`, at a moment when nothing is lost by it.

    As a context manager it takes the signals over, and gives them back. A signal raises at once,
    except inside `held`, where it waits for someone to ask `requested`; who holds it raises when
    it is ready, or `held` does at its end.

    Args:
      signums: which signals.
      raises: whether a first signal ever raises by itself; if not, it is for `requested` only.
      again_ends: whether a second signal ends the process, and those it started, wherever it
        comes, even in the midst of an epoch.
    """

    def __init__(
        self,
        signums: Iterable[int] = (signal.SIGTERM, signal.SIGINT),
        raises: bool = True,
        again_ends: bool = True,
    ):
        self._signums = tuple(signums)
        self._raises = raises
        self._again_ends = again_ends
        self._signum: int | None = None
        self._holding = 0
        self._before: dict[int, Any] = {}
        self._watch: _SecondSignal | None = None

    def __enter__(self) -> StopSignals:
        self._signum = None
        self._before = {signum: signal.signal(signum, self._receive) for signum in self._signums}
        if self._again_ends:
            self._watch = _SecondSignal(self._signums)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._watch is not None:
            self._watch.stop()
        for signum, handler in self._before.items():
            if handler is not None:  # One that was not set from Python cannot be given back.
                signal.signal(signum, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While inside, a signal only makes `requested` true."""
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        if self._raises and not self._holding:
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
        self._signum = self._signum or signum
        if self._raises and not self._holding and not again:
            raise Stopped(signum)


class _SecondSignal:
    """Ends the process at its second signal.

    A handler in Python runs only when the main thread is back from TensorFlow, which may take an
    epoch; so the bytes that Python writes at once for every signal are read by a thread.

    Args:
      signums: the signals that count.
    """

    def __init__(self, signums: Iterable[int]):
        self._signums = frozenset(signums)
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        signal.set_wakeup_fd(self._before)
        self._writer.close()

    def _listen(self) -> None:
        came = 0
        with self._reader:
            while received := self._reader.recv(1):
                signum = received[0]
                came += signum in self._signums
                if came > 1:
                    _end_at_once(signum)


def _end_at_once(signum: int) -> None:
    for process in multiprocessing.active_children():
        process.kill()
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # The progress display hides it.
    name = signal.Signals(signum).name
    text = f"{cursor}tfprune: ended at once by a second signal, {name}; the same command goes on "
    os.write(2, f"{text}from the last checkpoint\n".encode())
    os._exit(128 + signum)
