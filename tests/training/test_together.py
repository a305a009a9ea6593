"""Threads that take turns and meet: who waits for whom, and what they get."""

import threading

import pytest

from tfprune.training.together import Together


def in_threads(together, places, tasks):
    """Runs functions as a pool of so many threads does; what each returned or raised."""
    found = {}
    together.expect(len(tasks))
    queue = list(tasks.items())
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not queue:
                    return
                name, task = queue.pop(0)
            with together.task():
                try:
                    found[name] = task()
                except RuntimeError as error:
                    found[name] = error

    threads = [threading.Thread(target=work) for _ in range(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def meets(together, name, times, held, key="one"):
    def hold(items):
        held.append(sorted(items))
        return [item.upper() for item in items]

    return lambda: [together.meet(key, hold, f"{name}{n}") for n in range(times)]


def test_each_gets_its_own_and_a_meeting_waits_for_all():
    together, held = Together(3), []
    found = in_threads(together, 3, {n: meets(together, n, 2, held) for n in "abc"})
    assert held == [["a0", "b0", "c0"], ["a1", "b1", "c1"]]
    assert found == {n: [f"{n.upper()}0", f"{n.upper()}1"] for n in "abc"}


def test_one_that_ends_makes_its_place_free_and_the_last_go_on_alone():
    together, held = Together(2), []
    tasks = {n: meets(together, n, times, held) for n, times in {"a": 1, "b": 3, "c": 3}.items()}
    in_threads(together, 2, tasks)
    assert [len(items) for items in held] == [2, 2, 2, 1]
    assert held[1] == ["b1", "c0"]


def test_only_one_has_its_turn_at_a_time():
    together, at_once, most = Together(4), [0], [0]

    def task():
        for _ in range(5):
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            threading.Event().wait(0)
            at_once[0] -= 1
            together.meet("one", lambda items: items, 0)

    in_threads(together, 4, {str(n): task for n in range(4)})
    assert most == [1]


def test_those_that_do_different_things_meet_apart_and_nobody_waits_for_ever():
    together, held = Together(3), []
    tasks = {n: meets(together, n, 2, held, key=n in "ab") for n in "abc"}
    in_threads(together, 3, tasks)
    assert sorted(held) == [["a0", "b0"], ["a1", "b1"], ["c0"], ["c1"]]


def test_an_error_of_a_meeting_is_everybodys():
    together = Together(2)

    def hold(items):
        raise RuntimeError("no memory")

    found = in_threads(together, 2, {n: lambda: together.meet("one", hold, 0) for n in "ab"})
    assert [str(error) for error in found.values()] == ["no memory"] * 2


def test_outside_of_tasks_nobody_is_waited_for():
    assert Together(5).meet("one", lambda items: [item + 1 for item in items], 1) == 2


def test_a_task_that_raises_is_not_waited_for():
    together, held = Together(2), []

    def fails():
        raise RuntimeError("gone")

    found = in_threads(together, 2, {"a": fails, "b": meets(together, "b", 2, held)})
    assert held == [["b0"], ["b1"]]
    with pytest.raises(RuntimeError, match="gone"):
        raise found["a"]
