"""GST's three experiments at smoke size, through the real run.py, in one output folder."""

import numpy as np
import pandas as pd
import pytest

from end_to_end.commands import (
    assert_complete,
    assert_one_line_error,
    read_rows,
    rows_of,
    run,
    run_all,
)
from tfprune import layout

NAMES = ("generalization_stability", "flatness", "pruning_as_noise")
SMALL = (
    "--preset=smoke",
    "--jit=off",
    "--seeds=0",
    "--train_subset=100",
    "--train_epochs=3",
    "--prune_ends=1",
)
PRUNED = ("filters_smallest_p1", "filters_largest_p2", "scratch_smallest")
NOISY = ("zeroing_2", "gaussian_2", "restoring_2", "zeroing_2_cumulative")
KEPT = {"conv4": 6, "conv5": 6, "conv6": 12, "conv7": 8}  # Of 8, 8, 16 and 16.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def processes(folder):
    return run_all(folder, dict.fromkeys(NAMES, SMALL))


@pytest.fixture(scope="module")
def rows(folder, processes):
    return read_rows(folder)


def branches(rows, experiment):
    return {row["branch"]: row for row in rows_of(rows, experiment)}


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_ends_with_its_table_report_and_figures(folder, processes, name):
    assert_complete(processes[name], folder, name)


def test_what_experiments_share_is_trained_once(processes, rows):
    assert "4 stages trained, 0 reused" in processes["generalization_stability"].stdout
    assert "0 stages trained, 4 reused" in processes["flatness"].stdout
    assert "4 stages trained, 2 reused" in processes["pruning_as_noise"].stdout
    first, flat, noise = (branches(rows, name) for name in NAMES)
    assert set(first) == set(flat) == {"", *PRUNED}
    assert set(noise) == {"", "filters_largest_p2", *NOISY}
    for there in (flat, noise):
        for branch in first.keys() & there.keys():
            assert first[branch]["stage"] == there[branch]["stage"]


def test_every_pruning_ends_with_the_filters_that_its_schedules_leave(folder, rows):
    found = branches(rows, "generalization_stability")
    for branch in PRUNED:
        table = pd.read_csv(folder / found[branch]["architecture"]).set_index("layer")
        assert table.kept[list(KEPT)].to_dict() == KEPT
        assert (table.kept == table.filters)[["conv1", "conv2", "conv3"]].all()
        assert 0 < float(found[branch]["sparsity"]) < 1
        assert float(found[branch]["total_fraction"]) == 0.5
    assert {found[branch]["flops"] for branch in found} == {found[""]["flops_shrunk"]}
    shrunk = {int(found[branch]["flops_shrunk"]) for branch in PRUNED}
    assert len(shrunk) == 1
    assert max(shrunk) < int(found[""]["flops"])
    smaller = {int(found[branch]["parameters_shrunk"]) for branch in PRUNED}
    assert max(smaller) < int(found[""]["parameters_shrunk"])


def test_stability_is_the_mean_over_the_events_of_each_training(folder, rows):
    found = {**branches(rows, NAMES[0]), **branches(rows, "pruning_as_noise")}
    pruned_epochs = {branch: [1] for branch in ("filters_largest_p2", *NOISY)}
    pruned_epochs |= {"filters_smallest_p1": [1, 2], "scratch_smallest": [0]}
    for branch, epochs in pruned_epochs.items():
        row, events = found[branch], pd.read_csv(folder / found[branch]["events"])
        assert events.epoch.tolist() == epochs
        counted = events[events.epoch > 0]
        left = (counted.accuracy_after / counted.accuracy_before).mean() if len(counted) else 1.0
        assert float(row["stability"]) == pytest.approx(left)
        assert float(row["instability"]) == pytest.approx(1 - left)
        assert int(row["pruned_epochs"]) == len(counted)
        metrics = pd.read_csv(folder / row["stage"] / layout.METRICS)
        stable = metrics.test_accuracy[metrics.epoch >= max(epochs)].max()
        assert float(row["stable_accuracy_best"]) == pytest.approx(stable)


def test_noise_prunes_nothing_and_says_what_it_was(rows):
    found = branches(rows, "pruning_as_noise")
    for branch in NOISY:
        row = found[branch]
        kind, batches, *cumulative = branch.split("_")
        assert (row["noise"], float(row["noise_batches"])) == (kind, float(batches))
        assert float(row["cumulative"]) == len(cumulative)
        assert float(row["sparsity"]) == 0
        assert row["parameters"] == found[""]["parameters"]
    assert len({row["test_loss"] for row in found.values()}) >= 5


def test_flatness_is_made_of_the_tables_beside_it(folder, rows):
    for row in branches(rows, "flatness").values():
        values = pd.read_csv(folder / row["flatness"]).eigenvalue
        assert len(values) == 5
        assert float(row["hessian_trace_top"]) == pytest.approx(values.sum())
        assert float(row["top_eigenvalue"]) == pytest.approx(values.max())
        ratio = float(row["gradient_covariance_trace"]) / values.sum()
        assert float(row["tic_proxy"]) == pytest.approx(ratio)
        rises = pd.read_csv(folder / row["perturbations"])
        assert len(rises) == 2 * 81
        far = rises[rises.test_loss_rise >= 0.1]
        assert float(row["epsilon"] or "nan") == pytest.approx(
            far.step.abs().min() if len(far) else np.nan, nan_ok=True
        )
        examples = row["flatness"].replace("/flatness-", "/examples-")
        assert pd.read_csv(folder / examples).test_index.tolist() == list(range(64))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("generalization_stability", "--prunings=smallest"), ("--prunings=", "TARGET:PERIOD")),
        (("flatness", "--prunings=scratch:4"), ("--prunings=", "scratch:TARGET")),
        (("pruning_as_noise", "--noises=zeroing:0"), ("--noises=", "KIND:BATCHES")),
        (("pruning_as_noise", "--criterion=magnitude"), ("--criterion=", "filter_l2")),
        (("generalization_stability", "--prune_fractions=1"), ("--prune_fractions=1",)),
        (
            ("flatness", "--prune_fractions=0.3,0.9"),
            ("--prune_fractions=0.3,0.9", "4, one for each"),
        ),
        (("generalization_stability", "--prune_layers=last8"), ("--prune_layers=", "last7")),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_trained(tmp_path, arguments, parts):
    out = tmp_path / "out"
    assert_one_line_error(run(*arguments, *SMALL[:2], f"--output_dir={out}"), *parts)
    assert not list(out.rglob(layout.TRIALS))
