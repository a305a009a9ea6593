"""The scripts of docs/clusters do what they say, with the cluster's variables set by hand."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import output_of, outputs_of, wait_for

from end_to_end.commands import LONG, ROOT, SHARED, SHARED_STAGES, trained
from end_to_end.soak import assert_equal, end_group


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


@pytest.mark.slow
def test_a_job_of_the_slurm_array_and_a_pod_of_kubernetes_are_the_two_halves(inline, tmp_path):
    yaml = pytest.importorskip("yaml")
    whole, _ = inline
    job = yaml.safe_load((ROOT / "docs" / "clusters" / "kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    values = {variable["name"]: variable["value"] for variable in container["env"]}
    assert int(values["SHARDS"]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    assert container["args"][0] == "sparse_double_descent"
    pod = subprocess.Popen(
        [*container["command"], *SHARED],
        cwd=ROOT,
        env=environment(tmp_path, JOB_COMPLETION_INDEX="1", SHARDS="2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    halves = [slurm(tmp_path, 0, *SHARED[1:], EXPERIMENT=SHARED[0]), pod]
    texts = outputs_of(halves)
    assert [half.returncode for half in halves] == [0, 0], texts
    for index, (text, _) in enumerate(texts):
        assert f"shard {index}/2 is done" in text
        assert trained(text) == SHARED_STAGES // 2
    assert_equal(tmp_path, whole)


def test_a_slurm_job_whose_time_is_over_saves_and_is_put_back_into_the_queue(tmp_path):
    folder, bin_folder = tmp_path / "out", tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    (bin_folder / "scontrol").chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(bin_folder), os.environ["PATH"]])
    job = slurm(folder, 0, *LONG[1:], "--train_epochs=5000", PATH=path)
    try:
        wait_for(job, folder, "trials/*/seed_0/level_00/checkpoint-*")
        job.send_signal(signal.SIGTERM)
        _, text = output_of(job)
    finally:
        end_group(job)
    assert job.returncode == 143
    assert "ended by SIGTERM" in text
    assert text.count("\n") == 1
    assert (tmp_path / "requeued").read_text() == "requeue 7_0\n"
