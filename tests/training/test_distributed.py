"""Trainings shared by devices and by processes end where those of one device end.

Two devices, and each of two workers, have a process of their own, because TensorFlow's devices are
chosen before it starts.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from devices import WITHOUT_GPUS
from processes import outputs_of
from training import distributed_runs

from tfprune import __main__ as door
from tfprune.backend import keras
from tfprune.catalog import MODELS
from tfprune.config import from_settings
from tfprune.errors import SettingError, Stopped
from tfprune.training import cluster, strategies
from tfprune.training.callbacks.chief import StopWithChief

ROOT = Path(door.__file__).parents[1]
RUNS = Path(__file__).with_name("distributed_runs.py")


def start(*arguments, **environment):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, str(RUNS), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **WITHOUT_GPUS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    """Waits for all; one that fails is shown, and no process is left behind."""
    texts = outputs_of(processes)
    for process, (text, _) in zip(processes, texts, strict=True):
        assert process.returncode == 0, text[-4000:]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """What the trainings on two CPU devices found."""
    out = tmp_path_factory.mktemp("mirrored") / "found.json"
    finish([start("mirrored", out)])
    return json.loads(out.read_text())


@pytest.mark.parametrize("case", ["convolutions", "few"])
def test_two_devices_train_as_one_does(mirrored, case):
    """Coupled L2, masks, flips and shifts, a learning-rate drop, an odd last batch.

    `convolutions` has Nesterov's momentum, and batch norm, whose statistics are those of the global
    batch also where its halves are 7 and 6 examples; `few` has Adam and a last batch of one
    example. Momentum alone is in the tests of single epochs, below.
    """
    found = mirrored[case]
    assert found["epochs"] == 3
    assert found["moved"] > 0.01
    assert found["weights"] < 1e-9
    assert found["metrics"] < 1e-5  # Metrics are float32.


def test_two_devices_train_as_one_does_in_float32(mirrored):
    """Where one device's batch norm is the fused kernel, with an unbiased moving variance."""
    assert mirrored["float32"]["weights"] < 1e-4
    assert mirrored["float32"]["metrics"] < 1e-4


def test_pruned_weights_are_zero_on_all_replicas_and_replicas_agree(mirrored):
    assert mirrored["convolutions"]["replicas"] == {"pruned": 0.0, "apart": 0.0, "copies": 2}


def test_rewinding_to_the_middle_of_an_epoch_is_that_of_one_device(mirrored):
    found = mirrored["rewinding"]
    assert found["middle"] < 1e-9
    assert found["weights"] < 1e-9
    assert found["epochs"] == 2


def test_a_checkpoint_of_two_devices_goes_on_on_one(mirrored):
    found = mirrored["checkpoint"]
    assert found["epochs"] == 3
    assert found["weights"] < 1e-9


@pytest.mark.parametrize("rest", ["rest of 1", "rest of 3"])
def test_streamed_data_train_as_on_one_device(mirrored, rest):
    assert mirrored["streaming"][rest]["weights"] < 1e-12
    assert mirrored["streaming"][rest]["metrics"] < 1e-5


def test_a_split_larger_than_all_replicas_take_at_once_is_measured_whole(mirrored):
    assert mirrored["large"]["metrics"] < 1e-5


def test_where_batches_must_be_full_the_rest_is_left_out_and_said_once(mirrored):
    found = mirrored["dropping"]
    assert found["weights"] < 1e-12
    (said,) = found["said"]
    assert "last 2 of the 10 training examples" in said
    assert found["refused"].startswith("batch_size=16: at most 10")


def test_the_device_is_described_with_its_replicas(mirrored):
    assert mirrored["device"].startswith("2 x ")


def test_what_comes_too_late_is_said(mirrored):
    split, workers = mirrored["too late"]
    assert "before TensorFlow does anything" in split
    assert "runtime.configure" in workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The folder where two worker processes, then this one, left what they ended with."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    tasks = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    finish(
        [
            start("worker", folder / f"{index}.npz", TF_CONFIG=json.dumps(task))
            for index, task in enumerate(tasks)
        ]
    )
    keras.utils.set_random_seed(0)
    with mock.patch.dict(MODELS._entries):
        distributed_runs.add_model()
        distributed_runs.shared("cpu", folder / "one.npz")
    return folder


def free_ports(count):
    """Ports that nobody listens on, distinct because all are held until all are known."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def facts_of(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
def test_two_processes_train_as_one_does(workers):
    """Interrupted after an epoch and taken up again, from the chief's plan and checkpoint."""
    one, chief, other = (np.load(workers / f"{name}.npz") for name in ("one", "0", "1"))
    for name in one:
        np.testing.assert_allclose(chief[name], one[name], rtol=0, atol=1e-9, err_msg=name)
        np.testing.assert_array_equal(other[name], chief[name], err_msg=name)


@pytest.mark.slow
def test_two_processes_measure_as_one_does(workers):
    one, chief, other = (facts_of(workers, name) for name in ("one", "0", "1"))
    for each in (chief, other):
        assert [row["epoch"] for row in each["rows"]] == [1, 2, 3]
        for row, alone in zip(each["rows"], one["rows"], strict=True):
            assert row["test_loss"] == pytest.approx(alone["test_loss"], rel=1e-5)
            for name in ("train_accuracy", "running_train_accuracy", "loss"):
                assert row[name] == pytest.approx(alone[name], rel=1e-5), name
        assert each["evaluated"] == pytest.approx(one["rows"][-1]["test_loss"], rel=1e-5)


