"""An experiment of one's own, with its measure, its figure and its table: three files, two lines.

The files are those of docs/your_own.md, "Your own experiment".
"""

import csv
import re
from pathlib import Path

import pytest

from end_to_end.commands import ROOT, assert_complete, run
from tfprune import papers, registry
from tfprune.experiments import command
from tfprune.experiments.doors import EXPERIMENTS

NAME = "live_inputs"
PAGE = (ROOT / "docs/your_own.md").read_text()
FLAGS = ("--levels=2", "--train_epochs=2", "--seeds=0,1", "--jit=off")


def file_of(name):
    """A block of the page that begins with a file's name."""
    return re.search(rf"```\w+\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The page's files in folders that stand for the repository's, and its two lines."""
    for name in (f"tfprune/experiments/{NAME}.py", f"tfprune/papers/{NAME}.py"):
        (tmp_path / f"own_{Path(name).parts[-2]}.py").write_text(file_of(name))
    preset = tmp_path / "presets" / NAME / "quick.flags"
    preset.parent.mkdir(parents=True)
    preset.write_text(file_of(f"tfprune/experiments/presets/{NAME}/quick.flags"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(command, "PRESETS", tmp_path / "presets")
    for table in (EXPERIMENTS, papers.REPORTS):
        monkeypatch.setattr(table, "_entries", dict(table._entries))
    EXPERIMENTS.add(NAME, "own_experiments:EXPERIMENT", "inputs that still have a weight")
    papers.REPORTS.add(NAME, "own_papers:LIVE_INPUTS", "")


def test_it_runs_with_its_own_column_figure_and_table(added, tmp_path):
    folder = tmp_path / "out"
    process = run(NAME, *FLAGS, f"--output_dir={folder}")
    assert_complete(process, folder, NAME)
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    dense = [float(row["live_inputs"]) for row in rows if row["level"] == "0"]
    assert len(rows) == 6
    assert dense == [1.0, 1.0]
    assert all(0 < float(row["live_inputs"]) <= 1 for row in rows)
    assert (folder / f"figures/{NAME}_shares.png").exists()
    assert (folder / f"tables/{NAME}_shares.csv").exists()
    assert "Inputs that still have a weight" in (folder / "report.html").read_text()
    assert "inputs that still have a weight" in run("--list").stdout


def test_the_page_names_five_files():
    assert len(set(re.findall(r"^\| `([\w/.]+)` \|", PAGE, re.MULTILINE))) == 5
    assert registry.load("tfprune.papers:REPORTS") is papers.REPORTS
