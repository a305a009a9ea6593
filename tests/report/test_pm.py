"""What PM's experiments draw and tabulate, on made-up folders with known numbers."""

import io
import math

import numpy as np
import pandas as pd
import pm
import pytest
from golden import figures_of, tables_of
from matplotlib.collections import QuadMesh
from matplotlib.image import imread
from results import measured, write
from test_tensorboard import published

from tfprune import store
from tfprune.papers.pm import planes, pruned, size
from tfprune.papers.pm.pruned import PRETRAINED, PRUNED, SMALL
from tfprune.papers.pm.utility import AMOUNT, IMBALANCE, MEAN, MINIMUM

DYNAMICS, SIZE = "utility_dynamics", "utility_size"
LEVELS, SURFACE = "utility_pruned", "accuracy_surface"


# ---------------------------------------------------------------- utility_dynamics
def trained(folder, *tables):
    """A folder of one trial, with a table of utility_dynamics of each seed."""
    rows = [
        measured(folder, pm.row(DYNAMICS, 0, seed), utility_dynamics=table)
        for seed, table in enumerate(tables)
    ]
    return write(folder, rows)


def through(mean=(1, 2, 3, 4)):
    """Of ratio 0.1: the minimum always falls, imbalance ends where it began."""
    return pm.dynamics(
        {0.1: {MEAN: mean, IMBALANCE: (1, 1, 2, 1), MINIMUM: (4, 3, 2, 1)}}, range(4)
    )


def rises(folder):
    """The rows of the one ratio, by quantity."""
    return tables_of(folder, DYNAMICS)["rise"].numbers.set_index("quantity")


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "last epoch first"])
def test_change_is_last_minus_first_and_tau_counts_concordant_pairs(tmp_path, order):
    found = rises(trained(tmp_path, through().iloc[::order])).loc[[MEAN, MINIMUM, IMBALANCE]]
    assert found["change_mean"].tolist() == [3, -3, 0]
    # Epoch 2 is above the three others: 2 pairs rise, 1 falls, 3 tie; tau-b of 6 and 3 pairs.
    tied = (2 - 1) / math.sqrt(6 * 3)
    assert found["kendall_mean"].tolist() == pytest.approx([1, -1, tied])


def test_change_and_spread_are_over_seeds_each_with_its_own_first_epoch(tmp_path):
    each = (through(mean) for mean in ((1, 0, 0, 2), (5, 0, 0, 8), (0, 0, 0, 2)))
    row = rises(trained(tmp_path, *each)).loc[MEAN]
    assert row[["n", "change_mean", "change_std", "verdict"]].tolist() == [3, 2, 1, "rises"]


# ---------------------------------------------------------------- utility_size
def sized(folder, level, seed, remaining, by_ratio, by_number=None):
    """A row of a network of this size, with what is measured of it."""
    one = pm.row(SIZE, level, seed, "size" if level else "", weights_remaining=remaining)
    number = by_number and pm.subsets(by_number, by="number")
    return measured(folder, one, utility_ratio=pm.subsets(by_ratio), utility_number=number)


def test_sizes_are_named_by_the_weights_they_have_and_compared_with_the_full_one(tmp_path):
    rows = [
        sized(tmp_path, level, seed, remaining, {0.1: [2.0, 4.0]}, {0.1: [3 / share + 0.1 * seed]})
        for seed in (0, 1)
        for level, remaining, share in ((2, 0.25, 0.25), (0, 1.0, 1.0), (1, 0.50004, 0.5))
    ]
    made = tables_of(write(tmp_path, rows), SIZE)
    by_ratio, by_number = (made[f"by_{way}"].numbers for way in ("ratio", "number"))
    assert by_ratio["size"].tolist() == ["1×", "0.5×", "0.25×"]
    assert by_ratio["mean_minus_1×_verdict"].tolist() == ["", "matches", "matches"]
    # Both seeds differ by exactly 3 and 9, though each is 0.1 apart from the other.
    gaps = by_number[[f"mean_minus_1×_{what}" for what in ("n", "mean", "std")]].iloc[1:]
    np.testing.assert_allclose(gaps, [[2, 3, 0], [2, 9, 0]], atol=1e-12)
    assert by_number["mean_minus_1×_verdict"].tolist() == ["", "higher", "higher"]


def test_the_factor_between_sizes_is_a_geometric_mean_over_amounts():
    rows = [(0.05, "1×", 1), (0.05, "0.5×", 2), (0.05, "0.25×", 4)]
    rows += [(0.1, "1×", 3), (0.1, "0.5×", 27), (0.1, "0.25×", 12)]
    found = size.spread_factor(pd.DataFrame(rows, columns=[AMOUNT, "size", MEAN]))
    assert found == pytest.approx(math.sqrt(4 * 9))


