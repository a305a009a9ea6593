"""Families of models: the optimal one, the last that beats dense, and ours beside the paper's."""

import math

import numpy as np
import pandas as pd
import pytest
from peg import COLUMNS, EPOCHS, family, row, write

from tfprune import store
from tfprune.papers.peg import comparisons, families
from tfprune.papers.peg.families import (
    DENSE,
    EXTENDED_DENSE,
    LR_REWIND,
    ONE_SHOT,
    TEST_ERROR,
    WEIGHT_REWIND,
    WIDTH,
    WIDTH_MATCHED,
    Benchmark,
)
from tfprune.report.summary import Beside, Printed, beside_table

LENET = Benchmark("mnist", "lenet_300_100", "uniform_other", 0.15)


def found(rows, tmp_path=None):
    """Families of rows, from a results.csv if there is a folder for one."""
    if tmp_path is not None:
        return families.families(store.read_results(write(tmp_path, rows)))
    table = pd.DataFrame(rows)
    return families.families(table)


def means(one, column):
    """Of every member that has a test error."""
    there = one.points[one.points[TEST_ERROR].notna()]
    return there.groupby("member")[column].mean().tolist()


def only(rows):
    (one,) = found(rows)
    return one


def validated(by_seed, **changes):
    """Rows of lr_rewind from {seed: [(test error, validation error), ...] by level}."""
    return [
        row(LR_REWIND, level, seed, test, val, **changes)
        for seed, levels in by_seed.items()
        for level, (test, val) in enumerate(levels)
    ]


def test_the_optimal_level_is_that_of_the_best_mean_validation_error_not_test_error():
    # Means of validation: 5, 4, 3.5, 6; seed 0 alone would take level 1.
    one = only(
        validated({0: [(9, 5), (8, 2), (7, 4), (1, 6)], 1: [(9, 5), (8, 6), (7, 3), (1, 6)]})
    )
    assert one.optimal() == 2
    assert one.by_seed(TEST_ERROR, 2) == pytest.approx({0: 7.0, 1: 7.0})


def test_the_dense_model_belongs_to_the_family_and_wins_ties():
    assert only(family(LR_REWIND, {0: [3, 3, 4]})).optimal() == 0
    assert only(family(LR_REWIND, {0: [3, 3, 2, 2]})).optimal() == 2


def test_without_a_validation_split_test_error_chooses_and_the_title_says_so():
    nan = math.nan
    without = only(validated({0: [(3, nan), (2, nan), (4, nan)]}))
    assert not without.is_validated
    assert without.optimal() == 1
    assert "by TEST error" in families.selection_note([without])
    assert "TEST" not in families.selection_note([only(validated({0: [(3, 3)]}))])


def test_a_missing_seed_is_compared_with_its_own_dense_model_and_named():
    # Seed 1 is 10 points worse throughout and lacks level 2: means alone would choose level 2.
    one = only(family(LR_REWIND, {0: [5, 3, 4], 1: [15, 13, None]}))
    assert one.optimal() == 1
    assert one.from_dense(TEST_ERROR).to_dict() == pytest.approx({0: 0, 1: -2, 2: -1})
    assert one.missing_seeds(2) == (1,)
    assert one.missing_seeds(1) == ()


def test_the_highest_sparsity_that_beats_dense_may_lie_beyond_ones_that_do_not():
    curve = [5, 4, 6, 4.9, 5, 7]
    one = only(family(LR_REWIND, {0: curve, 1: curve}))
    assert one.highest_beating_dense() == 3  # Level 4 equals dense.
    assert one.beating_dense() == [1, 3]
    assert only(family(LR_REWIND, {0: [5, 6, 7], 1: [5, 6, 7]})).highest_beating_dense() is None


def test_what_lies_below_dense_by_noise_alone_does_not_beat_it_and_has_no_star():
    # Level 1: differences -1 and -3, mean -2, std 1.41; level 2: 1 and -2, mean -0.5, std 2.12.
    one = only(family(LR_REWIND, {0: [5, 4, 6], 1: [5, 2, 3]}))
    assert one.beating_dense() == [1]
    assert one.marked_optimum() == one.optimal() == 1
    noise = only(family(LR_REWIND, {0: [5, 6], 1: [5, 3]}))
    assert noise.optimal() == 1
    assert noise.marked_optimum() is None
    assert noise.beating_dense() == []
    assert only(family(LR_REWIND, {0: [5, 4]})).marked_optimum() is None  # One seed.
    assert only(family(LR_REWIND, {0: [5, 6], 1: [5, 6]})).marked_optimum() is None  # Dense.


