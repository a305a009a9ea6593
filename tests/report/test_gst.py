"""What GST's experiments draw and tabulate, on made-up runs whose numbers are known.

Of the studies that golden/ has, figures 2 and 3, noise and flatness, it claims all that is shown.
"""

from __future__ import annotations

import gst
import numpy as np
import pytest
from golden import figures_of, tables_of
from gst import FLAT, L40, R40, S4, S40, SHARP
from scipy import stats
from wording import says

from tfprune import store
from tfprune.errors import InputError
from tfprune.papers.gst import runs

STABILITY, NOISE, FLATNESS = "generalization_stability", "pruning_as_noise", "flatness"
C1_FRACTIONS = "0.25,0.8,0.25,0.95"


def found_in(folder):
    return runs.benchmarks(store.read_results(folder, every_variant=True), folder)


def names_in(folder):
    """Of the configurations of the only benchmark."""
    (benchmark,) = found_in(folder)
    return [str(c) for c in benchmark.configurations]


def panels(folder, name, experiment=STABILITY):
    return [axes for axes in figures_of(folder, experiment)[name][1].get_axes() if axes.axison]


def reading(folder, name, experiment=STABILITY):
    return figures_of(folder, experiment)[name][0].reading


def table(folder, name, experiment=STABILITY):
    """What is shown, by configuration where there is one."""
    shown = tables_of(folder, experiment)[name].shown
    return shown.set_index("configuration") if "configuration" in shown else shown


# ---------------------------------------------------------------- what there is data for
@pytest.mark.parametrize(
    ("make", "experiment", "drawn", "tabled"),
    [
        (lambda folder: gst.trunk([0.8, 0.9]), STABILITY, "", "configurations"),
        (lambda folder: gst.figure_2(), STABILITY, "stability gap",
         "configurations correlations t_tests size"),
        (lambda folder: gst.with_norms(folder, gst.trunk([0.8])), STABILITY, "batch_norm",
         "configurations"),
        (lambda folder: gst.trunk([0.8], experiment=NOISE), NOISE, "", "configurations"),
        (lambda folder: gst.trunk([0.8], experiment=FLATNESS), FLATNESS, "accuracy",
         "configurations correlations"),
        # Their files are gone.
        (lambda folder: [row | {"flatness": "a.csv", "perturbations": "b.csv"}
                         for row in gst.flat_study(folder)],
         FLATNESS, "curvature_and_noise epsilon tic accuracy", "configurations correlations"),
    ],
)  # fmt: skip
def test_what_is_drawn_follows_from_what_was_run(tmp_path, make, experiment, drawn, tabled):
    folder = gst.write(tmp_path, make(tmp_path))
    figures = figures_of(folder, experiment)
    assert set(figures) == set(drawn.split())
    assert all(info.reading for info, _ in figures.values())
    assert set(tables_of(folder, experiment)) == set(tabled.split())


def test_a_damaged_file_is_named(tmp_path):
    folder = gst.write(tmp_path, gst.flat_study(tmp_path))
    next(folder.glob("trials/**/flatness-*.csv")).write_text("index\n0\n")
    with pytest.raises(InputError, match=r"flatness-.*\.csv lacks the column eigenvalue"):
        figures_of(folder, FLATNESS)


# ---------------------------------------------------------------- correlations
@pytest.mark.parametrize(
    ("known", "said", "why"),
    [
        (L40[:2], "n = 2: a correlation needs at least 3 runs", "needs at least 3 runs"),
        ([(0.8, 0.99), (0.81, 0.99), (0.82, 0.99)],
         "n = 3: no correlation, one of the two does not vary", "one does not vary"),
    ],
)  # fmt: skip
def test_where_there_is_no_correlation_figure_table_and_page_say_why(tmp_path, known, said, why):
    folder = gst.with_metrics(tmp_path, gst.trunk([0.8, 0.8]) + gst.filters("largest", 40, known))
    _, right = panels(folder, "stability")
    assert right.get_title(loc="left").replace("\n", " ") == said
    assert len(right.get_lines()) == 1
    shown = table(folder, "correlations")
    assert (shown["r [95% CI]"][0], "p of r" in shown) == (why, False)
    assert "falls with" not in reading(folder, "stability")


