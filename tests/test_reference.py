"""The reference of docs/api has every public name; the pages are made by `make docs`."""

import ast
import re
from pathlib import Path

import pytest

import tfprune
from docs import mkdocs_hooks as site
from tfprune import catalog
from tfprune.config import SECTIONS, RunConfig
from tfprune.registry import Registry
from tfprune.settings import join, settings_of

ROOT = Path(tfprune.__file__).parents[1]
RAW = "\n".join(page.read_text() for page in sorted((ROOT / "docs/api").glob("*.md")))
TEXT = site.with_tables(RAW)
DOCUMENTED = re.findall(r"^::: ([\w.]+)$", TEXT, re.MULTILINE)
TABLES = {name: value for name, value in vars(catalog).items() if isinstance(value, Registry)}


@pytest.mark.parametrize("name", sorted(set(tfprune.__all__) - {"__version__", *TABLES}))
def test_every_public_name_stands_on_one_page(name):
    assert DOCUMENTED.count(f"tfprune.{name}") == 1


@pytest.mark.parametrize("table", TABLES)
def test_every_table_stands_on_a_page_with_every_name_and_what_it_is(table):
    assert RAW.count(f"<!-- table: {table} -->") == 1
    for name in TABLES[table]:
        entry = TABLES[table].entry(name)
        summary = entry.summary.replace("|", "\\|")
        assert re.search(rf"^\| \[?`{name}`.* \| {re.escape(summary)} \|$", TEXT, re.MULTILINE)
        if isinstance(entry.target, str):
            assert entry.target.replace(":", ".") in DOCUMENTED


def test_every_setting_of_a_run_stands_there_with_its_default():
    for section in (RunConfig, *SECTIONS.values()):
        for name, field in settings_of(section).items():
            shown = join(field.default) if isinstance(field.default, tuple) else field.default
            assert re.search(rf"^\| `{name}` \| `?{re.escape(str(shown))}`? \| .+ \|$", TEXT, re.M)


def docstring_of(name):
    """What a function or a class says of itself, read and not imported."""
    module, attribute = name.rsplit(".", 1)
    if module == "tfprune":
        module = tfprune._EXPORTS[attribute]
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    (found,) = [node for node in tree.body if getattr(node, "name", None) == attribute]
    return ast.get_docstring(found)


def test_what_pages_document_stands_there_once_and_says_what_it_is():
    assert len(set(DOCUMENTED)) == len(DOCUMENTED)
    assert all(map(docstring_of, DOCUMENTED))


def test_every_page_of_the_docs_has_a_place_on_the_site():
    """MkDocs says so too, in `make docs`."""
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    placed = set(re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert pages <= placed
    assert placed <= pages | set(site.TOP)


def test_what_type_checkers_see_is_what_is_loaded():
    tree = ast.parse(Path(tfprune.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == tfprune._EXPORTS


# ---------------------------------------------------------------- links between pages


@pytest.mark.parametrize(
    ("page", "text", "becomes"),
    [
        ("index.md", "[a](docs/your_own.md#b)", "[a](your_own.md#b)"),
        ("index.md", "![a](docs/images/b.png)", "![a](images/b.png)"),
        ("journey.md", "[a](../README.md)", "[a](index.md)"),
        ("journey.md", "[a](../tfprune/config.py)", "[a](source/tfprune/config.py.md)"),
        ("api/names.md", "[a](../your_own.md)", "[a](../your_own.md)"),
        ("api/names.md", "[a](../../BUILD.md#b)", "[a](../BUILD.md#b)"),
        ("journey.md", "[a](#b) [c](https://d.org/e)", "[a](#b) [c](https://d.org/e)"),
        ("journey.md", "```python\nf[0](../x.py)\n```", "```python\nf[0](../x.py)\n```"),
    ],
)
def test_links_between_files_become_links_between_pages(page, text, becomes):
    assert site.with_links(page, text) == becomes


def test_a_linked_source_file_becomes_a_page_and_a_missing_one_does_not():
    text = "[a](../tfprune/config.py) [b](../tfprune/nix.py) [c](your_own.md)"
    assert list(site.sources("journey.md", text)) == ["tfprune/config.py"]
    assert "class RunConfig" in site.source_page("tfprune/config.py")
