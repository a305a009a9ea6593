"""Running the real command as a person does, and reading what it left."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import run as door
from tfprune import layout

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


def assert_complete(process, folder, name):
    """The experiment ended well, with its figures, its tables and its part of the report."""
    assert process.returncode == 0, process.stderr
    assert list((folder / layout.FIGURES).glob(f"{name}_*.png"))
    assert list((folder / layout.TABLES).glob(f"{name}_*.md"))
    assert name in (folder / layout.REPORT).read_text()


def read_csv(path):
    """The rows of a CSV file, values as they are written."""
    with path.open() as file:
        return list(csv.DictReader(file))


def read_rows(folder, without=()):
    """The rows of results.csv, without these columns."""
    return [
        {name: value for name, value in row.items() if name not in without}
        for row in read_csv(folder / layout.RESULTS)
    ]


def rows_of(rows, experiment, **values):
    """Those of an experiment that have these values, in their order."""
    wanted = {"experiment": experiment, **values}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def wait_for(process, folder, pattern, seconds=60):
    """Returns as soon as the folder has a file of this pattern; the process must be running."""
    until = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, pattern
        time.sleep(0.002)
