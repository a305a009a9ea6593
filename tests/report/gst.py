"""Made-up results folders of the experiments of GST, as the studies leave them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import results
from results import Row, measured, write
from scipy import stats

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

Known = Iterable[tuple[float, float | None]]


def rows_of(branch: str, known: Known, **changes: Any) -> list[Row]:
    """Rows of results.csv of one configuration, from (accuracy, stability) by seed, fractions."""
    trial = changes.get("trial", "cifar10-vgg11-0123abcd")
    return [
        {
            **results.row("generalization_stability", trial, seed, 0, branch),
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
        for seed, (accuracy, stability) in enumerate(known)
    ]


def trunk(accuracies: Iterable[float], **changes: Any) -> list[Row]:
    """Without pruning."""
    return rows_of("", [(accuracy, None) for accuracy in accuracies], **changes)


def filters(
    target: str, period: int, known: Known, total: float = 0.9, **changes: Any
) -> list[Row]:
    """One schedule of filter pruning."""
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
    return rows_of(f"filters_{target}_p{period}", known, **columns | changes)


def noise(kind: str, batches: int, known: Known, cumulative: bool = False) -> list[Row]:
    """One noise in pruning's place."""
    branch = f"{kind}_{batches}{'_cumulative' * cumulative}"
    return rows_of(
        branch, known, experiment="pruning_as_noise", noise=kind, noise_batches=batches,
        cumulative=int(cumulative), target="largest", period=40,
    )  # fmt: skip


def with_metrics(folder: Path, rows: Sequence[Row], epochs: int = EPOCHS) -> Path:
    """Writes rows, and curves that rise to the row's accuracy and drop at pruning events."""
    for number, row in enumerate(rows):
        random, epoch = np.random.default_rng(number), np.arange(1, epochs + 1)
        final, period = row["stable_accuracy_best"], int(row.get("period") or 0)
        curve = final - 0.5 * np.exp(-epoch / (0.06 * epochs)) - 0.01 * (epoch < 0.45 * epochs)
        curve = curve + random.normal(0, 0.002, epochs) - 0.003
        if period and row["stability"]:
            curve[period::period] *= row["stability"]
        results.write_metrics(folder, row["stage"], {"test_accuracy": curve})
    return write(folder, rows)


def with_flatness(folder: Path, rows: Iterable[Row], eigenvalues: Sequence[float]) -> list[Row]:
    """Rows of `flatness` with the columns and files of its measurement.

    Its files have eigenvalues and directions by falling value. Along direction d the test loss
    rises by λ_d step² / 2.
    """
    falling = sorted(eigenvalues, reverse=True)
    trace, grid = float(sum(falling)), np.linspace(-0.4, 0.4, 81)
    columns = {
        "experiment": "flatness",
        "hessian_trace_top": trace,
        "hessian_trace": 1.2 * trace,
        "hessian_trace_error": 0.1,
        "gradient_covariance_trace": 4 * trace,
        "tic_proxy": 4.0,
        "epsilon": 0.1,
        "top_eigenvalue": falling[0],
    }
    rises = pd.concat(
        pd.DataFrame({"direction": d, "step": grid, "test_loss_rise": value * grid**2 / 2})
        for d, value in enumerate(falling[:10])
    )
    place = {"index": range(len(falling)), "eigenvalue": falling}
    return [
        measured(folder, {**row, **columns}, flatness=place, perturbations=rises) for row in rows
    ]


def with_norms(folder: Path, rows: Sequence[Row]) -> list[Row]:
    """The first network's batch norms: normal, and 0.3 to the right once it is trained.

    Two such distributions differ most in the middle: by Φ(0.15) - Φ(-0.15), 0.119.
    """
    low = np.linspace(-5, 4.5, 20)
    table = pd.concat(
        pd.DataFrame({"trained": trained, "place": place, "layer": f"norm_{place}", "low": low,
                      "density": stats.norm.pdf(low + 0.25, 0.3 * trained)})
        for trained in (0, 1)
        for place in range(10)
    )  # fmt: skip
    return [measured(folder, rows[0], batch_norm=table), *rows[1:]]


# ---------------------------------------------------------------- whole studies
def figure_2() -> list[Row]:
    scratch = [(0.845, 1.0), (0.846, 1.0), (0.847, 1.0)]
    rows = trunk([0.84, 0.85, 0.86])
    lost = {"total_fraction": 0.9, "layer_fractions": "0.3,0.3,0.3,0.9"}
    rows += rows_of("scratch_smallest", scratch, target="smallest", **lost)
    rows += filters("smallest", 4, S4) + filters("smallest", 40, S40)
    return rows + filters("largest", 40, L40)


def figure_3(seeds: int = 3) -> list[Row]:
    """Accuracy falls with stability at the two smaller rates, and rises at the largest."""
    rows = trunk([0.852] * seeds)
    for place, target in enumerate(("smallest", "random", "largest")):
        for period in (4, 40, 300):
            rate, sign = 0.9 / EVENTS[period], -1 if period == 300 else 1
            of_seed = [
                (0.855 + sign * 0.002 * place + 0.0002 * s * (-1) ** s, 1 - rate * (place + 1) / 4)
                for s in range(seeds)
            ]
            rows += filters(target, period, of_seed)
    return rows


def noise_study() -> list[Row]:
    """No pruning 85%, pruning 86%; a noise of N batches between or above."""
    name = "pruning_as_noise"
    rows = trunk([0.849, 0.851], experiment=name)
    rows += filters("largest", 40, [(0.859, 0.99), (0.861, 0.98)], experiment=name)
    for batches, gain in ((1105, 0.01), (1, 0.0), (50, 0.005)):
        rows += noise("zeroing", batches, [(0.850 + gain, 0.99), (0.852 + gain, 0.98)])
    rows += noise("gaussian", 1105, [(0.869, 0.97), (0.871, 0.97)])
    return rows + noise("zeroing", 89, [(0.855, 0.98), (0.857, 0.98)], cumulative=True)


def flat_study(folder: Path) -> list[Row]:
    """No pruning is sharp, Prune_L is flat: its second seed less so, and nowhere negative."""
    pruned = filters("largest", 40, [(0.87, 0.98), (0.86, 0.99)])
    return [
        *with_flatness(folder, trunk([0.85, 0.85]), SHARP),
        *with_flatness(folder, pruned[:1], FLAT),
        *with_flatness(folder, pruned[1:], np.add(FLAT, [2.0, 0.0, 2.0])),
    ]
