"""A study killed at any moment and started again ends where an uninterrupted one ends."""

import subprocess
import sys
import time

from processes import wait_until

from end_to_end.commands import ROOT, run_unreported
from end_to_end.soak import assert_equal
from tfprune import layout

COMMAND = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=40", "--seeds=0", "--momentum=0.9",
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


def test_killed_in_the_dense_training_in_a_level_and_in_a_branch(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_unreported(*COMMAND, f"--output_dir={whole}").returncode == 0
    for stage in ("level_00", "level_01", "redense_level_01"):
        kill_when(start(killed), killed, stage)
    process = run_unreported(*COMMAND, f"--output_dir={killed}")
    assert process.returncode == 0, process.stderr
    assert_equal(killed, whole)
    assert len(list(whole.rglob(layout.END))) == 3
    assert not list(killed.rglob("checkpoint*"))
    assert not list(killed.rglob("*.tmp"))
