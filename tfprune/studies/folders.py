"""What trial folders say of themselves: written before training, compared before reuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from tfprune.config import RunConfig
from tfprune.errors import DamagedFile, InputError
from tfprune.files import read_json, set_aside, write_json
from tfprune.results import layout
from tfprune.studies.trial import DENSE, PRUNED, Stage, Trial
from tfprune.versions import differences, versions

# Settings that may name a file, which is known by what is in it and may have moved.
_FILES = ("dataset", "train_subset")


def write_config(stage: Stage, config: RunConfig, about: dict[str, Any]) -> None:
    """Writes the trial's config.json before its first step.

    A later run may ask for more levels or seeds of the same trial: the last one is what is kept.

    Args:
      stage: any stage of the trial.
      config: the run.
      about: argv, versions, device.
    """
    values = {"config": dataclasses.asdict(config), **about}
    write_json(stage.folder.parent / layout.CONFIG, values)


def check_folders(trials: Iterable[Trial]) -> Iterator[str]:
    """Compares the folders that trials would reuse with what would be trained now.

    A damaged config.json is set aside, with a sentence about it: it is written again with the
    next stage.

    Raises:
      InputError: a folder was written by other versions of the code and its run does not allow
        that, or its config.json was edited. Nothing was written.
    """
    checked = set()
    for trial in trials:
        for stage, sections in ((trial.stage(0), DENSE), (trial.stage(1), PRUNED)):
            path = stage.folder.parent / layout.CONFIG
            if path in checked or not path.exists():
                continue
            checked.add(path)
            try:
                about = read_json(path)
                theirs = about["config"], about["versions"]
            except (DamagedFile, KeyError, TypeError) as error:
                set_aside(path)
                yield f"{path} was damaged and is set aside: {error}"
                continue
            _check_config(path, theirs[0], trial.config, sections)
            if not trial.config.mix_versions:
                _check_versions(path, theirs[1])


def _check_config(
    path: epath.Path, theirs: Mapping[str, Any], config: RunConfig, sections: Iterable[str]
) -> None:
    """Compares the values that name the folder: its name says they are equal."""
    for section in sections:
        ours = getattr(config, section)
        for name in ours.identity():
            found = theirs.get(section, {}).get(name)
            found = tuple(found) if isinstance(found, list) else found
            if name not in _FILES and found != getattr(ours, name):
                raise InputError(
                    f"{path} was edited: its {name} is {found!r}, but its folder is of "
                    f"{getattr(ours, name)!r}; put that back, or move the folder away"
                )


def _check_versions(path: epath.Path, theirs: Mapping[str, str]) -> None:
    different = differences(theirs, versions())
    if different:
        raise InputError(
            f"{path.parent} was trained by other code ({'; '.join(different)}): choose another "
            "--output_dir, or take its results as they are with --mix_versions"
        )
