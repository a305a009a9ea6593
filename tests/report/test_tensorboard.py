"""What TensorBoard itself reads of the stages of an output folder that was published."""

import io
import json
from itertools import product

import golden
import numpy as np
import pm
import pytest
import results
from matplotlib.image import imsave

from tfprune.backend import keras, tf  # noqa: F401  isort: skip

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment
from tensorboard.plugins.hparams import list_session_groups as session_groups
from tensorboard.util import tensor_util

from tfprune import layout
from tfprune.errors import InputError
from tfprune.event_folders import event_folder, scalar_tag
from tfprune.pages import tensorboard
from tfprune.pages.tensorboard import event_files, stages

DENSE = "digits-dense-00000000"
MAGNITUDE, RANDOM = "digits-magnitude-12345678", "digits-random-87654321"


class Reader:
    """TensorBoard's own reading of a log folder."""

    def __init__(self, folder):
        self.events = EventMultiplexer(tensor_size_guidance={"images": 0})
        self.events.AddRunsFromDirectory(str(folder))
        self.events.Reload()
        self.context = TBContext(
            logdir=str(folder),
            data_provider=MultiplexerDataProvider(self.events, str(folder)),
            plugin_name_to_instance={},
        )
        self.hparams = backend_context.Context(self.context)
        self.request = context.RequestContext()

    def experiment(self):
        request = api_pb2.GetExperimentRequest()
        return get_experiment.Handler(self.request, self.hparams, "", request).run()

    def rows(self):
        """{row's name: (hparams, metrics, names of its runs)} of the HParams table."""
        statuses = [api_pb2.STATUS_SUCCESS]
        request = api_pb2.ListSessionGroupsRequest(slice_size=10_000, allowed_statuses=statuses)
        response = session_groups.Handler(self.request, self.hparams, "", request).run()
        return {
            group.name: (
                {name: _plain(value) for name, value in group.hparams.items()},
                {metric.name.tag: metric.value for metric in group.metric_values},
                [session.name for session in group.sessions],
            )
            for group in response.session_groups
        }

    def scalar(self, run, tag):
        """[(step, value), ...]; of a histogram, values are rows of low, high and count."""
        events = self.events.Tensors(run, tag)
        return [(e.step, tensor_util.make_ndarray(e.tensor_proto).tolist()) for e in events]

    def images(self, run):
        """{tag: (width, height, PNG)}"""
        found = {}
        for tag in self.events.PluginRunToTagToContent("images").get(run, {}):
            (event,) = self.events.Tensors(run, tag)
            width, height, png = tensor_util.make_ndarray(event.tensor_proto)
            found[tag] = (int(width), int(height), png)
        return found


def _plain(value):
    return getattr(value, value.WhichOneof("kind"))


def published(folder, rows=(), of=layout.TENSORBOARD):
    """The reader of the stages' folder; rows are added before."""
    results.write(folder, rows)
    tensorboard.publish(folder)
    return Reader(folder / of)


def png(width, height):
    data = io.BytesIO()
    imsave(data, np.zeros((height, width, 4)), format="png")
    return data.getvalue()


def row(trial, seed, level, **changes):
    folder = trial if level or changes.get("branch") else DENSE
    remaining, branch = 0.8**level, changes.get("branch") or ""
    return {
        **results.row("sparse_double_descent", folder, seed, level, branch, remaining),
        "trial": trial,
        "train_epochs": 2,
        "train_accuracy": 0.5 + level / 10,
        "test_accuracy_last": 0.9 - level / 10 - seed / 100,
        "test_accuracy_best": 0.95,
        "distance_from_init": 2.5,
        "instability": None if level == 0 else 0.125,
        "criterion": trial.split("-")[1],
        "noise_fraction": 0.4,
        **changes,
    }


# Magnitude and random pruning of the same dense networks: 2 seeds, levels 0 to 2.
TWO_TRIALS = [row(*place) for place in product((MAGNITUDE, RANDOM), (0, 1), (0, 1, 2))]
# Of the figures, by what TensorBoard calls them.
SIZES = {"sparse_double_descent/accuracy": (120, 80), "other": (30, 30)}
SIZES["sparse_double_descent/memorization_by_sparsity"] = 60, 90


