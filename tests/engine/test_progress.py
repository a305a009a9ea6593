"""What a study shows: a live table on a terminal, lines elsewhere, and when it will be done."""

import io
import os
import pickle
import pty
import re
import select
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import SILENCE_SECONDS
from rich.console import Console

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.engine import progress as progress_module
from tfprune.engine.executors import Processes
from tfprune.engine.progress import StudyProgress, clock, readable
from tfprune.engine.work import Columns, Outcome, Train, describe
from tfprune.errors import DamagedFile
from tfprune.pruning.settings import PruningConfig
from tfprune.studies.procedure import Branch
from tfprune.studies.trial import Trial
from tfprune.training.settings import TrainingConfig

EPOCHS = 10


def trial_in(folder, seed=0, levels=2, criterion="magnitude", **training):
    settings = {"train_epochs": EPOCHS, **training}
    config = RunConfig(
        training=TrainingConfig(**settings),
        pruning=PruningConfig(levels=levels, criterion=criterion),
        output_dir=str(folder),
        seeds=(seed,),
    )
    return Trial(config, seed)


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def timer(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def lines_of(**options):
    """A display that writes lines, and what it wrote."""
    text = io.StringIO()
    return StudyProgress(Console(file=text, width=100), **options), text


def run(display, timer, key, name, epochs, trained, seconds):
    """Trains a stage from begin to end."""
    display.begin(key, name, epochs)
    timer.now += seconds
    display.epochs(key, trained)
    display.end(key)


class Loops:
    """Trains epochs of nothing; Train writes no rows because no stage gets a result."""

    def __init__(self, progress, epochs=EPOCHS):
        self.progress = progress
        self.epochs = epochs

    def loop(self, trial):
        return None

    def check_stop(self):
        """Nothing ends it."""

    def train(self, trial, branch, stage, advance):
        branch.train(None, stage, advance)


class Here:
    """An executor that does the work here."""

    def __init__(self, loops):
        self.loops = loops

    def submit(self, work):
        future = Future()
        future.set_result(work.carry_out(self.loops))
        return future


def train_epochs(loop, stage, advance, count=EPOCHS):
    for epoch in range(count):
        advance({"test_accuracy": 0.5 + epoch / 100})


def nothing():
    """There is no TensorFlow to import."""


def work_of(trial, train=train_epochs, epochs=EPOCHS):
    return Train(trial, tuple(trial.stages()), Branch("", epochs, train), Columns({}, ()))


# ---------------------------------------------------------------- lines
def test_without_a_terminal_there_is_one_line_per_finished_stage(timer):
    display, text = lines_of()
    with display:
        display.expect(2, 20)
        run(display, timer, None, "seed 0 level 0", 10, 10, 5.0)
        display.message("a sentence")
        run(display, timer, None, "seed 0 level 1", 10, 10, 5.0)
    assert text.getvalue() == (
        "seed 0 level 0: done, 1/2 stages, ETA 0:00:05\n"
        "a sentence\n"
        "seed 0 level 1: done, 2/2 stages, ETA 0:00:00\n"
    )


def test_a_stage_here_counts_like_one_elsewhere_and_is_abandoned_when_it_raises(timer):
    display, text = lines_of()
    display.expect(1, 2)
    with (  # noqa: PT012
        pytest.raises(KeyError),
        display.stage("seed 0 level 0", 2) as advance,
    ):
        advance({})
        raise KeyError
    with display.stage("seed 0 level 0", 2) as advance:
        advance({})
        timer.now += 8
        advance({})
    assert text.getvalue() == "seed 0 level 0: done, 1/1 stages, ETA 0:00:00\n"


def test_a_clock_has_hours_and_dashes_for_what_is_unknown():
    assert [clock(59.6), clock(36_000), clock(None)] == ["0:01:00", "10:00:00", "-:--:--"]


# ---------------------------------------------------------------- the time that remains
def eta(display):
    return display._work.seconds_left()


def test_eta_is_seconds_per_epoch_of_the_same_network_times_the_epochs_left(tmp_path, timer):
    display, _ = lines_of()
    slow, fast = trial_in(tmp_path, levels=1), trial_in(tmp_path, levels=1, batch_size=1000)
    display.plan([slow, fast])
    display.expect(4, 40)
    assert eta(display) is None
    shown = display.shown(Here(Loops(display)))
    shown.submit(work_of(slow, lambda *a: (train_epochs(*a), pass_seconds(timer, 20))))
    # Two stages of 20 s: 2 s an epoch. Nothing is known of the other network: the same.
    assert eta(display) == pytest.approx(20 * 2.0)
    display._work._seconds[next(iter(display._work._rows.values())).kind] = (40.0, 20)
    fast_stage = fast.stages()[0]
    begin(display, "w", fast, fast_stage)
    timer.now += 1
    display.epochs("w", 10)
    display.end("w")
    assert eta(display) == pytest.approx(10 * 0.1)


def pass_seconds(timer, seconds):
    timer.now += seconds


def begin(display, key, trial, stage, epochs=EPOCHS):
    """As a worker tells of a stage, its name through a queue."""
    name = progress_module._Named(describe(stage))
    name.trial, name.stage = (trial.name, trial.seed), stage.relative
    display.begin(key, pickle.loads(pickle.dumps(name)), epochs)


def test_trainings_at_once_share_the_work_but_not_the_stages_of_one_trial(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed, levels=1) for seed in (0, 1)]
    display.plan(trials)
    display.expect(4, 40)
    for worker, trial in enumerate(trials):
        begin(display, worker, trial, trial.stages()[0])
    timer.now += 30
    for worker in (0, 1):
        display.epochs(worker, 10)
        display.end(worker)
    # 3 s an epoch; 20 epochs by two workers.
    assert eta(display) == pytest.approx(30)
    begin(display, 0, trials[0], trials[0].stages()[1])
    timer.now += 30
    display.epochs(0, 10)
    display.end(0)
    # One trial is left, and a second worker does not make it faster.
    assert eta(display) == pytest.approx(30)


