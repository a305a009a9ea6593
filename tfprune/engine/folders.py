"""What trial folders say of themselves: written before training, compared before reuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from tfprune import layout
from tfprune.config import RunConfig
from tfprune.errors import DamagedFile, InputError
from tfprune.files import set_aside, write_json
from tfprune.store import read_about
from tfprune.studies.trial import DENSE, PRUNED, Stage, Trial
from tfprune.versions import differences, versions

# Versions that have trained other stages of the trial, under `mix_versions`.
_MIXED = "mixed_with"
# Settings that may name a file, which is known by what is in it and may have moved.
_FILES = ("dataset", "train_subset")


def write_config(stage: Stage, config: RunConfig, about: dict[str, Any]) -> None:
    """Writes the trial's config.json before its first step.

    A later run may ask for more levels or seeds of the same trial: the last one is what is kept.

    Args:
      stage: any stage of the trial.
      config: the run.
      about: argv, versions, device, host, when the process started.
    """
    path = stage.folder.parent / layout.CONFIG
    before = _read(path) if path.exists() else None
    mixed = [] if before is None else [*before.get(_MIXED, ()), before["versions"]]
    other = [there for there in mixed if differences(there, about.get("versions", {}))]
    values = {"config": dataclasses.asdict(config), **about}
    write_json(path, {**values, _MIXED: other} if other else values)


def check_folders(trials: Iterable[Trial]) -> None:
    """Compares the folders that trials would reuse with what would be trained now.

    Raises:
      InputError: a folder was written by other versions of the code and its run does not allow
        that, or its config.json was edited.
    """
    for path, (trial, sections) in _configs(trials).items():
        about = _read(path)
        if about is not None:
            _check_config(path, about["config"], trial.config, sections)
            if not trial.config.mix_versions:
                for versions_there in (about["versions"], *about.get(_MIXED, ())):
                    _check_versions(path, versions_there)


def set_aside_configs(trials: Iterable[Trial]) -> Iterator[str]:
    """Sets aside every config.json that is not whole, with a sentence about it.

    It is written again before a stage of the trial is trained, or at once where some are finished.
    """
    for path in _configs(trials):
        if _read(path) is None:
            aside = set_aside(path)
            yield f"{path} was damaged and is set aside as {aside.name}"


def _configs(trials: Iterable[Trial]) -> dict[epath.Path, tuple[Trial, tuple[str, ...]]]:
    """Each config.json there is, a trial that it is of, and the sections that name its folder."""
    found: dict[epath.Path, tuple[Trial, tuple[str, ...]]] = {}
    for trial in trials:
        for stage, sections in ((trial.stage(0), DENSE), (trial.stage(1), PRUNED)):
            path = stage.folder.parent / layout.CONFIG
            if path not in found and path.exists():
                found[path] = (trial, sections)
    return found


def _read(path: epath.Path) -> dict[str, Any] | None:
    """What config.json says; None if it is not whole."""
    try:
        about = read_about(path)
        parts = (about["versions"], *(about["config"][section] for section in DENSE))
    except (DamagedFile, KeyError):
        return None
    return about if all(isinstance(part, dict) for part in parts) else None


def without_config(trials: Iterable[Trial]) -> dict[epath.Path, tuple[Trial, Stage]]:
    """The config.json that finished stages lack, each with a trial and a stage of its folder."""
    lost: dict[epath.Path, tuple[Trial, Stage]] = {}
    for trial in trials:
        for stage in trial.stages():
            path = stage.folder.parent / layout.CONFIG
            if path not in lost and not path.exists() and stage.is_done:
                lost[path] = (trial, stage)
    return lost


def _check_config(
    path: epath.Path, theirs: Mapping[str, Any], config: RunConfig, sections: Iterable[str]
) -> None:
    """Compares the values that name the folder: its name says they are equal."""
    for section in sections:
        ours = getattr(config, section)
        for name in ours.identity():
            found = (theirs.get(section) or {}).get(name)
            found = tuple(found) if isinstance(found, list) else found
            if name not in _FILES and found != getattr(ours, name):
                raise _edited(path, name, found, getattr(ours, name))
    for name in ("jit", "deterministic"):
        if theirs.get(name) != getattr(config, name):
            raise _edited(path, name, theirs.get(name), getattr(config, name))


def _edited(path: epath.Path, name: str, found: Any, ours: Any) -> InputError:
    return InputError(
        f"{path} was edited: its {name} is {found!r}, but its folder is of {ours!r}; "
        "put that back, or move the folder away"
    )


def _check_versions(path: epath.Path, theirs: Mapping[str, str]) -> None:
    different = differences(theirs, versions())
    if different:
        raise InputError(
            f"{path.parent} was trained by other code ({'; '.join(different)}): choose another "
            "`output_dir`, or take its results as they are with `mix_versions`"
        )
