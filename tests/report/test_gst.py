"""What GST's experiments draw and tabulate, on made-up runs whose numbers are known."""

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
from tfprune.papers.gst.pruning_as_noise import noise_panels

STABILITY, NOISE, FLATNESS = "generalization_stability", "pruning_as_noise", "flatness"


def found_in(folder, experiment=STABILITY):
    results = store.read_results(folder, every_variant=True)
    return runs.benchmarks(results[results["experiment"] == experiment], folder)


def one(folder):
    (benchmark,) = found_in(folder)
    return benchmark


def points(axes):
    """{(x, y)} of all points of a scatter plot, its line left out."""
    drawn = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    return {
        (round(x, 6), round(y, 6)) for line in drawn for x, y in zip(*line.get_data(), strict=True)
    }


def panels(folder, name, experiment=STABILITY):
    return [axes for axes in figures_of(folder, experiment)[name][1].get_axes() if axes.axison]


def reading(folder, name, experiment=STABILITY):
    return figures_of(folder, experiment)[name][0].reading


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


# ---------------------------------------------------------------- what there is data for
@pytest.mark.parametrize(
    ("make", "experiment", "drawn", "tabled"),
    [
        (lambda folder: gst.trunk([0.8, 0.9]), STABILITY, "", "configurations"),
        (lambda folder: gst.figure_2(), STABILITY, "stability gap",
         "configurations correlations t_tests size"),
        (lambda folder: gst.figure_3(1), STABILITY, "stability rate rate_kendall rate_scatter gap",
         "configurations correlations t_tests size"),
        (lambda folder: [r | {"batch_norm": gst.normalized(folder)} for r in gst.trunk([0.8])],
         STABILITY, "batch_norm", "configurations"),
        (lambda folder: gst.trunk([0.8], experiment=NOISE), NOISE, "", "configurations"),
        (lambda folder: gst.flat_study(folder), FLATNESS,
         "curvature_and_noise top_eigenvalues spectra epsilon perturbations tic accuracy",
         "configurations correlations"),
        (lambda folder: gst.trunk([0.8], experiment=FLATNESS), FLATNESS, "accuracy",
         "configurations correlations"),
    ],
)  # fmt: skip
def test_what_is_drawn_follows_from_what_was_run(tmp_path, make, experiment, drawn, tabled):
    folder = gst.write(tmp_path, make(tmp_path))
    figures = figures_of(folder, experiment)
    assert set(figures) == set(drawn.split())
    assert all(info.reading for info, _ in figures.values())
    assert set(tables_of(folder, experiment)) == set(tabled.split())


def test_without_the_measurements_files_the_scatter_plots_are_there_all_the_same(tmp_path):
    folder = gst.write(tmp_path, gst.flat_study(tmp_path))
    for file in folder.glob("trials/**/*.csv"):
        file.unlink()
    assert set(figures_of(folder, FLATNESS)) == {
        "curvature_and_noise",
        "epsilon",
        "tic",
        "accuracy",
    }


def test_a_damaged_file_is_named(tmp_path):
    folder = gst.write(tmp_path, gst.flat_study(tmp_path))
    next(folder.glob("trials/**/*-flatness.csv")).write_text("index\n0\n")
    with pytest.raises(InputError, match=r"flatness\.csv lacks the column eigenvalue"):
        figures_of(folder, FLATNESS)


# ---------------------------------------------------------------- correlations
def test_a_scatter_plot_has_the_pruned_runs_both_coefficients_and_the_least_squares(tmp_path):
    _, right = panels(gst.with_metrics(tmp_path, gst.figure_2()), "stability")
    known = np.array([*S4, *S40, *L40])
    assert points(right) == {(round(100 * s, 6), round(100 * a, 6)) for a, s in known}
    # All nine lie on accuracy = 1.85 - stability.
    assert right.get_title(loc="left") == "r = -1.00 (p < 0.001)\nτ = -1.00 (p < 0.001), n = 9"
    (line,) = (line for line in right.get_lines() if line.get_linestyle() == "--")
    np.testing.assert_allclose(line.get_data(), [[98.8, 100], [86.2, 85]])


