"""The digest of the code that makes numbers: the same wherever that code is the same."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tfprune
from tfprune import __main__ as door
from tfprune import versions

PACKAGE = Path(tfprune.__file__).parent


@pytest.fixture
def copy(tmp_path):
    """The package's source somewhere else."""
    shutil.copytree(PACKAGE, tmp_path / "tfprune", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def code_of(root, *options):
    """The digest that a fresh process finds for the package in this folder."""
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from tfprune import versions; print(versions.versions()['code'], versions.__file__)"
    )
    process = subprocess.run(
        [sys.executable, *options, "-c", program], cwd=root, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    code, file = process.stdout.split()
    assert file.startswith(str(root))
    return code


def test_comments_docstrings_and_empty_lines_do_not_count(copy):
    path = copy / "tfprune" / "seeds.py"
    text = path.read_text()
    path.write_text("# A comment.\n\n" + text.replace('"""', '"""Other words. ', 1))
    assert code_of(copy) == versions.versions()["code"]


@pytest.mark.parametrize(
    "name", ["pruning/criteria.py", "config.py", "catalog.py", "studies/settings.py", "seeds.py"]
)
def test_a_changed_line_counts(copy, name):
    path = copy / "tfprune" / name
    path.write_text(path.read_text() + "\nTWO = 2\n")
    assert code_of(copy) != versions.versions()["code"]


def test_line_ends_and_the_locale_do_not_count(copy):
    path = copy / "tfprune" / "seeds.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert code_of(copy, "-X", "utf8=0") == versions.versions()["code"]


@pytest.mark.parametrize("name", ["engine/progress.py", "pages/report.py", "claims.py"])
def test_what_makes_no_numbers_does_not_count(copy, name):
    path = copy / "tfprune" / name
    path.write_text(path.read_text() + "\nTWO = 2\n")
    assert code_of(copy) == versions.versions()["code"]


def other_pythons():
    found = [shutil.which(f"python3.{minor}") for minor in (10, 11, 12)]
    mine = f"python3.{sys.version_info.minor}"
    return [path for path in found if path and not path.endswith(mine)]


@pytest.mark.skipif(not other_pythons(), reason="no other Python here")
def test_other_versions_of_python_find_the_same_code():
    source = (PACKAGE / "versions.py").read_text()
    program = f"import sys; __file__ = sys.argv[1]\n{source}\nprint(_code())"
    program = program.replace("from __future__ import annotations\n", "")
    for python in other_pythons():
        process = subprocess.run(
            [python, "-c", program, str(PACKAGE / "versions.py")],
            cwd=PACKAGE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:  # It is there, but cannot run.
            pytest.skip(process.stderr.splitlines()[-1])
        assert process.stdout.strip() == versions.versions()["code"]


def test_differences_are_told_in_words_and_python_itself_is_none():
    theirs = {"python": "3.10.1", "code": "a", "numpy": "2.1.0"}
    ours = {"python": "3.12.0", "code": "a", "numpy": "2.2.0", "scipy": "1"}
    assert versions.differences(theirs, ours) == [
        "numpy 2.1.0, now 2.2.0",
        "scipy absent, now 1",
    ]
    assert versions.differences(theirs, theirs) == []


def test_versions_name_what_makes_numbers():
    found = versions.versions()
    assert {"python", "code", "tensorflow", "tf_keras", "numpy"} <= set(found)
    assert re.fullmatch("[0-9a-f]{12}", found["code"])


def test_the_version_stands_in_one_place():
    """What is built takes it from there, without importing the package's dependencies."""
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: tfprune._version.__version__"
    assert versions.versions()["tfprune"] == tfprune.__version__


@pytest.mark.parametrize(
    "words", [["--version"], ["redense", "--version"], ["report", "--version"]], ids=" ".join
)
def test_every_door_says_the_version(words, capsys):
    assert door.dispatch(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"tfprune {tfprune.__version__}"
    assert f"  code {versions.versions()['code']}" in lines