def test_imbalance_is_the_std_over_subsets_of_each_seed_before_the_mean_over_seeds(tmp_path):
    values = {0: [0, 2], 1: [10, 16]}
    rows = [sized(tmp_path, 0, seed, 1.0, {0.1: own}) for seed, own in values.items()]
    row = tables_of(write(tmp_path, rows), SIZE)["by_ratio"].numbers.iloc[0]
    # Deviations from the mean are 1 and 3 (ddof 0), not those of all four values.
    spread = row[["utility_imbalance_mean", "utility_imbalance_std"]].tolist()
    assert spread == pytest.approx([2, math.sqrt(2)])
    assert row[["utility_mean_mean", "utility_min_mean", "utility_max_mean"]].tolist() == [7, 5, 9]


# ---------------------------------------------------------------- utility_pruned
def test_likeness_is_the_absolute_difference_of_mean_utility_averaged_over_ratios():
    means = {PRETRAINED: 1.0, PRUNED: 1.5, SMALL: 0.0}
    rows = [
        {"trial": "t", "level": 1, "seed": 0, "network": name, AMOUNT: amount, MEAN: times * mean}
        for name, mean in means.items()
        for amount, times in ((0.1, 1), (0.2, 2))
    ]
    (row,) = pruned.distances(pd.DataFrame(rows)).to_dict("records")
    # |1.5 - 1| and |3 - 2|; |0 - 1| and |0 - 2|.
    assert (row["pruned"], row["small"]) == (0.75, 1.5)


def table_2(folder, *each, **changes):
    """Of levels at 50% sparsity, which change so, and small networks of 80% and 0.5 nats."""
    rows = [pm.row(LEVELS, 0, 0)]
    # Columns of another experiment, which are empty here, hide no number of the paper's.
    rows.append(pm.row("other", 0, 0, trial="b-trial", width=4.0))
    for seed, own in enumerate(each or [{}]):
        about = {"sparsity": 0.5, **changes, **own}
        rows.append(pm.row(LEVELS, 1, seed, **about))
        worse = {"test_accuracy_last": 0.8, "train_loss": 0.5}
        rows.append(pm.row(LEVELS, 1, seed, SMALL, **about | worse))
    table = tables_of(write(folder, rows), LEVELS)["table_2"]
    return table.numbers.set_index(["network", "metric"])


def test_table_2_takes_the_papers_number_as_exact_and_the_small_networks_seed_by_seed(tmp_path):
    # The paper's accuracy at 50% is 91.84, its loss 0.009.
    ours = ((0.9154, 0.010), (0.9174, 0.012), (0.9194, 0.014))
    each = [{"test_accuracy_last": accuracy, "train_loss": loss} for accuracy, loss in ours]
    rows = table_2(tmp_path, *each).loc[PRUNED]
    assert rows["minus_paper"].tolist() == pytest.approx([-0.1, 0.003])
    assert rows["verdict_paper"].tolist() == ["matches", "higher"]
    assert rows["minus_small_mean"].tolist() == pytest.approx([11.74, -0.488])
    assert rows["verdict_small"].tolist() == ["higher", "lower"]


@pytest.mark.parametrize(
    ("changes", "pruned_mean", "small_mean"),
    [
        # A sparsity that is not quite the paper's is still its.
        ({"sparsity": 0.7503}, 91.41, 89.17),
        ({"sparsity": 0.7}, math.nan, math.nan),
        # Of small networks the paper's has but one training.
        ({"retrain": "finetune"}, math.nan, 90.63),
    ],
)
def test_the_papers_number_is_of_its_sparsities_and_of_one_training_of_small_networks(
    tmp_path, changes, pruned_mean, small_mean
):
    paper = table_2(tmp_path, **changes)["paper_mean"]
    found = [paper[network, "val_accuracy_percent"] for network in (PRUNED, SMALL)]
    assert found == pytest.approx([pruned_mean, small_mean], nan_ok=True)


# ---------------------------------------------------------------- accuracy_surface
X, Y = (-1.0, 0.0, 1.0, 2.0), (0.0, 1.0, 2.0)
# Falls linearly with x, whatever y: bilinear reading is exact.
FALLING = np.tile(0.8 - 0.2 * np.array(X), (3, 1))


def loaded_planes(folder):
    return planes.load(store.read_results(folder), folder)


