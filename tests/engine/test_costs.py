"""What trainings cost: known networks, known epochs, known files."""

import numpy as np
import pytest

from tfprune.catalog import MODELS
from tfprune.config import from_settings
from tfprune.engine.costs import (
    CPU,
    GPU,
    IMAGES,
    NETWORKS,
    Images,
    cost_of,
    duration,
    kept_bytes,
    stage_bytes,
)


def run(model="resnet18", dataset="cifar10", **values):
    return from_settings({"model": model, "dataset": dataset, **values})


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS, ids=" ".join)
def test_the_tables_operations_and_weights_are_those_of_the_network(key):
    from tfprune.pruning.shrink import flops

    model, dataset = key
    network = MODELS[model](IMAGES[dataset].shape, IMAGES[dataset].classes)
    found = NETWORKS[key]
    assert (flops(network), network.count_params()) == (found.forward, found.weights)


def test_an_epoch_is_forward_and_twice_that_backward_and_an_evaluation_of_all():
    cost = cost_of(run("vanilla_cnn", validation_examples=1_000))
    forward = 24_478_976
    assert cost.training == 3 * forward * 49_000
    assert cost.evaluation == forward * 60_000
    assert cost.steps == 383  # Of 128: the last is short.


def test_a_subset_and_a_width_count_by_their_size():
    whole, part = (cost_of(run(train_subset=subset)) for subset in ("", "500"))
    assert part.training == whole.training / 100
    assert cost_of(run(width=0.5)).training == whole.training / 4


@pytest.mark.parametrize(
    ("speed", "model", "dataset", "dtype", "seconds"),
    [
        # Measured there.
        (GPU, "lenet_300_100", "mnist", "float32", 0.84),
        (GPU, "resnet18", "cifar10", "float32", 2.44),
        (GPU, "resnet18", "cifar10", "mixed_bfloat16", 1.70),
        (CPU, "lenet_300_100", "mnist", "float32", 0.96),  # 0.68 s; the vanilla CNN's 34 s are 37.
        (CPU, "vanilla_cnn", "cifar10", "float32", 36.7),
        # Bounded by as many kernels as the network has, of ResNet-18's length in bfloat16.
        (GPU, "resnet20", "cifar10", "float32", 1.70 * 285 / 301),
    ],
)
def test_an_epoch_takes_what_it_took_where_it_was_measured(speed, model, dataset, dtype, seconds):
    config = run(model, dataset, dtype=dtype)
    found = speed.epoch(cost_of(config), config)
    assert found == pytest.approx(seconds, rel=0.01)


def test_data_and_networks_that_no_table_has_are_looked_at(tmp_path):
    images = np.zeros((30, 8, 8, 1), np.uint8)
    labels = np.arange(30) % 3
    arrays = {"train_images": images, "train_labels": labels}
    np.savez(tmp_path / "x.npz", **arrays, test_images=images[:6], test_labels=labels[:6])
    cost = cost_of(run("lenet_300_100", f"npz:{tmp_path}/x.npz", batch_size=20))
    assert (cost.train, cost.test, cost.steps) == (30, 6, 2)
    assert cost.network.weights == 64 * 300 + 300 + 300 * 100 + 100 + 100 * 3 + 3
    assert cost.network.forward == 2 * (64 * 300 + 300 * 100 + 100 * 3)
    assert Images((8, 8, 1), 3, 30, 6).shape == images.shape[1:]


def test_a_stage_of_lenet_on_digits_leaves_its_weights_twice():
    """start.npz and end.npz have 203,998 bytes each, its masks some 7,000."""
    cost = cost_of(run("lenet_300_100", "digits"))
    assert stage_bytes(cost, epochs=3) == pytest.approx(2 * 203_998 + 7_194 + 9_000, rel=0.02)


def test_snapshots_and_rewind_points_are_weights_once_more():
    cost = cost_of(run(train_epochs=20))
    weights = 4 * cost.network.weights
    assert kept_bytes(cost, run(train_epochs=20)) == 0
    assert kept_bytes(cost, run(train_epochs=20, snapshot_every=5)) == 4 * weights
    assert kept_bytes(cost, run(train_epochs=20, rewind_to="1ep")) == weights


def test_durations_are_said_in_the_unit_of_at_least_two():
    said = [duration(s) for s in (9, 119, 120, 7_199, 7_200, 172_800, 63_072_000)]
    assert said == [
        "seconds", "119 seconds", "2 minutes", "120 minutes", "2 hours", "2 days", "2 years",
    ]  # fmt: skip
