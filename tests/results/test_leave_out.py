"""Dense training on parts of the examples: green ranges, differences seed by seed, table 8."""

from __future__ import annotations

import math

import numpy as np
import peg
import pytest
from matplotlib.colors import to_rgba

from tfprune import store
from tfprune.results import leave_out, report
from tfprune.results.families import METHOD_NAMES
from tfprune.results.leave_out import TOP_IMPROVED, TOP_WORSENED

# Test errors of levels 0 to 6: pruning improves generalization at 1, 2 and 5.
ERRORS = (5.0, 4.5, 4.0, 5.5, 5.2, 4.9, 9.0)
STEP = -math.log(0.8)


def trunk(seeds=(0, 1, 2), errors=ERRORS, **changes):
    """The same errors for all seeds, moved by 0.1 points a seed, dense networks included."""
    return [
        peg.row("lr_rewind", level, seed, error + 0.1 * seed, experiment="leave_out", **changes)
        for level, error in enumerate(errors)
        for seed in seeds
    ]


def branch(name, errors, level, **changes):
    """Rows of a branch from a level, from {seed: test error}; the networks are dense."""
    made = []
    for seed, error in errors.items():
        row = peg.row("lr_rewind", level, seed, error, experiment="leave_out", **changes)
        made.append(row | {"branch": name, "sparsity": 0.0, "weights_remaining": 1.0})
    return made


def improved(gaps, **changes):
    """TIE is worse than RND by gaps[level][seed] points."""
    rows = []
    for level, gap in gaps.items():
        rows += branch("rnd", dict.fromkeys(gap, 6.0), level, **changes)
        rows += branch("tie", {seed: 6.0 + value for seed, value in gap.items()}, level, **changes)
    return rows


# Levels 1 and 5 are green, 3 and 6 are not.
GAPS = {
    1: {0: 0.5, 1: 0.7, 2: 0.9},
    3: {0: 9.0, 1: 9.0, 2: 9.0},
    5: {0: 0.3, 1: 0.1, 2: -0.1},
    6: {0: -3.0, 1: 0.0, 2: 3.0},
}


def sets_of(folder):
    return leave_out.sets(store.read_results(folder))


def one(folder):
    (here,) = sets_of(folder)
    return here


def test_green_are_the_levels_with_a_lower_test_error_than_dense(tmp_path):
    here = one(peg.write(tmp_path, trunk() + improved(GAPS)))
    assert here.improving_levels() == [1, 2, 5]


def test_a_missing_seed_does_not_move_the_green_range(tmp_path):
    # Seed 2 has the highest errors: by the plain means level 3 would be green without it.
    rows = [
        row | {"test_accuracy_last": row["test_accuracy_last"] - 0.1 * (row["seed"] == 2)}
        for row in trunk()
        if (row["seed"], row["level"]) != (2, 3)
    ]
    assert one(peg.write(tmp_path, rows + improved(GAPS))).improving_levels() == [1, 2, 5]


def test_green_reaches_halfway_to_the_levels_that_do_not_improve(tmp_path):
    here = one(peg.write(tmp_path, trunk() + improved(GAPS)))
    np.testing.assert_allclose(
        leave_out.improving_spans(here), np.array([[0.5, 2.5], [4.5, 5.5]]) * STEP
    )


def test_green_ends_with_the_last_level_there_is(tmp_path):
    here = one(peg.write(tmp_path, trunk(errors=(5.0, 6.0, 4.0)) + improved({2: {0: 0.1}})))
    np.testing.assert_allclose(leave_out.improving_spans(here), [[1.5 * STEP, 2 * STEP]])


def test_without_improvement_nothing_is_green(tmp_path):
    here = one(peg.write(tmp_path, trunk(errors=(5.0, 5.0, 6.0)) + improved({1: {0: 0.1}})))
    assert leave_out.improving_spans(here) == []
    assert here.mean_difference(TOP_IMPROVED).n == 0
    assert "no such sparsity has both sets" in leave_out.pairing_reading([here], TOP_IMPROVED)


def test_the_mean_difference_is_over_green_levels_and_then_over_seeds(tmp_path):
    here = one(peg.write(tmp_path, trunk() + improved(GAPS)))
    gap = here.mean_difference(TOP_IMPROVED)
    # Seeds: (0.5 + 0.3) / 2, (0.7 + 0.1) / 2, (0.9 - 0.1) / 2.
    assert (gap.n, gap.mean) == pytest.approx((3, 0.4))
    assert gap.std == pytest.approx(0, abs=1e-9)
    assert gap.verdict == "higher"


