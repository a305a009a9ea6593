"""Which kernels are prunable."""

from __future__ import annotations

import pytest
from networks import case

from tfprune.backend import keras  # Before tensorflow_model_optimization, which needs Keras 2.

# isort: split
import tensorflow_model_optimization as tfmot

from tfprune.catalog import MODELS
from tfprune.errors import SettingError
from tfprune.pruning.prunable import prunable_kernels

layers = keras.layers


def build(name, **options):
    return MODELS[name]((8, 8, 1), 10, width=0.05, **options)


def default(name, **options):
    return prunable_kernels(build(name, **options), model_name=name)


def own_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="a"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.SeparableConv2D(4, 3, name="separable"),
            layers.Conv2DTranspose(2, 3, name="transposed"),
            layers.Flatten(),
            layers.Dense(6, name="b"),
            layers.Dense(5, name="c"),
        ]
    )


CONVOLUTIONS = ["a", "separable/pointwise_kernel", "transposed"]


def test_lenet_prunes_all_but_the_output_layer():  # SDD A.1
    assert default("lenet_300_100") == ["dense1", "dense2"]


def test_resnet18_prunes_every_convolution_and_the_dense_layer():  # SDD A.1
    names = default("resnet18")
    assert names[0] == "conv1"
    assert names[-1] == "logits"
    assert len(names) == 21  # 17 on the main path, 3 shortcuts and the dense layer.
    assert [n for n in names if "shortcut" in n] == [f"stage{i}_block1_shortcut" for i in (2, 3, 4)]


@pytest.mark.parametrize("name", ["vanilla_cnn", "vanilla_cnn_bn"])
def test_vanilla_cnn_prunes_convolutions_only(name):  # PM 2.1
    assert default(name) == [f"conv{i}" for i in range(1, 8)]


@pytest.mark.parametrize(
    ("name", "convolutions", "shortcuts"),
    [("resnet20", 19, 2), case("resnet56", 55, 2), case("resnet50", 49, 4)],
)
def test_other_resnets_prune_every_kernel_as_openlth_does(name, convolutions, shortcuts):
    projected = default(name)
    assert projected[-1] == "logits"
    assert len(projected) == convolutions + shortcuts + 1
    assert sum("shortcut" in layer for layer in projected) == shortcuts


def test_zero_pad_shortcuts_have_no_kernel():
    projected, padded = default("resnet20"), default("resnet20", shortcut="zero_pad")
    assert padded == [layer for layer in projected if "shortcut" not in layer]


@pytest.mark.parametrize(("name", "convolutions"), [("vgg11", 8), ("vgg16", 13)])
def test_vgg_prunes_every_convolution(name, convolutions):
    names = default(name)
    assert len(names) == convolutions
    assert "logits" not in names


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("conv", CONVOLUTIONS),
        ("conv_dense", [*CONVOLUTIONS, "b", "c"]),
        ("hidden", [*CONVOLUTIONS, "b"]),
        ("default", [*CONVOLUTIONS, "b", "c"]),
    ],
)
def test_sets_of_a_users_model(which, expected):
    assert prunable_kernels(own_model(), which) == expected


def test_a_named_set_wins_over_the_models_own():
    model = build("lenet_300_100")
    assert prunable_kernels(model, "conv_dense", "lenet_300_100") == ["dense1", "dense2", "logits"]


def test_an_unbuilt_sequential_model_will_do():
    model = keras.Sequential([layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    assert prunable_kernels(model, "hidden") == ["a"]


def test_hidden_keeps_every_convolution_of_a_model_without_dense_layers():
    model = keras.Sequential([layers.Conv2D(3, 3, name="a"), layers.Conv1D(3, 3, name="b")])
    assert prunable_kernels(model, "hidden") == ["a", "b"]


def test_nested_models_are_unfolded_in_place_and_shared_layers_count_once():
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, name="in")], name="body")
    shared = layers.Conv2D(1, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 1))
    x = shared(shared(inputs))
    x = layers.Flatten()(inner(x))
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    assert prunable_kernels(model) == ["shared", "in", "out"]


def test_wrapped_layers_count_by_their_own_name():
    model = build("vanilla_cnn")
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(model)
    assert prunable_kernels(wrapped) == prunable_kernels(model)


def test_equal_names_in_nested_models_are_told_apart_by_their_paths():
    parts = [
        keras.Sequential([keras.Input((4,)), layers.Dense(4, name="same")], name=name)
        for name in ("first", "second")
    ]
    x = inputs = keras.Input((4,))
    for part in parts:
        x = part(x)
    model = keras.Model(inputs, layers.Dense(2, name="last")(x))
    assert prunable_kernels(model) == ["first/same", "second/same", "last"]


def test_embeddings_are_in_no_set_and_recurrent_kernels_count_as_dense():
    model = keras.Sequential([layers.Embedding(9, 4, input_length=3), layers.GRU(2, name="gru")])
    assert prunable_kernels(model) == ["gru/kernel", "gru/recurrent_kernel"]
    with pytest.raises(SettingError, match="no such kernel"):
        prunable_kernels(model, "conv")


def test_a_set_without_any_kernel_is_refused():
    with pytest.raises(SettingError, match="which=conv: model 'lenet_300_100' has no such"):
        prunable_kernels(build("lenet_300_100"), "conv")


def test_unknown_names_are_refused():
    with pytest.raises(SettingError, match="which=convs: did you mean conv"):
        prunable_kernels(own_model(), "convs")
    with pytest.raises(SettingError, match="model=resnet21: did you mean resnet"):
        prunable_kernels(own_model(), "default", "resnet21")