def test_a_line_is_drawn_and_a_best_one_named_only_beyond_chance(tmp_path):
    level = [(0.85, 0.99), (0.86, 0.98), (0.852, 0.97)]
    rows = gst.trunk([0.86, 0.851, 0.85]) + gst.filters("largest", 40, level)
    figures = figures_of(gst.with_metrics(tmp_path, rows), STABILITY)
    figure = figures["gap"][1]
    assert not [ln for a in figure.get_axes() for ln in a.get_lines() if ln.get_linestyle() == "--"]
    assert "least squares" not in str([t.get_text() for t in figure.legends[0].get_texts()])
    text = figures["stability"][0].reading
    assert says(text, "No configuration is the most accurate", "Prune_L 13%", "matches No Pruning")


def test_figure_2s_correlation_stands_beside_that_of_its_three_configurations(tmp_path):
    folder = gst.write(tmp_path, gst.figure_2() + gst.filters("random", 40, R40))
    numbers = tables_of(folder, STABILITY)["correlations"].numbers
    all_, three = numbers.iloc[0], numbers.iloc[1]
    assert (all_["n"], three["n"]) == (12, 9)
    assert np.isnan(all_["paper_pearson"])
    printed = three[["pearson", "paper_pearson", "paper_pearson_p"]]
    assert printed.tolist() == pytest.approx([-1, -0.73, 4.4e-6])
    assert all_["pearson_low"] < all_["pearson"] < all_["pearson_high"]


@pytest.mark.parametrize(
    ("changes", "removed"),
    [
        ({"criterion": "filter_ebn"}, "42% (section 2)"),
        ({"total": 0.5}, ""),
        ({"layer_fractions": "0.3,0.8,0.3,0.9"}, ""),
        ({"width": 0.25}, ""),
        ({"train_subset": 4000}, ""),
    ],
)
def test_other_experiments_on_the_same_network_are_not_set_beside_the_papers(
    tmp_path, changes, removed
):
    rows = [
        row
        for target, period, known in (
            ("smallest", 4, S4),
            ("smallest", 40, S40),
            ("largest", 40, L40),
        )
        for row in gst.filters(target, period, known, **changes)
    ]
    made = tables_of(gst.write(tmp_path, rows), STABILITY)
    assert made["correlations"].numbers["paper_pearson"].isna().all()
    assert set(made["size"].numbers["paper_parameters_removed"]) == {removed}


def test_a_rate_with_fewer_than_three_runs_has_no_correlation(tmp_path):
    rows = [row for row in gst.figure_3(1) if row["branch"] != "filters_random_p4"]
    _, _, right = panels(gst.write(tmp_path, rows), "rate")
    assert len(right.containers[0][0].get_xdata()) == 2


# ---------------------------------------------------------------- curves
def test_curves_are_means_of_runs_in_their_bootstrapped_band(tmp_path):
    rows = gst.filters("largest", 40, L40[:2])
    for row, level in zip(rows, (0.8, 0.9), strict=True):
        gst.write_metrics(tmp_path, row["stage"], [level, level])
    left, _ = panels(gst.write(tmp_path, rows), "stability")
    (line,) = left.get_lines()
    np.testing.assert_allclose(line.get_data(), [[1, 2], [85, 85]])
    # A quarter of the resamples of two runs are twice the lower one: its value is the 2.5% point.
    ends = left.collections[0].get_paths()[0].vertices
    assert {(1, 80), (1, 90), (2, 80), (2, 90)} == {tuple(v) for v in ends.round(6).tolist()}


def test_a_single_run_has_no_band_and_missing_metrics_are_told(tmp_path):
    rows = gst.filters("largest", 40, L40)
    gst.write_metrics(tmp_path, rows[0]["stage"], [0.8, 0.9])
    left, _ = panels(gst.write(tmp_path, rows), "stability")
    assert not [path for area in left.collections for path in area.get_paths()]
    (entry,) = left.get_legend().get_texts()
    assert entry.get_text() == "Prune_L 13% (98.9% stable, 1 of 3 runs)"


