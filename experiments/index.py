"""docs/figures.md and the tables of README.md and the papers' pages, from the registries.

`python -m experiments.index` writes them: every figure and table of the four papers
(`tfprune/papers/items.csv`) with the command that makes it, what that trains by the
program's own planning (`tfprune.engine.plan`), what it leaves, and whether it was run here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tfprune.config import RunConfig
from tfprune.engine.costs import GPU, cost_of, duration
from tfprune.engine.forecast import Forecast, forecast
from tfprune.engine.plan import Plan, Planned, plan
from tfprune.experiments import cli
from tfprune.experiments.doors import EXPERIMENTS
from tfprune.papers import items as paper_items
from tfprune.papers.items import PaperItem

ROOT = Path(__file__).parent.parent
PAGE = "docs/figures.md"
DEPARTS = "what-departs-from-the-paper-and-why"
GPU_HOUR = "gpu_hour"

# What "10 TFLOP/s" of the page is.
_OPERATIONS_PER_SECOND = 1e13


@dataclass(frozen=True)
class Cost:
    """What a preset trains.

    Attributes:
      trainings: how many.
      epochs: of all of them.
      operations: floating-point, of forward and backward passes of training alone.
    """

    trainings: int
    epochs: int
    operations: float


def planned(experiment: str, preset: str) -> list[Planned]:
    """Every training of a preset."""
    return _plan(experiment, preset)[0].trainings


def on_a_gpu(experiment: str, preset: str) -> Forecast:
    """What a preset takes on the GPU that epochs were measured on, by one process."""
    found, configs = _plan(experiment, preset)
    return forecast(found, configs, GPU)


def _plan(experiment: str, preset: str) -> tuple[Plan, Sequence[RunConfig]]:
    configs: list[RunConfig] = []

    def study(folder: str) -> tuple[Sequence[RunConfig], Callable[..., None]]:
        argv = [f"--preset={preset}", f"--output_dir={folder}"]
        command = cli.parse(EXPERIMENTS[experiment], argv)
        if command is None:
            raise ValueError(f"{experiment} --preset={preset} is no study")
        configs.extend(command.configs)
        return command.configs, partial(EXPERIMENTS[experiment].further, command)

    return plan(study), configs


def cost(experiment: str, preset: str) -> Cost:
    """What a preset trains, and with how many operations.

    A narrower network counts by the square of its width; a training on a part of the examples
    counts as one on all.
    """
    trainings = planned(experiment, preset)
    return Cost(
        len(trainings),
        sum(one.epochs for one in trainings),
        sum(one.epochs * cost_of(one.config).training for one in trainings),
    )


def presets_of_items() -> list[tuple[str, str]]:
    """Every (experiment, preset) that makes an item, in the order of the papers."""
    pairs = [(item.experiment, preset) for item in paper_items.items() for preset in item.presets]
    return list(dict.fromkeys(pairs))


def figures_page() -> str:
    """docs/figures.md."""
    costs = {pair: cost(*pair) for pair in presets_of_items()}
    lines = [_INTRODUCTION]
    for short, paper in paper_items.PAPERS.items():
        page = Path(paper.page).name
        lines += [f"## {paper.title} ({short})", ""]
        lines += [f"What departs: [{page}]({page}#{DEPARTS}).", ""]
        lines += _table(("item", "what it shows", "made by", "leaves", "run here", "departs"))
        lines += [_row(_cells(i, costs)) for i in paper_items.items() if i.paper == short]
        lines.append("")
    lines += [_COSTS]
    lines += _table(("command", "trainings", "epochs", "operations", "at 10 TFLOP/s"))
    for (experiment, preset), found in costs.items():
        time = duration(found.operations / _OPERATIONS_PER_SECOND)
        name = f"`{experiment} --preset={preset}`"
        cells = (f"{found.trainings:,}", f"{found.epochs:,}", _power(found.operations), time)
        lines.append(_row((name, *cells)))
    lines += ["", _GPU_HOUR]
    lines += _table(("command", "what", "trainings", "epochs", "on an H200, an estimate"))
    return "\n".join([*lines, *map(_gpu_hour_row, EXPERIMENTS)]) + "\n"


def _gpu_hour_row(experiment: str) -> str:
    found = on_a_gpu(experiment, GPU_HOUR)
    what = cli.preset_summary(experiment, GPU_HOUR).split(": ", 1)[1]
    stages, epochs = (sum(getattr(row, n) for row in found.rows) for n in ("stages", "epochs"))
    time = duration(found.seconds or 0.0)
    name = f"`{experiment} --preset={GPU_HOUR}`"
    return _row((name, what, f"{stages:,}", f"{epochs:,}", time))


_INTRODUCTION = """# Every figure and table of the four papers

Made by `python -m experiments.index` from [the list of them](../tfprune/papers/items.csv),
the presets and the program's own planning; a test holds it. In "made by" stands, after
`python run.py`, what makes the item at the paper's size, with how many trainings and floating-point
operations; files lie in the output folder. "Run here" says whether that was:

