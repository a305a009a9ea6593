"""What all tests share: quiet TensorFlow, seeded draws, no test file that changes another."""

import os
import random
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_runtest_setup(item):
    """Keras's own initializers draw the same numbers in every run, before any fixture draws.

    They take their seeds from Python's `random`, or from a generator that an earlier test of the
    same process may have left behind; `set_random_seed` resets both, and TensorFlow's seed.
    """
    random.seed(0)
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _determinism_ends_with_its_file():
    """Runs turn deterministic kernels on for the process; some programs have none."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()
