"""A finished stage as a model in a user's own script."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from networks import three_blocks_added
from synthetic import tell_nobody
from wording import says

import tfprune
from tfprune import layout
from tfprune.backend import keras
from tfprune.config import from_settings
from tfprune.data.prepare import prepare
from tfprune.data.sources import load_source
from tfprune.data.streaming import StreamedData
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import DamagedFile, InputError, SettingError
from tfprune.files import load_arrays, save_arrays, write_json
from tfprune.pruning.weights import mask_variables, read_weights
from tfprune.store import read_results
from tfprune.studies import filter_trainings
from tfprune.studies.loading import StageData
from tfprune.studies.settings import FilterConfig

FILTERS = {"prunable": "conv", "criterion": "filter_l2", "prune_fraction": 0.4}
RUNS = {
    "lenet": {},
    "float64": {"dtype": "float64"},
    "filters": {**FILTERS, "model": "vanilla_cnn_bn", "width": 0.25},
    "cut_shortcuts": {**FILTERS, "model": "three_blocks", "width": 0.25, "cut_shortcuts": True},
    "zero_pad": {
        **FILTERS, "model": "three_blocks", "width": 0.25, "cut_shortcuts": True,
        "shortcut": "zero_pad",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _three_blocks():
    with three_blocks_added():
        yield


def study_of(folder, **values):
    sizes = {"levels": 1, "train_epochs": 2, "train_subset": "200", "jit": "off"}
    settings = {"output_dir": str(folder), "seeds": (0,), **sizes, **values}
    config = from_settings(settings, experiment="test")
    workshop = Workshop([], tell_nobody)
    return StudyEngine([config], [], tell_nobody, executor=InProcess(workshop)), workshop


@pytest.mark.parametrize(
    "run", [*list(RUNS)[:-1], pytest.param("zero_pad", marks=pytest.mark.slow)]
)
def test_a_loaded_stage_is_the_network_that_was_trained(tmp_path, run):
    study, workshop = study_of(tmp_path, **RUNS[run])
    study.train_trunks()
    (trial,) = study.trials
    trainer = workshop.loop(trial).trainer
    for row in read_results(tmp_path).itertuples():
        model = tfprune.load_stage(tmp_path / row.stage)
        data = tfprune.load_data(tmp_path / row.stage)
        _, accuracy = model.evaluate(*data.test, verbose=0)
        assert np.float32(accuracy) == np.float32(row.test_accuracy_last)
        assert tfprune.sparsity(model) == row.sparsity
        assert model.output.dtype == ("float64" if run == "float64" else "float32")
    # The last stage's network is still in the trainer: the same variables, and all the same masks.
    assert row.sparsity > 0
    for read in (read_weights, masks_of):
        trained, loaded = read(trainer.model), read(model)
        assert trained.keys() == loaded.keys()
        for name, value in trained.items():
            np.testing.assert_array_equal(loaded[name], value, err_msg=name)
    if trial.config.pruning.prunes_filters:
        assert any(name.endswith("_bn/gamma") for name in masks_of(model))


def masks_of(model):
    return {name: mask.numpy() for name, mask in mask_variables(model).items()}


def test_filters_that_went_during_a_training_are_there_at_its_start(tmp_path):
    study, workshop = study_of(tmp_path, **RUNS["filters"], levels=0)
    study.train_trunks()
    (trial,) = study.trials
    options = FilterConfig(
        prune_layers="last2", prune_fractions=(0.5,), prune_starts=(0,), prune_ends=(0,)
    )
    pruning = filter_trainings.Pruning.parse("largest:1")
    branch = filter_trainings.pruned(trial.config, pruning, options)
    stage = trial.branch_stage(branch.name, 0, branch.variant)
    branch.train(workshop.loop(trial), stage, lambda logs: None)
    start = tfprune.load_stage(stage.folder, "start")
    assert tfprune.sparsity(start) == 0
    for name, value in load_arrays(stage.folder / layout.START).items():
        np.testing.assert_array_equal(read_weights(start)[name], value, err_msg=name)
    assert tfprune.sparsity(tfprune.load_stage(stage.folder)) > 0


def test_the_readmes_lines_end_at_the_accuracies_of_results_csv(tmp_path):
    study, _ = study_of(tmp_path, levels=0, label_noise="symmetric", noise_fraction=0.4)
    study.train_trunks()
    (row,) = read_results(tmp_path).itertuples()
    text = (Path(tfprune.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```py\nstage = .*\n((?:.*\n)*?)```", text)
    names = {"tfprune": tfprune, "stage": tmp_path / row.stage}
    exec(lines, names)
    assert np.float32(names["accuracy"]) == np.float32(row.test_accuracy_last)
    assert names["loss"] == pytest.approx(row.test_loss, rel=1e-5)
    loss, accuracy = names["network"].evaluate(*names["data"].train, verbose=0)
    assert np.float32(accuracy) == np.float32(row.train_accuracy)  # Against the noisy labels.
    assert loss == pytest.approx(row.train_loss, rel=1e-5)


def test_a_streamed_set_is_read_whole(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(8):
        folder = tmp_path / ("train" if index < 6 else "test") / f"class_{index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (12 + index, 14, 3)).astype("uint8")
        keras.utils.save_img(folder / f"{index}.png", pixels, scale=False)
    config = from_settings({"dataset": f"folder:{tmp_path}"}).data
    data = StageData(prepare(load_source(config), config, seed=0))
    assert isinstance(data.prepared, StreamedData)
    for split, (images, _, _) in (
        (data.train, next(iter(data.prepared.evaluation("train", 6)))),
        (data.test, next(iter(data.prepared.evaluation("test", 2)))),
    ):
        np.testing.assert_array_equal(split.images, images)
    assert data.test.labels.tolist() == [0, 1]
    assert data.val.images.shape == (0, *data.prepared.input_shape)


def test_the_data_of_a_stage_are_those_of_its_trial_and_seed(tmp_path):
    noisy = {"label_noise": "symmetric", "noise_fraction": 0.4, "validation_examples": 50}
    study, workshop = study_of(tmp_path, **noisy, seeds=(3,), levels=0, train_epochs=1)
    study.train_trunks()
    (trial,) = study.trials
    used = workshop.loop(trial).data
    data = tfprune.load_data(trial.stage(0).folder)
    assert (data.original_labels != data.train.labels).any()
    np.testing.assert_array_equal(data.train.labels, used.labels)
    np.testing.assert_array_equal(data.original_labels, used.original_labels)
    np.testing.assert_array_equal(data.val.labels, used.val_labels)
    expected = (used.images / 255 - used.mean) / used.std
    np.testing.assert_allclose(data.train.images, expected, atol=1e-6)
    shapes = [split.images.shape for split in (data.train, data.val, data.test)]
    assert shapes == [(200, 8, 8, 1), (50, 8, 8, 1), (360, 8, 8, 1)]
    assert (data.train.images.dtype, data.train.labels.dtype) == ("float32", "int32")


def test_a_stage_that_was_trained_on_a_part_has_that_part_and_its_whole_test_set(tmp_path):
    study, workshop = study_of(tmp_path, levels=0, train_epochs=1)
    study.train_trunks()
    (trial,) = study.trials
    labels = workshop.loop(trial).data.labels
    stage = trial.stage(0)
    save_arrays(stage.folder / layout.KEPT, {"rows": np.array([1, 4, 9])})
    stage.finish(stage.result() | {"subset_examples": 3})
    data = tfprune.load_data(stage.folder)
    assert data.train.images.shape == (3, 8, 8, 1)
    assert data.train.labels.tolist() == data.original_labels.tolist() == labels[[1, 4, 9]].tolist()
    assert len(data.test.labels) == 360
    save_arrays(stage.folder / layout.KEPT, {"rows": np.array([1, 4, 8])})
    with pytest.raises(DamagedFile, match=r"kept_examples\.npz"):
        tfprune.load_data(stage.folder)
    (stage.folder / layout.KEPT).unlink()
    with pytest.raises(InputError, match=r"kept_examples\.npz does not exist: run the command"):
        tfprune.load_data(stage.folder)


def test_a_folder_that_is_no_stage_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"result\.json does not exist"):
        tfprune.load_data(tmp_path)
    with pytest.raises(InputError, match=r"end\.npz does not exist"):
        tfprune.load_stage(tmp_path)


@pytest.mark.parametrize("weights", ["masks", "../level_00/end", None])
def test_weights_are_those_before_or_after_the_training(tmp_path, weights):
    with pytest.raises(SettingError, match=f"weights={weights}: .*allowed: end, start"):
        tfprune.load_stage(tmp_path, weights)


def test_a_storage_that_is_not_read_is_named():
    for load in (tfprune.load_stage, tfprune.load_data):
        with pytest.raises(SettingError, match=r"folder=s3://bucket/runs: .*gs://.*, not s3"):
            load("s3://bucket/runs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a trial with two seeds of one level."""
    study, _ = study_of(tmp_path_factory.mktemp("out"), seeds=(0, 1), levels=0, train_epochs=1)
    study.train_trunks()
    return study.trials[0].stage(0).folder.parent.parent


