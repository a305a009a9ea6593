"""Signals: raised where nothing is lost, held over an epoch, and a second one ends at once."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import is_alive, output_of, wait_long

from tfprune.errors import Stopped
from tfprune.stopping import StopSignals


def test_a_signal_raises_at_once_and_no_handler_of_exceptions_keeps_it():
    with StopSignals() as signals, pytest.raises(Stopped) as stopped:  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            pytest.fail("a signal was taken for an error")
    assert stopped.value.signum == signal.SIGTERM == signals.requested()


def test_a_held_signal_waits_for_the_end_and_can_be_asked_for():
    reached = []
    with StopSignals() as signals, pytest.raises(Stopped), signals.held():  # noqa: PT012
        assert signals.requested() is None
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(signals.requested())
    assert reached == [signal.SIGINT]


def test_handlers_and_the_wakeup_descriptor_are_given_back():
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with StopSignals():
            assert signal.getsignal(signal.SIGTERM) is not mine
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_of_an_earlier_use_are_forgotten():
    signals = StopSignals()
    with pytest.raises(Stopped), signals:
        os.kill(os.getpid(), signal.SIGTERM)
    with signals:
        signals.check()


# As an epoch in TensorFlow, hashing keeps Python's handlers from running until it is over.
BUSY = """
import hashlib, multiprocessing, time
from tfprune.stopping import StopSignals

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(3600,))
    child.start()
    with StopSignals() as signals, signals.held():
        print(child.pid, flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)
"""


@pytest.fixture
def busy(tmp_path):
    (tmp_path / "busy.py").write_text(BUSY)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "busy.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    yield process
    process.kill()
    process.communicate()


def is_pending(pid, signum):
    """Whether a signal was sent to the process that has not come there yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(pending, 16) >> (signum - 1) & 1)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_even_inside_a_long_computation(busy, signum):
    child = int(busy.stdout.readline())
    time.sleep(0.2)
    busy.send_signal(signum)
    wait_long(lambda: not is_pending(busy.pid, signum))  # Else the second would be the same one.
    time.sleep(0.5)
    assert busy.poll() is None  # The first one waits.
    busy.send_signal(signum)
    _, text = output_of(busy)
    assert busy.returncode == 128 + signum
    assert text.count("\n") == 1
    assert "ended at once by a second signal" in text
    wait_long(lambda: not is_alive(child))