@pytest.mark.parametrize(
    ("known", "said", "why"),
    [
        (L40[:2], "n = 2: a correlation needs at least 3 runs", "needs at least 3 runs"),
        ([(0.8, 0.99), (0.81, 0.99), (0.82, 0.99)],
         "n = 3: no correlation, one of the two does not vary", "one does not vary"),
    ],
)  # fmt: skip
def test_where_there_is_no_correlation_figure_table_and_page_say_why(tmp_path, known, said, why):
    rows = gst.trunk([0.8, 0.8]) + gst.filters("largest", 40, known)
    folder = gst.with_metrics(tmp_path, rows)
    _, right = panels(folder, "stability")
    assert right.get_title(loc="left").replace("\n", " ") == said
    assert len(right.get_lines()) == 1
    shown = tables_of(folder, STABILITY)["correlations"].shown
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
    folder = gst.write(tmp_path / "all", gst.figure_2() + gst.filters("random", 40, R40))
    all_, three, *gaps = tables_of(folder, STABILITY)["correlations"].numbers.to_dict("records")
    assert (all_["n"], three["n"]) == (12, 9)
    assert [gap["y"] for gap in gaps] == ["gap", "running_generalization_gap"]
    assert np.isnan(all_["paper_pearson"])
    assert (three["pearson"], three["paper_pearson"], three["paper_pearson_p"]) == (
        pytest.approx(-1), -0.73, 4.4e-6
    )  # fmt: skip
    assert all_["pearson_low"] < all_["pearson"] < all_["pearson_high"]


@pytest.mark.parametrize(
    "changes",
    [{"criterion": "filter_ebn"}, {"total": 0.5}, {"layer_fractions": "0.3,0.8,0.3,0.9"}],
)
def test_other_experiments_on_the_same_network_have_no_published_correlation(tmp_path, changes):
    rows = gst.filters("smallest", 4, S4, **changes) + gst.filters("smallest", 40, S40, **changes)
    rows += gst.filters("largest", 40, L40, **changes)
    numbers = tables_of(gst.write(tmp_path, rows), STABILITY)["correlations"].numbers
    assert numbers["paper_pearson"].isna().all()


def test_the_reading_names_the_trend_the_best_configuration_and_the_papers_number(tmp_path):
    text = reading(gst.write(tmp_path, gst.figure_2()), "stability")
    assert says(text, "accuracy falls with mean stability (r = -1.00 (p < 0.001)",
                "Most accurate is Prune_L 13% with 86.10%, No Pruning 85.00%",
                "GST prints r = -0.73")  # fmt: skip


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
    assert legend(left) == ["Prune_L 13% (98.9% stable, 1 of 3 runs)"]


def test_more_than_eight_configurations_have_a_panel_of_curves_for_every_target(tmp_path):
    *curves, _ = panels(gst.with_metrics(tmp_path, gst.figure_3(), epochs=6), "stability")
    titles = [axes.get_title(loc="left").replace("\n", " ").split(": ")[-1] for axes in curves]
    assert titles == ["Prune_S", "Prune_R", "Prune_L"]
    assert [len(axes.get_lines()) for axes in curves] == [4] * 3
    assert len({axes.get_ylim() for axes in curves}) == 1


# ---------------------------------------------------------------- by rate
def test_correlations_by_rate_are_over_the_runs_of_all_targets(tmp_path):
    folder = gst.write(tmp_path, gst.figure_3())
    figures = figures_of(folder, STABILITY)
    drawn = {
        "pearson": figures["rate"][1].get_axes()[2],
        "kendall": figures["rate_kendall"][1].get_axes()[0],
    }
    tests = {"pearson": stats.pearsonr, "kendall": stats.kendalltau}
    for name, axes in drawn.items():
        (line, *_), *_ = axes.containers
        rates, values = (np.array(part, float) for part in line.get_data())
        np.testing.assert_allclose(rates, [0.9 / 68, 0.9 / 7, 0.9], rtol=1e-4)
        for rate, value in zip(rates, values, strict=True):
            of = [r for r in gst.figure_3() if np.isclose(r.get("iterative_rate", 0), rate, 1e-4)]
            columns = [[r[name] for r in of] for name in ("stability", "stable_accuracy_best")]
            assert value == pytest.approx(tests[name](*columns).statistic)
    text = figures["rate"][0].reading
    assert "r < 0) at 2 of 3 rates" in text


