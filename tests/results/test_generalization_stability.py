"""Figures and tables of GST's tradeoff, on made-up runs whose numbers are known."""

from __future__ import annotations

import gst
import numpy as np
import pytest
from scipy import stats

from tfprune import store
from tfprune.report import style
from tfprune.results import generalization_stability as report_of
from tfprune.results import report, stability
from tfprune.results.stability import ACCURACY, GAP, RUNNING_GAP, STABILITY

NAME = "generalization_stability"
# (accuracy, stability) by seed: on one line within each configuration and across them.
S4 = [(0.850, 1.000), (0.851, 0.999), (0.852, 0.998)]
S40 = [(0.853, 0.997), (0.854, 0.996), (0.855, 0.995)]
L40 = [(0.860, 0.990), (0.861, 0.989), (0.862, 0.988)]
R40 = [(0.900, 0.993), (0.901, 0.992), (0.902, 0.991)]


def figure_2(**changes):
    rows = gst.trunk([0.84, 0.85, 0.86], **changes) + gst.scratch([0.845, 0.846, 0.847], **changes)
    rows += gst.filters("smallest", 4, S4, **changes) + gst.filters("smallest", 40, S40, **changes)
    return rows + gst.filters("largest", 40, L40, **changes)


def figure_3(runs=3, periods=(4, 40, 300)):
    """Accuracy falls with stability at the two smaller rates, and rises at the largest."""
    rows = gst.trunk([0.852] * runs)
    for place, target in enumerate(("smallest", "random", "largest")):
        for period in periods:
            rate, sign = 0.9 / gst.EVENTS[period], -1 if period == 300 else 1
            of_seed = [
                (0.855 + sign * 0.002 * place + 0.0002 * s * (-1) ** s, 1 - rate * (place + 1) / 4)
                for s in range(runs)
            ]
            rows += gst.filters(target, period, of_seed)
    return rows


def found_in(folder):
    return stability.benchmarks(store.read_results(folder), NAME)


def one(folder):
    (benchmark,) = found_in(folder)
    return benchmark


def table_of(folder, name):
    """One of the tables: correlations, which take the longest, only where they are asked for."""
    found = found_in(folder)
    if name == "configurations":
        return stability.configuration_table(found, name, "")
    if name == "correlations":
        return stability.correlation_table(found, name, "", report_of.relations(found))
    if name == "t_tests":
        return stability.t_test_table(found, name, report_of.compared)
    return report_of.size_table(found)


def test_every_table_is_there(tmp_path):
    made = report.build_tables(store.read_results(gst.write(tmp_path, figure_2())), NAME)
    assert [table.name for table in made] == [
        f"{NAME}_{name}" for name in ("configurations", "correlations", "t_tests", "size")
    ]
    few = report.build_tables(store.read_results(gst.write(tmp_path / "a", gst.trunk([0.8]))), NAME)
    assert [table.name for table in few] == [f"{NAME}_configurations"]


def points(axes):
    """{(x, y)} of all points of a scatter plot, its line left out."""
    drawn = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    return {
        (round(x, 6), round(y, 6)) for line in drawn for x, y in zip(*line.get_data(), strict=True)
    }


def test_what_is_drawn_follows_from_what_was_run(tmp_path):
    names = [info.file for info in report_of.build(gst.with_metrics(tmp_path / "2", figure_2()))]
    assert names == [f"figures/{NAME}_{name}.png" for name in ("stability", "gap")]
    infos = report_of.build(gst.with_metrics(tmp_path / "3", figure_3(), epochs=6))
    assert [(info.file, info.paper_figures) for info in infos] == [
        (f"figures/{NAME}_stability.png", "GST figures 2 and B2"),
        (f"figures/{NAME}_rate.png", "GST figure 3"),
        (f"figures/{NAME}_rate_kendall.png", "GST figure C2"),
        (f"figures/{NAME}_rate_scatter.png", "GST figure C1"),
        (f"figures/{NAME}_gap.png", "GST figures 4 and C3"),
    ]
    assert report_of.build(gst.write(tmp_path / "0", gst.trunk([0.8, 0.9]))) == []


