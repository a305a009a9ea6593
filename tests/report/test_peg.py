"""What PEG's experiments draw and tabulate, on made-up folders with known numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import peg_effects
import peg_galleries
import peg_subsets
import pytest
from golden import figures_of, tables_of
from peg import EPOCHS, METHODS, family, realistic, row, write
from wording import says

from tfprune import files, store
from tfprune.errors import DamagedFile, InputError
from tfprune.measures.example_groups import jaccard_baseline
from tfprune.pages import report
from tfprune.papers.peg import effects, families, galleries, leave_out
from tfprune.papers.peg.families import EXTENDED_DENSE, LR_REWIND, WEIGHT_REWIND, WIDTH
from tfprune.report import style

STEP = -math.log(0.8)


def pruned(folder, rows, experiment="pruning_effect"):
    return write(folder, [one | {"experiment": experiment} for one in rows])


# ---------------------------------------------------------------- what there is data for
@pytest.mark.parametrize(
    ("experiment", "methods", "noise", "drawn", "tabled"),
    [
        ("pruning_effect", "lr_rewind", 0.15, "error loss", "optima table_6 table_11 claims"),
        ("pruning_effect", "lr_rewind", 0.0, "error", "optima table_2 table_6"),
        ("pruning_effect", "lr_rewind extended_dense", 0.0, "error size_and_training epochs",
         "optima table_2 table_6"),
        ("pruning_effect", "lr_rewind synflow", 0.0, "error algorithms criteria",
         "optima table_2 table_6 table_10 claims"),
        ("pruning_effect", "weight_rewind", 0.0, "algorithms", "optima table_2 table_6 table_9"),
        ("width_scaling", "lr_rewind one_shot", 0.15, "", "optima"),
        ("width_scaling", "width", 0.15, "error benchmarks", "optima table_7"),
        ("width_scaling", "one_shot width_matched", 0.15, "matched_training", "optima"),
        ("leave_out", "lr_rewind", 0.0, "", ""),
        ("example_effects", "lr_rewind", 0.0, "", ""),
        ("example_galleries", "lr_rewind", 0.0, "", ""),
    ],
)  # fmt: skip
def test_what_needs_what_was_not_run_is_left_out(
    tmp_path, experiment, methods, noise, drawn, tabled
):
    rows = realistic(methods.split(), [noise], (0, 1), levels=3)
    folder = pruned(tmp_path, rows, experiment)
    assert set(figures_of(folder, experiment)) == set(drawn.split())
    assert set(tables_of(folder, experiment)) == set(tabled.split())


def test_a_folder_that_is_still_being_filled_makes_a_report(tmp_path):
    rows = [row(method, 1, 0, 5.0) for method in METHODS] + [row(LR_REWIND, 0, 1, math.nan)]
    assert report.build_report(write(tmp_path, rows)).file.exists()


@pytest.mark.parametrize("columns", [(), ("el2n",), ("el2n", "examples")])
def test_a_folder_in_which_nothing_is_measured_yet_has_a_report(tmp_path, columns):
    """As when another experiment's report is built while this one trains into the same folder."""
    rows = [row(LR_REWIND, level, seed, 5.0) for level in (0, 1) for seed in (0, 1)]
    rows = [one | dict.fromkeys(columns, "") for one in rows]
    assert figures_of(pruned(tmp_path, rows, "example_effects"), "example_effects") == {}


def test_a_file_that_is_gone_was_never_measured(tmp_path):
    folder = peg_galleries.make(tmp_path)
    (folder / peg_galleries.FILE).unlink()
    assert figures_of(folder, "example_galleries") == {}
    assert tables_of(folder, "example_galleries") == {}


@pytest.mark.parametrize("experiment", ["example_effects", "example_galleries"])
def test_a_file_that_is_damaged_or_of_something_else_is_named(tmp_path, experiment):
    if experiment == "example_effects":
        folder = write(tmp_path, peg_effects.trunk(tmp_path))
        (path,) = folder.glob("trials/*/seed_1/level_00/examples.npz")
    else:
        path = peg_galleries.make(tmp_path) / peg_galleries.FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFile, match=path.name):
        figures_of(tmp_path, experiment)
    files.save_arrays(path, {"indices": np.arange(3)})
    with pytest.raises(InputError, match=r"has no (losses|least_affected/images)"):
        figures_of(tmp_path, experiment)


