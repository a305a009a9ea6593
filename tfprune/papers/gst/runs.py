"""The runs of GST's experiments, the configurations that they have in common, and their files.

A run is a training with one seed; a configuration is what its runs have in common: no pruning, a
schedule of filter pruning, the pruned architecture from scratch, or a noise in pruning's place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
from etils import epath
from matplotlib.colors import to_hex, to_rgb

from tfprune import layout, store
from tfprune.papers.published import published
from tfprune.report import style, summary, trials
from tfprune.report.grammar import Axis
from tfprune.report.summary import Printed
from tfprune.studies.settings import FilterConfig, FlatnessConfig

NO_PRUNING, FILTERS, SCRATCH = "none", "filters", "scratch"
NOISES = {"zeroing": "Zeroing", "gaussian": "Gaussian", "restoring": "Restoring"}
TARGETS = {"smallest": "Prune_S", "random": "Prune_R", "largest": "Prune_L"}
TARGET_COLORS = dict(zip(TARGETS, (style.BLUE, style.GREEN, style.VERMILLION), strict=True))
TARGET_MARKERS = dict(zip(TARGETS, "os^", strict=True))
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
# How much white is mixed into the colour of the smallest of several rates.
_PALEST = 0.55
# By kind, the columns of results.csv that tell its configurations apart.
_FIELDS = {
    NO_PRUNING: (),
    FILTERS: ("target", "period", "iterative_rate", "total_fraction", "layer_fractions"),
    SCRATCH: ("target", "total_fraction", "layer_fractions"),
    **dict.fromkeys(NOISES, ("target", "period", "noise_batches", "cumulative")),
}
# What trials must have in common for their configurations to be compared.
_BASE = ["dataset", "model", "label_noise", "noise_fraction", "criterion"]
# What is pruned when, and how it is measured.
_OPTIONS = (*FilterConfig().identity(), "criterion_batches", *FlatnessConfig().identity())
_RUN = ["configuration", "seed"]
# The column that names the file of a run's accuracies by epoch.
CURVE = "metrics"


@dataclass(frozen=True)
class Quantity(Axis):
    """A number of a run, as an axis and a table show it, by default with the same words."""

    heading: str = ""

    @property
    def of_table(self) -> str:
        return self.heading or self.label[:1].lower() + self.label[1:]

    @property
    def words(self) -> str:
        return self.of_table.split(" (")[0]


# fmt: off
ACCURACY = Quantity("accuracy", "Best test accuracy (%)", 100, heading="test accuracy (%)")
STABILITY = Quantity("stability", "Mean stability (%)", 100)
TRAIN = Quantity("train_accuracy_at_best", "Train accuracy (%)", 100)
GAP = Quantity("gap", "Generalization gap (points)", 100)
# As the paper's code has it: train accuracy over the epoch's own batches, while weights move.
RUNNING_GAP = Quantity("running_generalization_gap", "Running generalization gap (points)", 100)
TRACE = Quantity(
    "hessian_trace_top", "Curvature: sum of the top Hessian eigenvalues",
    heading="sum of top eigenvalues")
HUTCHINSON = Quantity("hessian_trace", heading="Tr(H), Hutchinson")
TOP = Quantity("top_eigenvalue", heading="top eigenvalue")
COVARIANCE = Quantity(
    "gradient_covariance_trace", "Noise: trace of the gradient covariance", heading="Tr(C)")
TIC = Quantity("tic_proxy", "TIC proxy: Tr(C) over Tr(H)", heading="TIC proxy")
EPSILON = Quantity(
    "epsilon", "ε: perturbation that raises the test loss by 0.1 nats", heading="epsilon")
# fmt: on
MEASURED = (TRACE, HUTCHINSON, TOP, COVARIANCE, TIC, EPSILON)
QUANTITIES = (ACCURACY, STABILITY, GAP, TRAIN, RUNNING_GAP, *MEASURED)
# What `filter_trainings.outcome` says of every run that has ended: `accuracy` and `gap`.
_ENDED = ["stable_accuracy_best", "generalization_gap"]
# Those that results.csv has under these names, where a run has them.
_MEASURED = [q.column for q in (STABILITY, TRAIN, RUNNING_GAP, *MEASURED)]


@dataclass(frozen=True)
class Configuration:
    """What the runs of one legend entry have in common, and how it is named and drawn.

    Attributes:
      kind: `none`, `filters`, `scratch`, or a noise: `zeroing`, `gaussian`, `restoring`.
      target: of the filters: `smallest`, `random` or `largest`; "" without pruning.
      period: epochs between the pruning events of a layer; 0 where there are none.
      iterative_rate: the fraction of the last scheduled layer that an event prunes.
      total_fraction: the fraction of that layer that all events prune.
      layer_fractions: of all scheduled layers, as "0.3,0.3,0.9"; "" where results.csv has none.
      noise_batches: training batches that a noise lasts.
      cumulative: whether the noise is on all filters targeted so far, or only on new ones.
      name: the same in every figure of an experiment.
      look: its color, marker and dash, likewise.
    """

    kind: str
    target: str = ""
    period: int = 0
    iterative_rate: float = 0.0
    total_fraction: float = 0.0
    layer_fractions: str = ""
    noise_batches: int = 0
    cumulative: bool = False
    name: str = field(default="", compare=False)
    look: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> tuple[Any, ...]:
        """Sorts configurations as legends and tables list them."""
        targets, kinds = ["", *TARGETS], list(_FIELDS)
        return (
            kinds.index(self.kind), self.cumulative, targets.index(self.target),
            self.iterative_rate, self.total_fraction, self.layer_fractions, self.period,
            self.noise_batches,
        )  # fmt: skip


_TYPES = {name: type(getattr(Configuration, name)) for kind in _FIELDS.values() for name in kind}


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What is learned, and every run on it.

    Attributes:
      name: the data and the model, and what else tells this from other benchmarks.
      facts: dataset, model, label_noise, noise_fraction and criterion, as results.csv has them.
      runs: a row per run: the columns of results.csv, and `configuration`, with its `kind`,
        `target` and `iterative_rate`; `accuracy`, the best test accuracy at or after the last
        pruning epoch; `stability`, the mean over events, 1 without any; `gap`, train − test
        accuracy at the epoch of `accuracy`; fractions.
      folder: the output folder.
      where: " on NAME" where there are other benchmarks, for sentences.
    """

    name: str
    facts: Mapping[str, Any]
    runs: pd.DataFrame = field(repr=False)
    folder: epath.Path
    where: str

    @property
    def title(self) -> str:
        """The name, where there are other benchmarks."""
        return self.where and self.name

    @property
    def configurations(self) -> list[Configuration]:
        """Those that were run here, in the order of legends."""
        return sorted(set(self.runs["configuration"]), key=lambda c: c.place)

    def of(self, configuration: Configuration) -> pd.DataFrame:
        """The runs of a configuration, by seed."""
        return self.runs[self.runs["configuration"] == configuration].sort_values("seed")

    @property
    def pruned(self) -> pd.DataFrame:
        """The runs whose filters were pruned during training."""
        return self.runs[self.runs["kind"] == FILTERS]

    def means(self, quantity: Quantity) -> dict[Configuration, float]:
        """configuration -> mean over its runs, where all have a value."""
        means = {c: self.of(c)[quantity.column].mean(skipna=False) for c in self.configurations}
        return {c: float(mean) for c, mean in means.items() if not math.isnan(mean)}

    def measured(self, column: str, needed: Sequence[str]) -> pd.DataFrame:
        """The rows of all files that a column names, each with its `configuration` and `seed`.

        Raises:
          InputError: a file is damaged.
        """
        runs = self.runs.sort_values(_RUN)
        return store.read_measurements(self.folder, runs, column, needed, _RUN)

    def printed(self, table: str, metric: str) -> Printed | None:
        """The number that GST prints for this data, model and noise."""
        if not all(map(summary.full_size, self.runs.to_dict("records"))):
            return None
        cell = {name: self.facts[name] for name in ("noise_fraction", "model", "dataset")}
        return summary.find_printed(published("GST", table), **cell, metric=metric)


