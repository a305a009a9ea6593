"""Where pieces of a study's work are carried out: in this process, in several, or on Ray."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Protocol

from tfprune.config import RunConfig
from tfprune.engine.events import Tell
from tfprune.engine.quiet import silent_stderr
from tfprune.engine.work import Outcome, Work
from tfprune.engine.workshop import Workshop
from tfprune.errors import InputError, SettingError, Stopped, TfpruneError
from tfprune.stopping import StopSignals

# How long tasks on Ray may take to end their epoch and save it.
_ENDING_SECONDS = 600.0


class Executor(AbstractContextManager["Executor"], Protocol):
    """Carries out work, in any order, at most so many pieces at a time."""

    def submit(self, works: Sequence[Work]) -> list[Future[Outcome]]:
        """Starts pieces of work, or queues them."""


class InProcess(AbstractContextManager["InProcess"]):
    """Carries out work here, when it is submitted; as much at a time as a stack takes.

    Args:
      workshop: this process's.
    """

    def __init__(self, workshop: Workshop):
        self._workshop = workshop

    def __exit__(self, *exception: Any) -> None:
        """Nothing is left to end."""

    def submit(self, works: Sequence[Work]) -> list[Future[Outcome]]:
        """Carries all of it out; what it raises is raised here."""
        return [_done(outcome) for outcome in self._workshop.carry_out(works)]


class Processes(AbstractContextManager["Processes"]):
    """Carries out work in processes of this machine, each with a workshop of its own.

    Args:
      workers: how many.
      argv: the command, for config.json.
      tell: takes what happens to stages, in a thread of this process.
      before_training: called once in each, before anything that needs TensorFlow; a function of
        a module, or `functools.partial` of one.
      stack: how many trainings each trains together.
    """

    def __init__(
        self,
        workers: int,
        argv: Sequence[str],
        tell: Tell,
        before_training: Callable[[], None],
        stack: int = 1,
    ):
        # Not forked: TensorFlow's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        self._events = context.Queue()
        self._numbers = context.Queue()
        for number in range(workers):
            self._numbers.put(number)
        self._listener = _Listener(self._events, tell)
        self._workers = workers
        self._stack = stack
        self._is_started = False
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_start_worker,
            initargs=(self._events, self._numbers, tuple(argv), before_training, stack),
        )

    def submit(self, works: Sequence[Work]) -> list[Future[Outcome]]:
        """Queues the work, in parts for one process each.

        Raises:
          TfpruneError: a worker process has died.
        """
        try:
            if not self._is_started:
                self._start()
            return [
                future
                for part in parts(works, self._workers, self._stack)
                for future in _each(self._pool.submit(_carry_out_in_worker, part), len(part))
            ]
        except BrokenProcessPool as error:
            raise _worker_died() from error

    def _start(self) -> None:
        """Starts all workers.

        A pool that starts them one by one does not notice the death of the last until some work
        is finished, which may take hours.
        """
        self._is_started = True
        with _blocked(signal.SIGINT):  # A process that is started inherits that.
            for _ in range(self._workers):
                self._pool.submit(os.getpid)

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        if kind is not None:  # Trainings that run end after their epoch, with a checkpoint.
            for process in multiprocessing.active_children():
                with contextlib.suppress(ProcessLookupError, TypeError):
                    os.kill(process.pid or 0, signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._listener.stop()


class OnRay(AbstractContextManager["OnRay"]):
    """Carries out work as tasks of a Ray cluster, which places them and tries lost ones again.

    Every node must see the output folder and the data, and have tfprune installed.

    Args:
      config: the address of the cluster, and what a task takes of it.
      argv: the command, for config.json.
      tell: as for `Processes`.
      before_training: as for `Processes`.
      stack: as for `Processes`.

    Raises:
      InputError: Ray is not installed.
      SettingError: there is no cluster at the address.
    """

    def __init__(
        self,
        config: RunConfig,
        argv: Sequence[str],
        tell: Tell,
        before_training: Callable[[], None],
        stack: int = 1,
    ):
        try:
            import ray
            from ray.util.queue import Queue
        except ImportError:
            raise InputError("`executor=ray` needs Ray: pip install 'tfprune[ray]'") from None
        try:
            with silent_stderr(), _handlers_kept((signal.SIGTERM, signal.SIGINT)):
                _reach(config.ray_address)
                ray.init(
                    address=config.ray_address, log_to_driver=False, logging_level=logging.ERROR
                )
        except Exception as error:  # Of many classes, some of Ray's own.
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SettingError(
                "ray_address", config.ray_address, f"the address of a Ray cluster ({what})"
            ) from error
        self._ray = ray
        self._events = Queue(actor_options={"num_cpus": 0})
        self._settings = (self._events, tuple(argv), before_training, stack)
        self._stack = stack
        self._listener = _Listener(self._events, tell)
        self._running: list[Any] = []
        self._task = ray.remote(_carry_out_on_ray).options(
            num_cpus=config.ray_cpus, num_gpus=config.ray_gpus, max_retries=config.ray_retries
        )

    def submit(self, works: Sequence[Work]) -> list[Future[Outcome]]:
        """Submits the work, each stack as one task."""
        futures: list[Future[Outcome]] = []
        for part in parts(works, len(works), self._stack):
            task = self._task.remote(part, *self._settings)
            self._running.append(task)
            futures += _each(task.future(), len(part))
        return futures

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        if kind is not None:  # Trainings that run end after their epoch, with a checkpoint.
            for task in self._running:
                self._ray.cancel(task, force=False)
            self._ray.wait(self._running, num_returns=len(self._running), timeout=_ENDING_SECONDS)
        self._listener.stop()
        self._ray.shutdown()


def parts(works: Sequence[Work], workers: int, stack: int) -> list[tuple[Work, ...]]:
    """Work in parts of at most a stack, as even as it goes, enough for all workers to have some.

    Example:
      >>> [len(part) for part in parts([None] * 7, workers=2, stack=8)]
      [3, 4]
      >>> [len(part) for part in parts([None] * 9, workers=1, stack=4)]
      [3, 3, 3]
    """
    if stack == 1:
        return [(work,) for work in works]
    count = max(-(-len(works) // stack), min(workers, len(works)))
    ends = [len(works) * index // count for index in range(count + 1)] if count else []
    return [tuple(works[a:b]) for a, b in itertools.pairwise(ends)]


def explained(future: Future[Outcome]) -> Outcome:
    """The outcome of finished work.

    Raises:
      TfpruneError: what the work raised, or that its process died.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _worker_died() from error
    except Exception as error:
        cause = getattr(error, "cause", None)  # Ray wraps what a task raises.
        if isinstance(cause, TfpruneError):
            raise cause from None
        if type(error).__module__.startswith("ray.") and cause is None:
            raise TfpruneError(
                f"Ray lost a task too often ({str(error).splitlines()[0]}); the same command goes "
                "on from what is saved"
            ) from error
        raise


