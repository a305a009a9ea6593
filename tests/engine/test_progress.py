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
from dataclasses import replace
from pathlib import Path

import pytest
from processes import SILENCE_SECONDS
from rich.console import Console
from trainings import Clock, Loops, event, plan, run, trial_in, work_of

from tfprune.engine import counting, progress
from tfprune.engine.progress import StudyProgress, clock, readable


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


# ---------------------------------------------------------------- lines
def test_without_a_terminal_there_is_one_line_per_finished_stage_that_names_its_trial(
    tmp_path, timer
):
    display, text = lines_of()
    first, second = (trial_in(tmp_path, 3, 0, batch_size=size) for size in (10, 20))
    with display:
        plan(display.tell, first, second)
        run(display.tell, timer, first, 0, seconds=5)
        display.tell("a [sentence]")
        run(display.tell, timer, second, 0, seconds=5)
        display.tell(replace(event("MEASURED", first, 0), measurement="line"))
    # Names that would be the same keep the hash that tells them apart.
    names = [f"magnitude-weight_rewind-{trial.name[-8:]}" for trial in (first, second)]
    assert text.getvalue().splitlines() == [
        f"{names[0]} seed 3 level 0: done, 1/2 stages, ETA 0:00:05",
        "a [sentence]",
        f"{names[1]} seed 3 level 0: done, 2/2 stages, ETA 0:00:00",
        f"{names[0]} seed 3 level 0: line",
    ]


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
    Console(file=text, width=width).print(progress._drawn(display._work, rows))
    return text.getvalue().splitlines()


def table(display, rows=20):
    """The same with single spaces."""
    return [" ".join(line.split()) for line in drawn(display, rows)]


def test_the_table_says_where_each_trial_is(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed) for seed in (0, 1)]
    plan(display.tell, *trials)
    assert re.fullmatch(r"study preparing \S+ 0:00:00 ETA -:--:--", table(display)[-1])
    work_of(trials[0]).carry_out(Loops(display.tell))
    display.tell(event("BEGAN", trials[1], 1, 10, process=7))
    timer.now += 3
    display.tell(event("TRAINED", trials[1], 1, 4, process=7))
    head, first, second, whole = table(display)
    assert head == "trial seed stages now epochs test accuracy"
    assert first == "magnitude-weight_rewind 0 3/3 done 0.5900"
    assert second == "magnitude-weight_rewind 1 0/3 level 1 4/10"
    assert whole.startswith("study 3/6 stages ")
    display.tell(event("STOPPED", trials[1], 1, 4, process=7))
    assert table(display)[2].endswith("1 0/3 stopped")


@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_a_narrow_terminal_cuts_names_but_no_number_and_breaks_no_word_of_a_header(
    tmp_path, timer, width
):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed, levels=31) for seed in (10, 11)]
    plan(display.tell, *trials)
    run(display.tell, timer, trials[0], 0, seconds=600)
    display.tell(event("BEGAN", trials[1], 12, 160))
    display.tell(event("TRAINED", trials[1], 12, 101, test_accuracy=0.8125))
    display.tell(event("BLOCKED", trials[0], 1))
    lines = drawn(display, width=width)
    assert max(map(len, lines)) <= width
    *head, first, second, whole = lines
    words = " ".join(head).split()
    assert sorted(words) == sorted(["trial", "seed", "stages", "now", "epochs", "test", "accuracy"])
    assert re.search(r" 10 +1/32 ", first)
    assert re.search(r" 11 +0/32 .* 101/160 +0\.8125$", second.rstrip())
    assert re.fullmatch(r"study  1/64 stages .* ETA \d+:\d\d:\d\d", whole.rstrip())


def test_a_low_terminal_shows_what_trains_and_counts_the_rest(tmp_path, timer):
    display, _ = lines_of()
    trials = [trial_in(tmp_path, seed, levels=0) for seed in range(9)]
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


# ---------------------------------------------------------------- terminals
STUDY = """
    import sys, time
    sys.path[:0] = {path!r}
    from tfprune.engine.progress import StudyProgress
    import trainings

    def train(loop, stage, advance):
        display.tell(f"note {{stage.level}}")
        print(f"printed {{stage.level}}")
        time.sleep(0.4)
        advance({{"test_accuracy": 0.5}})
        time.sleep(0.4)
        advance({{"test_accuracy": 0.75}})

    trial = trainings.trial_in(sys.argv[1], seed=3, levels=1, train_epochs=2)
    with StudyProgress() as display:
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
    assert re.fullmatch(r"magnitude-weight_rewind 3 1/2 level 1 1/2 0\.5000", row)
    assert re.fullmatch(r"study 1/2 stages \S+ 0:00:0\d ETA 0:00:0\d", whole)
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
        "magnitude-weight_rewind seed 3 level 0: done, 1/2 stages, ETA",
        "note 1",
        "printed 1",
        "magnitude-weight_rewind seed 3 level 1: done, 2/2 stages, ETA",
        "the end",
    ]


def test_lines_may_be_asked_for_on_a_terminal(tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    trial = trial_in(tmp_path, levels=0)
    with StudyProgress(console, lines=True) as display:
        work_of(trial).carry_out(Loops(display.tell))
    line = "magnitude-weight_rewind seed 0 level 0: done, 1/1 stages, ETA 0:00:00\n"
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
