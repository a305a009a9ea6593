"""docs/tour.ipynb runs from its first cell to its last, and is stored as it should be."""

import json
import os
import sys
from pathlib import Path

import pytest

from tfprune import __main__ as door
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.store import read_results

ROOT = Path(door.__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tour.ipynb"
DRAWN = ["sdd", "peg", "gst"]
EXPERIMENTS_RUN = ["sparse_double_descent", "pruning_effect", "generalization_stability"]


def cells(notebook):
    return {cell["id"]: cell for cell in notebook["cells"]}


def pictures(cell):
    return [o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})]


def test_it_is_stored_with_its_three_figures_and_is_small():
    stored = cells(json.loads(NOTEBOOK.read_text()))
    assert NOTEBOOK.stat().st_size < 300_000
    assert all(len(pictures(stored[name])) == 1 for name in DRAWN)
    others = [cell for name, cell in stored.items() if name not in DRAWN]
    assert not any(pictures(cell) for cell in others if "outputs" in cell)


def test_what_is_stored_names_no_machine_and_no_error():
    text = NOTEBOOK.read_text()
    assert "/home/" not in text
    assert "/tmp/" not in text
    assert '"output_type": "error"' not in text


def test_its_parameters_are_one_cell_and_it_runs_registered_experiments():
    stored = cells(json.loads(NOTEBOOK.read_text()))
    assert stored["parameters"]["metadata"]["tags"] == ["parameters"]
    assert all(f'["{name}"' in "".join(stored["run"]["source"]) for name in EXPERIMENTS_RUN)
    assert set(EXPERIMENTS_RUN) <= set(EXPERIMENTS)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook at smoke size, and the folder it filled."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    folder = tmp_path_factory.mktemp("tour")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells(notebook)["parameters"]["source"] = f"FOLDER = {str(folder)!r}\nPRESET = 'smoke'"
    paths = [str(ROOT), *filter(None, sys.path)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    environment.pop("MPLBACKEND", None)  # It would win over the kernel's own.
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return folder, cells(notebook)


@pytest.mark.slow
def test_it_fills_its_folder_and_shows_what_is_there(executed):
    folder, found = executed
    assert sorted(read_results(folder)["experiment"].unique()) == sorted(EXPERIMENTS_RUN)
    (output,) = found["table"]["outputs"]
    assert all(name in output["data"]["text/html"] for name in EXPERIMENTS_RUN)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_it_draws_a_figure_of_each_paper(executed, name):
    _, found = executed
    assert len(pictures(found[name])) == 1
    assert not [o for o in found[name]["outputs"] if o["output_type"] == "stream"], "a warning"
