"""Runs of one experiment with other settings share a folder: no row of either is lost."""

from __future__ import annotations

import pytest

from tfprune.config import from_settings
from tfprune.engine.work import Columns, write_rows
from tfprune.files import write_sealed, write_text_atomic
from tfprune.store import read_results
from tfprune.studies import (
    examples,
    filter_trainings,
    flatness,
    landscapes,
    leave_out,
    small,
    surfaces,
    utility,
)
from tfprune.studies.forgetting import keep_rows_before
from tfprune.studies.settings import (
    FilterConfig,
    FlatnessConfig,
    LandscapeConfig,
    LeaveOutConfig,
    NoiseConfig,
    ScoresConfig,
    SurfaceConfig,
    UtilityConfig,
)
from tfprune.studies.trial import Trial

FEW, MANY = FilterConfig(prune_fractions=(0.3,)), FilterConfig(prune_fractions=(0.3, 0.9))
NOISE = filter_trainings.Noise("zeroing", 5, False)


def beside(trial, branch):
    return filter_trainings._stage(trial, branch)


def left_out(trial, options):
    branch = leave_out.leave_out(trial.config, "tie", options)
    return trial.branch_stage("tie", 1, branch.variant)


# What the settings of a run name: the stage that is trained, by its two settings.
TRAINED = {
    "prune_fractions": lambda trial: [
        beside(
            trial,
            filter_trainings.pruned(trial.config, filter_trainings.Pruning("largest", 4), options),
        )
        for options in (FEW, MANY)
    ],
    "noise_period": lambda trial: [
        beside(trial, filter_trainings.noisy(trial.config, NOISE, FEW, NoiseConfig(noise_period=n)))
        for n in (4, 8)
    ],
    "improved_fraction": lambda trial: [
        left_out(trial, LeaveOutConfig(improved_fraction=part)) for part in (0.2, 0.5)
    ],
    "sizes": lambda trial: [small.size_stage(trial, size, 1) for size in (0.5, 0.25)],
}
# What is measured at the end of one stage.
MEASURED = {
    "eigenvalues": [flatness.flatness(FlatnessConfig(eigenvalues=n)) for n in (30, 100)],
    "alpha_step": [landscapes.interpolation(LandscapeConfig(alpha_step=n)) for n in (0.1, 0.05)],
    "line_points": [landscapes.line(LandscapeConfig(line_points=n)) for n in (3, 5)],
    "surface_points": [landscapes.surface(LandscapeConfig(surface_points=n)) for n in (3, 5)],
    "plane_points": [surfaces.plane(SurfaceConfig(plane_points=n)) for n in (5, 7)],
    "ablation_subsets": [
        utility.utility("ratio", UtilityConfig(ablation_subsets=n)) for n in (5, 9)
    ],
    "el2n_models": [examples._el2n_scores(ScoresConfig(el2n_models=n)) for n in (2, 3)],
    "gallery_examples": [examples.gallery(ScoresConfig(gallery_examples=n), (0,)) for n in (2, 3)],
}


@pytest.fixture
def trial(tmp_path):
    values = {"output_dir": str(tmp_path), "criterion": "filter_l2", "levels": 1}
    return Trial(from_settings(values, experiment="test"), 0)


def finish(stage, value):
    if not (stage.folder / "result.json").exists():
        stage.folder.mkdir(parents=True, exist_ok=True)
        stage.finish({"test_accuracy_last": value, "train_epochs": 3})


def measure(measurement, stage, value):
    table = measurement.table(stage)
    write_text_atomic(table, "x\n")
    about = {measurement.name: f"{stage.relative}/{table.name}", "found": value}
    write_sealed(measurement.file(stage, "json"), about, [table])


def run(trial, stage, measurements=()):
    """What a study does to results.csv."""
    kept = keep_rows_before([(trial, stage)])
    write_rows(trial, [stage], Columns({}, ()))
    for measurement in measurements:
        write_rows(trial, [stage], Columns({}, ()), [measurement])
    return kept


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({}, {"model": "lenet_300_100"}),
        ({"width": 0.5}, {"model": "lenet_300_100", "width": 0.5}),
        ({"train_subset": "100"}, {"model": "lenet_300_100", "train_subset": "100"}),
    ],
)
def test_a_row_says_which_part_of_the_network_and_of_the_data_it_is_of(tmp_path, changes, columns):
    config = from_settings({"output_dir": str(tmp_path), "levels": 0, **changes})
    assert Columns({}, ("model",)).of(Trial(config, 0)) == columns


@pytest.mark.parametrize("setting", TRAINED)
def test_rows_of_trainings_with_other_settings_stay(trial, setting):
    first, second = TRAINED[setting](trial)
    assert first.name != second.name
    for stage, value in ((first, 0.25), (second, 0.5)):
        finish(stage, value)
    kept = [run(trial, stage) for stage in (first, second, second, first, second)]
    assert kept == [0, 1, 0, 1, 1]
    assert read_results(trial.output_dir)["test_accuracy_last"].tolist() == [0.5]
    rows = read_results(trial.output_dir, every_variant=True)
    assert sorted(rows["test_accuracy_last"]) == [0.25, 0.5]
    assert set(rows["stage"]) == {first.relative, second.relative}
    assert rows["variant"].nunique() == 2


@pytest.mark.parametrize("setting", MEASURED)
def test_rows_of_measurements_with_other_settings_stay_and_say_them(trial, setting):
    stage = trial.stage(0)
    finish(stage, 0.75)
    for measurement, value in zip(MEASURED[setting], (0.25, 0.5), strict=True):
        measure(measurement, stage, value)
    one, other = MEASURED[setting]
    for measurement in (one, other, other, one, other):
        run(trial, stage, [measurement])
    assert read_results(trial.output_dir)["found"].tolist() == [0.5]
    rows = read_results(trial.output_dir, every_variant=True)
    assert sorted(rows["found"]) == [0.25, 0.5]
    assert rows["test_accuracy_last"].tolist() == [0.75, 0.75]
    differ = [name for name, value in one.columns.items() if value != other.columns[name]]
    for name in differ:
        assert rows.set_index("found")[name].to_dict() == {
            0.25: one.columns[name],
            0.5: other.columns[name],
        }
