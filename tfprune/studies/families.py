"""Families of models that are compared: prunings, dense training for longer, narrower networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfprune.config import RunConfig, replace
from tfprune.errors import SettingError


def family(base: RunConfig, method: str) -> list[RunConfig]:
    """The runs of one family, by the levels and the fraction of a base run (PEG C, 5.2, I).

    Level k of a family goes with (1 - prune_fraction)**k: of the weights, or of the width.

    Args:
      base: a run; its criterion is that of `lr_rewind`, `weight_rewind` and `one_shot`.
      method: a name in `tfprune.config.METHODS`.
    """
    levels = base.pruning.levels
    kept = [(1 - base.pruning.prune_fraction) ** level for level in range(levels + 1)]
    one: dict[str, dict[str, Any]] = {
        "lr_rewind": {"retrain": "lr_rewind"},
        "weight_rewind": {"retrain": "weight_rewind"},
        "synflow": {"retrain": "lr_rewind", "criterion": "synflow"},
        "snip": {"retrain": "lr_rewind", "criterion": "snip"},
        "random": {"retrain": "lr_rewind", "criterion": "random"},
        "extended_dense": {"retrain": "extended_dense"},
        "one_shot": {"retrain": "lr_rewind", "sparsities": tuple(1 - part for part in kept[1:])},
    }
    if method in one:
        return [replace(base, **one[method])]
    widths = [base.model.width * part for part in kept]
    if method == "width":
        # Nothing is pruned: `scratch` only gives these trials a name that no other family has.
        return [replace(base, width=w, levels=0, retrain="scratch") for w in widths]
    # Trained as one_shot trains, to no sparsity.
    return [replace(base, width=w, sparsities=(0.0,), retrain="lr_rewind") for w in widths]


def families(
    bases: Iterable[RunConfig], methods: Iterable[str]
) -> list[tuple[RunConfig, dict[str, Any]]]:
    """Every run of some families, each with the columns its rows have besides the usual ones.

    Raises:
      SettingError: the base runs differ in what tells families apart.
    """
    bases, methods = list(bases), tuple(methods)
    if len({base.pruning.retrain for base in bases}) > 1:
        raise SettingError("sweep", "retrain=...", "other fields; --methods names the retrainings")
    return [
        (config, {"method": method, "width": config.model.width})
        for base in bases
        for method in methods
        for config in family(base, method)
    ]
