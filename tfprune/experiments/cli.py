"""Flags of every experiment: declared from the config's fields, filled from presets, checked.

Importing this module imports no TensorFlow, so help and flag errors are instant.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from absl import flags

from tfprune.config import from_settings
from tfprune.door import program
from tfprune.engine.streams import standard_streams
from tfprune.errors import (
    InputError,
    SettingError,
    Stopped,
    TfpruneError,
    close_names,
    reason,
    unknown_name,
)
from tfprune.experiments import sweeps
from tfprune.experiments.command import (
    COMMAND_FLAGS,
    DEFAULT_PRESET,
    PRESETS,
    Command,
    Experiment,
    errors_name_flags,
    read_preset,
    with_flags,
)
from tfprune.papers import items
from tfprune.settings import join, settings_of
from tfprune.studies.trial import trial_name


def parse(experiment: Experiment, argv: Sequence[str]) -> Command | None:
    """Reads an experiment's flags; None if it was the help that was asked for, and printed.

    Args:
      experiment: whose flags.
      argv: the arguments, without the program's name. Explicit flags win over the preset's.

    Raises:
      InputError: an unknown flag or preset, or a value that is not allowed.
    """
    with errors_name_flags(experiment.flags):
        return _parse(experiment, argv)


def _parse(experiment: Experiment, typed: Sequence[str]) -> Command | None:
    argv = from_flagfiles(typed)
    preset = _preset_name(argv)
    if preset not in experiment.presets:
        raise unknown_name("preset", preset, experiment.presets)
    values = _flag_values(experiment)
    preset_flags = read_preset(experiment.name, preset)
    if _asks_for_help(argv):
        _parse_flags(values, preset_flags)
        print(_help(experiment, values, preset))
        return None
    rest = _parse_flags(values, [*preset_flags, *argv])
    if rest:
        raise InputError(
            f"unexpected argument {rest[0]!r}: flags are written --name=value, after the experiment"
        )
    own = [name for section in experiment.options for name in settings_of(section)]
    given = {name: values[name].value for name in values if name not in (*own, *COMMAND_FLAGS)}
    given["output_dir"] = given["output_dir"] or f"runs/{experiment.name}"
    if given["label_noise"] == "none" and not _values_of("noise_fraction", argv):
        given["noise_fraction"] = 0.0  # The preset's, for the noise that is now turned off.
    if given["sparsities"] and _values_of("levels", argv):
        if _values_of("sparsities", argv):
            raise SettingError("levels", given["levels"], "nothing beside `sparsities`")
        given["sparsities"] = ()  # The preset's, in place of which levels are asked for.
    base = from_settings(given, experiment=experiment.name, preset=preset)
    sweep = sweeps.parse(_sweep_texts(preset_flags, argv))
    if "sparsities" in sweep and _values_of("levels", argv):
        raise SettingError("levels", given["levels"], "nothing beside `sparsities`")
    options = tuple(
        section(**{name: values[name].value for name in settings_of(section)})
        for section in experiment.options
    )
    swept = sweeps.configs(base, sweep)
    expanded = experiment.expand(swept, options) if experiment.expand else [(c, {}) for c in swept]
    configs = tuple(config for config, _ in expanded)
    for option in options:
        for config in configs:
            option.check_with(config)
    return Command(
        configs,
        tuple(sweep),
        options,
        {name: values[name].value for name in experiment.own_columns},
        {trial_name(config): columns for config, columns in expanded if columns},
        partial(experiment.check, options=options) if experiment.check else None,
        experiment.flags,
        tuple(typed),
        values["verbosity"].value,
        _given(argv, experiment.flags),
        values["dry_run"].value,
    )


def run(experiment: Experiment, argv: Sequence[str]) -> int:
    """An experiment from flags to config, study and report.

    Args:
      experiment: which.
      argv: the arguments, without the program's name.

    Returns:
      The exit code.
    """
    command = parse(experiment, argv)
    if command is None:
        return 0
    from tfprune.experiments.runner import (
        run_and_report,  # Slow to import: not for help and errors.
    )

    with errors_name_flags(experiment.flags):
        return run_and_report(command, partial(experiment.further, command))


def exit_code(main: Callable[[], int]) -> int:
    """Runs a command; an error of the user's becomes one line on stderr and exit code 2.

    Standard output that cannot be written, as in `tfprune --list | head`, ends nothing.
    """
    with standard_streams() as out, _figures_need_no_display():
        code = _exit_code(main)
    if out.error is None or out.error.errno == errno.EPIPE:
        return code
    print(f"tfprune: standard output is lost ({reason(out.error)})", file=sys.stderr)
    return code or 1


@contextmanager
def _figures_need_no_display() -> Iterator[None]:
    """Nothing opens a window, so MPLBACKEND, which may name what is not here, does not matter."""
    before = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if before is not None:
            os.environ["MPLBACKEND"] = before


def _exit_code(main: Callable[[], int]) -> int:
    try:
        return main()
    except InputError as error:
        print(f"tfprune: error: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        name = signal.Signals(error.signum).name
        print(f"tfprune: ended by {name}; the same command goes on from here", file=sys.stderr)
        return 128 + error.signum
    except KeyboardInterrupt:
        print("tfprune: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except TfpruneError as error:
        print(f"tfprune: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        if "Keras 3 was loaded" not in str(error):
            raise
        print(f"tfprune: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not error.filename:
            raise
        print(f"tfprune: error: cannot use {error.filename} ({reason(error)})", file=sys.stderr)
        return 2
    except Exception as error:
        # Named, not imported: TensorFlow may not be loaded.
        if type(error).__name__ != "ResourceExhaustedError":
            raise
        advice = "choose a smaller --width, --batch_size or --train_subset"
        print(f"tfprune: out of memory: {advice}", file=sys.stderr)
        return 1


def _sweep_texts(preset_flags: Sequence[str], argv: Sequence[str]) -> list[str]:
    """The preset's sweeps and the explicit ones; explicit ones and flags end a preset's sweep.

    Raises:
      SettingError: a field has a flag and a sweep.
    """
    explicit = {re.split("=", argument.lstrip("-"))[0] for argument in argv}
    asked = _values_of("sweep", argv)
    for text in asked:
        if text.split("=")[0] in explicit:
            raise SettingError("sweep", text, f"nothing beside --{text.split('=')[0]}")
    explicit |= {text.split("=")[0] for text in asked}
    if _values_of("label_noise", argv)[-1:] == ["none"]:
        explicit.add("noise_fraction")
    kept = [
        text for text in _values_of("sweep", preset_flags) if text.split("=")[0] not in explicit
    ]
    return [*kept, *asked]


def _given(argv: Sequence[str], flags_of_it: Collection[str]) -> frozenset[str]:
    """The settings that a command line names, in sweeps too."""
    names = {word.lstrip("-").split("=")[0] for word in argv if word.startswith("-")}
    names |= {text.split("=")[0] for text in _values_of("sweep", argv)}
    return frozenset(n if n in flags_of_it else n.removeprefix("no") for n in names)


def _values_of(flag: str, arguments: Sequence[str]) -> list[str]:
    """Every value given to a flag, in any spelling absl takes."""
    values = []
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        match = re.fullmatch(rf"--?{flag}(?:=(.*))?", argument)
        if match:
            values.append(following if match[1] is None else match[1])
    return values


def _preset_name(argv: Sequence[str]) -> str:
    return [DEFAULT_PRESET, *_values_of("preset", argv)][-1]


def _asks_for_help(argv: Sequence[str]) -> bool:
    return any(argument in ("--help", "-h", "-help", "--helpfull") for argument in argv)


def _flag_values(experiment: Experiment) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string(
        "preset",
        DEFAULT_PRESET,
        f"settings to start from: {', '.join(experiment.presets)}",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "sweep",
        [],
        "FIELD=V1,V2,... runs each value of a field below; repeat it for the product of fields",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "verbosity",
        0,
        "0 quiet, 1 with TensorFlow's own messages",
        lower_bound=0,
        upper_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "dry_run",
        False,
        "say what would be trained, with its operations, time and disk, and train nothing",
        flag_values=values,
    )
    for section in experiment.sections.values():
        hints = get_type_hints(section)
        for name, field in settings_of(section).items():
            help_text = with_flags(_help_text(field), experiment.flags)
            if hints[name] is bool:
                flags.DEFINE_boolean(name, field.default, help_text, flag_values=values)
                continue
            parser, serializer = _parser(hints[name])
            flags.DEFINE(
                parser,
                name,
                field.default,
                help_text,
                flag_values=values,
                serializer=serializer,
            )
    return values


def _parse_flags(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    if _values_of("undefok", arguments):
        raise InputError("--undefok: no flag; every flag must be one that --help shows")
    try:
        return values(["tfprune", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        close = close_names(error.flagname, [name for name in values if len(name) > 1])
        hint = f"did you mean {' or '.join(f'--{name}' for name in close)}? " if close else ""
        raise InputError(f"--{error.flagname}: no such flag: {hint}see --help") from None
    except flags.Error as error:
        text = str(error).replace("flag --", "--", 1)
        raise InputError(re.sub(r"\('Non-boolean.*\)", "true or false", text)) from None


def from_flagfiles(argv: Sequence[str], inside: tuple[str, ...] = ()) -> list[str]:
    """The arguments with those of every file of flags in its place, as if they had been typed.

    Args:
      argv: what was typed, or what a file has.
      inside: the files that these come from, the outermost first.

    Raises:
      InputError: a file cannot be read, comes from itself, or is one of anything but flags, of
        which nothing is shown.
    """
    found: list[str] = []
    words = iter(argv)
    for word in words:
        flag, given, path = word.partition("=")
        if word == "--":
            return [*found, word, *words]
        if flag in ("--flagfile", "-flagfile"):
            path = path if given else next(words, "")
            found += from_flagfiles(_read_flags(path, inside), (*inside, path))
        else:
            found.append(word)
    return found


def _read_flags(path: str, inside: tuple[str, ...]) -> list[str]:
    file = Path(os.path.expanduser(path))  # As it is, where there is no such user.
    if path in inside:
        raise InputError(f"--flagfile={path}: it names itself")
    if file.exists() and not file.is_file():  # As a pipe, which is read but once.
        raise InputError(f"--flagfile={path}: cannot be read (no regular file)")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--flagfile={path}: cannot be read ({reason(error)})") from None
    words = [line.strip() for line in lines if not line.strip().startswith(("#", "//"))]
    if not all(word.startswith("-") for word in words if word):
        raise InputError(f"--flagfile={path}: a file of flags, --NAME=VALUE on each line")
    return list(filter(None, words))


class _Parser(flags.ArgumentParser):
    """Reads one kind of value, and says what is allowed when it cannot."""

    def __init__(self, read: Callable[[str], Any], allowed: str):
        self.read = read
        self.allowed = allowed

    def parse(self, argument: Any) -> Any:
        if not isinstance(argument, str):
            return argument
        try:
            return self.read(argument.strip())
        except ValueError:
            raise ValueError(self.allowed) from None


class _Serializer(flags.ArgumentSerializer):
    def serialize(self, value: Any) -> str:
        return join(value) if isinstance(value, tuple) else str(value)


def _parser(hint: Any) -> tuple[_Parser, _Serializer]:
    kinds: dict[Any, tuple[Callable[[str], Any], str]] = {
        int: (int, "an integer"),
        float: (float, "a number"),
        str: (str, "text"),
        tuple[int, ...]: (_integers, "integers as 0,1,2 or 0-4"),
        tuple[float, ...]: (_numbers, "numbers as 0.5,0.9"),
        tuple[str, ...]: (_words, "names as one,two"),
    }
    return _Parser(*kinds[hint]), _Serializer()


_LONGEST_RANGE = 10_000


def _integers(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        span = re.fullmatch(r"(\d+)-(\d+)", part.strip())
        if not span:
            numbers.append(int(part))
        elif 0 <= int(span[2]) - int(span[1]) < _LONGEST_RANGE:
            numbers += range(int(span[1]), int(span[2]) + 1)
        else:
            raise ValueError(part)
    return tuple(numbers)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in filter(None, text.split(",")))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _help(experiment: Experiment, values: flags.FlagValues, preset: str) -> str:
    width = max(map(len, experiment.presets))
    lines = [
        experiment.summary.strip(),
        *_reproduces(experiment),
        "",
        f"usage: {program()} {experiment.name} [--flag=value ...]",
        "",
        f"Values shown are those of --preset={preset}; flags you give win over the preset's.",
        "",
        "presets",
        *(
            f"  {name:<{width}}  {preset_summary(experiment.name, name)}"
            for name in experiment.presets
        ),
        "",
        "general",
        *_flag_lines(values, COMMAND_FLAGS),
    ]
    for title, section in experiment.sections.items():
        names = list(settings_of(section))
        if names:
            lines += ["", title.replace("_", " "), *_flag_lines(values, names)]
    return "\n".join(lines)


def _reproduces(experiment: Experiment) -> list[str]:
    """Lines on which figures and tables of whose it makes, and on the papers' short names."""
    said = items.said(experiment.name)
    mine = items.paper_of(experiment.name)
    others = (f"{short}, {paper.title}" for short, paper in items.PAPERS.items() if short != mine)
    text = f"Reproduces {said}. The other papers: {'; '.join(others)}."
    return ["", *textwrap.wrap(text, 100)] if said else []


def _help_text(field: Field) -> str:
    """A setting's help, with the allowed names where the help does not say them."""
    text, choices = field.metadata["help"], field.metadata["choices"] or ()
    return text if all(name in text for name in choices) else f"{text}: {', '.join(choices)}"


def _flag_lines(values: flags.FlagValues, names: Sequence[str]) -> list[str]:
    lines = []
    for name in names:
        flag = values[name]
        shown = join(flag.value) if isinstance(flag.value, (tuple, list)) else flag.value
        lines.append(f"  --{name}={shown}")
        lines += textwrap.wrap(flag.help, 94, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines


def preset_summary(experiment: str, preset: str) -> str:
    """The first comment line of a preset's file."""
    first = (PRESETS / experiment / f"{preset}.flags").read_text().splitlines()[0]
    return first.lstrip("# ")
