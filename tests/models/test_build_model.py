"""From settings to networks."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.backend import keras, tf
from tfprune.models.build import build_model
from tfprune.models.settings import ModelConfig


@pytest.mark.parametrize("name", ["lenet_300_100", "vanilla_cnn", "vgg11", "resnet20"])
def test_settings_that_do_not_apply_to_a_model_are_left_out(name):
    config = ModelConfig(model=name, width=0.05, shortcut="zero_pad", batch_norm_gamma="uniform")
    model = build_model(config, (8, 8, 1), 10)
    assert model.name == name
    assert model.output_shape == (None, 10)


def test_width_and_shortcut_reach_the_model():
    wide = build_model(ModelConfig(model="resnet20", width=2.0), (8, 8, 1), 10)
    assert wide.get_layer("stage3_block1_conv1").filters == 128
    assert wide.get_layer("stage3_block1_shortcut").filters == 128
    padded = build_model(ModelConfig(model="resnet20", shortcut="zero_pad"), (8, 8, 1), 10)
    convolutions = [x for x in padded.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 19  # 20 layers: these and the dense one.


def test_building_sets_no_seed():
    tf.random.set_seed(7)
    np.random.seed(7)
    expected = np.random.get_state()[1].copy(), tf.random.normal((3,)).numpy()
    tf.random.set_seed(7)
    np.random.seed(7)
    build_model(ModelConfig(), (8, 8, 1), 10)
    np.testing.assert_array_equal(np.random.get_state()[1], expected[0])
    np.testing.assert_array_equal(tf.random.normal((3,)), expected[1])
