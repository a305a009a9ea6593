"""Made-up results folders of the experiments of GST, as the studies leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

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


# (accuracy, stability) by seed: on one line within each configuration and across them.
S4 = [(0.850, 1.000), (0.851, 0.999), (0.852, 0.998)]
S40 = [(0.853, 0.997), (0.854, 0.996), (0.855, 0.995)]
L40 = [(0.860, 0.990), (0.861, 0.989), (0.862, 0.988)]
R40 = [(0.900, 0.993), (0.901, 0.992), (0.902, 0.991)]
SHARP, FLAT = (9.0, -4.0, 1.0), (4.0, 2.0, -1.0)


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


def normalized(folder: Path) -> str:
    """The file of a network's batch norms: normal, and 0.3 to the right once it is trained."""
    low = np.linspace(-5, 4.5, 20)
    tables = [
        pd.DataFrame({"trained": trained, "place": place, "layer": f"norm_{place}", "low": low,
                      "density": stats.norm.pdf(low + 0.25, 0.3 * trained)})
        for trained in (0, 1)
        for place in range(10)
    ]  # fmt: skip
    file = "trials/batch_norm.csv"
    files.write_text_atomic(folder / file, pd.concat(tables).to_csv(index=False))
    return file


# ---------------------------------------------------------------- whole studies
def figure_2(**changes: Any) -> list[dict[str, Any]]:
    rows = trunk([0.84, 0.85, 0.86], **changes) + scratch([0.845, 0.846, 0.847], **changes)
    rows += filters("smallest", 4, S4, **changes) + filters("smallest", 40, S40, **changes)
    return rows + filters("largest", 40, L40, **changes)


def figure_3(runs: int = 3, periods: Sequence[int] = (4, 40, 300)) -> list[dict[str, Any]]:
    """Accuracy falls with stability at the two smaller rates, and rises at the largest."""
    rows = trunk([0.852] * runs)
    for place, target in enumerate(("smallest", "random", "largest")):
        for period in periods:
            rate, sign = 0.9 / EVENTS[period], -1 if period == 300 else 1
            of_seed = [
                (0.855 + sign * 0.002 * place + 0.0002 * s * (-1) ** s, 1 - rate * (place + 1) / 4)
                for s in range(runs)
            ]
            rows += filters(target, period, of_seed)
    return rows


def noise_study() -> list[dict[str, Any]]:
    """No pruning 85%, pruning 86%; a noise of N batches between or above."""
    name = "pruning_as_noise"
    rows = trunk([0.849, 0.851], experiment=name)
    rows += filters("largest", 40, [(0.859, 0.99), (0.861, 0.98)], experiment=name)
    for batches, gain in ((1105, 0.01), (1, 0.0), (50, 0.005)):
        rows += noise("zeroing", batches, [(0.850 + gain, 0.99), (0.852 + gain, 0.98)])
    rows += noise("gaussian", 1105, [(0.869, 0.97), (0.871, 0.97)])
    return rows + noise("zeroing", 89, [(0.855, 0.98), (0.857, 0.98)], cumulative=True)


def flat_study(folder: Path, **values: float) -> list[dict[str, Any]]:
    """No pruning is sharp, Prune_L is flat: its second seed less so, and nowhere negative."""
    rows = with_flatness(folder, trunk([0.85, 0.85]), values, SHARP)
    pruned = filters("largest", 40, [(0.87, 0.98), (0.86, 0.99)])
    rows += with_flatness(folder, pruned[:1], values, FLAT)
    return rows + with_flatness(folder, pruned[1:], values, np.add(FLAT, [2.0, 0.0, 2.0]))
