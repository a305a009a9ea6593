"""Which worker process of `strategy=multi_worker` this one is, as TF_CONFIG says it.

Importing this module imports no TensorFlow: who may write files is known before anything trains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tfprune.config import RunConfig
from tfprune.errors import SettingError

_ALLOWED = (
    "TF_CONFIG in the environment of every worker process, as "
    '{"cluster": {"worker": ["host0:1234", "host1:1234"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Worker:
    """A process of a training that several share.

    Attributes:
      kind: its task type, `chief` or `worker`.
      index: its place among the tasks of its kind.
      num_workers: how many processes train.
      is_chief: whether it is the one that writes files.
      num_neighbours: how many of them its machine has, itself included.
      place: its place among those.
    """

    kind: str = "worker"
    index: int = 0
    num_workers: int = 1
    is_chief: bool = True
    num_neighbours: int = 1
    place: int = 0


def worker_of(config: RunConfig) -> Worker:
    """This process's place in its run; alone, and its chief, unless TF_CONFIG is asked for.

    Raises:
      SettingError: `strategy=multi_worker`, and TF_CONFIG is missing or cannot be used.
    """
    return from_environment(os.environ) if config.strategy == "multi_worker" else Worker()


def from_environment(environment: Mapping[str, str]) -> Worker:
    """Reads TF_CONFIG.

    Raises:
      SettingError: it is missing, is not JSON, or names a task that is not in its cluster.
    """
    try:
        values = json.loads(environment["TF_CONFIG"])
        machines = {
            kind: [address.rsplit(":", 1)[0] for address in values["cluster"].get(kind, ())]
            for kind in ("chief", "worker")
        }
        kind, index = values["task"]["type"], int(values["task"]["index"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SettingError("strategy", "multi_worker", f"it needs {_ALLOWED}") from None
    if not 0 <= index < len(machines.get(kind, ())):
        raise SettingError(
            "strategy", "multi_worker", f"task {kind} {index} is not in the cluster of TF_CONFIG"
        )
    # As TensorFlow decides it: the first worker, where no task is of the kind `chief`.
    is_chief = kind == "chief" or (not machines["chief"] and index == 0)
    every = [*machines["chief"], *machines["worker"]]
    own = index if kind == "chief" else len(machines["chief"]) + index
    place = every[:own].count(every[own])
    return Worker(kind, index, len(every), is_chief, every.count(every[own]), place)