@pytest.mark.parametrize("method", [WIDTH, WIDTH_MATCHED])
def test_the_best_width_is_one_of_the_narrowed_ones(method):
    rows = family(method, {0: [3, 5, 4, 6], 1: [3, 5, 4, 6]})
    rows += family(LR_REWIND, {0: [3.5, 4], 1: [3.5, 4]})
    here = families.by_benchmark(found(rows)).popitem()[1]
    best = here[method].optimal()
    assert here[method].rows(best)["width"].tolist() == pytest.approx([0.64, 0.64])
    assert here[LR_REWIND].optimal() == 0
    assert here[LR_REWIND].optimal(with_dense=False) == 1
    # The full width, trained as long, has a lower error than dense: it is no narrowed network.
    assert here[method].beating_dense() == []


def test_epochs_add_up_over_levels_and_for_one_shot_over_dense_and_one_retraining():
    rows = family(LR_REWIND, {0: [5, 4, None, 3]}) + family(ONE_SHOT, {0: [5, 4, 3]})
    rows += [row(WIDTH_MATCHED, level, 0, 5.0, width=0.8) for level in (0, 1)]
    rows[1]["train_epochs"] = 50
    by_method = families.by_benchmark(found(rows))
    ((_, here),) = by_method.items()
    epochs = {m: means(f, "total_epochs") for m, f in here.items()}
    assert epochs[LR_REWIND][:2] == [EPOCHS, EPOCHS + 50]
    assert math.isnan(epochs[LR_REWIND][2])  # Level 2 is missing: the sum is not known.
    assert epochs[ONE_SHOT] == [EPOCHS, 2 * EPOCHS, 2 * EPOCHS]
    assert epochs[WIDTH_MATCHED] == [EPOCHS, 2 * EPOCHS]  # The dense model, then 0.8 wide.


def test_the_weights_that_remain_are_of_the_full_dense_model_in_every_family():
    """One axis: of a narrow network those that are not there count as those that are pruned."""
    rows = family(WIDTH, {0: [5, 4, 6]}) + family(LR_REWIND, {0: [5, 4]})
    width, pruned = (families.by_benchmark(found(rows)).popitem()[1][m] for m in (WIDTH, LR_REWIND))
    # The fixture has 0.8**(1.5 k) of the weights, rounded to whole ones.
    assert means(width, "weights_remaining") == pytest.approx(0.8 ** (1.5 * np.arange(3)), abs=1e-5)
    assert means(pruned, "weights_remaining") == pytest.approx([1, 0.8])
    assert width.optimal() == 1
    assert families.remaining_text(width, 1) == "71.6"


def test_a_family_without_a_dense_row_takes_the_benchmarks():
    rows = family(WIDTH_MATCHED, {0: [4.5, 4, 6]}) + family(LR_REWIND, {0: [5, 4]})
    matched = families.by_benchmark(found(rows)).popitem()[1][WIDTH_MATCHED]
    assert matched.members == [0, 1, 2, 3]
    errors = [matched.by_seed(TEST_ERROR, member)[0] for member in matched.members]
    assert errors == pytest.approx([5, 4.5, 4, 6])
    assert means(matched, "weights_remaining")[:2] == pytest.approx([1, 1])


def test_families_are_apart_by_noise_and_by_what_a_sweep_varied(tmp_path):
    rows = family(LR_REWIND, {0: [5, 4]}) + family(LR_REWIND, {0: [9, 8]}, noise=0.15)
    apart = found(rows, tmp_path)
    assert [f.benchmark.noise for f in apart] == ["no noise", "15% noise"]
    assert {f.benchmark.panel for f in apart} == {"LeNet-300-100, mnist"}
    swept = [
        row(method, 0, 0, 5.0, weight_decay=decay, trial=f"{method}-{decay}")
        for method in (LR_REWIND, WEIGHT_REWIND)
        for decay in (0.0, 0.1)
    ]
    marks = families.by_benchmark(found(swept))
    assert [mark.extra for mark in marks] == [(("weight_decay", 0.0),), (("weight_decay", 0.1),)]
    assert all(set(here) == {LR_REWIND, WEIGHT_REWIND} for here in marks.values())


def test_criteria_do_not_make_benchmarks_of_their_own_but_unlike_trials_do():
    rows = family(LR_REWIND, {0: [5, 4]}) + family("synflow", {0: [5, 3]})
    assert len(families.by_benchmark(found(rows))) == 1
    twins = [row(LR_REWIND, 0, 0, 5.0, trial=name) for name in ("a", "b")]
    assert [f.benchmark.extra for f in found(twins)] == [(("trial", "a"),), (("trial", "b"),)]


def test_branches_and_rows_without_a_method_are_no_members():
    rows = family(LR_REWIND, {0: [5, 4]})
    rows += [row(LR_REWIND, 1, 0, 1.0, branch="tie"), row("", 1, 0, 1.0)]
    assert only(rows).by_seed(TEST_ERROR, 1) == pytest.approx({0: 4.0})
    assert families.families(pd.DataFrame(columns=COLUMNS)) == []


