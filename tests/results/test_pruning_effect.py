"""The report of pruning_effect on made-up folders."""

import math

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from peg import EPOCHS, METHODS, family, realistic, row, write
from wording import says

from tfprune import store
from tfprune.results import families, family_figures, pruning_effect, report, style
from tfprune.results.families import EXTENDED_DENSE, LR_REWIND, TEST_ERROR, WEIGHT_REWIND


def loaded(folder, rows):
    return store.read_results(write(folder, rows))


def tables_of(folder, rows):
    made = pruning_effect.build_tables(loaded(folder, rows))
    return {table.name.removeprefix("pruning_effect_"): table for table in made}


def figures_of(folder, rows):
    write(folder, rows)
    drawn = pruning_effect.build(folder)
    return {info.file.removeprefix("figures/pruning_effect_")[:-4]: info for info in drawn}


def test_all_families_make_every_figure_and_table_of_the_paper(tmp_path):
    write(tmp_path, realistic(levels=6, seeds=(0, 1), noises=(0.0, 0.15)))
    report.build_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    for number in ("3", "1a", "4", "6", "8", "14", "15"):
        assert f"In the paper: <cite>PEG figure {number}" in page
    assert {path.stem.removeprefix("pruning_effect_") for path in tmp_path.glob("tables/*.md")} == {
        "optima", "table_2", "table_5", "table_6", "table_9", "table_10", "table_11", "claims"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("methods", "noises", "drawn", "tabled"),
    [
        (["lr_rewind"], [0.15], {"error", "loss"}, {"optima", "table_6", "table_11", "claims"}),
        (["lr_rewind"], [0.0], {"error"}, {"optima", "table_2", "table_6"}),
        (
            ["lr_rewind", "extended_dense"],
            [0.0],
            {"error", "size_and_training", "epochs"},
            {"optima", "table_2", "table_6"},
        ),
        (
            ["lr_rewind", "synflow"],
            [0.0],
            {"error", "algorithms", "criteria"},
            {"optima", "table_2", "table_6", "table_10", "claims"},
        ),
        (["weight_rewind"], [0.0], {"algorithms"}, {"optima", "table_2", "table_6", "table_9"}),
    ],
)
def test_what_needs_families_that_were_not_run_is_left_out(
    tmp_path, methods, noises, drawn, tabled
):
    rows = realistic(methods, noises, seeds=(0, 1), levels=3)
    assert set(figures_of(tmp_path, rows)) == drawn
    assert set(tables_of(tmp_path, rows)) == tabled


def test_table_6_has_ours_beside_the_papers_for_both_rewindings_and_dense(tmp_path):
    # The paper: dense 13.4 ± 0.3, LR rewinding 10.0 ± 0.6, weight rewinding 4.4 ± 0.2.
    rows = family(LR_REWIND, {0: [13.4, 10.0], 1: [13.2, 10.4]}, noise=0.15)
    rows += family(WEIGHT_REWIND, {0: [13.4, 5.0, 6.0], 1: [13.2, 5.2, 6.0]}, noise=0.15)
    table = tables_of(tmp_path, rows)["table_6"]
    assert table.shown["algorithm"].tolist() == ["weight rewinding", "LR rewinding", "dense"]
    assert table.shown["ours (%)"].tolist() == ["5.1 ± 0.1", "10.2 ± 0.3", "13.3 ± 0.1"]
    assert table.shown["paper (%)"].tolist() == ["4.4 ± 0.2", "10.0 ± 0.6", "13.4 ± 0.3"]
    # 0.7 against sqrt(0.02 + 0.04), 0.2 against sqrt(0.08 + 0.36), 0.1 against sqrt(0.02 + 0.09).
    assert table.shown["vs paper"].tolist() == ["higher", "matches", "matches"]
    assert table.shown["vs dense"].tolist() == ["lower (-8.20)", "lower (-3.10)", ""]
    assert table.shown["seeds"].tolist() == ["2", "2", "2"]


