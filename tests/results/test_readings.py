"""Sentences below figures: numbers of this run, and a difference only where the rule finds one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tfprune import store
from tfprune.results import (
    branches,
    landscapes,
    learning_distance,
    redense,
)


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
