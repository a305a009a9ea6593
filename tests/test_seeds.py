"""Random streams: the same key gives the same numbers, another key others."""

import itertools

import numpy as np
import pytest

from tfprune.seeds import EpochDraw, LevelDraw, Stream, generator, name_key


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


def test_the_integers_of_draws_of_no_level_and_no_epoch_never_change():
    last = 2**32 - 1
    assert {draw.name: int(draw) for draw in LevelDraw} == {
        "REINIT": 1_000_000,
        "EL2N": 2_000_000,
        "LEAVE_OUT": 3_000_000,
        "SMALL": 4_000_000,
        "SIZE": 5_000_000,
        "PLANE_EXAMPLES": 6_000_000,
        "ABLATION_EXAMPLES": last - 1,
        "ABLATED_SUBSETS": last,
    }
    assert {draw.name: int(draw) for draw in EpochDraw} == {
        "CURVATURE_EXAMPLES": 71,
        "CURVATURE_START": 72,
        "CURVATURE_PROBES": 73,
        "NO_EPOCH": last,
    }
    assert name_key("conv1") == 285_681_077


@pytest.mark.parametrize("kind", [LevelDraw, EpochDraw])
def test_a_draw_is_a_valid_part_of_a_key(kind):
    place = {LevelDraw: "level", EpochDraw: "epoch"}[kind]
    for draw in kind:
        first = generator(0, Stream.MASK, **{place: draw}).random()
        assert first == generator(0, Stream.MASK, **{place: int(draw)}).random()


def test_no_two_draws_of_trainings_beside_the_trunk_meet():
    """Nor do they meet the levels of a trunk, which come before the first of them."""
    several = [draw for draw in LevelDraw if draw < LevelDraw.ABLATION_EXAMPLES]
    spans = sorted((draw.at(0), draw.at(999_999)) for draw in several)
    assert spans[0][0] == 1_000_000
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(spans))
    assert spans[-1][1] < LevelDraw.ABLATION_EXAMPLES


@pytest.mark.parametrize("index", [-1, 1_000_000])
def test_a_draw_beyond_its_span_is_refused(index):
    with pytest.raises(ValueError, match="SMALL has no draw"):
        LevelDraw.SMALL.at(index)
    with pytest.raises(ValueError, match="ABLATED_SUBSETS has no draw"):
        LevelDraw.ABLATED_SUBSETS.at(1)