@pytest.fixture
def folder(tmp_path):
    results.write(tmp_path, TWO_TRIALS)
    figures = tmp_path / layout.FIGURES
    figures.mkdir()
    for name, size in SIZES.items():
        (figures / f"{name.replace('/', '_')}.png").write_bytes(png(*size))
    return tmp_path


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def charts_of(logdir):
    """{(category, chart): tags} of the page "Custom Scalars"."""
    reader = Reader(logdir)
    views = json.loads(CustomScalarsPlugin(reader.context).layout_impl(reader.request, ""))
    return {
        (category["title"], chart["title"]): chart["multiline"]["tag"]
        for category in views["category"]
        for chart in category["chart"]
    }


# ---------------------------------------------------------------- what it shows
OTHERS = {"sharpness": 0.5, "barrier_height": 0.25, "line_points": 41, "weights": 7}
OTHERS |= {"distance_from_init/dense1": 1.0, "unpermuted_accuracy": 0.5}
SHOWN = {
    # Each stage once; of a setting that all share there is no column.
    "two_trials": TWO_TRIALS,
    # The dense network is of two experiments and of two trials, and one has a branch.
    "shared_stage": [
        row(MAGNITUDE, 0, 0, experiment="redense"),
        row(MAGNITUDE, 0, 0, experiment="learning_distance"),
        row(RANDOM, 0, 0, noise_fraction=0.2),
        *(row(RANDOM, 1, level, noise_fraction=0.2) for level in (1, 2)),
        row(RANDOM, 1, 1, noise_fraction=0.2, branch="redense"),
    ],
    # Columns say what they range over.
    "ranges": [
        *(row("digits-magnitude-1", seed, level) for seed in (0, 1) for level in range(1, 8)),
        row("digits-magnitude-2", 0, 1, noise_fraction=0.25, permuted_accuracy=0.5),
    ],
    # An experiment's own measurement is a metric and its setting is not, whether its trials have
    # several values of it, one or none.
    "own_measurement": [
        row("digits-magnitude-1", 0, 1, imbalance=1.5, redense_lr=0.25),
        row("digits-magnitude-1", 0, 2, imbalance=3.0, redense_lr=0.25),
        row("digits-magnitude-1", 0, 3, imbalance=9.0, experiment="one"),
        row("digits-magnitude-1", 0, 3, experiment="none"),
        row("digits-magnitude-1", 0, 4, redense_lr=0.5),
    ],
    # Metrics of single layers are no columns, options of measurements no curves; where no example
    # is permuted, all are unpermuted, which is no memorization.
    "landscape": [row("digits-magnitude-0", 0, level, **OTHERS) for level in (1, 2)],
    # A branch has curves of its own, whichever experiment measured it; numbered networks have none.
    "branches": [
        *(row(MAGNITUDE, 0, n, branch="redense", test_accuracy_last=n / 4) for n in (1, 2)),
        *(row(MAGNITUDE, 0, n, branch="redense", experiment="other", test_accuracy_last=n / 4,
              val_accuracy=n / 8) for n in (1, 2)),
        *(row(MAGNITUDE, 0, n, branch="el2n", stage=f"trials/{DENSE}/seed_0/el2n_{n:02d}")
          for n in (1, 2)),
    ],
    # Where no trial has several levels, steps are epochs; the folder of the trunk is gone.
    "by_epoch": [row("digits-magnitude-1", 0, 0, branch=name, stability=0.5)
                 for name in ("", "filters_p1")],
    # Utility has a curve for each ratio, and a histogram of its subsets.
    "utility": [pm.row("utility_dynamics", 0, 0)],
}  # fmt: skip


def shown(logdir):
    """All that TensorBoard reads of a log folder but for its images."""
    reader = Reader(logdir)
    experiment, tags_of = reader.experiment(), reader.events.PluginRunToTagToContent
    tags = {
        run: [*scalars, *tags_of("histograms").get(run, ())]
        for run, scalars in tags_of("scalars").items()
    }
    return {
        "hparams": {info.name: _range(info) for info in experiment.hparam_infos},
        "metrics": [[info.name.tag, info.display_name] for info in experiment.metric_infos],
        "rows": reader.rows(),
        "charts": [[*titles, *tags] for titles, tags in charts_of(logdir).items()],
        "curves": {run: {tag: reader.scalar(run, tag) for tag in own} for run, own in tags.items()},
    }


def _range(info):
    """How a column is spoken, its type, and its values or, of many, their ends."""
    ends = info.domain_interval
    values = [_plain(value) for value in info.domain_discrete.values]
    type_name = api_pb2.DataType.Name(info.type)
    return [info.display_name, type_name, *(values or [ends.min_value, ends.max_value])]


