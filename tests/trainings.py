"""Trials whose stages train nothing, and what is told of them."""

from dataclasses import replace

from tfprune.config import RunConfig
from tfprune.engine.events import Happened, StageEvent
from tfprune.engine.work import Columns, Train
from tfprune.pruning.settings import PruningConfig
from tfprune.studies.procedure import Branch
from tfprune.studies.trial import Trial
from tfprune.training.settings import TrainingConfig

EPOCHS = 10


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def trial_in(folder, seed=0, levels=2, criterion="magnitude", **training):
    settings = {"train_epochs": EPOCHS, **training}
    config = RunConfig(
        training=TrainingConfig(**settings),
        pruning=PruningConfig(levels=levels, criterion=criterion),
        output_dir=str(folder),
        seeds=(seed,),
    )
    return Trial(config, seed)


def event(what, trial, level, epochs=0, test_accuracy=None, process=0, before=0):
    """What a process tells of a level of a trial."""
    told = StageEvent(Happened[what], trial, trial.stage(level), epochs, test_accuracy)
    return replace(told, process=("machine", process), epochs_before=before)


def plan(tell, *trials):
    for trial in trials:
        for stage in trial.stages():
            tell(event("PLANNED", trial, stage.level, trial.config.training.train_epochs))


def run(tell, timer, trial, level, seconds, trained=EPOCHS, process=0):
    """Trains a stage from begin to end."""
    tell(event("BEGAN", trial, level, EPOCHS, process=process))
    timer.now += seconds
    tell(event("FINISHED", trial, level, trained, process=process))


class Loops:
    """Trains epochs of nothing; Train writes no rows because no stage gets a result."""

    def __init__(self, tell):
        self.tell = tell

    def loop(self, trial):
        return None

    def check_stop(self):
        """Nothing ends it."""

    def train(self, trial, branch, stage, advance):
        branch.train(None, stage, advance)


def train_epochs(loop, stage, advance):
    for epoch in range(EPOCHS):
        advance({"test_accuracy": 0.5 + epoch / 100})


def work_of(trial, train=train_epochs, epochs=EPOCHS):
    return Train(trial, tuple(trial.stages()), Branch("", epochs, train), Columns({}, ()))