# ---------------------------------------------------------------- configurations
def test_a_missing_seed_is_named(tmp_path):
    rows = gst.figure_2()
    rows = [row for row in rows if (row["branch"], row["seed"]) != ("filters_largest_p40", 1)]
    shown = table(gst.write(tmp_path, rows), "configurations")[["runs", "missing seeds"]]
    assert shown.loc["Prune_L 13%"].tolist() == ["2", "1"]
    assert shown.loc["Prune_S 13%"].tolist() == ["3", ""]


def test_training_accuracy_is_warned_of_where_it_is_low(tmp_path):
    rows = gst.trunk([0.8] * 3) + gst.filters("largest", 40, L40, train_accuracy_at_best=0.654)
    folder = gst.write(tmp_path, rows)
    title = tables_of(folder, STABILITY)["configurations"].title
    for text in (title, reading(folder, "stability")):
        assert says(text, "1 of 2 configurations", "below 99%", "at 65.4% (Prune_L 13%")


def test_configurations_that_would_share_a_name_get_longer_ones(tmp_path):
    rows = gst.filters("largest", 40, L40) + gst.filters("largest", 20, S40, iterative_rate=0.9 / 7)
    rows += gst.filters("smallest", 40, S4)
    assert names_in(gst.write(tmp_path, rows)) == [
        "Prune_S 13%", "Prune_L 13%, every 20 epochs", "Prune_L 13%, every 40 epochs"
    ]  # fmt: skip


# ---------------------------------------------------------------- benchmarks
def test_trials_that_differ_in_what_is_pruned_are_one_scatter_plot(tmp_path):
    """As in figure C3: the dense training, which both trials have, counts once."""
    rows = []
    for trial, total, known in (("ten", 0.1, S40), ("six", 0.06, S4)):
        rows += gst.trunk([0.84, 0.85, 0.86], trial=trial)
        rows += gst.filters("smallest", 40, known, total, trial=trial)
    shown = table(gst.write(tmp_path, rows), "configurations")
    assert shown["runs"].to_dict() == {"No Pruning": "3", "Prune_S 0.86%": "3", "Prune_S 1.4%": "3"}


def test_schedules_of_one_folder_are_benchmarks_side_by_side_with_one_baseline(tmp_path):
    """As figure 2's and table C1's networks: the rows of the first stay when the second is run."""
    both = {"0.25,0.4,0.25,0.95": S40, C1_FRACTIONS: L40}
    for place, (fractions, known) in enumerate(both.items()):
        changes = {"prune_fractions": fractions, "layer_fractions": fractions, "model": "resnet18"}
        rows = gst.filters("largest", 40, known, 0.95, **changes)
        for row in rows:
            row["stage"] += f"-{place}"
        gst.write(tmp_path, [*gst.trunk([0.84, 0.85, 0.86], model="resnet18"), *rows])
    found = found_in(tmp_path)
    assert [len(b.runs) for b in found] == [6, 6]
    assert [b.name.split("prune_fractions=")[1] for b in found] == [C1_FRACTIONS, next(iter(both))]
    removed = table(tmp_path, "size")["paper, parameters removed"]
    assert removed.tolist() == ["59% (section 3.2)", "46% (section 2)"]
    # Within one run, --prunings names the fractions, and both are in one plot.
    rows = []
    for fractions, known in both.items():
        of = gst.filters("largest", 40, known, 0.95, layer_fractions=fractions)
        rows += [{**row, "branch": f"{row['branch']}_f{fractions}"} for row in of]
    names = names_in(gst.write(tmp_path / "one", rows))
    assert names == [f"Prune_L 14%, layers by {f}" for f in sorted(both)]


def test_trials_that_differ_otherwise_are_benchmarks_of_their_own(tmp_path):
    rows = []
    for size in (64, 256):
        changes = {"trial": f"batch{size}", "batch_size": size}
        moved = [(accuracy + size / 1e4, stability) for accuracy, stability in L40]
        rows += gst.trunk([0.84 + size / 1e4], **changes)
        rows += gst.filters("largest", 40, moved, **changes)
    folder = gst.with_metrics(tmp_path, rows)
    assert len(panels(folder, "stability")) == 4
    shown = table(folder, "configurations")
    assert shown["benchmark"].tolist() == ["batch_size=256"] * 2 + ["batch_size=64"] * 2


