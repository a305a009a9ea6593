"""Several processes share a study: the same numbers, each stage trained once."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from end_to_end.commands import ROOT, assert_one_line_error, run, wait_for
from end_to_end.soak import assert_equal, end_group, start
from tfprune import layout

COMMAND = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0,1",
    "--branch_levels=1", "--surface_points=0",
)  # fmt: skip
SIMPLE = (
    "sparse_double_descent", "--preset=smoke", "--levels=1", "--train_epochs=150", "--seeds=0",
    "--checkpoint_seconds=0",
)  # fmt: skip
STAGES = 6  # Two seeds, each with two levels and a branch.


def trained(text):
    return int(re.search(r"(\d+) stages trained", text)[1])


def done_lines(text):
    return sorted(re.findall(r"^(seed \d \S+ \d): done", text, re.MULTILINE))


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    """What one process makes."""
    folder = tmp_path_factory.mktemp("inline")
    process = run(*COMMAND, f"--output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder, process


def test_workers_make_the_same_bits_and_share_one_display(inline, tmp_path):
    whole, alone = inline
    process = run(*COMMAND, "--workers=2", f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)
    assert trained(process.stdout) == STAGES
    assert done_lines(process.stderr) == done_lines(alone.stderr)
    assert len(process.stderr.splitlines()) == len(alone.stderr.splitlines())


def test_two_commands_at_once_train_each_stage_once(inline, tmp_path):
    whole, _ = inline
    both = [start(*COMMAND, f"--output_dir={tmp_path}") for _ in range(2)]
    texts = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert sum(trained(out) for out, _ in texts) == STAGES
    assert_equal(tmp_path, whole)


def test_workers_of_a_sweep_share_the_dense_training(tmp_path):
    process = run(
        "sparse_double_descent", "--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0",
        "--sweep=criterion=magnitude,random", "--workers=2", f"--output_dir={tmp_path}",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert trained(process.stdout) == 3
    assert len(list(tmp_path.rglob(layout.END))) == 3


@pytest.mark.parametrize(
    ("flags", "part"),
    [(("--rewind_to=9999it",), "--rewind_to=9999it"), (("--dataset=npz:no.npz",), "no.npz")],
)
def test_an_error_of_a_worker_is_the_same_one_line(tmp_path, flags, part):
    folder = tmp_path / "out"
    process = run(*COMMAND, *flags, "--workers=2", f"--output_dir={folder}")
    assert_one_line_error(process, part)
    assert not folder.exists()


def test_branches_that_follow_from_all_seeds_wait_for_the_other_shards(tmp_path):
    # The last of a flag counts.
    auto = (*COMMAND, "--branch_levels=auto", f"--output_dir={tmp_path}")
    both = [start(*auto, f"--shard={shard}") for shard in ("0/2", "1/2")]
    texts = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert any("other shards are not done" in text for _, text in texts)
    process = run(*auto)
    assert process.returncode == 0, process.stderr
    assert sum(trained(out) for out, _ in texts) + trained(process.stdout) == 8
    assert (tmp_path / layout.REPORT).exists()


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
}


@pytest.fixture(scope="module")
def cluster():
    """The address of a Ray cluster of this machine."""
    pytest.importorskip("ray")
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **RAY},
    )
    yield process.stdout.readline().strip()
    process.communicate("\n")


def ray(address):
    return ("--executor=ray", f"--ray_address={address}")


def test_ray_makes_the_same_bits(inline, cluster, tmp_path):
    whole, alone = inline
    process = run(*COMMAND, *ray(cluster), f"--output_dir={tmp_path}", **RAY)
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)
    assert done_lines(process.stderr) == done_lines(alone.stderr)
    assert trained(process.stdout) == STAGES


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


def killed_task(folder, signum):
    """Signals a process that trains on Ray, once it has a checkpoint."""
    until = time.monotonic() + 600
    while time.monotonic() < until:
        if list(folder.glob("trials/*/seed_*/level_00/checkpoint-*")):
            for pid in ray_task_processes(folder):
                os.kill(pid, signum)
                return True
        time.sleep(0.01)
    return False


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A longer study of one process, to be interrupted on Ray."""
    folder = tmp_path_factory.mktemp("long")
    process = run(*SIMPLE, f"--output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder


def test_ray_tries_a_killed_task_again(cluster, long, tmp_path):
    process = start(*SIMPLE, *ray(cluster), f"--output_dir={tmp_path}", **RAY)
    try:
        assert killed_task(tmp_path, signal.SIGKILL)
        _, text = process.communicate(timeout=120)
    finally:
        end_group(process)
    assert process.returncode == 0, text
    assert_equal(tmp_path, long)


def test_a_signal_ends_tasks_on_ray_with_a_checkpoint(cluster, long, tmp_path):
    command = (*SIMPLE, "--checkpoint_seconds=1000", f"--output_dir={tmp_path}")
    process = start(*command, *ray(cluster), **RAY)
    try:
        wait_for(process, tmp_path, "trials/*/seed_0/level_00/start.npz")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=60)
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
    process = run(*COMMAND, *ray("127.0.0.1:1"), f"--output_dir={folder}", **RAY)
    assert_one_line_error(process, "--ray_address=127.0.0.1:1: ")
    assert not folder.exists()


