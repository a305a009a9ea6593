"""Figures and tables of flatness, on made-up runs whose eigenvalues are known."""

from __future__ import annotations

import gst
import numpy as np
import pytest
from wording import says

from tfprune import store
from tfprune.errors import InputError
from tfprune.results import flatness, report, stability

NAME = "flatness"
SHARP, FLAT = (9.0, -4.0, 1.0), (4.0, 2.0, -1.0)


def study(folder, **values):
    """No pruning is sharp, Prune_L is flat: its second seed less so, and nowhere negative."""
    rows = gst.with_flatness(folder, gst.trunk([0.85, 0.85]), values, SHARP)
    pruned = gst.filters("largest", 40, [(0.87, 0.98), (0.86, 0.99)])
    rows += gst.with_flatness(folder, pruned[:1], values, FLAT)
    return rows + gst.with_flatness(folder, pruned[1:], values, np.add(FLAT, [2.0, 0.0, 2.0]))


def found_in(folder):
    return stability.benchmarks(store.read_results(folder), NAME)


@pytest.fixture
def folder(tmp_path):
    return gst.write(tmp_path, study(tmp_path))


def test_every_figure_of_the_appendix_is_there(folder):
    infos = flatness.build(folder)
    assert [(info.file, info.paper_figures) for info in infos] == [
        (f"figures/flatness_{name}.png", f"GST figure {number}")
        for name, number in (
            ("curvature_and_noise", "6"), ("top_eigenvalues", "E1"), ("spectra", "E2"),
            ("epsilon", "E3"), ("perturbations", "E4"), ("tic", "E5"), ("accuracy", "E6"),
        )
    ]  # fmt: skip
    assert all(info.reading for info in infos)


def test_figure_6_has_all_configurations_in_four_panels(folder):
    pairs = [(stability.STABILITY, flatness.TRACE), (flatness.TRACE, stability.ACCURACY)]
    panels = stability.scatter_panels(found_in(folder), pairs, flatness.everything).get_axes()
    drawn = {
        point
        for line in panels[0].get_lines()
        if line.get_linestyle() == "None"
        for point in zip(*line.get_data(), strict=True)
    }
    # Without pruning stability is 100%; the traces are sums of the eigenvalues.
    assert drawn == {(100.0, 6.0), (98.0, 5.0), (99.0, 9.0)}
    assert panels[1].get_xlabel() == flatness.TRACE.label


def test_runs_whose_loss_never_rises_enough_have_no_epsilon_and_no_point(tmp_path):
    rows = study(tmp_path)
    rows[0]["epsilon"] = float("nan")
    (benchmark,) = found_in(gst.write(tmp_path, rows))
    link = stability.correlation(benchmark.runs, stability.STABILITY, flatness.EPSILON)
    assert link.n == 3


def test_bars_are_means_over_runs_by_magnitude_with_their_sign(folder):
    (axes,) = flatness.top_eigenvalues(folder, found_in(folder)).get_axes()
    none, large = [c for c in axes.containers if hasattr(c, "patches") and c.patches]
    np.testing.assert_allclose([bar.get_height() for bar in none], SHARP)
    np.testing.assert_allclose([bar.get_height() for bar in large], [5, 2, 0])
    colors = [container.patches[0].get_facecolor()[:3] for container in (none, large)]
    assert colors[0] != colors[1]