def test_a_dense_stage_that_trials_share_is_counted_once(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, levels=1, criterion=name) for name in ("magnitude", "random")]
    display.plan(trials)
    display.expect(3, 30)
    begin(display, None, trials[0], trials[0].stages()[0])
    timer.now += 10
    display.epochs(None, 10)
    display.end(None)
    assert eta(display) == pytest.approx(20)


@pytest.mark.parametrize("trained", [0, 3, 25], ids=["restored", "rewound", "longer"])
def test_other_epochs_than_expected_count_as_expected_once_done(tmp_path, timer, trained):
    """A rewound stage trains fewer; PEG's dense_subset trains more until it has the same steps."""
    display, text = lines_of()
    trial = trial_in(tmp_path, levels=1)
    display.plan([trial])
    display.expect(2, 20)
    begin(display, None, trial, trial.stages()[0])
    timer.now += 25
    display.epochs(None, trained)
    if trained:  # More than expected is no negative rest.
        rest = (20 - min(trained, 10)) * 25 / trained
        assert eta(display) == pytest.approx(rest)
    display.end(None)
    left = clock(10 * 25 / trained if trained else None)
    assert text.getvalue() == f"seed 0 level 0: done, 1/2 stages, ETA {left}\n"


def test_what_no_trial_has_named_is_part_of_the_rest(timer):
    display, _ = lines_of()
    display.expect(3, 30)
    run(display, timer, None, "seed 0 level 0", 10, 10, 10)
    assert eta(display) == pytest.approx(20)
    display.begin(None, "seed 0 level 1", 10)
    timer.now += 4
    display.epochs(None, 4)
    assert eta(display) == pytest.approx(16)


def test_a_stage_taken_over_from_a_dead_process_counts_once(tmp_path, timer):
    display, text = lines_of()
    trial = trial_in(tmp_path, levels=0)
    display.plan([trial])
    display.expect(1, 10)
    (stage,) = trial.stages()
    begin(display, "dead", trial, stage)
    display.epochs("dead", 6)
    begin(display, "alive", trial, stage)
    display.epochs("dead", 1)  # Was still in the queue.
    display.end("dead")
    timer.now += 10
    display.epochs("alive", 10)
    display.end("alive")
    assert text.getvalue() == "seed 0 level 0: done, 1/1 stages, ETA 0:00:00\n"


def test_a_damaged_stage_is_trained_again_amid_the_one_that_needs_it(timer):
    display, text = lines_of()
    display.expect(1, 10)
    with display.stage("seed 0 level 1", 10) as advance:
        with display.stage("seed 0 level 0", 10) as again:
            again({})
        advance({})
    assert text.getvalue().splitlines() == [
        "seed 0 level 0: done, 1/2 stages, ETA 0:00:00",
        "seed 0 level 1: done, 2/2 stages, ETA 0:00:00",
    ]


# ---------------------------------------------------------------- the table
def table(display, rows=20):
    """What the table says, line by line, with single spaces."""
    text = io.StringIO()
    Console(file=text, width=100).print(display._work.draw(rows))
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


