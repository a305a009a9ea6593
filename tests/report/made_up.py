"""A folder of made-up results for every experiment, and for the harder cases of some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gst
import peg
import peg_effects as effects
import peg_galleries as galleries
import peg_subsets as leave_out
import pm

from tfprune import store

NOISE = [
    {"noise_fraction": fraction, "criterion": criterion}
    for fraction in (0.2, 0.4)
    for criterion in ("magnitude", "random")
]
BRANCHED = (0, 4, 11, 14, 16, 20)
Make = Callable[..., Path]


def _peg(experiment: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"experiment": experiment} for row in rows]


def _effects(folder: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Two noises, every method that figures are made of."""
    rows = effects.matched(folder, seeds)
    rows += effects.trunk(folder, seeds=seeds)[len(seeds) :]
    rows += effects.trunk(folder, seeds=seeds, noise=0.15)
    for method in ("extended_dense", "one_shot"):
        rows += effects.trunk(folder, method, seeds, effects.ERRORS[:4], noise=0.15)
    for seed in seeds:
        for member in range(4):
            row = peg.row("width", 0, seed, 5.0 - 0.4 * member, None, 0.15, 0.8**member)
            rows.append(effects.save(folder, row, effects.grouped(member, seed)))
    return peg.write(folder, rows)


def _leave_out(folder: Path) -> Path:
    gaps = {level: {s: gap[s] + 0.2 for s in gap} for level, gap in leave_out.GAPS.items()}
    rows = [*leave_out.trunk(), *leave_out.improved(leave_out.GAPS)]
    rows += leave_out.branch("worsened_subsample", {0: 5.2, 1: 5.4, 2: 5.3}, 1)
    rows += leave_out.branch("random_subsample", {0: 5.0, 1: 5.1, 2: 5.6}, 1)
    wide = {"width": 8.0, "model": "resnet32", "dataset": "cifar100"}
    rows += leave_out.trunk(**wide) + leave_out.improved(gaps, **wide)
    return peg.write(folder, rows + leave_out.noisy() + leave_out.noisy(noise=0.1))


def _sweep(folder: Path) -> Path:
    """A missing seed, a second model, and a sweep over a setting no table knows."""
    rows = peg.realistic(("lr_rewind", "weight_rewind"), (0.0, 0.1), levels=9)
    rows = [row for row in rows if (row["level"], row["seed"]) != (4, 2)]
    changes = {"model": "resnet20", "dataset": "cifar10"}
    rows += peg.realistic(("lr_rewind", "synflow"), (0.0,), (0, 1), levels=7, **changes)
    return peg.write(folder, rows)


def with_loss_change(folder: Path) -> Path:
    """ΔL of 0.1 nats a level and 0.01 a seed, 0.001 to first order, where a level pruned."""
    rows = store.read_results(folder).query("level > 0")[list(store.KEY_COLUMNS)]
    exact = 0.1 * rows["level"] + 0.01 * rows["seed"]
    changed = rows.assign(loss_change=exact, loss_change_linear=0.001).to_dict("records")
    store.merge_rows(folder, changed, ["loss_change", "loss_change_linear"])
    return folder


# experiment -> case -> a function (make_folder, make_branches, folder) that fills the folder.
FOLDERS: dict[str, dict[str, Callable[[Make, Make, Path], Path]]] = {
    "sparse_double_descent": {
        "sweep": lambda make, branch, folder: make(NOISE),
        "one_trial": lambda make, branch, folder: make(skip=[(0, 2, 5)]),
        "one_seed": lambda make, branch, folder: make(levels=6, seeds=(0,)),
        "loss_change": lambda make, branch, folder: with_loss_change(make(NOISE[:2], levels=6)),
    },
    "redense": {
        "seeds": lambda make, branch, folder: branch("redense", branch_levels=BRANCHED,
                                                     surfaces=True),
        "sweep": lambda make, branch, folder: branch("redense", trials=NOISE[:3:2], seeds=(0, 1),
                                                     branch_levels=BRANCHED[1:4]),
        "one_seed": lambda make, branch, folder: branch("redense", seeds=(0,), surfaces=True),
    },
    "learning_distance": {
        "seeds": lambda make, branch, folder: branch("learning_distance", branch_levels=range(23)),
        "sweep": lambda make, branch, folder: branch(
            "learning_distance", trials=NOISE[::2], seeds=(0, 1), branch_levels=range(0, 23, 2)
        ),
    },
    "random_reinit": {
        "seeds": lambda make, branch, folder: branch("random_reinit", "reinit", range(1, 23)),
        "sweep": lambda make, branch, folder: branch(
            "random_reinit", "reinit", range(1, 13), trials=NOISE[::2], seeds=(0, 1)
        ),
        "one_seed": lambda make, branch, folder: branch("random_reinit", "reinit", (8, 9),
                                                        seeds=(0,)),
    },
    "pruning_effect": {
        "all": lambda make, branch, folder: peg.write(folder, peg.realistic(levels=24)),
        "sweep": lambda make, branch, folder: _sweep(folder),
        "one_seed": lambda make, branch, folder: peg.write(
            folder, peg.realistic(seeds=(0,), noises=(0.0, 0.1), levels=6)
        ),
    },
    "width_scaling": {
        "all": lambda make, branch, folder: peg.write(
            folder,
            _peg("width_scaling", peg.realistic(
                ("lr_rewind", "width", "one_shot", "width_matched"), (0.0, 0.1), levels=12)),
        ),
    },
    "example_effects": {
        "all": lambda make, branch, folder: _effects(folder),
        "one_seed": lambda make, branch, folder: _effects(folder, (0,)),
    },
    "example_galleries": {
        "all": lambda make, branch, folder: galleries.make(folder, (20, 20, 14)),
    },
    "leave_out": {"all": lambda make, branch, folder: _leave_out(folder)},
    "utility_dynamics": {
        "all": lambda make, branch, folder: pm.realistic_utility_dynamics(folder),
    },
    "utility_size": {"all": lambda make, branch, folder: pm.realistic_utility_size(folder)},
    "utility_pruned": {"all": lambda make, branch, folder: pm.realistic_utility_pruned(folder)},
    "accuracy_surface": {
        "all": lambda make, branch, folder: pm.realistic_accuracy_surface(folder),
    },
    "generalization_stability": {
        "figure_2": lambda make, branch, folder: gst.with_metrics(folder, gst.figure_2()),
        "figure_3": lambda make, branch, folder: gst.with_metrics(
            folder, gst.figure_3(), epochs=6
        ),
    },
    "pruning_as_noise": {
        "all": lambda make, branch, folder: gst.with_metrics(folder, gst.noise_study()),
    },
    "flatness": {
        "all": lambda make, branch, folder: gst.write(folder, gst.flat_study(folder)),
    },
}  # fmt: skip
