"""Label noise against counts and tables known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.catalog import LABEL_NOISE
from tfprune.data import label_noise
from tfprune.errors import SettingError


def rng(seed=0):
    return np.random.default_rng(seed)


def labels_of(num_classes=10, each=100):
    return np.tile(np.arange(num_classes, dtype=np.int32), each)


@pytest.mark.parametrize("kind", [kind for kind in LABEL_NOISE if kind != "none"])
@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.2, 200), (0.3337, 334), (1.0, 1000)])
def test_exactly_the_rounded_fraction_is_selected_and_nothing_else_changes(kind, fraction, count):
    noisy = label_noise.apply(kind, labels_of(), 10, fraction, rng(), "cifar10")
    assert noisy.selected.sum() == count
    np.testing.assert_array_equal(noisy.original, labels_of())
    unselected = ~noisy.selected
    np.testing.assert_array_equal(noisy.observed[unselected], noisy.original[unselected])
    assert noisy.observed.dtype == noisy.original.dtype == np.int32


def test_symmetric_labels_are_uniform_over_all_classes_their_own_included():
    labels = np.full(100_000, 3, np.int32)
    noisy = label_noise.apply("symmetric", labels, 10, 1.0, rng(), "mnist")
    share = np.bincount(noisy.observed, minlength=10) / len(labels)
    # Six standard deviations of a share of 1/10 among 100,000.
    np.testing.assert_allclose(share, 0.1, atol=6 * np.sqrt(0.1 * 0.9 / len(labels)))


def test_uniform_other_labels_are_uniform_over_the_other_classes():
    labels = np.full(90_000, 3, np.int32)
    noisy = label_noise.apply("uniform_other", labels, 10, 1.0, rng(), "mnist")
    share = np.bincount(noisy.observed, minlength=10) / len(labels)
    assert share[3] == 0
    np.testing.assert_allclose(np.delete(share, 3), 1 / 9, atol=6 * np.sqrt(0.1 / len(labels)))


def test_pairflip_adds_one_modulo_the_number_of_classes():
    noisy = label_noise.apply("pairflip", np.arange(4), 4, 1.0, rng(), "any")
    np.testing.assert_array_equal(noisy.observed, [1, 2, 3, 0])


@pytest.mark.parametrize("dataset", ["mnist", "mnist:3.0.1", "digits"])
def test_asymmetric_digits_follow_the_usual_confusions(dataset):
    noisy = label_noise.apply("asymmetric", np.arange(10), 10, 1.0, rng(), dataset)
    np.testing.assert_array_equal(noisy.observed, [0, 1, 7, 8, 4, 6, 5, 1, 8, 9])
    assert noisy.selected.all()


def test_asymmetric_cifar10_follows_the_usual_confusions():
    names = ["airplane", "automobile", "bird", "cat", "deer"]
    names += ["dog", "frog", "horse", "ship", "truck"]
    noisy = label_noise.apply("asymmetric", np.arange(10), 10, 1.0, rng(), "cifar10")
    changed = {a: names[b] for a, b in zip(names, noisy.observed, strict=True) if a != names[b]}
    assert changed == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }


def test_cifar100_superclasses_partition_100_classes_into_20_of_5():
    groups = list(label_noise.CIFAR100_SUPERCLASSES.values())
    assert [len(group) for group in groups] == [5] * 20
    assert len({name for group in groups for name in group}) == 100


def test_asymmetric_cifar100_cycles_inside_each_superclass():
    becomes = label_noise.confusions("cifar100")
    reached = np.arange(100)
    for _ in range(4):
        reached = becomes[reached]
        assert not np.any(reached == np.arange(100))
    np.testing.assert_array_equal(becomes[reached], np.arange(100))
    # TFDS numbers: beaver 4, dolphin 30, otter 55, seal 72, whale 95.
    assert [becomes[i] for i in (4, 30, 55, 72, 95)] == [30, 55, 72, 95, 4]


def test_asymmetric_names_the_datasets_it_knows():
    with pytest.raises(SettingError, match="mnist, digits, cifar10, cifar100"):
        label_noise.apply("asymmetric", labels_of(), 10, 0.2, rng(), "fashion_mnist")


def test_a_larger_fraction_keeps_the_noise_of_a_smaller_one():
    small = label_noise.apply("symmetric", labels_of(), 10, 0.2, rng(5), "mnist")
    large = label_noise.apply("symmetric", labels_of(), 10, 0.4, rng(5), "mnist")
    assert large.selected[small.selected].all()
    np.testing.assert_array_equal(large.observed[small.selected], small.observed[small.selected])


def test_every_example_is_selected_equally_often():
    times = sum(
        label_noise.apply("pairflip", labels_of(5, 4), 5, 0.25, rng(seed), "any").selected
        for seed in range(2000)
    )
    np.testing.assert_allclose(times / 2000, 0.25, atol=6 * np.sqrt(0.25 * 0.75 / 2000))


def test_none_with_a_fraction_and_fractions_outside_the_unit_interval_are_refused():
    with pytest.raises(SettingError, match="fraction="):
        label_noise.apply("none", labels_of(), 10, 0.2, rng(), "mnist")
    with pytest.raises(SettingError, match=r"\[0, 1\]"):
        label_noise.apply("symmetric", labels_of(), 10, 1.2, rng(), "mnist")