def test_a_rate_with_fewer_than_three_runs_has_no_correlation(tmp_path):
    rows = [row for row in gst.figure_3(1) if row["branch"] != "filters_random_p4"]
    _, _, right = panels(gst.write(tmp_path, rows), "rate")
    assert len(right.containers[0][0].get_xdata()) == 2


def test_where_stability_is_crowded_an_inset_enlarges_it(tmp_path):
    rows = [
        row
        for period, steps in ((4, 0.001), (20, 0.01), (300, 0.5))
        for target, times in (("smallest", 1), ("largest", 2))
        for row in gst.filters(target, period, [(0.85, 1 - times * steps)] * 2)
    ]
    left, *_ = panels(gst.write(tmp_path, rows), "rate")
    (inset,) = left.child_axes
    low, high = inset.get_ylim()
    assert 97 < low < 98 < 100 < high < 101
    assert [t.get_text() for t in inset.get_xticklabels()] == ["1.3", "6.4"]


# ---------------------------------------------------------------- tables
def test_table_c1_has_mean_and_std_of_the_best_accuracy_after_the_last_pruning(tmp_path):
    rows = gst.figure_2()
    for row in rows:
        if row["branch"].startswith("filters"):
            row["test_accuracy_best"] = 0.99  # Before the last pruning.
    numbers = tables_of(gst.write(tmp_path, rows), STABILITY)["configurations"].numbers
    large = numbers.set_index("configuration").loc["Prune_L 13%"]
    none = numbers.set_index("configuration").loc["No Pruning"]
    names = ["accuracy_mean", "accuracy_std", "stability_mean", "gap_mean", "n"]
    assert large[names].tolist() == pytest.approx([0.861, 0.001, 0.989, 0.139, 3])
    assert none[names].tolist() == pytest.approx([0.85, 0.01, 1, 0.15, 3])
    assert none["paper_accuracy"] == 0.852
    assert np.isnan(large["paper_accuracy"])


def test_a_missing_seed_is_named(tmp_path):
    rows = gst.figure_2()
    rows = [row for row in rows if (row["branch"], row["seed"]) != ("filters_largest_p40", 1)]
    shown = tables_of(gst.write(tmp_path, rows), STABILITY)["configurations"].shown
    shown = shown.set_index("configuration")
    assert shown.loc["Prune_L 13%", ["runs", "missing seeds"]].tolist() == ["2", "1"]
    assert shown.loc["Prune_S 13%", "missing seeds"] == ""


def test_training_accuracy_is_warned_of_where_it_is_low(tmp_path):
    fitted = gst.write(tmp_path / "1", gst.figure_2())
    assert "Warning" not in reading(fitted, "stability")
    rows = gst.trunk([0.8] * 3) + gst.filters("largest", 40, L40, train_accuracy_at_best=0.654)
    folder = gst.write(tmp_path / "2", rows)
    for text in (
        tables_of(folder, STABILITY)["configurations"].title,
        reading(folder, "stability"),
    ):
        assert says(text, "1 of 2 configurations", "below 99%", "at 65.4% (Prune_L 13%")


