"""What PM's experiments draw and tabulate, on made-up folders with known numbers."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pandas as pd
import pm
import pytest
from golden import figures_of, tables_of
from matplotlib.collections import QuadMesh
from matplotlib.image import imread
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.util import tensor_util
from test_tensorboard import Reader, files_of, published
from wording import says

from tfprune import layout, store
from tfprune.errors import InputError
from tfprune.pages import tensorboard
from tfprune.papers.pm import dynamics, planes, pruned, size
from tfprune.papers.pm import utility as common
from tfprune.papers.pm.pruned import PRETRAINED, PRUNED, SMALL

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
def trained(folder, tables, **changes):
    """A folder of one trial from {seed: utility_dynamics table or None}."""
    rows = []
    for seed, table in tables.items():
        one = pm.row(DYNAMICS, 0, seed, **changes)
        rows.append(one if table is None else pm.measured(folder, one, DYNAMICS, table))
    return pm.write(folder, rows)


def table(mean=(1, 2, 3, 4), imbalance=(1, 1, 2, 1), least=(4, 3, 2, 1), ratio=0.1):
    """Mean utility always rises, minimum always falls, imbalance ends where it began."""
    columns = {"utility_mean": mean, "utility_imbalance": imbalance, "utility_min": least}
    return pm.dynamics({ratio: columns}, EPOCHS)


def rises(folder):
    """The rows of the one ratio, by quantity."""
    return tables_of(folder, DYNAMICS)["rise"].numbers.set_index("quantity")


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "last epoch first"])
def test_change_is_last_minus_first_and_tau_counts_concordant_pairs(tmp_path, order):
    found = rises(trained(tmp_path, {0: table().iloc[::order]}))
    quantities = [common.MEAN, common.MINIMUM, common.IMBALANCE]
    assert found["change_mean"][quantities].tolist() == [3, -3, 0]
    # Epoch 2 is above the three others: 2 pairs rise, 1 falls, 3 tie; tau-b of 6 and 3 pairs.
    tied = (2 - 1) / math.sqrt(6 * 3)
    assert found["kendall_mean"][quantities].tolist() == pytest.approx([1, -1, tied])


def test_change_and_spread_are_over_seeds_each_with_its_own_first_epoch(tmp_path):
    tables = {0: table(mean=(1, 0, 0, 2)), 1: table(mean=(5, 0, 0, 8)), 2: table(mean=(0, 0, 0, 2))}
    row = rises(trained(tmp_path, tables)).loc[common.MEAN]
    assert row[["n", "change_mean", "change_std", "verdict"]].tolist() == [3, 2, 1, "rises"]


def test_a_change_within_one_std_of_zero_is_no_rise_and_a_missing_seed_is_named(tmp_path):
    tables = {0: table(mean=(0, 1, 1, 3)), 1: table(mean=(3, 2, 1, 1)), 3: None}
    folder = trained(tmp_path, tables)
    verdicts = rises(folder)["verdict"]
    assert (verdicts[common.MEAN], verdicts[common.MINIMUM]) == ("neither", "falls")
    assert set(rises(folder)["missing_seeds"]) == {"3"}
    title = " ".join(drawn(folder, DYNAMICS, "training")[0].get_title("left").split())
    assert title.endswith("(2 of 3 seeds)")


def two_ratios(first, second):
    return {
        ratio: {"utility_mean": mean, "utility_imbalance": range(4), "utility_min": (1,) * 4}
        for ratio, mean in ((0.05, first), (0.1, second))
    }


def test_the_reading_counts_ratios_that_rise(tmp_path):
    both = pm.dynamics(two_ratios((1, 2, 3, 4), (4, 3, 2, 1)), EPOCHS)
    said = reading(trained(tmp_path, {0: both}), DYNAMICS, "training")
    assert says(said, "imbalance at 2 of 2 ratios (Kendall's τ with the epoch 1.00)")
    assert says(said, "mean at 1 of 2 ratios (Kendall's τ with the epoch -1.00 to 1.00)")
    # A constant has no τ, and does not rise.
    assert says(said, "minimum at 0 of 2 ratios, from epoch 0 to 3")


def test_utility_rises_by_the_rule_and_not_by_the_mean_alone(tmp_path):
    # At ratio 0.1 the mean change is +1 with a std of 1.41: it matches.
    ends = [((1, 1, 1, 4.0), (1, 1, 1, 1.0)), ((1, 1, 1, 4.5), (1, 1, 1, 3.0))]
    tables = {n: pm.dynamics(two_ratios(*pair), EPOCHS) for n, pair in enumerate(ends)}
    folder = trained(tmp_path, tables)
    assert says(reading(folder, DYNAMICS, "training"), "mean at 1 of 2 ratios")
    said = reading(folder, DYNAMICS, "by_ratio")
    assert says(said, "from 1.00 ± 0.00 to 4.25 ± 0.35 nats at ratio 0.05 (rises, n = 2)")
    assert says(said, "from 1.00 ± 0.00 to 2.00 ± 1.41 nats at ratio 0.1 (neither, n = 2)")


def test_of_one_seed_no_verdict_is_given(tmp_path):
    both = pm.dynamics(two_ratios((1, 1, 1, 4), (1, 1, 1, 0.5)), EPOCHS)
    folder = trained(tmp_path, {0: both})
    assert says(reading(folder, DYNAMICS, "training"), "mean at 1 of 2 ratios")
    assert reading(folder, DYNAMICS, "by_ratio").endswith(
        "from 1.00 to 4.00 nats at ratio 0.05; from 1.00 to 0.500 nats at ratio 0.1."
    )


def test_bars_go_from_the_least_to_the_most_accurate_ablated_network(tmp_path):
    one = pm.row(DYNAMICS, 0, 0)
    subsets = pm.subsets({0.05: [1, 2], 0.1: [1, 2]}, {0.05: [0.9, 0.7], 0.1: [0.8, 0.2]})
    folder = pm.write(tmp_path, [pm.measured(tmp_path, one, "utility_ratio", subsets)])
    # Nothing was measured by magnitude: there is no panel of it.
    (panel,) = drawn(folder, DYNAMICS, "ablated_accuracy")
    (bars,) = panel.collections
    ends = [path[:, 1].tolist() for path in bars.get_segments()]
    np.testing.assert_allclose(ends, [[70, 90], [20, 80]])
    said = reading(folder, DYNAMICS, "ablated_accuracy")
    assert says(said, "by up to 60 points at ratio 0.1", "in the paper about 60")


def test_without_subsets_those_of_the_last_epoch_are_shown(tmp_path):
    last = pm.dynamics({0.1: {"ablated_accuracy_mean": (0.1, 0.6)}}, (0, 9))
    (panel,) = drawn(trained(tmp_path, {0: last}), DYNAMICS, "ablated_accuracy")
    heights = {float(line.get_ydata()[0]) for line in panel.get_lines()}
    assert {60, 99} <= heights


def test_windows_of_ranks_stand_at_their_middle(tmp_path):
    one = pm.row(DYNAMICS, 0, 0)
    ranks = pm.subsets({0.2: [0, 0, 1]}, {0.2: [0.9, 0.8, 0.1]}, {0.2: [0.0, 0.4, 0.8]})
    one = pm.measured(tmp_path, one, "utility_magnitude", ranks)
    one = pm.measured(tmp_path, one, "utility_ratio", pm.subsets({0.2: [1, 2]}))
    _, right = drawn(pm.write(tmp_path, [one]), DYNAMICS, "ablated_accuracy")
    (line,) = right.get_lines()
    np.testing.assert_allclose(line.get_xdata(), [10, 50, 90])
    np.testing.assert_allclose(line.get_ydata(), [90, 80, 10])


def test_imbalance_is_the_std_over_subsets_of_each_seed_before_the_mean_over_seeds(tmp_path):
    values = {0: [0, 2], 1: [10, 16]}
    rows = [sized(tmp_path, 0, seed, 1.0, {0.1: own}) for seed, own in values.items()]
    (row,) = tables_of(pm.write(tmp_path, rows), SIZE)["by_ratio"].numbers.to_dict("records")
    # Deviations from the mean are 1 and 3 (ddof 0), not those of all four values.
    spread = (row["utility_imbalance_mean"], row["utility_imbalance_std"])
    assert spread == pytest.approx((2, math.sqrt(2)))
    assert (row["utility_mean_mean"], row["utility_min_mean"]) == (7, 5)
    assert (row["utility_max_mean"], row["n"]) == (9, 2)


def test_a_measurement_without_its_columns_is_an_input_error(tmp_path):
    folder = trained(tmp_path, {0: table().drop(columns="utility_min")})
    with pytest.raises(InputError, match="lacks the column utility_min"):
        loaded(dynamics, folder)


RUN = "a-trial/seed_0/level_00"


def test_tensorboard_has_utility_at_its_epochs_and_lays_out_a_chart_of_all_ratios(tmp_path):
    reader = published(trained(tmp_path, {0: table()}))
    assert reader.scalar(RUN, "utility/mean_0.1") == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert reader.scalar(RUN, "utility/minimum_0.1")[-1] == (3, 1)
    views = json.loads(CustomScalarsPlugin(reader.context).layout_impl(reader.request, ""))
    (charts,) = [c["chart"] for c in views["category"] if c["title"] == "utility"]
    assert {chart["title"]: chart["multiline"]["tag"] for chart in charts}["utility mean"] == [
        "^utility/mean_"
    ]
    # In the overview too, where a stage is a run if there is no other level.
    overview = Reader(tmp_path / layout.OVERVIEW)
    found = overview.scalar("seed 0", "utility by epoch/mean_0.1")
    assert found == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_tensorboard_has_a_histogram_of_subsets_for_each_ratio(tmp_path):
    one = pm.row(DYNAMICS, 0, 0)
    subsets = pm.subsets({0.1: [0.0, 1.0, 1.0, 3.0]})
    folder = pm.write(tmp_path, [pm.measured(tmp_path, one, "utility_ratio", subsets)])
    reader = published(folder)
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


# ---------------------------------------------------------------- utility_size
def sized(folder, level, seed, remaining, by_ratio=None, by_number=None):
    """A row of a network of this size, with what is measured of it."""
    one = pm.row(SIZE, level, seed, "size" if level else "", weights_remaining=remaining)
    for name, values in (("utility_ratio", by_ratio), ("utility_number", by_number)):
        if values is not None:
            one = pm.measured(folder, one, name, pm.subsets(values, by=name[8:]))
    return one


def three(folder):
    """By ratio all alike; by number means of 1, 2 and 4, three times as many at ratio 0.1."""
    rows = []
    for seed in (0, 1):
        for level, remaining in enumerate((0.25, 1.0, 0.50004)):
            scale = 1 / round(remaining, 2)
            number = {0.05: [scale] * 2, 0.1: [3 * scale + 0.1 * seed] * 2}
            ratio = {0.05: [1.0, 1.0], 0.1: [2.0, 4.0]}
            rows.append(sized(folder, (level + 2) % 3, seed, remaining, ratio, number))
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
    assert by_ratio["utility_imbalance_mean"].tolist() == [0, 1] * 3


def test_the_factor_between_sizes_is_a_geometric_mean_over_amounts(tmp_path):
    folder = three(tmp_path)
    factor = math.sqrt(4 * (12.05 / 3.05))
    own = loaded(size, folder).by_amount.query("way == 'number'")
    assert size.spread_factor(own) == pytest.approx(factor)
    said = reading(folder, SIZE, "utility")
    assert f"a factor of 1 by ratio and {factor:.3g} by number" in said


def test_ratio_stands_above_and_number_below_on_one_scale(tmp_path):
    axes = drawn(three(tmp_path), SIZE, "utility")
    assert [a.get_xlabel() for a in axes[::3]] == [
        "Ablation ratio", "Ablated weights, as a ratio of\nthe 1× network's"
    ]  # fmt: skip
    lines = {tuple(line.get_ydata()) for line in axes[4].get_lines()}
    assert lines == {(1, 3.05), (2, 6.05), (4, 12.05)}
    assert axes[1].get_ylim() == axes[4].get_ylim()


def test_one_size_alone_is_compared_with_none(tmp_path):
    folder = pm.write(tmp_path, [sized(tmp_path, 0, 0, 1.0, {0.1: [1, 2]})])
    for figure in ("utility", "extremes"):
        assert reading(folder, SIZE, figure) == "There are no two sizes yet to compare."


def test_extremes_are_means_over_seeds_of_each_seeds_own(tmp_path):
    rows = [
        sized(tmp_path, 0, 0, 1.0, {0.1: [1.0, 5.0]}),
        sized(tmp_path, 0, 1, 1.0, {0.1: [3.0, 9.0]}),
        sized(tmp_path, 1, 0, 0.5, {0.1: [0.0, 10.0]}),
    ]
    folder = pm.write(tmp_path, rows)
    left, middle, _ = drawn(folder, SIZE, "extremes")
    assert [line.get_ydata().tolist() for line in left.get_lines()] == [[7], [10]]
    assert [line.get_ydata().tolist() for line in middle.get_lines()] == [[2], [0]]
    said = reading(folder, SIZE, "extremes")
    assert says(said, "The 0.5× network has the largest maximum utility of all sizes at 1 of 1")


def test_histograms_count_the_subsets_of_one_network_however_many_seeds_there_are(tmp_path):
    utilities = {0.04: [0.5, 0.5, 3.2, 3.2], 0.3: [1.0]}
    rows = [sized(tmp_path, 0, seed, 1.0, utilities) for seed in (0, 1)]
    folder = pm.write(tmp_path, rows)
    # Beside the extremes is the ratio nearest to 0.05.
    *_, right = drawn(folder, SIZE, "extremes")
    assert right.get_title("left") == "ratio 0.04"
    counts, edges, _ = right.patches[0].get_data()
    assert counts.sum() == 4
    assert counts[np.searchsorted(edges, 0.5, "right") - 1] == 2
    assert counts[-1] == 2
    titles = [axes.get_title("left") for axes in drawn(folder, SIZE, "histograms")]
    assert titles == ["ratio 0.04", "ratio 0.3"]


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
    about = {"sparsity": sparsity, "weights_remaining": 1 - sparsity}
    trunk = pm.row(LEVELS, number, seed, **about, **changes)
    for name, value in (("utility_ratio", after), ("utility_pretrained", before)):
        if value is not None:
            trunk = pm.measured(folder, trunk, name, pm.subsets({0.1: [value], 0.2: [2 * value]}))
    other = changes | {"train_epochs": 400, "test_accuracy_last": 0.8, "train_loss": 0.5}
    beside = pm.row(LEVELS, number, seed, "small", **about, **other)
    if small is not None:
        utilities = pm.subsets({0.1: [small], 0.2: [2 * small]})
        beside = pm.measured(folder, beside, "utility_ratio", utilities)
    return [trunk, beside]


def levels(folder, rows):
    return pm.write(folder, [pm.row(LEVELS, 0, 0), *rows])


def test_likeness_is_the_absolute_difference_of_mean_utility_averaged_over_ratios(tmp_path):
    folder = levels(tmp_path, level(tmp_path, 0, after=1.5, before=1.0, small=0.0))
    (row,) = pruned.distances(loaded(pruned, folder).measured).to_dict("records")
    # |1.5 - 1| and |3 - 2|; |0 - 1| and |0 - 2|.
    assert (row["pruned"], row["small"]) == (0.75, 1.5)
    said = reading(folder, LEVELS, "utility")
    assert "differs from the pretrained network's by 0.750 and 1.50 nats at 50.0% sparsity" in said


def test_likeness_is_compared_seed_by_seed_and_a_seed_without_both_is_named(tmp_path):
    rows = level(tmp_path, 0, after=1.5, before=1.0, small=2.0)
    rows += level(tmp_path, 1, after=1.1, before=1.0, small=1.6)
    rows += level(tmp_path, 2, after=1.1, before=1.0)
    folder = levels(tmp_path, rows)
    made = tables_of(folder, LEVELS)["likeness"]
    (row,) = made.numbers.to_dict("records")
    assert (row["minus_small_n"], row["minus_small_mean"]) == pytest.approx((2, -0.75))
    assert row["minus_small_verdict"] == "lower"
    assert made.shown["missing seeds"].tolist() == ["2"]
    assert says(reading(folder, LEVELS, "utility"), "(the first is closer, n = 2)")


def test_a_row_of_panels_has_the_three_networks_at_one_sparsity(tmp_path):
    rows = level(tmp_path, 0, 1, 0.25, after=1.5, before=1.0, small=3.0)
    rows += level(tmp_path, 0, 2, 0.75, after=2.5, before=2.0, small=4.0)
    folder = levels(tmp_path, rows)
    axes = drawn(folder, LEVELS, "utility")
    titles = [a.get_title("left") for a in axes[::4]]
    assert titles == ["25.0% sparsity", "75.0% sparsity"]
    means = sorted(line.get_ydata().tolist() for line in axes[5].get_lines())
    assert means == [[2, 4], [2.5, 5], [4, 8]]
    assert axes[1].get_ylim() == axes[5].get_ylim()


def test_a_network_that_is_not_measured_yet_is_left_out(tmp_path):
    folder = levels(tmp_path, level(tmp_path, 0, after=1.5))
    assert set(loaded(pruned, folder).measured["network"]) == {PRUNED}
    assert PRETRAINED not in set(tables_of(folder, LEVELS)["utility"].shown["network"])
    assert "not measured yet" in reading(folder, LEVELS, "utility")
    assert "likeness" not in tables_of(folder, LEVELS)


def table_2(folder, rows):
    made = tables_of(levels(folder, rows), LEVELS)["table_2"]
    return made, made.numbers.set_index(["network", "metric"])


ACCURACY, LOSS = "val_accuracy_percent", "train_loss"


def test_table_2_has_the_papers_number_beside_ours_and_tells_match_from_difference(tmp_path):
    rows = []
    # The paper's accuracy at 50% is 91.84, its loss 0.009.
    for seed, accuracy, loss in ((0, 0.9154, 0.010), (1, 0.9174, 0.012), (2, 0.9194, 0.014)):
        rows += level(tmp_path, seed, test_accuracy_last=accuracy, train_loss=loss)
    made, numbers = table_2(tmp_path, rows)
    row = numbers.loc[(PRUNED, ACCURACY)]
    assert row[["n", "mean", "std", "paper_mean"]].tolist() == pytest.approx([3, 91.74, 0.2, 91.84])
    assert (row["minus_paper"], row["verdict_paper"]) == (pytest.approx(-0.1), "matches")
    loss = numbers.loc[(PRUNED, LOSS)]
    assert (loss["paper_mean"], loss["verdict_paper"]) == (0.009, "higher")
    # Small: 80% and 0.5 nats.
    assert (row["minus_small_mean"], row["verdict_small"]) == (pytest.approx(11.74), "higher")
    assert loss["verdict_small"] == "lower"
    assert numbers.loc[(SMALL, ACCURACY), "paper_mean"] == 90.63
    assert says(made.title, "printed without a spread", "exact")


def test_a_sparsity_that_is_not_quite_the_papers_is_still_its(tmp_path):
    for sparsity, expected in ((0.7503, 91.41), (0.7, math.nan)):
        _, numbers = table_2(tmp_path, level(tmp_path, 0, sparsity=sparsity))
        found = numbers.loc[(PRUNED, ACCURACY), "paper_mean"]
        assert found == pytest.approx(expected, nan_ok=True)


def test_other_epochs_than_the_papers_are_said(tmp_path):
    _, numbers = table_2(tmp_path, level(tmp_path, 0, train_epochs=20))
    unlike = numbers["unlike the paper"]
    assert (unlike[PRUNED, LOSS], unlike[SMALL, LOSS]) == ("20 epochs, not 200", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "digits"},
        {"model": "lenet_300_100"},
        {"noise_fraction": 0.2, "label_noise": "symmetric"},
        {"retrain": "finetune"},
        {"width": 2.0},
    ],
)
def test_the_papers_number_stays_away_from_other_settings(tmp_path, changes):
    made, numbers = table_2(tmp_path, level(tmp_path, 0, **changes))
    assert math.isnan(numbers.loc[(PRUNED, ACCURACY), "paper_mean"])
    # Of small networks the paper's has but one training.
    assert ("paper" in made.shown) == ("retrain" in changes)


def test_columns_of_another_experiment_hide_no_number_of_the_papers(tmp_path):
    other = pm.row("other", 0, 0, trial="b-trial", width=4.0)
    _, numbers = table_2(tmp_path, [*level(tmp_path, 0), other])
    assert numbers.loc[(PRUNED, ACCURACY), "paper_mean"] == 91.84


def test_one_seed_has_differences_and_no_verdict(tmp_path):
    made, _ = table_2(tmp_path, level(tmp_path, 0, test_accuracy_last=0.92))
    assert made.shown.iloc[0]["vs paper"] == "(+0.16)"


# ---------------------------------------------------------------- accuracy_surface
X, Y = (-1.0, 0.0, 1.0, 2.0), (0.0, 1.0, 2.0)
# Falls linearly with x, whatever y: bilinear reading is exact.
FALLING = np.tile(0.8 - 0.2 * np.array(X), (3, 1))


def cycle(folder, number, seed=0, accuracy=FALLING, pruned=1.0, retrained=(1.0, 2.0), **changes):
    """A row of a retrained level with its plane; `missing` cells are not measured yet."""
    missing, track = changes.pop("missing", ()), changes.pop("track", None)
    place = pm.placed(pruned, retrained)
    changes = {"structure": "weights", **changes}
    one = pm.row(SURFACE, number, seed, sparsity=1 - 0.7**number, **place, **changes)
    one = pm.measured(folder, one, "plane", pm.plane(accuracy, X, Y, missing))
    if track is not None:
        columns = ["cycle", "network", "x", "y", "distance"]
        one = pm.measured(folder, one, "trajectory", pd.DataFrame(track, columns=columns))
    return one


def surfaces_of(folder, rows):
    return loaded(planes, pm.write(folder, rows)).surfaces


def one_surface(folder, **changes):
    (surface,) = surfaces_of(folder, [cycle(folder, 1, **changes)])["surface"]
    return surface


def test_cells_stand_at_their_coordinates_and_missing_ones_are_holes(tmp_path):
    accuracy = np.arange(12).reshape(3, 4) / 12
    accuracy[:, 3] = np.nan  # A whole column may be: a moving variance below 0.
    surface = one_surface(tmp_path, accuracy=accuracy, missing=[(2, 1)])
    np.testing.assert_array_equal((*surface.x, *surface.y), (*X, *Y))
    expected = accuracy.copy()
    expected[2, 1] = np.nan
    np.testing.assert_array_equal(surface.accuracy, expected)


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
    assert surface.least_between("W*", "Wp") == pytest.approx(to_pruned, nan_ok=True)
    assert surface.least_between() == pytest.approx(to_retrained, nan_ok=True)


def test_colours_always_go_from_0_to_100_percent_and_the_networks_are_marked(tmp_path):
    track = [
        (1, "retrained", 1.0, 2.0, 0.0),
        (1, "pruned", 99.0, 0.0, 0.0),
        (0, "pretrained", 0.0, 0.0, 0.0),
    ]
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
    rows.append(pm.row(SURFACE, 3, 0, structure="weights"))
    folder = pm.write(tmp_path, rows)
    title = " ".join(drawn(folder, SURFACE, "planes")[0].get_title("left").split())
    assert "cycle 2, seed 1" in title
    titles = [a.get_title("left").split("\n")[0] for a in drawn(folder, SURFACE, "cycles")[:2]]
    assert titles == ["cycle 1", "cycle 2"]


def test_panels_over_cycles_are_titled_with_both_distances(tmp_path):
    rows = [cycle(tmp_path, 1, retrained=(3.0, 4.0)), cycle(tmp_path, 2, pruned=2.5)]
    panels = drawn(pm.write(tmp_path, rows), SURFACE, "cycles")
    titles = [axes.get_title("left") for axes in panels[:2]]
    assert titles[0] == "cycle 1\n100% of weights\n‖W*−Wr‖ 5.000\n‖W*−Wp‖ 1.000"
    assert titles[1].endswith("‖W*−Wp‖ 2.500")


def test_cycles_stand_in_their_order_and_rows_are_named_whatever_is_missing(tmp_path):
    rows = [cycle(tmp_path, number, trial="a", retrain="finetune") for number in (2, 3)]
    rows += [cycle(tmp_path, number, trial="b") for number in (1, 2)]
    axes = [a for a in drawn(pm.write(tmp_path, rows), SURFACE, "cycles") if a.axison]
    titles = [a.get_title("left").split("\n")[0] for a in axes]
    assert titles[:4] == ["cycle 2", "cycle 3", "cycle 1", "cycle 2"]
    assert says(axes[0].get_ylabel(), "weights, fine-tuned")


def test_trials_are_called_by_what_is_pruned_and_how_it_is_retrained(tmp_path):
    rows = [
        cycle(tmp_path, 1, trial=f"{structure}-{retrain}", structure=structure, retrain=retrain)
        for structure in ("channels", "weights")
        for retrain in ("lr_rewind", "finetune")
    ]
    assert surfaces_of(tmp_path, rows)["name"].tolist() == [
        "weights, fine-tuned",
        "weights, learning rate rewound",
        "channels, fine-tuned",
        "channels, learning rate rewound",
    ]


def test_trials_of_one_kind_are_told_apart_by_their_settings(tmp_path):
    rows = [cycle(tmp_path, 1, trial=model, model=model) for model in ("resnet20", "lenet_300_100")]
    assert set(surfaces_of(tmp_path, rows)["name"]) == {
        "lenet_300_100: weights, learning rate rewound",
        "resnet20: weights, learning rate rewound",
    }


def test_distances_are_means_over_seeds_and_a_missing_seed_is_named(tmp_path):
    rows = [cycle(tmp_path, 1, seed, pruned=pruned) for seed, pruned in ((0, 1.0), (1, 3.0))]
    rows.append(pm.row(SURFACE, 1, 2, structure="weights"))
    made = tables_of(pm.write(tmp_path, rows), SURFACE)["distances"]
    (row,) = made.numbers.to_dict("records")
    assert row["distance_pretrained_pruned_mean"] == 2
    assert row["distance_pretrained_pruned_std"] == pytest.approx(math.sqrt(2))
    assert (row["n"], row["missing_seeds"]) == (2, "2")
    # Seed 1's Wp lies beyond the grid, so that only seed 0's line can be read.
    assert row["least_accuracy_to_pruned_mean"] == pytest.approx(0.6)


def small(number, seed, accuracy, **changes):
    return pm.row(
        SURFACE, number, seed, "small", test_accuracy_last=accuracy, train_epochs=1200, **changes
    )


def test_table_1_has_the_papers_numbers_of_the_last_of_five_cycles(tmp_path):
    rows = []
    for structure in ("weights", "channels"):
        for seed in (0, 1):
            about = {"structure": structure, "trial": structure}
            rows.append(cycle(tmp_path, 4, seed, **about))
            accuracy = 0.918 + 0.002 * seed
            rows.append(cycle(tmp_path, 5, seed, test_accuracy_last=accuracy, **about))
            rows.append(small(5, seed, 0.89, **about))
    numbers = tables_of(pm.write(tmp_path, rows), SURFACE)["table_1"].numbers
    numbers = numbers.set_index(["trial", "network"])
    weights, channels = ("weights, learning rate rewound", "channels, learning rate rewound")
    assert numbers["paper_mean"].to_dict() == {
        (weights, "pruned and retrained"): 91.897,
        (weights, "small"): 89.29,
        (channels, "pruned and retrained"): 87.138,
        (channels, "small"): 88.02,
    }
    row = numbers.loc[(weights, "pruned and retrained")]
    assert (row["mean"], row["verdict_paper"]) == (pytest.approx(91.9), "matches")
    assert (row["minus_small_mean"], row["verdict_small"]) == (pytest.approx(2.9), "higher")
    assert set(numbers["unlike the paper"]) == {""}


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
    shown = tables_of(folder, SURFACE)["table_1"].shown
    assert shown["filters left (%)"].tolist() == ["", "32.8", ""]
    assert shown["weights left (%)"].tolist() == ["17", "9.62", "9.62"]
    titles = [axes.get_title("left") for axes in drawn(folder, SURFACE, "planes")]
    assert titles[0].endswith("\n17% of weights left")
    assert titles[1].endswith("\n32.8% of filters, 9.62% of weights left")


def test_fewer_cycles_than_five_have_no_number_of_the_papers(tmp_path):
    rows = [cycle(tmp_path, 2), small(2, 0, 0.89, structure="weights")]
    made = tables_of(pm.write(tmp_path, rows), SURFACE)["table_1"]
    assert made.numbers["paper_mean"].isna().all()
    assert "paper" not in made.shown


def test_tensorboard_shows_the_plane_in_the_run_of_its_stage(tmp_path):
    folder = pm.write(tmp_path, [cycle(tmp_path, 2)])
    images = published(folder).images("a-trial/seed_0/level_02")
    ((width, height, png),) = images.values()
    assert list(images) == ["accuracy_surface/plane"]
    assert png == planes.png(loaded(planes, folder).surfaces)
    assert imread(io.BytesIO(png)).shape[:2] == (height, width)
