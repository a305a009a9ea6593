"""Families of models: what each compares, and that no two are one trial."""

import pytest

from tfprune.config import from_settings, replace
from tfprune.errors import SettingError
from tfprune.options import METHODS
from tfprune.studies.families import families, family
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
    with pytest.raises(SettingError, match="--methods names the retrainings"):
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
    with pytest.raises(SettingError, match=f"--{name}="):
        families([replace(BASE, **{name: value})], METHODS)


def test_without_levels_there_is_nothing_to_prune_in_one_shot():
    base = replace(BASE, levels=0)
    found = families([base], ["lr_rewind", "one_shot"])
    assert [columns["method"] for _, columns in found] == ["lr_rewind"]
    with pytest.raises(SettingError, match="at least 1 with --methods=one_shot"):
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
    with pytest.raises(SettingError, match=r"--width=0\.8"):
        families(bases, ["width"])
    assert len(families([BASE, replace(BASE, width=8.0)], ["width"])) == 8
