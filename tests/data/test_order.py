"""Epoch orders are stateless permutations."""

from __future__ import annotations

import numpy as np

from tfprune.data.order import epoch_order


def test_an_epoch_shows_every_example_once():
    order = epoch_order(1000, seed=3, level=2, epoch=5)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))


def test_the_order_is_a_function_of_seed_level_and_epoch():
    order = epoch_order(1000, 3, 2, 5)
    np.testing.assert_array_equal(order, epoch_order(1000, 3, 2, 5))
    for other in ((4, 2, 5), (3, 1, 5), (3, 2, 6)):
        assert np.any(order != epoch_order(1000, *other))
