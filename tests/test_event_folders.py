"""Where the events of a trial and of its stages are, whoever asks first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tfprune import event_folders, layout
from tfprune.claims import exclusively
from tfprune.errors import InputError
from tfprune.event_folders import event_folder, run_folder, trial_folder
from tfprune.studies.trial import Stage
from tfprune.training.callbacks.event_scalars import TensorBoardScalars

FIRST, SECOND = "digits-magnitude-11111111", "digits-magnitude-22222222"


def test_only_the_second_trial_of_a_name_keeps_its_hash_and_no_name_changes(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert trial_folder(logdir, SECOND) == logdir / SECOND
    assert trial_folder(logdir, "digits-random-33333333") == logdir / "digits-random"
    assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert trial_folder(logdir, "no-hash") == logdir / "no-hash"


def test_runs_that_lie_under_the_whole_name_stay_there(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    (logdir / FIRST).mkdir(parents=True)
    assert trial_folder(logdir, FIRST) == logdir / FIRST
    # The name is free for another.
    assert trial_folder(logdir, SECOND) == logdir / "digits-magnitude"


def test_of_many_that_ask_at_once_one_gets_the_name(tmp_path, monkeypatch):
    logdir = tmp_path / layout.TENSORBOARD
    trials = [f"digits-magnitude-{number:08x}" for number in range(8)]
    all_saw_it_free = Barrier(8)

    def together(lock):
        all_saw_it_free.wait()
        return exclusively(lock)

    monkeypatch.setattr(event_folders, "exclusively", together)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda trial: trial_folder(logdir, trial), trials))
    assert len(set(folders)) == 8
    assert sum(folder == logdir / "digits-magnitude" for folder in folders) == 1
    monkeypatch.undo()
    assert [trial_folder(logdir, trial) for trial in trials] == folders


def test_training_writes_curves_where_publishing_looks_for_the_stage(tmp_path):
    stage = Stage(tmp_path, FIRST, 3, "level_07", 7)
    run = tmp_path / layout.TENSORBOARD / "digits-magnitude" / "seed_3" / "level_07"
    callback = TensorBoardScalars(stage.tensorboard)
    callback.on_train_begin()
    callback.close()
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert event_folder(tmp_path, stage.relative) == run
    assert not stage.tensorboard.exists()


def test_a_folder_of_ones_own_is_kept_as_it_is(tmp_path):
    for folder in ("run-12345678", "logs/run-12345678/seed_0/level_00", "tensorboard/a-12345678/b"):
        assert run_folder(tmp_path / folder) == tmp_path / folder
    assert not list(tmp_path.iterdir())


def test_a_stage_outside_the_trials_is_refused(tmp_path):
    for stage in ("else/trial/seed_0/level_00", "trials/../../seed_0", "trials/a", "trials//b/c"):
        with pytest.raises(InputError, match="which is not trials/TRIAL/SEED/STAGE: move"):
            event_folder(tmp_path, stage)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"another", FIRST.encode()[:-1]])
def test_a_trial_knows_its_runs_again_whose_folder_says_nothing(tmp_path, content):
    logdir = tmp_path / layout.TENSORBOARD
    assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    (logdir / SECOND).mkdir()
    (logdir / "digits-magnitude" / "trial.txt").write_bytes(content)
    assert trial_folder(logdir, SECOND) == logdir / SECOND
    for _ in range(2):
        assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