def of_the_other_seed(stage):
    shutil.copy(stage.parents[1] / "seed_1" / stage.name / layout.END, stage / layout.END)


def without_masks(stage):
    (stage / layout.MASKS).unlink()


def with_half_a_result(stage):
    (stage / layout.RESULT).write_text((stage / layout.RESULT).read_text()[:50])


def unfinished_and_of_another_network(stage):
    (stage / layout.RESULT).unlink()
    arrays = load_arrays(stage / layout.END)
    save_arrays(stage / layout.END, {name: value[:3] for name, value in arrays.items()})


def of_no_classes(stage):
    path = stage.parent / layout.CONFIG
    path.write_text(path.read_text().replace('"num_classes": 10', '"num_classes": 0'))


@pytest.mark.parametrize(
    ("damage", "facts"),
    [
        (of_the_other_seed, ("end.npz is damaged", "not as it was written")),
        (without_masks, ("masks.npz is damaged", "is gone")),
        (with_half_a_result, ("result.json is damaged",)),
        (unfinished_and_of_another_network, ("end.npz is damaged", "not of one network")),
        (of_no_classes, ("end.npz is damaged", "config.json are not of one network")),
    ],
)
def test_a_stage_is_not_loaded_with_files_that_are_not_its_own(finished, tmp_path, damage, facts):
    trial = Path(shutil.copytree(finished, tmp_path / "trials" / finished.name))
    stage = trial / "seed_0" / "level_00"
    damage(stage)
    with pytest.raises(DamagedFile) as refused:
        tfprune.load_stage(stage)
    assert says(str(refused.value), *facts, "again")


