"""PEG's five experiments at smoke size, through the real run.py, in one output folder."""

import json
from collections import Counter

import numpy as np
import pytest

import tfprune
from end_to_end.commands import assert_complete, read_rows, rows_of, run_all, run_unreported
from tfprune.files import load_arrays

NAMES = ("pruning_effect", "width_scaling", "example_effects", "example_galleries", "leave_out")
SMALL = ("--preset=smoke", "--jit=off", "--seeds=0,1")
NOISE = "--noise_fraction=0.2"
# Without label noise, too, where the least is trained for it.
OWN = {"example_galleries": "--sweep=noise_fraction=0,0.2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def processes(folder):
    return run_all(folder, {name: (*SMALL, OWN.get(name, NOISE)) for name in NAMES})


@pytest.fixture(scope="module")
def rows(folder, processes):
    return read_rows(folder)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_ends_with_its_table_report_and_figures(folder, processes, name):
    assert_complete(processes[name], folder, name)


def test_what_experiments_share_is_trained_once(rows):
    """The same levels of learning-rate rewinding are in all five, from the same folders."""
    where = {"method": "lr_rewind", "branch": "", "noise_fraction": "0.2"}
    stages = {name: [row["stage"] for row in rows_of(rows, name, **where)] for name in NAMES}
    assert len(stages["leave_out"]) == 6  # 2 seeds, 3 levels.
    assert all(found == stages["leave_out"] for found in stages.values())


def test_a_sweep_of_label_noise_has_every_level_of_each(rows):
    found = rows_of(rows, "example_galleries", method="lr_rewind")
    assert Counter(row["noise_fraction"] for row in found) == {"0.0": 6, "0.2": 6}


def test_every_method_has_its_levels_for_every_seed(rows):
    found = {
        method: len(rows_of(rows, "pruning_effect", method=method))
        for method in (
            "lr_rewind", "weight_rewind", "extended_dense", "synflow", "snip", "random"
        )
    }  # fmt: skip
    assert set(found.values()) == {6}
    widths = {row["width"] for row in rows_of(rows, "width_scaling", method="width")}
    assert widths == {"1.0", "0.5", "0.25"}
    one_shot = rows_of(rows, "width_scaling", method="one_shot", seed="0")
    assert [float(row["sparsity"]) for row in one_shot] == pytest.approx([0, 0.5, 0.75], abs=1e-4)


def test_weights_are_counted_alike_in_pruned_and_in_narrow_networks(rows):
    """64 pixels, 300 and 100 units, 10 classes: 50,200 convolution and dense weights."""

    def counts(**where):
        found = rows_of(rows, "width_scaling", seed="0", **where)
        return [int(float(row["weights"])) for row in found]

    assert counts(method="lr_rewind") == counts(method="one_shot") == [50_200, 25_100, 12_550]
    by_width = [counts(method="width", width=width) for width in ("1.0", "0.5", "0.25")]
    assert by_width == [[50_200], [64 * 150 + 150 * 50 + 500], [64 * 75 + 75 * 25 + 250]]


def test_extended_dense_training_removes_nothing_and_trains_as_long(rows):
    long = rows_of(rows, "pruning_effect", method="extended_dense")
    pruned = rows_of(rows, "pruning_effect", method="lr_rewind")
    assert {row["sparsity"] for row in long} == {"0.0"}
    assert [row["train_epochs"] for row in long] == [row["train_epochs"] for row in pruned]


def test_losses_of_examples_average_to_the_row_and_its_noisy_part(folder, rows):
    measured = [row for row in rows_of(rows, "example_effects") if row["examples"]]
    assert len(measured) == len(rows_of(rows, "example_effects", branch=""))
    for row in measured:
        found = load_arrays(folder / row["examples"])
        assert found["losses"].mean() == pytest.approx(float(row["train_loss"]), rel=1e-5)
        accuracy = np.mean(found["predictions"] == found["labels"])
        assert accuracy == pytest.approx(float(row["train_accuracy"]), abs=1e-6)
        noisy = found["selected"]
        assert noisy.sum() == round(float(row["noise_fraction"]) * len(noisy))
        assert np.all((found["labels"] != found["original_labels"]) == noisy)
        assert found["losses"][noisy].mean() == pytest.approx(float(row["noisy_loss"]), rel=1e-5)


def test_el2n_scores_are_a_seeds_own_and_of_its_training_examples(folder, rows):
    dense = rows_of(rows, "example_effects", method="lr_rewind", level="0", branch="")
    scores = {row["seed"]: load_arrays(folder / row["el2n"]) for row in dense}
    assert not np.array_equal(scores["0"]["indices"], scores["1"]["indices"])
    for row in dense:
        found = load_arrays(folder / row["el2n"])
        examples = load_arrays(folder / row["examples"])
        np.testing.assert_array_equal(found["indices"], examples["indices"])
        assert np.all((found["values"] >= 0) & (found["values"] <= np.sqrt(2)))
        assert json.loads(str(found["metadata"]))["models"] == 2
    networks = rows_of(rows, "example_effects", method="lr_rewind", branch="el2n10")
    assert {row["train_epochs"] for row in networks} == {"1"}  # 10% of 3 epochs, at least one.
    assert len({row["train_loss"] for row in networks}) == len(networks)
    narrow = [row for row in rows_of(rows, "example_effects") if float(row["width"]) < 1]
    assert narrow
    assert not any(row["el2n"] or row["branch"] for row in narrow)


def test_galleries_show_the_images_of_their_indices(folder, rows):
    from sklearn.datasets import load_digits

    (row,) = [row for row in rows_of(rows, "example_galleries") if row["gallery"]][:1]
    gallery = load_arrays(folder / row["gallery"])
    examples = load_arrays(folder / row["examples"])
    for kind in ("most_worsened", "most_improved", "least_affected"):
        indices = gallery[f"{kind}/indices"]
        assert len(gallery[f"{kind}/images"]) == len(indices)
        if len(indices):
            where = np.searchsorted(examples["indices"], indices)
            np.testing.assert_array_equal(gallery[f"{kind}/labels"], examples["labels"][where])
    assert len(load_digits().images) == 1797


def test_sets_that_leave_out_have_the_sizes_they_claim(folder, rows):
    for row in rows_of(rows, "leave_out"):
        if not row["branch"]:
            continue
        trunk = rows_of(
            rows, "leave_out", trial=row["trial"], seed=row["seed"], level=row["level"], branch=""
        )
        examples = load_arrays(folder / trunk[0]["examples"])
        total = len(examples["labels"])
        expected = {
            "dense_subset": int(np.sum(examples["predictions"] == examples["labels"])),
            "worsened_subsample": round(0.4 * total),
            "random_subsample": round(0.4 * total),
        }
        size = int(row["subset_examples"])
        data = tfprune.load_data(folder / row["stage"])
        assert len(data.train.labels) == size
        if row["branch"] == "dense_subset":
            right = examples["predictions"] == examples["labels"]
            np.testing.assert_array_equal(data.train.labels, examples["labels"][right])
        if row["branch"] in expected:
            assert size == expected[row["branch"]]
        else:  # tie and rnd, both of the examples that every seed has a loss for.
            assert 0.79 * total < size < 0.81 * total
        if row["branch"] == "dense_subset":
            steps = -(-size // 128) * int(row["train_epochs"])
            full = -(-total // 128) * 3
            assert abs(steps - full) <= -(-size // 128) / 2


def test_the_second_run_trains_and_measures_nothing(folder, processes):
    again = run_unreported("leave_out", *SMALL, NOISE, f"--output_dir={folder}")
    assert "0 stages trained" in again.stdout
    assert again.stderr.strip() == ""
