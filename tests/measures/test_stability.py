"""Instability of a pruning event: the fraction of the accuracy that it takes away."""

import pytest

from tfprune.measures.stability import instability


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0.8, 0.6, 0.25), (0.5, 0.5, 0.0), (0.5, 0.0, 1.0), (0.4, 0.5, -0.25), (0.0, 0.1, 0.0)],
)
def test_instability_is_relative_to_the_accuracy_before(before, after, expected):
    assert instability(before, after) == pytest.approx(expected)
