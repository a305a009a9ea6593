"""Which GPUs a process takes, and that it leaves memory of theirs to others."""

import json
import os
import platform

import pytest

from tfprune.backend import tf
from tfprune.config import from_settings
from tfprune.errors import SettingError
from tfprune.training import runtime

GPUS = ["GPU:0", "GPU:1", "GPU:2"]
SHARED = {"worker": ["a:1", "a:2", "b:1"]}


def own(gpus=GPUS, worker=0, variables=(), **settings):
    return runtime.gpus_of(from_settings(settings), gpus, worker, dict(variables))


def task(monkeypatch, index):
    cluster = {"cluster": SHARED, "task": {"type": "worker", "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [
        ({}, GPUS),
        ({"strategy": "mirrored"}, GPUS),
        ({"executor": "ray", "ray_gpus": 0.5}, GPUS),  # Ray has hidden the others.
        ({"strategy": "cpu"}, []),
        ({"strategy": "cpu", "workers": 4}, []),
        ({"workers": 4}, ["GPU:1"]),
    ],
)
def test_trainings_of_one_process_take_all_it_sees_and_workers_take_turns(settings, gpus):
    assert own(worker=4, **settings) == gpus
    assert own(gpus=[], worker=4, **settings) == []


def test_processes_of_one_training_take_as_many_each_and_none_twice(monkeypatch):
    found = []
    for index in range(3):
        task(monkeypatch, index)
        found.append(own(strategy="multi_worker"))
        dealt = {"CUDA_VISIBLE_DEVICES": "1"}
        assert own(["GPU:0"], variables=dealt, strategy="multi_worker") == ["GPU:0"]
    assert found == [["GPU:0"], ["GPU:1"], GPUS]  # The third has a machine for itself.


def test_two_processes_of_one_training_cannot_share_a_card(monkeypatch):
    task(monkeypatch, 0)
    with pytest.raises(SettingError, match=r"2 on this one, which has 1; CUDA_VISIBLE_DEVICES="):
        own(["GPU:0"], strategy="multi_worker")
    assert own([], strategy="multi_worker") == []


@pytest.fixture
def machine(monkeypatch):
    """One of two GPUs, as far as configuring goes; says what was called, in order."""
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    called = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda own, kind: called.append(("see", own))
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "set_memory_growth",
        lambda gpu, grows: called.append(("grow", gpu, grows)),
    )
    return gpus, called


def test_what_a_process_sees_it_does_not_fill(machine):
    (first, second), called = machine
    runtime.configure(from_settings({"workers": 2, "deterministic": False}), worker=1)
    assert called == [("see", [second]), ("grow", second, True)]
    called.clear()
    runtime.configure(from_settings({"deterministic": False}))
    assert called == [("grow", first, True), ("grow", second, True)]
    called.clear()
    runtime.configure(from_settings({"strategy": "cpu", "deterministic": False}))
    assert called == [("see", [])]


@pytest.mark.parametrize(("gpus", "implementation"), [([], "AUTO"), (["GPU:0"], "NCCL")])
def test_processes_with_gpus_exchange_by_nccl(monkeypatch, gpus, implementation):
    made = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.distribute,
        "MultiWorkerMirroredStrategy",
        lambda communication_options: made.append(communication_options),
    )
    runtime.strategies._multi_worker_strategy()
    assert made[0].implementation.value == implementation


@pytest.mark.parametrize(("cores", "words"), [(1, "1 core"), (64, "64 cores")])
def test_a_processor_is_named_with_the_cores_that_convolutions_bits_depend_on(
    monkeypatch, cores, words
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    config = from_settings({"strategy": "cpu"})
    assert runtime.device_description(config) == f"CPU {platform.machine()}, {words}"