def test_table_f1s_t_tests_pool_the_variances(tmp_path):
    numbers = tables_of(gst.write(tmp_path, gst.figure_2()), STABILITY)["t_tests"].numbers
    numbers = numbers.set_index(["compared", "against"])
    found = numbers.loc[("Prune_L 13%", "Prune_S 13%")]
    # Both have variance 1e-6: t = 0.007 / sqrt(1e-6 (1/3 + 1/3)), 4 degrees of freedom.
    t = 0.007 / np.sqrt(1e-6 * 2 / 3)
    assert found[["difference", "t", "p"]].tolist() == pytest.approx(
        [0.007, t, 2 * stats.t.sf(t, 4)]
    )
    assert set(numbers.index) == {
        ("Prune_L 13%", "Prune_S 13%"), ("Prune_S 13%", "No Pruning"),
        ("Prune_S 13%", "Scratch (Prune_S)"), ("Prune_L 13%", "No Pruning"),
        ("Prune_L 13%", "Scratch (Prune_S)"),
    }  # fmt: skip


def test_sizes_before_and_after_shrinking_beside_the_papers(tmp_path):
    table = tables_of(gst.write(tmp_path, gst.figure_2()), STABILITY)["size"]
    numbers = table.numbers.set_index("configuration").loc["Prune_L 13%"]
    assert numbers["parameters_removed"] == pytest.approx(1 - 4246 / 9230)
    assert numbers["flops_removed"] == pytest.approx(0.25)
    assert numbers["paper_parameters_removed"] == "42% (section 2)"
    other = tables_of(gst.write(tmp_path / "a", gst.filters("largest", 40, L40, 0.5)), STABILITY)
    assert other["size"].numbers["paper_parameters_removed"].tolist() == [""]


# ---------------------------------------------------------------- benchmarks
def test_trials_that_differ_in_what_is_pruned_are_one_scatter_plot(tmp_path):
    """As in figure C3: the dense training, which both trials have, counts once."""
    rows = []
    for trial, total, known in (("ten", 0.1, S40), ("six", 0.06, S4)):
        rows += gst.trunk([0.84, 0.85, 0.86], trial=trial)
        rows += gst.filters("smallest", 40, known, total, trial=trial)
    benchmark = one(gst.write(tmp_path, rows))
    names = [str(c) for c in benchmark.configurations]
    assert names == ["No Pruning", "Prune_S 0.86%", "Prune_S 1.4%"]
    assert [len(benchmark.of(c)) for c in benchmark.configurations] == [3, 3, 3]


C1_FRACTIONS = "0.25,0.8,0.25,0.95"


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
    size = tables_of(tmp_path, STABILITY)["size"].shown
    assert size["paper, parameters removed"].tolist() == ["59% (section 3.2)", "46% (section 2)"]
    # Within one run, --prunings names the fractions, and both are in one plot.
    rows = []
    for fractions, known in both.items():
        of = gst.filters("largest", 40, known, 0.95, layer_fractions=fractions)
        rows += [{**row, "branch": f"{row['branch']}_f{fractions}"} for row in of]
    names = [str(c) for c in one(gst.write(tmp_path / "one", rows)).configurations]
    assert names == [f"Prune_L 14%, layers by {f}" for f in sorted(both)]


def test_trials_that_differ_otherwise_are_benchmarks_of_their_own(tmp_path):
    rows = []
    for size, shift in ((64, 0.0), (256, 0.01)):
        moved = [(a + shift, s) for a, s in L40]
        changes = {"trial": f"batch{size}", "batch_size": size}
        rows += gst.trunk([0.84 + shift], **changes) + gst.filters("largest", 40, moved, **changes)
    folder = gst.with_metrics(tmp_path, rows)
    assert len(panels(folder, "stability")) == 4
    shown = tables_of(folder, STABILITY)["configurations"].shown
    assert shown["benchmark"].tolist() == ["batch_size=256"] * 2 + ["batch_size=64"] * 2


def test_configurations_that_would_share_a_name_get_longer_ones(tmp_path):
    rows = gst.filters("largest", 40, L40) + gst.filters("largest", 20, S40, iterative_rate=0.9 / 7)
    rows += gst.filters("smallest", 40, S4)
    assert [str(c) for c in one(gst.write(tmp_path, rows)).configurations] == [
        "Prune_S 13%", "Prune_L 13%, every 20 epochs", "Prune_L 13%, every 40 epochs"
    ]  # fmt: skip


