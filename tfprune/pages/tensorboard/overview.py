"""TensorBoard's folder for people: a run for each trial and seed, with levels as its steps.

Of more than 40 runs TensorBoard selects none on most of its pages, so there are never more here:
where trials times seeds are more, a run is the mean over a trial's seeds, then of trunks alone.
Where no trial has several levels, a run is a stage, and steps are epochs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from etils import epath

from tfprune import layout, store
from tfprune.pages.tensorboard import columns, event_files, measurements
from tfprune.report import trials

FIGURES = "figures"  # The run that holds the figures, and which columns and charts the pages have.
MOST_RUNS = 36
# Where a column's curve stands: GROUP/NAME. TensorBoard sorts groups, and names in them.
_PLACES = {
    "test_accuracy_last": "accuracy/test",
    "test_accuracy": "accuracy/test",
    "test_accuracy_best": "accuracy/test, best epoch",
    "train_accuracy": "accuracy/train",
    "running_train_accuracy": "accuracy/train, running",
    "val_accuracy": "accuracy/validation",
    "unpermuted_accuracy": "memorization/unpermuted examples",
    "permuted_accuracy": "memorization/permuted examples",
    "restored_accuracy": "memorization/restored examples",
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "val_loss": "loss/validation",
    "noisy_loss": "loss/noisy examples",
    "original_loss": "loss/original examples",
    "distance_from_init": "distance/from initialization",
    "instability": "stability/instability",
    "stability": "stability/mean stability",
    "sharpness": "landscape/sharpness",
    "barrier_height": "landscape/barrier",
    "largest_rise": "landscape/largest rise",
    "monotonic": "landscape/monotonic",
    "hessian_trace": "landscape/trace of the Hessian",
    "top_eigenvalue": "landscape/largest eigenvalue",
    "epsilon": "landscape/epsilon",
    "sparsity": "sparsity/sparsity",
}
_OF_LAYERS = "distance_from_init/"
_GROUPS = (
    *dict.fromkeys(place.partition("/")[0] for place in _PLACES.values()),
    *("utility", "distance of layers", "other"),
)
_NO_CURVES = ["learning_rate", "wall_seconds", "best_epoch"]
_LONGEST_NAME = 120
_WAYS = ("criterion", "retrain", "method")  # How a network is pruned and trained on.
_FULL_WIDTH = ("width", 1.0)  # Said by no name.


@dataclass(frozen=True)
class Run:
    """One run of the overview.

    Attributes:
      name: its folder below the overview's.
      hparams: what it is, for the HParams table.
      curves: a column GROUP/NAME per quantity, a row per step.
      metrics: its row's final metrics.
    """

    name: str
    hparams: dict[str, event_files.HParam]
    curves: pd.DataFrame
    metrics: dict[str, float]


@dataclass(frozen=True)
class Overview:
    """All runs, what their steps are, and how many trials found no room."""

    runs: list[Run]
    steps: str
    left_out: int = 0


def write_overview(
    logdir: epath.PathLike,
    output_dir: epath.PathLike,
    results: pd.DataFrame,
    images: Mapping[str, bytes],
) -> Overview:
    """Writes the overview, in place of the one that was there.

    Args:
      logdir: its folder.
      output_dir: the output folder.
      results: its results.csv.
      images: the figures, PNG files by tag.

    Raises:
      InputError: a file is damaged, or the folder cannot be written.
    """
    logdir = epath.Path(logdir)
    found = overview(output_dir, results)
    table = []
    for run in found.runs:
        curves = run.curves.rename(columns=lambda place: _tag(place, found.steps))
        event_files.write_curves(logdir / run.name, curves.to_dict("index"))
        table.append(columns.Row(logdir / run.name, run.hparams, run.metrics, 0, run.name))
    columns.write_table(logdir / FIGURES, table)
    event_files.write_images(logdir / FIGURES, images)
    event_files.write_charts(logdir / FIGURES, charts(found))
    kept = [logdir / FIGURES, *(logdir / run.name for run in found.runs)]
    event_files.remove_other_runs(logdir, kept)
    return found


def overview(output_dir: epath.PathLike, results: pd.DataFrame) -> Overview:
    """What a person wants to see first of an output folder.

    Args:
      output_dir: the output folder.
      results: its results.csv.

    Returns:
      By levels, if any trial or branch has several; else by epochs, a run for each stage.

    Raises:
      InputError: a metrics.csv is damaged.
    """
    # Networks that are numbered, as those of EL2N, are no levels.
    numbered = results["branch"] + "_" + results["level"].map("{:02d}".format)
    rows = results[results[store.STAGE].str.rpartition("/")[2] != numbered]
    by_level = bool(_several_levels(rows).any())
    keys = ["trial", "branch"] if by_level else ["trial", "branch", "level"]
    rows = rows if by_level else rows[rows[store.STAGE] != ""]
    measured = ["sparsity", *columns.metrics(results)]
    chosen, means, left_out = _fitting(rows, keys)
    names, settings = _names(chosen, keys), columns.settings(results)
    runs = []
    for key, of_key in chosen.groupby(keys, sort=False):
        seeds = [int(seed) for seed in of_key["seed"].unique()]
        for some in [seeds] if means else [[seed] for seed in seeds]:
            of_run = of_key[of_key["seed"].isin(some)]
            tables = [
                # Experiments that share a trial each have a row of its levels.
                own.groupby("level")[measured].first() if by_level else _by_epoch(output_dir, own)
                for _, own in of_run.groupby("seed")
            ]
            curves = pd.concat(tables).groupby(level=0).mean()
            label = f"mean of {len(some)}" if means else f"seed {some[0]}"
            about = {"seed": label, "branch": columns.trunk_or(of_run["branch"].iloc[0])}
            runs.append(
                Run(
                    "/".join((*names[key], label)),
                    {**about, **columns.agreed(of_run, ("level", *settings))},
                    _worth_showing(curves),
                    _over_levels(curves) if by_level else _finals(of_run, results),
                )
            )
    return Overview(runs, "level" if by_level else "epoch", left_out)


def charts(found: Overview) -> event_files.Charts:
    """A category for each group, a chart for each quantity that some run has, a curve per run."""
    shown: dict[str, dict[str, list[str]]] = {group: {} for group in _GROUPS}
    for place in dict.fromkeys(str(place) for run in found.runs for place in run.curves):
        group, _, name = place.partition("/")
        tag = re.escape(_tag(place, found.steps))
        shown[group][f"{name} by {found.steps}"] = [f"^{tag}$"]
    return {group: views for group, views in shown.items() if views}


def _fitting(rows: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, bool, int]:
    """The rows that are shown, whether as means over seeds, and how many groups are left out."""
    if rows.groupby([*keys, "seed"]).ngroups <= MOST_RUNS:
        return rows, False, 0
    # What matters less goes first: what has one point, then branches.
    for less in (_several_levels(rows), rows["branch"] == ""):
        if rows.groupby(keys).ngroups > MOST_RUNS and less[rows.index].any():
            rows = rows[less[rows.index]]
    groups = trials.in_order(rows, rows)[keys].drop_duplicates()
    left_out = max(len(groups) - MOST_RUNS, 0)
    return rows.merge(groups.iloc[:MOST_RUNS], on=keys), True, left_out


def _several_levels(rows: pd.DataFrame) -> pd.Series:
    """Whether the trial's or the branch's curve by level has more than one point."""
    return rows.groupby(["trial", "branch", "seed"])["level"].transform("nunique") > 1


def _names(rows: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], list[str]]:
    """The folders of every group, without its seed: what tells groups apart, and nothing else."""
    of_trial, found = _trial_names(rows), {}
    for key in rows[keys].drop_duplicates().itertuples(index=False, name=None):
        trial, branch, *level = key
        parts = {
            # A path among its settings has slashes.
            "trial": of_trial[trial].replace("/", "_").replace("\\", "_")[:_LONGEST_NAME],
            "branch": columns.trunk_or(branch),
            "level": layout.level_folder(level[0]).replace("_", " ") if level else "",
        }
        found[key] = [parts[name] for name in keys if rows[name].nunique() > 1]
    return found


def _trial_names(rows: pd.DataFrame) -> dict[str, str]:
    """`magnitude`, or `lr_rewind, 15% label noise`: what differs, the way of pruning first."""
    table = trials.settings(rows)[trials.varying(rows)].copy()
    ways = ["criterion", "retrain"]
    if "method" in rows and rows["method"].nunique() > 1:  # PEG's, which says both.
        ways = ["method"]
        table["method"] = rows.drop_duplicates("trial").set_index("trial")["method"]
    found = {}
    for trial, row in table.to_dict("index").items():
        first = [trials.shown_value(row[name]) for name in ways if name in row]
        rest = {k: v for k, v in row.items() if k not in _WAYS and (k, v) != _FULL_WIDTH}
        found[str(trial)] = ", ".join(part for part in (*first, trials.describe(rest)) if part)
    twins = {name for name, times in Counter(found.values()).items() if times > 1 or not name}
    return {trial: trial if name in twins else name for trial, name in found.items()}


def _by_epoch(output_dir: epath.PathLike, rows: pd.DataFrame) -> pd.DataFrame:
    """Metrics by epoch of the stage that the rows name, and utility where it was measured.

    Nothing of a stage whose folder is gone: results.csv alone makes its row of the HParams table.
    """
    stage = rows[store.STAGE].iloc[0]
    curves = pd.DataFrame(index=pd.Index([], name="epoch"))
    if store.metrics_path(output_dir, stage).exists():
        curves = store.read_metrics(output_dir, stage).set_index("epoch")
    utility = pd.DataFrame.from_dict(measurements.utility_curves(output_dir, rows), "index")
    return curves.join(utility, how="outer")


def _worth_showing(curves: pd.DataFrame) -> pd.DataFrame:
    """The columns with values; without permuted examples, those of memorization say no more."""
    filled = curves.dropna(axis="columns", how="all").drop(columns=_NO_CURVES, errors="ignore")
    places = filled.rename(columns=_place)
    if "permuted_accuracy" in filled:
        return places
    return places[[name for name in places if not str(name).startswith("memorization/")]]


def _over_levels(curves: pd.DataFrame) -> dict[str, float]:
    """What the HParams table says of a trial whose levels are the steps of its curves."""
    accuracy = curves["test_accuracy_last"].dropna()
    sparsity = curves["sparsity"][accuracy.index]
    if accuracy.empty:
        return {}
    return {
        "dense test accuracy": float(accuracy.get(0, math.nan)),
        "lowest test accuracy": float(accuracy.min()),
        "highest test accuracy": float(accuracy.max()),
        "sparsity of the highest": float(sparsity.iloc[int(accuracy.to_numpy().argmax())]),
    }


def _finals(rows: pd.DataFrame, results: pd.DataFrame) -> dict[str, float]:
    """What results.csv says of a stage; means where the rows are of several seeds."""
    measured = [name for name in columns.metrics(results) if name not in _NO_CURVES]
    means = rows[[name for name in measured if "/" not in name]].mean()
    return {str(name): float(value) for name, value in means.dropna().items()}


def _tag(place: str, steps: str) -> str:
    """`accuracy by level/test`: nothing else says what steps are."""
    group, _, name = place.partition("/")
    return f"{group} by {steps}/{name}"


def _place(column: str) -> str:
    """Where a column is shown: GROUP/NAME."""
    if column.startswith(_OF_LAYERS):
        return f"distance of layers/{column.removeprefix(_OF_LAYERS)}"
    if column.startswith("utility/"):
        return column
    return _PLACES.get(column, f"other/{event_files.spoken(column)}")
