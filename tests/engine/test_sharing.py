"""How many processes and places a study takes."""

import os

import pytest

from tfprune.config import from_settings
from tfprune.engine import sharing


def configs(*seeds, **settings):
    return [from_settings({"seeds": those, **settings}) for those in seeds]


@pytest.fixture
def four_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(sharing, "_GPUS", tmp_path / "gpus")
    return tmp_path / "gpus"


@pytest.mark.parametrize(
    ("workers", "seeds", "processes"),
    [
        ("1", [(0, 1, 2)], 1),
        ("8", [(0,)], 1),  # One trial is one chain of trainings.
        ("100000", [(0, 1), (0, 1)], 4),
        ("auto", [(0, 1, 2)], 3),
        ("auto", [(0, 1, 2), (0, 1, 2)], 4),
    ],
)
def test_there_are_no_more_processes_than_trials(four_cores, workers, seeds, processes):
    assert sharing.processes_of(configs(*seeds, workers=workers)) == processes


def test_workers_of_a_shard_are_those_of_its_trials(four_cores):
    assert sharing.processes_of(configs((0, 1, 2), workers="8", shard="1/2")) == 1


def test_auto_takes_a_process_for_each_gpu_unless_the_cpu_is_asked_for(four_cores):
    for name in "ab":
        (four_cores / name).mkdir(parents=True)
    three = configs((0, 1, 2), workers="auto")
    assert sharing.processes_of(three) == 2
    assert sharing.processes_of(configs((0, 1, 2), workers="auto", strategy="cpu")) == 3


def test_auto_counts_cores_where_the_system_knows_of_no_affinity(four_cores, monkeypatch):
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert sharing.processes_of(configs((0, 1, 2), workers="auto")) == 2


def test_a_training_of_all_devices_is_alone(four_cores):
    assert sharing.processes_of(configs((0, 1), workers="auto", strategy="mirrored")) == 1
    assert sharing.places_of(configs((0, 1), strategy="mirrored")) == 1


def test_what_is_asked_for_is_the_size_of_a_stack_however_few_the_trials(four_cores):
    """It is part of what a number depends on, so it does not follow from how many are left."""
    assert sharing.places_of(configs((0,), stack="8")) == 8
    assert sharing.places_of(configs((0, 1, 2))) == 1
