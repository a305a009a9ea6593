"""Errors of the library name arguments and settings; the command line spells them as its flags."""

import ast
import pickle
import re
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

import tfprune
from tfprune import __main__ as door
from tfprune.config import from_settings
from tfprune.data import label_noise
from tfprune.errors import SettingError, arguments_from
from tfprune.experiments import cli
from tfprune.experiments.command import Experiment, with_flags
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.measures.landscape import alpha_grid
from tfprune.measures.plane import grid_axes
from tfprune.pruning.filter_schedule import FilterSchedule
from tfprune.pruning.masks import Masks
from tfprune.pruning.selection import prune, prune_to_sparsity
from tfprune.settings import Section, join, settings_of

PACKAGE = Path(tfprune.__file__).parent
# The library: what has flags is the command line.
COMMAND_LINE = {PACKAGE / "__main__.py", *(PACKAGE / "experiments").rglob("*.py")}
SOURCES = sorted(set(PACKAGE.rglob("*.py")) - COMMAND_LINE)
MASKS = Masks.dense({"a": (4,)})
SCORES = {"a": np.arange(4.0)}


def experiments():
    return [EXPERIMENTS[name] for name in EXPERIMENTS]


# ---------------------------------------------------------------- what a setting refuses
def bad_value(section: type[Section], name: str):
    """Some value that the setting does not allow; None if it allows all that are tried."""
    kind = get_type_hints(section)[name]
    (element, *_) = get_args(kind) or (kind,)
    tried = {bool: [], int: [-1, 0, 2**70], float: [-1.0, 0.0, 1e9], str: ["bogus", "x:"]}
    for value in tried[element]:
        given = value if element is kind else (value,)
        try:
            section(**{name: given})
        except SettingError as error:
            if str(error).startswith(f"{name}={value}: "):
                return given
    return None


REFUSED = {
    (name, bad_value(section, name)): experiment.name
    for experiment in experiments()
    for section in experiment.sections.values()
    for name in settings_of(section)
    if bad_value(section, name) is not None
}


def test_most_settings_refuse_something():
    assert len(REFUSED) > 60


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_refused_setting_is_named_as_an_argument_in_python_and_as_a_flag_by_its_command(
    name, value, capsys
):
    text = join(value) if isinstance(value, tuple) else value
    argv = [REFUSED[name, value], f"--{name}={text}"]
    assert cli.exit_code(lambda: door.dispatch(argv)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tfprune: error: --{name}={text}: ")
    assert said.count("\n") == 1
    assert "`" not in said


# ---------------------------------------------------------------- what functions refuse
@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: alpha_grid(step=0.3), "step=0.3"),
        (lambda: grid_axes([[0, 0], [1, 1]], points=1), "points=1"),
        (lambda: grid_axes([[0, 0], [1, 1]], margin=-1), "margin=-1"),
        (lambda: FilterSchedule("a", start=0, end=1, period=0, fraction=0.5), "period=0"),
        (lambda: FilterSchedule("a", start=2, end=1, period=1, fraction=0.5), "end=1"),
        (lambda: FilterSchedule("a", start=0, end=1, period=1, fraction=1), "fraction=1"),
        (lambda: prune(SCORES, MASKS, fraction=2, scope="global"), "fraction=2"),
        (lambda: prune(SCORES, MASKS, fraction=0.5, scope="all"), "scope=all"),
        (lambda: prune_to_sparsity(SCORES, MASKS, sparsity=-1, scope="global"), "sparsity=-1"),
        (
            lambda: label_noise.apply("none", np.zeros(2), 2, 0.5, np.random.default_rng(0), "x"),
            "fraction=0.5",
        ),
        (lambda: from_settings({"levels": -1}), "levels=-1"),
        (lambda: from_settings({"lr_decay": "cosine", "lr_drop_epochs": (3,)}), "lr_drop_epochs=3"),
        (lambda: tfprune.MEASURES["top_eigenpairs"](np.eye(3), k=0), "k=0"),
    ],
)
def test_a_function_names_the_argument_it_refuses_without_dashes(call, named):
    with pytest.raises(SettingError) as error:
        call()
    assert str(error.value).startswith(f"{named}: ")
    assert "--" not in str(error.value)


def constants(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]


def texts_of(tree):
    """Every text of a module, a formatted one as it is written."""
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in formatted for part in constants(node)}
    whole = [node.value for node in constants(tree) if id(node) not in parts]
    return [ast.unparse(node) for node in formatted] + [t for t in whole if isinstance(t, str)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_library_names_no_flag_but_in_whole_commands(path):
    """XLA's flags and TensorBoard's are not the suite's."""
    for text in texts_of(ast.parse(path.read_text())):
        flags = re.findall(r"(?<![\w-])--[a-z_]{2,}", text)
        others = ("--logdir", "--tf_xla", "--xla")
        assert re.search(r"run\.py|program\(\)|__main__ import main", text) or all(
            flag.startswith(others) for flag in flags
        ), text


def test_an_error_names_an_argument_of_its_function_or_a_setting():
    settings = {name for one in experiments() for name in one.flags}
    for path in SOURCES:
        for name, arguments in named_in(ast.parse(path.read_text()), frozenset()):
            assert name in settings | arguments | {"results column"}, f"{path}: {name}"


def named_in(node, arguments):
    """What errors name below a node, each with the arguments and attributes around it."""
    if isinstance(node, ast.FunctionDef):
        arguments |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    if isinstance(node, ast.ClassDef):
        arguments |= {s.target.id for s in node.body if isinstance(s, ast.AnnAssign)}
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
        "SettingError",
        "unknown_name",
    ):
        for part in constants(node.args[0]):
            yield part.value, arguments
    for child in ast.iter_child_nodes(node):
        yield from named_in(child, arguments)


# ---------------------------------------------------------------- the mechanism
def test_only_flags_of_the_command_in_backquotes_are_spelled_as_such():
    text = "`k=0` of `tfds build x`, `levels`, `criterion=snip` and lr_decay=cosine"
    assert with_flags(text, {"levels", "criterion", "lr_decay", "tfds"}) == (
        "`k=0` of `tfds build x`, --levels, --criterion=snip and lr_decay=cosine"
    )


def test_an_experiment_has_a_flag_for_every_setting_that_its_help_shows(capsys):
    for experiment in experiments():
        cli.parse(experiment, ["--help"])
        shown = re.findall(r"^  --(\w+)=", capsys.readouterr().out, re.MULTILINE)
        assert isinstance(experiment, Experiment)
        assert sorted(shown) == sorted(experiment.flags)


def test_help_names_flags(capsys):
    cli.parse(experiments()[0], ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the learning rate drops after --lr_drop_epochs" in shown
    assert "`" not in shown


def test_arguments_are_renamed_to_the_settings_they_came_from_and_others_are_not():
    with (
        pytest.raises(SettingError, match=r"^prune_fraction=2: a number"),
        arguments_from(fraction="prune_fraction"),
    ):
        prune(SCORES, MASKS, 2, "global")
    with (
        pytest.raises(SettingError, match=r"^scope=all"),
        arguments_from(fraction="prune_fraction"),
    ):
        prune(SCORES, MASKS, 0.5, "all")


def test_an_error_that_comes_from_another_process_says_the_same():
    error = pickle.loads(pickle.dumps(SettingError("k", 0, "at least 1")))
    assert (str(error), error.marked()) == ("k=0: at least 1", "`k=0`: at least 1")
