"""Sentences below figures: numbers of this run, and a difference only where the rule finds one."""

from __future__ import annotations

import gst
import numpy as np
import pm
from wording import says

from tfprune import store
from tfprune.results import (
    flatness,
    pruning_as_noise,
    stability,
    utility_dynamics,
    utility_pruned,
    utility_size,
)


def benchmarks_of(folder, name):
    return stability.benchmarks(store.read_results(folder), name)


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
