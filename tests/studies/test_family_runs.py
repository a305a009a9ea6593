"""Families of models: what each compares, and that no two are one trial."""

import pytest

from tfprune.config import from_settings, replace
from tfprune.errors import SettingError
from tfprune.models.widths import layer_units
from tfprune.studies.families import families, family
from tfprune.studies.settings import METHODS
from tfprune.studies.trial import Trial, trial_name

BASE = from_settings(
    {"levels": 3, "prune_fraction": 0.2, "retrain": "lr_rewind", "rewind_to": "10ep"}
)


def test_no_two_runs_of_any_methods_are_the_same_trial():
    """Else the rows of one would overwrite those of the other."""
    names = [trial_name(config) for config, _ in families([BASE], METHODS)]
    assert len(set(names)) == len(names) == 7 + 4 + 4


def test_level_0_of_every_family_of_full_width_is_the_same_training():
    dense = {
        Trial(config, 0).stage(0).relative
        for config, columns in families([BASE], METHODS)
        if columns["width"] == 1
    }
    assert len(dense) == 1


def test_each_width_is_four_fifths_of_the_one_before():
    widths = [config.model.width for config in family(BASE, "width")]
    assert widths == pytest.approx([1, 0.8, 0.64, 0.512])
    assert [config.pruning.last_level for config in family(BASE, "width")] == [0] * 4


@pytest.mark.parametrize("method", ["width", "width_matched"])
@pytest.mark.parametrize(
    ("model", "levels", "networks"),
    [
        # 300 and 100 units: both round alike only at levels 20 and 21, to 3 and 1.
        ("lenet_300_100", 22, 22),
        # 16, 32 and 64 filters: 1, 2, 4 at levels 12 and 13, 1, 1, 2 at 15 and 16, 1, 1, 1 from 17.
        ("resnet20", 22, 16),
        ("resnet50", 12, 13),
    ],
)
def test_no_width_repeats_the_network_of_another(method, model, levels, networks):
    runs = family(replace(BASE, model=model, levels=levels), method)
    sizes = [layer_units(model, config.model.width) for config in runs]
    assert len(set(sizes)) == len(sizes) == networks
    assert sizes[0] == layer_units(model, 1)


def test_each_run_has_the_methods_that_are_meant_for_its_noise():
    noisy = replace(BASE, label_noise="uniform_other", noise_fraction=0.15)
    found = families([BASE, noisy], ["lr_rewind", "snip:clean"])
    assert [(c["method"], config.data.noise_fraction) for config, c in found] == [
        ("lr_rewind", 0), ("snip", 0), ("lr_rewind", 0.15)
    ]  # fmt: skip
    with pytest.raises(SettingError, match=r"methods=snip:clean: .* `noise_fraction=0\.15`"):
        families([BASE, noisy], ["snip:clean"])


def test_one_shot_goes_to_the_sparsities_of_the_levels():
    (config,) = family(BASE, "one_shot")
    assert config.pruning.sparsities == pytest.approx((0.2, 0.36, 0.488))


def test_widths_of_matched_training_train_once_more_with_nothing_removed():
    for config in family(BASE, "width_matched"):
        assert config.pruning.sparsities == (0.0,)
        assert config.pruning.retrain == "lr_rewind"
        assert config.pruning.last_level == 1


@pytest.mark.parametrize("criterion", ["synflow", "snip", "random"])
def test_criteria_are_learning_rate_rewinding_with_another_score(criterion):
    (config,) = family(BASE, criterion)
    assert (config.pruning.criterion, config.pruning.retrain) == (criterion, "lr_rewind")


def test_bases_that_differ_in_retraining_are_refused():
    with pytest.raises(SettingError, match="`methods` names the retrainings"):
        families([BASE, replace(BASE, retrain="finetune")], ["lr_rewind"])


def test_a_family_by_its_criterion_is_refused_beside_the_same_one_by_name():
    """Else the rows of `random` would take the place of those of `lr_rewind`."""
    with pytest.raises(SettingError, match="lr_rewind,random: one of the two"):
        families([replace(BASE, criterion="random")], ["lr_rewind", "random"])


def test_a_sweep_of_criteria_trains_what_has_none_or_its_own_once():
    bases = [replace(BASE, criterion=name) for name in ("magnitude", "snip")]
    found = families(bases, ["lr_rewind", "synflow", "width"])
    assert [columns["method"] for _, columns in found] == [
        *("lr_rewind", "synflow"), *["width"] * 4, "lr_rewind"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [("retrain", "finetune"), ("sparsities", (0.5,)), ("prune_fraction", 1.0)]
)
def test_settings_that_families_take_no_notice_of_are_refused(name, value):
    with pytest.raises(SettingError, match=f"{name}="):
        families([replace(BASE, **{name: value})], METHODS)


def test_without_levels_there_is_nothing_to_prune_in_one_shot():
    base = replace(BASE, levels=0)
    found = families([base], ["lr_rewind", "one_shot"])
    assert [columns["method"] for _, columns in found] == ["lr_rewind"]
    with pytest.raises(SettingError, match="at least 1 with `methods=one_shot`"):
        families([base], ["one_shot"])


def test_the_name_of_a_width_does_not_depend_on_how_others_are_pruned():
    other = replace(BASE, criterion="snip", prune_fraction=0.5, scope="layer")
    for method in ("width", "width_matched"):
        first, again = (trial_name(family(base, method)[0]) for base in (BASE, other))
        assert first == again


def test_the_dense_trial_of_every_family_is_that_of_its_full_width():
    base = replace(BASE, width=2.0)
    for config, columns in families([base], METHODS):
        is_full_width = Trial(config, 0).stage(0).trial == columns["dense_trial"]
        assert is_full_width == (columns["width"] == 2.0)


def test_a_width_that_a_wider_network_is_narrowed_to_cannot_have_a_family_of_its_own():
    """One trial would belong to two families."""
    bases = [BASE, replace(BASE, width=BASE.model.width * 0.8)]
    with pytest.raises(SettingError, match=r"width=0\.8"):
        families(bases, ["width"])
    assert len(families([BASE, replace(BASE, width=8.0)], ["width"])) == 8
