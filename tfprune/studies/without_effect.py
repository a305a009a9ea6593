"""Settings that are allowed and change nothing, which is worth a line before days of work.

Importing this module imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any

from tfprune.catalog import CRITERIA, FILTER_CRITERIA, MODELS, PATH_DATASETS, RETRAINING
from tfprune.config import RunConfig, flat_settings
from tfprune.settings import Section, join

# Settings by name, of a run and of its experiment, and `trials`, how many the study has.
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """When a setting changes nothing.

    Attributes:
      setting: which.
      reason: why it changes nothing in a run of these values; "" where it does.
      because: the settings that, given by a person, make it worth saying that this one, which may
        be a preset's, changes nothing. It is always said of a setting that a person gave.
    """

    setting: str
    reason: Callable[[Values], str]
    because: tuple[str, ...] = ()


def without_effect(
    configs: Sequence[RunConfig],
    options: Sequence[Section] = (),
    given: Set[str] | None = None,
) -> list[str]:
    """A sentence about each setting that changes nothing in any of some runs.

    Args:
      configs: the runs of a study.
      options: its experiment's own settings.
      given: the settings that a person gave; None for all.

    Returns:
      Sentences with settings in backquotes, as errors have them.
    """
    own = {field.name: getattr(part, field.name) for part in options for field in fields(part)}
    trials = sum(len(config.seeds) for config in configs)
    runs = [{**flat_settings(config), **own, "trials": trials} for config in configs]
    found = []
    for rule in RULES:
        wanted = given is None or not given.isdisjoint((rule.setting, *rule.because))
        if wanted and rule.setting in runs[0]:
            reasons = [rule.reason(values) for values in runs]
            if all(reasons):
                found.append(f"{_spelled(rule.setting, runs[0])}: {reasons[0]}")
    return found


def _spelled(name: str, values: Values) -> str:
    value = values[name]
    return f"`{name}={join(value) if isinstance(value, tuple) else value}`"


def _no_effect_with(*names: str) -> Callable[[Values], str]:
    return lambda values: "no effect with " + " and ".join(_spelled(n, values) for n in names)


def _if(
    holds: Callable[[Values], bool], reason: Callable[[Values], str]
) -> Callable[[Values], str]:
    return lambda values: reason(values) if holds(values) else ""


def _lacks(values: Values, part: str) -> bool:
    """Whether the catalog says that the network has no such part; of others nothing is known."""
    return part in MODELS.entry(values["model"]).get("lacks", ())


def _fixed_batches(criterion: str) -> bool:
    """Whether a criterion scores by no batch or by one; of a person's own nothing is known."""
    registry = next((r for r in (CRITERIA, FILTER_CRITERIA) if criterion in r), None)
    return registry is not None and registry.entry(criterion).get("batches") is not None


def _prunes(values: Values) -> bool:
    return bool(values["sparsities"] or values["levels"])


def _late_drops(values: Values) -> str:
    if values["lr_decay"] == "cosine":
        return ""
    late = [drop for drop in values["lr_drop_epochs"] if drop >= values["train_epochs"]]
    end = _spelled("train_epochs", values)
    return f"no drop at {join(late)}: training ends with {end}" if late else ""


def _dropless(values: Values) -> str:
    if values["lr_decay"] == "cosine":
        return _no_effect_with("lr_decay")(values)
    return "" if values["lr_drop_epochs"] else "no effect without `lr_drop_epochs`"


def _unreached_fractions(values: Values) -> str:
    """Filter prunings whose events the end of training cuts off."""
    if "prunings" not in values:
        return ""
    starts, ends = values["prune_starts"], values["prune_ends"]
    layers = max(len(starts), len(ends))
    spans = list(zip(*(v * layers if len(v) == 1 else v for v in (starts, ends)), strict=True))
    cut = [
        text
        for text in values["prunings"]
        for target, period, *_ in [text.split(":")]
        if target != "scratch"
        and any(range(a, b + 1, int(period))[-1] >= values["train_epochs"] for a, b in spans)
    ]
    end = _spelled("train_epochs", values)
    return f"training ends with {end}, before the last event of {join(cut)}" if cut else ""


def _more_than_trials(name: str, reason: str) -> Rule:
    """Of a number that more trials would fill; `reason` has a place for the trials."""

    def too_many(values: Values) -> bool:
        return values[name] != "auto" and int(values[name]) > values["trials"]

    return Rule(name, _if(too_many, lambda values: reason.format(_trials(values))))


def _trials(values: Values) -> str:
    return f"{values['trials']} trial{'s' * (values['trials'] > 1)}"


def _empty_shard(values: Values) -> str:
    part = int(values["shard"].split("/")[0])
    return f"nothing of {_trials(values)} is in it" if part >= values["trials"] else ""


def _ray(name: str) -> Rule:
    return Rule(name, _if(lambda v: v["executor"] != "ray", _no_effect_with("executor")))


