"""Files about the project say what is true of it."""

import re
from pathlib import Path

import pytest
import yaml

import tfprune

ROOT = Path(tfprune.__file__).parents[1]
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()


def test_the_citation_is_of_this_version_and_names_every_paper():
    """What the Citation File Format 1.2.0 asks for, and what of it has to follow the version."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == tfprune.__version__
    papers = (ROOT / "docs/citing.md").read_text()
    titles = re.findall(r"^  title\s*= \{(.*)\},$", papers, re.MULTILINE)
    assert [paper["title"] for paper in citation["references"]] == titles


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == tfprune.__version__


@pytest.mark.parametrize("text", [WORKFLOW, (ROOT / ".ci/run").read_text()], ids=["github", "ci"])
def test_what_is_made_by_others_is_a_target(text):
    made = set(re.findall(r"^(?:\s+- run: )?make ([\w-]+)", text, re.MULTILINE))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made
    assert made <= targets


def test_every_night_runs_everything_and_every_push_the_fast_tests():
    jobs = yaml.safe_load(WORKFLOW)["jobs"]
    run = {name: [step.get("run") for step in job["steps"]] for name, job in jobs.items()}
    assert ".ci/run" in run["nightly"]
    assert "make lint" in run["lint"]
    assert any("make test" in (command or "") for command in run["test"])


def test_a_commit_is_held_to_what_make_lint_is():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    tools = [line.split("/")[1].removesuffix(" .").replace(" --check", "") for line in
             lint.splitlines()]  # fmt: skip
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in hooks]
    assert [entry.removesuffix(" --force-exclude") for entry in entries] == tools
