"""Utility through training: what rises, what figure 1 shows, and what TensorBoard reads."""

from __future__ import annotations

import json
import math

import numpy as np
import pm
import pytest
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.util import tensor_util
from test_tensorboard import Reader, files_of

from tfprune import store
from tfprune.errors import InputError
from tfprune.results import report, tensorboard, utility_dynamics
from tfprune.results import utility_curves as utility

EPOCHS = (0, 1, 2, 3)


def folder_of(tmp_path, tables, **changes):
    """A folder of one trial from {seed: utility_dynamics table or None}."""
    rows = []
    for seed, table in tables.items():
        one = pm.row("utility_dynamics", 0, seed, **changes)
        rows.append(one if table is None else pm.measured(tmp_path, one, "utility_dynamics", table))
    return pm.write(tmp_path, rows)


def table(mean=(1, 2, 3, 4), imbalance=(1, 1, 2, 1), least=(4, 3, 2, 1), ratio=0.1):
    """Mean utility always rises, minimum always falls, imbalance ends where it began."""
    columns = {"utility_mean": mean, "utility_imbalance": imbalance, "utility_min": least}
    return pm.dynamics({ratio: columns}, EPOCHS)


def runs_of(folder):
    return utility_dynamics.runs(store.read_results(folder), folder)


def rises_of(folder):
    (run,) = runs_of(folder)
    return {rise.quantity.name: rise for rise in utility_dynamics.rises(run)}


def test_change_is_last_minus_first_and_tau_counts_concordant_pairs(tmp_path):
    found = rises_of(folder_of(tmp_path, {0: table()}))
    assert {name: rise.change.mean for name, rise in found.items()} == {
        "mean": 3, "minimum": -3, "imbalance": 0
    }  # fmt: skip
    assert (found["mean"].kendall.mean, found["minimum"].kendall.mean) == pytest.approx((1, -1))
    # Epoch 2 is above the three others: 2 pairs rise, 1 falls, 3 tie; tau-b of 6 and 3 pairs.
    assert found["imbalance"].kendall.mean == pytest.approx((2 - 1) / math.sqrt(6 * 3))


def test_rows_need_not_come_in_the_order_of_epochs(tmp_path):
    found = rises_of(folder_of(tmp_path, {0: table().iloc[::-1]}))
    assert found["mean"].change.mean == 3


def test_change_and_spread_are_over_seeds_each_with_its_own_first_epoch(tmp_path):
    tables = {0: table(mean=(1, 0, 0, 2)), 1: table(mean=(5, 0, 0, 8)), 2: table(mean=(0, 0, 0, 2))}
    rise = rises_of(folder_of(tmp_path, tables))["mean"]
    assert (rise.change.n, rise.change.mean, rise.change.std) == (3, 2, 1)
    assert rise.change.verdict == "higher"


def test_a_change_within_one_std_of_zero_is_no_rise(tmp_path):
    tables = {0: table(mean=(0, 1, 1, 3)), 1: table(mean=(3, 2, 1, 1))}
    (made,) = report.build_tables(
        store.read_results(folder_of(tmp_path, tables)), "utility_dynamics", tmp_path
    )
    row = made.numbers.set_index("quantity").loc["utility_mean"]
    assert (row["change_mean"], row["n"]) == (0.5, 2)
    assert row["verdict"] == "neither"
    assert made.numbers.set_index("quantity").loc["utility_min", "verdict"] == "falls"


def test_a_seed_that_is_not_measured_is_named(tmp_path):
    folder = folder_of(tmp_path, {0: table(), 3: None})
    (made,) = report.build_tables(store.read_results(folder), "utility_dynamics", folder)
    assert set(made.shown["missing seeds"]) == {"3"}
    figure = utility_dynamics.through_training(runs_of(folder))
    title = " ".join(figure.get_axes()[0].get_title("left").split())
    assert title.endswith("(1 of 2 seeds)")


def test_the_reading_counts_ratios_that_rise(tmp_path):
    both = pm.dynamics(
        {
            ratio: {
                "utility_mean": mean,
                "utility_imbalance": (1, 2, 3, 4),
                "utility_min": (1,) * 4,
            }
            for ratio, mean in ((0.05, (1, 2, 3, 4)), (0.1, (4, 3, 2, 1)))
        },
        EPOCHS,
    )
    reading = utility_dynamics.rise_reading(runs_of(folder_of(tmp_path, {0: both})))
    assert "imbalance at 2 of 2 ratios (Kendall's τ with the epoch 1.00)" in reading
    assert "mean at 1 of 2 ratios (Kendall's τ with the epoch -1.00 to 1.00)" in reading
    # A constant has no τ, and does not rise.
    assert "minimum at 0 of 2 ratios, from epoch 0 to 3" in reading


def test_curves_stand_at_their_epochs_with_means_over_seeds(tmp_path):
    folder = folder_of(tmp_path, {0: table(), 1: table(mean=(3, 4, 5, 6))})
    figure = utility_dynamics.through_training(runs_of(folder))
    imbalance, mean, minimum, accuracy = figure.get_axes()
    (line,) = mean.get_lines()
    np.testing.assert_allclose(line.get_xdata(), EPOCHS)
    np.testing.assert_allclose(line.get_ydata(), [2, 3, 4, 5])
    np.testing.assert_allclose(minimum.get_lines()[0].get_ydata(), [4, 3, 2, 1])
    np.testing.assert_allclose(accuracy.get_lines()[0].get_ydata(), 50)
    assert imbalance.get_ylabel() == "Utility imbalance (nats)"


