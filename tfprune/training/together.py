"""Where trainings of one process meet: pieces of work take turns, and do some things together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Place:
    """What one task brings to a meeting, and what it gets."""

    item: Any
    hold: Callable[[list[Any]], Sequence[Any]]
    is_done: bool = False
    result: Any = None
    error: BaseException | None = None


def _hold(places: list[_Place]) -> None:
    try:
        results = places[0].hold([place.item for place in places])
        for place, result in zip(places, results, strict=True):
            place.result = result
    except BaseException as error:
        for place in places:
            place.error = error
    for place in places:
        place.is_done = True


class Together:
    """Lets several threads take turns, one at a time, and waits with what they do together.

    A thread keeps its turn until it ends or meets the others. A meeting is held when nobody is left
    who could still come: every task that has a place either waits in it or in another.

    Args:
      places: how many tasks are under way at most.
    """

    def __init__(self, places: int = 1):
        self.places = places
        self._turn = threading.Condition()
        self._is_taken = False
        self._tasks = 0  # Not ended yet; more than `places` if some have not begun.
        self._waiting: dict[Hashable, list[_Place]] = {}

    def expect(self, tasks: int) -> None:
        """Says how many more tasks will take turns, before the first of them does."""
        with self._turn:
            self._tasks += tasks

    @contextmanager
    def task(self) -> Iterator[None]:
        """A task, from its first turn to its end; in a thread of its own."""
        self._take_turn()
        try:
            yield
        finally:
            with self._turn:
                self._tasks -= 1
            self._hold_meetings()
            self._give_turn()

    def meet(
        self, key: Hashable, hold: Callable[[list[Item]], Sequence[Result]], item: Item
    ) -> Result:
        """What a meeting gives for this item; called in a task.

        Args:
          key: whose meetings are the same.
          hold: all items of a meeting -> what each gets; called once, by the last to come.
          item: what this task brings.

        Raises:
          Exception: what `hold` raises, in every task that came.
        """
        place = _Place(item, hold)
        self._waiting.setdefault(key, []).append(place)
        self._hold_meetings()
        if not place.is_done:
            self._give_turn()
            self._take_turn(lambda: place.is_done)
        if place.error is not None:
            raise place.error
        return place.result

    def _hold_meetings(self) -> None:
        """Holds the meetings that wait for nobody any more, if this is so; in one's turn."""
        waiting = sum(map(len, self._waiting.values()))
        if not waiting or waiting < min(self.places, self._tasks):
            return
        meetings, self._waiting = self._waiting, {}
        for places in meetings.values():
            _hold(places)

    def _take_turn(self, when: Callable[[], bool] = lambda: True) -> None:
        with self._turn:
            self._turn.wait_for(lambda: not self._is_taken and when())
            self._is_taken = True

    def _give_turn(self) -> None:
        with self._turn:
            self._is_taken = False
            self._turn.notify_all()
