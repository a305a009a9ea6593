"""What one process keeps between pieces of work: loaded data, compiled networks, its signals."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tfprune.engine.events import Tell
from tfprune.engine.folders import write_config
from tfprune.stopping import StopSignals
from tfprune.studies.procedure import Advance, Branch
from tfprune.studies.trial import Stage, Trial
from tfprune.versions import versions

if TYPE_CHECKING:
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
    ):
        self._argv = list(argv)
        self.tell = tell
        self._before_training = before_training
        self._signals = signals or StopSignals()
        self._worker = worker
        self._sources: dict[Any, Any] = {}
        self._trainers: dict[Any, Trainer] = {}
        self._loop: tuple[Trial, PruneRetrain] | None = None
        self._started = False
        self.announce: Callable[[tuple[Any, ...]], None] = lambda order: None

    def start(self) -> None:
        """Does once what comes before anything that needs TensorFlow."""
        if not self._started:
            self._started = True
            self._before_training()

    def loop(self, trial: Trial) -> PruneRetrain:
        """The trial's loop; the last one asked for is kept."""
        if self._loop is None or self._loop[0] != trial:
            self._loop = (trial, self._build(trial))
        return self._loop[1]

    def train(self, trial: Trial, branch: Branch, stage: Stage, advance: Advance) -> None:
        """Trains a stage; a signal waits for the end of the epoch, and the checkpoint."""
        loop = self.loop(trial)
        self.announce((trial, branch, stage))
        with self._signals.held():
            if loop.writes and not stage.branch:
                write_config(stage, trial.config, self._about(loop))
            branch.train(loop, stage, advance)

    def check_stop(self) -> None:
        """Raises Stopped if a signal asked the process to end."""
        self._signals.check()

    def _about(self, loop: PruneRetrain) -> dict[str, Any]:
        """What config.json says beside the settings."""
        from tfprune.training import runtime

        return {
            "argv": self._argv,
            "versions": versions(),
            "device": runtime.device_description(loop.config),
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
            trainer = Trainer(config, data.input_shape, data.num_classes)
        self._trainers[program] = trainer  # The last used comes last.
        return PruneRetrain(
            trial, trainer, data, stop_requested=self._signals.requested, note=self.tell
        )
