"""What is installed: the package alone, with its presets, and a command that runs."""

import configparser
import fnmatch
import io
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import tfprune
from tfprune import __main__ as door
from tfprune.experiments.command import PRESETS
from tfprune.experiments.doors import EXPERIMENTS

ROOT = Path(tfprune.__file__).parents[1]
PACKAGE = ROOT / "tfprune"


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def data_files():
    """What of the package is not Python, by its path in the repository."""
    files = (file for file in PACKAGE.rglob("*") if file.is_file())
    return {
        file.relative_to(ROOT).as_posix()
        for file in files
        if file.suffix != ".py" and "__pycache__" not in file.parts
    }


def test_every_file_of_the_package_that_is_not_python_is_named_to_be_installed():
    patterns = [text.strip() for text in setup()["options.package_data"]["*"].split(",")]
    assert not {
        file
        for file in data_files()
        if not any(fnmatch.fnmatch(Path(file).name, pattern) for pattern in patterns)
    }


def test_nothing_but_the_package_is_installed():
    options = setup()
    assert options["options.packages.find"]["include"].split() == ["tfprune", "tfprune.*"]
    assert "py_modules" not in options["options"]
    assert options["options.entry_points"]["console_scripts"].split("=")[-1].strip() == (
        "tfprune.__main__:main"
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_checkout_has_a_door_to_every_experiment(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["door", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"experiments.{name}", run_name="__main__")
    assert ended.value.code == 0
    assert f"usage: python run.py {name} " in capsys.readouterr().out


# ---------------------------------------------------------------- built and installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that a copy of the checkout makes, without the network."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "run.py"):
        shutil.copy(ROOT / name, copy)
    for name in ("tfprune", "experiments"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "-w", copy / "dist", copy], check=True)
    (found,) = (copy / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel in it, and this one's packages behind it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    # Its own .pth files, of checkouts for example, do not count there.
    (packages / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin/python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-index", "--force-reinstall", wheel], check=True)
    return folder / "bin"


def said(*command, cwd):
    """What a command prints, run outside the checkout."""
    words = list(map(str, command))
    return subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_a_wheel_has_the_package_its_presets_and_nothing_else(wheel):
    names = zipfile.ZipFile(io.BytesIO(wheel.read_bytes())).namelist()
    modules = {file.relative_to(ROOT).as_posix() for file in PACKAGE.rglob("*.py")}
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert set(names) - metadata == modules | data_files()
    assert wheel.name.startswith(f"tfprune-{tfprune.__version__}-")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["run", "experiments"])
def test_an_installation_has_no_module_of_the_checkouts_top(installed, module, tmp_path):
    program = f"import importlib.util as u; print(u.find_spec({module!r}))"
    assert said(installed / "python", "-c", program, cwd=tmp_path) == "None\n"


@pytest.mark.slow
def test_an_installation_lists_helps_and_runs(installed, tmp_path, capsys):
    where = said(installed / "python", "-c", "import tfprune; print(tfprune)", cwd=tmp_path)
    assert str(installed.parent) in where
    assert door.dispatch(["--list"]) == 0
    assert said(installed / "tfprune", "--list", cwd=tmp_path) == capsys.readouterr().out
    version = said(installed / "tfprune", "--version", cwd=tmp_path).splitlines()[0]
    assert version == f"tfprune {tfprune.__version__}"
    help_text = said(installed / "tfprune", "redense", "--help", cwd=tmp_path)
    assert "usage: tfprune redense " in help_text
    assert all(preset.stem in help_text for preset in (PRESETS / "redense").glob("*.flags"))
    short = ("--preset=smoke", "--levels=1", "--train_epochs=2", "--seeds=0", "--jit=off")
    text = said(installed / "tfprune", "sparse_double_descent", *short, cwd=tmp_path)
    assert "2 stages trained" in text
    page = (tmp_path / "runs/sparse_double_descent/report.html").read_text()
    assert "tfprune sparse_double_descent --preset=smoke" in page
