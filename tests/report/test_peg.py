"""What PEG's experiments draw and tabulate, on made-up folders with known numbers."""

import math

import numpy as np
import pandas as pd
import peg_effects
import peg_galleries
import peg_subsets
import pytest
from golden import figures_of, tables_of
from peg import METHODS, family, realistic, row
from results import write
from wording import says

from tfprune import store
from tfprune.measures.example_groups import jaccard_baseline
from tfprune.pages import report
from tfprune.papers.drawings import gallery
from tfprune.papers.peg import effects, families, galleries, leave_out
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
    rows = [row(method, 1, 0, 5.0) for method in METHODS] + [row("lr_rewind", 0, 1, math.nan)]
    assert report.build_report(write(tmp_path, rows)).file.exists()


# ---------------------------------------------------------------- pruning_effect, width_scaling
def test_a_rise_that_comes_down_again_stays_in_the_panel_and_chance_does_not(tmp_path):
    rows = family("lr_rewind", {0: [12, 21, 9, 90], 1: [12, 21, 9, 90]}, 0.15)
    (axes,) = drawn(write(tmp_path, rows), "error")[1].axes
    assert 21 < axes.get_ylim()[1] < 24


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
    (one,) = families.load(pd.DataFrame(family("lr_rewind", {0: [5.0] * count})))
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


@pytest.mark.parametrize(("dataset", "is_there"), [("mnist", True), ("digits", False)])
def test_what_the_papers_text_says_stands_beside_the_same_data_alone(tmp_path, dataset, is_there):
    rows = peg_subsets.trunk(dataset=dataset)
    rows += peg_subsets.improved(peg_subsets.GAPS, dataset=dataset)
    reading, _ = drawn(write(tmp_path, rows), "top_improved", "leave_out")
    assert ("(+0.78 in the paper)" in reading) == is_there


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
    ("gone", "mean", "verdict", "missing"),
    [((), 2.1, "lower", ""), ((1,), 2.1, "lower", "1"), ((0, 1, 2), math.nan, "", "")],
)
def test_table_8_has_both_networks_at_the_optimum_and_at_0(tmp_path, gone, mean, verdict, missing):
    lost = [("dense_subset", 2, seed) for seed in gone]
    rows = [r for r in peg_subsets.noisy() if (r["branch"], r["level"], r["seed"]) not in lost]
    table = tables_of(write(tmp_path, rows), "leave_out")["dense_subset"]
    # At 0%: 0, -0.2 and 0.1 points, within one standard deviation of 0.
    means = pytest.approx([4.1, mean, 5.1, 15.2 / 3], nan_ok=True)
    assert table.numbers["mean"].tolist() == means
    assert table.numbers["verdict_trunk"].tolist() == ["", verdict, "", "matches"]
    assert table.shown.get("missing seeds", [""] * 4)[1] == missing


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


def test_only_seeds_that_have_losses_at_every_level_used_are_counted(tmp_path):
    folder = peg_galleries.make(tmp_path, seeds=range(4), skip=[(2, 8), (1, 7), (3, 0)])
    (one,) = loaded(galleries, folder)
    # No kind uses level 7; each is measured from the dense network, level 0.
    assert (one.seeds, one.family.missing(one.seeds)) == ((0, 1), "2, 3")
