"""A run that is interrupted, damaged or out of space says so in one line and goes on from there."""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from processes import children, output_of, wait_for, wait_until

import tfprune
from end_to_end.commands import (
    assert_one_line_error,
    figures_unpainted,
    interrupted,
    run,
    run_process,
    run_unreported,
)
from end_to_end.soak import assert_equal, end_group, soak, start
from tfprune import layout

COMMAND = (
    "redense", "--preset=smoke", "--levels=1", "--train_epochs=30", "--seeds=0", "--momentum=0.9",
    "--branch_levels=1", "--checkpoint_seconds=1000", "--surface_points=0", "--directions=20",
    "--jit=off",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run makes."""
    folder = tmp_path_factory.mktemp("whole")
    process = run_unreported(*COMMAND, f"--output_dir={folder}")
    assert process.returncode == 0, process.stderr
    return folder


# The last of a flag counts. A worker for each of two trials.
TWO = (*COMMAND, "--seeds=0,1")
WORKERS = (*TWO, "--workers=2")


@pytest.fixture(scope="module")
def two_trials(tmp_path_factory):
    """What an uninterrupted run of two trials makes."""
    folder = tmp_path_factory.mktemp("two")
    assert run_unreported(*TWO, f"--output_dir={folder}").returncode == 0
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of a finished folder, to be spoiled."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def process_interrupted(command, folder, pattern, signum):
    """`interrupted` of a process of its own, for where a signal raises amid TensorFlow's work.

    What TensorFlow was about to trace then leaves its traces in the process.
    """
    process = start(*command, f"--output_dir={folder}")
    try:
        wait_until(lambda: any(folder.glob(pattern)), process, pattern)
        process.send_signal(signum)
        out, text = output_of(process)
    finally:
        end_group(process)
    return subprocess.CompletedProcess(process.args, process.returncode, out, text)


def test_signals_in_every_phase_save_and_the_next_run_goes_on(whole, tmp_path):
    """In a dense training, a level, a branch and a measurement, one after the other."""
    phases = [
        ("level_00/start.npz", signal.SIGTERM, True),
        ("level_01/start.npz", signal.SIGINT, True),
        ("redense_level_01/start.npz", signal.SIGTERM, True),
        ("redense_level_01/interpolation-*.json", signal.SIGINT, False),
    ]
    for pattern, signum, is_training in phases:
        interrupt = interrupted if is_training else process_interrupted
        ended = interrupt(COMMAND, tmp_path, f"trials/*/seed_0/{pattern}", signum)
        assert ended.returncode == 128 + signum, ended.stderr
        assert f"ended by {signal.Signals(signum).name}" in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr
        (stage,) = tmp_path.glob(f"trials/*/seed_0/{pattern.partition('/')[0]}")
        if is_training:
            assert list(stage.glob("checkpoint-0.npz")) or (stage / layout.RESULT).exists()
    process = run_unreported(*COMMAND, f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)


def test_a_signal_while_loading_ends_at_once_and_writes_nothing(tmp_path):
    process = start(*COMMAND, f"--output_dir={tmp_path / 'out'}", PYTHONUNBUFFERED="1")
    try:
        wait_until(lambda: loads_tensorflow(process.pid), process, "loading TensorFlow")
        process.send_signal(signal.SIGTERM)
        _, text = output_of(process)
    finally:
        end_group(process)
    assert process.returncode == 143, text
    assert "ended by SIGTERM" in text
    assert text.count("\n") == 1
    assert not (tmp_path / "out").exists()


def loads_tensorflow(pid):
    try:
        return "libtensorflow" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_workers_save_on_a_signal(two_trials, tmp_path):
    ended = interrupted(WORKERS, tmp_path, "trials/*/seed_0/level_00/start.npz", signal.SIGTERM)
    assert ended.returncode == 143, ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.glob("trials/*/seed_0/level_0?/checkpoint-0.npz"))
    process = run_unreported(*TWO, f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, two_trials)


@pytest.mark.slow
def test_a_killed_worker_is_one_sentence_and_the_next_run_goes_on(two_trials, tmp_path):
    """A process's own death is in engine/test_executors.py; this one is in a training."""
    process = start(*WORKERS, f"--output_dir={tmp_path}")
    try:
        wait_for(process, tmp_path, "trials/*/seed_0/level_01/start.npz")
        for child in trainers(process.pid):
            os.kill(child, signal.SIGKILL)
        _, text = output_of(process)
    finally:
        end_group(process)
    assert process.returncode == 1, text
    assert text.splitlines()[-1].startswith("tfprune: a worker process died")
    assert "Traceback" not in text
    process = run_unreported(*TWO, f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, two_trials)


def trainers(pid):
    """The children of a process that have TensorFlow loaded."""
    return [child for child in children(pid) if loads_tensorflow(child)]


@contextlib.contextmanager
def limited(size):
    """No file of this process and of those it starts may become longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("workers", "runs"), [(1, run), pytest.param(2, run_process, marks=pytest.mark.slow)]
)
def test_a_full_disk_is_one_line_and_what_is_finished_stays(whole, copy, workers, runs):
    (branch,) = copy.glob("trials/*/seed_0/redense_level_01")
    shutil.rmtree(branch)
    finished = {path: path.read_bytes() for path in copy.glob("trials/*/seed_0/*/result.json")}
    command = (*COMMAND, f"--workers={workers}", f"--output_dir={copy}")
    with limited(100_000):  # Less than the weights take.
        process = runs(*command)
    said = "--workers=2: more than have work: 1 trial\n" * (workers - 1)
    assert process.stderr.startswith(said)
    process.stderr = process.stderr.removeprefix(said)
    assert_one_line_error(process, "cannot write", "File too large", "free space")
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert not list(copy.rglob("*.tmp"))
    again = run_unreported(*COMMAND, f"--output_dir={copy}")
    assert again.returncode == 0, again.stderr
    assert_equal(copy, whole)


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_other_code_or_edited_settings_is_refused_untouched(copy):
    (path,) = copy.glob("trials/*dense*/seed_0/config.json")
    about = json.loads(path.read_text())
    good = path.read_text()
    path.write_text(json.dumps({**about, "versions": {**about["versions"], "code": "0" * 12}}))
    before = snapshot(copy)
    process = run(*COMMAND, f"--output_dir={copy}")
    assert_one_line_error(process, "code 000000000000, now", "--mix_versions")
    assert snapshot(copy) == before
    process = run_unreported(*COMMAND, "--mix_versions", f"--output_dir={copy}")
    assert process.returncode == 0, process.stderr
    assert "0 stages trained" in process.stdout
    path.write_text(good.replace('"learning_rate": 0.1', '"learning_rate": 0.2'))
    assert path.read_text() != good
    process = run(*COMMAND, f"--output_dir={copy}")
    assert_one_line_error(process, "was edited", "learning_rate")


DAMAGES = {
    "cut": lambda good: good[: len(good) // 2],
    "empty": lambda good: b"",
    "no text": lambda good: b"\xff\x00" + good,
    "no numbers": lambda good: good.replace(b"0.", b"\xff,"),
}


@pytest.mark.parametrize(
    ("pattern", "damages"),
    [
        ("results.csv", ("cut", "empty", "no text", "no numbers")),
        ("trials/*/seed_0/level_01/metrics.csv", ("cut", "no numbers")),
        ("trials/*/seed_0/config.json", ("empty", "no text")),
        ("trials/*/seed_0/redense_level_01/interpolation-*.csv", ("empty", "no numbers")),
        ("trials/*/seed_0/level_01/result.json", ("cut", "no text")),
    ],
)
def test_a_report_on_a_damaged_folder_says_so_in_clear_lines(copy, pattern, damages, capsys):
    """In this process: what a report does with a damaged file needs no other one."""
    from tfprune import __main__ as door
    from tfprune.experiments import cli

    path = next(iter(copy.glob(pattern)))
    good = path.read_bytes()
    for damage in damages:
        path.write_bytes(DAMAGES[damage](good))
        with figures_unpainted():
            code = cli.exit_code(lambda: door.dispatch(["report", f"--output_dir={copy}"]))
        text = capsys.readouterr().err
        assert code in (0, 2)
        assert "Traceback" not in text
        assert all(line.startswith("tfprune: ") for line in text.splitlines())
        assert path.name in text, damage  # Whatever can be shown, nobody is left to guess.


def test_a_config_that_is_lost_is_written_again_and_nothing_is_trained(copy):
    paths = sorted(copy.glob("trials/*/seed_0/config.json"))
    good = {path: json.loads(path.read_text()) for path in paths}
    paths[0].unlink()
    paths[1].write_text("[" * 100_000)
    process = run_unreported(*COMMAND, f"--output_dir={copy}")
    assert process.returncode == 0, process.stderr
    assert "0 stages trained" in process.stdout
    assert process.stderr.count("is written again") == 2
    for path, about in good.items():
        again = json.loads(path.read_text())
        for name in ("config", "versions", "input_shape", "num_classes"):
            assert again[name] == about[name] or name == "config"
        assert again["config"]["training"] == about["config"]["training"]
        stage = next(path.parent.glob("level_*"))
        assert tfprune.load_stage(stage).built


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_few_kills_at_random_moments(whole, tmp_path, workers):
    """The short version of `make soak`; test_kill.py kills one process at chosen moments."""
    command = (*COMMAND, "--checkpoint_seconds=0", f"--workers={workers}")
    soak(command, whole, tmp_path, kills=2, seed=workers)