Found = Sequence[Benchmark]


def rate_text(fraction: Any) -> str:
    """A fraction in % with two digits.

    Example:
      >>> [rate_text(part) for part in (0.9 / 7, 0.9 / 68, 0.1 / 77, 1.0)]
      ['13%', '1.3%', '0.13%', '100%']
    """
    percent = 100 * fraction
    return f"{percent:.0f}%" if percent >= 9.95 else f"{percent:.2g}%"


# ---------------------------------------------------------------- reading
def benchmarks(results: pd.DataFrame, folder: epath.Path) -> list[Benchmark]:
    """Every benchmark of an experiment, in the order of results.csv.

    Trials of one dataset, model, label noise and criterion are one benchmark, and what they share
    counts once: a sweep over pruning schedules is one scatter plot. Runs with other schedules of
    the layers, or other options of a measurement, are a benchmark each, with the same unpruned
    runs. Where two trials of one trained the same configuration to different ends, another setting
    was swept, and each is a benchmark.

    Args:
      results: rows of results.csv of one of GST's experiments, those of all settings.
      folder: where it is.
    """
    rows = _runs(results)
    varying = [name for name in _BASE if rows[name].nunique(dropna=False) > 1]
    # "No label noise" would confuse in a study of noise on weights.
    said = varying or _BASE[: 4 if rows["noise_fraction"].gt(0).any() else 2]
    groups = rows.groupby(_BASE, sort=False, dropna=False)
    parts = []
    for options, mine in (pair for _, group in groups for pair in _by_options(group)):
        once = mine.drop_duplicates([*_RUN, "train_loss", "test_loss", "accuracy"])
        if not once.duplicated(_RUN).any():
            parts.append((trials.describe(dict(once[said].iloc[0]) | options), once))
        else:
            names = trials.names(rows)
            parts += [(names[str(trial)], own) for trial, own in mine.groupby("trial", sort=False)]
    return [
        Benchmark(
            name,
            {fact: own[fact].iloc[0] for fact in _BASE},
            own.reset_index(drop=True),
            folder,
            f" on {name}" * (len(parts) > 1),
        )
        for name, own in parts
    ]