@pytest.mark.parametrize("case", SHOWN)
def test_what_tensorboard_shows_is_as_it_was(tmp_path, case):
    *others, last = SHOWN[case]
    if case == "by_epoch":
        results.write_metrics(tmp_path, last["stage"], {"test_accuracy": [0.25, 0.75]})
    if case == "utility":
        rising = pm.dynamics({0.1: {"utility_mean": (1, 2, 3, 4)}}, range(4))
        ends = pm.subsets({0.1: [0.0, 1.0, 1.0, 3.0]})
        last = results.measured(tmp_path, last, utility_dynamics=rising, utility_ratio=ends)
    results.write(tmp_path, [*others, last])
    tensorboard.publish(tmp_path)
    found = {name: shown(tmp_path / name) for name in (layout.TENSORBOARD, layout.OVERVIEW)}
    golden.check(f"tensorboard-{case}", json.loads(json.dumps(found, sort_keys=True)))


def test_booleans_stay_booleans_and_no_number_is_no_metric(tmp_path):
    metrics = {"loss": 0.5, "bad": np.nan}
    event_files.write_hparams(tmp_path / "run", {"on": True, "n": 1}, metrics, 0, "a run")
    event_files.write_experiment(tmp_path / "all", {"on": [True, False], "n": [1]}, metrics)
    reader = Reader(tmp_path)
    ((name, (hparams, metrics, runs)),) = reader.rows().items()
    assert (name, metrics, runs) == ("a run", {"final/loss": 0.5}, ["run"])
    assert {name: repr(value) for name, value in hparams.items()} == {"on": "True", "n": "1.0"}
    types = {info.name: info.type for info in reader.experiment().hparam_infos}
    assert types == {"on": api_pb2.DATA_TYPE_BOOL, "n": api_pb2.DATA_TYPE_FLOAT64}


def test_hyperparameters_of_another_type_are_refused(tmp_path):
    with pytest.raises(TypeError, match="bool, int, float or str"):
        event_files.write_hparams(tmp_path, {"drops": (1, 2)}, {}, 0, "a run")
    assert not list(tmp_path.iterdir())


def test_publishing_again_writes_only_what_changed(folder):
    tensorboard.publish(folder)
    before = files_of(folder)
    tensorboard.publish(folder)
    assert files_of(folder) == before
    changed = row("digits-random-87654321", 1, 2, test_accuracy_last=0.25)
    _, metrics, _ = published(folder, [changed]).rows()["level_02 seed_1 digits-random"]
    assert metrics["final/test_accuracy_last"] == 0.25
    after = files_of(folder)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    # The rows of the HParams tables, and the curve by level.
    stage, trial = "tensorboard/digits-random/seed_1/level_02", f"{layout.OVERVIEW}/random/seed 1"
    results_csv = {folder / layout.RESULTS}
    for paths in (gone - results_csv, new - results_csv):
        folders = sorted(str(path.parent.relative_to(folder)) for path in paths)
        assert folders == [stage, trial, trial]
    assert all(after[path] == before[path] for path in before.keys() - gone - results_csv)


def test_the_step_alone_makes_a_file_new(tmp_path):
    for step in (1, 2):
        event_files.write_hparams(tmp_path / "run", {}, {"loss": 0.5}, step, "a run")
    assert Reader(tmp_path).scalar("run", "final/loss") == [(2, 0.5)]


def test_the_curves_of_a_stage_are_left_alone(folder):
    run = event_folder(folder, f"trials/{DENSE}/seed_0/level_00")
    run.mkdir(parents=True)
    curves = run / "events.out.tfevents.1700000000.host.1.0"
    curves.write_bytes(b"curves")
    for accuracy in (0.5, 0.25):
        published(folder, [TWO_TRIALS[0] | {"test_accuracy_last": accuracy}])
    assert curves.read_bytes() == b"curves"


def test_views_show_the_curves_that_training_writes(tmp_path):
    event_files.write_charts(tmp_path / "all", stages.charts(layout.RESULT_COLUMNS))
    charts = charts_of(tmp_path)
    pages = dict.fromkeys(page for page, _ in charts)
    assert list(pages) == ["accuracy", "memorization", "losses", "distance"]
    both = ["^accuracy/train$", "^accuracy/test$"]
    assert charts["accuracy", "train and test accuracy by epoch"] == both
    by_epoch = {f"^{scalar_tag(metric)}$" for metric in layout.METRIC_COLUMNS}
    assert all(set(tags) <= by_epoch for tags in charts.values())


def test_without_results_the_user_is_told_to_run_an_experiment(tmp_path):
    with pytest.raises(InputError, match="run an experiment first"):
        tensorboard.publish(tmp_path)
