"""The command: runs rows, prints the table, writes results.json."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine
from benchmarks.findings import Finding, table
from benchmarks.registry import ROWS
from benchmarks.timing import Scale
from tfprune.errors import InputError

RESULTS = Path(__file__).parent / "results.json"
CLAIM_REPETITIONS = 5


def main(argv: Sequence[str] | None = None, scale: Scale | None = None) -> int:
    """Runs the rows that `argv` names.

    Args:
      argv: the command line; None takes the process's.
      scale: how much work is timed, but for the repetitions.
    """
    options = _parse(argv)
    console = Console(width=None if sys.stdout.isatty() else 160)
    scale = Scale(**{**vars(scale or Scale()), "repetitions": options.repetitions})
    rows: dict[str, dict[str, Any]] = {}
    findings: dict[str, list[Finding]] = {}
    for name in options.row or list(ROWS):
        console.print(f"{name}: {ROWS.entry(name).summary} ...")
        load, started = machine.load(), time.perf_counter()
        findings[name] = ROWS[name](scale)
        rows[name] = {
            "code": machine.code(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "load_before": load,
            "repetitions": scale.repetitions,
            "row_seconds": round(time.perf_counter() - started, 1),
            "findings": [finding.as_json() for finding in findings[name]],
        }
        write(options.output, rows)
    console.print(table(findings))
    if options.repetitions < CLAIM_REPETITIONS:
        console.print(f"fewer than {CLAIM_REPETITIONS} repetitions: no claim rests on these")
    console.print(f"written to {options.output}")
    return 0


def write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Writes the rows beside those of earlier runs on the same machine; each says its code."""
    about = machine.description()
    earlier = json.loads(path.read_text()) if path.exists() else {}
    if earlier.get("machine") == about:
        known = {**earlier["rows"], **rows}
        rows = {name: known[name] for name in ROWS if name in known}
    path.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--row", action="append", help=f"only this one, may be repeated; {ROWS.help_lines()}"
    )
    parser.add_argument(
        "--repetitions", type=int, default=CLAIM_REPETITIONS, help="of everything that is timed"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="default %(default)s")
    options = parser.parse_args(argv)
    try:
        for name in options.row or ():
            ROWS.entry(name)
    except InputError as error:
        parser.error(str(error))
    if options.repetitions < 1:
        parser.error(f"--repetitions={options.repetitions}: at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
