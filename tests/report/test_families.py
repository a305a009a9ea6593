"""Families of models: the optimal one, the last that beats dense, and ours beside the paper's."""

import math

import numpy as np
import pandas as pd
import pytest
from peg import EPOCHS, family, row

from tfprune.papers.peg import comparisons, families
from tfprune.papers.peg.families import DENSE, TEST_ERROR, Benchmark
from tfprune.report.summary import Beside, Printed, beside_table

LENET = Benchmark("mnist", "lenet_300_100", "uniform_other", 0.15)


def found(rows):
    return families.load(pd.DataFrame(rows))


def only(rows):
    (one,) = found(rows)
    return one


def on_one_benchmark(rows):
    """method -> family."""
    (here,) = families.by_benchmark(found(rows)).values()
    return here


def means(one, column):
    """Of every member that has a test error."""
    there = one.points[one.points[TEST_ERROR].notna()]
    return there.groupby("member")[column].mean().tolist()


def validated(by_seed):
    """Rows of lr_rewind from {seed: [(test error, validation error), ...] by level}."""
    return [
        row("lr_rewind", level, seed, test, val)
        for seed, levels in by_seed.items()
        for level, (test, val) in enumerate(levels)
    ]


# ---------------------------------------------------------------- members
def test_the_optimal_level_is_that_of_the_best_mean_validation_error_not_test_error():
    # Means of validation: 5, 4, 3.5, 6; seed 0 alone would take level 1.
    by_seed = {0: [(9, 5), (8, 2), (7, 4), (1, 6)], 1: [(9, 5), (8, 6), (7, 3), (1, 6)]}
    one = only(validated(by_seed))
    assert one.optimal() == 2
    assert one.by_seed(TEST_ERROR, 2) == pytest.approx({0: 7.0, 1: 7.0})


def test_of_levels_with_as_many_wrong_validation_images_the_least_pruned_is_optimal():
    """Spread differently over seeds: in float32 level 2's mean is lower by 2e-6 points."""
    wrong = {0: (12, 4, 4), 1: (12, 4, 5), 2: (12, 7, 6)}
    stored = {
        seed: [(5, 100 * (1 - float(np.float32(1 - n / 200)))) for n in images]
        for seed, images in wrong.items()
    }
    assert only(validated(stored)).optimal() == 1


def test_without_a_validation_split_test_error_chooses_and_the_title_says_so():
    without = only(validated({0: [(3, math.nan), (2, math.nan), (4, math.nan)]}))
    assert not without.is_validated
    assert without.optimal() == 1
    assert "by TEST error" in families.selection_note([without])
    assert "TEST" not in families.selection_note([only(validated({0: [(3, 3)]}))])


@pytest.mark.parametrize(
    ("errors", "optimal", "beating", "star"),
    [
        ({0: [3, 3, 4]}, 0, [], None),  # The dense model belongs to the family, and wins ties.
        ({0: [3, 3, 2, 2]}, 2, [], None),  # Of one seed the rule says nothing.
        # The last that beats dense may lie beyond ones that do not; level 4 equals it.
        ({0: [5, 4, 6, 4.9, 5, 7], 1: [5, 4, 6, 4.9, 5, 7]}, 1, [1, 3], 1),
        ({0: [5, 6, 7], 1: [5, 6, 7]}, 0, [], None),
        # Level 1: differences -1 and -3, mean -2, std 1.41; level 2: 1 and -2, -0.5, std 2.12.
        ({0: [5, 4, 6], 1: [5, 2, 3]}, 1, [1], 1),
        ({0: [5, 6], 1: [5, 3]}, 1, [], None),  # Below dense by noise alone.
        # Seed 1 is 10 points worse throughout and lacks level 2: means alone would choose that.
        ({0: [5, 3, 4], 1: [15, 13, None]}, 1, [1], 1),
    ],
)
def test_what_is_optimal_what_beats_dense_and_what_has_a_star(errors, optimal, beating, star):
    one = only(family("lr_rewind", errors))
    assert (one.optimal(), one.beating_dense(), one.marked_optimum()) == (optimal, beating, star)
    assert one.highest_beating_dense() == (beating[-1] if beating else None)


