"""One study whose every training two worker processes share, on this machine."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from devices import WITHOUT_GPUS
from processes import output_of, outputs_of, wait_for
from wording import says

from end_to_end.commands import ROOT, run, run_unreported
from tfprune import layout
from tfprune.files import load_arrays
from tfprune.store import read_results

COMMAND = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0", "--momentum=0.9",
    "--rewind_to=1ep", "--branch_levels=1", "--surface_points=0", "--jit=off", "--alpha_step=0.5",
    "--line_points=3", "--directions=1",
)  # fmt: skip


def free_ports(count):
    with_sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def start(folder, ports, index, *flags):
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *COMMAND, "--strategy=multi_worker",
         f"--output_dir={folder}", *flags],
        env={**os.environ, **WITHOUT_GPUS, "TF_CONFIG": json.dumps(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    together, alone = (tmp_path_factory.mktemp(name) for name in ("together", "alone"))
    ports = free_ports(2)
    processes = [start(together, ports, index) for index in (0, 1)]
    texts = outputs_of(processes)
    assert [process.returncode for process in processes] == [0, 0], texts
    assert "3 stages trained" in texts[0][0]
    assert run_unreported(*COMMAND, "--strategy=cpu", f"--output_dir={alone}").returncode == 0
    return together, alone


def test_two_workers_end_where_one_process_ends(folders):
    together, alone = folders
    ends = sorted(path.relative_to(alone) for path in alone.rglob(layout.END))
    assert len(ends) == 3
    for end in ends:
        got, want = load_arrays(together / end), load_arrays(alone / end)
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, atol=1e-6, err_msg=f"{end} {name}")


def test_masks_branches_and_measurements_are_there_once(folders):
    together, alone = (read_results(folder) for folder in folders)
    keys = ["trial", "seed", "branch", "level", "sparsity", "train_epochs"]
    assert together[keys].equals(alone[keys])
    for column in ("test_accuracy_last", "train_loss", "distance_from_init", "sharpness"):
        np.testing.assert_allclose(together[column], alone[column], rtol=1e-4, atol=1e-5)


def test_a_worker_without_tf_config_is_told_what_to_set(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    process = run(*COMMAND, "--strategy=multi_worker")
    assert process.returncode == 2
    assert process.stderr.startswith("tfprune: error: --strategy=multi_worker: it needs TF_CONFIG")
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_process_that_is_lost_in_training_is_one_line_in_the_other(tmp_path):
    ports = free_ports(2)
    processes = [start(tmp_path, ports, index, "--train_epochs=3000") for index in (0, 1)]
    wait_for(processes[0], tmp_path, "trials/*/seed_0/level_00/start.npz")
    processes[1].kill()
    processes[1].communicate()
    _, text = output_of(processes[0])
    assert processes[0].returncode == 1
    (line,) = text.splitlines()
    assert says(line, "tfprune: worker 1", str(ports[1]), "is gone")


def test_a_process_whose_peer_does_not_come_says_so_and_heeds_a_signal(tmp_path):
    process = start(tmp_path, free_ports(2), 1, "--peer_seconds=100")
    line = process.stderr.readline()
    process.terminate()
    _, rest = output_of(process)
    assert process.returncode == 143
    assert says(line, "worker 1 waits for worker 0", "100 seconds at most")
    assert says(rest, "ended by SIGTERM")
    assert len(rest.splitlines()) == 1
    assert not list(tmp_path.iterdir())