def test_spectra_are_mean_lines_with_their_sign_over_a_logarithmic_place(folder):
    """As the paper draws E2: values with an 80% band, and magnitudes on plain axes."""
    left, right = flatness.spectra(folder, found_in(folder)).get_axes()
    np.testing.assert_allclose(left.get_lines()[1].get_ydata(), [5, 2, 0])
    np.testing.assert_allclose(left.get_lines()[1].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(right.get_lines()[1].get_ydata(), [5, 2, 1])
    assert (left.get_xscale(), left.get_yscale()) == ("log", "linear")
    assert (right.get_xscale(), right.get_yscale()) == ("linear", "linear")
    # Of two runs, a fourth of the resamples is one of them twice: the band reaches both.
    band = left.collections[1].get_paths()[0].vertices
    assert {(1, 4), (1, 6), (3, -1), (3, 1)} <= {tuple(v) for v in band.round(9).tolist()}
    text = flatness.spectrum_reading(folder, found_in(folder))
    assert says(text, "3 eigenvalues", "25%", "negative")


def test_runs_of_unequal_spectra_are_compared_as_far_as_all_reach(tmp_path):
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, SHARP)
    rows += gst.with_flatness(tmp_path, [gst.row("", 1, 0.85)], None, SHARP[:2])
    folder = gst.write(tmp_path, rows)
    (axes,) = flatness.top_eigenvalues(folder, found_in(folder)).get_axes()
    (bars,) = [c for c in axes.containers if hasattr(c, "patches") and c.patches]
    np.testing.assert_allclose([bar.get_height() for bar in bars], SHARP[:2])


def test_rises_of_the_loss_are_means_along_each_eigenvector_just_beyond_epsilon(folder):
    panels = flatness.loss_rises(folder, found_in(folder)).get_axes()
    assert len(panels) == 3
    none, large, rise = panels[0].get_lines()
    assert rise.get_ydata()[0] == flatness.RISE
    x = none.get_xdata()
    assert x[[0, -1]] == pytest.approx([-0.11, 0.11])  # ε is 0.1; a sixth further on the grid.
    np.testing.assert_allclose(none.get_ydata(), 9 * x**2 / 2, atol=1e-12)
    np.testing.assert_allclose(large.get_ydata(), 5 * x**2 / 2, atol=1e-12)
    np.testing.assert_allclose(panels[1].get_lines()[0].get_ydata(), -4 * x**2 / 2, atol=1e-12)
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_nine_eigenvectors_are_shown_at_most(tmp_path):
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, np.linspace(10, 1, 12))
    folder = gst.write(tmp_path, rows)
    panels = flatness.loss_rises(folder, found_in(folder)).get_axes()
    assert [axes.get_title(loc="left") for axes in panels] == [
        f"eigenvector {place}" for place in range(1, 10)
    ]


def test_the_tables_have_every_measure_and_its_correlation(folder):
    configurations, links = report.build_tables(store.read_results(folder), NAME)
    numbers = configurations.numbers.set_index("configuration")
    assert numbers.loc["Prune_L 13%", "hessian_trace_top_mean"] == pytest.approx(7)
    assert numbers.loc["Prune_L 13%", "hessian_trace_top_std"] == pytest.approx(np.sqrt(8))
    assert numbers.loc["No Pruning", "top_eigenvalue_mean"] == 9
    found = links.numbers.set_index(["x", "y"])
    trace, stable = [6, 6, 5, 9], [1, 1, 0.98, 0.99]
    wanted = np.corrcoef(trace, stable)[0, 1]
    assert found.loc[("stability", "hessian_trace_top"), "pearson"] == pytest.approx(wanted)
    assert found.loc[("hessian_trace_top", "accuracy"), "n"] == 4
    assert len(found) == 2 * 6 + 1
    # ε is the same in all runs.
    shown = links.shown.set_index("quantities")
    assert shown.loc["epsilon, mean stability", "r [95% CI]"] == "one does not vary"


def test_the_reading_names_the_sharpest_and_the_flattest_configuration(folder):
    reading = flatness.eigenvalue_reading(found_in(folder))
    assert says(reading, "largest", "No Pruning (9.00)", "smallest", "Prune_L 13% (5.00)")


def test_without_the_measurements_files_the_scatter_plots_are_there_all_the_same(folder):
    for file in folder.glob("trials/**/*.csv"):
        file.unlink()
    names = {info.file.split("flatness_")[1] for info in flatness.build(folder)}
    assert names == {"curvature_and_noise.png", "epsilon.png", "tic.png", "accuracy.png"}


def test_a_damaged_file_is_named(folder):
    file = next(folder.glob("trials/**/*-flatness.csv"))
    file.write_text("index\n0\n")
    with pytest.raises(InputError, match=r"flatness\.csv lacks the column eigenvalue"):
        flatness.build(folder)
