"""A run's settings: frozen, validated, to and from JSON; the only source of a run's identity.

Every setting is declared once, as a dataclass field made by `setting`; the command line's flag,
its type, default and help come from that field. Importing this module imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_type_hints

from etils import epath

from tfprune.data.registry import (
    AUGMENTATIONS,
    DATASETS,
    LABEL_NOISE,
    NORMALIZATIONS,
    PATH_DATASETS,
)
from tfprune.errors import InputError, SettingError, nearest, unknown_name
from tfprune.models.registry import INITIALIZATIONS, MODELS, PRUNABLE_KERNELS
from tfprune.pruning.registry import CRITERIA, FILTER_CRITERIA, SCOPES
from tfprune.registry import Registry
from tfprune.seeds import MAX_SEED

RETRAINING = {
    "weight_rewind": "weights and schedule back to the rewind point",
    "lr_rewind": "final weights kept, schedule replayed from the rewind point",
    "finetune": "final weights kept, fixed learning rate",
    "scratch": "a new random initialization, whole schedule",
    "extended_dense": "as lr_rewind, nothing removed",
}
LR_DECAYS = {
    "drops": "the learning rate drops after --lr_drop_epochs",
    "cosine": "half a cosine, from the end of the warm-up to 0 at the end of training",
}
OPTIMIZERS = ("sgd", "nesterov", "adam")
DTYPES = ("float32", "mixed_bfloat16", "float64")
JIT = ("auto", "on", "off")
STRATEGIES = {
    "auto": "a GPU where there is one",
    "cpu": "the CPU",
    "gpu": "the first GPU",
    "mirrored": "all GPUs of this machine",
    "multi_worker": "the processes in TF_CONFIG, all running the same command",
    "tpu": "the cores of --tpu",
}
# Their trainings take all devices there are.
_ONE_AT_A_TIME = ("mirrored", "multi_worker", "tpu")
EXECUTORS = ("local", "ray")
BATCH_NORM_GAMMA = ("ones", "uniform")
SHORTCUTS = ("projection", "zero_pad")

Check = Callable[[str, Any], None]


def between(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> None:
        if not low <= value <= high:
            raise SettingError(name, value, f"a number in [{low}, {high}]")

    return check


def at_least(low: float) -> Check:
    def check(name: str, value: Any) -> None:
        if not value >= low:
            raise SettingError(name, value, f"a number of at least {low}")

    return check


def above(low: float) -> Check:
    def check(name: str, value: Any) -> None:
        if not value > low:
            raise SettingError(name, value, f"a number above {low}")

    return check


def setting(
    default: Any,
    help: str,  # noqa: A002 - the word the flag uses
    *,
    choices: Iterable[str] | Registry | None = None,
    check: Check | None = None,
    identity: bool = True,
) -> Any:
    """Declares one setting.

    Args:
      default: its default; also the flag's.
      help: one line for `--help`, with units.
      choices: the allowed names, if they are a closed set.
      check: raises SettingError for a value that is not allowed.
      identity: whether the value can change a number in a result; such values make up the hash.
    """
    metadata = {"help": help, "choices": choices, "check": check, "identity": identity}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of settings whose values are checked when it is constructed."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            choices, check = field.metadata.get("choices"), field.metadata.get("check")
            if choices is not None and value not in choices:
                raise unknown_name(field.name, str(value), choices)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, float) and not math.isfinite(part):
                    raise SettingError(field.name, part, "a finite number")
                if check is not None:
                    check(field.name, part)

    def check_with(self, config: RunConfig) -> None:
        """Raises SettingError if the values do not go with a run's; sections may override it."""

    def identity(self) -> dict[str, Any]:
        """The values that can change a number, JSON-ready."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("identity", True)
        }


@dataclasses.dataclass(frozen=True)
class DataConfig(Section):
    """What is trained on."""

    dataset: str = setting(
        "digits",
        f"{', '.join(DATASETS)}, any image classification set of TFDS, npz:PATH or folder:PATH",
    )
    data_dir: str = setting(
        "", "where TFDS sets are prepared; default $TFDS_DATA_DIR", identity=False
    )
    train_subset: str = setting(
        "", "train on this many random examples, or on the indices in this .npy or text file"
    )
    validation_examples: int = setting(
        0, "training examples held out for validation", check=at_least(0)
    )
    label_noise: str = setting("none", LABEL_NOISE.help_lines(), choices=LABEL_NOISE)
    noise_fraction: float = setting(
        0.0, "fraction of the training labels that the noise selects", check=between(0, 1)
    )
    augment: str = setting(
        "none",
        "training images: flip left-right, shift by up to 4 pixels; crop_flip for ImageNet",
        choices=AUGMENTATIONS,
    )
    normalization: str = setting(
        "dataset",
        f"mean and standard deviation per channel; {NORMALIZATIONS.help_lines()}",
        choices=NORMALIZATIONS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, colon, path = self.dataset.partition(":")
        if not self.dataset or (colon and kind in PATH_DATASETS and not path):
            raise SettingError("dataset", self.dataset, "a name, npz:PATH or folder:PATH")
        kind = _kind_of_path(self.dataset)
        if kind:
            raise SettingError("dataset", self.dataset, f"did you mean {kind}:{self.dataset}?")
        if self.label_noise == "none" and self.noise_fraction > 0:
            raise SettingError(
                "noise_fraction",
                self.noise_fraction,
                "0 unless --label_noise names a kind of noise",
            )

    def identity(self) -> dict[str, Any]:
        """As for every section, with files named by what is in them."""
        values = super().identity()
        kind, colon, path = self.dataset.partition(":")
        if colon and kind in PATH_DATASETS:
            values["dataset"] = f"{kind}:{_digest(path)}"
        if self.train_subset and not re.fullmatch("[0-9]+", self.train_subset):
            values["train_subset"] = _digest(self.train_subset)
        return values


def _kind_of_path(dataset: str) -> str:
    """What a path without its prefix lacks; nothing for a name or with a prefix."""
    if dataset.partition(":")[0] in PATH_DATASETS:
        return ""
    if dataset.endswith(".npz"):
        return "npz"
    # Names of TFDS may have a slash, but no folder is called so.
    return "folder" if "/" in dataset and epath.Path(dataset).expanduser().is_dir() else ""


def _digest(path: str) -> str:
    """A file by its bytes, a folder by the names and sizes of the files in it."""
    file = epath.Path(path).expanduser()
    if not file.exists():  # Reported with its flag when the data are loaded.
        return path
    if file.is_dir():
        found = sorted(f"{p.relative_to(file)} {p.stat().length}" for p in file.glob("*/*/*"))
        content = "\n".join(found).encode()
    else:
        content = file.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _width(name: str, value: Any) -> None:
    if not 0 < value <= 100:
        raise SettingError(name, value, "a number above 0, at most 100")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """What is trained."""

    model: str = setting("lenet_300_100", ", ".join(MODELS), choices=MODELS)
    width: float = setting(1.0, "multiplies every hidden width", check=_width)
    prunable: str = setting(
        "default",
        "which kernels are pruned: the model's own set, every convolution, or conv and dense",
        choices=PRUNABLE_KERNELS,
    )
    shortcut: str = setting(
        "projection",
        "ResNet shortcuts that change shape: 1x1 convolution with batch norm, or zero padding",
        choices=SHORTCUTS,
    )
    cut_shortcuts: bool = setting(
        False, "pruning a filter of a block cuts the shortcut into its channel too (GST)"
    )
    initialization: str = setting(
        "kaiming_normal",
        f"how kernels and biases start; {INITIALIZATIONS.help_lines()}",
        choices=INITIALIZATIONS,
    )
    batch_norm_gamma: str = setting(
        "ones", "initial batch-norm scale: ones, or uniform in (0, 1)", choices=BATCH_NORM_GAMMA
    )


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Section):
    """How one training runs."""

    train_epochs: int = setting(100, "epochs of one training", check=at_least(1))
    batch_size: int = setting(128, "examples in a step, over all devices", check=at_least(1))
    optimizer: str = setting("sgd", "optimizer", choices=OPTIMIZERS)
    learning_rate: float = setting(0.1, "learning rate of the first epoch", check=above(0))
    lr_drop_epochs: tuple[int, ...] = setting(
        (), "epochs after which the learning rate drops, comma separated", check=at_least(1)
    )
    lr_drop_factor: float = setting(
        0.1, "multiplies the learning rate at every drop", check=above(0)
    )
    lr_decay: str = setting(
        "drops",
        "; ".join(f"{name}: {summary}" for name, summary in LR_DECAYS.items()),
        choices=LR_DECAYS,
    )
    warmup_epochs: int = setting(
        0, "epochs in which the learning rate first rises, step by step, from 0", check=at_least(0)
    )
    momentum: float = setting(0.0, "momentum of sgd and nesterov", check=between(0, 1))
    weight_decay: float = setting(
        0.0, "coupled L2: this times the weights is added to the gradient", check=at_least(0)
    )
    adam_epsilon: float = setting(1e-8, "epsilon of adam", check=above(0))
    dtype: str = setting("float32", "Keras dtype policy", choices=DTYPES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if tuple(sorted(set(self.lr_drop_epochs))) != self.lr_drop_epochs:
            raise SettingError(
                "lr_drop_epochs", join(self.lr_drop_epochs), "increasing epochs, none twice"
            )
        if self.lr_decay == "cosine" and self.lr_drop_epochs:
            raise SettingError(
                "lr_drop_epochs", join(self.lr_drop_epochs), "nothing with --lr_decay=cosine"
            )
        if self.warmup_epochs >= self.train_epochs:
            raise SettingError(
                "warmup_epochs",
                self.warmup_epochs,
                f"fewer epochs than the training has (--train_epochs={self.train_epochs})",
            )


_REWIND_POINT = re.compile(r"(\d+)(ep|it)")


@dataclasses.dataclass(frozen=True)
class RewindPoint:
    """A moment of training: `10ep`, the end of epoch 10, or `1000it`, after 1000 steps."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str, name: str = "rewind_to") -> RewindPoint:
        """Reads `0ep`, `10ep` or `1000it`; raises SettingError for anything else."""
        match = _REWIND_POINT.fullmatch(text)
        if not match:
            raise SettingError(name, text, "a number of epochs as 10ep or of steps as 1000it")
        return cls(int(match[1]), match[2])

    def step(self, steps_per_epoch: int) -> int:
        """The moment as a number of steps."""
        return self.count * (steps_per_epoch if self.unit == "ep" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"


@dataclasses.dataclass(frozen=True)
class PruningConfig(Section):
    """What is removed between trainings, and how training goes on."""

    criterion: str = setting(
        "magnitude",
        f"{CRITERIA.help_lines()}; of whole filters {FILTER_CRITERIA.help_lines()}",
        choices=(*CRITERIA, *FILTER_CRITERIA),
    )
    criterion_batches: int = setting(
        10, "training batches that snip averages over", check=at_least(1)
    )
    scope: str = setting("global", "weights compete across layers or within one", choices=SCOPES)
    prune_fraction: float = setting(
        0.2, "fraction of the remaining weights that a level removes", check=between(0, 1)
    )
    levels: int = setting(
        22, "pruning iterations after the dense training", check=at_least(0), identity=False
    )
    sparsities: tuple[float, ...] = setting(
        (),
        "prune in one shot from the dense network to each of these, instead of iteratively",
        check=between(0, 1),
    )
    retrain: str = setting(
        "weight_rewind",
        "; ".join(f"{name}: {summary}" for name, summary in RETRAINING.items()),
        choices=RETRAINING,
    )
    rewind_to: str = setting("0ep", "rewind point: 10ep (epochs) or 1000it (steps)")
    finetune_lr: float = setting(
        0.0, "learning rate of finetune; 0 takes the schedule's last value", check=at_least(0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        RewindPoint.parse(self.rewind_to)
        if tuple(sorted(set(self.sparsities))) != self.sparsities or 1.0 in self.sparsities:
            raise SettingError(
                "sparsities", join(self.sparsities), "increasing fractions below 1, none twice"
            )

    @property
    def prunes_filters(self) -> bool:
        """Whether whole filters are pruned, and fractions are of filters."""
        return self.criterion in FILTER_CRITERIA

    @property
    def last_level(self) -> int:
        """The last level of a trunk."""
        return len(self.sparsities) or self.levels


_SHARD = re.compile(r"(\d+)/(\d+)")


def _shard(name: str, value: Any) -> None:
    match = _SHARD.fullmatch(value)
    if not match or not int(match[1]) < int(match[2]):
        raise SettingError(name, value, "I/N with I from 0 to N-1, as 0/8")


@dataclasses.dataclass(frozen=True)
class RunConfig(Section):
    """A whole run: what, with which seeds, where to, and on what."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    pruning: PruningConfig = PruningConfig()
    experiment: str = dataclasses.field(default="", metadata={"identity": False})
    preset: str = dataclasses.field(default="", metadata={"identity": False})
    output_dir: str = setting("", "where everything goes; default runs/EXPERIMENT", identity=False)
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
    jit: str = setting("auto", "compile with XLA; auto decides by device and model", choices=JIT)
    strategy: str = setting(
        "auto",
        "which devices share a training's batches; "
        + "; ".join(f"{name}: {devices}" for name, devices in STRATEGIES.items()),
        choices=STRATEGIES,
        identity=False,
    )
    tpu: str = setting(
        "", "name or address of the TPU of --strategy=tpu; default this machine's", identity=False
    )
    deterministic: bool = setting(
        True, "deterministic kernels: the same bits on every run of a device"
    )
    workers: int = setting(
        1,
        "processes of this machine that train independent trials",
        check=at_least(1),
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
    mix_versions: bool = setting(
        False, "reuse what other versions of the code have trained in --output_dir", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise SettingError("seeds", join(self.seeds), "distinct integers, at least one")
        if self.model.cut_shortcuts and not self.pruning.prunes_filters:
            raise SettingError(
                "cut_shortcuts",
                True,
                f"false, or a --criterion of filters with it: {', '.join(FILTER_CRITERIA)}",
            )
        if self.tpu and self.strategy != "tpu":
            raise SettingError("tpu", self.tpu, "nothing, or --strategy=tpu with it")
        if self.jit == "on" and self.strategy in ("mirrored", "multi_worker"):
            raise SettingError(
                "jit", "on", f"auto or off: XLA cannot compile under --strategy={self.strategy}"
            )
        point = RewindPoint.parse(self.pruning.rewind_to)
        if point.unit == "ep" and point.count >= self.training.train_epochs:
            raise SettingError(
                "rewind_to",
                self.pruning.rewind_to,
                f"a point before the end of training (--train_epochs={self.training.train_epochs})",
            )
        if (
            self.training.lr_decay == "cosine"
            and self.pruning.retrain == "finetune"
            and not self.pruning.finetune_lr
        ):
            raise SettingError(
                "finetune_lr", 0.0, "a rate above 0 with --lr_decay=cosine, which ends near 0"
            )
        if self.takes_all_devices and (self.workers > 1 or self.executor == "ray"):
            raise SettingError(
                "strategy",
                self.strategy,
                "one training over several devices; without --workers and --executor=ray",
            )
        if self.executor == "ray" and self.workers > 1:
            raise SettingError(
                "workers", self.workers, "1 with --executor=ray, which places trials"
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


def join(values: Iterable[Any]) -> str:
    return ",".join(str(value) for value in values)


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "pruning": PruningConfig,
}


def settings_of(section: type[Section]) -> dict[str, dataclasses.Field]:
    """The settings a section declares itself, by name, sections inside it left out."""
    return {f.name: f for f in dataclasses.fields(section) if "help" in f.metadata}


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
    flat = {
        name: getattr(part, name)
        for part in (config.data, config.model, config.training, config.pruning, config)
        for name in settings_of(type(part))
    }
    return from_settings({**flat, **values}, experiment=config.experiment, preset=config.preset)


def to_json(config: RunConfig) -> str:
    """Every value, defaults included, as canonical JSON (sorted keys, no spaces)."""
    return _canonical(dataclasses.asdict(config))


_T = TypeVar("_T")


def from_json(text: str) -> RunConfig:
    """The inverse of `to_json`."""
    return from_values(json.loads(text))


def from_values(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from its nested values, as config.json holds them."""
    return _build(RunConfig, values)


def _build(kind: type[_T], values: dict[str, Any]) -> _T:
    hints = get_type_hints(kind)
    built = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = _build(hints[name], value)
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    return kind(**built)


def identity(config: RunConfig, sections: Iterable[str] = tuple(SECTIONS)) -> dict[str, Any]:
    """The values of these sections that can change a number, and of how the run computes."""
    computing = {"jit": config.jit, "deterministic": config.deterministic}
    return {**{name: getattr(config, name).identity() for name in sections}, **computing}


def hash8(values: Any) -> str:
    """The first eight hex digits of the SHA-256 of canonical JSON."""
    return hashlib.sha256(_canonical(values).encode()).hexdigest()[:8]


def _canonical(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
