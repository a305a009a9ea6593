"""The processes of one training find each other, before TensorFlow waits for them in its own way.

TensorFlow's waiting neither says for whom nor heeds a signal, and it lasts an hour. So each
process first listens where TF_CONFIG puts it, and greets those that it has not heard of, until it
knows all.

Importing this module imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from tfprune.errors import SettingError, reason
from tfprune.training.cluster import Worker, host_and_port

# What a process says first, followed by its name and the end of a line.
_GREETING = "tfprune "
_PAUSE_SECONDS = 0.2
_ANSWER_SECONDS = 2.0
# Peers that start at the same time come within this, and nothing is said of them; one that ends
# closes its port within it.
_PATIENCE_SECONDS = 5.0


def meet(
    worker: Worker,
    seconds: float,
    tell: Callable[[str], None] = lambda sentence: None,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Returns when every process of the training has started, in each of them.

    Args:
      worker: this process.
      seconds: how long to wait for the others.
      tell: takes a sentence that says whom it waits for.
      check_stop: called often; what it raises ends the waiting.

    Raises:
      SettingError: the port of this process is taken, or another did not come in time.
    """
    if not worker.peers:
        return
    began = time.monotonic()
    said = ""
    with _Listener(worker) as listener:
        while True:
            check_stop()
            away = [name for name in worker.peers if name not in listener.seen]
            if not away:
                return
            waited = time.monotonic() - began
            whom = ", ".join(f"{name} ({worker.peers[name]})" for name in away)
            if waited > seconds:
                raise SettingError(
                    "peer_seconds", f"{seconds:g}", f"in that time did not come: {whom}"
                )
            if waited > min(_PATIENCE_SECONDS, seconds / 2) and whom != said:
                tell(f"{worker.name} waits for {whom}, {seconds:g} seconds at most")
                said = whom
            for name in away:
                if _greet(worker, name):
                    listener.seen.add(name)
            time.sleep(_PAUSE_SECONDS)


def absent(worker: Worker) -> list[str]:
    """The other processes at whose port nothing listens, with the port.

    Where all seem to listen it looks again for a few seconds: of a process that ends, the port may
    close after the connections that told of its end.
    """
    began = time.monotonic()
    while True:
        gone = [f"{name} ({a})" for name, a in worker.peers.items() if not _listens(a)]
        if gone or time.monotonic() - began > _PATIENCE_SECONDS:
            return gone
        time.sleep(_PAUSE_SECONDS)


def _listens(address: str) -> bool:
    try:
        socket.create_connection(host_and_port(address), timeout=_ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


class _Listener:
    """Listens at this process's port, and knows whom it has heard.

    Attributes:
      seen: names of processes that know of this one.
    """

    def __init__(self, worker: Worker):
        self.seen: set[str] = set()
        self._worker = worker
        try:
            port = host_and_port(worker.address)[1]
            dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual else socket.AF_INET
            self._socket = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
        except OSError as error:
            raise SettingError(
                "strategy",
                "multi_worker",
                f"the port of {worker.name} in TF_CONFIG, {worker.address}, must be free on this "
                f"machine ({reason(error)})",
            ) from error
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> _Listener:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # Ends the thread's waiting.
        self._socket.close()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_ANSWER_SECONDS)
                name = _read_name(connection)
                if name in self._worker.peers:
                    _send_name(connection, self._worker.name)
                    self.seen.add(name)


def _greet(worker: Worker, name: str) -> bool:
    """Whether a peer answers; then it knows of this process."""
    try:
        address = host_and_port(worker.peers[name])
        with socket.create_connection(address, timeout=_ANSWER_SECONDS) as connection:
            _send_name(connection, worker.name)
            return _read_name(connection) == name
    except OSError:
        return False


def _send_name(connection: socket.socket, name: str) -> None:
    connection.sendall(f"{_GREETING}{name}\n".encode())


def _read_name(connection: socket.socket) -> str:
    """The name that a process says; empty if it is none of these."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 100:
        part = connection.recv(1)
        if not part:
            return ""
        line += part
    text = line.decode(errors="replace").strip()
    return text.removeprefix(_GREETING) if text.startswith(_GREETING) else ""
