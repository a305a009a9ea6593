"""The documentation as one site: what `mkdocs build` needs beside docs/*.md (see mkdocs.yml).

README.md is its first page, BUILD.md and others of the repository's top are pages too, and source
files that a page links to are shown as pages. `<!-- table: NAME -->` on a page stands for a table
of `tfprune.catalog`: its names, and what each is, from the docstrings; `<!-- settings -->` stands
for the settings of a run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfprune import catalog
from tfprune.registry import Registry

ROOT = Path(__file__).parents[1]
# Pages by their address in the site.
TOP = {
    "index.md": "README.md",
    "BUILD.md": "BUILD.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
SOURCE = "source"
_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".json": "json", ".md": "markdown"}
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")
_SETTINGS = "<!-- settings -->"
_TABLE = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)


# ---------------------------------------------------------------- called by MkDocs


def on_config(config: Any) -> Any:
    """Search in pages that are opened as files needs a script, which here is our own.

    The offline plugin, which runs before, names one of the network.
    """
    config.extra["polyfills"] = ["assets/file-worker.js"]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for address, name in TOP.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / name)))
    pages = [(file.src_uri, file.content_string) for file in files.documentation_pages()]
    for name in sorted({name for page, text in pages for name in sources(page, text)}):
        content = source_page(name)
        files.append(File.generated(config, address_of(name), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between files of the repository become links between pages; tables are filled in."""
    if page.file.src_uri.startswith(f"{SOURCE}/"):
        return markdown
    return with_tables(with_links(page.file.src_uri, markdown))


def on_page_content(html: str, **_: Any) -> str:
    """Search finds what is written, not the source below it."""
    return html.replace(
        'class="mkdocstrings-source"', 'class="mkdocstrings-source" data-search-exclude'
    )


# ---------------------------------------------------------------- links


def with_links(page: str, text: str) -> str:
    """A page's text with its links to files of the repository as links between pages."""

    def link(found: re.Match[str]) -> str:
        target = address_of(file_of(page, found[1]))
        return posixpath.relpath(target, posixpath.dirname(page)) + (found[2] or "")

    return _outside_code(lambda prose: _LINK.sub(link, prose), text)


def sources(page: str, text: str) -> Iterator[str]:
    """The files outside docs/ that a page links to and that have no page of their own."""
    names = {file_of(page, target) for target, _ in _LINK.findall(text)}
    without = (name for name in names if address_of(name).startswith(f"{SOURCE}/"))
    yield from (name for name in without if (ROOT / name).exists())


def file_of(page: str, target: str) -> str:
    """The repository's file that a page links to, `docs/journey.md` or `tfprune/config.py`."""
    folder = posixpath.dirname(TOP.get(page, f"docs/{page}"))
    return posixpath.normpath(posixpath.join(folder, target))


def address_of(name: str) -> str:
    """Where the site has a file of the repository."""
    addresses = {name: address for address, name in TOP.items()}
    if name in addresses:
        return addresses[name]
    inside = name.removeprefix("docs/")
    return inside if inside != name else f"{SOURCE}/{name}.md"


def source_page(name: str) -> str:
    """A source file as a page; a folder as the list of what is in it."""
    path = ROOT / name
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n"
    if path.is_dir():
        entries = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("_"))
        return head + "\n".join(f"- `{entry}`" for entry in entries) + "\n"
    text = path.read_text(encoding="utf-8").rstrip() + "\n"
    return f'{head}`````{_LANGUAGES.get(path.suffix, "text")} linenums="1"\n{text}`````\n'


def _outside_code(change: Any, text: str) -> str:
    """Changes a Markdown text but for its fenced code."""
    parts = re.split(r"(^(`{3,})[^\n]*\n.*?^\2\s*$)", text, flags=re.MULTILINE | re.DOTALL)
    # Groups in turn: prose, a whole block, its fence.
    return "".join(
        change(part) if n % 3 == 0 else part for n, part in enumerate(parts) if n % 3 != 2
    )


# ---------------------------------------------------------------- tables of names


def with_tables(text: str) -> str:
    """A page's text with its marks filled in: see the module's docstring."""
    if _SETTINGS in text:
        text = text.replace(_SETTINGS, settings())
    return _TABLE.sub(lambda found: table(found[1], getattr(catalog, found[1])), text)


def settings() -> str:
    """Every setting of a run with its default and what it means, by the section that has it."""
    from tfprune.config import SECTIONS, RunConfig
    from tfprune.settings import join, settings_of

    lines = []
    for name, section in {"": RunConfig, **SECTIONS}.items():
        field = f"RunConfig.{name}" if name else "RunConfig"
        lines += [
            "",
            f"### `{field}`",
            "",
            "| setting | default | what it is |",
            "| --- | --- | --- |",
        ]
        for setting, declared in settings_of(section).items():
            default = declared.default
            shown = join(default) if isinstance(default, tuple) else str(default)
            meaning = declared.metadata["help"].replace("|", "\\|")
            lines.append(f"| `{setting}` | {f'`{shown}`' if shown else ''} | {meaning} |")
    return "\n".join(lines)


def table(title: str, registry: Registry) -> str:
    """A registry's names with a line each, then what each is, from its docstring."""
    entries = {name: registry.entry(name) for name in registry}
    targets: dict[str, list[str]] = {}
    for name, entry in entries.items():
        if isinstance(entry.target, str):
            targets.setdefault(entry.target.replace(":", "."), []).append(name)
    lines = ["| name | what it is |", "| --- | --- |"]
    for name, entry in entries.items():
        cell = f"`{name}`"
        if isinstance(entry.target, str):
            cell = f"[{cell}][{entry.target.replace(':', '.')}]"
        summary = entry.summary.replace("|", "\\|")
        lines.append(f"| {cell} | {summary} |")
    for target, names in targets.items():
        heading = ", ".join(f'{title}["{name}"]' for name in names)
        lines += ["", f"::: {target}", "    options:", f"      heading: '{heading}'"]
        lines += [f"      toc_label: '{', '.join(names)}'"]
    return "\n".join(lines)