def test_the_table_says_where_each_trial_is(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed) for seed in (0, 1)]
    display.plan(trials)
    assert table(display)[-1] == "study preparing 0:00:00"
    display.expect(6, 60)
    display.shown(Here(Loops(display))).submit(work_of(trials[0]))
    begin(display, 7, trials[1], trials[1].stages()[1])
    timer.now += 3
    display.epochs(7, 4)
    head, first, second, whole = table(display)
    assert head == "trial seed stages now test accuracy"
    assert first == "magnitude-weight_rewind 0 3/3 done 0.5900"
    assert second == "magnitude-weight_rewind 1 1/3 level 1, 4/10 epochs"
    assert whole.startswith("study 3/6 stages ")


def test_a_failed_trial_is_stopped_and_leaves_nothing_to_wait_for(tmp_path, timer):
    display, _ = lines_of()
    trial = trial_in(tmp_path)
    display.plan([trial])
    display.expect(3, 30)
    work = work_of(trial)
    display.came_of(work, Outcome(failure="nan"))
    assert table(display)[1].endswith("0 0/3 stopped")
    assert eta(display) == 0.0
    display.came_of(work, Outcome(blocked="trials/x"))
    assert table(display)[1].endswith("0/3 waits for another process")


def test_a_low_terminal_shows_what_trains_and_counts_the_rest(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed, levels=0) for seed in range(9)]
    display.plan(trials)
    display.expect(9, 90)
    for trial in trials[:4]:
        display.came_of(work_of(trial), Outcome(trained=1))
    begin(display, None, trials[6], trials[6].stages()[0])
    _, *rows, more, _ = table(display, rows=3)
    assert [row.split()[1:] for row in rows] == [
        ["4", "0/1", "waiting"],
        ["5", "0/1", "waiting"],
        ["6", "0/1", "level", "0,", "0/10", "epochs"],
    ]
    assert more == "and 6 more: 4 done, 2 waiting"


def test_names_keep_a_hash_only_where_two_trials_would_share_a_name():
    assert readable(["d-m-magnitude-finetune-00000000", "d-m-magnitude-finetune-11111111"]) == {
        "d-m-magnitude-finetune-00000000": "magnitude-finetune-00000000",
        "d-m-magnitude-finetune-11111111": "magnitude-finetune-11111111",
    }
    assert list(readable(["d-m-magnitude-finetune-00000000"]).values()) == ["magnitude-finetune"]
    assert list(readable(["a-m-random-scratch-00000000", "b-m-random-scratch-0"]).values()) == [
        "a-m-random-scratch",
        "b-m-random-scratch-0",
    ]
    assert readable([]) == {}


# ---------------------------------------------------------------- what trainings tell
@dataclass(frozen=True)
class Unbuilt:
    """Work in a worker, without the network that its own loops would build."""

    work: Train

    def carry_out(self, workshop):
        return self.work.carry_out(Loops(workshop.progress))


@dataclass(frozen=True)
class Unbuilding:
    """Has an executor do work without networks."""

    executor: Processes

    def submit(self, work):
        return self.executor.submit(Unbuilt(work))


def test_workers_tell_the_trial_and_its_accuracy_through_their_queue(tmp_path):
    display, text = lines_of()
    trials = [trial_in(tmp_path, seed, levels=0) for seed in (0, 1)]
    display.plan(trials)
    display.expect(2, 20)
    with Processes(1, [], display, nothing) as executor:
        shown = display.shown(Unbuilding(executor))
        for future in [shown.submit(work_of(trial)) for trial in trials]:
            assert future.result(timeout=SILENCE_SECONDS).trained == 1
    lines = [re.sub("ETA.*", "ETA", line) for line in text.getvalue().splitlines()]
    assert lines == [f"seed {seed} level 0: done, {seed + 1}/2 stages, ETA" for seed in (0, 1)]
    assert table(display)[1:3] == [
        f"magnitude-weight_rewind {seed} 1/1 done 0.5900" for seed in (0, 1)
    ]


def test_weights_found_damaged_are_not_told_as_the_stage_that_needs_them(tmp_path):
    told = []

    class Told(StudyProgress):
        def begin(self, key, name, epochs):
            told.append((str(name), name.stage))
            super().begin(key, name, epochs)

    display = Told(Console(file=io.StringIO()))
    trial = trial_in(tmp_path, levels=1)
    dense, pruned = trial.stages()
    dense.folder.mkdir(parents=True)
    (dense.folder / layout.END).write_bytes(b"half a file")
    failed = []

    def train(loop, stage, advance):
        train_epochs(loop, stage, advance)
        if stage == pruned and not failed:
            failed.append(stage)
            raise DamagedFile(dense.folder / layout.END, "half")

    work = Train(trial, (pruned,), Branch("", EPOCHS, train), Columns({}, ()))
    loops = Loops(display)
    loops.train = lambda trial, branch, stage, advance: train(None, stage, advance)
    display.shown(Here(loops)).submit(work)
    assert told == [("seed 0 level 1", pruned.relative), ("seed 0 level 0", "")]


