"""Standard output and error that no command dies of: closed, full, or of few characters."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

# How characters that a terminal may lack are written instead; letters lose their accents.
_PLAIN = {
    **{"±": "+-", "×": "x", "−": "-", "–": "-", "—": "-", "…": "...", "·": ".", "‖": "||"},
    **{"≤": "<=", "≥": ">=", "→": "->", "≈": "~", "θ": "theta", "λ": "lambda", "σ": "sigma"},
    **{"─": "-", "━": "-", "╸": "-", "╺": "-", "│": "|", "‘": "'", "’": "'", "“": '"', "”": '"'},
}
_HANDLER = "tfprune.plain"


class Stream:
    """A stream that swallows what is written to it once it cannot be written.

    A command whose reader has gone, or whose log has filled a disk, goes on with its work.

    Args:
      stream: a text file.

    Attributes:
      error: why it could not be written, if so.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self.error: OSError | None = None
        if hasattr(stream, "reconfigure") and not _is_unicode(stream):
            codecs.register_error(_HANDLER, _plain)
            stream.reconfigure(errors=_HANDLER)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, or swallows."""
        with self._endured():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """As `write`, each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes; what cannot be written is dropped."""
        with self._endured():
            self._stream.flush()

    @contextlib.contextmanager
    def _endured(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            # What is still in buffers must not fail again when the process ends.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def standard_streams() -> Iterator[Stream]:
    """While inside, nothing that is written to standard output or error raises an error.

    Yields:
      Standard output.
    """
    _open_closed_ones()
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _open_closed_ones() -> None:
    """Opens streams that the process was started without, lest files take their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for good


def _is_unicode(stream: Any) -> bool:
    return str(getattr(stream, "encoding", "") or "").lower().startswith("utf")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: other characters for those that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(map(_plain_character, characters)), error.end


def _plain_character(character: str) -> str:
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _PLAIN.get(character) or letters or "?"
