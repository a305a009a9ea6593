"""The reports of redense, learning_distance and random_reinit, on made-up folders."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from wording import says

from tfprune import store
from tfprune.errors import InputError
from tfprune.report import style
from tfprune.results import (
    branches,
    figures,
    landscapes,
    learning_distance,
    random_reinit,
    redense,
    report,
)

LEVELS = (0, 4, 11, 16, 20)


def rows_of(folder):
    return branches.at_branching_level(store.read_results(folder))


def pairs_of(folder, kind="redense"):
    return branches.pairs(rows_of(folder), kind)


def test_every_experiment_draws_its_figures_and_writes_its_tables(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS, surfaces=True, seeds=(0, 1))
    report.build_report(folder)
    names = ("accuracy", "interpolation", "sharpness", "surface")
    drawn = [info.file for info in redense.build(folder)]
    assert drawn == [f"figures/redense_{name}.png" for name in names]
    assert {path.stem for path in folder.glob("tables/*.csv")} == {
        "redense_accuracy", "redense_change", "redense_landscape"
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    for where in ("figures 4, 11 and 13", "figures 5 and 14", "figure 6"):
        assert f"In the paper: <cite>SDD {where}</cite>" in page


def test_branches_are_known_by_their_kind_whatever_their_options():
    assert branches.kind("redense_lr0.01_ep5") == "redense"
    assert branches.name("redense_lr0.01_ep5") == "re-dense, learning rate 0.01, 5 epochs"


def test_a_network_whose_masks_were_lifted_stands_at_the_sparsity_it_came_from(make_branches):
    results = rows_of(make_branches("redense", branch_levels=LEVELS, seeds=(0,)))
    dense = results[results["branch"] == "redense"].set_index("level")
    np.testing.assert_allclose(dense["sparsity"], 1 - 0.8 ** dense.index.to_numpy(float))
    np.testing.assert_allclose(dense["weights_remaining"], 0.8 ** dense.index.to_numpy(float))


def test_differences_are_taken_seed_by_seed_and_only_where_both_are_there(make_branches):
    folder = make_branches("random_reinit", "reinit", (7, 8), seeds=(0, 1, 2, 3))
    results = store.read_results(folder)
    gone = (results["branch"] == "") & (results["level"] == 8) & (results["seed"] == 3)
    (pair,) = branches.pairs(results[~gone], "reinit")
    gaps = pair.differences("test_accuracy_last")
    assert gaps["n"].tolist() == [4, 3]
    np.testing.assert_allclose(gaps["mean"], [0.005, 0.04])
    np.testing.assert_allclose(gaps["std"], [np.std([-1, 0, 1, 2], ddof=1) / 100, 0.01])
    assert gaps["verdict"].tolist() == ["matches", "higher"]


def test_accuracy_runs_on_through_both_trainings_and_the_line_is_where_masks_are_lifted(
    make_branches,
):
    folder = make_branches("redense", branch_levels=(4, 16), seeds=(0, 1))
    figure = redense.accuracy_through_training(folder, pairs_of(folder))
    upper, lower = figure.axes[0], figure.axes[2]
    assert [axes.get_title() for axes in figure.axes] == 2 * ["sparsity 59.0%", "sparsity 97.2%"]
    train, test, lifted = upper.get_lines()
    assert train.get_xdata().tolist() == list(range(1, 41))
    assert list(lifted.get_xdata()) == [20, 20]
    values = [
        pd.concat([store.read_metrics(folder, s) for s in pair])["test_accuracy"].to_numpy()
        for pair in stages_of(folder, 4)
    ]
    np.testing.assert_allclose(test.get_ydata(), 100 * np.mean(values, axis=0))
    assert len(lower.get_lines()) == 4


def stages_of(folder, level):
    """(sparse stage, re-dense stage) of every seed."""
    results = store.read_results(folder)
    at = results[results["level"] == level].sort_values(["seed", "branch"])
    return [tuple(stages) for _, stages in at.groupby("seed")["stage"]]


def test_a_path_shows_loss_on_the_left_and_accuracy_on_the_right(make_branches):
    folder = make_branches("redense", branch_levels=(16,), seeds=(0, 1))
    left, right = landscapes.interpolation(folder, pairs_of(folder)).axes
    rows = store.read_results(folder).query("branch == 'redense'")
    tables = store.read_measurements(folder, rows, "interpolation", store.INTERPOLATION_COLUMNS)
    expected = np.mean([table["train_loss"] for table in tables], axis=0)
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), expected)
    assert len(expected) == 101
    colors = [axes.get_lines()[0].get_color() for axes in (left, right)]
    assert colors == [style.BLUE, style.VERMILLION]
    assert [line.get_linestyle() for line in right.get_lines()] == ["-", "--"]
    assert right.get_lines()[0].get_ydata()[0] == pytest.approx(
        100 * np.mean([table["train_accuracy"][0] for table in tables])
    )


def test_the_path_reading_counts_monotonic_paths_and_names_the_highest_barrier(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS)
    results = rows_of(folder)
    assert "monotonically on all 12 paths" in redense.path_reading(pairs_of(folder))
    assert "is highest, 0.0200 nats, at 59.0% sparsity" in redense.path_reading(pairs_of(folder))
    results.loc[(results["level"] == 4) & (results["seed"] == 1), "monotonic"] = 0
    reading = redense.path_reading(branches.pairs(results, "redense"))
    assert "monotonically on 11 of 12 paths" in reading
    assert "but not at 59.0% sparsity" in reading
    flat = branches.pairs(results.assign(barrier_height=0.0), "redense")
    assert "no barrier rises" in redense.path_reading(flat)


def test_the_sharpness_reading_tells_a_trend_from_none(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS, seeds=(0, 1))
    reading = redense.sharpness_reading(pairs_of(folder))
    # 1.1 (0.2 + 0.1 level) nats, 2% more for seed 1; the dense network's 1.1 times 0.3.
    assert "grows with the sparsity" in reading
    assert "τ = 1.00, p = 0.017, n = 5" in reading
    assert "0.222 ± 0.003 nats from 0%, 2.44 ± 0.03 from 98.8%" in reading
    assert "dense network from scratch is 0.333 ± 0.005" in reading
    results = rows_of(folder)
    lifted = results["branch"] == "redense"
    falls = results.assign(sharpness=results["sharpness"].where(~lifted, -results["sharpness"]))
    assert "falls with" in redense.sharpness_reading(branches.pairs(falls, "redense"))
    zigzag = results["sharpness"].where(
        ~lifted, results["level"].map(dict(zip(LEVELS, [3, 1, 4, 1.5, 2], strict=True)))
    )
    none = branches.pairs(results.assign(sharpness=zigzag), "redense")
    assert "neither clearly grows nor falls" in redense.sharpness_reading(none)


def test_the_escape_reading_has_the_numbers_before_and_after(make_branches):
    folder = make_branches("redense", branch_levels=(4, 20))
    (pair,) = pairs_of(folder)
    before = pair.trunk.query("level == 20")["test_accuracy_last"].mean()
    after = pair.rows.query("level == 20")["test_accuracy_last"].mean()
    reading = redense.escape_reading([pair])
    assert f"last test accuracy from {100 * before:.1f}% to {100 * after:.1f}% at 98.8%" in reading
    assert "lower test accuracy than the sparse network at 2, higher at 0" in reading


def test_lines_show_the_mean_over_directions_and_seeds_beside_the_dense_network(make_branches):
    folder = make_branches("redense", branch_levels=(4, 16), seeds=(0, 1))
    left = landscapes.lines(folder, pairs_of(folder)).axes[0]
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["dense, from scratch", "59.0%", "97.2%"]
    # 0.02 + 0.6 (1 + 0.02 seed)(1 + 0.2 direction) at distance 1, from level 4.
    values = [0.02 + 0.6 * seed * direction for seed in (1, 1.02) for direction in (1, 1.2)]
    assert left.get_lines()[2].get_ydata()[-1] == pytest.approx(np.mean(values))


def test_a_file_that_is_gone_is_left_out_and_a_damaged_one_is_named(make_branches):
    folder = make_branches("redense", branch_levels=(4, 16), seeds=(0, 1))
    paths = sorted(folder.glob("trials/**/interpolation-*.csv"))
    paths[0].unlink()
    rows = store.read_results(folder)
    found = store.read_measurements(folder, rows, "interpolation", store.INTERPOLATION_COLUMNS)
    assert len(found) == 3
    paths[1].write_text("alpha,train_loss\n0,1\n")
    with pytest.raises(InputError, match=r"interpolation-0123abcd\.csv lacks the columns"):
        redense.build(folder)


def curves_of(folder):
    (trial,) = learning_distance.trial_curves(rows_of(folder))
    return trial


def test_distance_curves_cross_where_the_two_exponentials_meet(make_branches):
    trial = curves_of(make_branches("learning_distance", branch_levels=range(23)))
    # 30 * 0.93^n = 22 * 0.97^n at n = ln(30/22) / ln(0.97/0.93) = 7.365; straight from 7 to 8.
    gap = [30 * 0.93**n - 22 * 0.97**n for n in (7, 8)]
    (crossing,) = trial.crossings("distance_from_init", "redense")
    assert crossing == pytest.approx(1 - 0.8 ** (7 + gap[0] / (gap[0] - gap[1])))
    figure_lines = learning_distance.distance_and_accuracy(pd.DataFrame(RESULTS), [trial]).axes[0]
    marks = [line for line in figure_lines.get_lines() if line.get_linestyle() == ":"]
    assert [line.get_color() for line in marks] == [style.BLUE, style.VERMILLION, style.VERMILLION]
    assert marks[0].get_xdata()[0] == pytest.approx(-np.log(1 - crossing))
    reading = learning_distance.crossing_reading([trial])
    assert f"the distance curves cross at {100 * crossing:.1f}% sparsity" in reading


# What a figure of one trial asks of the results besides its curves.
RESULTS = {"trial": ["t"], "seed": [0], "branch": [""]}


def test_sparse_curves_are_dashed_and_re_dense_ones_solid(make_branches):
    trial = curves_of(make_branches("learning_distance", branch_levels=range(23), seeds=(0,)))
    left, right = learning_distance.distance_and_accuracy(pd.DataFrame(RESULTS), [trial]).axes
    gaps = learning_distance.accuracy_against_distance([trial]).axes[1]
    assert len(gaps.get_lines()[0].get_xdata()) == 23  # Also without a std: there is one seed.
    assert [line.get_linestyle() for line in left.get_lines()[:2]] == ["--", "-"]
    assert [line.get_color() for line in left.get_lines()[:2]] == 2 * [style.BLUE]
    assert [line.get_color() for line in right.get_lines()] == 2 * [style.VERMILLION]


def test_the_correlation_table_is_scipys_over_levels_of_means_over_seeds(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(0, 23, 2))
    _, table, _ = learning_distance.build_tables(store.read_results(folder))
    results = store.read_results(folder)
    means = results.groupby(["branch", "level"])[
        ["distance_from_init", "test_accuracy_last"]
    ].mean()
    sparse, dense = means.loc[""], means.loc["redense"]
    numbers = table.numbers.set_index("network")
    assert numbers["n"].tolist() == [23, 12, 12]
    both = sparse.loc[dense.index] - dense
    for name, frame in (("sparse", sparse), ("re-dense", dense), ("sparse minus re-dense", both)):
        expected = stats.pearsonr(*frame.to_numpy().T)
        ranks = stats.kendalltau(*frame.to_numpy().T)
        assert numbers.loc[name, "pearson"] == pytest.approx(expected.statistic)
        assert numbers.loc[name, "pearson_p"] == pytest.approx(expected.pvalue)
        assert numbers.loc[name, "kendall"] == pytest.approx(ranks.statistic)
        assert numbers.loc[name, "kendall_p"] == pytest.approx(ranks.pvalue)
    r = numbers.loc["sparse", "pearson"]
    reading = learning_distance.correlation_reading([curves_of(folder)])
    assert f"sparse with r = {r:.2f}" in reading
    assert "n = 23" in reading


def test_the_reinit_reading_names_the_sparsities_the_gain_and_what_matches(make_branches):
    folder = make_branches("random_reinit", "reinit", range(1, 23))
    reading = random_reinit.reinit_reading(pairs_of(folder, "reinit"))
    assert says(reading, "reinitialization", "higher", "5 of 22", "83.2% to 93.1%")
    assert says(reading, "4.0 ± 1.0 points at 83.2%", "lower at 0", "matches at 17")
    results = store.read_results(folder)
    lost = (results["branch"] == "reinit") & (results["level"] == 20)
    results.loc[lost, "test_accuracy_last"] -= 0.1
    reading = random_reinit.reinit_reading(branches.pairs(results, "reinit"))
    assert "lower at 1 (98.8%), and matches at 16" in reading


def test_one_seed_is_said_not_to_tell_a_difference(make_branches):
    folder = make_branches("random_reinit", "reinit", (8, 9), seeds=(0,))
    reading = random_reinit.reinit_reading(pairs_of(folder, "reinit"))
    assert "above the lottery ticket's at 2 of 2 sparsities (+3.0 points at most, at" in reading
    assert "one seed cannot tell" in reading
    _, table = random_reinit.build_tables(store.read_results(folder))
    assert table.numbers["test_accuracy_last_difference_verdict"].tolist() == ["", ""]


def test_tickets_and_reinitializations_are_named_in_the_legend(make_branches):
    folder = make_branches("random_reinit", "reinit", (1, 2), levels=3, seeds=(0,))
    drawn = figures.accuracy_against_sparsity(store.read_results(folder), random_reinit._NAMES)
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert legend[:2] == ["lottery ticket", "random reinitialization"]


def test_a_trunk_without_branches_yet_makes_a_report_all_the_same(make_folder):
    for experiment in ("redense", "learning_distance", "random_reinit"):
        folder = make_folder(experiment=experiment, levels=2, seeds=(0,))
    report.build_report(folder)
    assert (folder / "tables/redense_change.csv").exists()
    assert not list(folder.glob("figures/redense*"))


def test_a_sweep_has_a_column_per_field_and_a_grid_of_panels(make_folder):
    kinds, noises = ("pairflip", "symmetric"), (0.2, 0.4)
    trials = [
        {"label_noise": kind, "noise_fraction": noise, "criterion": criterion}
        for noise in noises
        for kind in kinds
        for criterion in ("random", "magnitude")
    ]
    results = store.read_results(make_folder(trials, levels=2, seeds=(0,)))
    accuracy, efficacy, *_ = report.build_tables(results, "sparse_double_descent")
    fields = ("label_noise", "noise_fraction", "criterion")
    assert accuracy.labels == efficacy.labels == fields
    assert efficacy.shown.iloc[0, :3].tolist() == ["pairflip", "0.2", "magnitude"]
    assert len(efficacy.shown) == 8
    assert list(accuracy.numbers.columns[1:5]) == ["trial", *fields]
    figure = figures.accuracy_against_sparsity(results)
    columns = figure.axes[0].get_subplotspec().get_gridspec().ncols
    assert columns == 2
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]
    assert titles == [
        "20% pairflip noise", "40% pairflip noise", "20% symmetric noise", "40% symmetric noise"
    ]  # fmt: skip
    assert len({axes.get_ylim() for axes in figure.axes}) == 2  # Train and test, shared.


def test_the_dense_training_that_trials_share_costs_once(make_folder):
    results = store.read_results(make_folder([{}, {"criterion": "random"}], levels=2, seeds=(0,)))
    apart = report.stage_seconds(results)
    results.loc[results["level"] == 0, "stage"] = "trials/dense/seed_0/level_00"
    assert report.stage_seconds(results) == pytest.approx(apart - 0.2)


def test_a_legend_takes_as_few_rows_as_its_figure_allows():
    labels = ["a" * 20] * 6
    # 0.62 + 20 * 0.073 = 2.08 inches a column.
    assert [style.legend_columns(labels, width) for width in (2, 4.2, 6.3, 20)] == [1, 2, 3, 6]
