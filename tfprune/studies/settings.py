"""What an experiment can be told beside its runs: what is branched, left out, pruned, measured.

Each section is one kind of study's. A trial's folder does not depend on them; what is trained or
measured by them names its own files by `Section.identity`. Importing this module imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from tfprune.catalog import FILTER_CRITERIA
from tfprune.config import RunConfig
from tfprune.errors import SettingError, unknown_name
from tfprune.settings import Section, above, at_least, between, join, setting


def _divides_one(name: str, value: Any) -> None:
    if not 1e-4 <= value <= 1 or abs(1 / value - round(1 / value)) > 1e-9:
        raise SettingError(name, value, "a step that divides 1, as 0.01 or 0.05; at least 0.0001")


def _odd(name: str, value: Any) -> None:
    if value < 3 or value % 2 == 0 or value > 10_001:
        raise SettingError(name, value, "an odd number from 3 to 10001, so that 0 is a point")


def _odd_or_none(name: str, value: Any) -> None:
    if value != 0:
        _odd(name, value)


@dataclasses.dataclass(frozen=True)
class EfficacyConfig(Section):
    """How pruning efficacy is read off."""

    efficacy_tolerance: float = setting(
        0.01,
        "training accuracy that a sparsity may lose and still count for pruning efficacy",
        check=between(0, 1),
    )


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
        0, "epochs of re-dense training; 0 takes `train_epochs`", check=between(0, 10**6)
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
                f"levels from 0 to {last}, or more `levels` in the trunk",
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
        5, "filter-normalized random directions of the 1-D loss", check=between(1, 10_000)
    )
    line_distance: float = setting(
        1.0, "the 1-D loss goes from minus to plus this, in filter norms", check=above(0, 100)
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
    "lr_rewind": "iterative pruning by `criterion`, learning-rate rewinding",
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


_CLEAN, _NOISY = "clean", "noisy"
_AT_NOISE = (
    f"; NAME:{_CLEAN} is meant for runs without label noise alone, NAME:{_NOISY} for runs with it"
)


def _names_at_noise(setting: str, values: tuple[str, ...], known: Iterable[str]) -> None:
    """As `_names`, of NAME, NAME:clean and NAME:noisy."""
    parts = [value.partition(":") for value in values]
    for value, (_, colon, where) in zip(values, parts, strict=True):
        if colon and where not in (_CLEAN, _NOISY):
            raise SettingError(setting, value, f"NAME, NAME:{_CLEAN} or NAME:{_NOISY}")
    _names(setting, tuple(name for name, _, _ in parts), known)


def at_noise(values: Iterable[str], noise_fraction: float) -> tuple[str, ...]:
    """The names that are meant for a run with so much label noise.

    Args:
      values: NAME, NAME:clean (without label noise alone) or NAME:noisy (with it alone).
      noise_fraction: of the run, in [0, 1].

    Example:
      >>> values = ("random", "snip:clean", "synflow:noisy")
      >>> at_noise(values, 0.0), at_noise(values, 0.15)
      (('random', 'snip'), ('random', 'synflow'))
    """
    here = ("", _NOISY if noise_fraction > 0 else _CLEAN)
    parts = [value.partition(":") for value in values]
    return tuple(name for name, _, where in parts if where in here)


@dataclasses.dataclass(frozen=True)
class FamilyConfig(Section):
    """Which families of models are compared (PEG)."""

    methods: tuple[str, ...] = setting(("lr_rewind",), _explained(METHODS) + _AT_NOISE)

    def __post_init__(self) -> None:
        super().__post_init__()
        _names_at_noise("methods", self.methods, METHODS)


@dataclasses.dataclass(frozen=True)
class ScoresConfig(Section):
    """What is measured of single examples (PEG 3, B.3, K.1)."""

    el2n_models: int = setting(
        10, "networks that EL2N scores are a mean over", check=between(1, 1000)
    )
    el2n_percent: float = setting(
        10.0, "how far they are trained, in percent of `train_epochs`", check=between(0.001, 100)
    )
    gallery_examples: int = setting(
        20, "examples that a gallery shows of each kind", check=between(1, 10_000)
    )


@dataclasses.dataclass(frozen=True)
class LeaveOutConfig(Section):
    """What dense networks are trained on (PEG D, E, K.2)."""

    leave_out_sets: tuple[str, ...] = setting(
        tuple(LEAVE_OUT_SETS), _explained(LEAVE_OUT_SETS) + _AT_NOISE, identity=False
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
        _names_at_noise("leave_out_sets", self.leave_out_sets, LEAVE_OUT_SETS)
        text = self.leave_out_levels
        if text not in ("all", "auto") and _level_list(text) is None:
            raise SettingError("leave_out_levels", text, "all, auto, or levels as 1,4,8")
        if self.worsened_fraction > min(self.subsample_fraction, 1 - self.subsample_fraction):
            raise SettingError(
                "worsened_fraction",
                self.worsened_fraction,
                f"at most `subsample_fraction={self.subsample_fraction:g}` and what it leaves",
            )

    def check_with(self, config: RunConfig) -> None:
        """Refuses levels that the trunk does not have, and a run without any set."""
        last, noise = config.pruning.last_level, config.data.noise_fraction
        if not at_noise(self.leave_out_sets, noise):
            raise SettingError(
                "leave_out_sets",
                join(self.leave_out_sets),
                f"at least one that is meant for `noise_fraction={noise:g}`",
            )
        if max(_level_list(self.leave_out_levels) or (0,)) > last:
            raise SettingError(
                "leave_out_levels",
                self.leave_out_levels,
                f"levels from 0 to {last}, or more `levels` in the trunk",
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
        500, "random subsets of the weights for each ratio", check=between(1, 10**6)
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
        "fractions of the weights that networks pruned at random at initialization have",
        check=_share,
        identity=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.sizes)) != len(self.sizes) or 1.0 in self.sizes:
            raise SettingError("sizes", join(self.sizes), "different fractions below 1")


STRUCTURES = {
    "weights": "single weights by `criterion`",
    "channels": "filters by `channel_criterion`",
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
    plane_points: int = setting(
        15, "points along each side of the plane's grid", check=between(2, 1001)
    )
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
                f"levels from 1 to {last}, or more `levels` in the trunk",
            )

    def levels(self, config: RunConfig) -> list[int]:
        """The levels whose plane is measured."""
        every = list(range(1, config.pruning.last_level + 1))
        listed = _level_list(self.plane_levels)
        return list(listed) if listed else every[-1:] if self.plane_levels == "last" else every


_FRACTIONS = r"(:(0|0?\.\d+)(/(0|0?\.\d+))*)?"
_PRUNING_RUN = re.compile(
    rf"(smallest|random|largest):(\d+){_FRACTIONS}|scratch:(smallest|random|largest){_FRACTIONS}"
)
_NOISE_RUN = re.compile(r"(zeroing|restoring|gaussian):(\d+)(:cumulative)?")


def _runs(name: str, values: tuple[str, ...], pattern: re.Pattern[str], allowed: str) -> None:
    matches = [pattern.fullmatch(value) for value in values]
    counts = [int(match[2]) for match in matches if match and match[2]]
    if not all(matches) or not all(counts) or len(set(values)) != len(values):
        raise SettingError(name, join(values), allowed)


@dataclasses.dataclass(frozen=True)
class FilterConfig(Section):
    """Which filters are pruned during training, and when (GST 2); `criterion` scores them."""

    prunings: tuple[str, ...] = setting(
        ("smallest:40", "largest:40"),
        "what is compared with no pruning: TARGET:PERIOD prunes the smallest, random or largest "
        "scores every PERIOD epochs, TARGET:PERIOD:FRACTION another fraction than "
        "`prune_fractions`, one for all layers or one per layer as 0.3/0.3/0.9; scratch:TARGET, "
        "or scratch:TARGET:FRACTION, trains the pruned architecture from the outset",
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
            "TARGET one of smallest, random and largest, PERIOD above 0 and FRACTION one number "
            "or one per layer as 0.3/0.9"
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
            starts = f"`prune_starts={join(self.prune_starts)}`"
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
                f"epochs before the last (`train_epochs={config.training.train_epochs}`)",
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
            name = next(
                name
                for name in ("prune_fractions", "prune_starts", "prune_ends")
                if len(getattr(self, name)) == len(spans)
            )
            raise SettingError(
                name,
                join(getattr(self, name)),
                f"one for all layers, or {layers}, one for each of `prune_layers`",
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
        if config.takes_all_devices:
            raise SettingError("strategy", config.strategy, "auto, cpu or gpu with `noises`")


@dataclasses.dataclass(frozen=True)
class FlatnessConfig(Section):
    """How the flatness of a minimum is measured (GST 2, 3.4, E)."""

    flatness_examples: int = setting(
        512,
        "test examples that derivatives are taken on: the first ones, random ones where classes "
        "come one after the other, or all if there are fewer",
        check=at_least(1),
    )
    eigenvalues: int = setting(
        100, "eigenvalues of the Hessian, the largest", check=between(1, 1000)
    )
    trace_probes: int = setting(
        100, "random vectors of Hutchinson's estimate of the trace", check=between(2, 10**6)
    )
    perturbed_eigenvectors: int = setting(
        10, "eigenvectors along which the loss is measured", check=between(1, 1000)
    )
    unpruned_only: bool = setting(True, "leave pruned weights out of all derivatives")
