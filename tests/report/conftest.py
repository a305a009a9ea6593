"""Folders of SDD's studies."""

from functools import partial

import pytest
import sdd


@pytest.fixture
def make_folder(tmp_path):
    """`sdd.make` in the test's own folder."""
    return partial(sdd.make, tmp_path)


@pytest.fixture
def make_branches(tmp_path):
    """`sdd.make_branches` in the test's own folder."""
    return partial(sdd.make_branches, tmp_path)
