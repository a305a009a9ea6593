"""What processes tell each other travels in numbers that every device can sum, bit for bit."""

import numpy as np
import pytest
from synthetic import prepared_data, softmax_regression

from tfprune.backend import tf
from tfprune.pruning.weights import read_weights, write_weights
from tfprune.training.cluster import Worker
from tfprune.training.distributed import DistributedProgram
from tfprune.training.epoch_program import Feeding
from tfprune.training.optimizers import SGD
from tfprune.training.resident import ResidentProgram
from tfprune.training.schedules import fixed
from tfprune.training.strategies import Distribution, mirrored_devices

DATA = prepared_data(examples=11)
# NCCL sums these; integers it does not, on GPUs.
SUMMED_ON_GPUS = {tf.float16, tf.bfloat16, tf.float32, tf.float64}


@pytest.fixture(scope="module")
def chief():
    """The chief of two processes, as far as it can see them."""
    strategy = tf.distribute.MirroredStrategy(mirrored_devices()[:1])
    return Distribution(strategy, Worker(index=0, num_workers=2))


@pytest.fixture
def summed(monkeypatch):
    """The dtypes of all that replicas reduced or gathered."""
    seen = set()
    reduce, gather = tf.distribute.Strategy.reduce, tf.distribute.Strategy.gather

    def note(strategy, value):
        seen.update(tensor.dtype for tensor in strategy.experimental_local_results(value))

    def noting_reduce(self, op, value, axis):
        note(self, value)
        return reduce(self, op, value, axis)

    def noting_gather(self, value, axis):
        note(self, value)
        return gather(self, value, axis)

    monkeypatch.setattr(tf.distribute.Strategy, "reduce", noting_reduce)
    monkeypatch.setattr(tf.distribute.Strategy, "gather", noting_gather)
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


def test_an_epoch_exchanges_what_gpus_can_and_measures_as_one_device_does(chief, summed):
    alone, shared = softmax_regression(DATA), softmax_regression(DATA)
    for model in (alone, shared):
        model.compile(SGD(0.25))
        write_weights(model, read_weights(alone))
    programs = (
        ResidentProgram(alone, 4, jit=False),
        DistributedProgram(shared, 4, Distribution(chief.strategy)),
    )
    rows = []
    for program in programs:
        program.attach(DATA, Feeding(0, 0, fixed(0.25)))
        rows.append({name: float(value) for name, value in program.run(0).items()})
    assert summed
    assert summed <= SUMMED_ON_GPUS
    assert rows[0] == pytest.approx(rows[1], abs=1e-6, nan_ok=True)
