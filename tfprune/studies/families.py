"""Families of models that are compared: prunings, dense training for longer, narrower networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from tfprune.config import RunConfig, replace
from tfprune.errors import SettingError
from tfprune.models.widths import layer_units
from tfprune.pruning.settings import PruningConfig
from tfprune.settings import join
from tfprune.studies.settings import at_noise
from tfprune.studies.trial import DENSE, trial_name

_SMALLER = ("width", "width_matched", "one_shot")
# How a run is retrained whose method says nothing else; that of all base runs.
_RETRAIN = "lr_rewind"


def family(base: RunConfig, method: str) -> list[RunConfig]:
    """The runs of one family, by the levels and the fraction of a base run (PEG C, 5.2, I).

    Level k of a family goes with (1 - prune_fraction)**k: of the weights, or of the width. Layers
    have whole sizes, so that some widths are the same network as the one before: these are left
    out.

    Args:
      base: a run; its criterion is that of `lr_rewind`, `weight_rewind` and `one_shot`.
      method: a name in `tfprune.config.METHODS`.

    Returns:
      One run, or one for each width; none for `one_shot` without levels.
    """
    levels = base.pruning.levels
    kept = [(1 - base.pruning.prune_fraction) ** level for level in range(levels + 1)]
    one: dict[str, dict[str, Any]] = {
        "lr_rewind": {},
        "weight_rewind": {"retrain": "weight_rewind"},
        "synflow": {"criterion": "synflow"},
        "snip": {"criterion": "snip"},
        "random": {"criterion": "random"},
        "extended_dense": {"retrain": "extended_dense"},
        "one_shot": {"sparsities": tuple(1 - part for part in kept[1:])},
    }
    if method == "one_shot" and not levels:
        return []  # Without sparsities it would be `lr_rewind`.
    if method in one:
        return [replace(base, **{"retrain": _RETRAIN, **one[method]})]
    if method == "width":
        # Nothing is pruned: `scratch` only gives these trials a name that no other family has.
        pruning = PruningConfig(levels=0, retrain="scratch")
    else:
        # Trained as one_shot trains, to no sparsity. Of the pruning only the rewind point counts.
        rewind_to = base.pruning.rewind_to
        pruning = PruningConfig(sparsities=(0.0,), retrain=_RETRAIN, rewind_to=rewind_to)
    of_any_width = dataclasses.replace(base, pruning=pruning)
    widths: dict[tuple[float, ...], float] = {}
    for part in kept:
        width = base.model.width * part
        widths.setdefault(layer_units(base.model.model, width), width)
    return [replace(of_any_width, width=width) for width in widths.values()]


def families(
    bases: Iterable[RunConfig], methods: Iterable[str]
) -> list[tuple[RunConfig, dict[str, Any]]]:
    """Every run of some families, each with the columns its rows have besides the usual ones.

    These are `method`, `width`, and `dense_trial`: the folder of the dense network that the family
    starts from. Families that differ in it were trained in different ways.

    Args:
      bases: the runs, of any label noise.
      methods: names in `tfprune.studies.settings.METHODS`, each for all runs, or with `:clean` or
        `:noisy` for those without or with label noise (`tfprune.studies.settings.at_noise`).

    Raises:
      SettingError: the base runs say how to prune where the methods say it, two methods would be
        one trial, a run has no method, or nothing is left to run.
    """
    bases, methods = list(bases), tuple(methods)
    found: dict[str, tuple[RunConfig, dict[str, Any]]] = {}
    for base in bases:
        own = at_noise(methods, base.data.noise_fraction)
        _check(base, methods, own)
        for method in own:
            columns = {"method": method, "dense_trial": trial_name(base, DENSE)}
            for config in family(base, method):
                name = trial_name(config)
                _, there = found.setdefault(
                    name, (config, {**columns, "width": config.model.width})
                )
                if there["method"] != method:
                    raise _same_trial(there["method"], method, config)
                if there["dense_trial"] != columns["dense_trial"]:
                    raise SettingError(
                        "width", base.model.width, "a width that no narrower network of others has"
                    )
    if not found:
        raise SettingError("levels", 0, f"at least 1 with `methods={join(methods)}`")
    return list(found.values())


def families_of_methods(
    bases: Iterable[RunConfig], options: tuple[Any, ...]
) -> list[tuple[RunConfig, dict[str, Any]]]:
    """The `families` that `methods` names: the `expand` of an experiment that compares them.

    Args:
      bases: the runs of a sweep.
      options: the experiment's own settings, those of `tfprune.config.FamilyConfig` first.

    Raises:
      SettingError: as `families`.
    """
    return families(bases, options[0].methods)


def _check(base: RunConfig, methods: tuple[str, ...], own: tuple[str, ...]) -> None:
    pruning, noise = base.pruning, base.data.noise_fraction
    if not own:
        raise SettingError(
            "methods", join(methods), f"at least one that is meant for `noise_fraction={noise:g}`"
        )
    if pruning.retrain != _RETRAIN:
        raise SettingError(
            "retrain", pruning.retrain, f"{_RETRAIN} here: `methods` names the retrainings"
        )
    if pruning.sparsities:
        raise SettingError(
            "sparsities",
            join(pruning.sparsities),
            "none here: `levels` and `prune_fraction` say how far `methods=one_shot` prunes",
        )
    if not 0 < pruning.prune_fraction < 1 and pruning.levels and set(own) & set(_SMALLER):
        raise SettingError(
            "prune_fraction",
            pruning.prune_fraction,
            f"above 0 and below 1 with any of `methods={join(_SMALLER)}`",
        )


def _same_trial(first: str, second: str, config: RunConfig) -> SettingError:
    return SettingError(
        "methods",
        join((first, second)),
        f"one of the two: they are the same with `criterion={config.pruning.criterion}`",
    )
