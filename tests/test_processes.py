"""How tests wait for other processes: as long as these do something."""

import subprocess
import sys

import processes
import pytest
from processes import processor_seconds, wait_long, wait_until

SLEEP = "import time; time.sleep(3600)"
# Its child computes.
COMPUTE = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "while True: pass"])
"""


@pytest.fixture
def start():
    started = []

    def start(program):
        started.append(subprocess.Popen([sys.executable, "-c", program], start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        for each in [*processes.children(process.pid), process.pid]:
            subprocess.run(["kill", "-9", str(each)], check=False)
        process.wait()


def test_a_process_that_does_nothing_is_not_waited_for(start, monkeypatch):
    monkeypatch.setattr(processes, "SILENCE_SECONDS", 0.5)
    with pytest.raises(AssertionError, match="a file: nothing was done for"):
        wait_until(lambda: False, start(SLEEP), "a file")


def test_a_process_that_has_ended_is_not_waited_for(start):
    with pytest.raises(AssertionError, match="a file: the process has ended"):
        wait_until(lambda: False, start("pass"), "a file")


def test_what_a_child_computes_is_a_sign_of_life(start):
    process = start(COMPUTE)
    wait_long(lambda: processes.children(process.pid))
    before = processor_seconds(process.pid)
    wait_until(lambda: processor_seconds(process.pid) > before + 0.2, process, "computing")


def test_the_last_file_of_a_process_counts_though_it_has_ended(start, tmp_path):
    process = start(f"open({str(tmp_path / 'a')!r}, 'w')")
    process.wait()
    wait_until((tmp_path / "a").exists, process, "a file")
