"""What processes tell each other travels in numbers that every device can sum, bit for bit."""

import numpy as np
import pytest

from tfprune.backend import tf
from tfprune.training.cluster import Worker
from tfprune.training.strategies import Distribution, mirrored_devices

# NCCL sums these; integers it does not, on GPUs.
SUMMED_ON_GPUS = {tf.float16, tf.bfloat16, tf.float32, tf.float64}


@pytest.fixture(scope="module")
def chief():
    """The chief of two processes, as far as it can see them."""
    strategy = tf.distribute.MirroredStrategy(mirrored_devices()[:1])
    return Distribution(strategy, Worker(index=0, num_workers=2))


@pytest.fixture
def summed(monkeypatch):
    """The dtypes of all that was reduced."""
    seen = set()
    reduce = tf.distribute.Strategy.reduce

    def noting(self, op, value, axis):
        seen.update(tensor.dtype for tensor in self.experimental_local_results(value))
        return reduce(self, op, value, axis)

    monkeypatch.setattr(tf.distribute.Strategy, "reduce", noting)
    return seen


@pytest.mark.parametrize("value", [0, "", "odd", [None, 1.5, {"a": "Größe"}], ["x" * 70_000]])
def test_the_chief_tells_anything_that_json_holds(chief, summed, value):
    assert chief.from_chief(value) == value
    assert summed <= SUMMED_ON_GPUS


def test_the_chiefs_arrays_arrive_bit_for_bit(chief, summed):
    arrays = {
        "float32": np.array([[-0.0, np.nan, np.inf], [1e-45, 1 / 3, -1e38]], np.float32),
        "float64": np.array([np.pi, 5e-324]),
        "bfloat16": tf.constant([1.0, 3.14], tf.bfloat16).numpy(),
        "int64": np.array([2**62 + 1, -1]),
        "uint8": np.array([0, 255, 7], np.uint8),  # Three bytes: half a number is left over.
        "bool": np.array(True),
        "none": np.zeros((0, 4), np.float32),
    }
    received = chief.arrays_from_chief(arrays)
    assert list(received) == list(arrays)
    for name, array in arrays.items():
        assert (received[name].dtype, received[name].shape) == (array.dtype, array.shape)
        assert received[name].tobytes() == array.tobytes()
    assert summed <= SUMMED_ON_GPUS