def test_the_papers_cells_are_found_by_model_data_noise_and_method():
    assert comparisons.printed(6, LENET, WEIGHT_REWIND) == Printed(4.4, 0.2, 3)
    assert comparisons.printed(6, LENET, DENSE, "dense") == Printed(13.4, 0.3, 3)
    width = Benchmark("cifar10", "resnet20", "uniform_other", 0.3)
    assert comparisons.printed(7, width, WIDTH) == Printed(16.01, 0.55, 3)
    clean = Benchmark("mnist", "lenet_300_100", "none", 0.0)
    assert comparisons.printed(2, clean, "snip").mean == 1.9


@pytest.mark.parametrize(
    "benchmark",
    [
        Benchmark("digits", "lenet_300_100", "uniform_other", 0.15),
        Benchmark("mnist", "lenet_300_100", "symmetric", 0.15),
        Benchmark("mnist", "lenet_300_100", "uniform_other", 0.2),
        Benchmark("mnist", "lenet_300_100", "uniform_other", 0.15, width=2.0),
    ],
)
def test_a_benchmark_that_the_paper_has_not_has_no_cell(benchmark):
    assert comparisons.printed(6, benchmark, WEIGHT_REWIND) is None


def compared(values, printed=None, against=None):
    return beside_table("t", "title", [beside("x", values, printed, against)], against=DENSE)


def beside(algorithm, values, printed=None, against=None):
    settings, about = comparisons.settings_of(LENET), comparisons.labels_of(LENET)
    labels = {"algorithm": algorithm}
    return Beside(settings, about, labels, values, TEST_ERROR, printed, against or {})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        # Ours 4.7 ± 0.1 beside 4.4 ± 0.2: the difference 0.3 is over sqrt(0.05) = 0.2236.
        ({0: 4.6, 1: 4.7, 2: 4.8}, "higher"),
        ({0: 4.0, 1: 4.1, 2: 4.2}, "lower"),
        ({0: 4.5, 1: 4.6, 2: 4.7}, "matches"),
        # One seed: the published std stands for ours, sqrt(0.08) = 0.2828.
        ({0: 4.68}, "matches"),
        ({0: 4.69}, "higher"),
    ],
)
def test_the_verdict_beside_the_paper_is_by_both_spreads(values, verdict):
    table = compared(values, Printed(4.4, 0.2, 3))
    assert table.shown["vs paper"].tolist() == [verdict]
    assert table.numbers["n"].tolist() == [len(values)]


def test_two_algorithms_are_compared_seed_by_seed():
    values = {0: 4.0, 1: 5.0, 2: 7.0}
    # Differences -1, -1.2, -0.8: they differ, though both spread by more than a point.
    table = compared(values, against={0: 5.0, 1: 6.2, 2: 7.8})
    assert table.shown["vs dense"].tolist() == ["lower (-1.00)"]
    assert table.numbers["minus_dense_std"].tolist() == pytest.approx([0.2])
    # Differences 1, -1, 0.3: the mean 0.1 is within their std 1.015.
    assert compared(values, against={0: 3.0, 1: 6.0, 2: 6.7}).shown["vs dense"][0] == (
        "matches (+0.10)"
    )
    # Two pairs of three seeds, and one pair, of which the rule says nothing.
    assert compared(values, against={0: 5.0, 1: 6.2}).shown["vs dense"][0] == "lower (-1.10, n=2)"
    assert compared({0: 4.0}, against={0: 5.0}).shown["vs dense"].tolist() == ["(-1.00)"]


def test_a_cell_that_was_not_run_is_empty_and_a_column_without_any_number_absent():
    ran = beside("x", {0: 4.0}, Printed(4.4, 0.2, 3))
    not_run = beside("y", {}, Printed(5.0, 0.1, 3))
    shown = beside_table("t", "title", [ran, not_run]).shown
    assert shown["ours (%)"].tolist() == ["4.00", ""]
    assert shown["paper (%)"].tolist() == ["4.40 ± 0.20", "5.00 ± 0.10"]
    assert shown["vs paper"].tolist() == ["lower", ""]
    assert "missing seeds" not in shown
    digits = beside_table("t", "title", [beside("x", {0: 4.0})])
    assert not [name for name in digits.shown if "paper" in name]
    assert digits.title.startswith("LeNet-300-100, mnist: title")


