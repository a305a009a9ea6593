"""Event files as TensorBoard reads them, written whole: curves, images, histograms, tables, charts.

They have TensorBoard's own record format, and nothing here imports TensorFlow. The name of a file
ends in a digest of what it holds, so that writing the same again changes nothing. Each function
`write_...` puts what it writes in place of what it wrote into that folder before, and raises
InputError where the folder cannot be written. Numbers are float32 in TensorBoard; those that are
NaN or infinite are left out.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
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

from tfprune.door import program
from tfprune.errors import InputError
from tfprune.files import write_bytes_atomic

HParam = bool | int | float | str
# Category -> chart -> regular expressions of the tags that are its curves.
Charts = Mapping[str, Mapping[str, Sequence[str]]]

_HISTOGRAM_BINS = 30
_FEW = 5  # So many numbers are offered one by one, more as an interval.
_RGBA = 4  # Summary.Image's number for it; TensorBoard decodes the PNG whatever it says.
_PNG = b"\x89PNG\r\n\x1a\n"
_WRITTEN_HERE = "events.out.tfevents.*.tfprune-"


def _final_tag(metric: str) -> str:
    """The tag of a metric of a finished stage: a group of its own, apart from the curves."""
    return f"final/{metric}"


def write_hparams(
    folder: epath.PathLike,
    hparams: Mapping[str, HParam],
    metrics: Mapping[str, float],
    step: int,
    name: str,
) -> None:
    """Makes a run a row of the HParams table.

    Args:
      folder: the run's event folder, where its scalars are.
      hparams: values by name; bool, int, float or str.
      metrics: final values by name, as scalars `final/NAME`.
      step: the step of these scalars. With a stage's level, a chart of `final/NAME` shows the
        metric against the level, a point for each run.
      name: what the table calls the row; runs of one name are averaged in one row.

    Raises:
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
    values += _scalars({_final_tag(name): value for name, value in metrics.items()})
    _replace_events(folder, "hparams", {step: values})


def write_experiment(
    folder: epath.PathLike, hparams: Mapping[str, Iterable[HParam]], metrics: Iterable[str]
) -> None:
    """Says which columns the HParams table has.

    Args:
      folder: an event folder under TensorBoard's --logdir; only one may hold an experiment.
      hparams: the values that each hyperparameter takes. Text, booleans and up to five different
        numbers are offered one by one, more numbers as an interval.
      metrics: names of final metrics, as `write_hparams` takes them, in the table's order.

    Raises:
      TypeError: a hyperparameter is of another type.
    """
    experiment = api_pb2.Experiment(
        hparam_infos=[_hparam_info(name, values) for name, values in hparams.items()],
        metric_infos=[
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=_final_tag(name)), display_name=spoken(name)
            )
            for name in metrics
        ],
    )
    value = _hparams_value(hparams_metadata.EXPERIMENT_TAG, experiment=experiment)
    _replace_events(folder, "experiment", {0: [value]})


def write_images(folder: epath.PathLike, images: Mapping[str, bytes], step: int = 0) -> None:
    """Shows images in a run.

    Args:
      folder: the run's event folder.
      images: PNG files by tag; a tag GROUP/NAME puts the image under GROUP.
      step: the step at which they are shown.

    Raises:
      InputError: an image is not a PNG file.
    """
    values = [_image(tag, data) for tag, data in sorted(images.items())]
    _replace_events(folder, "images", {step: values})


def write_curves(folder: epath.PathLike, curves: Mapping[int, Mapping[str, float]]) -> None:
    """Shows scalars by step in a run.

    Args:
      folder: the run's event folder.
      curves: step, an epoch or a level -> {tag: value}.
    """
    events = {step: _scalars(scalars) for step, scalars in sorted(curves.items())}
    _replace_events(folder, "curves", events)


def write_histograms(
    folder: epath.PathLike, samples: Mapping[str, npt.ArrayLike], step: int = 0
) -> None:
    """Shows how numbers are distributed in a run.

    Args:
      folder: the run's event folder.
      samples: numbers `[n]` by tag.
      step: the step at which they are shown.
    """
    known = ((tag, np.asarray(numbers, float)) for tag, numbers in sorted(samples.items()))
    finite = ((tag, numbers[np.isfinite(numbers)]) for tag, numbers in known)
    values = [_histogram(tag, numbers) for tag, numbers in finite if numbers.size]
    _replace_events(folder, "histograms", {step: values})


def write_charts(folder: epath.PathLike, charts: Charts) -> None:
    """Lays out the page "Custom Scalars".

    Args:
      folder: an event folder under TensorBoard's --logdir.
      charts: category -> chart -> regular expressions; a chart shows all scalars whose tags match
        one of them, of every run. No category leaves no layout.
    """
    categories = [
        layout_pb2.Category(
            title=title,
            chart=[
                layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
                for name, tags in shown.items()
            ],
        )
        for title, shown in charts.items()
    ]
    content = layout_pb2.Layout(category=categories).SerializeToString(deterministic=True)
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(content, dtype=DT_STRING),
    )
    _replace_events(folder, "views", {0: [value] if categories else []})


def remove_other_runs(logdir: epath.PathLike, runs: Iterable[epath.PathLike]) -> None:
    """Deletes the event files written here of all runs under a folder but these, and their folders.

    A folder with something else stays.

    Args:
      logdir: the folder; it need not exist.
      runs: folders of runs that stay.
    """
    kept = {str(run) for run in runs}
    for folder in _folders_below(epath.Path(logdir)):
        if str(folder) in kept:
            continue
        for file in folder.glob(f"{_WRITTEN_HERE}*"):
            file.unlink(missing_ok=True)
        if folder.exists() and not any(folder.iterdir()):  # In a bucket it is gone by itself.
            folder.rmdir()


def _folders_below(folder: epath.Path) -> list[epath.Path]:
    """All folders below one, the deepest first."""
    here = [path for path in folder.iterdir() if path.is_dir()] if folder.exists() else []
    return [below for path in sorted(here) for below in (*_folders_below(path), path)]


def spoken(name: str) -> str:
    """A column's name as a person reads it."""
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
    info = api_pb2.HParamInfo(name=name, display_name=spoken(name), differs=len(distinct) > 1)
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


def _scalars(values: Mapping[str, float]) -> list[Summary.Value]:
    """In the order of their tags; those that are NaN or infinite are left out."""
    known = sorted((tag, value) for tag, value in values.items() if math.isfinite(value))
    return [Summary.Value(tag=tag, simple_value=value) for tag, value in known]


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
        raise InputError(f"the image {tag} is not a PNG file: rebuild it with {program()} report")
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


def _replace_events(
    folder: epath.PathLike, kind: str, events: Mapping[int, Sequence[Summary.Value]]
) -> None:
    """Leaves one event file of this kind in the folder; none if there are no values.

    A file that holds the same already is left alone. One that differs is replaced by a file of
    another name, because a TensorBoard that runs has the old one open and reads no change of it.

    Args:
      folder: where to.
      kind: names the file.
      events: step -> values, by step; one without values is left out.
    """
    folder = epath.Path(folder)
    summaries = [(step, Summary(value=values)) for step, values in events.items() if values]
    content = b"".join(
        step.to_bytes(8, "big", signed=True) + summary.SerializeToString(deterministic=True)
        for step, summary in summaries
    )
    digest = hashlib.sha256(content).hexdigest()[:12]
    here = sorted(folder.glob(f"{_WRITTEN_HERE}{kind}.*")) if folder.exists() else []
    same = [file for file in here if file.name.endswith(f".{digest}")][-1:]
    if summaries and not same:
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
