"""What TensorBoard shows: names of runs, curves by level, the HParams table, figures, usual views.

Training writes curves by epoch; `publish` makes the rest from results.csv and figures/*.png. Event
files are written whole with TensorBoard's own record format, and nothing here imports TensorFlow.
The name of a file ends in a digest of what it holds, so that publishing again writes what changed
and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from etils import epath
from google.protobuf.struct_pb2 import ListValue, Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from tfprune import layout, store
from tfprune.errors import InputError
from tfprune.event_folders import event_folder, scalar_tag, trial_folder
from tfprune.files import write_bytes_atomic
from tfprune.report import trials

HParam = bool | int | float | str

OVERVIEW = "figures"  # The run that holds what belongs to no single stage.
TRUNK = "trunk"  # How TensorBoard calls a stage of no branch: an empty cell says nothing.
_STAGE_HPARAMS = ("experiment", "seed", "level", "branch", "sparsity")
# The fixed columns that are final metrics, in the order of the HParams table.
_METRICS = (
    "test_accuracy_last",
    "test_accuracy_best",
    "train_accuracy",
    "val_accuracy",
    "distance_from_init",
    "instability",
    "unpermuted_accuracy",
    "permuted_accuracy",
    "restored_accuracy",
    "train_loss",
    "val_loss",
    "test_loss",
    "noisy_loss",
    "original_loss",
    "best_epoch",
    "wall_seconds",
)
# The usual views: (category, ((chart, tag, columns of results.csv), ...)).
_BY_LEVEL, _BY_EPOCH = "by level", "by epoch"
_Charts = tuple[tuple[str, str, tuple[str, ...]], ...]
_VIEWS: tuple[tuple[str, _Charts], ...] = (
    (
        "accuracy",
        (
            ("test accuracy", _BY_LEVEL, ("test_accuracy_last",)),
            ("best test accuracy", _BY_LEVEL, ("test_accuracy_best",)),
            ("train accuracy", _BY_LEVEL, ("train_accuracy",)),
            ("validation accuracy", _BY_LEVEL, ("val_accuracy",)),
            ("test accuracy", _BY_EPOCH, ("test_accuracy_last",)),
            ("train accuracy", _BY_EPOCH, ("train_accuracy",)),
            ("train and test accuracy", _BY_EPOCH, ("train_accuracy", "test_accuracy_last")),
        ),
    ),
    (
        "memorization",
        (
            ("unpermuted examples", _BY_LEVEL, ("unpermuted_accuracy",)),
            ("permuted examples", _BY_LEVEL, ("permuted_accuracy",)),
            ("restored examples", _BY_LEVEL, ("restored_accuracy",)),
            ("unpermuted examples", _BY_EPOCH, ("unpermuted_accuracy",)),
            ("permuted examples", _BY_EPOCH, ("permuted_accuracy",)),
            ("restored examples", _BY_EPOCH, ("restored_accuracy",)),
        ),
    ),
    (
        "losses",
        (
            ("train and test loss", _BY_LEVEL, ("train_loss", "test_loss")),
            ("train and test loss", _BY_EPOCH, ("train_loss", "test_loss")),
            (
                "loss on noisy and original examples",
                _BY_EPOCH,
                ("noisy_loss", "original_loss"),
            ),
        ),
    ),
    (
        "distance",
        (
            ("distance from initialization", _BY_LEVEL, ("distance_from_init",)),
            ("distance from initialization", _BY_EPOCH, ("distance_from_init",)),
        ),
    ),
    ("instability", (("instability", _BY_LEVEL, ("instability",)),)),
)
# Without permuted examples all are unpermuted, and that view shows the train accuracy once more.
_NEEDS = {"memorization": "permuted_accuracy"}
# Of weight utility (PM 2.1.2): what is a curve by epoch, for each ablation ratio, and the tables
# of subsets whose utilities are histograms.
_UTILITY_CURVES = {
    "utility_imbalance": "imbalance",
    "utility_mean": "mean",
    "utility_min": "minimum",
    "utility_max": "maximum",
    "ablated_accuracy_mean": "accuracy",
}
_UTILITY_SUBSETS = ("utility_ratio", "utility_number", "utility_pretrained")
_MEASURED = ("utility_dynamics", *_UTILITY_SUBSETS, "plane")
_HISTOGRAM_BINS = 30
_FEW = 5  # So many numbers are offered one by one, more as an interval.
_RGBA = 4  # Summary.Image's number for it; TensorBoard decodes the PNG whatever it says.
_PNG = b"\x89PNG\r\n\x1a\n"


def final_tag(metric: str) -> str:
    """The tag of a metric of a finished stage: a group of its own, apart from the curves."""
    return f"final/{metric}"


def level_tag(metric: str) -> str:
    """The tag of a metric in the run of a trial, by level."""
    return f"by_level/{metric}"


def write_hparams(
    folder: epath.PathLike,
    hparams: Mapping[str, HParam],
    metrics: Mapping[str, float],
    step: int = 0,
    name: str = "",
) -> None:
    """Makes a run a row of the HParams table, in place of what was written there before.

    Args:
      folder: the run's event folder, where its scalars are.
      hparams: values by name; bool, int, float or str.
      metrics: final values by name, float32 in TensorBoard, as scalars `final/NAME`; those that
        are NaN or infinite are left out.
      step: the step of these scalars. With a stage's level, a chart of `final/NAME` shows the
        metric against the level, a point for each run.
      name: what the table calls the row; runs of one name are averaged in one row. By default
        the run's own name, its folder relative to TensorBoard's --logdir.

    Raises:
      InputError: the folder cannot be written.
      TypeError: a hyperparameter is of another type.
    """
    start = plugin_data_pb2.SessionStartInfo(group_name=name)
    for key, value in hparams.items():
        start.hparams[key].CopyFrom(_value(value))
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    values = [
        _hparams_value(hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start),
        _hparams_value(hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end),
    ]
    values += [
        Summary.Value(tag=final_tag(key), simple_value=metric)
        for key, metric in metrics.items()
        if math.isfinite(metric)
    ]
    _replace_events(folder, "hparams", values, step)


def write_experiment(
    folder: epath.PathLike, hparams: Mapping[str, Iterable[HParam]], metrics: Iterable[str]
) -> None:
    """Says which columns the HParams table has, in place of what was written there before.

    Args:
      folder: an event folder under TensorBoard's --logdir; only one may hold an experiment.
      hparams: the values that each hyperparameter takes. Text, booleans and up to five different
        numbers are offered one by one, more numbers as an interval.
      metrics: names of final metrics, as `write_hparams` takes them, in the table's order.

    Raises:
      InputError: the folder cannot be written.
      TypeError: a hyperparameter is of another type.
    """
    experiment = api_pb2.Experiment(
        hparam_infos=[_hparam_info(name, values) for name, values in hparams.items()],
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=final_tag(name)), display_name=_spoken(name)
            )
            for name in metrics
        ],
    )
    value = _hparams_value(hparams_metadata.EXPERIMENT_TAG, experiment=experiment)
    _replace_events(folder, "experiment", [value])


def write_images(folder: epath.PathLike, images: Mapping[str, bytes], step: int = 0) -> None:
    """Shows images in a run, in place of those that were written there before.

    Args:
      folder: the run's event folder.
      images: PNG files by tag; a tag GROUP/NAME puts the image under GROUP.
      step: the step at which they are shown.

    Raises:
      InputError: an image is not a PNG file, or the folder cannot be written.
    """
    values = [_image(tag, data) for tag, data in sorted(images.items())]
    _replace_events(folder, "images", values, step)


def write_curves(folder: epath.PathLike, curves: Mapping[int, Mapping[str, float]]) -> None:
    """Shows scalars by step in a run, in place of those that were written there before.

    Args:
      folder: the run's event folder.
      curves: step, an epoch or a level -> {tag: value}, float32 in TensorBoard; those that are
        NaN or infinite are left out.

    Raises:
      InputError: the folder cannot be written.
    """
    events = [
        (
            step,
            [
                Summary.Value(tag=tag, simple_value=value)
                for tag, value in sorted(scalars.items())
                if math.isfinite(value)
            ],
        )
        for step, scalars in sorted(curves.items())
    ]
    _replace_all_events(folder, "curves", [event for event in events if event[1]])


def write_histograms(
    folder: epath.PathLike, samples: Mapping[str, npt.ArrayLike], step: int = 0
) -> None:
    """Shows how numbers are distributed in a run, in place of what was written there before.

    Args:
      folder: the run's event folder.
      samples: numbers `[n]` by tag; those that are NaN or infinite are left out.
      step: the step at which they are shown.

    Raises:
      InputError: the folder cannot be written.
    """
    finite = {tag: np.asarray(values, float) for tag, values in sorted(samples.items())}
    finite = {tag: values[np.isfinite(values)] for tag, values in finite.items()}
    values = [_histogram(tag, numbers) for tag, numbers in finite.items() if numbers.size]
    _replace_events(folder, "histograms", values, step)


def write_views(
    folder: epath.PathLike, columns: Collection[str] | None = None, utility: bool = False
) -> None:
    """Lays out the usual views on TensorBoard's page "Custom Scalars", by level and by epoch.

    Accuracy on train and test; memorization, which is accuracy on unpermuted, permuted and
    restored examples (SDD section 4); losses, of noisy and original examples too (PEG section 4);
    distance from initialization (SDD section 5); instability (GST figure 1); utility, a curve per
    ablation ratio (PM 2.1.2).

    Args:
      folder: an event folder under TensorBoard's --logdir.
      columns: the columns of results.csv that were measured: charts of others are left out, as
        they would be empty. None shows all.
      utility: whether there are curves of utility to show.

    Raises:
      InputError: the folder cannot be written.
    """
    there = columns if columns is not None else {*_METRICS}
    categories = []
    for title, charts in _VIEWS:
        if _NEEDS.get(title, charts[0][2][0]) not in there:
            continue
        shown = [_chart(*chart) for chart in charts if set(chart[2]) <= set(there)]
        categories.append(layout_pb2.Category(title=title, chart=shown))
    if utility:
        shown = [
            _chart_of_tags(_spoken(column), [f"^utility/{name}_"])
            for column, name in _UTILITY_CURVES.items()
        ]
        categories.append(layout_pb2.Category(title="utility", chart=shown))
    views = layout_pb2.Layout(category=categories)
    content = views.SerializeToString(deterministic=True)
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(content, dtype=DT_STRING),
    )
    _replace_events(folder, "views", [value])


def publish(output_dir: epath.PathLike) -> epath.Path:
    """Puts what results.csv and figures/*.png hold into TensorBoard; publishing again adds nothing.

    Every stage becomes a row of the HParams table, beside its scalars: experiment, seed, level,
    branch, sparsity and the settings of its trial, and its final metrics. A stage that several
    trials or experiments share is one row; it names all their experiments, criteria and so on,
    and leaves out numbers on which they differ. A trial with one seed is a run too, TRIAL/seed_S,
    with its metrics by level. The figures are images of the run `figures`. Beside its scalars a
    stage also shows, where they were measured: utility by epoch, the distribution of utility over
    subsets, and the accuracy on a plane (PM).

    Args:
      output_dir: the output folder.

    Returns:
      The folder to give to `tensorboard --logdir`.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written.
    """
    results = store.read_results(output_dir)
    logdir = epath.Path(output_dir) / layout.TENSORBOARD
    stages = _stages(results)
    for stage, about in stages.items():
        folder = event_folder(output_dir, stage)
        name = _row_name(folder.relative_to(logdir).parts, about.level)
        write_hparams(folder, about.hparams, about.metrics, about.level, name)
    _publish_by_level(logdir, results)
    has_utility = _publish_measurements(output_dir, results)
    write_experiment(logdir / OVERVIEW, *_columns(list(stages.values())))
    write_images(logdir / OVERVIEW, _figures(output_dir, results["experiment"].unique()))
    write_views(logdir / OVERVIEW, _metrics(results), has_utility)
    return logdir


def _publish_by_level(logdir: epath.Path, results: pd.DataFrame) -> None:
    """A run for each trial and seed, and for each of its branches, with its metrics by level."""
    metrics = ["sparsity", *_metrics(results)]
    # Networks that are numbered, as those of EL2N, have no level.
    numbered = results["branch"] + "_" + results["level"].map("{:02d}".format)
    of_level = results[results[store.STAGE].str.rpartition("/")[2] != numbered]
    for (trial, seed, branch), rows in of_level.groupby(["trial", "seed", "branch"], sort=False):
        # Experiments that share a trial each have a row of its levels.
        table = rows.groupby("level")[metrics].first()
        curves = {
            int(str(level)): {level_tag(name): float(value) for name, value in row.items()}
            for level, row in table.to_dict("index").items()
        }
        folder = trial_folder(logdir, str(trial)) / layout.seed_folder(int(seed))
        # One level is no curve.
        write_curves(folder / str(branch) if branch else folder, curves if len(table) > 1 else {})


def _publish_measurements(output_dir: epath.PathLike, results: pd.DataFrame) -> bool:
    """What was measured beside stages, in their runs; whether there are curves of utility."""
    columns = [name for name in _MEASURED if name in results]
    named = results[results[columns].fillna("").ne("").any(axis=1) & results[store.STAGE].ne("")]
    has_curves = False
    for stage, rows in named.groupby(store.STAGE, sort=False):
        folder, level = event_folder(output_dir, str(stage)), int(rows["level"].min())
        curves = _utility_curves(output_dir, rows)
        has_curves |= bool(curves)
        write_curves(folder, curves)
        write_histograms(folder, _utility_samples(output_dir, rows), level)
        write_images(folder, _planes(output_dir, rows), level)
    return has_curves


def _last_named(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The row of a stage whose measurement is shown: experiments may have other options."""
    if column not in rows:
        return rows.iloc[:0]
    return rows[rows[column].fillna("").ne("")].iloc[-1:]


def _utility_curves(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[int, dict[str, float]]:
    """epoch -> {utility/QUANTITY_RATIO: value}."""
    # Training imports this module, and needs no matplotlib.
    from tfprune.papers.pm import utility

    one = _last_named(rows, utility.DYNAMICS)
    found: dict[int, dict[str, float]] = {}
    table = utility.read(output_dir, one, utility.DYNAMICS, utility.DYNAMICS_COLUMNS)
    for row in table.to_dict("records"):
        scalars = found.setdefault(int(row["epoch"]), {})
        for column, name in _UTILITY_CURVES.items():
            scalars[f"utility/{name}_{row[utility.AMOUNT]:g}"] = float(row[column])
    return found


def _utility_samples(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """MEASUREMENT/RATIO -> the utilities of all subsets, nats."""
    from tfprune.papers.pm import utility

    found = {}
    for column in _UTILITY_SUBSETS:
        table = utility.read_subsets(output_dir, _last_named(rows, column), column)
        for amount, subsets in table.groupby(utility.AMOUNT):
            found[f"{column}/{amount:g}"] = subsets["utility"].to_numpy(float)
    return found


def _planes(output_dir: epath.PathLike, rows: pd.DataFrame) -> dict[str, bytes]:
    """The picture of a stage's plane, if it was measured."""
    from tfprune.papers.pm import planes

    surface = planes.surface_of(output_dir, _last_named(rows, "plane"))
    if surface is None:
        return {}
    return {"accuracy_surface/plane": planes.png(surface)}


@dataclass(frozen=True)
class _Stage:
    """What the HParams table says of a stage."""

    level: int
    hparams: dict[str, HParam]
    metrics: dict[str, float]


def _stages(results: pd.DataFrame) -> dict[str, _Stage]:
    """Every stage that results.csv names, by its folder."""
    settings, metrics = _settings(results), _metrics(results)
    rows = results.assign(
        branch=results["branch"].replace("", TRUNK),
        seed=results["seed"].astype(str),  # A label: TensorBoard shows a number as 1.0000.
    )
    found = {}
    for name, same in rows[rows[store.STAGE] != ""].groupby(store.STAGE, sort=False):
        hparams = {column: _agreed(same[column]) for column in (*_STAGE_HPARAMS, *settings)}
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


def _settings(results: pd.DataFrame) -> list[str]:
    """The settings that any row has a value of, in the order of results.csv."""
    settings = set(trials.settings(results).columns)
    filled = [name for name in results if (results[name].notna() & (results[name] != "")).any()]
    return [name for name in filled if name in settings]


def _metrics(results: pd.DataFrame) -> list[str]:
    """The columns that are final metrics: the fixed ones, then an experiment's own numbers."""
    known = {*layout.RESULT_COLUMNS, *_settings(results), trials.EFFICACY_TOLERANCE}
    numbers = results.select_dtypes("number").columns
    own = [name for name in numbers if name not in known]
    return [name for name in (*_METRICS, *own) if results[name].notna().any()]


def _agreed(cells: pd.Series) -> HParam | None:
    """The value of all rows of a stage; texts that differ side by side, numbers that differ not."""
    values = [value.item() if isinstance(value, np.generic) else value for value in cells.unique()]
    values = [value for value in values if value not in ("", None) and value == value]
    if len(values) == 1:
        return values[0]
    if values and all(isinstance(value, str) for value in values):
        return ", ".join(sorted(values))
    return None


def _columns(stages: Sequence[_Stage]) -> tuple[dict[str, list[HParam]], list[str]]:
    """What the HParams table has: the values of every hyperparameter, and the metrics."""
    names = dict.fromkeys(name for stage in stages for name in stage.hparams)
    hparams = {
        name: [stage.hparams[name] for stage in stages if name in stage.hparams] for name in names
    }
    metrics = dict.fromkeys(name for stage in stages for name in stage.metrics)
    order = [*_METRICS, *(name for name in metrics if name not in _METRICS)]
    return hparams, [name for name in order if name in metrics]


def _figures(output_dir: epath.PathLike, experiments: Iterable[str]) -> dict[str, bytes]:
    """Every figure as EXPERIMENT/NAME, those of no experiment as NAME."""
    folder = epath.Path(output_dir) / layout.FIGURES
    files = sorted(folder.glob("*.png")) if folder.exists() else []
    longest_first = sorted(experiments, key=len, reverse=True)
    return {_figure_tag(file.stem, longest_first): file.read_bytes() for file in files}


def _figure_tag(name: str, experiments: Iterable[str]) -> str:
    for experiment in experiments:
        if name.startswith(f"{experiment}_"):
            return f"{experiment}/{name.removeprefix(f'{experiment}_')}"
    return name


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _value(value: HParam) -> Value:
    if isinstance(value, bool):  # Before int, which it is too.
        return Value(bool_value=value)
    if isinstance(value, (int, float)):
        return Value(number_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    raise TypeError(f"a hyperparameter must be bool, int, float or str, not {value!r}")


def _hparam_info(name: str, values: Iterable[HParam]) -> Any:
    """An api_pb2.HParamInfo; `differs` makes TensorBoard show the column without being asked."""
    given = list(values)
    texts = not all(isinstance(value, (int, float)) for value in given)
    distinct = sorted({str(value) for value in given} if texts else set(given))
    info = api_pb2.HParamInfo(name=name, display_name=_spoken(name), differs=len(distinct) > 1)
    if texts:
        info.type = api_pb2.DATA_TYPE_STRING
    elif all(isinstance(value, bool) for value in given):
        info.type = api_pb2.DATA_TYPE_BOOL
    else:
        info.type = api_pb2.DATA_TYPE_FLOAT64
    if info.type != api_pb2.DATA_TYPE_FLOAT64 or len(distinct) <= _FEW:
        info.domain_discrete.CopyFrom(ListValue(values=[_value(value) for value in distinct]))
    else:
        info.domain_interval.min_value = float(distinct[0])
        info.domain_interval.max_value = float(distinct[-1])
    return info


def _hparams_value(tag: str, **data: Any) -> Summary.Value:
    content = plugin_data_pb2.HParamsPluginData(
        version=hparams_metadata.PLUGIN_DATA_VERSION, **data
    )
    plugin = SummaryMetadata.PluginData(
        plugin_name=hparams_metadata.PLUGIN_NAME,
        # A map of hyperparameters comes in any order unless asked.
        content=content.SerializeToString(deterministic=True),
    )
    return Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=plugin),
        tensor=hparams_metadata.NULL_TENSOR,
    )


def _image(tag: str, data: bytes) -> Summary.Value:
    if len(data) < 24 or not data.startswith(_PNG):
        raise InputError(f"the image {tag} is not a PNG file: rebuild it with run.py report")
    width, height = struct.unpack(">II", data[16:24])  # The header comes first in every PNG.
    return Summary.Value(
        tag=tag,
        image=Summary.Image(
            width=width, height=height, colorspace=_RGBA, encoded_image_string=data
        ),
    )


def _histogram(tag: str, values: np.ndarray) -> Summary.Value:
    counts, edges = np.histogram(values, _HISTOGRAM_BINS)
    return Summary.Value(
        tag=tag,
        histo=HistogramProto(
            min=float(edges[0]),
            max=float(edges[-1]),
            num=values.size,
            sum=float(values.sum()),
            sum_squares=float((values**2).sum()),
            bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        ),
    )


def _chart(title: str, by: str, columns: Iterable[str]) -> layout_pb2.Chart:
    """A chart of columns of results.csv: by level, or the epochs that led to them."""
    if by == _BY_LEVEL:
        tags = [level_tag(column) for column in columns]
    else:
        tags = [scalar_tag(column.removesuffix("_last")) for column in columns]
    return _chart_of_tags(f"{title} {by}", [f"^{tag}$" for tag in tags])


def _chart_of_tags(title: str, tags: Iterable[str]) -> layout_pb2.Chart:
    """A chart of all scalars whose tags match one of these regular expressions."""
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))


def _replace_events(
    folder: epath.PathLike, kind: str, values: Sequence[Summary.Value], step: int = 0
) -> None:
    """As `_replace_all_events`, of one event or, without values, of none."""
    _replace_all_events(folder, kind, [(step, values)] if values else [])


def _replace_all_events(
    folder: epath.PathLike, kind: str, events: Sequence[tuple[int, Sequence[Summary.Value]]]
) -> None:
    """Leaves one event file of this kind in the folder; none if there are no events.

    A file that holds the same already is left alone. One that differs is replaced by a file of
    another name, because a TensorBoard that runs has the old one open and reads no change of it.

    Args:
      folder: where to.
      kind: names the file.
      events: (step, values), by step.
    """
    folder = epath.Path(folder)
    summaries = [(step, Summary(value=values)) for step, values in events]
    content = b"".join(
        step.to_bytes(8, "big", signed=True) + summary.SerializeToString(deterministic=True)
        for step, summary in summaries
    )
    digest = hashlib.sha256(content).hexdigest()[:12]
    here = sorted(folder.glob(f"events.out.tfevents.*.tfprune-{kind}.*")) if folder.exists() else []
    same = [file for file in here if file.name.endswith(f".{digest}")][-1:]
    if events and not same:
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.tfprune-{kind}.{digest}"
        write_bytes_atomic(folder / name, _events(summaries, now))
    for file in here:
        if file not in same:
            file.unlink(missing_ok=True)


def _events(summaries: Sequence[tuple[int, Summary]], wall_time: float) -> bytes:
    """A whole event file: its version, then an event for each step."""
    file = io.BytesIO()
    writer = RecordWriter(file)
    events = [Event(wall_time=wall_time, file_version="brain.Event:2")]
    events += [Event(wall_time=wall_time, step=step, summary=s) for step, s in summaries]
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    return file.getvalue()
