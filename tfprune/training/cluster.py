"""Which worker process of `strategy=multi_worker` this one is, as TF_CONFIG says it.

Importing this module imports no TensorFlow: who may write files is known before anything trains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
      peers: HOST:PORT of the other processes, by what they are called ("worker 1").
      address: its own HOST:PORT; empty where it is alone.
    """

    kind: str = "worker"
    index: int = 0
    num_workers: int = 1
    is_chief: bool = True
    num_neighbours: int = 1
    place: int = 0
    peers: Mapping[str, str] = field(default_factory=dict, compare=False)
    address: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What the others call it."""
        return f"{self.kind} {self.index}"


def worker_of(config: RunConfig) -> Worker:
    """This process's place in its run; alone, and its chief, unless TF_CONFIG is asked for.

    Raises:
      SettingError: `strategy=multi_worker`, and TF_CONFIG is missing or cannot be used.
    """
    return from_environment(os.environ) if config.strategy == "multi_worker" else Worker()


def from_environment(environment: Mapping[str, str]) -> Worker:
    """Reads TF_CONFIG.

    Raises:
      SettingError: it is missing, is not JSON of the form that TensorFlow takes, or names a task
        that is not in its cluster.
    """
    text = environment.get("TF_CONFIG", "")
    try:
        values = json.loads(text)
        cluster, task = values["cluster"], values["task"]
        addresses = {kind: cluster.get(kind, []) for kind in ("chief", "worker")}
        kind, index = task["type"], int(task["index"])
        known = addresses.get(kind, ())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        what = f", and has {text[:100]!r}" if text else ""
        raise SettingError("strategy", "multi_worker", f"it needs {_ALLOWED}{what}") from None
    for name, those in addresses.items():
        _check_addresses(name, those)
    if not 0 <= index < len(known):
        raise SettingError(
            "strategy", "multi_worker", f"task {kind} {index} is not in the cluster of TF_CONFIG"
        )
    # As TensorFlow decides it: the first worker, where no task is of the kind `chief`.
    is_chief = kind == "chief" or (not addresses["chief"] and index == 0)
    every = {f"{name} {n}": a for name, those in addresses.items() for n, a in enumerate(those)}
    own = every.pop(f"{kind} {index}")
    before = [*addresses["chief"], *addresses["worker"]]
    before = before[: index + (0 if kind == "chief" else len(addresses["chief"]))]
    neighbours = sum(_host(address) == _host(own) for address in every.values())
    place = sum(_host(address) == _host(own) for address in before)
    return Worker(kind, index, len(every) + 1, is_chief, neighbours + 1, place, every, own)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of HOST:PORT; an IPv6 host stands in brackets.

    Example:
      >>> host_and_port("[::1]:1234")
      ('::1', 1234)
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _host(address: str) -> str:
    return host_and_port(address)[0]


def _check_addresses(kind: str, addresses: Any) -> None:
    """Raises SettingError if these are not those of a kind of tasks."""
    if not isinstance(addresses, list):
        what = f"{kind} is {addresses!r}"
    else:
        odd = [address for address in addresses if not _is_address(address)]
        twice = [address for address in addresses if addresses.count(address) > 1]
        if not odd and not twice:
            return
        what = f"{(odd or twice)[0]!r} of {kind} {'is none' if odd else 'stands twice'}"
    raise SettingError(
        "strategy", "multi_worker", f"TF_CONFIG must have a list of HOST:PORT; {what}"
    )


def _is_address(address: Any) -> bool:
    try:
        host, port = host_and_port(address)
    except (AttributeError, ValueError):
        return False
    return bool(host) and 0 < port < 65536
