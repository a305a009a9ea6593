"""Running the real command as a person does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import run as door

ROOT = Path(door.__file__).parent


def run(*arguments, cwd=None, **environment):
    """`python run.py ARGUMENTS`; returns the finished process with its text."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *map(str, arguments)],
        cwd=cwd or ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line_error(process, *parts):
    """It ended with exit code 2 and one line on stderr that has all these parts."""
    assert process.returncode == 2, process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    assert process.stderr.startswith("tfprune: error: "), process.stderr
    assert all(part in process.stderr for part in parts), process.stderr


def wait_for(process, folder, pattern, seconds=60):
    """Returns as soon as the folder has a file of this pattern; the process must be running."""
    until = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, pattern
        time.sleep(0.002)