def test_batch_norms_are_held_against_the_normal_distribution(tmp_path):
    rows = gst.trunk([0.8])
    rows[0]["batch_norm"] = gst.normalized(tmp_path)
    folder = gst.write(tmp_path, rows)
    titles = [axes.get_title(loc="left") for axes in panels(folder, "batch_norm")]
    assert titles[:2] == ["norm_2: At initialization", "norm_2: After training"]
    assert len(titles) == 2 * 8
    # Two normal distributions 0.3 apart differ most in the middle: by Φ(0.15) - Φ(-0.15).
    assert 2 * stats.norm.cdf(0.15) - 1 == pytest.approx(0.119, abs=5e-4)
    assert says(reading(folder, "batch_norm"), "0.00", "0.119 after training")


# ---------------------------------------------------------------- pruning_as_noise
def test_every_kind_of_noise_has_a_panel_beside_pruning_and_neither_shortest_first(tmp_path):
    (benchmark,) = found_in(gst.write(tmp_path, gst.noise_study()), NOISE)
    plain = ["No Pruning", "Prune_L 13%"]
    assert {title: [str(c) for c in shown] for title, shown in noise_panels(benchmark).items()} == {
        "Zeroing": [*plain, "Zeroing 1", "Zeroing 50", "Zeroing 1105"],
        "Zeroing, cumulative": [*plain, "Zeroing 89, cumulative"],
        "Gaussian": [*plain, "Gaussian 1105"],
    }


def test_the_reading_has_every_gain_over_no_pruning(tmp_path):
    text = reading(gst.with_metrics(tmp_path, gst.noise_study()), "accuracy", NOISE)
    gains = ("Prune_L 13% +1.0", "Zeroing 1 +0.1", "Zeroing 50 +0.6", "Zeroing 1105 +1.1")
    assert says(text, "No Pruning (85.0%)", *gains)


def test_noise_differs_from_no_pruning_by_t_tests(tmp_path):
    rows = gst.trunk([0.849, 0.851], experiment=NOISE)
    rows += gst.noise("zeroing", 1, [(0.839, 0.99), (0.861, 0.98)])
    rows += gst.noise("zeroing", 50, [(0.899, 0.99), (0.901, 0.98)])
    text = reading(gst.with_metrics(tmp_path / "2", rows), "accuracy", NOISE)
    assert says(text, "Zeroing 1 +0.0", "Zeroing 50 +5.0", "t tests", "1 of 2 differ", "p < 0.05")
    # Of a single run there is none.
    rows = [row for row in rows if row["seed"] == 0]
    assert "t test" not in reading(gst.with_metrics(tmp_path / "1", rows), "accuracy", NOISE)


def test_every_noise_is_tested_against_pruning_and_against_neither(tmp_path):
    numbers = tables_of(gst.write(tmp_path, gst.noise_study()), NOISE)["t_tests"].numbers
    numbers = numbers.set_index(["compared", "against"])
    assert len(numbers) == 1 + 2 * 5
    found = numbers.loc[("Gaussian 1105", "Prune_L 13%")]
    # Two runs each, 2 points apart: pooled variance 2e-6, so t = 0.01 / sqrt(2e-6).
    assert found[["difference", "t"]].tolist() == pytest.approx([0.01, 0.01 / np.sqrt(2e-6)])


