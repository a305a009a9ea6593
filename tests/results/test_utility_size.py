"""Utility of networks of several sizes: by ratio, by number, extremes and histograms."""

from __future__ import annotations

import math

import numpy as np
import pm
import pytest

from tfprune import store
from tfprune.results import report, utility_size
from tfprune.results import utility_curves as utility


def size(folder, level, seed, remaining, by_ratio=None, by_number=None):
    """A row of a network of this size, with what is measured of it."""
    branch = "size" if level else ""
    one = pm.row("utility_size", level, seed, branch, weights_remaining=remaining)
    for name, values in (("utility_ratio", by_ratio), ("utility_number", by_number)):
        if values is not None:
            one = pm.measured(folder, one, name, pm.subsets(values, by=name[8:]))
    return one


def sizes_of(folder):
    return utility_size.sizes(store.read_results(folder), folder)


def three(folder):
    """By ratio all alike; by number means of 1, 2 and 4, three times as many at ratio 0.1."""
    rows = []
    for seed in (0, 1):
        for level, remaining in enumerate((1.0, 0.5, 0.25)):
            ratio = {0.05: [1.0, 1.0], 0.1: [2.0, 4.0]}
            number = {
                0.05: [2.0**level, 2.0**level],
                0.1: [3 * 2.0**level + 0.1 * seed, 3 * 2.0**level + 0.1 * seed],
            }
            rows.append(size(folder, level, seed, remaining, ratio, number))
    return pm.write(folder, rows)


def test_sizes_are_named_by_the_weights_they_have_and_ordered_from_the_largest(tmp_path):
    rows = [
        size(tmp_path, 1, 0, 0.25, {0.1: [1]}),
        size(tmp_path, 2, 0, 0.50004, {0.1: [1]}),
        size(tmp_path, 0, 0, 1.0, {0.1: [1]}),
    ]
    assert [s.name for s in sizes_of(pm.write(tmp_path, rows))] == ["1×", "0.5×", "0.25×"]


def test_the_factor_between_sizes_is_a_geometric_mean_over_amounts(tmp_path):
    found = sizes_of(three(tmp_path))
    by_ratio, by_number = (
        utility_size.spread_factor([s.measured(c) for s in found], utility.MEAN)
        for c in ("utility_ratio", "utility_number")
    )
    assert by_ratio == 1
    assert by_number == pytest.approx(math.sqrt(4 * (12.05 / 3.05)))
    assert f"a factor of 1 by ratio and {by_number:.3g} by number" in utility_size.size_reading(
        found
    )


def test_one_size_alone_has_no_factor(tmp_path):
    folder = pm.write(tmp_path, [size(tmp_path, 0, 0, 1.0, {0.1: [1, 2]})])
    found = sizes_of(folder)
    assert utility_size.size_reading(found) == "There are no two sizes yet to compare."
    assert utility_size.extremes_reading(found) == "There are no two sizes yet to compare."


def test_every_size_is_compared_with_the_full_one_seed_by_seed(tmp_path):
    folder = three(tmp_path)
    by_ratio, by_number = report.build_tables(store.read_results(folder), "utility_size", folder)
    numbers = by_number.numbers.set_index(["size", "ablation_amount"])
    half = numbers.loc[("0.5×", 0.1)]
    # Both seeds differ by exactly 3, though each is 0.1 apart from the other.
    assert (half["mean_minus_1×_n"], half["mean_minus_1×_mean"]) == pytest.approx((2, 3))
    assert half["mean_minus_1×_std"] == pytest.approx(0, abs=1e-12)
    assert half["mean_minus_1×_verdict"] == "higher"
    assert set(by_ratio.numbers["mean_minus_1×_verdict"]) == {"", "matches"}
    assert by_ratio.numbers["utility_imbalance_mean"].tolist() == [0, 1] * 3


def test_ratio_stands_above_and_number_below_on_one_scale(tmp_path):
    folder = three(tmp_path)
    figure = utility_size.by_ratio_and_number(sizes_of(folder), {"a-trial": "a name"})
    axes = figure.get_axes()
    assert [a.get_xlabel() for a in axes[::3]] == [
        "Ablation ratio", "Ablated weights, as a ratio of\nthe 1× network's"
    ]  # fmt: skip
    full, half, quarter = axes[4].get_lines()
    np.testing.assert_allclose(quarter.get_ydata(), [4, 12.05])
    np.testing.assert_allclose(half.get_ydata(), [2, 6.05])
    assert axes[1].get_ylim() == axes[4].get_ylim()
    assert len({line.get_color() for line in (full, half, quarter)}) == 3


def test_extremes_are_means_over_seeds_of_each_seeds_own(tmp_path):
    rows = [
        size(tmp_path, 0, 0, 1.0, {0.1: [1.0, 5.0]}),
        size(tmp_path, 0, 1, 1.0, {0.1: [3.0, 9.0]}),
        size(tmp_path, 1, 0, 0.5, {0.1: [0.0, 10.0]}),
    ]
    found = sizes_of(pm.write(tmp_path, rows))
    left, middle, _ = utility_size.extremes(found, {"a-trial": "a name"}).get_axes()
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [[7], [10]]
    assert [line.get_ydata().tolist() for line in middle.get_lines()] == [[2], [0]]
    reading = utility_size.extremes_reading(found)
    assert "The 0.5× network has the largest maximum utility of all sizes at 1 of 1" in reading


def test_histograms_count_the_subsets_of_one_network_however_many_seeds_there_are(tmp_path):
    rows = [
        size(tmp_path, 0, seed, 1.0, {0.04: [0.5, 0.5, 3.2, 3.2], 0.3: [1.0]}) for seed in (0, 1)
    ]
    found = sizes_of(pm.write(tmp_path, rows))
    # The panel of figure 4 is of the ratio nearest to 0.05.
    *_, right = utility_size.extremes(found, {"a-trial": "a name"}).get_axes()
    assert right.get_title("left") == "ratio 0.04"
    counts, edges, _ = right.patches[0].get_data()
    assert counts.sum() == 4
    assert counts[np.searchsorted(edges, 0.5, "right") - 1] == 2
    assert counts[-1] == 2
    panels = utility_size.ratio_histograms(found, {"a-trial": "a name"}).get_axes()
    assert [axes.get_title("left") for axes in panels] == ["ratio 0.04", "ratio 0.3"]


def test_every_figure_is_named_with_its_place_in_the_paper(tmp_path):
    drawn = utility_size.build(pm.realistic_utility_size(tmp_path, (0, 1)))
    assert {info.file: info.paper_figures for info in drawn} == {
        "figures/utility_size_utility.png": "PM figure 3",
        "figures/utility_size_extremes.png": "PM figure 4",
        "figures/utility_size_histograms.png": "PM figure 14",
    }


def test_without_measurements_there_are_neither_figures_nor_tables(tmp_path):
    folder = pm.write(tmp_path, [size(tmp_path, 0, 0, 1.0), size(tmp_path, 1, 0, 0.5)])
    assert utility_size.build(folder) == []
    assert report.build_tables(store.read_results(folder), "utility_size", folder) == []