# ---------------------------------------------------------------- terminals
STUDY = """
    import sys, time
    sys.path[:0] = {path!r}
    import test_progress as tests

    def train(loop, stage, advance):
        display.message(f"note {{stage.level}}")
        print(f"printed {{stage.level}}")
        advance({{"test_accuracy": 0.5}})
        time.sleep(0.4)
        advance({{"test_accuracy": 0.75}})

    trial = tests.trial_in(sys.argv[1], seed=3, levels=1, train_epochs=2)
    with tests.StudyProgress() as display:
        display.plan([trial])
        display.expect(2, 4)
        executor = display.shown(tests.Here(tests.Loops(display)))
        executor.submit(tests.work_of(trial, train, epochs=2))
    print("the end")
"""


def in_terminal(folder, **environment):
    """Everything that a fake study writes to a terminal."""
    master, slave = pty.openpty()
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    names = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STUDY.format(path=path)), str(folder)],
        stdout=slave,
        stderr=slave,
        env={**kept, "COLUMNS": "100", "LINES": "30", **environment},
    )
    os.close(slave)
    data = b""
    while select.select([master], [], [], SILENCE_SECONDS)[0]:
        try:
            read = os.read(master, 65536)
        except OSError:  # The other side is closed.
            break
        if not read:
            break
        data += read
    os.close(master)
    assert process.wait(timeout=SILENCE_SECONDS) == 0, data.decode()
    return data.decode()


def screen(text):
    """The lines that a terminal shows after this: moves up, cleared lines, no colours."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b") and part.endswith("A"):
            row -= int(part[2:-1])
            assert row >= 0
        elif part.startswith("\x1b") and part.endswith("K"):
            lines[row] = ""
        elif not part.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return lines


def test_a_terminal_shows_the_table_below_all_messages_and_removes_it_in_the_end(tmp_path):
    text = in_terminal(tmp_path, TERM="xterm-256color")
    shows = [screen(text[: m.start()]) for m in re.finditer(r"\r\x1b\[(2K|1A)", text)]
    found = [
        [" ".join(line.split()) for line in lines]
        for lines in shows
        if any(line.startswith("study  1/2 stages") for line in lines)
    ]
    assert found
    assert found[-1][:4] == ["note 0", "printed 0", "note 1", "printed 1"]
    head, row, whole = found[-1][4:7]
    assert head == "trial seed stages now test accuracy"
    assert re.fullmatch(r"magnitude-weight_rewind 3 1/2 level 1, [12]/2 epochs 0\.7500", row)
    assert re.fullmatch(r"study 1/2 stages \S+ 0:00:0\d ETA 0:00:00", whole)
    assert not any("done," in line for lines in shows for line in lines)
    after = "\n".join(line.rstrip() for line in screen(text)).rstrip()
    assert after.splitlines() == ["note 0", "printed 0", "note 1", "printed 1", "the end"]


def test_a_dumb_terminal_gets_lines(tmp_path):
    text = in_terminal(tmp_path, TERM="dumb")
    assert "\x1b" not in text
    lines = [re.sub(r"ETA.*", "ETA", line) for line in text.splitlines()]
    assert lines == [
        "note 0",
        "printed 0",
        "seed 3 level 0: done, 1/2 stages, ETA",
        "note 1",
        "printed 1",
        "seed 3 level 1: done, 2/2 stages, ETA",
        "the end",
    ]


def test_lines_may_be_asked_for_on_a_terminal():
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    with StudyProgress(console, lines=True) as display:
        display.expect(1, 1)
        with display.stage("seed 0 level 0", 1) as advance:
            advance({})
    assert text.getvalue() == "seed 0 level 0: done, 1/1 stages, ETA 0:00:00\n"


def test_any_thread_may_tell_while_the_table_is_drawn():
    text = io.StringIO()
    console = Console(file=text, width=100, height=20, force_terminal=True)
    with StudyProgress(console) as display:
        display.expect(4, 4000)

        def tell(key):
            display.begin(key, f"seed {key} level 0", 1000)
            for count in range(200):
                display.epochs(key, 5)
                if count % 50 == 0:
                    display.message(f"{key}: {count}")
            display.end(key)

        threads = [threading.Thread(target=tell, args=(key,)) for key in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=SILENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert eta(display) == 0.0
    assert text.getvalue().count(": 150") == 4
