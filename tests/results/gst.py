"""Made-up results folders of the experiments of GST, as the studies leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfprune import files, layout, store

EPOCHS = 40
SETTINGS = {
    "dataset": "cifar10",
    "label_noise": "none",
    "noise_fraction": 0.0,
    "model": "vgg11",
    "criterion": "filter_l2",
    "retrain": "lr_rewind",
}
# The last scheduled layer of VGG-11 at the paper's periods: how many events prune its 90%.
EVENTS = {4: 68, 20: 14, 40: 7, 60: 5, 100: 3, 200: 2, 300: 1}


def row(
    branch: str,
    seed: int,
    accuracy: float,
    stability: float | None = None,
    experiment: str = "generalization_stability",
    **changes: Any,
) -> dict[str, Any]:
    """One row of results.csv; accuracy and stability are fractions."""
    trial = changes.pop("trial", "cifar10-vgg11-0123abcd")
    folder = f"{branch}_level_00" if branch else "level_00"
    return {
        "experiment": experiment,
        "trial": trial,
        "seed": seed,
        "branch": branch,
        "level": 0,
        "stage": f"trials/{trial}/seed_{seed}/{folder}",
        "sparsity": 0.0,
        "weights_remaining": 1.0,
        "train_epochs": EPOCHS,
        "train_loss": 0.01 + accuracy / 7,
        "test_accuracy_last": accuracy - 0.001,
        "test_accuracy_best": accuracy + 0.001 * bool(branch),
        "stable_accuracy_best": accuracy,
        "train_accuracy_at_best": 1.0,
        "generalization_gap": 1.0 - accuracy,
        "running_generalization_gap": 0.95 - accuracy,
        "stability": stability,
        "wall_seconds": 1.0,
        **SETTINGS,
        **changes,
    }


def filters(
    target: str,
    period: int,
    runs: Sequence[tuple[float, float]],
    total: float = 0.9,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Rows of one configuration of filter pruning from (accuracy, stability) by seed."""
    columns = {
        "target": target,
        "period": period,
        "iterative_rate": total / EVENTS.get(period, 7),
        "total_fraction": total,
        "layer_fractions": f"0.3,0.3,0.3,{total:g}",
        "filters_remaining": 0.8,
        "live_weights_remaining": 0.46,
        "parameters": 9_230_000,
        "parameters_shrunk": 4_246_000,
        "flops": 306_000_000,
        "flops_shrunk": 229_500_000,
    }
    return [
        row(f"filters_{target}_p{period}", seed, accuracy, stability, **(columns | changes))
        for seed, (accuracy, stability) in enumerate(runs)
    ]


def trunk(accuracies: Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """Rows without pruning, by seed."""
    return [row("", seed, accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


def scratch(accuracies: Sequence[float], target: str = "smallest", **changes: Any) -> list[Any]:
    """Rows of the pruned architecture from the outset, by seed."""
    changes = {"target": target, "total_fraction": 0.9, "stability": 1.0} | changes
    return [row(f"scratch_{target}", seed, a, **changes) for seed, a in enumerate(accuracies)]


def noise(
    kind: str,
    batches: int,
    runs: Sequence[tuple[float, float]],
    cumulative: bool = False,
    **more: Any,
) -> list[dict[str, Any]]:
    """Rows of one noise in pruning's place from (accuracy, stability) by seed."""
    columns = {
        "experiment": "pruning_as_noise",
        "noise": kind,
        "noise_batches": batches,
        "cumulative": cumulative,
        "target": "largest",
        "period": 40,
    }
    branch = f"{kind}_{batches}{'_cumulative' * cumulative}"
    return [row(branch, seed, a, s, **(columns | more)) for seed, (a, s) in enumerate(runs)]


def write(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows into results.csv of a folder; returns the folder."""
    rows = list(rows)
    store.merge_rows(folder, rows, [*SETTINGS, *(name for row in rows for name in row)])
    return folder


def write_metrics(folder: Path, stage: str, test_accuracy: Sequence[float]) -> None:
    """A stage's metrics.csv, a row per epoch."""
    table = pd.DataFrame(columns=list(layout.METRIC_COLUMNS), index=range(len(test_accuracy)))
    table["epoch"], table["test_accuracy"] = table.index + 1, test_accuracy
    files.write_text_atomic(folder / stage / layout.METRICS, table.to_csv(index=False))


def with_metrics(
    folder: Path, rows: Sequence[Mapping[str, Any]], epochs: int = EPOCHS, drops: bool = True
) -> Path:
    """Writes rows, and curves that rise to the row's accuracy and drop at pruning events."""
    for number, row_ in enumerate(rows):
        random, epoch = np.random.default_rng(number), np.arange(1, epochs + 1)
        final = row_["stable_accuracy_best"]
        curve = final - 0.5 * np.exp(-epoch / (0.06 * epochs)) - 0.01 * (epoch < 0.45 * epochs)
        curve = curve + random.normal(0, 0.002, epochs) - 0.003
        period = int(row_.get("period") or 0)
        if drops and period and row_.get("stability"):
            curve[period::period] *= row_["stability"]
        write_metrics(folder, row_["stage"], curve)
    return write(folder, rows)


def with_flatness(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    values: Mapping[str, float] | None = None,
    eigenvalues: Sequence[float] = (9.0, -4.0, 1.0),
) -> list[dict[str, Any]]:
    """Rows of `flatness` with the columns and files of its measurement.

    Along direction d the test loss rises by λ_d step² / 2.
    """
    made = []
    for given in rows:
        trace = float(sum(eigenvalues))
        columns: dict[str, Any] = {
            "experiment": "flatness",
            "hessian_trace_top": trace,
            "hessian_trace": 1.2 * trace,
            "hessian_trace_error": 0.1,
            "gradient_covariance_trace": 4 * trace,
            "tic_proxy": 4.0,
            "epsilon": 0.1,
            "top_eigenvalue": eigenvalues[0],
            **(values or {}),
        }
        folder_ = f"{given['stage']}/flatness-0123abcd"
        place = pd.DataFrame({"index": range(len(eigenvalues)), "eigenvalue": eigenvalues})
        grid = np.linspace(-0.4, 0.4, 81)
        rises = pd.concat(
            pd.DataFrame({"direction": d, "step": grid, "test_loss_rise": value * grid**2 / 2})
            for d, value in enumerate(eigenvalues[:10])
        )
        for name, table in (("flatness", place), ("perturbations", rises)):
            columns[name] = f"{folder_}-{name}.csv"
            files.write_text_atomic(folder / columns[name], table.to_csv(index=False))
        made.append({**given, **columns})
    return made