def test_without_ray_the_error_says_what_to_install(tmp_path):
    program = f"""
import sys
sys.modules["ray"] = None
sys.argv = ["run.py", *{[*COMMAND, *ray("auto"), f"--output_dir={tmp_path / 'out'}"]!r}]
import run
sys.exit(run.main())
"""
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr == (
        "tfprune: error: --executor=ray needs Ray: pip install 'tfprune[ray]'\n"
    )


def environment(folder, **values):
    """What the scripts find on a cluster; `python` is this one."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OUTPUT_DIR": str(folder), **values}


SLURM = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(ROOT)}


def slurm(folder, index, *flags, **values):
    return subprocess.Popen(
        ["bash", str(ROOT / "docs" / "clusters" / "slurm.sh"), *flags],
        env=environment(folder, SLURM_ARRAY_TASK_ID=str(index), **SLURM, **values),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_slurm_array_does_the_whole(inline, tmp_path):
    whole, _ = inline
    jobs = [slurm(tmp_path, index, *COMMAND[1:], EXPERIMENT=COMMAND[0]) for index in (0, 1)]
    texts = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], texts
    assert_equal(tmp_path, whole)


def test_a_slurm_job_whose_time_is_over_saves_and_is_put_back_into_the_queue(tmp_path):
    folder, bin_folder = tmp_path / "out", tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    (bin_folder / "scontrol").chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(bin_folder), os.environ["PATH"]])
    job = slurm(folder, 0, *SIMPLE[1:], "--train_epochs=5000", PATH=path)
    try:
        wait_for(job, folder, "trials/*/seed_0/level_00/checkpoint-*")
        job.send_signal(signal.SIGTERM)
        _, text = job.communicate(timeout=30)
    finally:
        end_group(job)
    assert job.returncode == 143
    assert text == "tfprune: ended by SIGTERM; the same command goes on from here\n"
    assert (tmp_path / "requeued").read_text() == "requeue 7_0\n"


def test_the_kubernetes_job_does_the_whole(inline, tmp_path):
    yaml = pytest.importorskip("yaml")
    whole, _ = inline
    job = yaml.safe_load((ROOT / "docs" / "clusters" / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable["value"] for variable in container["env"]}
    assert int(values["SHARDS"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert container["args"][0] == "sparse_double_descent"
    for index in (1, 0):  # In any order.
        process = subprocess.run(
            [*container["command"], *COMMAND],
            cwd=ROOT,
            env=environment(tmp_path, JOB_COMPLETION_INDEX=str(index), SHARDS="2"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert f"shard {index}/2 is done" in process.stdout
        assert trained(process.stdout) == STAGES // 2
    assert_equal(tmp_path, whole)
