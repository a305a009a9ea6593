"""A finished stage as a model in a user's own script."""

import numpy as np
import pytest
from synthetic import SilentProgress

import tfprune
from tfprune.config import from_settings
from tfprune.data.prepare import prepare
from tfprune.data.sources import load_source
from tfprune.errors import InputError
from tfprune.results.store import read_results
from tfprune.studies.study import Study


def test_a_loaded_stage_classifies_as_results_csv_says(tmp_path):
    config = from_settings(
        {"output_dir": str(tmp_path), "seeds": (0,), "levels": 1, "train_epochs": 2},
        experiment="test",
    )
    Study([config], [], SilentProgress()).train_trunks()
    data = prepare(load_source(config.data), config.data, seed=0)
    inputs = (data.test_images / 255 - data.mean) / data.std
    for row in read_results(tmp_path).itertuples():
        model = tfprune.load_stage(tmp_path / row.stage)
        predicted = model.predict(inputs, verbose=0).argmax(1)
        assert np.mean(predicted == data.test_labels) == pytest.approx(row.test_accuracy_last)
        assert tfprune.sparsity(model) == pytest.approx(row.sparsity)


def test_a_folder_that_is_no_stage_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"end\.npz does not exist"):
        tfprune.load_stage(tmp_path)
