"""Filter schedules: kept counts after every event, GST's settings, and which layers they are of."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from networks import case

from tfprune.errors import SettingError
from tfprune.models import resnet, vgg
from tfprune.pruning.dead_filters import gate_shortcuts
from tfprune.pruning.filter_schedule import FilterSchedule, block_convolutions
from tfprune.pruning.model import prune_model


def test_kept_counts_of_a_hand_computed_schedule():
    # F = 10, K = 7, N = 4: 7 + 3 (4 - i) / 4 = 9.25, 8.5, 7.75, 7, rounded up.
    schedule = FilterSchedule("conv", start=3, end=150, period=40, fraction=0.3)
    assert list(schedule.epochs) == [3, 43, 83, 123]
    assert schedule.kept(10) == [10, 9, 8, 7]
    # 512: K = ceil(51.2) = 52.
    assert FilterSchedule("conv", 6, 275, 40, 0.9).kept(512) == [447, 381, 315, 250, 184, 118, 52]


@pytest.mark.parametrize("percent", [6, 10, 25, 30, 40, 70, 80, 90, 95])
@pytest.mark.parametrize("events", [1, 2, 7, 68, 77])
@pytest.mark.parametrize("filters", [1, 8, 16, 20, 50, 512])
def test_kept_counts_are_the_formulas_in_exact_arithmetic(percent, events, filters):
    final = math.ceil(Fraction(100 - percent, 100) * filters)
    expected = [
        math.ceil(final + Fraction((filters - final) * (events - i), events))
        for i in range(1, events + 1)
    ]
    kept = FilterSchedule("conv", 5, 5 + 3 * (events - 1), 3, percent / 100).kept(filters)
    assert kept == expected
    assert kept[-1] == final > 0
    assert kept == sorted(kept, reverse=True)


@pytest.mark.parametrize(
    ("start", "end", "period", "percent", "events", "rate_percent"),
    [
        (3, 150, 40, 30, 4, 7.5),
        (6, 275, 40, 90, 7, 12.9),  # "13%" of figure 2.
        (6, 275, 4, 90, 68, 1.3),
        (10, 275, 40, 95, 7, 13.6),
        (6, 275, 300, 90, 1, 90),
        (40, 100, 30, 10, 3, 3.3),
        (40, 100, 60, 10, 2, 5),
        (24, 100, 1, 10, 77, 0.13),
        (2500, 3500, 750, 70, 2, 35),
    ],
)
def test_events_and_rates_of_the_published_settings(
    start, end, period, percent, events, rate_percent
):
    schedule = FilterSchedule("conv", start, end, period, percent / 100)
    assert len(schedule.epochs) == events
    assert schedule.epochs[0] == start
    assert schedule.iterative_rate * 100 == pytest.approx(rate_percent, abs=0.06)


def test_the_vgg_setting_has_nineteen_pruning_epochs():
    settings = [(3, 150), (4, 150), (5, 150), (6, 275)]
    epochs = {e for start, end in settings for e in FilterSchedule("c", start, end, 40, 0.3).epochs}
    assert len(epochs) == 19


def test_kept_after_an_epoch_is_that_of_the_last_event():
    schedule = FilterSchedule("conv", 2, 6, 2, 0.5)
    assert [schedule.kept_after(epoch, 12) for epoch in range(-1, 9)] == [
        *(12, 12, 12),
        *(10, 10, 8, 8, 6, 6, 6),
    ]


def test_scratch_is_all_in_one_event_before_the_first_epoch():
    schedule = FilterSchedule.scratch("conv", 0.9)
    assert list(schedule.epochs) == [-1]
    assert schedule.kept_after(-1, 512) == 52
    assert schedule.iterative_rate == 0.9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-2, 5, 1, 0.5), "start=-2"),
        ((5, 4, 1, 0.5), "end=4: at least the start, 5"),
        ((5, 9, 0, 0.5), "period=0: at least 1"),
        ((5, 9, 1, 1.0), r"fraction=1\.0: a number in \[0, 1\)"),
        ((5, 9, 1, float("nan")), "fraction=nan"),
    ],
)
def test_schedules_that_cannot_be_are_refused(values, message):
    with pytest.raises(SettingError, match=message):
        FilterSchedule("conv", *values)


@pytest.mark.parametrize(
    ("build", "convolutions"), [("resnet20", 18), case("resnet18", 16), case("resnet56", 54)]
)
def test_the_blocks_of_a_resnet_have_neither_stem_nor_projections(build, convolutions):
    model = getattr(resnet, build)((8, 8, 3), 10, width=0.125)
    names = block_convolutions(model)
    assert len(names) == convolutions
    assert names[0] == "stage1_block1_conv1"
    assert not any("shortcut" in name for name in names)
    assert block_convolutions(prune_model(gate_shortcuts(model), filters=True)) == names


def test_every_convolution_of_a_network_without_shortcuts_is_of_a_block():
    names = block_convolutions(vgg.vgg11((8, 8, 3), 10, width=0.125))
    assert names[-4:] == ["group4_conv1", "group4_conv2", "group5_conv1", "group5_conv2"]
    assert len(names) == 8
