"""Rebuilding every table, figure and the report of an output folder from its files alone."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from tfprune.door import program
from tfprune.errors import InputError
from tfprune.experiments.cli import from_flagfiles
from tfprune.experiments.command import errors_name_flags
from tfprune.layout import FIGURE_FORMATS
from tfprune.settings import expanded, one_of

_USAGE = f"report --output_dir=D [--figure_format={','.join(FIGURE_FORMATS)}]"


def main(argv: Sequence[str]) -> int:
    """`run.py report --output_dir=D`; returns the exit code."""
    values = flags.FlagValues()
    flags.DEFINE_string("output_dir", None, "the folder to report on", flag_values=values)
    flags.DEFINE_list("figure_format", [], "files of each figure beside png", flag_values=values)
    if any(argument in ("--help", "-h") for argument in argv):
        print(f"usage: {program()} {_USAGE}\n\n{__doc__}")
        return 0
    try:
        rest = values(["tfprune", *from_flagfiles(argv)])[1:]
    except flags.Error as error:
        raise InputError(str(error)) from None
    if rest or not values["output_dir"].value:
        raise InputError(f"usage: {program()} {_USAGE}")
    from tfprune.experiments.runner import show

    formats = values["figure_format"].value
    with errors_name_flags(values):
        for name in formats:
            one_of(FIGURE_FORMATS)("figure_format", name)
        show(expanded("output_dir", values["output_dir"].value), formats=formats)
    return 0
