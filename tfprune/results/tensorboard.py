"""What TensorBoard shows besides curves: the HParams table, figures and the usual views.

`publish` makes all of it from results.csv and figures/*.png. Event files are written whole with
TensorBoard's own record format, and nothing here imports TensorFlow. The name of a file ends in a
digest of what it holds, so that publishing again writes what changed and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from google.protobuf.struct_pb2 import ListValue, Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from tfprune.errors import InputError
from tfprune.files import write_bytes_atomic
from tfprune.results import layout, store, trials

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
# The usual views: (category, ((chart, metrics of every epoch), ...)).
_VIEWS: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...] = (
    (
        "accuracy",
        (
            ("test accuracy", ("test_accuracy",)),
            ("train accuracy", ("train_accuracy",)),
            ("train and test accuracy", ("train_accuracy", "test_accuracy")),
        ),
    ),
    (
        "memorization",
        (
            ("unpermuted examples", ("unpermuted_accuracy",)),
            ("permuted examples", ("permuted_accuracy",)),
            ("restored examples", ("restored_accuracy",)),
            ("all three", ("unpermuted_accuracy", "permuted_accuracy", "restored_accuracy")),
        ),
    ),
    (
        "losses",
        (
            ("train and test loss", ("train_loss", "test_loss")),
            ("loss on noisy and original examples", ("noisy_loss", "original_loss")),
        ),
    ),
    ("distance", (("distance from initialization", ("distance_from_init",)),)),
)
_FEW = 5  # So many numbers are offered one by one, more as an interval.
_RGBA = 4  # Summary.Image's number for it; TensorBoard decodes the PNG whatever it says.
_PNG = b"\x89PNG\r\n\x1a\n"


def scalar_tag(metric: str) -> str:
    """`test_accuracy` becomes `accuracy/test`, so that TensorBoard groups what is compared."""
    subset, _, kind = metric.rpartition("_")
    return f"{kind}/{subset}" if subset and kind in ("accuracy", "loss") else metric


def final_tag(metric: str) -> str:
    """The tag of a metric of a finished stage: a group of its own, apart from the curves."""
    return f"final/{metric}"


def event_folder(output_dir: epath.PathLike, stage: str) -> epath.Path:
    """Where the events of a stage are; `stage` is its folder relative to the output folder.

    Raises:
      InputError: it is not the folder of a trial's stage.
    """
    parts = stage.split("/")
    if parts[0] != layout.TRIALS or len(parts) < 4 or not {"", "..", "."}.isdisjoint(parts):
        raise InputError(
            f"{layout.RESULTS} has the stage {stage!r}, which is not {layout.TRIALS}/TRIAL/SEED/"
            "STAGE: move the file away and run the experiment again"
        )
    return epath.Path(output_dir, layout.TENSORBOARD, *parts[1:])


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


def write_views(folder: epath.PathLike) -> None:
    """Lays out the usual views on TensorBoard's page "Custom Scalars".

    Accuracy on train and test; memorization, which is accuracy on unpermuted, permuted and
    restored examples (SDD section 4); losses, of noisy and original examples too (PEG section 4);
    distance from initialization (SDD section 5).

    Args:
      folder: an event folder under TensorBoard's --logdir.

    Raises:
      InputError: the folder cannot be written.
    """
    views = layout_pb2.Layout(
        category=[
            layout_pb2.Category(title=title, chart=[_chart(*chart) for chart in charts])
            for title, charts in _VIEWS
        ]
    )
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
    and leaves out numbers on which they differ. The figures are images of the run `figures`.

    Args:
      output_dir: the output folder.

    Returns:
      The folder to give to `tensorboard --logdir`.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written.
    """
    results = store.read_results(output_dir)
    stages = _stages(results)
    for folder, stage in stages.items():
        write_hparams(
            event_folder(output_dir, folder),
            stage.hparams,
            stage.metrics,
            stage.level,
            _row_name(folder, stage.level),
        )
    logdir = epath.Path(output_dir) / layout.TENSORBOARD
    write_experiment(logdir / OVERVIEW, *_columns(list(stages.values())))
    write_images(logdir / OVERVIEW, _figures(output_dir, results["experiment"].unique()))
    write_views(logdir / OVERVIEW)
    return logdir


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


def _row_name(stage: str, level: int) -> str:
    """`level_07 seed_1 TRIAL`: the table cuts a name off after some fifteen letters."""
    _, trial, seed, name = stage.split("/", 3)
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


def _chart(title: str, metrics: Iterable[str]) -> layout_pb2.Chart:
    tags = [f"^{scalar_tag(metric)}$" for metric in metrics]
    return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))


def _replace_events(
    folder: epath.PathLike, kind: str, values: Sequence[Summary.Value], step: int = 0
) -> None:
    """Leaves one event file of this kind in the folder; none if there are no values.

    A file that holds the same already is left alone. One that differs is replaced by a file of
    another name, because a TensorBoard that runs has the old one open and reads no change of it.
    """
    folder = epath.Path(folder)
    summary = Summary(value=values)
    content = summary.SerializeToString(deterministic=True)
    digest = hashlib.sha256(step.to_bytes(8, "big", signed=True) + content).hexdigest()[:12]
    here = sorted(folder.glob(f"events.out.tfevents.*.tfprune-{kind}.*")) if folder.exists() else []
    same = [file for file in here if file.name.endswith(f".{digest}")][-1:]
    if values and not same:
        now = time.time()
        name = f"events.out.tfevents.{int(now):010d}.tfprune-{kind}.{digest}"
        write_bytes_atomic(folder / name, _events(summary, step, now))
    for file in here:
        if file not in same:
            file.unlink(missing_ok=True)


def _events(summary: Summary, step: int, wall_time: float) -> bytes:
    """A whole event file: its version, then one event."""
    file = io.BytesIO()
    writer = RecordWriter(file)
    for event in (
        Event(wall_time=wall_time, file_version="brain.Event:2"),
        Event(wall_time=wall_time, step=step, summary=summary),
    ):
        writer.write(event.SerializeToString(deterministic=True))
    return file.getvalue()