def test_a_level_enters_only_with_seeds_that_have_both_sets(tmp_path):
    gaps = {1: {0: 0.5, 1: 0.7}, 5: {0: 0.3, 1: 0.1}}
    rows = trunk() + improved(gaps) + branch("tie", {2: 99.0}, 1)
    rows = [r for r in rows if (r["branch"], r["seed"], r["level"]) != ("rnd", 1, 5)]
    here = one(peg.write(tmp_path, rows))
    gap = here.mean_difference(TOP_IMPROVED)
    assert (gap.n, gap.mean, gap.unpaired) == (2, pytest.approx((0.4 + 0.7) / 2), (2,))
    (first, second) = here.differences(TOP_IMPROVED).values()
    assert (first.n, first.unpaired, second.n) == (2, (2,), 1)


def test_lines_bands_and_shade_are_where_the_rows_put_them(tmp_path):
    here = one(peg.write(tmp_path, trunk() + improved(GAPS)))
    upper, lower = leave_out.compared_sets([here], TOP_IMPROVED).get_axes()
    tie, rnd, dense = upper.get_lines()
    np.testing.assert_allclose(tie.get_xdata(), np.array([1, 3, 5, 6]) * STEP)
    np.testing.assert_allclose(tie.get_ydata(), [6.7, 15, 6.1, 6])
    np.testing.assert_allclose(rnd.get_ydata(), 6)
    np.testing.assert_allclose(dense.get_ydata(), 5.1)
    difference, _ = lower.get_lines()
    np.testing.assert_allclose(difference.get_ydata(), [0.7, 9, 0.1, 0], atol=1e-9)
    for axes in (upper, lower):
        green = [p for p in axes.patches if p.get_facecolor() == to_rgba(leave_out._GREEN)]
        ends = [(p.get_x(), p.get_x() + p.get_width()) for p in green]
        # The first span begins left of the panel's first level, and is cut at its edge.
        assert ends[0] == pytest.approx((max(0.5 * STEP, axes.get_xlim()[0]), 2.5 * STEP))
        assert ends[1] == pytest.approx((4.5 * STEP, 5.5 * STEP))
    title = lower.get_title(loc="left")
    assert title == "mean in green: +0.40 ± 0.00 points (n = 3), higher"


def test_the_reading_has_the_papers_number_beside_ours(tmp_path):
    (info,) = leave_out.build(peg.write(tmp_path, trunk() + improved(GAPS)))
    assert info.file == "figures/leave_out_top_improved.png"
    assert info.paper_figures == "PEG figure 9"
    assert "+0.40 ± 0.00 points (n = 3), higher with LeNet-300-100, mnist, no noise" in info.reading
    assert "(+0.78 in the paper)" in info.reading


def test_the_table_tells_match_from_difference_at_every_level(tmp_path):
    folder = peg.write(tmp_path, trunk() + improved(GAPS))
    (table,) = report.build_tables(store.read_results(folder), "leave_out")
    numbers = table.numbers.set_index("level")
    assert numbers["verdict"].to_dict() == {1: "higher", 3: "higher", 5: "matches", 6: "matches"}
    assert numbers["improves"].to_dict() == {1: True, 3: False, 5: True, 6: False}
    np.testing.assert_allclose(numbers["difference_mean"], [0.7, 9, 0.1, 0], atol=1e-9)
    np.testing.assert_allclose(numbers["difference_std"], [0.2, 0, 0.2, 3], atol=1e-9)
    np.testing.assert_allclose(numbers["remaining"], 0.8 ** np.array([1, 3, 5, 6]))
    assert numbers["n"].tolist() == [3, 3, 3, 3]


def test_top_worsened_examples_are_compared_with_random_ones(tmp_path):
    rows = trunk() + branch("worsened_subsample", {0: 8.0, 1: 8.4}, 2)
    rows += branch("random_subsample", {0: 7.8, 1: 7.8}, 2)
    folder = peg.write(tmp_path, rows)
    (info,) = leave_out.build(folder)
    assert (info.file, info.paper_figures) == (
        "figures/leave_out_top_worsened.png", "PEG figure 17"
    )  # fmt: skip
    here = one(folder)
    assert here.mean_difference(TOP_WORSENED).mean == pytest.approx(0.4)
    figure = leave_out.compared_sets([here], TOP_WORSENED)
    # Dense training on all examples is another matter.
    assert len(figure.get_axes()[0].get_lines()) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "with top-worsened", "random", "± std over seeds", "pruning improves generalization"
    ]  # fmt: skip


