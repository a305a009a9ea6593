"""What TensorBoard itself reads of the stages of an output folder that was published."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from matplotlib.figure import Figure

from tfprune import event_folders

from tfprune.backend import keras, tf  # noqa: F401  isort: skip

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment
from tensorboard.plugins.hparams import list_session_groups as session_groups
from tensorboard.util import tensor_util

from tfprune import layout, store
from tfprune.claims import exclusively
from tfprune.errors import InputError
from tfprune.event_folders import event_folder, scalar_tag, trial_folder
from tfprune.pages import tensorboard
from tfprune.pages.tensorboard import event_files, stages
from tfprune.training.callbacks.event_scalars import TensorBoardScalars

DENSE = "digits-dense-00000000"
SETTINGS = ("criterion", "noise_fraction")


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
        """[(step, value), ...]"""
        events = self.events.Tensors(run, tag)
        return [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events]

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


def published(folder, rows=(), *more, of=layout.TENSORBOARD):
    """The reader of the stages' folder; rows, which may have more columns, are added before."""
    if rows:
        store.merge_rows(folder, rows, (*SETTINGS, *more))
    tensorboard.publish(folder)
    return Reader(folder / of)


def png(width, height, shade):
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=str(shade))
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def row(trial, seed, level, **changes):
    branch = changes.get("branch")
    stage = f"{branch}_level_{level:02d}" if branch else f"level_{level:02d}"
    folder = trial if level or branch else DENSE
    return {
        "experiment": "sparse_double_descent",
        "trial": trial,
        "seed": seed,
        "level": level,
        "sparsity": 1 - 0.8**level,
        "weights_remaining": 0.8**level,
        "train_epochs": 2,
        "train_accuracy": 0.5 + level / 10,
        "test_accuracy_last": 0.9 - level / 10 - seed / 100,
        "test_accuracy_best": 0.95,
        "distance_from_init": 2.5,
        "instability": None if level == 0 else 0.125,
        "criterion": trial.split("-")[1],
        "noise_fraction": 0.4,
        "stage": f"trials/{folder}/seed_{seed}/{stage}",
        **changes,
    }


def two_trials():
    """Magnitude and random pruning of the same dense networks: 2 seeds, levels 0 to 2."""
    return [
        row(trial, seed, level)
        for trial in ("digits-magnitude-12345678", "digits-random-87654321")
        for seed in (0, 1)
        for level in (0, 1, 2)
    ]


@pytest.fixture
def folder(tmp_path):
    store.merge_rows(tmp_path, two_trials(), SETTINGS)
    figures = tmp_path / layout.FIGURES
    figures.mkdir()
    (figures / "sparse_double_descent_accuracy.png").write_bytes(png(120, 80, 0.25))
    (figures / "sparse_double_descent_memorization_by_sparsity.png").write_bytes(png(60, 90, 0.75))
    (figures / "other.png").write_bytes(png(30, 30, 0.5))
    return tmp_path


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_hparams_table_has_each_stage_once_under_a_name_that_starts_with_its_level(folder):
    dense = {("digits-dense", seed, 0) for seed in (0, 1)}
    pruned = product(("digits-magnitude", "digits-random"), (0, 1), (1, 2))
    assert {name: runs for name, (_, _, runs) in published(folder).rows().items()} == {
        f"level_{level:02d} seed_{seed} {trial}": [f"{trial}/seed_{seed}/level_{level:02d}"]
        for trial, seed, level in {*dense, *pruned}
    }


def test_hparams_table_has_the_values_of_results_csv(folder):
    reader = published(folder)
    rows = reader.rows()
    hparams, metrics, (run,) = rows["level_02 seed_1 digits-random"]
    # What all stages share is no column: the experiment, the noise, that none is a branch.
    shown = {"seed": "1", "level": 2.0, "sparsity": 1 - 0.8**2, "criterion": "random"}
    assert hparams == shown
    assert {info.name for info in reader.experiment().hparam_infos} == {*shown}
    assert metrics == {
        "final/test_accuracy_last": np.float32(0.9 - 0.2 - 0.01),
        "final/test_accuracy_best": np.float32(0.95),
        "final/train_accuracy": np.float32(0.7),
        "final/distance_from_init": 2.5,
        "final/instability": 0.125,
    }
    # Final metrics stand at the level in the run of the stage.
    last = "final/test_accuracy_last"
    assert reader.scalar(run, last) == [(2, metrics[last])]
    # An empty cell is no metric.
    _, metrics, _ = rows["level_00 seed_0 digits-dense"]
    assert "final/instability" not in metrics
    assert metrics[last] == np.float32(0.9)


