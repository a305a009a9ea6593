"""Augmentation equals NumPy slicing, eagerly and compiled."""

from __future__ import annotations

import numpy as np
import pytest

from tfprune.backend import tf
from tfprune.data import augmentation
from tfprune.errors import SettingError


def moved_by_numpy(image, flip, dy, dx):
    height, width, _ = image.shape
    image = image[:, ::-1] if flip else image
    out = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - dy < height and 0 <= x - dx < width:
                out[y, x] = image[y - dy, x - dx]
    return out


@pytest.mark.parametrize("jit", [None, False, True])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 6, 3)])
def test_apply_equals_flipping_and_shifting_in_numpy(jit, shape):
    rng = np.random.default_rng(0)
    grid = [(f, dy, dx) for f in (0, 1) for dy in range(-4, 5) for dx in range(-4, 5)]
    flips, dy, dx = (np.array(column) for column in zip(*grid, strict=True))
    images = rng.integers(1, 256, (len(grid), *shape), np.uint8)
    function = (
        augmentation.apply if jit is None else tf.function(augmentation.apply, jit_compile=jit)
    )
    arguments = (images, flips.astype(bool), dy.astype(np.int32), dx.astype(np.int32))
    out = function(*(tf.constant(a) for a in arguments))
    assert out.dtype == tf.uint8
    expected = [moved_by_numpy(*each) for each in zip(images, flips, dy, dx, strict=True)]
    np.testing.assert_array_equal(out, expected)


def test_a_shift_moves_down_and_right_and_uncovers_black():
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    arguments = (image, np.array([False]), np.array([1], np.int32), np.array([2], np.int32))
    out = augmentation.apply(*map(tf.constant, arguments))
    np.testing.assert_array_equal(out[0, ..., 0], [[0, 0, 0], [0, 0, 1], [0, 0, 4]])


def test_draws_are_fair_flips_and_uniform_shifts():
    draws = augmentation.draw("flip_shift", 90_000, seed=0, level=0, epoch=0)
    assert abs(draws.flips.mean() - 0.5) < 6 * 0.5 / 300
    for shifts in (draws.dy, draws.dx):
        share = np.bincount(shifts + 4, minlength=9) / 90_000
        np.testing.assert_allclose(share, 1 / 9, atol=6 * np.sqrt(0.1 / 90_000))
    assert abs(np.corrcoef(draws.dy, draws.dx)[0, 1]) < 6 / 300


def test_draws_are_a_function_of_seed_level_and_epoch():
    same = [augmentation.draw("flip_shift", 100, 1, 2, 3) for _ in range(2)]
    for field in ("flips", "dy", "dx"):
        np.testing.assert_array_equal(getattr(same[0], field), getattr(same[1], field))
    for other in ((2, 2, 3), (1, 1, 3), (1, 2, 4)):
        assert np.any(augmentation.draw("flip_shift", 100, *other).dy != same[0].dy)


@pytest.mark.parametrize(
    ("kind", "flips", "shifts"),
    [("flip", True, False), ("shift", False, True), ("crop_flip", True, False)],
)
def test_each_kind_does_only_what_its_name_says(kind, flips, shifts):
    draws = augmentation.draw(kind, 100, 0, 0, 0)
    assert (draws.flips.any(), draws.dy.any(), draws.dx.any()) == (flips, shifts, shifts)
    assert draws.dy.dtype == draws.dx.dtype == np.int32


def test_none_draws_nothing_and_an_unknown_kind_is_named():
    assert augmentation.draw("none", 100, 0, 0, 0) is None
    with pytest.raises(SettingError, match="did you mean flip"):
        augmentation.draw("flipp", 100, 0, 0, 0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_normalize_equals_float64_numpy(dtype, tolerance):
    images = np.arange(0, 240, dtype=np.uint8).reshape(2, 5, 8, 3)
    mean, std = np.array([0.25, 0.5, 0.75]), np.array([0.5, 0.25, 0.125])
    out = augmentation.normalize(tf.constant(images), mean, std, tf.as_dtype(dtype))
    assert out.dtype == dtype
    np.testing.assert_allclose(out, (images / 255 - mean) / std, rtol=0, atol=tolerance * 8)


def test_bfloat16_is_rounded_once():
    images = tf.constant(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1))
    exact = augmentation.normalize(images, [0.1307], [0.3081])
    rounded = augmentation.normalize(images, [0.1307], [0.3081], tf.bfloat16)
    np.testing.assert_array_equal(
        tf.cast(rounded, tf.float32), tf.cast(tf.cast(exact, tf.bfloat16), tf.float32)
    )