def test_the_scatter_plot_has_a_point_per_run_with_pruning_and_no_other(tmp_path):
    folder = gst.with_metrics(tmp_path, figure_2())
    _, right = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    wanted = {(round(100 * s, 6), round(100 * a, 6)) for a, s in (*S4, *S40, *L40)}
    assert points(right) == wanted


def test_the_title_has_both_coefficients_and_the_line_is_least_squares(tmp_path):
    folder = gst.with_metrics(tmp_path, figure_2())
    _, right = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    runs = np.array([*S4, *S40, *L40])
    # All nine lie on accuracy = 1.85 - stability.
    assert right.get_title(loc="left") == "r = -1.00 (p < 0.001)\nτ = -1.00 (p < 0.001), n = 9"
    (line,) = (line for line in right.get_lines() if line.get_linestyle() == "--")
    np.testing.assert_allclose(line.get_xdata(), [98.8, 100])
    fit = np.polyfit(100 * runs[:, 1], 100 * runs[:, 0], 1)
    np.testing.assert_allclose(line.get_ydata(), np.polyval(fit, [98.8, 100]), atol=1e-6)


def test_fewer_than_three_runs_claim_no_correlation(tmp_path):
    rows = gst.trunk([0.8, 0.8]) + gst.filters("largest", 40, L40[:2])
    folder = gst.with_metrics(tmp_path, rows)
    _, right = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    assert right.get_title(loc="left") == "n = 2: a correlation needs at least 3 runs"
    assert len(right.get_lines()) == 1
    shown = table_of(folder, "correlations").shown
    assert set(shown["r [95% CI]"]) == set(shown["τ [95% CI]"]) == {"needs at least 3 runs"}
    assert set(shown["p of r"]) == {""}
    assert "falls with" not in report_of.stability_reading(found_in(folder))


def test_runs_of_one_stability_have_no_correlation_and_the_table_says_why(tmp_path):
    rows = gst.filters("largest", 40, [(0.8, 0.99), (0.81, 0.99), (0.82, 0.99)])
    shown = table_of(gst.write(tmp_path, rows), "correlations").shown
    assert set(shown["r [95% CI]"]) == {"one does not vary"}


def test_curves_are_means_of_runs_in_their_bootstrapped_band(tmp_path):
    rows = gst.filters("largest", 40, L40[:2])
    for row, level in zip(rows, (0.8, 0.9), strict=True):
        gst.write_metrics(tmp_path, row["stage"], [level, level])
    folder = gst.write(tmp_path, rows)
    ((_, curve),) = stability.curves(folder, one(folder)).items()
    assert (curve.found, curve.expected, curve.table.index.tolist()) == (2, 2, [1, 2])
    np.testing.assert_allclose(curve.table["mean"], 0.85)
    # A quarter of the resamples of two runs are twice the lower one: its value is the 2.5% point.
    np.testing.assert_allclose(curve.table[["low", "high"]], [[0.8, 0.9]] * 2)


def test_a_single_run_has_no_band_and_missing_metrics_are_told(tmp_path):
    rows = gst.filters("largest", 40, L40)
    gst.write_metrics(tmp_path, rows[0]["stage"], [0.8, 0.9])
    folder = gst.write(tmp_path, rows)
    ((_, curve),) = stability.curves(folder, one(folder)).items()
    assert curve.table[["low", "high"]].isna().all(axis=None)
    left, _ = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    (label,) = [text.get_text() for text in left.get_legend().get_texts()]
    assert label == "Prune_L 13% (98.9% stable, 1 of 3 runs)"


def test_the_legend_tells_mean_stability_and_a_target_has_one_colour_everywhere(tmp_path):
    folder = gst.with_metrics(tmp_path, figure_2())
    left, right = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "No Pruning", "Prune_S 1.3% (99.9% stable)", "Prune_S 13% (99.6% stable)",
        "Prune_L 13% (98.9% stable)", "Scratch (Prune_S)",
    ]  # fmt: skip
    none, pale, small, large, _ = left.get_lines()
    assert none.get_color() == style.BLACK
    assert (small.get_color(), large.get_color()) == tuple(
        stability.TARGET_COLORS[target].lower() for target in ("smallest", "largest")
    )
    assert pale.get_color() not in (small.get_color(), large.get_color())
    drawn = [line.get_color() for line in right.get_lines() if line.get_linestyle() == "None"]
    assert drawn == [pale.get_color(), small.get_color(), large.get_color()]