def test_a_shared_stage_names_what_its_trials_are_and_no_number_on_which_they_differ(tmp_path):
    rows = [
        row("digits-magnitude-12345678", 0, 0, experiment="redense"),
        row("digits-magnitude-12345678", 0, 0, experiment="learning_distance"),
        row("digits-random-87654321", 0, 0, noise_fraction=0.2),
        row("digits-random-87654321", 1, 1, noise_fraction=0.2, branch="redense"),
    ]
    hparams, _, _ = published(tmp_path, rows).rows()["level_00 seed_0 digits-dense"]
    assert hparams == {
        "experiment": "learning_distance, redense, sparse_double_descent",
        "seed": "0",
        "level": 0.0,
        "branch": "trunk",
        "sparsity": 0.0,
        "criterion": "magnitude, random",
    }


def test_a_setting_is_a_column_once_stages_differ_in_it(folder):
    changed = {"experiment": "redense", "branch": "redense", "noise_fraction": 0.25}
    other = row("digits-random-87654321", 0, 5, **changed)
    infos = published(folder, [other]).experiment().hparam_infos
    assert {*changed} < {info.name for info in infos}


def test_metrics_of_single_layers_are_no_columns(folder):
    layer = "distance_from_init/dense1"
    rows = [one | {layer: 0.5 * one["level"]} for one in two_trials()]
    infos = published(folder, rows, layer).experiment().metric_infos
    names = [metric.name.tag for metric in infos]
    assert "final/distance_from_init" in names
    assert f"final/{layer}" not in names


def test_a_branch_is_a_row_of_its_own_beside_its_trunk(tmp_path):
    trial = "digits-magnitude-12345678"
    both = [row(trial, 0, 1), row(trial, 0, 1, branch="redense")]
    rows = published(tmp_path, both).rows()
    assert {name: hparams["branch"] for name, (hparams, _, _) in rows.items()} == {
        "level_01 seed_0 digits-magnitude": "trunk",
        "level_01 seed_0 redense_level_01 digits-magnitude": "redense",
    }


def test_an_experiments_own_measurement_is_a_metric_and_its_setting_is_not(tmp_path):
    rows = [row("digits-magnitude-1", 0, n, imbalance=1.5 * n, redense_lr=0.25) for n in (1, 2)]
    # Experiments in which every trial has one value of it, or none.
    rows.append(row("digits-magnitude-1", 0, 3, experiment="one", imbalance=9.0))
    rows.append(row("digits-magnitude-1", 0, 3, experiment="none"))
    rows.append(row("digits-magnitude-1", 0, 4, redense_lr=0.5))
    found = published(tmp_path, rows, "imbalance", "redense_lr").rows()
    hparams, metrics, _ = found["level_02 seed_0 digits-magnitude-1"]
    assert (hparams["redense_lr"], metrics["final/imbalance"]) == (0.25, 3.0)
    assert "imbalance" not in hparams
    assert "final/redense_lr" not in metrics


def test_columns_are_spoken_and_say_what_they_range_over(tmp_path):
    rows = [row("digits-magnitude-1", seed, n) for seed in (0, 1) for n in range(1, 8)]
    rows += [row("digits-magnitude-2", 0, 1, noise_fraction=0.25, test_accuracy_best=0.5)]
    experiment = published(tmp_path, rows).experiment()
    infos = {info.name: info for info in experiment.hparam_infos}
    assert infos["noise_fraction"].display_name == "noise fraction"
    for name, values in (("noise_fraction", [0.25, 0.4]), ("seed", ["0", "1"])):
        assert [_plain(value) for value in infos[name].domain_discrete.values] == values
    assert infos["seed"].type == api_pb2.DATA_TYPE_STRING
    level = infos["level"].domain_interval
    assert (level.min_value, level.max_value) == (1, 7)
    assert infos["level"].type == api_pb2.DATA_TYPE_FLOAT64
    assert set(infos) == {"level", "seed", "sparsity", "noise_fraction"}
    spoken = [metric.display_name for metric in experiment.metric_infos]
    assert spoken[:3] == ["test accuracy last", "test accuracy best", "train accuracy"]
    assert spoken[3:] == ["distance from init", "instability"]


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
    for names in (gone - {layout.RESULTS}, new - {layout.RESULTS}):
        assert sorted(name.rsplit("/", 1)[0] for name in names) == [stage, trial, trial]
    assert all(after[name] == before[name] for name in before.keys() - gone - {layout.RESULTS})


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
        published(folder, [two_trials()[0] | {"test_accuracy_last": accuracy}])
    assert curves.read_bytes() == b"curves"


def charts_of(logdir):
    """{(category, chart): tags} of the page "Custom Scalars"."""
    reader = Reader(logdir)
    views = json.loads(CustomScalarsPlugin(reader.context).layout_impl(reader.request, ""))
    return {
        (category["title"], chart["title"]): chart["multiline"]["tag"]
        for category in views["category"]
        for chart in category["chart"]
    }


