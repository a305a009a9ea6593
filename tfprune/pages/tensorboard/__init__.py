"""What TensorBoard shows of an output folder: `publish` makes it from results.csv and the figures.

Training writes curves by epoch, a run for each stage, into `tensorboard`. `publish` adds what the
HParams table says of each stage, and makes the overview, which people open first. Publishing again
writes what changed and nothing else.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable

from etils import epath

from tfprune import layout, store
from tfprune.pages.tensorboard.overview import Overview, write_overview
from tfprune.pages.tensorboard.stages import publish_stages

# Levels are few, and TensorBoard's smoothing would move their points by several of them.
ADDRESS = "http://localhost:6006/?smoothing=0"


def publish(output_dir: epath.PathLike) -> Overview:
    """Puts what results.csv and figures/*.png hold into TensorBoard; publishing again adds nothing.

    The overview is a run for each trial and seed with its metrics by level, and the figures
    (`tfprune.pages.tensorboard.overview`). Every stage becomes a row of the HParams table beside
    its curves by epoch: experiment, seed, level, branch, sparsity and the settings of its trial,
    as far as they differ between stages, and its final metrics. A stage that several trials or
    experiments share is one row; it names all their experiments, criteria and so on, and leaves
    out numbers on which they differ. Beside its scalars a stage also shows, where they were
    measured: utility by epoch, the distribution of utility over subsets, and the accuracy on a
    plane (PM).

    Args:
      output_dir: the output folder.

    Returns:
      What the overview shows.

    Raises:
      InputError: there is no results.csv, a file is damaged, or the folder cannot be written.
    """
    output_dir = epath.Path(output_dir)
    results = store.read_results(output_dir)
    publish_stages(output_dir, results)
    images = _figures(output_dir, results["experiment"].unique())
    return write_overview(output_dir / layout.OVERVIEW, output_dir, results, images)


def command(output_dir: epath.PathLike) -> str:
    """The line for a shell that shows the overview, with this Python, activated or not."""
    logdir = str(epath.Path(output_dir) / layout.OVERVIEW)
    return shlex.join([sys.executable or "python", "-m", "tensorboard.main", "--logdir", logdir])


def how_to_open(output_dir: epath.PathLike, overview: Overview) -> list[str]:
    """What a person is told: the command, the address, and what found no room in the overview."""
    lines = [command(output_dir), f"then open {ADDRESS}"]
    if overview.left_out:
        shown = len(overview.runs)
        lines.append(f"it shows {shown} of {shown + overview.left_out} trials; figures show all")
    return lines


def _figures(output_dir: epath.Path, experiments: Iterable[str]) -> dict[str, bytes]:
    """Every figure as EXPERIMENT/NAME, those of no experiment as NAME."""
    longest_first = sorted(experiments, key=len, reverse=True)
    found = {}
    for file in sorted((output_dir / layout.FIGURES).glob("*.png")):
        own = next((name for name in longest_first if file.stem.startswith(f"{name}_")), None)
        tag = file.stem if own is None else file.stem.replace(f"{own}_", f"{own}/", 1)
        found[tag] = file.read_bytes()
    return found
