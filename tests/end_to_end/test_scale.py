"""Several processes share a study: the same numbers, each stage trained once."""

import json
import re
import signal

import pytest
from processes import output_of, wait_for, wait_until

from end_to_end.commands import (
    SHARED,
    SHARED_STAGES,
    assert_one_line_error,
    done_lines,
    interrupted,
    run,
    run_process,
    run_unreported,
    trained,
)
from end_to_end.soak import assert_equal, end_group, start
from tfprune import layout


def test_workers_make_the_same_bits_and_share_one_display(inline, tmp_path):
    whole, alone = inline
    process = run(*SHARED, "--workers=2", f"--output_dir={tmp_path}")
    assert process.returncode == 0, process.stderr
    assert_equal(tmp_path, whole)
    assert trained(process.stdout) == SHARED_STAGES
    assert done_lines(process.stderr) == done_lines(alone.stderr)
    assert len(done_lines(alone.stderr)) == SHARED_STAGES
    assert len(process.stderr.splitlines()) == len(alone.stderr.splitlines())


def test_two_commands_at_once_train_each_stage_once(inline, tmp_path):
    whole, _ = inline
    other = start(*SHARED, f"--output_dir={tmp_path}")
    try:
        wait_for(other, tmp_path, "trials/*/seed_*/level_00/start.npz")
        process = run_unreported(*SHARED, f"--output_dir={tmp_path}")
        out, text = output_of(other)
    finally:
        end_group(other)
    assert [process.returncode, other.returncode] == [0, 0], process.stderr + text
    assert trained(process.stdout) + trained(out) == SHARED_STAGES
    assert_equal(tmp_path, whole)


@pytest.mark.slow
def test_workers_of_a_sweep_share_the_dense_training(tmp_path):
    process = run_process(
        "sparse_double_descent", "--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0",
        "--sweep=criterion=magnitude,random", "--workers=2", f"--output_dir={tmp_path}",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert trained(process.stdout) == 3
    assert len(list(tmp_path.rglob(layout.END))) == 3


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--rewind_to=9999it",), "--rewind_to=9999it"),
        pytest.param(("--dataset=npz:no.npz",), "no.npz", marks=pytest.mark.slow),
    ],
)
def test_an_error_of_a_worker_is_the_same_one_line(tmp_path, flags, part):
    folder = tmp_path / "out"
    process = run(*SHARED, *flags, "--workers=2", f"--output_dir={folder}")
    assert_one_line_error(process, part)
    assert not folder.exists()


@pytest.mark.slow
def test_branches_that_follow_from_all_seeds_wait_for_the_other_shards(tmp_path):
    # The last of a flag counts.
    auto = (*SHARED, "--branch_levels=auto", f"--output_dir={tmp_path}")
    # One after the other: side by side, both may find all seeds done.
    first, second, both = [run(*auto, *shard) for shard in (["--shard=0/2"], ["--shard=1/2"], [])]
    assert [process.returncode for process in (first, second, both)] == [0, 0, 0], first.stderr
    assert "other shards are not done" in first.stderr
    assert "other shards are not done" not in second.stderr
    assert sum(trained(process.stdout) for process in (first, second, both)) == 8
    assert (tmp_path / layout.REPORT).exists()


# The last of a flag counts.
STACKED = (*SHARED, "--stack=3", "--momentum=0.9", "--jit=on")


@pytest.fixture(scope="module")
def stacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked")
    assert run(*STACKED, f"--output_dir={folder}").returncode == 0
    return folder


def test_stacks_leave_what_trainings_alone_leave(inline, stacked):
    files = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        for folder in (inline[0], stacked)
    ]
    hashes = re.compile(r"events\.out.*|(?<=-)[0-9a-f]{8}")
    assert len(files[0]) == len(files[1])
    ours, theirs = ({hashes.sub("", str(path)) for path in one} for one in files)
    assert ours == theirs
    (config,) = {json.loads(p.read_text())["stack"] for p in stacked.rglob(layout.CONFIG)}
    assert config == 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stack_that_is_killed_goes_on_to_the_same_bits_whoever_is_beside(
    stacked, tmp_path, workers
):
    """Then one is alone that was beside another, and workers part them."""
    process = start(*STACKED, "--checkpoint_seconds=0", f"--output_dir={tmp_path}")
    wait_until(lambda: list(tmp_path.rglob(layout.CHECKPOINTS[0])), process, "a checkpoint")
    process.kill()
    process.wait()
    again = run_unreported(*STACKED, "--seeds=1", f"--output_dir={tmp_path}")
    assert again.returncode == 0, again.stderr
    again = run_unreported(*STACKED, f"--workers={workers}", f"--output_dir={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert_equal(tmp_path, stacked)


def test_a_signal_ends_all_of_a_stack_with_checkpoints(tmp_path):
    command = (*STACKED, "--train_epochs=2000")
    starts = f"trials/*/seed_?/level_00/{layout.START}"
    process = interrupted(command, tmp_path, starts, signal.SIGTERM, count=2)
    assert process.returncode == 128 + signal.SIGTERM, process.stderr
    assert len(list(tmp_path.rglob(layout.CHECKPOINTS[0]))) == 2
    assert process.stderr.splitlines()[-1].endswith("the same command goes on from here")


def test_what_cannot_be_trained_in_stacks_is_refused_before_training(tmp_path):
    folder = tmp_path / "out"
    for flags, part in {
        ("--stack=2",): "--stack=2: 1 with --jit=off",
        ("--stack=0",): "--stack=0: auto, or a number of at least 1",
        ("--stack=2", "--strategy=mirrored"): "without --workers, --stack and --executor=ray",
    }.items():
        process = run(*SHARED, *flags, f"--output_dir={folder}")
        assert_one_line_error(process, part)
        assert not folder.exists()
