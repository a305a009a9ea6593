"""Sentences below figures: numbers of this run, and a difference only where the rule finds one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pm
import pytest
from wording import says

from tfprune import store
from tfprune.results import (
    branches,
    landscapes,
    learning_distance,
    redense,
    utility_dynamics,
    utility_pruned,
    utility_size,
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


def dynamics_reading(folder, ends_by_seed):
    rows = []
    for seed, ends in enumerate(ends_by_seed):
        columns = {
            ratio: {"utility_mean": (1.0, end), "utility_min": (1.0, end)}
            for ratio, end in zip((0.05, 0.1), ends, strict=True)
        }
        one = pm.row("utility_dynamics", 0, seed)
        table = pm.dynamics(columns, (0, 9))
        rows.append(pm.measured(folder, one, "utility_dynamics", table))
    results = store.read_results(pm.write(folder, rows))
    runs = utility_dynamics.runs(results, folder)
    return utility_dynamics.rise_reading(runs), utility_dynamics.ratio_reading(runs)


def test_utility_rises_by_the_rule_and_not_by_the_mean_alone(tmp_path):
    # At ratio 0.1 the mean change is +1 with a std of 1.41: it matches.
    rise, ends = dynamics_reading(tmp_path, [(4.0, 1.0), (4.5, 3.0)])
    assert "mean at 1 of 2 ratios" in rise
    assert "from 1.00 ± 0.00 to 4.25 ± 0.35 nats at ratio 0.05 (rises, n = 2)" in ends
    assert "from 1.00 ± 0.00 to 2.00 ± 1.41 nats at ratio 0.1 (neither, n = 2)" in ends


def test_of_one_seed_no_verdict_is_given(tmp_path):
    rise, ends = dynamics_reading(tmp_path, [(4.0, 0.5)])
    assert "mean at 1 of 2 ratios" in rise
    assert ends.endswith(
        "from 1.00 to 4.00 nats at ratio 0.05; from 1.00 to 0.500 nats at ratio 0.1."
    )


def test_the_middle_half_of_utilities_is_between_the_quartiles(tmp_path):
    rows = []
    for level, remaining in ((0, 1.0), (1, 0.5)):
        one = pm.row("utility_size", level, 0, "size" if level else "", weights_remaining=remaining)
        table = pm.subsets({0.05: np.arange(5.0) * (level + 1)})
        rows.append(pm.measured(tmp_path, one, "utility_ratio", table))
    found = utility_size.sizes(store.read_results(pm.write(tmp_path, rows)), tmp_path)
    reading = utility_size.distribution_reading(found)
    assert says(reading, "ratio 0.05", "middle half", "1.00 and 3.00 nats", "1×")
    assert says(reading, "2.00 and 6.00 nats", "0.5×")
    assert says(utility_size.distribution_reading([]), "No utility", "yet")


def test_which_network_is_closer_to_the_pretrained_one_is_said_by_the_rule(tmp_path):
    rows = [pm.row("utility_pruned", 0, seed) for seed in (0, 1)]
    size = {"sparsity": 0.5, "weights_remaining": 0.5}
    for seed, (pruned, small) in enumerate(((1.1, 1.5), (1.2, 1.7))):
        trunk = pm.row("utility_pruned", 1, seed, **size)
        for name, value in (("utility_ratio", pruned), ("utility_pretrained", 1.0)):
            trunk = pm.measured(tmp_path, trunk, name, pm.subsets({0.1: [value]}))
        beside = pm.row("utility_pruned", 1, seed, "small", **size)
        rows += [trunk, pm.measured(tmp_path, beside, "utility_ratio", pm.subsets({0.1: [small]}))]
    found = utility_pruned.trios(store.read_results(pm.write(tmp_path, rows)), tmp_path)
    # 0.1 and 0.2 against 0.5 and 0.7: −0.45 ± 0.07.
    reading = utility_pruned.likeness_reading(found)
    assert "by 0.150 and 0.600 nats at 50.0% sparsity (the first is closer, n = 2)" in reading