@pytest.mark.parametrize("method", ["width", "width_matched"])
def test_the_best_width_is_one_of_the_narrowed_ones(method):
    rows = family(method, {0: [3, 5, 4, 6], 1: [3, 5, 4, 6]})
    here = on_one_benchmark(rows + family("lr_rewind", {0: [3.5, 4], 1: [3.5, 4]}))
    best = here[method].optimal()
    assert here[method].rows(best)["width"].tolist() == pytest.approx([0.64, 0.64])
    assert here["lr_rewind"].optimal() == 0
    assert here["lr_rewind"].optimal(with_dense=False) == 1
    # The full width, trained as long, has a lower error than dense: it is no narrowed network.
    assert here[method].beating_dense() == []


def test_epochs_add_up_over_levels_and_for_one_shot_over_dense_and_one_retraining():
    rows = family("lr_rewind", {0: [5, 4, None, 3]}) + family("one_shot", {0: [5, 4, 3]})
    rows += [row("width_matched", level, 0, 5.0, width=0.8) for level in (0, 1)]
    rows[1]["train_epochs"] = 50
    epochs = {m: means(one, "total_epochs") for m, one in on_one_benchmark(rows).items()}
    # Level 2 is missing: the sum after it is not known.
    assert epochs["lr_rewind"] == pytest.approx([EPOCHS, EPOCHS + 50, math.nan], nan_ok=True)
    assert epochs["one_shot"] == [EPOCHS, 2 * EPOCHS, 2 * EPOCHS]
    assert epochs["width_matched"] == [EPOCHS, 2 * EPOCHS]  # The dense model, then 0.8 wide.


def test_the_weights_that_remain_are_of_the_full_dense_model_in_every_family():
    """One axis: of a narrow network those that are not there count as those that are pruned."""
    here = on_one_benchmark(family("width", {0: [5, 4, 6]}) + family("lr_rewind", {0: [5, 4]}))
    # The fixture has 0.8**(1.5 k) of the weights, rounded to whole ones.
    narrow = pytest.approx(0.8 ** (1.5 * np.arange(3)), abs=1e-5)
    assert means(here["width"], "weights_remaining") == narrow
    assert means(here["lr_rewind"], "weights_remaining") == pytest.approx([1, 0.8])
    assert here["width"].place_text(1) == "71.6%"


def test_a_family_without_a_dense_row_takes_the_benchmarks():
    rows = family("width_matched", {0: [4.5, 4, 6]}) + family("lr_rewind", {0: [5, 4]})
    matched = on_one_benchmark(rows)["width_matched"]
    assert means(matched, TEST_ERROR) == pytest.approx([5, 4.5, 4, 6])
    assert means(matched, "weights_remaining")[:2] == pytest.approx([1, 1])


def test_the_full_width_is_known_though_its_own_trial_is_not_there_yet():
    rows = [row("width", 0, 0, 4.5, width=0.8**k) for k in (1, 2)]
    here = on_one_benchmark(rows + family("lr_rewind", {0: [5, 4]}))
    assert means(here["width"], TEST_ERROR) == pytest.approx([5, 4.5, 4.5])


def test_a_sweep_from_a_wider_network_is_measured_against_that_one():
    one = only([row("width", 0, 0, 5.0 - k, width=2 * 0.8**k) for k in range(3)])
    assert (one.benchmark.width, one.benchmark.panel) == (2, "LeNet-300-100, mnist, width 2")
    assert means(one, "weights_remaining")[0] == 1


# ---------------------------------------------------------------- benchmarks
BOTH = {"lr_rewind", "weight_rewind"}
REWOUND = {"method": "weight_rewind"}
OTHER = {"method": "synflow"}


