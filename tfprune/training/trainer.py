"""One network with its optimizer and compiled epoch, shared by every stage of one shape."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from etils import epath

from tfprune import layout
from tfprune.backend import keras, tf
from tfprune.config import RunConfig
from tfprune.data.prepare import PreparedData
from tfprune.data.streaming import StreamedData
from tfprune.errors import SettingError
from tfprune.models.initialize import initialize
from tfprune.pruning import model as pruned
from tfprune.pruning.masks import Masks
from tfprune.pruning.weights import Arrays, read_weights, write_weights
from tfprune.training import optimizers, runtime, strategies
from tfprune.training.callbacks.chief import StopWithChief
from tfprune.training.callbacks.distance_from_init import DistanceFromInit
from tfprune.training.callbacks.epoch_progress import EpochProgress
from tfprune.training.callbacks.event_scalars import TensorBoardScalars
from tfprune.training.callbacks.filter_noise import NoiseState
from tfprune.training.callbacks.record import EpochRecord, Row
from tfprune.training.callbacks.safety import EpochCheckpoint, StopOnNonFinite
from tfprune.training.checkpoints import Checkpoints, State, States, training_state
from tfprune.training.distributed import DistributedProgram, DistributedStreamedProgram
from tfprune.training.epoch_model import EpochModel
from tfprune.training.epoch_program import EpochProgram, Feeding, steps_per_epoch
from tfprune.training.network import build_network, set_masks
from tfprune.training.resident import ResidentProgram
from tfprune.training.schedules import Schedule
from tfprune.training.stacked import StackedProgram
from tfprune.training.stacked_layers import cannot_stack
from tfprune.training.streamed import StreamedProgram
from tfprune.training.together import Together

Data = PreparedData | StreamedData
Made = TypeVar("Made")


@dataclass(frozen=True)
class TrainingPlan:
    """One training, from its first weights to its last.

    Attributes:
      seed: the trial's seed.
      level: the level trained; with the epoch it keys every draw.
      weights: the weights at the start, by name.
      masks: the masks they are trained under.
      initial: the weights that distances are measured from.
      schedule: the learning rates.
      start_step: the step to start at, counted over the whole schedule.
      epochs: the epoch to end after, counted over the whole schedule.
      augment: how training images are changed.
      where: what is trained, in words.
    """

    seed: int
    level: int
    weights: Arrays
    masks: Masks
    initial: Arrays
    schedule: Schedule
    epochs: int
    start_step: int = 0
    augment: str = "none"
    where: str = "training"

    def feeding(self, stop_step: int | None = None) -> Feeding:
        """What the plan shows the network, up to this step."""
        return Feeding(
            self.seed, self.level, self.schedule, self.augment, self.start_step, stop_step
        )


@dataclass(frozen=True)
class TrainingOutputs:
    """Where one training leaves its files, and who is told of its progress.

    Attributes:
      folder: for metrics.csv and the checkpoint.
      tensorboard: the run's event folder.
      checkpoint_seconds: time between checkpoints.
      advance: called after every epoch with its metrics; before the first of a training that goes
        on from a checkpoint, with the last metrics and `layout.EPOCHS_BEFORE`.
      stop_requested: the signal that asked the process to end, if any: training stops after the
        epoch, with a checkpoint.
      note: told what the user should know.
    """

    folder: epath.Path
    tensorboard: epath.Path
    checkpoint_seconds: float = 60.0
    advance: Callable[[dict[str, Any]], None] = field(default=lambda logs: None)
    stop_requested: Callable[[], int | None] = field(default=lambda: None)
    note: Callable[[str], None] = field(default=lambda text: None)


@dataclass(frozen=True)
class Beside:
    """What a training does besides its steps, such as pruning filters at the end of epochs.

    Attributes:
      callbacks: they come before what records an epoch, and may change its metrics. Every process
        of a training has them.
      noise: what disturbs weights before batches, of `tfprune.training.noise`.
      state: what of it a checkpoint must hold, besides the noise.
    """

    callbacks: tuple[keras.callbacks.Callback, ...] = ()
    noise: NoiseState | None = None
    state: tuple[State, ...] = ()


class Trainer:
    """Builds and compiles once; every training only changes the values of variables.

    Under a distributed strategy the replicas train and evaluate, and `model` is a network on one
    device that holds the same values after every epoch. `distribution` says which process this is.
    Every worker process makes the same calls; only the chief writes files.

    Args:
      config: the run; only its model, its training and where it runs matter here.
      input_shape: (height, width, channels) of the images.
      num_classes: number of classes.
      together: where trainings of one process meet; what trains in stacks of as many places.

    Attributes:
      model: the network, compiled.
      distribution: over which devices and processes it is trained.
      device: where the model is, as TensorFlow names it.
      jit: whether programs are compiled with XLA.
    """

    def __init__(
        self,
        config: RunConfig,
        input_shape: tuple[int, ...],
        num_classes: int,
        together: Together | None = None,
    ):
        self._together = together
        self.distribution = strategies.distribution_of(config)
        self.device = runtime.device(config)
        self._config = config
        self._batch_size = config.training.batch_size
        with tf.device(self.device), runtime.dtype_policy(config.training.dtype):
            self.model = EpochModel.of(build_network(config, input_shape, num_classes))
            self.model.compile(optimizers.build_optimizer(config.training))
            # Before any checkpoint is restored, which fills the slots there are.
            self.model.optimizer.build(self.model.trainable_variables)
            self.jit = runtime.use_jit(config, self.model)
        self._check_stack()
        self._made: dict[Hashable, Any] = {}

    def check_data(self, data: Data) -> None:
        """Raises SettingError for data that cannot be trained on as the run asks."""
        if isinstance(data, StreamedData) and self._places > 1:
            raise SettingError("stack", self._places, "1 with data that are streamed")

    @property
    def _places(self) -> int:
        return 1 if self._together is None else self._together.places

    @property
    def dense_masks(self) -> Masks:
        """The masks of a network of which nothing is pruned."""
        return pruned.dense_masks(self.model)

    def initial_weights(self, seed: int, level: int = 0) -> Arrays:
        """A random initialization: level 0's for the trial, a level's own for `scratch`."""
        model = self._config.model
        initialize(self.model, seed, level, model.batch_norm_gamma, model.initialization)
        return read_weights(self.model)

    def train(
        self,
        data: Data,
        plan: TrainingPlan,
        outputs: TrainingOutputs,
        beside: Beside = Beside(),
    ) -> list[Row]:
        """Runs a plan, from its last checkpoint if there is one.

        Every worker process trains what the chief's plan and checkpoint say; only the chief writes
        files.

        Returns:
          A row of metrics per epoch. The model holds the final weights.

        Raises:
          TrainingDiverged: a loss is NaN or infinite.
          Stopped: a signal asked the process to end; the checkpoint is written.
        """
        self._start(plan, beside.noise)
        noise = () if beside.noise is None else (beside.noise,)
        checkpoints = Checkpoints(outputs.folder, outputs.note, States((*noise, *beside.state)))
        steps = steps_per_epoch(len(data.labels), self._batch_size)
        first_epoch, rows = self._resume(checkpoints, plan.start_step // steps)
        if rows:
            outputs.advance({**rows[-1], layout.EPOCHS_BEFORE: len(rows)})
        self.attach(data, plan.feeding())
        writes = self.distribution.is_chief
        record = EpochRecord(outputs.folder / layout.METRICS if writes else None, rows=rows)
        board = TensorBoardScalars(outputs.tensorboard, {"sparsity": plan.masks.sparsity})
        stop = self._stop_requested(outputs)
        checkpoint = EpochCheckpoint(checkpoints, record, outputs.checkpoint_seconds, stop)
        # In this order: what adds to an epoch's metrics, what keeps them, what may stop.
        callbacks = [
            *beside.callbacks,
            DistanceFromInit(plan.initial),
            record,
            *([board] if writes else []),
            StopOnNonFinite(plan.where),
            checkpoint if writes else StopWithChief(stop),
            EpochProgress(outputs.advance),
        ]
        try:
            self.model.fit_epochs(first_epoch, plan.epochs, callbacks)
        finally:  # Keras does not end callbacks of a training that raises.
            self.model.noise = None  # What is measured later is not disturbed.
            record.on_train_end()
            board.close()
        return record.rows

    def _resume(self, checkpoints: Checkpoints, first_epoch: int) -> tuple[int, list[Row]]:
        """The next epoch and the rows before it; every process gets what the chief finds."""
        rows: list[Row] = []
        resumed = checkpoints.restore(self.model) if self.distribution.is_chief else None
        if resumed is not None:
            first_epoch, rows = resumed.epoch, resumed.rows
        if self.distribution.worker.num_workers > 1:
            variables = training_state(self.model, self.model.optimizer)
            values = {name: variable.numpy() for name, variable in variables.items()}
            for name, value in self.distribution.arrays_from_chief(values).items():
                variables[name].assign(value)
        first_epoch = self.distribution.from_chief(first_epoch)
        return first_epoch, self.distribution.from_chief(rows)

    def _stop_requested(self, outputs: TrainingOutputs) -> Callable[[], int | None]:
        """The signal that asked the chief to end: one that other processes get does not count."""
        return lambda: self.distribution.from_chief(outputs.stop_requested())

    def train_to(
        self,
        data: Data,
        plan: TrainingPlan,
        step: int,
        after_epoch: Callable[[int], None] = lambda epoch: None,
    ) -> Arrays:
        """The weights of a plan after this many steps of its schedule, nothing written.

        Args:
          data: what to train on.
          plan: what to train.
          step: where to end.
          after_epoch: called with the number of epochs trained, after each.
        """
        self._start(plan)
        program = self.attach(data, plan.feeding(stop_step=step))
        steps = steps_per_epoch(len(data.labels), self._batch_size)
        for epoch in range(plan.start_step // steps, -(-step // steps)):
            program.run_steps(epoch)
            after_epoch(epoch + 1)
        return read_weights(self.model)

    def load(self, weights: Arrays, masks: Masks) -> None:
        """Puts weights and masks into the model."""
        write_weights(self.model, weights)
        self.set_masks(masks)

    def set_masks(self, masks: Masks) -> Masks:
        """Sets the model's masks; returns them as they are now, see `network.set_masks`."""
        return set_masks(self.model, self._config, masks)

    def attach(self, data: Data, feeding: Feeding | None) -> EpochProgram[Any, Any]:
        """The program for this kind of data, with the data attached; see `EpochProgram`."""
        streamed = isinstance(data, StreamedData)
        key = ("program", streamed, self.model.noise)
        self.model.program = self.once(key, lambda: self._program(streamed))
        with tf.device(self.device):
            self.model.program.attach(data, feeding)
        return self.model.program

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make()` gave when this key was first asked for: compiled once for a network."""
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    def _start(self, plan: TrainingPlan, noise: NoiseState | None = None) -> None:
        self.model.noise = noise
        self.load(plan.weights, plan.masks)
        optimizers.reset_slots(self.model.optimizer, self.model.variables)

    def _check_stack(self) -> None:
        """Raises SettingError if trainings of the network cannot be trained together."""
        places = self._places
        if places == 1:
            return
        if reason := cannot_stack(self.model):
            raise SettingError("stack", places, f"1 with a network whose {reason}")

    def _program(self, streamed: bool) -> EpochProgram[Any, Any]:
        matmul = self._config.training.matmul
        if self.distribution.strategy is not None:
            distributed = DistributedStreamedProgram if streamed else DistributedProgram
            return distributed(self.model, self._batch_size, self.distribution, matmul=matmul)
        if streamed:
            return StreamedProgram(self.model, self._batch_size, self.jit, matmul)
        if self._together is not None and self._places > 1 and self.model.noise is None:
            return StackedProgram(self.model, self._batch_size, self.jit, self._together, matmul)
        return ResidentProgram(self.model, self._batch_size, self.jit, matmul)
