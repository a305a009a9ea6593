"""Random streams: the same key gives the same numbers, another key others."""

import numpy as np
import pytest

from tfprune.seeds import Stream, generator


def draw(*key):
    return generator(*key).random(8)


def test_the_same_key_gives_the_same_numbers():
    np.testing.assert_array_equal(draw(1, Stream.INIT, 2, 3), draw(1, Stream.INIT, 2, 3))


def test_every_part_of_the_key_matters():
    keys = [(1, Stream.INIT, 2, 3), (2, Stream.INIT, 2, 3), (1, Stream.MASK, 2, 3)]
    keys += [(1, Stream.INIT, 3, 3), (1, Stream.INIT, 2, 4), (1, Stream.INIT, 0, 0)]
    assert len({draw(*key).tobytes() for key in keys}) == len(keys)


def test_stream_integers_never_change():
    assert [int(stream) for stream in Stream] == [1, 2, 3, 4, 5, 6, 7]


def test_numbers_are_those_of_every_earlier_version():
    """A change of NumPy or of the key would change every published result."""
    assert generator(0, Stream.DATA_ORDER).permutation(5).tolist() == [4, 2, 1, 0, 3]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match="must each lie"):
        generator(seed, Stream.INIT)
