"""Taking times side by side, so that a machine that slows down slows down both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Runs something and returns its seconds: the call's own, or of a part of it.
Timed = Callable[[], float]


@dataclass(frozen=True)
class Scale:
    """How much work is timed; the defaults are those of the claims, tests take less.

    Attributes:
      repetitions: of everything that is timed; a claim needs at least 5.
      train_examples: of the MNIST-shaped set.
      test_examples: of the MNIST-shaped set.
      digits_epochs: epochs of one training on digits.
      conv_steps: training steps of a convolutional network in one repetition.
      conv_width: multiplies the filters of the convolutional networks.
      inference_examples: images in one inference.
      ablated_networks: whose utility is measured.
      study_flags: what the `study` row runs, besides its folder.
    """

    repetitions: int = 5
    train_examples: int = 60_000
    test_examples: int = 10_000
    digits_epochs: int = 60
    conv_steps: int = 8
    conv_width: float = 1.0
    inference_examples: int = 512
    ablated_networks: int = 500
    study_flags: tuple[str, ...] = ("--preset=quick", "--workers=1")


def call_seconds(function: Callable[[], Any]) -> Timed:
    """Times the whole call."""

    def timed() -> float:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return timed


def interleaved(work: Mapping[str, Timed], repetitions: int) -> dict[str, list[float]]:
    """Seconds of every repetition, in the order A B C A B C ...

    Each is run once before, untimed: to compile, and to fill caches.
    """
    for timed in work.values():
        timed()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions):
        for name, timed in work.items():
            seconds[name].append(timed())
    return seconds
