"""Distances against NumPy and known triangles."""

import numpy as np
import pytest

from tfprune.measures.distance import distance


def test_a_3_4_5_triangle_over_two_arrays():
    zero = {"a": np.zeros((2, 2), np.float32), "b": np.zeros(3, np.float32)}
    there = {"a": np.array([[3, 0], [0, 0]], np.float32), "b": np.array([0, 4, 0], np.float32)}
    measured = distance(there, zero)
    assert measured.per_array == {"a": 3.0, "b": 4.0}
    assert measured.total == 5.0


def test_it_is_numpys_norm_in_float64():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(30, 20)).astype(np.float32) for _ in range(2))
    expected = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64))
    np.testing.assert_allclose(distance({"w": a}, {"w": b}).total, expected, rtol=1e-12)


def test_nothing_has_moved_at_the_start():
    weights = {"w": np.ones((3, 3), np.float32)}
    assert distance(weights, weights).total == 0.0


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="different weights"):
        distance({"a": np.zeros(1)}, {"b": np.zeros(1)})
