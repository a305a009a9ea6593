"""Which networks tests build: those of the same blocks as a shallower one wait for `test-slow`."""

import pytest

from tfprune.catalog import MODELS

DEEPER = ("resnet32", "resnet56", "resnet101")


def case(name, *values):
    """A pytest parameter set of a network."""
    return pytest.param(name, *values, marks=pytest.mark.slow if name in DEEPER else ())


EVERY_MODEL = [case(name) for name in MODELS]