# ---------------------------------------------------------------- pruning_effect, width_scaling
def test_table_6_has_ours_beside_the_papers_for_both_rewindings_and_dense(tmp_path):
    # The paper: dense 13.4 ± 0.3, LR rewinding 10.0 ± 0.6, weight rewinding 4.4 ± 0.2.
    rows = family(LR_REWIND, {0: [13.4, 10.0], 1: [13.2, 10.4]}, noise=0.15)
    rows += family(WEIGHT_REWIND, {0: [13.4, 5.0, 6.0], 1: [13.2, 5.2, 6.0]}, noise=0.15)
    table = tables_of(write(tmp_path, rows), "pruning_effect")["table_6"]
    assert table.shown["algorithm"].tolist() == ["weight rewinding", "LR rewinding", "dense"]
    assert table.shown["ours (%)"].tolist() == ["5.1 ± 0.1", "10.2 ± 0.3", "13.3 ± 0.1"]
    assert table.shown["paper (%)"].tolist() == ["4.4 ± 0.2", "10.0 ± 0.6", "13.4 ± 0.3"]
    # 0.7 against sqrt(0.02 + 0.04), 0.2 against sqrt(0.08 + 0.36), 0.1 against sqrt(0.02 + 0.09).
    assert table.shown["vs paper"].tolist() == ["higher", "matches", "matches"]
    assert table.shown["vs dense"].tolist() == ["lower (-8.20)", "lower (-3.10)", ""]


def test_cells_of_algorithms_that_were_not_run_stay_empty_beside_the_papers(tmp_path):
    folder = write(tmp_path / "mnist", family(LR_REWIND, {0: [2.0, 1.8]}))
    shown = tables_of(folder, "pruning_effect")["table_2"].shown
    assert shown["ours (%)"].tolist() == ["1.8", "", "", "", "", ""]
    assert shown["paper (%)"].tolist()[-2:] == ["1.9 ± 0.2", "1.8 ± 0.1"]
    folder = write(tmp_path / "digits", family(LR_REWIND, {0: [2.0, 1.8]}, dataset="digits"))
    digits = tables_of(folder, "pruning_effect")["table_2"].shown
    assert not [name for name in digits if "paper" in name]


def test_extended_dense_training_is_placed_by_its_epochs(tmp_path):
    rows = family(EXTENDED_DENSE, {0: [9, 8, 7]}, noise=0.15)
    rows += family(LR_REWIND, {0: [9, 6]}, noise=0.15)
    folder = write(tmp_path, rows)
    table = tables_of(folder, "pruning_effect")["table_5"]
    assert table.shown["optimum at"].tolist() == ["80%", f"{3 * EPOCHS} epochs"]
    assert table.shown["vs LR rewinding"].tolist() == ["", "(+1.00)"]
    (axes,) = figures_of(folder, "pruning_effect")["epochs"][1].axes
    curves = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert list(curves[0].get_xdata()) == [EPOCHS, 2 * EPOCHS, 3 * EPOCHS]


def test_table_11_has_the_losses_of_both_parts_and_their_changes(tmp_path):
    rows = [
        row(LR_REWIND, level, seed, 13 - 3 * level, None, 0.15, noisy_loss=n, original_loss=o)
        for seed in (0, 1)
        for level, (n, o) in enumerate([(0.6 + 0.1 * seed, 0.05), (3.5 + 0.1 * seed, 0.4)])
    ]
    folder = write(tmp_path, rows)
    cells = tables_of(folder, "pruning_effect")["table_11"].numbers.set_index(["examples", "at"])
    noisy = cells.loc["noisy"]
    assert noisy["mean"].tolist() == pytest.approx([0.65, 3.55, 2.9])
    assert noisy["paper_mean"].tolist() == [0.59, 3.5, 2.91]
    assert noisy["metric"].tolist() == ["noisy_loss", "noisy_loss", "noisy_loss_change"]
    assert cells.loc[("original", "optimal"), "minus_dense_mean"] == pytest.approx(0.35)
    reading = figures_of(folder, "pruning_effect")["loss"][0].reading
    assert says(reading, "on noisy examples from 0.65 to 3.55 nats", "original", "0.05 to 0.40")


