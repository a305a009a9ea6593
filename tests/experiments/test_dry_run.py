"""--dry_run: every preset of every experiment, and nothing is written, trained or imported."""

import dataclasses
import subprocess
import sys

import pytest
from wording import says

from tfprune import layout
from tfprune.__main__ import dispatch
from tfprune.engine import forecast
from tfprune.experiments import cli
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.experiments.sparse_double_descent import EXPERIMENT
from tfprune.files import write_json
from tfprune.studies.trial import Trial
from tfprune.versions import versions


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(forecast, "devices_of", lambda config: (0, 2))


def said(capsys, *words):
    assert dispatch([*words, "--dry_run"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_preset_says_its_stages_operations_time_and_disk(experiment, capsys, tmp_path):
    folder = tmp_path / "runs"
    for preset in EXPERIMENTS[experiment].presets:
        lines = said(capsys, experiment, f"--preset={preset}", f"--output_dir={folder}")
        assert lines[0].split()[:2] == ["trial", "trained"]
        assert [line.split()[0] for line in lines[-4:]] == ["stages", "operations", "time", "disk"]
        assert " to train" in lines[-4]
        assert "2 CPU cores" in lines[-2]
        assert str(folder) in lines[-1]
    assert not folder.exists()


def test_a_row_is_a_trial_with_what_is_trained_of_it(capsys, tmp_path):
    lines = said(capsys, "redense", "--branch_levels=0,3", f"--output_dir={tmp_path}")
    rows = [line.split("  ") for line in lines[1:3]]
    names = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[:5] for row in names] == [
        ["40% symmetric noise, magnitude pruning", "levels", "54", "0", "5,400"],
        ["40% symmetric noise, magnitude pruning", "redense_lr0.05", "6", "0", "600"],
    ]
    assert (
        "60, 0 of them there: 60 to train, 6,000 epochs; measurements: 6 interpolation, 9 line"
        in (lines[-4])
    )


def test_settings_without_effect_and_stacks_that_were_not_measured_are_said(capsys, tmp_path):
    words = ("--train_epochs=40", "--stack=2", f"--output_dir={tmp_path}")
    lines = said(capsys, "sparse_double_descent", *words)
    assert lines[0].startswith(
        "--lr_drop_epochs=60,80: no drop at 60,80: training ends with --train"
    )
    assert lines[-2].endswith("what --stack=2 gains is not in it")


def test_many_rows_are_counted(capsys, tmp_path):
    words = ("--preset=paper_lenet_mnist", f"--output_dir={tmp_path}")
    lines = said(capsys, "width_scaling", *words)
    assert len(lines) == 1 + 60 + 1 + 1 + 4
    assert lines[61] == "and 120 more rows"


def test_what_is_there_leaves_nothing_to_do(capsys, tmp_path):
    words = ("sparse_double_descent", "--preset=smoke", f"--output_dir={tmp_path}")
    for config in cli.parse(EXPERIMENT, words[1:]).configs:
        for stage in (stage for seed in config.seeds for stage in Trial(config, seed).stages()):
            stage.folder.mkdir(parents=True)
            stage.finish({})
    lines = said(capsys, *words)
    assert lines[-4:] == [
        "stages      3, 3 of them there: 0 to train, 0 epochs",
        "operations  none",
        "time        none for training",
        f"disk        about 0 bytes more in {tmp_path}",
    ]


def test_data_that_cannot_be_read_are_refused_in_a_line(capsys, tmp_path):
    words = [f"--dataset=npz:{tmp_path}/x.npz", "--dry_run", f"--output_dir={tmp_path}/runs"]
    assert cli.exit_code(lambda: dispatch(words)) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert says(line, f"--dataset=npz:{tmp_path}/x.npz", "no file")
    assert printed.out == ""


def of_other_code(folder):
    (config,) = cli.parse(EXPERIMENT, ["--preset=smoke", f"--output_dir={folder}"]).configs
    about = {"config": dataclasses.asdict(config), "versions": versions() | {"code": "0" * 12}}
    write_json(Trial(config, 0).stage(0).folder.parent / layout.CONFIG, about)


@pytest.mark.parametrize(
    ("prepare", "facts"),
    [
        (lambda folder: folder.touch(), ["is a file, and must be a folder: move it away"]),
        (
            lambda folder: (folder / "results.csv").mkdir(parents=True),
            ["results.csv is a folder, and must be a file"],
        ),
        (of_other_code, ["code 000000000000, now", "--mix_versions"]),
    ],
)
def test_a_folder_that_a_run_refuses_is_refused_in_the_same_line(capsys, tmp_path, prepare, facts):
    prepare(tmp_path / "out")
    words = ["sparse_double_descent", "--preset=smoke", f"--output_dir={tmp_path}/out", "--dry_run"]
    assert cli.exit_code(lambda: dispatch(words)) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert says(line, "tfprune: error:", f"{tmp_path}/out", *facts)
    assert printed.out == ""


def test_it_imports_no_tensorflow():
    code = """if True:
        import sys
        from tfprune.__main__ import dispatch
        dispatch(["redense", "--preset=paper_mnist", "--dry_run"])
        assert not {"tensorflow", "tf_keras"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
