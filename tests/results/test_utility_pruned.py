"""Pretrained, pruned and small networks: their curves, their likeness and PM table 2."""

from __future__ import annotations

import math

import numpy as np
import pm
import pytest

from tfprune import store
from tfprune.results import report, utility_pruned
from tfprune.results.utility_pruned import PRETRAINED, PRUNED, SMALL


def level(
    folder, seed, number=1, sparsity=0.5, pruned=None, pretrained=None, small=None, **changes
):
    """Rows of a level and of the small network beside it, with their mean utilities at 0.1."""
    size = {"sparsity": sparsity, "weights_remaining": 1 - sparsity}
    trunk = pm.row("utility_pruned", number, seed, **size, **changes)
    for name, value in (("utility_ratio", pruned), ("utility_pretrained", pretrained)):
        if value is not None:
            trunk = pm.measured(folder, trunk, name, pm.subsets({0.1: [value], 0.2: [2 * value]}))
    other = changes | {"train_epochs": changes.get("small_epochs", 400)}
    other |= {"test_accuracy_last": 0.8, "train_loss": 0.5}
    beside = pm.row("utility_pruned", number, seed, "small", **size, **other)
    if small is not None:
        table = pm.subsets({0.1: [small], 0.2: [2 * small]})
        beside = pm.measured(folder, beside, "utility_ratio", table)
    return [trunk, beside]


def folder_of(folder, rows):
    return pm.write(folder, [pm.row("utility_pruned", 0, 0), *rows])


def tables_of(folder):
    found = report.build_tables(store.read_results(folder), "utility_pruned", folder)
    return {table.name.removeprefix("utility_pruned_"): table for table in found}


def test_likeness_is_the_absolute_difference_of_mean_utility_averaged_over_ratios(tmp_path):
    rows = level(tmp_path, 0, pruned=1.5, pretrained=1.0, small=0.0)
    folder = folder_of(tmp_path, rows)
    (trio,) = utility_pruned.trios(store.read_results(folder), folder)
    # |1.5 - 1| and |3 - 2|; |0 - 1| and |0 - 2|.
    assert trio.distance(PRUNED) == {0: 0.75}
    assert trio.distance(SMALL) == {0: 1.5}
    reading = utility_pruned.likeness_reading([trio])
    assert (
        "differs from the pretrained network's by 0.750 and 1.50 nats at 50.0% sparsity" in reading
    )


def test_likeness_is_compared_seed_by_seed_and_a_seed_without_both_is_named(tmp_path):
    rows = level(tmp_path, 0, pruned=1.5, pretrained=1.0, small=2.0)
    rows += level(tmp_path, 1, pruned=1.1, pretrained=1.0, small=1.6)
    rows += level(tmp_path, 2, pruned=1.1, pretrained=1.0)
    table = tables_of(folder_of(tmp_path, rows))["likeness"]
    (row,) = table.numbers.to_dict("records")
    assert (row["minus_small_n"], row["minus_small_mean"]) == pytest.approx((2, -0.75))
    assert row["verdict"] == "lower"
    assert table.shown["missing seeds"].tolist() == ["2"]


def test_a_row_of_panels_has_the_three_networks_at_one_sparsity(tmp_path):
    rows = level(tmp_path, 0, 1, 0.25, pruned=1.5, pretrained=1.0, small=3.0)
    rows += level(tmp_path, 0, 2, 0.75, pruned=2.5, pretrained=2.0, small=4.0)
    folder = folder_of(tmp_path, rows)
    found = utility_pruned.trios(store.read_results(folder), folder)
    assert [curve.label for curve in found[0].curves()] == [PRETRAINED, PRUNED, SMALL]
    axes = utility_pruned.against_ratio(found).get_axes()
    titles = [a.get_title("left") for a in axes[::4]]
    assert titles == ["25.0% sparsity", "75.0% sparsity"]
    means = [line.get_ydata().tolist() for line in axes[5].get_lines()]
    assert means == [[2, 4], [2.5, 5], [4, 8]]
    assert axes[1].get_ylim() == axes[5].get_ylim()
    assert [a.get_xlabel() for a in axes] == [""] * 4 + ["Ablation ratio"] * 4


def test_a_network_that_is_not_measured_yet_is_left_out(tmp_path):
    folder = folder_of(tmp_path, level(tmp_path, 0, pruned=1.5))
    (trio,) = utility_pruned.trios(store.read_results(folder), folder)
    assert [curve.label for curve in trio.curves()] == [PRUNED]
    assert trio.distance(PRUNED) == {}
    assert "not measured yet" in utility_pruned.likeness_reading([trio])