def test_the_claims_count_the_benchmarks_of_each_verdict(tmp_path):
    rows = []
    for noise, error in ((0.0, 1.0), (0.05, 8.0), (0.1, 8.0), (0.15, 12.0)):
        rows += family(LR_REWIND, {0: [9, error], 1: [9.1, error + 0.1]}, noise=noise)
    claims = tables_of(write(tmp_path, rows), "pruning_effect")["claims"].shown.iloc[0]
    # Three are noisy; at 15% the dense model is the optimum.
    assert claims["ours"] == "lower on 2, matches on 1, higher on 0 of 3"
    assert claims["paper"] == "lower on 11, matches on 2 of 13"


def test_the_star_stands_at_an_optimum_that_differs_and_chance_leaves_the_panel(tmp_path):
    rows = family(LR_REWIND, {0: [5, 3, 4, 90], 1: [7, 5, 6, 90]})
    # Its optimum, 0.5 points below dense, is within the 2.1 points of one std.
    rows += family(LR_REWIND, {0: [11, 12], 1: [11, 9]}, 0.3)
    (axes,) = figures_of(write(tmp_path, rows), "pruning_effect")["error"][1].axes
    (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
    assert (*star.get_xdata(), *star.get_ydata()) == pytest.approx((STEP, 4))
    dashed = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([6, 11])
    assert axes.get_ylim()[1] < 20


def test_a_rise_that_comes_down_again_stays_in_the_panel_and_chance_does_not(tmp_path):
    rows = family(LR_REWIND, {0: [12, 21, 9, 90], 1: [12, 21, 9, 90]}, 0.15)
    (axes,) = figures_of(write(tmp_path, rows), "pruning_effect")["error"][1].axes
    assert 21 < axes.get_ylim()[1] < 24


def test_levels_are_shaded_where_pruning_and_longer_training_match(tmp_path):
    rows = family(LR_REWIND, {0: [5, 4.0, 4.0, 9], 1: [5, 4.2, 4.2, 9.1], 2: [5, 4.4, 4.4, 9]})
    rows += family(EXTENDED_DENSE, {0: [5, 4.2, 4.1, 4], 1: [5, 4.1, 4.4, 4], 2: [5, 4.4, 4.5, 4]})
    info, figure = figures_of(write(tmp_path, rows), "pruning_effect")["size_and_training"]
    # Level 1: -0.2, 0.1, 0 is a match; level 2: -0.1, -0.2, -0.1 is not; nor is level 3.
    assert "at 1 of 3 levels, the last with 80% of the weights" in info.reading
    (shaded,) = figure.axes[0].patches
    ends = shaded.get_x(), shaded.get_x() + shaded.get_width()
    assert ends == pytest.approx((0.5 * STEP, 1.5 * STEP))


def test_one_seed_is_said_not_to_tell(tmp_path):
    folder = write(tmp_path, family(LR_REWIND, {0: [13.4, 10]}, 0.15))
    reading = figures_of(folder, "pruning_effect")["error"][0].reading
    assert says(reading, "LeNet-300-100", "mnist", "15% noise", "LR rewinding", "10.00%", "80%")
    assert says(reading, "dense", "13.40%", "one seed cannot tell")


def test_widths_and_prunings_share_the_axis_and_table_7_has_the_papers_beside(tmp_path):
    # The paper, 15% noise: LR rewinding 9.96 ± 0.62, width scaling 6.08 ± 0.33.
    rows = family(WIDTH, {0: [13, 6.2, 7], 1: [13, 6.4, 7]}, noise=0.15)
    rows += family(LR_REWIND, {0: [13, 12, 8.5], 1: [13, 12, 8.7]}, noise=0.15)
    folder = pruned(tmp_path, rows, "width_scaling")
    shown = tables_of(folder, "width_scaling")["table_7"].shown
    assert shown["optimum at"].tolist() == ["64%", f"{100 * 0.8**1.5:.3g}%"]
    assert shown["paper (%)"].tolist() == ["9.96 ± 0.62", "6.08 ± 0.33"]
    assert shown["vs LR rewinding"].tolist() == ["", "lower (-2.30)"]
    drawn = figures_of(folder, "width_scaling")
    lines = {line.get_marker(): line for line in drawn["error"][1].axes[0].get_lines()}
    assert lines["o"].get_xdata() == pytest.approx([0, 1.5 * STEP, 3 * STEP], abs=1e-4)
    assert lines["s"].get_xdata() == pytest.approx([0, STEP, 2 * STEP], abs=1e-4)
    low, high = drawn["benchmarks"][1].axes[0].get_xlim()
    assert low > high  # Dense on the left.


# ---------------------------------------------------------------- example_effects
def effects_of(folder):
    return effects.load(store.read_results(folder), folder)


def change_of(folder, member=2):
    (here,) = effects_of(folder)
    return here.change(LR_REWIND, member)


def test_the_constructed_loss_change_of_every_group_comes_out(tmp_path):
    folder = write(tmp_path, peg_effects.trunk(tmp_path))
    change = change_of(folder)
    np.testing.assert_allclose(change.groups.mean, peg_effects.by_group(2, 1), atol=1e-12)
    np.testing.assert_allclose(change.groups.std, np.full(20, 0.001))
    # Groups 16 to 19 average 17.5, the other sixteen 7.5.
    assert change.part(hard=True) == pytest.approx({s: 0.25 + 0.001 * (s - 1) for s in range(3)})
    assert change.part(hard=False) == pytest.approx({s: 0.05 + 0.001 * (s - 1) for s in range(3)})
    # |0.02 g - 0.1| of groups 0 to 15 adds up to 0.3 + 1.1.
    assert change.ratio() == pytest.approx(0.25 / (1.4 / 16))
    # Level 2: 0.02 g - 0.1 is 0 for group 5, which matches: its std is 0.001.
    reading = figures_of(folder, "example_effects")["by_sparsity"][0].reading
    assert "falls in 5, rises in 14, matches the dense one in 1 of 20 groups" in reading
    assert says(reading, "64% of weights remaining; n = 3", "51.2% of weights remaining; n = 3")


def test_a_seed_without_its_file_is_not_measured_and_is_named(tmp_path):
    folder = write(tmp_path, peg_effects.trunk(tmp_path))
    (path,) = folder.glob("trials/*/seed_2/level_02/examples.npz")
    path.unlink()
    change = change_of(folder)
    np.testing.assert_allclose(change.groups.mean, peg_effects.by_group(2, 0.5))
    assert change.n_text == "n = 2, no seed 2"


def test_a_score_without_a_loss_is_in_no_group():
    losses = pd.DataFrame({0: [1.0, 2.0, np.nan, 4.0]}, index=[3, 5, 7, 9])
    scores = pd.DataFrame({0: [0.4, 0.3, 0.2, 0.1], 1: [1.0] * 4}, index=[9, 7, 5, 3])
    groups = effects.el2n_groups(losses, scores)
    assert groups.to_dict("list") == {0: [0, 1, -1, 2]}  # Fewer examples than 20: a group each.


def test_where_the_dense_model_is_best_it_is_named(tmp_path):
    rows = peg_effects.trunk(tmp_path, errors=(5.0, 6.0, 7.0), noise=0.05)
    rows += peg_effects.trunk(tmp_path, noise=0.15)
    drawn = figures_of(write(tmp_path, rows), "example_effects")
    reading = drawn["by_noise"][0].reading
    assert "The dense model is the optimal one with LeNet-300-100, mnist, 5% noise." in reading
    assert "by_sparsity" not in drawn  # Nothing is without noise.


def test_five_members_are_spread_from_the_first_to_the_last(tmp_path):
    rows = family(LR_REWIND, {0: [5.0] * 22})
    for count, expected in ((22, [1, 6, 11, 16, 21]), (4, [1, 2, 3])):  # PEG figure 18.
        folder = write(tmp_path / str(count), rows[:count])
        (one,) = families.families(store.read_results(folder))
        assert effects.spread_members(one) == expected


def test_the_jaccard_similarity_of_constructed_sets_comes_out(tmp_path):
    folder = write(tmp_path, peg_effects.matched(tmp_path))
    (here,) = effects_of(folder)
    found = effects.overlap_by_seed(here, {"one_shot": 2, "width_matched": 2})
    assert found == pytest.approx(dict.fromkeys((0, 1, 2), 1 / 3))
    numbers = tables_of(folder, "example_effects")["overlap"].numbers.iloc[0]
    baseline = jaccard_baseline(0.1, peg_effects.TRAINED)
    assert numbers["minus_random_sets_mean"] == pytest.approx(1 / 3 - baseline)
    # PEG table 3 prints 0.60 for LeNet without noise.
    assert (numbers["paper_mean"], numbers["verdict_paper"]) == (0.6, "lower")
    (path,) = folder.glob("trials/*one_shot*/seed_1/level_02/examples.npz")
    path.unlink()
    numbers = tables_of(folder, "example_effects")["overlap"].numbers.iloc[0]
    assert (numbers["n"], numbers["missing_seeds"]) == (2, "1")


def test_the_best_of_the_matched_families_is_never_of_the_dense_models_size(tmp_path):
    """Even where the full width, trained as long, is the best of the widths (PEG I)."""
    rows = peg_effects.matched(tmp_path)
    for one in rows:
        if one["method"] == "width_matched" and one["width"] == 1:
            one |= {"val_accuracy": 0.99, "test_accuracy_last": 0.99}
    (here,) = effects_of(write(tmp_path, rows))
    assert here.families["one_shot"].optimal() == 0
    assert [change.member for change in here.matched()] == [2, 2]
    assert here.families[LR_REWIND].optimal(with_dense=False) is None


# ---------------------------------------------------------------- leave_out
def sets_of(folder):
    return leave_out.load(store.read_results(folder), folder)


def spans(folder):
    _, figure = figures_of(folder, "leave_out")["top_improved"]
    return [(p.get_x(), p.get_x() + p.get_width()) for p in figure.axes[0].patches]


def test_green_reaches_halfway_to_the_levels_that_do_not_improve(tmp_path):
    folder = write(tmp_path, peg_subsets.trunk() + peg_subsets.improved(peg_subsets.GAPS))
    (here,) = sets_of(folder)
    assert here.family.beating_dense() == [1, 2, 5]
    first, second = spans(folder)
    # The first span begins left of the panel's first level, and is cut at its edge.
    assert (first[1], *second) == pytest.approx((2.5 * STEP, 4.5 * STEP, 5.5 * STEP))
    gap = here.mean_difference(leave_out.TOP_IMPROVED)
    # Seeds: (0.5 + 0.3) / 2, (0.7 + 0.1) / 2, (0.9 - 0.1) / 2.
    assert (gap.n, gap.mean, gap.verdict) == (3, pytest.approx(0.4), "higher")
    reading = figures_of(folder, "leave_out")["top_improved"][0].reading
    assert "+0.40 ± 0.00 points (n = 3), higher with LeNet-300-100, mnist, no noise" in reading
    assert "(+0.78 in the paper)" in reading


def test_green_ends_with_the_last_level_there_is(tmp_path):
    rows = peg_subsets.trunk(errors=(5.0, 6.0, 4.0)) + peg_subsets.improved(
        {1: {0: 0.1}, 2: {0: 0.1}}
    )
    assert spans(write(tmp_path, rows)) == [pytest.approx((1.5 * STEP, 2 * STEP))]


def test_without_improvement_nothing_is_green(tmp_path):
    rows = peg_subsets.trunk(errors=(5.0, 5.0, 6.0)) + peg_subsets.improved({1: {0: 0.1}})
    folder = write(tmp_path, rows)
    info, figure = figures_of(folder, "leave_out")["top_improved"]
    assert not figure.axes[0].patches
    assert "no such sparsity has both sets" in info.reading


def test_a_missing_seed_does_not_move_the_green_range(tmp_path):
    # Seed 2 has the highest errors: by the plain means level 3 would be green without it.
    rows = [
        one | {"test_accuracy_last": one["test_accuracy_last"] - 0.1 * (one["seed"] == 2)}
        for one in peg_subsets.trunk()
        if (one["seed"], one["level"]) != (2, 3)
    ]
    (here,) = sets_of(write(tmp_path, rows + peg_subsets.improved(peg_subsets.GAPS)))
    assert here.family.beating_dense() == [1, 2, 5]


def test_a_level_enters_only_with_seeds_that_have_both_sets(tmp_path):
    gaps = {1: {0: 0.5, 1: 0.7}, 5: {0: 0.3, 1: 0.1}}
    rows = peg_subsets.trunk() + peg_subsets.improved(gaps)
    rows += peg_subsets.branch("tie", {2: 99.0}, 1)
    rows = [r for r in rows if (r["branch"], r["seed"], r["level"]) != ("rnd", 1, 5)]
    folder = write(tmp_path, rows)
    (here,) = sets_of(folder)
    gap = here.mean_difference(leave_out.TOP_IMPROVED)
    assert (gap.n, gap.mean) == (2, pytest.approx((0.4 + 0.7) / 2))
    numbers = tables_of(folder, "leave_out")["top_improved"].numbers
    assert numbers[["n", "unpaired_seeds"]].to_numpy().tolist() == [[2, "2"], [1, "1"]]


def test_table_8_has_both_networks_at_the_optimum_and_at_0_beside_the_papers(tmp_path):
    folder = write(tmp_path, peg_subsets.noisy())
    numbers = tables_of(folder, "leave_out")["dense_subset"].numbers
    assert numbers["mean"].tolist() == pytest.approx([4.1, 2.1, 5.1, 15.2 / 3])
    # PEG table 8, LeNet at 15% noise.
    assert numbers["paper_mean"].tolist() == [10.03, 3.30, 13.40, 12.03]
    # At 0%: 0, -0.2 and 0.1 points, within one standard deviation of 0.
    assert numbers["verdict_trunk"].tolist() == ["", "lower", "", "matches"]


@pytest.mark.parametrize("seed", [None, 1])
def test_cells_stay_empty_where_nothing_was_run_and_a_missing_seed_is_named(tmp_path, seed):
    gone = [(2, s) for s in (0, 1, 2) if seed in (None, s)]
    rows = [
        one
        for one in peg_subsets.noisy()
        if one["branch"] != "dense_subset" or (one["level"], one["seed"]) not in gone
    ]
    table = tables_of(write(tmp_path, rows), "leave_out")["dense_subset"]
    assert table.numbers["n"].tolist()[1] == 3 - len(gone)
    assert table.shown["missing seeds" if seed else "ours (%)"].tolist()[1] == ("1" if seed else "")
    assert table.shown["paper (%)"].tolist()[1].startswith("3.30")


# ---------------------------------------------------------------- example_galleries
def panels(figure):
    return [axes for axes in figure.get_axes() if axes.get_images()]


def test_every_panel_shows_its_image_label_and_prediction(tmp_path):
    folder = peg_galleries.make(tmp_path)
    shown = panels(figures_of(folder, "example_galleries")["examples"][1])
    assert len(shown) == 60
    for place, axes in enumerate(shown):
        number = place % 20
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), peg_galleries.DIGITS.images[number] * 15)
        assert image.get_clim() == (0, 255)  # Never stretched to the image's own range.
        label = peg_galleries.DIGITS.target[number]
        wrong = number % 3 == 0
        assert axes.get_title() == f"L {label}  P {(label + 1) % 10 if wrong else label}"
        assert axes.title.get_color() == (style.VERMILLION if wrong else style.BLACK)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("nought", *"bcdefghij"), "L nought\nP b"),
        (tuple("abcdefghij"), "L a  P b"),
        (("a name of many words", *"bcdefghij"), "L a name of ma…\nP b"),
    ],
)
def test_classes_are_called_as_the_data_calls_them(tmp_path, names, first):
    folder = peg_galleries.make(tmp_path, names=names)
    shown = panels(figures_of(folder, "example_galleries")["examples"][1])
    assert shown[0].get_title() == first


