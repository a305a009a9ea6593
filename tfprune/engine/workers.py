"""One training that several machines share (`strategy=multi_worker`): who decides, who follows.

The chief runs the study as if it were alone. Before each thing that all processes must do
together, building a network or training a stage, it tells the others what; they do just that,
write no file, and end when it does.
"""

from __future__ import annotations

import base64
import pickle
from contextlib import suppress
from typing import Any

from tfprune.config import RunConfig
from tfprune.engine.executors import InProcess
from tfprune.engine.workshop import Workshop
from tfprune.errors import DamagedFile, TrainingDiverged
from tfprune.studies.procedure import Branch
from tfprune.studies.trial import Stage, Trial
from tfprune.training.cluster import worker_of
from tfprune.training.meeting import meet


class Chief(InProcess):
    """Carries out work in this process, the chief, and has the others follow.

    Args:
      workshop: this process's.
      config: the run; its strategy is set up here, before TensorFlow does anything else.
    """

    def __init__(self, workshop: Workshop, config: RunConfig):
        super().__init__(workshop)
        self._distribution = _join(workshop, config)
        workshop.announce = self._tell

    def __exit__(self, *exception: Any) -> None:
        self._tell(None)

    def _tell(self, order: tuple[Any, ...] | None) -> None:
        self._distribution.from_chief(base64.b64encode(pickle.dumps(order)).decode())


def follow(workshop: Workshop, config: RunConfig) -> None:
    """What a process that is not the chief does: what it is told, until there is no more.

    Args:
      workshop: this process's.
      config: the run, as in all processes.
    """
    distribution = _join(workshop, config)
    while order := pickle.loads(base64.b64decode(distribution.from_chief(""))):
        # What ends a training in the chief ends it here too, and the chief says what is next.
        with suppress(TrainingDiverged, DamagedFile):
            _do(workshop, *order)


def _do(workshop: Workshop, trial: Trial, branch: Branch | None, stage: Stage | None) -> None:
    loop = workshop.loop(trial)
    if branch is not None and stage is not None:
        branch.train(loop, stage, lambda logs: None)


def _join(workshop: Workshop, config: RunConfig) -> Any:
    workshop.start()
    meet(worker_of(config), config.peer_seconds, workshop.tell, workshop.check_stop)
    from tfprune.training import runtime, strategies

    runtime.configure(config)
    return strategies.distribution_of(config)