# ---------------------------------------------------------------- flatness
def test_eigenvalues_are_means_over_runs_by_magnitude_with_their_sign(tmp_path):
    """As the paper draws them: bars; values with an 80% band, and magnitudes on plain axes."""
    figures = figures_of(gst.write(tmp_path, gst.flat_study(tmp_path)), FLATNESS)
    (axes,) = figures["top_eigenvalues"][1].get_axes()
    none, large = [c for c in axes.containers if hasattr(c, "patches") and c.patches]
    np.testing.assert_allclose([bar.get_height() for bar in none], SHARP)
    np.testing.assert_allclose([bar.get_height() for bar in large], [5, 2, 0])
    left, right = figures["spectra"][1].get_axes()
    np.testing.assert_allclose(left.get_lines()[1].get_data(), [[1, 2, 3], [5, 2, 0]])
    np.testing.assert_allclose(right.get_lines()[1].get_ydata(), [5, 2, 1])
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    # Of two runs, a fourth of the resamples is one of them twice: the band reaches both.
    band = left.collections[1].get_paths()[0].vertices
    assert {(1, 4), (1, 6), (3, -1), (3, 1)} <= {tuple(v) for v in band.round(9).tolist()}
    assert says(figures["spectra"][0].reading, "3 eigenvalues", "25%", "negative")
    ends = ("largest", "No Pruning (9.00)", "smallest", "Prune_L 13% (5.00)")
    assert says(figures["top_eigenvalues"][0].reading, *ends)


def test_runs_of_unequal_spectra_are_compared_as_far_as_all_reach(tmp_path):
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, SHARP)
    rows += gst.with_flatness(tmp_path, [gst.row("", 1, 0.85)], None, SHARP[:2])
    (axes,) = panels(gst.write(tmp_path, rows), "top_eigenvalues", FLATNESS)
    (bars,) = [c for c in axes.containers if hasattr(c, "patches") and c.patches]
    np.testing.assert_allclose([bar.get_height() for bar in bars], SHARP[:2])


def test_rises_of_the_loss_are_means_along_each_eigenvector_just_beyond_epsilon(tmp_path):
    drawn = panels(gst.write(tmp_path, gst.flat_study(tmp_path)), "perturbations", FLATNESS)
    assert len(drawn) == 3
    none, large, rise = drawn[0].get_lines()
    assert rise.get_ydata()[0] == 0.1
    x = none.get_xdata()
    assert x[[0, -1]] == pytest.approx([-0.11, 0.11])  # ε is 0.1; a sixth further on the grid.
    np.testing.assert_allclose(none.get_ydata(), SHARP[0] * x**2 / 2, atol=1e-12)
    np.testing.assert_allclose(large.get_ydata(), (FLAT[0] + 1) * x**2 / 2, atol=1e-12)
    assert len({axes.get_ylim() for axes in drawn}) == 1


def test_the_step_that_raises_the_loss_is_read_from_the_grid(tmp_path):
    # λ step² / 2 reaches 0.1 at √(0.2 / λ): 0.158 and 0.316, beyond 0.4 for λ of 1.
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, (8.0,))
    for period, eigenvalue in ((40, 2.0), (20, 1.0)):
        pruned = gst.filters("largest", period, [(0.87, 0.98)])
        rows += gst.with_flatness(tmp_path, pruned, None, (eigenvalue,))
    text = reading(gst.write(tmp_path, rows), "perturbations", FLATNESS)
    assert "a step of 0.16 with No Pruning" in text
    assert ", 0.32 with Prune_L" in text
    assert ", none that was measured with Prune_L" in text


def test_nine_eigenvectors_are_shown_at_most(tmp_path):
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, np.linspace(10, 1, 12))
    drawn = panels(gst.write(tmp_path, rows), "perturbations", FLATNESS)
    assert [axes.get_title(loc="left").strip() for axes in drawn] == [
        f"eigenvector {place}" for place in range(1, 10)
    ]


def test_flatness_correlates_over_the_runs_that_have_both(tmp_path):
    rows = gst.flat_study(tmp_path)
    rows[0]["epsilon"] = float("nan")  # Its loss never rises enough.
    links = tables_of(gst.write(tmp_path, rows), FLATNESS)["correlations"]
    found = links.numbers.set_index(["x", "y"])
    wanted = np.corrcoef([6, 6, 5, 9], [1, 1, 0.98, 0.99])[0, 1]
    assert found.loc[("stability", "hessian_trace_top"), "pearson"] == pytest.approx(wanted)
    assert found.loc[("stability", "epsilon"), "n"] == 3
    assert len(found) == 2 * 6 + 1
