"""Which networks every test of networks builds: the deep ones wait for `test-slow`.

Their blocks are those of shallower ones, or bottlenecks, made of the same layers.
"""

import pytest

from tfprune.catalog import MODELS

DEEPER = ("resnet32", "resnet50", "resnet56", "resnet101")


def case(name, *values):
    """A pytest parameter set of a network."""
    return pytest.param(name, *values, marks=pytest.mark.slow if name in DEEPER else ())


EVERY_MODEL = [case(name) for name in MODELS]
