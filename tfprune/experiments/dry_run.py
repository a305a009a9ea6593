"""What `--dry_run` says: the trainings of a study, what they take, and what changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfprune.claims import check_cloud
from tfprune.config import RunConfig, replace
from tfprune.engine.costs import duration, is_known
from tfprune.engine.folders import check_folders
from tfprune.engine.forecast import Forecast, Row, device_of, forecast
from tfprune.engine.naming import names_of
from tfprune.engine.plan import plan
from tfprune.engine.start import import_tensorflow
from tfprune.engine.study import StudyEngine
from tfprune.experiments.command import Command, with_flags
from tfprune.store import check_kinds
from tfprune.studies.trial import Trial
from tfprune.studies.without_effect import without_effect

_ROWS = 60  # More are counted.
_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def show(command: Command, further: Callable[[StudyEngine], None]) -> int:
    """Prints what a command would train, or what refuses it; trains and writes nothing.

    Args:
      command: what was typed.
      further: what the experiment does after the trunks are trained.

    Returns:
      The exit code.

    Raises:
      InputError: the output folder cannot be gone on with, or data that are not known cannot be
        read.
    """
    output_dir = command.configs[0].output_dir
    check_cloud(output_dir)
    check_kinds(output_dir)
    check_folders(Trial(config, seed) for config in command.configs for seed in config.seeds)

    def study(folder: str) -> tuple[Sequence[RunConfig], Callable[[StudyEngine], None]]:
        return [replace(config, output_dir=folder) for config in command.configs], further

    if not all(map(is_known, command.configs)):
        import_tensorflow(command.verbosity, cache="off")
    found = forecast(plan(study), command.configs, device_of(command.configs[0]))
    for sentence in without_effect(command.configs, command.options, command.given):
        print(with_flags(sentence, command.flags))
    names = names_of(command.configs, command.columns_of)
    for line in [*_table(found.rows, names), "", *_whole(found, command.configs[0])]:
        print(line)
    return 0


def _table(rows: Sequence[Row], names: dict[str, str]) -> list[str]:
    head = ("trial", "trained", "stages", "there", "epochs", "operations", "time")
    cells = [head, *(_cells(row, names) for row in rows[:_ROWS])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    more = len(rows) - _ROWS
    return [*lines, f"and {more} more rows"] if more > 0 else lines


def _cells(row: Row, names: dict[str, str]) -> tuple[str, ...]:
    return (
        names.get(row.trial, row.trial),
        row.branch or "levels",
        f"{row.stages:,}",
        f"{row.there:,}",
        f"{row.epochs:,}",
        f"{row.operations:.1e}" if row.epochs else "",
        "?" if row.seconds is None else duration(row.seconds) if row.epochs else "",
    )


def _whole(found: Forecast, config: RunConfig) -> list[str]:
    stages = sum(row.stages for row in found.rows)
    epochs = sum(row.epochs for row in found.rows)
    there = stages - found.left
    kinds = ", ".join(f"{count:,} {name}" for name, count in found.measurements.items())
    measured = f"; measurements: {kinds}" if kinds else ""
    parts = (
        (found.training, "training"),
        (found.evaluation, "evaluation"),
        (found.measuring, "measurements"),
    )
    operations = ", ".join(f"{count:.1e} of {what}" for count, what in parts if count)
    return [
        f"stages      {stages:,}, {there:,} of them there: {found.left:,} to train, "
        f"{epochs:,} epochs{measured}",
        f"operations  {operations + ', floating-point' if operations else 'none'}",
        f"time        {_time(found, config)}",
        f"disk        about {_size(found.bytes)} more in {config.output_dir}",
    ]


def _time(found: Forecast, config: RunConfig) -> str:
    if found.seconds is None:
        return "not known: nothing was measured on a TPU"
    if not found.left and not found.measuring:
        return "none for training"
    at_once = f" with {found.processes} processes" if found.processes > 1 else ""
    stack = config.stack not in ("auto", "1") and "output folder" not in found.basis
    unknown = f"; what --stack={config.stack} gains is not in it" if stack else ""
    about = "" if found.seconds < 10 else "about "
    return f"{about}{duration(found.seconds)}{at_once}, by {found.basis}{unknown}"


def _size(count: float) -> str:
    for unit, size in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