def test_a_kind_without_levels_is_left_out_and_named(tmp_path):
    levels = {**peg_galleries.LEVELS, "most_worsened": []}
    folder = peg_galleries.make(tmp_path, counts=(0, 20, 3), levels=levels)
    info, figure = figures_of(folder, "example_galleries")["examples"]
    assert [len(panels(part)) for part in figure.subfigs] == [20, 3]
    assert "no level qualifies to rank the most worsened; n = 2 seeds" in info.reading


def test_colour_images_keep_their_colours(tmp_path):
    folder = peg_galleries.make(tmp_path)
    arrays = files.load_arrays(folder / peg_galleries.FILE)
    red = np.zeros((20, 8, 8, 3), np.uint8)
    red[..., 0] = 200
    files.save_arrays(folder / peg_galleries.FILE, {**arrays, "most_worsened/images": red})
    first = panels(figures_of(folder, "example_galleries")["examples"][1])[0]
    np.testing.assert_array_equal(first.get_images()[0].get_array(), red[0])


@pytest.mark.parametrize("changes", [{"noise": 0.15}, {"width": 2.0}])
def test_table_4_has_no_number_for_noisy_data_or_another_width(tmp_path, changes):
    folder = peg_galleries.make(tmp_path, **changes)
    shown = tables_of(folder, "example_galleries")["levels"].shown
    assert set(shown["weights remaining, paper (%)"]) == {""}


def test_only_seeds_that_have_losses_at_every_level_used_are_counted(tmp_path):
    folder = peg_galleries.make(tmp_path, seeds=(0, 1, 2), skip=[(2, 8), (1, 7)])
    (gallery,) = galleries.load(store.read_results(folder), folder)
    assert (gallery.seeds, gallery.missing) == ((0, 1), (2,))  # No kind uses level 7.