def _done(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


def _each(together: Future[list[Outcome]], count: int) -> list[Future[Outcome]]:
    """A future for each outcome of work that one process carries out together."""
    futures: list[Future[Outcome]] = [Future() for _ in range(count)]

    def give(done: Future[list[Outcome]]) -> None:
        error = CancelledError() if done.cancelled() else done.exception()
        for index, future in enumerate(futures):
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result()[index])

    together.add_done_callback(give)
    return futures


def _worker_died() -> TfpruneError:
    return TfpruneError(
        "a worker process died, as when memory is short; the same command with fewer `workers` "
        "goes on from what is saved"
    )


@cache
def _this_process() -> list[tuple[Workshop, StopSignals]]:
    """The process's workshop and signals, once made; neither pool nor Ray has a place for them."""
    return []


def _start_worker(
    events: Any,
    numbers: Any,
    argv: tuple[str, ...],
    before_training: Callable[[], None],
    stack: int,
) -> None:
    # Ctrl-C reaches the whole group of processes; the parent passes it on, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signals = StopSignals((signal.SIGTERM,), again_ends=False)
    workshop = Workshop(argv, events.put, before_training, signals, numbers.get(), stack)
    _this_process().append((workshop, signals))


def _end_with_parent() -> None:
    """Without a parent that takes results, a worker would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _carry_out_in_worker(works: tuple[Work, ...]) -> list[Outcome]:
    (workshop, signals), *_ = _this_process()
    try:
        with signals:  # Between pieces of work, SIGTERM ends the process at once.
            return workshop.carry_out(works)
    except Stopped as stopped:  # The parent that sent the signal takes no result.
        os._exit(128 + stopped.signum)


def _carry_out_on_ray(
    works: tuple[Work, ...],
    events: Any,
    argv: tuple[str, ...],
    before_training: Callable[[], None],
    stack: int,
) -> list[Outcome]:
    if not _this_process():  # Ray gives a process many tasks, all of one driver.
        # Ray cancels a task by SIGINT.
        signals = StopSignals((signal.SIGINT,), again_ends=False)
        workshop = Workshop(argv, events.put, before_training, signals, stack=stack)
        _this_process().append((workshop, signals))
    (workshop, signals), *_ = _this_process()
    try:
        with signals:
            return workshop.carry_out(works)
    except Stopped:  # The driver that cancelled it takes no result.
        return [Outcome()] * len(works)


def _reach(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT, which Ray tries for many minutes."""
    match = re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address)
    if match:
        socket.create_connection((match[1], int(match[2])), timeout=10).close()


@contextmanager
def _handlers_kept(signums: Iterable[signal.Signals]) -> Iterator[None]:
    """Puts handlers of signals back that Ray replaces by its own, which abort the process."""
    before = {signum: signal.getsignal(signum) for signum in signums}
    try:
        yield
    finally:
        for signum, handler in before.items():
            if threading.current_thread() is threading.main_thread():
                signal.signal(signum, handler)


@contextmanager
def _blocked(signum: signal.Signals) -> Iterator[None]:
    """Keeps a signal from this thread for a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signum])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Listener:
    """Passes on what workers tell, in a thread.

    Args:
      events: their queue.
      tell: takes it.
    """

    def __init__(self, events: Any, tell: Tell):
        self._events = events
        self._tell = tell
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Passes on what is still to be told, and ends."""
        with contextlib.suppress(Exception):  # Ray's queue is gone with its machine.
            self._events.put(None)
        self._thread.join(timeout=10)

    def _listen(self) -> None:
        with contextlib.suppress(Exception):
            while (event := self._events.get()) is not None:
                self._tell(event)
