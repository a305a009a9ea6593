"""Claims: at most one process at a time works on something, and a dead one's claim is free again.

On a file system a claim is an operating-system lock on a small file, which ends with its process,
however that ends. On `gs://`, which has no locks, it is an object that is created only if there is
none, names its owner, and is renewed while it is held; one that was not renewed for `STALE_SECONDS`
is taken over, again by one process only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from tfprune.errors import CannotWrite, InputError, reason
from tfprune.files import explained

RENEW_SECONDS = 30.0
STALE_SECONDS = 300.0
POLL_SECONDS = 0.05
_CLOUD_POLL_SECONDS = 1.0


@contextlib.contextmanager
def claim(path: epath.PathLike) -> Iterator[bool]:
    """Tries to claim; yields at once whether this process has the claim.

    Args:
      path: names what is claimed; claims are equal if their paths are. Its folder is made.

    Raises:
      InputError: the folder cannot be written, or the cloud's client library is missing.
    """
    path = epath.Path(path)
    if str(path).startswith("gs://"):
        with _CloudClaim(path) as mine:
            yield mine
        return
    import filelock

    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(os.fspath(path), thread_local=False)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            mine = False
        else:
            mine = True
    try:
        yield mine
    finally:
        if mine:
            lock.release()


@contextlib.contextmanager
def exclusively(
    path: epath.PathLike,
    timeout_seconds: float = 600.0,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Waits for a claim and holds it; for what one process does at a time, and the others after it.

    Args:
      path: names what is claimed.
      timeout_seconds: how long to wait.
      waiting: called once if another process has it, where that may take more than moments.

    Raises:
      InputError: another process had the claim for all that time.
    """
    until = time.monotonic() + timeout_seconds
    pause = _CLOUD_POLL_SECONDS if str(path).startswith("gs://") else POLL_SECONDS
    is_told = False
    while True:
        with claim(path) as mine:
            if mine:
                yield
                return
        if not is_told:
            waiting()
            is_told = True
        if time.monotonic() > until:
            raise InputError(
                f"another process has held {path} for {timeout_seconds:g} seconds: "
                "end it, then run again"
            )
        time.sleep(pause)


class _CloudClaim:
    """A claim on Google Cloud Storage, by writes that succeed only on the generation they expect.

    Args:
      path: gs://BUCKET/OBJECT.
    """

    def __init__(self, path: epath.Path):
        bucket, _, name = str(path).removeprefix("gs://").partition("/")
        self._blob = _cloud_client().bucket(bucket).blob(name)
        self._owner = f"{socket.gethostname()} process {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._generation: int | None = None
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> bool:
        with _cloud_explained(self._blob):
            return self._enter()

    def _enter(self) -> bool:
        held = self._read()
        if held is None:
            self._generation = self._write(expected=0)
        elif time.time() - held[1] > STALE_SECONDS:  # Clocks agree within a minute or so.
            self._generation = self._write(expected=held[0])
        if self._generation is None:
            return False
        self._renewal.start()
        return True

    def __exit__(self, *exception: Any) -> None:
        if self._generation is None:
            return
        self._ended.set()
        self._renewal.join()
        # Taken over while this machine was asleep, or out of reach: then it becomes stale.
        with contextlib.suppress(*_cloud_errors()):
            self._blob.delete(if_generation_match=self._generation)

    def _read(self) -> tuple[int, float] | None:
        """The claim's generation and when it was last renewed; None if there is none."""
        from google.api_core.exceptions import NotFound

        try:
            self._blob.reload()
        except NotFound:
            return None
        return int(self._blob.generation), self._blob.updated.timestamp()

    def _write(self, expected: int) -> int | None:
        """Writes the claim over this generation only; the new one, or None if another was there."""
        try:
            self._blob.upload_from_string(self._owner, if_generation_match=expected)
        except _lost():
            return self._generation_if_mine()
        return int(self._blob.generation)

    def _generation_if_mine(self) -> int | None:
        """The claim's generation, if it is this one's after all.

        So it is where the answer to a write was lost: the client writes again, and that fails.
        """
        try:
            owner = self._blob.download_as_bytes()
            self._blob.reload()
        except _lost():
            return None
        return int(self._blob.generation) if owner == self._owner.encode() else None

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            if self._generation is not None:
                try:
                    renewed = self._write(expected=self._generation)
                except _cloud_errors():
                    continue  # It may be in reach the next time, before the claim is stale.
                if renewed is None:
                    return
                self._generation = renewed


def _lost() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import NotFound, PreconditionFailed

    return (PreconditionFailed, NotFound)


def _cloud_errors() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    return (GoogleAPIError, GoogleAuthError, OSError)  # Those of requests are an OSError.


@contextlib.contextmanager
def _cloud_explained(blob: Any) -> Iterator[None]:
    try:
        yield
    except _cloud_errors() as error:
        raise CannotWrite(
            f"cannot write {blob.name} in gs://{blob.bucket.name} ({reason(error)}): check the "
            "bucket, the credentials and the network"
        ) from error


def check_cloud(path: epath.PathLike) -> None:
    """Looks for what a path on gs:// needs; of another path, for nothing.

    TensorFlow, which reads and writes there, would try for a minute without credentials, and fill
    the terminal with its attempts.

    Raises:
      InputError: the client library, or credentials are missing.
    """
    if str(path).startswith("gs://"):
        _has_credentials()


@functools.cache  # Of a success: it is asked for every file.
def _has_credentials() -> None:
    _cloud_client()


def _cloud_client() -> Any:
    try:
        from google.cloud import storage
    except ImportError:
        raise InputError(
            "a path on gs:// needs google-cloud-storage: pip install 'tfprune[gcs]'"
        ) from None
    from google.auth.exceptions import GoogleAuthError

    try:
        return storage.Client()
    except (GoogleAuthError, OSError) as error:  # OSError: no project can be told.
        raise InputError(
            f"a path on gs:// needs credentials ({reason(error)}): "
            "gcloud auth application-default login"
        ) from error
