"""What the documentation tells people to type is there to be typed."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import run as door
from experiments import cli
from experiments.registry import EXPERIMENTS

ROOT = Path(door.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page):
    """Every `python run.py ...` of a page's code, comments and line breaks removed."""
    text = page.read_text().replace("\\\n", " ")
    code = "\n".join(
        re.findall(r"```bash\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text)
    )
    return [
        shlex.split(c, comments=True)[2:] for c in re.findall(r"^ *(python run\.py.*)$", code, re.M)
    ]


ALL = [(page.name, words) for page in PAGES for words in commands(page)]


def test_there_are_commands_to_check():
    assert len(ALL) > 5


@pytest.mark.parametrize(("page", "words"), ALL, ids=lambda value: " ".join(value))
def test_every_command_of_a_page_is_valid(page, words):
    if words[:1] == ["report"] or words == ["--list"] or words == []:
        return
    assert words[0] in EXPERIMENTS, (page, words)
    experiment = importlib.import_module(f"experiments.{words[0]}").EXPERIMENT
    cli.parse(experiment, words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_image_of_a_page_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_readmes_own_script_runs_and_its_comments_are_true(tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip().startswith("0.48")
    assert (tmp_path / "sparse.keras").exists()


def test_the_readme_lists_every_experiment():
    text = (ROOT / "README.md").read_text()
    assert all(f"| `{name}` |" in text for name in EXPERIMENTS)
