"""Killing a study with `kill -9` at random moments, many times; run by `make soak`.

A study of two seeds, two levels and a branch is started, killed a moment after it has written
something, and started again, in one process and with two workers, until it was killed as often as
asked and has then finished. Its results.csv (wall_seconds aside) and all its weights must equal an
uninterrupted run's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from processes import wait_until

from end_to_end.commands import ROOT, read_rows, run_process
from tfprune import layout
from tfprune.files import load_arrays

COMMAND = (
    "redense", "--preset=smoke", "--levels=2", "--seeds=0,1", "--momentum=0.9", "--rewind_to=30it",
    "--branch_levels=1", "--checkpoint_seconds=0", "--surface_points=0",
    "--jit=off",
)  # fmt: skip


def start(*arguments: object, **environment: str) -> subprocess.Popen:
    """`python run.py ARGUMENTS` in a group of processes of its own, with its text as pipes."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def end_group(process: subprocess.Popen) -> None:
    """kill -9 for a process that `start` gave, and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def assert_equal(folder: Path, whole: Path) -> None:
    """The same rows, and bitwise the same weights of every stage."""
    got_rows, want_rows = (read_rows(each, without=("wall_seconds",)) for each in (folder, whole))
    assert got_rows == want_rows
    ends = sorted(path.relative_to(whole) for path in whole.rglob(layout.END))
    assert ends == sorted(path.relative_to(folder) for path in folder.rglob(layout.END))
    assert ends
    for end in ends:
        got, want = load_arrays(folder / end), load_arrays(whole / end)
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value, err_msg=f"{end} {name}")
    assert not list(folder.rglob("checkpoint-?.npz"))


def newest(folder: Path) -> float:
    """When anything was last written there."""
    times = [0.0]
    for path in folder.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:  # Temporary files come and go.
            continue
    return max(times)


def kill_once(command: tuple[str, ...], folder: Path, rng: random.Random) -> bool:
    """Starts the study, kills it a random moment after it has written; whether it came to that."""
    before = newest(folder)
    process = start(*command, f"--output_dir={folder}")

    def has_written_or_ended() -> bool:
        return newest(folder) > before or process.poll() is not None

    wait_until(has_written_or_ended, process, "the next file", poll_seconds=0.01)
    time.sleep(rng.uniform(0, 1.5))
    was_running = process.poll() is None
    if was_running and rng.random() < 0.5:  # Alone: its workers must end by themselves.
        process.kill()
        process.communicate()
    end_group(process)
    return was_running


def soak(command: tuple[str, ...], whole: Path, folder: Path, kills: int, seed: int) -> None:
    """Kills a study so often, lets it finish, and compares; a finished one is begun anew."""
    rng = random.Random(seed)
    killed = finished = 0
    while killed < kills:
        now = folder / str(finished)
        if kill_once(command, now, rng):
            killed += 1
            print(f"killed {killed} of {kills}", flush=True)
        else:
            assert_equal(now, whole)
            finished += 1
    last = folder / str(finished)
    process = run_process(*command, f"--output_dir={last}")
    assert process.returncode == 0, process.stderr
    assert_equal(last, whole)


def main() -> None:
    """`python -m end_to_end.soak --kills=20`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="for each number of workers")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    command = (*COMMAND, f"--train_epochs={options.epochs}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = run_process(*command, f"--output_dir={folder / 'whole'}")
        assert process.returncode == 0, process.stderr
        for workers in (1, 2):
            print(f"--workers={workers}")
            killed = folder / f"workers_{workers}"
            soak((*command, f"--workers={workers}"), folder / "whole", killed, options.kills,
                 options.seed + workers)  # fmt: skip
    print("equal to an uninterrupted run")


if __name__ == "__main__":
    main()
