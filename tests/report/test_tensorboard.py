"""What TensorBoard itself reads from an output folder that was published."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

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
from tfprune.errors import InputError
from tfprune.pages import tensorboard
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


def png(width, height, shade):
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=str(shade))
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def row(trial, seed, level, **changes):
    folder = DENSE if level == 0 and not changes.get("branch") else trial
    name = f"{changes['branch']}_level_{level:02d}" if changes.get("branch") else None
    stage = f"trials/{folder}/seed_{seed}/{name or f'level_{level:02d}'}"
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
        "stage": stage,
        **changes,
    }


def two_trials():
    """Magnitude and random pruning of the same dense networks: 2 seeds, levels 0 to 2."""
    return [
        row(f"digits-{criterion}-12345678", seed, level)
        for criterion in ("magnitude", "random")
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
    rows = Reader(tensorboard.publish(folder)).rows()
    expected = {
        f"level_00 seed_{seed} digits-dense": f"digits-dense/seed_{seed}/level_00"
        for seed in (0, 1)
    }
    expected |= {
        f"level_{level:02d} seed_{seed} {trial}": f"{trial}/seed_{seed}/level_{level:02d}"
        for trial in ("digits-magnitude", "digits-random")
        for seed in (0, 1)
        for level in (1, 2)
    }
    assert {name: runs for name, (_, _, runs) in rows.items()} == {
        name: [run] for name, run in expected.items()
    }


def test_hparams_table_has_the_values_of_results_csv(folder):
    rows = Reader(tensorboard.publish(folder)).rows()
    hparams, metrics, _ = rows["level_02 seed_1 digits-random"]
    assert hparams == {
        "experiment": "sparse_double_descent",
        "seed": "1",
        "level": 2.0,
        "branch": "trunk",
        "sparsity": 1 - 0.8**2,
        "criterion": "random",
        "noise_fraction": 0.4,
    }
    assert metrics == {
        "final/test_accuracy_last": np.float32(0.9 - 0.2 - 0.01),
        "final/test_accuracy_best": np.float32(0.95),
        "final/train_accuracy": np.float32(0.7),
        "final/distance_from_init": 2.5,
        "final/instability": 0.125,
    }


def test_empty_cells_are_no_metrics(folder):
    _, metrics, _ = Reader(tensorboard.publish(folder)).rows()["level_00 seed_0 digits-dense"]
    assert "final/instability" not in metrics
    assert metrics["final/test_accuracy_last"] == np.float32(0.9)


def test_a_shared_stage_names_what_its_trials_are_and_no_number_on_which_they_differ(tmp_path):
    rows = [
        row("digits-magnitude-12345678", 0, 0, experiment="redense"),
        row("digits-magnitude-12345678", 0, 0, experiment="learning_distance"),
        row("digits-random-12345678", 0, 0, noise_fraction=0.2),
    ]
    store.merge_rows(tmp_path, rows, SETTINGS)
    (found,) = Reader(tensorboard.publish(tmp_path)).rows().values()
    assert found[0] == {
        "experiment": "learning_distance, redense, sparse_double_descent",
        "seed": "0",
        "level": 0.0,
        "branch": "trunk",
        "sparsity": 0.0,
        "criterion": "magnitude, random",
    }


def test_a_branch_is_a_row_of_its_own_beside_its_trunk(tmp_path):
    trial = "digits-magnitude-12345678"
    store.merge_rows(tmp_path, [row(trial, 0, 1), row(trial, 0, 1, branch="redense")], SETTINGS)
    rows = Reader(tensorboard.publish(tmp_path)).rows()
    assert {name: hparams["branch"] for name, (hparams, _, _) in rows.items()} == {
        "level_01 seed_0 digits-magnitude": "trunk",
        "level_01 seed_0 redense_level_01 digits-magnitude": "redense",
    }


def test_an_experiments_own_measurement_is_a_metric_and_its_setting_is_not(tmp_path):
    rows = [row("digits-magnitude-1", 0, n, imbalance=1.5 * n, redense_lr=0.25) for n in (1, 2)]
    # Experiments in which every trial has one value of it, or none.
    rows.append(row("digits-magnitude-1", 0, 3, experiment="one", imbalance=9.0))
    rows.append(row("digits-magnitude-1", 0, 3, experiment="none"))
    store.merge_rows(tmp_path, rows, (*SETTINGS, "imbalance", "redense_lr"))
    hparams, metrics, _ = Reader(tensorboard.publish(tmp_path)).rows()[
        "level_02 seed_0 digits-magnitude-1"
    ]
    assert (hparams["redense_lr"], metrics["final/imbalance"]) == (0.25, 3.0)
    assert "imbalance" not in hparams
    assert "final/redense_lr" not in metrics


def test_final_metrics_stand_at_the_level_in_the_run_of_the_stage(folder):
    reader = Reader(tensorboard.publish(folder))
    run = "digits-random/seed_0/level_02"
    assert reader.scalar(run, "final/test_accuracy_last") == [(2, float(np.float32(0.7)))]


def test_columns_are_spoken_and_say_what_they_range_over(tmp_path):
    rows = [row("digits-magnitude-1", seed, n) for seed in (0, 1) for n in range(1, 8)]
    store.merge_rows(tmp_path, rows, SETTINGS)
    experiment = Reader(tensorboard.publish(tmp_path)).experiment()
    infos = {info.name: info for info in experiment.hparam_infos}
    assert infos["noise_fraction"].display_name == "noise fraction"
    assert [_plain(value) for value in infos["noise_fraction"].domain_discrete.values] == [0.4]
    assert [_plain(value) for value in infos["seed"].domain_discrete.values] == ["0", "1"]
    assert infos["seed"].type == api_pb2.DATA_TYPE_STRING
    level = infos["level"].domain_interval
    assert (level.min_value, level.max_value) == (1, 7)
    assert infos["level"].type == api_pb2.DATA_TYPE_FLOAT64
    assert {name for name, info in infos.items() if info.differs} == {"level", "seed", "sparsity"}
    assert [metric.display_name for metric in experiment.metric_infos] == [
        "test accuracy last",
        "test accuracy best",
        "train accuracy",
        "distance from init",
        "instability",
    ]


def test_booleans_stay_booleans(tmp_path):
    tensorboard.write_hparams(tmp_path / "run", {"on": True, "n": 1}, {})
    tensorboard.write_experiment(tmp_path / "all", {"on": [True, False], "n": [1]}, [])
    reader = Reader(tmp_path)
    hparams, _, _ = reader.rows()["run"]
    assert {name: repr(value) for name, value in hparams.items()} == {"on": "True", "n": "1.0"}
    types = {info.name: info.type for info in reader.experiment().hparam_infos}
    assert types == {"on": api_pb2.DATA_TYPE_BOOL, "n": api_pb2.DATA_TYPE_FLOAT64}


def test_a_row_without_a_name_is_called_as_its_run(tmp_path):
    tensorboard.write_hparams(tmp_path / "a" / "b", {"width": 2}, {"loss": 0.5, "bad": np.nan})
    assert Reader(tmp_path).rows() == {"a/b": ({"width": 2.0}, {"final/loss": 0.5}, ["a/b"])}


def test_hyperparameters_of_another_type_are_refused(tmp_path):
    with pytest.raises(TypeError, match="bool, int, float or str"):
        tensorboard.write_hparams(tmp_path, {"drops": (1, 2)}, {})
    assert not list(tmp_path.iterdir())


def test_images_are_the_figures_byte_for_byte(folder):
    reader = Reader(tensorboard.publish(folder))
    found = reader.images(tensorboard.OVERVIEW)
    names = {
        "sparse_double_descent/accuracy": ("sparse_double_descent_accuracy", 120, 80),
        "sparse_double_descent/memorization_by_sparsity": (
            "sparse_double_descent_memorization_by_sparsity",
            60,
            90,
        ),
        "other": ("other", 30, 30),
    }
    assert found == {
        tag: (width, height, (folder / layout.FIGURES / f"{name}.png").read_bytes())
        for tag, (name, width, height) in names.items()
    }
    pixels = imread(io.BytesIO(found["sparse_double_descent/accuracy"][2]))
    assert pixels.shape == (80, 120, 4)
    np.testing.assert_allclose(pixels[..., :3], 0.25, atol=1 / 255)


def test_a_figure_belongs_to_the_experiment_with_the_longest_name(tmp_path):
    rows = [row("digits-magnitude-1", 0, 1, experiment=name) for name in ("redense", "redense_b")]
    store.merge_rows(tmp_path, rows, SETTINGS)
    (tmp_path / layout.FIGURES).mkdir()
    for name in ("redense_line", "redense_b_line"):
        (tmp_path / layout.FIGURES / f"{name}.png").write_bytes(png(30, 30, 0.5))
    images = Reader(tensorboard.publish(tmp_path)).images(tensorboard.OVERVIEW)
    assert set(images) == {"redense/line", "redense_b/line"}


def test_publishing_again_touches_nothing(folder):
    tensorboard.publish(folder)
    before = files_of(folder)
    tensorboard.publish(folder)
    assert files_of(folder) == before


def test_publishing_again_writes_only_what_changed(folder):
    logdir = tensorboard.publish(folder)
    before = files_of(logdir)
    changed = row("digits-random-12345678", 1, 2, test_accuracy_last=0.25)
    store.merge_rows(folder, [changed], SETTINGS)
    tensorboard.publish(folder)
    after = files_of(logdir)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    # The row of the HParams table, and the curve by level.
    runs = ["digits-random/seed_1", "digits-random/seed_1/level_02"]
    assert sorted(name.rsplit("/", 1)[0] for name in gone) == runs
    assert sorted(name.rsplit("/", 1)[0] for name in new) == runs
    assert all(after[name] == time for name, time in before.items() if name not in gone)
    _, metrics, _ = Reader(logdir).rows()["level_02 seed_1 digits-random"]
    assert metrics["final/test_accuracy_last"] == 0.25


def test_the_step_alone_makes_a_file_new(tmp_path):
    for step in (1, 2):
        tensorboard.write_hparams(tmp_path / "run", {}, {"loss": 0.5}, step)
    assert Reader(tmp_path).scalar("run", "final/loss") == [(2, 0.5)]


def test_figures_that_are_gone_leave_tensorboard(folder):
    tensorboard.publish(folder)
    for file in (folder / layout.FIGURES).iterdir():
        file.unlink()
    reader = Reader(tensorboard.publish(folder))
    assert reader.images(tensorboard.OVERVIEW) == {}
    assert len(reader.rows()) == 10


def test_the_curves_of_a_stage_are_left_alone(folder):
    run = tensorboard.event_folder(folder, f"trials/{DENSE}/seed_0/level_00")
    run.mkdir(parents=True)
    curves = run / "events.out.tfevents.1700000000.host.1.0"
    curves.write_bytes(b"curves")
    for accuracy in (0.5, 0.25):
        rows = [two_trials()[0] | {"test_accuracy_last": accuracy}]
        store.merge_rows(folder, rows, SETTINGS)
        tensorboard.publish(folder)
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


def test_views_show_the_curves_that_training_and_publishing_write(tmp_path):
    tensorboard.write_views(tmp_path / "all")
    charts = charts_of(tmp_path)
    assert categories(charts) == ["accuracy", "memorization", "losses", "distance", "instability"]
    assert charts["accuracy", "test accuracy by level"] == ["^by_level/test_accuracy_last$"]
    assert charts["accuracy", "train and test accuracy by epoch"] == [
        "^accuracy/train$",
        "^accuracy/test$",
    ]
    assert charts["instability", "instability by level"] == ["^by_level/instability$"]
    by_epoch = {f"^{tensorboard.scalar_tag(metric)}$" for metric in layout.METRIC_COLUMNS}
    by_level = {f"^by_level/{metric}$" for metric in layout.RESULT_COLUMNS}
    for (_, title), tags in charts.items():
        assert set(tags) <= (by_level if title.endswith("by level") else by_epoch)


def test_views_leave_out_charts_that_would_be_empty(folder):
    charts = charts_of(tensorboard.publish(folder))
    assert categories(charts) == ["accuracy", "distance", "instability"]
    assert ("accuracy", "validation accuracy by level") not in charts
    # Without noise every example is unpermuted, which is no memorization.
    store.merge_rows(folder, [two_trials()[0] | {"unpermuted_accuracy": 0.5}], SETTINGS)
    assert "memorization" not in categories(charts_of(tensorboard.publish(folder)))
    store.merge_rows(folder, [two_trials()[0] | {"permuted_accuracy": 0.5}], SETTINGS)
    charts = charts_of(tensorboard.publish(folder))
    assert ("memorization", "permuted examples by level") in charts
    assert ("memorization", "restored examples by level") not in charts


def test_each_seed_of_a_trial_is_a_run_with_its_metrics_by_level(folder):
    reader = Reader(tensorboard.publish(folder))
    for seed in (0, 1):
        found = reader.scalar(f"digits-random/seed_{seed}", "by_level/test_accuracy_last")
        expected = [(n, float(np.float32(0.9 - n / 10 - seed / 100))) for n in (0, 1, 2)]
        assert found == expected
    assert reader.scalar("digits-random/seed_0", "by_level/sparsity")[1] == (
        1,
        float(np.float32(1 - 0.8)),
    )
    # Empty at level 0.
    assert reader.scalar("digits-random/seed_0", "by_level/instability") == [(1, 0.125), (2, 0.125)]
    assert "digits-dense/seed_0" not in reader.events.Runs()  # One level is no curve.


def test_branches_have_curves_of_their_own_and_numbered_networks_have_none(tmp_path):
    trial = "digits-magnitude-12345678"
    rows = [
        row(trial, 0, level, branch="redense", test_accuracy_last=level / 4) for level in (1, 2)
    ]
    rows += [
        row(trial, 0, n, branch="el2n", stage=f"trials/{DENSE}/seed_0/el2n_{n:02d}") for n in (1, 2)
    ]
    # Another experiment has the same stages, and one column more.
    rows += [
        {**one, "experiment": "other", "val_accuracy": one["level"] / 8}
        for one in rows
        if one["branch"] == "redense"
    ]
    store.merge_rows(tmp_path, rows, SETTINGS)
    reader = Reader(tensorboard.publish(tmp_path))
    run = "digits-magnitude/seed_0/redense"
    assert reader.scalar(run, "by_level/test_accuracy_last")[0] == (1, 0.25)
    assert reader.scalar(run, "by_level/val_accuracy") == [(1, 0.125), (2, 0.25)]
    by_level = [name for name in reader.events.Runs() if not name.rpartition("_")[2].isdigit()]
    assert sorted(by_level) == [run, tensorboard.OVERVIEW]


# ---------------------------------------------------------------- names of runs
FIRST, SECOND = "digits-magnitude-11111111", "digits-magnitude-22222222"


def test_only_the_second_trial_of_a_name_keeps_its_hash_and_no_name_changes(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    assert tensorboard.trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert tensorboard.trial_folder(logdir, SECOND) == logdir / SECOND
    assert tensorboard.trial_folder(logdir, "digits-random-33333333") == logdir / "digits-random"
    assert tensorboard.trial_folder(logdir, FIRST) == logdir / "digits-magnitude"
    assert tensorboard.trial_folder(logdir, "no-hash") == logdir / "no-hash"


def test_runs_that_lie_under_the_whole_name_stay_there(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    (logdir / FIRST).mkdir(parents=True)
    assert tensorboard.trial_folder(logdir, FIRST) == logdir / FIRST
    # The name is free for another.
    assert tensorboard.trial_folder(logdir, SECOND) == logdir / "digits-magnitude"


def test_of_many_that_ask_at_once_one_gets_the_name(tmp_path):
    logdir = tmp_path / layout.TENSORBOARD
    trials = [f"digits-magnitude-{number:08x}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda trial: tensorboard.trial_folder(logdir, trial), trials))
    assert len(set(folders)) == 8
    assert sum(folder == logdir / "digits-magnitude" for folder in folders) == 1
    assert [tensorboard.trial_folder(logdir, trial) for trial in trials] == folders


def test_training_writes_curves_where_publishing_looks_for_the_stage(tmp_path):
    from tfprune.studies.trial import Stage

    stage = Stage(tmp_path, FIRST, 3, "level_07", 7)
    run = tmp_path / layout.TENSORBOARD / "digits-magnitude" / "seed_3" / "level_07"
    callback = TensorBoardScalars(stage.tensorboard)
    callback.on_train_begin()
    callback.close()
    assert len(list(run.glob("events.out.tfevents.*"))) == 1
    assert tensorboard.event_folder(tmp_path, stage.relative) == run
    assert not stage.tensorboard.exists()


def test_a_folder_of_ones_own_is_kept_as_it_is(tmp_path):
    for folder in ("run-12345678", "logs/run-12345678/seed_0/level_00", "tensorboard/a-12345678/b"):
        assert event_folders.run_folder(tmp_path / folder) == tmp_path / folder
    assert not list(tmp_path.iterdir())


def test_a_stage_outside_the_trials_is_refused(folder):
    for stage in ("else/trial/seed_0/level_00", "trials/../../seed_0", "trials/a", "trials//b/c"):
        with pytest.raises(InputError, match="which is not trials/TRIAL/SEED/STAGE: move"):
            tensorboard.event_folder(folder, stage)


def test_an_image_that_is_no_png_is_named(folder):
    (folder / layout.FIGURES / "other.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(InputError, match="image other is not a PNG file: rebuild it"):
        tensorboard.publish(folder)


def test_without_results_the_user_is_told_to_run_an_experiment(tmp_path):
    with pytest.raises(InputError, match="run an experiment first"):
        tensorboard.publish(tmp_path)


def test_publishing_needs_no_tensorflow(folder):
    code = (
        "import sys; from tfprune.pages.tensorboard import publish; "
        f"publish({str(folder)!r}); sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(tensorboard.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
    assert len(Reader(folder / layout.TENSORBOARD).rows()) == 10