def test_more_than_eight_configurations_have_a_panel_of_curves_for_every_target(tmp_path):
    folder = gst.with_metrics(tmp_path, figure_3())
    panels = report_of.accuracy_and_stability(folder, found_in(folder)).get_axes()
    titles = [axes.get_title(loc="left").replace("\n", " ").split(", ")[-1] for axes in panels[:3]]
    assert titles == ["Prune_S", "Prune_R", "Prune_L"]
    assert [len(axes.get_lines()) for axes in panels[:3]] == [4] * 3
    assert len({axes.get_ylim() for axes in panels[:3]}) == 1


def test_figure_3_has_means_by_rate_and_the_correlation_of_all_targets(tmp_path):
    folder = gst.write(tmp_path, figure_3())
    left, centre, right = report_of.by_rate(found_in(folder)).get_axes()
    rates = [0.9 / 68, 0.9 / 7, 0.9]
    for axes in (left, centre, right):
        assert axes.get_xscale() == "log"
        assert [t.get_text() for t in axes.get_xticklabels()] == ["1.3", "13", "90"]
    small, _, large = (container[0] for container in left.containers)
    np.testing.assert_allclose(np.array(small.get_xdata(), float), rates, rtol=1e-4)
    np.testing.assert_allclose(small.get_ydata(), 100 - 25 * np.array(rates))
    np.testing.assert_allclose(large.get_ydata(), 100 - 75 * np.array(rates))
    np.testing.assert_allclose(centre.get_lines()[-1].get_ydata(), 85.2)
    links = report_of.rate_correlations(one(folder))
    for link, rate in zip(links.values(), rates, strict=True):
        runs = [row for row in figure_3() if np.isclose(row.get("iterative_rate", 0), rate)]
        wanted = stats.pearsonr(*[
            [run[name] for run in runs] for name in ("stability", "stable_accuracy_best")
        ])  # fmt: skip
        assert (link.n, link.pearson) == (9, pytest.approx(wanted.statistic))
    np.testing.assert_allclose(
        right.containers[0][0].get_ydata(), [link.pearson for link in links.values()]
    )
    assert "r < 0) at 2 of 3 rates" in report_of.rate_reading(found_in(folder))


def test_a_rate_with_fewer_than_three_runs_has_no_correlation(tmp_path):
    rows = [row for row in figure_3(1) if row["branch"] != "filters_random_p4"]
    folder = gst.write(tmp_path, rows)
    links = report_of.rate_correlations(one(folder))
    assert [link.n for link in links.values()] == [2, 3, 3]
    _, _, right = report_of.by_rate(found_in(folder)).get_axes()
    assert len(right.containers[0][0].get_xdata()) == 2


def test_figure_c1_has_a_panel_per_rate_with_the_runs_of_that_rate(tmp_path):
    folder = gst.write(tmp_path, figure_3())
    panels = report_of.scatter_by_rate(found_in(folder)).get_axes()
    heads = [axes.get_title(loc="left").split("\n")[0] for axes in panels]
    assert heads == ["Iterative rate 1.3%", "Iterative rate 13%", "Iterative rate 90%"]
    assert {x for x, _ in points(panels[2])} == {77.5, 55.0, 32.5}


def test_accuracy_and_gap_are_coloured_by_rate(tmp_path):
    folder = gst.write(tmp_path, figure_2())
    left, right, running = report_of.accuracy_and_gap(found_in(folder)).get_axes()
    drawn = [line.get_color() for line in left.get_lines() if line.get_linestyle() == "None"]
    assert drawn == [style.BLUE, style.ORANGE, style.ORANGE]
    assert {(x, round(100 - y, 6)) for x, y in points(right)} == points(left)
    labels = [axes.get_ylabel().replace("\n", " ") for axes in (right, running)]
    assert labels == [GAP.label, RUNNING_GAP.label]
    assert {(x, round(95 - y, 6)) for x, y in points(running)} == points(left)
    text = report_of.gap_reading(found_in(folder))
    assert "on training images as they are; the running one, as the paper's code takes it" in text


