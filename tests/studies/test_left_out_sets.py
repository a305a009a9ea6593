"""Sets of examples to leave out: when they are known, and that options do not mix."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from tfprune.config import from_settings
from tfprune.files import save_arrays, write_sealed
from tfprune.store import merge_rows, read_results
from tfprune.studies import leave_out
from tfprune.studies.examples import losses, measured_seeds
from tfprune.studies.settings import LeaveOutConfig
from tfprune.studies.trial import Stage, Trial


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """Two seeds of three trained levels."""
    monkeypatch.setattr(Trial, "is_finished", lambda self: True)
    values = {"levels": 2, "retrain": "lr_rewind", "seeds": (0, 1), "output_dir": str(tmp_path)}
    config = from_settings(values, experiment="leave_out")
    return [Trial(config, seed) for seed in config.seeds]


def study_of(trials, all_trials, note=print, train=None):
    return SimpleNamespace(
        trials=trials,
        all_trials=all_trials,
        note=note,
        note_kept=lambda rows: None,
        train=train,
        is_finished=lambda name: True,
    )


def measure(trial, predictions=(0, 1, 2)):
    for stage in trial.stages():
        table = losses().table(stage)
        save_arrays(
            table,
            {
                "indices": np.arange(3),
                "labels": np.arange(3),
                "losses": np.ones(3, np.float32),
                "predictions": np.array(predictions),
            },
        )
        write_sealed(losses().file(stage, "json"), {"examples": "losses"}, [table])


def rows_of(trial, branch, level, folder, error=0.1):
    return {
        "experiment": "leave_out",
        "trial": trial.name,
        "seed": trial.seed,
        "branch": branch,
        "level": level,
        "test_accuracy_last": 1 - error,
        "subset_examples": 8,
        "dataset": "digits",
        "stage": folder,
    }


def test_a_shard_waits_for_the_losses_of_the_others(trials):
    """Their networks may be trained by another experiment and not be measured yet."""
    first, second = trials
    measure(first)
    notes = []
    assert measured_seeds(study_of([first], trials, notes.append), first.name) == []
    assert "run the same command again" in notes[0]
    measure(second)
    assert measured_seeds(study_of([first], trials), first.name) == trials


def test_rows_of_other_options_are_put_aside_and_those_of_these_stay(trials):
    trial, options = trials[0], LeaveOutConfig(improved_fraction=0.5)
    variant = leave_out.leave_out(trial.config, "tie", options).variant
    old = leave_out.leave_out(trial.config, "tie", LeaveOutConfig()).variant
    assert variant != old
    rows = [
        rows_of(trial, "tie", 1, trial.branch_stage("tie", 1, variant).relative),
        rows_of(trial, "tie", 2, trial.branch_stage("tie", 2, old).relative),
        rows_of(trial, "dense_subset", 2, trial.branch_stage("dense_subset", 2).relative),
        rows_of(trial, "", 2, trial.stage(2).relative),
    ]
    merge_rows(trial.output_dir, rows, ["subset_examples", "dataset"])
    assert leave_out._keep_other_options(trial.config, options) == 1
    left = read_results(trial.output_dir).set_index(["branch", "level"])
    assert left.index.tolist() == [("", 2), ("dense_subset", 2), ("tie", 1)]
    every = read_results(trial.output_dir, every_variant=True).set_index(["branch", "level"])
    assert every.loc[("tie", 2), "subset_examples"] == left.loc[("tie", 1), "subset_examples"]
    assert every.loc[("tie", 2), "variant"]


def test_a_level_that_is_never_right_has_no_dense_subset_and_is_named(trials):
    measure(trials[0], predictions=(1, 2, 0))
    measure(trials[1], predictions=(1, 2, 2))
    merge_rows(
        trials[0].output_dir, [rows_of(trials[0], "", 0, "")], ["subset_examples", "dataset"]
    )
    notes, plans = [], []
    study = study_of(trials, trials, notes.append, plans.append)
    options = LeaveOutConfig(leave_out_sets=("tie", "dense_subset"), leave_out_levels="0,2")
    leave_out.train_leave_out(study, options)
    chosen = [[[s.level for s in stages] for _, stages in plan.values()] for plan in plans]
    assert chosen == [[[2], [2]], [[], [0, 2]]]
    assert len(notes) == 2
    assert "seed 0: no dense subset, level 0 is never right" in notes[0]


def test_the_level_chosen_as_the_best_is_that_of_the_report(trials, monkeypatch):
    """15 wrong of 200 images at levels 1 and 6: of equals the first, however float32 rounds."""
    wrong = {0: {1: 4, 6: 4}, 1: {1: 4, 6: 5}, 2: {1: 7, 6: 6}}

    def result(stage):
        return {"val_accuracy": float(np.float32(1 - wrong[stage.seed].get(stage.level, 12) / 200))}

    monkeypatch.setattr(Stage, "result", result)
    pruning = dataclasses.replace(trials[0].config.pruning, levels=8)
    config = dataclasses.replace(trials[0].config, pruning=pruning, seeds=(0, 1, 2))
    auto = LeaveOutConfig(leave_out_levels="auto")
    assert leave_out._levels(auto, Trial(config, 0)) == [0, 1, 2, 4, 6, 8]


def test_a_set_that_is_meant_for_noise_alone_is_left_out_without_it(trials):
    for trial in trials:
        measure(trial)
    merge_rows(
        trials[0].output_dir, [rows_of(trials[0], "", 0, "")], ["subset_examples", "dataset"]
    )
    plans = []
    options = LeaveOutConfig(
        leave_out_sets=("tie:clean", "dense_subset:noisy"), leave_out_levels="2"
    )
    leave_out.train_leave_out(study_of(trials, trials, train=plans.append), options)
    assert [{branch.name for branch, _ in plan.values()} for plan in plans] == [{"tie"}]
