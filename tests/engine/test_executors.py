"""Executors: errors, signals and deaths of worker processes, without TensorFlow in the way."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import SILENCE_SECONDS, is_alive, output_of, wait_long

from tfprune.engine.executors import Processes, explained
from tfprune.engine.work import Outcome
from tfprune.errors import InputError, SettingError, Stopped, TfpruneError


def tell_nobody(event):
    """What is told is not looked at."""


def nothing():
    """There is no TensorFlow to import."""


@dataclass(frozen=True)
class Say:
    """Says which process it is."""

    name: str

    def carry_out(self, loops):
        loops.tell(f"{self.name} by {os.getpid()}")
        return Outcome(trained=os.getpid())


@dataclass(frozen=True)
class Fail:
    """Raises what a user can mend."""

    def carry_out(self, loops):
        raise SettingError("rewind_to", "9ep", "a point before the end")


@dataclass(frozen=True)
class Train:
    """Holds signals over a short epoch, again and again, and notes its checkpoint."""

    folder: str

    def carry_out(self, loops):
        folder = Path(self.folder)
        with loops._signals.held():
            (folder / f"started-{os.getpid()}").touch()
            for _ in range(20 * 2 * SILENCE_SECONDS):  # Longer than anybody waits for it.
                time.sleep(0.05)
                if loops._signals.requested():
                    (folder / f"saved-{os.getpid()}").touch()
                    raise Stopped(loops._signals.requested())
        return Outcome()


@dataclass(frozen=True)
class Die:
    """Ends its process as the kernel does when memory is short."""

    def carry_out(self, loops):
        os.kill(os.getpid(), signal.SIGKILL)


def test_work_is_spread_over_processes_and_all_of_it_is_told_here():
    told = []
    with Processes(2, [], told.append, nothing) as executor:
        futures = executor.submit([Say(str(number)) for number in range(6)])
        workers = {explained(future).trained for future in futures}
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2
    numbers, tellers = zip(*(sentence.split(" by ") for sentence in told), strict=True)
    assert sorted(numbers) == [str(number) for number in range(6)]
    assert {int(teller) for teller in tellers} == workers


def test_what_a_user_can_mend_comes_as_it_was_raised():
    with Processes(1, [], tell_nobody, nothing) as executor:
        (future,) = executor.submit([Fail()])
        with pytest.raises(SettingError, match=r"^rewind_to=9ep: a point before the end$"):
            explained(future)


def test_a_killed_worker_is_one_sentence_and_the_others_save_and_end(tmp_path):
    with (  # noqa: PT012
        pytest.raises(TfpruneError, match=r"a worker process died.*fewer `workers`") as error,
        Processes(2, [], tell_nobody, nothing) as executor,
    ):
        executor.submit([Train(str(tmp_path))])
        wait_long(lambda: list(tmp_path.glob("started-*")))
        explained(executor.submit([Die()])[0])
    assert not isinstance(error.value, InputError)
    assert len(list(tmp_path.glob("saved-*"))) == 1
    assert multiprocessing.active_children() == []


def test_an_exception_here_lets_workers_save_and_ends_idle_ones(tmp_path):
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        Processes(2, [], tell_nobody, nothing) as executor,
    ):
        explained(executor.submit([Say("idle")])[0])
        executor.submit([Train(str(tmp_path))])
        wait_long(lambda: list(tmp_path.glob("started-*")))
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob("saved-*"))) == 1
    assert multiprocessing.active_children() == []


def test_a_worker_gets_two_signals_and_still_saves(tmp_path):
    """A cluster signals every process of a job, and the parent passes its own on."""
    with (  # noqa: PT012
        pytest.raises(TfpruneError),
        Processes(1, [], tell_nobody, nothing) as executor,
    ):
        (future,) = executor.submit([Train(str(tmp_path))])
        wait_long(lambda: list(tmp_path.glob("started-*")))
        (worker,) = (int(path.name.split("-")[1]) for path in tmp_path.glob("started-*"))
        for _ in range(2):
            os.kill(worker, signal.SIGTERM)
            time.sleep(0.01)
        explained(future)
    assert len(list(tmp_path.glob("saved-*"))) == 1


ORPHANS = """
    import sys, time
    sys.path[:0] = {path!r}
    import test_executors as tests
    from tfprune.engine.executors import Processes

    if __name__ == "__main__":
        executor = Processes(2, [], tests.tell_nobody, tests.nothing)
        print(tests.explained(executor.submit([tests.Say("idle")])[0]).trained, flush=True)
        executor.submit([tests.Train(sys.argv[1])])
        time.sleep(2 * tests.SILENCE_SECONDS)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    script.write_text(textwrap.dedent(ORPHANS.format(path=path)))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    workers = [int(parent.stdout.readline())]
    wait_long(lambda: list(tmp_path.glob("started-*")))
    workers += [int(path.name.split("-")[1]) for path in tmp_path.glob("started-*")]
    parent.kill()
    parent.communicate()
    wait_long(lambda: not any(is_alive(worker) for worker in workers))
    assert not list(tmp_path.glob("saved-*"))


def test_ctrl_c_in_a_terminal_reaches_workers_that_are_just_starting_without_a_traceback(tmp_path):
    """Its signal goes to the whole group of processes."""
    script = tmp_path / "parent.py"
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    text = ORPHANS.format(path=path).replace("print(", "print(0, flush=True); print(")
    script.write_text(textwrap.dedent(text))
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As in a terminal, even where these tests run in the background, which ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    parent.stdout.readline()
    timer = threading.Timer(0.1, os.killpg, [parent.pid, signal.SIGINT])
    timer.start()
    _, text = output_of(parent)
    timer.join()
    assert "SpawnProcess" not in text
    assert "_start_worker" not in text