def _by_options(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The rows by the options of their experiment that differ, and what those are.

    A row that an option does not apply to, as of a network without pruning, is in every part.
    """
    texts = pd.DataFrame({n: _of_type(rows[n], str) for n in _OPTIONS if n in rows}, rows.index)
    texts = texts[[name for name in texts if texts.loc[texts[name] != "", name].nunique() > 1]]
    of_some = texts[texts.ne("").all(axis=1)]
    for values in of_some.drop_duplicates().to_dict("records") if len(texts.columns) else [{}]:
        fits = (texts.eq(pd.Series(values, dtype=str)) | texts.eq("")).all(axis=1)
        yield {str(name): text for name, text in values.items()}, rows[fits]


def _runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of trunks and of GST's branches, with the columns that `Benchmark` names."""
    kinds = pd.Series([branch.split("_")[0] or NO_PRUNING for branch in rows["branch"]], rows.index)
    rows = rows.assign(kind=kinds)[kinds.isin(list(_FIELDS)) & rows["level"].eq(0)]
    rows = rows.reindex(columns=list(dict.fromkeys([*rows, *_ENDED, *_MEASURED, *_TYPES])))
    rows = rows.dropna(subset=_ENDED).astype(dict.fromkeys(_MEASURED, float))
    rows = rows.assign(**{name: _of_type(rows[name], kind) for name, kind in _TYPES.items()})
    found = [
        Configuration(row["kind"], **{name: row[name] for name in _FIELDS[row["kind"]]})
        for row in rows[["kind", *_TYPES]].to_dict("records")
    ]
    stability = rows[STABILITY.column]
    return rows.assign(
        configuration=pd.Categorical(found, _drawn(sorted(set(found), key=lambda c: c.place))),
        accuracy=rows[_ENDED[0]],
        stability=stability.mask(rows["kind"].isin([NO_PRUNING, SCRATCH]), stability.fillna(1.0)),
        metrics=[stage and f"{stage}/{layout.METRICS}" for stage in rows[store.STAGE]],
        gap=rows[_ENDED[1]],
    )


def _of_type(column: pd.Series, kind: type) -> pd.Series:
    """Text, "" where there is none; or numbers, 0 where there is none."""
    if kind is str:
        return column.map(trials.shown_value).astype(str)
    return column.fillna(0.0).astype(float).round(6).astype(kind)


# ---------------------------------------------------------------- names and looks
def _drawn(known: Sequence[Configuration]) -> list[Configuration]:
    """All configurations of an experiment with their names and looks.

    Names are short; with the period, then the total as well, where several would have one name.
    """
    names = {c: _short_name(c) for c in known}
    for more in (
        lambda c: f", every {c.period} epochs" if c.period else "",
        lambda c: f", {rate_text(c.total_fraction)} in all" if c.total_fraction else "",
        lambda c: f", layers by {c.layer_fractions}" if c.layer_fractions else "",
        lambda c: f", {TARGETS[c.target]}" if c.kind in NOISES else "",
    ):
        told = Counter(name for name, _ in {(name, more(c)) for c, name in names.items()})
        names = {c: name + more(c) if told[name] > 1 else name for c, name in names.items()}
    return [replace(c, name=names[c], look=_look(c, known)) for c in known]


def _short_name(c: Configuration) -> str:
    """A name where no other configuration has the same: "Prune_L 13%", "Zeroing 50"."""
    if c.kind == NO_PRUNING:
        return "No Pruning"
    if c.kind == SCRATCH:
        return f"Scratch ({TARGETS[c.target]})"
    if c.kind == FILTERS:
        return f"{TARGETS[c.target]} {rate_text(c.iterative_rate)}"
    return f"{NOISES[c.kind]} {c.noise_batches}" + ", cumulative" * c.cumulative


def _look(c: Configuration, known: Iterable[Configuration]) -> dict[str, Any]:
    """A colour per target, paler for smaller rates; noises from light to dark by their length."""
    if c.kind == NO_PRUNING:
        return {"color": style.BLACK, "marker": "P", "dash": "-"}
    of = (c.kind, c.target, c.cumulative)
    alike = [other for other in known if (other.kind, other.target, other.cumulative) == of]
    if c.kind in NOISES:
        marker = style.MARKERS[list(NOISES).index(c.kind)]
        return {"color": shades(len(alike))[alike.index(c)], "marker": marker, "dash": "-"}
    place = len(alike) - 1 - alike.index(c)  # 0 for the largest rate.
    white = _PALEST * place / max(len(alike) - 1, 1)
    is_pruned = c.kind == FILTERS
    rgb = to_rgb(TARGET_COLORS[c.target] if is_pruned else style.PURPLE)
    red, green, blue = (white + (1 - white) * part for part in rgb)
    return {
        "color": to_hex((red, green, blue)),
        "marker": TARGET_MARKERS[c.target] if is_pruned else "D",
        "dash": _DASHES[place % len(_DASHES)],
    }


def shades(count: int) -> list[str]:
    """Colours from light to dark for `count` curves, without the lightest, hardly to be seen."""
    return style.sequence_colors(count + 1)[1:]
