"""Noise in the place of pruning: panels, legends and tests, on made-up runs."""

from __future__ import annotations

import gst
import numpy as np
import pytest
from wording import says

from tfprune import store
from tfprune.report import style
from tfprune.results import pruning_as_noise, report, stability

NAME = "pruning_as_noise"


def study():
    """No pruning 85%, pruning 86%; a noise of N batches between or above."""
    rows = gst.trunk([0.849, 0.851], experiment=NAME)
    rows += gst.filters("largest", 40, [(0.859, 0.99), (0.861, 0.98)], experiment=NAME)
    for batches, gain in ((1105, 0.01), (1, 0.0), (50, 0.005)):
        rows += gst.noise("zeroing", batches, [(0.850 + gain, 0.99), (0.852 + gain, 0.98)])
    rows += gst.noise("gaussian", 1105, [(0.869, 0.97), (0.871, 0.97)])
    return rows + gst.noise("zeroing", 89, [(0.855, 0.98), (0.857, 0.98)], cumulative=True)


def one(folder):
    (benchmark,) = stability.benchmarks(store.read_results(folder), NAME)
    return benchmark


def test_every_kind_of_noise_has_a_panel_shortest_first(tmp_path):
    panels = pruning_as_noise.noise_panels(one(gst.write(tmp_path, study())))
    assert {title: [c.batches for c in noises] for title, noises in panels.items()} == {
        "Zeroing": [1, 50, 1105],
        "Zeroing, cumulative": [89],
        "Gaussian": [1105],
    }


def test_pruning_and_no_pruning_stand_in_every_panel_in_their_colours(tmp_path):
    folder = gst.with_metrics(tmp_path, study())
    figure = pruning_as_noise.accuracy_by_epoch(folder, [one(folder)])
    panels = [axes for axes in figure.get_axes() if axes.get_lines()]
    assert len(panels) == 3
    for axes in panels:
        colors = [line.get_color() for line in axes.get_lines()]
        assert colors[:2] == [style.BLACK, stability.TARGET_COLORS["largest"].lower()]
        assert len(set(colors)) == len(colors)
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == [
        "No Pruning", "Prune_L 13% (98.5% stable)", "Zeroing 1 (98.5% stable)",
        "Zeroing 50 (98.5% stable)", "Zeroing 1105 (98.5% stable)",
    ]  # fmt: skip


def test_curves_are_the_means_of_the_runs(tmp_path):
    rows = gst.noise("gaussian", 50, [(0.85, 0.99), (0.87, 0.99)])
    for row, end in zip(rows, (0.85, 0.87), strict=True):
        gst.write_metrics(tmp_path, row["stage"], [0.5, end])
    figure = pruning_as_noise.accuracy_by_epoch(tmp_path, [one(gst.write(tmp_path, rows))])
    (line,) = figure.get_axes()[0].get_lines()
    np.testing.assert_allclose(line.get_ydata(), [50, 86])
    np.testing.assert_array_equal(line.get_xdata(), [1, 2])


def test_the_reading_has_every_gain_over_no_pruning(tmp_path):
    folder = gst.with_metrics(tmp_path, study())
    (info,) = pruning_as_noise.build(folder)
    assert (info.file, info.paper_figures) == (
        f"figures/{NAME}_accuracy.png", "GST figures 5 and D2"
    )  # fmt: skip
    gains = ("Prune_L 13% +1.0", "Zeroing 1 +0.1", "Zeroing 50 +0.6", "Zeroing 1105 +1.1")
    assert says(info.reading, "No Pruning (85.0%)", *gains)


def test_every_noise_is_tested_against_pruning_and_against_neither(tmp_path):
    results = store.read_results(gst.write(tmp_path, study()))
    configurations, tests = report.build_tables(results, NAME)
    numbers = tests.numbers.set_index(["compared", "against"])
    assert len(numbers) == 1 + 2 * 5
    found = numbers.loc[("Gaussian 1105", "Prune_L 13%")]
    # Two runs each, 2 points apart: pooled variance 2e-6, so t = 0.01 / sqrt(2e-6).
    assert (found["difference"], found["t"]) == (
        pytest.approx(0.01), pytest.approx(0.01 / np.sqrt(2e-6))
    )  # fmt: skip
    by_name = configurations.numbers.set_index("configuration")
    assert by_name.loc["Zeroing 89, cumulative", "noise_batches"] == 89
    assert by_name.loc["Zeroing 89, cumulative", "cumulative"]
    assert not by_name.loc["Zeroing 50", "cumulative"]


def test_without_noise_there_is_no_figure(tmp_path):
    rows = gst.trunk([0.8], experiment=NAME)
    assert pruning_as_noise.build(gst.write(tmp_path, rows)) == []