def test_bars_of_figure_1_go_from_the_least_to_the_most_accurate_ablated_network(tmp_path):
    one = pm.row("utility_dynamics", 0, 0)
    subsets = pm.subsets({0.05: [1, 2], 0.1: [1, 2]}, {0.05: [0.9, 0.7], 0.1: [0.8, 0.2]})
    folder = pm.write(tmp_path, [pm.measured(tmp_path, one, "utility_ratio", subsets)])
    left, _ = utility_dynamics.ablated_accuracy(runs_of(folder)).get_axes()
    (bars,) = left.collections
    ends = [path[:, 1].tolist() for path in bars.get_segments()]
    np.testing.assert_allclose(ends, [[70, 90], [20, 80]])
    reading = utility_dynamics.accuracy_reading(runs_of(folder))
    assert "differs by up to 60 points at ratio 0.1 (in the paper about 60" in reading


def test_without_subsets_figure_1_is_of_the_last_epoch(tmp_path):
    folder = folder_of(
        tmp_path, {0: pm.dynamics({0.1: {"ablated_accuracy_mean": (0.1, 0.6)}}, (0, 9))}
    )
    left, _ = utility_dynamics.ablated_accuracy(runs_of(folder)).get_axes()
    whole, mean = left.get_lines()[:2]
    np.testing.assert_allclose(mean.get_ydata(), [60])
    np.testing.assert_allclose(whole.get_ydata(), 99)


def test_windows_of_ranks_stand_at_their_middle(tmp_path):
    one = pm.row("utility_dynamics", 0, 0)
    ranks = pm.subsets({0.2: [0, 0, 1]}, {0.2: [0.9, 0.8, 0.1]}, {0.2: [0.0, 0.4, 0.8]})
    folder = pm.write(tmp_path, [pm.measured(tmp_path, one, "utility_magnitude", ranks)])
    _, right = utility_dynamics.ablated_accuracy(runs_of(folder)).get_axes()
    line = right.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata(), [10, 50, 90])
    np.testing.assert_allclose(line.get_ydata(), [90, 80, 10])


def test_imbalance_is_the_std_over_subsets_of_each_seed_before_the_mean_over_seeds(tmp_path):
    rows = []
    for seed, values in ((0, [0, 2]), (1, [10, 16])):
        one = pm.row("utility_dynamics", 0, seed)
        rows.append(pm.measured(tmp_path, one, "utility_ratio", pm.subsets({0.1: values})))
    folder = pm.write(tmp_path, rows)
    rows = utility.read_subsets(folder, store.read_results(folder), "utility_ratio")
    (found,) = utility.over_seeds(utility.by_amount(rows)).to_dict("records")
    # Deviations from the mean are 1 and 3 (ddof 0), not those of all four values.
    assert (found["utility_imbalance_mean"], found["utility_imbalance_std"]) == pytest.approx(
        (2, math.sqrt(2))
    )
    assert (found["utility_mean_mean"], found["utility_min_mean"]) == (7, 5)
    assert (found["utility_max_mean"], found["n"]) == (9, 2)


def test_a_measurement_without_its_columns_is_an_input_error(tmp_path):
    folder = folder_of(tmp_path, {0: table().drop(columns="utility_min")})
    with pytest.raises(InputError, match="lacks the column utility_min"):
        runs_of(folder)


def test_without_measurements_there_are_neither_figures_nor_tables(tmp_path):
    folder = folder_of(tmp_path, {0: None})
    assert utility_dynamics.build(folder) == []
    assert report.build_tables(store.read_results(folder), "utility_dynamics", folder) == []


def test_every_figure_is_named_with_its_place_in_the_paper(tmp_path):
    drawn = utility_dynamics.build(pm.realistic_utility_dynamics(tmp_path, (0, 1)))
    assert {info.file: info.paper_figures for info in drawn} == {
        "figures/utility_dynamics_training.png": "PM figures 2, 7, 11, 12 and 13",
        "figures/utility_dynamics_by_ratio.png": "PM figures 8, 9 and 10",
        "figures/utility_dynamics_ablated_accuracy.png": "PM figure 1",
    }


# ---------------------------------------------------------------- TensorBoard
RUN = "a-trial/seed_0/level_00"


def test_tensorboard_has_utility_at_its_epochs_and_lays_out_a_chart_of_all_ratios(tmp_path):
    logdir = tensorboard.publish(folder_of(tmp_path, {0: table()}))
    reader = Reader(logdir)
    assert reader.scalar(RUN, "utility/mean_0.1") == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert reader.scalar(RUN, "utility/minimum_0.1")[-1] == (3, 1)
    views = json.loads(CustomScalarsPlugin(reader.context).layout_impl(reader.request, ""))
    (charts,) = [c["chart"] for c in views["category"] if c["title"] == "utility"]
    assert {chart["title"]: chart["multiline"]["tag"] for chart in charts}["utility mean"] == [
        "^utility/mean_"
    ]


def test_tensorboard_has_a_histogram_of_subsets_for_each_ratio(tmp_path):
    one = pm.row("utility_dynamics", 0, 0)
    subsets = pm.subsets({0.1: [0.0, 1.0, 1.0, 3.0]})
    folder = pm.write(tmp_path, [pm.measured(tmp_path, one, "utility_ratio", subsets)])
    reader = Reader(tensorboard.publish(folder))
    (event,) = reader.events.Tensors(RUN, "utility_ratio/0.1")
    low, high, counts = tensor_util.make_ndarray(event.tensor_proto).T
    assert (event.step, low[0], high[-1], counts.sum()) == (0, 0, 3, 4)
    assert counts[(low <= 1) & (high > 1)].tolist() == [2]


def test_publishing_utility_again_touches_nothing(tmp_path):
    folder = pm.realistic_utility_dynamics(tmp_path, (0,))
    tensorboard.publish(folder)
    before = files_of(folder)
    tensorboard.publish(folder)
    assert files_of(folder) == before
    assert any("tfprune-curves" in name for name in before)
