"""What a study shows: a live table on a terminal, lines elsewhere."""

import io
import os
import pty
import re
import select
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from processes import SILENCE_SECONDS
from rich.console import Console
from trainings import Clock, Loops, event, plan, run, trial_in, work_of

from tfprune.config import replace as changed
from tfprune.engine import counting, progress
from tfprune.engine.naming import names_of
from tfprune.engine.progress import StudyProgress, clock
from tfprune.studies.trial import Trial


@pytest.fixture
def timer(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(counting, "time", clock)
    return clock


def lines_of(**options):
    """A display that writes lines, and what it wrote."""
    text = io.StringIO()
    return StudyProgress(Console(file=text, width=100), **options), text


def noisy(folder, seeds=(0,), levels=0):
    """Trials of two noise levels and two criteria, and what they are called."""
    base = trial_in(folder, levels=levels).config
    configs = [
        changed(base, label_noise="symmetric", noise_fraction=noise, criterion=criterion)
        for noise in (0.2, 0.4)
        for criterion in ("magnitude", "random")
    ]
    return [Trial(config, seed) for config in configs for seed in seeds], names_of(configs)


# ---------------------------------------------------------------- lines
def test_without_a_terminal_there_is_one_line_per_finished_stage_that_names_its_trial(
    tmp_path, timer
):
    trials, names = noisy(tmp_path, seeds=(3,))
    first, *_, last = trials
    display, text = lines_of(names=names)
    with display:
        plan(display.tell, first, last)
        run(display.tell, timer, first, 0, seconds=5)
        display.tell("a [sentence]")
        display.tell(event("BEGAN", last, 0, 10))
        timer.now += 5
        display.tell(event("FINISHED", last, 0, 10, test_accuracy=0.5))
        display.tell(replace(event("MEASURED", first, 0), measurement="line"))
    assert text.getvalue().splitlines() == [
        "20% label noise, magnitude pruning, seed 3, level 0: done, 1/2 stages, ETA 0:00:05",
        "a [sentence]",
        "40% label noise, random pruning, seed 3, level 0: done, test accuracy 0.5000, 2/2 stages, "
        "ETA 0:00:00",
        "20% label noise, magnitude pruning, seed 3, level 0: line",
    ]


def test_a_trial_without_a_name_is_called_by_its_folder(tmp_path, timer):
    display, text = lines_of()
    trial = trial_in(tmp_path, levels=0)
    plan(display.tell, trial)
    run(display.tell, timer, trial, 0, seconds=5)
    assert text.getvalue().startswith(f"{trial.name}, seed 0, level 0: done")


# ---------------------------------------------------------------- heartbeats
def test_a_heartbeat_says_what_is_trained_how_far_and_how_long_it_takes(tmp_path, timer):
    trials, names = noisy(tmp_path)
    display, _ = lines_of(names=names)
    assert display._heartbeat() == "preparing"
    plan(display.tell, *trials)
    display.tell(event("BEGAN", trials[0], 0, 10, process=1))
    display.tell(event("BEGAN", trials[3], 0, 10, process=2))
    about = "40% label noise, random pruning, seed 0, level 0"
    assert display._heartbeat() == (
        f"{about}: epoch 0/10, 1 more in training, 0/2 stages, ETA -:--:--"
    )
    timer.now += 40
    display.tell(event("TRAINED", trials[3], 0, 4, test_accuracy=0.8125, process=2))
    display.tell(event("GIVEN_UP", trials[0], 0, process=1))
    assert display._heartbeat() == (
        f"{about}: epoch 4/10, test accuracy 0.8125, 0/2 stages, ETA 0:01:40"
    )
    display.tell(event("FINISHED", trials[3], 0, 10, process=2))
    display.tell(replace(event("MEASURED", trials[3], 0), measurement="line"))
    assert display._heartbeat() == f"{about}: line goes on"


def test_a_training_that_goes_on_shows_the_epoch_that_it_goes_on_from(tmp_path, timer):
    (trial, *_), names = noisy(tmp_path)
    display, _ = lines_of(names=names)
    display.tell(event("BEGAN", trial, 0, 160))
    display.tell(event("TRAINED", trial, 0, 101, test_accuracy=0.5, before=101))
    assert "epoch 101/160, test accuracy 0.5000, 0/1 stages, ETA -:--:--" in display._heartbeat()


def test_heartbeats_come_while_nothing_else_is_said_and_end_with_the_study(monkeypatch):
    monkeypatch.setattr(progress, "_HEARTBEAT_SECONDS", 0.05)
    display, text = lines_of()
    with display:
        limit = time.monotonic() + SILENCE_SECONDS
        while text.getvalue().count("preparing") < 2 and time.monotonic() < limit:
            time.sleep(0.01)
    assert text.getvalue().count("preparing") >= 2
    display._beating.join(SILENCE_SECONDS)
    assert not display._beating.is_alive()


def test_a_stage_that_another_process_took_over_has_one_line(tmp_path, timer):
    display, text = lines_of()
    trial = trial_in(tmp_path, levels=0)
    for process in (1, 2):
        display.tell(event("BEGAN", trial, 0, 10, process=process))
    for process in (1, 2):
        display.tell(event("FINISHED", trial, 0, 10, process=process))
    assert text.getvalue().count("done") == 1


def test_a_clock_has_hours_and_dashes_for_what_is_unknown():
    assert [clock(59.6), clock(36_000), clock(None)] == ["0:01:00", "10:00:00", "-:--:--"]


# ---------------------------------------------------------------- the table
def drawn(display, rows=20, width=100):
    """What a terminal of this width shows."""
    text = io.StringIO()
    shown = progress._drawn(display._work, display._names, rows, width)
    Console(file=text, width=width).print(shown)
    return text.getvalue().splitlines()


def table(display, rows=20):
    """The same with single spaces."""
    return [" ".join(line.split()) for line in drawn(display, rows)]


def test_the_table_says_where_each_trial_is(tmp_path, timer):
    trials = [trial_in(tmp_path, seed) for seed in (0, 1)]
    display, _ = lines_of(names=names_of([trial.config for trial in trials]))
    plan(display.tell, *trials)
    assert re.fullmatch(r"study preparing \S+ 0:00:00 ETA -:--:--", table(display)[-1])
    work_of(trials[0]).carry_out(Loops(display.tell))
    display.tell(event("BEGAN", trials[1], 1, 10, process=7))
    timer.now += 3
    display.tell(event("TRAINED", trials[1], 1, 4, process=7))
    head, first, second, whole = table(display)
    assert head == "trial seed stages now epochs test accuracy"
    assert first == "magnitude pruning 0 3/3 done 0.5900"
    assert second == "magnitude pruning 1 0/3 level 1 4/10"
    assert whole.startswith("study 3/6 stages ")
    display.tell(event("STOPPED", trials[1], 1, 4, process=7))
    assert table(display)[2].endswith("1 0/3 stopped")


@pytest.mark.parametrize(
    ("width", "spared"),
    [(120, ""), (80, ""), (60, ""), (50, "stages"), (40, "stages test accuracy")],
)
def test_a_narrow_terminal_wraps_names_and_spares_columns_and_cuts_no_number_or_header(
    tmp_path, timer, width, spared
):
    trials, names = noisy(tmp_path, seeds=(10, 11), levels=31)
    display, _ = lines_of(names=names)
    plan(display.tell, *trials)
    run(display.tell, timer, trials[0], 0, seconds=600)
    display.tell(event("BEGAN", trials[1], 12, 160))
    display.tell(event("TRAINED", trials[1], 12, 101, test_accuracy=0.8125))
    display.tell(event("BLOCKED", trials[0], 1))
    lines = drawn(display, width=width)
    assert max(map(len, lines)) <= width
    begin = next(index for index, line in enumerate(lines) if line.startswith("20%"))
    words = ["trial", "seed", "stages", "now", "epochs", "test", "accuracy"]
    shown = [word for word in words if word not in spared.split()]
    assert sorted(" ".join(lines[:begin]).split()) == sorted(shown)
    first, second = [line for line in lines if re.search(r" 1[01]  ", line)][:2]
    assert re.search(r" 10  .*elsewhere", first)
    assert re.search(r" 11  .*level 12 +101/160", second)
    assert ("0.8125" in second) == ("accuracy" not in spared)
    text = " ".join(" ".join(lines).split())
    assert all(word in text for word in ("20%", "40%", "magnitude", "random", "pruning"))
    assert "…" not in "".join(lines[:-1])
    if width >= 50:
        assert re.fullmatch(r"study  1/252 stages .* ETA \d+:\d\d:\d\d", lines[-1].rstrip())


def test_a_low_terminal_shows_what_trains_and_counts_the_rest(tmp_path, timer):
    trials = [trial_in(tmp_path, seed, levels=0) for seed in range(9)]
    display, _ = lines_of(names={trials[0].name: "dense"})
    plan(display.tell, *trials)
    for trial in trials[:4]:
        display.tell(event("FOUND", trial, 0))
    display.tell(event("BEGAN", trials[6], 0, 10))
    _, *rows, more, _ = table(display, rows=3)
    assert [row.split()[1:] for row in rows] == [
        ["4", "0/1", "waiting"],
        ["5", "0/1", "waiting"],
        ["6", "0/1", "level", "0", "0/10"],
    ]
    assert more == "and 6 more: 4 done, 2 waiting"


def test_a_terminal_has_room_for_as_many_trials_as_their_names_take_lines():
    wide, narrow = (Console(width=width, height=30) for width in (120, 50))
    names = ["20% label noise, magnitude pruning"]
    assert progress._rows_of(wide, names) == 24
    assert progress._rows_of(narrow, names) == 24 // 4
    assert progress._rows_of(narrow, []) == 24


# ---------------------------------------------------------------- terminals
STUDY = """
    import sys, time
    sys.path[:0] = {path!r}
    from tfprune.engine.progress import StudyProgress
    import trainings

    def be_drawn():
        # Once a second frame is begun, the first is there.
        display.frames = 0
        while display._is_live and display.frames < 2:
            time.sleep(0.01)

    class Counted(StudyProgress):
        frames = 0

        def _draw(self):
            self.frames += 1
            return super()._draw()

    def train(loop, stage, advance):
        display.tell(f"note {{stage.level}}")
        print(f"printed {{stage.level}}")
        be_drawn()
        advance({{"test_accuracy": 0.5}})
        be_drawn()
        advance({{"test_accuracy": 0.75}})

    trial = trainings.trial_in(sys.argv[1], seed=3, levels=1, train_epochs=2)
    names = {{trial.name: "my trial"}}
    with Counted(names=names) as display:
        trainings.plan(display.tell, trial)
        work = trainings.work_of(trial, train, epochs=2)
        work.carry_out(trainings.Loops(display.tell))
    print("the end")
"""


def in_terminal(folder, **environment):
    """Everything that a fake study writes to a terminal."""
    master, slave = pty.openpty()
    path = [str(Path(__file__).parents[1]), str(Path(progress.__file__).parents[2])]
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
    assert head == "trial seed stages now epochs test accuracy"
    assert re.fullmatch(r"my trial 3 1/2 level 1 (1/2 0\.5000|2/2 0\.7500)", row)
    assert re.fullmatch(r"study 1/2 stages \S+ 0:00:\d\d ETA 0:00:\d\d", whole)
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
        "my trial, seed 3, level 0: done, test accuracy 0.7500, 1/2 stages, ETA",
        "note 1",
        "printed 1",
        "my trial, seed 3, level 1: done, test accuracy 0.7500, 2/2 stages, ETA",
        "the end",
    ]


def test_lines_may_be_asked_for_on_a_terminal(tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    trial = trial_in(tmp_path, levels=0)
    with StudyProgress(console, lines=True, names={trial.name: "mine"}) as display:
        work_of(trial).carry_out(Loops(display.tell))
    line = "mine, seed 0, level 0: done, test accuracy 0.5900, 1/1 stages, ETA 0:00:00\n"
    assert text.getvalue() == line


def test_any_thread_may_tell_while_the_table_is_drawn(tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=100, height=20, force_terminal=True)
    trials = [trial_in(tmp_path, seed, levels=0, train_epochs=1000) for seed in range(4)]
    with StudyProgress(console) as display:
        plan(display.tell, *trials)

        def tell(key):
            display.tell(event("BEGAN", trials[key], 0, 1000, process=key))
            for count in range(200):
                display.tell(event("TRAINED", trials[key], 0, 5 * count, process=key))
                if count % 50 == 0:
                    display.tell(f"{key}: {count}")
            display.tell(event("FINISHED", trials[key], 0, 1000, process=key))

        threads = [threading.Thread(target=tell, args=(key,)) for key in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=SILENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads)
        assert display._work.seconds_left() == 0.0
    assert text.getvalue().count(": 150") == 4
