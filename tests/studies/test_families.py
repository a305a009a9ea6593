"""Families of models: what each compares, and that no two are one trial."""

import pytest

from tfprune.config import METHODS, from_settings
from tfprune.errors import SettingError
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
    from tfprune.config import replace

    with pytest.raises(SettingError, match="--methods names the retrainings"):
        families([BASE, replace(BASE, retrain="finetune")], ["lr_rewind"])