@pytest.mark.parametrize(
    ("trials", "benchmarks"),
    [
        ([{}, {"noise": 0.15}], {"no noise": {"lr_rewind"}, "15% noise": {"lr_rewind"}}),
        ([{}, OTHER], {"no noise": {"lr_rewind", "synflow"}}),
        # A sweep over a setting that no table knows.
        ([one | {"weight_decay": decay} for one in ({}, REWOUND) for decay in (0.0, 0.1)],
         {"weight_decay=0, no noise": BOTH, "weight_decay=0.1, no noise": BOTH}),
        # Trials that no column tells apart, beside methods that are alone.
        ([{}, {}], {"trial=0, no noise": {"lr_rewind"}, "trial=1, no noise": {"lr_rewind"}}),
        ([{}, REWOUND, OTHER, OTHER | {"retrain": "finetune"}],
         {"no noise": BOTH, "trial=2, no noise": {"synflow"}, "trial=3, no noise": {"synflow"}}),
        # As when one was run with other epochs into the same folder.
        ([{"dense_trial": "a"}, REWOUND | {"dense_trial": "b"}],
         {"dense_trial=a, no noise": {"lr_rewind"}, "dense_trial=b, no noise": {"weight_rewind"}}),
        ([{"dense_trial": "a"}, REWOUND | {"dense_trial": "a"}], {"no noise": BOTH}),
        ([one | {"dense_trial": name} for one in ({}, REWOUND) for name in "ab"],
         {"dense_trial=a, no noise": BOTH, "dense_trial=b, no noise": BOTH}),
    ],
)  # fmt: skip
def test_what_is_compared_is_of_one_benchmark(trials, benchmarks):
    common = {"method": "lr_rewind", "level": 0, "seed": 0, "test_error": 5.0}
    rows = [row(**common | {"trial": str(n)} | own) for n, own in enumerate(trials)]
    names = {
        mark.name.removeprefix("LeNet-300-100, mnist, "): set(here) - {DENSE}
        for mark, here in families.by_benchmark(found(rows)).items()
    }
    assert names == benchmarks


def test_branches_are_no_members():
    rows = [*family("lr_rewind", {0: [5, 4]}), row("lr_rewind", 1, 0, 1.0, branch="tie")]
    assert only(rows).by_seed(TEST_ERROR, 1) == pytest.approx({0: 4.0})
    assert found(rows[-1:]) == []


def test_of_a_sweep_over_widths_every_one_has_its_own_narrower_networks():
    rows = []
    for full, start in ((1.0, "a"), (8.0, "b")):
        rows.append(row("lr_rewind", 0, 0, 5.0, width=full, trial=start, dense_trial=start))
        rows += [
            row("width", 0, 0, 5.0 + member, width=full * 0.8**member, dense_trial=start)
            for member in range(3)
        ]
    here = families.by_benchmark(found(rows))
    assert [mark.width for mark in here] == [1, 8]
    for mark, own in here.items():
        assert means(own["width"], "width") == pytest.approx(mark.width * 0.8 ** np.arange(3))


# ---------------------------------------------------------------- beside the paper
@pytest.mark.parametrize(
    ("table", "about", "method", "cell"),
    [
        (6, ("mnist", "lenet_300_100", "uniform_other", 0.15), "weight_rewind", (4.4, 0.2, 3)),
        (6, ("mnist", "lenet_300_100", "uniform_other", 0.15), DENSE, (13.4, 0.3, 3)),
        (7, ("cifar10", "resnet20", "uniform_other", 0.3), "width", (16.01, 0.55, 3)),
        (2, ("mnist", "lenet_300_100", "none", 0.0), "snip", (1.9, 0.1, 3)),
        (5, ("cifar10", "vgg16", "uniform_other", 0.6), "extended_dense", (59.46, 0.53, 3)),
        (9, ("cifar10", "vgg16", "uniform_other", 0.6), "lr_rewind", (27.9, 1.41, 3)),
        (10, ("cifar10", "vgg16", "uniform_other", 0.6), "synflow", (30.67, 10.03, 3)),
        (10, ("mnist", "lenet_300_100", "uniform_other", 0.05), "random", (5.11, 0.27, 3)),
        (6, ("mnist", "lenet_300_100", "symmetric", 0.15), "weight_rewind", None),
        (6, ("mnist", "lenet_300_100", "uniform_other", 0.2), "weight_rewind", None),
    ],
)
def test_the_papers_cell_is_found_by_model_data_noise_and_method_or_is_none(
    table, about, method, cell
):
    at = DENSE if method == DENSE else "optimal"
    printed = comparisons.printed(table, Benchmark(*about), method, at)
    assert (printed and (printed.mean, printed.std, printed.n)) == cell


