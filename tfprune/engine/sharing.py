"""How a machine is shared among the trials of a study: processes, and the places of stacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfprune.config import RunConfig
from tfprune.versions import processor_cores

_GPUS = Path("/proc/driver/nvidia/gpus")


def processes_of(configs: Sequence[RunConfig]) -> int:
    """How many processes train a study's trials: no more than there are trials.

    Args:
      configs: its runs; `workers` of the first counts.
    """
    config = configs[0]
    if config.takes_all_devices:
        return 1
    gpus, cores = devices_of(config)
    asked = (gpus or cores) if config.workers == "auto" else int(config.workers)
    return max(min(asked, _trials(configs)), 1)


def places_of(configs: Sequence[RunConfig]) -> int:
    """How many trainings a process trains together; the same however few are left.

    `auto` is one: on a CPU processes gain more, and no other device was measured.

    Args:
      configs: as for `processes_of`; `stack` of the first counts.
    """
    stack = configs[0].stack
    return 1 if stack == "auto" else int(stack)


def devices_of(config: RunConfig) -> tuple[int, int]:
    """The GPUs of this machine that a run may take, and the cores that this process may use."""
    gpus = len(list(_GPUS.iterdir())) if _GPUS.exists() and config.strategy != "cpu" else 0
    return gpus, processor_cores()


def _trials(configs: Sequence[RunConfig]) -> int:
    """Of this process's shard."""
    shard, shards = configs[0].shard_of
    return len(range(sum(len(config.seeds) for config in configs))[shard::shards])
