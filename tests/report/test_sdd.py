"""What SDD's experiments draw, tabulate and say, on made-up folders with known numbers.

Whatever of it golden files hold is not asked for again.
"""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from golden import figures_of, tables_of
from scipy import stats
from wording import says

from tfprune import store
from tfprune.errors import InputError
from tfprune.measures import descent
from tfprune.pages import report
from tfprune.papers import REPORTS
from tfprune.papers.sdd import learning_distance, networks, random_reinit, redense
from tfprune.papers.sdd import sparse_double_descent as sdd
from tfprune.report import tables, trials
from tfprune.report.accuracy import LAST

LEVELS = (0, 4, 11, 16, 20)
CIFAR = {"dataset": "cifar10", "model": "resnet18", "noise_fraction": 0.2}
COLUMNS = ("dataset", "model", "label_noise", "noise_fraction", "criterion", "retrain")


def loaded(folder, change=lambda rows: rows):
    rows = store.read_results(folder)
    return REPORTS[rows["experiment"][0]].load(change(rows), folder)


# ---------------------------------------------------------------- networks
def test_a_network_whose_masks_were_lifted_stands_at_the_sparsity_it_came_from(make_branches):
    found = loaded(make_branches("redense", branch_levels=LEVELS, seeds=(0,)))
    dense = found.networks[0].rows.set_index("level")
    np.testing.assert_allclose(dense["sparsity"], 1 - 0.8 ** dense.index.to_numpy(float))
    np.testing.assert_allclose(dense["weights_remaining"], 0.8 ** dense.index.to_numpy(float))


def test_differences_are_taken_seed_by_seed_and_only_where_both_are_there(make_branches):
    folder = make_branches("random_reinit", "reinit", (7, 8), seeds=(0, 1, 2, 3))
    (pair,) = loaded(folder, lambda r: r.query("branch != '' or level != 8 or seed != 3")).networks
    gaps = pair.differences(LAST)
    assert gaps["n"].tolist() == [4, 3]
    np.testing.assert_allclose(gaps["mean"], [0.005, 0.04])
    np.testing.assert_allclose(gaps["std"], [np.std([-1, 0, 1, 2], ddof=1) / 100, 0.01])
    assert gaps["verdict"].tolist() == ["matches", "higher"]


def test_a_trunk_without_branches_yet_makes_a_report_all_the_same(make_folder):
    for experiment in ("redense", "learning_distance", "random_reinit"):
        folder = make_folder(experiment=experiment, levels=2, seeds=(0,))
    report.build_report(folder)
    made = {path.stem for kind in ("tables/*.csv", "figures/*") for path in folder.glob(kind)}
    assert made == {"redense_accuracy", "random_reinit_accuracy"}


# ---------------------------------------------------------------- sparse_double_descent
def test_of_a_product_of_settings_every_value_of_the_last_has_a_column_of_panels(make_folder):
    product = itertools.product((0.2, 0.4), ("pairflip", "symmetric"), ("random", "magnitude"))
    names = ("noise_fraction", "label_noise", "criterion")
    settings = [dict(zip(names, values, strict=True)) for values in product]
    folder = make_folder(settings, levels=2, seeds=(0,))
    axes = figures_of(folder, "sparse_double_descent")["accuracy"][1].axes
    assert axes[0].get_subplotspec().get_gridspec().ncols == 2
    assert [title for panel in axes if (title := panel.get_title("left"))] == [
        "20% pairflip noise", "40% pairflip noise", "20% symmetric noise", "40% symmetric noise"
    ]  # fmt: skip
    assert len({panel.get_ylim() for panel in axes}) == 2  # Train and test, shared.


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
        table = store.read_metrics(path.parent, ".").assign(**dict.fromkeys(examples))
        path.write_text(table.to_csv(index=False))
    assert list(figures_of(folder, "sparse_double_descent")) == ["accuracy", "dynamics"]


def test_the_reading_says_the_numbers_of_the_fall_and_the_rise(make_folder):
    folder = make_folder()
    means = store.read_results(folder).groupby("level")[LAST].mean() * 100
    dip, peak = means[:16].idxmin(), means.idxmax()
    at = {level: f"{tables.sparsity_percent(1 - 0.8**level)}%" for level in (dip, peak)}
    said = sdd.descent_reading(loaded(folder))
    assert says(said, "falls", f"{means[0]:.1f}%", f"{means[dip]:.1f}%", at[dip])
    assert says(said, "rises", f"{means[peak]:.1f}%", at[peak])


