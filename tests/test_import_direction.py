"""Data flows one way through the folders: no module imports one that stands above it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up; a module stands where its longest prefix does. Imports that are only for
# types count as well.
FLOORS = (
    "tfprune._version tfprune.backend tfprune.door tfprune.errors tfprune.layout "
    "tfprune.registry tfprune.seeds tfprune.stopping tfprune.versions",
    "tfprune.catalog tfprune.files tfprune.settings",
    "tfprune.claims tfprune.optimizers tfprune.precision",
    "tfprune.event_folders tfprune.store",
    "tfprune.data.settings tfprune.models.settings tfprune.pruning.settings "
    "tfprune.training.schedules tfprune.training.settings",
    "tfprune.config",
    "tfprune.data",
    "tfprune.models",
    "tfprune.pruning",
    "tfprune.measures",
    "tfprune.training",
    "tfprune.studies",
    "tfprune.report",
    "tfprune.papers",
    "tfprune.pages",
    "tfprune.engine",
    "tfprune.experiments.sweeps tfprune.experiments.command tfprune.experiments.doors",
    "tfprune.experiments.dry_run",
    "tfprune.experiments.runner",
    "tfprune.experiments.cli",
    "tfprune.experiments",
    "tfprune.__main__",
    "experiments run",
    "tfprune",  # It names what the packages offer, and imports it when it is asked for.
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}


def modules():
    """Every module's name and file."""
    files = [
        ROOT / "run.py",
        *(ROOT / "tfprune").rglob("*.py"),
        *(ROOT / "experiments").glob("*.py"),
    ]
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


def floor_of(module):
    parts = module.split(".")
    while ".".join(parts) not in FLOOR_OF:
        parts.pop()
    return FLOOR_OF[".".join(parts)]


def imports_of(file, known):
    """The modules of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in whole]
        else:
            continue
        yield from (name for name in names if name in known)


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_module_imports_one_that_stands_above_it(module):
    known = modules()
    above = {name for name in imports_of(known[module], known) if floor_of(name) > floor_of(module)}
    assert not above


def test_every_module_has_a_floor_and_every_floor_a_module():
    known = modules()
    assert all(floor_of(module) < len(FLOORS) - 1 for module in known if module != "tfprune")
    assert all(any(m == name or m.startswith(f"{name}.") for m in known) for name in FLOOR_OF)


def test_an_import_from_above_is_found(tmp_path):
    file = tmp_path / "low.py"
    file.write_text(
        "def f():\n    from tfprune import config\n    from tfprune.engine import work\n"
    )
    found = set(imports_of(file, modules()))
    assert found == {"tfprune.config", "tfprune.engine.work"}
    assert floor_of("tfprune.engine.work") > floor_of("tfprune.studies.small")