def categories(charts):
    return list(dict.fromkeys(title for title, _ in charts))


def test_views_show_the_curves_that_training_writes(tmp_path):
    event_files.write_charts(tmp_path / "all", stages.charts(layout.RESULT_COLUMNS))
    charts = charts_of(tmp_path)
    assert categories(charts) == ["accuracy", "memorization", "losses", "distance"]
    assert charts["accuracy", "train and test accuracy by epoch"] == [
        "^accuracy/train$",
        "^accuracy/test$",
    ]
    by_epoch = {f"^{scalar_tag(metric)}$" for metric in layout.METRIC_COLUMNS}
    assert all(set(tags) <= by_epoch for tags in charts.values())


def test_views_leave_out_charts_that_would_be_empty(folder):
    def charts_with(**more):
        published(folder, [two_trials()[0] | more])
        return charts_of(folder / layout.TENSORBOARD)

    # Without noise every example is unpermuted, which is no memorization.
    assert categories(charts_with(unpermuted_accuracy=0.5)) == ["accuracy", "distance"]
    charts = charts_with(permuted_accuracy=0.5)
    assert ("memorization", "permuted examples by epoch") in charts
    assert ("memorization", "restored examples by epoch") not in charts


# ---------------------------------------------------------------- names of runs
FIRST, SECOND = "digits-magnitude-11111111", "digits-magnitude-22222222"


def test_only_the_second_trial_of_a_name_keeps_its_hash_and_no_name_changes(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert trial_folder(logdir, SECOND) == logdir / SECOND
    assert trial_folder(logdir, "digits-random-33333333") == logdir / "digits-random"
    assert trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert trial_folder(logdir, "no-hash") == logdir / "no-hash"


def test_runs_that_lie_under_the_whole_name_stay_there(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    (logdir / FIRST).mkdir(parents=True)
    assert trial_folder(logdir, FIRST) == logdir / FIRST
    # The name is free for another.
    assert trial_folder(logdir, SECOND) == logdir / "digits-magnitude"


def test_of_many_that_ask_at_once_one_gets_the_name(tmp_path, monkeypatch):
    logdir = tmp_path / layout.TENSORBOARD
    trials = [f"digits-magnitude-{number:08x}" for number in range(8)]
    all_saw_it_free = Barrier(8)

    def together(lock):
        all_saw_it_free.wait()
        return exclusively(lock)

    monkeypatch.setattr(event_folders, "exclusively", together)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda trial: trial_folder(logdir, trial), trials))
    assert len(set(folders)) == 8
    assert sum(folder == logdir / "digits-magnitude" for folder in folders) == 1
    monkeypatch.undo()
    assert [trial_folder(logdir, trial) for trial in trials] == folders


def test_training_writes_curves_where_publishing_looks_for_the_stage(tmp_path):
    from tfprune.studies.trial import Stage

    stage = Stage(tmp_path, FIRST, 3, "level_07", 7)
    run = tmp_path / layout.TENSORBOARD / "digits-magnitude" / "seed_3" / "level_07"
    callback = TensorBoardScalars(stage.tensorboard)
    callback.on_train_begin()
    callback.close()
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert event_folder(tmp_path, stage.relative) == run
    assert not stage.tensorboard.exists()


def test_a_folder_of_ones_own_is_kept_as_it_is(tmp_path):
    for folder in ("run-12345678", "logs/run-12345678/seed_0/level_00", "tensorboard/a-12345678/b"):
        assert event_folders.run_folder(tmp_path / folder) == tmp_path / folder
    assert not list(tmp_path.iterdir())


def test_a_stage_outside_the_trials_is_refused(folder):
    for stage in ("else/trial/seed_0/level_00", "trials/../../seed_0", "trials/a", "trials//b/c"):
        with pytest.raises(InputError, match="which is not trials/TRIAL/SEED/STAGE: move"):
            event_folder(folder, stage)


def test_without_results_the_user_is_told_to_run_an_experiment(tmp_path):
    with pytest.raises(InputError, match="run an experiment first"):
        tensorboard.publish(tmp_path)


def test_publishing_needs_no_tensorflow(folder):
    code = (
        "import sys; from tfprune.pages.tensorboard import publish; "
        f"publish({str(folder)!r}); sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(tensorboard.__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
    assert len(Reader(folder / layout.TENSORBOARD).rows()) == 10


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"another", FIRST.encode()[:-1]])
def test_a_trial_knows_its_runs_again_whose_folder_says_nothing(tmp_path, content):
    logdir = tmp_path / "tensorboard"
    assert event_folders.trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    (logdir / SECOND).mkdir()
    (logdir / "digits-magnitude" / "trial.txt").write_bytes(content)
    assert event_folders.trial_folder(logdir, SECOND) == logdir / SECOND
    assert event_folders.trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert event_folders.trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