def test_cells_of_algorithms_that_were_not_run_stay_empty_beside_the_papers(tmp_path):
    table = tables_of(tmp_path, family(LR_REWIND, {0: [2.0, 1.8]}))["table_2"]
    assert table.shown["ours (%)"].tolist() == ["1.8", "", "", "", "", ""]
    assert table.shown["paper (%)"].tolist() == [
        "1.8 ± 0.1", "1.5 ± 0.1", "1.7 ± 0.1", "1.9 ± 0.1", "1.9 ± 0.2", "1.8 ± 0.1"
    ]  # fmt: skip


def test_digits_has_no_column_of_the_paper(tmp_path):
    tabled = tables_of(tmp_path, family(LR_REWIND, {0: [2.0, 1.8]}, dataset="digits"))
    assert not [name for name in tabled["table_2"].shown if "paper" in name]


def test_extended_dense_training_is_placed_by_its_epochs(tmp_path):
    rows = family(EXTENDED_DENSE, {0: [9, 8, 7]}, noise=0.15)
    rows += family(LR_REWIND, {0: [9, 6]}, noise=0.15)
    table = tables_of(tmp_path, rows)["table_5"]
    assert table.shown["optimum at"].tolist() == ["80%", f"{3 * EPOCHS} epochs"]
    assert table.shown["vs LR rewinding"].tolist() == ["", "(+1.00)"]


def test_table_11_has_the_losses_of_both_parts_and_their_changes(tmp_path):
    rows = [
        row(LR_REWIND, level, seed, 13 - 3 * level, None, 0.15, noisy_loss=n, original_loss=o)
        for seed in (0, 1)
        for level, (n, o) in enumerate([(0.6 + 0.1 * seed, 0.05), (3.5 + 0.1 * seed, 0.4)])
    ]
    table = tables_of(tmp_path, rows)["table_11"]
    cells = table.numbers.set_index(["examples", "at"])
    assert cells.loc[("noisy", "optimal"), "mean"] == pytest.approx(3.55)
    assert cells.loc[("noisy", "change"), "mean"] == pytest.approx(2.9)
    assert cells.loc[("noisy", "change"), "std"] == pytest.approx(0, abs=1e-9)
    assert cells.loc[("noisy", "dense"), "paper_mean"] == 0.59
    assert cells.loc[("noisy", "optimal"), "paper_mean"] == 3.5
    assert cells.loc[("noisy", "change"), "paper_mean"] == 2.91
    assert cells.loc[("original", "optimal"), "minus_dense_mean"] == pytest.approx(0.35)
    assert cells.loc[("noisy", "change"), "metric"] == "noisy_loss_change"


def test_the_claims_count_the_benchmarks_of_each_verdict(tmp_path):
    rows = []
    for noise, error in ((0.0, 1.0), (0.05, 8.0), (0.1, 8.0), (0.15, 12.0)):
        rows += family(LR_REWIND, {0: [9, error], 1: [9.1, error + 0.1]}, noise=noise)
    claims = tables_of(tmp_path, rows)["claims"].shown.iloc[0]
    # Three are noisy; at 15% the dense model is the optimum.
    assert claims["ours"] == "lower on 2, matches on 1, higher on 0 of 3"
    assert claims["paper"] == "lower on 11, matches on 2 of 13"


def drawn_by(rows, place=family_figures.by_remaining, methods=(LR_REWIND,)):
    found = families.families(pd.DataFrame(rows))
    markers = dict(zip(methods, "so", strict=False))
    return family_figures.by_method(found, markers, place)


