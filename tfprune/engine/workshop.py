"""What one process keeps between pieces of work: loaded data, compiled networks, its signals."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tfprune.engine.events import Tell
from tfprune.engine.folders import write_config
from tfprune.engine.work import Outcome
from tfprune.stopping import StopSignals
from tfprune.studies.procedure import Advance, Branch
from tfprune.studies.trial import Stage, Trial
from tfprune.training.together import Together
from tfprune.versions import versions

if TYPE_CHECKING:
    from tfprune.engine.work import Work
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.training.trainer import Trainer


# Compiled networks kept, the last used: each holds its weights, slots and data on the device.
_KEPT = 4


class Workshop:
    """Builds what trials need, once per process.

    Args:
      argv: the command, for config.json.
      tell: takes what happens to stages.
      before_training: called once, before anything that needs TensorFlow.
      signals: what asks the process to end; None where nothing does.
      worker: this process's number among those that share the machine's accelerators.
      stack: how many trainings are trained together.

    Attributes:
      announce: told of what all processes of one training must do together, just before it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        tell: Tell,
        before_training: Callable[[], None] = lambda: None,
        signals: StopSignals | None = None,
        worker: int = 0,
        stack: int = 1,
    ):
        self._argv = list(argv)
        self._since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.tell = tell
        self._before_training = before_training
        self._signals = signals or StopSignals()
        self._worker = worker
        self._sources: dict[Any, Any] = {}
        self._trainers: dict[Any, Trainer] = {}
        self._here = threading.local()  # A trial's loop is of one piece of work.
        self._together = Together(stack)
        self._ended_by: BaseException | None = None
        self._started = False
        self.announce: Callable[[tuple[Any, ...]], None] = lambda order: None

    def start(self) -> None:
        """Does once what comes before anything that needs TensorFlow."""
        if not self._started:
            self._started = True
            self._before_training()

    def carry_out(self, works: Sequence[Work]) -> list[Outcome]:
        """Carries out all work, as many pieces at a time as a stack takes.

        Raises:
          Exception: what the first piece raised that raised anything. The trainings of the others
            end after their epoch, with a checkpoint.
        """
        self._ended_by = None
        if self._together.places == 1 or len(works) == 1:
            return [work.carry_out(self) for work in works]
        self._together.expect(len(works))
        with ThreadPoolExecutor(self._together.places) as threads:
            futures = [threads.submit(self._carry_out_beside_others, work) for work in works]
            try:
                for future in futures:  # A signal's handler runs in between.
                    future.exception()
            except BaseException as error:
                self._ended_by = self._ended_by or error
                raise
        if self._ended_by is not None:
            raise self._ended_by
        return [future.result() for future in futures]

    def _carry_out_beside_others(self, work: Work) -> Outcome:
        with self._together.task():
            if self._ended_by is not None:
                return Outcome()
            try:
                return work.carry_out(self)
            except BaseException as error:
                self._ended_by = self._ended_by or error
                return Outcome()

    def loop(self, trial: Trial) -> PruneRetrain:
        """The trial's loop; the last one that this thread asked for is kept."""
        kept: tuple[Trial, PruneRetrain] | None = getattr(self._here, "loop", None)
        if kept is None or kept[0] != trial:
            kept = self._here.loop = (trial, self._build(trial))
        return kept[1]

    def train(self, trial: Trial, branch: Branch, stage: Stage, advance: Advance) -> None:
        """Trains a stage; a signal waits for the end of the epoch, and the checkpoint."""
        loop = self.loop(trial)
        self.announce((trial, branch, stage))
        with self._signals.held():
            if not stage.branch:
                self.describe(trial, stage)
            branch.train(loop, stage, advance)

    def describe(self, trial: Trial, stage: Stage) -> None:
        """Writes the config.json beside a stage, in the process that writes."""
        loop = self.loop(trial)
        if loop.writes:
            write_config(stage, trial.config, self._about(loop))

    def check_stop(self) -> None:
        """Raises Stopped if a signal asked the process to end."""
        self._signals.check()

    def _stop_requested(self) -> int | None:
        """The signal that ends trainings; other work that failed ends those beside it likewise."""
        return self._signals.requested() or (None if self._ended_by is None else signal.SIGTERM)

    def _about(self, loop: PruneRetrain) -> dict[str, Any]:
        """What config.json says beside the settings."""
        from tfprune.training import runtime

        return {
            "argv": self._argv,
            "versions": versions(),
            "device": runtime.device_description(loop.config),
            "host": socket.gethostname(),
            "started": self._since,
            "stack": self._together.places,
            "xla_flags": os.environ.get("XLA_FLAGS", ""),
            "input_shape": loop.data.input_shape,
            "num_classes": loop.data.num_classes,
        }

    def _build(self, trial: Trial) -> PruneRetrain:
        self.start()
        from tfprune.data.prepare import prepare
        from tfprune.data.sources import load_source
        from tfprune.studies.iterative import PruneRetrain
        from tfprune.training import runtime
        from tfprune.training.trainer import Trainer

        config = trial.config
        runtime.configure(config, self._worker)
        self.announce((trial, None, None))
        key = (config.data.dataset, config.data.data_dir)
        if key not in self._sources:
            self._sources[key] = load_source(config.data)
        data = prepare(self._sources[key], config.data, trial.seed)
        program = (
            config.model,
            config.training,
            config.jit,
            config.pruning.prunes_filters,
            data.input_shape,
            data.num_classes,
        )
        trainer = self._trainers.pop(program, None)
        if trainer is None:
            while len(self._trainers) >= _KEPT:
                del self._trainers[next(iter(self._trainers))]
            shape = (data.input_shape, data.num_classes)
            trainer = Trainer(config, *shape, together=self._together)
        self._trainers[program] = trainer  # The last used comes last.
        return PruneRetrain(
            trial, trainer, data, stop_requested=self._stop_requested, note=self.tell
        )
