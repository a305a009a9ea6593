"""What SDD's experiments draw, tabulate and say, on made-up folders with known numbers.

Whatever of it golden files hold is not asked for again.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from golden import figures_of, tables_of
from scipy import stats
from wording import says

from tfprune import store
from tfprune.measures import descent
from tfprune.papers import REPORTS
from tfprune.papers.sdd import learning_distance, networks, redense
from tfprune.papers.sdd import sparse_double_descent as sdd
from tfprune.report import trials
from tfprune.report.accuracy import LAST

LEVELS = (0, 4, 11, 16, 20)
CIFAR = {"dataset": "cifar10", "model": "resnet18", "noise_fraction": 0.2}


def loaded(folder, change=lambda rows: rows):
    rows = store.read_results(folder)
    return REPORTS[rows["experiment"][0]].load(change(rows), folder)


# ---------------------------------------------------------------- networks
def test_differences_are_taken_seed_by_seed_and_only_where_both_are_there(make_branches):
    folder = make_branches("random_reinit", "reinit", (7, 8), seeds=(0, 1, 2, 3))
    (pair,) = loaded(folder, lambda r: r.query("branch != '' or level != 8 or seed != 3")).networks
    gaps = pair.differences(LAST)
    assert gaps["n"].tolist() == [4, 3]
    np.testing.assert_allclose(gaps["mean"], [0.005, 0.04])
    np.testing.assert_allclose(gaps["std"], [np.std([-1, 0, 1, 2], ddof=1) / 100, 0.01])
    assert gaps["verdict"].tolist() == ["matches", "higher"]


def test_epochs_before_masks_are_lifted_are_of_the_seeds_after(make_branches):
    folder = make_branches("redense", branch_levels=(2,), levels=3, seeds=(0, 1))
    (pair,) = loaded(folder, lambda r: r.query("branch == '' or seed == 1")).networks
    found = pair.metrics(pair.rows)
    assert set(found["seed"]) == {1}
    assert sorted(found["epoch"]) == list(range(1, 41))


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ("-xxxx--", "36.0% to 67.2%"),
        ("xxx-x-x", "20.0%, 36.0%, 48.8%, 67.2%, 79.0%"),
        ("xxxx-xx", "20.0% to 59.0%, 73.8%, 79.0%"),
        ("-------", ""),
    ],
)
def test_sparsities_are_a_range_only_where_none_between_them_is_left_out(marks, expected):
    meant = {1 - 0.8**level: mark == "x" for level, mark in enumerate(marks, start=1)}
    assert networks.listed(pd.Series(meant)) == expected


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


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ((), "at least half are fitted at every sparsity"),
        ((2, 3), "fewer than half are fitted from 36.0% sparsity on"),
        ((0, 1, 2, 3), "fewer than half are fitted from 0% sparsity on"),
        ((1, 3), "fewer than half are fitted at 20.0%, 48.8% sparsity"),
        ((0,), "fewer than half are fitted at 0% sparsity"),
    ],
)
def test_examples_that_a_sparser_network_fits_again_are_not_lost_from_there_on(
    make_folder, lost, expected
):
    def fitted(rows):
        return rows.assign(permuted_accuracy=np.where(rows["level"].isin(lost), 0.4, 0.6))

    said = sdd.forgetting_reading(loaded(make_folder(levels=4), fitted))
    assert says(said, f"Of the permuted examples, {expected}; of the unpermuted")


@pytest.fixture
def ranges(make_folder):
    folder = make_folder(({}, CIFAR), levels=28)
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
    expected = {"dense": "0", "overfitting": "98.2", "sweet spot": "99.08 and 99.53"}
    expected["underfitting"] = "99.76"
    assert shown["the paper's (%)"]["cifar10"].to_dict() == expected


def test_sparsities_on_which_the_papers_figures_disagree_name_their_figures():
    setting = {"dataset": "mnist", "model": "lenet_300_100", "label_noise": "symmetric"}
    setting |= {"noise_fraction": 0.2, "criterion": "magnitude", "retrain": "weight_rewind"}
    found = sdd.printed_sparsities(setting)
    assert found["overfitting"] == "89.26"
    assert found["first_sweet_spot"] == "94.5 (figure 9), 96.48 (figure 11)"
    assert found["second_sweet_spot"] == "98.56 (figure 9), 98.85 (figure 10)"
    others = {"retrain": "finetune", "criterion": "random", "label_noise": "pairflip"}
    for name, other in {**others, "width": 0.5, "train_subset": 10000}.items():
        assert sdd.printed_sparsities({**setting, name: other}) == {}


# ---------------------------------------------------------------- redense
@pytest.mark.parametrize(
    ("rising", "expected"),
    [
        ({}, "on all 6 paths (sparsities and seeds);"),
        ({4: (0,)}, "on 5 of 6 paths (sparsities and seeds), but not on all at 59.0% sparsity;"),
        (
            {4: (0, 1), 8: (1,)},
            "on 3 of 6 paths (sparsities and seeds), but on none at 59.0% and not on all at 83.2% "
            "sparsity;",
        ),
        ({4: (0, 1), 8: (0, 1), 11: (0, 1)}, "on 0 of 6 paths (sparsities and seeds);"),
    ],
)
def test_where_some_paths_rise_others_from_there_are_not_denied(make_branches, rising, expected):
    def rise(rows):
        risen = [
            seed in rising.get(n, ()) for n, seed in zip(rows["level"], rows["seed"], strict=True)
        ]
        return rows.assign(monotonic=np.where(risen, 0, rows["monotonic"]))

    folder = make_branches("redense", branch_levels=(4, 8, 11), levels=12, seeds=(0, 1))
    said = redense.path_reading(loaded(folder, rise))
    assert says(said, f"train loss decreases monotonically {expected}")


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


def test_differences_in_distance_are_of_the_seeds_that_have_both(make_branches):
    """Of a study whose branches are not all trained, seeds 20 apart in everything."""
    folder = make_branches("learning_distance", branch_levels=range(6), levels=6, seeds=(0, 1))

    def with_seeds_apart(rows):
        rows = rows[(rows["branch"] == "") | (rows["seed"] == 0) | (rows["level"] > 2)].copy()
        rows.loc[rows["seed"] == 1, ["distance_from_init", LAST]] += 20.0
        return rows

    series = learning_distance._series(loaded(folder, with_seeds_apart))
    (gaps,) = (table for _, name, table, _ in series if name == "sparse minus re-dense")
    assert len(gaps) == 6
    assert (gaps[["distance_from_init", LAST]].abs() < 10).all(axis=None)
