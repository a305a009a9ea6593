"""What PM's experiments draw and tabulate, on made-up folders with known numbers."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pm
import pytest
from golden import figures_of, tables_of
from matplotlib.collections import QuadMesh
from matplotlib.image import imread
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.util import tensor_util
from test_tensorboard import Reader, published
from wording import says

from tfprune import layout, store
from tfprune.papers.pm import planes, pruned, size
from tfprune.papers.pm.pruned import PRETRAINED, PRUNED, SMALL
from tfprune.papers.pm.utility import IMBALANCE, MEAN, MINIMUM

EPOCHS = (0, 1, 2, 3)
DYNAMICS, SIZE, LEVELS, SURFACE = (
    "utility_dynamics", "utility_size", "utility_pruned", "accuracy_surface"
)  # fmt: skip


def loaded(module, folder):
    return module.load(store.read_results(folder), folder)


def reading(folder, experiment, figure):
    return figures_of(folder, experiment)[figure][0].reading


def drawn(folder, experiment, figure):
    """The panels of a figure."""
    return figures_of(folder, experiment)[figure][1].get_axes()


def first_lines(panels):
    """Of the titles of panels."""
    return [axes.get_title("left").split("\n")[0] for axes in panels]


def numbers(folder, experiment, table):
    """The rows of a table."""
    return tables_of(folder, experiment)[table].numbers.to_dict("records")


@pytest.mark.parametrize(
    ("experiment", "branch", "tabled"),
    [
        (DYNAMICS, "", []),
        (SIZE, "size", []),
        (LEVELS, "small", ["table_2", "accuracy"]),
        (SURFACE, "small", ["table_1", "accuracy"]),
    ],
)
def test_what_is_not_measured_is_neither_drawn_nor_tabled(tmp_path, experiment, branch, tabled):
    rows = [pm.row(experiment, level, 0, structure="weights") for level in (0, 1)]
    folder = pm.write(tmp_path, [*rows, pm.row(experiment, 1, 0, branch)][: 2 + bool(branch)])
    assert figures_of(folder, experiment) == {}
    assert list(tables_of(folder, experiment)) == tabled


# ---------------------------------------------------------------- utility_dynamics
def trained(folder, *seeds, **tables):
    """A folder of one trial: of each seed a table of utility_dynamics; or of one, other tables."""
    every = [{DYNAMICS: table} for table in seeds] or [tables]
    rows = (pm.measured(folder, pm.row(DYNAMICS, 0, n), **own) for n, own in enumerate(every))
    return pm.write(folder, rows)


def through(mean=(1, 2, 3, 4), **means):
    """Mean utility always rises, minimum always falls, imbalance ends where it began.

    Of ratio 0.1; `at_5` are the means of ratio 0.05.
    """
    others = {IMBALANCE: (1, 1, 2, 1), MINIMUM: (4, 3, 2, 1)}
    each = {0.05: means["at_5"], 0.1: mean} if means else {0.1: mean}
    return pm.dynamics({ratio: {MEAN: own, **others} for ratio, own in each.items()}, EPOCHS)


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


def test_a_change_within_one_std_of_zero_is_no_rise_and_a_missing_seed_is_named(tmp_path):
    folder = trained(tmp_path, through((0, 1, 1, 3)), through((3, 2, 1, 1)), None)
    found = rises(folder)
    assert (found["verdict"][MEAN], found["verdict"][MINIMUM]) == ("neither", "falls")
    assert set(found["missing_seeds"]) == {"2"}
    title = " ".join(drawn(folder, DYNAMICS, "training")[0].get_title("left").split())
    assert title.endswith("(2 of 3 seeds)")


def test_the_reading_counts_ratios_that_rise_and_of_one_seed_gives_no_verdict(tmp_path):
    table = through((4, 3, 2, 1), at_5=(1, 1, 1, 4)).assign(utility_min=1)
    folder = trained(tmp_path, table)
    said = reading(folder, DYNAMICS, "training")
    assert says(said, "imbalance at 0 of 2 ratios (Kendall's τ with the epoch 0.24)")
    assert says(said, "mean at 1 of 2 ratios (Kendall's τ with the epoch -1.00 to 0.71)")
    # A constant has no τ, and does not rise.
    assert says(said, "minimum at 0 of 2 ratios, from epoch 0 to 3")
    assert reading(folder, DYNAMICS, "by_ratio").endswith(
        "from 1.00 to 4.00 nats at ratio 0.05; from 4.00 to 1.00 nats at ratio 0.1."
    )


def test_utility_rises_by_the_rule_and_not_by_the_mean_alone(tmp_path):
    # At ratio 0.1 the mean change is +1 with a std of 1.41: it matches.
    each = [through((1, 1, 1, 1), at_5=(1, 1, 1, 4)), through((1, 1, 1, 3), at_5=(1, 1, 1, 4.5))]
    folder = trained(tmp_path, *each)
    assert says(reading(folder, DYNAMICS, "training"), "mean at 1 of 2 ratios")
    said = reading(folder, DYNAMICS, "by_ratio")
    assert says(said, "from 1.00 ± 0.00 to 4.25 ± 0.35 nats at ratio 0.05 (rises, n = 2)")
    assert says(said, "from 1.00 ± 0.00 to 2.00 ± 1.41 nats at ratio 0.1 (neither, n = 2)")


def test_bars_go_from_the_least_to_the_most_accurate_ablated_network(tmp_path):
    subsets = pm.subsets({0.05: [1, 2], 0.1: [1, 2]}, {0.05: [0.9, 0.7], 0.1: [0.8, 0.2]})
    folder = trained(tmp_path, utility_ratio=subsets)
    # Nothing was measured by magnitude: there is no panel of it.
    (panel,) = drawn(folder, DYNAMICS, "ablated_accuracy")
    (bars,) = panel.collections
    ends = [path[:, 1].tolist() for path in bars.get_segments()]
    np.testing.assert_allclose(ends, [[70, 90], [20, 80]])
    said = reading(folder, DYNAMICS, "ablated_accuracy")
    assert says(said, "by up to 60 points at ratio 0.1", "in the paper about 60")


def test_without_subsets_those_of_the_last_epoch_are_shown(tmp_path):
    last = pm.dynamics({0.1: {"ablated_accuracy_mean": (0.1, 0.6)}}, (0, 9))
    (panel,) = drawn(trained(tmp_path, last), DYNAMICS, "ablated_accuracy")
    heights = {float(line.get_ydata()[0]) for line in panel.get_lines()}
    assert {60, 99} <= heights


def test_windows_of_ranks_stand_at_their_middle(tmp_path):
    ranks = pm.subsets({0.2: [0, 0, 1]}, {0.2: [0.9, 0.8, 0.1]}, {0.2: [0.0, 0.4, 0.8]})
    tables = {"utility_magnitude": ranks, "utility_ratio": pm.subsets({0.2: [1, 2]})}
    _, right = drawn(trained(tmp_path, **tables), DYNAMICS, "ablated_accuracy")
    (line,) = right.get_lines()
    np.testing.assert_allclose(line.get_xydata(), [(10, 90), (50, 80), (90, 10)])


RUN = "a-trial/seed_0/level_00"


def test_tensorboard_has_utility_at_its_epochs_and_lays_out_a_chart_of_all_ratios(tmp_path):
    reader = published(trained(tmp_path, through()))
    rising = [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert reader.scalar(RUN, "utility/mean_0.1") == rising
    assert reader.scalar(RUN, "utility/minimum_0.1")[-1] == (3, 1)
    views = json.loads(CustomScalarsPlugin(reader.context).layout_impl(reader.request, ""))
    (charts,) = [c["chart"] for c in views["category"] if c["title"] == "utility"]
    tags = {chart["title"]: chart["multiline"]["tag"] for chart in charts}
    assert tags["utility mean"] == ["^utility/mean_"]
    # In the overview too, where a stage is a run if there is no other level.
    overview = Reader(tmp_path / layout.OVERVIEW)
    assert overview.scalar("seed 0", "utility by epoch/mean_0.1") == rising


def test_tensorboard_has_a_histogram_of_subsets_for_each_ratio(tmp_path):
    subsets = pm.subsets({0.1: [0.0, 1.0, 1.0, 3.0]})
    reader = published(trained(tmp_path, utility_ratio=subsets))
    (event,) = reader.events.Tensors(RUN, "utility_ratio/0.1")
    low, high, counts = tensor_util.make_ndarray(event.tensor_proto).T
    assert (event.step, low[0], high[-1], counts.sum()) == (0, 0, 3, 4)
    assert counts[(low <= 1) & (high > 1)].tolist() == [2]


# ---------------------------------------------------------------- utility_size
def sized(folder, level, seed, remaining, by_ratio, by_number=None):
    """A row of a network of this size, with what is measured of it."""
    one = pm.row(SIZE, level, seed, "size" if level else "", weights_remaining=remaining)
    number = by_number and pm.subsets(by_number, by="number")
    return pm.measured(folder, one, utility_ratio=pm.subsets(by_ratio), utility_number=number)


def three(folder):
    """By ratio all alike; by number means of 1, 2 and 4, three times as many at ratio 0.1."""
    rows = []
    for seed in (0, 1):
        for level, remaining in ((2, 0.25), (0, 1.0), (1, 0.50004)):
            scale = 1 / round(remaining, 2)
            number = {0.05: [scale] * 2, 0.1: [3 * scale + 0.1 * seed] * 2}
            ratio = {0.05: [1.0, 1.0], 0.1: [2.0, 4.0]}
            rows.append(sized(folder, level, seed, remaining, ratio, number))
    return pm.write(folder, rows)


def test_sizes_are_named_by_the_weights_they_have_and_compared_with_the_full_one(tmp_path):
    made = tables_of(three(tmp_path), SIZE)
    by_ratio, by_number = made["by_ratio"].numbers, made["by_number"].numbers
    assert by_ratio["size"].tolist() == ["1×"] * 2 + ["0.5×"] * 2 + ["0.25×"] * 2
    half = by_number.set_index(["size", "ablation_amount"]).loc[("0.5×", 0.1)]
    # Both seeds differ by exactly 3, though each is 0.1 apart from the other.
    assert (half["mean_minus_1×_n"], half["mean_minus_1×_mean"]) == pytest.approx((2, 3))
    assert half["mean_minus_1×_std"] == pytest.approx(0, abs=1e-12)
    assert half["mean_minus_1×_verdict"] == "higher"
    assert set(by_ratio["mean_minus_1×_verdict"]) == {"", "matches"}


def test_the_factor_between_sizes_is_a_geometric_mean_over_amounts(tmp_path):
    folder = three(tmp_path)
    factor = math.sqrt(4 * (12.05 / 3.05))
    own = loaded(size, folder).by_amount.query("way == 'number'")
    assert size.spread_factor(own) == pytest.approx(factor)
    said = reading(folder, SIZE, "utility")
    assert f"a factor of 1 by ratio and {factor:.3g} by number" in said


def test_one_size_alone_is_compared_with_none(tmp_path):
    figures = figures_of(pm.write(tmp_path, [sized(tmp_path, 0, 0, 1.0, {0.1: [1, 2]})]), SIZE)
    for name in ("utility", "extremes"):
        assert figures[name][0].reading == "There are no two sizes yet to compare."


def test_imbalance_is_the_std_over_subsets_of_each_seed_before_the_mean_over_seeds(tmp_path):
    values = {0: [0, 2], 1: [10, 16]}
    rows = [sized(tmp_path, 0, seed, 1.0, {0.1: own}) for seed, own in values.items()]
    (row,) = numbers(pm.write(tmp_path, rows), SIZE, "by_ratio")
    # Deviations from the mean are 1 and 3 (ddof 0), not those of all four values.
    spread = (row["utility_imbalance_mean"], row["utility_imbalance_std"])
    assert spread == pytest.approx((2, math.sqrt(2)))
    found = {name: row[f"utility_{name}_mean"] for name in ("mean", "min", "max")}
    assert (found, row["n"]) == ({"mean": 7, "min": 5, "max": 9}, 2)


def test_the_smallest_networks_largest_maximum_is_counted_over_the_means_of_seeds(tmp_path):
    rows = [
        sized(tmp_path, 0, 0, 1.0, {0.1: [1.0, 5.0], 0.2: [11.0], 0.3: [1.0]}),
        # Above 10, their mean not.
        sized(tmp_path, 0, 1, 1.0, {0.1: [3.0, 13.0], 0.2: [11.0], 0.3: [1.0]}),
        sized(tmp_path, 1, 0, 0.5, {0.1: [0.0, 10.0], 0.2: [10.0], 0.3: [2.0]}),
    ]
    said = reading(pm.write(tmp_path, rows), SIZE, "extremes")
    assert says(said, "The 0.5× network has the largest maximum utility of all sizes at 2 of 3")


def test_histograms_count_the_subsets_of_one_network_however_many_seeds_there_are(tmp_path):
    utilities = {0.04: [0.5, 0.5, 3.2, 3.2], 0.3: [1.0]}
    folder = pm.write(tmp_path, [sized(tmp_path, 0, seed, 1.0, utilities) for seed in (0, 1)])
    # Beside the extremes is the ratio nearest to 0.05.
    *_, right = drawn(folder, SIZE, "extremes")
    assert right.get_title("left") == "ratio 0.04"
    counts, edges, _ = right.patches[0].get_data()
    assert counts.sum() == 4
    assert counts[[np.searchsorted(edges, 0.5, "right") - 1, -1]].tolist() == [2, 2]
    assert first_lines(drawn(folder, SIZE, "histograms")) == ["ratio 0.04", "ratio 0.3"]


def test_the_middle_half_of_utilities_is_between_the_quartiles(tmp_path):
    rows = [
        sized(tmp_path, level, 0, 0.5**level, {0.05: np.arange(5.0) * (level + 1)})
        for level in (0, 1)
    ]
    said = reading(pm.write(tmp_path, rows), SIZE, "histograms")
    assert says(said, "ratio 0.05", "middle half", "1.00 and 3.00 nats", "1×")
    assert says(said, "2.00 and 6.00 nats", "0.5×")


# ---------------------------------------------------------------- utility_pruned
def level(folder, seed, number=1, sparsity=0.5, after=None, before=None, small=None, **changes):
    """Rows of a level and of the small network beside it, with their mean utilities at 0.1."""
    about = {"sparsity": sparsity, "weights_remaining": 1 - sparsity, **changes}
    other = about | {"train_epochs": 400, "test_accuracy_last": 0.8, "train_loss": 0.5}
    after, before, small = (
        None if value is None else pm.subsets({0.1: [value], 0.2: [2 * value]})
        for value in (after, before, small)
    )
    trunk, beside = (
        pm.row(LEVELS, number, seed, **about),
        pm.row(LEVELS, number, seed, SMALL, **other),
    )
    return [
        pm.measured(folder, trunk, utility_ratio=after, utility_pretrained=before),
        pm.measured(folder, beside, utility_ratio=small),
    ]


def levels(folder, *each):
    return pm.write(folder, [pm.row(LEVELS, 0, 0), *(row for rows in each for row in rows)])


def test_likeness_is_the_absolute_difference_of_mean_utility_averaged_over_ratios(tmp_path):
    folder = levels(tmp_path, level(tmp_path, 0, after=1.5, before=1.0, small=0.0))
    (row,) = pruned.distances(loaded(pruned, folder).measured).to_dict("records")
    # |1.5 - 1| and |3 - 2|; |0 - 1| and |0 - 2|.
    assert (row["pruned"], row["small"]) == (0.75, 1.5)
    said = reading(folder, LEVELS, "utility")
    assert "differs from the pretrained network's by 0.750 and 1.50 nats at 50.0% sparsity" in said


def test_likeness_is_compared_seed_by_seed_and_a_seed_without_both_is_named(tmp_path):
    utilities = ((1.5, 2.0), (1.1, 1.6), (1.1, None))
    folder = levels(tmp_path, *(level(tmp_path, seed, after=after, before=1.0, small=small)
                                for seed, (after, small) in enumerate(utilities)))  # fmt: skip
    (row,) = numbers(folder, LEVELS, "likeness")
    assert (row["minus_small_n"], row["minus_small_mean"]) == pytest.approx((2, -0.75))
    assert (row["minus_small_verdict"], row["missing_seeds"]) == ("lower", "2")
    assert says(reading(folder, LEVELS, "utility"), "(the first is closer, n = 2)")


def test_a_network_that_is_not_measured_yet_is_left_out(tmp_path):
    folder = levels(tmp_path, level(tmp_path, 0, after=1.5))
    assert set(loaded(pruned, folder).measured["network"]) == {PRUNED}
    assert PRETRAINED not in set(tables_of(folder, LEVELS)["utility"].shown["network"])
    assert "not measured yet" in reading(folder, LEVELS, "utility")
    assert "likeness" not in tables_of(folder, LEVELS)


def table_2(folder, *each):
    made = tables_of(levels(folder, *each), LEVELS)["table_2"]
    return made, made.numbers.set_index(["network", "metric"])


ACCURACY, LOSS = "val_accuracy_percent", "train_loss"


def test_table_2_has_the_papers_number_beside_ours_and_tells_match_from_difference(tmp_path):
    # The paper's accuracy at 50% is 91.84, its loss 0.009.
    ours = ((0.9154, 0.010), (0.9174, 0.012), (0.9194, 0.014))
    made, rows = table_2(tmp_path, *(
        level(tmp_path, seed, test_accuracy_last=accuracy, train_loss=loss)
        for seed, (accuracy, loss) in enumerate(ours)
    ))  # fmt: skip
    row, loss = rows.loc[(PRUNED, ACCURACY)], rows.loc[(PRUNED, LOSS)]
    assert row[["n", "mean", "std", "paper_mean"]].tolist() == pytest.approx([3, 91.74, 0.2, 91.84])
    assert (row["minus_paper"], row["verdict_paper"]) == (pytest.approx(-0.1), "matches")
    assert (loss["paper_mean"], loss["verdict_paper"]) == (0.009, "higher")
    # Small: 80% and 0.5 nats.
    assert (row["minus_small_mean"], row["verdict_small"]) == (pytest.approx(11.74), "higher")
    assert loss["verdict_small"] == "lower"
    assert rows.loc[(SMALL, ACCURACY), "paper_mean"] == 90.63
    assert says(made.title, "printed without a spread", "exact")


@pytest.mark.parametrize(
    ("changes", "pruned_mean", "small_mean"),
    [
        # A sparsity that is not quite the paper's is still its.
        ({"sparsity": 0.7503}, 91.41, 89.17),
        ({"sparsity": 0.7}, math.nan, math.nan),
        ({"dataset": "digits"}, math.nan, math.nan),
        ({"model": "lenet_300_100"}, math.nan, math.nan),
        ({"noise_fraction": 0.2, "label_noise": "symmetric"}, math.nan, math.nan),
        ({"width": 2.0}, math.nan, math.nan),
        ({"train_subset": 4000}, math.nan, math.nan),
        # Of small networks the paper's has but one training.
        ({"retrain": "finetune"}, math.nan, 90.63),
    ],
)
def test_the_papers_number_stays_away_from_other_settings(
    tmp_path, changes, pruned_mean, small_mean
):
    made, rows = table_2(tmp_path, level(tmp_path, 0, **changes))
    paper = rows["paper_mean"][[(PRUNED, ACCURACY), (SMALL, ACCURACY)]].tolist()
    assert paper == pytest.approx([pruned_mean, small_mean], nan_ok=True)
    assert ("paper" in made.shown) == (not math.isnan(small_mean))


def test_one_seed_has_differences_and_no_verdict_and_other_epochs_are_said(tmp_path):
    # Columns of another experiment, which are empty here, hide no number of the paper's.
    other = pm.row("other", 0, 0, trial="b-trial", width=4.0)
    ours = level(tmp_path, 0, test_accuracy_last=0.92, train_epochs=20)
    made, rows = table_2(tmp_path, ours, [other])
    assert made.shown.iloc[0]["vs paper"] == "(+0.16)"
    unlike = rows["unlike the paper"]
    assert (unlike[PRUNED, LOSS], unlike[SMALL, LOSS]) == ("20 epochs, not 200", "")


# ---------------------------------------------------------------- accuracy_surface
X, Y = (-1.0, 0.0, 1.0, 2.0), (0.0, 1.0, 2.0)
# Falls linearly with x, whatever y: bilinear reading is exact.
FALLING = np.tile(0.8 - 0.2 * np.array(X), (3, 1))


def cycle(
    folder, number, seed=0, accuracy=FALLING, pruned=1.0, retrained=(1.0, 2.0), missing=(),
    track=None, structure="weights", **changes
):  # fmt: skip
    """A row of a retrained level with its plane; `missing` cells are not measured yet."""
    changes |= {"structure": structure, **pm.placed(pruned, retrained)}
    one = pm.row(SURFACE, number, seed, sparsity=1 - 0.7**number, **changes)
    tables = {"plane": pm.plane(accuracy, X, Y, missing), "trajectory": track}
    return pm.measured(folder, one, **tables)


def small(number, seed=0, accuracy=0.89, **changes):
    changes |= {"test_accuracy_last": accuracy, "train_epochs": 1200}
    return pm.row(SURFACE, number, seed, SMALL, **{"structure": "weights", **changes})


def surfaces_of(folder, *rows):
    return loaded(planes, pm.write(folder, rows)).dropna(subset="grid")


def one_surface(folder, **changes):
    (surface,) = surfaces_of(folder, cycle(folder, 1, **changes)).to_dict("records")
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


def test_colours_always_go_from_0_to_100_percent_and_the_networks_are_marked(tmp_path):
    track = pm.trajectory([
        (1, "retrained", 1.0, 2.0, 0.0), (1, "pruned", 99.0, 0.0, 0.0),
        (0, "pretrained", 0.0, 0.0, 0.0),
    ])  # fmt: skip
    folder = pm.write(tmp_path, [cycle(tmp_path, 1, accuracy=0.9 * FALLING, track=track)])
    axes = drawn(folder, SURFACE, "planes")[0]
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    assert mesh.get_clim() == (0, 100)
    np.testing.assert_allclose(mesh.get_array(), 90 * FALLING)
    path, *_, star, triangle, circle = [line.get_xydata().tolist() for line in axes.get_lines()]
    # In the order of training, whatever the order of the file; beyond the grid nothing is widened.
    assert path == [[0, 0], [99, 0], [1, 2]]
    assert axes.get_xlim() == (-1.5, 2.5)
    assert (star, triangle, circle) == ([[0, 0]], [[1, 0]], [[1, 2]])


def test_the_last_cycle_of_the_first_measured_seed_is_drawn(tmp_path):
    rows = [cycle(tmp_path, number, seed) for seed in (1, 2) for number in (1, 2)]
    folder = pm.write(tmp_path, [*rows, pm.row(SURFACE, 3, 0, structure="weights")])
    title = " ".join(drawn(folder, SURFACE, "planes")[0].get_title("left").split())
    assert "cycle 2, seed 1" in title
    assert first_lines(drawn(folder, SURFACE, "cycles")[:2]) == ["cycle 1", "cycle 2"]


def test_cycles_stand_in_their_order_and_rows_are_named_whatever_is_missing(tmp_path):
    rows = [cycle(tmp_path, number, trial="a", retrain="finetune") for number in (2, 3)]
    rows += [cycle(tmp_path, number, trial="b") for number in (1, 2)]
    axes = [a for a in drawn(pm.write(tmp_path, rows), SURFACE, "cycles") if a.axison]
    assert first_lines(axes)[:4] == ["cycle 2", "cycle 3", "cycle 1", "cycle 2"]
    assert says(axes[0].get_ylabel(), "weights, fine-tuned")


@pytest.mark.parametrize(
    ("trials", "names"),
    [
        (
            [{"structure": structure, "retrain": retrain}
             for structure in ("channels", "weights") for retrain in ("lr_rewind", "finetune")],
            ["weights, fine-tuned", "weights, learning rate rewound",
             "channels, fine-tuned", "channels, learning rate rewound"],
        ),
        # Of one kind, by their settings.
        (
            [{"model": "resnet20"}, {"model": "lenet_300_100"}],
            ["lenet_300_100: weights, learning rate rewound",
             "resnet20: weights, learning rate rewound"],
        ),
    ],
)  # fmt: skip
def test_trials_are_called_by_what_is_pruned_and_how_it_is_retrained(tmp_path, trials, names):
    rows = [cycle(tmp_path, 1, trial="-".join(own.values()), **own) for own in trials]
    assert surfaces_of(tmp_path, *rows)["name"].tolist() == names


def test_distances_are_means_over_seeds_and_a_missing_seed_is_named(tmp_path):
    rows = [cycle(tmp_path, 1, seed, pruned=pruned) for seed, pruned in ((0, 1.0), (1, 3.0))]
    rows.append(pm.row(SURFACE, 1, 2, structure="weights"))
    (row,) = numbers(pm.write(tmp_path, rows), SURFACE, "distances")
    assert row["distance_pretrained_pruned_mean"] == 2
    assert row["distance_pretrained_pruned_std"] == pytest.approx(math.sqrt(2))
    assert (row["n"], row["missing_seeds"]) == (2, "2")
    # Seed 1's Wp lies beyond the grid, so that only seed 0's line can be read.
    assert row["least_accuracy_to_pruned_mean"] == pytest.approx(0.6)


@pytest.mark.parametrize("last", [5, 4])
def test_table_1_has_the_papers_numbers_of_the_last_of_five_cycles(tmp_path, last):
    rows = []
    for structure in ("weights", "channels"):
        about = {"structure": structure, "trial": structure}
        for seed in (0, 1):
            rows.append(cycle(tmp_path, last - 1, seed, **about))
            accuracy = 0.918 + 0.002 * seed
            rows.append(cycle(tmp_path, last, seed, test_accuracy_last=accuracy, **about))
            rows.append(small(last, seed, **about))
    found = tables_of(pm.write(tmp_path, rows), SURFACE)["table_1"].numbers
    found = found.set_index(["trial", "network"])
    weights, channels = ("weights, learning rate rewound", "channels, learning rate rewound")
    if last < 5:
        assert found["paper_mean"].isna().all()
        return
    assert found["paper_mean"].to_dict() == {
        (weights, "pruned and retrained"): 91.897,
        (weights, "small"): 89.29,
        (channels, "pruned and retrained"): 87.138,
        (channels, "small"): 88.02,
    }
    row = found.loc[(weights, "pruned and retrained")]
    assert (row["mean"], row["verdict_paper"]) == (pytest.approx(91.9), "matches")
    assert (row["minus_small_mean"], row["verdict_small"]) == (pytest.approx(2.9), "higher")
    assert set(found["unlike the paper"]) == {""}


def test_of_pruned_channels_both_shares_are_told_and_the_weights_are_those_not_dead(tmp_path):
    about = {"structure": "channels", "trial": "channels"}
    dead = {"filters_remaining": 0.3277, "live_weights_remaining": 0.0962}
    other = {"filters_remaining": 0.9, "live_weights_remaining": 0.09}
    folder = pm.write(tmp_path, [
        cycle(tmp_path, 5, weights_remaining=0.2, **about, **dead),
        small(5, weights_remaining=0.0962, **about, **other),
        cycle(tmp_path, 5, trial="weights", weights_remaining=0.17),
    ])  # fmt: skip
    shown = tables_of(folder, SURFACE)["table_1"].shown
    assert shown["filters left (%)"].tolist() == ["", "32.8", ""]
    assert shown["weights left (%)"].tolist() == ["17", "9.62", "9.62"]
    titles = [axes.get_title("left") for axes in drawn(folder, SURFACE, "planes")]
    assert titles[0].endswith("\n17% of weights left")
    assert titles[1].endswith("\n32.8% of filters, 9.62% of weights left")


def test_tensorboard_shows_the_plane_in_the_run_of_its_stage(tmp_path):
    folder = pm.write(tmp_path, [cycle(tmp_path, 2)])
    ((tag, (width, height, png)),) = published(folder).images("a-trial/seed_0/level_02").items()
    assert tag == "accuracy_surface/plane"
    assert png == planes.png(loaded(planes, folder))
    assert imread(io.BytesIO(png)).shape[:2] == (height, width)