def table_2(folder, rows):
    table = tables_of(folder_of(folder, rows))["table_2"]
    return table, table.numbers.set_index(["network", "metric"])


def test_table_2_has_the_papers_number_beside_ours_and_tells_match_from_difference(tmp_path):
    rows = []
    # The paper's accuracy at 50% is 91.84, its loss 0.009.
    for seed, accuracy, loss in ((0, 0.9154, 0.010), (1, 0.9174, 0.012), (2, 0.9194, 0.014)):
        rows += level(tmp_path, seed, test_accuracy_last=accuracy, train_loss=loss)
    table, numbers = table_2(tmp_path, rows)
    accuracy = numbers.loc[(PRUNED, "val_accuracy_percent")]
    assert accuracy[["n", "mean", "std", "paper_mean"]].tolist() == pytest.approx(
        [3, 91.74, 0.2, 91.84]
    )
    assert (accuracy["minus_paper"], accuracy["verdict_paper"]) == (pytest.approx(-0.1), "matches")
    loss = numbers.loc[(PRUNED, "train_loss")]
    assert (loss["paper_mean"], loss["verdict_paper"]) == (0.009, "higher")
    # Small: 80% and 0.5 nats.
    assert accuracy["minus_small_mean"] == pytest.approx(11.74)
    assert accuracy["minus_small_verdict"] == "higher"
    assert loss["minus_small_verdict"] == "lower"
    assert numbers.loc[(SMALL, "val_accuracy_percent"), "paper_mean"] == 90.63
    assert "printed without a spread, taken as exact" in table.title


def test_a_sparsity_that_is_not_quite_the_papers_is_still_its(tmp_path):
    _, numbers = table_2(tmp_path, level(tmp_path, 0, sparsity=0.7503))
    assert numbers.loc[(PRUNED, "val_accuracy_percent"), "paper_mean"] == 91.41
    _, numbers = table_2(tmp_path, level(tmp_path, 0, sparsity=0.7))
    assert math.isnan(numbers.loc[(PRUNED, "val_accuracy_percent"), "paper_mean"])


def test_other_epochs_than_the_papers_are_said(tmp_path):
    table, numbers = table_2(tmp_path, level(tmp_path, 0, train_epochs=20))
    assert numbers.loc[(PRUNED, "train_loss"), "unlike_the_paper"] == "20 epochs, not 200"
    assert numbers.loc[(SMALL, "train_loss"), "unlike_the_paper"] == ""
    assert "20 epochs, not 200" in set(table.shown["unlike the paper"])


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "digits"},
        {"model": "lenet_300_100"},
        {"noise_fraction": 0.2, "label_noise": "symmetric"},
        {"retrain": "finetune"},
        {"width": 2.0},
    ],
)
def test_the_papers_number_stays_away_from_other_settings(tmp_path, changes):
    table, numbers = table_2(tmp_path, level(tmp_path, 0, **changes))
    assert math.isnan(numbers.loc[(PRUNED, "val_accuracy_percent"), "paper_mean"])
    if "retrain" not in changes:  # Of small networks the paper's has but one training.
        assert "paper" not in table.shown
        assert "the paper prints no numbers for these settings" in table.title


def test_columns_of_another_experiment_hide_no_number_of_the_papers(tmp_path):
    rows = level(tmp_path, 0)
    other = pm.row("other", 0, 0, trial="b-trial", width=4.0)
    _, numbers = table_2(tmp_path, [*rows, other])
    assert numbers.loc[(PRUNED, "val_accuracy_percent"), "paper_mean"] == 91.84


def test_one_seed_has_differences_and_no_verdict(tmp_path):
    table, _ = table_2(tmp_path, level(tmp_path, 0, test_accuracy_last=0.92))
    assert table.shown.iloc[0]["vs paper"] == "(+0.16)"


def test_every_table_and_figure_of_a_whole_run_is_there(tmp_path):
    folder = pm.realistic_utility_pruned(tmp_path, (0, 1))
    (info,) = utility_pruned.build(folder)
    assert (info.file, info.paper_figures) == (
        "figures/utility_pruned_utility.png", "PM figures 5 and 15"
    )  # fmt: skip
    made = tables_of(folder)
    assert list(made) == ["table_2", "likeness", "utility", "accuracy"]
    np.testing.assert_allclose(
        made["table_2"].numbers.query("metric == 'train_loss'")["paper_mean"],
        [0.008, 0.016, 0.009, 0.033, 0.026, 0.105],
    )
