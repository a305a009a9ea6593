"""One door to every experiment.

python run.py                       sparse double descent on real digits, about a minute
python run.py --list                every experiment in a line
python run.py EXPERIMENT --help     its presets and flags
python run.py EXPERIMENT --flags    run it; --preset=NAME fills in what you leave out
python run.py report --output_dir=D rebuild tables, figures and report from the files alone
python run.py --version             the versions of tfprune and of what its numbers depend on
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

from tfprune.door import program
from tfprune.errors import InputError, nearest
from tfprune.experiments import cli
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.papers.items import PAPERS, paper_of, reproduces
from tfprune.versions import versions

DEFAULT_EXPERIMENT = "sparse_double_descent"


def dispatch(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit code; errors of the user's raise InputError."""
    first = argv[0] if argv else ""
    if "--version" in argv:
        print(versions_text())
        return 0
    if first in ("--list", "list"):
        print("\n".join(listing()))
        return 0
    if first in ("--help", "-h", "help"):
        print(str(__doc__).replace("python run.py", program()))
        return 0
    if first == "report":
        from tfprune.experiments import report

        return report.main(argv[1:])
    if not first or first.startswith("-"):
        return cli.run(EXPERIMENTS[DEFAULT_EXPERIMENT], argv)
    if first not in EXPERIMENTS:
        raise InputError(f"there is no experiment {first!r}: {nearest(first, EXPERIMENTS)}")
    return cli.run(EXPERIMENTS[first], argv[1:])


def listing() -> list[str]:
    """Every experiment in a line, below the paper that it is of, if any."""
    width = max(map(len, EXPERIMENTS))
    lines: list[str] = []
    for short, names in itertools.groupby(EXPERIMENTS, paper_of):
        title = f"{PAPERS[short].title} ({short})" if short else "Others"
        lines += [""] * bool(lines) + [title]
        for name in names:
            made = f" ({reproduces(name)})" if short else ""
            lines.append(f"  {name:<{width}}  {EXPERIMENTS.entry(name).summary}{made}")
    return lines


def versions_text() -> str:
    """tfprune's version on the first line, then what `config.json` records beside it."""
    found = versions()
    first = f"tfprune {found.pop('tfprune')}"
    return "\n".join((first, *(f"  {name} {version}" for name, version in found.items())))


def main(*first: str) -> int:
    """The `tfprune` command, these words before those that are typed; returns the exit code."""
    return cli.exit_code(lambda: dispatch([*first, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
