"""A finished stage as a model in a user's own script."""

import numpy as np
import pytest
from synthetic import tell_nobody

import tfprune
from tfprune import layout
from tfprune.config import from_settings
from tfprune.data.prepare import prepare
from tfprune.data.sources import load_source
from tfprune.engine.executors import InProcess
from tfprune.engine.study import StudyEngine
from tfprune.engine.workshop import Workshop
from tfprune.errors import InputError
from tfprune.files import load_arrays
from tfprune.pruning.weights import mask_variables, read_weights
from tfprune.store import read_results
from tfprune.studies import filter_trainings
from tfprune.studies.settings import FilterConfig

FILTERS = {"prunable": "conv", "criterion": "filter_l2", "prune_fraction": 0.4}
RUNS = {
    "lenet": {},
    "float64": {"dtype": "float64"},
    "filters": {**FILTERS, "model": "vanilla_cnn_bn", "width": 0.25},
    "cut_shortcuts": {**FILTERS, "model": "resnet20", "width": 0.25, "cut_shortcuts": True},
    "zero_pad": {
        **FILTERS, "model": "resnet20", "width": 0.25, "cut_shortcuts": True, "shortcut": "zero_pad"
    },
}  # fmt: skip


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
    data = prepare(load_source(trial.config.data), trial.config.data, seed=0)
    inputs = (data.test_images / 255 - data.mean) / data.std
    trainer = workshop.loop(trial).trainer
    for row in read_results(tmp_path).itertuples():
        model = tfprune.load_stage(tmp_path / row.stage)
        predicted = model.predict(inputs, verbose=0).argmax(1)
        accuracy = np.mean(predicted == data.test_labels)
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


def test_a_folder_that_is_no_stage_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"end\.npz does not exist"):
        tfprune.load_stage(tmp_path)
