"""SDD's ranges, samples and change in loss, on a made-up folder with a dip and a rise."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from wording import says

from tfprune import store
from tfprune.measures import descent as analysis
from tfprune.results import descent_tables, sparse_double_descent

CIFAR = {"dataset": "cifar10", "model": "resnet18", "noise_fraction": 0.2}
LEVELS = 28
COLUMNS = ("dataset", "model", "label_noise", "noise_fraction", "criterion", "retrain")


@pytest.fixture
def results(make_folder):
    folder = make_folder(({}, CIFAR), levels=LEVELS, columns=COLUMNS[:-1])
    return store.read_results(folder).assign(retrain="weight_rewind")


def test_the_ranges_follow_each_other_and_cover_every_level(results):
    for ranges in descent_tables.ranges_of(results, 0.01).values():
        assert list(ranges) == list(analysis.RANGES)
        bounds = list(ranges.values())
        assert bounds[0][0] == 0
        assert bounds[-1][1] == LEVELS - 1
        assert all(b == a + 1 for (_, a), (b, _) in itertools.pairwise(bounds))


def test_a_boost_must_exceed_the_spread_over_seeds_and_half_a_point():
    def boosted(*pairs):
        rows = [
            {"seed": seed, "level": level, "test_accuracy_last": value}
            for seed, pair in enumerate(pairs)
            for level, value in enumerate(pair)
        ]
        return descent_tables._is_boosted(pd.DataFrame(rows), 1)

    assert boosted((0.70, 0.75), (0.72, 0.78))
    assert not boosted((0.70, 0.75), (0.72, 0.70))
    assert not boosted((0.70, 0.704), (0.72, 0.724))
    assert boosted((0.70, 0.72))  # One seed has no spread.
    assert not boosted((0.70, 0.70))


def test_the_ranges_table_shows_where_each_begins_and_ends(results):
    table = descent_tables.ranges_table(results, 0.01, "ranges")
    assert len(table.numbers) == 8
    assert len(table.shown) == 2
    first = table.numbers.iloc[0]
    assert (first["range"], first["first_level"], first["first_sparsity"]) == ("trivial", 0, 0.0)
    assert table.shown["trivial (%)"].str.startswith("0 to ").all()
    assert set(table.labels) == {"dataset", "model", "noise_fraction"}


def test_the_papers_sparsities_stand_beside_ours_where_it_has_the_setting(results):
    table = descent_tables.sampled_table(results, "sampled")
    shown = table.shown.set_index(["dataset", "sampled"])["the paper's (%)"]
    assert shown["digits"].unique().tolist() == [""]
    assert shown["cifar10"].tolist() == ["0", "98.2", "99.08", "99.53", "99.76"]
    ours = table.shown.set_index(["dataset", "sampled"])["sparsity (%)"]
    assert ours["cifar10", "dense"] == "0"
    levels = table.numbers.set_index(["dataset", "sampled"])["level"]["cifar10"]
    assert levels["first_sweet_spot"] < levels["second_sweet_spot"]


def test_sparsities_on_which_the_papers_figures_disagree_name_their_figures():
    setting = dict(zip(COLUMNS, ("mnist", "lenet_300_100", "symmetric", 0.2, "magnitude"),
                       strict=False))  # fmt: skip
    found = descent_tables.printed_sparsities({**setting, "retrain": "weight_rewind"})
    assert found["overfitting"] == "89.26"
    assert found["first_sweet_spot"] == "94.5 (figure 9), 96.48 (figure 11)"
    assert found["second_sweet_spot"] == "98.56 (figure 9), 98.85 (figure 10)"
    for other in ({"retrain": "finetune"}, {"criterion": "random"}, {"label_noise": "pairflip"}):
        assert descent_tables.printed_sparsities({**setting, **other}) == {}


def test_the_change_in_loss_is_tabled_drawn_and_said(results):
    assert descent_tables.loss_change_table(results, "change") is None
    assert descent_tables.loss_change_figure(results) is None
    assert descent_tables.loss_change_reading(results) == ""
    pruned = results["level"] > 0
    results = results.assign(
        loss_change=np.where(pruned, 0.1 * results["level"] + 0.01 * results["seed"], np.nan),
        loss_change_linear=np.where(pruned, 0.001, np.nan),
    )
    one = results[results["dataset"] == "digits"]
    table = descent_tables.loss_change_table(one, "change")
    assert table.numbers["level"].tolist() == list(range(1, LEVELS))
    assert table.shown["ΔL (nats)"].iloc[0] == "0.110 ± 0.010"
    assert table.shown["first order (nats)"].iloc[0] == "0.00100 ± 0.00000"
    (axes,) = descent_tables.loss_change_figure(one).axes
    exact, linear = axes.get_lines()
    np.testing.assert_allclose(exact.get_ydata(), 0.1 * np.arange(1, LEVELS) + 0.01)
    np.testing.assert_allclose(linear.get_ydata(), 0.001)
    reading = descent_tables.loss_change_reading(one)
    assert says(reading, "2.71 nats", "first order 0.001", "99.8%")
    names = [table.name for table in sparse_double_descent.build_tables(results)]
    assert names == [f"sparse_double_descent_{name}" for name in (
        "accuracy", "pruning_efficacy", "ranges", "sampled", "loss_change"
    )]  # fmt: skip
