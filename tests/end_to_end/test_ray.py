"""A Ray cluster shares a study: the same numbers, and killed or signalled tasks lose nothing."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from devices import WITHOUT_GPUS, has_gpu
from processes import output_of, wait_for, wait_until

from end_to_end.commands import (
    LONG,
    SHARED,
    SHARED_STAGES,
    assert_one_line_error,
    done_lines,
    run,
    run_process,
    trained,
)
from end_to_end.soak import assert_equal, end_group, start
from tfprune import layout

CLUSTER = """
import ray, sys
ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.readline()
"""


# The cluster is the test's own, and so is its token.
RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": uuid.uuid4().hex,
    "RAY_USAGE_STATS_ENABLED": "0",
    # Its workers would give way to every other process of a busy machine.
    "RAY_worker_niceness": "0",
}


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray cluster of this machine, which has no GPU."""
    pytest.importorskip("ray")
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **RAY, **WITHOUT_GPUS},
    )
    yield process.stdout.readline().strip()
    process.communicate("\n")


def ray(address):
    return ("--executor=ray", f"--ray_address={address}")


@pytest.mark.skipif(has_gpu(), reason="what it is compared with was made by a GPU")
def test_ray_makes_the_same_bits(inline, cluster, tmp_path):
    whole, alone = inline
    process = run_process(*SHARED, *ray(cluster), f"--output_dir={tmp_path}", **RAY)
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)
    assert done_lines(process.stderr) == done_lines(alone.stderr)
    assert trained(process.stdout) == SHARED_STAGES


def ray_task_processes(folder):
    """Processes that have an open claim of this folder."""
    found = []
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            targets = [os.readlink(file) for file in descriptors.iterdir()]
        except OSError:
            continue
        if any(target.startswith(f"{folder}/{layout.CLAIMS}/trials__") for target in targets):
            found.append(int(descriptors.parent.name))
    return found


def kill_a_task(process, folder):
    """kill -9 for a process that trains on Ray, once it has a checkpoint."""
    wait_for(process, folder, "trials/*/seed_*/level_00/checkpoint-*")
    found = []
    wait_until(
        lambda: found.extend(ray_task_processes(folder)) or found,
        process,
        "a task that holds a claim",
    )
    os.kill(found[0], signal.SIGKILL)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A longer study of one process, to be interrupted on Ray."""
    folder = tmp_path_factory.mktemp("long")
    process = run(*LONG, f"--output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.slow
def test_ray_tries_a_killed_task_again(cluster, long, tmp_path):
    process = start(*LONG, *ray(cluster), f"--output_dir={tmp_path}", **RAY)
    try:
        kill_a_task(process, tmp_path)
        _, text = output_of(process)
    finally:
        end_group(process)
    assert process.returncode == 0, text
    assert_equal(tmp_path, long)


@pytest.mark.slow
def test_a_signal_ends_tasks_on_ray_with_a_checkpoint(cluster, long, tmp_path):
    command = (*LONG, "--checkpoint_seconds=1000", f"--output_dir={tmp_path}")
    process = start(*command, *ray(cluster), **RAY)
    try:
        wait_for(process, tmp_path, "trials/*/seed_0/level_00/start.npz")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, text = output_of(process)
    finally:
        end_group(process)
    assert process.returncode == 143, text
    assert "ended by SIGTERM" in text
    assert "Traceback" not in text
    assert list(tmp_path.glob("trials/*/seed_0/level_0?/checkpoint-0.npz"))
    assert run(*command).returncode == 0
    assert_equal(tmp_path, long)


def test_no_cluster_at_the_address_is_one_line(tmp_path):
    pytest.importorskip("ray")
    folder = tmp_path / "out"
    process = run_process(*SHARED, *ray("127.0.0.1:1"), f"--output_dir={folder}", **RAY)
    assert_one_line_error(process, "--ray_address=127.0.0.1:1: ")
    assert not folder.exists()


def test_without_ray_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    finished = run(*SHARED, *ray("auto"), f"--output_dir={tmp_path / 'out'}")
    assert_one_line_error(finished, "--executor=ray", "pip install 'tfprune[ray]'")
