"""Loss changes by EL2N group and overlaps of affected examples, on made-up losses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import peg
import pytest

from tfprune import files, store
from tfprune.errors import DamagedFile, InputError
from tfprune.measures.example_groups import jaccard_baseline
from tfprune.results import example_effects, families, report

# Of 100 examples each seed trains on 80: four in each of 20 groups.
N, TRAINED = 100, 80
# Test errors of levels 0 to 4: level 2 is optimal, level 3 still beats dense.
ERRORS = (5.0, 4.5, 4.0, 4.8, 9.0)


def indices(seed):
    return np.sort(np.random.default_rng(seed).permutation(N)[:TRAINED])


def scores(seed):
    """Each seed ranks the examples in its own way."""
    return np.random.default_rng([seed, 1]).permutation(TRAINED) / TRAINED


def by_group(level, seed):
    """From -0.05 to 0.14 nats a level, by EL2N group; seeds are 0.001 apart."""
    return level * (0.01 * np.arange(20) - 0.05) + 0.001 * (seed - 1)


def dense_losses(seed):
    return np.linspace(0.5, 2, N)[indices(seed)]


def grouped(level, seed):
    """Losses after: the example of rank r is in group r // 4."""
    rank = np.argsort(np.argsort(scores(seed)))
    return dense_losses(seed) + (by_group(level, seed)[rank // 4] if level else 0)


def save(folder, row, losses, el2n=None):
    """Writes the files of a row and names them in it."""
    seed = row["seed"]
    row |= {"experiment": "example_effects", "examples": f"{row['stage']}/examples.npz", "el2n": ""}
    where = indices(seed)
    files.save_arrays(folder / row["examples"], {"indices": where, "losses": losses})
    if row["level"] == 0 and el2n is not False:
        row["el2n"] = f"{row['stage']}/el2n.npz"
        # In another order than the losses: examples are matched by index.
        arrays = {"values": scores(seed)[::-1], "indices": where[::-1]}
        files.save_arrays(folder / row["el2n"], arrays)
    return row


def trunk(folder, method="lr_rewind", seeds=(0, 1, 2), errors=ERRORS, noise=0.0, **options):
    return [
        save(folder, peg.row(method, level, seed, error, None, noise), grouped(level, seed))
        for level, error in enumerate(errors)
        for seed in seeds
    ]


def effects_of(folder):
    return example_effects.effects(folder, store.read_results(folder))


def change_of(folder, member=2, method="lr_rewind"):
    (here,) = effects_of(folder)
    return here.change(method, member)


def test_the_constructed_loss_change_of_every_group_comes_out(tmp_path):
    change = change_of(peg.write(tmp_path, trunk(tmp_path)))
    np.testing.assert_allclose(change.groups.mean, by_group(2, 1), atol=1e-12)
    np.testing.assert_allclose(change.groups.std, np.full(20, 0.001))
    np.testing.assert_array_equal(change.groups.examples, np.full((3, 20), 4))
    assert change.seeds == (0, 1, 2)


def test_bars_stand_at_the_optimal_sparsity_above_those_of_the_highest_that_beats_dense(tmp_path):
    folder = peg.write(tmp_path, trunk(tmp_path))
    (here,) = effects_of(folder)
    figure = example_effects.two_sparsities([here.change("lr_rewind", 2)], [here.change(
        "lr_rewind", 3)])  # fmt: skip
    best, deepest = figure.get_axes()
    for axes, level in ((best, 2), (deepest, 3)):
        heights = [bar.get_height() for bar in axes.patches]
        np.testing.assert_allclose(heights, by_group(level, 1), atol=1e-12)
        centers = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
        np.testing.assert_allclose(centers, np.arange(2.5, 100, 5))
    assert best.get_title(loc="left").endswith("64% of weights remaining, n = 3")
    assert "highest sparsity that beats dense" in deepest.get_title(loc="left")
    improved, worsened = best.patches[0], best.patches[19]
    assert improved.get_facecolor() != worsened.get_facecolor()


def test_the_report_chooses_level_2_by_validation_and_3_by_test_error(tmp_path):
    folder = peg.write(tmp_path, trunk(tmp_path))
    info = example_effects.build(folder)[0]
    assert (info.file, info.paper_figures) == (
        "figures/example_effects_by_sparsity.png", "PEG figures 1b and 2"
    )  # fmt: skip
    # Level 2: 0.02 g - 0.1 is 0 for group 5, which matches: its std is 0.001.
    assert "falls in 5, rises in 14, matches the dense one in 1 of 20 groups" in info.reading
    assert "64% of weights remaining; n = 3" in info.reading
    assert "51.2% of weights remaining; n = 3" in info.reading


def test_the_hard_fifth_is_compared_with_the_rest(tmp_path):
    folder = peg.write(tmp_path, trunk(tmp_path))
    change = change_of(folder)
    # Groups 16 to 19 average 17.5, the other sixteen 7.5.
    assert change.part(hard=True) == pytest.approx({s: 0.25 + 0.001 * (s - 1) for s in range(3)})
    assert change.part(hard=False) == pytest.approx({s: 0.05 + 0.001 * (s - 1) for s in range(3)})
    # |0.02 g - 0.1| of groups 0 to 15 adds up to 0.3 + 1.1.
    assert change.ratio() == pytest.approx(0.25 / (1.4 / 16))
    (table,) = report.build_tables(store.read_results(folder), "example_effects", folder)
    row = table.numbers.set_index("at").loc["optimal sparsity"]
    assert (row["hard_mean"], row["easy_mean"], row["n"]) == pytest.approx((0.25, 0.05, 3))
    assert row["hard_std"] == pytest.approx(0.001)
    assert (row["hard_verdict"], row["weights_remaining_percent"]) == ("higher", "64")


def test_a_seed_without_its_file_is_not_measured_and_is_named(tmp_path):
    folder = peg.write(tmp_path, trunk(tmp_path))
    (path,) = folder.glob("trials/*/seed_2/level_02/examples.npz")
    path.unlink()
    change = change_of(folder)
    assert change.seeds == (0, 1)
    np.testing.assert_allclose(change.groups.mean, by_group(2, 0.5))
    assert "n = 2, no seed 2" in example_effects.hard_reading([change], [])


def test_no_scores_no_figures_and_no_table(tmp_path):
    rows = trunk(tmp_path)
    folder = peg.write(tmp_path, [row | {"el2n": ""} for row in rows])
    assert example_effects.build(folder) == []
    assert report.build_tables(store.read_results(folder), "example_effects", folder) == []


def test_a_score_without_a_loss_is_in_no_group():
    losses = pd.DataFrame({0: [1.0, 2.0, np.nan, 4.0]}, index=[3, 5, 7, 9])
    scores = pd.DataFrame({0: [0.4, 0.3, 0.2, 0.1], 1: [1.0] * 4}, index=[9, 7, 5, 3])
    groups = example_effects.el2n_groups(losses, scores)
    assert groups.to_dict("list") == {0: [0, 1, -1, 2]}  # Fewer examples than 20: a group each.


def test_a_damaged_file_and_one_of_something_else_are_named(tmp_path):
    folder = peg.write(tmp_path, trunk(tmp_path))
    (path,) = folder.glob("trials/*/seed_1/level_00/examples.npz")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFile, match=r"examples\.npz is damaged"):
        effects_of(folder)
    files.save_arrays(path, {"indices": np.arange(3)})
    with pytest.raises(InputError, match="has no losses"):
        effects_of(folder)


def test_where_the_dense_model_is_best_nothing_is_drawn_but_it_is_named(tmp_path):
    rows = trunk(tmp_path, errors=(5.0, 6.0, 7.0), noise=0.05) + trunk(tmp_path, noise=0.15)
    folder = peg.write(tmp_path, rows)
    infos = {info.file: info for info in example_effects.build(folder)}
    reading = infos["figures/example_effects_by_noise.png"].reading
    assert "The dense model is the optimal one with LeNet-300-100, mnist, 5% noise." in reading
    assert "figures/example_effects_by_sparsity.png" not in infos  # Nothing is without noise.
    low, high = effects_of(folder)
    assert example_effects.by_noise([]) is None
    figure = example_effects.by_noise([high.change("lr_rewind", 2)])
    line = figure.get_axes()[0].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), by_group(2, 1), atol=1e-12)
    assert line.get_label() == "15% noise: WR 64%, n = 3"
    assert low.families["lr_rewind"].optimal() == 0


