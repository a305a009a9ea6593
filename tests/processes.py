"""What tests ask of other processes, and how they wait for them: for signs of life, not seconds."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A process without a moment of processor time for so long waits for what never comes, however
# busy the machine is.
SILENCE_SECONDS = 600


def is_alive(pid):
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid):
    """The processes that a process has started and that are still there."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def processor_seconds(pid):
    """The processor time of a process and of all that it has started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    own_and_ended_childrens = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own_and_ended_childrens + sum(map(processor_seconds, children(pid)))


class Watch:
    """Notices a process that has stopped doing anything."""

    def __init__(self, process):
        self._process = process
        self._used = -1.0
        self._since = 0.0

    def check(self, what):
        """Fails if the process and its children have used no processor time for long."""
        used = processor_seconds(self._process.pid)
        if used != self._used:
            self._used, self._since = used, time.monotonic()
        silence = time.monotonic() - self._since
        assert silence < SILENCE_SECONDS, f"{what}: nothing was done for {silence:.0f} s"


def wait_long(condition, what="", poll_seconds=0.02):
    """Returns as soon as the condition holds, which takes a moment, however long that may be."""
    until = time.monotonic() + SILENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"waited too long {what}"
        time.sleep(poll_seconds)


def wait_until(condition, process, what, poll_seconds=0.005):
    """Returns as soon as the condition holds; until then the process must run and do something."""
    watch = Watch(process)
    while not condition():
        if process.poll() is not None and not condition():
            raise AssertionError(f"{what}: the process has ended: {process.communicate()}")
        watch.check(what)
        time.sleep(poll_seconds)


def wait_for(process, folder, pattern):
    """Returns as soon as the folder has a file of this pattern."""
    wait_until(lambda: any(folder.glob(pattern)), process, pattern, poll_seconds=0.002)


def output_of(process):
    """What the process has written to its pipes, once it has ended: (stdout, stderr)."""
    watch = Watch(process)
    while True:
        try:
            return process.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            watch.check(process.args)


def outputs_of(processes):
    """The same of several that wait for each other: one that fails ends the others."""

    def output(process):
        try:
            return output_of(process)
        finally:
            if process.returncode != 0:
                for each in processes:
                    each.kill()

    with ThreadPoolExecutor(len(processes)) as threads:
        return list(threads.map(output, processes))
