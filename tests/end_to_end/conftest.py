"""A small study that several processes share, and what one process makes of it."""

import pytest

from end_to_end.commands import SHARED, run


@pytest.fixture(scope="session")
def inline(tmp_path_factory):
    """What one process makes: (its folder, its exit code and text)."""
    folder = tmp_path_factory.mktemp("inline")
    finished = run(*SHARED, f"--output_dir={folder}")
    assert finished.returncode == 0, finished.stderr
    return folder, finished
