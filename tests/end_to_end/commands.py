"""Running the real command as a person does, and reading what it left."""

import contextlib
import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

from matplotlib.figure import Figure

from tfprune import __main__ as door
from tfprune import layout
from tfprune.engine.workshop import Workshop
from tfprune.experiments import cli, runner

ROOT = Path(door.__file__).parents[1]
# Without XLA, which would compile in each of many processes.
# A small study that several processes can share, and one long enough to be interrupted.
SHARED = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0,1",
    "--branch_levels=1", "--surface_points=0", "--jit=off",
)  # fmt: skip
SHARED_STAGES = 6  # Two seeds, each with two levels and a branch.
LONG = (
    "sparse_double_descent", "--preset=smoke", "--levels=1", "--train_epochs=150", "--seeds=0",
    "--checkpoint_seconds=0", "--jit=off",
)  # fmt: skip


def run(*arguments):
    """`python run.py ARGUMENTS` in this process, which has TensorFlow already: exit code, text."""
    words = list(map(str, arguments))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.exit_code(lambda: door.dispatch(words))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_unreported(*arguments):
    """`run` without table, figures and report, of a folder whose report is not looked at then."""
    with mock.patch.object(runner, "show"):
        return run(*arguments)


@contextlib.contextmanager
def networks_kept():
    """Inside, a command finds the networks that the commands before it have compiled.

    As a trial finds those of the trials before it; without, each would compile them anew.
    """
    if runner.Workshop is not Workshop:  # Inside of another.
        yield
        return
    trainers = {}

    class Keeping(Workshop):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self._trainers = trainers

    with mock.patch.object(runner, "Workshop", Keeping):
        yield


@contextlib.contextmanager
def figures_unpainted():
    """Inside, figures are drawn, and their files are of one pixel, where nobody looks at them."""
    pixel = io.BytesIO()
    Figure(figsize=(0.01, 0.01), dpi=100).savefig(pixel)

    def save(figure, file, **_):
        file.write(pixel.getvalue())

    with mock.patch.object(Figure, "savefig", save):
        yield


def run_all(folder, flags):
    """Experiments one after the other in a folder, each with its flags, and then its report.

    Each would draw anew what those before it have drawn.
    """
    flags_of = {name: (*flags[name], f"--output_dir={folder}") for name in flags}
    with networks_kept():
        processes = {name: run_unreported(name, *own) for name, own in flags_of.items()}
    assert run("report", f"--output_dir={folder}").returncode == 0
    return processes


def interrupted(command, folder, pattern, signum, count=1):
    """What a run gives, here, that gets a signal a moment after so many files are there."""
    has_ended = threading.Event()

    def send():
        while len(list(folder.glob(pattern))) < count:
            if has_ended.wait(0.002):
                return
        if not has_ended.wait(0.02):
            os.kill(os.getpid(), signum)

    before = signal.signal(signum, signal.SIG_IGN)  # One that comes too late ends nothing.
    sender = threading.Thread(target=send)
    sender.start()
    try:
        return run_unreported(*command, f"--output_dir={folder}")
    finally:
        has_ended.set()
        sender.join()
        signal.signal(signum, before)


def run_process(*arguments, **environment):
    """The same in a process of its own: for what tests claim of processes."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *map(str, arguments)],
        cwd=ROOT,
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


def trained(text):
    """How many stages a command says that it has trained."""
    return int(re.search(r"(\d+) stages trained", text)[1])


def done_lines(text):
    """Which stages a command says are done, in the order of their names."""
    return sorted(re.findall(r"^(.*, seed \d+, \S+ \d+): done", text, re.MULTILINE))


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
