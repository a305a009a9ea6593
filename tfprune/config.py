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

from tfprune.data.registry import AUGMENTATIONS, DATASETS, LABEL_NOISE, PATH_DATASETS
from tfprune.errors import InputError, SettingError, nearest, unknown_name
from tfprune.models.registry import MODELS, PRUNABLE_KERNELS
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

    def __post_init__(self) -> None:
        super().__post_init__()
        kind, colon, path = self.dataset.partition(":")
        if not self.dataset or (colon and kind in PATH_DATASETS and not path):
            raise SettingError("dataset", self.dataset, "a name, npz:PATH or folder:PATH")
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


def _divides_one(name: str, value: Any) -> None:
    if not 0 < value <= 1 or abs(1 / value - round(1 / value)) > 1e-9:
        raise SettingError(name, value, "a step that divides 1, as 0.01 or 0.05")


def _odd(name: str, value: Any) -> None:
    if value < 3 or value % 2 == 0:
        raise SettingError(name, value, "an odd number of at least 3, so that 0 is a point")


def _odd_or_none(name: str, value: Any) -> None:
    if value != 0:
        _odd(name, value)


def _line_distance(name: str, value: Any) -> None:
    if not 0 < value <= 100:
        raise SettingError(name, value, "a number above 0, at most 100")


