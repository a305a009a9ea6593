"""Rebuilding every table, figure and the report of an output folder from its files alone."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from experiments.command import errors_name_flags
from tfprune.errors import InputError


def main(argv: Sequence[str]) -> int:
    """`run.py report --output_dir=D`; returns the exit code."""
    values = flags.FlagValues()
    flags.DEFINE_string("output_dir", None, "the folder to report on", flag_values=values)
    if any(argument in ("--help", "-h") for argument in argv):
        print("usage: python run.py report --output_dir=D\n\n" + str(__doc__))
        return 0
    try:
        rest = values(["tfprune", *argv])[1:]
    except flags.Error as error:
        raise InputError(str(error)) from None
    if rest or not values["output_dir"].value:
        raise InputError("usage: python run.py report --output_dir=D")
    from experiments.runner import show

    with errors_name_flags(values):
        show(values["output_dir"].value)
    return 0
