"""What a piece of work tells of its stages, here and from a worker."""

import os
from dataclasses import dataclass

import pytest
from processes import SILENCE_SECONDS
from trainings import EPOCHS, Loops, train_epochs, trial_in, work_of

from tfprune import layout
from tfprune.claims import claim
from tfprune.engine import events
from tfprune.engine.events import Happened, StageEvent, told
from tfprune.engine.executors import Processes
from tfprune.engine.work import Columns, Train
from tfprune.errors import DamagedFile, TrainingDiverged
from tfprune.studies.procedure import Branch


def nothing():
    """There is no TensorFlow to import."""


def in_short(heard):
    return [(one.what.name, one.stage.level, one.epochs) for one in heard]


def test_a_training_tells_its_begin_and_its_end_with_epochs_and_accuracy(tmp_path):
    trial, heard = trial_in(tmp_path, levels=0), []
    assert work_of(trial).carry_out(Loops(heard.append)).trained == 1
    assert in_short(heard) == [("BEGAN", 0, EPOCHS), ("FINISHED", 0, EPOCHS)]
    assert heard[-1].test_accuracy == pytest.approx(0.59)
    assert {(one.trial, one.process[1]) for one in heard} == {(trial, os.getpid())}


def test_epochs_are_told_in_between_but_no_oftener_than_they_need(tmp_path, monkeypatch):
    trial, heard = trial_in(tmp_path, levels=0), []
    monkeypatch.setattr(events, "_TELL_SECONDS", -1)
    with told(heard.append, trial, trial.stage(0), 2) as advance:
        advance({"test_accuracy": 0.25})
        advance({"train_loss": 1.0})  # Not every epoch is evaluated.
    assert in_short(heard)[1:] == [("TRAINED", 0, 1), ("TRAINED", 0, 2), ("FINISHED", 0, 2)]
    assert [one.test_accuracy for one in heard[1:]] == [0.25, 0.25, 0.25]


def test_a_training_that_goes_on_tells_at_once_from_which_epoch(tmp_path):
    trial, heard = trial_in(tmp_path, levels=0), []
    with told(heard.append, trial, trial.stage(0), 5) as advance:
        advance({"test_accuracy": 0.5, layout.EPOCHS_BEFORE: 3})
        advance({"test_accuracy": 0.75})
    assert in_short(heard) == [("BEGAN", 0, 5), ("TRAINED", 0, 3), ("FINISHED", 0, 4)]
    assert [one.epochs_before for one in heard] == [0, 3, 3]
    assert [one.test_accuracy for one in heard] == [None, 0.5, 0.75]


@pytest.mark.parametrize(
    ("error", "end"), [(TrainingDiverged, "STOPPED"), (KeyboardInterrupt, "GIVEN_UP")]
)
def test_a_training_that_raises_tells_whether_it_is_to_be_trained_again(tmp_path, error, end):
    trial, heard = trial_in(tmp_path, levels=0), []
    with (  # noqa: PT012
        pytest.raises(error),
        told(heard.append, trial, trial.stage(0), 2) as advance,
    ):
        advance({})
        raise error
    assert in_short(heard) == [("BEGAN", 0, 2), (end, 0, 1)]


def test_stages_that_are_there_or_of_another_process_are_told_as_such(tmp_path):
    trial, heard = trial_in(tmp_path, levels=1), []
    dense, pruned = trial.stages()
    dense.folder.mkdir(parents=True)
    dense.finish({})
    with claim(pruned.claim_file):
        outcome = work_of(trial).carry_out(Loops(heard.append))
    assert outcome.blocked == pruned.relative
    assert in_short(heard) == [("FOUND", 0, 0), ("BLOCKED", 1, 0)]


def test_weights_found_damaged_are_told_as_a_stage_of_their_own(tmp_path):
    heard, failed = [], []
    trial = trial_in(tmp_path, levels=1)
    dense, pruned = trial.stages()
    dense.folder.mkdir(parents=True)
    (dense.folder / layout.END).write_bytes(b"half a file")

    def train(trial, branch, stage, advance):
        train_epochs(None, stage, advance)
        if stage == pruned and not failed:
            failed.append(stage)
            raise DamagedFile(dense.folder / layout.END, "half")

    loops = Loops(heard.append)
    loops.train = train
    Train(trial, (pruned,), Branch("", EPOCHS, train_epochs), Columns({}, ())).carry_out(loops)
    stages = [one for one in heard if isinstance(one, StageEvent)]
    assert in_short(stages) == [
        ("BEGAN", 1, EPOCHS),
        ("BEGAN", 0, EPOCHS),
        ("FINISHED", 0, EPOCHS),
        ("FINISHED", 1, 2 * EPOCHS),
    ]


@dataclass(frozen=True)
class Unbuilt:
    """Work in a worker, without the network that its own loops would build."""

    work: Train

    def carry_out(self, workshop):
        return self.work.carry_out(Loops(workshop.tell))


def test_workers_tell_the_same_events_through_their_queue(tmp_path):
    heard = []
    trials = [trial_in(tmp_path, seed, levels=0) for seed in (0, 1)]
    with Processes(1, [], heard.append, nothing) as executor:
        for future in executor.submit([Unbuilt(work_of(trial)) for trial in trials]):
            assert future.result(timeout=SILENCE_SECONDS).trained == 1
    assert [(one.trial, one.what) for one in heard] == [
        (trial, what) for trial in trials for what in (Happened.BEGAN, Happened.FINISHED)
    ]
    assert heard[-1].test_accuracy == pytest.approx(0.59)
    assert os.getpid() not in {one.process[1] for one in heard}
