"""A run's settings: frozen, validated, to and from JSON; the only source of a run's identity.

Its sections stand with what they set, as `tfprune.data.settings`. Importing this module imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_type_hints

from tfprune import layout
from tfprune.catalog import FILTER_CRITERIA
from tfprune.data.settings import DataConfig
from tfprune.errors import InputError, SettingError, nearest
from tfprune.models.settings import ModelConfig
from tfprune.pruning.settings import PruningConfig, RewindPoint
from tfprune.seeds import MAX_SEED
from tfprune.settings import (
    Section,
    above,
    at_least,
    auto_or_count,
    between,
    join,
    one_of,
    setting,
    settings_of,
)
from tfprune.training.schedules import retraining_schedule
from tfprune.training.settings import TrainingConfig

JIT = ("auto", "on", "off")
STRATEGIES = {
    "auto": "a GPU where there is one",
    "cpu": "the CPU",
    "gpu": "the first GPU",
    "mirrored": "all GPUs of this machine",
    "multi_worker": "the processes in TF_CONFIG, all running the same command",
    "tpu": "the cores of `tpu`",
}
# Their trainings take all devices there are.
_ONE_AT_A_TIME = ("mirrored", "multi_worker", "tpu")
EXECUTORS = ("local", "ray")

_SHARD = re.compile(r"(\d+)/(\d+)")


def _shard(name: str, value: Any) -> None:
    match = _SHARD.fullmatch(value)
    if not match or not int(match[1]) < int(match[2]):
        raise SettingError(name, value, "I/N with I from 0 to N-1, as 0/8")


# All of a stack's networks are there at once.
_LARGEST_STACK = 1024


def _stack(name: str, value: Any) -> None:
    auto_or_count(name, value)
    if value != "auto" and int(value) > _LARGEST_STACK:
        raise SettingError(name, value, f"auto, or a number from 1 to {_LARGEST_STACK}")


@dataclasses.dataclass(frozen=True)
class RunConfig(Section):
    """A whole run: what, with which seeds, where to, and on what."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    pruning: PruningConfig = dataclasses.field(default_factory=PruningConfig)
    experiment: str = dataclasses.field(default="", metadata={"identity": False})
    preset: str = dataclasses.field(default="", metadata={"identity": False})
    output_dir: str = setting(
        "", "where everything goes; default runs/EXPERIMENT", identity=False, path=True
    )
    seeds: tuple[int, ...] = setting(
        (0, 1, 2), "one trial each, as 0,1,2 or 0-4", check=between(0, MAX_SEED), identity=False
    )
    checkpoint_seconds: float = setting(
        60.0,
        "time between epoch checkpoints; 0 writes one every epoch",
        check=at_least(0),
        identity=False,
    )
    snapshot_every: int = setting(
        0,
        "keep the weights of the dense training every so many epochs; 0 keeps none",
        check=at_least(0),
        identity=False,
    )
    jit: str = setting(
        "auto",
        "compile with XLA; auto decides by device and model; on a GPU whole loops become command "
        "buffers unless XLA_FLAGS names others",
        choices=JIT,
    )
    compilation_cache: str = setting(
        "auto",
        "where what XLA compiles is kept for later runs of this machine: a folder, auto for one in "
        "the user's cache folder, or off",
        identity=False,
        path=True,
    )
    strategy: str = setting(
        "auto",
        "which devices share a training's batches; "
        + "; ".join(f"{name}: {devices}" for name, devices in STRATEGIES.items()),
        choices=STRATEGIES,
        identity=False,
    )
    peer_seconds: float = setting(
        600.0,
        "how long the processes of `strategy=multi_worker` wait for each other at the start",
        check=above(0),
        identity=False,
    )
    tpu: str = setting(
        "", "name or address of the TPU of `strategy=tpu`; default this machine's", identity=False
    )
    deterministic: bool = setting(
        True, "deterministic kernels: the same bits on every run of a device"
    )
    workers: str = setting(
        "1",
        "processes of this machine that train independent trials, at most one for each trial; auto "
        "takes one for each core, or GPU",
        check=auto_or_count,
        identity=False,
    )
    stack: str = setting(
        "auto",
        "trainings of one shape that a process trains together, as one program; their numbers "
        "differ by rounding from those of other sizes. auto is 1 until more are measured to pay",
        check=_stack,
        identity=False,
    )
    shard: str = setting(
        "0/1",
        "I/N: only the trials I, I+N, I+2N, ... counted from 0, as for arrays of cluster jobs",
        check=_shard,
        identity=False,
    )
    executor: str = setting(
        "local",
        "where trials are trained: on this machine, or on a Ray cluster",
        choices=EXECUTORS,
        identity=False,
    )
    ray_address: str = setting("auto", "the Ray cluster, as ray.init takes it", identity=False)
    ray_cpus: float = setting(
        1.0, "CPUs that Ray reserves for a trial", check=at_least(0), identity=False
    )
    ray_gpus: float = setting(
        0.0,
        "GPUs that Ray reserves for a trial, or a part of one",
        check=at_least(0),
        identity=False,
    )
    ray_retries: int = setting(
        3,
        "how often Ray starts a trial again whose process or machine died",
        check=at_least(0),
        identity=False,
    )
    figure_format: tuple[str, ...] = setting(
        layout.FIGURE_FORMATS[:1],
        f"files of each figure, of {', '.join(layout.FIGURE_FORMATS)}; png is always there",
        check=one_of(layout.FIGURE_FORMATS),
        identity=False,
    )
    mix_versions: bool = setting(
        False, "reuse what other versions of the code have trained in `output_dir`", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise SettingError("seeds", join(self.seeds), "distinct integers, at least one")
        if self.model.cut_shortcuts and not self.pruning.prunes_filters:
            raise SettingError(
                "cut_shortcuts",
                True,
                f"false, or a `criterion` of filters with it: {', '.join(FILTER_CRITERIA)}",
            )
        if self.tpu and self.strategy != "tpu":
            raise SettingError("tpu", self.tpu, "nothing, or `strategy=tpu` with it")
        if self.jit == "on" and self.strategy in ("mirrored", "multi_worker"):
            raise SettingError(
                "jit", "on", f"auto or off: XLA cannot compile under `strategy={self.strategy}`"
            )
        point = RewindPoint.parse(self.pruning.rewind_to)
        if point.unit == "ep" and point.count >= self.training.train_epochs:
            raise SettingError(
                "rewind_to",
                self.pruning.rewind_to,
                f"a point before the end of training (`train_epochs={self.training.train_epochs}`)",
            )
        retraining_schedule(self.training, self.pruning)  # Refuses what has none.
        several = {"workers": self.workers, "stack": self.stack}
        asked = [name for name, value in several.items() if str(value) not in ("auto", "1")]
        if self.takes_all_devices and (asked or self.executor == "ray"):
            raise SettingError(
                "strategy",
                self.strategy,
                "one training over several devices; without `workers`, `stack` and `executor=ray`",
            )
        if "stack" in asked and self.jit == "off":
            raise SettingError("stack", self.stack, "1 with `jit=off`: XLA compiles stacks")
        if self.executor == "ray" and "workers" in asked:
            raise SettingError(
                "workers", self.workers, "1 or auto with `executor=ray`, which places trials"
            )

    @property
    def takes_all_devices(self) -> bool:
        """Whether every training is shared by all devices, so that none can run beside it."""
        return self.strategy in _ONE_AT_A_TIME

    @property
    def shard_of(self) -> tuple[int, int]:
        """This process's part of the trials, and how many parts there are."""
        part, parts = self.shard.split("/")
        return int(part), int(parts)


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "pruning": PruningConfig,
}


