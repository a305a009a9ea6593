"""Where TensorBoard's events of a stage are, and how its curves are called."""

from __future__ import annotations

import re

from etils import epath

from tfprune import layout
from tfprune.claims import exclusively
from tfprune.errors import InputError
from tfprune.files import read_text, write_text_atomic

_HASHED = re.compile(r"(.+)-[0-9a-f]{8}")  # A trial's name: readable, then eight digits.
_SEED = re.compile(r"seed_[0-9]+")
_OWNER = "trial.txt"  # In the folder of a trial's runs: the trial's whole name.


def scalar_tag(metric: str) -> str:
    """`test_accuracy` becomes `accuracy/test`, so that TensorBoard groups what is compared."""
    subset, _, kind = metric.rpartition("_")
    return f"{kind}/{subset}" if subset and kind in ("accuracy", "loss") else metric


def trial_folder(logdir: epath.PathLike, trial: str) -> epath.Path:
    """Where the runs of a trial are: named as the trial without its hash, if that is free.

    The first trial of a name takes it for good, and says so in a file there; only a further one
    of the same name keeps its hash. So names stay as they are when trials are added, in any
    process. Runs that lie under the whole name already stay there.

    Args:
      logdir: the folder for `tensorboard --logdir`, in an output folder.
      trial: the trial's folder name, SLUG-HASH8.

    Raises:
      InputError: the folder cannot be written.
    """
    logdir = epath.Path(logdir)
    match = _HASHED.fullmatch(trial)
    if not match:
        return logdir / trial
    named = logdir / match[1]
    if _owner(named) is None:
        with exclusively(logdir.parent / layout.claim_file(layout.TENSORBOARD)):
            # Who waited here looks again: another trial may have taken the name meanwhile.
            is_free = not named.exists() or ((named / _OWNER).exists() and _owner(named) is None)
            if is_free and not (logdir / trial).exists():
                write_text_atomic(named / _OWNER, trial)
    return named if _owner(named) == trial else logdir / trial


def _owner(folder: epath.Path) -> str | None:
    """The trial whose runs are in the folder; None if nobody took it, or what it says is no trial.

    A trial whose runs lie here has none under its whole name, and so is known again.
    """
    path = folder / _OWNER
    if not path.exists():
        return None
    match = _HASHED.fullmatch(read_text(path))
    return match[0] if match and match[1] == folder.name else None


def run_folder(folder: epath.PathLike) -> epath.Path:
    """Where the events of a stage are, from `.../tensorboard/TRIAL/seed_S/STAGE`.

    The trial's folder is named as `trial_folder` says. Any other path is returned as it is.

    Raises:
      InputError: the folder cannot be written.
    """
    folder = epath.Path(folder)
    if len(folder.parts) < 5 or not _SEED.fullmatch(folder.parent.name):
        return folder
    trial, logdir = folder.parent.parent.name, folder.parent.parent.parent
    if logdir.name != layout.TENSORBOARD:
        return folder
    return trial_folder(logdir, trial) / folder.parent.name / folder.name


def event_folder(output_dir: epath.PathLike, stage: str) -> epath.Path:
    """Where the events of a stage are; `stage` is its folder relative to the output folder.

    Raises:
      InputError: it is not the folder of a trial's stage, or the output folder cannot be written.
    """
    parts = stage.split("/")
    if parts[0] != layout.TRIALS or len(parts) < 4 or not {"", "..", "."}.isdisjoint(parts):
        raise InputError(
            f"{layout.RESULTS} has the stage {stage!r}, which is not {layout.TRIALS}/TRIAL/SEED/"
            "STAGE: move the file away and run the experiment again"
        )
    logdir = epath.Path(output_dir, layout.TENSORBOARD)
    return trial_folder(logdir, parts[1]).joinpath(*parts[2:])
