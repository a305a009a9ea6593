"""What the documentation tells people to type is there to be typed, and runs.

The rule for `python run.py ...` on README.md, BUILD.md and every page of docs/:

- Its flags and their values are checked as the command itself checks them.
- It is of *paper size*, and not run, if its preset is called `paper...` or the sentence it stands
  in or after says "paper size".
- Every other command is run once at smoke size: with the preset `smoke` for `quick`, without the
  flags that only make it longer, on one machine. Without further flags that is what
  tests/end_to_end does for the experiments and presets it names; what is left is run here.

The Python of docs/your_own.md and of docs/resuming.md runs as one session each, its commands in
between, and what it says beside a `print` is what is printed. What docs/journey.md names is there.
"""

import ast
import functools
import importlib
import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from devices import WITHOUT_GPUS
from end_to_end.commands import figures_unpainted

from experiments import index
from tfprune import __main__ as door
from tfprune import layout
from tfprune.engine.costs import NETWORKS
from tfprune.experiments import cli, runner
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.models.settings import ModelConfig
from tfprune.store import read_results

ROOT = Path(door.__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *sorted((ROOT / "docs").rglob("*.md"))]
END_TO_END = "\n".join(path.read_text() for path in (ROOT / "tests/end_to_end").glob("test_*.py"))

# Flags that make a command longer or larger, or say on which machines: smoke has its own.
SIZES = {
    "output_dir", "dataset", "data_dir", "train_subset", "train_epochs", "lr_drop_epochs", "levels",
    "sparsities", "seeds", "width", "snapshot_every", "ablation_subsets", "ablation_examples",
    "plane_points", "plane_examples", "flatness_examples", "eigenvalues", "trace_probes",
    "perturbed_eigenvectors", "prune_starts", "prune_ends", "workers", "executor", "ray_address",
    "ray_cpus", "ray_gpus", "verbosity",
}  # fmt: skip
SMALL = ["--levels=2", "--train_epochs=2", "--lr_drop_epochs=", "--seeds=0"]


def fences(text):
    """(language, code, where it begins, where it ends) of every code block."""
    return [
        (m[1], m[2], m.start(), m.end())
        for m in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


def commands(page):
    """(words, sentence) of every `python run.py ...` of a page, without `python run.py`.

    The sentence is the line of a table, else the paragraph that it stands in or after.
    """
    text = page.read_text()
    prose, found = list(text), []
    for language, code, begin, end in fences(text):
        before = text[:begin].rstrip().rpartition("\n\n")[2]
        prose[begin:end] = " " * (end - begin)
        if language == "bash":
            lines = code.replace("\\\n", " ").splitlines()
            found += [(line.strip(), before) for line in lines]
    for paragraph in "".join(prose).split("\n\n"):
        rows = paragraph.splitlines() if paragraph.lstrip().startswith("|") else [paragraph]
        found += [(code, row) for row in rows for code in re.findall(r"`([^`\n]+)`", row)]
    return [
        (shlex.split(code, comments=True)[2:], sentence)
        for code, sentence in found
        if code.startswith("python run.py")
    ]


def is_paper_size(words, sentence):
    """See the module's docstring."""
    return preset_of(words).startswith("paper") or "paper size" in " ".join(sentence.split())


def preset_of(words):
    return dict(map(flag, words[1:])).get("preset", "quick")


def flag(word):
    """('levels', '3') of --levels=3."""
    name, _, value = word.removeprefix("--").partition("=")
    return name, value


def at_smoke_size(words):
    """The same command, as small as it can be."""
    preset = preset_of(words)
    kept = [word for word in words[1:] if flag(word)[0] not in (*SIZES, "preset")]
    if preset in ("quick", "smoke"):
        return [words[0], "--preset=smoke", *kept]
    return [words[0], f"--preset={preset}", *kept, *SMALL]


def is_run_end_to_end(words):
    """Whether a command at smoke size is one that a test of tests/end_to_end runs."""
    plain = not set(words[2:]) - set(SMALL)
    preset = preset_of(words)
    named = preset == "smoke" or f'"{preset}"' in END_TO_END
    return plain and named and f'"{words[0]}"' in END_TO_END


ALL = [(page.name, words, about) for page in PAGES for words, about in commands(page)]
OF_EXPERIMENTS = [
    (words or [door.DEFAULT_EXPERIMENT], about)
    for _, words, about in ALL
    if words[:1] not in (["report"], ["--list"]) and "--help" not in words
]
# Every experiment is there, whether a page has its plain command or not.
SMOKE = [[name, "--preset=smoke"] for name in EXPERIMENTS] + [
    at_smoke_size(words) for words, about in OF_EXPERIMENTS if not is_paper_size(words, about)
]
WITHOUT_MNIST = pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR"), reason="TFDS_DATA_DIR names no prepared data"
)
READS_MNIST = (WITHOUT_MNIST, pytest.mark.slow)
TO_RUN = [
    pytest.param(words, marks=READS_MNIST if "--preset=datasets" in words else ())
    for words in dict.fromkeys(tuple(words) for words in SMOKE if not is_run_end_to_end(words))
]


