"""TensorBoard's folder of all stages: a row of the HParams table for each, beside its epochs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd
from etils import epath

from tfprune import layout, store
from tfprune.event_folders import event_folder, scalar_tag, trial_folder
from tfprune.pages.tensorboard import columns, measurements
from tfprune.pages.tensorboard.event_files import (
    Charts,
    HParam,
    remove_run,
    write_charts,
    write_experiment,
    write_hparams,
)

PAGES = "pages"  # The run that says which columns and charts the pages have.
_OLD_OVERVIEW = "figures"  # What older versions called it, with the figures.
_STAGE_HPARAMS = ("experiment", "seed", "level", "branch", "sparsity")
# The usual views: category -> chart -> columns of results.csv.
_VIEWS: dict[str, dict[str, tuple[str, ...]]] = {
    "accuracy": {
        "test accuracy": ("test_accuracy_last",),
        "train accuracy": ("train_accuracy",),
        "train and test accuracy": ("train_accuracy", "test_accuracy_last"),
    },
    "memorization": {
        "unpermuted examples": ("unpermuted_accuracy",),
        "permuted examples": ("permuted_accuracy",),
        "restored examples": ("restored_accuracy",),
    },
    "losses": {
        "train and test loss": ("train_loss", "test_loss"),
        "loss on noisy and original examples": ("noisy_loss", "original_loss"),
    },
    "distance": {"distance from initialization": ("distance_from_init",)},
}
# Without permuted examples all are unpermuted, and that view shows the train accuracy once more.
_NEEDS = {"memorization": "permuted_accuracy"}


def publish_stages(output_dir: epath.PathLike, results: pd.DataFrame) -> None:
    """Puts what results.csv says of every stage beside its curves by epoch.

    Args:
      output_dir: the output folder.
      results: its results.csv.

    Raises:
      InputError: a file is damaged, or the folder cannot be written.
    """
    logdir = epath.Path(output_dir) / layout.TENSORBOARD
    stages = _stages(results)
    hparams = columns.varying([stage.hparams for stage in stages.values()])
    for stage, about in stages.items():
        folder = event_folder(output_dir, stage)
        name = _row_name(folder.relative_to(logdir).parts, about.level)
        shown = {column: value for column, value in about.hparams.items() if column in hparams}
        write_hparams(folder, shown, about.metrics, about.level, name)
    has_utility = measurements.publish(output_dir, results)
    metrics = columns.finals([stage.metrics for stage in stages.values()])
    write_experiment(logdir / PAGES, hparams, metrics)
    write_charts(logdir / PAGES, charts(columns.metrics(results), has_utility))
    _remove_old_views(logdir, results)


def charts(measured: Collection[str], utility: bool = False) -> Charts:
    """The usual views by epoch of the page "Custom Scalars".

    Accuracy on train and test; memorization, which is accuracy on unpermuted, permuted and
    restored examples (SDD section 4); losses, of noisy and original examples too (PEG section 4);
    distance from initialization (SDD section 5); utility, a curve per ablation ratio (PM 2.1.2).

    Args:
      measured: the columns of results.csv that were measured: charts of others are left out, as
        they would be empty.
      utility: whether there are curves of utility to show.
    """
    found = {
        category: {
            f"{title} by epoch": [f"^{scalar_tag(name.removesuffix('_last'))}$" for name in names]
            for title, names in views.items()
            if set(names) <= set(measured)
        }
        for category, views in _VIEWS.items()
        if _NEEDS.get(category, next(iter(views.values()))[0]) in measured
    }
    return {**found, **({"utility": measurements.utility_charts()} if utility else {})}


def _remove_old_views(logdir: epath.Path, results: pd.DataFrame) -> None:
    """What older versions put here, and is in a folder of its own now: curves by level, figures."""
    remove_run(logdir / _OLD_OVERVIEW)
    stages = set(results[store.STAGE].str.rpartition("/")[2])
    for trial, rows in results.groupby("trial", sort=False):
        branches = {"", *(set(rows["branch"]) - stages)}
        for seed in rows["seed"].unique():
            folder = trial_folder(logdir, str(trial)) / layout.seed_folder(int(seed))
            for branch in sorted(branches, reverse=True):  # The trunk's folder holds the others.
                remove_run(folder / branch if branch else folder)


@dataclass(frozen=True)
class _Stage:
    """What the HParams table says of a stage."""

    level: int
    hparams: dict[str, HParam]
    metrics: dict[str, float]


def _stages(results: pd.DataFrame) -> dict[str, _Stage]:
    """Every stage that results.csv names, by its folder."""
    settings, metrics = columns.settings(results), columns.metrics(results)
    rows = results.assign(
        branch=results["branch"].map(columns.trunk_or),
        seed=results["seed"].astype(str),  # A label: TensorBoard shows a number as 1.0000.
    )
    found = {}
    for name, same in rows[rows[store.STAGE] != ""].groupby(store.STAGE, sort=False):
        hparams = {column: columns.agreed(same[column]) for column in (*_STAGE_HPARAMS, *settings)}
        finals = {column: same[column].dropna() for column in metrics}
        found[str(name)] = _Stage(
            level=int(same["level"].min()),
            hparams={column: value for column, value in hparams.items() if value is not None},
            metrics={column: float(v.iloc[0]) for column, v in finals.items() if len(v)},
        )
    return found


def _row_name(run: Sequence[str], level: int) -> str:
    """`level_07 seed_1 TRIAL`: the table cuts a name off after some fifteen letters."""
    trial, seed, name = run[0], run[1], "/".join(run[2:])
    first = layout.level_folder(level)
    return " ".join((first, seed, trial) if name == first else (first, seed, name, trial))
