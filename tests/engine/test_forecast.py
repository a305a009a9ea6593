"""What is left of a study: counted with what is there, timed by what was measured."""

import dataclasses
import json

import pytest

from tfprune import layout
from tfprune.config import from_settings
from tfprune.engine import forecast as module
from tfprune.engine.costs import CPU, GPU, cost_of
from tfprune.engine.forecast import device_of
from tfprune.engine.plan import Plan, Planned, PlannedMeasurement
from tfprune.engine.sharing import devices_of
from tfprune.files import write_sealed
from tfprune.studies.procedure import Measurement, Passes
from tfprune.studies.trial import Trial, trial_name

EPOCHS = 10


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(module, "devices_of", lambda config: (0, 2))


def run(folder, **values):
    defaults = {"levels": 1, "train_epochs": EPOCHS, "seeds": (0, 1), "output_dir": str(folder)}
    return from_settings({**defaults, **values})


def plan_of(*configs, measurement=None):
    """The levels of some runs, all of them measured."""
    stages = [
        (config, stage)
        for config in configs
        for seed in config.seeds
        for stage in Trial(config, seed).stages()
    ]
    measured = [PlannedMeasurement(c, s.relative, measurement) for c, s in stages if measurement]
    return Plan([Planned(c, s.relative, "", EPOCHS) for c, s in stages], measured)


def forecast(plan, configs):
    return module.forecast(plan, configs, device_of(configs[0]))


def finish(stage, config, seconds_per_epoch, stack=1):
    """Leaves a stage as a run does."""
    stage.folder.mkdir(parents=True)
    about = {"config": dataclasses.asdict(config), "stack": stack}
    (stage.folder.parent / layout.CONFIG).write_text(json.dumps(about))
    stage.finish({"wall_seconds": EPOCHS * seconds_per_epoch, "train_epochs": EPOCHS})


def test_without_anything_measured_time_is_that_of_the_device(tmp_path):
    config = run(tmp_path)
    found = forecast(plan_of(config), [config])
    cost = cost_of(config)
    (row,) = found.rows
    assert (row.trial, row.stages, row.there, row.epochs) == (trial_name(config), 4, 0, 40)
    assert found.training == 40 * cost.training
    assert found.evaluation == 40 * cost.evaluation
    assert found.seconds == pytest.approx(40 * CPU.epoch(cost, config))
    assert "2 CPU cores" in found.basis
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_counted_and_its_seconds_are_taken(tmp_path):
    config = run(tmp_path)
    finish(Trial(config, 0).stage(0), config, seconds_per_epoch=7)
    found = forecast(plan_of(config), [config])
    (row,) = found.rows
    assert (row.stages, row.there, row.epochs, found.left) == (4, 1, 30, 3)
    assert found.seconds == pytest.approx(30 * 7)
    assert "output folder" in found.basis
    assert "2 CPU cores" not in found.basis


def test_a_stage_that_is_not_whole_is_to_be_trained(tmp_path):
    config = run(tmp_path)
    stage = Trial(config, 0).stage(0)
    finish(stage, config, seconds_per_epoch=7)
    (stage.folder / layout.RESULT).write_text("{")
    assert forecast(plan_of(config), [config]).left == 4


def test_trainings_of_a_stack_shared_their_time(tmp_path):
    config = run(tmp_path)
    finish(Trial(config, 0).stage(0), config, seconds_per_epoch=8, stack=4)
    assert forecast(plan_of(config), [config]).seconds == pytest.approx(30 * 2)


def test_an_epoch_measured_once_for_trying_counts_for_all_levels(tmp_path):
    tried = run(tmp_path, levels=0, train_epochs=1, seeds=(0,))
    finish(Trial(tried, 0).stage(0), tried, seconds_per_epoch=5)
    config = run(tmp_path)
    assert forecast(plan_of(config), [config]).seconds == pytest.approx(40 * 5)


def test_other_networks_and_damaged_folders_measure_nothing(tmp_path):
    other = run(tmp_path, width=2.0)
    finish(Trial(other, 0).stage(0), other, seconds_per_epoch=5)
    damaged = run(tmp_path, width=3.0)
    finish(Trial(damaged, 0).stage(0), damaged, seconds_per_epoch=5)
    config = run(tmp_path)
    for content in ("{", "[]", '{"config": "x"}', '{"config": {"model": "x"}}'):
        (Trial(damaged, 0).stage(0).folder.parent / layout.CONFIG).write_text(content)
        assert "output folder" not in forecast(plan_of(config), [config]).basis


def test_processes_share_the_work_but_not_the_stages_of_one_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "devices_of", lambda config: (0, 32))
    config = run(tmp_path, workers="8", seeds=(0, 1, 2, 3))
    found = forecast(plan_of(config), [config])
    epoch = CPU.epoch(cost_of(config), config)
    assert found.processes == 4
    assert found.seconds == pytest.approx(2 * EPOCHS * epoch)
    # Two cores are what one process was measured on.
    monkeypatch.setattr(module, "devices_of", lambda config: (0, 2))
    assert forecast(plan_of(config), [config]).seconds == pytest.approx(8 * EPOCHS * epoch)


def test_measurements_count_by_the_passes_they_take(tmp_path):
    config = run(tmp_path, seeds=(0,))
    passes = Passes(train=2, test=3, examples=5)
    measurement = Measurement("line", {"points": 3}, lambda loop, stage, table: {}, passes=passes)
    found = forecast(plan_of(config, measurement=measurement), [config])
    assert found.measurements == {"line": 2}
    assert found.measuring == 2 * (2 * 1_437 + 3 * 360 + 5) * 100_400
    stage = Trial(config, 0).stage(0)
    stage.folder.mkdir(parents=True)
    write_sealed(measurement.file(stage, "json"), {}, [])
    assert forecast(plan_of(config, measurement=measurement), [config]).measurements == {"line": 1}


def test_of_a_tpu_no_time_is_known(tmp_path):
    config = run(tmp_path, strategy="tpu")
    found = forecast(plan_of(config), [config])
    assert found.seconds is None
    assert [row.seconds for row in found.rows] == [None]
    assert found.training > 0


def test_a_gpu_is_taken_where_there_is_one_unless_the_cpu_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "devices_of", devices_of)
    gpus = tmp_path / "gpus"
    (gpus / "0000:01:00.0").mkdir(parents=True)
    monkeypatch.setattr("tfprune.engine.sharing._GPUS", gpus)
    assert device_of(run(tmp_path)) is GPU
    assert device_of(run(tmp_path, strategy="cpu")) is CPU
    assert device_of(run(tmp_path, strategy="tpu")) is None
