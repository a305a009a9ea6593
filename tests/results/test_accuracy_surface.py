"""Planes through three networks: grids, marks, distances and PM table 1."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pm
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.image import imread
from test_tensorboard import Reader

from tfprune import store
from tfprune.results import accuracy_surface, report, tensorboard

X, Y = (-1.0, 0.0, 1.0, 2.0), (0.0, 1.0, 2.0)
# Falls linearly with x, whatever y: bilinear reading is exact.
FALLING = np.tile(0.8 - 0.2 * np.array(X), (3, 1))


def cycle(folder, level, seed=0, accuracy=FALLING, pruned=1.0, retrained=(1.0, 2.0), **changes):
    """A row of a retrained level with its plane; `missing` cells are not measured yet."""
    missing, track = changes.pop("missing", ()), changes.pop("track", None)
    place = pm.placed(pruned, retrained)
    changes = {"structure": "weights", **changes}
    one = pm.row("accuracy_surface", level, seed, sparsity=1 - 0.7**level, **place, **changes)
    one = pm.measured(folder, one, "plane", pm.plane(accuracy, X, Y, missing))
    if track is not None:
        columns = ["cycle", "network", "x", "y", "distance"]
        one = pm.measured(folder, one, "trajectory", pd.DataFrame(track, columns=columns))
    return one


def cycles_of(folder):
    return accuracy_surface.cycles(store.read_results(folder), folder)


def one_surface(folder, rows):
    (trial,) = cycles_of(pm.write(folder, rows))
    (surface,) = trial.surfaces
    return surface


def tables_of(folder):
    found = report.build_tables(store.read_results(folder), "accuracy_surface", folder)
    return {table.name.removeprefix("accuracy_surface_"): table for table in found}


def test_cells_stand_at_their_coordinates_and_missing_ones_are_holes(tmp_path):
    accuracy = np.arange(12).reshape(3, 4) / 12
    accuracy[:, 3] = np.nan  # A whole column may be: a moving variance below 0.
    surface = one_surface(tmp_path, [cycle(tmp_path, 1, accuracy=accuracy, missing=[(2, 1)])])
    np.testing.assert_array_equal((*surface.x, *surface.y), (*X, *Y))
    expected = accuracy.copy()
    expected[2, 1] = np.nan
    np.testing.assert_array_equal(surface.accuracy, expected)


def test_the_lowest_accuracy_on_a_line_is_read_between_the_cells(tmp_path):
    surface = one_surface(tmp_path, [cycle(tmp_path, 1, pruned=1.0, retrained=(0.5, 2.0))])
    assert surface.least_between("W*", "Wp") == pytest.approx(0.6)
    assert surface.least_between("W*", "Wr") == pytest.approx(0.7)


def test_a_valley_between_two_networks_is_found(tmp_path):
    valley = np.array([[0.9, 0.9, 0.9, 0.9], [0.9, 0.2, 0.2, 0.9], [0.9, 0.9, 0.9, 0.9]])
    surface = one_surface(tmp_path, [cycle(tmp_path, 1, accuracy=valley, retrained=(1.0, 2.0))])
    # The line passes (0.5, 1), in the middle of two cells of 0.2.
    assert surface.least_between() == pytest.approx(0.2)
    assert surface.least_between("W*", "Wp") == pytest.approx(0.9)


def test_a_line_over_a_hole_has_no_lowest_accuracy(tmp_path):
    surface = one_surface(tmp_path, [cycle(tmp_path, 1, missing=[(1, 1)], retrained=(0.1, 2.0))])
    assert math.isnan(surface.least_between())


def test_colours_always_go_from_0_to_100_percent_and_the_networks_are_marked(tmp_path):
    track = [
        (1, "retrained", 1.0, 2.0, 0.0),
        (1, "pruned", 1.0, 0.0, 0.0),
        (0, "pretrained", 0.0, 0.0, 0.0),
    ]
    folder = pm.write(tmp_path, [cycle(tmp_path, 1, accuracy=0.9 * FALLING, track=track)])
    axes = accuracy_surface.last_planes(cycles_of(folder)).get_axes()[0]
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    assert mesh.get_clim() == (0, 100)
    np.testing.assert_allclose(mesh.get_array(), 90 * FALLING)
    path, *_, star, triangle, circle = [line.get_xydata().tolist() for line in axes.get_lines()]
    # In the order of training, whatever the order of the file.
    assert path == [[0, 0], [1, 0], [1, 2]]
    assert (star, triangle, circle) == ([[0, 0]], [[1, 0]], [[1, 2]])


def test_a_network_beyond_the_grid_does_not_widen_the_panel(tmp_path):
    track = [(0, "pretrained", 0.0, 0.0, 0.0), (1, "pruned", 99.0, 0.0, 0.0)]
    folder = pm.write(tmp_path, [cycle(tmp_path, 1, track=track)])
    axes = accuracy_surface.last_planes(cycles_of(folder)).get_axes()[0]
    assert axes.get_xlim() == (-1.5, 2.5)


def test_the_last_cycle_of_the_first_measured_seed_is_drawn(tmp_path):
    rows = [cycle(tmp_path, level, seed) for seed in (1, 2) for level in (1, 2)]
    rows.append(pm.row("accuracy_surface", 3, 0, structure="weights"))
    (trial,) = cycles_of(pm.write(tmp_path, rows))
    assert [(surface.seed, surface.level) for surface in trial.drawn()] == [(1, 1), (1, 2)]
    title = accuracy_surface.last_planes([trial]).get_axes()[0].get_title("left")
    assert "cycle 2, seed 1" in " ".join(title.split())


def test_panels_over_cycles_are_titled_with_both_distances(tmp_path):
    rows = [cycle(tmp_path, 1, retrained=(3.0, 4.0)), cycle(tmp_path, 2, pruned=2.5)]
    figure = accuracy_surface.planes_by_cycle(cycles_of(pm.write(tmp_path, rows)))
    titles = [axes.get_title("center") for axes in figure.get_axes()[:2]]
    assert titles[0] == "cycle 1\n100% of weights\n‖W*−Wr‖ 5.000\n‖W*−Wp‖ 1.000"
    assert titles[1].endswith("‖W*−Wp‖ 2.500")


def test_trials_are_called_by_what_is_pruned_and_how_it_is_retrained(tmp_path):
    rows = [
        cycle(tmp_path, 1, trial=f"{structure}-{retrain}", structure=structure, retrain=retrain)
        for structure in ("channels", "weights")
        for retrain in ("lr_rewind", "finetune")
    ]
    assert [trial.name for trial in cycles_of(pm.write(tmp_path, rows))] == [
        "weights, fine-tuned",
        "weights, learning rate rewound",
        "channels, fine-tuned",
        "channels, learning rate rewound",
    ]


def test_trials_of_one_kind_are_told_apart_by_their_settings(tmp_path):
    rows = [cycle(tmp_path, 1, trial=model, model=model) for model in ("resnet20", "lenet_300_100")]
    assert [trial.name for trial in cycles_of(pm.write(tmp_path, rows))] == [
        "lenet_300_100: weights, learning rate rewound",
        "resnet20: weights, learning rate rewound",
    ]


def test_distances_are_means_over_seeds_and_a_missing_seed_is_named(tmp_path):
    rows = [cycle(tmp_path, 1, seed, pruned=pruned) for seed, pruned in ((0, 1.0), (1, 3.0))]
    rows.append(pm.row("accuracy_surface", 1, 2, structure="weights"))
    table = tables_of(pm.write(tmp_path, rows))["distances"]
    (row,) = table.numbers.to_dict("records")
    assert row["distance_pretrained_pruned_mean"] == 2
    assert row["distance_pretrained_pruned_std"] == pytest.approx(math.sqrt(2))
    assert (row["n"], row["missing_seeds"]) == (2, "2")
    # Seed 1's Wp lies beyond the grid, so that only seed 0's line can be read.
    assert row["least_accuracy_to_pruned_mean"] == pytest.approx(0.6)


def small(level, seed, accuracy, **changes):
    return pm.row(
        "accuracy_surface", level, seed, "small", test_accuracy_last=accuracy,
        train_epochs=1200, **changes,
    )  # fmt: skip


def test_table_1_has_the_papers_numbers_of_the_last_of_five_cycles(tmp_path):
    rows = []
    for structure in ("weights", "channels"):
        for seed in (0, 1):
            about = {"structure": structure, "trial": structure}
            rows.append(cycle(tmp_path, 4, seed, **about))
            accuracy = 0.918 + 0.002 * seed
            rows.append(cycle(tmp_path, 5, seed, test_accuracy_last=accuracy, **about))
            rows.append(small(5, seed, 0.89, **about))
    table = tables_of(pm.write(tmp_path, rows))["table_1"]
    numbers = table.numbers.set_index(["trial", "network"])
    weights, channels = ("weights, learning rate rewound", "channels, learning rate rewound")
    assert numbers["paper_mean"].to_dict() == {
        (weights, "pruned and retrained"): 91.897,
        (weights, "small"): 89.29,
        (channels, "pruned and retrained"): 87.138,
        (channels, "small"): 88.02,
    }
    pruned = numbers.loc[(weights, "pruned and retrained")]
    assert (pruned["mean"], pruned["verdict_paper"]) == (pytest.approx(91.9), "matches")
    assert (pruned["minus_small_mean"], pruned["minus_small_verdict"]) == (
        pytest.approx(2.9), "higher"
    )  # fmt: skip
    assert set(numbers["unlike_the_paper"]) == {""}


def test_of_pruned_channels_both_shares_are_told_and_the_weights_are_those_not_dead(tmp_path):
    dead = {"filters_remaining": 0.3277, "live_weights_remaining": 0.0962}
    about = {"structure": "channels", "trial": "channels"}
    rows = [cycle(tmp_path, 5, weights_remaining=0.2, **about, **dead)]
    rows.append(
        small(5, 0, 0.89, weights_remaining=0.0962, **about, filters_remaining=0.9,
              live_weights_remaining=0.09)
    )  # fmt: skip
    rows.append(cycle(tmp_path, 5, trial="weights", weights_remaining=0.17))
    folder = pm.write(tmp_path, rows)
    shown = tables_of(folder)["table_1"].shown
    assert shown["filters left (%)"].tolist() == ["", "32.8", ""]
    assert shown["weights left (%)"].tolist() == ["17", "9.62", "9.62"]
    titles = [
        axes.get_title("left")
        for axes in accuracy_surface.last_planes(cycles_of(folder)).get_axes()
    ]
    assert titles[0].endswith("\n17% of weights left")
    assert titles[1].endswith("\n32.8% of filters, 9.62% of weights left")


def test_fewer_cycles_than_five_have_no_number_of_the_papers(tmp_path):
    rows = [cycle(tmp_path, 2), small(2, 0, 0.89, structure="weights")]
    table = tables_of(pm.write(tmp_path, rows))["table_1"]
    assert table.numbers["paper_mean"].isna().all()
    assert "the paper prints no numbers for these settings" in table.title


def test_every_figure_is_named_with_its_place_in_the_paper(tmp_path):
    folder = pm.realistic_accuracy_surface(tmp_path, (0,), 2)
    assert {info.file: info.paper_figures for info in accuracy_surface.build(folder)} == {
        "figures/accuracy_surface_planes.png": "PM figure 6",
        "figures/accuracy_surface_cycles.png": "PM figure 16",
    }
    made = tables_of(folder)
    assert list(made) == ["table_1", "distances", "accuracy"]
    assert made["accuracy"].shown["trial"].nunique() == 4


def test_levels_without_a_plane_are_tabled_and_not_drawn(tmp_path):
    rows = [pm.row("accuracy_surface", level, 0, structure="weights") for level in (0, 1)]
    folder = pm.write(tmp_path, rows)
    assert accuracy_surface.build(folder) == []
    assert list(tables_of(folder)) == ["table_1", "accuracy"]


def test_tensorboard_shows_the_plane_in_the_run_of_its_stage(tmp_path):
    folder = pm.write(tmp_path, [cycle(tmp_path, 2)])
    images = Reader(tensorboard.publish(folder)).images("a-trial/seed_0/level_02")
    ((width, height, png),) = images.values()
    assert list(images) == ["accuracy_surface/plane"]
    (surface,) = cycles_of(folder)[0].surfaces
    assert png == accuracy_surface.png(surface)
    assert imread(io.BytesIO(png)).shape[:2] == (height, width)
