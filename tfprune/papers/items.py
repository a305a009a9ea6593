"""The figures and tables of the four papers: what makes each, and whether it was made here.

The one place for their numbers. `items.csv` has a row for each, in the papers' order:

- `paper`, `item`: "PEG", "figure 3". `what`: in a few words.
- `experiment`, `presets`: what makes it, at the paper's size; both empty where nothing does.
- `files`: what it leaves, as FOLDER/NAME; the experiment's name comes before NAME.
- `run`: whether it was run here: `full`, `part` at full length, `reduced`, `no`; `settings` for a
  table of hyperparameters, which presets hold; `not made`.
- `ran`, `measured`: the smaller preset that was run here, and how long it took, where known.
- `where`: pages of docs that say what came out.
- `departs`: what departs of this item alone; the rest stands on the paper's page.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Paper:
    """A paper: its title, in short and in full, and our page on it."""

    title: str
    full: str
    page: str


# By short name.
PAPERS = {
    "SDD": Paper(
        "Sparse Double Descent",
        "Sparse Double Descent: Where Network Pruning Aggravates Overfitting, and its poster "
        "Can network pruning benefit deep learning under label noise?",
        "docs/sparse_double_descent.md",
    ),
    "PEG": Paper(
        "Pruning's Effect on Generalization",
        "Pruning's Effect on Generalization Through the Lens of Training and Regularization",
        "docs/pruning_effect.md",
    ),
    "PM": Paper(
        "An empirical study of a pruning mechanism",
        "An empirical study of a pruning mechanism",
        "docs/pruning_mechanism.md",
    ),
    "GST": Paper(
        "The Generalization-Stability Tradeoff",
        "The Generalization-Stability Tradeoff in Neural Network Pruning",
        "docs/generalization_stability.md",
    ),
}
RUN = ("full", "part", "reduced", "no", "settings", "not made")


@dataclass(frozen=True)
class PaperItem:
    """A row of `items.csv`; see the module."""

    paper: str
    item: str
    what: str
    experiment: str
    presets: tuple[str, ...]
    files: tuple[str, ...]
    run: str
    ran: str
    measured: str
    where: tuple[str, ...]
    departs: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files, relative to the output folder; a table's without its two suffixes."""
        parts = [file.split("/") for file in self.files]
        return tuple(
            f"{folder}/{self.experiment}_{name}" + ".png" * (folder == "figures")
            for folder, name in parts
        )


@cache
def items() -> tuple[PaperItem, ...]:
    """Every figure and table of the four papers, in their order."""
    source = resources.files("tfprune.papers") / "items.csv"
    rows: list[dict[str, Any]] = [*csv.DictReader(source.read_text("utf-8").splitlines())]
    for row in rows:
        row |= {name: tuple(row[name].split()) for name in ("presets", "files", "where")}
    return tuple(PaperItem(**row) for row in rows)


def of_experiment(experiment: str) -> list[PaperItem]:
    """What an experiment makes."""
    return [item for item in items() if item.experiment == experiment]


def listed(chosen: Iterable[PaperItem]) -> str:
    """Items as a person would say them.

    Example:
      >>> listed(item for item in items() if item.experiment == "width_scaling")
      'figures 7, 11, 12; table 7'
      >>> listed(item for item in items() if item.experiment == "random_reinit")
      'poster (random initialization)'
    """
    by_kind: dict[str, list[str]] = {}
    for item in chosen:
        kind, _, number = item.item.replace(",", "").partition(" ")
        by_kind.setdefault(kind, []).append(number)
    texts = []
    for kind, numbers in by_kind.items():
        if kind == "poster":
            texts.append(f"poster ({', '.join(numbers)})")
        else:
            texts.append(f"{kind}{'s' * (len(numbers) > 1)} {', '.join(numbers)}")
    return "; ".join(texts)


def paper_of(experiment: str) -> str:
    """The short name of the paper that an experiment is of; "" for none."""
    return next((item.paper for item in of_experiment(experiment)), "")


def reproduces(experiment: str) -> str:
    """What an experiment makes of its paper: "figures 7, 11, 12; table 7"; "" for nothing."""
    return listed(of_experiment(experiment))


def said(experiment: str) -> str:
    """The same with the paper spelled out: "Sparse Double Descent (SDD): figure 7; section 5"."""
    short = paper_of(experiment)
    return f"{PAPERS[short].title} ({short}): {reproduces(experiment)}" if short else ""


def shown_at(experiment: str, file: str) -> str:
    """Where a paper shows a file of an experiment: "PEG figures 1b and 2"; "" for nowhere.

    Args:
      experiment: its name.
      file: as FOLDER/NAME, the experiment's name left out.
    """
    found = [item for item in of_experiment(experiment) if file in item.files]
    # The poster numbers nothing: it counts where it alone shows the file.
    mine = [item for item in found if not item.item.startswith("poster")] or found
    if not mine:
        return ""
    numbers = [item.item.partition(" ")[2] for item in mine]
    several = ", ".join(numbers[:-1]) + " and " * (len(numbers) > 1) + numbers[-1]
    kind = mine[0].item.partition(" ")[0]
    return f"{mine[0].paper} {kind}{'s' * (len(mine) > 1)} {several}"
