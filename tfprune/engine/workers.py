"""One training that several machines share (`strategy=multi_worker`): who decides, who follows.

The chief runs the study as if it were alone. Before each thing that all processes must do
together, building a network or training a stage, it tells the others what; they do just that,
write no file, and end when it does.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from tfprune.config import RunConfig
from tfprune.engine.executors import InProcess
from tfprune.engine.work import Outcome, Work
from tfprune.engine.workshop import Workshop
from tfprune.errors import DamagedFile, TfpruneError, TrainingDiverged
from tfprune.studies.procedure import Branch
from tfprune.studies.trial import Stage, Trial
from tfprune.training.cluster import Worker, worker_of
from tfprune.training.meeting import absent, meet


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

    def __exit__(self, kind: type[BaseException] | None, *exception: Any) -> None:
        if kind is None:
            with peers_watched(self._distribution.worker):
                self._tell(None)
        elif not issubclass(kind, PeerLost):
            with suppress(PeerLost), peers_watched(self._distribution.worker):
                self._tell(None)

    def submit(self, works: Sequence[Work]) -> list[Future[Outcome]]:
        """As for `InProcess`.

        Raises:
          PeerLost: another process of the training is gone.
        """
        with peers_watched(self._distribution.worker):
            return super().submit(works)

    def _tell(self, order: tuple[Any, ...] | None) -> None:
        self._distribution.from_chief(base64.b64encode(pickle.dumps(order)).decode())


def follow(workshop: Workshop, config: RunConfig) -> None:
    """What a process that is not the chief does: what it is told, until there is no more.

    Args:
      workshop: this process's.
      config: the run, as in all processes.

    Raises:
      PeerLost: another process of the training is gone.
    """
    distribution = _join(workshop, config)
    with peers_watched(distribution.worker):
        while order := pickle.loads(base64.b64decode(distribution.from_chief(""))):
            # What ends a training in the chief ends it here too, and the chief says what is next.
            with suppress(TrainingDiverged, DamagedFile):
                _do(workshop, *order)


class PeerLost(TfpruneError):
    """Another process of the training is gone or does not answer; what was saved is kept."""


@contextmanager
def peers_watched(worker: Worker) -> Iterator[None]:
    """Around what needs the other processes: TensorFlow's error for a lost one becomes a sentence.

    Args:
      worker: this process.

    Raises:
      PeerLost: with the names of those that are gone.
    """
    from tfprune.backend import tf

    try:
        yield
    except tf.errors.OpError as error:
        gone = absent(worker)
        if not gone and not isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError)):
            raise
        lost = f"{', '.join(gone)} of this training is gone"
        if not gone:  # Stopped, or out of the network's reach.
            lost = "another process of this training does not answer"
        raise PeerLost(
            f"{lost}; start the same command in all processes again: it goes on from the last "
            "checkpoint"
        ) from error


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