def test_commands_are_found_in_blocks_sentences_and_tables_with_what_stands_around_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "At paper size:\n\n```bash\npython run.py a \\\n  --x=1  # one\nmake\n```\n\n"
        "Type `python run.py b`.\n\n"
        "| quick | `python run.py c` |\n| paper size | `python run.py d` |\n"
        "\n```\npython run.py not --bash\n```\n"
    )
    found = commands(page)
    assert [words for words, _ in found] == [["a", "--x=1"], ["b"], ["c"], ["d"]]
    assert [is_paper_size(*one) for one in found] == [True, False, False, True]


def test_at_smoke_size_a_command_keeps_what_it_is_about():
    words = ["redense", "--dataset=mnist", "--levels=13", "--criterion=snip", "--seeds=0-9"]
    assert at_smoke_size(words) == ["redense", "--preset=smoke", "--criterion=snip"]
    assert at_smoke_size(["redense", "--preset=criteria"])[1:3] == ["--preset=criteria", SMALL[0]]


def test_there_are_commands_to_check():
    assert len(OF_EXPERIMENTS) > 20
    assert any(is_paper_size(*one) for one in OF_EXPERIMENTS)


@pytest.mark.parametrize(("page", "words", "about"), ALL, ids=lambda value: " ".join(value)[:80])
def test_every_command_of_a_page_is_valid(page, words, about):
    if words[:1] == ["report"]:
        assert {flag(word)[0] for word in words[1:]} <= {"output_dir", "figure_format"}
    elif words not in ([], ["--list"]):
        assert words[0] in EXPERIMENTS, (page, words)
        cli.parse(EXPERIMENTS[words[0]], words[1:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, compiled_once):
    """One output folder for all commands: what they share is trained once."""
    return tmp_path_factory.mktemp("commands")


@pytest.mark.parametrize("words", TO_RUN, ids=" ".join)
def test_every_command_that_no_other_test_runs_runs_at_smoke_size(folder, words):
    # XLA takes longer to compile than these trainings take. Each would draw anew what all before it
    # have drawn.
    with mock.patch.object(runner, "show"):
        assert door.dispatch([*words, "--jit=off", f"--output_dir={folder}"]) == 0
    assert words[0] in set(read_results(folder)["experiment"])


def test_one_report_shows_what_these_commands_have_made(folder):
    names = set(read_results(folder)["experiment"])
    assert names >= {words.values[0][0] for words in TO_RUN if not words.marks}
    with figures_unpainted():
        assert door.dispatch(["report", f"--output_dir={folder}"]) == 0
    page = (folder / layout.REPORT).read_text()
    assert all(name in page for name in names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_image_of_a_page_is_there(page):
    text = page.read_text()
    for _, _, begin, end in reversed(fences(text)):
        text = text[:begin] + text[end:]
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target


def run_script(script, folder):
    """Runs a program in a folder, and returns the lines it prints; pages have a CPU's numbers."""
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **WITHOUT_GPUS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout.splitlines()


def test_the_readmes_own_script_runs_and_its_comments_are_true(tmp_path):
    (script,) = [
        code for kind, code, *_ in fences((ROOT / "README.md").read_text()) if kind == "python"
    ]
    assert run_script(script, tmp_path)[-1].startswith("0.48")
    assert (tmp_path / "sparse.keras").exists()


SAID = "SAID "


def said(match):
    """A line with a comment, after one that prints what the comment says."""
    statement, value = match.groups()
    return f"print({SAID + value.partition(':')[0]!r})\n{statement}"


def session(text):
    """The blocks of a page as one program.

    Python runs as it stands, but a block that begins with a file's name becomes that file. What a
    comment beside a `print` says is printed before it, after `SAID`. A command of `run.py` runs in
    the same session, one of another file in a process of its own.
    """
    parts = ["import pathlib, subprocess, sys"]
    for language, code, *_ in fences(text):
        file = re.match(r"# (\w+\.py)\n", code)
        if language == "python" and file:
            parts.append(f"pathlib.Path({file[1]!r}).write_text({code!r})")
        elif language == "python":
            parts.append(re.sub(r"^(print\(.*\))  # (.*)$", said, code, flags=re.MULTILINE))
        elif language == "bash":
            words = [shlex.split(line, comments=True) for line in code.splitlines()]
            parts += [
                f"from tfprune.__main__ import dispatch\nassert dispatch({rest}) == 0"
                if program == "run.py"
                else f"subprocess.run([sys.executable, {program!r}, *{rest}], check=True)"
                for _, program, *rest in words
            ]
    return "\n".join(parts)


def test_a_page_is_one_session_and_what_it_says_of_a_print_is_known(tmp_path):
    page = "```python\nx = 1\n```\n```python\n# other.py\nprint(7)\n```\n"
    page += "```bash\npython other.py\n```\n```python\nprint(x)  # 2: or not\n```\n"
    assert run_script(session(page), tmp_path) == ["7", "SAID 2", "1"]


@pytest.fixture(scope="module")
def your_own(tmp_path_factory):
    """What docs/your_own.md leaves behind, and prints."""
    folder = tmp_path_factory.mktemp("your_own")
    return folder, run_script(session((ROOT / "docs/your_own.md").read_text()), folder)


@pytest.fixture(scope="module")
def resuming(tmp_path_factory):
    """What docs/resuming.md leaves behind, and prints."""
    folder = tmp_path_factory.mktemp("resuming")
    return folder, run_script(session((ROOT / "docs/resuming.md").read_text()), folder)


@pytest.mark.parametrize(
    ("page", "prints"), [pytest.param("your_own", 6, marks=pytest.mark.slow), ("resuming", 4)]
)
def test_a_page_prints_what_it_says(page, prints, request):
    _, lines = request.getfixturevalue(page)
    pairs = [
        (line.removeprefix(SAID), after)
        for line, after in itertools.pairwise(lines)
        if line.startswith(SAID)
    ]
    assert len(pairs) >= prints
    for value, printed in pairs:
        assert printed.startswith(value), pairs


@pytest.mark.slow
def test_the_page_of_your_own_leaves_what_it_says(your_own):
    folder, _ = your_own
    assert (folder / "small.tflite").stat().st_size < 100_000
    for name in ("npz", "folder", "mine"):
        assert len(read_results(folder / "runs" / name)) == 3
    mine = read_results(folder / "runs/mine")
    chosen = ["dataset", "label_noise", "model", "criterion", "retrain"]
    (names,) = mine[chosen].drop_duplicates().to_numpy().tolist()
    assert names == ["stripes", "crossed", "two_layers", "small_and_early", "halfway"]


def test_the_page_of_your_own_adds_each_kind_by_one_function_and_one_line():
    """The file that `your_own` runs; and each row of the page's table names one of its lines."""
    text = (ROOT / "docs/your_own.md").read_text()
    (mine,) = [code for _, code, *_ in fences(text) if code.startswith("# mine.py")]
    *body, entry = ast.parse(mine).body
    imports = [part for part in body if isinstance(part, ast.Import)]
    functions = [part.name for part in body if isinstance(part, ast.FunctionDef)]
    lines = re.findall(r'^tfprune\.(\w+)\.add\("(\w+)", .*\)$', mine, re.MULTILINE)
    assert [name for _, name in lines] == functions
    assert len(body) == len(imports) + len(functions) + len(lines)
    assert isinstance(entry, ast.If)
    table = set(re.findall(r"\| `tfprune\.(\w+)\.add\(name, ", text))
    assert table == {registry for registry, _ in lines} | {"FILTER_CRITERIA"}


@pytest.mark.parametrize(
    ("words", "lines"), [("keras.Sequential(", 20), ("MultiHeadAttention(", 25), ("LSTM(", 25)]
)
def test_an_example_of_the_page_of_your_own_is_short(words, lines):
    text = (ROOT / "docs/your_own.md").read_text()
    code = next(code for _, code, *_ in fences(text) if words in code)
    assert len(code.splitlines()) < lines
    assert "prune_model(" in code or "lottery_ticket(" in code


def test_the_readme_lists_every_experiment():
    text = (ROOT / "README.md").read_text()
    assert all(f"| `{name}` |" in text for name in EXPERIMENTS)


JOURNEY = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/]+\.py)\)", (ROOT / "docs/journey.md").read_text())