def test_the_star_stands_at_the_optimum_and_dense_is_dashed():
    rows = family(LR_REWIND, {0: [5, 3, 4], 1: [7, 5, 6]})
    rows += family(LR_REWIND, {0: [9, 8], 1: [9, 8]}, 0.15)
    # Its optimum, 0.5 points below dense, is within the 2.1 points of one std.
    rows += family(LR_REWIND, {0: [11, 12], 1: [11, 9]}, 0.3)
    (axes,) = drawn_by(rows).axes
    stars = [line for line in axes.get_lines() if line.get_marker() == "*"]
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars]
    assert points == [(pytest.approx(-math.log(0.8)), pytest.approx(y)) for y in (4, 8)]
    assert [to_hex(line.get_color()).upper() for line in stars] == [style.BLUE, style.VERMILLION]
    dashed = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([6, 9, 11])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "80", "64"]


def test_a_network_at_chance_leaves_the_panel_rather_than_flatten_it():
    (axes,) = drawn_by(family(LR_REWIND, {0: [5, 3, 4, 90]})).axes
    low, high = axes.get_ylim()
    assert low < 3
    assert 5 < high < 12


def test_training_epochs_are_those_of_all_levels_so_far():
    rows = family(LR_REWIND, {0: [5, 3, 4]}) + family(EXTENDED_DENSE, {0: [5, 4, 4]})
    (axes,) = drawn_by(rows, family_figures.by_epochs, (LR_REWIND, EXTENDED_DENSE)).axes
    curves = [line for line in axes.get_lines() if line.get_marker() in "so"]
    assert [list(line.get_xdata()) for line in curves] == 2 * [[EPOCHS, 2 * EPOCHS, 3 * EPOCHS]]


def test_levels_are_shaded_where_pruning_and_longer_training_match():
    rows = family(LR_REWIND, {0: [5, 4.0, 4.0, 9], 1: [5, 4.2, 4.2, 9.1], 2: [5, 4.4, 4.4, 9]})
    rows += family(EXTENDED_DENSE, {0: [5, 4.2, 4.1, 4], 1: [5, 4.1, 4.4, 4], 2: [5, 4.4, 4.5, 4]})
    found = families.families(pd.DataFrame(rows))
    (here,) = families.by_benchmark(found).values()
    # Level 1: -0.2, 0.1, 0 is a match; level 2: -0.1, -0.2, -0.1 is not; nor is level 3.
    assert pruning_effect.alike_levels(here) == [1]
    reading = pruning_effect.alike_reading(found)
    assert "at 1 of 3 levels, the last with 80% of the weights" in reading
    figure = pruning_effect.size_and_training(found)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "both alike" in labels


def test_one_seed_is_said_not_to_tell(tmp_path):
    rows = family(LR_REWIND, {0: [13.4, 10]}, 0.15)
    reading = figures_of(tmp_path, rows)["error"].reading
    assert says(reading, "LeNet-300-100", "mnist", "15% noise", "LR rewinding", "10.00%", "80%")
    assert says(reading, "dense", "13.40%", "one seed cannot tell")
    assert tables_of(tmp_path, rows)["claims"].shown["ours"].tolist() == [
        "lower on 0, matches on 0, higher on 0, one seed on 1 of 1"
    ]


def test_the_loss_reading_goes_from_dense_to_the_optimum(tmp_path):
    rows = [
        row(LR_REWIND, level, 0, 13 - level, None, 0.15, noisy_loss=n, original_loss=o)
        for level, (n, o) in enumerate([(0.6, 0.05), (3.5, 0.4)])
    ]
    reading = figures_of(tmp_path, rows)["loss"].reading
    assert "on noisy examples from 0.60 to 3.50 nats" in reading
    assert "on original examples from 0.05 to 0.40 nats" in reading


def test_a_folder_that_is_still_being_filled_makes_a_report(tmp_path):
    rows = [row(method, 1, 0, 5.0) for method in METHODS] + [row(LR_REWIND, 0, 1, math.nan)]
    write(tmp_path, rows)
    assert report.build_report(tmp_path).exists()
    found = families.families(store.read_results(tmp_path))
    assert all(family.by_seed(TEST_ERROR, 0) == {} for family in found)