def test_table_c1_has_mean_and_std_of_the_best_accuracy_after_the_last_pruning(tmp_path):
    rows = figure_2()
    for row in rows:
        if row["branch"].startswith("filters"):
            row["test_accuracy_best"] = 0.99  # Before the last pruning.
    numbers = table_of(gst.write(tmp_path, rows), "configurations").numbers
    numbers = numbers.set_index("configuration")
    large = numbers.loc["Prune_L 13%"]
    assert (large["accuracy_mean"], large["accuracy_std"], large["n"]) == (
        pytest.approx(0.861), pytest.approx(0.001), 3
    )  # fmt: skip
    assert (large["stability_mean"], large["stability_std"]) == (
        pytest.approx(0.989), pytest.approx(0.001)
    )  # fmt: skip
    assert large["gap_mean"] == pytest.approx(0.139)
    none = numbers.loc["No Pruning"]
    assert (none["accuracy_mean"], none["accuracy_std"]) == (
        pytest.approx(0.85), pytest.approx(0.01)
    )  # fmt: skip
    assert (none["stability_mean"], none["paper_accuracy"]) == (1.0, 0.852)
    assert large["paper_accuracy"] != large["paper_accuracy"]


def test_a_missing_seed_is_named(tmp_path):
    rows = [row for row in figure_2() if (row["branch"], row["seed"]) != ("filters_largest_p40", 1)]
    shown = table_of(gst.write(tmp_path, rows), "configurations").shown.set_index("configuration")
    assert shown.loc["Prune_L 13%", ["runs", "missing seeds"]].tolist() == ["2", "1"]
    assert shown.loc["Prune_S 13%", "missing seeds"] == ""


def test_figure_2s_correlation_stands_beside_that_of_its_three_configurations(tmp_path):
    folder = gst.write(tmp_path / "all", figure_2() + gst.filters("random", 40, R40))
    numbers = table_of(folder, "correlations").numbers
    all_, three, *gaps = numbers.to_dict("records")
    assert (all_["n"], three["n"]) == (12, 9)
    assert [gap["y"] for gap in gaps] == ["gap", "running_generalization_gap"]
    assert np.isnan(all_["paper_pearson"])
    assert (three["pearson"], three["paper_pearson"], three["paper_pearson_p"]) == (
        pytest.approx(-1), -0.73, 4.4e-6
    )  # fmt: skip
    assert all_["pearson_low"] < all_["pearson"] < all_["pearson_high"]
    # As in the paper, random filters were not pruned: one row is both.
    numbers = table_of(gst.write(tmp_path / "3", figure_2()), "correlations").numbers
    assert numbers["paper_pearson"].tolist()[0] == -0.73
    assert len(numbers) == 3


@pytest.mark.parametrize(
    "changes",
    [{"criterion": "filter_ebn"}, {"total": 0.5}, {"layer_fractions": "0.3,0.8,0.3,0.9"}],
)
def test_other_experiments_on_the_same_network_have_no_published_correlation(tmp_path, changes):
    rows = gst.filters("smallest", 4, S4, **changes) + gst.filters("smallest", 40, S40, **changes)
    rows += gst.filters("largest", 40, L40, **changes)
    numbers = table_of(gst.write(tmp_path, rows), "correlations").numbers
    assert numbers["paper_pearson"].isna().all()


def test_table_f1s_t_tests_pool_the_variances(tmp_path):
    numbers = table_of(gst.write(tmp_path, figure_2()), "t_tests").numbers
    numbers = numbers.set_index(["compared", "against"])
    found = numbers.loc[("Prune_L 13%", "Prune_S 13%")]
    # Both have variance 1e-6: t = 0.007 / sqrt(1e-6 (1/3 + 1/3)), 4 degrees of freedom.
    t = 0.007 / np.sqrt(1e-6 * 2 / 3)
    assert (found["difference"], found["t"]) == (pytest.approx(0.007), pytest.approx(t))
    assert found["p"] == pytest.approx(2 * stats.t.sf(t, 4))
    assert set(numbers.index) == {
        ("Prune_L 13%", "Prune_S 13%"), ("Prune_S 13%", "No Pruning"),
        ("Prune_S 13%", "Scratch (Prune_S)"), ("Prune_L 13%", "No Pruning"),
        ("Prune_L 13%", "Scratch (Prune_S)"),
    }  # fmt: skip