def noisy(rows):
    noise = 0.4 * (rows["seed"] - 1) * (-1.0) ** rows["level"]
    return rows.assign(**{c: rows[c] + noise for c in (LAST, "test_accuracy_best")})


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (noisy, ["does not exceed the dense network's 73"]),
        (lambda rows: rows.query("seed == 0"), ["one seed at 23 levels", "cannot tell a fall"]),
        (lambda rows: rows.query("level == 0"), ["3 seeds at 1 level ", "cannot tell a fall"]),
        (lambda rows: rows.query("level > 0"), ["3 seeds at 22 levels", "cannot tell a fall"]),
    ],
)
def test_what_cannot_be_told_from_noise_is_not_said_to_fall_or_to_rise(make_folder, change, facts):
    assert says(sdd.descent_reading(loaded(make_folder(), change)), *facts)


def test_efficacy_is_the_mean_over_seeds_and_marked_where_no_level_was_hurt(make_folder):
    def hurt(rows):
        is_hurt = (rows["seed"] == 0) & (rows["level"] == 2)
        return rows.assign(train_accuracy=np.where(is_hurt, 0.5, 1.0))

    table = sdd.efficacy_table(loaded(make_folder(levels=3), hurt))
    expected = [0.2, 0.36, 0.36]
    assert table.numbers["efficacy_mean"][0] == pytest.approx(np.mean(expected))
    assert table.numbers["efficacy_std"][0] == pytest.approx(np.std(expected, ddof=1))
    assert table.shown.iloc[0, 0] == "≥ 30.67 ± 9.24"


def test_the_tolerance_is_read_from_the_results(make_folder):
    given = make_folder(), lambda rows: rows.assign(**{trials.EFFICACY_TOLERANCE: 0.1})
    tight, wide = (sdd.efficacy_table(loaded(*of)) for of in (given[:1], given))
    assert tight.title.endswith("within 1 point of dense")
    assert wide.title.endswith("within 10 points of dense")
    assert wide.numbers["efficacy_mean"][0] > tight.numbers["efficacy_mean"][0]


@pytest.fixture
def ranges(make_folder):
    folder = make_folder(({}, CIFAR), levels=28, columns=COLUMNS[:-1])
    return loaded(folder, lambda rows: rows.assign(retrain="weight_rewind"))


def test_the_ranges_follow_each_other_and_cover_every_level(ranges):
    for network in ranges.networks:
        found = sdd.ranges_of(network, 0.01)
        assert list(found) == list(descent.RANGES)
        levels = [n for first, last in found.values() for n in range(first, last + 1)]
        assert levels == list(range(28))
    table = sdd.ranges_table(ranges)
    assert len(table.numbers) == 8
    assert table.shown["trivial (%)"].str.startswith("0 to ").all()


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
    assert ("high" in sdd.ranges_of(network, 0.01)) == boosted


def test_the_papers_sparsities_stand_beside_ours_where_it_has_the_setting(ranges):
    table = sdd.sampled_table(ranges)
    shown = table.shown.set_index(["dataset", "sampled"])["the paper's (%)"]
    assert shown["digits"].unique().tolist() == [""]
    assert shown["cifar10"].tolist() == ["0", "98.2", "99.08", "99.53", "99.76"]
    levels = table.numbers.set_index(["dataset", "sampled"])["level"]["cifar10"]
    assert levels["first_sweet_spot"] < levels["second_sweet_spot"]


def test_a_sweet_spot_that_is_told_alone_stands_beside_both_of_the_papers(ranges, monkeypatch):
    alone = {"dense": 0, "overfitting": 5, "sweet_spot_last": 12}
    monkeypatch.setattr(networks.Networks, "roles", alone)
    shown = sdd.sampled_table(ranges).shown.set_index(["dataset", "sampled"])
    assert shown["the paper's (%)"]["cifar10"].to_dict() == {
        "dense": "0",
        "overfitting": "98.2",
        "sweet spot": "99.08 and 99.53",
        "underfitting": "99.76",
    }


def test_sparsities_on_which_the_papers_figures_disagree_name_their_figures():
    values = ("mnist", "lenet_300_100", "symmetric", 0.2, "magnitude", "weight_rewind")
    setting = dict(zip(COLUMNS, values, strict=True))
    found = sdd.printed_sparsities(setting)
    assert found["overfitting"] == "89.26"
    assert found["first_sweet_spot"] == "94.5 (figure 9), 96.48 (figure 11)"
    assert found["second_sweet_spot"] == "98.56 (figure 9), 98.85 (figure 10)"
    for other in (
        {"retrain": "finetune"},
        {"criterion": "random"},
        {"label_noise": "pairflip"},
        {"width": 0.5},
        {"train_subset": 10000},
    ):
        assert sdd.printed_sparsities({**setting, **other}) == {}


