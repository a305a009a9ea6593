"""Several processes share a study: the same numbers, each stage trained once."""

import pytest
from processes import output_of, outputs_of, wait_for

from end_to_end.commands import (
    SHARED,
    SHARED_STAGES,
    assert_one_line_error,
    done_lines,
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
    [(("--rewind_to=9999it",), "--rewind_to=9999it"), (("--dataset=npz:no.npz",), "no.npz")],
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
    both = [start(*auto, f"--shard={shard}") for shard in ("0/2", "1/2")]
    texts = outputs_of(both)
    assert [process.returncode for process in both] == [0, 0], texts
    assert any("other shards are not done" in text for _, text in texts)
    process = run(*auto)
    assert process.returncode == 0, process.stderr
    assert sum(trained(out) for out, _ in texts) + trained(process.stdout) == 8
    assert (tmp_path / layout.REPORT).exists()
