"""Folders of other code or with edited settings are told from those that can be reused."""

import dataclasses
import json
import re

import pytest

from tfprune import layout
from tfprune.config import from_settings
from tfprune.engine.folders import (
    check_folders,
    set_aside_configs,
    without_config,
    write_config,
)
from tfprune.errors import InputError
from tfprune.studies.trial import Trial
from tfprune.versions import versions

OLD = {**versions(), "numpy": "1.0"}


def trial_of(folder, **values):
    return Trial(from_settings({"output_dir": str(folder), **values}), 0)


def write(trial, versions_there):
    for level in (0, 1):
        write_config(trial.stage(level), trial.config, {"versions": versions_there})


def path_of(trial, level):
    return trial.stage(level).folder.parent / layout.CONFIG


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_this_code_has_written_is_reused(tmp_path):
    trial = trial_of(tmp_path)
    check_folders([trial])
    write(trial, versions())
    check_folders([trial, trial_of(tmp_path, levels=7, seeds=(0, 1), checkpoint_seconds=3.0)])


def test_other_code_is_refused_unless_asked_for_and_nothing_is_written(tmp_path):
    trial = trial_of(tmp_path)
    write(trial, OLD)
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=r"numpy 1\.0, now .*another `output_dir`.*`mix_versions`"):
        check_folders([trial])
    assert snapshot(tmp_path) == before
    check_folders([trial_of(tmp_path, mix_versions=True)])


def test_another_python_is_not_other_code(tmp_path):
    trial = trial_of(tmp_path)
    write(trial, {**versions(), "python": "3.10.0"})
    check_folders([trial])


def test_a_mixed_folder_stays_known_as_one(tmp_path):
    """Otherwise the last stage's versions would hide those of the others."""
    trial = trial_of(tmp_path)
    write(trial, OLD)
    write(trial, versions())
    write(trial, versions())
    with pytest.raises(InputError, match=r"numpy 1\.0"):
        check_folders([trial])
    check_folders([trial_of(tmp_path, mix_versions=True)])


@pytest.mark.parametrize(
    ("level", "section", "name", "value"),
    [
        (0, "training", "learning_rate", 0.5),
        (0, "data", "noise_fraction", 0.9),
        (1, "pruning", "prune_fraction", 0.5),
        (1, "model", "width", 3.0),
        (0, None, "deterministic", False),
    ],
)
def test_an_edited_setting_is_named_with_both_values(tmp_path, level, section, name, value):
    trial = trial_of(tmp_path, label_noise="symmetric", noise_fraction=0.2)
    write(trial, versions())
    path = path_of(trial, level)
    about = json.loads(path.read_text())
    place = about["config"][section] if section else about["config"]
    real, place[name] = place[name], value
    path.write_text(json.dumps(about))
    with pytest.raises(InputError) as error:
        check_folders([trial])
    text = str(error.value)
    assert f"its {name} is {value!r}, but its folder is of {real!r}" in text
    assert "\n" not in text
    mixing = dataclasses.replace(trial.config, mix_versions=True)
    with pytest.raises(InputError, match="was edited"):
        check_folders([dataclasses.replace(trial, config=mixing)])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"config": {}}',
        '{"config": 3, "versions": {}}',
        "\0\0\0",
        pytest.param("[" * 100_000, id="deep"),
        pytest.param('{"a":' * 100_000, id="deep objects"),
    ],
)
def test_a_damaged_config_is_set_aside_with_a_sentence(tmp_path, content):
    trial = trial_of(tmp_path)
    write(trial, versions())
    path_of(trial, 1).write_text(content)
    check_folders([trial])
    (sentence,) = set_aside_configs([trial])
    assert re.search(
        r"config\.json was damaged and is set aside as config\.json\.damaged", sentence
    )
    assert not path_of(trial, 1).exists()
    assert path_of(trial, 0).exists()
    assert list(set_aside_configs([trial])) == []


@pytest.mark.parametrize(
    ("part", "value"),
    [("versions", {"code": 3}), ("argv", 3), ("device", [1])]
    + [("mixed_with", value) for value in (3, "x", [3], {"a": 1}, [{"code": 3}])],
)
def test_parts_of_a_config_that_are_something_else_are_damage(tmp_path, part, value):
    trial = trial_of(tmp_path)
    write(trial, versions())
    about = json.loads(path_of(trial, 1).read_text())
    path_of(trial, 1).write_text(json.dumps({**about, part: value}))
    check_folders([trial])
    assert len(list(set_aside_configs([trial]))) == 1


def test_only_finished_stages_are_told_to_lack_their_config(tmp_path):
    trial = trial_of(tmp_path, levels=2)
    trial.stage(0).finish({})
    trial.stage(2).finish({})
    assert {(path, stage.level) for path, (_, stage) in without_config([trial]).items()} == {
        (path_of(trial, 0), 0),
        (path_of(trial, 1), 2),
    }
    write(trial, versions())
    assert without_config([trial]) == {}