def _unpruned(name: str) -> tuple[Rule, ...]:
    """Of a setting that says how weights are pruned."""

    def no_levels(values: Values) -> bool:
        # The trainings that filter studies compare prune by the criterion.
        filters = name == "criterion" and "prunings" in values
        return not _prunes(values) and not filters

    def nothing_removed(values: Values) -> bool:
        return _prunes(values) and not RETRAINING[values["retrain"]].prunes

    return (
        Rule(name, _if(no_levels, _no_effect_with("levels"))),
        Rule(name, _if(nothing_removed, _no_effect_with("retrain"))),
    )


RULES: tuple[Rule, ...] = (
    # Learning rates and optimizers.
    Rule("lr_drop_epochs", _late_drops, ("train_epochs",)),
    Rule(
        "lr_drop_epochs",
        _if(
            lambda v: bool(v["lr_drop_epochs"]) and v["lr_drop_factor"] == 1,
            _no_effect_with("lr_drop_factor"),
        ),
        ("lr_drop_factor",),
    ),
    Rule("lr_drop_factor", _dropless),
    Rule(
        "momentum",
        _if(lambda v: v["momentum"] > 0 and v["optimizer"] == "adam", _no_effect_with("optimizer")),
        ("optimizer",),
    ),
    Rule(
        "optimizer",
        _if(
            lambda v: v["optimizer"] == "nesterov" and v["momentum"] == 0,
            lambda v: f"the same as sgd with {_spelled('momentum', v)}",
        ),
        ("momentum",),
    ),
    Rule("adam_epsilon", _if(lambda v: v["optimizer"] != "adam", _no_effect_with("optimizer"))),
    Rule("matmul", _if(lambda v: v["dtype"] == "float64", _no_effect_with("dtype"))),
    # Pruning and retraining.
    Rule(
        "prune_fraction",
        _if(
            lambda v: v["prune_fraction"] == 0 and v["levels"] > 0 and not v["sparsities"],
            lambda v: f"nothing is pruned at any of {_spelled('levels', v)}",
        ),
    ),
    Rule("prune_fraction", _if(lambda v: bool(v["sparsities"]), _no_effect_with("sparsities"))),
    *(rule for name in ("criterion", "scope", "prune_fraction") for rule in _unpruned(name)),
    Rule("retrain", _if(lambda v: not _prunes(v), _no_effect_with("levels"))),
    Rule(
        "criterion_batches",
        _if(lambda v: _fixed_batches(v["criterion"]), _no_effect_with("criterion")),
    ),
    Rule(
        "rewind_to",
        _if(
            lambda v: v["rewind_to"] != "0ep" and RETRAINING[v["retrain"]].start is not None,
            _no_effect_with("retrain"),
        ),
        ("retrain",),
    ),
    Rule(
        "finetune_lr",
        _if(
            lambda v: v["finetune_lr"] > 0 and v["retrain"] != "finetune",
            _no_effect_with("retrain"),
        ),
        ("retrain",),
    ),
    # Data and models.
    Rule(
        "label_noise",
        _if(
            lambda v: v["label_noise"] != "none" and v["noise_fraction"] == 0,
            _no_effect_with("noise_fraction"),
        ),
    ),
    Rule(
        "data_dir",
        _if(
            lambda v: (
                bool(v["data_dir"]) and v["dataset"].partition(":")[0] in ("digits", *PATH_DATASETS)
            ),
            _no_effect_with("dataset"),
        ),
    ),
    Rule(
        "batch_norm_gamma",
        _if(
            lambda v: v["batch_norm_gamma"] != "ones" and _lacks(v, "batch norm"),
            _no_effect_with("model"),
        ),
        ("model",),
    ),
    Rule(
        "interpolation_batch_norm",
        _if(lambda v: _lacks(v, "batch norm"), _no_effect_with("model")),
    ),
    *(
        Rule(name, _if(lambda v: _lacks(v, "shortcuts"), _no_effect_with("model")))
        for name in ("shortcut", "cut_shortcuts")
    ),
    # How a run is spread.
    _more_than_trials("workers", "more than have work: {}"),
    _more_than_trials("stack", "more places than the levels of {} fill"),
    Rule("shard", _empty_shard),
    *(_ray(name) for name in ("ray_address", "ray_cpus", "ray_gpus", "ray_retries")),
    Rule(
        "snapshot_every",
        _if(
            lambda v: v["snapshot_every"] >= v["train_epochs"],
            lambda v: f"no snapshot before the end, {_spelled('train_epochs', v)}",
        ),
        ("train_epochs",),
    ),
    # What experiments have of their own.
    Rule("prune_ends", _unreached_fractions, ("train_epochs", "prunings")),
    Rule(
        "prune_fractions",
        _if(
            lambda v: not any(v["prune_fractions"]) and "prunings" in v,
            lambda v: "no filter is pruned",
        ),
    ),
    *(
        Rule(
            name,
            _if(lambda v: "channels" not in v["structures"], _no_effect_with("structures")),
        )
        for name in ("channel_criterion", "channel_fraction")
    ),
    Rule(
        "perturbed_eigenvectors",
        _if(
            lambda v: v["perturbed_eigenvectors"] > v["eigenvalues"],
            lambda v: f"no more than {_spelled('eigenvalues', v)} are there",
        ),
        ("eigenvalues",),
    ),
)