@pytest.mark.parametrize(("name", "file"), JOURNEY, ids=" ".join)
def test_what_the_journey_names_is_in_the_file_it_links_to(name, file):
    path = Path(file)
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    first, *rest = name.split(".")
    owner = module if first == path.stem else getattr(module, first)
    for part in rest:
        owner = getattr(owner, part)
    # Not only imported there.
    assert getattr(owner, "__module__", module.__name__) in (module.__name__, "tfprune.registry")


def test_the_journey_names_nothing_that_is_not_a_link():
    text = (ROOT / "docs/journey.md").read_text()
    assert len(JOURNEY) > 50
    assert len(JOURNEY) == len(re.findall(r"\]\(\.\./", text))


def cost_rows(page):
    """The cells of each row of the page's table of what the paper presets cost."""
    text = (ROOT / "docs" / page).read_text().split("### What the paper presets cost")[1]
    lines = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@functools.cache
def forward_operations(model, dataset, shape, classes):
    """Of one example: of the table that tests/engine/test_costs.py holds true, or by formula."""
    as_in_table = (model.width, model.shortcut) == (1.0, ModelConfig().shortcut)
    if as_in_table and (model.model, dataset) in NETWORKS:
        return NETWORKS[model.model, dataset].forward
    from tfprune.models.build import build_model
    from tfprune.pruning.shrink import flops

    return flops(build_model(model, shape, classes))


