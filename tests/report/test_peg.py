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
from tfprune.errors import InputError
from tfprune.measures.example_groups import jaccard_baseline
from tfprune.pages import report
from tfprune.papers.drawings import gallery
from tfprune.papers.peg import effects, families, galleries, leave_out
from tfprune.papers.peg.families import EXTENDED_DENSE, LR_REWIND, WEIGHT_REWIND, WIDTH
from tfprune.report import style

STEP = -math.log(0.8)


def loaded(by, folder):
    """What an experiment loads of a folder."""
    return by.load(store.read_results(folder), folder)


def drawn(folder, name, experiment="pruning_effect"):
    """What the page says below a figure, and the figure."""
    info, figure = figures_of(folder, experiment)[name]
    return info.reading, figure


# ---------------------------------------------------------------- what there is data for
@pytest.mark.parametrize(
    ("experiment", "methods", "noise", "figures", "tables"),
    [
        ("pruning_effect", "lr_rewind", 0.15, "error loss", "optima table_6 table_11 claims"),
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
    tmp_path, experiment, methods, noise, figures, tables
):
    rows = realistic(methods.split(), [noise], (0, 1), levels=3, experiment=experiment)
    write(tmp_path, rows)
    assert set(figures_of(tmp_path, experiment)) == set(figures.split())
    assert set(tables_of(tmp_path, experiment)) == set(tables.split())


def test_a_folder_that_is_still_being_filled_makes_a_report(tmp_path):
    rows = [row(method, 1, 0, 5.0) for method in METHODS] + [row(LR_REWIND, 0, 1, math.nan)]
    assert report.build_report(write(tmp_path, rows)).file.exists()


def test_a_folder_in_which_nothing_is_measured_yet_has_no_figure(tmp_path):
    """One column of measurements is there and empty, the other is not there yet."""
    rows = family(LR_REWIND, {0: [5, 5], 1: [5, 5]}, experiment="example_effects", el2n="")
    assert figures_of(write(tmp_path, rows), "example_effects") == {}


def test_a_file_that_is_gone_was_never_measured(tmp_path):
    folder = peg_galleries.make(tmp_path)
    (folder / peg_galleries.FILE).unlink()
    assert loaded(galleries, folder) == []


@pytest.mark.parametrize(
    ("by", "make", "file", "lacks"),
    [
        (effects, lambda folder: write(folder, peg_effects.trunk(folder)),
         "trials/*/seed_1/level_00/examples.npz", "losses"),
        (galleries, peg_galleries.make, peg_galleries.FILE, "least_affected/images"),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_named(tmp_path, by, make, file, lacks):
    (path,) = make(tmp_path).glob(file)
    files.save_arrays(path, {"indices": np.arange(3)})
    with pytest.raises(InputError, match=f"{path.name} has no {lacks}"):
        loaded(by, tmp_path)


# ---------------------------------------------------------------- pruning_effect, width_scaling
# Table 6 of the paper: dense 13.4 ± 0.3, LR rewinding 10.0 ± 0.6, weight rewinding 4.4 ± 0.2;
# table 7: LR rewinding 9.96 ± 0.62, width scaling 6.08 ± 0.33.
REWOUND = family(LR_REWIND, {0: [13.4, 10.0], 1: [13.2, 10.4]}, noise=0.15) + family(
    WEIGHT_REWIND, {0: [13.4, 5.0, 6.0], 1: [13.2, 5.2, 6.0]}, noise=0.15
)
LONGER = family(EXTENDED_DENSE, {0: [9, 8, 7]}, noise=0.15) + family(
    LR_REWIND, {0: [9, 6]}, noise=0.15
)
NARROW = family(WIDTH, {0: [13, 6.2, 7], 1: [13, 6.4, 7]}, noise=0.15) + family(
    LR_REWIND, {0: [13, 12, 8.5], 1: [13, 12, 8.7]}, noise=0.15
)


@pytest.mark.parametrize(
    ("rows", "experiment", "table", "columns"),
    [
        (REWOUND, "pruning_effect", "table_6", {
            "algorithm": ["weight rewinding", "LR rewinding", "dense"],
            "ours (%)": ["5.1 ± 0.1", "10.2 ± 0.3", "13.3 ± 0.1"],
            "paper (%)": ["4.4 ± 0.2", "10.0 ± 0.6", "13.4 ± 0.3"],
            # 0.7 of sqrt(0.02 + 0.04), 0.2 of sqrt(0.08 + 0.36), 0.1 of sqrt(0.02 + 0.09).
            "vs paper": ["higher", "matches", "matches"],
            "vs dense": ["lower (-8.20)", "lower (-3.10)", ""]}),
        # Cells of algorithms that were not run stay empty.
        (family(LR_REWIND, {0: [2.0, 1.8]}), "pruning_effect", "table_2", {
            "ours (%)": ["1.8", "", "", "", "", ""],
            "paper (%)": ["1.8 ± 0.1", "1.5 ± 0.1", "1.7 ± 0.1", "1.9 ± 0.1", "1.9 ± 0.2",
                          "1.8 ± 0.1"]}),
        # Extended dense training is placed by its epochs.
        (LONGER, "pruning_effect", "table_5", {
            "optimum at": ["80%", f"{3 * EPOCHS} epochs"], "vs LR rewinding": ["", "(+1.00)"]}),
        (NARROW, "width_scaling", "table_7", {
            "optimum at": ["64%", f"{100 * 0.8**1.5:.3g}%"],
            "paper (%)": ["9.96 ± 0.62", "6.08 ± 0.33"],
            "vs LR rewinding": ["", "lower (-2.30)"]}),
    ],
)  # fmt: skip
def test_the_papers_tables_have_ours_beside_theirs(tmp_path, rows, experiment, table, columns):
    folder = write(tmp_path, [one | {"experiment": experiment} for one in rows])
    shown = tables_of(folder, experiment)[table].shown
    assert {name: shown[name].tolist() for name in columns} == columns


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
    reading, _ = drawn(folder, "loss")
    assert says(reading, "on noisy examples from 0.65 to 3.55 nats", "original", "0.05 to 0.40")


def test_the_star_stands_at_an_optimum_that_differs_and_chance_leaves_the_panel(tmp_path):
    rows = family(LR_REWIND, {0: [5, 3, 4, 90], 1: [7, 5, 6, 90]})
    # Its optimum, 0.5 points below dense, is within the 2.1 points of one std.
    rows += family(LR_REWIND, {0: [11, 12], 1: [11, 9]}, 0.3)
    (axes,) = drawn(write(tmp_path, rows), "error")[1].axes
    (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
    assert (*star.get_xdata(), *star.get_ydata()) == pytest.approx((STEP, 4))
    dashed = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([6, 11])
    assert axes.get_ylim()[1] < 20


def test_a_rise_that_comes_down_again_stays_in_the_panel_and_chance_does_not(tmp_path):
    rows = family(LR_REWIND, {0: [12, 21, 9, 90], 1: [12, 21, 9, 90]}, 0.15)
    (axes,) = drawn(write(tmp_path, rows), "error")[1].axes
    assert 21 < axes.get_ylim()[1] < 24


def test_levels_are_shaded_where_pruning_and_longer_training_match(tmp_path):
    rows = family(LR_REWIND, {0: [5, 4.0, 4.0, 9], 1: [5, 4.2, 4.2, 9.1], 2: [5, 4.4, 4.4, 9]})
    rows += family(EXTENDED_DENSE, {0: [5, 4.2, 4.1, 4], 1: [5, 4.1, 4.4, 4], 2: [5, 4.4, 4.5, 4]})
    reading, figure = drawn(write(tmp_path, rows), "size_and_training")
    # Level 1: -0.2, 0.1, 0 is a match; level 2: -0.1, -0.2, -0.1 is not; nor is level 3.
    assert "at 1 of 3 levels, the last with 80% of the weights" in reading
    (shaded,) = figure.axes[0].patches
    ends = shaded.get_x(), shaded.get_x() + shaded.get_width()
    assert ends == pytest.approx((0.5 * STEP, 1.5 * STEP))


def test_one_seed_is_said_not_to_tell(tmp_path):
    reading, _ = drawn(write(tmp_path, family(LR_REWIND, {0: [13.4, 10]}, 0.15)), "error")
    assert says(reading, "LeNet-300-100", "mnist", "15% noise", "LR rewinding", "10.00%", "80%")
    assert says(reading, "dense", "13.40%", "-3.40", "one seed cannot tell")


def test_families_share_the_axis_of_sizes_and_longer_training_has_one_of_epochs(tmp_path):
    folder = write(tmp_path, [one | {"experiment": "width_scaling"} for one in NARROW])
    (axes,) = drawn(folder, "error", "width_scaling")[1].axes
    lines = {line.get_marker(): line for line in axes.get_lines()}
    assert lines["o"].get_xdata() == pytest.approx([0, 1.5 * STEP, 3 * STEP], abs=1e-4)
    assert lines["s"].get_xdata() == pytest.approx([0, STEP, 2 * STEP], abs=1e-4)
    (axes,) = drawn(write(tmp_path / "longer", LONGER), "epochs")[1].axes
    (longer,) = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert list(longer.get_xdata()) == [EPOCHS, 2 * EPOCHS, 3 * EPOCHS]


# ---------------------------------------------------------------- example_effects
def test_the_constructed_loss_change_of_every_group_comes_out(tmp_path):
    folder = write(tmp_path, peg_effects.trunk(tmp_path))
    change = loaded(effects, folder)[0]
    assert (change.at, change.member) == ("optimal sparsity", 2)
    np.testing.assert_allclose(change.groups.mean, peg_effects.by_group(2, 1), atol=1e-12)
    np.testing.assert_allclose(change.groups.std, np.full(20, 0.001))
    # Groups 16 to 19 average 17.5, the other sixteen 7.5.
    assert change.part(hard=True) == pytest.approx({s: 0.25 + 0.001 * (s - 1) for s in range(3)})
    assert change.part(hard=False) == pytest.approx({s: 0.05 + 0.001 * (s - 1) for s in range(3)})
    # |0.02 g - 0.1| of groups 0 to 15 adds up to 0.3 + 1.1.
    assert change.ratio() == pytest.approx(0.25 / (1.4 / 16))
    # Level 2: 0.02 g - 0.1 is 0 for group 5, which matches: its std is 0.001.
    reading, _ = drawn(folder, "by_sparsity", "example_effects")
    assert "falls in 5, rises in 14, matches the dense one in 1 of 20 groups" in reading
    assert says(reading, "64% of weights remaining; n = 3", "51.2% of weights remaining; n = 3")
    # A seed without its file is not measured, and is named.
    (path,) = folder.glob("trials/*/seed_2/level_02/examples.npz")
    path.unlink()
    change = loaded(effects, folder)[0]
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
    figures = figures_of(write(tmp_path, rows), "example_effects")
    reading = figures["by_noise"][0].reading
    assert "The dense model is the optimal one with LeNet-300-100, mnist, 5% noise." in reading
    assert "by_sparsity" not in figures  # Nothing is without noise.


@pytest.mark.parametrize(("count", "members"), [(22, [1, 6, 11, 16, 21]), (4, [1, 2, 3])])
def test_five_members_are_spread_from_the_first_to_the_last(count, members):  # PEG figure 18.
    (one,) = families.load(pd.DataFrame(family(LR_REWIND, {0: [5.0] * count})))
    assert effects.spread_members(one) == members


def test_the_jaccard_similarity_of_constructed_sets_comes_out(tmp_path):
    folder = write(tmp_path, peg_effects.matched(tmp_path))
    numbers = tables_of(folder, "example_effects")["overlap"].numbers.iloc[0]
    baseline = jaccard_baseline(0.1, peg_effects.TRAINED)
    found = numbers[["n", "mean", "std", "minus_random_sets_mean"]].tolist()
    assert found == pytest.approx([3, 1 / 3, 0, 1 / 3 - baseline])
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
    ((one_shot, width),) = effects.pairs(loaded(effects, write(tmp_path, rows)))
    assert one_shot.family.optimal() == 0
    assert (one_shot.member, width.member) == (2, 2)


# ---------------------------------------------------------------- leave_out
@pytest.mark.parametrize(
    ("errors", "gaps", "green", "said"),
    [
        # Seeds: (0.5 + 0.3) / 2, (0.7 + 0.1) / 2, (0.9 - 0.1) / 2. Green reaches halfway to the
        # levels that do not improve; the first begins at the edge of the panel.
        (peg_subsets.ERRORS, peg_subsets.GAPS, [2.5, 4.5, 5.5],
         "+0.40 ± 0.00 points (n = 3), higher with LeNet-300-100, mnist, no noise (+0.78 in the"),
        # It ends with the last level there is.
        ((5.0, 6.0, 4.0), {1: {0: 0.1}, 2: {0: 0.1}}, [1.5, 2], "+0.10 points (n = 1)"),
        ((5.0, 5.0, 6.0), {1: {0: 0.1}}, [], "no such sparsity has both sets"),
    ],
)  # fmt: skip
def test_green_is_where_pruning_improves_and_the_mean_is_of_both_sets_there(
    tmp_path, errors, gaps, green, said
):
    rows = peg_subsets.trunk(errors=errors) + peg_subsets.improved(gaps)
    reading, figure = drawn(write(tmp_path, rows), "top_improved", "leave_out")
    spans = figure.axes[0].patches
    ends = [end for p in spans for end in (p.get_x(), p.get_x() + p.get_width())]
    assert len(ends) == len(green) + len(green) % 2
    assert ends[len(green) % 2 :] == pytest.approx(STEP * np.array(green))
    assert said in reading


def test_a_level_enters_only_with_seeds_that_have_both_sets(tmp_path):
    rows = peg_subsets.trunk() + peg_subsets.improved({1: {0: 0.5, 1: 0.7}, 5: {0: 0.3, 1: 0.1}})
    rows += peg_subsets.branch("tie", {2: 99.0}, 1)
    rows = [r for r in rows if (r["branch"], r["seed"], r["level"]) != ("rnd", 1, 5)]
    folder = write(tmp_path, rows)
    (here,) = loaded(leave_out, folder)
    gap = here.mean_difference(leave_out.TOP_IMPROVED)
    assert (gap.n, gap.mean) == (2, pytest.approx((0.4 + 0.7) / 2))
    numbers = tables_of(folder, "leave_out")["top_improved"].numbers
    assert numbers[["n", "unpaired_seeds"]].to_numpy().tolist() == [[2, "2"], [1, "1"]]


@pytest.mark.parametrize(
    ("gone", "second"), [((), (2.1, 3, "")), ((1,), (2.1, 2, "1")), ((0, 1, 2), (math.nan, 0, ""))]
)
def test_table_8_has_both_networks_at_the_optimum_and_at_0_beside_the_papers(
    tmp_path, gone, second
):
    rows = [
        one
        for one in peg_subsets.noisy()
        if one["branch"] != "dense_subset" or one["level"] != 2 or one["seed"] not in gone
    ]
    table = tables_of(write(tmp_path, rows), "leave_out")["dense_subset"]
    mean, n, missing = second
    # At 0%: 0, -0.2 and 0.1 points, within one standard deviation of 0.
    means = pytest.approx([4.1, mean, 5.1, 15.2 / 3], nan_ok=True)
    assert table.numbers["mean"].tolist() == means
    assert table.numbers["verdict_trunk"].tolist() == ["", "lower" * (n > 0), "", "matches"]
    assert table.numbers["n"].tolist() == [3, n, 3, 3]
    assert table.shown.get("missing seeds", [""] * 4)[1] == missing
    # PEG table 8, LeNet at 15% noise.
    assert table.numbers["paper_mean"].tolist() == [10.03, 3.30, 13.40, 12.03]


# ---------------------------------------------------------------- example_galleries
def first_panel(image, names=(), prediction=1):
    figure = gallery.draw({"a kind": (image[None], [0], [prediction])}, names)
    return figure.get_axes()[0]


GRAY = np.full((8, 8, 1), 120, np.uint8)


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ((), "L 0  P 1"),
        (("nought", "b"), "L nought\nP b"),
        (("a", "b"), "L a  P b"),
        (("a name of many words", "b"), "L a name of ma…\nP b"),
    ],
)
def test_classes_are_called_as_the_data_calls_them_and_wrong_ones_are_red(names, title):
    wrong, right = first_panel(GRAY, names), first_panel(GRAY, names, prediction=0)
    assert wrong.get_title() == title
    colors = wrong.title.get_color(), right.title.get_color()
    assert colors == (style.VERMILLION, style.BLACK)


@pytest.mark.parametrize("image", [GRAY, GRAY * np.array([1, 0, 2], np.uint8)])
def test_images_keep_their_colours_and_are_never_stretched_to_their_own_range(image):
    (shown,) = first_panel(image).get_images()
    np.testing.assert_array_equal(shown.get_array(), image.squeeze())
    assert shown.get_clim() == (0, 255)


def test_a_kind_without_levels_is_left_out_and_named(tmp_path):
    levels = {**peg_galleries.LEVELS, "most_worsened": []}
    folder = peg_galleries.make(tmp_path, (0, 20, 3), levels, names="abcdefghij")
    reading, figure = drawn(folder, "examples", "example_galleries")
    images = [sum(len(axes.get_images()) for axes in part.get_axes()) for part in figure.subfigs]
    assert images == [20, 3]
    assert figure.axes[0].get_title() == "L a  P b"  # As the file calls its classes.
    assert "no level qualifies to rank the most worsened; n = 2 seeds" in reading


@pytest.mark.parametrize("changes", [{"noise": 0.15}, {"width": 2.0}, {"train_subset": 4000}])
def test_table_4_has_no_number_for_other_data_or_another_width(tmp_path, changes):
    folder = peg_galleries.make(tmp_path, **changes)
    shown = tables_of(folder, "example_galleries")["levels"].shown
    assert set(shown["weights remaining, paper (%)"]) == {""}


def test_only_seeds_that_have_losses_at_every_level_used_are_counted(tmp_path):
    folder = peg_galleries.make(tmp_path, seeds=range(4), skip=[(2, 8), (1, 7), (3, 0)])
    (one,) = loaded(galleries, folder)
    # No kind uses level 7; each is measured from the dense network, level 0.
    assert (one.seeds, one.family.missing(one.seeds)) == ((0, 1), "2, 3")