@dataclasses.dataclass(frozen=True)
class BranchConfig(Section):
    """What is trained further from the levels of a trunk."""

    branch_levels: str = setting(
        "auto",
        "levels to branch from: auto (dense, overfitting, sweet spots, underfitting; SDD 3.2), "
        "all, or a list as 0,8,12",
    )
    redense_lr: float = setting(
        0.0,
        "learning rate of re-dense training; 0 takes the last one of the sparse training",
        check=at_least(0),
    )
    redense_epochs: int = setting(
        0, "epochs of re-dense training; 0 takes --train_epochs", check=at_least(0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branch_levels not in ("auto", "all") and self.listed_levels is None:
            raise SettingError("branch_levels", self.branch_levels, "auto, all, or levels as 0,8")

    def check_with(self, config: RunConfig) -> None:
        """Refuses to branch from a level that the trunk does not have."""
        last = config.pruning.last_level
        if self.listed_levels and self.listed_levels[-1] > last:
            raise SettingError(
                "branch_levels",
                self.branch_levels,
                f"levels from 0 to {last}, or more --levels in the trunk",
            )

    @property
    def listed_levels(self) -> tuple[int, ...] | None:
        """The levels that are listed, increasing; None for `auto`, `all` and what is no list."""
        return _level_list(self.branch_levels)


def _level_list(text: str) -> tuple[int, ...] | None:
    parts = text.split(",")
    if not all(re.fullmatch("[0-9]+", part.strip()) for part in parts):
        return None
    return tuple(sorted({int(part) for part in parts}))


@dataclasses.dataclass(frozen=True)
class LandscapeConfig(Section):
    """How the loss around and between solutions is measured."""

    alpha_step: float = setting(
        0.01, "step of the linear interpolation from sparse (0) to re-dense (1)", check=_divides_one
    )
    interpolation_batch_norm: str = setting(
        "interpolated",
        "batch-norm statistics at a point of the interpolation",
        choices=("interpolated", "reestimated"),
    )
    directions: int = setting(
        5, "filter-normalized random directions of the 1-D loss", check=at_least(1)
    )
    line_distance: float = setting(
        1.0, "the 1-D loss goes from minus to plus this, in filter norms", check=_line_distance
    )
    line_points: int = setting(
        41, "points of the 1-D loss in each direction, an odd number", check=_odd
    )
    sparse_subspace: bool = setting(
        False, "keep directions inside the weights that the sparse network had left"
    )
    surface_points: int = setting(
        0, "points along each side of the 2-D loss surface, odd; 0 for none", check=_odd_or_none
    )


METHODS = {
    "lr_rewind": "iterative pruning by --criterion, learning-rate rewinding",
    "weight_rewind": "the same with weight rewinding",
    "synflow": "lr_rewind by SynFlow",
    "snip": "lr_rewind by SNIP",
    "random": "lr_rewind by random scores",
    "extended_dense": "dense training for as long as lr_rewind (EDT)",
    "width": "dense networks, each 1 - prune_fraction as wide as the one before",
    "one_shot": "one pruning to each level's sparsity, learning-rate rewinding",
    "width_matched": "the networks of width, trained as long as those of one_shot",
}
LEAVE_OUT_SETS = {
    "tie": "without the examples whose loss pruning lowers most",
    "rnd": "without as many random ones",
    "worsened_subsample": "a random part with the examples whose loss pruning raises most",
    "random_subsample": "as large a random part without them",
    "dense_subset": "those the sparse network classifies right",
}


def _explained(names: dict[str, str]) -> str:
    return "; ".join(f"{name}: {summary}" for name, summary in names.items())


def _names(setting: str, values: tuple[str, ...], known: Iterable[str]) -> None:
    for value in values:
        if value not in known:
            raise unknown_name(setting, value, known)
    if not values or len(set(values)) != len(values):
        raise SettingError(setting, join(values), "different names, at least one")


@dataclasses.dataclass(frozen=True)
class FamilyConfig(Section):
    """Which families of models are compared (PEG)."""

    methods: tuple[str, ...] = setting(("lr_rewind",), _explained(METHODS))

    def __post_init__(self) -> None:
        super().__post_init__()
        _names("methods", self.methods, METHODS)


@dataclasses.dataclass(frozen=True)
class ScoresConfig(Section):
    """What is measured of single examples (PEG 3, B.3, K.1)."""

    el2n_models: int = setting(10, "networks that EL2N scores are a mean over", check=at_least(1))
    el2n_percent: float = setting(
        10.0, "how far they are trained, in percent of --train_epochs", check=between(0.001, 100)
    )
    gallery_examples: int = setting(
        20, "examples that a gallery shows of each kind", check=at_least(1)
    )


@dataclasses.dataclass(frozen=True)
class LeaveOutConfig(Section):
    """What dense networks are trained on (PEG D, E, K.2)."""

    leave_out_sets: tuple[str, ...] = setting(
        tuple(LEAVE_OUT_SETS), _explained(LEAVE_OUT_SETS), identity=False
    )
    leave_out_levels: str = setting(
        "all",
        "levels that choose the sets: all, a list as 1,4,8, or auto: the one of best validation "
        "accuracy and five evenly spaced",
        identity=False,
    )
    improved_fraction: float = setting(
        0.2, "fraction of the examples that tie and rnd leave out", check=between(0, 0.99)
    )
    subsample_fraction: float = setting(
        0.4, "fraction of the examples that the subsamples keep", check=between(0.01, 0.99)
    )
    worsened_fraction: float = setting(
        0.01, "fraction of the examples that is top-worsened", check=between(0, 0.99)
    )
    match_steps: bool = setting(
        False, "raise the epochs of all sets so that gradient steps match, as for dense_subset"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _names("leave_out_sets", self.leave_out_sets, LEAVE_OUT_SETS)
        text = self.leave_out_levels
        if text not in ("all", "auto") and _level_list(text) is None:
            raise SettingError("leave_out_levels", text, "all, auto, or levels as 1,4,8")
        if self.worsened_fraction > min(self.subsample_fraction, 1 - self.subsample_fraction):
            raise SettingError(
                "worsened_fraction",
                self.worsened_fraction,
                f"at most --subsample_fraction={self.subsample_fraction:g} and what it leaves",
            )

    def check_with(self, config: RunConfig) -> None:
        """Refuses levels that the trunk does not have."""
        last = config.pruning.last_level
        if max(_level_list(self.leave_out_levels) or (0,)) > last:
            raise SettingError(
                "leave_out_levels",
                self.leave_out_levels,
                f"levels from 0 to {last}, or more --levels in the trunk",
            )

    @property
    def listed_levels(self) -> tuple[int, ...] | None:
        """The levels that are listed, increasing; None for `all` and `auto`."""
        return _level_list(self.leave_out_levels)


def _share(name: str, value: Any) -> None:
    if not 0 < value <= 1:
        raise SettingError(name, value, "fractions above 0, at most 1")


@dataclasses.dataclass(frozen=True)
class UtilityConfig(Section):
    """How weight utility is measured (PM 2.1)."""

    ablation_ratios: tuple[float, ...] = setting(
        (0.01, 0.05, 0.075, 0.1, 0.15, 0.25),
        "fractions of the weights that are zeroed",
        check=_share,
    )
    ablation_subsets: int = setting(
        500, "random subsets of the weights for each ratio", check=at_least(1)
    )
    ablation_examples: int = setting(
        0, "training examples that utility is a mean over; 0 takes all", check=at_least(0)
    )
    ablation_magnitude_above: float = setting(
        0.0,
        "only weights of larger magnitude are zeroed, and ratios are of them; 0 takes all",
        check=at_least(0),
    )
    ablation_kernels: str = setting(
        "conv_dense", "which kernels count as weights", choices=("conv_dense", "conv", "hidden")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ablation_ratios or (
            tuple(sorted(set(self.ablation_ratios))) != self.ablation_ratios
        ):
            raise SettingError(
                "ablation_ratios", join(self.ablation_ratios), "increasing fractions, none twice"
            )


@dataclasses.dataclass(frozen=True)
class SizeConfig(Section):
    """Which smaller networks are trained (PM 2.2.1)."""

    sizes: tuple[float, ...] = setting(
        (0.5, 0.25),
        "fractions of the prunable weights that networks pruned at random at initialization have",
        check=_share,
        identity=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.sizes)) != len(self.sizes) or 1.0 in self.sizes:
            raise SettingError("sizes", join(self.sizes), "different fractions below 1")


STRUCTURES = {
    "weights": "single weights by --criterion",
    "channels": "filters by --channel_criterion",
}


@dataclasses.dataclass(frozen=True)
class SurfaceConfig(Section):
    """What is pruned, and the plane through the networks it leads to (PM 3)."""

    structures: tuple[str, ...] = setting(tuple(STRUCTURES), _explained(STRUCTURES), identity=False)
    channel_criterion: str = setting(
        "filter_gamma", FILTER_CRITERIA.help_lines(), choices=FILTER_CRITERIA, identity=False
    )
    channel_fraction: float = setting(
        0.2,
        "fraction of the remaining filters that a level removes",
        check=between(0, 1),
        identity=False,
    )
    plane_levels: str = setting(
        "all", "levels whose plane is measured: all, last, or a list as 1,3,5", identity=False
    )
    plane_points: int = setting(15, "points along each side of the plane's grid", check=at_least(2))
    plane_margin: float = setting(
        0.2,
        "how far the grid goes beyond the networks, as a fraction of their extent",
        check=between(0, 10),
    )
    plane_examples: int = setting(
        0, "training examples that the plane is measured on; 0 takes all", check=at_least(0)
    )
    plane_batch_norm: str = setting(
        "reestimated",
        "batch-norm statistics at a point of the plane",
        choices=("reestimated", "interpolated"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _names("structures", self.structures, STRUCTURES)
        if self.plane_levels not in ("all", "last") and _level_list(self.plane_levels) is None:
            raise SettingError("plane_levels", self.plane_levels, "all, last, or levels as 1,3,5")

    def check_with(self, config: RunConfig) -> None:
        """Refuses levels that the trunk does not have, and a trunk that prunes nothing."""
        last = config.pruning.last_level
        if not last:
            raise SettingError("levels", last, "at least 1: a plane goes through a pruned network")
        listed = _level_list(self.plane_levels)
        if listed and not 1 <= listed[0] <= listed[-1] <= last:
            raise SettingError(
                "plane_levels",
                self.plane_levels,
                f"levels from 1 to {last}, or more --levels in the trunk",
            )

    def levels(self, config: RunConfig) -> list[int]:
        """The levels whose plane is measured."""
        every = list(range(1, config.pruning.last_level + 1))
        listed = _level_list(self.plane_levels)
        return list(listed) if listed else every[-1:] if self.plane_levels == "last" else every


_PRUNING_RUN = re.compile(
    r"(smallest|random|largest):(\d+)(:0?\.\d+)?|scratch:(smallest|random|largest)"
)
_NOISE_RUN = re.compile(r"(zeroing|restoring|gaussian):(\d+)(:cumulative)?")


def _runs(name: str, values: tuple[str, ...], pattern: re.Pattern[str], allowed: str) -> None:
    matches = [pattern.fullmatch(value) for value in values]
    counts = [int(match[2]) for match in matches if match and match[2]]
    if not all(matches) or not all(counts) or len(set(values)) != len(values):
        raise SettingError(name, join(values), allowed)


@dataclasses.dataclass(frozen=True)
class FilterConfig(Section):
    """Which filters are pruned during training, and when (GST 2); --criterion scores them."""

    prunings: tuple[str, ...] = setting(
        ("smallest:40", "largest:40"),
        "what is compared with no pruning: TARGET:PERIOD prunes the smallest, random or largest "
        "scores every PERIOD epochs, TARGET:PERIOD:FRACTION another fraction than "
        "--prune_fractions; scratch:TARGET trains the pruned architecture from the outset",
        identity=False,
    )
    prune_layers: str = setting(
        "all",
        "convolutions that lose filters: all of the network's blocks, lastN, or names as one,two",
    )
    prune_fractions: tuple[float, ...] = setting(
        (0.3,),
        "fraction of each layer's filters that is pruned in the end; one for all, or one per layer",
        check=between(0, 0.999),
    )
    prune_starts: tuple[int, ...] = setting(
        (3,),
        "index, from 0, of the epoch after which a layer is first pruned; one, or one per layer",
        check=at_least(0),
    )
    prune_ends: tuple[int, ...] = setting(
        (150,),
        "index of the epoch after which a layer is no more pruned; one, or one per layer",
        check=at_least(0),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = (
            "different ones of TARGET:PERIOD, TARGET:PERIOD:FRACTION and scratch:TARGET, with "
            "TARGET one of smallest, random and largest and PERIOD above 0"
        )
        _runs("prunings", self.prunings, _PRUNING_RUN, allowed)
        counts = {
            name: len(getattr(self, name))
            for name in ("prune_fractions", "prune_starts", "prune_ends")
        }
        longest = max(counts.values())
        for name, count in counts.items():
            if count not in (1, longest) or count == 0:
                raise SettingError(name, join(getattr(self, name)), f"one value, or {longest}")
        pairs = zip(self._spread("prune_starts"), self._spread("prune_ends"), strict=True)
        if any(start > end for start, end in pairs):
            starts = f"--prune_starts={join(self.prune_starts)}"
            raise SettingError("prune_ends", join(self.prune_ends), f"no end before {starts}")
        if not self.prune_layers:
            raise SettingError("prune_layers", "", "all, lastN, or names of layers")

    def check_with(self, config: RunConfig) -> None:
        """Refuses criteria of single weights, and schedules that begin after training."""
        if not config.pruning.prunes_filters:
            raise SettingError(
                "criterion", config.pruning.criterion, f"one of filters: {join(FILTER_CRITERIA)}"
            )
        if max(self.prune_starts) >= config.training.train_epochs:
            raise SettingError(
                "prune_starts",
                join(self.prune_starts),
                f"epochs before the last (--train_epochs={config.training.train_epochs})",
            )

    def _spread(self, name: str) -> tuple[Any, ...]:
        values = getattr(self, name)
        longest = max(map(len, (self.prune_fractions, self.prune_starts, self.prune_ends)))
        return values * longest if len(values) == 1 else values

    def per_layer(self, layers: int) -> list[tuple[float, int, int]]:
        """(fraction, start, end) of each of so many layers.

        Raises:
          SettingError: the settings are of another number of layers.
        """
        spans = list(
            zip(*map(self._spread, ("prune_fractions", "prune_starts", "prune_ends")), strict=True)
        )
        if len(spans) == 1:
            return spans * layers
        if len(spans) != layers:
            raise SettingError(
                "prune_layers", self.prune_layers, f"{len(spans)} layers, as many as the schedules"
            )
        return spans


@dataclasses.dataclass(frozen=True)
class NoiseConfig(Section):
    """Noise on the filters that would be pruned (GST 3.3)."""

    noises: tuple[str, ...] = setting(
        ("zeroing:1", "zeroing:50", "gaussian:1", "gaussian:50"),
        "KIND:BATCHES or KIND:BATCHES:cumulative, KIND one of zeroing (the filters are zero for so "
        "many batches), restoring (zero, then as before) and gaussian (noise is added each batch)",
        identity=False,
    )
    noise_target: str = setting(
        "largest", "which scores are disturbed", choices=("smallest", "random", "largest")
    )
    noise_period: int = setting(40, "epochs from one event to the next", check=at_least(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "different ones of KIND:BATCHES, with :cumulative or without, BATCHES above 0"
        _runs("noises", self.noises, _NOISE_RUN, allowed)

    def check_with(self, config: RunConfig) -> None:
        """Refuses strategies of several devices, which share a training's batches."""
        if config.strategy in _ONE_AT_A_TIME:
            raise SettingError("strategy", config.strategy, "auto, cpu or gpu with --noises")


@dataclasses.dataclass(frozen=True)
class FlatnessConfig(Section):
    """How the flatness of a minimum is measured (GST 2, 3.4, E)."""

    flatness_examples: int = setting(
        512,
        "test examples that derivatives are taken on: the first ones, or all if there are fewer",
        check=at_least(1),
    )
    eigenvalues: int = setting(100, "eigenvalues of the Hessian, the largest", check=at_least(1))
    trace_probes: int = setting(
        100, "random vectors of Hutchinson's estimate of the trace", check=at_least(2)
    )
    perturbed_eigenvectors: int = setting(
        10, "eigenvectors along which the loss is measured", check=at_least(1)
    )
    unpruned_only: bool = setting(True, "leave pruned weights out of all derivatives")


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
        if self.strategy in _ONE_AT_A_TIME and (self.workers > 1 or self.executor == "ray"):
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
