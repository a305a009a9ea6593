"""PM's four experiments at smoke size, through the real run.py, in one output folder."""

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

NAMES = ("utility_dynamics", "utility_size", "utility_pruned", "accuracy_surface")
SMALL = ("--preset=smoke", "--jit=off", "--train_subset=100", "--train_epochs=2")
OWN = {"accuracy_surface": ("--levels=1",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def processes(folder):
    return run_all(folder, {name: (*SMALL, *OWN.get(name, ())) for name in NAMES})


@pytest.fixture(scope="module")
def rows(folder, processes):
    return read_rows(folder)


def by_amount(folder, path):
    """The mean utility of each ratio, or number, of a table of subsets."""
    return pd.read_csv(folder / path).groupby("ablation_amount").utility.mean()


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_ends_with_its_table_report_and_figures(folder, processes, name):
    assert_complete(processes[name], folder, name)


def test_the_network_of_full_size_is_trained_and_measured_once(processes, rows):
    assert "1 stages trained, 0 reused" in processes["utility_dynamics"].stdout
    assert "2 stages trained, 1 reused" in processes["utility_size"].stdout
    assert "level 0: utility_ratio" not in processes["utility_size"].stderr
    dynamics, size = (rows_of(rows, name, branch="") for name in NAMES[:2])
    assert len(dynamics) == 1
    for column in ("stage", "test_loss", "utility_ratio"):
        assert dynamics[0][column] == size[0][column]


def test_utility_at_the_last_epoch_is_that_of_the_network_at_the_end(folder, rows):
    (row,) = rows_of(rows, "utility_dynamics")
    table = pd.read_csv(folder / row["utility_dynamics"])
    assert sorted(table.epoch.unique()) == [0, 1, 2]
    last = table[table.epoch == 2].set_index("ablation_amount").utility_mean
    ends = by_amount(folder, row["utility_ratio"])
    assert ends.index.tolist() == last.index.tolist() == [0.05, 0.1, 0.25]
    np.testing.assert_allclose(ends, last, rtol=1e-6)


def test_by_number_every_size_loses_as_many_weights_and_by_ratio_as_large_a_part(folder, rows):
    """3x3 kernels of 1, 16, 16, 16, 32, 32, 64 and 64 channels, and the 640 of the logits."""
    for row in rows_of(rows, "utility_size"):
        own = (73872 + 640) * float(row["weights_remaining"])
        for kind, size in (("number", 73872 + 640), ("ratio", own)):
            table = pd.read_csv(folder / row[f"utility_{kind}"])
            expected = np.ceil(np.round(table.ablation_amount * size, 6))
            assert table.ablated_weights.tolist() == expected.tolist()


def test_sizes_are_those_that_were_asked_for(rows):
    left = {row["branch"] + row["level"]: row for row in rows_of(rows, "utility_size")}
    assert {name: float(row["weights_remaining"]) for name, row in left.items()} == {
        "0": 1, "size1": pytest.approx(0.5, abs=1e-4), "size2": pytest.approx(0.25, abs=1e-4)
    }  # fmt: skip
    assert {row["train_epochs"] for row in left.values()} == {"2"}


def test_the_small_network_beside_a_pruned_one_is_as_large_and_trained_as_long(rows):
    for name in ("utility_pruned", "accuracy_surface"):
        small = rows_of(rows, name, branch="small")
        assert len(small) == {"utility_pruned": 1, "accuracy_surface": 2}[name]
        for row in small:
            (twin,) = rows_of(rows, name, trial=row["trial"], level=row["level"], branch="")
            # Of a network whose channels were pruned, what is left once the dead ones are gone.
            left = twin.get("live_weights_remaining") or twin["weights_remaining"]
            assert float(row["weights_remaining"]) == pytest.approx(float(left), abs=1e-9)
            assert (row["train_epochs"], twin["train_epochs"]) == ("4", "2")


def test_planes_are_of_both_structures_and_both_ways_to_retrain(folder, rows):
    planes = [row for row in rows_of(rows, "accuracy_surface") if row["plane"]]
    kinds = {(row["structure"], row["retrain"]) for row in planes}
    assert kinds == {(s, r) for s in ("weights", "channels") for r in ("finetune", "lr_rewind")}
    assert len(planes) == 4
    for row in planes:
        assert len(pd.read_csv(folder / row["plane"])) == 9
        points = pd.read_csv(folder / row["trajectory"])
        assert points.network.tolist() == ["pretrained", "pruned", "retrained"]
        pruned, retrained = (points.loc[i, ["x", "y"]].to_numpy(float) for i in (1, 2))
        # The pretrained network is the origin, the pruned one on the axis.
        assert float(row["distance_pretrained_pruned"]) == pytest.approx(pruned[0], rel=1e-4)
        for column, between in (
            ("distance_pretrained_retrained", retrained),
            ("distance_pruned_retrained", retrained - pruned),
        ):
            assert float(row[column]) == pytest.approx(np.linalg.norm(between), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("utility_dynamics", "--ablation_ratios=0.5,0.1"), ("--ablation_ratios=", "increasing")),
        (("utility_size", "--sizes=0.5,1"), ("--sizes=0.5,1", "below 1")),
        (("utility_pruned", "--sparsities=0.9,0.5"), ("--sparsities=", "increasing")),
        (("accuracy_surface", "--structures=filters"), ("--structure", "channels")),
        (("accuracy_surface", "--plane_levels=9"), ("--plane_levels=9", "from 1 to 2")),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_trained(tmp_path, arguments, parts):
    out = tmp_path / "out"
    assert_one_line_error(run(*arguments, "--preset=smoke", f"--output_dir={out}"), *parts)
    assert not out.exists()