def test_five_members_are_spread_from_the_first_to_the_last(tmp_path):
    rows = peg.family("lr_rewind", {0: [5.0] * 22})
    (family,) = families.families(peg_results(tmp_path, rows))
    assert example_effects.spread_members(family) == [1, 6, 11, 16, 21]  # PEG figure 18.
    (short,) = families.families(peg_results(tmp_path / "short", rows[:4]))
    assert example_effects.spread_members(short) == [1, 2, 3]


def peg_results(folder, rows):
    return store.read_results(peg.write(folder, rows))


def test_along_a_family_titles_have_error_and_size_and_rows_are_noise_levels(tmp_path):
    rows = trunk(tmp_path, errors=ERRORS[:3]) + trunk(tmp_path, errors=ERRORS[:3], noise=0.15)
    rows += trunk(tmp_path, "extended_dense", errors=ERRORS[:2])
    folder = peg.write(tmp_path, rows)
    found = effects_of(folder)
    figure = example_effects.along([example_effects._along(here, "lr_rewind") for here in found])
    axes = figure.get_axes()
    titles = [panel.get_title(loc="left") for panel in axes]
    assert titles == 2 * ["E 4.5%, WR 80%", "E 4.0%, WR 64%"]
    assert [panel.get_ylabel().split("\n")[0] for panel in axes[::2]] == [
        "no noise, n = 3", "15% noise, n = 3"
    ]  # fmt: skip
    heights = [bar.get_height() for bar in axes[3].patches]
    np.testing.assert_allclose(heights, by_group(2, 1), atol=1e-12)
    (longer,) = example_effects._along(found[0], "extended_dense")
    assert longer.size_text == "TT 1"
    names = [info.paper_figures for info in example_effects.build(folder)]
    assert names == ["PEG figures 1b and 2", "PEG figure 5", "PEG figure 18", "PEG figure 19"]


