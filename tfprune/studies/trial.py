"""A trial's stages: their names and folders, and what is kept of a finished one."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune import layout
from tfprune.config import RunConfig, identity
from tfprune.files import damage_of_sealed, load_arrays, read_sealed, set_aside, write_sealed
from tfprune.pruning.masks import Masks
from tfprune.settings import hash8

if TYPE_CHECKING:
    from tfprune.pruning.weights import Arrays

Row = dict[str, Any]

DENSE = ("data", "model", "training")
PRUNED = (*DENSE, "pruning")

# What a training leaves beside its result, as far as it has it.
_WEIGHTS = (layout.START, layout.END)
_OTHERS = (layout.MASKS, layout.METRICS, layout.EVENTS, layout.KEPT)


def trial_name(config: RunConfig, sections: tuple[str, ...] = PRUNED) -> str:
    """SLUG-HASH8: readable first, then what tells apart any two trials with other numbers.

    The words say what is done: a trial of no level beyond the dense one has no retraining, and a
    criterion only where it scores filters, which are pruned while the network trains.
    """
    data, model, pruning = config.data, config.model, config.pruning
    parts = [data.dataset.split("/")[-1], model.model]
    if data.noise_fraction:
        parts.insert(1, f"{data.label_noise}{data.noise_fraction:g}")
    if model.width != 1:
        parts.append(f"w{model.width:g}")
    if "pruning" not in sections:
        parts.append("dense")
    elif pruning.last_level:
        parts += [pruning.criterion, pruning.retrain]
    elif pruning.prunes_filters:
        parts.append(pruning.criterion)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts))
    return f"{slug}-{hash8(identity(config, sections))}"


@dataclass(frozen=True)
class Stage:
    """One training and its folder: the unit of work, named by what determines it.

    Attributes:
      output_dir: the run's folder.
      trial: the folder name of the trial whose values determine this stage.
      seed: the trial's seed.
      name: the stage's own folder name.
      level: the level trained.
      branch: which further training this is; empty on the trunk.
    """

    output_dir: epath.Path
    trial: str
    seed: int
    name: str
    level: int
    branch: str = ""

    @property
    def relative(self) -> str:
        """The stage's folder relative to the output folder."""
        return f"{layout.TRIALS}/{self.trial}/{layout.seed_folder(self.seed)}/{self.name}"

    @property
    def folder(self) -> epath.Path:
        return self.output_dir / self.relative

    @property
    def tensorboard(self) -> epath.Path:
        seed = layout.seed_folder(self.seed)
        return self.output_dir / layout.TENSORBOARD / self.trial / seed / self.name

    @property
    def claim_file(self) -> epath.Path:
        """What a process claims that works on the stage."""
        return self.output_dir / layout.claim_file(self.relative.replace("/", "__"))

    @property
    def is_done(self) -> bool:
        """Whether it has a result, and its files are those that it was finished with."""
        return (self.folder / layout.RESULT).exists() and not self.damage()

    def damage(self) -> str:
        """What is wrong with a stage that has a result; nothing if it is whole or has none."""
        path = self.folder / layout.RESULT
        return damage_of_sealed(path) if path.exists() else ""

    def set_aside(self) -> None:
        """Makes a damaged stage one to be trained, which writes its weights anew."""
        for name in (layout.RESULT, *_OTHERS):
            if (self.folder / name).exists():
                set_aside(self.folder / name)
        for name in _WEIGHTS:
            if (self.folder / name).is_dir():
                set_aside(self.folder / name)

    def result(self) -> Row:
        """What a finished stage measured."""
        return read_sealed(self.folder / layout.RESULT)

    def start(self) -> Arrays:
        """The weights that its training started from, by name."""
        return load_arrays(self.folder / layout.START)

    def end(self) -> Arrays:
        """The weights that its training ended with, by name."""
        return load_arrays(self.folder / layout.END)

    def masks(self) -> Masks:
        """The masks at the end of its training."""
        return Masks.load(self.folder / layout.MASKS)

    def finish(self, result: Row) -> None:
        """Marks the stage as done; its other files must be whole by now."""
        names = (*_WEIGHTS, *_OTHERS)
        files = [self.folder / name for name in names if (self.folder / name).exists()]
        write_sealed(self.folder / layout.RESULT, result, files)
        for left in self.folder.glob(".*.tmp"):  # A killed process leaves half a file.
            left.unlink(missing_ok=True)
        self.forget_checkpoints()

    def forget_checkpoints(self) -> None:
        """Removes what only an unfinished training needs."""
        for name in layout.CHECKPOINTS:
            (self.folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Trial:
    """One configuration with one seed.

    Level 0 depends on no pruning setting, so its folder is that of the dense trial, which every
    pruning of the same network shares. A one-shot level is named by its sparsity; the list it is
    in is part of the trial's identity, because the place in it keys its draws.
    """

    config: RunConfig
    seed: int

    @functools.cached_property
    def name(self) -> str:
        return trial_name(self.config)

    @functools.cached_property
    def _dense(self) -> str:
        return trial_name(self.config, DENSE)

    @property
    def output_dir(self) -> epath.Path:
        return epath.Path(self.config.output_dir)

    def stage(self, level: int) -> Stage:
        """The trunk's stage of a level."""
        if level == 0:
            return Stage(self.output_dir, self._dense, self.seed, layout.level_folder(0), 0)
        return Stage(self.output_dir, self.name, self.seed, self._level_folder(level), level)

    def branch_stage(self, branch: str, level: int, variant: str = "") -> Stage:
        """The stage of a branch from a level, beside the level's own."""
        trunk = self.stage(level)
        return dataclasses.replace(trunk, name=f"{branch}{variant}_{trunk.name}", branch=branch)

    def dense_stage(self, branch: str, index: int) -> Stage:
        """A further training from the start, numbered, that depends on no pruning setting."""
        dense = self.stage(0)
        return dataclasses.replace(dense, name=f"{branch}_{index:02d}", branch=branch, level=index)

    def _level_folder(self, level: int) -> str:
        sparsities = self.config.pruning.sparsities
        if sparsities:
            return f"one_shot_{sparsities[level - 1]!r}"
        return layout.level_folder(level)

    def stages(self) -> list[Stage]:
        """The trunk, from dense to the last level."""
        return [self.stage(level) for level in range(self.config.pruning.last_level + 1)]

    def finished(self) -> list[Stage]:
        """The stages of the trunk that are done."""
        return [stage for stage in self.stages() if stage.is_done]

    def is_finished(self) -> bool:
        """Whether all stages of the trunk are done."""
        return all(stage.is_done for stage in self.stages())

    def rewind_file(self) -> epath.Path:
        """The weights at the rewind point, beside the dense training they belong to."""
        return self.stage(0).folder.parent / f"rewind_{self.config.pruning.rewind_to}.npz"


def result_of(rows: list[Row], **values: Any) -> Row:
    """What is kept of a training: the last epoch, the best, and what the caller adds.

    Args:
      rows: a row of metrics per epoch.
      **values: further results.
    """
    last = rows[-1]
    best = max(rows, key=lambda row: row["test_accuracy"])  # The first of equals.
    kept = {name: last.get(name) for name in layout.RESULT_COLUMNS if name in last}
    per_layer = {name: value for name, value in last.items() if "/" in name}
    return {
        **kept,
        **per_layer,
        "train_epochs": len(rows),
        "test_accuracy_last": last["test_accuracy"],
        "test_accuracy_best": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "instability": None,
        "loss_change": None,
        "loss_change_linear": None,
        "wall_seconds": round(sum(row["wall_seconds"] for row in rows), 3),
        **values,
    }