@pytest.mark.slow
def test_only_the_chief_writes(workers):
    chief, other = facts_of(workers, "0"), facts_of(workers, "1")
    assert "metrics.csv" in chief["files"]
    assert any("checkpoint" in name for name in chief["files"])
    assert other["files"] == []


@pytest.mark.slow
def test_every_process_is_told_what_the_chief_says(workers):
    assert facts_of(workers, "0")["told"] == {"from": 0, "x": [None]}
    assert facts_of(workers, "1")["told"] == {"from": 0, "x": [None]}
    assert facts_of(workers, "0")["device"].startswith("2 x ")


def test_other_processes_stop_where_the_chief_does_except_after_the_last_epoch():
    callback = StopWithChief(lambda: 15)
    callback.set_params({"epochs": 3})
    with pytest.raises(Stopped) as stopped:
        callback.on_epoch_end(1)
    assert stopped.value.signum == 15
    callback.on_epoch_end(2)


def tf_config(cluster_of, kind, index):
    return {
        "TF_CONFIG": json.dumps({"cluster": cluster_of, "task": {"type": kind, "index": index}})
    }


WORKERS = {"worker": ["a:1", "b:1"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1"]}


@pytest.mark.parametrize(
    ("environment", "worker"),
    [
        (tf_config(WORKERS, "worker", 0), cluster.Worker("worker", 0, 2, is_chief=True)),
        (tf_config(WORKERS, "worker", 1), cluster.Worker("worker", 1, 2, is_chief=False)),
        (tf_config(WITH_CHIEF, "chief", 0), cluster.Worker("chief", 0, 2, is_chief=True)),
        (tf_config(WITH_CHIEF, "worker", 0), cluster.Worker("worker", 0, 2, is_chief=False)),
    ],
)
def test_the_chief_is_the_task_named_so_or_the_first_worker(environment, worker):
    assert cluster.from_environment(environment) == worker


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "it needs TF_CONFIG"),
        ({"TF_CONFIG": "{"}, "it needs TF_CONFIG"),
        ({"TF_CONFIG": "[]"}, "it needs TF_CONFIG"),
        (tf_config(WORKERS, "ps", 0), "task ps 0 is not in the cluster"),
        (tf_config(WORKERS, "worker", 2), "task worker 2 is not in the cluster"),
        ({"TF_CONFIG": "[" * 100_000}, "it needs TF_CONFIG"),
        ({"TF_CONFIG": '{"cluster": ["a:1"], "task": {}}'}, "it needs TF_CONFIG"),
        (tf_config(WORKERS, "worker", "one"), "it needs TF_CONFIG"),
        (tf_config(WORKERS, ["worker"], 0), "it needs TF_CONFIG"),
        (tf_config({"worker": [1]}, "worker", 0), "list of HOST:PORT; 1 of worker"),
        (tf_config({"worker": "a:1"}, "worker", 0), "list of HOST:PORT; worker is 'a:1'"),
        (tf_config({"worker": {"0": "a:1"}}, "worker", 0), "list of HOST:PORT; worker is"),
        (tf_config({"worker": ["a", "b"]}, "worker", 0), "list of HOST:PORT; 'a' of worker"),
        (tf_config({"worker": ["a:x"]}, "worker", 0), "list of HOST:PORT; 'a:x' of worker"),
        (tf_config({"worker": ["a:99999"]}, "worker", 0), "list of HOST:PORT; 'a:99999' of worker"),
        (tf_config({"worker": ["a:1", "a:1"]}, "worker", 0), "'a:1' of worker stands twice"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(environment, message):
    with pytest.raises(SettingError, match=message):
        cluster.from_environment(environment)


def test_processes_of_one_machine_are_counted_by_its_address():
    cluster_of = {"chief": ["[::1]:1"], "worker": ["b:1", "[::1]:2", "b:2", "b:3"]}
    tasks = [("chief", 0), *(("worker", index) for index in range(4))]
    workers = [cluster.from_environment(tf_config(cluster_of, *task)) for task in tasks]
    assert [(w.place, w.num_neighbours) for w in workers] == [
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_a_process_alone_is_its_own_chief():
    alone = strategies.Distribution()
    assert alone.is_chief
    assert alone.num_replicas == 1
    assert alone.from_chief([1, "a"]) == [1, "a"]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"strategy": "mirrored", "jit": "on"}, "jit"),
        ({"strategy": "multi_worker", "jit": "on"}, "jit"),
        ({"strategy": "cpu", "tpu": "slice"}, "tpu"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, name):
    with pytest.raises(SettingError) as error:
        from_settings(settings)
    assert error.value.name == name


def test_a_tpu_that_is_not_there_is_said_in_a_line():
    with pytest.raises(SettingError, match="this machine has no TPU") as error:
        strategies.distribution_of(from_settings({"strategy": "tpu"}))
    assert "\n" not in str(error.value)
