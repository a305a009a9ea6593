"""TensorBoard's folder of all stages: a row of the HParams table for each, beside its epochs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd
from etils import epath

from tfprune import layout, store
from tfprune.event_folders import event_folder, scalar_tag
from tfprune.pages.tensorboard import columns, measurements
from tfprune.pages.tensorboard.event_files import Charts, write_charts

PAGES = "pages"  # The run that says which columns and charts the pages have.
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
    pages = epath.Path(output_dir, layout.TENSORBOARD, PAGES)
    metrics, settings = columns.metrics(results), columns.settings(results)
    rows = results[results[store.STAGE] != ""].assign(
        branch=results["branch"].map(columns.trunk_or),
        seed=results["seed"].astype(str),  # A label: TensorBoard shows a number as 1.0000.
    )
    table = []
    for stage, same in rows.groupby(store.STAGE, sort=False):
        folder, level = event_folder(output_dir, str(stage)), int(same["level"].min())
        hparams = columns.agreed(same, (*_STAGE_HPARAMS, *settings))
        first = same[metrics].bfill().iloc[0].dropna()
        finals = {str(name): float(value) for name, value in first.items()}
        name = _row_name(folder.relative_to(pages.parent).parts, level)
        table.append(columns.Row(folder, hparams, finals, level, name))
    columns.write_table(pages, table)
    write_charts(pages, charts(metrics, measurements.publish(output_dir, results)))


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


def _row_name(run: Sequence[str], level: int) -> str:
    """`level_07 seed_1 TRIAL`: the table cuts a name off after some fifteen letters."""
    trial, seed, name = run[0], run[1], "/".join(run[2:])
    first = layout.level_folder(level)
    return " ".join((first, seed, trial) if name == first else (first, seed, name, trial))