PAPER = Printed(4.4, 0.2, 3)
SEEDS = {0: 4.0, 1: 5.0, 2: 7.0}


@pytest.mark.parametrize(
    ("values", "other", "verdict"),
    [
        # Ours 4.7 ± 0.1 beside 4.4 ± 0.2: the difference 0.3 is over sqrt(0.05) = 0.2236.
        ({0: 4.6, 1: 4.7, 2: 4.8}, PAPER, "higher"),
        ({0: 4.0, 1: 4.1, 2: 4.2}, PAPER, "lower"),
        ({0: 4.5, 1: 4.6, 2: 4.7}, PAPER, "matches"),
        # One seed: the published std stands for ours, sqrt(0.08) = 0.2828.
        ({0: 4.68}, PAPER, "matches"),
        ({0: 4.69}, PAPER, "higher"),
        # Seed by seed, -1, -1.2, -0.8: they differ, though both spread by more than a point.
        (SEEDS, {0: 5.0, 1: 6.2, 2: 7.8}, "lower (-1.00)"),
        # 1, -1, 0.3: the mean 0.1 is within their std 1.015.
        (SEEDS, {0: 3.0, 1: 6.0, 2: 6.7}, "matches (+0.10)"),
        # Two pairs of three seeds, and one pair, of which the rule says nothing.
        (SEEDS, {0: 5.0, 1: 6.2}, "lower (-1.10, n=2)"),
        ({0: 4.0}, {0: 5.0}, "(-1.00)"),
    ],
)
def test_verdicts_are_by_both_spreads_beside_the_paper_and_seed_by_seed_beside_ours(
    values, other, verdict
):
    is_paper = other is PAPER
    about = LENET.settings, LENET.labels, {"algorithm": "x"}, values, TEST_ERROR
    row = Beside(*about, PAPER, {}) if is_paper else Beside(*about, None, other)
    table = beside_table("t", "title", [row], against=DENSE)
    assert table.shown["vs paper" if is_paper else "vs dense"].tolist() == [verdict]
    assert table.numbers["n"].tolist() == [len(values)]


def test_longer_training_of_unknown_length_is_not_said_to_beat_dense_never():
    """Its dense level, which gives the epochs so far, has no row yet."""
    rows = family("lr_rewind", {0: [5], 1: [7]})
    longer = family("extended_dense", {0: [5, 4], 1: [7, 6.1]})
    table = comparisons.optima_table(found(rows + [row for row in longer if row["level"]]))
    assert table.shown["still beats dense"].tolist() == ["never", ""]


def test_the_table_of_optima_has_both_ends_the_verdict_and_missing_seeds():
    rows = family("lr_rewind", {0: [5, 4, 4.8, 6], 1: [7, 5.9, None, 8]})
    rows += family("extended_dense", {0: [5, 4.5], 1: [7, None]})
    table = comparisons.optima_table(found(rows))
    assert table.shown["optimum at"].tolist() == ["80%", f"{2 * EPOCHS} epochs"]
    # Level 2 is there for one seed, longer training for one: neither tells.
    assert table.shown["still beats dense"].tolist() == ["80%", "never"]
    assert table.shown["vs dense"].tolist() == ["lower (-1.05)", "(-0.50)"]
    assert table.shown["missing seeds"].tolist() == ["", "1"]
    assert table.numbers["highest_beating_dense_weights_remaining"][0] == pytest.approx(0.8)