# ---------------------------------------------------------------- table 3
# 10% of 80 examples are 8; rows 40-47 by one method, 44-51 by the other: 4 of 12 in common.
ONE_SHOT, WIDTH = slice(40, 48), slice(44, 52)


def affecting(seed, rows, size):
    losses = dense_losses(seed)
    losses[rows] += size
    return losses


def matched(folder, seeds=(0, 1, 2)):
    """One-shot levels 1 and 2, of which 2 is better; widths 1 and 0.8, of which 0.8 is better."""
    made = trunk(folder, errors=(5.0,), seeds=seeds)
    for seed in seeds:
        made += [
            save(folder, peg.row("one_shot", 0, seed, 5.0), dense_losses(seed)),
            save(folder, peg.row("one_shot", 1, seed, 5.5), affecting(seed, slice(0, 8), 1.0)),
            # A fall of the loss affects an example as a rise does.
            save(folder, peg.row("one_shot", 2, seed, 5.2), affecting(seed, ONE_SHOT, -0.4)),
            save(folder, peg.row("width_matched", 1, seed, 8.0), affecting(seed, ONE_SHOT, 9.0)),
            save(folder, peg.row("width_matched", 0, seed, 7.0, width=0.8), dense_losses(seed) + 9),
            save(folder, peg.row("width_matched", 1, seed, 6.0, width=0.8),
                 affecting(seed, WIDTH, 0.3)),
        ]  # fmt: skip
    return made


def overlap_table(folder):
    results = store.read_results(folder)
    return report.build_tables(results, "example_effects", folder)[-1]