@pytest.mark.parametrize("row", cost_rows("generalization_stability.md"), ids=lambda row: row[0])
def test_the_costs_of_gsts_presets_follow_from_their_settings(row):
    """Each seed trains without pruning and once for each pruning and noise; 3 forward passes."""
    names, trainings, operations, _ = row
    experiment = re.search(r"(\w+) --preset", names)
    own = EXPERIMENTS[experiment[1] if experiment else "generalization_stability"]
    presets = re.findall(r"`(?:\w+ --preset=)?(\w+)`", names)
    assert presets
    for preset in presets:
        command = cli.parse(own, [f"--preset={preset}"])
        (config,) = command.configs
        beside = [len(getattr(o, n, ())) for o in command.options for n in ("prunings", "noises")]
        count, epochs = len(config.seeds) * (1 + sum(beside)), config.training.train_epochs
        classes = 100 if config.data.dataset == "cifar100" else 10
        forward = forward_operations(config.model, config.data.dataset, (32, 32, 3), classes)
        cost = f"{3 * forward * 50_000 * epochs * count:.1e}".replace("e+", "e")
        assert str(count) in re.findall(r"\d+", trainings), preset
        assert f"x {epochs:,}" in trainings, preset
        assert cost in operations.split(", "), preset


PEG_COSTS = {
    (row[0].split("`")[1], experiment): cell
    for row in cost_rows("pruning_effect.md")
    for experiment, cell in zip(
        ("pruning_effect", "width_scaling", "example_effects", "leave_out", "example_galleries"),
        row[1:],
        strict=True,
    )
    if cell
}
# (shape of an image, classes, training examples) by data set: PEG B.1.
PEG_DATA = {
    "mnist": ((28, 28, 1), 10, 58_000),
    "cifar10": ((32, 32, 3), 10, 48_000),
    "cifar100": ((32, 32, 3), 100, 48_000),
    "imagenet2012": ((224, 224, 3), 1000, 1_231_167),
}
# The share of the examples that a set trains on; dense_subset trains as many steps as on all.
PEG_SHARES = {
    "tie": 0.8, "rnd": 0.8, "worsened_subsample": 0.4, "random_subsample": 0.4, "dense_subset": 1.0
}  # fmt: skip


@pytest.mark.parametrize(("preset", "experiment"), PEG_COSTS, ids=str)
def test_the_costs_of_pegs_presets_follow_from_their_settings(preset, experiment):
    """Trainings of every cell; operations where few networks have to be built to know them."""
    found = index.planned(experiment, preset)
    cell = PEG_COSTS[preset, experiment]
    assert cell.split(" ")[0] == f"{len(found):,}"
    models = {one.config.model: one.config.data.dataset for one in found}
    if len(models) > 1 and "lenet" not in preset:
        return
    forward = {m: forward_operations(m, data, *PEG_DATA[data][:2]) for m, data in models.items()}
    operations = 0.0
    for one in found:
        is_retraining = not one.branch and not one.stage.endswith("level_00")
        before = int(one.config.pruning.rewind_to.removesuffix("ep")) if is_retraining else 0
        examples = PEG_DATA[one.config.data.dataset][2] * PEG_SHARES.get(one.branch, 1.0)
        operations += 3 * forward[one.config.model] * examples * (one.epochs - before)
    assert f"({operations:.1e}".replace("e+", "e") in cell