def test_data_are_those_of_the_seed_that_the_folder_is_called_after(finished, tmp_path):
    trial = Path(shutil.copytree(finished, tmp_path / "trial"))
    (trial / "seed_1").rename(trial / "mine")
    with pytest.raises(InputError, match=r"mine is not called seed_0 or alike"):
        tfprune.load_data(trial / "mine" / "level_00")


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (None, "does not exist"),
        ("[]", "is damaged"),
        ("{}", "'input_shape'"),
        ('{"input_shape": 3, "num_classes": 2, "config": {}}', "input_shape is '3'"),
        ('{"input_shape": ["a"], "num_classes": 2, "config": {}}', "it does not say"),
        ('{"input_shape": [3], "num_classes": 2, "config": {"colour": 1}}', "'colour'"),
    ],
)
def test_a_config_that_cannot_be_used_says_how_to_get_it_back(tmp_path, content, fact):
    stage = tmp_path / "seed_0" / "level_00"
    stage.mkdir(parents=True)
    (stage / "end.npz").touch()
    if content is not None:
        (stage.parent / layout.CONFIG).write_text(content)
    with pytest.raises(InputError) as refused:
        tfprune.load_stage(stage)
    assert says(str(refused.value), str(stage.parent / layout.CONFIG), fact, "trains nothing")


@pytest.mark.parametrize(
    ("section", "setting", "registry"),
    [
        ("data", "label_noise", "LABEL_NOISE"),
        ("model", "model", "MODELS"),
        ("pruning", "criterion", "CRITERIA"),
        ("pruning", "retrain", "RETRAINING"),
    ],
)
def test_a_name_of_ones_own_that_is_not_registered_here_is_no_damage(
    tmp_path, section, setting, registry
):
    stage = tmp_path / "seed_0" / "level_00"
    stage.mkdir(parents=True)
    (stage / "end.npz").touch()
    about = {"input_shape": [3], "num_classes": 2, "config": {section: {setting: "mine"}}}
    write_json(stage.parent / layout.CONFIG, about)
    with pytest.raises(InputError) as refused:
        tfprune.load_stage(stage)
    assert not isinstance(refused.value, DamagedFile)
    assert says(str(refused.value), f"{setting}=mine", "not registered", f"tfprune.{registry}")