def cycle(folder, number, accuracy=FALLING, retrained=(1.0, 2.0), missing=(), track=None):
    """A row of a retrained level with its plane; `missing` cells are not measured yet."""
    one = pm.row(SURFACE, number, 0, structure="weights", **pm.placed(1.0, retrained))
    tables = {"plane": pm.plane(accuracy, X, Y, missing), "trajectory": track}
    return measured(folder, one, **tables)


def one_surface(folder, **changes):
    (surface,) = loaded_planes(write(folder, [cycle(folder, 1, **changes)])).to_dict("records")
    return surface


def test_cells_stand_at_their_coordinates_and_missing_ones_are_holes(tmp_path):
    accuracy = np.arange(12).reshape(3, 4) / 12
    accuracy[:, 3] = np.nan  # A whole column may be: a moving variance below 0.
    surface = one_surface(tmp_path, accuracy=accuracy, missing=[(2, 1)])
    grid = surface["grid"]
    np.testing.assert_array_equal((*grid.columns, *grid.index), (*X, *Y))
    accuracy[2, 1] = np.nan
    np.testing.assert_array_equal(grid, accuracy)


VALLEY = np.array([[0.9, 0.9, 0.9, 0.9], [0.9, 0.2, 0.2, 0.9], [0.9, 0.9, 0.9, 0.9]])


@pytest.mark.parametrize(
    ("changes", "to_pruned", "to_retrained"),
    [
        ({"retrained": (0.5, 2.0)}, 0.6, 0.7),
        # The line passes (0.5, 1), in the middle of two cells of 0.2.
        ({"accuracy": VALLEY}, 0.9, 0.2),
        ({"missing": [(1, 1)], "retrained": (0.1, 2.0)}, math.nan, math.nan),
    ],
    ids=["between the cells", "a valley", "over a hole"],
)
def test_the_lowest_accuracy_on_a_line_is_read_from_the_grid(
    tmp_path, changes, to_pruned, to_retrained
):
    surface = one_surface(tmp_path, **changes)
    assert surface["least_accuracy_to_pruned"] == pytest.approx(to_pruned, nan_ok=True)
    assert surface["least_accuracy_to_retrained"] == pytest.approx(to_retrained, nan_ok=True)


def test_colours_always_go_from_0_to_100_percent_and_the_path_is_in_the_order_of_training(tmp_path):
    places = [(1, "retrained", 1, 2, 0), (1, "pruned", 99, 0, 0), (0, "pretrained", 0, 0, 0)]
    track = pd.DataFrame(places, columns=pm.TRAJECTORY)
    folder = write(tmp_path, [cycle(tmp_path, 1, track=track)])
    axes, *_ = figures_of(folder, SURFACE)["planes"][1].get_axes()
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    assert mesh.get_clim() == (0, 100)
    assert axes.get_lines()[0].get_xydata().tolist() == [[0, 0], [99, 0], [1, 2]]
    assert axes.get_xlim() == (-1.5, 2.5)  # What is beyond the grid widens nothing.


@pytest.mark.parametrize(
    ("last", "structure", "left", "printed"),
    [
        (5, "weights", {"weights_remaining": 0.7**5}, [91.897, 89.29]),
        # Of 688 filters five times a fifth, rounded up.
        (5, "channels", {"filters_remaining": 224 / 688}, [87.138, 88.02]),
        (4, "weights", {"weights_remaining": 0.7**5}, None),
        # Another fraction for each cycle than the paper's.
        (5, "weights", {"weights_remaining": 0.8**5}, None),
        (5, "channels", {"filters_remaining": 0.7**5}, None),
    ],
)
def test_table_1_has_the_papers_numbers_of_the_last_of_five_cycles_as_large_as_its(
    tmp_path, last, structure, left, printed
):
    about = {"structure": structure, "live_weights_remaining": 0.1, **left}
    rows = [pm.row(SURFACE, number, 0, **about) for number in range(1, last + 1)]
    rows.append(pm.row(SURFACE, last, 0, SMALL, **about))
    table = tables_of(write(tmp_path, rows), SURFACE)["table_1"]
    paper = table.numbers["paper_mean"].tolist()
    assert paper == pytest.approx(printed or [math.nan] * 2, nan_ok=True)


def test_tensorboard_shows_the_plane_in_the_run_of_its_stage(tmp_path):
    folder = write(tmp_path, [cycle(tmp_path, 2)])
    ((tag, (width, height, png)),) = published(folder).images("a-trial/seed_0/level_02").items()
    assert tag == "accuracy_surface/plane"
    assert png == planes.png(loaded_planes(folder))
    assert imread(io.BytesIO(png)).shape[:2] == (height, width)
