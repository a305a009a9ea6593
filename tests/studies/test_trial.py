"""Trials and stages: names by what determines them, reuse by what is on disk."""

import pytest

from tfprune.config import from_settings
from tfprune.studies.trial import Trial, result_of


def trial(tmp_path, seed=0, **values):
    return Trial(from_settings({"output_dir": str(tmp_path), **values}), seed)


def test_level_0_is_the_same_stage_for_every_pruning(tmp_path):
    """The dense training is trained once, whatever is pruned from it afterwards."""
    changes = [
        {},
        {"criterion": "random"},
        {"prune_fraction": 0.5},
        {"retrain": "finetune"},
        {"rewind_to": "10ep"},
        {"sparsities": (0.5, 0.9)},
        {"levels": 3},
    ]
    folders = {trial(tmp_path, **change).stage(0).relative for change in changes}
    assert len(folders) == 1


def test_a_pruned_stage_is_another_for_every_value_that_matters(tmp_path):
    changes = [
        {},
        {"criterion": "random"},
        {"prune_fraction": 0.5},
        {"retrain": "finetune"},
        {"rewind_to": "10ep"},
        {"learning_rate": 0.2},
        {"label_noise": "symmetric", "noise_fraction": 0.2},
        {"width": 0.5},
    ]
    folders = {trial(tmp_path, **change).stage(1).relative for change in changes}
    assert len(folders) == len(changes)


def test_more_levels_continue_the_same_trunk(tmp_path):
    short, long = trial(tmp_path, levels=2), trial(tmp_path, levels=5)
    assert [s.relative for s in short.stages()] == [s.relative for s in long.stages()[:3]]


def test_a_one_shot_level_is_named_by_its_sparsity(tmp_path):
    two = trial(tmp_path, sparsities=(0.5, 0.9))
    one = trial(tmp_path, sparsities=(0.9,))
    # The place in the list keys the draws, so these are not the same stage, nor the same rows.
    assert two.name != one.name != trial(tmp_path).name
    assert two.stage(0).relative == one.stage(0).relative
    assert [stage.name for stage in two.stages()] == ["level_00", "one_shot_0.5", "one_shot_0.9"]


def test_a_stage_is_done_when_its_result_is_there(tmp_path):
    stage = trial(tmp_path).stage(1)
    assert not stage.is_done
    stage.finish({"test_accuracy_last": 0.5})
    assert stage.is_done
    assert stage.result() == {"test_accuracy_last": 0.5}


def test_names_are_readable_and_safe_in_any_file_system(tmp_path):
    name = trial(
        tmp_path, dataset="mnist", label_noise="symmetric", noise_fraction=0.4, width=0.5
    ).name
    assert name.startswith("mnist-symmetric0.4-lenet_300_100-w0.5-magnitude-weight_rewind-")
    # Neither what is not pruned, nor filters pruned in training, have a retraining.
    slug = "digits-lenet_300_100"
    for settings, words in (
        ({"levels": 0}, ""),
        ({"levels": 0, "criterion": "filter_l2"}, "-filter_l2"),
        ({"levels": 1, "criterion": "filter_gamma"}, "-filter_gamma-weight_rewind"),
        ({"levels": 0, "sparsities": (0.5,)}, "-magnitude-weight_rewind"),
    ):
        assert trial(tmp_path, **settings).name[:-9] == f"{slug}{words}", settings
    assert trial(tmp_path, levels=0).name[-8:] == trial(tmp_path, levels=1).name[-8:]
    odd = trial(tmp_path, dataset="folder:/some where/x*y").name
    assert not set(odd) & set(' /:*?"<>|')


def test_seeds_of_a_trial_share_its_folder(tmp_path):
    first, second = trial(tmp_path, seed=0), trial(tmp_path, seed=1)
    assert first.name == second.name
    assert first.stage(1).relative != second.stage(1).relative


@pytest.mark.parametrize(
    ("accuracies", "best_epoch"), [((0.1, 0.9, 0.5), 2), ((0.9, 0.9, 0.9), 1), ((0.1, 0.2, 0.3), 3)]
)
def test_the_best_epoch_is_the_first_of_the_highest(accuracies, best_epoch):
    rows = [
        {"epoch": epoch, "test_accuracy": accuracy, "train_loss": 1.0, "wall_seconds": 0.5}
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]
    result = result_of(rows, sparsity=0.2)
    assert result["best_epoch"] == best_epoch
    assert result["test_accuracy_last"] == accuracies[-1]
    assert result["test_accuracy_best"] == max(accuracies)
    assert (result["train_epochs"], result["wall_seconds"]) == (3, 1.5)
    assert result["sparsity"] == 0.2
