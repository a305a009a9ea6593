"""The options of experiments: what is refused, and what is part of their identity."""

import pytest

from tfprune.config import from_settings
from tfprune.errors import SettingError
from tfprune.studies.settings import (
    FamilyConfig,
    FilterConfig,
    FlatnessConfig,
    LeaveOutConfig,
    NoiseConfig,
    SurfaceConfig,
    at_noise,
)


def run_config(**values):
    return from_settings(values)


FILTERS = {"criterion": "filter_l2", "train_epochs": 20}


@pytest.mark.parametrize(
    "value",
    [
        ("smalest:4",),
        ("smallest",),
        ("smallest:0",),
        ("smallest:-1",),
        ("smallest:4:1.5",),
        ("smallest:4:2",),
        ("smallest:4:0.1/2",),
        ("smallest:4:0.1/",),
        ("scratch:4",),
        ("scratch",),
        ("smallest:4", "smallest:4"),
        ("smallest:4", ""),
    ],
)
def test_prunings_that_cannot_be_read_are_refused(value):
    with pytest.raises(SettingError, match=r"prunings=.*TARGET:PERIOD:FRACTION"):
        FilterConfig(prunings=value)


def test_prunings_of_every_kind_are_taken():
    values = ("smallest:4", "random:1", "largest:40:0.06", "smallest:4:.5", "scratch:largest")
    values += ("largest:40:0.3/0/.9", "scratch:smallest:0.3/0.9")
    assert FilterConfig(prunings=values).prunings == values


@pytest.mark.parametrize(
    "value",
    [
        ("zero:1",),
        ("zeroing",),
        ("zeroing:0",),
        ("zeroing:1:cumu",),
        ("zeroing:1", "zeroing:1"),
        ("gaussian:1.5",),
    ],
)
def test_noises_that_cannot_be_read_are_refused(value):
    with pytest.raises(SettingError, match=r"noises=.*KIND:BATCHES"):
        NoiseConfig(noises=value)


def test_noises_of_every_kind_are_taken():
    values = ("zeroing:1", "restoring:50", "gaussian:1105", "gaussian:1105:cumulative")
    assert NoiseConfig(noises=values).noises == values


@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker", "tpu"])
def test_noise_is_refused_where_several_devices_share_a_training(strategy):
    noise = NoiseConfig()
    noise.check_with(run_config(**FILTERS))
    with pytest.raises(SettingError, match=f"strategy={strategy}: auto, cpu or gpu"):
        noise.check_with(run_config(**FILTERS, strategy=strategy))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("snip:dirty",), "methods=snip:dirty: NAME, NAME:clean or NAME:noisy"),
        (("snip:",), "methods=snip:: NAME, NAME:clean or NAME:noisy"),
        (("snop:clean",), "methods=snop: did you mean snip"),
        (("snip:clean", "snip:noisy"), "different names"),
        ((), "different names, at least one"),
    ],
)
def test_methods_that_cannot_be_read_are_refused(values, message):
    with pytest.raises(SettingError, match=message):
        FamilyConfig(methods=values)


def test_a_run_has_the_names_that_are_meant_for_its_noise():
    values = FamilyConfig(methods=("lr_rewind", "snip:clean", "synflow:noisy")).methods
    assert at_noise(values, 0.0) == ("lr_rewind", "snip")
    assert at_noise(values, 0.05) == ("lr_rewind", "synflow")


def test_a_run_without_a_set_to_leave_out_is_refused():
    clean, noisy = run_config(), run_config(label_noise="uniform_other", noise_fraction=0.15)
    options = LeaveOutConfig(leave_out_sets=("dense_subset:noisy",))
    options.check_with(noisy)
    with pytest.raises(SettingError, match="at least one that is meant for `noise_fraction=0`"):
        options.check_with(clean)


def test_a_plane_needs_a_pruned_network():
    SurfaceConfig().check_with(run_config(levels=1))
    SurfaceConfig().check_with(run_config(levels=0, sparsities=(0.5,)))
    with pytest.raises(SettingError, match="levels=0: at least 1"):
        SurfaceConfig().check_with(run_config(levels=0))


def test_one_schedule_is_for_all_layers_and_several_are_one_for_each():
    one = FilterConfig(prune_fractions=(0.3,), prune_starts=(3,), prune_ends=(150,))
    assert one.per_layer(3) == [(0.3, 3, 150)] * 3
    some = FilterConfig(prune_fractions=(0.3, 0.9), prune_starts=(3,), prune_ends=(150, 275))
    assert some.per_layer(2) == [(0.3, 3, 150), (0.9, 3, 275)]
    with pytest.raises(SettingError, match=r"prune_fractions=0.3,0.9: .* 3, one for each"):
        some.per_layer(3)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"prune_fractions": (0.3, 0.3), "prune_starts": (1, 2, 3)}, "prune_fractions"),
        ({"prune_ends": (150, 150), "prune_starts": (1, 2, 3)}, "prune_ends"),
        ({"prune_starts": ()}, "prune_starts"),
        ({"prune_fractions": (1.0,)}, "prune_fractions"),
        ({"prune_fractions": (-0.1,)}, "prune_fractions"),
        ({"prune_starts": (-1,)}, "prune_starts"),
        ({"prune_starts": (5, 9), "prune_ends": (8,)}, "prune_ends"),
        ({"prune_layers": ""}, "prune_layers"),
    ],
)
def test_schedules_that_fit_no_layers_are_refused(change, name):
    with pytest.raises(SettingError) as error:
        FilterConfig(**change)
    assert error.value.name == name


def test_filters_need_a_criterion_of_filters_and_a_start_before_the_end_of_training():
    options = FilterConfig(prune_starts=(3, 19), prune_ends=(30,))
    options.check_with(run_config(**FILTERS))
    with pytest.raises(SettingError, match=r"criterion=magnitude: .*filter_l2"):
        options.check_with(run_config(train_epochs=20))
    with pytest.raises(SettingError, match=r"prune_starts=3,19: .*`train_epochs=19`"):
        options.check_with(run_config(**{**FILTERS, "train_epochs": 19}))


def test_what_is_compared_is_no_part_of_what_each_pruning_is():
    """A pruning is trained once, whatever others are asked for beside it."""
    one, two = FilterConfig(prunings=("smallest:4",)), FilterConfig()
    assert one.identity() == two.identity()
    assert NoiseConfig(noises=("zeroing:9",)).identity() == NoiseConfig().identity()
    for change in ({"prune_layers": "last4"}, {"prune_fractions": (0.4,)}, {"prune_ends": (9,)}):
        assert FilterConfig(**change).identity() != two.identity()
    assert NoiseConfig(noise_period=4).identity() != NoiseConfig().identity()
    for name in ("flatness_examples", "eigenvalues", "trace_probes", "perturbed_eigenvectors"):
        changed = FlatnessConfig(**{name: 7})
        assert changed.identity() != FlatnessConfig().identity()
        with pytest.raises(SettingError, match=f"{name}=0"):
            FlatnessConfig(**{name: 0})
    assert FlatnessConfig(unpruned_only=False).identity() != FlatnessConfig().identity()