def test_the_table_of_optima_has_both_ends_the_verdict_and_missing_seeds():
    rows = family(LR_REWIND, {0: [5, 4, 4.8, 6], 1: [7, 5.9, None, 8]}) + family(
        EXTENDED_DENSE, {0: [5, 4.5], 1: [7, None]}
    )
    table = comparisons.optima_table(found(rows))
    assert table.shown["optimum at"].tolist() == ["80%", f"{2 * EPOCHS} epochs"]
    # Level 2 is there for one seed, longer training for one: neither tells.
    assert table.shown["still beats dense"].tolist() == ["80%", "never"]
    assert table.shown["vs dense"].tolist() == ["lower (-1.05)", "(-0.50)"]
    assert table.shown["missing seeds"].tolist() == ["", "1"]
    assert table.numbers["highest_beating_dense_weights_remaining"][0] == pytest.approx(0.8)


def test_benchmarks_are_counted_by_verdict():
    rows = family(LR_REWIND, {0: [5, 4], 1: [5, 4.1]})
    rows += family(LR_REWIND, {0: [9, 8], 1: [9, 11]}, noise=0.05)  # Dense is best.
    rows += family(LR_REWIND, {0: [9, 8]}, noise=0.1)
    text = "lower on 1, matches on 1, higher on 0, one seed on 1 of 3"
    assert comparisons.count_verdicts(found(rows), LR_REWIND, DENSE) == text
    assert comparisons.count_verdicts(found(rows), WEIGHT_REWIND, DENSE) == ""


def test_methods_that_start_from_different_dense_networks_are_not_compared():
    """As when one was run with other epochs into the same folder."""
    rows = family(LR_REWIND, {0: [5, 4]}, dense_trial="a")
    rows += family(WEIGHT_REWIND, {0: [5, 3]}, dense_trial="b")
    marks = families.by_benchmark(found(rows))
    assert [mark.extra for mark in marks] == [(("dense_trial", "a"),), (("dense_trial", "b"),)]
    rows = family(LR_REWIND, {0: [5, 4]}, dense_trial="a")
    rows += family(WEIGHT_REWIND, {0: [5, 3]}, dense_trial="a")
    (mark,) = families.by_benchmark(found(rows))
    assert mark.extra == ()


def test_two_dense_networks_keep_their_methods_together():
    rows = [
        row(method, 0, 0, 5.0, trial=f"{method}-{start}", dense_trial=start)
        for method in (LR_REWIND, WEIGHT_REWIND)
        for start in ("a", "b")
    ]
    marks = families.by_benchmark(found(rows))
    assert [mark.extra for mark in marks] == [(("dense_trial", "a"),), (("dense_trial", "b"),)]
    assert all(set(here) == {LR_REWIND, WEIGHT_REWIND} for here in marks.values())


def test_of_a_sweep_over_widths_every_one_has_its_own_narrower_networks():
    rows = []
    for full, start in ((1.0, "a"), (8.0, "b")):
        rows.append(row(LR_REWIND, 0, 0, 5.0, width=full, trial=start, dense_trial=start))
        rows += [
            row(WIDTH, 0, 0, 5.0 + member, width=full * 0.8**member, dense_trial=start)
            for member in range(3)
        ]
    for here in families.by_benchmark(found(rows)).values():
        width = here[LR_REWIND].benchmark.width
        assert width in (1.0, 8.0)
        assert here[WIDTH].members == [0, 1, 2]
        assert here[WIDTH].rows(2)["width"].tolist() == pytest.approx([width * 0.64])


def test_twins_of_one_method_leave_the_others_together():
    rows = family(LR_REWIND, {0: [5, 4]}) + family(WEIGHT_REWIND, {0: [5, 3]})
    rows += [
        row(WIDTH_MATCHED, 1, 0, 5.0, width=0.8, trial=name, retrain=name)
        for name in ("lr_rewind", "extended_dense")
    ]
    methods = {mark.extra: set(here) for mark, here in families.by_benchmark(found(rows)).items()}
    assert methods == {
        (): {LR_REWIND, WEIGHT_REWIND},
        (("trial", "extended_dense"),): {WIDTH_MATCHED},
        (("trial", "lr_rewind"),): {WIDTH_MATCHED},
    }


def test_the_full_width_is_known_though_its_own_trial_is_not_there_yet():
    rows = family(LR_REWIND, {0: [5, 4]}) + [row(WIDTH, 0, 0, 4.5, width=0.8**k) for k in (1, 2)]
    ((_, here),) = families.by_benchmark(found(rows)).items()
    assert here[WIDTH].members == [0, 1, 2]
    assert here[WIDTH].by_seed(TEST_ERROR, 0) == pytest.approx({0: 5.0})


def test_a_sweep_from_a_wider_network_is_measured_against_that_one():
    rows = [row(WIDTH, 0, 0, 5.0 - k, width=2 * 0.8**k) for k in range(3)]
    (one,) = found(rows)
    assert one.benchmark.width == 2
    assert one.benchmark.panel == "LeNet-300-100, mnist, width 2"
    assert means(one, "weights_remaining")[0] == 1
