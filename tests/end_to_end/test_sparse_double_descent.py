"""The main command from flags to report, through the real run.py."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from end_to_end.commands import read_rows, run, run_process, run_unreported
from tfprune import layout

SMOKE = ("sparse_double_descent", "--preset=smoke")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run_process(*SMOKE, f"--output_dir={folder}")


def test_the_smoke_preset_ends_with_every_promised_file(finished):
    folder, process = finished
    assert process.returncode == 0, process.stderr
    rows = read_rows(folder)
    assert [int(row["level"]) for row in rows] == [0, 1, 2]
    assert list(rows[0])[: len(layout.RESULT_COLUMNS)] == list(layout.RESULT_COLUMNS)
    assert list((folder / layout.FIGURES).glob("*.png"))
    assert (folder / layout.REPORT).read_text().startswith("<!doctype html>")
    assert list((folder / layout.TENSORBOARD).rglob("events.out.tfevents.*"))


def test_it_prints_the_table_and_where_everything_is(finished):
    folder, process = finished
    assert "last test" in process.stdout
    assert f"-m tensorboard.main --logdir {folder}/{layout.OVERVIEW}" in process.stdout
    assert f"{folder}/report.html" in process.stdout
    assert "3 stages trained, 0 reused" in process.stdout


def test_standard_error_holds_progress_and_nothing_of_tensorflow(finished):
    _, process = finished
    lines = process.stderr.splitlines()
    assert len(lines) == 3
    trial = "40% symmetric noise, magnitude pruning"
    assert all(line.startswith(f"{trial}, seed 0, level") for line in lines)


def test_every_trial_says_what_it_was(finished):
    folder, _ = finished
    for path in (folder / layout.TRIALS).rglob(layout.CONFIG):
        about = json.loads(path.read_text())
        assert about["config"]["training"]["batch_size"] == 128  # A default, written all the same.
        assert about["argv"][0] == "--preset=smoke"
        assert {"tensorflow", "tf_keras", "numpy"} <= set(about["versions"])
        assert about["device"]
        assert "--xla_gpu_enable_command_buffer=+WHILE" in about["xla_flags"]


def test_a_second_run_trains_nothing_and_imports_no_tensorflow(finished):
    folder, _ = finished
    before = (folder / layout.RESULTS).read_bytes()
    process = run_process(
        *SMOKE, f"--output_dir={folder}", TF_CPP_MIN_LOG_LEVEL="0", PYTHONPROFILEIMPORTTIME="1"
    )
    assert process.returncode == 0
    assert "0 stages trained, 3 reused" in process.stdout
    assert "| tensorflow\n" not in process.stderr
    assert (folder / layout.RESULTS).read_bytes() == before


def test_the_report_is_rebuilt_from_text_files_alone(finished, tmp_path):
    folder, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for weights in copy.rglob("*.npz"):
        weights.unlink()
    for made in (layout.FIGURES, layout.TABLES):
        shutil.rmtree(copy / made)
    (copy / layout.REPORT).unlink()
    process = run("report", f"--output_dir={copy}")
    assert process.returncode == 0, process.stderr
    for made in (layout.FIGURES, layout.TABLES):
        names = sorted(path.name for path in (folder / made).iterdir())
        assert names == sorted(path.name for path in (copy / made).iterdir())
        for name in names:
            assert (copy / made / name).read_bytes() == (folder / made / name).read_bytes()


def test_one_value_changed_reuses_the_dense_training(finished, tmp_path):
    folder, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    process = run_unreported(*SMOKE, "--criterion=random", f"--output_dir={copy}")
    assert process.returncode == 0, process.stderr
    assert "2 stages trained, 1 reused" in process.stdout
    assert {row["criterion"] for row in read_rows(copy)} == {"magnitude", "random"}


def refused(process, *parts):
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert all(part in process.stderr for part in parts), process.stderr


def test_more_levels_than_weights(tmp_path):
    folder = tmp_path / "out"
    refused(run(*SMOKE, "--levels=200", f"--output_dir={folder}"), "--levels=200", "at most")
    assert not folder.exists()


def test_an_output_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "out"
    refused(run(*SMOKE, f"--output_dir={folder}"), f"--output_dir={folder}")


def test_a_dataset_that_is_not_there(tmp_path):
    process = run(
        *SMOKE, "--dataset=mnist", f"--data_dir={tmp_path}", f"--output_dir={tmp_path / 'out'}"
    )
    if process.returncode == 0:
        pytest.skip("the network let TFDS download MNIST")
    refused(process, "--dataset=mnist", str(tmp_path), "TFDS_DATA_DIR")


def test_a_dataset_that_does_not_exist(tmp_path):
    process = run(*SMOKE, "--dataset=cifar11", f"--output_dir={tmp_path / 'out'}")
    refused(process, "--dataset=cifar11", "cifar10")


def test_an_npz_with_the_wrong_keys(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, images=np.zeros((3, 4, 4), np.uint8))
    process = run(*SMOKE, f"--dataset=npz:{path}", f"--output_dir={tmp_path / 'out'}")
    refused(process, f"--dataset=npz:{path}", "train_images")


def test_keras_3_imported_first_is_one_clear_sentence(tmp_path):
    code = (
        "import gc; gc.disable()\nimport keras, sys, run\n"
        f"sys.argv[1:] = ['--preset=smoke', '--output_dir={tmp_path / 'out'}']\n"
        "sys.exit(run.main())"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    process = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert process.returncode == 2
    assert "Keras 3 was loaded before tfprune" in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


needs_real_data = pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR names no prepared data"
)


def prepared(name):
    return (Path(os.environ["TFDS_DATA_DIR"]) / name).exists()


@needs_real_data
@pytest.mark.slow
def test_a_short_study_on_real_mnist(tmp_path):
    if not prepared("mnist"):
        pytest.skip("MNIST is not prepared")
    command = (
        "sparse_double_descent",
        "--dataset=mnist",
        "--label_noise=symmetric",
        "--noise_fraction=0.2",
        "--levels=2",
        "--train_epochs=3",
        "--seeds=0",
        f"--output_dir={tmp_path}",
    )
    process = run(*command)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path)
    assert len(rows) == 3
    assert all(float(row["test_accuracy_last"]) > 0.9 for row in rows)
    # A fifth of the labels is uniform over ten classes: at most about 82% can be learnt.
    assert all(0.7 < float(row["train_accuracy"]) < 0.85 for row in rows)
    assert "0 stages trained, 3 reused" in run(*command).stdout


@needs_real_data
@pytest.mark.slow
def test_vanilla_cnn_learns_cifar10_within_a_few_epochs(tmp_path):
    if not prepared("cifar10"):
        pytest.skip("CIFAR-10 is not prepared")
    process = run(
        "sparse_double_descent",
        "--dataset=cifar10",
        "--model=vanilla_cnn",
        "--train_subset=5000",
        "--label_noise=none",
        "--noise_fraction=0",
        "--levels=0",
        "--train_epochs=7",
        "--optimizer=adam",
        "--learning_rate=0.002",
        "--batch_size=64",
        "--lr_drop_epochs=",
        "--seeds=0",
        f"--output_dir={tmp_path}",
    )
    assert process.returncode == 0, process.stderr
    assert float(read_rows(tmp_path)[0]["test_accuracy_best"]) > 0.4
