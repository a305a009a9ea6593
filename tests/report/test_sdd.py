"""What SDD's experiments draw, tabulate and say, on made-up folders with known numbers."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from golden import figures_of, tables_of
from made_up import with_loss_change
from scipy import stats
from wording import says

from tfprune import store
from tfprune.errors import InputError
from tfprune.measures import descent
from tfprune.pages import report
from tfprune.papers.sdd import (
    learning_distance,
    networks,
    random_reinit,
    redense,
    sparse_double_descent,
)
from tfprune.report import tables, trials
from tfprune.report.accuracy import LAST

LEVELS = (0, 4, 11, 16, 20)
CIFAR = {"dataset": "cifar10", "model": "resnet18", "noise_fraction": 0.2}
COLUMNS = ("dataset", "model", "label_noise", "noise_fraction", "criterion", "retrain")


def loaded(module, folder, change=lambda results: results):
    return module.load(change(store.read_results(folder)), folder)


def reading(folder, experiment, figure):
    return figures_of(folder, experiment)[figure][0].reading


# ---------------------------------------------------------------- networks
def test_branches_are_known_by_their_kind_whatever_their_options():
    assert networks.kind("redense_lr0.01_ep5") == "redense"
    assert networks.name("redense_lr0.01_ep5") == "re-dense, learning rate 0.01, 5 epochs"


def test_a_network_whose_masks_were_lifted_stands_at_the_sparsity_it_came_from(make_branches):
    found = loaded(redense, make_branches("redense", branch_levels=LEVELS, seeds=(0,)))
    dense = found.networks[0].rows.set_index("level")
    np.testing.assert_allclose(dense["sparsity"], 1 - 0.8 ** dense.index.to_numpy(float))
    np.testing.assert_allclose(dense["weights_remaining"], 0.8 ** dense.index.to_numpy(float))


def test_differences_are_taken_seed_by_seed_and_only_where_both_are_there(make_branches):
    folder = make_branches("random_reinit", "reinit", (7, 8), seeds=(0, 1, 2, 3))

    def without_one(rows):
        return rows[(rows["branch"] != "") | (rows["level"] != 8) | (rows["seed"] != 3)]

    (pair,) = loaded(random_reinit, folder, without_one).networks
    gaps = pair.differences(LAST)
    assert gaps["n"].tolist() == [4, 3]
    np.testing.assert_allclose(gaps["mean"], [0.005, 0.04])
    np.testing.assert_allclose(gaps["std"], [np.std([-1, 0, 1, 2], ddof=1) / 100, 0.01])
    assert gaps["verdict"].tolist() == ["matches", "higher"]


def test_a_trunk_without_branches_yet_makes_a_report_all_the_same(make_folder):
    for experiment in ("redense", "learning_distance", "random_reinit"):
        folder = make_folder(experiment=experiment, levels=2, seeds=(0,))
    report.build_report(folder)
    assert {path.stem for path in folder.glob("tables/*.csv")} == {
        "redense_accuracy", "random_reinit_accuracy"
    }  # fmt: skip
    assert [path.stem for path in folder.glob("figures/*")] == ["random_reinit_accuracy"]


# ---------------------------------------------------------------- sparse_double_descent
def test_a_sweep_has_a_column_per_field_and_a_grid_of_panels(make_folder):
    kinds, noises = ("pairflip", "symmetric"), (0.2, 0.4)
    settings = [
        {"label_noise": kind, "noise_fraction": noise, "criterion": criterion}
        for noise in noises
        for kind in kinds
        for criterion in ("random", "magnitude")
    ]
    folder = make_folder(settings, levels=2, seeds=(0,))
    made = tables_of(folder, "sparse_double_descent")
    accuracy, efficacy = made["accuracy"], made["pruning_efficacy"]
    fields = ("label_noise", "noise_fraction", "criterion")
    assert accuracy.labels == efficacy.labels == fields
    assert efficacy.shown.iloc[0, :3].tolist() == ["pairflip", "0.2", "magnitude"]
    assert len(efficacy.shown) == 8
    assert list(accuracy.numbers.columns[1:5]) == ["trial", *fields]
    figure = figures_of(folder, "sparse_double_descent")["accuracy"][1]
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == 2
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]
    assert titles == [
        "20% pairflip noise", "40% pairflip noise", "20% symmetric noise", "40% symmetric noise"
    ]  # fmt: skip
    assert len({axes.get_ylim() for axes in figure.axes}) == 2  # Train and test, shared.


def test_metrics_that_are_gone_are_counted_in_the_legend(make_folder):
    folder = make_folder(levels=3, seeds=(0, 1))
    shutil.rmtree(folder / "trials/digits-lenet-00000000/seed_1/level_02")
    legend = figures_of(folder, "sparse_double_descent")["dynamics"][1].axes[1].get_legend()
    assert [text.get_text() for text in legend.get_texts()][-1] == "36.0% (1 of 2 seeds)"


def test_without_label_noise_there_is_no_memorization_figure(make_folder):
    folder = make_folder(levels=2, seeds=(0,))
    examples = [f"{kind}_accuracy" for kind in ("unpermuted", "permuted", "restored")]
    keys = store.read_results(folder)[list(store.KEY_COLUMNS)].to_dict("records")
    store.merge_rows(folder, [{**key, **dict.fromkeys(examples)} for key in keys])
    for path in folder.glob("trials/*/*/*/metrics.csv"):
        table = store.read_metrics(path.parent, ".")
        table[examples] = None
        path.write_text(table.to_csv(index=False))
    assert list(figures_of(folder, "sparse_double_descent")) == ["accuracy", "dynamics"]


def test_the_reading_says_the_numbers_of_the_fall_and_the_rise(make_folder):
    folder = make_folder()
    means = store.read_results(folder).groupby("level")[LAST].mean() * 100
    dip, peak = means[:16].idxmin(), means.idxmax()
    said = sparse_double_descent.descent_reading(loaded(sparse_double_descent, folder))
    sparsity = [tables.sparsity_percent(1 - 0.8**level) for level in (dip, peak)]
    assert says(said, "falls", f"{means[0]:.1f}%", f"{means[dip]:.1f}%", f"{sparsity[0]}%")
    assert says(said, "rises", f"{means[peak]:.1f}%", f"{sparsity[1]}%")


def noisy(rows):
    noise = 0.4 * (rows["seed"] - 1) * (-1.0) ** rows["level"]
    return rows.assign(**{c: rows[c] + noise for c in (LAST, "test_accuracy_best")})


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (noisy, ["does not exceed the dense network's 73"]),
        (lambda rows: rows[rows["seed"] == 0], ["one seed at 23 levels", "cannot tell a fall"]),
        (lambda rows: rows[rows["level"] == 0], ["3 seeds at 1 level ", "cannot tell a fall"]),
        (lambda rows: rows[rows["level"] > 0], ["3 seeds at 22 levels", "cannot tell a fall"]),
    ],
)
def test_what_cannot_be_told_from_noise_is_not_said_to_fall_or_to_rise(make_folder, change, facts):
    found = loaded(sparse_double_descent, make_folder(), change)
    assert says(sparse_double_descent.descent_reading(found), *facts)


def test_efficacy_is_the_mean_over_seeds_and_marked_where_no_level_was_hurt(make_folder):
    def hurt(rows):
        is_hurt = (rows["seed"] == 0) & (rows["level"] == 2)
        return rows.assign(train_accuracy=np.where(is_hurt, 0.5, 1.0))

    found = loaded(sparse_double_descent, make_folder(levels=3), hurt)
    table = sparse_double_descent.efficacy_table(found)
    expected = [0.2, 0.36, 0.36]
    assert table.numbers["efficacy_mean"][0] == pytest.approx(np.mean(expected))
    assert table.numbers["efficacy_std"][0] == pytest.approx(np.std(expected, ddof=1))
    assert table.shown.iloc[0, 0] == "≥ 30.67 ± 9.24"
    assert table.title.endswith("within 1 point of dense")


def test_the_tolerance_is_read_from_the_results(make_folder):
    folder = make_folder()
    tight, wide = (
        sparse_double_descent.efficacy_table(loaded(sparse_double_descent, folder, change)).numbers
        for change in (
            lambda rows: rows,
            lambda rows: rows.assign(**{trials.EFFICACY_TOLERANCE: 0.1}),
        )
    )
    assert wide["tolerance"][0] == 0.1
    assert wide["efficacy_mean"][0] > tight["efficacy_mean"][0]


@pytest.fixture
def ranges(make_folder):
    folder = make_folder(({}, CIFAR), levels=28, columns=COLUMNS[:-1])
    return loaded(sparse_double_descent, folder, lambda rows: rows.assign(retrain="weight_rewind"))


def test_the_ranges_follow_each_other_and_cover_every_level(ranges):
    for network in ranges.networks:
        found = sparse_double_descent.ranges_of(network, 0.01)
        assert list(found) == list(descent.RANGES)
        bounds = list(found.values())
        assert (bounds[0][0], bounds[-1][1]) == (0, 27)
        assert all(b == a + 1 for (_, a), (b, _) in itertools.pairwise(bounds))
    table = sparse_double_descent.ranges_table(ranges)
    assert len(table.numbers) == 8
    assert table.shown["trivial (%)"].str.startswith("0 to ").all()
    assert set(table.labels) == {"dataset", "model", "noise_fraction"}


@pytest.mark.parametrize(
    ("pairs", "boosted"),
    [
        (((0.70, 0.75), (0.72, 0.78)), True),
        (((0.70, 0.75), (0.72, 0.70)), False),
        (((0.70, 0.704), (0.72, 0.724)), False),
        (((0.70, 0.72),), True),  # One seed has no spread.
        (((0.70, 0.70),), False),
    ],
)
def test_a_boost_must_exceed_the_spread_over_seeds_and_half_a_point(pairs, boosted):
    columns = ("seed", "level", LAST, "test_accuracy_best", "train_accuracy")
    rows = [
        (seed, level, value, value, 1.0 - level)
        for seed, pair in enumerate(pairs)
        for level, value in enumerate(pair)
    ]
    found = pd.DataFrame(rows, columns=columns)
    network = networks.Networks("t", "", "t", found, found, None)
    assert ("high" in sparse_double_descent.ranges_of(network, 0.01)) == boosted


def test_the_papers_sparsities_stand_beside_ours_where_it_has_the_setting(ranges):
    table = sparse_double_descent.sampled_table(ranges)
    shown = table.shown.set_index(["dataset", "sampled"])["the paper's (%)"]
    assert shown["digits"].unique().tolist() == [""]
    assert shown["cifar10"].tolist() == ["0", "98.2", "99.08", "99.53", "99.76"]
    levels = table.numbers.set_index(["dataset", "sampled"])["level"]["cifar10"]
    assert levels["first_sweet_spot"] < levels["second_sweet_spot"]


def test_sparsities_on_which_the_papers_figures_disagree_name_their_figures():
    values = ("mnist", "lenet_300_100", "symmetric", 0.2, "magnitude", "weight_rewind")
    setting = dict(zip(COLUMNS, values, strict=True))
    found = sparse_double_descent.printed_sparsities(setting)
    assert found["overfitting"] == "89.26"
    assert found["first_sweet_spot"] == "94.5 (figure 9), 96.48 (figure 11)"
    assert found["second_sweet_spot"] == "98.56 (figure 9), 98.85 (figure 10)"
    for other in ({"retrain": "finetune"}, {"criterion": "random"}, {"label_noise": "pairflip"}):
        assert sparse_double_descent.printed_sparsities({**setting, **other}) == {}


def test_the_change_in_loss_is_tabled_drawn_and_said(make_folder):
    folder = make_folder(levels=28)
    assert "loss_change" not in tables_of(folder, "sparse_double_descent")
    with_loss_change(folder)
    table = tables_of(folder, "sparse_double_descent")["loss_change"]
    assert table.numbers["level"].tolist() == list(range(1, 28))
    assert table.shown["ΔL (nats)"].iloc[0] == "0.110 ± 0.010"
    assert table.shown["first order (nats)"].iloc[0] == "0.00100 ± 0.00000"
    info, figure = figures_of(folder, "sparse_double_descent")["loss_change"]
    exact, linear = figure.axes[0].get_lines()
    np.testing.assert_allclose(exact.get_ydata(), 0.1 * np.arange(1, 28) + 0.01)
    np.testing.assert_allclose(linear.get_ydata(), 0.001)
    assert says(info.reading, "2.71 nats", "first order 0.001", "99.8%")


# ---------------------------------------------------------------- redense
def test_the_path_reading_counts_monotonic_paths_and_names_the_highest_barrier(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS)
    said = reading(folder, "redense", "interpolation")
    assert says(said, "on all 12 paths", "highest, 0.0200 nats, at 59.0% sparsity")

    def rising(rows):
        at = (rows["level"] == 4) & (rows["seed"] == 1)
        return rows.assign(monotonic=rows["monotonic"].mask(at, 0), barrier_height=0.0)

    said = redense.path_reading(loaded(redense, folder, rising))
    assert says(said, "on 11 of 12 paths", "but not at 59.0% sparsity", "no barrier rises")


def test_the_sharpness_reading_tells_a_trend_from_none(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS, seeds=(0, 1))
    said = reading(folder, "redense", "sharpness")
    # 1.1 (0.2 + 0.1 level) nats, 2% more for seed 1; the dense network's 1.1 times 0.3.
    assert says(said, "grows with the sparsity", "τ = 1.00, p = 0.017, n = 5")
    assert says(said, "0.222 ± 0.003 nats from 0%", "2.44 ± 0.03 nats from 98.8%")
    assert "dense network from scratch is 0.333 ± 0.005" in said

    def of(*values):
        by_level = dict(zip(LEVELS, values, strict=True))

        def change(rows):
            lifted = rows["branch"] == "redense"
            return rows.assign(
                sharpness=rows["sharpness"].mask(lifted, rows["level"].map(by_level))
            )

        return redense.sharpness_reading(loaded(redense, folder, change))

    assert "falls with" in of(5, 4, 3, 2, 1)
    assert "neither clearly grows nor falls" in of(3, 1, 4, 1.5, 2)


def test_lines_show_the_mean_over_directions_and_seeds_beside_the_dense_network(make_branches):
    folder = make_branches("redense", branch_levels=(4, 16), seeds=(0, 1))
    left, right = figures_of(folder, "redense")["sharpness"][1].axes
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["dense, from scratch", "59.0%", "97.2%"]
    # 0.02 + 0.6 (1 + 0.02 seed)(1 + 0.2 direction) at distance 1, from level 4.
    values = [0.02 + 0.6 * seed * direction for seed in (1, 1.02) for direction in (1, 1.2)]
    assert left.get_lines()[1].get_ydata()[-1] == pytest.approx(np.mean(values))


def test_a_file_that_is_gone_is_left_out_and_a_damaged_one_is_named(make_branches):
    folder = make_branches("redense", branch_levels=(4, 16), seeds=(0, 1))
    paths = sorted(folder.glob("trials/**/interpolation-*.csv"))
    paths[0].unlink()
    (network,) = loaded(redense, folder).networks
    read = networks.of_files("interpolation", store.INTERPOLATION_COLUMNS)
    assert len(read(network, network.rows)) == 3
    paths[1].write_text("alpha,train_loss\n0,1\n")
    with pytest.raises(InputError, match=r"interpolation-0123abcd\.csv lacks the columns"):
        report.build_figures(folder, "redense")


def test_the_rise_to_a_surfaces_edge_is_the_mean_over_its_outermost_points():
    x, y = (side.ravel() for side in np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]))
    surface = pd.DataFrame({"x": x, "y": y, "train_loss": 0.5 + x**2 + y**2})
    # Four corners rise by 2, four sides by 1.
    assert redense.edge_rise(surface) == pytest.approx(1.5)


# ---------------------------------------------------------------- learning_distance
def test_distance_curves_cross_where_the_two_exponentials_meet(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(23))
    # 30 * 0.93^n = 22 * 0.97^n at n = ln(30/22) / ln(0.97/0.93) = 7.365; straight from 7 to 8.
    gap = [30 * 0.93**n - 22 * 0.97**n for n in (7, 8)]
    (found,) = tables_of(folder, "learning_distance")["crossings"].numbers.query(
        "quantity == 'distance_from_init'"
    )["sparsity"]
    assert found == pytest.approx(1 - 0.8 ** (7 + gap[0] / (gap[0] - gap[1])))
    info, figure = figures_of(folder, "learning_distance")["curves"]
    marks = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert len(marks) == 3
    assert marks[0].get_xdata()[0] == pytest.approx(-np.log(1 - found))
    assert f"the distance curves cross at {100 * found:.1f}% sparsity" in info.reading


def test_curves_of_fewer_than_two_shared_levels_are_not_said_to_cross_or_not(make_branches):
    folder = make_branches("learning_distance", branch_levels=(0, 2), levels=3, seeds=(0,))

    def said(change=lambda rows: rows):
        return learning_distance.crossing_reading(loaded(learning_distance, folder, change))

    for chosen in ("branch == '' or level == 2", "branch != ''", "branch == ''"):
        assert said(lambda rows, c=chosen: rows.query(c)).startswith("There are no two levels yet")
    assert "cross" in said()


def test_distance_and_accuracy_are_said_as_numbers_and_not_as_a_difference(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(5), levels=5)
    last = store.read_results(folder).query("branch == 'redense' and level == 4")
    distance, accuracy = last["distance_from_init"], 100 * last[LAST]
    assert reading(folder, "learning_distance", "curves").endswith(
        f"the re-dense one {distance.mean():.1f} ± {distance.std():.1f} from initialization, "
        f"with {accuracy.mean():.1f} ± {accuracy.std():.1f}% test accuracy."
    )


def test_the_correlation_table_is_scipys_over_levels_of_means_over_seeds(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(0, 23, 2))
    numbers = tables_of(folder, "learning_distance")["correlation"].numbers.set_index("network")
    results = store.read_results(folder)
    means = results.groupby(["branch", "level"])[["distance_from_init", LAST]].mean()
    sparse, dense = means.loc[""], means.loc["redense"]
    assert numbers["n"].tolist() == [23, 12, 12]
    both = sparse.loc[dense.index] - dense
    for name, frame in (("sparse", sparse), ("re-dense", dense), ("sparse minus re-dense", both)):
        expected, ranks = stats.pearsonr(*frame.to_numpy().T), stats.kendalltau(*frame.to_numpy().T)
        found = numbers.loc[name, ["pearson", "pearson_p", "kendall", "kendall_p"]].tolist()
        assert found == pytest.approx(
            [expected.statistic, expected.pvalue, ranks.statistic, ranks.pvalue]
        )
    said = reading(folder, "learning_distance", "correlation")
    assert says(said, f"sparse with r = {numbers.loc['sparse', 'pearson']:.2f}", "n = 23")


# ---------------------------------------------------------------- random_reinit
def test_the_reinit_reading_names_the_sparsities_the_gain_and_what_matches(make_branches):
    folder = make_branches("random_reinit", "reinit", range(1, 23))
    said = reading(folder, "random_reinit", "accuracy")
    assert says(said, "reinitialization", "higher", "5 of 22", "83.2% to 93.1%", "lower at 0")
    assert says(said, "matches at 17", "+4.0 ± 1.0 points", "83.2%")

    def lower(rows):
        lost = (rows["branch"] == "reinit") & (rows["level"] == 20)
        return rows.assign(**{LAST: rows[LAST] - 0.1 * lost})

    said = random_reinit.gain_reading(LAST, "Last")(loaded(random_reinit, folder, lower))
    assert "lower at 1 (98.8%), and matches at 16" in said


def test_one_seed_is_said_not_to_tell_a_difference(make_branches):
    folder = make_branches("random_reinit", "reinit", (8, 9), seeds=(0,))
    said = reading(folder, "random_reinit", "accuracy")
    assert says(said, "above", "2 of 2 sparsities", "+3.0 points, at", "one seed cannot tell")
    table = tables_of(folder, "random_reinit")["difference"]
    assert table.numbers["test_accuracy_last_difference_verdict"].tolist() == ["", ""]
