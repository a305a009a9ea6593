"""What an experiment is, and a command line once it is read. Imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfprune.config import SECTIONS, RunConfig
from tfprune.errors import TfpruneError
from tfprune.settings import Section, settings_of

if TYPE_CHECKING:
    from tfprune.studies.iterative import PruneRetrain
    from tfprune.studies.procedure import Study

PRESETS = Path(__file__).parent / "presets"
DEFAULT_PRESET = "quick"
# Flags of every experiment that are no settings of a run.
COMMAND_FLAGS = ("preset", "sweep", "verbosity", "dry_run")


# Runs, each with columns of its own in results.csv.
Expanded = Sequence[tuple[RunConfig, Mapping[str, Any]]]


@dataclass(frozen=True)
class Experiment:
    """What the command line has to know of an experiment.

    Attributes:
      name: as in `run.py NAME`.
      summary: what it reproduces, for the top of its help.
      options: sections of settings that only this experiment has.
      own_columns: which of those settings are columns of its results.csv.
      expand: from the runs of a sweep and the values of `options` to all runs, each with further
        columns of its rows; None runs the sweep alone.
      check: raises SettingError, before anything is trained, for values of `options` that a trial's
        data or model do not allow. A function of a module, for other processes.
      further: what follows the training of the trunks, as branches and measurements.
    """

    name: str
    summary: str
    options: tuple[type[Section], ...] = ()
    own_columns: tuple[str, ...] = ()
    expand: Callable[[Sequence[RunConfig], tuple[Any, ...]], Expanded] | None = None
    check: Callable[..., None] | None = None
    further: Callable[[Command, Study], None] = field(default=lambda command, study: None)

    @property
    def sections(self) -> dict[str, type[Section]]:
        """Every section of settings, in the order of the help."""
        own = {section.__name__.removesuffix("Config").lower(): section for section in self.options}
        return {"run": RunConfig, **SECTIONS, **own}

    @property
    def flags(self) -> frozenset[str]:
        """The names of its flags."""
        settings = (name for section in self.sections.values() for name in settings_of(section))
        return frozenset((*COMMAND_FLAGS, *settings))

    @property
    def presets(self) -> list[str]:
        """Names of the presets, quickest first."""
        names = [path.stem for path in (PRESETS / self.name).glob("*.flags")]
        first = ("smoke", "quick", "gpu_hour")
        return sorted(names, key=lambda name: (*(name != one for one in first), name))


@dataclass(frozen=True)
class Command:
    """A parsed command line.

    Attributes:
      configs: the run, or each run of a sweep.
      swept: the settings that differ among them.
      options: the experiment's own settings, one value per section.
      own_columns: those of them that are columns of results.csv.
      columns_of: further columns of results.csv, by the trial's name.
      check: what else is refused before a trial is trained.
      flags: the names of the experiment's flags.
      argv: what was typed.
      verbosity: 0 hides TensorFlow's own messages.
      given: the settings that were typed, those that a preset has left out.
      dry_run: whether to say what would be trained, and train nothing.
    """

    configs: tuple[RunConfig, ...]
    swept: tuple[str, ...]
    options: tuple[Any, ...]
    own_columns: dict[str, Any]
    columns_of: dict[str, Mapping[str, Any]]
    check: Callable[[PruneRetrain], None] | None
    flags: frozenset[str]
    argv: tuple[str, ...]
    verbosity: int
    given: frozenset[str]
    dry_run: bool = False


def read_preset(experiment: str, preset: str) -> list[str]:
    """The flags of a preset, comments left out."""
    lines = (PRESETS / experiment / f"{preset}.flags").read_text().splitlines()
    return [line.strip() for line in lines if line.strip().startswith("-")]


def with_flags(text: str, flags: Collection[str]) -> str:
    """A text of the library, with the settings that it names in backquotes spelled as flags.

    Example:
      >>> with_flags("nothing with `lr_decay=cosine`; see `tfds build`", {"lr_decay"})
      'nothing with --lr_decay=cosine; see `tfds build`'
    """

    def spelled(found: re.Match[str]) -> str:
        return f"--{found[1]}{found[2]}" if found[1] in flags else found[0]

    return re.sub(r"`(\w+)((?:=[^`]*)?)`", spelled, text)


@contextmanager
def errors_name_flags(flags: Collection[str]) -> Iterator[None]:
    """Errors of the library that are raised inside name settings by the flags they have here."""
    try:
        yield
    except TfpruneError as error:
        error.args = (with_flags(error.marked(), flags),)
        raise