def test_the_jaccard_similarity_of_constructed_sets_comes_out(tmp_path):
    folder = peg.write(tmp_path, matched(tmp_path))
    (here,) = effects_of(folder)
    found = example_effects.overlap_by_seed(here, {"one_shot": 2, "width_matched": 2})
    assert found == pytest.approx(dict.fromkeys((0, 1, 2), 1 / 3))
    table = overlap_table(folder)
    numbers, shown = table.numbers.iloc[0], table.shown.iloc[0]
    assert (numbers["mean"], numbers["std"], numbers["n"]) == pytest.approx((1 / 3, 0, 3))
    baseline = jaccard_baseline(0.1, TRAINED)
    assert numbers["minus_random_sets_mean"] == pytest.approx(1 / 3 - baseline)
    assert numbers["verdict_random_sets"] == "higher"
    assert "vs random sets" in table.shown
    assert shown["random"] == f"{baseline:.2f}"
    # PEG table 3 prints 0.60 for LeNet without noise.
    assert (numbers["paper_mean"], numbers["verdict_paper"]) == (0.6, "lower")


def test_the_best_of_the_matched_families_is_never_the_standard_dense_model(tmp_path):
    folder = peg.write(tmp_path, matched(tmp_path))
    (here,) = effects_of(folder)
    assert here.families["one_shot"].optimal() == 0
    assert here.families["one_shot"].optimal(with_dense=False) == 2
    assert here.families["lr_rewind"].optimal(with_dense=False) is None


def test_the_full_width_trained_as_long_is_no_width_scaling(tmp_path):
    """Even where it is the best of the widths (PEG I)."""
    rows = matched(tmp_path)
    for row in rows:
        if row["method"] == "width_matched" and row["width"] == 1:
            row |= {"val_accuracy": 0.99, "test_accuracy_last": 0.99}
    (here,) = effects_of(peg.write(tmp_path, rows))
    assert here.families["width_matched"].optimal() == 2
    assert [change.member for change in example_effects._matched(here)] == [2, 2]


def test_one_shot_pruning_and_width_scaling_are_drawn_beside_each_other(tmp_path):
    folder = peg.write(tmp_path, matched(tmp_path))
    pairs = [example_effects._matched(here) for here in effects_of(folder)]
    one_shot, width, _ = example_effects.matched_training(pairs).get_axes()[0].get_lines()
    ranks = np.array([np.argsort(np.argsort(scores(seed))) // 4 for seed in range(3)])
    for line, rows, size in ((one_shot, ONE_SHOT, -0.4), (width, WIDTH, 0.3)):
        counts = [np.bincount(seed[rows], minlength=20) for seed in ranks]
        np.testing.assert_allclose(line.get_ydata(), size / 4 * np.mean(counts, axis=0), atol=1e-12)
    assert one_shot.get_label() == "one-shot: WR 64%, n = 3"
    assert width.get_label().startswith("width: WR 71.6%")  # 0.8^1.5, as the fixture counts.


def test_the_overlap_stays_empty_where_losses_are_missing(tmp_path):
    rows = [row | ({"examples": ""} if row["method"] == "width_matched" else {})
            for row in matched(tmp_path)]  # fmt: skip
    table = overlap_table(peg.write(tmp_path, rows))
    assert table.numbers.loc[0, "n"] == 0
    assert "seeds" not in table.shown or table.shown.loc[0, "seeds"] == ""
    assert table.shown.loc[0, "paper (Jaccard)"].startswith("0.60")


def test_the_overlap_names_a_seed_that_is_missing(tmp_path):
    folder = peg.write(tmp_path, matched(tmp_path))
    (path,) = folder.glob("trials/*one_shot*/seed_1/level_02/examples.npz")
    path.unlink()
    table = overlap_table(folder)
    assert (table.numbers.loc[0, "n"], table.numbers.loc[0, "missing_seeds"]) == (2, "1")


@pytest.mark.parametrize("absent", [["el2n"], ["el2n", "examples"]])
def test_a_folder_in_which_nothing_is_measured_yet_has_a_report(tmp_path, absent):
    """As when another experiment's report is built while this one trains into the same folder."""
    rows = [peg.row("lr_rewind", level, seed, 5.0) for level in (0, 1) for seed in (0, 1)]
    rows = [row | {"experiment": "example_effects"} for row in rows]
    columns = [name for name in ("el2n", "examples") if name not in absent]
    peg.write(tmp_path, [row | dict.fromkeys(columns, "") for row in rows])
    assert example_effects.build(tmp_path) == []