# ---------------------------------------------------------------- redense
def test_the_path_reading_counts_monotonic_paths_and_tells_barriers_from_rounding(make_branches):
    def rising(rows):
        at = (rows["level"] == 4) & (rows["seed"] == 1)
        return rows.assign(monotonic=rows["monotonic"].mask(at, 0), barrier_height=0.0)

    said = redense.path_reading(loaded(make_branches("redense", branch_levels=LEVELS), rising))
    assert says(said, "on 11 of 12 paths", "but not at 59.0% sparsity", "no barrier rises")


def test_the_sharpness_reading_tells_a_trend_from_none(make_branches):
    folder = make_branches("redense", branch_levels=LEVELS, seeds=(0, 1))

    def of(*values):
        known = dict(zip(LEVELS, values, strict=True))

        def change(rows):
            lifted = rows["level"].map(known).where(rows["branch"] == "redense")
            return rows.assign(sharpness=lifted.fillna(rows["sharpness"]))

        return redense.sharpness_reading(loaded(folder, change))

    # 1.1 (0.2 + 0.1 level) nats, 2% more for seed 1; the dense network's 1.1 times 0.3.
    assert says(
        redense.sharpness_reading(loaded(folder)),
        "grows with",
        "τ = 1.00, p = 0.017,",
        "0.222 ± 0.003 nats from 0%, 2.44 ± 0.03 nats from 98.8%",
        "is 0.333 ± 0.005",
    )
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
    first, second, *_ = sorted(folder.glob("trials/**/interpolation-*.csv"))
    first.unlink()
    (network,) = loaded(folder).networks
    read = networks.of_files("interpolation", store.INTERPOLATION_COLUMNS)
    assert read(network, network.rows).groupby("alpha")["seed"].agg(list)[0.5] == [1, 0, 1]
    second.write_text("alpha,train_loss\n0,1\n")
    with pytest.raises(InputError, match=r"interpolation-0123abcd\.csv lacks the columns"):
        figures_of(folder, "redense")


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
    (network,) = loaded(folder).networks
    (found,) = learning_distance.crossings(network.trunk, network.rows, "distance_from_init")
    assert found == pytest.approx(1 - 0.8 ** (7 + gap[0] / (gap[0] - gap[1])))
    figure = figures_of(folder, "learning_distance")["curves"][1]
    marks = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert marks[0].get_xdata()[0] == pytest.approx(-np.log(1 - found))


def test_curves_of_fewer_than_two_shared_levels_are_not_said_to_cross_or_not(make_branches):
    folder = make_branches("learning_distance", branch_levels=(0, 2), levels=3, seeds=(0,))
    for chosen in ("branch == '' or level == 2", "branch != ''", "branch == ''"):
        found = loaded(folder, lambda rows, chosen=chosen: rows.query(chosen))
        assert learning_distance.crossing_reading(found).startswith("There are no two levels yet")
    assert "cross" in learning_distance.crossing_reading(loaded(folder))


def test_the_correlation_table_is_scipys_over_levels_of_means_over_seeds(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(0, 23, 2))
    numbers = tables_of(folder, "learning_distance")["correlation"].numbers.set_index("network")
    results = store.read_results(folder)
    means = results.groupby(["branch", "level"])[["distance_from_init", LAST]].mean()
    sparse, dense = means.loc[""], means.loc["redense"]
    assert numbers["n"].tolist() == [23, 12, 12]
    both = sparse.loc[dense.index] - dense
    for name, frame in (("sparse", sparse), ("re-dense", dense), ("sparse minus re-dense", both)):
        expected = [*stats.pearsonr(*frame.to_numpy().T), *stats.kendalltau(*frame.to_numpy().T)]
        found = numbers.loc[name, ["pearson", "pearson_p", "kendall", "kendall_p"]]
        assert found.tolist() == pytest.approx(expected)


# ---------------------------------------------------------------- random_reinit
def test_the_reinit_reading_names_the_sparsities_at_which_it_is_lower(make_branches):
    def lower(rows):
        lost = (rows["branch"] == "reinit") & (rows["level"] == 20)
        return rows.assign(**{LAST: rows[LAST] - 0.1 * lost})

    found = loaded(make_branches("random_reinit", "reinit", range(1, 23)), lower)
    said = random_reinit.gain_reading(LAST, "Last")(found)
    assert says(said, "5 of 22", "(83.2% to 93.1%)", "lower at 1 (98.8%), and matches at 16")
