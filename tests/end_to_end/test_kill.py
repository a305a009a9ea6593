"""A study killed at any moment and started again ends where an uninterrupted one ends."""

import subprocess
import sys
import time

import pytest
from processes import wait_until

from end_to_end.commands import ROOT, run_unreported
from end_to_end.soak import assert_equal
from tfprune import layout

COMMAND = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=20", "--seeds=0", "--momentum=0.9",
    "--rewind_to=30it", "--branch_levels=1", "--checkpoint_seconds=0", "--surface_points=0",
    "--jit=off",
)  # fmt: skip


def start(folder):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *COMMAND, f"--output_dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process, folder, stage):
    """kill -9 a moment after the stage has a checkpoint, or is done if that went unseen."""
    files = (layout.CHECKPOINTS[0], layout.RESULT)
    wait_until(
        lambda: any(any(folder.glob(f"trials/*/seed_0/{stage}/{name}")) for name in files),
        process,
        stage,
    )
    time.sleep(0.05)
    process.kill()
    process.wait()


pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run makes."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_unreported(*COMMAND, f"--output_dir={folder}").returncode == 0
    assert len(list(folder.rglob(layout.END))) == 3
    return folder


# A level is trained as the dense network is; test_faults.py ends one by a signal.
@pytest.mark.parametrize(
    "stages",
    [
        ("level_00", "redense_level_01"),
        pytest.param(("level_00", "level_01", "redense_level_01"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_killed_in_each_of_these_it_ends_where_it_would_have(whole, tmp_path, stages):
    for stage in stages:
        kill_when(start(tmp_path), tmp_path, stage)
    process = run_unreported(*COMMAND, f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)
    assert not list(tmp_path.rglob("checkpoint*"))
    assert not list(tmp_path.rglob("*.tmp"))