def test_sizes_before_and_after_shrinking_beside_the_papers(tmp_path):
    table = table_of(gst.write(tmp_path, figure_2()), "size")
    numbers = table.numbers.set_index("configuration").loc["Prune_L 13%"]
    assert numbers["parameters_removed"] == pytest.approx(1 - 4246 / 9230)
    assert numbers["flops_removed"] == pytest.approx(0.25)
    assert numbers["paper_parameters_removed"] == "42% (section 2)"
    other = table_of(gst.write(tmp_path / "a", gst.filters("largest", 40, L40, 0.5)), "size")
    assert other.numbers["paper_parameters_removed"].tolist() == [""]
    assert table_of(gst.write(tmp_path / "b", gst.trunk([0.8])), "size") is None
    left = table.shown.set_index("configuration").loc["Prune_L 13%"]
    assert (left["filters left (%)"], left["weights left (%)"]) == ("80.0", "46.0")


def test_trials_that_differ_in_what_is_pruned_are_one_scatter_plot(tmp_path):
    """As in figure C3: the dense training, which both trials have, counts once."""
    rows = []
    for trial, total, runs in (("ten", 0.1, S40), ("six", 0.06, S4)):
        rows += gst.trunk([0.84, 0.85, 0.86], trial=trial)
        rows += gst.filters("smallest", 40, runs, total, trial=trial)
    benchmark = one(gst.write(tmp_path, rows))
    assert list(benchmark.names.values()) == ["No Pruning", "Prune_S 0.86%", "Prune_S 1.4%"]
    assert [len(benchmark.of(c)) for c in benchmark.configurations] == [3, 3, 3]
    link = stability.correlation(report_of.pruned(benchmark), STABILITY, ACCURACY)
    assert (link.n, link.pearson) == (6, pytest.approx(-1))


C1_FRACTIONS = "0.25,0.8,0.25,0.95"


def test_schedules_of_one_folder_are_benchmarks_side_by_side_with_one_baseline(tmp_path):
    """As figure 2's and table C1's networks: the rows of the first stay when the second is run."""
    both = {"0.25,0.4,0.25,0.95": S40, C1_FRACTIONS: L40}
    for place, (fractions, runs) in enumerate(both.items()):
        changes = {"prune_fractions": fractions, "layer_fractions": fractions, "model": "resnet18"}
        rows = gst.filters("largest", 40, runs, 0.95, **changes)
        for row in rows:
            row["stage"] += f"-{place}"
        gst.write(tmp_path, [*gst.trunk([0.84, 0.85, 0.86], model="resnet18"), *rows])
    found = stability.benchmarks(store.read_results(tmp_path, every_variant=True), NAME)
    assert [len(b.runs) for b in found] == [6, 6]
    assert [b.name.split("prune_fractions=")[1] for b in found] == [C1_FRACTIONS, next(iter(both))]
    for benchmark, runs in zip(found, (L40, S40), strict=True):
        values = report_of.pruned(benchmark)["accuracy"].tolist()
        assert values == [accuracy for accuracy, _ in runs]
    size = report_of.size_table(found).shown
    assert size["paper, parameters removed"].tolist() == ["59% (section 3.2)", "46% (section 2)"]
    # Within one run, --prunings names the fractions, and both are in one plot.
    rows = []
    for fractions, runs in both.items():
        of = gst.filters("largest", 40, runs, 0.95, layer_fractions=fractions)
        rows += [{**row, "branch": f"{row['branch']}_f{fractions}"} for row in of]
    names = list(one(gst.write(tmp_path / "one", rows)).names.values())
    assert names == [f"Prune_L 14%, layers by {f}" for f in sorted(both)]