def noisy(**changes):
    """Level 2 is optimal (4.0, 4.1, 4.2); a dense subset there has half the error."""
    changes = {"noise": 0.15} | changes
    rows = trunk(**changes)
    rows += branch("dense_subset", {0: 2.0, 1: 2.1, 2: 2.2}, 2, **changes)
    return rows + branch("dense_subset", {0: 5.0, 1: 4.9, 2: 5.3}, 0, **changes)


def test_dense_subsets_are_solid_and_sparse_networks_dashed_in_the_colour_of_their_noise(tmp_path):
    folder = peg.write(tmp_path, noisy() + noisy(noise=0.1))
    (info,) = leave_out.build(folder)
    assert (info.file, info.paper_figures) == (
        "figures/leave_out_dense_subset.png", "PEG figure 10"
    )  # fmt: skip
    (axes,) = leave_out.dense_subset(sets_of(folder)).get_axes()
    low, low_sparse, high, high_sparse = axes.get_lines()
    assert [line.get_linestyle() for line in axes.get_lines()] == ["-", "--"] * 2
    assert [line.get_marker() for line in axes.get_lines()] == ["o", "s"] * 2
    assert low.get_color() == low_sparse.get_color() != high.get_color() == high_sparse.get_color()
    np.testing.assert_allclose(low.get_xdata(), [0, 2 * STEP])
    np.testing.assert_allclose(low.get_ydata(), [np.mean([5, 4.9, 5.3]), 2.1])
    np.testing.assert_allclose(high_sparse.get_ydata(), np.add(ERRORS, 0.1))


def test_table_8_has_both_networks_at_the_optimum_and_at_0_beside_the_papers(tmp_path):
    folder = peg.write(tmp_path, noisy())
    (table,) = report.build_tables(store.read_results(folder), "leave_out")
    numbers = table.numbers.set_index(["at", "algorithm"])
    assert numbers["mean"].to_dict() == pytest.approx(
        {
            ("optimal sparsity", METHOD_NAMES["lr_rewind"]): 4.1,
            ("optimal sparsity", "dense subset"): 2.1,
            ("0% sparsity", "dense"): 5.1,
            ("0% sparsity", "dense subset"): 15.2 / 3,
        }
    )
    # PEG table 8, LeNet at 15% noise.
    assert numbers["paper_mean"].tolist() == [10.03, 3.30, 13.40, 12.03]
    subset = numbers.loc[("optimal sparsity", "dense subset")]
    assert (subset["minus_trunk_mean"], subset["verdict_trunk"]) == (pytest.approx(-2), "lower")
    # 0, -0.2 and 0.1 points: within one standard deviation of 0.
    assert numbers.loc[("0% sparsity", "dense subset"), "verdict_trunk"] == "matches"
    assert numbers["n"].tolist() == [3] * 4


def test_cells_stay_empty_where_nothing_was_run(tmp_path):
    rows = [row for row in noisy() if (row["branch"], row["level"]) != ("dense_subset", 2)]
    folder = peg.write(tmp_path, rows)
    (table,) = report.build_tables(store.read_results(folder), "leave_out")
    shown = table.shown.set_index(["at", "algorithm"]).loc[("optimal sparsity", "dense subset")]
    assert (shown["ours (%)"], shown["seeds"]) == ("", "")
    assert shown["paper (%)"].startswith("3.30")
    assert "No dense network on the subset" in leave_out.subset_reading(sets_of(folder))


def test_a_missing_seed_of_a_set_is_named(tmp_path):
    rows = [r for r in noisy() if (r["branch"], r["level"], r["seed"]) != ("dense_subset", 2, 1)]
    folder = peg.write(tmp_path, rows)
    (table,) = report.build_tables(store.read_results(folder), "leave_out")
    row = table.numbers.set_index(["at", "algorithm"]).loc[("optimal sparsity", "dense subset")]
    assert (row["n"], row["missing_seeds"], row["minus_trunk_n"]) == (2, "1", 2)


def test_without_branches_there_are_neither_figures_nor_tables(tmp_path):
    folder = peg.write(tmp_path, trunk())
    assert leave_out.build(folder) == []
    assert report.build_tables(store.read_results(folder), "leave_out") == []


def test_every_width_has_a_panel_of_its_own(tmp_path):
    rows = trunk() + improved(GAPS) + trunk(width=8.0) + improved(GAPS, width=8.0)
    found = sets_of(peg.write(tmp_path, rows))
    figure = leave_out.compared_sets(found, TOP_IMPROVED)
    titles = [axes.get_title(loc="left") for axes in figure.get_axes()]
    assert titles[:2] == [
        "LeNet-300-100, mnist, no noise", "LeNet-300-100, mnist, width 8, no noise"
    ]  # fmt: skip
