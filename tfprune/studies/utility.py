"""Weight utility through training and of finished stages, as measurements kept beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from etils import epath

from tfprune.config import RunConfig
from tfprune.errors import SettingError
from tfprune.files import csv_text, write_text_atomic
from tfprune.studies.landscapes import check_in_memory, splits
from tfprune.studies.partial_tables import PartialTable
from tfprune.studies.procedure import Measurement, Passes, Study
from tfprune.studies.settings import UtilityConfig
from tfprune.studies.small import check_twins
from tfprune.studies.trial import Row, Stage, Trial

if TYPE_CHECKING:
    from tfprune.measures.ablation import Ablations, Utility, UtilityMeter
    from tfprune.pruning.masks import Masks
    from tfprune.pruning.weights import Arrays
    from tfprune.studies.iterative import PruneRetrain

# Measured at the end of a stage: random subsets by ratio and by number, windows of magnitude
# ranks, and the pretrained network's over the weights that the stage has left.
KINDS = ("ratio", "number", "magnitude", "pretrained")


def check_examples(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """Refuses streamed data and more examples than there are; options end with a UtilityConfig."""
    check_in_memory(loop)
    wanted, there = options[-1].ablation_examples, len(loop.data.labels)
    if wanted > there:
        raise SettingError("ablation_examples", wanted, f"at most the {there} training examples")


def check_pruned(loop: PruneRetrain, options: tuple[Any, ...]) -> None:
    """As `check_examples`; also refuses what has no pruned or no small networks to compare."""
    check_examples(loop, options)
    check_twins(loop.config)


def utility_dynamics(config: RunConfig, options: UtilityConfig) -> Measurement:
    """Utility every `snapshot_every` epochs of the dense training (PM 2.1.2, figure 2)."""
    used = {**options.identity(), "snapshot_every": config.snapshot_every}
    every, epochs = config.snapshot_every, config.training.train_epochs
    snapshots = 2 + (epochs - 1) // every if every else 2
    measure = partial(_measure_dynamics, options=options)
    return Measurement("utility_dynamics", used, measure, passes=_passes(options, snapshots))


def _passes(options: UtilityConfig, networks: int = 1) -> Passes:
    count = networks * (len(options.ablation_ratios) * options.ablation_subsets + 1)
    if options.ablation_examples:
        return Passes(examples=count * options.ablation_examples)
    return Passes(train=count)


def utility(kind: str, options: UtilityConfig) -> Measurement:
    """Utility at the end of a stage, a row for each subset (PM figures 1, 3, 4, 5).

    Args:
      kind: one of `KINDS`. By `number`, subsets have as many weights as the ratios of the 1x
        network, or all there are.
      options: how it is measured.
    """
    measure = partial(_measure, kind=kind, options=options)
    return Measurement(f"utility_{kind}", options.identity(), measure, passes=_passes(options))


def measure_dynamics(study: Study, options: UtilityConfig) -> None:
    """Measures the dense trainings of all trials: on the way, and at the end in more detail."""
    dense = {trial: trial.finished()[:1] for trial in study.trials}
    for trial in study.trials[:1]:  # All keep weights as often.
        study.measure(utility_dynamics(trial.config, options), dense)
    measure(study, options, ("ratio", "magnitude"), dense)


def measure(
    study: Study,
    options: UtilityConfig,
    kinds: Sequence[str],
    stages: Mapping[Trial, Sequence[Stage]],
) -> None:
    """Measures utility of some kinds (see `KINDS`) at the end of finished stages."""
    for kind in kinds:
        study.measure(utility(kind, options), stages)


def _measure_dynamics(
    loop: PruneRetrain, stage: Stage, table: epath.Path, options: UtilityConfig
) -> Row:
    from tfprune.studies.snapshots import snapshot_epochs

    found = PartialTable(table)
    measured = {int(row["epoch"]) for row in found.rows}
    missing = [epoch for epoch in snapshot_epochs(loop.config) if epoch not in measured]
    meter = _meter(loop, _ablations(stage, options))
    for epoch, weights in loop.snapshots.at(missing):
        found.add(*({"epoch": epoch, **row} for row in meter.measure(weights).rows()))
    found.finish()
    return {}


def _measure(
    loop: PruneRetrain, stage: Stage, table: epath.Path, kind: str, options: UtilityConfig
) -> Row:
    weights, masks = _network(loop, stage, kind)
    changes: dict[str, Any] = {}
    if kind == "magnitude":
        changes["order"] = "magnitude"
    if kind == "number":
        changes |= {"by": "number", "amounts": _numbers(loop, options, weights, masks)}
    found = _meter(loop, _ablations(stage, options, **changes)).measure(weights, masks)
    write_text_atomic(table, csv_text(_rows(found, options.ablation_ratios)))
    return {}


def _network(loop: PruneRetrain, stage: Stage, kind: str) -> tuple[Arrays, Masks]:
    """The weights that are measured, and the masks of those that may be zeroed."""
    trained = loop.trial.stage(0) if kind == "pretrained" else stage
    return trained.end(), stage.masks()


def _ablations(stage: Stage, options: UtilityConfig, **changes: Any) -> Ablations:
    from tfprune.measures.ablation import Ablations

    values: dict[str, Any] = {
        "amounts": options.ablation_ratios,
        "subsets": options.ablation_subsets,
        "kernels": options.ablation_kernels,
        "magnitude_above": _threshold(options),
        "num_examples": options.ablation_examples or None,
        "seed": stage.seed,
    }
    return Ablations(**{**values, **changes})


def _threshold(options: UtilityConfig) -> float | None:
    """The magnitude that eligible weights are above; None for all, exact zeros among them."""
    return options.ablation_magnitude_above or None


def _numbers(
    loop: PruneRetrain, options: UtilityConfig, weights: Arrays, masks: Masks
) -> tuple[int, ...]:
    """How many weights the ratios of the 1x network are, at most all that are eligible."""
    from tfprune.measures.ablation import eligible_weights
    from tfprune.pruning.selection import exact_ceil

    model, kernels = loop.trainer.model, options.ablation_kernels
    whole = eligible_weights(model, kernels)
    left = eligible_weights(model, kernels, masks, weights, _threshold(options))
    return tuple(min(exact_ceil(ratio, whole), left) for ratio in options.ablation_ratios)


def _meter(loop: PruneRetrain, ablations: Ablations) -> UtilityMeter:
    from tfprune.measures.ablation import UtilityMeter
    from tfprune.training.evaluating import evaluator

    return UtilityMeter(evaluator(loop.trainer), splits(loop)["train"], ablations)


def _rows(found: Utility, ratios: tuple[float, ...]) -> list[Mapping[str, Any]]:
    return [
        {
            "ablation_by": found.ablations.by,
            "ablation_amount": ratio,
            "ablated_weights": int(found.sizes[index]),
            "subset": subset,
            "position": "" if found.positions is None else float(found.positions[index, subset]),
            "utility": float(found.values[index, subset]),
            "ablated_accuracy": float(found.accuracies[index, subset]),
            "accuracy": found.accuracy,
        }
        for index, ratio in enumerate(ratios)
        for subset in range(found.values.shape[1])
    ]