def test_batch_norms_are_held_against_the_normal_distribution(tmp_path):
    folder = gst.write(tmp_path, gst.with_norms(tmp_path, gst.trunk([0.8])))
    titles = [axes.get_title(loc="left") for axes in panels(folder, "batch_norm")]
    assert titles[:2] == ["norm_2: At initialization", "norm_2: After training"]
    assert len(titles) == 2 * 8
    # Two normal distributions 0.3 apart differ most in the middle: by Φ(0.15) - Φ(-0.15).
    assert 2 * stats.norm.cdf(0.15) - 1 == pytest.approx(0.119, abs=5e-4)
    assert says(reading(folder, "batch_norm"), "0.00", "0.119 after training")


# ---------------------------------------------------------------- pruning_as_noise
@pytest.mark.parametrize(("seeds", "said"), [(2, "1 of 2 differ from it (p < 0.05)."), (1, "")])
def test_noise_differs_from_no_pruning_by_t_tests_which_take_two_runs(tmp_path, seeds, said):
    rows = gst.trunk([0.849, 0.851][:seeds], experiment=NOISE)
    rows += gst.noise("zeroing", 1, [(0.839, 0.99), (0.861, 0.98)][:seeds])
    rows += gst.noise("zeroing", 50, [(0.899, 0.99), (0.901, 0.98)][:seeds])
    text = reading(gst.with_metrics(tmp_path, rows), "accuracy", NOISE)
    assert says(text, "Zeroing 1", "Zeroing 50 +5.0")
    assert text.partition("; by t tests, ")[2] == said


# ---------------------------------------------------------------- flatness
def test_runs_of_unequal_spectra_are_compared_as_far_as_all_reach(tmp_path):
    one, other = gst.trunk([0.85, 0.85])
    rows = gst.with_flatness(tmp_path, [one], SHARP) + gst.with_flatness(
        tmp_path, [other], FLAT[:2]
    )
    (axes,) = panels(gst.write(tmp_path, rows), "top_eigenvalues", FLATNESS)
    (bars,) = [c for c in axes.containers if hasattr(c, "patches") and c.patches]
    heights = np.mean([SHARP[:2], FLAT[:2]], axis=0)
    np.testing.assert_allclose([bar.get_height() for bar in bars], heights)


def test_the_step_that_raises_the_loss_is_read_from_the_grid(tmp_path):
    # λ step² / 2 reaches 0.1 at √(0.2 / λ): 0.158 and 0.316, beyond 0.4 for λ of 1.
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), (8.0,))
    for period, eigenvalue in ((40, 2.0), (20, 1.0)):
        pruned = gst.filters("largest", period, [(0.87, 0.98)])
        rows += gst.with_flatness(tmp_path, pruned, (eigenvalue,))
    text = reading(gst.write(tmp_path, rows), "perturbations", FLATNESS)
    for step in (
        "a step of 0.16 with No Pruning",
        ", 0.32 with Prune_L",
        ", none that was measured",
    ):
        assert step in text


def test_nine_eigenvectors_are_shown_at_most(tmp_path):
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), np.linspace(10, 1, 12))
    drawn = panels(gst.write(tmp_path, rows), "perturbations", FLATNESS)
    titles = [axes.get_title(loc="left").strip() for axes in drawn]
    assert titles == [f"eigenvector {place}" for place in range(1, 10)]


def test_flatness_correlates_over_the_runs_that_have_both(tmp_path):
    rows = gst.flat_study(tmp_path)
    rows[0]["epsilon"] = float("nan")  # Its loss never rises enough.
    links = tables_of(gst.write(tmp_path, rows), FLATNESS)["correlations"]
    found = links.numbers.set_index(["x", "y"])
    wanted = np.corrcoef([6, 6, 5, 9], [1, 1, 0.98, 0.99])[0, 1]
    assert found.loc[("stability", "hessian_trace_top"), "pearson"] == pytest.approx(wanted)
    assert found.loc[("stability", "epsilon"), "n"] == 3
    assert len(found) == 2 * 6 + 1
