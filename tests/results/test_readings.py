"""Sentences below figures: numbers of this run, and a difference only where the rule finds one."""

from __future__ import annotations

import gst
import numpy as np
import pandas as pd
import pytest
from wording import says

from tfprune import store
from tfprune.results import (
    branches,
    flatness,
    landscapes,
    learning_distance,
    pruning_as_noise,
    redense,
    stability,
)


def benchmarks_of(folder, name):
    return stability.benchmarks(store.read_results(folder), name)


def test_the_rise_to_a_surfaces_edge_is_the_mean_over_its_outermost_points():
    x, y = (side.ravel() for side in np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]))
    surface = pd.DataFrame({"x": x, "y": y, "train_loss": 0.5 + x**2 + y**2})
    # Four corners rise by 2, four sides by 1.
    assert landscapes.edge_rise(surface) == pytest.approx(1.5)


def test_the_surface_reading_has_every_panels_rise(make_branches):
    folder = make_branches("redense", branch_levels=(0, 4), levels=5, surfaces=True, seeds=(0,))
    pairs = branches.pairs(store.read_results(folder), branches.REDENSE)
    # Along the edge of 11 by 11 points on [-1, 1], x² and y² are 26.8 / 40 on average, xy is 0.
    rises = [(0.2 + 0.1 * level) * 1.6 * 26.8 / 40 for level in (0, 4)]
    reading = redense.surface_reading(folder, pairs)
    assert f"{rises[0]:.3f} nats around re-dense from 0% (seed 0)" in reading
    assert f"{rises[1]:.3f} nats around re-dense from 59.0% (seed 0)" in reading
    assert redense.surface_reading(folder, []).startswith("No loss surface")


def test_distance_and_accuracy_are_said_as_numbers_and_not_as_a_difference(make_branches):
    folder = make_branches("learning_distance", branch_levels=range(5), levels=5)
    results = store.read_results(folder)
    trials = learning_distance.trial_curves(results)
    reading = learning_distance.crossing_reading(trials)
    last = results[(results["branch"] == "redense") & (results["level"] == 4)]
    distance, accuracy = last["distance_from_init"], 100 * last["test_accuracy_last"]
    assert reading.endswith(
        f"the re-dense one {distance.mean():.1f} ± {distance.std():.1f} from initialization, "
        f"with {accuracy.mean():.1f} ± {accuracy.std():.1f}% test accuracy."
    )


def test_curves_of_fewer_than_two_shared_levels_are_not_said_to_cross_or_not(make_branches):
    folder = make_branches("learning_distance", branch_levels=(0, 2), levels=3, seeds=(0,))
    results = store.read_results(folder)
    both = results[(results["branch"] == "") | (results["level"] == 2)]
    for rows in (both, results[results["branch"] != ""], results[results["branch"] == ""]):
        reading = learning_distance.crossing_reading(learning_distance.trial_curves(rows))
        assert reading.startswith("There are no two levels yet")
    complete = learning_distance.crossing_reading(learning_distance.trial_curves(results))
    assert "cross" in complete


def test_noise_differs_from_no_pruning_by_t_tests(tmp_path):
    name = "pruning_as_noise"
    rows = gst.trunk([0.849, 0.851], experiment=name)
    rows += gst.noise("zeroing", 1, [(0.839, 0.99), (0.861, 0.98)])
    rows += gst.noise("zeroing", 50, [(0.899, 0.99), (0.901, 0.98)])
    (info,) = pruning_as_noise.build(gst.with_metrics(tmp_path, rows))
    assert says(info.reading, "No Pruning (85.0%)", "Zeroing 1 +0.0", "Zeroing 50 +5.0")
    assert says(info.reading, "t tests", "1 of 2 differ", "p < 0.05")


def test_without_a_second_run_no_t_test_is_spoken_of(tmp_path):
    rows = gst.trunk([0.85], experiment="pruning_as_noise") + gst.noise("zeroing", 1, [(0.9, 0.9)])
    reading = pruning_as_noise.noise_reading(
        benchmarks_of(gst.write(tmp_path, rows), "pruning_as_noise")
    )
    assert says(reading, "No Pruning (85.0%)", "Zeroing 1 +5.0")
    assert "t test" not in reading


def test_the_step_that_raises_the_loss_is_read_from_the_grid(tmp_path):
    # λ step² / 2 reaches 0.1 at √(0.2 / λ): 0.158 and 0.316, beyond 0.4 for λ of 1.
    rows = gst.with_flatness(tmp_path, gst.trunk([0.85]), None, (8.0,))
    for period, eigenvalue in ((40, 2.0), (20, 1.0)):
        pruned = gst.filters("largest", period, [(0.87, 0.98)])
        rows += gst.with_flatness(tmp_path, pruned, None, (eigenvalue,))
    found = benchmarks_of(gst.write(tmp_path, rows), "flatness")
    reading = flatness.perturbation_reading(tmp_path, found)
    assert "a step of 0.16 with No Pruning" in reading
    assert ", 0.32 with Prune_L" in reading
    assert ", none that was measured with Prune_L" in reading
    assert flatness.perturbation_reading(tmp_path, []) == ""
