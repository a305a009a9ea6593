"""What all tests share: quiet TensorFlow, seeded draws, no test file that changes another."""

import functools
import gc
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tfprune.training import command_buffers, compilation_cache

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests, and the processes that they start, compile the same programs over and over: all of one test
# run share what XLA made of them, and no other run does.
CACHE = None if "PYTEST_XDIST_WORKER" in os.environ else tempfile.mkdtemp(prefix="tfprune-tests-")
if CACHE:  # Workers inherit it.
    os.environ.update(command_buffers.environment(os.environ))
    os.environ.update(compilation_cache.environment(CACHE))
# Models are built by the thousand, and little of it is garbage: to look for it a tenth as often as
# Python does takes a tenth off the whole.
gc.set_threshold(7_000)


def pytest_collection_finish(session):
    """What was imported stays to the end."""
    gc.freeze()


# What is worth running on a GPU, by file or folder: `make test-gpu`.
ON_A_GPU = (
    "gpu",
    "test_precision.py",
    "end_to_end/test_scale.py",
    "measures/test_curvature.py",
    "measures/test_el2n.py",
    "pruning/test_criteria.py",
    "pruning/test_model.py",
    "pruning/test_shrink.py",
    "training/test_collectives.py",
    "training/test_compilation_cache.py",
    "training/test_every_optimizer.py",
    "training/test_mixed_precision.py",
    "training/test_resident.py",
    "training/test_streamed.py",
)


def pytest_collection_modifyitems(items):
    files = [Path(__file__).parent / name for name in ON_A_GPU]
    if gone := [str(file) for file in files if not file.exists()]:
        raise pytest.UsageError(f"ON_A_GPU names what is not there: {', '.join(gone)}")

    @functools.cache
    def is_on_a_gpu(path):
        return any(path == file or file in path.parents for file in files)

    for item in items:
        if is_on_a_gpu(item.path):
            item.add_marker("gpu")


def pytest_unconfigure(config):
    if CACHE:
        shutil.rmtree(CACHE, ignore_errors=True)


def pytest_runtest_setup(item):
    """Keras's own initializers draw the same numbers in every run, before any fixture draws.

    They take their seeds from Python's `random`, or from a generator that an earlier test of the
    same process may have left behind; `set_random_seed` resets both, and TensorFlow's seed.
    """
    random.seed(0)
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].utils.set_random_seed(0)
    if "tensorflow" in sys.modules:
        # What a test multiplies itself is what it compares with; runs start so as well.
        sys.modules["tensorflow"].config.experimental.enable_tensor_float_32_execution(False)


@pytest.fixture(scope="module")
def compiled_once():
    """For files whose commands, in this process, train one network: it is compiled once."""
    from end_to_end.commands import networks_kept

    with networks_kept():
        yield


@pytest.fixture(autouse=True, scope="module")
def _determinism_ends_with_its_file():
    """Runs turn deterministic kernels on for the process; some programs have none."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        config.disable_op_determinism()
