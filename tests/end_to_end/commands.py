"""Running the real command as a person does."""

import os
import subprocess
import sys
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