- **part**: one benchmark of it at full length, the others reduced;
- **reduced**: by a smaller preset, or with fewer images, epochs or seeds, on two CPU cores that did
  other work beside; trainings are the preset's as planned (`redense` branches from levels that the
  results choose, here from three, 63 trainings in all), and the links say what came out;
- **no**: not run at all; only its code is tested, at smoke size.
"""

_COSTS = """## What a preset costs

Nothing here was measured. Trainings and epochs are counted by the program's own planning;
operations are of training alone, forward and twice that backward, a narrower network counted by the
square of its width and a part of the examples that results choose as all of them; the time at
10 TFLOP/s is arithmetic.
In one `--output_dir` trainings that experiments share are done once. What was measured stands
above, on the papers' pages and in [BUILD.md](../BUILD.md#what-a-stage-costs). LeNet's steps are so
small that a GPU spends its time on starting kernels, far from 10 TFLOP/s; `--stack=32` starts as
many for 32 trainings as for one: [accelerators.md](accelerators.md#stacks).
"""

_GPU_HOUR = """## An hour on a GPU

Each experiment has a preset `gpu_hour`: MNIST or CIFAR-10, one seed or three, fewer epochs, levels
or kinds than the paper, so that what the study is about may be seen in about an hour. The times are
estimates, and no `gpu_hour` was run: they follow from the epochs that one H200 took with an earlier
code ([accelerators.md](accelerators.md)), 0.84 s for LeNet-300-100 on MNIST, 2.44 s (1.70 s in
bfloat16) for ResNet-18 on CIFAR-10; other networks by their operations and kernels, measurements by
their forward passes. Start and compilation come on top; `--dry_run` says what yours would take.
"""


def _cells(item: PaperItem, costs: Mapping[tuple[str, str], Cost]) -> tuple[str, ...]:
    found = {preset: costs[item.experiment, preset] for preset in item.presets}
    made = [
        f"`{item.experiment} --preset={preset}`: {one.trainings:,} ({_power(one.operations)})"
        for preset, one in found.items()
    ]
    leaves = [f"`{path}`" for path in item.paths]
    run = _run_here(item)
    return (item.item, item.what, "<br>".join(made), "<br>".join(leaves), run, item.departs)


def _run_here(item: PaperItem) -> str:
    ran = []
    if item.ran:
        count = len(planned(item.experiment, item.ran))
        ran = [f"`--preset={item.ran}`", f"{count} trainings"]
    ran += [item.measured] if item.measured else []
    links = [
        f"[{number}]({page.removeprefix('docs/')})"
        for number, page in enumerate(item.where, start=1)
    ]
    head = f"{item.run}: {', '.join(ran)}" if ran else item.run
    return ", ".join((head, *links))


def experiments_table(paper: str | None = None) -> list[str]:
    """A row per experiment: of every paper for README.md, of one with its presets for its page."""
    ours, papers = ("experiment", "study", "reproduces"), ("command", "reproduces", "presets")
    lines = _table(ours if paper is None else papers)
    for name in EXPERIMENTS:
        mine = paper_items.of_experiment(name)
        summary = EXPERIMENTS.entry(name).summary
        if paper is None:
            shown = f"{paper_items.listed(mine)}: {summary}"
            study = f"{paper_items.PAPERS[mine[0].paper].title} ({mine[0].paper})"
            lines.append(_row((f"`{name}`", study, shown)))
        elif mine[0].paper == paper:
            presets = EXPERIMENTS[name].presets
            listed = ", ".join(f"`{preset}`" for preset in presets)
            lines.append(_row((f"`{name}`", f"{paper_items.listed(mine)}: {summary}", listed)))
    return lines


def pages() -> Iterator[tuple[Path, str]]:
    """Every file that is made here, or holds a table that is: where, and its text."""
    yield ROOT / PAGE, figures_page()
    yield ROOT / "README.md", _with_table(ROOT / "README.md", experiments_table())
    for short, paper in paper_items.PAPERS.items():
        page = ROOT / paper.page
        yield page, _with_table(page, experiments_table(short))


_MARKS = ("<!-- from here: python -m experiments.index -->", "<!-- to here -->")


def _with_table(page: Path, lines: Sequence[str]) -> str:
    """The text of a page with the table between its marks made anew."""
    begin, end = _MARKS
    before, _, rest = page.read_text(encoding="utf-8").partition(f"{begin}\n")
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page} has no line {begin} with a line {end} after it")
    return before + "\n".join((begin, "", *lines, "", end)) + after


def _table(headings: Sequence[str]) -> list[str]:
    return [_row(headings), _row(["---"] * len(headings))]


def _row(cells: Sequence[str]) -> str:
    return re.sub(r" +\|", " |", f"| {' | '.join(cells)} |")


def _power(value: float) -> str:
    """2.6e18."""
    return f"{value:.1e}".replace("e+", "e")


def main() -> int:
    """Writes every page."""
    for page, text in pages():
        page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