def from_settings(values: dict[str, Any], **run: Any) -> RunConfig:
    """A RunConfig from flat `{setting: value}`, as flags give them.

    Args:
      values: settings of any section; those left out take their defaults.
      **run: `experiment` and `preset`.

    Raises:
      InputError: a value is not allowed, or there is no such setting.
    """
    known = {name for section in (*SECTIONS.values(), RunConfig) for name in settings_of(section)}
    for name in values:
        if name not in known:
            raise InputError(f"there is no setting {name!r}: {nearest(name, known)}")
    sections: dict[str, Any] = {
        key: section(**{n: values[n] for n in settings_of(section) if n in values})
        for key, section in SECTIONS.items()
    }
    own = {n: values[n] for n in settings_of(RunConfig) if n in values}
    return RunConfig(**sections, **own, **run)


def replace(config: RunConfig, **values: Any) -> RunConfig:
    """The same run with some settings changed, whichever section they are in."""
    flat = {**flat_settings(config), **values}
    return from_settings(flat, experiment=config.experiment, preset=config.preset)


def flat_settings(config: RunConfig) -> dict[str, Any]:
    """The values of a run's settings by name, whichever section they are in."""
    parts = (*(getattr(config, section) for section in SECTIONS), config)
    return {name: getattr(part, name) for part in parts for name in settings_of(type(part))}


_T = TypeVar("_T")


def from_values(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from its nested values, as config.json holds them.

    Raises:
      TypeError: a section is none, or there is no such setting.
      SettingError: a value is not allowed.
    """
    return _build(RunConfig, values)


def _build(kind: type[_T], values: dict[str, Any]) -> _T:
    hints = get_type_hints(kind)
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints.get(name)):
            if not isinstance(value, dict):
                raise TypeError(f"{name} is {value!r}, and must hold names and values")
            value = _build(hints[name], value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)


def identity(config: RunConfig, sections: Iterable[str] = tuple(SECTIONS)) -> dict[str, Any]:
    """The values of these sections that can change a number, and of how the run computes."""
    computing = {"jit": config.jit, "deterministic": config.deterministic}
    return {**{name: getattr(config, name).identity() for name in sections}, **computing}
