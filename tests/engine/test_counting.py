"""How far a study is and when it will be done, from what is told of its stages."""

import pytest
from trainings import Clock, event, plan, run, trial_in

from tfprune.engine import counting
from tfprune.engine.counting import StudyCount


@pytest.fixture
def timer(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(counting, "time", clock)
    return clock


@pytest.fixture
def study(timer):
    return StudyCount()


def test_time_left_is_seconds_per_epoch_of_the_same_network_times_its_epochs(
    study, timer, tmp_path
):
    slow, fast = trial_in(tmp_path, levels=1), trial_in(tmp_path, levels=1, batch_size=1000)
    plan(study.take, slow, fast)
    assert study.seconds_left() is None
    run(study.take, timer, slow, 0, seconds=20)
    run(study.take, timer, slow, 1, seconds=20)
    # Nothing is known of the other network yet: 2 s for each of its 20 epochs too.
    assert study.seconds_left() == pytest.approx(40)
    run(study.take, timer, fast, 0, seconds=1)
    assert study.seconds_left() == pytest.approx(10 * 0.1)


def test_before_a_stage_is_finished_its_running_epochs_tell_the_rate(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=1)
    plan(study.take, trial)
    study.take(event("BEGAN", trial, 0, 10))
    timer.now += 4
    study.take(event("TRAINED", trial, 0, 4))
    assert study.seconds_left() == pytest.approx(16)


def test_trainings_at_once_share_the_work_but_not_the_stages_of_one_trial(study, timer, tmp_path):
    trials = [trial_in(tmp_path, seed, levels=1) for seed in (0, 1)]
    plan(study.take, *trials)
    for worker, trial in enumerate(trials):
        study.take(event("BEGAN", trial, 0, 10, process=worker))
    timer.now += 30
    for worker, trial in enumerate(trials):
        study.take(event("FINISHED", trial, 0, 10, process=worker))
    # 3 s an epoch; 20 epochs by two workers.
    assert study.seconds_left() == pytest.approx(30)
    run(study.take, timer, trials[0], 1, seconds=30)
    # One trial is left, and a second worker does not make it faster.
    assert study.seconds_left() == pytest.approx(30)


def test_a_dense_stage_that_trials_share_is_counted_once(study, timer, tmp_path):
    trials = [trial_in(tmp_path, levels=1, criterion=name) for name in ("magnitude", "random")]
    plan(study.take, *trials)
    run(study.take, timer, trials[0], 0, seconds=10)
    assert study.counted == "1/3 stages"
    assert study.seconds_left() == pytest.approx(20)


def test_one_stage_that_was_starved_does_not_count_for_all(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=9)
    plan(study.take, trial)
    for level, seconds in enumerate([3600, 20, 20]):
        run(study.take, timer, trial, level, seconds)
        if level:
            assert study.seconds_left() == pytest.approx((9 - level) * 20)


def test_epochs_from_before_an_interruption_are_trained_but_took_no_time(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=1)
    plan(study.take, trial)
    study.take(event("BEGAN", trial, 0, 10))
    study.take(event("TRAINED", trial, 0, 6, before=6))
    assert (study.seconds_left(), study.stages[trial.stage(0).relative].left) == (None, 4)
    timer.now += 2
    study.take(event("TRAINED", trial, 0, 8, before=6))
    assert study.seconds_left() == pytest.approx(2 + 10)
    timer.now += 2
    study.take(event("FINISHED", trial, 0, 10, before=6))
    assert study.seconds_left() == pytest.approx(10)


@pytest.mark.parametrize("trained", [0, 3, 25], ids=["restored", "rewound", "longer"])
def test_other_epochs_than_expected_count_as_expected_once_done(study, timer, tmp_path, trained):
    """A rewound stage trains fewer; PEG's dense_subset trains more until it has the same steps."""
    trial = trial_in(tmp_path, levels=1)
    plan(study.take, trial)
    study.take(event("BEGAN", trial, 0, 10))
    timer.now += 25
    study.take(event("TRAINED", trial, 0, trained))
    if trained:  # More than expected is no negative rest.
        assert study.seconds_left() == pytest.approx((20 - min(trained, 10)) * 25 / trained)
    study.take(event("FINISHED", trial, 0, trained))
    assert study.counted == "1/2 stages"
    assert study.seconds_left() == (pytest.approx(10 * 25 / trained) if trained else None)


def test_a_stage_taken_over_from_a_dead_process_counts_once(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=0)
    plan(study.take, trial)
    study.take(event("BEGAN", trial, 0, 10, process=1))
    study.take(event("TRAINED", trial, 0, 6, process=1))
    study.take(event("BEGAN", trial, 0, 10, process=2))
    assert not study.take(event("TRAINED", trial, 0, 7, process=1))  # Was still in the queue.
    assert not study.take(event("FINISHED", trial, 0, 10, process=1))
    assert study.counted == "0/1 stages"
    timer.now += 10
    assert study.take(event("FINISHED", trial, 0, 10, process=2))
    assert study.counted == "1/1 stages"
    assert study.seconds_left() == 0.0


def test_what_another_process_has_trained_is_neither_waited_for_nor_missing(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=1)
    plan(study.take, trial)
    run(study.take, timer, trial, 0, seconds=10)
    study.take(event("BLOCKED", trial, 1))
    (row,) = study.trials.values()
    assert row.standing == "elsewhere"
    study.take(event("FOUND", trial, 1))
    assert row.standing == "done"
    assert study.counted == "2/2 stages"
    assert study.seconds_left() == 0.0


def test_a_damaged_stage_is_trained_again_amid_the_one_that_needs_it(study, timer, tmp_path):
    trial = trial_in(tmp_path, levels=1)
    study.take(event("FOUND", trial, 0))
    study.take(event("PLANNED", trial, 1, 10))
    assert study.counted == "0/1 stages"
    study.take(event("BEGAN", trial, 1, 10))
    run(study.take, timer, trial, 0, seconds=5)
    assert study.counted == "1/2 stages"
    assert list(study.running) == [trial.stage(1).relative]
    study.take(event("FINISHED", trial, 1, 10))
    assert study.counted == "2/2 stages"


def test_a_training_given_up_is_still_to_be_done_and_a_stopped_trial_leaves_nothing(
    study, timer, tmp_path
):
    trial = trial_in(tmp_path, levels=1)
    plan(study.take, trial)
    (row,) = study.trials.values()
    study.take(event("BEGAN", trial, 0, 10))
    study.take(event("GIVEN_UP", trial, 0, 3))
    assert (row.standing, [stage.left for stage in row.left.values()]) == ("waiting", [10, 10])
    study.take(event("BEGAN", trial, 0, 10))
    study.take(event("STOPPED", trial, 0, 3))
    assert row.standing == "stopped"
    assert study.seconds_left() == 0.0