def test_a_line_is_drawn_and_a_best_one_named_only_beyond_chance(tmp_path):
    level = [(0.85, 0.99), (0.86, 0.98), (0.852, 0.97)]
    rows = gst.trunk([0.86, 0.851, 0.85]) + gst.filters("largest", 40, level)
    found = found_in(gst.with_metrics(tmp_path, rows))
    figure = report_of.accuracy_and_gap(found)
    assert not [ln for a in figure.get_axes() for ln in a.get_lines() if ln.get_linestyle() == "--"]
    assert "least squares" not in str([t.get_text() for t in figure.legends[0].get_texts()])
    text = report_of.stability_reading(found)
    assert "No configuration is the most accurate: Prune_L 13%" in text
    assert "matches No Pruning." in text


def test_training_accuracy_stands_in_the_table_and_is_warned_of_where_it_is_low(tmp_path):
    fitted = found_in(gst.write(tmp_path / "1", figure_2()))
    assert stability.premise(fitted) == ""
    rows = gst.trunk([0.8] * 3) + gst.filters("largest", 40, L40, train_accuracy_at_best=0.654)
    table = table_of(gst.write(tmp_path / "2", rows), "configurations")
    shown = table.shown.set_index("configuration")["train accuracy (%)"]
    assert shown["No Pruning"].startswith("100.00")
    assert shown["Prune_L 13%"].startswith("65.40")
    assert "1 of 2 configurations end below 99%, the lowest at 65.4% (Prune_L 13%" in table.title
    assert "below 99%" in report_of.stability_reading(found_in(tmp_path / "2"))


def test_figure_c2_has_kendalls_tau_of_all_targets_by_rate(tmp_path):
    found = found_in(gst.write(tmp_path, figure_3()))
    (axes,) = report_of.kendall_by_rate(found).get_axes()
    drawn = next(line for line in axes.get_lines() if len(line.get_xdata()) == 3)
    for rate, tau in zip(*drawn.get_data(), strict=True):
        runs = report_of.at_rate(found[0], rate)
        expected = stats.kendalltau(runs["stability"], runs["accuracy"]).statistic
        assert tau == pytest.approx(expected)
    assert "Kendall's tau by iterative rate: 1.3%:" in report_of.kendall_reading(found)


def test_trials_that_differ_otherwise_are_benchmarks_of_their_own(tmp_path):
    rows = []
    for size, shift in ((64, 0.0), (256, 0.01)):
        moved = [(a + shift, s) for a, s in L40]
        changes = {"trial": f"batch{size}", "batch_size": size}
        rows += gst.trunk([0.84 + shift], **changes) + gst.filters("largest", 40, moved, **changes)
    folder = gst.with_metrics(tmp_path, rows)
    found = found_in(folder)
    assert [b.name for b in found] == ["batch_size=256", "batch_size=64"]
    assert [len(report_of.pruned(b)) for b in found] == [3, 3]
    figure = report_of.accuracy_and_stability(folder, found)
    assert len(figure.get_axes()) == 4
    shown = table_of(folder, "configurations").shown
    assert shown["benchmark"].tolist() == ["batch_size=256"] * 2 + ["batch_size=64"] * 2


def test_configurations_that_would_share_a_name_get_longer_ones(tmp_path):
    rows = gst.filters("largest", 40, L40) + gst.filters("largest", 20, S40, iterative_rate=0.9 / 7)
    rows += gst.filters("smallest", 40, S4)
    assert list(one(gst.write(tmp_path, rows)).names.values()) == [
        "Prune_S 13%", "Prune_L 13%, every 20 epochs", "Prune_L 13%, every 40 epochs"
    ]  # fmt: skip


def test_the_reading_names_the_trend_the_best_configuration_and_the_papers_number(tmp_path):
    text = report_of.stability_reading(found_in(gst.write(tmp_path, figure_2())))
    assert text.startswith("Test accuracy falls with mean stability (r = -1.00 (p < 0.001)")
    assert "Most accurate is Prune_L 13% with 86.10%, No Pruning 85.00%." in text
    assert "GST prints r = -0.73" in text


def test_a_figure_has_the_same_bytes_when_it_is_drawn_again(tmp_path):
    folder = gst.with_metrics(tmp_path, figure_2())
    images = []
    for _ in range(2):
        report_of.build(folder)
        images.append({path.name: path.read_bytes() for path in folder.glob("figures/*")})
    assert images[0] == images[1]
